"""Trajectories before and after adaptation, and the choice of what to show of them."""

import itertools
from dataclasses import dataclass

import casadi as ca
import numpy as np

from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.errors import DomainError
from scpo_ctrl.loop.controlled import ControllerPolicy
from scpo_ctrl.loop.references import outputs_of_references
from scpo_ctrl.loop.scenario import Scenarios
from scpo_ctrl.models import Plant
from scpo_ctrl.models.varying import first_varying, over_time, parameters_over_time, without_signals
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.report.numbers import short

MOST_STATES = 8  # shown over time


@dataclass(frozen=True)
class Rolled:
    """The closed loop before and after, for the scenarios that a figure shows."""

    scenarios: np.ndarray  # (k,) their numbers
    X_before: np.ndarray  # (k, N + 1, nx)
    U_before: np.ndarray  # (k, N, nu)
    X_after: np.ndarray  # (k, N + 1, nx)
    U_after: np.ndarray  # (k, N, nu)


@dataclass(frozen=True)
class Limited:
    """A constraint, or the change of an input, along trajectories."""

    name: str
    unit: str
    low: float  # [unit]
    high: float
    rest: float  # at the equilibrium
    first: int  # time step of the first value
    values: np.ndarray  # (k, T)

    @property
    def used(self) -> float:
        """How much of the way from rest to its bound it goes, at most."""
        return float(
            bound_use(self.values[:, :, None], *(np.array([end]) for end in (self.low, self.high, self.rest)))[0]
        )

    @property
    def in_words(self) -> str:
        """Its bounds."""
        unit = f" {self.unit}" if self.unit else ""
        return f"≤ {short(self.high)}{unit}" if np.isinf(self.low) else f"{short(self.low)} … {short(self.high)}{unit}"


def plant_problem(result: Result) -> ControlProblem:
    """Return the problem of a result, which must have a plant.

    Parameters
    ----------
    result : Result

    Returns
    -------
    ControlProblem

    Raises
    ------
    DomainError
        If the problem has no plant.
    """
    if not isinstance(result.problem, ControlProblem):
        kind = type(result.problem).__name__
        raise DomainError(f"a {kind} has no plant, so no trajectories to draw; draw its history instead")
    return result.problem


def shown_plant(problem: ControlProblem) -> Plant:
    """Return the plant of a problem as pictures show it: with what a controller remembers named so, and its bounds.

    Parameters
    ----------
    problem : ControlProblem

    Returns
    -------
    Plant
        That of the problem where nothing is remembered.
    """
    plant, nm = problem.plant, memories(problem)
    if not nm:
        return plant
    nx, nu = plant.nx - nm, plant.nu - nm
    return plant.replace(
        x_min=np.append(plant.x_min[:nx], plant.u_min[nu:]),
        x_max=np.append(plant.x_max[:nx], plant.u_max[nu:]),
        x_labels=(*plant.x_labels[:nx], *(f"{label} (memory)" for label in plant.x_labels[nx:])),
    )


def memories(problem: ControlProblem) -> int:
    """Return how many of the loop's states, and of its inputs, are what a controller remembers: the last ones.

    Parameters
    ----------
    problem : ControlProblem

    Returns
    -------
    int
    """
    policy = problem.policy
    return policy.controller.memories if isinstance(policy, ControllerPolicy) else 0


def limited(problem: ControlProblem, p: np.ndarray, X: np.ndarray, U: np.ndarray) -> list[Limited]:
    """Return constraints and limited changes of inputs along trajectories.

    Parameters
    ----------
    problem : ControlProblem
    p : numpy.ndarray, shape (k, np)
        Plant parameters.
    X : numpy.ndarray, shape (k, N + 1, nx)
        States.
    U : numpy.ndarray, shape (k, N, nu)
        Commands before saturation.

    Returns
    -------
    list of Limited
    """
    plant, options = problem.plant, problem.scenario_metrics.options
    applied, (count, N, _) = np.clip(U, plant.u_min, plant.u_max), U.shape
    every, found = parameters_over_time(plant, p, N), []
    for one in options.constraints or ():
        h = ca.Function("h", [plant.x, plant.u, plant.p], [one.expression])
        rest = np.array(h(plant.x_eq, plant.u_eq, plant.p_nominal))[:, 0]
        inputs = np.concatenate([applied, applied[:, -1:]], axis=1)  # at t = N none counts that depends on them
        rows = X.reshape(-1, plant.nx), inputs.reshape(-1, plant.nu), every.reshape(-1, plant.npar)
        values = np.array(h.map(count * (N + 1))(*(part.T for part in rows))).reshape(len(one.name), count, N + 1)
        of_input = ca.which_depends(one.expression, plant.u, 1, True)
        for i, name in enumerate(one.name):
            there = values[i, :, :N] if of_input[i] else values[i]
            found.append(Limited(name, one.unit[i], -np.inf, float(one.bound[i]), float(rest[i]), 0, there))
    du_max = np.full(plant.nu, np.inf) if options.du_max is None else options.du_max
    for k in np.flatnonzero(np.isfinite(du_max)):
        name, most = f"change of {plant.u_labels[k]}", float(du_max[k])
        found.append(Limited(name, plant.u_units[k], -most, most, 0.0, 1, np.diff(applied[:, :, k], axis=1)))
    return found


