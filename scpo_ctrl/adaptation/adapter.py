"""Online use: the loop of `adapt` one step at a time, inside the user's control loop or simulation."""

import copy
import dataclasses
from collections import deque

import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.adaptation.adapt import advance
from scpo_ctrl.adaptation.audited import at_work, audit_commits, conclude, is_due, repeat_audit
from scpo_ctrl.adaptation.blas import one_thread
from scpo_ctrl.adaptation.history import History, Trial
from scpo_ctrl.adaptation.measured import Learned, Predicted, Sample, Samples, farthest, from_states
from scpo_ctrl.adaptation.options import AdaptOptions
from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.adaptation.state import State, resume, start
from scpo_ctrl.adaptation.status import RunStatus
from scpo_ctrl.assurance.mismatch import ROUNDING, Mismatch
from scpo_ctrl.choices import WITHIN
from scpo_ctrl.errors import DomainError, EvaluationError, RecordError, UnsafeStartError
from scpo_ctrl.invariance.guard import Liveness
from scpo_ctrl.loop.controlled import residual_policy
from scpo_ctrl.loop.scenario import Scenarios
from scpo_ctrl.messages import shown
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.proof.guarded import guard
from scpo_ctrl.rounding import down
from scpo_ctrl.sealed import AtWork, as_instance
from scpo_ctrl.shown import Entries, Shown, counted
from scpo_ctrl.validate import as_array, as_choice, as_count, as_flag, as_scalar

CHOICES = ("farthest", "latest")
_MEMORY = 1000  # measured states kept, the latest ones
_AGREEMENT = 1e-9  # of the margins of a record and of the problem it is resumed with, likewise


