"""What audited runs keep of what IPOPT reaches with fewer constraints: R3, R4, R5 and a buck converter.

Both optimise the same objective over the same policy class. The run keeps every metric on scenarios and guards by its
back-off, local stability (E11), and its audits pass (E12); IPOPT keeps the metrics of the scenarios alone, so that it
can only reach more. "kept at least" is (backup - adapted) / (backup - IPOPT) in the objective: no smaller than the
share of what IPOPT could reach on the run's own terms, as far as IPOPT finds the best. "kept" is the same in mean cost
on fresh scenarios, which neither has seen and on which IPOPT's policy need not be safe.

    python examples/benchmarks/price_of_safety.py [--only NAME] [--fresh N] [--starts N] [--seconds S] [--steps N]
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from beyond_the_scenarios import SEED, SHORT, Loop, buck, shipped
from ipopt_reference import ADAPTED, Optimum, best, optimise, print_optima, random_starts
from support.common import print_table

from scpo_ctrl import ControlProblem, Result, adapt
from scpo_ctrl.assurance import Fresh

HEADER = (
    "",
    "scenarios, guards",
    "objective: backup, adapted, IPOPT",
    "kept at least",
    "fresh cost: backup, adapted, IPOPT",
    "kept",
    "violate: adapted, IPOPT",
    "radius: adapted, IPOPT",
    "IPOPT started from",
)

LOOPS: dict[str, Callable[[], Loop]] = {
    "R3, double integrator": partial(shipped, "double_integrator"),
    "R4, cart-pole": partial(shipped, "cart_pole"),
    "R5, planar quadrotor": partial(shipped, "planar_quadrotor"),
    "buck converter": lambda: (buck(), SHORT),
}


def relaxed(problem: ControlProblem) -> ControlProblem:
    """Return the problem without local stability."""
    metrics = dataclasses.replace(problem.scenario_metrics.options, stability=False)
    without = ControlProblem(problem.policy, problem.scenarios, problem.objective_data, metrics)
    return without.with_scenarios(problem.scenarios, problem.theta_initial)


def row(name: str, result: Result, optimum: Optimum, fresh: int) -> list[str]:
    """Return a loop's row of the table."""
    problem = result.problem
    assert isinstance(problem, ControlProblem)
    thetas = (problem.theta_initial, result.theta, optimum.theta)
    beside = [Fresh.drawn(problem, theta, 0, fresh, SEED) for theta in thetas]
    cells = [name, f"{problem.scenarios.count}, {result.guards.count if result.guards else 0}"]
    for values in ([float(problem.objective(theta)) for theta in thetas], [found.objective for found in beside]):
        backup, adapted, reference = values
        kept = f"{(backup - adapted) / (backup - reference):.1%}" if reference < backup else "IPOPT loses"
        cells += [", ".join(f"{value:.5g}" for value in values), kept]
    return [
        *cells,
        ", ".join(f"{found.violations / fresh:.2%}" for found in beside[1:]),
        ", ".join(f"{problem.spectral_radius(theta):.3f}" for theta in thetas[1:]),
        optimum.start,
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Print IPOPT's starts and the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="part of the name of the loops to run")
    parser.add_argument("--fresh", type=int, default=100_000, help="scenarios for each policy (default: %(default)s)")
    parser.add_argument("--starts", type=int, default=2, help="random starts of IPOPT (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=400.0, help="of IPOPT a start (default: %(default)s)")
    parser.add_argument("--steps", type=int, help="steps of the adaptation (default: those of the problem)")
    given = parser.parse_args(argv)
    rows = []
    for name, make in LOOPS.items():
        if given.only not in name:
            continue
        problem, options = make()
        result = adapt(problem, options if given.steps is None else dataclasses.replace(options, steps=given.steps))
        points = [(ADAPTED, result.theta), *random_starts(problem, given.starts)]
        print(name)
        optima = print_optima(problem, optimise(relaxed(problem), points, seconds=given.seconds))
        rows.append(row(name, result, best(optima), given.fresh))
    print_table(HEADER, rows)


if __name__ == "__main__":
    main()
