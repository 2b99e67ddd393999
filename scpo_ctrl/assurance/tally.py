"""What rollouts of numbered scenarios have shown: parts done anywhere are put together exactly."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
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

MOST_VIOLATING = 1000  # numbers of scenarios kept
CLOSEST = 10  # worst scenarios kept
_AT_ONCE, _LEAST, _TASKS = 1 << 13, 256, 64  # rollouts of a task: at most, at least, and how many tasks there are to be
_PROBE = 16  # scenarios whose metrics a worker shows to the last bit

Block = tuple[int, int]  # the first scenario, and how many
Problems = Callable[[], ControlProblem]


@dataclass(frozen=True)
class Tally:
    """What some scenarios have shown. The sum over disjoint parts is the same in any order and any grouping."""

    rollouts: int
    violations: int
    violating: np.ndarray  # numbers of the first scenarios that violate, at most 1000
    closest: np.ndarray  # (k, 3) of the worst, at most 10, worst first: number, metric, row; of equal ones the first

    @classmethod
    def none(cls) -> Self:
        """Return that of no scenarios.

        Returns
        -------
        Tally
        """
        return cls(0, 0, np.zeros(0, dtype=np.int64), np.zeros((0, 3)))

    @classmethod
    def of(cls, found: Fresh, first: int) -> Self:
        """Return that of scenarios `first`, `first + 1`, ….

        Parameters
        ----------
        found : Fresh
        first : int

        Returns
        -------
        Tally
        """
        broken, numbers = first + np.flatnonzero(found.violates), first + np.arange(found.worst.size)
        worst = np.argsort(-found.worst, kind="stable")[:CLOSEST]
        closest = np.stack([numbers[worst], found.worst[worst], found.row[worst]], axis=1)
        return cls(found.worst.size, broken.size, broken[:MOST_VIOLATING], closest)

    def __add__(self, other: "Tally") -> "Tally":
        violating = np.sort(np.concatenate([self.violating, other.violating]))[:MOST_VIOLATING]
        closest = np.concatenate([self.closest, other.closest])
        closest = closest[np.lexsort([closest[:, 0], -closest[:, 1]])[:CLOSEST]]
        return Tally(self.rollouts + other.rollouts, self.violations + other.violations, violating, closest)


class Tallying:
    """What a worker does: the tally of a block of scenarios, of one policy and seed.

    Parameters
    ----------
    problem : ControlProblem
    theta : numpy.ndarray, shape (d,)
    seed : int
        Of `DeclaredSet.random`.
    """

    def __init__(self, problem: ControlProblem, theta: np.ndarray, seed: int) -> None:
        self._problem, self._theta, self._seed = problem, theta, seed

    def maker(self, problems: Problems | None) -> Callable[[], "Tallying"]:
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
        return partial(Tallying.made, problems, self._theta, self._seed, self.identity())

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
        Tallying

        Raises
        ------
        WorkerError
            If the problem is another one, or its rollouts have other bits here.
        """
        made = cls(problems(), theta, seed)
        found = made.identity()
        if found[0] != expected[0]:
            raise WorkerError("a worker makes another problem than the one that is certified; give `problems` that one")
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
        first = Fresh.drawn(self._problem, self._theta, 0, _PROBE, self._seed)
        return problem_digest(self._problem), first.worst.tobytes()

    def __call__(self, block: Block) -> Tally:
        """Return the tally of a block."""
        with np.errstate(all="ignore"):  # what is not finite is a violation
            return Tally.of(Fresh.drawn(self._problem, self._theta, *block, self._seed), block[0])


def blocks(count: int, size: int) -> Iterator[Block]:
    """Yield the blocks in which scenarios 0 … count - 1 are rolled out, none of them over the end of a part.

    Parameters
    ----------
    count, size : int
        Scenarios, and those of a part.

    Yields
    ------
    tuple of int
    """
    at_once, first = max(_LEAST, min(_AT_ONCE, count // _TASKS)), 0
    while first < count:
        most = min(at_once, size - first % size, count - first)
        yield first, most
        first += most


def tallies(
    spread: Spread, tallying: Tallying, problems: Problems | None, count: int, size: int
) -> Generator[tuple[Block, Tally], None, None]:
    """Yield the tally of every block of scenarios 0 … count - 1, in their order, wherever they are rolled out.

    Parameters
    ----------
    spread : Spread
    tallying : Tallying
        Of this process.
    problems : callable, optional
        Makes the problem where it is rolled out; None for this process.
    count, size : int
        Scenarios, and those of a part.

    Yields
    ------
    tuple
    """
    with closing(spread(tallying.maker(problems), blocks(count, size))) as found:
        yield from zip(blocks(count, size), found, strict=True)


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
