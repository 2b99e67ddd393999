"""A control problem on more scenarios than those of its objective, and clear of its bounds: S and b of (E12)."""

import copy
from functools import partial

import numpy as np

from scpo_ctrl.loop.batch import Scenarios
from scpo_ctrl.models.units import Units
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.problem.doors import Block
from scpo_ctrl.problem.in_units import rollouts_in_units
from scpo_ctrl.problem.parts import ROUNDING, Parts, RolloutPart
from scpo_ctrl.problem.problem import Problem
from scpo_ctrl.problem.remedy import remedy

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

    Its metric vector is that of the problem, then the metrics of the guards, with those of their first steps where the
    problem has conditions on one step (E13), and to each is added its back-off: b where
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
        self._guards = Parts(self._parts_of_guards())
        self.parts = Parts([*problem.parts.parts, *self._guards.parts])
        self.rollouts_per_theta = problem.rollouts_per_theta + guards.count
        self._back_off = np.zeros(self.varies.size)
        room = np.nan_to_num(-self._metrics(problem.theta_initial[None])[0])
        clear = np.where(room < 0, np.maximum(room, -ROUNDING), np.minimum(_LEFT * room, back_off))
        self._back_off = np.where(self.varies & self.parts.keeps_clear, clear, 0.0)

    def _parts_of_guards(self) -> list[RolloutPart]:
        """Return the metrics of the guards, and of their first steps."""
        problem, guards = self.problem, self.guards
        there, each = problem.with_scenarios(guards, problem.theta_initial), problem.scenario_metrics
        varies = np.tile(each.varies, guards.count)
        units = np.tile(problem.metric_units[: problem.rows_per_scenario], guards.count)
        counted_in = Units.of(problem.plant)
        rollouts = rollouts_in_units(problem.policy, guards, each.options, None, counted_in, problem.simulator)
        of_guards = RolloutPart(rollouts, varies, units, "guard", each.rows, partial(remedy, there))
        if problem.one_step is None:
            return [of_guards]
        return [of_guards, problem.one_step.of_guards(guards, problem.theta_initial)]

    def closest(self, thetas: np.ndarray) -> np.ndarray:
        """Return the largest metric of each guard over some policies, its back-off included, shape (S,).

        Parameters
        ----------
        thetas : numpy.ndarray, shape (K, d)

        Returns
        -------
        numpy.ndarray, shape (S,)
        """
        return np.asarray(self.of_guards(self.metrics_kept_clear(thetas)).max(axis=(0, 2)))

    @property
    def guard_metrics(self) -> np.ndarray:
        """Which metrics are those of each guard, shape (guards, rows)."""
        ends = self._first + self._guards.ends
        parts = [np.arange(*ends[k : k + 2]).reshape(self.guards.count, -1) for k in range(len(ends) - 1)]
        return np.concatenate(parts, axis=1)

    def of_guards(self, values: np.ndarray) -> np.ndarray:
        """Return what of numbers, one for each metric, belongs to the guards, a row for each.

        Parameters
        ----------
        values : numpy.ndarray, shape (..., m)

        Returns
        -------
        numpy.ndarray, shape (..., guards, rows)
        """
        return values[..., self.guard_metrics]

    def watching(self, guards: np.ndarray) -> tuple["GuardedProblem", np.ndarray]:
        """Return the same problem on some of its guards only.

        Parameters
        ----------
        guards : numpy.ndarray of int
            Their numbers, ascending.

        Returns
        -------
        problem : GuardedProblem
        metrics : numpy.ndarray of int
            Which of this problem's metrics are its.
        """
        metrics = np.append(np.arange(self._first), np.sort(self.guard_metrics[guards], axis=None))
        other = copy.copy(self)
        other.guards, other._back_off = self.guards.part(guards), self._back_off[metrics]
        other._guards = Parts([part.only(guards) for part in self._guards.parts if isinstance(part, RolloutPart)])
        other.parts = Parts([*self.problem.parts.parts, *other._guards.parts])
        other._fixed = None if self._fixed is None else self._fixed[metrics]
        other.rollouts_per_theta = self.problem.rollouts_per_theta + guards.size
        return other, metrics

    @property
    def varies(self) -> np.ndarray:
        """Which metrics depend on θ; see `Problem`."""
        return self.parts.varies

    @property
    def metric_units(self) -> np.ndarray:
        """What counts as one of each metric; see `Problem`."""
        return self.parts.units

    def in_bounds_units(self, g: np.ndarray) -> np.ndarray:
        """Return the metrics without their back-off in the units of their bounds; see `Problem`."""
        return super().in_bounds_units(g - np.maximum(self._back_off, 0.0))

    def remedy(self, index: int) -> str:
        """Return what to do about a metric that is positive at the safe start; see `Problem.remedy`."""
        return self.parts.remedy(index)

    def metric_label(self, index: int) -> str:
        """Return scenario, or guard, time and bound of a metric, in words; see `Problem.metric_label`."""
        return self.parts.label(index)

    def notes(self) -> tuple[str, ...]:
        """Return in words which metrics cannot move; see `Problem.notes`."""
        return self.problem.notes()

    def spectral_radius(self, theta: np.ndarray) -> float | None:
        """Return the largest spectral radius of the loop at rest; see `Problem`."""
        return self.problem.spectral_radius(theta)

    def sample(self, thetas: np.ndarray) -> np.ndarray:
        """Return metrics to take differences of; see `Problem`."""
        return self.parts.sample(thetas) + self._back_off

    def blocks(self, columns: int) -> list[Block]:
        """Return parts of the metric vector, those of the guards last; see `Problem.blocks`."""
        return self.parts.blocks(columns)

    def differences(
        self, thetas: np.ndarray, g: np.ndarray, sigma: float, block: Block
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return sampled gradients of a part of the metrics; see `Problem.differences`."""
        return self.parts.differences(thetas, g - self._back_off, sigma, block)

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
        return self.parts.jacobian(theta, D, block)

    def lagrangian_gradients(
        self, thetas: np.ndarray, multipliers: np.ndarray, curvatures: np.ndarray | None = None
    ) -> np.ndarray:
        """Return gradients of objective and metrics together; see `Problem.lagrangian_gradients`."""
        kappa = np.zeros_like(multipliers) if curvatures is None else curvatures
        linear = multipliers + kappa * self._back_off  # κ (g + b)² / 2 has the gradient (κ b + κ g) ∇g
        ours, guards = slice(0, self._first), slice(self._first, None)
        of_problem = self.problem.lagrangian_gradients(thetas, linear[ours], kappa[ours])
        return of_problem + self._guards.gradients(thetas, linear[guards], kappa[guards])

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
        return self.parts.metrics(thetas) + self._back_off

    def _evaluate(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        objective, of_problem = self.problem.evaluate(theta)
        return objective, np.append(of_problem, self._guards.metrics(theta[None])[0]) + self._back_off

    def _value(self, theta: np.ndarray) -> float:
        return self.problem._value(theta)

    def _gradient(self, theta: np.ndarray) -> np.ndarray:
        return self.problem._gradient(theta)
