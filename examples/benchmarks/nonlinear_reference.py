"""R4 and R5, cart-pole and planar quadrotor under parameter ranges: what the safe way reaches of what IPOPT reaches.

Both see the same scenarios, metrics and policy class. IPOPT starts from several random policies and from the adapted
one; the best of its answers that keep every metric in the package's own rollouts counts.

    python examples/benchmarks/nonlinear_reference.py [--plant cart_pole|planar_quadrotor] [--starts N] [--steps N]
                                                       [--seconds S]
"""

import argparse
import dataclasses
import importlib.resources
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ipopt_reference import ADAPTED, Optimum, best, optimise, print_optima, random_starts
from support.common import margins, print_table, violations

from scpo_ctrl import Result, adapt
from scpo_ctrl.record.config import read_problem_file

PLANTS = {"cart_pole": "R4, cart-pole", "planar_quadrotor": "R5, planar quadrotor"}


def run(name: str, steps: int | None, starts: int, seconds: float) -> tuple[Result, list[Optimum]]:
    """Adapt the problem that ships with the package, and optimise the same one."""
    file = read_problem_file(Path(str(importlib.resources.files("scpo_ctrl") / "data" / f"{name}.toml")))
    options = dataclasses.replace(file.options, audit=False, steps=file.options.steps if steps is None else steps)
    result = adapt(file.problem, options)
    points = [(ADAPTED, result.theta), *random_starts(file.problem, starts)]
    print(PLANTS[name])
    return result, print_optima(file.problem, optimise(file.problem, points, seconds=seconds))


def share(result: Result, optimum: Optimum) -> float:
    """Return the improvement of a run relative to the optimum's."""
    initial = result.objective_initial
    return (initial - result.objective_final) / (initial - optimum.objective)


def row(name: str, result: Result, optima: Sequence[Optimum]) -> list[str]:
    """Return a plant's row of the table."""
    optimum, summary = best(optima), result.summary()
    return [
        PLANTS[name],
        f"{summary['theta_dim']}, {summary['metrics']}",
        f"{result.objective_initial:.4g}",
        f"{result.objective_final:.4g}",
        f"{optimum.objective:.4g}",
        f"{share(result, optimum):.1%}",
        violations(margins(result.problem, result.committed)),
        f"{np.max(result.history.column('step'), initial=-1) + 1}",
        f"{summary['rejected']}",
        f"{summary['seconds']:.0f}",
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Print IPOPT's starts and the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--plant", choices=tuple(PLANTS), action="append", help="(default: both)")
    parser.add_argument("--starts", type=int, default=4, help="random starts of IPOPT (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=120.0, help="of IPOPT a start (default: %(default)s)")
    parser.add_argument("--steps", type=int, help="steps of the adaptation (default: those of the problem file)")
    options = parser.parse_args(argv)
    rows = []
    for name in options.plant or PLANTS:
        result, optima = run(name, options.steps, options.starts, options.seconds)
        rows.append(row(name, result, optima))
    header = [
        "",
        "parameters, metrics",
        "backup",
        "adapted",
        "IPOPT",
        "share",
        "violations",
        "steps",
        "rejected",
        "seconds",
    ]
    print_table(header, rows)


if __name__ == "__main__":
    main()
