"""Fuzz cases in worker processes: one that hangs, dies or takes too much memory costs its worker, and is a finding."""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

Case = Callable[[int, int, Path], list[str]]  # seed, index and a folder of its own -> what is wrong

SECONDS = 20.0  # of a case
MEMORY = 2 << 30  # bytes of the worker
STRANGE = re.compile(  # what libraries say, and what the last nets of the command line say
    "Traceback|fault of scpo-ctrl|wrong kind|inhomogeneous|setting an array|could not|broadcast|unhashable|attribute|"
    "operand|ufunc|dtype|Errno|unexpected keyword|not subscriptable|positional|casadi/core"
)


def work(run_case: Case, seed: int, first: int, count: int) -> None:
    """Run cases one after the other, a line of JSON before and after each."""
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    for index in range(first, first + count):
        print(json.dumps({"begun": index}), flush=True)
        os.chdir(tempfile.gettempdir())
        with tempfile.TemporaryDirectory() as place:
            inner = Path(place) / "case"
            inner.mkdir()
            began = time.process_time()
            found = run_case(seed, index, inner)
            if time.process_time() - began > SECONDS:
                found.append(f"took {time.process_time() - began:.0f} s")
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        if used > MEMORY:
            found.append(f"took {used / 1e9:.1f} GB")
        print(json.dumps({"done": index, "faults": found}), flush=True)
        if used > MEMORY:
            return  # the next worker begins anew


def findings(script: str, seed: int, first: int, count: int) -> Iterator[tuple[int, str]]:
    """Run cases in workers, and yield what is wrong."""
    index, end = first, first + count
    while index < end:
        command = [sys.executable, script, "--work", "--seed", str(seed), "--first", str(index)]
        command += ["--count", str(min(500, end - index))]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as worker:
            assert worker.stdout is not None
            while True:
                ready, _, _ = select.select([worker.stdout], [], [], 6 * SECONDS)  # of a machine that others use too
                line = worker.stdout.readline() if ready else b""
                if not line:
                    if not ready:
                        worker.kill()
                        yield index, f"no end after {6 * SECONDS:.0f} s"
                        index += 1
                    elif worker.wait() != 0:
                        yield index, f"the worker died ({worker.returncode})"
                        index += 1
                    break
                report = json.loads(line)
                index = report.get("begun", index)
                for fault in report.get("faults", []):
                    yield index, fault
                if "done" in report:
                    index += 1


def main(run_case: Case, script: str) -> None:
    """Run cases as the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--work", action="store_true")
    chosen = parser.parse_args()
    if chosen.work:
        work(run_case, chosen.seed, chosen.first, chosen.count)
        return
    total = 0
    for index, fault in findings(script, chosen.seed, chosen.first, chosen.count):
        total += 1
        print(f"case {index}: {fault}", flush=True)
    print(f"{chosen.count} cases, {total} findings")
    sys.exit(total > 0)
