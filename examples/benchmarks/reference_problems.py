"""The reference problems R1, R2 and R3 in one table: what adaptation achieves and costs, and what it violates.

python examples/benchmarks/reference_problems.py
"""

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import r1_regression
import r2_malicious_expert
import r3_double_integrator
from support.common import margins, print_table, violations

from scpo_ctrl import Result

Column = tuple[Result, list[str]]  # the run, and what only this problem reports


def r1() -> Column:
    """Regression with harmful supervision."""
    outcome = r1_regression.run()
    before, after = outcome.clean_error[[0, -1]]
    return outcome.result, [f"clean half: {before:.3f} -> {after:.3f}", f"{before / after:.0f} times less"]


def r2() -> Column:
    """Malicious expert."""
    outcome = r2_malicious_expert.run()
    good, malicious = outcome.good[[0, -1]], outcome.malicious[[0, -1]]
    return outcome.result, [
        f"good half: {good[0]:.3f} -> {good[1]:.3f}",
        f"malicious half: {malicious[0]:.3f} -> {malicious[1]:.3f}",
    ]


def r3() -> Column:
    """Double integrator."""
    outcome = r3_double_integrator.run()
    return outcome.result, [f"achievable: {r3_double_integrator.OPTIMUM:.3f}", f"share of it: {outcome.share:.2%}"]


def describe(run: Callable[[], Column]) -> list[str]:
    """Run a problem and return its column."""
    result, own = run()
    summary = result.summary()
    return [
        f"{summary['theta_dim']}, {summary['metrics']}",
        f"{summary['steps']}",
        violations(margins(result.problem, result.committed)),
        f"{summary['worst_margin']:.1e}",
        f"{summary['objective_initial']:.3f} -> {summary['objective_final']:.3f}",
        *own,
        f"{summary['rejected']}",
        f"{summary['rollouts']}",
        f"{summary['seconds']:.1f}",
    ]


def main() -> None:
    """Print the table."""
    names = ["parameters, metrics", "steps", "violations, of committed policies", "worst margin of them", "objective"]
    names += ["errors", "", "rejected tries", "rollouts", "seconds"]
    columns = [describe(run) for run in (r1, r2, r3)]
    rows = [list(row) for row in zip(names, *columns, strict=True)]
    print_table(["", "R1 regression", "R2 malicious expert", "R3 double integrator"], rows)


if __name__ == "__main__":
    main()
