"""The projection (E5): screening, reduction by thin QR, a conic solver, and the closed-form repair that ends it."""

import contextlib
import warnings
from dataclasses import dataclass, replace

import cvxpy as cp
import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.errors import DimensionError, DomainError
from scpo_ctrl.status import ProjectionStatus
from scpo_ctrl.validate import as_array, as_scalar

# Tolerances of the solvers on the scaled problem: the repair makes answers feasible, these make them close.
_TIGHT: dict[str, dict[str, float | int]] = {
    "CLARABEL": {"tol_gap_abs": 1e-11, "tol_gap_rel": 1e-11, "tol_feas": 1e-11, "max_iter": 200},
    "ECOS": {"abstol": 1e-10, "reltol": 1e-10, "feastol": 1e-10, "max_iters": 200},
}
_OWN: dict[str, float | int] = {}  # the solver's own tolerances
_REPAIR_TRIES = 16
_ROUNDS = 50  # working sets tried before the answer is only repaired
_ENTERING = 40  # constraints that may enter the working set in a round
# Relative to the size of a constraint's terms. The solver gets constraints tightened by more than its own error, so
# that the repair, which can only shorten a step, hardly ever has to: next to an active c = 0 it would leave nothing.
_TIGHTENED, _VIOLATED, _ACTIVE, _SLACK = 1e-10, -0.5e-10, -1e-6, -1e-4


@dataclass(frozen=True)
class Projection:
    """The answer of a projection."""

    delta: np.ndarray  # (p,) closest point found; feasible whenever all c ≤ 0
    status: ProjectionStatus
    iterations: int  # of the solver; 0 where none was needed
    active: np.ndarray  # indices of the constraints that hold the answer back


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
        return self.c + self.G @ alpha + self.e * norm + self.L / 2 * norm**2

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
        terms = np.abs(self.c) + np.abs(self.G) @ np.abs(alpha) + self.e * norm + self.L / 2 * norm**2
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


def project(
    u: ArrayLike,
    c: ArrayLike,
    G: ArrayLike,
    e: ArrayLike,
    L: ArrayLike,
    r: float,
    *,
    solver: str = "CLARABEL",
    guess: np.ndarray | None = None,
) -> Projection:
    """Project a step onto the local safe region (E5): screened, solved on a working set, repaired.

    A solution of (E5) with some of the constraints that satisfies all of them solves the whole. So the solver sees only
    a working set: violated constraints enter, slack ones leave, until none is violated. The objective rises in every
    round, so the rounds end. Each round is reduced to the span of the step and its constraint rows.

    Parameters
    ----------
    u : array_like, shape (p,)
        The step to be projected.
    c : array_like, shape (m,)
        Metrics at the current parameters; all ≤ 0 where those are safe.
    G : array_like, shape (m, p)
        Sampled gradients of the metrics (E2).
    e, L : array_like, shape (m,) or scalar
        Error of the gradients (E3) and smoothness constants, ≥ 0.
    r : float
        Radius of the region, > 0; infinite for none.
    solver : {"CLARABEL", "ECOS"}
        Solver of the reduced problems.
    guess : numpy.ndarray of int, optional
        Constraints likely to be active, for example those of the last projection: the first working set.

    Returns
    -------
    Projection
        ``delta`` is feasible in float64 whenever all c ≤ 0; with some c > 0 it is zero and the status says so.

    Raises
    ------
    DimensionError, DomainError
        If a shape does not fit, a number is not finite, e or L is negative, or r is not positive.
    """
    cone = checked(u, c, G, e, L, r)
    answered = _answer_at_once(cone)
    if answered is not None:
        return answered
    left = screen(cone)
    alpha, working, solved, iterations = _solve_by_rounds(cone, left, solver, guess)
    status = ProjectionStatus.SOLVED if solved else ProjectionStatus.CAPPED
    return Projection(repair(cone, alpha), status, iterations, working)


def project_reference(
    u: ArrayLike, c: ArrayLike, G: ArrayLike, e: ArrayLike, L: ArrayLike, r: float, solver: str = "CLARABEL"
) -> Projection:
    """Project a step onto the local safe region (E5) with CVXPY on the whole problem, as an independent reference.

    Parameters
    ----------
    u, c, G, e, L, r
        As in `project`.
    solver : {"CLARABEL", "ECOS"}
        The conic solver.

    Returns
    -------
    Projection
        As in `project`.

    Raises
    ------
    DimensionError, DomainError
        As in `project`; also for an unknown solver, or one that is not installed.
    """
    cone = checked(u, c, G, e, L, r)
    if (cone.c > 0).any() or not cone.u.any():
        answered = _answer_at_once(cone)
        assert answered is not None
        return answered
    alpha, solved, iterations = _solve(cone, solver)
    status = ProjectionStatus.SOLVED if solved else ProjectionStatus.CAPPED
    return Projection(repair(cone, alpha), status, iterations, np.arange(cone.c.size))


