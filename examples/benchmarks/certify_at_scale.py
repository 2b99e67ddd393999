"""What a certificate costs: CPU time of a rollout of R3 in this process and in workers, and of putting parts together.

Times are CPU seconds of the processes that work, so that other work on the machine counts little; workers have started
before. Each process has one thread.

    SCPO_THREADS=1 python examples/benchmarks/certify_at_scale.py [--rollouts N]
"""

import argparse
import importlib.resources
import os
import time
from functools import partial
from pathlib import Path

import numpy as np

from scpo_ctrl import ControlProblem, load_problem
from scpo_ctrl.assurance.fresh import Fresh
from scpo_ctrl.assurance.tally import Tally, Tallying, blocks
from scpo_ctrl.workers import Workers

_SEED, _PART = 1 << 65, 1 << 17


def r3() -> ControlProblem:
    """Return R3, as workers make it."""
    return load_problem(str(importlib.resources.files("scpo_ctrl") / "data" / "double_integrator.toml"))


def in_process(tallying: Tallying, count: int) -> tuple[float, Tally]:
    """Return CPU seconds of rollouts in this process, and what was found."""
    start = time.process_time()
    total = sum(map(tallying, blocks(count, _PART)), Tally.none())
    return time.process_time() - start, total


def in_workers(workers: Workers, count: int) -> tuple[float, Tally]:
    """Return the same of workers that have started, this process among them."""
    start = time.process_time() + sum(map(spent, workers.processes))
    total = sum(workers.results(blocks(count, _PART)), Tally.none())
    return time.process_time() + sum(map(spent, workers.processes)) - start, total


def spent(pid: int) -> float:
    """Return CPU seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def merge_seconds(repeats: int = 20_000) -> float:
    """Return CPU seconds of adding one tally with full lists."""
    rng = np.random.default_rng(0)
    one, other = (Tally.of(Fresh(rng.normal(size=4000), np.zeros(4000), 0.0), k) for k in (0, 4000))
    start = time.process_time()
    for _ in range(repeats):
        one + other
    return (time.process_time() - start) / repeats


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollouts", type=int, default=2_000_000)
    count, problem = parser.parse_args().rollouts, r3()
    tallying = Tallying(problem, problem.theta_initial, _SEED)
    make, rounds = tallying.maker(partial(r3)), 5
    with Workers(make, 1) as one, Workers(make, 2) as two:
        ways = {
            "in process": partial(in_process, tallying),
            "1 worker": partial(in_workers, one),
            "2 workers": partial(in_workers, two),
        }
        for way in ways.values():
            way(20_000)  # compiles, and starts
        seconds = dict.fromkeys(ways, 0.0)
        for _ in range(rounds):  # in turn, as other work on the machine changes
            found = []
            for name, way in ways.items():
                more, total = way(count // rounds)
                seconds[name] += more
                found.append(total)
            assert all(np.array_equal(total.closest, found[0].closest) for total in found)
    print(f"{'':12} {'µs of CPU a rollout':>20} {'efficiency':>11}")
    for name, spent_there in seconds.items():
        print(f"{name:12} {1e6 * spent_there / count:20.2f} {seconds['in process'] / spent_there:11.1%}")
    print(f"adding a tally with full lists: {1e6 * merge_seconds():.0f} µs")


if __name__ == "__main__":
    main()
