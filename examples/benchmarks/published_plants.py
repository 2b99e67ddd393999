"""Plants of the literature in closed loop: the numbers are published, levels, horizons and weights are this project's.

`beyond_the_scenarios.py` adapts them with and without audits. What a source does not give is marked "own" beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import control
import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl import ControlProblem, MetricOptions, Policy, Quadratic, lqr, scenarios
from scpo_ctrl.models import Plant, cart_pole, from_statespace

SCENARIOS, HIDDEN = 32, 12  # of every loop, as in November 2026
_CAREFUL = (0.1, 10.0)  # weights of a backup's states and commands, relative to their bounds
_EAGER = 0.0025  # weight of the commands in the objective, likewise: that of R4


def dc_servo() -> ControlProblem:
    """Return a motor that turns a load through an elastic shaft, whose torque is bounded.

    A. Bemporad, E. Mosca, "Fulfilling hard constraints in uncertain linear systems by reference managing", Automatica
    34, 1998. The torque is a state in place of the motor's angle, so that its bound is one of a state.
    """
    stiffness, inertia, load, friction, of_load = 1280.2, 0.5, 25.0, 0.1, 25.0  # N m/rad, kg m², kg m², N m s/rad twice
    motor, resistance, ratio = 10.0, 20.0, 20.0  # N m/A, ohm, gear
    back = (friction + motor**2 / resistance) / inertia  # 1/s
    A = np.array(
        [
            [0, 1, 0, 0],
            [0, -of_load / load, -1 / load, 0],
            [0, stiffness, 0, -stiffness / ratio],  # torque = k (angle of the load - that of the motor / ratio)
            [0, 0, 1 / (ratio * inertia), -back],
        ]
    )
    B = np.array([[0], [0], [0], [motor / (resistance * inertia)]])
    half = [0.5, np.inf, 78.5398, np.inf]  # the source bounds the torque; half a radian is own
    plant = _sampled("DC servo", A, B, 0.1, half, [220.0])
    return _loop(plant, [1.0, 0, 0, 0], horizon=50)


def ball_and_plate() -> ControlProblem:
    """Return one axis of a ball on a plate that a motor tilts.

    F. Borrelli, "Constrained optimal control of linear and hybrid systems", LNCIS 290, Springer, 2003; the bounds are
    those of its use as a demonstration of the Multi-Parametric Toolbox.
    """
    A = [[0, 1, 0, 0], [0, 0, -700.0, 0], [0, 0, 0, 1], [0, 0, 0, -33.18]]  # cm, cm/s, rad, rad/s
    B = [[0], [0], [0], [3.7921]]
    plant = _sampled("ball and plate", A, B, 0.03, [30.0, 15.0, np.deg2rad(15), 1.0], [10.0])
    return _loop(plant, [1.0, 0, 0, 0], horizon=60)


def aircraft() -> ControlProblem:
    """Return the unstable longitudinal dynamics of the AFTI-16 with bounded elevator and flaperon.

    P. Kapasouris, M. Athans, G. Stein, "Design of feedback control systems for unstable plants with saturating
    actuators", IFAC Symposium on Nonlinear Control System Design, 1990; sampling time and bounds as in A. Bemporad,
    A. Casavola, E. Mosca, "Nonlinear control of constrained linear systems via predictive reference management", IEEE
    Transactions on Automatic Control 42, 1997: speed, angle of attack, pitch rate, pitch. Angles count in degrees, so
    the speed in π/180 ft/s.
    """
    A = [
        [-0.0151, -60.5651, 0, -32.174],
        [-0.0001, -1.3411, 0.9929, 0],
        [0.00018, 43.2541, -0.86939, 0],
        [0, 0, 1, 0],
    ]
    B = [[-2.516, -13.136], [-0.1689, -0.2514], [-17.251, -1.5766], [0, 0]]
    half = [2000.0, 0.5, np.inf, 100.0]  # own: the speed's, 35 ft/s
    plant = _sampled("AFTI-16", A, B, 0.05, half, [25.0, 25.0])
    return _loop(plant, [0, 1.0, 0, 100.0], horizon=60)


def slow_cart_pole() -> ControlProblem:
    """Return the cart-pole of reference problem R4 with a pole three times as long, at 10 Hz: own numbers."""
    plant = cart_pole(dt=0.1)
    return _loop(_with_pole(plant, 1.5, "slow cart-pole"), [1.0, 0, 0.1, 0], horizon=60)


def fast_cart_pole() -> ControlProblem:
    """Return the cart-pole of reference problem R4 with a pole a third as long, at 30 Hz: own numbers."""
    plant = cart_pole(dt=1 / 30, rate_max=4.0)
    return _loop(_with_pole(plant, 0.5 / 3, "fast cart-pole"), [1.0, 0, 0.1, 0], horizon=60)


def four_tanks(*, minimum_phase: bool) -> ControlProblem:
    """Return four tanks that two pumps fill crosswise, linearised around either operating point of the source.

    K. H. Johansson, "The quadruple-tank process: a multivariable laboratory process with an adjustable zero", IEEE
    Transactions on Control Systems Technology 8, 2000.
    """
    area, hole, gravity = (
        np.array([28.0, 32.0, 28.0, 32.0]),
        np.array([0.071, 0.057, 0.071, 0.057]),
        981.0,
    )  # cm², cm/s²
    if minimum_phase:
        rest, pumps, gain, split = [12.4, 12.7, 1.8, 1.4], [3.00, 3.00], [3.33, 3.35], [0.70, 0.60]
    else:  # cm, V, cm³/(V s), part of the flow into the lower tank
        rest, pumps, gain, split = [12.6, 13.0, 4.8, 4.9], [3.15, 3.15], [3.14, 3.29], [0.43, 0.34]
    levels, volts = np.array(rest), np.array(pumps)
    rate = hole / area * np.sqrt(gravity / (2 * levels))  # 1/s
    A = np.diag(-rate)
    A[0, 2], A[1, 3] = area[2] / area[0] * rate[2], area[3] / area[1] * rate[3]
    B = np.zeros((4, 2))
    B[0, 0], B[1, 1] = split[0] * gain[0] / area[0], split[1] * gain[1] / area[1]
    B[2, 1], B[3, 0] = (1 - split[1]) * gain[1] / area[2], (1 - split[0]) * gain[0] / area[3]
    plant = from_statespace(
        control.sample_system(control.ss(A, B, np.eye(4), 0), 5.0),  # own: 5 s
        name=f"four tanks, {'minimum' if minimum_phase else 'non-minimum'} phase",
        x_min=-levels, x_max=20.0 - levels, u_min=-volts, u_max=10.0 - volts,  # own: 20 cm and 10 V
    )  # fmt: skip
    return _loop(plant, [1.0, 1.0, 0, 0], horizon=60)


def masses() -> ControlProblem:
    """Return six masses between walls, joined by springs, without friction; three actuators pull pairs together.

    Y. Wang, S. Boyd, "Fast model predictive control using online optimization", IEEE Transactions on Control Systems
    Technology 18, 2010; without its disturbance.
    """
    springs = -2 * np.eye(6) + np.eye(6, k=1) + np.eye(6, k=-1)  # masses and stiffness are one
    pulls = np.zeros((6, 3))
    for k, (one, other) in enumerate(((0, 1), (2, 4), (3, 5))):
        pulls[one, k], pulls[other, k] = 1.0, -1.0
    A = np.block([[np.zeros((6, 6)), np.eye(6)], [springs, np.zeros((6, 6))]])
    B = np.vstack([np.zeros((6, 3)), pulls])
    plant = _sampled("masses", A, B, 0.5, [4.0] * 12, [0.5] * 3)
    return _loop(plant, [1.0] * 12, horizon=30)


def _sampled(name: str, A: ArrayLike, B: ArrayLike, dt: float, x_half: ArrayLike, u_half: ArrayLike) -> Plant:
    """Return a linear plant with symmetric bounds, its command held over a sample."""
    x, u = np.array(x_half), np.array(u_half)
    system = control.sample_system(control.ss(A, B, np.eye(len(x)), 0), dt)
    return from_statespace(system, x_min=-x, x_max=x, u_min=-u, u_max=u, name=name)


def _with_pole(plant: Plant, half_length: float, name: str) -> Plant:
    nominal = plant.p_nominal.copy()
    nominal[plant.p_labels.index("half_length")] = half_length  # m
    return plant.replace(p_nominal=nominal, name=name)


def _loop(plant: Plant, weights: ArrayLike, *, horizon: int, level: float = 0.8) -> ControlProblem:
    """Return a plant with a careful backup and an eager objective; weights are relative to the bounds."""
    x, u = ((plant.x_max - plant.x_min) / 2, (plant.u_max - plant.u_min) / 2)
    x = np.where(np.isfinite(x), x, 1.0)
    states, commands = _CAREFUL
    backup = lqr(plant, states / x**2, commands / u**2)
    batch = scenarios(plant, backup, horizon=horizon, count=SCENARIOS, level=level)
    objective = Quadratic((np.array(weights) + 1e-2) / x**2, _EAGER / u**2)
    return ControlProblem(Policy(plant, backup, (HIDDEN,)), batch, objective, MetricOptions())


PUBLISHED: dict[str, Callable[[], ControlProblem]] = {
    "DC servo": dc_servo,
    "ball and plate": ball_and_plate,
    "AFTI-16": aircraft,
    "slow cart-pole": slow_cart_pole,
    "fast cart-pole": fast_cart_pole,
    "four tanks, minimum phase": partial(four_tanks, minimum_phase=True),
    "four tanks, non-minimum phase": partial(four_tanks, minimum_phase=False),
    "masses": masses,
}
