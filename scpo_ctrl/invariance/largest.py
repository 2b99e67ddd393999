"""The largest length of a vector of expressions over a box, bounded by enclosures."""

import itertools

import casadi as ca
import numpy as np

from scpo_ctrl.invariance.intervals import Enclosure, Interval
from scpo_ctrl.invariance.jacobians import SLACK, Balls

_BOXES = 3000  # that are enclosed


def largest_length(
    v: ca.SX, symbols: ca.SX, low: np.ndarray, high: np.ndarray, T: np.ndarray, near: float
) -> float:  # fmt: skip
    """Bound |T v| over a box of symbols.

    Parameters
    ----------
    v : casadi.SX, shape (n, 1)
        Dense.
    symbols : casadi.SX, shape (k, 1)
        All that v depends on.
    low, high : numpy.ndarray, shape (k,)
    T : numpy.ndarray, shape (m, n)
    near : float
        Times the largest length found, a bound that is good enough.

    Returns
    -------
    float
        Infinite where nothing is known.
    """
    depends = np.array(ca.which_depends(v, symbols, 1, False), dtype=bool)
    which = np.flatnonzero(depends & (high > low)).tolist()
    fixed = [i for i in range(symbols.numel()) if i not in which]
    eta = ca.vertcat(*(symbols[i] for i in which)) if which else ca.SX.sym("none", 0)
    if fixed:
        middle = np.where(np.isfinite(low), low / 2 + high / 2, 0.0)[fixed]
        v = ca.substitute(v, ca.vertcat(*(symbols[i] for i in fixed)), ca.DM(middle))
    return _Largest(v, eta, T).over(low[which], high[which], near)


class _Largest:
    """The largest length of T v(η) over a box, from above: v in the middle, and its slopes on the box."""

    def __init__(self, v: ca.SX, eta: ca.SX, T: np.ndarray) -> None:
        slopes = ca.densify(ca.jacobian(v, eta)) if eta.numel() else ca.DM.zeros(v.numel(), 0)
        self._values = Enclosure(ca.Function("value", [eta], ca.cse([v])))
        self._slopes = Enclosure(ca.Function("slopes", [eta], ca.cse([slopes]))) if eta.numel() else None
        self._T = T
        second = [ca.simplify(ca.jacobian(ca.jacobian(v, eta[k]), eta[k])) for k in range(eta.numel())]
        self._affine = [k for k, bend in enumerate(second) if not bend.nnz()]  # in which the length is convex

    def over(self, low: np.ndarray, high: np.ndarray, near: float) -> float:
        """Return a bound, lowered by halving boxes whose bound is far above what is found at middles."""
        ends = np.array(list(itertools.product((False, True), repeat=len(self._affine))))
        low, high = np.tile(low, (len(ends), 1)), np.tile(high, (len(ends), 1))
        corner = np.where(ends, high[:, self._affine], low[:, self._affine])
        low[:, self._affine] = high[:, self._affine] = corner
        seen, largest = 0, 0.0
        while True:
            sizes, middles, effect = self._sizes(low, high)
            seen, largest = seen + len(low), max(largest, float(middles.max()))
            wide = sizes > near * largest
            if not wide.any() or seen > _BOXES or not low.shape[1]:
                return max(near * largest, float(sizes.max()))
            low, high = low[wide], high[wide]
            which, rows = effect[wide].argmax(axis=1), np.arange(len(low))
            middle = (low[rows, which] + high[rows, which]) / 2
            left, right = high.copy(), low.copy()
            left[rows, which], right[rows, which] = middle, middle
            low, high = np.vstack([low, right]), np.vstack([left, high])

    def _sizes(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return bounds on boxes, and on their middles, shapes (n,), and what each variable adds, shape (n, k)."""
        middle = low / 2 + high / 2
        (value,) = self._values(Interval(middle, middle))
        at = Balls.of(value).seen(self._T, np.eye(1))
        size = (np.abs(at.middle) + at.radius)[:, :, 0]
        middles = np.linalg.norm(size, axis=1) * (1 + SLACK)
        if self._slopes is None:
            return middles, middles, np.zeros_like(low)
        (slopes,) = self._slopes(Interval(low, high))
        slope = Balls.of(slopes).seen(self._T, np.eye(low.shape[1]))
        half = np.maximum(high - middle, middle - low)[:, None, :] * (1 + SLACK)
        with np.errstate(invalid="ignore"):
            added = (np.abs(slope.middle) + slope.radius) * half
        added = np.where(np.isnan(added), np.inf, added)
        sizes = np.linalg.norm(size + added.sum(axis=2), axis=1) * (1 + SLACK)
        return sizes, middles, np.linalg.norm(added, axis=1)
