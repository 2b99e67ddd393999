"""Output feedback: a Kalman predictor, and state feedback on its estimate.

G. F. Franklin, J. D. Powell, M. Workman, "Digital Control of Dynamic Systems", 3rd ed. 1998, sections 8.2 and 9.5.
"""

from __future__ import annotations

import casadi as ca
import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.controllers.coefficients import (
    Bounds,
    Coefficients,
    sampling_time,
    shown_at_rest,
    theta_bounds,
    unit_of_gain,
)
from scpo_ctrl.errors import DomainError
from scpo_ctrl.loop.controller import Controller
from scpo_ctrl.loop.design import gain_of_lqr
from scpo_ctrl.models import Plant
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.validate import as_array

_WIDER = 2.0  # how many times as far as the state's own bounds an estimate may be


def lqg(
    plant: Plant,
    Q: ArrayLike,
    R: ArrayLike,
    process_noise: ArrayLike,
    sensor_noise: ArrayLike,
    *,
    estimate: ArrayLike | None = None,
    bounds: Bounds | None = None,
) -> Controller:
    """Design an observer and state feedback on its estimate, by python-control's LQR and its dual.

    It has no reference: the plant is held at its equilibrium.

    v = u_eq - K (x̂ - x_eq), x̂⁺ = x_eq + A (x̂ - x_eq) + B (u - u_eq) + L (y - h(x_eq) - C (x̂ - x_eq)).

    Parameters
    ----------
    plant : Plant
        Discrete; A, B and C are its derivatives at the equilibrium.
    Q, R : array_like, shape (nx, nx) and (nu, nu), (nx,) and (nu,), or ()
        Weights of states and inputs, positive definite: matrices, their diagonals, or numbers for all of them. A
        state that does not matter has a small weight, not 0.
    process_noise : array_like, shape (nx, nx), (nx,) or ()
        Covariance of what disturbs the next state, or its diagonal: the variances [x_units²].
    sensor_noise : array_like, shape (ny, ny), (ny,) or ()
        Covariance of what disturbs the measurements, or its diagonal [y_units²].
    estimate : array_like, shape (2, nx), optional
        Least and largest value of each estimate [x_units]; twice as far from the equilibrium as the state's bounds are.
    bounds : mapping of str to (low, high), optional
        Of parameters by label, such as {"K00": (0.0, 5.0)} [theta_units]; infinite for none. Every policy that is
        committed keeps them exactly.

    Returns
    -------
    Controller
        θ is K, then L, row by row.

    Raises
    ------
    BackupError
        If a Riccati equation has no stabilising solution: the plant is not stabilisable, or not detectable.
    DimensionError, DomainError
        If a shape or a number is wrong, or an estimate has no bounds.
    BoundsError
        If a parameter is outside its bounds.
    """
    as_instance("plant", plant, Plant)
    sampling_time(plant, "lqg")
    A, B = plant.linearise()
    slope = ca.Function("C", [plant.x, plant.p], [ca.densify(ca.jacobian(plant.measured, plant.x))])
    C = np.array(slope(plant.x_eq, plant.p_nominal))
    L = gain_of_lqr(A.T, C.T, process_noise, sensor_noise, names=("process_noise", "sensor_noise")).T
    gains = Coefficients(K=gain_of_lqr(A, B, Q, R), L=L)
    y, u, x_hat = (ca.SX.sym(name, size) for name, size in (("y", len(C)), ("u", plant.nu), ("x_hat", plant.nx)))
    z = x_hat - ca.DM(plant.x_eq)
    innovation = y - ca.DM(shown_at_rest(plant)) - ca.DM(C) @ z
    low, high = _bounds(plant) if estimate is None else as_array("estimate", estimate, (2, plant.nx))
    return Controller(
        name="LQG",
        theta=gains.theta,
        theta_initial=gains.values,
        theta_labels=tuple(gains.labels),
        theta_units=(
            *(unit_of_gain(u, x) for u in plant.u_units for x in plant.x_units),
            *(unit_of_gain(x, y) for x in plant.x_units for y in plant.measured_units),
        ),
        **theta_bounds(gains.labels, bounds),
        y=y,
        u=u,
        xi=x_hat,
        command=ca.DM(plant.u_eq) - gains["K"] @ z,
        memory=ca.DM(plant.x_eq) + ca.DM(A) @ z + ca.DM(B) @ (u - ca.DM(plant.u_eq)) + gains["L"] @ innovation,
        memory_initial=plant.x_eq,
        memory_min=low,
        memory_max=high,
        memory_labels=tuple(f"estimated {label}" for label in plant.x_labels),
        memory_units=plant.x_units,
        source="Franklin, Powell and Workman, Digital Control of Dynamic Systems, 1998",
    )


def _bounds(plant: Plant) -> tuple[np.ndarray, np.ndarray]:
    endless = np.flatnonzero(~np.isfinite(plant.x_max - plant.x_min))
    if endless.size:
        raise DomainError(
            f"the estimate of {plant.x_labels[endless[0]]} has no bounds, as the state has none; give estimate = "
            "(low, high)"
        )
    low, high = (plant.x_eq + _WIDER * (end - plant.x_eq) for end in (plant.x_min, plant.x_max))
    return low, high
