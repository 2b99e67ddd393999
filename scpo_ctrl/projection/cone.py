"""The projection problem (E5) as data: checks, exact screening, reduction, and the closed-form repair."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.errors import DimensionError, DomainError
from scpo_ctrl.projection.status import ProjectionStatus
from scpo_ctrl.shown import Entries, Shown, counted
from scpo_ctrl.validate import as_array, as_scalar, as_stack

_REPAIR_TRIES = 16
_SMALLEST, _LARGEST = 1e-75, 1e75  # sizes between which squares and products of squares stay within a double
_FAR = 70  # binary digits, more than a double has
_NOTHING = -(1 << 20)  # binary exponent of zero


@dataclass(frozen=True, repr=False)
class Projection(Shown):
    """The answer of a projection.

    Attributes
    ----------
    delta : numpy.ndarray, shape (p,)
        Closest point found; feasible whenever all c ≤ 0.
    status : ProjectionStatus
        Whether it is solved.
    iterations : int
        Of the solver; 0 where none was needed.
    active : numpy.ndarray
        Indices of the constraints that hold the answer back.

    Examples
    --------
    >>> import scpo_ctrl as sc
    >>> answer = sc.project(u=[1.0, 0.0], c=[-0.1], G=[[1.0, 0.0]], e=[0.0], L=[0.0], r=1.0)
    >>> answer.active
    array([0])
    """

    delta: np.ndarray
    status: ProjectionStatus
    iterations: int
    active: np.ndarray

    def _shown(self) -> tuple[str, Entries]:
        length = f"length {float(np.linalg.norm(self.delta)):.4g} in {counted(self.delta.size, 'dimension')}"
        rows = [("step", length), ("held back by", counted(len(self.active), "constraint"))]
        return f"{self.status.name.lower().replace('_', ' ')} in {counted(self.iterations, 'iteration')}", rows


@dataclass(frozen=True)
class Cone:
    """Data of (E5): minimise ‖α - u‖² subject to c + G α + e ‖α‖ + L/2 ‖α‖² ≤ 0, ‖α‖ ≤ r."""

    u: np.ndarray  # (p,) step to be projected
    c: np.ndarray  # (m,) metrics at the current parameters
    G: np.ndarray  # (m, p) their sampled gradients
    e: np.ndarray  # (m,) error of these gradients, >= 0
    L: np.ndarray  # (m,) smoothness constants, >= 0
    r: float  # radius, > 0

    @property
    def longest(self) -> float:
        """No answer is longer: min(r, ‖u‖), since 0 is feasible and projections are nonexpansive."""
        return min(self.r, float(np.linalg.norm(self.u)))

    @cached_property
    def slopes(self) -> np.ndarray:
        """Norms of the rows of G, shape (m,)."""
        return np.sqrt(np.einsum("ij,ij->i", self.G, self.G))

    def bound(self, alpha: np.ndarray) -> np.ndarray:
        """Return the right-hand side of (E4).

        Parameters
        ----------
        alpha : numpy.ndarray, shape (p,)

        Returns
        -------
        numpy.ndarray, shape (m,)
        """
        norm = float(np.linalg.norm(alpha))
        return self.c + product(self.G, alpha) + self.e * norm + self.L / 2 * norm**2

    def holds(self, alpha: np.ndarray) -> bool:
        """Return whether a step is feasible, whoever evaluates (E4) and in whatever order of summation.

        Parameters
        ----------
        alpha : numpy.ndarray, shape (p,)

        Returns
        -------
        bool
        """
        norm, eps = float(np.linalg.norm(alpha)), np.finfo(float).eps * (alpha.size + 8)
        terms = np.abs(self.c) + (self.slopes + self.e) * norm + self.L / 2 * norm**2
        return bool(norm * (1 + eps) <= self.r and (self.bound(alpha) + eps * terms <= 0).all())

    def rows(self, keep: np.ndarray) -> "Cone":
        """Return the same problem with some of the constraints.

        Parameters
        ----------
        keep : numpy.ndarray of int
            Their indices.

        Returns
        -------
        Cone
        """
        return Cone(self.u, self.c[keep], self.G[keep], self.e[keep], self.L[keep], self.r)


def checked(u: ArrayLike, c: ArrayLike, G: ArrayLike, e: ArrayLike, L: ArrayLike, r: float) -> Cone:
    """Return the data of (E5) after checking shapes and ranges; an infinite radius becomes one beyond any answer.

    Parameters
    ----------
    u, c, G, e, L, r
        As in `project`.

    Returns
    -------
    Cone

    Raises
    ------
    DimensionError, DomainError
        As in `project`.
    """
    u = as_array("u", u, (None,))
    if not u.size:
        raise DimensionError("u is empty; a step needs at least one component")
    c = as_array("c", c, (None,))
    G = as_stack("G", G)
    G = as_array("G", G if c.size or G.size else np.zeros((0, u.size)), (c.size, u.size))
    e, L = (as_stack(name, v) for name, v in (("e", e), ("L", L)))
    e, L = (
        as_array(name, np.broadcast_to(v, c.shape) if v.ndim == 0 else v, c.shape) for name, v in (("e", e), ("L", L))
    )
    for name, value in (("e", e), ("L", L)):
        if (value < 0).any():
            i = int(np.argmax(value < 0))
            raise DomainError(f"{name}[{i}] is {value[i]:g}, expected a number >= 0")
    longer = 2 * float(np.max(np.abs(u))) * np.sqrt(u.size)  # than u, without squares that overflow
    radius = max(longer, np.finfo(float).tiny) if _unbounded(r) else as_scalar("r", r, above=0.0)
    return Cone(u, c, G, e, L, radius)


def _unbounded(r: object) -> bool:
    return isinstance(r, float) and r == np.inf


def in_range(cone: Cone, solve: Callable[[Cone], Projection]) -> Projection:
    """Solve a problem whose squares would leave the range of a double in other units, by powers of two: they are exact.

    Parameters
    ----------
    cone : Cone
    solve : callable
        What solves it.

    Returns
    -------
    Projection
    """
    sizes = np.concatenate([np.abs(part).ravel() for part in (cone.u, cone.c, cone.G, cone.e, cone.L)])
    sizes = sizes[sizes > 0]
    if not sizes.size or (sizes.min() > _SMALLEST and sizes.max() < _LARGEST) or (cone.c > 0).any():
        return solve(cone)
    length = int(_exponents(cone.u).max()) if cone.u.any() else 0
    unit = min(length, int(_exponents(np.array(cone.r))))  # of steps
    far = min(length - unit, _FAR)  # from beyond that, the closest point of the region is the same
    parts = [_exponents(cone.c), _exponents(cone.G).max(axis=1, initial=_NOTHING) + unit]
    parts += [_exponents(cone.e) + unit, _exponents(cone.L) + 2 * unit]
    row = np.max(parts, axis=0, initial=_NOTHING)
    row[row == _NOTHING] = 0
    with np.errstate(all="ignore"):
        scaled = Cone(
            np.ldexp(cone.u, far - length),
            np.ldexp(cone.c, -row),
            np.ldexp(cone.G, unit - row[:, None]),
            np.ldexp(cone.e, unit - row),
            np.ldexp(cone.L, 2 * unit - row),
            min(float(np.ldexp(cone.r, -unit)), float(np.ldexp(2.0 * np.sqrt(cone.u.size), far))),  # is longer than u
        )
        answer = solve(scaled)
    lost = answer.status is ProjectionStatus.SOLVED and cone.u.any() and not answer.delta.any()
    status = ProjectionStatus.CAPPED if lost else answer.status
    return replace(answer, delta=np.ldexp(answer.delta, unit), status=status)


def _exponents(numbers: np.ndarray) -> np.ndarray:
    """Return k with |number| < 2ᵏ, far below all others for zero."""
    return np.where(numbers == 0, _NOTHING, np.frexp(numbers)[1]).astype(np.int64)


def product(G: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return G α without BLAS, whose threads cost more than this product, above all on busy cores.

    Parameters
    ----------
    G : numpy.ndarray, shape (m, p)
    alpha : numpy.ndarray, shape (p,)

    Returns
    -------
    numpy.ndarray, shape (m,)
    """
    return np.einsum("ij,j->i", G, alpha)


