"""The projection (E5): the fast solver behind exact screening and working sets, ended by the closed-form repair."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.errors import DimensionError, DomainError
from scpo_ctrl.messages import shown
from scpo_ctrl.projection import native
from scpo_ctrl.projection.cone import Cone, Projection, answer_at_once, checked, in_range, reduce, repair, screen
from scpo_ctrl.projection.conic import TIGHTENED, solve_tightened
from scpo_ctrl.projection.status import SOLVERS, ProjectionStatus
from scpo_ctrl.validate import as_array, as_stack

_ROUNDS = 50  # working sets tried before the answer is only repaired
_ENTERING = 40  # constraints that may enter the working set in a round, if not half as many as it has
_ACTIVE, _SLACK = -1e-6, -1e-4  # relative to the size of a constraint's terms


def project(
    u: ArrayLike,
    c: ArrayLike,
    G: ArrayLike,
    e: ArrayLike,
    L: ArrayLike,
    r: float,
    *,
    solver: str = "DUAL",
    guess: ArrayLike | None = None,
    norms: ArrayLike | None = None,
) -> Projection:
    """Project a step onto the local safe region (E5): solved on a working set, repaired.

    A solution of (E5) with some of the constraints that satisfies all of them solves the whole. So a solver needs to
    see only a working set: violated constraints enter, slack ones leave, until none is violated. The objective rises
    in every round, so the rounds end. The compiled extension does that inside. Around the other solvers, and in more
    dimensions than it takes, the rounds are done here, on the constraints that exact screening leaves.

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
    solver : {"DUAL", "CLARABEL", "ECOS"}
        "DUAL" is the package's own, the C source that also runs on devices; without the compiled extension Clarabel
        takes its place. The others go through CVXPY.
    guess : array_like of int, optional
        Constraints likely to be active, for example those of the last projection: the first working set. Any guess
        leads to the same answer, up to the solver's tolerance; a good one is faster.
    norms : array_like, shape (m,), optional
        Norms of the rows of G, where they are known already. They show of most constraints that they hold, without
        reading their rows, not even for NaN: feasibility rests on norms that are not too small.

    Returns
    -------
    Projection
        ``delta`` is feasible in float64 whenever all c ≤ 0; with some c > 0 it is zero and the status says so.

    Raises
    ------
    DimensionError, DomainError
        If a shape does not fit, a number is not finite, e, L or a norm is negative, r is not positive, or a guess is
        no index of a constraint.

    Examples
    --------
    A step of (1, 0) where the one metric is at -0.1 and grows by 1 along it:

    >>> import scpo_ctrl as sc
    >>> answer = sc.project(u=[1.0, 0.0], c=[-0.1], G=[[1.0, 0.0]], e=[0.0], L=[0.0], r=1.0)
    >>> answer.delta.round(6), answer.status.name
    (array([0.1, 0. ]), 'SOLVED')
    """
    if not isinstance(solver, str) or solver not in SOLVERS:
        raise DomainError(f"unknown solver {shown(solver)}; known: {', '.join(SOLVERS)}")
    if solver == "DUAL" and not native.available():
        solver = "CLARABEL"
    cone = _as_they_are(u, c, G, e, L, r) or checked(u, c, G, e, L, r)
    hints = _hints_as_they_are(guess, norms, cone.c.size) or _checked_hints(guess, norms, cone.c.size)
    if solver == "DUAL" and native.fits(cone):
        answer = native.solve(cone, *hints)
        if answer is not None:
            return answer
    cone = checked(cone.u, cone.c, cone.G, cone.e, cone.L, cone.r)
    rows, _ = _checked_hints(*hints, cone.c.size)
    return in_range(cone, lambda scaled: _solve_in_python(scaled, solver, rows))


def _solve_in_python(cone: Cone, solver: str, guess: np.ndarray | None) -> Projection:
    """Answer at once, or solve on working sets and repair."""
    answered = answer_at_once(cone)
    if answered is not None:
        return answered
    left = screen(cone)
    alpha, working, solved, iterations = _solve_by_rounds(cone, left, solver, guess)
    status = ProjectionStatus.SOLVED if solved else ProjectionStatus.CAPPED
    return Projection(repair(cone, alpha), status, iterations, working)


def _as_they_are(u: ArrayLike, c: ArrayLike, G: ArrayLike, e: ArrayLike, L: ArrayLike, r: float) -> Cone | None:
    """Return the data without copies and checks if the compiled solver can read it so; it checks the numbers itself."""
    arrays = (u, c, G, e, L)
    for array in arrays:
        if type(array) is not np.ndarray or array.dtype != np.float64 or not array.flags.c_contiguous:
            return None
    shapes = [array.shape for array in arrays if isinstance(array, np.ndarray)]
    (p, *_), m = shapes[0] or (0,), shapes[1]
    if (
        isinstance(r, bool)
        or not isinstance(r, (float, int))
        or p == 0
        or shapes != [(p,), m, (*m, p), m, m]
        or len(m) != 1
    ):
        return None
    return Cone(*arrays, float(r))  # type: ignore[arg-type]


def _hints_as_they_are(
    guess: ArrayLike | None, norms: ArrayLike | None, count: int
) -> tuple[np.ndarray | None, np.ndarray | None] | None:
    """Return guess and norms without copies and checks, likewise."""
    if guess is None and norms is None:
        return None, None
    for hint, dtype in ((guess, np.int64), (norms, np.float64)):
        if hint is None:
            continue
        if type(hint) is not np.ndarray or hint.dtype != dtype or hint.ndim != 1 or not hint.flags.c_contiguous:
            return None
    if isinstance(norms, np.ndarray) and norms.size != count:
        return None
    return guess, norms  # type: ignore[return-value]


def _checked_hints(
    guess: ArrayLike | None, norms: ArrayLike | None, count: int
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return guess and norms after checking shapes and ranges."""
    if guess is not None:
        guess = guess if isinstance(guess, np.ndarray) else _indices(guess)
        if guess.ndim != 1:
            raise DimensionError(f"guess has shape {guess.shape}, expected (any,)")
        if guess.size and guess.dtype.kind not in "iu":
            raise DomainError(f"guess is an array of {guess.dtype}, expected indices of constraints")
        if guess.size and not 0 <= guess.min() <= guess.max() < count:
            i = int(np.argmax((guess < 0) | (guess >= count)))
            raise DomainError(f"guess[{i}] is {guess[i]}, expected the index of one of the {count} constraints")
        guess = np.ascontiguousarray(guess, dtype=np.int64)
    if norms is not None:
        norms = as_array("norms", norms, (count,))
        if (norms < 0).any():
            i = int(np.argmax(norms < 0))
            raise DomainError(f"norms[{i}] is {norms[i]:g}, expected a number >= 0")
    return guess, norms


