"""What holds a policy back: the metrics closest to their limit, by scenario, time and bound."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from scpo_ctrl.loop.metrics import Metrics
from scpo_ctrl.problem.cloud import OneStep
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.problem.guarded import GuardedProblem
from scpo_ctrl.problem.problem import Problem

TIGHT = 0.01  # a metric binds within this part of the distance from the equilibrium to its bound
CLOSEST = 10  # rows of the table
_LEVEL = 1e-9  # a margin that falls by less, of that distance, stays level: rounding makes no valley of its own


@dataclass(frozen=True)
class ClosestMetric:
    """A bound of one scenario over neighbouring time steps, or a metric of the user's."""

    label: str  # the condition in words
    scenario: int | None  # None without a plant, and for a state of the cloud
    first: int  # time steps first … last are as close as the closest, within `TIGHT`; 0 without a plant
    last: int
    before: float  # margin of the safe start where `after` is
    after: float  # least margin of the final policy, relative to the bound
    part: float  # that margin over the distance from the equilibrium to the bound; not a number without a plant
    varies: bool  # False where no policy can change it
    cloud_state: int | None = None  # of the cloud of (E13), where the metric is one of its


@dataclass(frozen=True)
class Binding:
    """What binds at a policy of the metrics of a plant; those that no policy can change do not count."""

    kinds: dict[str, tuple[int, int]]  # by kind: metrics that bind, of so many
    scenarios: np.ndarray  # (S,) bool, whether a metric of the scenario binds; of guards, where there are any, the last


def room(problem: ControlProblem) -> np.ndarray:
    """Return the size of each metric: how far the equilibrium is from the bound, in the metric's unit.

    Parameters
    ----------
    problem : ControlProblem

    Returns
    -------
    numpy.ndarray, shape (m,)
        1 for the terminal metric, max(γ V(x₀), c ρ) for contraction.
    """
    metrics, batch = problem.scenario_metrics, problem.scenarios
    limits = None if metrics.options.contraction is None else problem.contraction_limits(batch)
    return _rooms(metrics, batch.count, limits)


def cloud_room(one_step: OneStep) -> np.ndarray:
    """Return the size of each metric of a cloud of states: for V, what a step must remove of it.

    Parameters
    ----------
    one_step : OneStep

    Returns
    -------
    numpy.ndarray, shape (k,)
    """
    contraction = one_step.metrics.options.contraction or 0.0
    removed = (1 - contraction) / contraction * one_step.limits
    return _rooms(one_step.metrics, one_step.cloud.count, removed)


def binding(problem: ControlProblem, g: np.ndarray) -> Binding:
    """Return what binds at a policy.

    Parameters
    ----------
    problem : ControlProblem
    g : numpy.ndarray, shape (m,)
        Its metrics; one that is not a number binds.

    Returns
    -------
    Binding
    """
    rows, of_scenarios = problem.scenario_metrics.rows, problem.of_scenarios
    varies = problem.varies[of_scenarios].reshape(-1, len(rows))
    binds = varies & ~(-g[of_scenarios] > TIGHT * room(problem)).reshape(varies.shape)
    of = np.array([row.kind for row in rows])
    kinds = {kind: (int(binds[:, of == kind].sum()), int(varies[:, of == kind].sum())) for kind in dict.fromkeys(of)}
    counts = {str(kind): count for kind, count in kinds.items()}
    if problem.one_step is not None:
        of_cloud = problem.of_cloud
        moves = problem.varies[of_cloud]
        tight = moves & ~(-g[of_cloud] > TIGHT * cloud_room(problem.one_step))
        counts["one step"] = int(tight.sum()), int(moves.sum())
    return Binding(counts, np.asarray(binds.any(axis=1)))


def closest_metrics(problem: Problem, before: np.ndarray, after: np.ndarray) -> list[ClosestMetric]:
    """Return the metrics closest to their limit at the final policy, the closest first.

    Of a plant, the margin counts relative to the distance from the equilibrium to the bound, since units differ.
    Neighbouring time steps of one scenario and bound are one row, and what rises from it on either side is none of its
    own. Metrics that no policy can change come last.

    Parameters
    ----------
    problem : Problem
    before, after : numpy.ndarray, shape (m,)
        Metrics of the safe start and of the final policy.

    Returns
    -------
    list of ClosestMetric
        At most `CLOSEST`.
    """
    if not isinstance(problem, ControlProblem):
        order = _closest_first(-after)[:CLOSEST]
        labels, varies = [problem.metric_label(int(i)) for i in order], problem.varies[order]
        margins = zip(-before[order], -after[order], strict=True)
        return [
            ClosestMetric(label, None, 0, 0, float(old), float(new), np.nan, bool(changes))
            for label, (old, new), changes in zip(labels, margins, varies, strict=True)
        ]
    closest = _of_scenarios(problem, before, after)
    if problem.one_step is not None:
        closest += _of_cloud(problem, problem.one_step, before, after)
    return sorted(closest, key=lambda row: (not row.varies, _first(row.part)))[:CLOSEST]


