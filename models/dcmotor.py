"""The position servo of reference problem R6: a permanent-magnet DC motor with an encoder."""

import casadi as ca
import numpy as np

from scpo_ctrl.models.integrator import discretise
from scpo_ctrl.models.plant import Plant
from scpo_ctrl.validate import as_scalar

INERTIA = 3.2284e-6  # kg m²
FRICTION = 3.5077e-6  # N m s
CONSTANT = 0.0274  # N m/A and V s
RESISTANCE = 4.0  # ohm


def dc_motor(
    *,
    dt: float = 1e-3,
    position_max: float = 3.2,
    speed_max: float = 350.0,
    voltage_max: float = 12.0,
) -> Plant:
    """Make the discrete servo: `dc_motor_ode` sampled with the voltage held.

    Parameters
    ----------
    dt : float
        Sampling time [s].
    position_max, speed_max, voltage_max : float
        As in `dc_motor_ode`.

    Returns
    -------
    Plant
        Linear, with the plant parameters ``inertia`` and ``resistance``; its output is the position.

    Raises
    ------
    DomainError
        If a number is not positive.
    """
    return discretise(dc_motor_ode(position_max, speed_max, voltage_max), dt)


def dc_motor_ode(position_max: float = 3.2, speed_max: float = 350.0, voltage_max: float = 12.0) -> Plant:
    """Make the continuous servo: φ̈ = (c i - b φ̇) / J with the current i = (V - c φ̇) / R.

    The winding's time constant, L / R = 0.7 µs, is left out.

    Parameters
    ----------
    position_max, speed_max, voltage_max : float
        Symmetric bounds [rad], [rad/s], [V].

    Returns
    -------
    Plant
        States position and speed; input voltage; output position; parameters ``inertia`` (3.2284e-6 kg m², of rotor
        and load) and ``resistance`` (4 ohm, warm ones have more).

    Raises
    ------
    DomainError
        If a bound is not positive.

    References
    ----------
    W. Messner, D. Tilbury, "Control Tutorials for MATLAB and Simulink", University of Michigan and Carnegie Mellon, DC
    motor position: the numbers, measured on a motor of a laboratory.
    """
    given = {"position_max": position_max, "speed_max": speed_max, "voltage_max": voltage_max}
    bounds = np.array([as_scalar(name, value, above=0.0) for name, value in given.items()])
    x, voltage = ca.SX.sym("x", 2), ca.SX.sym("u")
    inertia, resistance = ca.SX.sym("inertia"), ca.SX.sym("resistance")
    current = (voltage - CONSTANT * x[1]) / resistance
    return Plant(
        name="dc_motor",
        x=x,
        u=voltage,
        p=ca.vertcat(inertia, resistance),
        p_nominal=np.array([INERTIA, RESISTANCE]),
        p_labels=("inertia", "resistance"),
        p_units=("kg m²", "ohm"),
        p_above=np.zeros(2),
        f=ca.vertcat(x[1], (CONSTANT * current - FRICTION * x[1]) / inertia),
        y=x[0],
        y_labels=("position",),
        y_units=("rad",),
        x_min=-bounds[:2],
        x_max=bounds[:2],
        u_min=-bounds[2:],
        u_max=bounds[2:],
        x_labels=("position", "speed"),
        x_units=("rad", "rad/s"),
        u_labels=("voltage",),
        u_units=("V",),
        source="Messner and Tilbury, Control Tutorials for MATLAB and Simulink (reference problem R6)",
    )
