"""Local search for scenarios that a policy violates: projected gradient ascent of the worst metric, on all at once."""

from dataclasses import dataclass

import numpy as np

from scpo_ctrl.assurance.fresh import Counted, Fresh, declared_set
from scpo_ctrl.loop.batch import Scenarios
from scpo_ctrl.loop.declared import DeclaredSet
from scpo_ctrl.problem.control_problem import ControlProblem

_FIRST, _LAST = 0.2, 1e-4  # lengths of a step, relative to the declared set: at the start, and where the search ends
_LONGER, _SHORTER = 1.5, 0.4  # factors on the length after a step to a worse scenario, and after another one
_ROUNDS = 25
_SAMPLES = 8  # random steps a round and a point, where there are no derivatives


def climb(
    problem: ControlProblem,
    theta: np.ndarray,
    starts: Scenarios,
    *,
    seed: int = 0,
    rows: np.ndarray | None = None,
    counted: Counted | None = None,
) -> tuple[Scenarios, Fresh]:
    """Move scenarios of the declared set to where the policy does worse, each by itself.

    A round takes a step along the gradient of each scenario's largest metric by initial state, plant parameters and
    disturbances, moves it back into the set, and keeps it where the largest metric grew. Lengths are relative to the
    set, so units do not matter. A black box is searched by random steps instead.

    Parameters
    ----------
    problem : ControlProblem
    theta : numpy.ndarray, shape (d,)
    starts : Scenarios
        Points of the declared set.
    seed : int
        Of the random steps.
    rows : numpy.ndarray of int, shape (S,), optional
        Which metric of each scenario is made worse, instead of its largest.
    counted : callable, optional
        Called with the number of rollouts after each round; a gradient counts as one.

    Returns
    -------
    points : Scenarios
        Where each search ended, no better for the policy than where it began.
    fresh : Fresh
        Of these points.
    """
    search = _Search(problem, theta, declared_set(problem), np.random.default_rng(seed), rows)
    points, found = starts, Fresh.of(problem, theta, starts, rows)
    length = np.full(points.count, _FIRST)
    for _ in range(_ROUNDS):
        if not (length > _LAST).any():
            break
        tried, value = search.step(points, found, length)
        worse = value.worst > found.worst
        points = _chosen(worse, tried, points)
        found = Fresh(np.where(worse, value.worst, found.worst), np.where(worse, value.row, found.row), found.objective)
        length = np.minimum(np.where(worse, _LONGER, _SHORTER) * length, 1.0)
        if counted is not None:
            counted(points.count * _each_round(problem))
    return points, found


def climb_rollouts(problem: ControlProblem) -> int:
    """Return how many rollouts a climb takes at most for each point; a gradient counts as one.

    Parameters
    ----------
    problem : ControlProblem

    Returns
    -------
    int
    """
    return 1 + _ROUNDS * _each_round(problem)


def _each_round(problem: ControlProblem) -> int:
    return 2 if problem.has_derivatives else _SAMPLES


@dataclass(frozen=True)
class _Search:
    """One policy under attack."""

    problem: ControlProblem
    theta: np.ndarray
    declared: DeclaredSet
    rng: np.random.Generator
    rows: np.ndarray | None  # (S,) the metric of each point that counts, instead of its largest

    def step(self, points: Scenarios, found: Fresh, length: np.ndarray) -> tuple[Scenarios, Fresh]:
        """Return where a step of some length leads, and how the policy does there."""
        if not self.problem.has_derivatives:
            return self._best_of_random(points, length)
        multipliers = np.zeros((points.count, len(self.problem.fresh.rows)))
        multipliers[np.arange(points.count), found.row] = 1.0
        gradients = self.problem.scenario_gradients(self.theta, points, multipliers)
        finite = [np.where(np.isfinite(part), part, self.rng.normal(size=part.shape)) for part in gradients]
        tried = self._moved(points, finite, length)
        return tried, Fresh.of(self.problem, self.theta, tried, self.rows)

    def _best_of_random(self, points: Scenarios, length: np.ndarray) -> tuple[Scenarios, Fresh]:
        x0, p, w = (np.repeat(part, _SAMPLES, axis=0) for part in (points.x0, points.p, points.w))
        many = Scenarios(x0, p, w, points.horizon)
        steps = [self.rng.normal(size=part.shape) for part in (x0, p, w)]
        tried = self._moved(many, steps, np.repeat(length, _SAMPLES))
        values = Fresh.of(self.problem, self.theta, tried, None if self.rows is None else self.rows.repeat(_SAMPLES))
        best = values.worst.reshape(-1, _SAMPLES).argmax(axis=1) + _SAMPLES * np.arange(points.count)
        chosen = Scenarios(tried.x0[best], tried.p[best], tried.w[best], tried.horizon)
        return chosen, Fresh(values.worst[best], values.row[best], values.objective)

    def _moved(self, points: Scenarios, directions: list[np.ndarray], length: np.ndarray) -> Scenarios:
        """Move points along directions of x0, p and w by a length relative to the set, and back into it."""
        gx, gp, gw = directions
        declared, step = self.declared, length[:, None]
        x0 = points.x0 + step * declared.along(gx)
        p = points.p + step * (declared.ranges[:, 1] - declared.ranges[:, 0]) * np.sign(gp)
        w = points.w + 2 * step[:, None] * declared.half * np.sign(gw) if gw.size else points.w
        return declared.nearest(Scenarios(x0, p, w, points.horizon))


def _chosen(which: np.ndarray, new: Scenarios, old: Scenarios) -> Scenarios:
    """Return the new scenarios where `which` holds, the old ones elsewhere."""
    pairs = ((new.x0, old.x0), (new.p, old.p), (new.w, old.w))
    x0, p, w = (np.where(which.reshape(-1, *[1] * (a.ndim - 1)), a, b) for a, b in pairs)
    return Scenarios(x0, p, w, old.horizon, old.declared)
