"""Plants from linear systems of python-control and scipy, and back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import casadi as ca
import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.errors import DomainError
from scpo_ctrl.messages import shown
from scpo_ctrl.models.linear import as_matrices, linear
from scpo_ctrl.models.plant import Plant
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.validate import as_scalar, as_texts

if TYPE_CHECKING:
    import control  # takes a second, and a plant does without

_NAMED_BY_ITSELF = re.compile(r"sys\[\d+\]")


def from_statespace(
    system: Any,
    *,
    x_min: ArrayLike,
    x_max: ArrayLike,
    u_min: ArrayLike,
    u_max: ArrayLike,
    name: str | None = None,
    x_labels: Sequence[str] = (),
    x_units: Sequence[str] = (),
    u_labels: Sequence[str] = (),
    u_units: Sequence[str] = (),
) -> Plant:
    """Make a plant from a ``StateSpace`` of python-control or scipy.signal; its output equation plays no part.

    Parameters
    ----------
    system : control.StateSpace, scipy.signal.StateSpace or scipy.signal.dlti
        Continuous (``dt = 0``; in scipy None) or discrete with a sampling time [s].
    x_min, x_max, u_min, u_max : array_like
        Bounds, shapes (nx,) and (nu,).
    name : str, optional
        Name of the plant; the system's own by default, without what python-control appends to it.
    x_labels, x_units, u_labels, u_units : sequence of str
        Names and units of states and inputs; the system's own names by default.

    Returns
    -------
    Plant

    Raises
    ------
    DomainError
        If the system is discrete without a sampling time, or has no states to put bounds on.
    DimensionError, BoundsError
        As in `linear`.
    """
    A, B, dt = _matrices(system)
    own = getattr(system, "name", None)
    x_labels = as_texts("x_labels", x_labels) or tuple(getattr(system, "state_labels", ()))
    u_labels = as_texts("u_labels", u_labels) or tuple(getattr(system, "input_labels", ()))
    bounds = (x_min, x_max, u_min, u_max)
    plant = linear(A, B, 1.0 if dt is None else dt, bounds, x_labels=x_labels, u_labels=u_labels)
    return plant.replace(
        dt=dt,
        x_units=as_texts("x_units", x_units) or plant.x_units,
        u_units=as_texts("u_units", u_units) or plant.u_units,
        name=_own_name(own) if name is None else name,
        source=f"{type(system).__module__.split('.')[0]} {type(system).__name__}",
    )


def to_statespace(plant: Plant) -> control.StateSpace:
    """Return the plant's linearisation at its equilibrium as python-control's ``StateSpace``, outputs as sensors show.

    Parameters
    ----------
    plant : Plant
        Continuous or discrete.

    Returns
    -------
    control.StateSpace
        In deviations from (x_eq, u_eq). Outputs are the whole state, or what the plant's own y says.

    Raises
    ------
    DomainError
        If it is no plant, or not at rest at its equilibrium.
    """
    import control

    as_instance("plant", plant, Plant)
    A, B = plant.linearise()
    C = np.eye(plant.nx)
    if plant.y.numel():
        slope = ca.Function("h", [plant.x, plant.p], [ca.densify(ca.jacobian(plant.y, plant.x))])
        C = np.array(slope(plant.x_eq, plant.p_nominal))
        if not np.isfinite(C).all():
            raise DomainError(f"plant {plant.name!r}: a derivative of its output is not finite at x_eq")
    return control.StateSpace(
        A,
        B,
        C,
        np.zeros((len(C), plant.nu)),
        0 if plant.dt is None else plant.dt,
        states=list(plant.x_labels),
        inputs=list(plant.u_labels),
        outputs=output_names(plant),
    )


def output_names(plant: Plant) -> list[str]:
    """Return names of what sensors show: y_labels, or y_ and the state where they show the state.

    Parameters
    ----------
    plant : Plant

    Returns
    -------
    list of str
    """
    return list(plant.y_labels) if plant.y.numel() else [f"y_{label}" for label in plant.x_labels]


def _matrices(system: Any) -> tuple[np.ndarray, np.ndarray, float | None]:
    """Return A, B and the sampling time, None for a continuous system."""
    kind = f"{type(system).__module__}.{type(system).__name__}"
    if not kind.startswith(("control.", "scipy.")):
        raise DomainError(f"the system is {shown(system)}, expected a StateSpace of python-control or scipy.signal")
    A, B = getattr(system, "A", None), getattr(system, "B", None)
    if A is None or B is None:
        if hasattr(system, "num") or hasattr(system, "zeros"):
            raise DomainError(
                f"the system is a {kind}, which has no states to put bounds on; choose them by turning it into a "
                "StateSpace, with control.ss or scipy's to_ss"
            )
        if hasattr(system, "updfcn"):
            raise DomainError(
                f"the system is a {kind}, which is nonlinear; linearise it (system.linearize), take it for a simulator "
                "(scpo_ctrl.models.from_nonlinear), or write the plant with CasADi (scpo_ctrl.models.Plant)"
            )
        raise DomainError(f"the system is {shown(system)}, expected a StateSpace of python-control or scipy.signal")
    A, B = as_matrices(A, B)
    is_scipy = kind.startswith("scipy.")
    dt = getattr(system, "dt", None)
    if dt is True or (dt is None and not is_scipy):
        raise DomainError("the StateSpace has no sampling time; give it dt in seconds, or dt=0 if it is continuous")
    continuous = dt is None or (not is_scipy and as_scalar("dt", dt, at_least=0.0) == 0)
    return A, B, None if continuous else as_scalar("dt", dt, above=0.0)


def _own_name(name: Any) -> str:
    """Return a system's name without what python-control appends, as in "motor$sampled"."""
    text = str(name or "").split("$")[0]
    return "linear" if not text or _NAMED_BY_ITSELF.fullmatch(text) else text
