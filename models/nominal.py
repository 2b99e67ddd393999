"""Other nominal parameters of a plant, its equilibrium moved along with them."""

from collections.abc import Mapping

import casadi as ca
import numpy as np

from scpo_ctrl.errors import DomainError
from scpo_ctrl.messages import shown
from scpo_ctrl.models.plant import Plant
from scpo_ctrl.models.units import Units
from scpo_ctrl.models.varying import still
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.validate import as_scalar

_STEPS = 50  # of Newton's method
_AT_REST = 1e-12  # in units of the plant
_MOVES = 1e-10  # likewise, what the plant may still move by at rest


def with_nominal(plant: Plant, values: Mapping[str, float]) -> Plant:
    """Give parameters of a plant other nominal values.

    Where they move the equilibrium, (x_eq, u_eq) follows: the measured signals stay at their values where the input can
    hold them there, and otherwise states and inputs move as little as they can, in parts of their bounds.

    Parameters
    ----------
    plant : Plant
        At rest at its equilibrium.
    values : mapping of str to float
        By label [p_units].

    Returns
    -------
    Plant

    Raises
    ------
    DomainError
        If a label is no parameter that is fixed over time, a value is one for which the plant means nothing, or there
        is no equilibrium near the old one.
    BoundsError
        If the bounds do not hold the new equilibrium in their interior.
    """
    as_instance("plant", plant, Plant)
    if not isinstance(values, Mapping):
        raise DomainError(f"nominal is {shown(values)}, expected values by label such as {{'mass': 1.3}}")
    labels, p = [plant.p_labels[i] for i in still(plant)], plant.p_nominal.copy()
    for label, value in values.items():
        if label not in labels:
            known = ", ".join(labels) or "none"
            raise DomainError(f"nominal.{label}: plant {plant.name!r} has no such fixed parameter, but {known}")
        i = plant.p_labels.index(label)
        p[i] = as_scalar(f"nominal.{label}", value)
        if p[i] <= plant.p_above[i]:
            raise DomainError(f"nominal.{label} is {p[i]:g}; the plant means something only above {plant.p_above[i]:g}")
    x, u = _equilibrium(plant, p)
    return plant.replace(p_nominal=p, x_eq=x, u_eq=u)


def _equilibrium(plant: Plant, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where the plant is at rest for parameters p, near where it was."""
    nx, start = plant.nx, np.concatenate([plant.x_eq, plant.u_eq])
    units = Units.of(plant)
    unit = np.concatenate([units.x, units.u])
    z = ca.vertcat(plant.x, plant.u)
    drift = (plant.f - plant.x if plant.dt is not None else plant.f) / units.x
    h = ca.Function("h", [plant.x, plant.p], [plant.measured])
    shown_at = np.array(h(plant.x_eq, plant.p_nominal))[:, 0]
    size = np.maximum(np.abs(np.array(ca.Function("C", [plant.x, plant.p], [ca.jacobian(plant.measured, plant.x)])(
        plant.x_eq, plant.p_nominal
    ))) @ units.x, np.finfo(float).tiny)  # fmt: skip
    kept = (plant.measured - shown_at) / size
    for of in (ca.vertcat(drift, kept), drift):
        F = ca.Function("rest", [plant.x, plant.u, plant.p], [of, ca.jacobian(of, z) @ ca.diag(unit)])
        found = _root(F, start, unit, nx, p)
        found = np.where(np.abs(found - start) <= _AT_REST * unit, start, found)
        moves = np.abs(np.array(F(found[:nx], found[nx:], p)[0])[:, 0])
        if (moves <= _MOVES).all():
            return found[:nx], found[nx:]
    raise DomainError(
        f"plant {plant.name!r} has no equilibrium near the old one with these nominal parameters; check them, or give "
        "the plant an equilibrium of theirs"
    )


def _root(F: ca.Function, start: np.ndarray, unit: np.ndarray, nx: int, p: np.ndarray) -> np.ndarray:
    """Take Newton's steps of least length, in units, until the residual is at rounding or no longer falls."""
    z, best, least = start.copy(), start, np.inf
    with np.errstate(all="ignore"):
        for _ in range(_STEPS):
            value, slope = (np.array(part) for part in F(z[:nx], z[nx:], p))
            size = np.abs(value).max()
            if not size < least:
                break
            best, least = z, size
            if size <= _AT_REST or not np.isfinite(slope).all():
                break
            z = z - unit * np.linalg.lstsq(slope, value[:, 0], rcond=1e-12)[0]
    return best
