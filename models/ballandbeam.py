"""A ball that rolls on a beam, which a motor tilts about its middle."""

import casadi as ca
import numpy as np

from scpo_ctrl.models.integrator import discretise
from scpo_ctrl.models.plant import Plant
from scpo_ctrl.validate import as_scalar

MASS, RADIUS = 0.11, 0.015  # kg, m
INERTIA = 9.99e-6  # kg m², of the ball
GRAVITY = 9.8  # m/s²


def ball_and_beam(
    *,
    dt: float = 5e-3,
    position_max: float = 0.5,
    speed_max: float = 1.0,
    angle_max: float = 0.3,
    rate_max: float = 3.0,
    acceleration_max: float = 60.0,
) -> Plant:
    """Make the discrete ball and beam: `ball_and_beam_ode` sampled with the acceleration held.

    Parameters
    ----------
    dt : float
        Sampling time [s].
    position_max, speed_max, angle_max, rate_max, acceleration_max : float
        As in `ball_and_beam_ode`.

    Returns
    -------
    Plant
        Nonlinear, with the plant parameter ``inertia``.

    Raises
    ------
    DomainError
        If a number is not positive.
    """
    return discretise(ball_and_beam_ode(position_max, speed_max, angle_max, rate_max, acceleration_max), dt)


def ball_and_beam_ode(
    position_max: float = 0.5,
    speed_max: float = 1.0,
    angle_max: float = 0.3,
    rate_max: float = 3.0,
    acceleration_max: float = 60.0,
) -> Plant:
    """Make the continuous ball and beam: (J / R² + m) r̈ = m (r α̇² - g sin α), α̈ = u.

    The ball rolls without slip. What the beam's acceleration does to the ball is left out, as in the source.

    Parameters
    ----------
    position_max : float
        Half the beam's length [m].
    speed_max, angle_max, rate_max, acceleration_max : float
        Symmetric bounds [m/s], [rad], [rad/s], [rad/s²].

    Returns
    -------
    Plant
        States position and speed of the ball, angle and rate of the beam; input angular acceleration; parameter
        ``inertia`` (9.99e-6 kg m²), which is higher for a hollow ball.

    Raises
    ------
    DomainError
        If a bound is not positive.

    References
    ----------
    W. Messner, D. Tilbury, "Control Tutorials for MATLAB and Simulink", University of Michigan and Carnegie Mellon,
    ball and beam: the numbers (a beam of 1 m), and the angular acceleration as input in the state-space design. Bounds
    but the beam's length are this package's.
    """
    given = {
        "position_max": position_max,
        "speed_max": speed_max,
        "angle_max": angle_max,
        "rate_max": rate_max,
        "acceleration_max": acceleration_max,
    }
    bounds = np.array([as_scalar(name, value, above=0.0) for name, value in given.items()])
    x, acceleration, inertia = ca.SX.sym("x", 4), ca.SX.sym("u"), ca.SX.sym("inertia")
    position, speed, angle, rate = x[0], x[1], x[2], x[3]
    rolls = MASS * (position * rate**2 - GRAVITY * ca.sin(angle)) / (inertia / RADIUS**2 + MASS)
    return Plant(
        name="ball_and_beam",
        x=x,
        u=acceleration,
        p=inertia,
        p_nominal=np.array([INERTIA]),
        p_labels=("inertia",),
        p_units=("kg m²",),
        p_above=np.zeros(1),
        f=ca.vertcat(speed, rolls, rate, acceleration),
        x_min=-bounds[:4],
        x_max=bounds[:4],
        u_min=-bounds[4:],
        u_max=bounds[4:],
        x_labels=("position", "speed", "angle", "rate"),
        x_units=("m", "m/s", "rad", "rad/s"),
        u_labels=("acceleration",),
        u_units=("rad/s²",),
        source="Messner and Tilbury, Control Tutorials for MATLAB and Simulink, ball and beam",
    )
