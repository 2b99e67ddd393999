"""Runs under controllers to export, by name: with and without memory, references, several inputs."""

from __future__ import annotations

import functools
from collections.abc import Callable

import casadi as ca
import control
import numpy as np

import scpo_ctrl as sc
from scpo_ctrl.controllers import gain_schedule, linear_controller, lqg, lqi, pid, state_feedback
from scpo_ctrl.loop.controlled import ControllerPolicy, controlled
from scpo_ctrl.loop.controller import Controller
from scpo_ctrl.models import Plant, dc_motor, lane_keeping, linear, quadruple_tank


def servo() -> Plant:
    """Return a motor whose position is measured."""
    return dc_motor()


def with_pid(**options: object) -> ControllerPolicy:
    """Return the motor under a PID."""
    plant = servo()
    gains = (1.0, 0.5, 0.02) if options.get("form") == "standard" else (1.0, 2.0, 0.02)
    return controlled(plant, pid(plant, *gains, filter_time=2e-3, **options))


def with_lqi() -> ControllerPolicy:
    """Return two coupled states, both tracked, under LQI: two inputs, two references, two memories."""
    bounds = ([-2.0, -3.0], [2.0, 3.0], [-1.5, -2.0], [1.0, 2.5])
    plant = linear([[0.9, 0.1], [-0.05, 0.85]], [[0.2, 0.05], [0.0, 0.3]], 0.1, bounds, x_units=("m", "K"))
    return controlled(plant, lqi(plant, [1.0, 1.0, 5.0, 5.0], [0.5, 0.5], tracked=(0, 1)), reference=[0.3, -0.2])


def with_lqg() -> ControllerPolicy:
    """Return the quadruple tank under LQG: a nonlinear plant, four memories, no references."""
    plant = quadruple_tank()
    return controlled(plant, lqg(plant, np.full(4, 0.1), [10.0, 10.0], np.full(4, 0.01), [0.1, 0.1]))


def with_state_feedback() -> ControllerPolicy:
    """Return a car that keeps its lane: no memory, no references."""
    plant = lane_keeping()
    return controlled(plant, state_feedback(plant, sc.lqr(plant, [1.0, 1.0, 1.0], [1.0]).K))


def with_gain_schedule() -> ControllerPolicy:
    """Return the same under a table of three gains."""
    plant = lane_keeping()
    K = sc.lqr(plant, [1.0, 1.0, 1.0], [1.0]).K
    return controlled(plant, gain_schedule(plant, [-0.5, 0.0, 0.5], [1.2 * K, K, 1.2 * K], signal=0))


def with_two_pids() -> ControllerPolicy:
    """Return a cascade as one linear controller: a PI for the position, whose output a P for the speed follows."""
    A, B = [[1.0, 0.1], [-0.2, 0.85]], [[0.0], [0.1]]
    plant = linear(A, B, 0.1, ([-2.0, -5.0], [2.0, 5.0], [-8.0], [8.0]), x_labels=("position", "velocity"))
    # Errors (position, speed) -> force; the integral of the position's error, and the outer loop's filter.
    system = control.ss([[1.0, 0.0], [0.1, 0.6]], [[0.1, 0.0], [0.3, 0.0]], [[1.5, 0.4]], [[2.0, 1.2]], 0.1)
    return controlled(plant, linear_controller(plant, system, memory=[4.0, 3.0]))


def by_hand() -> ControllerPolicy:
    """Return a law with many operations, names that mean something in C, and a memory that commands ignore."""
    plant = linear([[0.9]], [[0.1]], 0.1, ([-1.0], [1.0], [-5.0], [5.0]), x_labels=("double",), x_units=("µm */",))
    theta, y, r, u, xi = (ca.SX.sym(n, k) for n, k in (("t", 3), ("y", 1), ("r", 1), ("u", 1), ("x", 2)))
    e = r - y
    bend = (
        ca.tanh(theta[2] * e) + 0.1 * ca.sign(e) * ca.sqrt(ca.fabs(e) + 1e-3) + ca.atan2(e, 2.0) - ca.hypot(e, 1.0) + 1
    )
    command = theta[0] * ca.fmin(ca.fmax(e, -0.8), 0.8) + xi[0] + 0.05 * bend
    inside = ca.logic_and(command < u + 1e-2, ca.logic_not(command < u - 1e-2))
    memory = ca.vertcat(
        xi[0] + ca.if_else(inside, 0.1 * theta[1] * e, -0.01 * xi[0]),
        0.5 * xi[1] + ca.if_else(e > 0, 0.3 * e, ca.exp(e) - 1),
    )
    law = Controller(
        name="law", theta=theta, theta_initial=[3.0, 0.5, 0.3], y=y, r=r, u=u, xi=xi, command=command, memory=memory,
        memory_min=[-5.0, -2.0], memory_max=[5.0, 2.0], memory_labels=("sin", "9 θ²; int"),
        theta_labels=("while", "double", "t1"), theta_units=('"', "\\", "s"),
    )  # fmt: skip
    return controlled(plant, law)


