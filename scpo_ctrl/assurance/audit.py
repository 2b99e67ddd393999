"""The audit of a policy (E12): fresh scenarios, a local search from the worst ones, and the counterexamples found."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.assurance.clopper_pearson import violation_bound
from scpo_ctrl.assurance.elsewhere import Problems, Rolling, spread_over
from scpo_ctrl.assurance.fresh import Counted, Fresh, declared_set, parts_of
from scpo_ctrl.assurance.search import climb, climb_rollouts
from scpo_ctrl.loop.batch import Scenarios
from scpo_ctrl.loop.declared import DeclaredSet
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.progress import Monitor, following
from scpo_ctrl.rounding import up
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.shown import Entries, Shown, counted
from scpo_ctrl.validate import as_array, as_count, as_function
from scpo_ctrl.workers import Do, Spread

BETA = 1e-6  # 1 - confidence of the bounds that an audit states
_EDGES = 0.25  # scenarios from the edges of the set, besides those drawn at random
_STARTS = 32  # of local searches
_MOST = 32  # counterexamples kept
_SAME = 0.01  # of the width of the set: points closer than this are one counterexample


@dataclass(frozen=True, repr=False)
class Audit(Shown):
    """What an audit of one policy found.

    Attributes
    ----------
    rollouts : int
        Fresh scenarios drawn at random.
    violations : int
        Among them.
    worst : float
        Largest metric met anywhere, in `Problem.metric_units`.
    metric : str
        Which one, in words.
    objective : float
        Mean over the scenarios drawn at random.
    counterexamples : Scenarios
        Those that violate, worst first, at most 32; by the search too.

    Examples
    --------
    After the example of `adapt`:

    >>> found = sc.audit(problem, result.theta, rollouts=2000, seed=0)
    >>> round(found.epsilon, 4), found.counterexamples.count
    (0.0069, 0)
    """

    rollouts: int
    violations: int
    worst: float
    metric: str
    objective: float
    counterexamples: Scenarios

    @property
    def passed(self) -> bool:
        """Whether nothing violates, neither at random nor by the search."""
        return self.violations == 0 and self.counterexamples.count == 0

    @property
    def epsilon(self) -> float:
        """Bound of the probability of a violation with confidence 1 - β, for scenarios drawn as they were."""
        return violation_bound(self.violations, self.rollouts, BETA)

    def _shown(self) -> tuple[str, Entries]:
        found = f"{self.violations} of {counted(self.rollouts, 'fresh scenario')} violate a metric"
        sure = f"at most {up(self.epsilon)} of those that are drawn like them violate, at confidence 1 - {BETA:g}"
        searched = f"{counted(self.counterexamples.count, 'counterexample')} kept, of the draws and of the search"
        rows = [("bound", sure), ("search", searched), ("closest", self.metric), ("objective", f"{self.objective:.4g}")]
        return f"{'passed' if self.passed else 'not passed'}, {found}", rows


def audit(
    problem: ControlProblem,
    theta: ArrayLike,
    *,
    rollouts: int,
    seed: int,
    workers: int | Spread = 0,
    problems: Problems | None = None,
    monitor: Callable[[int, int], object] | None = None,
    progress: bool | None = None,
) -> Audit:
    """Audit a policy on its declared set.

    Parameters
    ----------
    problem : ControlProblem
    theta : array_like, shape (d,)
    rollouts : int
        Fresh scenarios drawn at random; a quarter as many come from the edges of the set, and about a thousand from
        the search.
    seed : int
        Another one gives other scenarios.
    workers : int or Spread
        Other processes that roll the fresh scenarios out, as in `certify`; the search from the worst stays in this one.
        The audit is the same whatever they are.
    problems : callable, optional
        Makes the problem in a worker, as in `certify`.
    monitor : callable, optional
        Called now and then with the number of rollouts done and that of all; what it raises ends the audit.
    progress : bool, optional
        Show a line on stderr that follows it, as `adapt` does.

    Returns
    -------
    Audit

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

    >>> found = sc.audit(problem, result.theta, rollouts=2000, seed=0)
    >>> found.passed, found.violations
    (True, 0)
    """
    as_instance("problem", problem, ControlProblem)
    theta = as_array("theta", theta, (problem.theta_dim,))
    rollouts, seed = as_count("rollouts", rollouts, at_least=1), as_count("seed", seed)
    if monitor is not None:
        as_function("monitor", monitor)
    spread, auditing = spread_over(workers, problems), _Auditing(problem, theta, seed)
    with (
        following("audit", "rollouts", progress, monitor) as follow,
        spread(auditing.maker(problems)) as do,
    ):
        return _audit(auditing, rollouts, do, follow)


class _Auditing(Rolling):
    """What a worker does: roll out a part of the fresh scenarios, or of so many edges of the set."""

    _edges: Scenarios | None = None  # kept, as all of them are drawn at once

    def edges(self, count: int) -> Scenarios:
        """Return points on the edges of the set."""
        if self._edges is None or self._edges.count != count:
            self._edges = declared_set(self.problem).edge(count, self.seed)
        return self._edges

    def __call__(self, task: tuple[int, slice]) -> Fresh:
        edges, part = task
        if edges:
            batch = self.edges(edges).part(part)
        else:
            batch = declared_set(self.problem).random(part.start, part.stop - part.start, self.seed)
        with np.errstate(all="ignore"):  # what is not finite is a violation
            return Fresh.of_part(self.problem, self.theta, batch)


def _audit(auditing: _Auditing, rollouts: int, do: Do, monitor: Monitor) -> Audit:
    problem, theta, seed = auditing.problem, auditing.theta, auditing.seed
    declared = declared_set(problem)
    edges = auditing.edges(max(_STARTS, int(_EDGES * rollouts)))
    searching = (min(_STARTS, rollouts) + _STARTS) * climb_rollouts(problem)
    total = rollouts + edges.count + searching  # at most: searches may end earlier
    counted = _counting(monitor, total)

    def rolled_out(edges: int, count: int) -> Fresh:
        parts = []
        with closing(do((edges, part) for part in parts_of(problem, 0, count))) as found:
            for fresh in found:
                counted(fresh.worst.size)
                parts.append(fresh)
        return Fresh.joined(parts)

    drawn, at_edges = rolled_out(0, rollouts), rolled_out(edges.count, edges.count)
    places, fringe = _worst(drawn, _STARTS), _worst(at_edges, _STARTS)
    again = [declared.random(int(k), 1, seed) for k in places] + [edges.part(slice(k, k + 1)) for k in fringe]
    starts = again[0]
    for one in again[1:]:
        starts = starts.and_then(one)
    points, found = climb(problem, theta, starts, seed=seed, counted=counted)
    monitor(total, total)
    order = np.argsort(-found.worst, kind="stable")
    broken = order[found.violates[order]]
    broken = _apart(declared, points, found, broken)[:_MOST]
    first = int(order[0])
    return Audit(
        rollouts=rollouts,
        violations=drawn.violations,
        worst=float(found.worst[first]),
        metric=problem.fresh.rows[int(found.row[first])].label,
        objective=drawn.objective,
        counterexamples=Scenarios(points.x0[broken], points.p[broken], points.w[broken], points.horizon, declared),
    )


def _counting(monitor: Monitor, total: int) -> Counted:
    """Return what adds up rollouts for a monitor."""
    done = 0

    def counted(rollouts: int) -> None:
        nonlocal done
        done += rollouts
        monitor(done, total)

    return counted


def _apart(declared: DeclaredSet, points: Scenarios, found: Fresh, order: np.ndarray) -> np.ndarray:
    """Return those of some points, in their order, that no earlier one of the same metric is close to."""
    places = np.hstack([declared.coordinates(points), found.row[:, None] / _SAME])
    kept: list[int] = []
    for k in order:
        if all(np.abs(places[k] - places[j]).max() > _SAME for j in kept):
            kept.append(int(k))
    return np.array(kept, dtype=np.int64)


def _worst(fresh: Fresh, count: int) -> np.ndarray:
    """Return the numbers of the worst scenarios, worst first."""
    return np.argsort(-fresh.worst, kind="stable")[:count]
