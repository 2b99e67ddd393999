"""What a method may ask of a problem, counted in rollouts and ended by the budget; and what came of it, judged anew.

A method is a generator: it asks an `Oracle` for metrics and gradients and yields every policy it deploys, except the
safe start. It knows nothing of the budget: the oracle ends it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from scpo_ctrl import AdaptOptions, Problem
from scpo_ctrl.errors import EvaluationError

SAMPLING_RADIUS = AdaptOptions().sampling_radius  # the same for every method that samples
ROUNDING = AdaptOptions().metric_error  # a metric below it is not called a violation
_CHUNK = 256  # policies judged at once; bounds memory
_PROBES = 8  # directions of the curvature estimate
_PROBE_RADIUS = 0.3  # as in the package's own first estimate

Method = Callable[..., Iterator[np.ndarray]]


class RunOverError(Exception):
    """The oracle answers no more: the budget is spent, or a number is not finite."""


class Oracle:
    """Metrics that vary, their gradients and the objective's, with every rollout counted.

    Metrics cost rollouts: ``problem.rollouts_per_theta`` for each θ. The objectives of R1 and R2 are errors on data, so
    they and their gradients cost none. A Jacobian of the metrics costs d evaluations, whichever way it is made:
    sampling takes d samples, and so many tangents does forward differentiation carry along.

    Parameters
    ----------
    problem : Problem
    budget : int
        Rollouts that may be used, > 0.
    seed : int
        Of whatever a method draws.
    """

    def __init__(self, problem: Problem, budget: int, seed: int = 0) -> None:
        self.problem, self.budget, self.seed, self.used = problem, budget, seed, 0

    def spend(self, thetas: int) -> None:
        """Count evaluations of the metrics.

        Parameters
        ----------
        thetas : int
            How many θ are rolled out.

        Raises
        ------
        RunOverError
            If the budget does not allow them; nothing is counted then.
        """
        rollouts = thetas * self.problem.rollouts_per_theta
        if self.used + rollouts > self.budget:
            raise RunOverError("budget spent")
        self.used += rollouts

    def spend_until(self, rollouts: int) -> None:
        """Count what somebody else has used so far.

        Parameters
        ----------
        rollouts : int
            All of them, from the start.

        Raises
        ------
        RunOverError
            If they are beyond the budget.
        """
        if rollouts > self.budget:
            raise RunOverError("budget spent")
        self.used = rollouts

    def metrics(self, theta: np.ndarray) -> np.ndarray:
        """Return the metrics that vary, shape (m,); costs one evaluation."""
        self.spend(1)
        return self._finite(self.problem.metrics(theta)[self.problem.varies])

    def smooth_metrics(self, theta: np.ndarray) -> np.ndarray:
        """Return the metrics that differences are taken of, shape (m,); costs one evaluation."""
        self.spend(1)
        return self._finite(self.problem.sample(theta[None])[0, self.problem.varies])

    def sampled_jacobian(self, theta: np.ndarray, g: np.ndarray, radius: float = SAMPLING_RADIUS) -> np.ndarray:
        """Return the metrics' gradients from forward differences (E2), shape (m, d); costs d evaluations.

        Parameters
        ----------
        theta : numpy.ndarray, shape (d,)
        g : numpy.ndarray, shape (m,)
            Metrics at θ.
        radius : float
            Of the samples, > 0.
        """
        self.spend(theta.size)
        ahead = self.problem.sample(theta + radius * np.eye(theta.size))[:, self.problem.varies]
        return self._finite((ahead - g).T / radius)

    def exact_jacobian(self, theta: np.ndarray) -> np.ndarray:
        """Return the metrics' gradients as if known, shape (m, d); costs d evaluations, as forward differentiation.

        Central differences stand for it: their error is of the order of the radius squared, 1e-10.
        """
        self.spend(theta.size)
        offsets = SAMPLING_RADIUS * np.eye(theta.size)
        ahead, behind = (self.problem.sample(theta + side * offsets)[:, self.problem.varies] for side in (1, -1))
        return self._finite((ahead - behind).T / (2 * SAMPLING_RADIUS))

    def objective(self, theta: np.ndarray) -> float:
        """Return the objective; costs nothing."""
        return float(self.problem.objective(theta))

    def gradient(self, theta: np.ndarray) -> np.ndarray:
        """Return the objective's gradient, shape (d,); costs nothing."""
        try:
            return self.problem.gradient(theta)
        except EvaluationError as error:
            raise RunOverError("not finite") from error

    def curvature(self, theta: np.ndarray) -> np.ndarray:
        """Estimate the metrics' smoothness constants from second differences, shape (m,); costs 17 evaluations."""
        self.spend(2 * _PROBES + 1)
        probes = np.random.default_rng(self.seed).normal(size=(_PROBES, theta.size))
        probes *= _PROBE_RADIUS / np.linalg.norm(probes, axis=1, keepdims=True)
        stack = np.vstack([theta[None], theta + probes, theta - probes])
        values = self._finite(self.problem.sample(stack)[:, self.problem.varies])
        ahead, behind = values[1 : 1 + _PROBES], values[1 + _PROBES :]
        return np.abs(ahead - 2 * values[0] + behind).max(axis=0) / _PROBE_RADIUS**2

    @staticmethod
    def _finite(values: np.ndarray) -> np.ndarray:
        if not np.isfinite(values).all():
            raise RunOverError("not finite")
        return values


