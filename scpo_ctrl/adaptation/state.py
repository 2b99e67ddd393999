"""The state of an adaptation run between steps: started, saved and resumed."""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scpo_ctrl.adaptation import kernels
from scpo_ctrl.adaptation.gradients import chosen_gradients
from scpo_ctrl.adaptation.guards import guarded, is_audited
from scpo_ctrl.adaptation.history import AuditRow, History
from scpo_ctrl.adaptation.newton import DIRECTIONS, Newton
from scpo_ctrl.adaptation.options import CURVED, AdaptOptions
from scpo_ctrl.adaptation.proven_smoothness import certifiable
from scpo_ctrl.adaptation.result import Result, margin_of
from scpo_ctrl.adaptation.status import RunStatus
from scpo_ctrl.adaptation.steps import FirstOrder, Method
from scpo_ctrl.errors import DimensionError, DomainError, EvaluationError, RecordError, UnsafeStartError
from scpo_ctrl.loop.batch import Scenarios
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.problem.guarded import GuardedProblem
from scpo_ctrl.problem.problem import Problem
from scpo_ctrl.problem.remedy import broken_too
from scpo_ctrl.rounding import up
from scpo_ctrl.sealed import as_instance

CONCLUDED = ("verdict", "margin", "worst")  # columns of the history that the last audits change
FIRST_INTERVAL = 5  # commits before the first audit
_MOST_NEWTON = 300  # parameters up to which "auto" takes the whole Hessian: its linear algebra grows with their cube


@dataclass
class State:
    """Everything the loop remembers; all but the problem and the options is saved, and resumed to the same numbers."""

    problem: Problem
    options: AdaptOptions
    theta: np.ndarray  # (d,) committed parameters
    objective: float  # ℓ(θ)
    margin: float  # -max_i g_i(θ)
    g: np.ndarray  # (m,) metrics at θ, in `Problem.metric_units` as L is
    L: np.ndarray  # (m,) smoothness constants; empty before the first step, whose norm they are for
    slopes: np.ndarray  # (m,) ‖∇g‖ as it was last known; empty likewise
    method: Method
    rng: np.random.Generator
    history: History
    objective_initial: float
    margin_initial: float
    active: np.ndarray  # indices of the metrics active last
    normals: np.ndarray  # (k, d) their gradients, for directions
    status: RunStatus = RunStatus.RUNNING
    stationarity: float = np.inf  # of θ, relative to the objective
    step: int = 0  # steps done
    stalled: int = 0  # steps since the last commit
    rollouts: int = 0
    seconds: float = 0.0
    audits: list[AuditRow] = field(default_factory=list)
    unaudited: int = 0  # commits since the last audit
    interval: int = 0  # commits after which the next one is due
    reach: float = np.nan  # radius of the last step's region

    @property
    def given(self) -> Problem:
        """The problem as the user gave it, without guards."""
        return self.problem.problem if isinstance(self.problem, GuardedProblem) else self.problem

    def count_rollouts(self, thetas: int, problem: Problem | None = None) -> None:
        """Add the rollouts of some evaluations of the metrics.

        Parameters
        ----------
        thetas : int
            How many θ were evaluated.
        problem : Problem, optional
            On what part of the problem; all of it by default.
        """
        self.rollouts += thetas * (self.problem if problem is None else problem).rollouts_per_theta

    def end_where_nothing_is_left(self) -> None:
        """Take the status of a run that has converged, or stalled, where it has."""
        if self.stationarity <= self.options.tolerance:
            self.status = RunStatus.CONVERGED
        elif self.stalled >= self.options.patience:
            self.status = RunStatus.STALLED

    def result(self) -> Result:
        """Return the run so far as a result.

        Returns
        -------
        Result
        """
        return Result(
            problem=self.given,
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
            stationarity=self.stationarity,
            state=self._saved(),
            guards=self.problem.guards if isinstance(self.problem, GuardedProblem) else None,
            audits=tuple(self.audits),
        )

    def _saved(self) -> dict[str, np.ndarray]:
        generator: Any = self.rng.bit_generator.state
        words = [generator["state"]["state"], generator["state"]["inc"], generator["has_uint32"], generator["uinteger"]]
        return {
            "L": self.L.copy(),
            "slopes": self.slopes.copy(),
            "active": self.active,
            "normals": self.normals,
            "stalled": np.array(self.stalled),
            "stationarity": np.array(self.stationarity),
            "rng": np.array([str(word) for word in words]),
            "unaudited": np.array(self.unaudited),
            "interval": np.array(self.interval),
        } | {f"method_{name}": value for name, value in self.method.saved().items()}