def followed_references(problem: ControlProblem, chosen: np.ndarray) -> dict[int, np.ndarray]:
    """Return references that vary, by the state that each is for.

    Parameters
    ----------
    problem : ControlProblem
    chosen : numpy.ndarray of int, shape (k,)
        Scenarios.

    Returns
    -------
    dict of int to numpy.ndarray, shape (k, N)
        Of those that are for a measured signal which is a state.
    """
    policy, plant = problem.policy, problem.plant
    which = outputs_of_references(plant, policy.controller) if isinstance(policy, ControllerPolicy) else None
    if which is None or not isinstance(policy, ControllerPolicy):
        return {}
    batch, first = problem.scenarios, first_varying(plant)
    values = over_time(plant, batch.p[chosen], batch.horizon)[:, :-1]
    still, found = without_signals(plant, plant.measured), dict[int, np.ndarray]()
    for label in policy.signals:
        of = still[which[policy.controller.r_labels.index(label)]]
        found |= {
            i: values[:, :, plant.p_labels.index(label) - first] for i in range(plant.nx) if ca.is_equal(of, plant.x[i])
        }
    return found


def loads(problem: ControlProblem, chosen: np.ndarray) -> list[tuple[str, str, np.ndarray]]:
    """Return what varies over time besides references and noise.

    Parameters
    ----------
    problem : ControlProblem
    chosen : numpy.ndarray of int, shape (k,)
        Scenarios.

    Returns
    -------
    list of tuple
        Label, unit, and values of shape (k, N).
    """
    plant, policy, batch = problem.plant, problem.policy, problem.scenarios
    first, known = first_varying(plant), policy.signals if isinstance(policy, ControllerPolicy) else {}
    values = over_time(plant, batch.p[chosen], batch.horizon)[:, :-1]
    named = zip(plant.p_labels[first:], plant.p_units[first:], plant.signals, strict=False)
    return [
        (label, unit, values[:, :, k])
        for k, (label, unit, signal) in enumerate(named)
        if signal.kind != "noise" and label not in known
    ]


def roll(result: Result, most: int) -> Rolled:
    """Roll out the backup and the adapted policy on at most `most` scenarios, spread over the initial states.

    Parameters
    ----------
    result : Result
        Of a problem with a plant.
    most : int
        How many scenarios.

    Returns
    -------
    Rolled
        The scenario with the least final margin is among them.
    """
    problem = plant_problem(result)
    batch = problem.scenarios
    worst = np.max(
        problem.metrics(result.theta)[problem.of_scenarios].reshape(batch.count, -1), axis=1, initial=-np.inf
    )
    tightest = int(np.argmax(np.nan_to_num(worst, nan=np.inf)))
    scaled = (batch.x0 - problem.plant.x_eq) @ np.linalg.cholesky(problem.backup.P)
    chosen = spread(scaled, tightest, most)
    some = Scenarios(batch.x0[chosen], batch.p[chosen], batch.w[chosen], batch.horizon)
    ends = (problem.trajectories(theta, some) for theta in (result.theta_initial, result.theta))
    return Rolled(chosen, *(array for pair in ends for array in pair))


