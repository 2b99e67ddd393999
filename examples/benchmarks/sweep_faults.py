"""A sweep whose workers and scheduler are killed: every point is its single run, and memory stays as it is.

Scheduler, workers and client are processes of their own, as on a cluster; a supervisor starts anew what ends. Three
workers are killed at random and the scheduler once. Then every point must have a run, and some of them are adapted once
more alone and compared bit for bit.

    python examples/benchmarks/sweep_faults.py [--points N] [--workers N] [--compared N] [--seed S]
"""

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from importlib.resources import files
from pathlib import Path

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.common import print_table

from scpo_ctrl import adapt
from scpo_ctrl.record.config import read_problem_file
from scpo_ctrl.record.files import load_arrays
from scpo_ctrl.record.folder import RunFolder

STEPS, KILLS = 10, 3
MARKS = (0.1, 0.5, 1.0)  # parts of the points at which memory is looked at
_PAUSE = 0.2  # s between looks


class Supervised:
    """A process that is started anew when it ends, as a service is."""

    def __init__(self, *arguments: str) -> None:
        self._command = [sys.executable, "-m", *arguments]
        self._ends = False
        self.starts = 0
        self._start()
        threading.Thread(target=self._watch, daemon=True).start()

    def _start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.starts += 1

    def _watch(self) -> None:
        while not self._ends:
            self.process.wait()
            if not self._ends:
                time.sleep(_PAUSE)
                self._start()

    def kill(self) -> None:
        """Kill it and what it started."""
        for process in (*psutil.Process(self.process.pid).children(recursive=True), self.process):
            process.kill()

    def end(self) -> None:
        """Kill it for good."""
        self._ends = True
        self.kill()


def main() -> None:
    """Run a campaign under faults and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--compared", type=int, default=25, help="Points that are adapted once more alone.")
    parser.add_argument("--seed", type=int, default=0, help="Of the times and victims of the kills.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        under_faults(Path(folder), given.points, given.workers, given.compared, np.random.default_rng(given.seed))


def under_faults(folder: Path, points: int, workers: int, compared: int, rng: np.random.Generator) -> None:
    """Run a campaign, kill workers and scheduler meanwhile, compare, and print."""
    text = (files("scpo_ctrl") / "data" / "double_integrator.toml").read_text()
    (folder / "problem.toml").write_text(text)
    sweep = ['problem = "problem.toml"', "[grid]", f"adapt.steps = [{STEPS}]", "adapt.audit = [false]"]
    (folder / "sweep.toml").write_text("\n".join([*sweep, f"adapt.seed = {list(range(points))}"]))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    scheduler = Supervised("distributed.cli.dask_scheduler", "--host", address, "--no-dashboard")
    hands = [
        Supervised("distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard") for _ in range(workers)
    ]
    try:
        rows, said = watched(folder, address, scheduler, hands, faults(points, rng), points)
    finally:
        for one in (*hands, scheduler):
            one.end()
    print_table(("points done", "client [MB]", "scheduler [MB]", "starts of workers", "of the scheduler"), rows)
    equal = sum(is_single(folder, name) for name in sampled(folder, compared, rng))
    print(
        f"{said['finished']} of {points} points finished, {said['failed']} failed, {said['not_run']} not run; ", end=""
    )
    print(f"{equal} of {min(compared, points)} compared are their single runs to the last bit")


def faults(points: int, rng: np.random.Generator) -> list[tuple[int, str]]:
    """Return after how many points what is killed."""
    at = np.sort(rng.choice(np.arange(points // 10 + 1, points - points // 10), KILLS + 1, replace=False))
    what = ["worker"] * KILLS
    what.insert(int(rng.integers(1, KILLS + 1)), "scheduler")
    return list(zip(at.tolist(), what, strict=True))


def watched(
    folder: Path,
    address: str,
    scheduler: Supervised,
    hands: list[Supervised],
    kills: list[tuple[int, str]],
    points: int,
) -> tuple[list[tuple], dict]:
    """Run the client to its end; return rows of memory over what is done, and what it says."""
    command = [sys.executable, "-m", "scpo_ctrl", "sweep", folder / "sweep.toml", "--out", folder / "out", "--json"]
    with (folder / "said.json").open("w") as said:
        client = subprocess.Popen([*command, "--scheduler", address], stdout=said)
    rows, marks = [], [int(part * points) for part in MARKS]
    while client.poll() is None:
        done = len(list((folder / "out" / "points").glob("*/theta.npy")))
        if kills and done >= kills[0][0]:
            _, what = kills.pop(0)
            (scheduler if what == "scheduler" else hands[len(kills) % len(hands)]).kill()
        memory = [megabytes(process) for process in (client.pid, scheduler.process.pid)]
        if marks and done >= marks[0] and all(memory):
            marks.pop(0)
            numbers = (f"{megabyte:.0f}" for megabyte in memory)
            rows.append((str(done), *numbers, str(started(hands)), str(scheduler.starts)))
        time.sleep(_PAUSE)
    return rows, json.loads((folder / "said.json").read_text())


def megabytes(process: int) -> float:
    """Return the memory of a process, 0 where it has ended."""
    try:
        return psutil.Process(process).memory_info().rss / 1e6
    except psutil.Error:
        return 0.0


def started(hands: list[Supervised]) -> int:
    """Return how often workers were started."""
    return sum(hand.starts for hand in hands)


def sampled(folder: Path, count: int, rng: np.random.Generator) -> list[str]:
    """Return names of points."""
    names = sorted(path.name for path in (folder / "out" / "points").iterdir())
    return rng.choice(names, min(count, len(names)), replace=False).tolist()


def is_single(folder: Path, name: str) -> bool:
    """Return whether a point is equal to a run of its problem file alone."""
    run, alone = folder / "out" / "points" / name, folder / "alone" / name
    file = read_problem_file(run / "problem.toml")
    with RunFolder(alone, file) as target:
        target.save(adapt(file.problem, file.options, progress=False))
    one, other = load_arrays(run), load_arrays(alone)
    return one.keys() == other.keys() and all(one[key].tobytes() == other[key].tobytes() for key in one)


if __name__ == "__main__":
    main()
