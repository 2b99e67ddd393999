"""One step under way: its region, its probes, its tries, and what they teach about the smoothness constants."""

import math
from dataclasses import dataclass, replace

import numpy as np

from scpo_ctrl.adaptation.history import PROJECTION_STATUSES, VERDICTS, Trial
from scpo_ctrl.adaptation.region import (
    SMALLEST_SMOOTHNESS,
    Region,
    directions,
    first_smoothness,
    largest_error,
    metric_error,
    sample_region,
)
from scpo_ctrl.adaptation.state import State
from scpo_ctrl.adaptation.status import Verdict
from scpo_ctrl.adaptation.steps import Plan
from scpo_ctrl.adaptation.watch import Watch
from scpo_ctrl.projection.cone import Projection
from scpo_ctrl.projection.project import project

_OPTIMISM = 0.3  # factor on remembered smoothness constants for the first probe
_MEMORY = 1e-4  # what of them stays beside what a probe shows
_DIVERGED = 1e6  # a step that takes a metric beyond it was too long, and says nothing of curvature
_LONG, _SHORTEST_FIT = 0.9, 0.1  # parts of a probe's length: below the one it is shortened, never below the other
_SUFFICIENT = 1e-4  # part of the predicted fall of the merit that a commit must reach


@dataclass
class Attempt:
    """A planned step on its way through probes and tries."""

    plan: Plan
    watch: Watch  # what it was planned with
    region: Region
    z: np.ndarray  # (p,) the step to be projected, in the coordinates of the region
    L: np.ndarray  # (k,) smoothness constants of the metrics kept
    remembered: np.ndarray  # (k,) the same before the step
    merit: float  # at θ
    active: np.ndarray  # places among them of those that the last projection met; at first that of the step before
    fall: float = 0.0  # of the merit by the last try
    worst: int = -1  # the metric that the last try left the least room, in its own unit


def sample(state: State, watch: Watch, plan: Plan) -> Attempt:
    """Sample the local safe region around θ, along directions that hold the step: (E2), (E3).

    Parameters
    ----------
    state : State
    watch : Watch
        Whose metrics the region is of.
    plan : Plan

    Returns
    -------
    Attempt
    """
    options = state.options
    state.count_rollouts(plan.evaluations, watch.problem)
    if not state.L.size or (options.bounds_smoothness and state.stalled == 0):  # θ is new, and so is the ball around it
        found = first_smoothness(watch.problem, state.theta, watch.of(state.g), plan.scaling, options, state.rng)
        state.L = watch.put(found.L, np.full(state.g.size, SMALLEST_SMOOTHNESS))
        state.slopes = watch.put(found.slopes, state.slopes)
        state.count_rollouts(found.evaluations, watch.problem)
    normals = plan.scaling.of_gradients(state.normals)
    Q = directions(plan.z, normals, options.directions, state.rng)
    D = plan.scaling.basis(Q)
    region = sample_region(watch.problem, state.theta, watch.of(state.g), watch.of(state.L), D, plan.reach, options)
    region = replace(region, rows=watch.whole(region.rows), largest_error=largest_error(state.g, options))
    state.count_rollouts(len(D), watch.problem)
    state.reach = region.radius
    state.slopes = watch.put(region.slopes, state.slopes)
    kept, z = state.L[region.rows], plan.z if Q is None else Q @ plan.z
    merit = state.method.merit(state.objective, watch.of(state.g))
    return Attempt(plan, watch, region, z, kept, kept, merit, region.places(state.active))


def stationarity(state: State, attempt: Attempt) -> float:
    """Return how much the objective could still fall, to first order and relative to the objective.

    For linear models it is the fall along the projected gradient: the gradient, as long as the radius, projected onto
    the linearised constraints, (E5) with e = L = 0. For Newton's it is the fall that the whole step promises, and the
    barrier's share, μ for each metric that can be active, at most d. The first is zero exactly where the first-order
    conditions of (E1) hold; the second tends to zero there as the barrier falls.

    Parameters
    ----------
    state : State
    attempt : Attempt

    Returns
    -------
    float
    """
    plan, region = attempt.plan, attempt.region
    scale = max(abs(state.objective), abs(state.objective_initial)) or 1.0
    if plan.gap < np.inf:
        return plan.gap / scale
    gradient = region.D @ plan.gradient
    norm = float(np.linalg.norm(gradient))
    if norm == 0:
        return 0.0
    zeros = np.zeros(region.c.size)
    steepest = -gradient * (region.radius / norm)
    answer = project(
        steepest, region.c, region.G, zeros, zeros, region.radius, solver=state.options.solver,
        guess=attempt.active, norms=region.norms,
    )  # fmt: skip
    return max(0.0, -float(gradient @ answer.delta)) / scale  # and not -0


