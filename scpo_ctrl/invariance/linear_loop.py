"""A linear plant under a gain, at points of its parameters: between them it is in their hull, but for a rest."""

from dataclasses import dataclass

import casadi as ca
import numpy as np

from scpo_ctrl.errors import DomainError
from scpo_ctrl.invariance.bends import Bends
from scpo_ctrl.invariance.intervals import Interval, enclosure, magnitude
from scpo_ctrl.invariance.jacobians import LevelSet
from scpo_ctrl.models import Plant

_ROOM = 1e-6  # relative, for whoever bounds it again


@dataclass(frozen=True)
class LinearLoop:
    """z⁺ = A_k z + d_k + w, |w| ≤ push, at points p_k: the corners of cells of q, where q_j is p_j or 1/p_j."""

    A: np.ndarray  # (k, nx, nx) of the closed loop
    B: np.ndarray  # (k, nx, nu)
    drift: np.ndarray  # (k, nx) d
    points: np.ndarray  # (k, np) parameters
    inverse: np.ndarray  # (np,) bool: whether q is 1/p
    cells: np.ndarray  # (np,) into how many each range of q is cut
    half: np.ndarray  # (nx,) half widths of the disturbance, or (0,)
    between: np.ndarray  # (nx,) how far the next state may be from what the corners of a cell span
    ranges: np.ndarray  # (np, 2)

    @property
    def push(self) -> np.ndarray:
        """What counts as disturbance, shape (nx,)."""
        return np.asarray(self.between + (self.half if self.half.size else 0.0))


def linear_loop(
    plant: Plant, K: np.ndarray, level_set: LevelSet, ranges: np.ndarray, half: np.ndarray
) -> LinearLoop:  # fmt: skip
    """Return a loop at points of its parameters.

    Parameters
    ----------
    plant : Plant
        Discrete, without signals.
    K : numpy.ndarray, shape (nu, nx)
    level_set : LevelSet
        By which the rest between points is called little.
    ranges : numpy.ndarray, shape (np, 2)
        Of the plant parameters.
    half : numpy.ndarray, shape (nx,) or (0,)
        Half widths of the disturbance.

    Returns
    -------
    LinearLoop

    Raises
    ------
    DomainError
        If the plant is not linear, or nothing bounds the rest.
    """
    z = ca.vertcat(plant.x, plant.u)
    A, B = (ca.densify(ca.simplify(ca.jacobian(plant.f, of))) for of in (plant.x, plant.u))
    if ca.depends_on(ca.horzcat(A, B), z):
        raise DomainError(
            f"a polytope is of a linear plant, and plant {plant.name!r} is none for all of its parameters; guard the "
            "level set of its backup"
        )
    bends = Bends(plant, level_set, ranges)
    cells = bends.cells()
    between = _between(plant, bends, cells)
    if not np.isfinite(between).all():
        names = ", ".join(plant.p_labels[i] for i in bends.curved)
        raise DomainError(
            f"the next state of plant {plant.name!r} bends with {names}, by what nothing bounds where a state or an "
            "input has no bounds; give it bounds, or no range to the parameter"
        )
    points = bends.points(cells)
    drift = plant.function(ca.DM(plant.x_eq), ca.DM(plant.u_eq), plant.p) - ca.DM(plant.x_eq)
    at = ca.Function("at", [plant.p], [A - B @ ca.DM(K), B, ca.densify(drift)])
    found = [[np.array(part) for part in at(p)] for p in points]
    A_k, B_k, d_k = (np.array([one[i] for one in found]) for i in range(3))
    return LinearLoop(A_k, B_k, d_k[:, :, 0], points, bends.inverse, cells, half, between, ranges)


def _between(plant: Plant, bends: Bends, cells: np.ndarray) -> np.ndarray:
    """Bound Σ_j w_j²/8 |∂²f/∂q_j²| within all bounds, of each state, shape (nx,)."""
    total = np.zeros(plant.nx)
    widths = np.ptp(bends.ends(bends.inverse), axis=1) / cells if plant.npar else np.zeros(0)
    for j in bends.curved:
        second, symbols, low, high = bends.second(j)
        low[: plant.nx], high[: plant.nx] = plant.x_min, plant.x_max
        (found,) = enclosure(ca.Function("second", [symbols], [second]), Interval(low[None], high[None]))
        total += widths[j] ** 2 / 8 * magnitude(found)[0, :, 0] * (1 + _ROOM)
    return total
