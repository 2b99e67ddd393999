"""LQ control with integral action. P. C. Young and J. C. Willems, Int. J. Control 15 (1972), 961-977."""

from __future__ import annotations

from collections.abc import Sequence

import casadi as ca
import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.controllers.coefficients import (
    Bounds,
    Coefficients,
    headroom,
    sampling_time,
    sees_state,
    theta_bounds,
    unit_of_gain,
)
from scpo_ctrl.errors import DimensionError
from scpo_ctrl.loop.controller import Controller
from scpo_ctrl.loop.design import gain_of_lqr
from scpo_ctrl.messages import shown
from scpo_ctrl.models import Plant
from scpo_ctrl.models.labelled import Place, as_places
from scpo_ctrl.sealed import as_instance


def lqi(
    plant: Plant,
    Q: ArrayLike,
    R: ArrayLike,
    *,
    tracked: Sequence[Place] | Place = (0,),
    bounds: Bounds | None = None,
) -> Controller:
    """Design state feedback with integral action on some states, by python-control's LQR.

    v = u_eq - K (x - x_eq) + I, I⁺ = I + dt Ki (r - x_tracked) + (u - v): the integral is a part of each command, so
    that a change of Ki moves nothing at rest, and it follows an input that was cut at once.

    Parameters
    ----------
    plant : Plant
        Discrete; its whole state is measured.
    Q : array_like, shape (nx + k, nx + k), (nx + k,) or ()
        Weights of the states, then of the integrals of the k errors, positive definite.
    R : array_like, shape (nu, nu), (nu,) or ()
        Weights of the inputs, positive definite.
    tracked : sequence of int or str, int or str
        The k states that follow references, by number or label, as many as there are inputs.
    bounds : mapping of str to (low, high), optional
        Of parameters by label, such as {"K00": (0.0, 5.0)} [theta_units]; infinite for none. Every policy that is
        committed keeps them exactly.

    Returns
    -------
    Controller
        θ is K, then Ki, row by row.

    Raises
    ------
    BackupError
        If the Riccati equation has no stabilising solution.
    DimensionError, DomainError
        If a shape or a number is wrong, or the plant shows something else than its state.
    BoundsError
        If a parameter is outside its bounds.
    """
    as_instance("plant", plant, Plant)
    dt, nx, nu = sampling_time(plant, "lqi"), plant.nx, plant.nu
    sees_state(plant, "lqi")
    places = as_places("tracked", tracked, plant.x_labels, "state")
    if len(places) != nu or len(set(places)) < nu:
        raise DimensionError(f"tracked is {shown(tracked)}, expected {nu} different states: one for each input")
    A, B = plant.linearise()
    k = len(places)
    joined = np.block([[A, np.zeros((nx, k))], [-dt * np.eye(nx)[places], np.eye(k)]])
    gain = gain_of_lqr(joined, np.vstack([B, np.zeros((k, nu))]), Q, R)
    gains = Coefficients(K=gain[:, :nx], Ki=-gain[:, nx:])
    y, r, u, integral = (ca.SX.sym(name, size) for name, size in (("y", nx), ("r", k), ("u", nu), ("I", nu)))
    command = ca.DM(plant.u_eq) - gains["K"] @ (y - ca.DM(plant.x_eq)) + integral
    low, high = headroom(plant)
    return Controller(
        name="LQI",
        theta=gains.theta,
        theta_initial=gains.values,
        theta_labels=tuple(gains.labels),
        theta_units=(
            *(unit_of_gain(u, x) for u in plant.u_units for x in plant.x_units),
            *(unit_of_gain(u, plant.x_units[i], "s") for u in plant.u_units for i in places),
        ),
        **theta_bounds(gains.labels, bounds),
        y=y,
        r=r,
        r_nominal=plant.x_eq[places],
        r_labels=tuple(f"{plant.x_labels[i]} reference" for i in places),
        r_units=tuple(plant.x_units[i] for i in places),
        u=u,
        xi=integral,
        command=command,
        memory=integral + dt * gains["Ki"] @ (r - y[places]) + (u - command),
        memory_min=low - plant.u_eq,
        memory_max=high - plant.u_eq,
        memory_labels=tuple(f"integral part of {label}" for label in plant.u_labels),
        memory_units=plant.u_units,
        source="Young and Willems, Int. J. Control 15 (1972)",
    )
