"""What a certificate costs: CPU time of a rollout of R3 in this process and in workers, and of putting parts together.

Times are CPU seconds of the processes that work, so that other work on the machine counts little. What starting takes
is measured by itself: two certificates of different size, of which the difference counts.

    python examples/benchmarks/certify_at_scale.py [--rollouts N]
"""

import argparse
import importlib.resources
import resource
import time
from functools import partial

import numpy as np

from scpo_ctrl import ControlProblem, load_problem
from scpo_ctrl.assurance.fresh import Fresh
from scpo_ctrl.assurance.tally import Tally, Tallying, spread_over, tallies

_SEED, _PART = 1 << 65, 1 << 17


def r3() -> ControlProblem:
    """Return R3, as workers make it."""
    return load_problem(str(importlib.resources.files("scpo_ctrl") / "data" / "double_integrator.toml"))


def cpu_seconds(tallying: Tallying, workers: int, count: int) -> tuple[float, Tally]:
    """Return CPU seconds, of this process and of ended workers, and what was found."""
    before, total = _spent(), Tally.none()
    problems = partial(r3) if workers else None
    for _, tally in tallies(spread_over(workers, problems), tallying, problems, count, _PART):
        total = total + tally
    return _spent() - before, total


def _spent() -> float:
    found = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in found)


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
    cpu_seconds(tallying, 0, 10_000)  # compiles
    print(f"{'workers':>8} {'µs of CPU a rollout':>20} {'efficiency':>11} {'start, s of CPU':>16}")
    alone, found = 0.0, None
    for workers in (0, 1, 2):
        few, _ = cpu_seconds(tallying, workers, count // 10)
        many, total = cpu_seconds(tallying, workers, count)
        each = (many - few) / (count - count // 10)
        alone = alone or each
        found = found or total
        assert np.array_equal(total.closest, found.closest)
        start = few - each * (count // 10)
        print(f"{workers:8} {1e6 * each:20.2f} {alone / each:11.1%} {start:16.2f}")
    print(f"adding a tally with full lists: {1e6 * merge_seconds():.0f} µs")


if __name__ == "__main__":
    main()
