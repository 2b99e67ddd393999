"""A black box in the plant's place: its steps, every failure of it named, and the loop around it linearised."""

from collections.abc import Callable
from typing import Any

import casadi as ca
import numpy as np

from scpo_ctrl.errors import DimensionError, EvaluationError, cause
from scpo_ctrl.loop.backup import Backup
from scpo_ctrl.loop.rest import LinearisedLoop, moved_by, once, settle
from scpo_ctrl.loop.stacked import StackedFunction
from scpo_ctrl.models import Plant
from scpo_ctrl.validate import REAL

_PART = 1e-3  # of the level set's extent, and of a parameter, that differences reach: they err by rounding only
_NUMBERS = 1 << 22  # at most so many at once in an array

Step = Callable[[np.ndarray, np.ndarray, np.ndarray], Any]
Commands = Callable[[np.ndarray, np.ndarray], np.ndarray]  # states (r, k, nx), their rows (r,) -> (r, k, nu)


class BlackBox:
    """A simulator, ``(x, u, p) -> x_next`` on stacks, and memories behind its states that are none of its business.

    Parameters
    ----------
    step : callable
        The user's.
    following : callable, optional
        Memories that follow, of the inputs (n, nu), the last of which say them.
    memories : int
        How many there are.
    """

    def __init__(
        self, step: Step, following: Callable[[np.ndarray], np.ndarray] | None = None, memories: int = 0
    ) -> None:
        self._step, self._following, self._memories = step, following, memories

    def __call__(self, x: np.ndarray, u: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Return the next states.

        Parameters
        ----------
        x, u, p : numpy.ndarray, shape (n, nx), (n, nu) and (n, np)

        Returns
        -------
        numpy.ndarray, shape (n, nx)

        Raises
        ------
        EvaluationError
            If the simulator raises, or returns what are no real numbers.
        DimensionError
            If it returns another shape.
        """
        own, inputs = (array[:, : array.shape[1] - self._memories].copy() for array in (x, u))
        shape = own.shape
        try:
            returned = np.array(self._step(own, inputs, p.copy()))
            x_next = returned.astype(float) if returned.dtype.kind in REAL else None
        except Exception as error:
            raise EvaluationError(f"the simulator raised {cause(error)}") from error
        if x_next is None:
            raise EvaluationError(f"the simulator returned {returned.dtype}, expected real numbers")
        if x_next.shape != shape:
            raise DimensionError(
                f"the simulator returned shape {x_next.shape} for {len(x)} states, expected {shape}: a row for each"
            )
        return x_next if self._following is None else np.hstack([x_next, self._following(u)])

    def loop(self, commands: Commands, p: np.ndarray, reach: np.ndarray) -> LinearisedLoop:
        """Return the closed loop without saturation, linearised by central differences of fourth order.

        Parameters
        ----------
        commands : callable
            The policy.
        p : numpy.ndarray, shape (n, np)
            Plant parameters of each row.
        reach : numpy.ndarray, shape (nx,)
            How far the level set reaches, which differences are a small part of.

        Returns
        -------
        callable
        """
        h = _PART * reach
        moves = h * np.vstack([np.zeros((1, h.size)), *(part * np.eye(h.size) for part in (1, -1, 2, -2))])

        def loop(x: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            points = x[:, None] + moves
            following = self._stepped(points, commands(points, rows), np.repeat(p[rows, None], len(moves), axis=1))
            return following[:, 0], _differences(following[:, 1:], h)

        return loop

    def by_parameters(
        self, x: np.ndarray, commands: Callable[[np.ndarray, np.ndarray], np.ndarray], p: np.ndarray, plant: Plant
    ) -> np.ndarray:
        """Return derivatives of the next states by the plant parameters, by the same differences.

        Parameters
        ----------
        x, p : numpy.ndarray, shape (n, nx) and (n, np)
        commands : callable
            States (n, k, nx) and parameters (n, k, np) -> (n, k, nu).
        plant : Plant
            In whose place the box is.

        Returns
        -------
        numpy.ndarray, shape (n, nx, np)
        """
        size = np.maximum(np.abs(p), np.abs(plant.p_nominal))
        h = np.minimum(_PART * np.where(size > 0, size, 1.0), (p - plant.p_above) / 4)
        parts = np.vstack([part * np.eye(plant.npar) for part in (1, -1, 2, -2)])
        points = p[:, None] + h[:, None] * parts
        states = np.repeat(x[:, None], len(parts), axis=1)
        return _differences(self._stepped(states, commands(states, points), points), h)

    def _stepped(self, x: np.ndarray, u: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Step arrays of shapes (n, points, …)."""
        rows = x.shape[0] * x.shape[1]
        return self(*(array.reshape(rows, array.shape[2]) for array in (x, u, p))).reshape(x.shape)


class BoxRest:
    """Where the loop of a black box under the backup is at rest; see `BackupRest`.

    Parameters
    ----------
    plant : Plant
        In whose place the box is.
    backup : Backup
    box : BlackBox
    law : casadi.Function, optional
        The backup's ``(x, p) -> u`` where it is not u_eq - K (x - x_eq).
    """

    moves = True  # which nobody can tell before it is asked

    def __init__(self, plant: Plant, backup: Backup, box: BlackBox, law: ca.Function | None = None) -> None:
        self._plant, self._backup, self._box = plant, backup, box
        self._law = None if law is None else StackedFunction(law)

    def places(self, p: np.ndarray) -> np.ndarray:
        """Return the places of rest; see `BackupRest.places`."""
        return once(self._places, p)

    def slopes(self, x: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Return how they move with the parameters; see `BackupRest.slopes`."""
        with np.errstate(all="ignore"):
            A = self._loop(p)(x, np.arange(len(p)))[1]
            return moved_by(A, self._box.by_parameters(x, self._commands, p, self._plant))

    def _places(self, p: np.ndarray) -> np.ndarray:
        nx = self._plant.nx
        many = max(1, _NUMBERS // (nx * (1 + 4 * nx)))
        parts = [p[i : i + many] for i in range(0, len(p), many)]
        starts = (np.tile(self._plant.x_eq, (len(part), 1)) for part in parts)
        return np.vstack([settle(self._loop(q), x, self._backup) for q, x in zip(parts, starts, strict=True)])

    def _loop(self, p: np.ndarray) -> LinearisedLoop:
        return self._box.loop(lambda x, rows: self._commands(x, p[rows, None]), p, self._backup.extent)

    def _commands(self, x: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Return commands at states (n, k, nx) for parameters (n, k, np) or (n, 1, np)."""
        if self._law is not None:
            return self._law(x, np.broadcast_to(p, (*x.shape[:2], p.shape[2])))[0]
        return np.asarray(self._plant.u_eq - (x - self._plant.x_eq) @ self._backup.K.T)


def _differences(ends: np.ndarray, h: np.ndarray) -> np.ndarray:
    """Return derivatives (n, nx, k) from what is at +h, -h, +2h and -2h along each of k axes, (n, 4k, nx)."""
    ahead, behind, far_ahead, far_behind = np.split(ends, 4, axis=1)
    slopes = (8 * (ahead - behind) - (far_ahead - far_behind)) / (12 * h)[..., None]
    return np.asarray(slopes.swapaxes(1, 2))
