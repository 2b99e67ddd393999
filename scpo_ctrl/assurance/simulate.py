"""An adaptation that goes on on a plant that differs from its model: what would be measured there."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from scpo_ctrl.assurance.certificate import STREAM
from scpo_ctrl.assurance.digests import problem_digest, theta_digest
from scpo_ctrl.assurance.fresh import closeness, declared_set, rows_of
from scpo_ctrl.assurance.prediction import Prediction
from scpo_ctrl.assurance.simulation import SimulatedPolicy, Simulation
from scpo_ctrl.assurance.true_plant import true_plant
from scpo_ctrl.choices import EPISODES, MOST_EPISODES, MOST_SEED
from scpo_ctrl.engine.rollout import Step
from scpo_ctrl.errors import ClassError, DomainError
from scpo_ctrl.loop.batch import Scenarios
from scpo_ctrl.loop.declared import DeclaredSet
from scpo_ctrl.messages import shown
from scpo_ctrl.models import Plant
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.problem.parts import ROUNDING
from scpo_ctrl.progress import following
from scpo_ctrl.sealed import Sealed
from scpo_ctrl.validate import as_count, as_function

if TYPE_CHECKING:
    from scpo_ctrl.adaptation.history import Trial
    from scpo_ctrl.adaptation.result import Result

_STREAM = 2 * STREAM  # added to the seed: keys of Philox that no run, no audit and no certificate ever uses
_NUMBERS = 1 << 22  # at most so many at once in an array


def simulate(
    result: "Result",
    plant: Plant | Step | None = None,
    parameters: Mapping[str, float] | None = None,
    episodes: int = EPISODES,
    seed: int = 0,
    *,
    monitor: Callable[[int, int], object] | None = None,
    progress: bool | None = None,
) -> Simulation:
    """Simulate every policy of a run that would be at work, one after the other, on a plant other than its model.

    The steps of an adaptation do not depend on what is measured, so the policies at work are known: the safe start,
    then each that passed its audit, or each committed one where no audits were made. All of them get the same fresh
    scenarios of the declared set, with the true plant in the model's place. Bounds, sensors, metrics and objective
    stay the model's.

    Parameters
    ----------
    result : Result
        Of a problem with a plant and a declared set.
    plant : Plant or callable, optional
        The true plant, of as many states and inputs, the same sampling time and the same bounds of its inputs. Of its
        parameters those with the label of one of the model's have the values of the scenarios, others are nominal.
        Or a black box ``(x, u, p) -> x_next`` of stacks, as `ControlProblem` takes it.
    parameters : mapping of str to float, optional
        Values by label, of the model's parameters or of the true plant's [p_units], in place of what scenarios draw;
        also outside the declared ranges.
    episodes : int
        Scenarios for each policy.
    seed : int
        Of the scenarios, below 2**53. They are never those of a run, an audit or a certificate.
    monitor : callable, optional
        Called with the number of rollouts done and that of all; what it raises ends the simulation.
    progress : bool, optional
        Show a line on stderr that follows it, as `adapt` does.

    Returns
    -------
    Simulation

    Raises
    ------
    ClassError, DomainError, DimensionError
        If the result has no plant or no declared set, or plant or parameters do not fit the model.
    EvaluationError
        If a black box fails.

    Examples
    --------
    After the example of `adapt`:

    >>> found = sc.simulate(result, parameters={"mass": 1.1}, episodes=50)
    >>> found.passed, found.policies[-1].violations
    (True, 0)
    """
    problem = _problem(result)
    declared = declared_set(problem)
    episodes = as_count("episodes", episodes, at_least=1, at_most=MOST_EPISODES)
    seed = as_count("seed", seed, at_most=MOST_SEED)
    if monitor is not None:
        as_function("monitor", monitor)
    truth = true_plant(problem, plant, parameters)
    trials = policies_at_work(result)
    thetas = [result.theta_initial, *(trial.theta for trial in trials if trial is not None)]
    prediction, tallies = Prediction(problem), [(_Tally(), _Tally()) for _ in thetas]
    done, total = 0, 2 * episodes * len(thetas)
    with following("simulate", "rollouts", progress, monitor) as follow:
        for part in _parts(episodes, problem, declared):
            drawn = declared.random(part.start, part.stop - part.start, _STREAM + seed)
            true = truth.scenarios(drawn)
            for (on_true, on_model), theta in zip(tallies, thetas, strict=True):
                on_true.add(truth.problem, theta, true)
                on_model.add(problem, theta, drawn)
                prediction.compare(drawn, *truth.problem.trajectories(theta, true))
                done += 2 * drawn.count
                follow(done, total)
    plant_itself, final = prediction.plant, theta_digest(result.theta)
    return Simulation(
        true_plant=truth.words,
        policies=tuple(
            _row(problem, both, trial, theta, final) for both, trial, theta in zip(tallies, trials, thetas, strict=True)
        ),
        mismatch=prediction.errors.summary(),
        x_labels=plant_itself.x_labels,
        x_units=plant_itself.x_units,
        parameters=dict(truth.values),
        audited=result.guards is not None,
        distribution=declared.distribution,
        episodes=episodes,
        seed=seed,
        theta_digest=final,
        problem_digest=problem_digest(problem),
    )


def episodes_again(
    result: "Result",
    plant: Plant | Step | None,
    parameters: Mapping[str, float] | None,
    seed: int,
    numbers: Sequence[int],
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return trajectories of the first and the last policy of a simulation, in some of its episodes.

    Parameters
    ----------
    result : Result
    plant, parameters, seed
        As of `simulate`.
    numbers : sequence of int
        Of the episodes.

    Returns
    -------
    list of tuple
        X, shape (k, N + 1, nx), and commands before saturation U, shape (k, N, nu), of either.
    """
    problem = _problem(result)
    declared, truth = declared_set(problem), true_plant(problem, plant, parameters)
    batch = declared.random(numbers[0], 1, _STREAM + seed)
    for number in numbers[1:]:
        batch = batch.and_then(declared.random(number, 1, _STREAM + seed))
    last = policies_at_work(result)[-1]
    thetas = result.theta_initial, result.theta_initial if last is None else last.theta
    return [truth.problem.trajectories(theta, truth.scenarios(batch)) for theta in thetas]


