"""What a proof of a level set bounds: the Jacobian of the loop under a law in the norm of V, and how it bends.

With F(x, p) the next state under the law, nothing cut, and z = x - x_eq, the mean value theorem says
F(x, p) - x_eq = J̄ z + d(p), d(p) = F(x_eq, p) - x_eq the drift and J̄ in the convex hull of the Jacobians of F on the
level set. J depends on few variables η: some states, inputs and parameters. On a box of widths w_k it is within
Σ_k w_k²/8 sup |∂²J/∂η_k²| of what its corners span, and so is d.
"""

import itertools
from dataclasses import dataclass
from functools import cached_property

import casadi as ca
import numpy as np

from scpo_ctrl.errors import DomainError
from scpo_ctrl.invariance.cones import LESS, Cones, along
from scpo_ctrl.invariance.intervals import Enclosure, Interval
from scpo_ctrl.invariance.rays import Rays
from scpo_ctrl.models import Plant

SLACK = 1e-9  # relative, of norms: more than what rounding does to them, or the set is not tried
_MOST_VARIABLES = 10  # that J depends on: each doubles the corners of a box
_ROUNDING = 100.0  # of a norm, in units of eps · n² · cond
_COST = 0.65  # of 1 - ‖J‖² at rest, that a cone may cost along its ray
_INDEPENDENT = 1e-2  # least singular value of rows of length one that are no combination of others


@dataclass(frozen=True)
class Law:
    """What commands a plant: u = u_eq - K (x - x_eq), or an expression of states and parameters."""

    plant: Plant
    K: np.ndarray  # (nu, nx), of an expression its gain at rest
    curved: ca.Function | None = None  # (x, p) -> u where it is not the straight line

    def command(self, x: ca.SX, p: ca.SX) -> ca.SX:
        """Return the command before saturation.

        Parameters
        ----------
        x : casadi.SX, shape (nx, 1)
        p : casadi.SX, shape (np, 1)

        Returns
        -------
        casadi.SX, shape (nu, 1)
        """
        if self.curved is not None:
            return self.curved(x, p)
        return ca.DM(self.plant.u_eq) - ca.DM(self.K) @ (x - ca.DM(self.plant.x_eq))


@dataclass(frozen=True)
class LevelSet:
    """{V ≤ ρ} in coordinates T z in which V is ρ times the squared length."""

    T: np.ndarray  # (nx, nx)
    back: np.ndarray  # (nx, nx) its inverse: unit · root
    rounding: float  # of a norm, relative

    @classmethod
    def of(cls, P: np.ndarray, rho: float) -> "LevelSet":
        """Return the level set of a shape.

        Parameters
        ----------
        P : numpy.ndarray, shape (nx, nx)
            Symmetric positive definite.
        rho : float

        Returns
        -------
        LevelSet
        """
        unit, root = shape_of(P, rho)
        rounding = _ROUNDING * np.finfo(float).eps * len(P) ** 2 * float(np.linalg.cond(root))
        return cls(np.linalg.inv(root) / unit, unit[:, None] * root, rounding)

    @property
    def extent(self) -> np.ndarray:
        """How far it reaches along each axis, shape (nx,)."""
        return np.asarray(np.linalg.norm(self.back, axis=1))


def shape_of(P: np.ndarray, rho: float) -> tuple[np.ndarray, np.ndarray]:
    """Return a root of {V ≤ ρ} in units of its own: it holds z = unit · (root v) for ‖v‖ ≤ 1.

    Parameters
    ----------
    P : numpy.ndarray, shape (nx, nx)
    rho : float

    Returns
    -------
    unit : numpy.ndarray, shape (nx,)
        Chosen so that a change of a state's unit changes nothing else.
    root : numpy.ndarray, shape (nx, nx)
    """
    unit = np.sqrt(rho) / np.sqrt(np.diag(P))
    return unit, np.linalg.cholesky(np.linalg.inv(P * unit[:, None] * unit / rho))


