"""Design of level sets that a law keeps, and of the law itself: linear matrix inequalities at corners of the Jacobian.

With W = P⁻¹ and Y = K W, V = zᵀPz falls by τ² along A - B K where [τ² W, (A W - B Y)ᵀ; A W - B Y, W] ⪰ 0, and a state
is pushed by d at most (1 - τ) √ρ where [(1 - τ)², dᵀ; d, W] ⪰ 0, ρ = 1 (Boyd, El Ghaoui, Feron, Balakrishnan 1994,
chapter 7). At the corners of a box of the variables that A and B depend on this is a guess for a nonlinear plant, as
is what a solver answers: nothing is taken for granted, `level_set` proves what is claimed.
"""

import itertools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import casadi as ca
import numpy as np

from scpo_ctrl.models import Plant

_PARTS = (1.0, 0.7, 0.5, 0.35, 0.25, 0.15)  # of the bounds, as boxes to begin with
_GROW, _GROWS, _WORTH = 1.2, 12, 0.02  # of a box beyond the set that it was designed for; by how much ln(volume) rises
_ROOM = (1.0, 3.0, 6.0, 12.0, 24.0)  # multiples of 1 - τ that are tried where something pushes the state
_MOST_CORNERS = 256


@dataclass(frozen=True)
class Shape:
    """A gain and the shape of a level set {zᵀPz ≤ 1}."""

    K: np.ndarray  # (nu, nx)
    P: np.ndarray  # (nx, nx)

    @property
    def size(self) -> float:
        """Logarithm of its volume, but for a constant."""
        return -float(np.linalg.slogdet(self.P)[1]) / 2

    @property
    def reach(self) -> np.ndarray:
        """How far states and inputs reach in it, shape (nx + nu,)."""
        W = np.linalg.inv(self.P)
        return np.sqrt(np.concatenate([np.diag(W), np.einsum("ij,jk,ik->i", self.K, W, self.K)]))


