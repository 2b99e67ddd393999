"""Rollouts of a policy in other processes, that make its problem themselves: the same one, to the last bit."""

from collections.abc import Callable
from functools import partial
from typing import Self

import numpy as np

from scpo_ctrl.assurance.digests import problem_digest
from scpo_ctrl.assurance.fresh import Fresh
from scpo_ctrl.choices import MOST_WORKERS
from scpo_ctrl.errors import DomainError, WorkerError
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.validate import as_count
from scpo_ctrl.workers import Spread, in_process, in_processes

_PROBE = 16  # scenarios whose metrics a worker shows to the last bit

Problems = Callable[[], ControlProblem]


class Rolling:
    """What a worker has: a policy to roll out, and a seed. Those below it do tasks.

    Parameters
    ----------
    problem : ControlProblem
    theta : numpy.ndarray, shape (d,)
    seed : int
        Of `DeclaredSet.random`.
    """

    def __init__(self, problem: ControlProblem, theta: np.ndarray, seed: int) -> None:
        self.problem, self.theta, self.seed = problem, theta, seed

    def maker(self, problems: Problems | None) -> Callable[[], Self]:
        """Return what makes this where the work is done: in this process, unless something makes the problem there.

        Parameters
        ----------
        problems : callable, optional

        Returns
        -------
        callable
        """
        if problems is None:
            return lambda: self
        return partial(type(self).made, problems, self.theta, self.seed, self.identity())

    @classmethod
    def made(cls, problems: Problems, theta: np.ndarray, seed: int, expected: tuple[str | None, bytes]) -> Self:
        """Return that of a problem which is made where the work is done, and must be the one that is meant.

        Parameters
        ----------
        problems : callable
            Returns the problem.
        theta, seed
            As above.
        expected : tuple
            `identity` where it was asked for.

        Returns
        -------
        Rolling

        Raises
        ------
        WorkerError
            If the problem is another one, or its rollouts have other bits here.
        """
        made = cls(problems(), theta, seed)
        found = made.identity()
        if found[0] != expected[0]:
            raise WorkerError("a worker makes another problem than the one that is meant; give `problems` that one")
        if found[1] != expected[1]:
            raise WorkerError(
                "the rollouts of a worker differ from those here, at least in the last bit: it makes another problem, "
                "or its computer rounds otherwise"
            )
        return made

    def identity(self) -> tuple[str | None, bytes]:
        """Return what tells a problem from others: its digest, and the metrics of the first scenarios to the last bit.

        Returns
        -------
        tuple of (str or None, bytes)
        """
        first = Fresh.drawn(self.problem, self.theta, 0, _PROBE, self.seed)
        return problem_digest(self.problem), first.worst.tobytes()


def spread_over(workers: int | Spread, problems: Problems | None) -> Spread:
    """Return where tasks are done, as it is asked for.

    Parameters
    ----------
    workers : int or Spread
        How many other processes, 0 for this one.
    problems : callable, optional
        Makes the problem there.

    Returns
    -------
    Spread

    Raises
    ------
    DomainError
        If nothing makes the problem in other processes.
    """
    if not callable(workers):
        workers = in_processes(count) if (count := as_count("workers", workers, at_most=MOST_WORKERS)) else in_process
    if workers is not in_process and problems is None:
        raise DomainError(
            "workers make the problem themselves: give problems, a function of a module that returns it, such as "
            'functools.partial(load_problem, "problem.toml")'
        )
    return workers
