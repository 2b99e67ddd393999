"""A black box in processes of its own: its steps are shared among them, and a step that is lost ends nothing."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np

from scpo_ctrl.choices import MOST_WORKERS
from scpo_ctrl.errors import EvaluationError
from scpo_ctrl.loop.black_box import Step
from scpo_ctrl.sealed import AtWork
from scpo_ctrl.shown import Entries, Shown, counted
from scpo_ctrl.validate import as_count, as_function, as_scalar
from scpo_ctrl.workers import READY_WITHIN, Calls, Lost, Workers

_PARTS = 4  # of a stack, for each process
_MOST_LOST = 1000  # lost steps kept


@dataclass(frozen=True)
class LostStep:
    """A state, input and parameters for which the simulator gave nothing, and why."""

    reason: str
    x: np.ndarray  # (nx,)
    u: np.ndarray  # (nu,)
    p: np.ndarray  # (np,)


class SimulatorPool(AtWork, Shown, rather="hand over its factory, and make a pool of it in each process"):
    """A simulator for ``ControlProblem(…, simulator=…)``, an instance of it in each of several processes.

    A stack of states is shared among the processes, and the rows come back in order. Where the simulator raises,
    returns another shape, ends its process or takes too long, the stack is halved until the state is found that it does
    so at: its next state is not a number, so its rollout is lost and counts as a violation, and all others go on.

    Processes are started anew: a script keeps what it does below ``if __name__ == "__main__":``. They end with this
    process, with `close`, and at the end of a ``with`` statement.

    Parameters
    ----------
    factory : callable
        Makes the simulator, ``(x, u, p) -> x_next`` on stacks, once in each process: a function of a module, with
        `functools.partial` if it has arguments.
    workers : int
        How many processes.
    timeout : float
        Seconds that a call of the simulator may take.
    ready_within : float
        Seconds that making it may take, from the start of its process.

    Attributes
    ----------
    lost : list of LostStep
        Steps without a result, the first 1000 of them.
    """

    def __init__(
        self, factory: Callable[[], Step], *, workers: int, timeout: float = 60.0, ready_within: float = READY_WITHIN
    ) -> None:
        as_function("factory", factory)
        count = as_count("workers", workers, at_least=1, at_most=MOST_WORKERS)
        timeout = as_scalar("timeout", timeout, above=0.0)
        ready_within = as_scalar("ready_within", ready_within, above=0.0)
        self.lost: list[LostStep] = []
        self._count, self._worked = count, False
        self._workers = Workers(partial(Calls, factory), count, timeout=timeout, ready_within=ready_within)

    def _shown(self) -> tuple[str, Entries]:
        return counted(self._count, "worker"), [("lost", counted(len(self.lost), "step"))]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes."""
        self._workers.close()

    def __call__(self, x: np.ndarray, u: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Return the next states, not a number where the simulator gave none.

        Parameters
        ----------
        x, u, p : numpy.ndarray, shape (n, nx), (n, nu) and (n, np)

        Returns
        -------
        numpy.ndarray, shape (n, nx)

        Raises
        ------
        EvaluationError
            If no step has ever worked.
        WorkerError
            If the simulator cannot be made, or not in time, or the pool is closed.
        """
        following = np.full(x.shape, np.nan)
        rows = np.flatnonzero(np.isfinite(x).all(axis=1) & np.isfinite(u).all(axis=1))  # others are lost already
        parts = [part for part in np.array_split(rows, _PARTS * self._count) if part.size]
        while parts:
            halves: list[np.ndarray] = []
            with closing(self._workers.results((x[part], u[part], p[part]) for part in parts)) as results:
                for part, result in zip(parts, results, strict=True):
                    if not isinstance(result, Lost):
                        following[part], self._worked = result, True
                    elif part.size > 1:
                        halves += np.array_split(part, 2)
                    else:
                        self._lose(result.reason, x[part[0]], u[part[0]], p[part[0]])
            parts = halves
        if rows.size and not self._worked:
            raise EvaluationError(f"the simulator has never made a step in a worker: {self.lost[0].reason}")
        return following

    def _lose(self, reason: str, x: np.ndarray, u: np.ndarray, p: np.ndarray) -> None:
        if len(self.lost) < _MOST_LOST:
            self.lost.append(LostStep(reason, x.copy(), u.copy(), p.copy()))
