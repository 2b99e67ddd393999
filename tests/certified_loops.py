"""Loops whose smoothness constants are bounded, and the Hessians of their metrics to compare with."""

from __future__ import annotations

import casadi as ca
import numpy as np
import proved_loops
from loops import pendulum
from problems import double_integrator_problem, two_input_problem

from scpo_ctrl import ControlProblem
from scpo_ctrl.loop.backup import Backup
from scpo_ctrl.loop.design import lqr
from scpo_ctrl.loop.metrics import MetricOptions
from scpo_ctrl.loop.policy import Policy
from scpo_ctrl.loop.rest import BackupRest
from scpo_ctrl.loop.scenario import scenarios
from scpo_ctrl.models import Plant, cart_pole
from scpo_ctrl.problem.objective import Quadratic

LOOP = MetricOptions(stability=False)  # which has no certified bound
EVERYTHING = MetricOptions(stability=False, terminal=True, contraction=0.95)


def with_metrics(problem: ControlProblem, options: MetricOptions, batch=None, **arguments) -> ControlProblem:
    """Return the problem with other metrics or scenarios."""
    return ControlProblem(problem.policy, batch or problem.scenarios, problem.objective_data, options, **arguments)


def disturbed_problem(hidden=()) -> ControlProblem:
    """Return the double integrator with another mass in each scenario and disturbances that are partly constant."""
    problem = double_integrator_problem(hidden)
    batch = scenarios(
        problem.plant, problem.backup, horizon=9, count=5, level=0.5, parameters={"mass": (0.7, 1.5)},
        disturbance=[0.02, 0.05], disturbance_fixed=0.5,
    )  # fmt: skip
    return with_metrics(problem, EVERYTHING, batch)


def loaded_problem(hidden=(3,)) -> ControlProblem:
    """Return a damped mass under a constant load, which moves where it settles."""
    x, u, p = ca.SX.sym("x", 2), ca.SX.sym("u"), ca.SX.sym("p")
    bounds = {"x_min": [-5.0, -1.5], "x_max": [5.0, 1.5], "u_min": [-1.0], "u_max": [1.0]}
    f = ca.vertcat(x[0] + 0.1 * x[1], 0.95 * x[1] + 0.1 * (u + p))
    plant = Plant(name="loaded", x=x, u=u, p=p, p_labels=("load",), p_nominal=[0.0], f=f, dt=0.1, **bounds)
    backup = lqr(plant, [0.1, 0.1], [10.0])
    batch = scenarios(plant, backup, horizon=9, count=5, level=0.3, parameters={"load": (-0.1, 0.1)})
    return ControlProblem(Policy(plant, backup, hidden), batch, Quadratic([1.0, 0.1], [0.05]), EVERYTHING)


PROBLEMS = {
    "loaded, one layer": loaded_problem,
    "linear": lambda: with_metrics(double_integrator_problem(()), EVERYTHING),
    "one layer": lambda: with_metrics(double_integrator_problem((4,), scale=(1.0, 1.0)), EVERYTHING),
    "two layers": lambda: with_metrics(double_integrator_problem((3, 2), horizon=7, count=2), EVERYTHING),
    "two inputs, linear": lambda: with_metrics(two_input_problem(4, (), horizon=8), EVERYTHING),
    "two inputs, one layer": lambda: with_metrics(two_input_problem(3, (2,), horizon=6, count=2), EVERYTHING),
    "disturbed, linear": disturbed_problem,
    "disturbed, one layer": lambda: disturbed_problem((3,)),
}


def nonlinear_problem() -> ControlProblem:
    plant = pendulum()
    backup = Backup(K=np.array([[0.5, 0.4, 0.0], [0.1, 0.0, 0.2]]), P=np.eye(3), rho=0.01)
    batch = scenarios(plant, backup, horizon=6, count=2)
    return ControlProblem(Policy(plant, backup), batch, Quadratic(np.ones(3), np.ones(2)), EVERYTHING)


