"""Small problems with names, for tests: each runs in a fraction of a second."""

from __future__ import annotations

import casadi as ca
import numpy as np

from scpo_ctrl.loop.design import lqr
from scpo_ctrl.loop.metrics import MetricOptions
from scpo_ctrl.loop.policy import Policy
from scpo_ctrl.loop.scenario import scenarios
from scpo_ctrl.models import Plant, double_integrator, linear
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.problem.objective import Quadratic

BOX = ([-1.0, -1.0], [1.0, 1.0], [-1.0], [1.0])


def pendulum() -> Plant:
    """Return a damped pendulum: nonlinear, at rest at the origin."""
    x, u = ca.SX.sym("x", 2), ca.SX.sym("u")
    f = ca.vertcat(x[1], -9.81 * ca.sin(x[0]) - 0.3 * x[1] + u)
    low, high = np.full(2, -2.0), np.full(2, 2.0)
    return Plant(name="pendulum", x=x, u=u, f=f, x_min=low, x_max=high, u_min=-np.ones(1), u_max=np.ones(1))


def control_problem(
    plant: Plant, hidden=(), *, count=4, horizon=10, seed=0, stability=True, **policy
) -> ControlProblem:
    """Return a plant with a conservative LQR backup, a few scenarios and the quadratic objective."""
    backup = lqr(plant, np.full(plant.nx, 0.1), np.full(plant.nu, 10.0))
    batch = scenarios(plant, backup, horizon=horizon, count=count, level=0.8, seed=seed)
    objective = Quadratic(np.ones(plant.nx), np.full(plant.nu, 0.05))
    return ControlProblem(
        Policy(plant, backup, tuple(hidden), **policy), batch, objective, MetricOptions(stability=stability), seed=seed
    )


def double_integrator_problem(hidden=(4,), **options) -> ControlProblem:
    """Return R3's plant with a small network: nx = 2, nu = 1."""
    return control_problem(double_integrator(), hidden, **options)


def scalar_problem(hidden=(), **options) -> ControlProblem:
    """Return x⁺ = 0.9 x + 0.5 u: nx = nu = 1; a linear residual has one parameter."""
    return control_problem(linear([[0.9]], [[0.5]], 0.1, ([-2.0], [2.0], [-1.0], [1.0])), hidden, **options)


def offset_problem(hidden=(3,), **options) -> ControlProblem:
    """Return a plant whose states are small differences of large numbers, with a high gain and no bound above."""
    x, u = ca.SX.sym("x", 1), ca.SX.sym("u", 1)
    plant = Plant(
        name="offset",
        x=x,
        u=u,
        f=300.1 + 1.2 * (x - 300.1) + 0.1 * (u - 0.3),
        dt=0.1,
        x_min=np.array([299.9]),
        x_max=np.array([np.inf]),
        u_min=np.array([-2.1]),
        u_max=np.array([2.3]),
        x_eq=np.array([300.1]),
        u_eq=np.array([0.3]),
        x_labels=("temperature",),
        x_units=("K",),
    )
    return control_problem(plant, hidden, **options)


def two_input_problem(nx=4, hidden=(), **options) -> ControlProblem:
    """Return a plant with two inputs and an equilibrium that is not the origin, its bounds not floats, one missing."""
    x, u = ca.SX.sym("x", nx), ca.SX.sym("u", 2)
    x_eq, u_eq = np.linspace(0.3, 1.1, nx), np.array([0.1765, -0.2])
    A = 0.95 * np.eye(nx) + 0.1 * np.eye(nx, k=1)
    B = np.zeros((nx, 2))
    B[-1, 0], B[0, 1] = 0.1, 0.05
    plant = Plant(
        name="two_inputs",
        x=x,
        u=u,
        f=ca.DM(x_eq) + ca.DM(A) @ (x - ca.DM(x_eq)) + ca.DM(B) @ (u - ca.DM(u_eq)),
        dt=0.05,
        x_min=x_eq - 2.0,
        x_max=np.append(x_eq[:-1] + 3.0, np.inf),
        u_min=u_eq - 0.7,
        u_max=u_eq + np.array([0.7, 1.1]),
        x_eq=x_eq,
        u_eq=u_eq,
        u_labels=("valve", "heater"),
        u_units=("%", "kW"),
    )
    return control_problem(plant, hidden, scale=tuple(np.linspace(1.0, 3.0, nx)), **options)
