"""The state of an adaptation run between steps: started, saved and resumed."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from scpo_ctrl.adaptation import kernels
from scpo_ctrl.adaptation.history import History
from scpo_ctrl.adaptation.newton import Newton
from scpo_ctrl.adaptation.options import CURVED, AdaptOptions
from scpo_ctrl.adaptation.proven_smoothness import certifiable
from scpo_ctrl.adaptation.result import Result, margin_of
from scpo_ctrl.adaptation.status import RunStatus
from scpo_ctrl.adaptation.steps import FirstOrder, Method
from scpo_ctrl.errors import DimensionError, DomainError, EvaluationError, RecordError, UnsafeStartError
from scpo_ctrl.problem.problem import Problem
from scpo_ctrl.sealed import as_instance

_MOST_NEWTON = 300  # parameters up to which "auto" takes Newton's method: its linear algebra grows with their cube


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
            stationarity=self.stationarity,
            state=self._saved(),
        )

    def _saved(self) -> dict[str, np.ndarray]:
        generator: Any = self.rng.bit_generator.state
        words = [generator["state"]["state"], generator["state"]["inc"], generator["has_uint32"], generator["uinteger"]]
        return {
            "L": self.L.copy(),
            "active": self.active,
            "normals": self.normals,
            "stalled": np.array(self.stalled),
            "stationarity": np.array(self.stationarity),
            "rng": np.array([str(word) for word in words]),
        } | {f"method_{name}": value for name, value in self.method.saved().items()}


def resolved(problem: Problem, options: AdaptOptions) -> AdaptOptions:
    """Return the options with "auto" replaced by the method that the problem allows.

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
        raise DomainError(
            f"directions is {options.directions}, expected at most the number of parameters, {problem.theta_dim}, or 0 "
            "for all"
        )
    if options.method == "auto":
        free = options.mode == "verified" and options.preconditioner is None and options.directions == 0
        newton = problem.is_closed_loop_cost and problem.theta_dim <= _MOST_NEWTON and free
        options = dataclasses.replace(options, method="newton" if newton else "gradient")
    if not problem.has_derivatives and (options.method == "newton" or options.gradients == "exact"):
        what = "method 'newton'" if options.method == "newton" else "gradients 'exact'"
        raise DomainError(
            f"{what} needs a problem with derivatives; a black-box simulator or an objective of the user's has none, "
            "use method 'gradient' and gradients 'sampled'"
        )
    if options.bounds_smoothness:
        certifiable(problem)
    return options


def start(problem: Problem, options: AdaptOptions) -> State:
    """Evaluate the safe start.

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
    DomainError
        If a method or a preconditioner does not suit the problem.
    """
    as_instance("problem", problem, Problem)
    as_instance("options", options, AdaptOptions)
    options, theta = resolved(problem, options), problem.theta_initial.copy()
    kernels.library()  # compiled here, so that no step waits for the compiler
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
    method = Newton.start(options, objective) if options.method in CURVED else FirstOrder.start(options, theta.size)
    state = State(
        problem=problem,
        options=options,
        theta=theta,
        objective=objective,
        margin=margin_of(problem.in_bounds_units(metrics)),
        g=metrics,
        L=np.zeros(0),
        method=method,
        rng=np.random.default_rng(options.seed),
        history=History(theta.size),
        objective_initial=objective,
        margin_initial=margin_of(problem.in_bounds_units(metrics)),
        active=np.zeros(0, dtype=np.int64),
        normals=np.zeros((0, theta.size)),
    )
    state.count_rollouts(1)
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
        If the saved state does not fit the problem, or the run began at other parameters.
    """
    as_instance("resume_from", result, Result)
    problem, saved = result.problem, result.state
    fresh = start(problem, options)
    try:
        if saved["L"].shape not in ((0,), fresh.g.shape) or saved["normals"].shape[1:] != fresh.theta.shape:
            raise DimensionError("its arrays have other sizes")
        fresh.theta = result.theta.copy()
        fresh.objective, fresh.g = problem.evaluate(fresh.theta)
        fresh.margin = margin_of(problem.in_bounds_units(fresh.g))
        fresh.L, fresh.active, fresh.normals = saved["L"].copy(), saved["active"], saved["normals"]
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
    except (KeyError, ValueError, TypeError) as error:
        raise RecordError(f"the saved state does not fit the problem: {error}; start anew without --resume") from error
    if not np.array_equal(result.theta_initial, problem.theta_initial):  # the record could not be verified any more
        raise RecordError(
            "the run began at other parameters than its problem gives now, as runs of an earlier version may; start "
            "anew without --resume"
        )
    fresh.history = History(fresh.theta.size, result.history.rows)
    fresh.step, fresh.rollouts, fresh.seconds = result.steps, result.rollouts, result.seconds
    if result.status in (RunStatus.CONVERGED, RunStatus.STALLED, RunStatus.SMOOTHNESS_TOO_SMALL):
        fresh.status = result.status
    return fresh


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
        raise UnsafeStartError(
            f"the safe start is unsafe: {problem.metric_label(worst)} is exceeded by {excess:.4g}; "
            f"{problem.remedy(worst)}"
        )
