"""What rounding may do to a guard in the arithmetic of a target, and what is taken off for it.

The first condition and the backup's command have bounds of their rounding errors. Those of a next state's level are
measured on random states of the set and inputs within bounds, at every point of the parameters.
"""

from typing import Any

import numpy as np

from scpo_ctrl.codegen.arithmetic import evaluated
from scpo_ctrl.codegen.expressions import Graph
from scpo_ctrl.codegen.literals import rounded
from scpo_ctrl.errors import DomainError
from scpo_ctrl.invariance.guard import Guard
from scpo_ctrl.invariance.jacobians import SLACK
from scpo_ctrl.invariance.polytope_guard import PolytopeGuard

STATES = 4_000  # at each point
FACTOR = 8.0  # times the largest error seen
_FLOOR = 16  # least that is taken off, in units of eps
_MOST = 0.05  # of a level
_REGION = 2.0  # levels above it do not pass, whatever rounding does to them
_EPS = {"float": float(np.finfo(np.float32).eps), "double": float(np.finfo(np.float64).eps)}


def backup_error(guard: Guard, real: str) -> np.ndarray:
    """Bound what rounding may add to the backup's command on the set.

    Parameters
    ----------
    guard : Guard
    real : str
        "float" or "double".

    Returns
    -------
    numpy.ndarray, shape (nu,)
        For any order of its sum, with constants rounded to nearest and bounds rounded inwards.
    """
    plant = guard.plant
    terms = np.abs(plant.u_eq) + np.abs(guard.K) @ (2 * np.abs(plant.x_eq) + guard.extent)
    bounds = np.maximum(*(np.where(np.isfinite(b), np.abs(b), 0.0) for b in (plant.u_min, plant.u_max)))
    return np.asarray(_EPS[real] * ((plant.nx + 4) * terms + bounds))


def check_backup(guard: Guard, real: str) -> None:
    """Refuse a set that a state may leave by what rounding adds to the backup's command.

    Parameters
    ----------
    guard : Guard
        With its proof.
    real : str
        "float" or "double".

    Raises
    ------
    DomainError
        With what would help.
    """
    left = _left(guard)
    added = float(guard.pushes @ backup_error(guard, real))
    if not added <= left:
        raise DomainError(
            f"the guard of plant {guard.plant.name!r} cannot be exported in {real}: rounding of the backup's command "
            f"may move a state by {added:.2g} of the size of the set, and its proof leaves {left:.2g}; "
            + ("export with real = 'double', or " if real == "float" else "")
            + "prove a set that the backup contracts more (a smaller [backup] decay or rho)"
        )


def _left(guard: Guard) -> float:
    """Return what a proof leaves of the size of the set."""
    if isinstance(guard, PolytopeGuard):
        return guard.polytope.left
    proof = guard.proof
    assert proof is not None
    return max(1 - proof.contraction - proof.drift - proof.disturbance, 2 * SLACK)  # that much is left by every proof


def near_in(guard: Guard, real: str) -> tuple[float, np.ndarray] | None:
    """Return the condition that is enough for an input to pass, less what rounding may do to it.

    Parameters
    ----------
    guard : Guard
    real : str
        "float" or "double".

    Returns
    -------
    least : float
        A number of that type.
    per : numpy.ndarray, shape (nu,)

    None where it would never be met.
    """
    found = guard.near()
    if found is None:
        return None
    (least, per), plant, eps = found, guard.plant, _EPS[real]
    terms = np.abs(guard.root) @ (2 * np.abs(plant.x_eq) + guard.extent)
    off = (plant.nx + 3) * eps * np.linalg.norm(terms) + 2 * per @ backup_error(guard, real)
    least = rounded(least - off - (plant.nx + plant.nu + 12) * eps, real, -np.inf)
    return (least, per) if least > 0 else None


def taken_off(guard: Guard, graph: Graph, wanted: list[int], rows: np.ndarray, real: str) -> float:
    """Return what is taken off the limit of a level: a power of two, so that machines agree on it.

    Parameters
    ----------
    guard : Guard
    graph : Graph
        Of states, inputs and the numbers of a row.
    wanted : list of int
        Numbers of the level there, and of the next state where facets are asked too.
    rows : numpy.ndarray, shape (k, columns)
        One for each point of the parameters.
    real : str
        "float" or "double", of which the errors follow from those of float.

    Returns
    -------
    float

    Raises
    ------
    DomainError
        If it is more than a guard can do with.
    """
    x, u = _drawn(guard)
    worst = 0.0
    for row in rows:
        given = (x, u, row[:, None])
        exact, found = (_compared(guard, evaluated(graph, wanted, given, of), of) for of in (np.float64, np.float32))
        matters = ~(exact > _REGION)
        error = np.abs(found - exact)[matters]
        worst = max(worst, float(error.max(initial=0.0))) if np.isfinite(error).all() else np.inf
    worst *= _EPS[real] / _EPS["float"]
    off = max(FACTOR * worst, _FLOOR * _EPS[real])
    if not off <= _MOST:
        remedy = "export with real = 'double', or " if real == "float" else ""
        raise DomainError(
            f"the guard of plant {guard.plant.name!r} cannot be exported in {real}: rounding takes {off:.2g} of what "
            f"is compared with 1; {remedy}choose other units"
        )
    return float(2.0 ** np.ceil(np.log2(off)))


def _compared(guard: Guard, values: np.ndarray, number: type[np.floating[Any]]) -> np.ndarray:
    """Return what is compared with the limit: a level, and facets of the next state, in a type."""
    if not isinstance(guard, PolytopeGuard):
        return values[0]
    facets, z = guard.rows.astype(number), values[1:].astype(number)
    sums = np.zeros((len(facets), z.shape[1]), dtype=number)
    with np.errstate(all="ignore"):
        for i in range(len(z)):
            sums += facets[:, i : i + 1] * z[i]
    return np.vstack([values[:1], sums]).astype(np.float64)


def _drawn(guard: Guard) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Draw states of the set, half of them on its surface, and inputs about the backup's, in float."""
    rng, plant = np.random.default_rng(20251213), guard.plant
    towards = rng.normal(size=(STATES, plant.nx))
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    length = np.where(np.arange(STATES) % 2 == 0, 1.0, rng.uniform(size=STATES) ** (1 / plant.nx))
    z = guard.surface(length[:, None] * towards)
    width = plant.u_max - plant.u_min
    known = np.isfinite(guard.pushes) & (guard.pushes > 0)
    reach = np.minimum(np.where(np.isfinite(width), width, np.inf), 2 / np.where(known, guard.pushes, 2.0))
    u = plant.u_eq - z @ guard.K.T + rng.uniform(-1, 1, (STATES, plant.nu)) * reach
    u[::3] = plant.u_eq - z[::3] @ guard.K.T
    return (plant.x_eq + z).T.astype(np.float32), np.clip(u, plant.u_min, plant.u_max).T.astype(np.float32)