class Corners:
    """Jacobians of a plant and pushes of its state at corners of a box.

    Parameters
    ----------
    plant : Plant
        Discrete, in units of its bounds.
    ranges : numpy.ndarray, shape (np, 2)
    half : numpy.ndarray, shape (nx,) or (0,)
        Half widths of the disturbance.
    """

    def __init__(self, plant: Plant, ranges: np.ndarray, half: np.ndarray) -> None:
        symbols = ca.vertcat(plant.x, plant.u, plant.p)
        parts = [ca.densify(ca.jacobian(plant.f, of)) for of in (plant.x, plant.u)]
        self._at = ca.Function("corners", [symbols], parts)
        depends = np.array(ca.which_depends(ca.veccat(*parts), symbols, 1, False), dtype=bool)
        width = np.where(np.isfinite(ranges).all(axis=1), np.ptp(ranges, axis=1), 0.0)
        self.which = np.flatnonzero(depends & (np.append(np.ones(plant.nx + plant.nu), width) > 0))
        self._middle = np.concatenate([plant.x_eq, plant.u_eq, np.where(width > 0, ranges.mean(axis=1), ranges[:, 0])])
        self._half = width / 2
        sides = [
            np.minimum(getattr(plant, f"{of}_max") - getattr(plant, f"{of}_eq"), getattr(plant, f"{of}_eq") - low)
            for of, low in (("x", plant.x_min), ("u", plant.u_min))
        ]
        self.most = np.concatenate(sides)  # that states and inputs may reach (nx + nu,)
        self.pushes = self._pushes(plant, half)

    def jacobians(self, box: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return A and B at the corners.

        Parameters
        ----------
        box : numpy.ndarray, shape (nx + nu,)
            Half widths of states and inputs.

        Returns
        -------
        list of tuple
        """
        reach, found = np.append(box, self._half), []
        for signs in itertools.product((-1.0, 1.0), repeat=len(self.which)):
            at = self._middle.copy()
            at[self.which] += np.array(signs) * reach[self.which]
            A, B = self._at(at)
            found.append((np.array(A), np.array(B)))
        return found

    def _pushes(self, plant: Plant, half: np.ndarray) -> np.ndarray:
        """Return where parameters and disturbances may move the equilibrium, shape (k, nx)."""
        p = np.flatnonzero(self._half)
        nominal, pushed = self._middle[plant.nx + plant.nu :], np.diag(half)[np.flatnonzero(half)]
        if 2 ** (len(p) + len(pushed)) > _MOST_CORNERS:  # of which a cross holds the box
            pushed, wide = pushed * len(pushed), np.vstack([np.eye(len(half)), -np.eye(len(half))]) @ np.diag(half)
            corners = wide * len(pushed) if half.size else np.zeros((1, plant.nx))
        else:
            corners = np.array([np.array(s) @ pushed for s in itertools.product((-1.0, 1.0), repeat=len(pushed))])
        corners = corners.reshape(-1, plant.nx) if half.any() else np.zeros((1, plant.nx))
        drifts = []
        for signs in itertools.product((-1.0, 1.0), repeat=min(len(p), 8)):
            at = nominal.copy()
            at[p[: len(signs)]] += np.array(signs) * self._half[p[: len(signs)]]
            drifts.append(np.array(plant.function(plant.x_eq, plant.u_eq, at))[:, 0] - plant.x_eq)
        sums = (np.unique(drifts, axis=0)[:, None] + corners).reshape(-1, plant.nx)
        return sums[(np.abs(sums) > 1e-12 * self.most[: plant.nx]).any(axis=1)]


def shapes(
    plant: Plant, start: Shape, ranges: np.ndarray, half: np.ndarray, *, decay: float, keep: bool
) -> Iterator[Shape]:
    """Yield shapes that may be kept, the largest first.

    Parameters
    ----------
    plant : Plant
        Discrete, in units of its bounds.
    start : Shape
        From which the search grows.
    ranges : numpy.ndarray, shape (np, 2)
        Of the plant parameters.
    half : numpy.ndarray, shape (nx,) or (0,)
        Half widths of the disturbance.
    decay : float
        What a step multiplies √V by, at most, in (0, 1).
    keep : bool
        Whether the gain stays that of `start`.

    Yields
    ------
    Shape
    """
    corners = Corners(plant, ranges, half)
    rooms = _ROOM if len(corners.pushes) else _ROOM[:1]
    found = []
    for tau in sorted({1 - min((1 - decay) * room, 0.5) for room in rooms}, reverse=True):
        found += _grown(corners, start, tau, keep=keep)
    yield from sorted(found, key=lambda shape: -shape.size)


def _grown(corners: Corners, start: Shape, tau: float, *, keep: bool) -> list[Shape]:
    """Return shapes for one decay: for parts of the bounds, and grown from the best of them."""
    parts = _PARTS if (corners.which < len(corners.most)).any() else _PARTS[:1]  # or the box is of parameters alone
    found = [shape for part in parts if (shape := _solved(corners, start, part * corners.most, tau, keep=keep))]
    best, rises = max(found, key=lambda shape: shape.size, default=start), bool(found)
    if found and best is found[0]:  # the whole of the bounds is the best, and nothing grows beyond it
        return found
    for _ in range(_GROWS):
        box = np.minimum(corners.most, _GROW * best.reach)
        shape = _solved(corners, best, box, tau, keep=keep)
        if shape is None or (rises and shape.size < best.size + _WORTH):
            break
        best, rises = shape, True
        found.append(shape)
    return found


def _solved(corners: Corners, start: Shape, box: np.ndarray, tau: float, *, keep: bool) -> Shape | None:
    """Return the largest shape inside a box, in coordinates in which `start` is a ball; None where there is none."""
    import cvxpy as cp  # takes a second

    nx, nu = len(start.P), len(start.K)
    S = np.linalg.cholesky(np.linalg.inv(start.P))
    back = np.linalg.inv(S)
    W = cp.Variable((nx, nx), symmetric=True)
    Y = (start.K @ S) @ W if keep else cp.Variable((nu, nx))
    rules = []
    for A, B in corners.jacobians(box):
        M = (back @ A @ S) @ W - (back @ B) @ Y
        rules.append(cp.bmat([[tau**2 * W, M.T], [M, W]]) >> 0)
    limited = np.where(np.isin(np.arange(nx + nu), corners.which), box, corners.most)
    for i in np.flatnonzero(np.isfinite(limited)):
        if i < nx:
            row = S[i : i + 1] / limited[i]
            rules.append((row @ W @ row.T)[0, 0] <= 1)
        else:
            row = Y[i - nx : i - nx + 1] / limited[i]
            rules.append(cp.bmat([[np.ones((1, 1)), row], [row.T, W]]) >> 0)
    for push in corners.pushes:
        column = (back @ push)[:, None] / (1 - tau)
        rules.append(cp.bmat([[np.ones((1, 1)), column.T], [column, W]]) >> 0)
    problem = cp.Problem(cp.Maximize(cp.log_det(W)), rules)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is not solved well: it is proved, or not
            problem.solve(solver="CLARABEL")
    except (cp.SolverError, ValueError):
        return None
    return _shape(W.value, None if keep else Y.value, back, start)


def _shape(W: np.ndarray | None, Y: np.ndarray | None, back: np.ndarray, start: Shape) -> Shape | None:
    """Return what a solver answered, None if that is no shape."""
    if W is None or not np.isfinite(W).all():
        return None
    W = (W + W.T) / 2
    try:
        np.linalg.cholesky(W)
        inverse = np.linalg.inv(W)
        P = back.T @ inverse @ back
        np.linalg.cholesky((P + P.T) / 2)
    except np.linalg.LinAlgError:
        return None
    return Shape(start.K if Y is None else Y @ inverse @ back, (P + P.T) / 2)
