"""The buck converter of reference problem R7, averaged over a switching period."""

import casadi as ca
import numpy as np

from scpo_ctrl.errors import DomainError
from scpo_ctrl.models.integrator import discretise
from scpo_ctrl.models.plant import Plant
from scpo_ctrl.validate import as_scalar

SUPPLY, INDUCTANCE, CAPACITANCE, LOAD = 28.0, 50e-6, 500e-6, 3.0  # V, H, F, ohm


def buck_converter(
    *,
    dt: float = 20e-6,
    output: float = 15.0,
    current_max: float = 12.0,
    voltage_max: float = 18.0,
) -> Plant:
    """Make the discrete converter: `buck_converter_ode` sampled with the duty cycle held.

    Parameters
    ----------
    dt : float
        Sampling time [s].
    output, current_max, voltage_max : float
        As in `buck_converter_ode`.

    Returns
    -------
    Plant
        With the plant parameters ``load`` and ``supply``, both of which move the equilibrium; its output is
        the voltage.

    Raises
    ------
    DomainError
        If a number is not positive, or the output is not between zero and the supply.
    """
    return discretise(buck_converter_ode(output, current_max, voltage_max), dt)


def buck_converter_ode(output: float = 15.0, current_max: float = 12.0, voltage_max: float = 18.0) -> Plant:
    """Make the converter in continuous conduction: L di/dt = d V_g - v, C dv/dt = i - v / R.

    Parameters
    ----------
    output : float
        Voltage that it is designed for [V].
    current_max, voltage_max : float
        Upper bounds of the inductor's current [A] and of the output [V]; the lower ones are minus a third of the
        current's (the switches conduct both ways) and zero.

    Returns
    -------
    Plant
        States current and voltage; input duty cycle; output voltage; parameters ``load`` (3 ohm) and ``supply`` (28 V).

    Raises
    ------
    DomainError
        If a number is not positive, or the output is not between zero and the supply.

    References
    ----------
    R. W. Erickson, D. Maksimović, "Fundamentals of Power Electronics", 2nd ed. 2001, section 9.5.4: the numbers of the
    regulator designed there.
    """
    output = as_scalar("output", output, above=0.0)
    if output >= SUPPLY:
        raise DomainError(f"output is {output:g} V, expected less than the supply, {SUPPLY:g} V")
    highest = [as_scalar(*given, above=0.0) for given in (("current_max", current_max), ("voltage_max", voltage_max))]
    x, duty = ca.SX.sym("x", 2), ca.SX.sym("u")
    load, supply = ca.SX.sym("load"), ca.SX.sym("supply")
    return Plant(
        name="buck_converter",
        x=x,
        u=duty,
        p=ca.vertcat(load, supply),
        p_nominal=np.array([LOAD, SUPPLY]),
        p_labels=("load", "supply"),
        p_units=("ohm", "V"),
        p_above=np.zeros(2),
        f=ca.vertcat((duty * supply - x[1]) / INDUCTANCE, (x[0] - x[1] / load) / CAPACITANCE),
        y=x[1],
        y_labels=("voltage",),
        y_units=("V",),
        x_min=np.array([-highest[0] / 3, 0.0]),
        x_max=np.array(highest),
        u_min=np.zeros(1),
        u_max=np.ones(1),
        x_eq=np.array([output / LOAD, output]),
        u_eq=np.array([output / SUPPLY]),
        x_labels=("current", "voltage"),
        x_units=("A", "V"),
        u_labels=("duty cycle",),
        u_units=("",),
        source="Erickson and Maksimović, Fundamentals of Power Electronics, 2001, section 9.5.4 (reference problem R7)",
    )
