"""The planar quadrotor of reference problem R5: two pairs of rotors lift and turn a small drone in a vertical plane."""

import casadi as ca
import numpy as np

from scpo_ctrl.models.integrator import discretise
from scpo_ctrl.models.plant import Plant
from scpo_ctrl.validate import as_scalar

GRAVITY = 9.8  # m/s²
MASS = 0.027  # kg
INERTIA = 1.4e-5  # kg m², about the axis perpendicular to the plane
ARM = 0.0397  # m, from the centre to a rotor; the rotors sit at 45 degrees, so the lever is ARM / √2
HOVER = 1.0  # m, altitude of the equilibrium


def planar_quadrotor(
    *,
    dt: float = 1 / 50,
    position_max: float = 2.0,
    speed_max: float = 2.0,
    altitude_max: float = 2.0,
    angle_max: float = 0.2,
    rate_max: float = 1.0,
    thrust_min: float = 0.0563,
    thrust_max: float = 0.2967,
) -> Plant:
    """Make the discrete planar quadrotor: `planar_quadrotor_ode` by one Runge-Kutta step a sample, the thrusts held.

    Parameters
    ----------
    dt : float
        Sampling time [s].
    position_max, speed_max, altitude_max, angle_max, rate_max, thrust_min, thrust_max : float
        As in `planar_quadrotor_ode`.

    Returns
    -------
    Plant
        Nonlinear and unstable, with the plant parameters ``mass`` and ``inertia``.

    Raises
    ------
    DomainError
        If a number is not positive, or the thrusts are swapped.
    BoundsError
        If the bounds do not hold hovering at 1 m in their interior.
    """
    bounds = (position_max, speed_max, altitude_max, angle_max, rate_max, thrust_min, thrust_max)
    return discretise(planar_quadrotor_ode(*bounds), dt, substeps=1)


def planar_quadrotor_ode(
    position_max: float = 2.0,
    speed_max: float = 2.0,
    altitude_max: float = 2.0,
    angle_max: float = 0.2,
    rate_max: float = 1.0,
    thrust_min: float = 0.0563,
    thrust_max: float = 0.2967,
) -> Plant:
    """Make the continuous planar quadrotor without drag, hovering at an altitude of 1 m.

    ẍ = sin θ (T1 + T2) / m; z̈ = cos θ (T1 + T2) / m - g; θ̈ = L (T2 - T1) / (√2 I).

    Parameters
    ----------
    position_max, speed_max, angle_max, rate_max : float
        Symmetric bounds on horizontal position [m], both speeds [m/s], angle [rad] and angular rate [rad/s].
    altitude_max : float
        Upper bound on the altitude [m]; the lower one is the ground, 0.
    thrust_min, thrust_max : float
        Bounds on the thrust of each pair of rotors [N].

    Returns
    -------
    Plant
        States position, horizontal speed, altitude, vertical speed, angle and angular rate; inputs the two thrusts;
        parameters ``mass`` (0.027 kg) and ``inertia`` (1.4e-5 kg m²). A mass other than the nominal one moves the
        equilibrium: the thrust at (x_eq, u_eq) no longer carries it.

    Raises
    ------
    DomainError
        If a bound is not positive, or the thrusts are swapped.
    BoundsError
        If the bounds do not hold hovering at 1 m in their interior.

    References
    ----------
    Z. Yuan et al., "safe-control-gym: a unified benchmark suite for safe learning-based control and reinforcement
    learning in robotics", IEEE Robotics and Automation Letters 7(4), 2022: equations, and the numbers of a Crazyflie.
    """
    given = {"position_max": position_max, "speed_max": speed_max, "altitude_max": altitude_max}
    given |= {"angle_max": angle_max, "rate_max": rate_max, "thrust_min": thrust_min, "thrust_max": thrust_max}
    limit = {name: as_scalar(name, value, above=0.0) for name, value in given.items()}
    along, speed, turn, rate = (limit[name] for name in ("position_max", "speed_max", "angle_max", "rate_max"))
    x, u = ca.SX.sym("x", 6), ca.SX.sym("u", 2)
    mass, inertia = ca.SX.sym("mass"), ca.SX.sym("inertia")
    lift = (u[0] + u[1]) / mass
    turning = ARM * (u[1] - u[0]) / (np.sqrt(2) * inertia)
    return Plant(
        name="planar_quadrotor",
        x=x,
        u=u,
        p=ca.vertcat(mass, inertia),
        p_nominal=np.array([MASS, INERTIA]),
        p_labels=("mass", "inertia"),
        p_units=("kg", "kg m^2"),
        p_above=np.zeros(2),
        f=ca.vertcat(x[1], ca.sin(x[4]) * lift, x[3], ca.cos(x[4]) * lift - GRAVITY, x[5], turning),
        x_min=np.array([-along, -speed, 0.0, -speed, -turn, -rate]),
        x_max=np.array([along, speed, limit["altitude_max"], speed, turn, rate]),
        u_min=np.full(2, limit["thrust_min"]),
        u_max=np.full(2, limit["thrust_max"]),
        x_eq=np.array([0.0, 0.0, HOVER, 0.0, 0.0, 0.0]),
        u_eq=np.full(2, MASS * GRAVITY / 2),
        x_labels=("position", "horizontal speed", "altitude", "vertical speed", "angle", "rate"),
        x_units=("m", "m/s", "m", "m/s", "rad", "rad/s"),
        u_labels=("thrust 1", "thrust 2"),
        u_units=("N", "N"),
        source="Yuan et al. (2022), safe-control-gym, a Crazyflie 2.x in a vertical plane (reference problem R5)",
    )
