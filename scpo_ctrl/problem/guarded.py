"""A control problem on more scenarios than those of its objective, and clear of its bounds: S and b of (E12)."""

import numpy as np

from scpo_ctrl.loop.batch import Scenarios
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.problem.problem import NUMBERS, Block, Problem

ROUNDING = 1e-12  # of a metric, in `Problem.metric_units`: a violation is beyond it
_LEFT = 0.25  # part of the safe start's own distance from a bound that the back-off takes at most


def everywhere(problem: ControlProblem, guards: Scenarios | None) -> ControlProblem:
    """Return a problem on all of S (E12): on its scenarios and then the guards, without back-off.

    Parameters
    ----------
    problem : ControlProblem
    guards : Scenarios or None
        Of the same horizon; the problem itself is returned where there are none.

    Returns
    -------
    ControlProblem
    """
    if guards is None:
        return problem
    return problem.with_scenarios(problem.scenarios.and_then(guards), problem.theta_initial, checked=False)


class GuardedProblem(Problem):
    """A control problem whose metrics must also hold, with room, on scenarios that its objective does not count.

    Its metric vector is that of the problem, then the metrics of the guards, and to each is added its back-off: b where
    the safe start has much more room, and a quarter of the safe start's room where it has little, so that the safe
    start is always inside. Margins (`in_bounds_units`) are those of the metrics themselves.

    Parameters
    ----------
    problem : ControlProblem
    guards : Scenarios
        Of the same horizon.
    back_off : float
        b, in `Problem.metric_units`.
    """

    def __init__(self, problem: ControlProblem, guards: Scenarios, back_off: float) -> None:
        super().__init__(problem.theta_initial)
        self.problem, self.guards = problem, guards
        self._first = problem.varies.size  # metric of the guards
        self._rollouts = problem.costless_rollouts(guards)
        self.rollouts_per_theta = problem.rollouts_per_theta + guards.count
        self._back_off = np.zeros(self.varies.size)
        room = np.nan_to_num(-self._metrics(problem.theta_initial[None])[0])
        clear = np.where(room < 0, np.maximum(room, -ROUNDING), np.minimum(_LEFT * room, back_off))
        clear[problem.of_scenarios.stop : self._first] = 0.0  # (E11) has room by its γ
        self._back_off = np.where(self.varies, clear, 0.0)

    @property
    def varies(self) -> np.ndarray:
        """Which metrics depend on θ; see `Problem`."""
        of_guards = np.tile(self.problem.scenario_metrics.varies, self.guards.count)
        return np.append(self.problem.varies, of_guards)

    @property
    def metric_units(self) -> np.ndarray:
        """What counts as one of each metric; see `Problem`."""
        inner, rows = self.problem.metric_units, self.problem.rows_per_scenario
        return np.append(inner, np.tile(inner[:rows], self.guards.count))

    def in_bounds_units(self, g: np.ndarray) -> np.ndarray:
        """Return the metrics without their back-off in the units of their bounds; see `Problem`."""
        return super().in_bounds_units(g - np.maximum(self._back_off, 0.0))

    def remedy(self, index: int) -> str:
        """Return what to do about a metric that is positive at the safe start; see `Problem.remedy`."""
        if index < self._first:
            return self.problem.remedy(index)
        return self.problem.with_scenarios(self.guards, self.theta_initial).remedy(index - self._first)

    def metric_label(self, index: int) -> str:
        """Return scenario, or guard, time and bound of a metric, in words; see `Problem.metric_label`."""
        if index < self._first:
            return self.problem.metric_label(index)
        guard, row = divmod(index - self._first, self.problem.rows_per_scenario)
        return f"guard {guard}, {self.problem.scenario_metrics.rows[row].in_words}"

    def notes(self) -> tuple[str, ...]:
        """Return in words which metrics cannot move; see `Problem.notes`."""
        return self.problem.notes()

    def spectral_radius(self, theta: np.ndarray) -> float | None:
        """Return the largest spectral radius of the loop at rest; see `Problem`."""
        return self.problem.spectral_radius(theta)

    def sample(self, thetas: np.ndarray) -> np.ndarray:
        """Return metrics to take differences of; see `Problem`."""
        return np.hstack([self.problem.sample(thetas), self._rollouts.sample(thetas)]) + self._back_off

    def blocks(self, columns: int) -> list[Block]:
        """Return parts of the metric vector, those of the guards last; see `Problem.blocks`."""
        rows, count = self.problem.rows_per_scenario, self.guards.count
        size = max(1, NUMBERS // max(1, columns * rows))
        parts = [slice(start, min(start + size, count)) for start in range(0, count, size)]
        guards = [Block(slice(self._first + s.start * rows, self._first + s.stop * rows), s) for s in parts]
        return [*self.problem.blocks(columns), *guards]

    def differences(
        self, thetas: np.ndarray, g: np.ndarray, sigma: float, block: Block
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return sampled gradients of a part of the metrics; see `Problem.differences`."""
        g = g - self._back_off
        if block.metrics.start < self._first:
            return self.problem.differences(thetas, g, sigma, block)
        return self._rollouts.differences(thetas, g[block.metrics], sigma, block.scenarios)

    @property
    def is_closed_loop_cost(self) -> bool:
        """Whether the objective is a cost of rollouts of a model; see `Problem`."""
        return self.problem.is_closed_loop_cost

    @property
    def has_derivatives(self) -> bool:
        """Whether plant and objective can be differentiated; see `Problem`."""
        return self.problem.has_derivatives

    def jacobian(self, theta: np.ndarray, D: np.ndarray | None, block: Block) -> np.ndarray:
        """Return exact derivatives of a part of the metrics; see `Problem.jacobian`."""
        if block.metrics.start < self._first:
            return self.problem.jacobian(theta, D, block)
        return self._rollouts.jacobian(theta, D, block.scenarios)

    def lagrangian_gradients(
        self, thetas: np.ndarray, multipliers: np.ndarray, curvatures: np.ndarray | None = None
    ) -> np.ndarray:
        """Return gradients of objective and metrics together; see `Problem.lagrangian_gradients`."""
        kappa = np.zeros_like(multipliers) if curvatures is None else curvatures
        linear = multipliers + kappa * self._back_off  # κ (g + b)² / 2 has the gradient (κ b + κ g) ∇g
        ours, guards = slice(0, self._first), slice(self._first, None)
        of_problem = self.problem.lagrangian_gradients(thetas, linear[ours], kappa[ours])
        return of_problem + self._rollouts.lagrangian_gradients(thetas, linear[guards], kappa[guards])

    def gauss_newton(self, theta: np.ndarray) -> np.ndarray:
        """Return the Gauss-Newton matrix of the objective; see `Problem.gauss_newton`."""
        return self.problem.gauss_newton(theta)

    def metrics_kept_clear(self, thetas: np.ndarray) -> np.ndarray:
        """Return the metrics with their back-off, in `metric_units`.

        Parameters
        ----------
        thetas : numpy.ndarray, shape (K, d)

        Returns
        -------
        numpy.ndarray, shape (K, m)
        """
        return np.nan_to_num(self._metrics(thetas), nan=np.inf)

    def _metrics(self, thetas: np.ndarray) -> np.ndarray:
        of_problem = self.problem._metrics(thetas)
        return np.hstack([of_problem, self._rollouts.evaluate(thetas)[0]]) + self._back_off

    def _evaluate(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        objective, of_problem = self.problem.evaluate(theta)
        return objective, np.append(of_problem, self._rollouts.evaluate(theta[None])[0][0]) + self._back_off

    def _value(self, theta: np.ndarray) -> float:
        return self.problem._value(theta)

    def _gradient(self, theta: np.ndarray) -> np.ndarray:
        return self.problem._gradient(theta)
