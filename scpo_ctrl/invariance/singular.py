"""Parameters whose range straddles a singularity: on it, nothing bounds the loop near rest."""

import casadi as ca
import numpy as np

from scpo_ctrl.invariance.intervals import Enclosure, Interval, NoEnclosureError
from scpo_ctrl.invariance.jacobians import Law
from scpo_ctrl.models.varying import still


def loop_at_rest(law: Law) -> ca.Function:
    """Return the function p -> (J, d) of a loop at its equilibrium.

    Parameters
    ----------
    law : Law

    Returns
    -------
    casadi.Function
        J (nx, nx) is the Jacobian, d (nx, 1) the drift.
    """
    plant, x, p = law.plant, ca.SX.sym("x", law.plant.nx), ca.SX.sym("p", law.plant.npar)
    following = plant.function(x, law.command(x, p), p)
    parts = [ca.densify(ca.jacobian(following, x)), ca.densify(following - ca.DM(plant.x_eq))]
    return ca.Function("rest", [p], ca.substitute(parts, [x], [ca.SX(ca.DM(plant.x_eq))]))


def singular_parameter(law: Law, ranges: np.ndarray) -> str:
    """Say in words which parameter has a range on which the loop at rest is without bound, the others in the middle.

    Parameters
    ----------
    law : Law
    ranges : numpy.ndarray, shape (np, 2)
        Of the plant parameters.

    Returns
    -------
    str
        Empty if there is none, or it cannot be said.
    """
    plant = law.plant
    varied = [i for i in still(plant) if ranges[i, 1] > ranges[i, 0]]
    low = np.tile(np.where(np.isfinite(plant.p_nominal), plant.p_nominal, 0.0), (len(varied), 1))
    high = low.copy()
    for row, i in enumerate(varied):
        low[row, i], high[row, i] = ranges[i]
    try:
        parts = Enclosure(loop_at_rest(law))(Interval(low, high)) if varied else []
    except NoEnclosureError:
        return ""
    lost = np.zeros(len(varied), dtype=bool)
    for part in parts:
        lost |= ~(np.isfinite(part.low) & np.isfinite(part.high)).all(axis=(1, 2))
    which = [i for i, is_lost in zip(varied, lost.tolist(), strict=True) if is_lost]
    if not which:
        return ""
    low_end, high_end = ranges[which[0]]
    return (
        f"{plant.p_labels[which[0]]} in [{low_end:g}, {high_end:g}] straddles a singularity of its equations; narrow "
        "that range"
    )
