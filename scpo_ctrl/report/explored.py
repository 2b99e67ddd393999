"""What a reader of the page explores: trajectories of policies that were committed along the run."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from scpo_ctrl.adaptation.binding import room
from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.loop.scenario import Scenarios
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.report.trajectories import bound_use, limited, memories, projections, shown_plant, shown_states, spread

MOST_STEPS = 30  # committed policies
MOST_SCENARIOS = 16
MOST_SAMPLES = 251  # of a trajectory
MOST_LIMITS = 6  # constraints
MOST_VALUES = 56_000  # of all trajectories together


@dataclass(frozen=True)
class Signal:
    """A state, an input or a constraint along trajectories of one policy."""

    name: str
    unit: str
    kind: str  # "input", "state" or "constraint"
    low: float  # [unit]
    high: float
    rest: float
    first: int  # time step of the first value
    values: np.ndarray  # (S, T)


@dataclass(frozen=True)
class Explored:
    """Trajectories of policies that a run committed, the safe start first and the final one last."""

    problem: ControlProblem  # on the scenarios that are shown
    states: list[int]  # that are shown
    pairs: list[tuple[int, int]]  # states that make a phase portrait
    scenarios: np.ndarray  # (S,) their numbers on all of S (E12)
    tried: np.ndarray  # (K,) the tried step of each policy, from 1; 0 for the safe start
    samples: np.ndarray  # (T,) time steps
    signals: list[Signal]  # of the final policy
    values: np.ndarray  # (K, signals, S, T), not a number where a signal has no value
    margins: np.ndarray  # (K, S) least margin of each scenario over what varies [% of the bound]


def spread_steps(objectives: np.ndarray, most: int) -> np.ndarray:
    """Choose committed policies to show: evenly by their number and by the way of the objective, half each.

    Parameters
    ----------
    objectives : numpy.ndarray, shape (n,)
        Along the run, the safe start first.
    most : int
        How many to choose, at least two.

    Returns
    -------
    numpy.ndarray of int
        Ascending; the first and the last are among them.
    """
    last = len(objectives) - 1
    if last < most:
        return np.arange(last + 1)
    way = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(objectives)))])
    along = np.arange(last + 1) / last + (way / way[-1] if way[-1] > 0 else 0.0)
    found = np.searchsorted(along, np.linspace(0.0, along[-1], most)[1:-1])
    return np.unique([0, *found.tolist(), last])


def explored(result: Result, scenarios: np.ndarray | None = None) -> Explored | None:
    """Roll out policies that a run committed, on the scenarios closest to their bounds and others far from these.

    Parameters
    ----------
    result : Result
    scenarios : numpy.ndarray of int, optional
        Others to show.

    Returns
    -------
    Explored or None
        None where the problem has no plant.
    """
    everywhere = result.everywhere
    if not isinstance(everywhere, ControlProblem):
        return None
    chosen = _chosen(result, everywhere) if scenarios is None else scenarios
    batch = everywhere.scenarios
    some = Scenarios(batch.x0[chosen], batch.p[chosen], batch.w[chosen], batch.horizon)
    problem = everywhere.with_scenarios(some, everywhere.theta_initial, checked=False)
    ends = [problem.trajectories(theta) for theta in (result.theta_initial, result.theta)]
    X = np.concatenate([states for states, _ in ends])
    states = shown_states(shown_plant(problem), X)
    signals = [_signals(problem, states, *end) for end in ends]
    kept = _kept(*signals)
    samples = np.unique(np.linspace(0, batch.horizon, min(MOST_SAMPLES, batch.horizon + 1)).round().astype(int))
    room_for = MOST_VALUES // (len(kept) * len(chosen) * len(samples))
    most = 2 if problem.has_simulator else int(np.clip(room_for, 2, MOST_STEPS))  # a black box may be slow
    committed = np.flatnonzero(result.history.column("committed"))
    objectives = np.append(result.objective_initial, result.history.column("objective")[committed])
    at = spread_steps(np.nan_to_num(objectives), most)
    values, margins = [], []
    for theta in result.committed[at]:
        drawn = _signals(problem, states, *problem.trajectories(theta))
        values.append([_sampled(drawn[i], samples, batch.horizon) for i in kept])
        margins.append(_margins(problem, theta))
    return Explored(
        problem,
        states,
        [pair for pair in projections(shown_plant(problem), X) if set(pair) <= set(states)],
        chosen,
        np.append(0, committed + 1)[at],
        samples,
        [signals[1][i] for i in kept],
        np.array(values),
        np.array(margins),
    )


def _chosen(result: Result, everywhere: ControlProblem) -> np.ndarray:
    """Choose half of the scenarios by their margin at the final policy, and others far from each other."""
    batch = everywhere.scenarios
    closest = np.argsort(np.nan_to_num(_margins(everywhere, result.theta), nan=-np.inf), kind="stable")
    scaled = (batch.x0 - everywhere.plant.x_eq) @ np.linalg.cholesky(everywhere.backup.P)
    far = spread(scaled, int(closest[0]), MOST_SCENARIOS)
    order = dict.fromkeys([*closest[: MOST_SCENARIOS // 2].tolist(), *far.tolist()])
    return np.sort(list(order)[:MOST_SCENARIOS])


def _signals(problem: ControlProblem, states: list[int], X: np.ndarray, U: np.ndarray) -> list[Signal]:
    """Return inputs, states and constraints along the trajectories of a policy, as its pictures show them."""
    plant, found = shown_plant(problem), []
    inputs = U if problem.scenario_metrics.options.command else np.clip(U, plant.u_min, plant.u_max)
    of_x = zip(plant.x_labels, plant.x_units, plant.x_min, plant.x_max, plant.x_eq, strict=True)
    of_u = zip(plant.u_labels, plant.u_units, plant.u_min, plant.u_max, plant.u_eq, strict=True)
    for i, row in enumerate(list(of_u)[: plant.nu - memories(problem)]):
        found.append(_of_bounds(row, "input", inputs[:, :, i]))
    for i, row in enumerate(of_x):
        if i in states:
            found.append(_of_bounds(row, "state", X[:, :, i]))
    for one in limited(problem, problem.scenarios.p, X, U):
        found.append(Signal(one.name, one.unit, "constraint", one.low, one.high, one.rest, one.first, one.values))
    return found


def _of_bounds(row: tuple[Any, ...], kind: str, values: np.ndarray) -> Signal:
    """Return a signal from its label, unit, bounds and value at rest."""
    label, unit, low, high, rest = row
    return Signal(label, unit, kind, float(low), float(high), float(rest), 0, values)


def _kept(before: list[Signal], after: list[Signal]) -> list[int]:
    """Choose what to show: every input and state, and the constraints that come closest to their bounds."""
    use = {}
    for i, pair in enumerate(zip(before, after, strict=True)):
        if pair[0].kind == "constraint":
            both = np.concatenate([one.values.ravel() for one in pair])[:, None]
            ends = (np.array([end]) for end in (pair[0].low, pair[0].high, pair[0].rest))
            use[i] = float(bound_use(both, *ends)[0])
    closest = sorted(use, key=lambda i: -use[i])[:MOST_LIMITS]
    return [i for i in range(len(before)) if i not in use or i in closest]


def _sampled(signal: Signal, samples: np.ndarray, horizon: int) -> np.ndarray:
    """Return a signal at some time steps, not a number where it has no value."""
    whole = np.full((len(signal.values), horizon + 1), np.nan)
    whole[:, signal.first : signal.first + signal.values.shape[1]] = signal.values
    return whole[:, samples]


def _margins(problem: ControlProblem, theta: np.ndarray) -> np.ndarray:
    """Return the least margin of each scenario at a policy, of the metrics that can change [% of the bound]."""
    part = problem.of_scenarios
    with np.errstate(divide="ignore", invalid="ignore"):  # where it rests on a bound
        margins = np.where(problem.varies[part], -100 * problem.metrics(theta)[part] / room(problem)[part], np.inf)
    return np.asarray(margins.reshape(problem.scenarios.count, -1).min(axis=1, initial=np.inf))
