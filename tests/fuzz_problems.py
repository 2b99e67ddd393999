"""Mutated problem files against the command line: exit 0, 1 or 2, one helpful line, nothing left behind, no hang.

    .venv/bin/python tests/fuzz_problems.py --count 10000 --seed 0

The case of a finding is made again by `--seed S --first I --count 1`.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import sys
import tempfile
import warnings
from pathlib import Path

import nasty
from fuzz_workers import STRANGE, main

PROGRESS = re.compile(  # where a machine is slow, and where a sampling time is coarse
    r"^scpo-ctrl: (compiling .* \.\.\.|warning: .*)\n", re.MULTILINE
)


def run_case(seed: int, index: int, place: Path) -> list[str]:
    """Run one case in a folder, and return what is wrong about it."""
    problem, before = make_case(seed, index, place)
    status, out, err = run(command(problem), place)
    return faults(status, out, err, changed=sorted(place.rglob("*")) != before, problem=problem)


def command(problem: Path) -> list[str]:
    """Return the arguments that adapt a problem beside it."""
    return ["adapt", str(problem), "--out", str(problem.parent / "run"), "--steps", "1", "--json"]


def make_case(seed: int, index: int, place: Path) -> tuple[Path, list[Path]]:
    """Write the problem file of a case and its data; return its path and all that is there."""
    rng = random.Random(f"{seed} {index}")
    problem = place / "problem.toml"
    nasty.place_data(place, rng)
    if rng.random() < 0.03:
        nasty.make_no_file(problem, rng)
    else:
        problem.write_bytes(nasty.problem_text(rng))
    return problem, sorted(place.rglob("*"))


def faults(status: object, out: str, err: str, *, changed: bool, problem: Path) -> list[str]:
    """Return what is wrong about how a command ended."""
    found, err = [], PROGRESS.sub("", err)
    if status not in (0, 1, 2):
        found.append(f"status {status}")
    if status == 0 and (err or not isinstance(json.loads(out), dict)):
        found.append("something on stderr")
    if status != 0 and not out:
        if changed:
            found.append("something left behind")
        if err.count("\n") != 1 or not err.startswith(f"scpo-ctrl: {problem}: ") or len(err) > 1000:
            found.append("not one line that names the file")
        if STRANGE.search(err.replace(str(problem.parent), "")):
            found.append("words of a library")
    return [f"{text}: {err[:500]!r}" for text in found]


def run(arguments: list[str], place: Path) -> tuple[object, str, str]:
    """Run a command in this process, and return its status and what it wrote to the file descriptors."""
    from scpo_ctrl import cli
    from scpo_ctrl.report import page

    page.write_report = lambda _result, path, _guarded=None: path.write_text(
        "report"
    )  # it takes most of the time of a small run
    sys.argv = ["scpo-ctrl", *arguments]
    texts, kept = [], [os.dup(1), os.dup(2)]
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile(dir=place.parent)) for _ in kept]
        for number, file in enumerate(files, 1):
            os.dup2(file.fileno(), number)
        status: object = "none"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                cli.main()
        except SystemExit as stop:
            status = stop.code
        except BaseException as error:
            status = f"{type(error).__name__}: {error}"
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, handle in enumerate(kept, 1):
                os.dup2(handle, number)
                os.close(handle)
        for file in files:
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    return status, texts[0], texts[1]


if __name__ == "__main__":
    main(run_case, str(Path(__file__).resolve()))