class Adapter(
    AtWork, Shown, rather="hand over its result(), from which another goes on: Adapter(…, resume_from=result)"
):
    """A policy at work that is adapted between its samples.

    `command` gives the input of the committed policy, `observe` takes what the plant made of it, and `step` does one
    step of the loop of `adapt`, to the same bits. The policy changes only by a step that was verified on the model in
    all scenarios, in one assignment: a call that fails leaves everything as it was.

    Parameters
    ----------
    problem : ControlProblem
        With the policy, its plant and a safe start.
    options : AdaptOptions, optional
        Defaults where None; `steps` bounds the steps of a run here too.
    every : int, optional
        `observe` triggers a step after every so many transitions; None leaves the steps to the caller.
    resume_from : Result, optional
        An earlier run of the same problem to go on from; of its options only `steps` may differ.
    guarded : bool
        Whether `command` gives the backup's input where that of the policy may leave the backup's proved set (E9).
    within : str
        Which set: "level" or "polytope", see `scpo_ctrl.proof.guarded.guard`.
    lookahead : int
        Under the guard, steps in which the backup is to bring a next state into its level set, likewise.
    liveness : int, optional
        Under the guard, samples within which V is to halve, or else the backup takes over until it has.
    resolution : float
        Of what is measured, relative: smaller errors of the model count as rounding.

    Raises
    ------
    DomainError
        If the problem has no policy, the options leave out the verification, or the backup's set is not proved.
    RecordError
        If the earlier run is one of another problem.
    UnsafeStartError
        If the safe start, or the policy to go on from, is unsafe.

    Examples
    --------
    After the example of `adapt`:

    >>> adapter = sc.Adapter(problem, sc.AdaptOptions(steps=5, audit_rollouts=1000))
    >>> adapter.command([1.0, 0.0])
    array([-0.09773481])
    >>> adapter.observe([1.0, 0.0], [-0.1], [0.9995, -0.01])  # measured
    >>> adapter.step().is_committed
    True
    """

    def __init__(
        self,
        problem: ControlProblem,
        options: AdaptOptions | None = None,
        *,
        every: int | None = None,
        resume_from: Result | None = None,
        guarded: bool = False,
        within: str = WITHIN[0],
        lookahead: int = 0,
        liveness: int | None = None,
        resolution: float = ROUNDING,
    ) -> None:
        options = AdaptOptions() if options is None else options
        as_instance("options", options, AdaptOptions)
        if not isinstance(problem, ControlProblem):
            raise DomainError(f"Adapter needs a ControlProblem, whose policy it runs; {shown(problem)} has none")
        self._policy = residual_policy(problem.policy, "Adapter")
        if problem.plant.signals:
            raise DomainError("Adapter measures a plant whose signals it does not know; give a problem without signals")
        if options.mode != "verified":
            raise DomainError(f"mode is {options.mode!r}; a policy at work needs verified steps, use mode 'verified'")
        if not as_flag("guarded", guarded):
            for name, value, left_out in (
                ("liveness", liveness, None), ("within", within, WITHIN[0]), ("lookahead", lookahead, 0),
            ):  # fmt: skip
                if value != left_out:
                    raise DomainError(f"{name} is of the guard; give guarded=True too")
        self.guard = guard(problem, within, lookahead) if guarded else None
        self.liveness = Liveness(self.guard, liveness) if self.guard and liveness is not None else None
        self.interventions = 0  # samples at which the backup was applied in place of the policy
        self.every = None if every is None else as_count("every", every, at_least=1)
        self._take(start(problem, options) if resume_from is None else _resumed(problem, options, resume_from))
        problem.rollouts.prepare()  # a step between two samples has no time for a compiler
        self._measured = Predicted(problem, as_scalar("resolution", resolution, at_least=0.0))
        self._samples: deque[Sample] = deque(maxlen=_MEMORY)
        self._acted = False  # whether the last command was the backup's

    @property
    def problem(self) -> ControlProblem:
        """The problem of the current run; another one after `learn_scenarios`."""
        given = self._state.given
        assert isinstance(given, ControlProblem)
        return given

    @property
    def theta(self) -> np.ndarray:
        """The parameters at work, a copy, shape (d,): committed, and audited where audits are made."""
        return self._at_work.copy()

    @property
    def status(self) -> RunStatus:
        """RUNNING as long as `step` has something to do."""
        return self._state.status

    def command(self, x: ArrayLike) -> np.ndarray:
        """Return the input of the policy at work, cut to its bounds.

        Parameters
        ----------
        x : array_like, shape (nx,)
            Measured state [x_units].

        Returns
        -------
        numpy.ndarray, shape (nu,)
            [u_units]

        Raises
        ------
        DimensionError, DomainError
            If x has another shape, or is not finite.
        EvaluationError
            If x is so large that the policy overflows.
        """
        plant = self.problem.plant
        x = as_array("x", x, (plant.nx,))
        with np.errstate(over="ignore", invalid="ignore"):
            u = self._policy.commands(x[None, None], self._at_work[None])[0, 0]
        if np.isnan(u).any():
            raise EvaluationError(f"the command at x = {shown(x)} is not a number; check the measurement")
        u = np.clip(u, plant.u_min, plant.u_max)
        if self.guard is None:
            return u
        handed_over = self.liveness is not None and self.liveness.handed_over(x)
        u, acted = self.guard.apply(x, np.full_like(u, np.nan) if handed_over else u)
        self._acted = bool(acted)
        self.interventions += int(acted)
        return u

    def observe(self, x: ArrayLike, u: ArrayLike, x_next: ArrayLike, *, acted: bool | None = None) -> Trial | None:
        """Take in one transition that was measured on the plant.

        Parameters
        ----------
        x : array_like, shape (nx,)
            State at a sample [x_units].
        u : array_like, shape (nu,)
            Input that was applied there [u_units].
        x_next : array_like, shape (nx,)
            State at the next sample [x_units].
        acted : bool, optional
            Whether a guard elsewhere, such as a device's, applied the backup's input there; None where `command` did.

        Returns
        -------
        Trial or None
            Of the step that it triggered, see `step`.

        Raises
        ------
        DimensionError, DomainError
            If a shape differs or a number is not finite; the transition does not count.
        EvaluationError
            If the model's prediction is not finite (the transition does not count), or the step fails (it does).
        """
        plant = self.problem.plant
        x = as_array("x", x, (plant.nx,))
        u = as_array("u", u, (plant.nu,))
        self._measured.add(x, u, as_array("x_next", x_next, (plant.nx,)))
        self.interventions += bool(acted)
        self._samples.append(Sample(self._measured.count, x, u, self._acted if acted is None else bool(acted)))
        self._acted = False
        return self.step() if self.every and self._measured.count % self.every == 0 else None

    def step(self) -> Trial | None:
        """Do one step of the loop of `adapt`.

        Returns
        -------
        Trial or None
            The last try of the step, committed or not; None where nothing was tried, or the run has ended (`status`).

        Raises
        ------
        EvaluationError
            If the objective or a black box fails; policy and run are as before.
        """
        if self._state.status is not RunStatus.RUNNING:
            return None
        state = _copied(self._state)
        with one_thread():
            advance(state)
            if is_due(state):
                audit_commits(state)
        before = self._state
        self._take(state)
        return state.history.rows[-1] if len(state.history) > len(before.history) else None

    def result(self) -> Result:
        """Return the run so far, to be saved, or to go on from.

        Returns
        -------
        Result
        """
        return self._state.result() if self._ended is None else self._ended

    def samples(self) -> Samples:
        """Return the last 1000 transitions that were measured, for `save_result`.

        Returns
        -------
        Samples
        """
        return Samples.of(list(self._samples), self.problem.plant, self.interventions)

    def mismatch(self) -> Mismatch:
        """Return how far the measured transitions are from the model.

        Returns
        -------
        Mismatch
        """
        return self._measured.summary()

    def learn_scenarios(self, count: int, *, choice: str = "farthest") -> Learned:
        """Add measured states to the scenarios, where the current policy is safe from them.

        A new run begins at the current policy, which is safe on all of its scenarios: history, smoothness constants
        and `steps` start anew, and `result` is of the new run. The new scenarios take plant parameters and disturbances
        from the present ones in turn. Where no state is taken, nothing changes.

        Parameters
        ----------
        count : int
            How many of the last 1000 measured states to look at.
        choice : str
            "farthest": one by one the state that is farthest, in the norm of V, from all initial states;
            "latest": the last ones.

        Returns
        -------
        Learned

        Raises
        ------
        DomainError
            If the choice is unknown, or no transition was measured yet.
        """
        count = as_count("count", count, at_least=1)
        as_choice("choice", choice, CHOICES)
        if not self._samples:
            raise DomainError("no transition was measured yet; call observe before learn_scenarios")
        problem, theta = self.problem, self._at_work
        states = self.samples().x  # another thread may observe
        states = states[-count:] if choice == "latest" else farthest(states, problem, count)
        if not len(states):  # all of them are initial states already
            return Learned(states, states, ())
        batch = from_states(problem.scenarios, states)
        there = problem.with_scenarios(batch, theta)
        metrics = there.metrics(theta)[there.of_scenarios].reshape(len(states), -1)
        safe = np.asarray((metrics <= 0).all(axis=1))
        worst = np.nan_to_num(metrics, nan=np.inf).argmax(axis=1)[~safe]
        rows = problem.scenario_metrics.rows
        learned = Learned(states[safe], states[~safe], tuple(f"t = {rows[i].time}: {rows[i].label}" for i in worst))
        if safe.any():
            taken = Scenarios(batch.x0[safe], batch.p[safe], batch.w[safe], batch.horizon)
            grown = problem.with_scenarios(problem.scenarios.and_then(taken), theta)
            result, options = self._state.result(), self._state.options
            audits = [row for row in result.audits if row.passed][-1:]  # of the policy at work, as a start's
            count = 0 if result.guards is None else result.guards.count
            audits = [dataclasses.replace(row, step=0, policy=-1, back=-1, guards=count) for row in audits]
            self._take(start(grown, options, result.guards, audits))
        return learned

    def _take(self, state: State) -> None:
        """Go on from a state; its run is finished where all steps are done, and concluded as `adapt` does."""
        if state.status is RunStatus.RUNNING and state.step >= state.options.steps:
            state.status = RunStatus.FINISHED
        ended = None
        if state.status is not RunStatus.RUNNING:
            with one_thread():
                ended = conclude(state)
        self._state, self._ended = state, ended
        self._at_work = at_work(state) if ended is None else ended.theta

    def _shown(self) -> tuple[str, Entries]:
        state, scenarios = self._state, counted(self.problem.scenarios.count, "scenario")
        commits = int(np.count_nonzero(state.history.column("committed")))
        rows = [
            ("plant", self.problem.plant.name),
            ("steps", f"{state.step}, {counted(commits, 'commit')}, safe on its {scenarios}"),
            ("measured", counted(self._measured.count, "transition")),
            ("guard", "none" if self.guard is None else f"acted in {counted(self.interventions, 'sample')}"),
        ]
        return self.status.name.lower(), rows


