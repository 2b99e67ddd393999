"""A table of gains over a scheduling signal, interpolated linearly.

W. J. Rugh and J. S. Shamma, "Research on gain scheduling", Automatica 36 (2000), 1401-1425.
"""

from __future__ import annotations

import casadi as ca
import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.controllers.coefficients import Bounds, Coefficients, sees_state, theta_bounds
from scpo_ctrl.errors import DomainError
from scpo_ctrl.loop.controller import Controller
from scpo_ctrl.messages import shown
from scpo_ctrl.models import Plant
from scpo_ctrl.models.labelled import Place, as_place
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.validate import as_array


def gain_schedule(
    plant: Plant, points: ArrayLike, gains: ArrayLike, *, signal: Place, bounds: Bounds | None = None
) -> Controller:
    """Make the controller v = u_eq - K(σ) (x - x_eq), K(σ) between the entries of a table and constant beyond its ends.

    Parameters
    ----------
    plant : Plant
        Whose whole state is measured.
    points : array_like, shape (k,)
        Values of the scheduling signal, ascending [x_units].
    gains : array_like, shape (k, nu, nx)
        K at each of them.
    signal : int or str
        The state that is σ, by number or label.
    bounds : mapping of str to (low, high), optional
        Of parameters by label, such as {"K0_00": (0.0, 5.0)} [theta_units]; infinite for none. Every policy that is
        committed keeps them exactly.

    Returns
    -------
    Controller
        θ is the table.

    Raises
    ------
    DimensionError, DomainError
        If a shape is wrong, or the points do not ascend.
    BoundsError
        If a parameter is outside its bounds.
    """
    as_instance("plant", plant, Plant)
    sees_state(plant, "gain_schedule")
    which = as_place("signal", signal, plant.x_labels, "state")
    at = as_array("points", points, (None,))
    with np.errstate(over="ignore"):
        rises = np.diff(at)
    if len(at) < 2 or not ((rises > 0) & np.isfinite(rises)).all():
        raise DomainError(f"points is {shown(points)}, expected two or more values that ascend")
    table = as_array("gains", gains, (len(at), plant.nu, plant.nx))
    found, y = Coefficients(**{f"K{i}_": table[i] for i in range(len(at))}), ca.SX.sym("y", plant.nx)
    sigma = ca.fmin(ca.fmax(y[which], at[0]), at[-1])
    K = ca.SX.zeros(plant.nu, plant.nx)
    for i in range(len(at)):
        rise = (sigma - at[i - 1]) / (at[i] - at[i - 1]) if i else 1.0
        fall = (at[i + 1] - sigma) / (at[i + 1] - at[i]) if i < len(at) - 1 else 1.0
        K = K + ca.fmax(0.0, ca.fmin(rise, fall)) * found[f"K{i}_"]
    return Controller(
        name="gain schedule",
        theta=found.theta,
        theta_initial=found.values,
        theta_labels=tuple(found.labels),
        **theta_bounds(found.labels, bounds),
        y=y,
        command=ca.DM(plant.u_eq) - K @ (y - ca.DM(plant.x_eq)),
        source="Rugh and Shamma, Automatica 36 (2000)",
    )
