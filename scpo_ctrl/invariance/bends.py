"""Points of the parameters that stand for all between: by how much the next state bends with each of them.

Between the corners of a cell of widths w_j in q_j = p_j or 1/p_j, whichever f bends less by, the next state is within
Σ_j w_j²/8 sup |∂²f/∂q_j²| of what they span.
"""

import itertools

import casadi as ca
import numpy as np

from scpo_ctrl.errors import DomainError
from scpo_ctrl.invariance.jacobians import SLACK, LevelSet
from scpo_ctrl.invariance.largest import largest_length
from scpo_ctrl.models import Plant

_MOST_POINTS = 64  # of parameters: each costs a next state at every sample
_LITTLE = 0.03  # of √ρ that may be lost between points, before cells are made smaller
_NEAR = 1.5  # times the largest second derivative found: a bound below that is good enough


class Bends:
    """How far the next state bends with parameters, enclosed on a level set and all inputs within bounds.

    Parameters
    ----------
    plant : Plant
    level_set : LevelSet
    ranges : numpy.ndarray, shape (np, 2)
        Of the plant parameters.

    Raises
    ------
    DomainError
        If more parameters have a range than there are points for.
    """

    def __init__(self, plant: Plant, level_set: LevelSet, ranges: np.ndarray) -> None:
        self._plant, self._T, self._ranges = plant, level_set.T, ranges
        self._varied = np.isfinite(ranges).all(axis=1) & (ranges[:, 1] > ranges[:, 0])
        count = int(self._varied.sum())
        if 2**count > _MOST_POINTS:
            raise DomainError(
                f"a guard of plant {plant.name!r} would compute 2^{count} next states for as many parameters with a "
                f"range, more than {_MOST_POINTS}; give fewer of them a range"
            )
        self._low, self._high = box_around(plant, level_set)
        self.inverse = np.zeros(plant.npar, dtype=bool)  # whether q is 1/p
        self._suprema, self.curved = np.zeros(plant.npar), list[int]()
        for j in np.flatnonzero(self._varied):
            self._choose(int(j))

    def cells(self) -> np.ndarray:
        """Return into how many cells each range is to be cut, so that little is lost, shape (np,)."""
        cells = np.ones(self._plant.npar, dtype=int)
        while self.largest(cells).sum() > _LITTLE and (more := self._next(cells)) is not None:
            cells = more
        return cells

    def largest(self, cells: np.ndarray) -> np.ndarray:
        """Return what is lost to each parameter between corners of cells, in parts of √ρ, shape (np,)."""
        width = np.where(self._varied, np.ptp(self.ends(self.inverse), axis=1), 0.0)
        return np.asarray(self._suprema * (width / cells) ** 2 / 8)

    def _next(self, cells: np.ndarray) -> np.ndarray | None:
        """Return cells of which the worst parameter has one more, None where there are points enough."""
        if not self.curved:
            return None
        more = cells.copy()
        more[int(np.argmax(self.largest(cells)))] += 1
        return more if np.prod((more + 1)[self._varied]) <= _MOST_POINTS else None

    def points(self, cells: np.ndarray) -> np.ndarray:
        """Return the corners of cells as parameters, shape (k, np)."""
        axes = []
        for j, (low, high) in enumerate(self.ends(self.inverse)):
            q = np.linspace(low, high, cells[j] + 1) if self._varied[j] else np.array([low])
            axes.append(1 / q if self.inverse[j] else q)
        corners = list(itertools.product(*axes))
        return np.array(corners, dtype=float).reshape(len(corners), self._plant.npar)

    def ends(self, inverse: np.ndarray) -> np.ndarray:
        """Return the ranges of q, shape (np, 2)."""
        ends = self._ranges.copy()
        ends[inverse] = 1 / ends[inverse][:, ::-1]
        return ends

    def _choose(self, j: int) -> None:
        """Take for q_j what f bends less by."""
        found = {}
        for inverse in (False, True):
            if inverse and self._ranges[j, 0] <= 0 <= self._ranges[j, 1]:
                continue
            self.inverse[j] = inverse
            width = float(np.ptp(self.ends(self.inverse)[j]))
            sup = self._supremum(j)
            found[inverse] = sup * width**2, sup
        self.inverse[j] = min(found, key=lambda inverse: found[inverse][0])
        self._suprema[j] = found[bool(self.inverse[j])][1]
        if self._suprema[j] > 0:
            self.curved.append(j)

    def second(self, j: int) -> tuple[ca.SX, ca.SX, np.ndarray, np.ndarray]:
        """Return ∂²f/∂q_j² with what it depends on, states first, and the ends of that: of the set, and in range.

        Parameters
        ----------
        j : int

        Returns
        -------
        second : casadi.SX, shape (nx, 1)
        symbols : casadi.SX, shape (k, 1)
        low, high : numpy.ndarray, shape (k,)
        """
        plant, q = self._plant, ca.SX.sym("q")
        own = 1 / q if self.inverse[j] else q
        f = ca.substitute(plant.f, plant.p[j], own)
        second = ca.densify(ca.simplify(ca.jacobian(ca.jacobian(f, q), q)))
        others = [i for i in range(plant.npar) if i != j]
        symbols = ca.vertcat(plant.x, plant.u, *(plant.p[i] for i in others), q)
        ends = self.ends(np.where(np.arange(plant.npar) == j, self.inverse, False))
        low = np.concatenate([self._low, ends[others, 0], ends[j : j + 1, 0]])
        high = np.concatenate([self._high, ends[others, 1], ends[j : j + 1, 1]])
        return second, symbols, low, high

    def _supremum(self, j: int) -> float:
        """Bound |T ∂²f/∂q_j²|."""
        return largest_length(*self.second(j), self._T, _NEAR)


def box_around(plant: Plant, level_set: LevelSet) -> tuple[np.ndarray, np.ndarray]:
    """Return the box around a level set and all inputs within bounds.

    Parameters
    ----------
    plant : Plant
    level_set : LevelSet

    Returns
    -------
    low, high : numpy.ndarray, shape (nx + nu,)
    """
    reach = level_set.extent * (1 + SLACK)
    return np.concatenate([plant.x_eq - reach, plant.u_min]), np.concatenate([plant.x_eq + reach, plant.u_max])
