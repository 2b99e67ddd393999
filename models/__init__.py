"""Constrained plants: the data class, integrators, and the zoo."""

import inspect
from collections.abc import Callable
from typing import Any

from scpo_ctrl.errors import DomainError
from scpo_ctrl.messages import shown
from scpo_ctrl.models.actuation import actuator_lag, computation_delay, input_delay, rate_limit
from scpo_ctrl.models.aircraft import afti_16, afti_16_ode
from scpo_ctrl.models.balancingrobot import balancing_robot, balancing_robot_ode
from scpo_ctrl.models.ballandbeam import ball_and_beam, ball_and_beam_ode
from scpo_ctrl.models.buck import buck_converter, buck_converter_ode
from scpo_ctrl.models.cartpole import cart_pole, cart_pole_ode
from scpo_ctrl.models.cstr import cstr, cstr_ode
from scpo_ctrl.models.dcmotor import dc_motor, dc_motor_ode
from scpo_ctrl.models.equations import equations
from scpo_ctrl.models.function import from_function
from scpo_ctrl.models.heater import heater, heater_ode
from scpo_ctrl.models.integrator import discretise
from scpo_ctrl.models.lanekeeping import lane_keeping, lane_keeping_ode
from scpo_ctrl.models.linear import double_integrator, linear
from scpo_ctrl.models.nominal import with_nominal
from scpo_ctrl.models.nonlinear import from_nonlinear
from scpo_ctrl.models.plant import Plant
from scpo_ctrl.models.quadrotor import planar_quadrotor, planar_quadrotor_ode
from scpo_ctrl.models.quadrupletank import quadruple_tank, quadruple_tank_ode
from scpo_ctrl.models.sensing import quantise, sensor_noise
from scpo_ctrl.models.statespace import from_statespace, to_statespace
from scpo_ctrl.models.varying import with_signals

ZOO: dict[str, Callable[..., Plant]] = {
    "afti_16": afti_16,
    "balancing_robot": balancing_robot,
    "ball_and_beam": ball_and_beam,
    "buck_converter": buck_converter,
    "cart_pole": cart_pole,
    "cstr": cstr,
    "dc_motor": dc_motor,
    "double_integrator": double_integrator,
    "heater": heater,
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
    "afti_16",
    "afti_16_ode",
    "balancing_robot",
    "balancing_robot_ode",
    "ball_and_beam",
    "ball_and_beam_ode",
    "buck_converter",
    "buck_converter_ode",
    "cart_pole",
    "cart_pole_ode",
    "computation_delay",
    "cstr",
    "cstr_ode",
    "dc_motor",
    "dc_motor_ode",
    "discretise",
    "double_integrator",
    "equations",
    "from_function",
    "from_nonlinear",
    "from_statespace",
    "heater",
    "heater_ode",
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
    "with_nominal",
    "with_signals",
]
