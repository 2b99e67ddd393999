"""Where a loop is at rest: for contraction (E8) where plant parameters move the equilibrium, and for (E11)."""

from collections.abc import Callable
from functools import cached_property

import casadi as ca
import numpy as np

from scpo_ctrl.compiled import StackFunction, compile_functions
from scpo_ctrl.loop.backup import Backup
from scpo_ctrl.loop.batch import Scenarios
from scpo_ctrl.loop.level import linear_law
from scpo_ctrl.models import Plant
from scpo_ctrl.models.varying import parameters_over_time

_MOST_COMPILED = 24  # states up to which C pays: compiling takes long for dense derivatives
_MOST_STEPS, _SHORTEST = 60, 1e-6  # of the damped search for where a loop is at rest
_KEPT = 16  # answers of `BackupRest.places` that are kept: a run asks again and again for the same scenarios
_STILL = 1e-12  # what a loop at rest moves by, in the norm of P relative to √ρ: no step is taken from there
AT_REST = 1e-6  # what a loop may still move by, likewise, where no step makes it move less
BEYOND_BOUNDS = 1e-9  # what a command at rest may leave its bounds by, in half their width, for the input to hold it

LinearisedLoop = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def stays_at_rest(plant: Plant, batch: Scenarios) -> np.ndarray:
    """Return which scenarios begin at the nominal equilibrium and stay there under the equilibrium input.

    Parameters
    ----------
    plant : Plant
    batch : Scenarios

    Returns
    -------
    numpy.ndarray, shape (S,), bool
    """
    rest = (batch.x0 == plant.x_eq).all(axis=1) & ~batch.w.any(axis=(1, 2))
    over_time = parameters_over_time(plant, batch.p, batch.horizon)
    for s in np.flatnonzero(rest):
        met = np.unique(over_time[s], axis=0)  # a signal may move it at any time
        following = [np.array(plant.function(plant.x_eq, plant.u_eq, p))[:, 0] for p in met]
        rest[s] = all(np.array_equal(x, plant.x_eq) for x in following)
    return rest


def settle(loop: LinearisedLoop, starts: np.ndarray, backup: Backup) -> np.ndarray:
    """Return where loops are at rest, by damped Newton steps, each by itself.

    Parameters
    ----------
    loop : callable
        States (r, nx) and the numbers of their loops (r,) -> next states (r, nx) and their derivatives (r, nx, nx).
    starts : numpy.ndarray, shape (n, nx)
        Where the search begins; a loop that does not move there rests there, to the last bit.
    backup : Backup
        Whose norm says how far a loop moves.

    Returns
    -------
    numpy.ndarray, shape (n, nx)
        NaN where none is found.
    """
    x, every = starts.copy(), np.arange(len(starts))
    with np.errstate(all="ignore"):
        following, A = loop(x, every)
        moved = _moves(backup, following - x)
        active = every[moved > _STILL]
        for _ in range(_MOST_STEPS):
            if not active.size:
                break
            step = solved(np.eye(x.shape[1]) - A[active], (following - x)[active])
            waiting, part = np.arange(active.size), 1.0
            while waiting.size and part > _SHORTEST:
                rows = active[waiting]
                tried = x[rows] + part * step[waiting]
                there, slope = loop(tried, rows)
                now = _moves(backup, there - tried)
                less = now < moved[rows]
                kept = rows[less]
                x[kept], following[kept], A[kept], moved[kept] = tried[less], there[less], slope[less], now[less]
                waiting, part = waiting[~less], part / 2
            active = np.delete(active, waiting)
            active = active[moved[active] > _STILL]
    return np.where((moved <= AT_REST)[:, None], x, np.nan)


def beyond_bounds(plant: Plant, commands: np.ndarray) -> np.ndarray:
    """Return how far commands are beyond their bounds, in half their width; zero within them.

    A loop whose command at rest is beyond its bounds is not at rest there: the input that is applied does not hold it.

    Parameters
    ----------
    plant : Plant
    commands : numpy.ndarray, shape (..., nu)

    Returns
    -------
    numpy.ndarray, shape (...)
    """
    with np.errstate(invalid="ignore"):
        over = np.maximum(commands - plant.u_max, plant.u_min - commands) / ((plant.u_max - plant.u_min) / 2)
    return np.asarray(np.maximum(over.max(axis=-1), 0.0))


