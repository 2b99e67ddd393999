"""Measured states as scenarios: which are taken, and what became of them."""

from dataclasses import dataclass

import numpy as np

from scpo_ctrl.loop.scenario import Scenarios
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
    for center in problem.scenarios.x0 @ C:
        nearest = np.minimum(nearest, np.linalg.norm(points - center, axis=1))
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
