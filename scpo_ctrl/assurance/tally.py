"""What rollouts of numbered scenarios have shown: parts done anywhere are put together exactly."""

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Self

import numpy as np

from scpo_ctrl.assurance.elsewhere import Problems, Rolling
from scpo_ctrl.assurance.fresh import Fresh
from scpo_ctrl.workers import Spread

MOST_VIOLATING = 1000  # numbers of scenarios kept
CLOSEST = 10  # worst scenarios kept
_AT_ONCE, _LEAST, _TASKS = 1 << 13, 256, 64  # rollouts of a task: at most, at least, and how many tasks there are to be

Block = tuple[int, int]  # the first scenario, and how many


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


class Tallying(Rolling):
    """What a worker does: the tally of a block of scenarios, of one policy and seed."""

    def __call__(self, block: Block) -> Tally:
        """Return the tally of a block."""
        with np.errstate(all="ignore"):  # what is not finite is a violation
            return Tally.of(Fresh.drawn(self.problem, self.theta, *block, self.seed), block[0])


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
    with spread(tallying.maker(problems)) as do, closing(do(blocks(count, size))) as found:
        yield from zip(blocks(count, size), found, strict=True)