def probe(state: State, attempt: Attempt) -> None:
    """Measure the smoothness constants along the step itself, so that (E4) is as tight as it can be for this step.

    Each probe evaluates the metrics at the step that the present constants allow, as one more sample on the model, and
    takes from it the curvature of every metric in that direction.

    Parameters
    ----------
    state : State
    attempt : Attempt
        Its constants are replaced.
    """
    options, region = state.options, attempt.region
    if options.mode == "certified" or not (options.probes and region.rows.size):
        return
    attempt.L = _OPTIMISM * attempt.remembered
    for _ in range(options.probes):
        alpha = project_step(state, attempt).delta
        square = float(alpha @ alpha)
        if square == 0:
            return
        delta = region.step(alpha)
        objective, g = state.problem.evaluate(state.theta + delta)
        state.count_rollouts(1)
        _fit_length(state, attempt, alpha, -float(attempt.plan.gradient @ delta), objective, g)
        curvature = region.beyond(alpha, g[region.rows]) * (2 / square)
        curvature = np.where(g[region.rows] < _DIVERGED, np.maximum(curvature, 0.0), attempt.remembered)
        attempt.L = options.growth * curvature + _MEMORY * attempt.remembered


def _fit_length(
    state: State, attempt: Attempt, alpha: np.ndarray, slope: float, objective: float, g: np.ndarray
) -> None:
    """Shorten the step to the least merit of the parabola, falling at first, through a probe that went too far.

    Where the projection turned a first-order step into one of ascent, the gradient takes its place.
    """
    if slope <= 0 and not attempt.plan.curvature:
        attempt.z = state.method.shorten(attempt.region.D @ attempt.plan.gradient, attempt.z, 0.0)
        return
    fall = attempt.merit - state.method.merit(objective, attempt.watch.of(g))
    if math.isfinite(fall) and slope > 0 and 2 * (slope - fall) > slope / _LONG:
        best = max(slope / (2 * (slope - fall)), _SHORTEST_FIT)
        attempt.z = best * alpha
        state.method.fitted(best)


def project_step(state: State, attempt: Attempt) -> Projection:
    """Project the step onto the local safe region (E5), starting from the constraints active last.

    Parameters
    ----------
    state : State
    attempt : Attempt

    Returns
    -------
    Projection
    """
    region = attempt.region
    cone = region.cone(attempt.z, attempt.L, attempt.plan.kept)
    projection = project(
        cone.u, cone.c, cone.G, cone.e, cone.L, cone.r, solver=state.options.solver,
        guess=attempt.active, norms=region.norms,
    )  # fmt: skip
    attempt.active = projection.active
    state.active = region.rows[projection.active]
    return projection


