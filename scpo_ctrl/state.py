"""The state of an adaptation run between steps, and its first-order, trial and bookkeeping parts."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from scpo_ctrl.cone import Projection
from scpo_ctrl.errors import DimensionError, EvaluationError, RecordError, UnsafeStartError
from scpo_ctrl.history import PROJECTION_STATUSES, VERDICTS, History, Trial
from scpo_ctrl.options import AdaptOptions
from scpo_ctrl.problem import Problem
from scpo_ctrl.region import Region, first_smoothness
from scpo_ctrl.result import Result, margin_of
from scpo_ctrl.status import RunStatus, Verdict
from scpo_ctrl.steps import FirstOrder


@dataclass
class State:
    """Everything the loop remembers; all but the problem and the options is saved, and resumed to the same numbers."""

    problem: Problem
    options: AdaptOptions
    theta: np.ndarray  # (d,) committed parameters
    objective: float  # ℓ(θ)
    margin: float  # -max_i g_i(θ)
    g: np.ndarray  # (m,) metrics at θ, those that vary
    error: np.ndarray  # (m,) ε of each metric
    L: np.ndarray  # (m,) smoothness constants
    first_order: FirstOrder
    rng: np.random.Generator
    history: History
    objective_initial: float
    margin_initial: float
    active: np.ndarray  # indices of the constraints active last
    normals: np.ndarray  # (k, d) their gradients, for directions
    status: RunStatus = RunStatus.RUNNING
    step: int = 0  # first-order steps done
    stalled: int = 0  # steps since the last commit
    rollouts: int = 0
    seconds: float = 0.0

    def count_rollouts(self, thetas: int) -> None:
        """Add the rollouts of some evaluations of the metrics.

        Parameters
        ----------
        thetas : int
            How many θ were evaluated.
        """
        self.rollouts += thetas * self.problem.rollouts_per_theta

    def result(self) -> Result:
        """Return the run so far as a result.

        Returns
        -------
        Result
        """
        return Result(
            problem=self.problem,
            options=self.options,
            status=self.status,
            theta=self.theta.copy(),
            theta_initial=self.problem.theta_initial,
            objective_initial=self.objective_initial,
            objective_final=self.objective,
            margin_initial=self.margin_initial,
            history=History(self.theta.size, self.history.rows),
            steps=self.step,
            rollouts=self.rollouts,
            seconds=self.seconds,
            state=self._saved(),
        )

    def _saved(self) -> dict[str, np.ndarray]:
        generator: Any = self.rng.bit_generator.state
        words = [generator["state"]["state"], generator["state"]["inc"], generator["has_uint32"], generator["uinteger"]]
        return {
            "L": self.L.copy(),
            "active": self.active,
            "normals": self.normals,
            "first": self.first_order.first,
            "second": self.first_order.second,
            "length": np.array(self.first_order.length),
            "count": np.array(self.first_order.count),
            "stalled": np.array(self.stalled),
            "rng": np.array([str(word) for word in words]),
        }


def start(problem: Problem, options: AdaptOptions) -> State:
    """Evaluate the safe start and estimate the first smoothness constants.

    Parameters
    ----------
    problem : Problem
    options : AdaptOptions

    Returns
    -------
    State

    Raises
    ------
    UnsafeStartError
        If a metric is positive, or not a number, at θ₀.
    EvaluationError
        If the objective is not finite at θ₀.
    """
    rng = np.random.default_rng(options.seed)
    theta = problem.theta_initial.copy()
    objective, metrics = problem.evaluate(theta)
    _check_safe(problem, metrics)
    if not np.isfinite(objective):
        raise EvaluationError(f"the objective is {objective} at the safe start; check the objective")
    g = metrics[problem.varies]
    L, evaluations = first_smoothness(problem, theta, g, options, rng)
    state = State(
        problem=problem,
        options=options,
        theta=theta,
        objective=objective,
        margin=margin_of(metrics),
        g=g,
        error=options.metric_error * np.maximum(1.0, np.abs(g)),
        L=L,
        first_order=FirstOrder.start(options, theta.size),
        rng=rng,
        history=History(theta.size),
        objective_initial=objective,
        margin_initial=margin_of(metrics),
        active=np.zeros(0, dtype=np.int64),
        normals=np.zeros((0, theta.size)),
    )
    state.count_rollouts(1 + evaluations)
    return state


def resume(result: Result, options: AdaptOptions) -> State:
    """Rebuild the state from a saved result, to go on to the same numbers as an uninterrupted run.

    Parameters
    ----------
    result : Result
        With the problem that it was made from.
    options : AdaptOptions
        The options; only `steps` may differ from those of the result.

    Returns
    -------
    State

    Raises
    ------
    RecordError
        If the saved state does not fit the problem.
    """
    problem, saved = result.problem, result.state
    fresh = start(problem, options)
    try:
        if fresh.L.shape != saved["L"].shape or fresh.theta.shape != saved["first"].shape:
            raise DimensionError("its arrays have other sizes")
        fresh.theta = result.theta.copy()
        fresh.objective, metrics = problem.evaluate(fresh.theta)
        fresh.g, fresh.margin = metrics[problem.varies], margin_of(metrics)
        fresh.L, fresh.active, fresh.normals = saved["L"].copy(), saved["active"], saved["normals"]
        order = fresh.first_order
        order.first, order.second = saved["first"], saved["second"]
        order.length, order.count = float(saved["length"]), int(saved["count"])
        state, inc, has, word = (int(text) for text in saved["rng"])
        fresh.rng.bit_generator.state = {
            "bit_generator": "PCG64",
            "state": {"state": state, "inc": inc},
            "has_uint32": has,
            "uinteger": word,
        }
        fresh.stalled = int(saved["stalled"])
    except (KeyError, ValueError, TypeError) as error:
        raise RecordError(f"the saved state does not fit the problem: {error}; start anew without --resume") from error
    fresh.history = History(fresh.theta.size, result.history.rows)
    fresh.step, fresh.rollouts, fresh.seconds = result.steps, result.rollouts, result.seconds
    if result.status in (RunStatus.CONVERGED, RunStatus.SMOOTHNESS_TOO_SMALL):
        fresh.status = result.status
    return fresh


def try_step(
    state: State, region: Region, step: np.ndarray, gradient: np.ndarray, projection: Projection
) -> tuple[Trial, np.ndarray]:
    """Evaluate a projected step, learn the smoothness constants from it, and judge it.

    Parameters
    ----------
    state : State
        Its smoothness constants are updated.
    region : Region
    step : numpy.ndarray, shape (d,)
        Before projection.
    gradient : numpy.ndarray, shape (d,)
        Of the objective.
    projection : Projection
        Of the step.

    Returns
    -------
    trial : Trial
        The row for the history.
    g_new : numpy.ndarray, shape (m,)
        Metrics at the tried parameters, those that vary.
    """
    delta = region.step(projection.delta)
    theta = state.theta + delta
    predicted = -float(gradient @ delta)
    norm = float(np.linalg.norm(delta))
    used = state.L
    if norm == 0:
        objective, margin, worst, g_new, verdict = state.objective, state.margin, -1, state.g, Verdict.NO_STEP
        shown = np.zeros_like(used)  # a region without a step asks for smaller constants
    else:
        objective, metrics = state.problem.evaluate(theta)
        state.count_rollouts(1)
        worst, margin = int(np.argmax(metrics)) if metrics.size else -1, margin_of(metrics)
        g_new = metrics[state.problem.varies]
        unsafe = ~(g_new <= _allowed(state))
        verdict = _judge(state, objective, g_new, bool(unsafe.any()), predicted)
        shown = region.shown_smoothness(projection.delta, g_new)
        shown[unsafe] = np.maximum(shown[unsafe], used[unsafe])  # rounding may hide why: shorten the step all the same
    state.L = _learn(state, shown, verdict)
    trial = Trial(
        step=state.step,
        verdict=VERDICTS.index(verdict),
        objective=objective,
        margin=margin,
        worst=worst,
        step_length=float(np.linalg.norm(step)),
        delta_norm=norm,
        predicted=predicted,
        smoothness_max=float(np.max(used, initial=0.0)),
        smoothness_median=float(np.median(used)) if used.size else 0.0,
        active=len(projection.active),
        projection_status=PROJECTION_STATUSES.index(projection.status),
        projection_iterations=projection.iterations,
        rollouts=state.rollouts,
        theta=theta,
    )
    return trial, g_new


def _allowed(state: State) -> np.ndarray:
    """Return what a metric may become: -ε, or where it is if that is closer to zero already."""
    return np.minimum(0.0, np.maximum(-state.error, state.g))


def _judge(state: State, objective: float, g_new: np.ndarray, unsafe: bool, predicted: float) -> Verdict:
    """Safe on every scenario, then lower in the objective. In certified mode, safety follows from (E4)."""
    if not (np.isfinite(objective) and np.isfinite(g_new).all()):
        return Verdict.NOT_FINITE
    if state.options.mode == "verified" and unsafe:
        return Verdict.UNSAFE
    return (
        Verdict.COMMITTED if objective <= state.objective - 1e-4 * predicted and predicted > 0 else Verdict.NO_DECREASE
    )


def _learn(state: State, shown: np.ndarray, verdict: Verdict) -> np.ndarray:
    """L grows to a multiple of what a step showed, and shrinks slowly where the bound held with room."""
    options = state.options
    if options.mode == "certified":
        return state.L
    finite = np.where(np.isinf(shown), 10 * state.L, shown)  # a metric that diverged: smaller steps
    grown = options.growth * finite
    return np.maximum(state.L if verdict is Verdict.UNSAFE else np.maximum(options.decay * state.L, 1e-9), grown)


def _check_safe(problem: Problem, metrics: np.ndarray) -> None:
    margin = margin_of(metrics)
    if not margin >= 0:
        worst = int(np.argmax(np.nan_to_num(metrics, nan=np.inf)))
        raise UnsafeStartError(
            f"the safe start is unsafe: {problem.metric_label(worst)} is exceeded by {metrics[worst]:.4g}; lower the "
            "level of the scenarios, lengthen the horizon, or design a more careful backup"
        )