def policies_at_work(result: "Result") -> "list[Trial | None]":
    """Return the policies that would be at work one after the other, as `Adapter` has them at work.

    Parameters
    ----------
    result : Result

    Returns
    -------
    list of Trial or None
        None for the safe start, which is first. Of a policy that is at work twice, as the one before it was withdrawn,
        only the first time.
    """
    rows = result.history.rows
    if result.guards is None:
        return [None, *(row for row in rows if row.is_committed)]
    passed = dict.fromkeys(audit.policy for audit in result.audits if audit.passed and audit.policy >= 0)
    return [None, *(rows[i] for i in passed)]


class _Tally:
    """Running numbers of one policy on one plant."""

    def __init__(self) -> None:
        self.episodes = self.violations = self.command_alone = self.row = 0
        self.worst, self.value, self.episode, self._total = -np.inf, -np.inf, 0, 0.0

    def add(self, problem: ControlProblem, theta: np.ndarray, batch: Scenarios) -> None:
        """Roll out the policy over scenarios, and count."""
        objective, values = rows_of(problem, theta, batch)
        values = problem.fresh.that_count(values)
        with np.errstate(invalid="ignore"):
            close = np.nan_to_num(closeness(problem, batch, values), nan=np.inf, posinf=np.inf, neginf=-np.inf)
        which, row = np.unravel_index(close.argmax(), close.shape)
        if not self.episodes or close[which, row] > self.worst:
            self.worst, self.value = float(close[which, row]), float(values[which, row])
            self.episode, self.row = self.episodes + int(which), int(row)
        self.episodes += batch.count
        broken = values > ROUNDING
        others = broken[:, [row.kind != "command" for row in problem.fresh.rows]].any(axis=1)
        self.violations += int(broken.any(axis=1).sum())
        self.command_alone += int((broken.any(axis=1) & ~others).sum())
        self._total += objective * batch.count

    @property
    def objective(self) -> float:
        """Mean over the episodes."""
        return self._total / self.episodes


def _row(
    problem: ControlProblem, tallies: tuple[_Tally, _Tally], trial: "Trial | None", theta: np.ndarray, final: str
) -> SimulatedPolicy:
    """Return what was found of a policy, on the true plant and on the model."""
    (true, model), digest = tallies, theta_digest(theta)
    kind, gamma = problem.fresh.rows[true.row], problem.scenario_metrics.options.contraction
    excess, unit = true.value * float(problem.fresh.units[true.row]), kind.unit
    if kind.kind == "contraction" and gamma:  # V itself tells nobody much
        excess, unit = true.worst / gamma, "of its limit"
    return SimulatedPolicy(
        step=0 if trial is None else trial.step + 1,
        is_final=digest == final,
        withdrawn=trial is not None and not trial.is_committed,
        episodes=true.episodes,
        violations=true.violations,
        command_alone=true.command_alone,
        violations_on_model=model.violations,
        worst=true.worst,
        metric=kind.in_words,
        kind=kind.kind,
        excess=excess,
        unit=unit,
        objective=true.objective,
        objective_on_model=model.objective,
        worst_episode=true.episode,
        theta_digest=digest,
    )


def _problem(result: "Result") -> ControlProblem:
    if not isinstance(result, Sealed) or not hasattr(result, "history"):
        raise ClassError(f"result is {shown(result)}, expected a Result, as `adapt` returns it")
    problem = result.problem
    if not isinstance(problem, ControlProblem):
        raise DomainError(f"a {type(problem).__name__} has no plant, so no other one can take its place")
    return problem


def _parts(episodes: int, problem: ControlProblem, declared: DeclaredSet) -> Iterator[slice]:
    """Yield parts of the episodes whose trajectories fit into memory."""
    plant = problem.plant
    numbers = declared.columns + len(problem.fresh.rows) + (declared.horizon + 1) * (plant.nx + plant.nu + plant.npar)
    size = max(1, _NUMBERS // numbers)
    for start in range(0, episodes, size):
        yield slice(start, min(start + size, episodes))