def spread(points: np.ndarray, first: int, most: int) -> np.ndarray:
    """Choose points far from each other: each next one is the farthest from those chosen.

    Parameters
    ----------
    points : numpy.ndarray, shape (S, n)
    first : int
        The one to begin with.
    most : int
        How many to choose, if there are as many.

    Returns
    -------
    numpy.ndarray, shape (min(S, most),)
        Their positions, ascending.
    """
    if len(points) <= most:
        return np.arange(len(points))
    chosen = [first]
    distance = np.full(len(points), np.inf)
    while len(chosen) < most:
        distance = np.minimum(distance, np.sum((points - points[chosen[-1]]) ** 2, axis=1))
        distance[chosen] = -1.0
        chosen.append(int(np.argmax(distance)))
    return np.sort(chosen)


def bound_use(values: np.ndarray, low: np.ndarray, high: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Return how much of the way from rest to its bound each state or input goes.

    Parameters
    ----------
    values : numpy.ndarray, shape (..., n)
        Those that are not finite do not count.
    low, high, rest : numpy.ndarray, shape (n,)
        Bounds, and where the loop rests.

    Returns
    -------
    numpy.ndarray, shape (n,)
        1 at the bound, 0 without a bound.
    """
    z = values.reshape(-1, len(rest)) - rest
    z = z[np.isfinite(z).all(axis=1)]
    with np.errstate(divide="ignore", invalid="ignore"):  # where it rests on a bound
        used = np.fmax(z / (high - rest), z / (low - rest))
    return np.fmax.reduce(used, axis=0, initial=0.0)


def state_use(plant: Plant, X: np.ndarray) -> np.ndarray:
    """Return `bound_use` of states.

    Parameters
    ----------
    plant : Plant
    X : numpy.ndarray, shape (..., nx)

    Returns
    -------
    numpy.ndarray, shape (nx,)
    """
    return bound_use(X, plant.x_min, plant.x_max, plant.x_eq)


def projections(plant: Plant, X: np.ndarray) -> list[tuple[int, int]]:
    """Choose the pairs of states to draw: a coordinate with its rate, then those that come closest to their bounds.

    Parameters
    ----------
    plant : Plant
    X : numpy.ndarray, shape (..., nx)
        The states to be drawn.

    Returns
    -------
    list of (int, int)
        None for one state, one pair for two, two for three or four, four for more.
    """
    use = state_use(plant, X)
    try:
        A = plant.linearise()[0] if plant.dt else np.zeros((plant.nx, plant.nx))
    except DomainError:
        A = np.zeros((plant.nx, plant.nx))
    dt = plant.dt or 1.0
    rates = [(i, j) for i, j in itertools.permutations(range(plant.nx), 2) if abs(A[i, j] - dt) <= 0.1 * dt]
    rates.sort(key=lambda pair: -max(use[list(pair)]))
    most = {1: 0, 2: 1, 3: 2, 4: 2}.get(plant.nx, 4)
    chosen = rates[:most]
    others = [pair for pair in itertools.combinations(range(plant.nx), 2) if not {pair, pair[::-1]} & set(rates)]
    while len(chosen) < most:  # the pair with the most states not shown yet, then the closest to their bounds
        shown = set(itertools.chain(*chosen))
        chosen.append(min(others, key=lambda pair: (len(shown & set(pair)), -use[pair[0]] - use[pair[1]])))
        others.remove(chosen[-1])
    return chosen


def shown_states(plant: Plant, X: np.ndarray) -> list[int]:
    """Choose the states to draw over time: all, or those that come closest to their bounds.

    Parameters
    ----------
    plant : Plant
    X : numpy.ndarray, shape (..., nx)
        The states to be drawn.

    Returns
    -------
    list of int
    """
    closest = np.argsort(-state_use(plant, X), kind="stable")
    return sorted(int(i) for i in closest[:MOST_STATES])


def level_set(P: np.ndarray, rho: float, pair: tuple[int, int], count: int = 181) -> np.ndarray:
    """Return the boundary of the projection of {zᵀPz ≤ ρ}: exactly the ellipse of the submatrix of P⁻¹.

    Parameters
    ----------
    P : numpy.ndarray, shape (nx, nx)
        Symmetric positive definite.
    rho : float
        Level, > 0.
    pair : (int, int)
        The two coordinates.
    count : int
        Number of points.

    Returns
    -------
    numpy.ndarray, shape (count, 2)
        In deviations z; the last point is the first.
    """
    angle = np.linspace(0.0, 2 * np.pi, count)
    C = np.linalg.cholesky(rho * np.linalg.inv(P)[np.ix_(pair, pair)])
    return np.asarray(np.stack([np.cos(angle), np.sin(angle)], axis=1) @ C.T)