def _resumed(problem: ControlProblem, options: AdaptOptions, earlier: Result) -> State:
    """Return the state of an earlier run, whose last policy must be as safe on the problem as the record says."""
    as_instance("resume_from", earlier, Result)
    state = resume(dataclasses.replace(earlier, problem=problem), options)
    margins = state.history.column("margin")[state.history.column("committed")]  # before its last audits
    recorded = float(np.append(earlier.margin_initial, margins)[-1])
    adapted = state.problem  # with its guards, where it has any
    unit = float(adapted.metric_units[np.argmax(adapted.in_bounds_units(state.g))])  # of the metric with the margin
    if not abs(state.margin - recorded) <= _AGREEMENT * max(unit, abs(recorded)):
        raise RecordError(
            f"resume_from is a run of another problem: the margin of its policy is {down(recorded, 6)} there and "
            f"{down(state.margin, 6)} here; give the problem that it was made from"
        )
    if not state.margin >= 0:
        raise UnsafeStartError(f"the policy to go on from is unsafe, its margin is {down(state.margin, 4)}; start anew")
    with one_thread():
        repeat_audit(state, earlier)
    return state


def _copied(state: State) -> State:
    """Return a copy that a step can change; arrays that steps only replace are shared."""
    return dataclasses.replace(
        state,
        L=state.L.copy(),
        slopes=state.slopes.copy(),
        method=copy.copy(state.method),
        rng=copy.deepcopy(state.rng),
        history=History(state.theta.size, state.history.rows),
        audits=list(state.audits),
    )
