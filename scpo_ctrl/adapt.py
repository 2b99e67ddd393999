"""The adaptation loop of SCPO.

S. Cao, F. Borrelli, E. Joa, "Constrained Policy Optimization via Sampling-Based Weight-Space Projection",
arXiv 2512.13788. Equation numbers (E1)… are explained in docs/method.md.
"""

import time
from collections.abc import Callable

import numpy as np

from scpo_ctrl.cone import Projection
from scpo_ctrl.history import VERDICTS, Trial
from scpo_ctrl.options import AdaptOptions
from scpo_ctrl.problem import Problem
from scpo_ctrl.projection import project
from scpo_ctrl.region import Region, directions, sample_region
from scpo_ctrl.result import Result
from scpo_ctrl.state import State, resume, start, try_step
from scpo_ctrl.status import RunStatus, Verdict

Monitor = Callable[[State], bool]


def adapt(
    problem: Problem,
    options: AdaptOptions | None = None,
    *,
    resume_from: Result | None = None,
    monitor: Monitor | None = None,
) -> Result:
    """Improve a policy while every committed one stays safe.

    Parameters
    ----------
    problem : Problem
        Objective, metrics and safe start.
    options : AdaptOptions, optional
        Defaults where None.
    resume_from : Result, optional
        A saved run of the same problem to go on from, to the same numbers as an uninterrupted one.
    monitor : callable, optional
        Called with the state after every step; the run stops, resumable, where it returns True.

    Returns
    -------
    Result
        In "verified" mode every committed policy is safe on all scenarios; see `Result.is_safe`.

    Raises
    ------
    UnsafeStartError
        If the safe start is unsafe.
    EvaluationError
        If the objective or a metric fails at a safe policy.
    """
    options = options or AdaptOptions()
    state = resume(resume_from, options) if resume_from else start(problem, options)  # θ₀ is safe: (E1)
    while state.status is RunStatus.RUNNING and state.step < options.steps:
        began = time.perf_counter()
        gradient = problem.gradient(state.theta)
        step = state.first_order.step(gradient)  # any first-order step of ℓ
        region = sample(state, step)  # Ĝ, e: (E2), (E3)
        for _ in range(options.tries):
            projection = project_step(state, region, step)  # (E5)
            trial, g_new = try_step(state, region, step, gradient, projection)  # verify: g(θ + Δ), L from (E4)
            state.history.append(trial)
            if trial.is_committed:
                commit(state, trial, g_new, region, projection)  # θ ← θ + Δ
                break
            step = next_try(state, step, trial, gradient)
        finish_step(state, trial)
        state.seconds += time.perf_counter() - began
        if monitor and monitor(state) and state.status is RunStatus.RUNNING:
            state.status = RunStatus.INTERRUPTED
    if state.status is RunStatus.RUNNING:
        state.status = RunStatus.FINISHED
    return state.result()


def sample(state: State, step: np.ndarray) -> Region:
    """Sample the local safe region around θ.

    Parameters
    ----------
    state : State
    step : numpy.ndarray, shape (d,)
        The unconstrained step, kept among the directions.

    Returns
    -------
    Region
    """
    D = directions(step, state.normals, state.options.directions, state.rng)
    state.count_rollouts(step.size if D is None else len(D))
    return sample_region(state.problem, state.theta, state.g, state.error, D, state.options)


def project_step(state: State, region: Region, step: np.ndarray) -> Projection:
    """Project a step onto the local safe region (E5), starting from the constraints active last.

    Parameters
    ----------
    state : State
    region : Region
    step : numpy.ndarray, shape (d,)

    Returns
    -------
    Projection
    """
    cone = region.cone(step, state.L)
    projection = project(
        cone.u, cone.c, cone.G, cone.e, cone.L, cone.r, solver=state.options.solver, guess=state.active
    )
    state.active = projection.active
    return projection


def commit(state: State, trial: Trial, g_new: np.ndarray, region: Region, projection: Projection) -> None:
    """Commit a tried step: its parameters, and what is known of them, become the current ones.

    Parameters
    ----------
    state : State
    trial : Trial
    g_new : numpy.ndarray, shape (m,)
        Metrics at the tried parameters, those that vary.
    region : Region
    projection : Projection
    """
    state.theta, state.objective, state.margin, state.g = trial.theta, trial.objective, trial.margin, g_new
    if region.D is not None:
        state.normals = region.G[projection.active] @ region.D
    state.first_order.lengthen()
    if not trial.margin >= 0:  # certified mode only: the constants given were wrong
        state.status = RunStatus.SMOOTHNESS_TOO_SMALL


def next_try(state: State, step: np.ndarray, trial: Trial, gradient: np.ndarray) -> np.ndarray:
    """Return the step to project next after one that was not committed.

    Parameters
    ----------
    state : State
    step : numpy.ndarray, shape (d,)
        The one that was tried.
    trial : Trial
    gradient : numpy.ndarray, shape (d,)

    Returns
    -------
    numpy.ndarray, shape (d,)
        The same one after an unsafe try, since the region has shrunk; else one along the gradient, whose projection is
        a descent direction, and shorter where the objective did not fall as predicted.
    """
    if VERDICTS[trial.verdict] is Verdict.UNSAFE:
        return step
    if trial.predicted > 0:
        state.first_order.shorten(trial.delta_norm)
    return state.first_order.scaled(-gradient)


def finish_step(state: State, trial: Trial) -> None:
    """Count the step, and stop where none was committed for long.

    Parameters
    ----------
    state : State
    trial : Trial
        The last one of the step.
    """
    state.step += 1
    state.stalled = 0 if trial.is_committed else state.stalled + 1
    if state.stalled >= state.options.patience and state.status is RunStatus.RUNNING:
        state.status = RunStatus.CONVERGED
