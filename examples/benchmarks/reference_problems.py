"""The reference problems R1, R2 and R3 in one table: what adaptation achieves and costs, and what it violates.

python examples/benchmarks/reference_problems.py
"""

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import r1_regression
import r2_malicious_expert
import r3_double_integrator
from support.common import FRESH, margins, print_table, violating_part, violations

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
    share = r3_double_integrator.share(outcome.result.problem, outcome.result.theta)
    return outcome.result, [f"achievable: {r3_double_integrator.OPTIMUM:.3f}", f"share of it: {share:.2%}"]


def describe(run: Callable[[], Column]) -> list[str]:
    """Run a problem and return its column."""
    result, own = run()
    summary, beside = result.summary(), violating_part(result.problem, result.theta)
    return [
        f"{summary['theta_dim']}, {summary['metrics']}",
        f"{summary['steps']}",
        violations(margins(result.problem, result.committed)),
        "none declared" if np.isnan(beside) else f"{beside:.2%}",
        f"{summary['worst_margin']:.1e}",
        f"{summary['objective_initial']:.3f} -> {summary['objective_final']:.3f}",
        *own,
        f"{summary['rejected']}",
        f"{summary['rollouts']}",
        f"{summary['seconds']:.1f}",
    ]


def main() -> None:
    """Print the table."""
    names = ["parameters, metrics", "steps", "violations, of committed policies"]
    names += [f"violating, of {FRESH} fresh scenarios", "worst margin of committed policies", "objective"]
    names += ["errors", "", "rejected tries", "rollouts", "seconds"]
    columns = [describe(run) for run in (r1, r2, r3)]
    rows = [list(row) for row in zip(names, *columns, strict=True)]
    print_table(["", "R1 regression", "R2 malicious expert", "R3 double integrator"], rows)


if __name__ == "__main__":
    main()
