"""The audit loop (E12): what a run commits is audited on scenarios it never saw, and goes on from what they leave.

A run works on S: the problem's scenarios, points at the edges of the declared set, and every counterexample that an
audit found. There metrics keep clear of zero by a back-off, as between points of S they may be a little larger. An
audit that finds something enlarges S, and the run goes on from the last commit that is safe on the larger S; those
behind it are withdrawn. docs/method.md derives it, docs/guarantees.md says what follows where an audit finds nothing.
"""

import dataclasses
import time
from collections.abc import Callable

import numpy as np

from scpo_ctrl.adaptation.guards import audit_row, audit_seed, check_start, fresh_scenarios
from scpo_ctrl.adaptation.history import VERDICTS, History
from scpo_ctrl.adaptation.options import MOST_GUARDS
from scpo_ctrl.adaptation.result import Result, in_parts
from scpo_ctrl.adaptation.state import CONCLUDED, FIRST_INTERVAL, State, go_on
from scpo_ctrl.adaptation.status import RunStatus, Verdict
from scpo_ctrl.assurance.audit import audit
from scpo_ctrl.problem.guarded import GuardedProblem

AuditMonitor = Callable[[int, int], bool]


class AuditStopped(Exception):  # noqa: N818 (nothing went wrong)
    """The run is to stop in the middle of an audit; its state is as it was before."""


def is_due(state: State) -> bool:
    """Return whether the committed policy is to be audited: after some commits, and where the run would end.

    Parameters
    ----------
    state : State

    Returns
    -------
    bool
    """
    ended = state.status in (RunStatus.CONVERGED, RunStatus.STALLED)
    return isinstance(state.problem, GuardedProblem) and (ended or state.unaudited >= state.interval)


