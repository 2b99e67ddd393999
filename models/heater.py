"""A heater with dead time that is held at 60 °C: the transistor of the Temperature Control Lab."""

import casadi as ca
import numpy as np

from scpo_ctrl.errors import DomainError
from scpo_ctrl.models.actuation import input_delay
from scpo_ctrl.models.integrator import discretise
from scpo_ctrl.models.plant import Plant
from scpo_ctrl.validate import as_scalar

GAIN, TIME_CONSTANT, DEAD_TIME = 0.9, 175.0, 15.0  # °C/%, s, s
AMBIENT = 23.0  # °C


def heater(
    *, dt: float = 5.0, temperature: float = 60.0, temperature_max: float = 80.0, dead_time: float = DEAD_TIME
) -> Plant:
    """Make the discrete heater: `heater_ode` sampled with the power held, behind its dead time.

    Parameters
    ----------
    dt : float
        Sampling time [s].
    temperature, temperature_max : float
        As in `heater_ode`.
    dead_time : float
        A whole number of samples [s].

    Returns
    -------
    Plant
        Linear, with the plant parameters ``gain`` and ``ambient``; its output is the temperature. Further states are
        the powers on their way.

    Raises
    ------
    DomainError
        If a number is out of range, or the dead time is no whole number of samples.
    """
    late, dt = as_scalar("dead_time", dead_time, at_least=0.0), as_scalar("dt", dt, above=0.0)
    steps = round(late / dt)
    if abs(steps * dt - late) > 1e-9 * dt:
        raise DomainError(f"dead_time is {late:g} s, expected a whole number of samples of {dt:g} s")
    return input_delay(discretise(heater_ode(temperature, temperature_max), dt), steps)


def heater_ode(temperature: float = 60.0, temperature_max: float = 80.0) -> Plant:
    """Make the continuous heater without its dead time: τ dT/dt = T_ambient - T + K u.

    Parameters
    ----------
    temperature : float
        At which it rests [°C], above 23 °C, the ambient's.
    temperature_max : float
        Upper bound [°C]; the lower one is 20 °C.

    Returns
    -------
    Plant
        State and output temperature; input power, in percent; parameters ``gain`` (0.9 °C/%) and ``ambient`` (23 °C),
        both of which move the equilibrium.

    Raises
    ------
    DomainError
        If the temperature is not above the ambient's, or not within the bounds of temperature or power.

    References
    ----------
    J. D. Hedengren, "Temperature Control Lab", APMonitor, Brigham Young University: gain, time constant and dead time
    of heater 1, as its exercises in PID control have them, from 23 °C.
    """
    wanted = as_scalar("temperature", temperature, above=AMBIENT)
    highest = as_scalar("temperature_max", temperature_max, above=wanted)
    power_eq = (wanted - AMBIENT) / GAIN
    if power_eq >= 100.0:
        raise DomainError(f"temperature is {wanted:g} °C, expected less than {AMBIENT + 100 * GAIN:g} °C, full power")
    warmth, power = ca.SX.sym("x"), ca.SX.sym("u")
    gain, ambient = ca.SX.sym("gain"), ca.SX.sym("ambient")
    return Plant(
        name="heater",
        x=warmth,
        u=power,
        p=ca.vertcat(gain, ambient),
        p_nominal=np.array([GAIN, AMBIENT]),
        p_labels=("gain", "ambient"),
        p_units=("degC/%", "degC"),
        p_above=np.array([0.0, -np.inf]),
        f=(ambient - warmth + gain * power) / TIME_CONSTANT,
        y=warmth,
        y_labels=("temperature",),
        y_units=("degC",),
        x_min=np.array([20.0]),
        x_max=np.array([highest]),
        u_min=np.zeros(1),
        u_max=np.array([100.0]),
        x_eq=np.array([wanted]),
        u_eq=np.array([power_eq]),
        x_labels=("temperature",),
        x_units=("degC",),
        u_labels=("power",),
        u_units=("%",),
        source="Hedengren, Temperature Control Lab, APMonitor, Brigham Young University",
    )