def try_step(state: State, attempt: Attempt, projection: Projection) -> tuple[Trial, np.ndarray]:
    """Evaluate a projected step, learn the smoothness constants from it, and judge it.

    Parameters
    ----------
    state : State
    attempt : Attempt
        Its constants are updated.
    projection : Projection
        Of its step.

    Returns
    -------
    trial : Trial
        The row for the history.
    g_new : numpy.ndarray, shape (m,)
        Metrics at the tried parameters.
    """
    plan, region, used = attempt.plan, attempt.region, attempt.L
    delta, length = region.step(projection.delta), _norm(projection.delta)
    predicted = plan.predicted(delta, length)
    if length == 0:
        objective, g_new, verdict = state.objective, state.g, Verdict.NO_STEP
        worst, margin = -1, state.margin
        if state.options.mode == "verified":
            attempt.L = np.maximum(state.options.decay * used, SMALLEST_SMOOTHNESS)  # it asks for smaller constants
    else:
        objective, g_new = state.problem.evaluate(state.theta + delta)
        state.count_rollouts(1)
        worst, margin = _worst(state.problem.in_bounds_units(g_new))
        attempt.worst, room = _worst(g_new)
        far = room >= region.largest_error and attempt.watch.metrics is None
        unsafe = np.zeros(0, dtype=np.int64) if far else _unsafe(state, attempt, g_new)
        attempt.fall = attempt.merit - state.method.merit(objective, attempt.watch.of(g_new))
        is_finite = math.isfinite(objective) and margin > -np.inf and float(g_new.min(initial=0.0)) > -np.inf
        verdict = _judge(state, attempt, objective, is_finite, unsafe.size > 0, predicted)
        _learn(state, attempt, projection.delta, g_new, unsafe, is_finite)
    ranked = np.sort(used)
    trial = Trial(
        step=state.step,
        verdict=VERDICTS.index(verdict),
        objective=objective,
        margin=margin,
        worst=worst,
        step_length=_norm(attempt.z),
        delta_norm=_norm(delta),
        predicted=predicted,
        stationarity=state.stationarity,
        smoothness_max=float(ranked[-1]) if used.size else 0.0,
        smoothness_median=float(ranked[used.size // 2]) if used.size else 0.0,
        active=len(projection.active),
        projection_status=PROJECTION_STATUSES.index(projection.status),
        projection_iterations=projection.iterations,
        rollouts=state.rollouts,
        theta=state.theta + delta,
    )
    return trial, g_new


def _norm(vector: np.ndarray) -> float:
    return math.sqrt(vector @ vector)


def _worst(g: np.ndarray) -> tuple[int, float]:
    """Return the metric with the least margin and that margin, -∞ where it is not a number; -1 and ∞ without any."""
    if not g.size:
        return -1, np.inf
    worst = int(g.argmax())  # or the first that is not a number
    margin = -float(g[worst])
    return worst, -np.inf if math.isnan(margin) else margin


def _unsafe(state: State, attempt: Attempt, g_new: np.ndarray) -> np.ndarray:
    """Return the metrics above what they may become: -ε, or where they are if that is closer to zero already.

    Those that were not watched keep a part of their distance from zero, as the projection sees to for the others.
    """
    allowed = np.minimum(0.0, np.maximum(-metric_error(state.g, state.options), state.g))
    if attempt.watch.metrics is not None:
        clear = attempt.plan.kept * state.g
        clear[attempt.watch.metrics] = 0.0
        allowed = np.minimum(allowed, clear)
    return np.flatnonzero(~(g_new <= allowed))


def _judge(
    state: State, attempt: Attempt, objective: float, is_finite: bool, unsafe: bool, predicted: float
) -> Verdict:
    """Safe on every scenario, then lower in the merit. In certified mode, safety follows from (E4)."""
    if not is_finite:
        return Verdict.NOT_FINITE
    if state.options.mode == "verified" and unsafe:
        return Verdict.UNSAFE
    lower = predicted > 0 and attempt.fall >= _SUFFICIENT * predicted and objective <= state.objective_initial
    return Verdict.COMMITTED if lower else Verdict.NO_DECREASE


def _learn(
    state: State, attempt: Attempt, alpha: np.ndarray, g_new: np.ndarray, unsafe: np.ndarray, is_finite: bool
) -> None:
    """L grows to a multiple of what a step showed, and shrinks slowly where the bound held with room.

    A metric that was screened out and still became unsafe gets the L that would have kept it, for the next sample.
    """
    options, region, used = state.options, attempt.region, attempt.L
    if options.mode == "certified":
        return
    shown = region.shown_smoothness(alpha, g_new[region.rows])
    diverged = np.isinf(shown) & (not is_finite) | (g_new[region.rows] >= _DIVERGED)
    shown = np.where(diverged, 10 * used, shown)  # smaller steps
    if not unsafe.size:
        attempt.L = np.maximum(np.maximum(options.decay * used, SMALLEST_SMOOTHNESS), options.growth * shown)
        return
    failed = region.places(unsafe)
    shown[failed] = np.maximum(shown[failed], used[failed])
    attempt.L = np.maximum(used, options.growth * shown)
    missed = np.setdiff1d(unsafe, region.rows[failed])
    state.L[missed] = np.maximum(options.growth * state.L[missed], -4 * state.g[missed] / region.radius**2)
