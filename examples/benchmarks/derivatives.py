"""What derivatives of a closed loop cost beside its rollouts: computing time of one thread, for one θ.

The loops are R3 to R5 as shipped, and the chain of ten masses, a dense plant of 20 states, under networks of about 120
and 1000 weights. Of several rounds, in turns, the least counts. "gradient" is that of cost plus terms of every metric,
by the adjoint; "Gauss-Newton" the matrix of the cost, d × d numbers.

    SCPO_THREADS=1 python examples/benchmarks/derivatives.py [--rounds N]
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

import large_policies
from one_step import shipped
from support.common import print_table

from scpo_ctrl import ControlProblem

THETAS = 8  # handed over together, as steps do
MOST_SQUARES = 300  # weights: beyond them no step takes a Gauss-Newton matrix


def loops() -> dict[str, ControlProblem]:
    """Return the problems by name."""
    names = {"R3": "double_integrator", "R4": "cart_pole", "R5": "planar_quadrotor"}
    found = {name: shipped(file)[0] for name, file in names.items()}
    return found | {f"chain, d = {d}": large_policies.make_problem(d) for d in (120, 1008)}


def works(problem: ControlProblem) -> dict[str, Callable[[], object]]:
    """Return what is timed, each for `THETAS` parameters but for the matrix."""
    rollouts, theta = problem.rollouts, problem.theta_initial
    thetas = np.tile(theta, (THETAS, 1))
    terms = np.full(rollouts.sample(theta).size, 1e-3)
    found: dict[str, Callable[[], object]] = {
        "rollouts": lambda: rollouts.evaluate(thetas),
        "gradient": lambda: rollouts.lagrangian_gradients(thetas, terms, terms),
    }
    if theta.size <= MOST_SQUARES:
        found["Gauss-Newton"] = lambda: rollouts.gauss_newton(theta)
    return found


def least_seconds(rounds: int, named: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the least seconds of computing of each."""
    least = dict.fromkeys(named, np.inf)
    for _ in range(1 + rounds):  # compiles in the first one
        for name, work in named.items():
            start = time.process_time()
            work()
            least[name] = min(least[name], time.process_time() - start)
    return least


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    rounds, rows = parser.parse_args(argv).rounds, []
    for name, problem in loops().items():
        least = least_seconds(rounds, works(problem))
        rollout, gradient = (1e3 * least[of] / THETAS for of in ("rollouts", "gradient"))
        matrix = f"{1e3 * least['Gauss-Newton']:.2f}" if "Gauss-Newton" in least else ""
        rows.append(
            [name, f"{problem.theta_dim}", f"{rollout:.3f}", f"{gradient:.3f}", f"{gradient / rollout:.1f}", matrix]
        )
    print_table(["", "d", "rollouts [ms]", "gradient [ms]", "in rollouts", "Gauss-Newton [ms]"], rows)


if __name__ == "__main__":
    main()
