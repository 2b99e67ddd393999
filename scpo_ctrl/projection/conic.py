"""The projection (E5) through CVXPY and a conic solver: the reference, and the way without the compiled extension."""

from __future__ import annotations

import contextlib
import warnings
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.errors import DomainError
from scpo_ctrl.messages import shown
from scpo_ctrl.projection.cone import Cone, Projection, answer_at_once, checked, in_range, reduce, repair
from scpo_ctrl.projection.status import ProjectionStatus

# Tolerances of the solvers on the scaled problem: the repair makes answers feasible, these make them close.
_TIGHT: dict[str, dict[str, float | int]] = {
    "CLARABEL": {"tol_gap_abs": 1e-11, "tol_gap_rel": 1e-11, "tol_feas": 1e-11, "max_iter": 200},
    "ECOS": {"abstol": 1e-10, "reltol": 1e-10, "feastol": 1e-10, "max_iters": 200},
}
_OWN: dict[str, float | int] = {}  # the solver's own tolerances
# Relative to the size of a constraint's terms. The solver gets constraints tightened by more than its own error, so
# that the repair, which can only shorten a step, hardly ever has to: next to an active c = 0 it would leave nothing.
TIGHTENED = 1e-10


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

    Examples
    --------
    >>> import scpo_ctrl as sc
    >>> answer = sc.project_reference(u=[1.0, 0.0], c=[-0.1], G=[[1.0, 0.0]], e=[0.0], L=[0.0], r=1.0)
    >>> answer.delta.round(4)
    array([0.1, 0. ])
    """
    cone = checked(u, c, G, e, L, r)
    return in_range(cone, lambda scaled: _solve_whole(scaled, solver))


def _solve_whole(cone: Cone, solver: str) -> Projection:
    if (cone.c > 0).any() or not cone.u.any():
        answered = answer_at_once(cone)
        assert answered is not None
        return answered
    alpha, solved, iterations = _solve(cone, solver)
    status = ProjectionStatus.SOLVED if solved else ProjectionStatus.CAPPED
    return Projection(repair(cone, alpha), status, iterations, np.arange(cone.c.size))


def solve_tightened(rows: Cone, scale: np.ndarray, solver: str) -> tuple[np.ndarray, bool, int]:
    """Solve (E5) with c + tolerance; where that leaves nothing (c = 0, no way inwards), with c as it is.

    Parameters
    ----------
    rows : Cone
    scale : numpy.ndarray, shape (m,)
        Size of each constraint's terms.
    solver : {"CLARABEL", "ECOS"}

    Returns
    -------
    alpha : numpy.ndarray, shape (p,)
    solved : bool
    iterations : int
    """
    iterations = 0
    for room in (TIGHTENED, 0.0):
        reduced, basis = reduce(replace(rows, c=rows.c + room * scale))
        alpha, solved, count = _solve(reduced, solver)
        iterations += count
        if solved:
            break
    return alpha if basis is None else basis @ alpha, solved, iterations


def require(solver: str) -> None:
    """Make sure that a solver can be used.

    Parameters
    ----------
    solver : str

    Raises
    ------
    DomainError
        If it is unknown or not installed.
    """
    if not isinstance(solver, str) or solver not in _TIGHT:
        raise DomainError(f"unknown solver {shown(solver)}; known: {', '.join(_TIGHT)}")
    if solver not in _installed():
        raise DomainError(f"solver {solver} is not installed; pip install 'scpo-ctrl[{solver.lower()}]'")


@cache
def _installed() -> frozenset[str]:
    import cvxpy as cp  # takes a second, and the compiled projection does without

    return frozenset(cp.installed_solvers())  # it looks for the files of every solver there is


def _solve(cone: Cone, solver: str) -> tuple[np.ndarray, bool, int]:
    """Solve (E5) in CVXPY, scaled to the longest answer and unit rows; any answer is accepted, the repair judges it."""
    import cvxpy as cp

    require(solver)
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
