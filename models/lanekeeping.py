"""The car of reference problem R8: a kinematic bicycle that keeps its lane."""

import casadi as ca
import numpy as np

from scpo_ctrl.models.integrator import discretise
from scpo_ctrl.models.plant import Plant
from scpo_ctrl.validate import as_scalar

FRONT, REAR = 1.1, 1.58  # m, from the centre of gravity to the axles


def lane_keeping(
    *,
    dt: float = 0.05,
    offset_max: float = 0.9,
    heading_max: float = 0.2,
    steering_max: float = 0.15,
    rate_max: float = 0.4,
) -> Plant:
    """Make the discrete car: `lane_keeping_ode` sampled with the steering rate held.

    Parameters
    ----------
    dt : float
        Sampling time [s].
    offset_max, heading_max, steering_max, rate_max : float
        As in `lane_keeping_ode`.

    Returns
    -------
    Plant
        Nonlinear, with the plant parameters ``speed`` and ``curvature``.

    Raises
    ------
    DomainError
        If a number is not positive.
    """
    return discretise(lane_keeping_ode(offset_max, heading_max, steering_max, rate_max), dt)


def lane_keeping_ode(
    offset_max: float = 0.9, heading_max: float = 0.2, steering_max: float = 0.15, rate_max: float = 0.4
) -> Plant:
    """Make the continuous car on a lane of constant curvature κ, its centre of gravity followed.

    With the slip angle β = atan(l_r tan δ / (l_f + l_r)): ė = v sin(ψ + β), δ̇ = u,
    ψ̇ = v (sin β / l_r - κ cos(ψ + β) / (1 - κ e)), for the offset e to the left of the lane's middle and the heading ψ
    relative to it.

    Parameters
    ----------
    offset_max : float
        Half the lane less half the car [m].
    heading_max, steering_max, rate_max : float
        Symmetric bounds [rad], [rad], [rad/s].

    Returns
    -------
    Plant
        States offset, heading and steering angle; input steering rate; parameters ``speed`` (20 m/s) and ``curvature``
        (0 1/m), which moves the equilibrium.

    Raises
    ------
    DomainError
        If a bound is not positive.

    References
    ----------
    R. Rajamani, "Vehicle Dynamics and Control", 2nd ed. 2012, section 2.2: the equations; the wheelbase is that of the
    sedan of its chapter 2. Offsets along the lane's own curve after J. Kong et al., "Kinematic and dynamic vehicle
    models for autonomous driving control design", IEEE Intelligent Vehicles Symposium, 2015.
    """
    given = {"offset_max": offset_max, "heading_max": heading_max, "steering_max": steering_max, "rate_max": rate_max}
    bounds = np.array([as_scalar(name, value, above=0.0) for name, value in given.items()])
    x, rate = ca.SX.sym("x", 3), ca.SX.sym("u")
    speed, curvature = ca.SX.sym("speed"), ca.SX.sym("curvature")
    offset, heading, steering = x[0], x[1], x[2]
    slip = ca.atan(REAR * ca.tan(steering) / (FRONT + REAR))
    along = ca.cos(heading + slip) / (1 - curvature * offset)
    return Plant(
        name="lane_keeping",
        x=x,
        u=rate,
        p=ca.vertcat(speed, curvature),
        p_nominal=np.array([20.0, 0.0]),
        p_labels=("speed", "curvature"),
        p_units=("m/s", "1/m"),
        p_above=np.array([0.0, -np.inf]),
        f=ca.vertcat(speed * ca.sin(heading + slip), speed * (ca.sin(slip) / REAR - curvature * along), rate),
        x_min=-bounds[:3],
        x_max=bounds[:3],
        u_min=-bounds[3:],
        u_max=bounds[3:],
        x_labels=("offset", "heading", "steering angle"),
        x_units=("m", "rad", "rad"),
        u_labels=("steering rate",),
        u_units=("rad/s",),
        source="Rajamani, Vehicle Dynamics and Control, 2012, section 2.2 (reference problem R8)",
    )