def screen(cone: Cone) -> np.ndarray:
    """Find, exactly, the constraints that can be active: the others hold wherever ‖α‖ ≤ ρ = min(r, ‖u‖), as α* does.

    Parameters
    ----------
    cone : Cone
        With all c ≤ 0.

    Returns
    -------
    numpy.ndarray of int
        Their indices.
    """
    rho = cone.longest
    return np.flatnonzero(~(cone.c + (cone.slopes + cone.e) * rho + cone.L / 2 * rho**2 <= 0))


def reduce(cone: Cone) -> tuple[Cone, np.ndarray | None]:
    """Reduce the dimension: α* lies in the span of u and the constraint rows, since the rest of (E5) knows only norms.

    Parameters
    ----------
    cone : Cone

    Returns
    -------
    cone : Cone
        In min(p, m + 1) dimensions.
    basis : numpy.ndarray, shape (p, m + 1), or None
        Orthonormal; the full step is ``basis @ alpha``. None where nothing can be gained.
    """
    if cone.c.size + 1 >= cone.u.size:
        return cone, None
    basis, triangle = np.linalg.qr(np.column_stack([cone.u, cone.G.T]))
    rows = np.ascontiguousarray(triangle.T)
    return Cone(rows[0], cone.c, rows[1:], cone.e, cone.L, cone.r), basis


