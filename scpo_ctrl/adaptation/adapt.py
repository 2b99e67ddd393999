"""The adaptation loop of SCPO.

S. Cao, F. Borrelli, E. Joa, "Constrained Policy Optimization via Sampling-Based Weight-Space Projection",
arXiv 2512.13788. Equation numbers (E1)… are explained in docs/method.md.
"""

import math
import time
from collections.abc import Callable

import numpy as np

from scpo_ctrl.adaptation.attempt import Attempt, probe, project_step, sample, stationarity, try_step
from scpo_ctrl.adaptation.audited import AuditMonitor, AuditStopped, audit_commits, conclude, is_due, repeat_audit
from scpo_ctrl.adaptation.blas import one_thread
from scpo_ctrl.adaptation.display import Display
from scpo_ctrl.adaptation.history import VERDICTS, Trial
from scpo_ctrl.adaptation.options import AdaptOptions
from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.adaptation.state import State, resume, start
from scpo_ctrl.adaptation.status import RunStatus, Verdict
from scpo_ctrl.adaptation.watch import watch
from scpo_ctrl.problem.problem import Problem
from scpo_ctrl.projection.cone import Projection
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.stop import patient
from scpo_ctrl.validate import as_function

Monitor = Callable[[State], bool]


def adapt(
    problem: Problem,
    options: AdaptOptions | None = None,
    *,
    resume_from: Result | None = None,
    monitor: Monitor | None = None,
    audit_monitor: AuditMonitor | None = None,
    progress: bool | None = None,
) -> Result:
    """Improve a policy while every committed one stays safe.

    Ctrl-C ends the run after its step, or in its audit, and returns what there is so far, to be saved or resumed; the
    second one raises KeyboardInterrupt.

    Parameters
    ----------
    problem : Problem
        Objective, metrics and safe start.
    options : AdaptOptions, optional
        Defaults where None.
    resume_from : Result, optional
        A saved run of the same problem to go on from, to the same numbers as an uninterrupted one.
    monitor : callable, optional
        Called with the state after every step; the run stops, resumable, where it returns True. What it raises
        ends the run and is passed on.
    audit_monitor : callable, optional
        Called now and then during an audit, which may take minutes, with the number of its rollouts done and that of
        all. Where it returns True the run stops likewise, and does that audit again when it goes on.
    progress : bool, optional
        Show a line on stderr that follows the run. By default it shows on a terminal and in a notebook, of a run that
        takes longer than a second; True shows it at once, and plain lines now and then in a file; False never.

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
    ClassError
        If problem, options or resume_from only look like what they should be.
    DomainError
        If a method needs derivatives that the problem does not have.

    Examples
    --------
    >>> import scpo_ctrl as sc
    >>> from scpo_ctrl.models import double_integrator
    >>> plant = double_integrator()
    >>> backup = sc.lqr(plant, Q=[0.1, 0.1], R=[10.0])
    >>> policy = sc.Policy(plant, backup, hidden=(4,))
    >>> starts = sc.scenarios(plant, backup, horizon=30, count=16, level=0.5)
    >>> problem = sc.ControlProblem(policy, starts, sc.Quadratic(Q=[1.0, 0.1], R=[0.05]))
    >>> result = sc.adapt(problem, sc.AdaptOptions(steps=5, audit_rollouts=1000))
    >>> result.objective_final < result.objective_initial, result.is_safe()
    (True, True)
    """
    options = AdaptOptions() if options is None else options
    as_instance("problem", problem, Problem)
    as_instance("options", options, AdaptOptions)
    if resume_from is not None:
        as_instance("resume_from", resume_from, Result)
    for name, function in (("monitor", monitor), ("audit_monitor", audit_monitor)):
        if function is not None:
            as_function(name, function)
    display = Display(options.steps, shown=progress)
    state = resume(resume_from, options) if resume_from is not None else start(problem, options)  # θ₀ is safe: (E1)
    with one_thread(), patient() as interrupted, display:
        return _run(state, resume_from, monitor, audit_monitor, interrupted, display)


