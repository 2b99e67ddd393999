"""A buck converter sampled at 20 kHz: state feedback with integral action, the load known to within a third.

θ₀ is LQ design with weights by Bryson's rule (Franklin, Powell and Workman, Digital Control of Dynamic Systems, 1998):
one over the squares of 10 A, 1 V, 3 mV s and a tenth of the duty cycle.
"""

import casadi as ca

import scpo_ctrl as sc
from scpo_ctrl.controllers import lqi
from scpo_ctrl.models import buck_converter

LOADS = {"load": (2.5, 4.0)}  # ohm


def make_problem() -> sc.ControlProblem:
    """Return the loop, from half of the set that it holds for all loads."""
    plant = buck_converter(dt=50e-6).replace(y=ca.SX(0, 1), y_labels=(), y_units=())  # its current too is measured
    controller = lqi(plant, [1 / 10**2, 1.0, 1 / 3e-3**2], [1 / 0.1**2], tracked=[1])
    loop = sc.controlled(plant, controller, parameters=LOADS)
    starts = sc.scenarios(loop.plant, loop.backup, horizon=150, count=24, level=0.5, parameters=LOADS)
    metrics = sc.MetricOptions(contraction=0.9, contraction_floor=0.6)  # the load moves the current at rest
    return sc.ControlProblem(loop, starts, sc.Quadratic([0.0, 1.0], [100.0]), metrics)