def bent() -> ControllerPolicy:
    """Return a law whose command is not affine in its memory."""
    plant = linear([[0.9]], [[0.1]], 0.1, ([-1.0], [1.0], [-1.0], [1.0]))
    theta, y, xi = ca.SX.sym("t"), ca.SX.sym("y"), ca.SX.sym("x")
    law = Controller(
        name="bent", theta=theta, theta_initial=[1.0], y=y, xi=xi, command=ca.tanh(2 * xi) - theta * y,
        memory=0.5 * xi - 0.01 * y, memory_min=[-2.0], memory_max=[2.0],
    )  # fmt: skip
    return controlled(plant, law)


def dependent() -> ControllerPolicy:
    """Return a law of two commands that the same sum of memories moves: not every pair of them can be reached."""
    plant = linear(0.9 * np.eye(2), 0.1 * np.eye(2), 0.1, ([-1.0] * 2, [1.0] * 2, [-5.0, -1e3], [5.0, 1e3]))
    theta, y, u, xi = (ca.SX.sym(n, k) for n, k in (("t", 2), ("y", 2), ("u", 2), ("x", 3)))
    both = xi[0] + xi[1]
    law = Controller(
        name="dependent", theta=theta, theta_initial=[2.0, 1.0], y=y, u=u, xi=xi,
        command=ca.vertcat(both - theta[0] * y[0], 100 * both - theta[1] * y[1]),
        memory=ca.vertcat(0.5 * xi[0], 0.5 * xi[1] + 1e-4 * u[1], 0.25), memory_min=[-1.0] * 3, memory_max=[1.0] * 3,
    )  # fmt: skip
    return controlled(plant, law)


def without_memory() -> ControllerPolicy:
    """Return a law with two references, of which one has a small part, and no memory."""
    plant = linear([[0.9]], [[0.1]], 0.1, ([-1.0], [1.0], [-1.0], [1.0]))
    theta, y, r = ca.SX.sym("t"), ca.SX.sym("y"), ca.SX.sym("r", 2)
    return controlled(
        plant,
        Controller(name="law", theta=theta, theta_initial=[2.0], y=y, r=r, command=theta * (r[0] - y) + 0.1 * r[1]),
    )


def limited() -> ControllerPolicy:
    """Return a law that is defined near rest only: roots and logarithms of what a far measurement makes negative."""
    plant = linear([[0.9]], [[0.1]], 0.1, ([-1.0], [1.0], [-5.0], [5.0]))
    theta, y, r, xi = (ca.SX.sym(n, k) for n, k in (("t", 2), ("y", 1), ("r", 1), ("x", 1)))
    law = Controller(
        name="limited", theta=theta, theta_initial=[1.0, 0.5], y=y, r=r, xi=xi,
        command=theta[0] * (ca.log1p(r - y) + xi) + theta[1] * (1 - ca.sqrt(1 + 3 * y)),
        memory=0.5 * xi - 0.1 * ca.log(1 + xi + y) - 0.01 * ca.expm1(9 * y), memory_min=[-2.0], memory_max=[2.0],
    )  # fmt: skip
    return controlled(plant, law)


POLICIES: dict[str, Callable[[], ControllerPolicy]] = {
    "pid": with_pid,
    "pid_standard_conditional": functools.partial(with_pid, form="standard", anti_windup="conditional"),
    "pid_unguarded": functools.partial(with_pid, anti_windup="none", setpoint_weight=0.5),
    "lqi": with_lqi,
    "lqg": with_lqg,
    "state_feedback": with_state_feedback,
    "gain_schedule": with_gain_schedule,
    "cascade": with_two_pids,
    "by_hand": by_hand,
    "bent": bent,
    "dependent": dependent,
    "without_memory": without_memory,
}
NEAR_REST = {"limited": limited}  # not defined for every signal


@functools.cache
def result_of(name: str) -> sc.Result:
    """Return a short run under this controller."""
    policy = (POLICIES | NEAR_REST)[name]()
    plant = policy.plant
    states = plant.nx - policy.controller.memories
    batch = sc.scenarios(plant, policy.backup, horizon=20, count=6, level=0.3)
    options = sc.MetricOptions(contraction=0.99, contraction_floor=0.9)
    objective = sc.Quadratic(np.ones(states), np.full(plant.nu - policy.controller.memories, 0.01))
    return sc.adapt(sc.ControlProblem(policy, batch, objective, options), sc.AdaptOptions(steps=2, audit=False))