def checked(u: ArrayLike, c: ArrayLike, G: ArrayLike, e: ArrayLike, L: ArrayLike, r: float) -> Cone:
    """Return the data of (E5) after checking shapes and ranges; an infinite radius becomes 2 ‖u‖, which never binds.

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
    G = as_array("G", G, (c.size, u.size))
    e, L = (
        as_array(name, np.broadcast_to(v, c.shape) if np.ndim(v) == 0 else v, c.shape)
        for name, v in (("e", e), ("L", L))
    )
    for name, value in (("e", e), ("L", L)):
        if (value < 0).any():
            i = int(np.argmax(value < 0))
            raise DomainError(f"{name}[{i}] is {value[i]:g}, expected a number >= 0")
    radius = max(2 * float(np.linalg.norm(u)), np.finfo(float).tiny) if np.isposinf(r) else as_scalar("r", r, above=0.0)
    return Cone(u, c, G, e, L, radius)


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
    slope = np.linalg.norm(cone.G, axis=1) + cone.e
    return np.flatnonzero(~(cone.c + slope * rho + cone.L / 2 * rho**2 <= 0))


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
    return Cone(triangle[:, 0], cone.c, triangle[:, 1:].T, cone.e, cone.L, cone.r), basis


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
    quadratic, linear = cone.L / 2 * norm**2, cone.G @ alpha + cone.e * norm
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


def _answer_at_once(cone: Cone) -> Projection | None:
    """Give the answers that need no solver: an unsafe start, and a step that is inside already."""
    if (cone.c > 0).any():
        return Projection(np.zeros_like(cone.u), ProjectionStatus.UNSAFE_START, 0, np.flatnonzero(cone.c > 0))
    if cone.holds(cone.u):
        return Projection(cone.u.copy(), ProjectionStatus.INSIDE, 0, np.zeros(0, dtype=int))
    return None


def _solve_by_rounds(
    cone: Cone, left: np.ndarray, solver: str, guess: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, bool, int]:
    """Solve (E5) over the rows `left` on working sets: (α, working set, solved, solver iterations)."""
    rows = cone.rows(left)
    scale = np.abs(rows.c) + (np.linalg.norm(rows.G, axis=1) + rows.e) * cone.longest
    alpha = cone.u * min(1.0, cone.r / float(np.linalg.norm(cone.u)))
    working = np.zeros(left.size, dtype=bool) if guess is None else np.isin(left, guess)
    if not working.any():
        working = _most_violated(rows.bound(alpha) / scale, working)
    iterations = 0
    for _ in range(_ROUNDS):
        if working.any():
            alpha, solved, count = _solve_tightened(rows.rows(np.flatnonzero(working)), scale[working], solver)
            iterations += count
            if not solved:
                return alpha, left[working], False, iterations
        slack = rows.bound(alpha) / scale
        entering = _most_violated(slack, working)
        if not entering.any():
            return alpha, left[working & (slack > _ACTIVE)], True, iterations
        working = (working & (slack > _SLACK)) | entering
    return alpha, left[working], False, iterations


def _solve_tightened(rows: Cone, scale: np.ndarray, solver: str) -> tuple[np.ndarray, bool, int]:
    """Solve (E5) with c + tolerance; where that leaves nothing (c = 0, no way inwards), with c as it is."""
    iterations = 0
    for room in (_TIGHTENED, 0.0):
        reduced, basis = reduce(replace(rows, c=rows.c + room * scale))
        alpha, solved, count = _solve(reduced, solver)
        iterations += count
        if solved:
            break
    return alpha if basis is None else basis @ alpha, solved, iterations


def _most_violated(slack: np.ndarray, working: np.ndarray) -> np.ndarray:
    """Pick the most violated constraints outside the working set, at most `_ENTERING` of them."""
    violated = (slack > _VIOLATED) & ~working
    if np.count_nonzero(violated) > _ENTERING:
        violated &= slack >= np.partition(slack[violated], -_ENTERING)[-_ENTERING]
    return np.asarray(violated)


def _solve(cone: Cone, solver: str) -> tuple[np.ndarray, bool, int]:
    """Solve (E5) in CVXPY, scaled to the longest answer and unit rows; any answer is accepted, the repair judges it."""
    if solver not in _TIGHT:
        raise DomainError(f"unknown solver {solver!r}; known: {', '.join(_TIGHT)}")
    if solver not in cp.installed_solvers():
        raise DomainError(f"solver {solver} is not installed; pip install 'scpo-ctrl[{solver.lower()}]'")
    size, norm = cone.longest, float(np.linalg.norm(cone.u))
    a, t, s = cp.Variable(cone.u.size), cp.Variable(), cp.Variable()
    constraints = [cp.norm(a) <= t, t <= cone.r / size, cp.sum_squares(a) <= s]
    if cone.c.size:
        c, G, e, L = cone.c, cone.G * size, cone.e * size, cone.L / 2 * size**2
        scale = np.max(np.column_stack([np.abs(c), np.linalg.norm(G, axis=1), e, L]), axis=1)
        scale[scale == 0] = 1.0
        constraints.append(c / scale + (G / scale[:, None]) @ a + e / scale * t + L / scale * s <= 0)
    # ‖α - u‖² less ‖u‖², divided by size ‖u‖: no cancellation, however far u is beyond the region.
    problem = cp.Problem(cp.Minimize(size / norm * cp.sum_squares(a) - 2 * (cone.u / norm) @ a), constraints)
    iterations = 0
    for settings in (_TIGHT[solver], _OWN):  # where the tight tolerances stall, the solver's own may do
        with warnings.catch_warnings(), contextlib.suppress(cp.SolverError):
            warnings.simplefilter("ignore")  # "may be inaccurate": the status says it
            problem.solve(solver=solver, **settings)
            iterations += int(problem.solver_stats.num_iters or 0)
            if problem.status in ("optimal", "optimal_inaccurate") and a.value is not None:
                return size * a.value, True, iterations
            if problem.status == "infeasible":
                break
    return np.zeros_like(cone.u), False, iterations
