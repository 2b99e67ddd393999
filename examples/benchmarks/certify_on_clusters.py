"""A certificate from several clusters: five Dask schedulers, each with workers of its own, against one process.

All of them run on this machine, as processes of their own. The certificates must have the same bytes, or, with
`--again`, some parts of the clusters' certificate what the one process finds of them. CPU time is that of all processes
that take part, but for the start of the workers; seconds are those of a clock, which other work on the machine spoils.
R3, 48 weights, 50 steps; its policy is adapted on few scenarios, so that there are violations to count.

    python examples/benchmarks/certify_on_clusters.py [--rollouts N] [--clusters K] [--workers N] [--again PARTS]
"""

import argparse
import importlib.resources
import math
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import tomli_w

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.common import print_table

from scpo_ctrl import ControlProblem, adapt, certify, load_problem
from scpo_ctrl.assurance.certificate import STREAM, Certificate, Part
from scpo_ctrl.assurance.tally import Tally, Tallying, blocks
from scpo_ctrl.campaign.anywhere import on_schedulers
from scpo_ctrl.choices import BETA
from scpo_ctrl.record.config import read_problem_file

_STATES, _STEPS = 8, 30  # of R3's 32 initial states and 400 steps


def problem_file(folder: Path) -> Path:
    """Write R3 with few scenarios and steps."""
    tables = tomllib.loads((importlib.resources.files("scpo_ctrl") / "data" / "double_integrator.toml").read_text())
    del tables["scenarios"]["initial_states"][_STATES:]
    tables["adapt"] = {"steps": _STEPS, "audit": False}
    path = folder / "problem.toml"
    path.write_text(tomli_w.dumps(tables))
    return path


def cluster(folder: Path, name: str, workers: int, stack: ExitStack) -> tuple[str, psutil.Process]:
    """Start a scheduler and its workers; return its address, and the process above them."""
    command = [sys.executable, __file__, "--serve", str(folder / name), "--workers", str(workers)]
    process = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE))
    while not (folder / name).exists():
        time.sleep(0.05)
    return (folder / name).read_text(), psutil.Process(process.pid)


def serve(place: Path, workers: int) -> None:
    """Be a cluster until nobody is there any more."""
    from scpo_ctrl.campaign.cluster import local

    with local(workers) as client:
        place.with_suffix(".new").write_text(client.scheduler.address)
        place.with_suffix(".new").rename(place)
        sys.stdin.read()


@dataclass
class Clock:
    """Seconds, and CPU seconds of processes and those below them, from when it was made."""

    processes: list[psutil.Process]

    def __post_init__(self) -> None:
        self._start = self._now()

    def _now(self) -> tuple[float, float]:
        every = {one for process in self.processes for one in (process, *process.children(recursive=True))}
        return time.monotonic(), sum(sum(one.cpu_times()[:2]) for one in every)

    def words(self, rollouts: int) -> tuple[str, ...]:
        """Return what a row of the table says of the times."""
        elapsed, spent = (now - before for now, before in zip(self._now(), self._start, strict=True))
        return f"{elapsed:.1f}", f"{spent:.1f}", f"{1e6 * spent / rollouts:.2f}"


def found_of(name: str, tally: Tally | Certificate, clock: Clock) -> tuple[str, ...]:
    """Return a row of the table."""
    counts = (str(tally.rollouts), str(tally.violations), f"{tally.closest[0][1]:.17g}")
    return name, *counts, *clock.words(tally.rollouts)


def again(problem: ControlProblem, theta: np.ndarray, certificate: Certificate, count: int) -> tuple[Tally, int]:
    """Roll out some parts, chosen at random, in this process; return their tally, and how many parts are equal."""
    tallying, total, equal = Tallying(problem, theta, STREAM + certificate.seed), Tally.none(), 0
    for k in np.sort(np.random.default_rng().choice(len(certificate.parts), count, replace=False)):
        part = certificate.parts[k]
        shares = blocks(part.rollouts, part.rollouts)
        tally = sum((tallying((part.first + first, size)) for first, size in shares), Tally.none())
        scenario, worst, _ = tally.closest[0]
        equal += part == Part(part.first, tally.rollouts, tally.violations, worst, scenario)
        total += tally
    return total, equal


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rollouts", type=float, default=1e6)
    parser.add_argument("--clusters", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1, help="Of each cluster.")
    parser.add_argument("--again", type=int, default=0, help="Parts that the one process does; by default all.")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve is not None:
        serve(given.serve, given.workers)
        return
    epsilon = -math.expm1(math.log(BETA) / given.rollouts)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        file = read_problem_file(problem_file(Path(name)))
        theta = adapt(file.problem, file.options, progress=False).theta
        certify(file.problem, theta, epsilon=0.01, progress=False)  # compiles
        made = [cluster(Path(name), str(k), given.workers, stack) for k in range(given.clusters)]
        places = {"workers": on_schedulers([address for address, _ in made])}
        places["problems"] = partial(load_problem, str(Path(name) / "problem.toml"))
        certify(file.problem, theta, epsilon=0.01, **places, progress=False)  # imports the package there
        own = psutil.Process(os.getpid())
        clock = Clock([own, *(process for _, process in made)])
        many = certify(file.problem, theta, epsilon=epsilon, **places, progress=False)
        rows = [found_of(f"{given.clusters} clusters", many, clock)]
        stack.close()  # the clusters end
        clock = Clock([own])
        if given.again:
            some, equal = again(file.problem, theta, many, given.again)
            verdict = f"{equal} of these {given.again} parts, of {len(many.parts)}, are equal"
        else:
            some = certify(file.problem, theta, epsilon=epsilon, progress=False)
            equal = "the same" if many.text() == some.text() else "OTHER"
            verdict = f"certificates have {equal} bytes; {len(many.parts)} parts"
        rows.append(found_of("one process", some, clock))
        print_table(("", "rollouts", "violations", "worst metric", "seconds", "CPU [s]", "µs of CPU a rollout"), rows)
        print(verdict)


if __name__ == "__main__":
    main()
