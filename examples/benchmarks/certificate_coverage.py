"""How often what certify states is true: many certificates of loops whose probability of a violation is known.

Of x⁺ = 0.5 x + u with x_0 uniform in [-1, 1] a known part violates (tests/planted.py). Each case is a `certify` of its
own, with fresh scenarios, the number of them fixed before. Its statement, "at most `bound` of all scenarios violate",
may be wrong in a part β of the cases. The probabilities are the hardest ones: just above what k violations prove, where
the statement is wrong with probability β exactly, and others in between. Beside it, two rules that are wrong: one that
overlooks a violation, and one that takes the better of two seeds.

    python examples/benchmarks/certificate_coverage.py [--count N] [--epsilon E] [--beta B]
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import binom

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1]))

from planted import interval_problem
from support.common import print_table

from scpo_ctrl.assurance import certify, violation_bound
from scpo_ctrl.assurance.certificate import rollouts_needed

JUST_ABOVE = 1 + 1e-9
PROVEN_BY = (0, 1, 2, 5, 10)  # violations
HEADER = ("probability", "passed", "expected", "statement true", "expected", "a violation overlooked", "better of two")


def probabilities(epsilon: float, beta: float) -> list[float]:
    """Return probabilities of a violation: the hardest for `certify`, those in between, and one far below ε."""
    n = rollouts_needed(epsilon, beta)
    hardest = [violation_bound(k, n, beta) * JUST_ABOVE for k in PROVEN_BY]
    between = [(low + high) / 2 for low, high in itertools.pairwise(hardest)]
    return sorted([epsilon / 10, *hardest, *between])


def found(probability: float, count: int, epsilon: float, beta: float) -> tuple[np.ndarray, np.ndarray]:
    """Return violations and stated bounds of `count` certificates, shapes (count,)."""
    problem = interval_problem(probability)
    cases = [certify(problem, problem.theta_initial, epsilon=epsilon, beta=beta, seed=k) for k in range(count)]
    assert all(case.passed == (case.bound <= epsilon) for case in cases)
    return np.array([case.violations for case in cases]), np.array([case.bound for case in cases])


def true_statements(probability: float, bounds: np.ndarray) -> int:
    """Return how many bounds hold."""
    return int(np.count_nonzero(bounds >= probability))


def overlooking_one(violations: np.ndarray, n: int, beta: float) -> np.ndarray:
    """Return the bounds of a wrong rule, which counts one violation less."""
    return np.array([violation_bound(max(0, k - 1), n, beta) for k in violations])


def better_of_two(bounds: np.ndarray) -> np.ndarray:
    """Return the bounds of a wrong rule, which tries two seeds and keeps the lower bound."""
    return np.minimum(bounds, np.roll(bounds, 1))


def expected(probability: float, epsilon: float, beta: float) -> tuple[float, float]:
    """Return the probabilities that a case passes and that its statement is true."""
    n = rollouts_needed(epsilon, beta)
    bounds = np.array([violation_bound(k, n, beta) for k in range(n + 1)])
    chances = binom.pmf(np.arange(n + 1), n, probability)
    return float(chances[bounds <= epsilon].sum()), float(chances[bounds >= probability].sum())


def row(probability: float, count: int, epsilon: float, beta: float) -> list[str]:
    """Return a row of the table."""
    n, (violations, bounds) = rollouts_needed(epsilon, beta), found(probability, count, epsilon, beta)
    passes, holds = expected(probability, epsilon, beta)
    wrong = (overlooking_one(violations, n, beta), better_of_two(bounds))
    return [
        f"{probability:.5f}",
        f"{np.count_nonzero(bounds <= epsilon)}",
        f"{count * passes:.1f}",
        f"{true_statements(probability, bounds)}",
        f"{count * holds:.1f}",
        *(f"{true_statements(probability, rule)}" for rule in wrong),
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="certificates of each loop (default: %(default)s)")
    parser.add_argument("--epsilon", type=float, default=0.02, help="(default: %(default)s)")
    parser.add_argument("--beta", type=float, default=0.05, help="(default: %(default)s)")
    given = parser.parse_args(argv)
    n = rollouts_needed(given.epsilon, given.beta)
    print(f"{given.count} certificates each, epsilon = {given.epsilon:g}, beta = {given.beta:g}, so n = {n} rollouts;")
    print(f"a statement is to be true in {given.count * (1 - given.beta):g} or more, but for chance")
    rows = [row(p, given.count, given.epsilon, given.beta) for p in probabilities(given.epsilon, given.beta)]
    print_table(HEADER, rows)


if __name__ == "__main__":
    main()