def _indices(guess: ArrayLike) -> np.ndarray:
    """Return nested lists of whole numbers as an array of them; other numbers stay what they are."""
    numbers = as_stack("guess", guess)
    whole = np.isfinite(numbers).all() and (numbers == np.rint(numbers)).all() and (np.abs(numbers) < 2**53).all()
    return numbers.astype(np.int64) if whole else numbers


def _solve(rows: Cone, scale: np.ndarray, solver: str) -> tuple[np.ndarray, bool, int]:
    """Solve (E5) over a working set: (α, solved, iterations)."""
    if solver != "DUAL":
        return solve_tightened(rows, scale, solver)
    reduced, basis = (rows, None) if native.fits(rows) else reduce(rows)
    answer = native.solve(reduced)
    if answer is None:
        return np.zeros_like(rows.u), False, 0
    alpha = answer.delta if basis is None else basis @ answer.delta
    return alpha, answer.status is not ProjectionStatus.CAPPED, answer.iterations


def _solve_by_rounds(
    cone: Cone, left: np.ndarray, solver: str, guess: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, bool, int]:
    """Solve (E5) over the rows `left` on working sets: (α, active constraints, solved, solver iterations)."""
    rows = cone.rows(left)
    scale = np.abs(rows.c) + (rows.slopes + rows.e) * cone.longest + rows.L / 2 * cone.longest**2
    violated = -8 * np.finfo(float).eps * (cone.u.size + 8) if solver == "DUAL" else -TIGHTENED / 2
    alpha = cone.u * min(1.0, cone.r / float(np.linalg.norm(cone.u)))
    working = np.zeros(left.size, dtype=bool) if guess is None else np.isin(left, guess)
    if not working.any():
        working = _most_violated(rows.bound(alpha) / scale, working, violated)
    iterations = 0
    for _ in range(_ROUNDS):
        if working.any():
            alpha, solved, count = _solve(rows.rows(np.flatnonzero(working)), scale[working], solver)
            iterations += count
            if not solved:
                return alpha, left[working], False, iterations
        slack = rows.bound(alpha) / scale
        entering = _most_violated(slack, working, violated)
        if not entering.any():
            return alpha, left[working & (slack > _ACTIVE)], True, iterations
        working = (working & (slack > _SLACK)) | entering
    return alpha, left[working], False, iterations


def _most_violated(slack: np.ndarray, working: np.ndarray, limit: float) -> np.ndarray:
    """Pick the most violated constraints outside the working set, at most `_ENTERING` or half as many as it has."""
    violated = (slack > limit) & ~working
    most = max(_ENTERING, int(np.count_nonzero(working)) // 2)
    if np.count_nonzero(violated) > most:
        violated &= slack >= np.partition(slack[violated], -most)[-most]
    return np.asarray(violated)