def _of_scenarios(problem: ControlProblem, before: np.ndarray, after: np.ndarray) -> list[ClosestMetric]:
    """Return the closest metrics of scenarios, those of neighbouring time steps as one."""
    rows, of_scenarios = problem.scenario_metrics.rows, problem.of_scenarios
    before, after, varies = before[of_scenarios], after[of_scenarios], problem.varies[of_scenarios]
    part = -after / np.maximum(room(problem), np.finfo(float).tiny)
    over_time = _over_time(problem)
    taken = np.zeros(after.size, dtype=bool)
    found: list[ClosestMetric] = []
    order = _closest_first(part)
    for i in np.concatenate([order[varies[order]], order[~varies[order]]]):
        if len(found) == CLOSEST:
            break
        if taken[i]:
            continue
        scenario, at = divmod(int(i), len(rows))
        steps = over_time[at] + scenario * len(rows)
        near, valley = _neighbours(part[steps], int(np.searchsorted(steps, i)))
        taken[steps[valley]] = True
        first, last = (rows[int(k) - scenario * len(rows)].time for k in steps[near][[0, -1]])
        numbers = -float(before[i]), -float(after[i]), float(part[i])
        found.append(ClosestMetric(rows[at].label, scenario, first, last, *numbers, bool(varies[i])))
    return found


def _of_cloud(problem: ControlProblem, one_step: OneStep, before: np.ndarray, after: np.ndarray) -> list[ClosestMetric]:
    """Return the closest metrics of a cloud of states, each by itself."""
    rows, of_cloud, found = one_step.rows, problem.of_cloud, []
    before, after, varies = before[of_cloud], after[of_cloud], problem.varies[of_cloud]
    part = -after / np.maximum(cloud_room(one_step), np.finfo(float).tiny)
    order = _closest_first(part)
    for i in np.concatenate([order[varies[order]], order[~varies[order]]])[:CLOSEST]:
        state, at = divmod(int(i), len(rows))
        time, numbers = rows[at].time, (-float(before[i]), -float(after[i]), float(part[i]))
        found.append(ClosestMetric(rows[at].label, None, time, time, *numbers, bool(varies[i]), state))
    return found


def binding_summary(problem: ControlProblem, before: np.ndarray, after: np.ndarray, guards: int = 0) -> dict[str, Any]:
    """Return what binds as plain data, for ``result.json``.

    Parameters
    ----------
    problem : ControlProblem
    before, after : numpy.ndarray, shape (m,)
        Metrics of the safe start and of the final policy.
    guards : int
        How many of the last scenarios are guards of the run (E12).

    Returns
    -------
    dict
        A number that is not finite is None; runs of scenarios are pairs of the first and the last.
    """
    found, first = binding(problem, after), problem.scenarios.count - guards
    parts = {"scenarios": found.scenarios[:first]} | ({"guards": found.scenarios[first:]} if guards else {})
    return {
        "within": TIGHT,
        "metrics": {kind: count for kind, (count, _) in found.kinds.items()},
        **{name: int(flags.sum()) for name, flags in parts.items()},
        **{f"{name}_never": [list(pair) for pair in ranges(~flags)] for name, flags in parts.items()},
        "closest": [
            {
                **_place(row, first),
                "time": [row.first, row.last],
                "bound": row.label,
                "margin": row.after if np.isfinite(row.after) else None,
            }
            for row in closest_metrics(problem, before, after)
        ],
    }


def least_part(problem: Problem, g: np.ndarray, rooms: np.ndarray) -> float:
    """Return the margin of the metric that is closest to its bound, over the distance from the equilibrium to it.

    Parameters
    ----------
    problem : ControlProblem or GuardedProblem
    g : numpy.ndarray, shape (m,)
        Its metrics, in `Problem.metric_units`.
    rooms : numpy.ndarray
        Of `rooms`.

    Returns
    -------
    float
        Without the metrics of local stability, and those that no policy can change; infinite where none is left.
    """
    part = -problem.in_bounds_units(g) / np.maximum(rooms, np.finfo(float).tiny)
    part = part[problem.varies & np.isfinite(rooms)]
    return -np.inf if np.isnan(part).any() else float(part.min(initial=np.inf))