def resolved(problem: Problem, options: AdaptOptions) -> AdaptOptions:
    """Return the options with "auto" replaced by the method and the gradients that suit the problem.

    Parameters
    ----------
    problem : Problem
    options : AdaptOptions

    Returns
    -------
    AdaptOptions

    Raises
    ------
    DomainError
        If a method or exact gradients are asked for that need derivatives which the problem does not have, certified
        smoothness constants for a problem that has no bound of them, or more directions than parameters.
    """
    if options.directions > problem.theta_dim:
        default = f"at most {DIRECTIONS}" if options.method == "newton_krylov" else "all"
        raise DomainError(
            f"directions is {options.directions}, expected at most the number of parameters, {problem.theta_dim}, or 0 "
            f"for {default}"
        )
    if options.method == "auto":
        free = options.mode == "verified" and options.preconditioner is None and options.directions == 0
        curved = "newton" if problem.theta_dim <= _MOST_NEWTON else "newton_krylov"
        options = dataclasses.replace(options, method=curved if problem.is_closed_loop_cost and free else "gradient")
    differentiated = options.method in ("newton", "newton_krylov")
    if not problem.has_derivatives and (differentiated or options.gradients == "exact"):
        what = f"method {options.method!r}" if differentiated else "gradients 'exact'"
        raise DomainError(
            f"{what} needs a problem with derivatives; a black-box simulator or an objective of the user's has none, "
            "use method 'gradient' and gradients 'sampled'"
        )
    if options.gradients == "auto":
        options = dataclasses.replace(options, gradients=chosen_gradients(problem, options))
    if options.bounds_smoothness:
        certifiable(problem)
    return options


def start(
    problem: Problem, options: AdaptOptions, guards: Scenarios | None = None, audits: Sequence[AuditRow] = ()
) -> State:
    """Evaluate the safe start, and audit it.

    Parameters
    ----------
    problem : Problem
    options : AdaptOptions
    guards : Scenarios, optional
        Those of an earlier part of the run, whose start was audited then.
    audits : sequence of AuditRow
        Likewise.

    Returns
    -------
    State

    Raises
    ------
    UnsafeStartError
        If a metric is positive, or not a number, at θ₀, or its audit fails.
    EvaluationError
        If the objective is not finite at θ₀.
    DomainError
        If a method or a preconditioner does not suit the problem.
    """
    as_instance("problem", problem, Problem)
    as_instance("options", options, AdaptOptions)
    began, options, theta = time.perf_counter(), resolved(problem, options), problem.theta_initial.copy()
    kernels.library()  # compiled here, so that no step waits for the compiler
    objective, metrics = problem.evaluate(theta)
    _check_safe(problem, metrics)
    if guards is not None and isinstance(problem, ControlProblem):
        problem = GuardedProblem(problem, guards, options.back_off)
    elif is_audited(problem, options) and isinstance(problem, ControlProblem):
        problem, first = guarded(problem, options)
        audits = (first,)
    if isinstance(problem, GuardedProblem):
        objective, metrics = problem.evaluate(theta)
        _check_safe(problem, metrics)
    fixed = problem.find_fixed(metrics)
    if fixed.size and options.mode == "certified":
        raise DomainError(
            f"{problem.metric_label(int(fixed[0]))} is zero at the safe start and around it: certified steps have no "
            "room beside it, and that it is constant is not certain; leave it out, or use mode 'verified'"
        )
    if not np.isfinite(objective):
        raise EvaluationError(f"the objective is {objective} at the safe start; check the objective")
    state = State(
        problem=problem,
        options=options,
        theta=theta,
        objective=objective,
        margin=margin_of(problem.in_bounds_units(metrics)),
        g=metrics,
        L=np.zeros(0),
        slopes=np.zeros(0),
        method=_method(options, objective, theta.size),
        rng=np.random.default_rng(options.seed),
        history=History(theta.size),
        objective_initial=objective,
        margin_initial=margin_of(problem.in_bounds_units(metrics)),
        active=np.zeros(0, dtype=np.int64),
        normals=np.zeros((0, theta.size)),
        audits=list(audits),
        interval=min(FIRST_INTERVAL, options.audit_every),
    )
    state.count_rollouts(1)
    state.seconds = time.perf_counter() - began
    return state


def _method(options: AdaptOptions, objective: float, theta_dim: int) -> Method:
    """Return the state of a method before its first step."""
    return Newton.start(options, objective) if options.method in CURVED else FirstOrder.start(options, theta_dim)


def go_on(state: State, problem: Problem, theta: np.ndarray) -> None:
    """Go on from another policy, on another problem: only how steep metrics are is still a good guess.

    Parameters
    ----------
    state : State
        Changed in place.
    problem : Problem
        Of the same parameters; its metrics are those of the former problem, then others.
    theta : numpy.ndarray, shape (d,)
        Safe there.
    """
    method = _method(state.options, state.objective_initial, theta.size)
    method.resumes(state.method)
    state.problem, state.theta, state.method = problem, theta.copy(), method
    state.objective, state.g = problem.evaluate(theta)
    state.margin = margin_of(problem.in_bounds_units(state.g))
    problem.find_fixed(problem.evaluate(problem.theta_initial)[1])
    if state.slopes.size:
        more = state.g.size - state.slopes.size
        state.slopes = np.append(state.slopes, np.full(more, np.inf))  # they may be met at once, for all that is known
    state.L, state.active, state.normals = np.zeros(0), np.zeros(0, dtype=np.int64), np.zeros((0, theta.size))
    state.status, state.stationarity, state.stalled = RunStatus.RUNNING, np.inf, 0


