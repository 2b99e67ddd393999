"""What an attack rolls out, in tasks of their own: each follows from policy, problem, seed and the task alone."""

from dataclasses import dataclass

import numpy as np

from scpo_ctrl.assurance.elsewhere import Rolling
from scpo_ctrl.assurance.evolution import evolve
from scpo_ctrl.assurance.fresh import Fresh, closeness, declared_set, rows_of
from scpo_ctrl.assurance.search import climb, climb_rollouts
from scpo_ctrl.loop.batch import Scenarios

STARTS = 256  # of a round of local searches, and worst points that a batch leaves for them
DRAWS = 4  # kinds of batches, in turn
_NAMES = ("among points spread over the set", "on an edge of the set", "at random", "on an edge of the set")


@dataclass(frozen=True)
class Explore:
    """Roll out a batch of points spread over the set, at random, or on its edges, in turn."""

    number: int
    count: int


@dataclass(frozen=True)
class Climb:
    """Drive points up, by their largest metric or the one that is given."""

    starts: Scenarios
    rows: np.ndarray | None  # (S,)


@dataclass(frozen=True)
class Evolve:
    """Let evolution strategies go from points."""

    number: int
    starts: Scenarios
    most: int  # rollouts


@dataclass(frozen=True)
class Met:
    """The worst that a task has met."""

    scenario: Scenarios  # one
    worst: float
    row: int  # which of its metrics that is
    means: str
    rollouts: int  # of the task


@dataclass(frozen=True)
class Explored(Met):
    """What a batch leaves for the local searches."""

    pool: Scenarios  # its worst points
    scores: np.ndarray  # their closeness
    at_largest: Scenarios  # for each metric the point where it was largest
    largest: np.ndarray  # closeness there


class Attacking(Rolling):
    """What a worker does for an attack."""

    def __call__(self, task: Explore | Climb | Evolve) -> Met:
        """Return what a task has met."""
        with np.errstate(all="ignore"):  # what is not finite is a violation
            if isinstance(task, Explore):
                return self._explored(task)
            problem, theta, seed = self.problem, self.theta, self.seed
            if isinstance(task, Climb):
                points, found = climb(problem, theta, task.starts, seed=seed, rows=task.rows)
                return worst_of(points, found, "by local search", task.starts.count * climb_rollouts(problem))
            points, found, count = evolve(problem, theta, task.starts, seed=seed + task.number, most=task.most)
            return worst_of(points, found, "by an evolution strategy", count)

    def _explored(self, task: Explore) -> Explored:
        declared, which, seed = declared_set(self.problem), task.number % DRAWS, self.seed + task.number
        if which == 0:
            batch = declared.spread(task.count, seed)
        elif which == 2:
            batch = declared.random(0, task.count, seed)
        else:
            batch = declared.edge(task.count, seed)
        values = rows_of(self.problem, self.theta, batch)[1]
        counting = self.problem.fresh.that_count(values)
        row = counting.argmax(axis=1)
        worst = worst_of(batch, Fresh(values[np.arange(task.count), row], row, 0.0), _NAMES[which], task.count)
        scores = closeness(self.problem, batch, values)
        overall, best = np.where(np.isneginf(counting), -np.inf, scores).max(axis=1), scores.argmax(axis=0)
        pool = np.argsort(-overall, kind="stable")[:STARTS]
        return Explored(
            **vars(worst),
            pool=batch.part(pool),
            scores=overall[pool],
            at_largest=batch.part(best),
            largest=scores[best, np.arange(len(best))],
        )


def worst_of(points: Scenarios, found: Fresh, means: str, rollouts: int) -> Met:
    """Return the worst of some points, the first of equal ones.

    Parameters
    ----------
    points : Scenarios
    found : Fresh
        Of these points.
    means : str
        What found them.
    rollouts : int
        What that took.

    Returns
    -------
    Met
    """
    first = int(found.worst.argmax())
    return Met(points.part(slice(first, first + 1)), float(found.worst[first]), int(found.row[first]), means, rollouts)