def rooms(problem: Problem) -> np.ndarray:
    """Return the `room` of every metric, those of guards too; infinite for local stability.

    Parameters
    ----------
    problem : ControlProblem or GuardedProblem

    Returns
    -------
    numpy.ndarray, shape (m,)
    """
    given = problem.problem if isinstance(problem, GuardedProblem) else problem
    assert isinstance(given, ControlProblem)
    parts = [room(given), np.full(given.of_cloud.start - given.of_scenarios.stop, np.inf)]
    if given.one_step is not None:
        parts.append(cloud_room(given.one_step))
    if isinstance(problem, GuardedProblem):
        parts.append(room(given.with_scenarios(problem.guards, given.theta_initial)))
        parts.append(np.full(problem.varies.size - sum(part.size for part in parts), np.inf))  # of their first steps
    return np.concatenate(parts)


def _place(row: ClosestMetric, first_guard: int) -> dict[str, int | None]:
    """Return which scenario, guard or state of the cloud a metric is of."""
    if row.cloud_state is not None:
        return {"cloud_state": row.cloud_state}
    if row.scenario is None or row.scenario < first_guard:
        return {"scenario": row.scenario}
    return {"guard": row.scenario - first_guard}


def ranges(flags: np.ndarray) -> list[tuple[int, int]]:
    """Return runs of neighbouring positions that are set, as pairs of the first and the last.

    Parameters
    ----------
    flags : numpy.ndarray, shape (n,), bool

    Returns
    -------
    list of tuple of int
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int)))
    return [(int(first), int(end) - 1) for first, end in edges.reshape(-1, 2)]


def _rooms(metrics: Metrics, count: int, limits: np.ndarray | None) -> np.ndarray:
    """Return the sizes of the metrics of some rollouts, of which contraction has limits (S,)."""
    plant, options, parts = metrics.plant, metrics.options, []
    if options.path:
        parts.append(_box(plant.x_min, plant.x_max, plant.x_eq, metrics.horizon + 1))
        if options.command:
            parts.append(_box(plant.u_min, plant.u_max, plant.u_eq, metrics.horizon))
    if metrics.steps is not None:
        parts.append(metrics.steps.over_time(np.array([row.room for row in metrics.steps.rows]), metrics.horizon))
    columns = [np.tile(np.concatenate(parts), (count, 1))] if parts else []
    if options.terminal:
        columns.append(np.ones((count, 1)))
    if limits is not None:
        columns.append(limits[:, None])
    return np.hstack(columns).ravel()


def _first(part: float) -> float:
    """Return what metrics are sorted by: what is not a number before all."""
    return -np.inf if np.isnan(part) else part


def _box(low: np.ndarray, high: np.ndarray, eq: np.ndarray, steps: int) -> np.ndarray:
    """Distances to the finite bounds, time by time: first the upper ones, then the lower ones."""
    each = np.concatenate([high - eq, eq - low])
    return np.tile(each[np.isfinite(each)], steps)


def _over_time(problem: ControlProblem) -> list[np.ndarray]:
    """Return for each metric of a scenario those of the same bound over time, apart where no policy changes them."""
    rows, series = problem.scenario_metrics.rows, dict[tuple[str, int, bool], list[int]]()
    keys, count, before = [], 0, None  # labels may be equal: the place within its time tells a bound
    for i, row in enumerate(rows):
        count = count + 1 if (row.kind, row.time) == before else 0
        before = row.kind, row.time
        keys.append((row.kind, count, bool(problem.varies[i])))
        series.setdefault(keys[i], []).append(i)
    return [np.array(series[key]) for key in keys]


def _closest_first(margin: np.ndarray) -> np.ndarray:
    """Return the order of margins, the least first, and what is not a number before all."""
    return np.argsort(np.nan_to_num(margin, nan=-np.inf), kind="stable")


def _neighbours(part: np.ndarray, at: int) -> tuple[slice, slice]:
    """Return the steps around one that are nearly as close, and the valley of the margin whose bottom they are."""
    ends = []
    for sign in (-1, 1):
        k = at
        while 0 <= k + sign < part.size and part[k + sign] <= part[at] + TIGHT:
            k += sign
        far = k
        while 0 <= far + sign < part.size and part[far + sign] >= part[far] - _LEVEL:
            far += sign
        ends.append((k, far))
    (left, far_left), (right, far_right) = ends
    return slice(left, right + 1), slice(far_left, far_right + 1)
