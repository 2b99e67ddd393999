"""The stirred tank reactor with an exothermic reaction, held at its unstable steady state by the coolant."""

import casadi as ca
import numpy as np

from scpo_ctrl.errors import DomainError
from scpo_ctrl.models.integrator import discretise
from scpo_ctrl.models.plant import Plant
from scpo_ctrl.validate import as_scalar

FLOW, VOLUME = 100 / 60, 100.0  # L/s, L
FREQUENCY, ACTIVATION = 7.2e10 / 60, 8750.0  # 1/s, K: k = FREQUENCY exp(-ACTIVATION / T)
REACTION_HEAT = 5e4  # J/mol, given off
HEAT_CAPACITY = 1000 * 0.239  # J/(L K)
TRANSFER = 5e4 / 60  # W/K, to the coolant
FEED, FEED_TEMPERATURE = 1.0, 350.0  # mol/L, K
REST = 350.0  # K, of the unstable steady state; the source rounds it and the concentration there, 0.5 mol/L


def cstr(
    *, dt: float = 1.0, temperature_margin: float = 10.0, coolant_min: float = 280.0, coolant_max: float = 320.0
) -> Plant:
    """Make the discrete reactor: `cstr_ode` sampled with the coolant's temperature held.

    Parameters
    ----------
    dt : float
        Sampling time [s].
    temperature_margin, coolant_min, coolant_max : float
        As in `cstr_ode`.

    Returns
    -------
    Plant
        Nonlinear and unstable; its output is the temperature.

    Raises
    ------
    DomainError
        If a number is out of range.
    """
    return discretise(cstr_ode(temperature_margin, coolant_min, coolant_max), dt)


def cstr_ode(temperature_margin: float = 10.0, coolant_min: float = 280.0, coolant_max: float = 320.0) -> Plant:
    """Make the continuous reactor, A -> B of first order, at rest at the middle one of three steady states.

    ċ = q / V (c_f - c) - k(T) c, Ṫ = q / V (T_f - T) + H / (ρ c_p) k(T) c + UA / (V ρ c_p) (T_c - T),
    k(T) = k₀ exp(-E / (R T)). Without control it runs away to the hot state, or goes out.

    Parameters
    ----------
    temperature_margin : float
        How far from 350 K the temperature may be on either side [K].
    coolant_min, coolant_max : float
        Bounds of the coolant's temperature [K], around 300 K.

    Returns
    -------
    Plant
        States concentration [mol/L] and temperature [K]; input temperature of the coolant [K]; output temperature;
        parameters ``feed`` (1 mol/L) and ``feed_temperature`` (350 K), both of which move the equilibrium.

    Raises
    ------
    DomainError
        If the margin is not positive, or the coolant's bounds do not hold the steady state.

    References
    ----------
    D. E. Seborg, T. F. Edgar, D. A. Mellichamp, F. J. Doyle III, "Process Dynamics and Control", 3rd ed. 2011, example
    2.5 and table 2.3: the numbers. M. A. Henson, D. E. Seborg, "Nonlinear Process Control", Prentice Hall, 1997, page
    5: the same reactor. Bounds are this package's.
    """
    margin = as_scalar("temperature_margin", temperature_margin, above=0.0)
    ends = [as_scalar(*given) for given in (("coolant_min", coolant_min), ("coolant_max", coolant_max))]
    rate, dilution = FREQUENCY * np.exp(-ACTIVATION / REST), FLOW / VOLUME
    rest = dilution * FEED / (dilution + rate)  # mol/L
    warms = dilution * (FEED_TEMPERATURE - REST) + REACTION_HEAT / HEAT_CAPACITY * rate * rest  # K/s
    coolant = REST - warms * VOLUME * HEAT_CAPACITY / TRANSFER
    if not ends[0] < coolant < ends[1]:
        raise DomainError(
            f"coolant_min is {ends[0]:g} K and coolant_max {ends[1]:g} K; the steady state, {coolant:.5g} K, must be "
            "between them"
        )
    x, u = ca.SX.sym("x", 2), ca.SX.sym("u")
    feed, feed_temperature = ca.SX.sym("feed"), ca.SX.sym("feed_temperature")
    reacts = FREQUENCY * ca.exp(-ACTIVATION / x[1]) * x[0]
    return Plant(
        name="cstr",
        x=x,
        u=u,
        p=ca.vertcat(feed, feed_temperature),
        p_nominal=np.array([FEED, FEED_TEMPERATURE]),
        p_labels=("feed", "feed_temperature"),
        p_units=("mol/L", "K"),
        p_above=np.zeros(2),
        f=ca.vertcat(
            dilution * (feed - x[0]) - reacts,
            dilution * (feed_temperature - x[1])
            + REACTION_HEAT / HEAT_CAPACITY * reacts
            + TRANSFER / (VOLUME * HEAT_CAPACITY) * (u - x[1]),
        ),
        y=x[1],
        y_labels=("temperature",),
        y_units=("K",),
        x_min=np.array([0.0, REST - margin]),
        x_max=np.array([FEED, REST + margin]),
        u_min=np.array(ends[:1]),
        u_max=np.array(ends[1:]),
        x_eq=np.array([rest, REST]),
        u_eq=np.array([coolant]),
        x_labels=("concentration", "temperature"),
        x_units=("mol/L", "K"),
        u_labels=("coolant temperature",),
        u_units=("K",),
        source="Seborg, Edgar, Mellichamp and Doyle, Process Dynamics and Control, 2011, example 2.5",
    )
