"""Policies of a hundred to ten thousand weights on a chain of ten masses: what the steps cost and how far they get.

The plant has 20 states (positions and velocities) and 3 forces; 64 scenarios of 60 steps start where the backup just
keeps every bound. Progress is measured against a bound that no policy of any size can beat: the least cost of each
scenario over all trajectories within the bounds, a convex program that CVXPY solves. Evaluations are rollouts of all
scenarios for one θ, forward or adjoint; the d + 1 of a full Jacobian stand beside them.

    python examples/benchmarks/large_policies.py [--weights D …] [--steps N] [--seconds S] [--methods M …]
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cvxpy as cp
import numpy as np
from scipy.linalg import expm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.common import print_table

from scpo_ctrl import AdaptOptions, ControlProblem, Policy, Quadratic, adapt, lqr, scenarios
from scpo_ctrl.adaptation.state import State
from scpo_ctrl.models import Plant, linear

MASSES, FORCES = 10, (0, 4, 9)  # on which masses they act
STIFFNESS, DAMPING, DT = 1.0, 0.1, 0.2  # N/m between neighbours and to both walls, N s/m, s
MOST_FORCE = 0.2  # N; positions and velocities within 1 m and 1 m/s
SCENARIOS, HORIZON, REACH = 64, 60, 1.5  # initial states lie at most this far out, in parts of the backup's level set
WEIGHTS_PER_UNIT = 2 * MASSES + 1 + len(FORCES)
SUBSPACE = 60  # directions of L-BFGS where it is not given all


def chain_of_masses() -> Plant:
    """Return masses of 1 kg in a row, with springs and dampers between them and to the walls, zero-order hold."""
    n, nu = MASSES, len(FORCES)
    bonds = 2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
    A = np.block([[np.zeros((n, n)), np.eye(n)], [-STIFFNESS * bonds, -DAMPING * bonds]])
    B = np.zeros((2 * n, nu))
    B[n + np.array(FORCES), np.arange(nu)] = 1.0
    held = expm(DT * np.block([[A, B], [np.zeros((nu, 2 * n + nu))]]))
    most = np.ones(2 * n), np.full(nu, MOST_FORCE)
    return linear(
        held[: 2 * n, : 2 * n], held[: 2 * n, 2 * n :], DT, (-most[0], most[0], -most[1], most[1]), name="chain"
    )


def make_problem(weights: int) -> ControlProblem:
    """Return the chain under a network of about so many weights."""
    plant = chain_of_masses()
    backup = lqr(plant, [0.1] * plant.nx, [10.0] * plant.nu)
    drawn = scenarios(plant, backup, horizon=HORIZON, count=SCENARIOS, level=0.9)
    batch = scenarios(plant, backup, horizon=HORIZON, initial_states=REACH * drawn.x0, neighbourhood=0.0)
    policy = Policy(plant, backup, (round(weights / WEIGHTS_PER_UNIT),))
    return ControlProblem(policy, batch, Quadratic(Q=[1.0] * plant.nx, R=[0.05] * plant.nu))


def least_cost(problem: ControlProblem) -> float:
    """Return the mean over the scenarios of the least cost within the bounds, whatever chooses the inputs."""
    plant, cost, N = problem.plant, problem.objective_data, problem.scenarios.horizon
    assert isinstance(cost, Quadratic)
    A, B = (np.array(M) for M in plant.linearise())
    x, u, start = cp.Variable((N + 1, plant.nx)), cp.Variable((N, plant.nu)), cp.Parameter(plant.nx)
    stages = cp.sum_squares(x[:-1] @ np.diag(np.sqrt(cost.Q))) + cp.sum_squares(u @ np.diag(np.sqrt(cost.R)))
    moves = [x[0] == start, x[1:] == x[:-1] @ A.T + u @ B.T]
    bounds = [cp.abs(x) <= np.tile(plant.x_max, (N + 1, 1)), cp.abs(u) <= np.tile(plant.u_max, (N, 1))]
    program, total = cp.Problem(cp.Minimize(stages / N), moves + bounds), 0.0
    for start.value in problem.scenarios.x0:
        total += program.solve(solver=cp.CLARABEL)
    return total / problem.scenarios.count


@dataclass
class Track:
    """What a run reached, and when."""

    evaluations: list[int]
    seconds: list[float]  # of computing
    objectives: list[float]

    def first(self, objective: float) -> tuple[str, str]:
        """Return evaluations and seconds until an objective was reached."""
        at = np.flatnonzero(np.array(self.objectives) <= objective)
        return (f"{self.evaluations[at[0]]}", f"{self.seconds[at[0]]:.0f}") if at.size else ("never", "never")


def follow(problem: ControlProblem, seconds: float, **options: object) -> tuple[Track, float]:
    """Adapt until the steps or the seconds of computing are used up; return the track and the least margin."""
    began, track = time.process_time(), Track([], [], [])

    def monitor(state: State) -> bool:
        track.evaluations.append(state.rollouts // problem.rollouts_per_theta)
        track.seconds.append(time.process_time() - began)
        track.objectives.append(state.objective)
        return track.seconds[-1] > seconds

    result = adapt(problem, AdaptOptions(audit=False, **options), monitor=monitor)  # type: ignore[arg-type]
    return track, result.summary()["worst_margin"]


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--weights", type=int, nargs="+", default=[120, 1000, 10_000])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--methods", nargs="+", default=["newton", "newton_krylov", "lbfgs"])
    parser.add_argument("--seconds", type=float, default=600.0, help="of computing, for each run")
    parsed = parser.parse_args(argv)
    rows, bound = [], least_cost(make_problem(WEIGHTS_PER_UNIT))
    for weights in parsed.weights:
        problem = make_problem(weights)
        methods = {"newton": {}} if weights <= 300 else {}
        methods |= {"newton_krylov": {}, "lbfgs": {"directions": min(SUBSPACE, weights)}}
        for method in [name for name in parsed.methods if name in methods]:
            steps = parsed.steps if method != "lbfgs" else 100 * parsed.steps
            track, margin = follow(problem, parsed.seconds, method=method, steps=steps, **methods[method])
            start = problem.objective(problem.theta_initial)
            share = (start - track.objectives[-1]) / (start - bound)
            per_step = track.evaluations[-1] / len(track.evaluations)
            near = track.first(bound + 0.1 * (start - bound)), track.first(bound + 0.03 * (start - bound))
            rows.append(
                [method, f"{problem.theta_dim}", f"{len(track.evaluations)}", f"{per_step:.0f}",
                 f"{per_step / (problem.theta_dim + 1):.2f}", f"{track.objectives[-1]:.5f}", f"{share:.2%}",
                 *near[0], *near[1], f"{track.seconds[-1]:.0f}", f"{margin:.2g}"]
            )  # fmt: skip
    print(f"backup {start:.5f}, least cost of any trajectories {bound:.5f}")
    print_table(
        ["method", "d", "steps", "evaluations a step", "in Jacobians", "objective", "of the possible",
         "to 10 %", "[s]", "to 3 %", "[s]", "all [s]", "worst margin"],
        rows,
    )  # fmt: skip


if __name__ == "__main__":
    main()