def audit_commits(state: State, monitor: AuditMonitor | None = None, *, full: bool = False) -> bool:
    """Audit the committed policy, and where it fails go back to the last one that is safe on the larger S.

    Parameters
    ----------
    state : State
        Changed in place.
    monitor : callable, optional
        See `adapt`.
    full : bool
        Whether the audit may end the run; it may where the run has converged, or stalled.

    Returns
    -------
    bool
        Whether it passed.

    Raises
    ------
    AuditStopped
        If the monitor says so.
    """
    began, problem, options = time.perf_counter(), state.problem, state.options
    assert isinstance(problem, GuardedProblem)
    ends = full or state.status is not RunStatus.RUNNING
    number, policy = len(state.audits), last_commit(state.history)
    seed, halting = audit_seed(options.seed, number), _halting(monitor)
    for stage in (False, True) if ends else (False,):  # a full audit begins as one between, and ends if that fails
        count = fresh_scenarios(problem.problem, options, full=stage)
        found = audit(problem.problem, state.theta, rollouts=count, seed=seed, monitor=halting, progress=False)
        if not found.passed:
            break
    state.unaudited, back = 0, policy
    if found.passed:
        state.interval = min(2 * state.interval, options.audit_every)
    else:
        state.interval = min(max(state.interval // 2, FIRST_INTERVAL), options.audit_every)
        check_start(problem.problem, found, options)
        grown = problem.guards.and_then(found.counterexamples)
        problem = GuardedProblem(problem.problem, grown, options.back_off)
        known = problem.guards.count - found.counterexamples.count  # commits are clear of them
        if problem.guards.count > MOST_GUARDS and not full:
            problem = _without_idle_guards(problem, found.counterexamples.count, state.history, options.back_off)
            known, state.slopes = 0, np.zeros(0)  # and have other numbers
        back = _go_back(state, problem, known)
    row = audit_row(found, step=state.step, policy=policy, back=back, full=ends, guards=problem.guards.count)
    state.audits.append(row)
    state.seconds += time.perf_counter() - began
    return found.passed


def repeat_audit(state: State, earlier: Result, monitor: AuditMonitor | None = None) -> None:
    """Do the audit that an earlier part of the run was stopped in, before its next step.

    Parameters
    ----------
    state : State
        As it was resumed; changed in place.
    earlier : Result
    monitor : callable, optional
        See `adapt`.
    """
    if earlier.status is RunStatus.INTERRUPTED and is_due(state):
        audit_commits(state, monitor)


def last_commit(history: History) -> int:
    """Return the row of the last policy that is committed, -1 for the safe start.

    Parameters
    ----------
    history : History

    Returns
    -------
    int
    """
    return next((i for i in range(len(history) - 1, -1, -1) if history.rows[i].is_committed), -1)


def conclude(state: State, monitor: AuditMonitor | None = None) -> Result:
    """Return the result of a run that has done its steps: its last commit that passes a full audit.

    The state stays as it is, so that a run with more steps goes on from it to the same numbers as one that had more
    from the start.

    Parameters
    ----------
    state : State
    monitor : callable, optional
        See `adapt`.

    Returns
    -------
    Result

    Raises
    ------
    AuditStopped
        If the monitor says so.
    """
    before = state.result()
    if not isinstance(state.problem, GuardedProblem) or state.status is not RunStatus.FINISHED:
        return before
    end = dataclasses.replace(state, history=History(state.theta.size, state.history.rows), audits=list(state.audits))
    while not audit_commits(end, monitor, full=True):
        pass
    marks = {"guards": np.array(state.problem.guards.count), "audits": np.array(len(state.audits))}
    marks |= {name: state.history.column(name) for name in CONCLUDED}
    kept = before.state | {f"concluded_{name}": value for name, value in marks.items()}
    return dataclasses.replace(end.result(), status=state.status, stationarity=state.stationarity, state=kept)


def at_work(state: State) -> np.ndarray:
    """Return the parameters of the last policy that passed an audit and was not withdrawn since.

    Parameters
    ----------
    state : State

    Returns
    -------
    numpy.ndarray, shape (d,)
        The committed ones where nothing is audited.
    """
    rows = state.history.rows
    for row in reversed(state.audits):
        if row.passed and row.policy >= 0 and rows[row.policy].is_committed:
            return rows[row.policy].theta
    return state.problem.theta_initial if isinstance(state.problem, GuardedProblem) else state.theta


def _halting(monitor: AuditMonitor | None) -> Callable[[int, int], None] | None:
    """Return a monitor that raises where the user's says that the run is to stop."""
    if monitor is None:
        return None

    def halting(done: int, total: int) -> None:
        if monitor(done, total):
            raise AuditStopped

    return halting


def _go_back(state: State, problem: GuardedProblem, known: int) -> int:
    """Go on from the last commit that is clear of a larger S, and withdraw those behind it; return its row.

    The first guards are `known`: commits are safe there, and are not evaluated there again, except for the one to go on
    from. A commit from before a guard was found may be safe there and still not clear of it, as its back-off asks for.
    """
    rows, (part, metrics) = state.history.rows, problem.watching(np.arange(known, problem.guards.count))
    places = [-1, *(i for i, row in enumerate(rows) if row.is_committed)]
    thetas = np.vstack([problem.theta_initial, *(rows[i].theta for i in places[1:])])
    is_clear, margin, worst = np.zeros(len(places), dtype=bool), np.zeros(len(places)), np.zeros(len(places), dtype=int)
    for some in in_parts(len(places), metrics.size):
        g = part.metrics_kept_clear(thetas[some])
        is_clear[some] = (g <= 0).all(axis=1)
        found = part.in_bounds_units(g)
        worst[some], margin[some] = metrics[found.argmax(axis=1)], -found.max(axis=1)
    last = next(k for k in np.flatnonzero(is_clear)[::-1].tolist() if k == 0 or _is_clear(problem, thetas[k]))
    state.margin_initial = min(state.margin_initial, float(margin[0])) if known else float(margin[0])
    for k, i in enumerate(places[1:], start=1):
        if k > last or not margin[k] >= 0:
            rows[i] = dataclasses.replace(rows[i], verdict=VERDICTS.index(Verdict.WITHDRAWN))
        elif not known or margin[k] < rows[i].margin:
            rows[i] = dataclasses.replace(rows[i], margin=float(margin[k]), worst=int(worst[k]))
    go_on(state, problem, thetas[last])
    return places[last]


def _is_clear(problem: GuardedProblem, theta: np.ndarray) -> bool:
    """Return whether a policy is clear of all of S."""
    return bool((problem.metrics_kept_clear(theta[None]) <= 0).all())


def _without_idle_guards(problem: GuardedProblem, new: int, history: History, back_off: float) -> GuardedProblem:
    """Keep the new guards, and the old ones that policies came closest to: audits cover the others like all of Z."""
    rows = [row.theta for row in history.rows if VERDICTS[row.verdict] in (Verdict.COMMITTED, Verdict.WITHDRAWN)]
    thetas, guards = np.array(rows), problem.guards
    closest = np.full(guards.count, -np.inf)
    for part in in_parts(len(thetas), problem.varies.size):
        closest = np.maximum(closest, problem.closest(thetas[part]))
    old = guards.count - new
    best = np.argsort(-closest[:old], kind="stable")[: max(0, MOST_GUARDS - new)]
    kept = np.append(np.sort(best), np.arange(old, guards.count))
    return GuardedProblem(problem.problem, guards.part(kept), back_off)