class BackupRest:
    """Where the loop under the backup is at rest, for given plant parameters: x_eq(p), which does not depend on θ.

    Parameters
    ----------
    plant : Plant
    backup : Backup
    law : casadi.Function, optional
        The backup's ``(x, p) -> u`` where it is not u_eq - K (x - x_eq).
    """

    def __init__(self, plant: Plant, backup: Backup, law: ca.Function | None = None) -> None:
        self._plant, self._backup = plant, backup
        self._law = linear_law(plant, backup.K) if law is None else law
        self._known: dict[bytes, np.ndarray] = {}

    @cached_property
    def moves(self) -> bool:
        """Whether plant parameters move the equilibrium at all."""
        plant = self._plant
        still = plant.function(ca.DM(plant.x_eq), self._law(ca.DM(plant.x_eq), plant.p), plant.p)
        return bool(plant.npar) and ca.depends_on(ca.simplify(still), plant.p)

    def places(self, p: np.ndarray) -> np.ndarray | None:
        """Return the places of rest.

        Parameters
        ----------
        p : numpy.ndarray, shape (n, np)
            Plant parameters.

        Returns
        -------
        numpy.ndarray, shape (n, nx), or None
            NaN where none is found; None where parameters do not move the nominal equilibrium.
        """
        if not self.moves:
            return None
        key = p.tobytes()
        found = self._known.get(key)
        if found is None:
            found = once(
                lambda some: settle(self._loop(some), np.tile(self._plant.x_eq, (len(some), 1)), self._backup), p
            )
            self._known = dict([*self._known.items()][1 - _KEPT :]) | {key: found}
        return found

    def slopes(self, x: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Return how the places of rest move with the parameters.

        Parameters
        ----------
        x : numpy.ndarray, shape (n, nx)
            The places.
        p : numpy.ndarray, shape (n, np)

        Returns
        -------
        numpy.ndarray, shape (n, nx, np)
        """
        nx, npar = self._plant.nx, self._plant.npar
        A, F = (part.swapaxes(1, 2) for part in self._evaluated(x, p, (1, 2), ((nx, nx), (npar, nx))))
        return moved_by(A, F)

    def _loop(self, p: np.ndarray) -> LinearisedLoop:
        nx = self._plant.nx

        def loop(x: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            following, A = self._evaluated(x, p[rows], (0, 1), ((nx,), (nx, nx)))
            return following, A.swapaxes(1, 2)

        return loop

    def _evaluated(
        self, x: np.ndarray, p: np.ndarray, which: tuple[int, int], shapes: tuple[tuple[int, ...], ...]
    ) -> list[np.ndarray]:
        """Evaluate on a stack filled up to a power of two, since each count of rows is prepared for anew."""
        count, both = len(x), np.hstack([x, p])
        filled = np.vstack([both, np.repeat(both[:1], 2 ** (count - 1).bit_length() - count, axis=0)])
        values = self._function(filled)
        return [values[i][:count].reshape(count, *shape) for i, shape in zip(which, shapes, strict=True)]

    @cached_property
    def _function(self) -> StackFunction:
        """(x, p) -> the next state under the backup, and its derivatives by x and by p, column by column."""
        plant = self._plant
        following = plant.function(plant.x, self._law(plant.x, plant.p), plant.p)
        parts = [following, *(ca.vec(ca.densify(ca.jacobian(following, by))) for by in (plant.x, plant.p))]
        both = ca.SX.sym("both", plant.nx + plant.npar)
        parts = ca.substitute(parts, [ca.vertcat(plant.x, plant.p)], [both])
        functions = [ca.Function("backup_at_rest", [both], parts)]
        return StackFunction(compile_functions(functions)[0] if plant.nx <= _MOST_COMPILED else functions[0], [])


def once(function: Callable[[np.ndarray], np.ndarray], p: np.ndarray) -> np.ndarray:
    """Evaluate a function of rows, once where all of them are equal.

    Parameters
    ----------
    function : callable
        (n, np) -> (n, …)
    p : numpy.ndarray, shape (n, np)

    Returns
    -------
    numpy.ndarray, shape (n, …)
    """
    if len(p) > 1 and (p == p[0]).all():
        return np.repeat(function(p[:1]), len(p), axis=0)
    return function(p)


def moved_by(A: np.ndarray, F: np.ndarray) -> np.ndarray:
    """Return how places of rest x = f(x, p) move with p, (I - A)⁻¹ F.

    Parameters
    ----------
    A : numpy.ndarray, shape (n, nx, nx)
        Derivatives of f by x.
    F : numpy.ndarray, shape (n, nx, np)
        Derivatives of f by p.

    Returns
    -------
    numpy.ndarray, shape (n, nx, np)
    """
    return np.stack([solved(np.eye(A.shape[1]) - A, F[:, :, j]) for j in range(F.shape[2])], axis=2)


def _moves(backup: Backup, z: np.ndarray) -> np.ndarray:
    """Return how long deviations (n, nx) are in the norm of P, relative to √ρ; NaN where it is not a number."""
    unit, root = backup.shape
    return np.asarray(np.linalg.norm(np.linalg.solve(root, (z / unit)[..., None])[..., 0], axis=1))


def solved(matrices: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve linear systems, one for each matrix.

    Parameters
    ----------
    matrices : numpy.ndarray, shape (n, nx, nx)
    right : numpy.ndarray, shape (n, nx)

    Returns
    -------
    numpy.ndarray, shape (n, nx)
        NaN where a matrix is singular.
    """
    try:
        return np.asarray(np.linalg.solve(matrices, right[..., None])[..., 0])
    except np.linalg.LinAlgError:
        if len(right) == 1:
            return np.full_like(right, np.nan)
        return np.vstack([solved(matrices[i : i + 1], right[i : i + 1]) for i in range(len(right))])