def _run(
    state: State,
    resume_from: Result | None,
    monitor: Monitor | None,
    audit_monitor: AuditMonitor | None,
    interrupted: Callable[[], bool],
    display: Display,
) -> Result:
    """Do the steps and audits of a run until its end, or until it is to stop."""

    def audited(done: int, total: int) -> bool:
        display.show_audit(state.step, done, total)
        return bool(audit_monitor and audit_monitor(done, total)) or interrupted()

    try:
        if resume_from is not None:
            repeat_audit(state, resume_from, audited)
        while state.status is RunStatus.RUNNING and state.step < state.options.steps:
            advance(state)
            if is_due(state):
                audit_commits(state, audited)  # on scenarios that it never saw: (E12)
            display.show(state)
            is_asked = bool(monitor and monitor(state)) or interrupted()
            if is_asked and state.status is RunStatus.RUNNING:
                state.status = RunStatus.INTERRUPTED
        if state.status is RunStatus.RUNNING:
            state.status = RunStatus.FINISHED
        return conclude(state, audited)
    except AuditStopped:
        state.status = RunStatus.INTERRUPTED
        return state.result()


def advance(state: State) -> None:
    """Do one step.

    Parameters
    ----------
    state : State
        Changed in place.
    """
    began = time.perf_counter()
    near = watch(state.problem, state.g, state.slopes, state.L)  # the guards that a step may meet
    plan = state.method.plan(near.problem, state.theta, near.of(state.g))  # a step of ℓ, and the norm it is measured in
    attempt = sample(state, near, plan)  # Ĝ, e: (E2), (E3)
    state.stationarity = stationarity(state, attempt)  # of the projected gradient
    probe(state, attempt)  # L along the step
    for _ in range(state.options.tries if state.stationarity > state.options.tolerance else 0):
        projection = project_step(state, attempt)  # (E5)
        trial, g_new = try_step(state, attempt, projection)  # verify: g(θ + Δ), L from (E4)
        state.history.append(trial)
        if trial.is_committed:
            commit(state, attempt, trial, g_new, projection)  # θ ← θ + Δ
            break
        next_try(state, attempt, trial, projection)
    finish_step(state, attempt)
    state.seconds += time.perf_counter() - began


def commit(state: State, attempt: Attempt, trial: Trial, g_new: np.ndarray, projection: Projection) -> None:
    """Commit a tried step: its parameters, and what is known of them, become the current ones.

    Parameters
    ----------
    state : State
    attempt : Attempt
    trial : Trial
    g_new : numpy.ndarray, shape (m,)
        Metrics at the tried parameters.
    projection : Projection
    """
    state.method.committed(math.sqrt(projection.delta @ projection.delta), attempt.fall / trial.predicted)
    state.theta, state.objective, state.margin, state.g = trial.theta, trial.objective, trial.margin, g_new
    region = attempt.region
    if len(region.D) < state.theta.size:  # gradients in parameter space, as far as the subspace knows them
        scaling = attempt.plan.scaling
        state.normals = scaling.to_gradients(scaling.to_scaled(region.G[projection.active] @ region.D))
    state.unaudited += 1
    state.stalled = -1  # finish_step counts this step
    if not trial.margin >= 0:  # certified mode only: the constants given were wrong
        state.status = RunStatus.SMOOTHNESS_TOO_SMALL


def next_try(state: State, attempt: Attempt, trial: Trial, projection: Projection) -> None:
    """Set up the next try after one that was not committed.

    Parameters
    ----------
    state : State
    attempt : Attempt
        Its step becomes the next one to project: the same after an unsafe try, since the region has shrunk, unless a
        metric that the region leaves out was to blame; else a shorter one.
    trial : Trial
    projection : Projection
    """
    verdict = VERDICTS[trial.verdict]
    if verdict is Verdict.UNSAFE:
        if attempt.worst not in attempt.region.rows:
            attempt.z = attempt.z * (float(np.linalg.norm(projection.delta)) / 2 / float(np.linalg.norm(attempt.z)))
        return
    length = float(np.linalg.norm(projection.delta)) if trial.predicted > 0 else 0.0
    attempt.z = state.method.shorten(attempt.region.D @ attempt.plan.gradient, attempt.z, length)


def finish_step(state: State, attempt: Attempt) -> None:
    """Count the step, keep what it showed of the smoothness constants, and stop where nothing more is to be had.

    Parameters
    ----------
    state : State
    attempt : Attempt
    """
    state.L[attempt.region.rows] = np.maximum(attempt.L, state.options.decay * attempt.remembered)
    state.step += 1
    state.stalled += 1
    state.method.finish(is_committed=state.stalled == 0)
    if state.status is RunStatus.RUNNING:
        state.end_where_nothing_is_left()
