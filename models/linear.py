"""Linear plants."""

from __future__ import annotations

from collections.abc import Sequence

import casadi as ca
import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.errors import DimensionError, DomainError
from scpo_ctrl.messages import shown
from scpo_ctrl.models.plant import Plant
from scpo_ctrl.validate import as_array, as_scalar, as_stack, as_texts

Bounds = tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike]


def linear(
    A: ArrayLike,
    B: ArrayLike,
    dt: float,
    bounds: Bounds,
    *,
    name: str = "linear",
    x_labels: Sequence[str] = (),
    x_units: Sequence[str] = (),
    u_labels: Sequence[str] = (),
    u_units: Sequence[str] = (),
    source: str = "",
) -> Plant:
    """Make the discrete linear plant x⁺ = A x + B u.

    Parameters
    ----------
    A : array_like, shape (nx, nx)
        A number where there is one state.
    B : array_like, shape (nx, nu)
        A vector, shape (nx,), where there is one input.
    dt : float
        Sampling time [s].
    bounds : tuple
        ``(x_min, x_max, u_min, u_max)``, shapes (nx,), (nx,), (nu,), (nu,); numbers where there is one state or input.
    name : str
        Name of the plant.
    x_labels, x_units, u_labels, u_units : sequence of str
        Names and units of states and inputs.
    source : str
        Where the numbers come from: a data sheet, a textbook, a measurement.

    Returns
    -------
    Plant
        The plant, with the origin as equilibrium.

    Raises
    ------
    DimensionError
        If A is not square or a shape does not fit.
    DomainError
        If a number is not finite, dt is not positive or bounds are swapped.
    BoundsError
        If the bounds do not hold the origin in their interior.
    """
    A, B = as_matrices(A, B)
    if not isinstance(bounds, (tuple, list)) or len(bounds) != 4:
        raise DomainError(f"bounds is {shown(bounds)}, expected (x_min, x_max, u_min, u_max)")
    x, u = ca.SX.sym("x", A.shape[0]), ca.SX.sym("u", B.shape[1])
    keys = ("x_min", "x_max", "u_min", "u_max")
    sizes = (x.numel(), x.numel(), u.numel(), u.numel())
    x_min, x_max, u_min, u_max = (
        as_array(key, bound, (size,), finite=key.startswith("u"))
        for key, bound, size in zip(keys, bounds, sizes, strict=True)
    )
    return Plant(
        name=name,
        x=x,
        u=u,
        f=ca.mtimes(ca.DM(A), x) + ca.mtimes(ca.DM(B), u),
        dt=as_scalar("dt", dt, above=0.0),
        x_min=x_min,
        x_max=x_max,
        u_min=u_min,
        u_max=u_max,
        x_labels=as_texts("x_labels", x_labels),
        x_units=as_texts("x_units", x_units),
        u_labels=as_texts("u_labels", u_labels),
        u_units=as_texts("u_units", u_units),
        source=source,
    )


def as_matrices(A: ArrayLike, B: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return the matrices of a linear plant; a number is taken for a matrix of one entry, a vector B for a column.

    Parameters
    ----------
    A : array_like, shape (nx, nx)
    B : array_like, shape (nx, nu) or (nx,)

    Returns
    -------
    A : numpy.ndarray, shape (nx, nx)
    B : numpy.ndarray, shape (nx, nu)

    Raises
    ------
    DimensionError
        If A is not square, or there is no state or no input.
    DomainError
        If an entry is not a finite number.
    """
    A, B = as_stack("A", A), as_stack("B", B)
    A = as_array("A", A.reshape(1, 1) if A.ndim == 0 else A, (None, None))
    if A.shape[0] != A.shape[1]:
        raise DimensionError(f"A has shape {A.shape}, expected a square matrix")
    if not A.size:
        raise DimensionError("A has no entries; a plant needs at least one state, and a static gain has none")
    column = B.size == len(A) and B.ndim < 2
    B = as_array("B", B.reshape(-1, 1) if column else B, (len(A), None))
    if not B.shape[1]:
        raise DimensionError("B has no columns, expected one for each input")
    return A, B


def double_integrator(
    *, dt: float = 0.1, position_max: float = 5.0, velocity_max: float = 1.5, acceleration_max: float = 1.0
) -> Plant:
    """Make the double integrator of reference problem R3: a mass on a line, its acceleration commanded.

    Parameters
    ----------
    dt : float
        Sampling time [s]; the input is held over a sample, so the discretisation is exact.
    position_max, velocity_max, acceleration_max : float
        Symmetric bounds [m], [m/s], [m/s²] for unit mass.

    Returns
    -------
    Plant
        States position and velocity, input acceleration; the parameter ``mass`` (1 kg) divides the commanded force.

    Raises
    ------
    DomainError
        If a number is not positive.
    """
    dt = as_scalar("dt", dt, above=0.0)
    x_max = np.array(
        [as_scalar("position_max", position_max, above=0.0), as_scalar("velocity_max", velocity_max, above=0.0)]
    )
    u_max = np.array([as_scalar("acceleration_max", acceleration_max, above=0.0)])
    x, u, mass = ca.SX.sym("x", 2), ca.SX.sym("u", 1), ca.SX.sym("mass")
    acceleration = u / mass
    f = ca.vertcat(x[0] + dt * x[1] + dt * dt / 2 * acceleration, x[1] + dt * acceleration)
    return Plant(
        name="double_integrator",
        x=x,
        u=u,
        p=mass,
        p_nominal=np.ones(1),
        p_labels=("mass",),
        p_units=("kg",),
        p_above=np.zeros(1),
        f=f,
        dt=dt,
        x_min=-x_max,
        x_max=x_max,
        u_min=-u_max,
        u_max=u_max,
        x_labels=("position", "velocity"),
        x_units=("m", "m/s"),
        u_labels=("force",),
        u_units=("N",),
        source="exact zero-order-hold discretisation of x'' = u / mass (reference problem R3)",
    )
