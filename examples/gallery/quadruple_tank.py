"""Four tanks that two pumps fill crosswise, under two PI controllers that know nothing of each other.

θ₀ is the source's: K. H. Johansson, The quadruple-tank process, IEEE Transactions on Control Systems Technology 8(3),
2000: (K, Ti) = (3.0, 30 s) and (2.7, 40 s), behind sensors of 0.5 V/cm.
"""

import casadi as ca

import scpo_ctrl as sc
from scpo_ctrl.models import Plant, quadruple_tank

SENSOR = 0.5  # V/cm


def two_pi(plant: Plant) -> sc.Controller:
    """Return the two controllers: pump k holds level k."""
    y, r, u, integral = (ca.SX.sym(name, 2) for name in ("y", "r", "u", "I"))
    theta = ca.SX.sym("theta", 4)
    gain, time = theta[:2], theta[2:]
    command = gain * (r - y) + integral
    return sc.Controller(
        name="two PI", theta=theta, y=y, r=r, u=u, xi=integral, command=command,
        theta_initial=[3.0 * SENSOR, 2.7 * SENSOR, 30.0, 40.0],
        theta_labels=("K1", "K2", "Ti1", "Ti2"), theta_units=("V/cm", "V/cm", "s", "s"), r_nominal=plant.x_eq[:2],
        memory=integral + plant.dt * gain / time * (r - y) + (u - command) / 10,
        memory_initial=plant.u_eq, memory_min=plant.u_min - 5, memory_max=plant.u_max + 5,
    )  # fmt: skip


def make_problem() -> sc.ControlProblem:
    """Return the loop, from half of the set that it holds."""
    plant = quadruple_tank()
    loop = sc.controlled(plant, two_pi(plant))
    starts = sc.scenarios(loop.plant, loop.backup, horizon=120, count=24, level=0.5)
    cost = sc.Quadratic([1.0, 1.0, 0.0, 0.0], [0.01, 0.01])
    return sc.ControlProblem(loop, starts, cost, sc.MetricOptions(contraction=0.6))