def linear_at_nominal_parameters_only() -> ControlProblem:
    x, u, p = ca.SX.sym("x"), ca.SX.sym("u"), ca.SX.sym("p")
    one = np.ones(1)
    plant = Plant(
        name="stiffening", x=x, u=u, p=p, p_nominal=np.zeros(1), f=0.9 * x + u + p * x**3, dt=0.1,
        x_min=-one, x_max=one, u_min=-one, u_max=one,
    )  # fmt: skip
    assert plant.is_linear
    backup = lqr(plant, [1.0], [1.0])
    batch = scenarios(plant, backup, horizon=6, count=3, parameters={"p0": (0.0, 0.1)})
    return ControlProblem(Policy(plant, backup), batch, Quadratic([1.0], [1.0]), EVERYTHING)


def nonlinear(make, hidden=(), horizon=10, **given) -> ControlProblem:
    """Return a problem of small deviations on a nonlinear plant under an LQR."""
    policy = make()
    batch = scenarios(policy.plant, policy.backup, horizon=horizon, count=3, level=0.5, **given)
    cost = Quadratic(np.ones(policy.plant.nx), np.full(policy.plant.nu, 0.05))
    return ControlProblem(Policy(policy.plant, policy.backup, hidden), batch, cost, EVERYTHING)


def cart_pole_policy() -> Policy:
    plant = cart_pole()
    return Policy(plant, lqr(plant, [1.0, 1.0, 10.0, 1.0], [1.0]))


NONLINEAR = {
    "two inputs": nonlinear_problem,
    "linear at nominal parameters only": linear_at_nominal_parameters_only,
    "pendulum": lambda: nonlinear(proved_loops.pendulum, parameters={"gravity": (0.9, 1.1)}),
    "pendulum, one layer": lambda: nonlinear(proved_loops.pendulum, (3,)),
    "spring, disturbed": lambda: nonlinear(proved_loops.pushed, disturbance=[1e-3, 1e-3]),
    "tanks": lambda: nonlinear(proved_loops.tanks),
    "cart-pole": lambda: nonlinear(cart_pole_policy, horizon=6),
}


def hessian_function(problem: ControlProblem) -> ca.Function:
    """Return the Hessians of all metrics of a scenario, (θ, x0, p, w, rest) -> (rows · d, d), of the smooth loop."""
    plant, policy, N = problem.plant, problem.policy, problem.scenarios.horizon
    nw = problem.scenarios.w.shape[2]
    theta, x0 = ca.SX.sym("theta", policy.theta_dim), ca.SX.sym("x0", plant.nx)
    p, w = ca.SX.sym("p", plant.npar), ca.SX.sym("w", nw, N)
    X, U = [x0], []
    for t in range(N):
        U.append(policy.command(X[-1], theta))
        X.append(plant.function(X[-1], U[-1], p) + (w[:, t] if nw else 0))
    rest = ca.SX.sym("rest", plant.nx)
    g = problem.scenario_metrics.expression(ca.horzcat(*X), ca.horzcat(*U), rest)
    hessians = ca.jacobian(ca.vec(ca.jacobian(g, theta).T), theta)
    return ca.Function("hessians", [theta, x0, p, w, rest], [hessians])


def hessian_norms(problem: ControlProblem, function: ca.Function, theta: np.ndarray) -> np.ndarray:
    """Return the spectral norm of every metric's Hessian at θ, (m,)."""
    batch, d = problem.scenarios, theta.size
    rests = BackupRest(problem.plant, problem.backup).places(batch.p)
    rests = np.tile(problem.plant.x_eq, (batch.count, 1)) if rests is None else rests
    H = [function(theta, batch.x0[s], batch.p[s], batch.w[s].T, rests[s]).full() for s in range(batch.count)]
    return np.linalg.norm(np.concatenate(H).reshape(-1, d, d), 2, axis=(1, 2)) / problem.metric_units


def ball(rng: np.random.Generator, radius: float, d: int, count: int) -> np.ndarray:
    """Return points of the ball, the first half of them on its surface."""
    points = rng.normal(size=(count, d))
    lengths = np.where(np.arange(count) < count // 2, 1.0, rng.uniform(size=count))
    return points * (radius * lengths / np.linalg.norm(points, axis=1))[:, None]


def parameters(problem: ControlProblem, size=0.3) -> np.ndarray:
    """Return parameters away from the safe start."""
    return problem.theta_initial + size * np.random.default_rng(7).normal(size=problem.theta_dim)
