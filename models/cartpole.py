"""The cart-pole of reference problem R4: a pole hinged to a cart that a force pushes along a track."""

import casadi as ca
import numpy as np

from scpo_ctrl.models.integrator import discretise
from scpo_ctrl.models.plant import Plant
from scpo_ctrl.validate import as_scalar

GRAVITY = 9.8  # m/s²


def cart_pole(
    *,
    dt: float = 1 / 15,
    position_max: float = 2.0,
    velocity_max: float = 2.0,
    angle_max: float = 0.18,
    rate_max: float = 2.0,
    force_max: float = 10.0,
) -> Plant:
    """Make the discrete cart-pole: `cart_pole_ode` by one Runge-Kutta step a sample, the force held.

    Parameters
    ----------
    dt : float
        Sampling time [s].
    position_max, velocity_max, angle_max, rate_max, force_max : float
        As in `cart_pole_ode`.

    Returns
    -------
    Plant
        Nonlinear and unstable, with the plant parameters ``pole_mass``, ``cart_mass`` and ``half_length``.

    Raises
    ------
    DomainError
        If a number is not positive.
    """
    bounds = (position_max, velocity_max, angle_max, rate_max, force_max)
    return discretise(cart_pole_ode(*bounds), dt, substeps=1)


def cart_pole_ode(
    position_max: float = 2.0,
    velocity_max: float = 2.0,
    angle_max: float = 0.18,
    rate_max: float = 2.0,
    force_max: float = 10.0,
) -> Plant:
    """Make the continuous cart-pole without friction, at rest upright in the middle of the track.

    With t = (F + m l θ̇² sin θ) / (m + M), the angle θ measured from upright and l half the pole's length:
    θ̈ = (g sin θ - t cos θ) / (l (4/3 - m cos²θ / (m + M))), ẍ = t - m l θ̈ cos θ / (m + M).

    Parameters
    ----------
    position_max, velocity_max, angle_max, rate_max, force_max : float
        Symmetric bounds [m], [m/s], [rad], [rad/s], [N].

    Returns
    -------
    Plant
        States position, velocity, angle and angular rate; input force; parameters ``pole_mass`` (0.1 kg),
        ``cart_mass`` (1 kg) and ``half_length`` (0.5 m), none of which moves the equilibrium.

    Raises
    ------
    DomainError
        If a bound is not positive.

    References
    ----------
    A. G. Barto, R. S. Sutton, C. W. Anderson, "Neuronlike adaptive elements that can solve difficult learning control
    problems", IEEE Transactions on Systems, Man, and Cybernetics 13(5), 1983: the numbers. R. V. Florian, "Correct
    equations for the dynamics of the cart-pole system", 2007: the equations, here without friction.
    """
    given = {"position_max": position_max, "velocity_max": velocity_max, "angle_max": angle_max, "rate_max": rate_max}
    x_max = np.array([as_scalar(name, value, above=0.0) for name, value in given.items()])
    u_max = np.array([as_scalar("force_max", force_max, above=0.0)])
    x, force = ca.SX.sym("x", 4), ca.SX.sym("u")
    m, M, half = ca.SX.sym("pole_mass"), ca.SX.sym("cart_mass"), ca.SX.sym("half_length")
    velocity, rate, sine, cosine = x[1], x[3], ca.sin(x[2]), ca.cos(x[2])
    t = (force + m * half * rate**2 * sine) / (m + M)
    turning = (GRAVITY * sine - t * cosine) / (half * (4 / 3 - m * cosine**2 / (m + M)))
    acceleration = t - m * half * turning * cosine / (m + M)
    return Plant(
        name="cart_pole",
        x=x,
        u=force,
        p=ca.vertcat(m, M, half),
        p_nominal=np.array([0.1, 1.0, 0.5]),
        p_labels=("pole_mass", "cart_mass", "half_length"),
        p_units=("kg", "kg", "m"),
        p_above=np.zeros(3),
        f=ca.vertcat(velocity, acceleration, rate, turning),
        x_min=-x_max,
        x_max=x_max,
        u_min=-u_max,
        u_max=u_max,
        x_labels=("position", "velocity", "angle", "rate"),
        x_units=("m", "m/s", "rad", "rad/s"),
        u_labels=("force",),
        u_units=("N",),
        source="Barto, Sutton, Anderson (1983), equations of Florian (2007) without friction (reference problem R4)",
    )