@dataclass(frozen=True)
class Track:
    """Every policy that a method deployed, as the judge saw it; the safe start is the first."""

    rollouts: np.ndarray  # (k,) used when it was deployed
    objective: np.ndarray  # (k,)
    worst: np.ndarray  # (k,) max_i g_i over all metrics; positive is a violation
    theta: np.ndarray  # (d,) the last one
    used: int  # rollouts in all
    ended: str  # why

    @property
    def unsafe(self) -> np.ndarray:
        """Which policies violate a metric by more than rounding, shape (k,), bool."""
        return ~(self.worst <= ROUNDING)

    @property
    def violations(self) -> int:
        """How many deployed policies violate a metric."""
        return int(np.count_nonzero(self.unsafe))

    @property
    def worst_violation(self) -> float:
        """The largest metric of any deployed policy that violates one, zero if none does."""
        return float(np.max(self.worst[self.unsafe], initial=0.0))


def judge(problem: Problem, thetas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return objective and largest metric of deployed policies, recomputed from the problem alone.

    Parameters
    ----------
    problem : Problem
    thetas : numpy.ndarray, shape (K, d)

    Returns
    -------
    objective, worst : numpy.ndarray, shape (K,)
        ``worst`` is infinite where a metric is not a number.
    """
    metrics = problem.metrics(thetas)
    return np.asarray(problem.objective(thetas)), np.nan_to_num(metrics, nan=np.inf).max(axis=1)


def follow(problem: Problem, method: Method, budget: int, seed: int = 0, **settings: float) -> Track:
    """Run a method until it ends or the budget does, and judge every policy that it deployed.

    Parameters
    ----------
    problem : Problem
    method : callable
        ``(oracle, **settings) -> iterator of θ``.
    budget : int
        Rollouts.
    seed : int
        Of whatever the method draws.
    **settings : float
        Passed to the method.

    Returns
    -------
    Track
    """
    oracle = Oracle(problem, budget, seed)
    theta, ended = problem.theta_initial, "method ended"
    waiting, rollouts, judged = [theta], [0], []
    try:
        for deployed in method(oracle, **settings):
            theta = np.array(deployed)
            waiting.append(theta)
            rollouts.append(oracle.used)
            if len(waiting) == _CHUNK:
                judged.append(judge(problem, np.array(waiting)))
                waiting.clear()
    except RunOverError as over:
        ended = str(over)
    if waiting:
        judged.append(judge(problem, np.array(waiting)))
    objective, worst = (np.concatenate(column) for column in zip(*judged, strict=True))
    return Track(np.array(rollouts), objective, worst, theta, oracle.used, ended)