def repair(cone: Cone, alpha: np.ndarray) -> np.ndarray:
    """Return τ α with the largest τ ∈ [0, 1] that is feasible in this arithmetic; the region is convex and holds 0.

    Parameters
    ----------
    cone : Cone
        With all c ≤ 0.
    alpha : numpy.ndarray, shape (p,)
        Any vector, finite or not.

    Returns
    -------
    numpy.ndarray, shape (p,)
        Feasible; zero if alpha is not finite.
    """
    norm = float(np.linalg.norm(alpha))
    if not np.isfinite(norm) or norm == 0:
        return np.zeros_like(cone.u)
    quadratic, linear = cone.L / 2 * norm**2, product(cone.G, alpha) + cone.e * norm
    root = np.sqrt(np.maximum(linear**2 - 4 * quadratic * cone.c, 0.0))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        steps = np.where(linear > 0, -2 * cone.c / (linear + root), (root - linear) / (2 * quadratic))
    crossing = cone.c + linear + quadratic > 0
    tau = min(1.0, cone.r / norm, float(np.min(steps[crossing], initial=1.0)))
    for k in range(_REPAIR_TRIES):
        candidate = tau * max(0.0, 1 - np.finfo(float).eps * (8**k - 1)) * alpha
        if cone.holds(candidate):
            return np.asarray(candidate)
    return np.zeros_like(cone.u)


def answer_at_once(cone: Cone) -> Projection | None:
    """Give the answers that need no solver: an unsafe start, and a step that is inside already.

    Parameters
    ----------
    cone : Cone

    Returns
    -------
    Projection or None
        None where a solver is needed.
    """
    if (cone.c > 0).any():
        return Projection(np.zeros_like(cone.u), ProjectionStatus.UNSAFE_START, 0, np.flatnonzero(cone.c > 0))
    if cone.holds(cone.u):
        return Projection(cone.u.copy(), ProjectionStatus.INSIDE, 0, np.zeros(0, dtype=int))
    return None
