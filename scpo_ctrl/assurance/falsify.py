"""Attacks on a policy: the search for one scenario of the declared set that it violates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.assurance.evolution import POPULATION, evolve
from scpo_ctrl.assurance.fresh import Fresh, closeness, declared_set, rows_of
from scpo_ctrl.assurance.search import climb, climb_rollouts
from scpo_ctrl.choices import BUDGET
from scpo_ctrl.loop.batch import Scenarios
from scpo_ctrl.loop.declared import DeclaredSet
from scpo_ctrl.loop.sizes import most_rollouts
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.problem.guarded import ROUNDING
from scpo_ctrl.problem.problem import NUMBERS
from scpo_ctrl.progress import following
from scpo_ctrl.rounding import down, up
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.shown import Entries, Shown
from scpo_ctrl.validate import as_array, as_count, as_function

_EXPLORING, _CLIMBING = 0.5, 0.75  # parts of the budget after which local search, and strategies, begin
_AT_ONCE = 16_384
_STARTS = 256  # of a round of local searches
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
    with following("falsify", "rollouts", progress, monitor) as follow:
        attack = _Attack(problem, theta, declared_set(problem), seed, budget, follow)
        attack.explore()
        if attack.declared.has_interior:
            attack.climb_rows()
            attack.climb_worst()
            attack.evolve()
            attack.finish()
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
    attack = _Attack(problem, theta, declared_set(problem), 0, 1, None)
    attack.take_one(found, means)
    attack.finish()
    return attack.result()


class _Attack:
    """One attack going on: what was met so far, and where to start local searches."""

    def __init__(
        self,
        problem: ControlProblem,
        theta: np.ndarray,
        declared: DeclaredSet,
        seed: int,
        budget: int,
        monitor: Callable[[int, int], object] | None,
    ) -> None:
        self.problem, self.theta, self.declared, self.seed = problem, theta, declared, seed
        self.budget, self.monitor, self.rollouts = budget, monitor, 0
        self.each = climb_rollouts(problem)  # rollouts of a local search
        self.worst, self.row, self.means = -np.inf, 0, ""
        self.scenario = declared.random(0, 1, seed)
        self.pool, self.pool_worst = self.scenario.part(slice(0)), np.zeros(0)
        rows = len(problem.fresh.rows)
        self.largest, self.at_largest = np.full(rows, -np.inf), self.scenario.part(np.zeros(rows, dtype=int))

    @property
    def found(self) -> bool:
        return not self.worst <= ROUNDING

    def result(self) -> Falsification:
        problem, kind = self.problem, self.problem.fresh.rows[self.row]
        unit = problem.fresh.units[self.row]
        return Falsification(
            rollouts=self.rollouts,
            worst=self.worst,
            row=self.row,
            metric=kind.in_words,
            excess=float(self.worst * unit),
            unit=kind.unit,
            scenario=self.scenario,
            means=self.means,
        )

    def take_one(self, found: Scenarios, means: str) -> None:
        """Take a scenario that was found otherwise."""
        self._take(found, Fresh.of(self.problem, self.theta, found), means, 1)

    def explore(self) -> None:
        """Roll out points spread over the set, at random, and on its edges, in turn."""
        plant = self.problem.plant
        draws = (self.declared.spread, self.declared.edge, self._random, self.declared.edge)
        names = ("among points spread over the set", "on an edge of the set", "at random", "on an edge of the set")
        fits = most_rollouts(self.declared.horizon, plant.nx, plant.nu, self.problem.theta_dim)
        size = max(1, min(_AT_ONCE, fits, NUMBERS // len(self.problem.fresh.rows), NUMBERS // self.declared.columns))
        k, end = 0, max(1, int(_EXPLORING * self.budget))
        while self.rollouts < end and not self.found:
            count = min(size, max(end // len(draws), 1), end - self.rollouts)
            batch = draws[k % len(draws)](count, self.seed + k)
            values = rows_of(self.problem, self.theta, batch)[1]
            varying = np.flatnonzero(self.problem.fresh.varies)
            row = varying[values[:, varying].argmax(axis=1)]
            self._take(batch, Fresh(values[np.arange(count), row], row, 0.0), names[k % len(draws)], count)
            scores = closeness(self.problem, batch, values)
            self._keep_worst(batch, scores[:, varying].max(axis=1))
            self._keep_rows(batch, scores)
            k += 1

    def climb_rows(self) -> None:
        """Drive every metric up by itself, those closest to their bounds first."""
        rows = np.flatnonzero(self.problem.fresh.varies)
        rows = rows[np.argsort(-self.largest[rows], kind="stable")]
        while rows.size and self._may_climb(_CLIMBING):
            now, rows = rows[: self._round()], rows[self._round() :]
            self._climb(self.at_largest.part(now), now)

    def climb_worst(self) -> None:
        """Drive the worst points on, a round after the other."""
        order = np.argsort(-self.pool_worst, kind="stable")
        while order.size and self._may_climb(_CLIMBING):
            now, order = order[: self._round()], order[self._round() :]
            self._climb(self.pool.part(now))

    def evolve(self) -> None:
        """Let evolution strategies go from the worst points, with restarts from the next ones."""
        order, k = np.argsort(-self.pool_worst, kind="stable"), 0
        while order.size and not self.found and self.rollouts + _STRATEGIES * POPULATION <= self.budget:
            now, order = order[::17][:_STRATEGIES], np.delete(order, np.arange(0, order.size, 17)[:_STRATEGIES])
            most = self.budget - self.rollouts
            points, found, count = evolve(self.problem, self.theta, self.pool.part(now), seed=self.seed + k, most=most)
            self._take(points, found, "by an evolution strategy", count)
            k += 1

    def finish(self) -> None:
        """Drive what was found on to its worst."""
        if self.found and np.isfinite(self.worst):
            points, found = climb(self.problem, self.theta, self.scenario, seed=self.seed)
            self._take(points, found, self.means, self.each)

    def _random(self, count: int, seed: int) -> Scenarios:
        return self.declared.random(0, count, seed)

    def _may_climb(self, part: float) -> bool:
        return not self.found and self.rollouts + self.each <= part * self.budget

    def _round(self) -> int:
        """How many local searches the budget leaves for a round."""
        return int(max(1, min(_STARTS, (_CLIMBING * self.budget - self.rollouts) // self.each)))

    def _climb(self, starts: Scenarios, rows: np.ndarray | None = None) -> None:
        points, found = climb(self.problem, self.theta, starts, seed=self.seed, rows=rows)
        self._take(points, found, "by local search", starts.count * self.each)

    def _take(self, batch: Scenarios, found: Fresh, means: str, rollouts: int) -> None:
        """Count rollouts, and keep the worst points."""
        self.rollouts += rollouts
        first = int(found.worst.argmax())
        if found.worst[first] > self.worst:
            self.worst, self.row, self.means = float(found.worst[first]), int(found.row[first]), means
            self.scenario = replace(batch.part(slice(first, first + 1)), declared=self.declared)
        if self.monitor is not None:
            self.monitor(self.rollouts, self.budget)

    def _keep_worst(self, batch: Scenarios, scores: np.ndarray) -> None:
        """Keep the points with the largest scores."""
        best = np.argsort(-scores, kind="stable")[:_STARTS]
        pool, worst = self.pool.and_then(batch.part(best)), np.append(self.pool_worst, scores[best])
        kept = np.argsort(-worst, kind="stable")[:_POOL]
        self.pool, self.pool_worst = pool.part(kept), worst[kept]

    def _keep_rows(self, batch: Scenarios, values: np.ndarray) -> None:
        """Keep the point where each metric was largest."""
        best = values.argmax(axis=0)
        larger = values[best, np.arange(len(best))] > self.largest
        joined = self.at_largest.and_then(batch.part(best))
        self.at_largest = joined.part(np.arange(len(best)) + np.where(larger, len(best), 0))
        self.largest = np.maximum(self.largest, values[best, np.arange(len(best))])
