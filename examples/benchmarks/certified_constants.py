"""Certified smoothness constants on R3: how far above the true Hessians, and what adaptation reaches with them.

python examples/benchmarks/certified_constants.py --policy mlp --radius 0.01 --method lbfgs
python examples/benchmarks/certified_constants.py --nonlinear    how far above, on nonlinear plants
"""

import argparse
import importlib.resources
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.common import print_table

from scpo_ctrl import AdaptOptions, ControlProblem, adapt
from scpo_ctrl.adaptation.proven_smoothness import smoothness_bounds
from scpo_ctrl.errors import DomainError
from scpo_ctrl.loop.design import lqr
from scpo_ctrl.loop.metrics import MetricOptions
from scpo_ctrl.loop.policy import Policy
from scpo_ctrl.loop.scenario import scenarios
from scpo_ctrl.models import ball_and_beam, cart_pole, cstr, planar_quadrotor, quadruple_tank
from scpo_ctrl.problem.objective import Quadratic
from scpo_ctrl.record.config import load_problem

PLANTS = [
    (cart_pole(), [1.0, 1.0, 10.0, 1.0], [1.0]),
    (planar_quadrotor(), [1.0] * 6, [100.0] * 2),
    (quadruple_tank(), [1.0] * 4, [1.0] * 2),
    (ball_and_beam(), [1.0] * 4, [1.0]),
    (cstr(), [1.0] * 2, [1.0]),
]
RADII = (1e-4, 1e-3, 1e-2, 1e-1)
_DIFFERENCE = 1e-5  # between two Jacobians


def r3(policy: str) -> ControlProblem:
    """Return R3 with its network, or with a linear policy."""
    problem = load_problem(str(importlib.resources.files("scpo_ctrl") / "data" / "double_integrator.toml"))
    if policy == "mlp":
        return problem
    options = problem.scenario_metrics.options
    return ControlProblem(Policy(problem.plant, problem.backup), problem.scenarios, problem.objective_data, options)


def hessian_norms(problem: ControlProblem, theta: np.ndarray) -> np.ndarray:
    """Return the spectral norm of every metric's Hessian at θ, from differences of exact Jacobians, (m,)."""
    (whole,) = problem.blocks(1)
    steps = _DIFFERENCE * np.eye(theta.size)
    H = np.array([problem.jacobian(theta + h, None, whole) - problem.jacobian(theta - h, None, whole) for h in steps])
    H = (H + H.swapaxes(0, 1)).transpose(2, 0, 1) / (4 * _DIFFERENCE)
    return np.abs(np.linalg.eigvalsh(H)).max(axis=1)


def looseness(problem: ControlProblem, theta: np.ndarray, radius: float, name: str) -> list[list[str]]:
    """Return a row for each kind of metric: bounds over Hessian norms, where these are not tiny."""
    L, norms = smoothness_bounds(problem, theta, radius), hessian_norms(problem, theta)
    kinds = np.tile([row.kind for row in problem.scenario_metrics.rows], problem.scenarios.count)
    rows = []
    for kind in dict.fromkeys(kinds):
        which = (kinds == kind) & (norms > 1e-2 * norms[kinds == kind].max())
        factor = L[which] / norms[which]
        largest = f"{L[kinds == kind].max():.3g}, {norms[kinds == kind].max():.3g}"
        rows.append([name, kind, f"{np.median(factor):.1f}", f"{factor.max():.1f}", largest])
    return rows


def nonlinear() -> list[list[str]]:
    """Return a row for each nonlinear plant and horizon: median factors by the radius, with a linear policy."""
    rows = []
    for plant, Q, R in PLANTS:
        backup = lqr(plant, Q, R)
        for horizon in (10, 50):
            batch = scenarios(plant, backup, horizon=horizon, count=4, level=0.5)
            options = MetricOptions(stability=False, contraction=0.95)
            problem = ControlProblem(Policy(plant, backup), batch, Quadratic(Q, R), options)
            norms, theta = hessian_norms(problem, problem.theta_initial), problem.theta_initial
            which = norms > 1e-2 * norms.max()
            factors = []
            for radius in RADII:
                try:
                    factors.append(f"{np.median(smoothness_bounds(problem, theta, radius)[which] / norms[which]):.1f}")
                except DomainError:
                    factors.append("none")
            rows.append([plant.name, str(horizon), *factors])
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--policy", choices=("linear", "mlp"), default="linear", help="(default: %(default)s)")
    parser.add_argument("--radius", type=float, default=0.01, help="of the ball (default: %(default)s)")
    parser.add_argument("--method", default="gradient", help="of the steps (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=400, help="(default: %(default)s)")
    parser.add_argument("--nonlinear", action="store_true", help="nonlinear plants instead of R3")
    given = parser.parse_args(argv)
    if given.nonlinear:
        print_table(["plant", "horizon", *(f"radius {radius:g}" for radius in RADII)], nonlinear())
        return
    problem = r3(given.policy)
    options = AdaptOptions(steps=given.steps, mode="certified", method=given.method, radius=given.radius)
    result = adapt(problem, options)
    rows = looseness(problem, problem.theta_initial, given.radius, "backup")
    rows += looseness(problem, result.theta, given.radius, "adapted")
    print_table(["at", "metrics", "median factor", "largest", "largest bound, norm"], rows)
    summary = result.summary()
    print(
        f"objective {result.objective_initial:.4f} -> {result.objective_final:.4f} in {result.steps} steps, "
        f"{summary['accepted']} commits, {summary['violations']} violations, worst margin {result.worst_margin():.1e}, "
        f"{result.status.name.lower()}, {result.seconds:.0f} s"
    )


if __name__ == "__main__":
    main()
