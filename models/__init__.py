"""Constrained plants: the data class, integrators, and the zoo."""

import inspect
from collections.abc import Callable
from typing import Any

from scpo_ctrl.errors import DomainError
from scpo_ctrl.messages import shown
from scpo_ctrl.models.actuation import actuator_lag, computation_delay, input_delay, rate_limit
from scpo_ctrl.models.buck import buck_converter, buck_converter_ode
from scpo_ctrl.models.cartpole import cart_pole, cart_pole_ode
from scpo_ctrl.models.dcmotor import dc_motor, dc_motor_ode
from scpo_ctrl.models.equations import equations
from scpo_ctrl.models.function import from_function
from scpo_ctrl.models.integrator import discretise
from scpo_ctrl.models.lanekeeping import lane_keeping, lane_keeping_ode
from scpo_ctrl.models.linear import double_integrator, linear
from scpo_ctrl.models.nonlinear import from_nonlinear
from scpo_ctrl.models.plant import Plant
from scpo_ctrl.models.quadrotor import planar_quadrotor, planar_quadrotor_ode
from scpo_ctrl.models.quadrupletank import quadruple_tank, quadruple_tank_ode
from scpo_ctrl.models.sensing import quantise, sensor_noise
from scpo_ctrl.models.statespace import from_statespace, to_statespace
from scpo_ctrl.models.varying import with_signals

ZOO: dict[str, Callable[..., Plant]] = {
    "buck_converter": buck_converter,
    "cart_pole": cart_pole,
    "dc_motor": dc_motor,
    "double_integrator": double_integrator,
    "lane_keeping": lane_keeping,
    "planar_quadrotor": planar_quadrotor,
    "quadruple_tank": quadruple_tank,
}


def make_plant(kind: str, **parameters: Any) -> Plant:
    """Make a plant of the zoo by its name.

    Parameters
    ----------
    kind : str
        A key of ``ZOO``.
    **parameters
        Keyword arguments of the plant's function, all with defaults.

    Returns
    -------
    Plant
        The plant.

    Raises
    ------
    DomainError
        If the name or a parameter is unknown, or a value is out of range.
    """
    if not isinstance(kind, str) or kind not in ZOO:
        raise DomainError(f"unknown plant {shown(kind)}; the zoo has: {', '.join(sorted(ZOO))}")
    known = inspect.signature(ZOO[kind]).parameters
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise DomainError(f"unknown key {shown(unknown[0])} of plant {kind!r}; known: {', '.join(known)}")
    return ZOO[kind](**parameters)


__all__ = [
    "ZOO",
    "Plant",
    "actuator_lag",
    "buck_converter",
    "buck_converter_ode",
    "cart_pole",
    "cart_pole_ode",
    "computation_delay",
    "dc_motor",
    "dc_motor_ode",
    "discretise",
    "double_integrator",
    "equations",
    "from_function",
    "from_nonlinear",
    "from_statespace",
    "input_delay",
    "lane_keeping",
    "lane_keeping_ode",
    "linear",
    "make_plant",
    "planar_quadrotor",
    "planar_quadrotor_ode",
    "quadruple_tank",
    "quadruple_tank_ode",
    "quantise",
    "rate_limit",
    "sensor_noise",
    "to_statespace",
    "with_signals",
]
