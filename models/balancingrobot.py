"""A robot that balances on two wheels: the NXTway-GS."""

import casadi as ca
import numpy as np

from scpo_ctrl.models.integrator import discretise
from scpo_ctrl.models.plant import Plant
from scpo_ctrl.validate import as_scalar

GRAVITY = 9.81  # m/s²
WHEEL, RADIUS = 0.03, 0.04  # kg, m
WHEEL_INERTIA = WHEEL * RADIUS**2 / 2  # kg m²
BODY, CENTRE = 0.6, 0.072  # kg; m, from the axle to the centre of mass
BODY_INERTIA = BODY * CENTRE**2 / 3  # kg m²
MOTOR_INERTIA, RESISTANCE = 1e-5, 6.69  # kg m², ohm
TORQUE_CONSTANT, BACK_EMF, FRICTION = 0.317, 0.468, 0.0022  # N m/A, V s/rad, N m s/rad


def balancing_robot(
    *,
    dt: float = 4e-3,
    wheel_max: float = 12.0,
    pitch_max: float = 0.35,
    wheel_rate_max: float = 15.0,
    pitch_rate_max: float = 4.0,
    voltage_max: float = 8.0,
) -> Plant:
    """Make the discrete robot: `balancing_robot_ode` sampled with the voltage held.

    Parameters
    ----------
    dt : float
        Sampling time [s]; that of the source.
    wheel_max, pitch_max, wheel_rate_max, pitch_rate_max, voltage_max : float
        As in `balancing_robot_ode`.

    Returns
    -------
    Plant
        Nonlinear, with the plant parameter ``body_mass``.

    Raises
    ------
    DomainError
        If a number is not positive.
    """
    return discretise(balancing_robot_ode(wheel_max, pitch_max, wheel_rate_max, pitch_rate_max, voltage_max), dt)


def balancing_robot_ode(
    wheel_max: float = 12.0,
    pitch_max: float = 0.35,
    wheel_rate_max: float = 15.0,
    pitch_rate_max: float = 4.0,
    voltage_max: float = 8.0,
) -> Plant:
    """Make the continuous robot, both motors at the same voltage, driving straight on.

    With the wheel's angle θ, the pitch ψ of the body and the torque of both motors
    τ = 2 (K_t (v - K_b (θ̇ - ψ̇)) / R - f (θ̇ - ψ̇)):

    ((2m + M) r² + 2 J_w + 2 J_m) θ̈ + (M l r cos ψ - 2 J_m) ψ̈ - M l r ψ̇² sin ψ = τ,
    (M l r cos ψ - 2 J_m) θ̈ + (M l² + J_ψ + 2 J_m) ψ̈ - M g l sin ψ = -τ.

    Parameters
    ----------
    wheel_max, pitch_max, wheel_rate_max, pitch_rate_max, voltage_max : float
        Symmetric bounds [rad], [rad], [rad/s], [rad/s], [V].

    Returns
    -------
    Plant
        States wheel angle, pitch and their rates; input voltage; parameter ``body_mass`` (0.6 kg), with which the
        body's inertia grows.

    Raises
    ------
    DomainError
        If a bound is not positive.

    References
    ----------
    Y. Yamamoto, "NXTway-GS (Self-Balancing Two-Wheeled Robot) Controller Design", MATLAB Central File Exchange 19147,
    2008: equations of motion and numbers; the battery has 8 V. Bounds of the states are this package's.
    """
    given = {
        "wheel_max": wheel_max,
        "pitch_max": pitch_max,
        "wheel_rate_max": wheel_rate_max,
        "pitch_rate_max": pitch_rate_max,
        "voltage_max": voltage_max,
    }
    bounds = np.array([as_scalar(name, value, above=0.0) for name, value in given.items()])
    x, voltage, mass = ca.SX.sym("x", 4), ca.SX.sym("u"), ca.SX.sym("body_mass")
    pitch, wheel_rate, pitch_rate = x[1], x[2], x[3]
    slip = wheel_rate - pitch_rate  # of a motor's shaft in its housing, the body
    torque = 2 * (TORQUE_CONSTANT * (voltage - BACK_EMF * slip) / RESISTANCE - FRICTION * slip)
    wheels = (2 * WHEEL + mass) * RADIUS**2 + 2 * WHEEL_INERTIA + 2 * MOTOR_INERTIA
    between = mass * CENTRE * RADIUS * ca.cos(pitch) - 2 * MOTOR_INERTIA
    body = mass * CENTRE**2 + BODY_INERTIA * mass / BODY + 2 * MOTOR_INERTIA
    turns = torque + mass * CENTRE * RADIUS * pitch_rate**2 * ca.sin(pitch)
    falls = -torque + mass * GRAVITY * CENTRE * ca.sin(pitch)
    determinant = wheels * body - between**2
    return Plant(
        name="balancing_robot",
        x=x,
        u=voltage,
        p=mass,
        p_nominal=np.array([BODY]),
        p_labels=("body_mass",),
        p_units=("kg",),
        p_above=np.zeros(1),
        f=ca.vertcat(
            wheel_rate,
            pitch_rate,
            (body * turns - between * falls) / determinant,
            (wheels * falls - between * turns) / determinant,
        ),
        x_min=-bounds[:4],
        x_max=bounds[:4],
        u_min=-bounds[4:],
        u_max=bounds[4:],
        x_labels=("wheel angle", "pitch", "wheel rate", "pitch rate"),
        x_units=("rad", "rad", "rad/s", "rad/s"),
        u_labels=("voltage",),
        u_units=("V",),
        source="Yamamoto, NXTway-GS Controller Design, MATLAB Central File Exchange 19147, 2008",
    )