@dataclass(frozen=True)
class Balls:
    """Middles and radii of matrices of intervals, infinite where nothing is known."""

    middle: np.ndarray
    radius: np.ndarray

    @classmethod
    def of(cls, part: Interval) -> "Balls":
        """Return intervals as balls.

        Parameters
        ----------
        part : Interval

        Returns
        -------
        Balls
        """
        known = np.isfinite(part.low) & np.isfinite(part.high)
        with np.errstate(invalid="ignore", over="ignore"):
            middle = np.where(known, part.low / 2 + part.high / 2, 0.0)
            radius = np.maximum(part.high - middle, middle - part.low) * (1 + SLACK)
        return cls(middle, np.where(known, radius, np.inf))

    def taken(self, which: np.ndarray) -> "Balls":
        """Return some of the matrices.

        Parameters
        ----------
        which : numpy.ndarray of int, shape (m,)

        Returns
        -------
        Balls
        """
        return Balls(self.middle[which], self.radius[which])

    def seen(self, T: np.ndarray, right: np.ndarray) -> "Balls":
        """Return T M right of each matrix M.

        Parameters
        ----------
        T : numpy.ndarray, shape (m, rows)
        right : numpy.ndarray, shape (columns, k)

        Returns
        -------
        Balls
        """
        with np.errstate(invalid="ignore"):
            return Balls(T @ self.middle @ right, np.abs(T) @ self.radius @ np.abs(right))


@dataclass(frozen=True)
class Bounds:
    """Bounds of ‖T J T⁻¹‖ and |T d| on boxes."""

    corners: list[tuple[np.ndarray, np.ndarray]]
    """Of J and of d: norms at corners (n, 2^k) after what was taken off, and the norm of that (n,)."""
    added: list[np.ndarray]  # of J and of d, between the corners (n,)
    effect: np.ndarray  # (n, k) of a variable's width
    inside: np.ndarray  # (n, 2^k) whether a corner may be in the set
    along: np.ndarray | None = None  # (n, 2^k) least norms of J̄ at the corners, along their rays; None of J

    @property
    def largest(self) -> tuple[np.ndarray, np.ndarray]:
        """Bounds on the whole of each box, shapes (n,)."""
        norm, drift = (at[0].max(axis=1) + more for at, more in zip(self.corners, self.added, strict=True))
        return norm, drift

    @property
    def at_corners(self) -> tuple[np.ndarray, np.ndarray]:
        """Least values that they have at the corners inside, shapes (n, 2^k); zero at the others."""
        norm, drift = (np.where(self.inside, at - off[:, None], 0.0) for at, off in self.corners)
        return norm if self.along is None else np.where(self.inside, self.along, 0.0), drift