def resume(result: Result, options: AdaptOptions) -> State:
    """Rebuild the state from a saved result, to go on to the same numbers as an uninterrupted run.

    Parameters
    ----------
    result : Result
        With the problem that it was made from.
    options : AdaptOptions
        The options; only `steps` may differ from those of the result. Gradients that are "auto" stay as they were.

    Returns
    -------
    State

    Raises
    ------
    RecordError
        If the saved state does not fit the problem, or the run began at other parameters.
    """
    as_instance("resume_from", result, Result)
    problem, saved = result.problem, result.state
    history, audits, guards = unconcluded(result)
    if options.gradients == "auto":
        options = dataclasses.replace(options, gradients=result.options.gradients)
    fresh = start(problem, options, guards, audits)
    problem = fresh.problem
    try:
        if (
            not {saved["slopes"].shape, saved["L"].shape} <= {(0,), fresh.g.shape}
            or saved["normals"].shape[1:] != fresh.theta.shape
        ):
            raise DimensionError("its arrays have other sizes")
        fresh.theta = np.vstack([problem.theta_initial, history.column("theta")[history.column("committed")]])[-1]
        fresh.objective, fresh.g = problem.evaluate(fresh.theta)
        fresh.margin = margin_of(problem.in_bounds_units(fresh.g))
        fresh.L, fresh.slopes = saved["L"].copy(), saved["slopes"].copy()
        fresh.active, fresh.normals = saved["active"], saved["normals"]
        prefix = "method_"
        fresh.method.restore({k.removeprefix(prefix): v for k, v in saved.items() if k.startswith(prefix)})
        state, inc, has, word = (int(text) for text in saved["rng"])
        fresh.rng.bit_generator.state = {
            "bit_generator": "PCG64",
            "state": {"state": state, "inc": inc},
            "has_uint32": has,
            "uinteger": word,
        }
        fresh.stalled, fresh.stationarity = int(saved["stalled"]), float(saved["stationarity"])
        fresh.unaudited, fresh.interval = int(saved["unaudited"]), int(saved["interval"])
    except (KeyError, ValueError, TypeError) as error:
        raise RecordError(f"the saved state does not fit the problem: {error}; start anew without --resume") from error
    if not np.array_equal(result.theta_initial, problem.theta_initial):  # the record could not be verified any more
        raise RecordError(
            "the run began at other parameters than its problem gives now, as runs of an earlier version may; start "
            "anew without --resume"
        )
    fresh.history = history
    fresh.step, fresh.rollouts, fresh.seconds = result.steps, result.rollouts, result.seconds
    if result.status in (RunStatus.CONVERGED, RunStatus.STALLED, RunStatus.SMOOTHNESS_TOO_SMALL):
        fresh.status = result.status
    elif result.status is RunStatus.INTERRUPTED:  # perhaps in the audit after its last step
        fresh.end_where_nothing_is_left()
    return fresh


def unconcluded(result: Result) -> tuple[History, list[AuditRow], Scenarios | None]:
    """Return history, audits and guards of a run as they were before its last audits.

    Parameters
    ----------
    result : Result

    Returns
    -------
    history : History
    audits : list of AuditRow
    guards : Scenarios or None
    """
    history, audits, guards = History(result.theta.size, result.history.rows), list(result.audits), result.guards
    if guards is None or "concluded_audits" not in result.state:
        return history, audits, guards
    columns = [result.state[f"concluded_{name}"].tolist() for name in CONCLUDED]
    history.rows = [
        dataclasses.replace(row, **dict(zip(CONCLUDED, values, strict=True)))
        for row, *values in zip(history.rows, *columns, strict=True)
    ]
    first = slice(0, int(result.state["concluded_guards"]))
    return history, audits[: int(result.state["concluded_audits"])], guards.part(first)


def _check_safe(problem: Problem, metrics: np.ndarray) -> None:
    margin = margin_of(metrics)
    if not margin >= 0:
        worst = int(np.argmax(np.nan_to_num(metrics, nan=np.inf)))
        if not np.isfinite(metrics[worst]):
            raise UnsafeStartError(
                f"the safe start is unsafe: {problem.metric_label(worst)} is {metrics[worst]:g}, not a finite number; "
                "check the model, or what the black box returns there"
            )
        excess = problem.in_bounds_units(metrics)[worst]
        others = broken_too(problem, metrics, worst) if isinstance(problem, ControlProblem) else ""
        raise UnsafeStartError(
            f"the safe start is unsafe: {problem.metric_label(worst)} is exceeded by {up(excess, 4)}{others}; "
            f"{problem.remedy(worst)}"
        )
