"""Attacks on a policy: the search for one scenario of the declared set that it violates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.assurance.attacking import DRAWS, STARTS, Attacking, Climb, Evolve, Explore, Explored, Met, worst_of
from scpo_ctrl.assurance.elsewhere import Problems, spread_over
from scpo_ctrl.assurance.evolution import GENERATIONS, POPULATION
from scpo_ctrl.assurance.fresh import Fresh, declared_set
from scpo_ctrl.assurance.search import climb, climb_rollouts
from scpo_ctrl.choices import BUDGET
from scpo_ctrl.loop.batch import Scenarios
from scpo_ctrl.loop.sizes import most_rollouts
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.problem.parts import ROUNDING
from scpo_ctrl.problem.problem import NUMBERS
from scpo_ctrl.progress import following
from scpo_ctrl.rounding import down, up
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.shown import Entries, Shown
from scpo_ctrl.validate import as_array, as_count, as_function
from scpo_ctrl.workers import Do, Spread

_EXPLORING, _CLIMBING = 0.5, 0.75  # parts of the budget after which local search, and strategies, begin
_AT_ONCE = 16_384
_POOL = 4096  # worst points kept, where local searches start
_STRATEGIES = 16


@dataclass(frozen=True, repr=False)
class Falsification(Shown):
    """What an attack found.

    Attributes
    ----------
    rollouts : int
        Rollouts spent.
    worst : float
        Largest metric met, in `Problem.metric_units`.
    row : int
        Which of a scenario's metrics that is.
    metric : str
        The same in words.
    excess : float
        The same in the units of its bound, above zero where it is violated.
    unit : str
        That `excess` counts in.
    scenario : Scenarios
        The one where it was met.
    means : str
        What found it.

    Examples
    --------
    After the example of `adapt`:

    >>> attack = sc.falsify(problem, result.theta, budget=2000)
    >>> attack.worst < 0, attack.scenario.count
    (True, 1)
    """

    rollouts: int
    worst: float
    row: int
    metric: str
    excess: float
    unit: str
    scenario: Scenarios
    means: str

    @property
    def found(self) -> bool:
        """Whether the policy violates it, by more than rounding."""
        return not self.worst <= ROUNDING

    def sentence(self) -> str:
        """Return in words what was found, and no more.

        Returns
        -------
        str
        """
        if self.found:
            return f"violation found, {self.means}: {self.metric}, by {up(self.excess, 4)} {self.unit}".rstrip()
        count = f"{self.rollouts:,}".replace(",", " ")
        return (
            f"no violation found in {count} rollouts; that is no proof. "
            f"Closest: {self.metric}, kept with {down(-self.excess, 4)} {self.unit}".rstrip()
            + " to spare"
        )

    def _shown(self) -> tuple[str, Entries]:
        return "violation found" if self.found else "no violation found", [("in words", self.sentence())]


def falsify(
    problem: ControlProblem,
    theta: ArrayLike,
    *,
    budget: int = BUDGET,
    seed: int = 0,
    workers: int | Spread = 0,
    problems: Problems | None = None,
    monitor: Callable[[int, int], object] | None = None,
    progress: bool | None = None,
) -> Falsification:
    """Attack a policy: search its declared set for a scenario that it violates, and stop at the first.

    First come points spread over the set and on its edges; then projected gradient ascent, for every metric from the
    points where it was largest and for the worst points overall, over initial state, parameters and whole disturbance
    sequences; then evolution strategies (CMA-ES) from the worst points. What is found is driven on to its worst.

    Parameters
    ----------
    problem : ControlProblem
        That names a declared set; a black box too, which is searched without gradients.
    theta : array_like, shape (d,)
    budget : int
        Rollouts to spend at most, but for driving on what was found. A gradient counts as one.
    seed : int
    workers : int or Spread
        Other processes that search, as in `certify`. What is found is the same whatever they are; rounds of local
        searches, and of strategies, are done one by each.
    problems : callable, optional
        Makes the problem in a worker, as in `certify`.
    monitor : callable, optional
        Called with the number of rollouts done and the budget.
    progress : bool, optional
        Show a line on stderr that follows it, as `adapt` does.

    Returns
    -------
    Falsification

    Raises
    ------
    DomainError
        If the problem names no declared set.
    EvaluationError
        If a black box fails.
    WorkerError
        If workers cannot be started, make another problem, or die three times at the same part.

    Examples
    --------
    After the example of `adapt`:

    >>> sc.falsify(problem, result.theta, budget=2000).found
    False
    """
    as_instance("problem", problem, ControlProblem)
    theta = as_array("theta", theta, (problem.theta_dim,))
    budget, seed = as_count("budget", budget, at_least=1), as_count("seed", seed)
    if monitor is not None:
        as_function("monitor", monitor)
    spread, attacking = spread_over(workers, problems), Attacking(problem, theta, seed)
    with following("falsify", "rollouts", progress, monitor) as follow, spread(attacking.maker(problems)) as do:
        attack = _Attack(attacking, budget, follow)
        attack.search(do)
    return attack.result()


def driven_on(problem: ControlProblem, theta: np.ndarray, found: Scenarios, means: str) -> Falsification:
    """Return a scenario that was found otherwise, driven on to its worst.

    Parameters
    ----------
    problem : ControlProblem
    theta : numpy.ndarray, shape (d,)
    found : Scenarios
        One scenario of the declared set.
    means : str
        What found it.

    Returns
    -------
    Falsification
    """
    attack = _Attack(Attacking(problem, theta, 0), 1, None)
    attack.take(worst_of(found, Fresh.of(problem, theta, found), means, 1))
    attack.finish()
    return attack.result()


class _Attack:
    """One attack going on: what was met so far, and where to start local searches."""

    def __init__(self, attacking: Attacking, budget: int, monitor: Callable[[int, int], object] | None) -> None:
        self.problem, self.theta, self.seed = attacking.problem, attacking.theta, attacking.seed
        self.declared = declared_set(self.problem)
        self.budget, self.monitor, self.rollouts = budget, monitor, 0
        self.each = climb_rollouts(self.problem)  # rollouts of a local search
        nothing = self.declared.random(0, 1, self.seed)
        self.at_worst = Met(nothing, -np.inf, 0, "", 0)
        self.pool, self.pool_scores = nothing.part(slice(0)), np.zeros(0)
        rows = len(self.problem.fresh.rows)
        self.largest, self.at_largest = np.full(rows, -np.inf), nothing.part(np.zeros(rows, dtype=int))

    @property
    def found(self) -> bool:
        return not self.at_worst.worst <= ROUNDING

    def result(self) -> Falsification:
        met = self.at_worst
        kind, unit = self.problem.fresh.rows[met.row], self.problem.fresh.units[met.row]
        return Falsification(
            rollouts=self.rollouts,
            worst=met.worst,
            row=met.row,
            metric=kind.in_words,
            excess=float(met.worst * unit),
            unit=kind.unit,
            scenario=replace(met.scenario, declared=self.declared),
            means=met.means,
        )

    def search(self, do: Do) -> None:
        """Search until a violation is found or the budget is spent."""
        for found in self._done(do, self._batches()):
            self._keep_worst(found)
            self._keep_rows(found)
        if self.declared.has_interior:
            for searches in (self._of_rows, self._of_worst):
                for _ in self._done(do, searches()):
                    pass
            self._evolve(do)
            self.finish()

    def take(self, met: Met) -> None:
        """Count rollouts, and keep the worst point."""
        self.rollouts += met.rollouts
        if met.worst > self.at_worst.worst:
            self.at_worst = met
        if self.monitor is not None:
            self.monitor(self.rollouts, self.budget)

    def finish(self) -> None:
        """Drive what was found on to its worst."""
        if self.found and np.isfinite(self.at_worst.worst):
            points, found = climb(self.problem, self.theta, self.at_worst.scenario, seed=self.seed)
            self.take(worst_of(points, found, self.at_worst.means, self.each))

    def _done(self, do: Do, tasks: Iterable[Explore | Climb | Evolve]) -> Iterator[Any]:
        """Yield what tasks have met, in their order, until one has found a violation; none is begun after that."""
        if self.found:
            return
        with closing(do(tasks)) as results:
            for result in results:
                self.take(result)
                yield result
                if self.found:
                    return

    def _batches(self) -> Iterator[Explore]:
        """Yield batches that explore the set."""
        plant = self.problem.plant
        fits = most_rollouts(self.declared.horizon, plant.nx, plant.nu, self.problem.theta_dim)
        size = max(1, min(_AT_ONCE, fits, NUMBERS // len(self.problem.fresh.rows), NUMBERS // self.declared.columns))
        k, spent, end = 0, 0, max(1, int(_EXPLORING * self.budget))
        while spent < end:
            count = min(size, max(end // DRAWS, 1), end - spent)
            yield Explore(k, count)
            k, spent = k + 1, spent + count

    def _of_rows(self) -> Iterator[Climb]:
        """Yield local searches that drive every metric up by itself, those closest to their bounds first."""
        rows = np.flatnonzero([row.kind != "state" or not row.fixed for row in self.problem.fresh.rows])
        rows = rows[np.argsort(-self.largest[rows], kind="stable")]
        for part in self._rounds(rows.size):
            yield Climb(self.at_largest.part(rows[part]), rows[part])

    def _of_worst(self) -> Iterator[Climb]:
        """Yield local searches that drive the worst points on."""
        order = np.argsort(-self.pool_scores, kind="stable")
        for part in self._rounds(order.size):
            yield Climb(self.pool.part(order[part]), None)

    def _rounds(self, count: int) -> Iterator[slice]:
        """Yield parts of some starts, as many as the budget leaves for local search."""
        first, spent, end = 0, self.rollouts, _CLIMBING * self.budget
        while first < count and spent + self.each <= end:
            size = min(count - first, int(max(1, min(STARTS, (end - spent) // self.each))))
            yield slice(first, first + size)
            first, spent = first + size, spent + size * self.each

    def _evolve(self, do: Do) -> None:
        """Let evolution strategies go from the worst points, with restarts from the next ones.

        Where the budget is enough for several rounds of them whatever they take, these are begun together.
        """
        order, k = np.argsort(-self.pool_scores, kind="stable"), 0
        most = _STRATEGIES * (1 + GENERATIONS * POPULATION)  # rollouts of a round
        while order.size and not self.found and (left := self.budget - self.rollouts) >= _STRATEGIES * POPULATION:
            tasks: list[Evolve] = []
            while order.size and len(tasks) < max(1, left // most):
                now, order = order[::17][:_STRATEGIES], np.delete(order, np.arange(0, order.size, 17)[:_STRATEGIES])
                tasks.append(Evolve(k, self.pool.part(now), min(most, left)))
                k += 1
            for _ in self._done(do, tasks):
                pass

    def _keep_worst(self, found: Explored) -> None:
        """Keep the points with the largest scores."""
        pool, scores = self.pool.and_then(found.pool), np.append(self.pool_scores, found.scores)
        kept = np.argsort(-scores, kind="stable")[:_POOL]
        self.pool, self.pool_scores = pool.part(kept), scores[kept]

    def _keep_rows(self, found: Explored) -> None:
        """Keep the point where each metric was largest."""
        larger, rows = found.largest > self.largest, np.arange(self.largest.size)
        joined = self.at_largest.and_then(found.at_largest)
        self.at_largest = joined.part(rows + np.where(larger, rows.size, 0))
        self.largest = np.maximum(self.largest, found.largest)
