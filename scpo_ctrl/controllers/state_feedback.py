"""State feedback with a gain of the user's."""

from __future__ import annotations

import casadi as ca
from numpy.typing import ArrayLike

from scpo_ctrl.controllers.coefficients import Bounds, Coefficients, sees_state, theta_bounds, unit_of_gain
from scpo_ctrl.loop.controller import Controller
from scpo_ctrl.models import Plant
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.validate import as_array


def state_feedback(plant: Plant, K: ArrayLike, *, bounds: Bounds | None = None) -> Controller:
    """Make the controller v = u_eq - K (x - x_eq).

    Parameters
    ----------
    plant : Plant
        Whose whole state is measured.
    K : array_like, shape (nu, nx)
        [u_units / x_units]
    bounds : mapping of str to (low, high), optional
        Of parameters by label, such as {"K00": (0.0, 5.0)} [theta_units]; infinite for none. Every policy that is
        committed keeps them exactly.

    Returns
    -------
    Controller
        θ is K, row by row.

    Raises
    ------
    DimensionError, DomainError
        If K has a wrong shape, or the plant shows something else than its state.
    BoundsError
        If a parameter is outside its bounds.
    """
    as_instance("plant", plant, Plant)
    sees_state(plant, "state_feedback")
    gains, y = Coefficients(K=as_array("K", K, (plant.nu, plant.nx))), ca.SX.sym("y", plant.nx)
    return Controller(
        name="state feedback",
        theta=gains.theta,
        theta_initial=gains.values,
        theta_labels=tuple(gains.labels),
        **theta_bounds(gains.labels, bounds),
        theta_units=tuple(unit_of_gain(u, x) for u in plant.u_units for x in plant.x_units),
        y=y,
        command=ca.DM(plant.u_eq) - gains["K"] @ (y - ca.DM(plant.x_eq)),
    )