@dataclass(frozen=True)
class Jacobians:
    """The Jacobian of the loop, the drift, and what they depend on, in the coordinates of a level set."""

    set: LevelSet
    jacobian: Enclosure  # η -> (J, d)
    bends: Enclosure  # η -> second derivatives of J by each η_k, then those of d
    labels: tuple[str, ...]
    middle: np.ndarray  # (k,)
    reach: np.ndarray  # (k,) at level one; of parameters half their range
    of_set: np.ndarray  # (k,) bool: whether the reach grows with √level
    seen: np.ndarray  # (r,) variables that are independent linear functions of the state
    whitened: np.ndarray  # (r, r) of which the length of these, less the middle, is at most √level
    across: np.ndarray  # (r, nx) rows of length one: whitened times those functions
    symbols: tuple[ca.SX, ca.SX]  # η and J

    @cached_property
    def rays(self) -> Rays:
        """The mean of J along rays."""
        return Rays.of(*self.symbols, self.jacobian, self.bends, self.middle, self.of_set)

    @cached_property
    def tilt(self) -> float:
        """What a box's cone of rays may cost of the square of the norm, see `_cones`."""
        rest = np.where(np.isfinite(self.middle), self.middle, 0.0)[None]
        norm = _lengths(Balls.of(self.jacobian(Interval(rest, rest))[0]).seen(self.set.T, self.set.back).middle)[0]
        return float(_COST * np.clip(1 - norm**2, 0.0, 1.0))

    def bounds(self, low: np.ndarray, high: np.ndarray, size: float, *, mean: bool = False) -> "Bounds":
        """Return what bounds the Jacobian and the drift on boxes.

        Between the corners J is Σ_k t_k e_k ∂²J/∂η_k² below what they span, e_k = w_k²/8 and t_k in [0, 1]: half of the
        middle of that is taken off the corners, and what is left of it added to their norm.

        Parameters
        ----------
        low, high : numpy.ndarray, shape (n, k)
        size : float
            √level.
        mean : bool
            Whether to bound the mean J̄ of J along rays, seen along the rays of each box, instead of J.

        Returns
        -------
        Bounds
        """
        n, k = low.shape
        T, back = self.set.T, self.set.back
        sides = np.array(list(itertools.product((0.0, 1.0), repeat=k))).reshape(2**k, k)
        points = np.where(sides[None] > 0, high[:, None], low[:, None]).reshape(n * 2**k, k)
        eighth = ((high - low) ** 2 / 8)[:, :, None, None]
        J, d = (Balls.of(part) for part in self.jacobian(Interval(points, points)))
        bends = self.bends(Interval(low, high)) if k else []
        bent, moved = (
            Balls.of(Interval(*(np.stack([getattr(part, end) for part in some], axis=1) for end in ("low", "high"))))
            if k
            else Balls(np.zeros((n, 0, *shape)), np.zeros((n, 0, *shape)))
            for some, shape in ((bends[:k], J.middle.shape[1:]), (bends[k:], d.middle.shape[1:]))
        )
        if mean:
            apart, again = np.unique(points, axis=0, return_inverse=True)  # boxes share corners
            J = Balls.of(self.rays.at(apart)).taken(again.ravel())
            bent = Balls.of(self.rays.bent(low, high))
        corners, added, effect, least = [], [], np.zeros((n, k)), None
        for own, second, right in ((J, bent, back), (d, moved, np.eye(1))):
            at, bend = (part.seen(T, right) for part in (own, second))
            half = bend.middle * eighth / 2
            shift, spread = half.sum(axis=1), np.abs(half).sum(axis=1)
            rest = np.minimum(
                _lengths(spread), _lengths(half.reshape(n * k, *half.shape[2:])).reshape(n, k).sum(axis=1)
            )
            added.append(rest + _lengths((bend.radius * eighth).sum(axis=1)))
            shifted = at.middle.reshape(n, -1, *at.middle.shape[1:]) - shift[:, None]
            norms = (_lengths(shifted.reshape(at.middle.shape)) + _lengths(at.radius)).reshape(n, -1)
            effect += np.linalg.norm(2 * np.abs(half) + bend.radius * eighth, axis=(2, 3))
            if mean and own is J and self.seen.size:
                norms, least, more = self._along(low, high, points, at, shifted, norms)
                effect += more
            corners.append((norms, _lengths(shift)))
        inside = ~self.outside(points, points, size).reshape(n, -1)
        return Bounds(corners, added, np.where(np.isnan(effect), np.inf, effect), inside, least)

    def _along(
        self, low: np.ndarray, high: np.ndarray, points: np.ndarray, at: Balls, shifted: np.ndarray, norms: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return norms of J̄ in the cones of boxes, on the rays through corners, and what the cones' widths add."""
        (n, k), rest = low.shape, self.middle[self.seen]
        for tilt in (self.tilt, self.tilt / LESS):
            cones = Cones.of(self.across, self.whitened, low[:, self.seen] - rest, high[:, self.seen] - rest, tilt)
            turned = _lengths((shifted @ cones.right[:, None]).reshape(at.middle.shape)) + _lengths(at.radius)
            norms = np.minimum(norms, turned.reshape(n, -1))
        rays = along(self.across, (points[:, self.seen] - rest) @ self.whitened.T)
        least = _lengths(at.middle @ rays).reshape(n, -1)
        gain = np.maximum(norms.max(axis=1) - least.max(axis=1), 0.0)
        effect = np.zeros((n, k))
        effect[:, self.seen] = gain[:, None] * np.minimum(cones.wide, 1.0)
        return norms, least, effect

    def outside(self, low: np.ndarray, high: np.ndarray, size: float) -> np.ndarray:
        """Return which boxes no state of a level set has a part in, shape (n,).

        Parameters
        ----------
        low, high : numpy.ndarray, shape (n, k)
        size : float
            √level.

        Returns
        -------
        numpy.ndarray of bool
        """
        if not self.seen.size:
            return np.zeros(len(low), dtype=bool)
        centre = ((low + high) / 2 - self.middle)[:, self.seen] @ self.whitened.T
        half = (high - low)[:, self.seen] / 2 @ np.abs(self.whitened).T
        nearest = np.maximum(np.abs(centre) - half, 0.0)
        return np.asarray(np.linalg.norm(nearest, axis=1) * (1 - SLACK) > size * (1 + SLACK))


def _lengths(matrices: np.ndarray) -> np.ndarray:
    """Return the 2-norms of matrices (n, rows, columns), infinite where one is not finite."""
    lengths = np.full(len(matrices), np.inf)
    known = np.isfinite(matrices).all(axis=(1, 2))
    some = matrices if known.all() else matrices[known]
    if matrices.shape[2] == 1:
        lengths[known] = np.sqrt(np.square(some).sum(axis=(1, 2)))
    elif matrices.size:  # the largest root of a Gram matrix is as exact as the longest singular value, and quicker
        lengths[known] = np.sqrt(np.linalg.eigvalsh(some.transpose(0, 2, 1) @ some)[:, -1])
    return lengths


def jacobians(law: Law, level_set: LevelSet, ranges: np.ndarray) -> Jacobians:
    """Return what is to be bounded of a loop, and over what.

    Parameters
    ----------
    law : Law
    level_set : LevelSet
    ranges : numpy.ndarray, shape (np, 2)
        Of the plant parameters.

    Returns
    -------
    Jacobians

    Raises
    ------
    DomainError
        If the Jacobian depends on too many variables.
    """
    plant, back = law.plant, level_set.back
    half, mean = np.ptp(ranges, axis=1) / 2, ranges.mean(axis=1)
    if law.curved is not None:  # the command is an expression of the state
        J = ca.jacobian(ca.substitute(plant.f, plant.u, law.command(plant.x, plant.p)), plant.x)
        symbols, C = ca.vertcat(plant.x, plant.p), np.eye(plant.nx)
        middle, labels = np.append(plant.x_eq, mean), (*plant.x_labels, *plant.p_labels)
    else:
        J = ca.jacobian(plant.f, plant.x) - ca.jacobian(plant.f, plant.u) @ ca.sparsify(ca.DM(law.K))
        symbols, C = ca.vertcat(plant.x, plant.u, plant.p), np.vstack([np.eye(plant.nx), -law.K])
        middle = np.concatenate([plant.x_eq, plant.u_eq, mean])
        labels = (*plant.x_labels, *plant.u_labels, *plant.p_labels)
    reach = np.append(np.linalg.norm(C @ back, axis=1), half)
    rest = [ca.DM(plant.x_eq), law.command(ca.DM(plant.x_eq), plant.p), plant.p]
    J, d = ca.densify(J), ca.densify(plant.function(*rest) - ca.DM(plant.x_eq))
    which = _variables(ca.vertcat(ca.vec(J), d), symbols, reach, labels)
    fixed = [i for i in range(symbols.numel()) if i not in which]
    eta = ca.vertcat(*(symbols[i] for i in which)) if which else ca.SX.sym("none", 0)
    if fixed:
        values = np.where(np.isfinite(middle), middle, 0.0)[fixed]
        J, d = ca.substitute([J, d], [ca.vertcat(*(symbols[i] for i in fixed))], [ca.DM(values)])
    bends = [
        ca.reshape(ca.densify(ca.jacobian(ca.jacobian(ca.vec(part), eta[k]), eta[k])), *part.shape)
        for part in (J, d)
        for k in range(len(which))
    ]
    of_set = np.array([i < len(C) for i in which], dtype=bool)
    seen, whitened = _whitened(C @ back, which)
    across = whitened @ (C @ back)[[which[i] for i in seen]]
    return Jacobians(
        level_set,
        Enclosure(ca.Function("jacobian", [eta], ca.cse([J, d]))),
        Enclosure(ca.Function("bends", [eta], ca.cse(bends) if bends else [])),
        tuple(labels[i] for i in which),
        middle[which],
        reach[which],
        of_set,
        seen,
        whitened,
        across,
        (eta, J),
    )


def _variables(expression: ca.SX, symbols: ca.SX, reach: np.ndarray, labels: tuple[str, ...]) -> list[int]:
    """Return which symbols an expression depends on, of those that reach anywhere."""
    depends = np.array(ca.which_depends(expression, symbols, 1, False), dtype=bool) & (reach > 0)
    which: list[int] = np.flatnonzero(depends).tolist()
    if len(which) > _MOST_VARIABLES:
        names = ", ".join(labels[i] for i in which)
        raise DomainError(f"the Jacobian depends on {len(which)} variables ({names}), more than {_MOST_VARIABLES}")
    return which


def _whitened(D: np.ndarray, which: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return which variables are independent functions D v of a vector v, and W with |W D v| ≤ |v|, as near as that."""
    seen: list[int] = []
    for k, row in enumerate(which):
        if row >= len(D) or len(seen) == D.shape[1]:
            break
        rows = D[[which[i] for i in (*seen, k)]]
        scaled = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        if np.linalg.svd(scaled, compute_uv=False)[-1] > _INDEPENDENT:
            seen.append(k)
    if not seen:
        return np.zeros(0, dtype=int), np.zeros((0, 0))
    rows = D[[which[i] for i in seen]]
    return np.array(seen), np.linalg.inv(np.linalg.cholesky(rows @ rows.T))
