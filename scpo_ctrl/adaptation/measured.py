"""Measured states as scenarios: which are taken, and what became of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scpo_ctrl.assurance.mismatch import Errors, Mismatch
from scpo_ctrl.engine.simulator import Step, stepping
from scpo_ctrl.errors import EvaluationError, cause
from scpo_ctrl.loop.scenario import Scenarios
from scpo_ctrl.messages import shown
from scpo_ctrl.models import Plant
from scpo_ctrl.models.units import Units
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.shown import Entries, Shown, counted, few


@dataclass(frozen=True, repr=False)
class Learned(Shown):
    """What became of measured states that were to be scenarios.

    Attributes
    ----------
    taken : numpy.ndarray, shape (k, nx)
        Initial states of the new scenarios [x_units].
    left_out : numpy.ndarray, shape (j, nx)
        States on which the current policy breaks a metric.
    reasons : tuple of str, shape (j,)
        The metric that each of them breaks most.

    Examples
    --------
    After the example of `adapt`:

    >>> adapter = sc.Adapter(problem)
    >>> adapter.observe([2.0, 0.1], [-0.2], [2.009, 0.08])
    >>> learned = adapter.learn_scenarios(1)
    >>> learned.taken, len(learned.left_out)
    (array([[2. , 0.1]]), 0)
    """

    taken: np.ndarray
    left_out: np.ndarray
    reasons: tuple[str, ...]

    def _shown(self) -> tuple[str, Entries]:
        title = f"{counted(len(self.taken), 'state')} taken, {len(self.left_out)} left out"
        return title, few([("left out", f"breaks {reason}") for reason in self.reasons], "state")


@dataclass(frozen=True)
class Sample:
    """What was measured at a sample of a plant at work."""

    number: int  # counts from 1
    x: np.ndarray  # (nx,) state [x_units]
    u: np.ndarray  # (nu,) input that was applied [u_units]
    acted: bool  # whether it was the backup's in place of the policy's


@dataclass(frozen=True, repr=False)
class Samples(Shown):
    """The latest samples of a plant at work, in columns."""

    number: np.ndarray  # (T,) counts from 1
    x: np.ndarray  # (T, nx) states [x_units]
    u: np.ndarray  # (T, nu) inputs that were applied there [u_units]
    acted: np.ndarray  # (T,) whether it was the backup's in place of the policy's
    interventions: int  # samples of the whole run at which it was

    @classmethod
    def of(cls, samples: Sequence[Sample], plant: Plant, interventions: int) -> "Samples":
        """Put samples into columns.

        Parameters
        ----------
        samples : sequence of Sample
        plant : Plant
        interventions : int

        Returns
        -------
        Samples
        """
        return cls(
            number=np.array([sample.number for sample in samples], dtype=np.int64),
            x=np.array([sample.x for sample in samples]).reshape(-1, plant.nx),
            u=np.array([sample.u for sample in samples]).reshape(-1, plant.nu),
            acted=np.array([sample.acted for sample in samples], dtype=bool),
            interventions=interventions,
        )

    def _shown(self) -> tuple[str, Entries]:
        acted = f"{np.count_nonzero(self.acted)} of them, {self.interventions} of the whole run"
        return f"the latest {counted(len(self.number), 'sample')}", [("the backup acted at", acted)]


def farthest(states: np.ndarray, problem: ControlProblem, count: int) -> np.ndarray:
    """Return up to `count` states, each the farthest from the initial states and from those before it.

    Parameters
    ----------
    states : numpy.ndarray, shape (n, nx)
    problem : ControlProblem
    count : int

    Returns
    -------
    numpy.ndarray, shape (k, nx)
    """
    C = np.linalg.cholesky(problem.backup.P)
    points = states @ C
    chosen: list[int] = []
    nearest = np.full(len(states), np.inf)
    for centre in problem.scenarios.x0 @ C:
        nearest = np.minimum(nearest, np.linalg.norm(points - centre, axis=1))
    while len(chosen) < count and nearest.max() > 0:
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return states[chosen]


def from_states(batch: Scenarios, states: np.ndarray) -> Scenarios:
    """Return scenarios from these states, with parameters and disturbances of a batch in turn.

    Parameters
    ----------
    batch : Scenarios
    states : numpy.ndarray, shape (n, nx)

    Returns
    -------
    Scenarios
    """
    turn = np.arange(len(states)) % batch.count
    return Scenarios(states, batch.p[turn], batch.w[turn], batch.horizon)


class Predicted:
    """Measured transitions beside what the model predicts for them."""

    def __init__(self, problem: ControlProblem, resolution: float) -> None:
        plant, batch = problem.plant, problem.scenarios
        simulator = plant.function if problem.simulator is None else problem.simulator
        self._model: Step = stepping(simulator, plant)
        seen = np.unique(batch.p, axis=0) if plant.npar else batch.p[:1]
        self._parameters = np.vstack([plant.p_nominal, seen])  # nominal first, then those of the scenarios
        half_widths = np.abs(batch.w).max(axis=(0, 1)) if batch.w.shape[2] else np.zeros(plant.nx)
        self._errors = Errors(plant, Units.of(plant).x, half_widths, resolution)

    @property
    def count(self) -> int:
        """How many there are."""
        return self._errors.count

    def add(self, x: np.ndarray, u: np.ndarray, x_next: np.ndarray) -> None:
        """Count a transition; nothing has changed where the model fails."""
        predicted = self._predict(x, u)
        low, high = predicted[1:].min(axis=0), predicted[1:].max(axis=0)
        self._errors.add(u[None], x_next[None], predicted[:1], (low[None], high[None]))

    def summary(self) -> Mismatch:
        """Return the numbers so far."""
        return self._errors.summary()

    def _predict(self, x: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Next states of the model, a row for each of the parameters."""
        n = len(self._parameters)
        stacks = np.tile(x, (n, 1)), np.tile(u, (n, 1)), self._parameters.copy()
        try:
            predicted = np.array(self._model(*stacks), dtype=float)
        except Exception as error:
            raise EvaluationError(f"the model raised {cause(error)}") from error
        if predicted.shape != (n, x.size) or not np.isfinite(predicted).all():
            raise EvaluationError(
                f"the model has no finite next state at x = {shown(x)}, u = {shown(u)}; check the measurement"
            )
        return predicted
