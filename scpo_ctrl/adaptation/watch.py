"""Which guards a step plans with: those that it could make active soonest. Every try is verified on all of S (E12)."""

from dataclasses import dataclass

import numpy as np

from scpo_ctrl.problem.guarded import GuardedProblem
from scpo_ctrl.problem.problem import Problem

_LEAST = 32  # guards that are always watched, where there are so many


@dataclass(frozen=True)
class Watch:
    """The part of a problem that a step is planned with."""

    problem: Problem
    metrics: np.ndarray | None = None  # which of the whole problem's metrics it has; None for all

    def of(self, values: np.ndarray) -> np.ndarray:
        """Return what of numbers, one for each metric of the whole problem, belongs to this part.

        Parameters
        ----------
        values : numpy.ndarray, shape (m,)

        Returns
        -------
        numpy.ndarray
        """
        return values if self.metrics is None else values[self.metrics]

    def put(self, values: np.ndarray, into: np.ndarray) -> np.ndarray:
        """Return numbers for all metrics of the whole problem: those given for this part's, others as they were.

        Parameters
        ----------
        values : numpy.ndarray
            For the metrics of this part.
        into : numpy.ndarray, shape (m,)
            For all of them; changed in place.

        Returns
        -------
        numpy.ndarray, shape (m,)
        """
        if self.metrics is None:
            return values
        into[self.metrics] = values
        return into

    def whole(self, rows: np.ndarray) -> np.ndarray:
        """Return the numbers that some metrics of this part have in the whole problem.

        Parameters
        ----------
        rows : numpy.ndarray of int

        Returns
        -------
        numpy.ndarray of int
        """
        return rows if self.metrics is None else self.metrics[rows]


def watch(problem: Problem, g: np.ndarray, slopes: np.ndarray, L: np.ndarray) -> Watch:
    """Choose as many guards as the problem has scenarios, and at least 32, so that a step costs no more as S grows.

    They are those with the shortest way to a bound: a step of length t moves a metric by at most ‖∇g‖ t + L t²/2, as
    far as both are known. A try that breaks another one raises its L, which brings it in at the next step.

    Parameters
    ----------
    problem : Problem
    g : numpy.ndarray, shape (m,)
        Metrics at θ, not positive.
    slopes : numpy.ndarray, shape (m,)
        ‖∇g‖ when it was last known; empty where nothing is known yet.
    L : numpy.ndarray, shape (m,)
        Smoothness constants; empty likewise, and after going back.

    Returns
    -------
    Watch
        The whole problem where it has no more guards than that, or nothing is known.
    """
    if not (isinstance(problem, GuardedProblem) and slopes.size):
        return Watch(problem)
    most = max(_LEAST, problem.problem.scenarios.count)
    if problem.guards.count <= most:
        return Watch(problem)
    L = L if L.size else np.zeros(g.size)
    way, slope, bend, moves = (problem.of_guards(values) for values in (-g, slopes, L, problem.moves))
    with np.errstate(divide="ignore", invalid="ignore"):  # the root of -g = ‖∇g‖ t + L t²/2
        length = 2 * way / (slope + np.sqrt(slope**2 + 2 * bend * way))
    nearest = np.where(moves & ~np.isnan(length), length, np.inf).min(axis=1)
    return Watch(*problem.watching(np.sort(np.argsort(nearest, kind="stable")[:most])))
