"""A certificate from several clusters: five Dask schedulers, each with workers of its own, against one process.

All of them run on this machine, as processes of their own. The certificates must have the same bytes; CPU time is
that of all processes that take part, but for the start of the workers. R3, 48 weights, 50 steps; its policy is adapted
on few scenarios, so that there are violations to count.

    SCPO_THREADS=1 python examples/benchmarks/certify_on_clusters.py [--rollouts N] [--clusters K] [--workers N]
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
from functools import partial
from pathlib import Path

import psutil
import tomli_w

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.common import print_table

from scpo_ctrl import adapt, certify, load_problem
from scpo_ctrl.assurance.certificate import Certificate
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


def spent(processes: list[psutil.Process]) -> float:
    """Return CPU seconds of processes and those below them."""
    every = {one for process in processes for one in (process, *process.children(recursive=True))}
    return sum(sum(one.cpu_times()[:2]) for one in every)


def row(name: str, certificate: Certificate, seconds: float) -> tuple[str, ...]:
    """Return a row of the table."""
    counts = (str(certificate.rollouts), str(certificate.violations), f"{certificate.closest[0][1]:.17g}")
    return name, *counts, f"{seconds:.1f}", f"{1e6 * seconds / certificate.rollouts:.2f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rollouts", type=float, default=1e6)
    parser.add_argument("--clusters", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1, help="Of each cluster.")
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
        own = psutil.Process(os.getpid())
        start = spent([own])
        alone = certify(file.problem, theta, epsilon=epsilon, progress=False)
        rows = [row("one process", alone, spent([own]) - start)]
        made = [cluster(Path(name), str(k), given.workers, stack) for k in range(given.clusters)]
        everyone = [own, *(process for _, process in made)]
        places = {"workers": on_schedulers([address for address, _ in made])}
        places["problems"] = partial(load_problem, str(Path(name) / "problem.toml"))
        certify(file.problem, theta, epsilon=0.01, **places, progress=False)  # imports the package there
        start = spent(everyone)
        many = certify(file.problem, theta, epsilon=epsilon, **places, progress=False)
        seconds = spent(everyone) - start
        rows.append(row(f"{given.clusters} clusters", many, seconds))
        title = ("", "rollouts", "violations", "worst metric", "CPU [s]", "µs a rollout")
        print_table(title, rows)
        equal = many.text() == alone.text()
        print(f"certificates have {'the same' if equal else 'OTHER'} bytes; {len(alone.parts)} parts")


if __name__ == "__main__":
    main()
