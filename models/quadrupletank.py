"""The quadruple tank: two pumps fill four tanks crosswise, with a zero that a valve moves."""

import casadi as ca
import numpy as np

from scpo_ctrl.errors import DomainError
from scpo_ctrl.models.integrator import discretise
from scpo_ctrl.models.plant import Plant
from scpo_ctrl.validate import as_choice, as_scalar

AREA = np.array([28.0, 32.0, 28.0, 32.0])  # cm², of the tanks
OUTLET = np.array([0.071, 0.057, 0.071, 0.057])  # cm²
GRAVITY = 981.0  # cm/s²
PHASES = {  # pump gains [cm³/(V s)], valve settings γ, pump voltages [V]
    "minimum": ((3.33, 3.35), (0.70, 0.60), (3.00, 3.00)),
    "nonminimum": ((3.14, 3.29), (0.43, 0.34), (3.15, 3.15)),
}


def quadruple_tank(
    *, dt: float = 2.0, phase: str = "minimum", level_max: float = 20.0, voltage_max: float = 10.0
) -> Plant:
    """Make the discrete tanks: `quadruple_tank_ode` sampled with the pumps' voltages held.

    Parameters
    ----------
    dt : float
        Sampling time [s].
    phase, level_max, voltage_max : str, float, float
        As in `quadruple_tank_ode`.

    Returns
    -------
    Plant
        Nonlinear, two inputs; its outputs are the levels of the lower tanks.

    Raises
    ------
    DomainError
        If a number is not positive, or there is no such phase.
    """
    return discretise(quadruple_tank_ode(phase, level_max, voltage_max), dt)


def quadruple_tank_ode(phase: str = "minimum", level_max: float = 20.0, voltage_max: float = 10.0) -> Plant:
    """Make the continuous tanks, at rest at the operating point that was published.

    A_i ḣ_i = -a_i √(2 g h_i) + inflow_i; tank 1 gets γ₁ k₁ v₁ and what leaves tank 3, tank 2 γ₂ k₂ v₂ and what leaves
    tank 4, tank 3 (1 - γ₂) k₂ v₂, tank 4 (1 - γ₁) k₁ v₁. With γ₁ + γ₂ > 1 the zeros are in the left half plane.

    Parameters
    ----------
    phase : {"minimum", "nonminimum"}
        Settings of the valves.
    level_max, voltage_max : float
        Upper bounds of levels [cm] and pump voltages [V]; the lower ones are 0.2 cm and zero.

    Returns
    -------
    Plant
        States: four levels; inputs: two voltages; outputs: levels of the lower tanks; parameter ``gain``, what
        multiplies both pumps' flow (1), which moves the equilibrium.

    Raises
    ------
    DomainError
        If a bound does not hold the operating point, or there is no such phase.

    References
    ----------
    K. H. Johansson, "The quadruple-tank process: a multivariable laboratory process with an adjustable zero", IEEE
    Transactions on Control Systems Technology 8(3), 2000, 456-465.
    """
    pumps, valves, voltages = (np.array(values) for values in PHASES[as_choice("phase", phase, tuple(PHASES))])
    level_max, voltage_max = (
        as_scalar("level_max", level_max, above=0.0),
        as_scalar("voltage_max", voltage_max, above=0.0),
    )
    flow = pumps * voltages
    inflow = np.array([flow[0] * valves[0], flow[1] * valves[1], flow[1] * (1 - valves[1]), flow[0] * (1 - valves[0])])
    inflow[:2] += inflow[2:]
    rest = (inflow / OUTLET) ** 2 / (2 * GRAVITY)
    if level_max <= rest.max():
        raise DomainError(f"level_max is {level_max:g} cm, expected more than the operating point, {rest.max():.3g} cm")
    h, v, gain = ca.SX.sym("h", 4), ca.SX.sym("v", 2), ca.SX.sym("gain")
    out = [OUTLET[i] * ca.sqrt(2 * GRAVITY * h[i]) for i in range(4)]
    given = [gain * pumps[i] * v[i] for i in range(2)]
    into = [
        valves[0] * given[0] + out[2],
        valves[1] * given[1] + out[3],
        (1 - valves[1]) * given[1],
        (1 - valves[0]) * given[0],
    ]
    return Plant(
        name="quadruple_tank",
        x=h,
        u=v,
        p=gain,
        p_nominal=np.ones(1),
        p_labels=("gain",),
        p_units=("",),
        p_above=np.zeros(1),
        f=ca.vertcat(*((into[i] - out[i]) / AREA[i] for i in range(4))),
        y=h[:2],
        y_labels=("level 1", "level 2"),
        y_units=("cm", "cm"),
        x_min=np.full(4, 0.2),
        x_max=np.full(4, level_max),
        u_min=np.zeros(2),
        u_max=np.full(2, voltage_max),
        x_eq=rest,
        u_eq=voltages,
        x_labels=("level 1", "level 2", "level 3", "level 4"),
        x_units=("cm",) * 4,
        u_labels=("pump 1", "pump 2"),
        u_units=("V", "V"),
        source="Johansson, IEEE Transactions on Control Systems Technology 8 (2000), 456-465",
    )
