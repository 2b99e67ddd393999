"""A log of states and inputs, cut into the windows over which a model is to predict it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.errors import DomainError
from scpo_ctrl.models import Plant
from scpo_ctrl.validate import as_array

LEAST = 20  # windows, and ten for each parameter: fewer say too little of the disturbance
_JITTER = 0.2  # of a sample, by which a time may be off


@dataclass(frozen=True)
class Windows:
    """Windows of a log: where each begins, what is applied in it, and what follows."""

    x0: np.ndarray  # (W, nx) first state of each [x_units]
    u: np.ndarray  # (W, H, nu) [u_units]
    x: np.ndarray  # (W, H, nx) states that followed [x_units]
    run: np.ndarray  # (W,) which piece without a gap each is from


@dataclass(frozen=True)
class Log:
    """Rows of a log, and where it is cut."""

    x: np.ndarray  # (T, nx) states [x_units]
    u: np.ndarray  # (T, nu) inputs that were applied [u_units]
    starts: np.ndarray  # first row of each piece without a gap

    @classmethod
    def of(cls, plant: Plant, x: ArrayLike, u: ArrayLike, sample: ArrayLike | None, time: ArrayLike | None) -> "Log":
        """Check a log.

        Parameters
        ----------
        plant : Plant
            Discrete.
        x, u, sample, time : array_like
            As `identify` takes them.

        Returns
        -------
        Log

        Raises
        ------
        DimensionError, DomainError
            If a shape is wrong, an entry is not finite, or sample number or time go backwards or are not those of the
            plant.
        """
        states = as_array("x", x, (None, plant.nx))
        inputs = as_array("u", u, (len(states), plant.nu))
        step = np.ones(max(len(states) - 1, 0))
        if sample is not None:
            step = _counted(as_array("sample", sample, (len(states),)))
        elif time is not None:
            step = _timed(as_array("t", time, (len(states),)), plant)
        starts = np.concatenate([[0], np.flatnonzero(step != 1) + 1]) if len(states) else np.zeros(0, int)
        return cls(states, inputs, starts)

    def windows(self, horizon: int) -> Windows:
        """Return the windows of so many steps, one behind the other within each piece; what is left over is not used.

        Parameters
        ----------
        horizon : int
            H

        Returns
        -------
        Windows
        """
        ends = np.append(self.starts[1:], len(self.x)) - 1  # whose input leads nowhere
        counts = np.maximum(ends - self.starts, 0) // horizon
        run = np.repeat(np.arange(len(counts)), counts)
        place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        first = self.starts[run] + horizon * place
        rows = first[:, None] + np.arange(horizon)
        return Windows(self.x[first], self.u[rows], self.x[rows + 1], run)

    def check_length(self, windows: Windows, parameters: int) -> None:
        """Refuse a log that is too short.

        Parameters
        ----------
        windows : Windows
            Of it.
        parameters : int
            How many are to be fitted.

        Raises
        ------
        DomainError
            If it is.
        """
        found, needed = len(windows.x0), max(LEAST, 10 * parameters)
        if found < needed:
            horizon = windows.u.shape[1]
            of = "transitions" if horizon == 1 else f"windows of {horizon} steps"
            raise DomainError(
                f"the log is too short: its {len(self.x)} rows in {len(self.starts)} pieces have {found} {of} from "
                f"sample to sample, {needed} are needed; log for longer"
            )


def _counted(sample: np.ndarray) -> np.ndarray:
    """Return by how much a sample number rises from row to row."""
    odd = np.flatnonzero(sample != np.round(sample))
    if odd.size:
        raise DomainError(f"sample number of data row {odd[0] + 1} is {sample[odd[0]]:g}, expected whole numbers")
    _check_rises("sample number", sample)
    return np.diff(sample)


def _timed(time: np.ndarray, plant: Plant) -> np.ndarray:
    """Return how many samples a time rises from row to row."""
    _check_rises("time t", time)
    dt = float(plant.dt or 0.0)
    passed = np.diff(time) / dt
    step = np.round(passed)
    off = np.flatnonzero((step < 1) | (np.abs(passed - step) > _JITTER))
    if off.size:
        i = off[0]
        raise DomainError(
            f"time t rises by {passed[i] * dt:.6g} s at data row {i + 2}, no multiple of the plant's dt = {dt:g} s; "
            "log every sample, or give the plant the log's dt"
        )
    return step


def _check_rises(what: str, values: np.ndarray) -> None:
    back = np.flatnonzero(np.diff(values) <= 0)
    if back.size:
        i = back[0]
        moves = "goes backwards" if values[i + 1] < values[i] else "stands still"
        raise DomainError(
            f"{what} {moves} at data row {i + 2}: {values[i + 1]:.12g} after {values[i]:.12g}; put the rows in order, "
            "and logs of several runs in one with a gap between them"
        )
