"""A motor under load, for tests of loops under controllers with memory."""

from __future__ import annotations

import casadi as ca
import numpy as np

from scpo_ctrl.models import Plant, discretise

RANGES = {"friction": (0.75, 0.85), "gain": (0.98, 1.02)}


def loaded_motor():
    """Return a motor at speed whose sensor's gain and friction are parameters."""
    x, u, p = ca.SX.sym("x", 2), ca.SX.sym("u"), ca.SX.sym("p", 2)
    friction, gain = p[0], p[1]
    f = ca.vertcat(x[1] - friction * ca.tanh(2 * x[0]), 5 * (u - x[1]) - 0.2 * x[0])
    rest = float(np.tanh(1.0)) * 0.8
    plant = Plant(
        name="motor", x=x, u=u, p=p, p_nominal=[0.8, 1.0], p_labels=("friction", "gain"), f=f, y=gain * x[0],
        x_min=[-1, -4], x_max=[2, 4], u_min=[-3], u_max=[3], x_eq=[0.5, rest], u_eq=[rest + 0.02],
    )  # fmt: skip
    return discretise(plant, 0.1)
