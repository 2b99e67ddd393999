"""Conditions on one step of a loop (E13), from a cloud of states, and from where scenarios begin.

A step is a rollout over a horizon of one. From each state of the cloud it keeps the bounds (E6), and V contracts (E8)
by 1 - a, or to the floor. Were that so from every state of a level set, V would fall there until it is at the floor.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import casadi as ca
import numpy as np

from scpo_ctrl.engine.rollout import Rollouts
from scpo_ctrl.errors import DomainError
from scpo_ctrl.loop.batch import Scenarios
from scpo_ctrl.loop.black_box import Step
from scpo_ctrl.loop.controlled import LoopPolicy
from scpo_ctrl.loop.metrics import MetricOptions, Metrics, Row
from scpo_ctrl.loop.sizes import check_rollouts
from scpo_ctrl.models.units import Units
from scpo_ctrl.problem.in_units import rollouts_in_units
from scpo_ctrl.problem.parts import RolloutPart
from scpo_ctrl.problem.remedy import another_start, listed
from scpo_ctrl.rounding import down

_LEAST_LIMIT = 1e-12  # of V, in parts of ρ, that its metric counts in


@dataclass(frozen=True)
class ScaledPart(RolloutPart):
    """The metrics of rollouts, each multiplied by a number: what counts as one of each is that much smaller."""

    scale: np.ndarray  # (k,)

    def only(self, which: np.ndarray) -> "ScaledPart":
        """Return the metrics of some of the rollouts; see `RolloutPart`."""
        kept = RolloutPart.only(self, which)
        assert isinstance(kept, ScaledPart)
        return replace(kept, scale=self.scale.reshape(-1, len(self.rows))[which].ravel())

    def metrics(self, thetas: np.ndarray) -> np.ndarray:
        """Return the metrics of the true loop; see `Part`."""
        return super().metrics(thetas) * self.scale

    def sample(self, thetas: np.ndarray) -> np.ndarray:
        """Return the metrics without saturation; see `Part`."""
        return super().sample(thetas) * self.scale

    def differences(
        self, thetas: np.ndarray, g: np.ndarray, sigma: float, scenarios: slice | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return sampled gradients; see `Part`."""
        scale = self._of(scenarios)
        rows, squares = super().differences(thetas, g / scale, sigma, scenarios)
        return rows * scale, squares * scale**2

    def jacobian(self, theta: np.ndarray, D: np.ndarray | None, scenarios: slice | None) -> np.ndarray:
        """Return exact derivatives; see `Part`."""
        return super().jacobian(theta, D, scenarios) * self._of(scenarios)

    def gradients(self, thetas: np.ndarray, multipliers: np.ndarray, curvatures: np.ndarray) -> np.ndarray:
        """Return gradients of metrics together; see `Part`."""
        return super().gradients(thetas, multipliers * self.scale, curvatures * self.scale**2)

    def _of(self, scenarios: slice | None) -> np.ndarray:
        each = self.scale.reshape(-1, len(self.rows))
        return (each if scenarios is None else each[scenarios]).ravel()


@dataclass(frozen=True)
class OneStep:
    """Conditions on one step: which, and from which cloud of states they are metrics of a problem."""

    policy: LoopPolicy
    cloud: Scenarios  # single steps, in the units of the plant as their metrics are
    metrics: Metrics
    rollouts: Rollouts  # over the cloud, in units of the bounds
    units: Units
    roll_out: Callable[[Scenarios], Rollouts]  # single steps, by an engine of their own

    @property
    def count(self) -> int:
        """Number of metrics of the cloud."""
        return len(self.rows) * self.cloud.count

    @classmethod
    def of(
        cls,
        policy: LoopPolicy,
        scenarios: Scenarios,
        options: MetricOptions,
        units: Units,
        simulator: Step | ca.Function | None,
    ) -> "OneStep | None":
        """Return the conditions that options ask for, None if they ask for none.

        Parameters
        ----------
        policy : Policy or ControllerPolicy
        scenarios : Scenarios
            Whose declared set the cloud is drawn from.
        options : MetricOptions
            Of the problem.
        units : Units
        simulator : callable or casadi.Function, optional
            A black box in the plant's place.

        Returns
        -------
        OneStep or None

        Raises
        ------
        DomainError
            If no states are declared beside single ones, or the floor is above all of them.
        """
        if options.one_step is None or options.cloud is None:
            return None
        declared, plant = scenarios.declared, policy.plant
        if plant.signals:
            raise DomainError("one_step is about a loop at rest, and signals move it; leave one_step out")
        if declared is None or not declared.has_states:
            raise DomainError(
                "one_step is a condition on a cloud of states, and the scenarios declare none beside their own initial "
                "states; give scenarios(…) level, box or a neighbourhood above 0"
            )
        if declared.level is not None and options.contraction_floor > declared.level * (1 + 1e-9):
            raise DomainError(
                f"contraction_floor is {options.contraction_floor:g}, above the level {declared.level:g} of the states "
                "that are declared: one_step would let V rise out of the set; lower contraction_floor"
            )
        check_rollouts(options.cloud, 1, plant.nx, plant.nu, policy.theta_dim)
        step, cloud = options.of_one_step, declared.cloud(options.cloud)

        def roll_out(batch: Scenarios) -> Rollouts:
            return rollouts_in_units(policy, batch, step, None, units, simulator)

        return cls(policy, cloud, Metrics(plant, policy.backup, 1, step), roll_out(cloud), units, roll_out)

    @property
    def rows(self) -> tuple[Row, ...]:
        """What each metric of a state of the cloud means."""
        return (*self.metrics.rows[:-1], self.decrease)

    @property
    def decrease(self) -> Row:
        """What the last metric of a state means, the only one that a scenario from there does not have anyway."""
        return Row("one step", 1, f"V(x_1) <= {self.metrics.options.contracted}")

    @property
    def levels(self) -> np.ndarray:
        """V of each state of the cloud, about where its loop is at rest under the backup, shape (S,)."""
        rests = self.rollouts.rests()
        return self.metrics.about_rest(self.cloud.x0, None if rests is None else rests * self.units.x)

    @property
    def limits(self) -> np.ndarray:
        """What V of the next state must not exceed, from each state of the cloud, shape (S,)."""
        return np.maximum((self.metrics.options.contraction or 0.0) * self.levels, self.metrics.floor)

    @property
    def scale(self) -> np.ndarray:
        """What the metrics of the cloud are multiplied by in a problem, shape (k,); see `_scale`."""
        return self._scale(self.rollouts)

    def part(self, theta: np.ndarray) -> RolloutPart:
        """Return the metrics of the cloud as a part of a metric vector.

        Parameters
        ----------
        theta : numpy.ndarray, shape (d,)
            The safe start.

        Returns
        -------
        RolloutPart
        """
        return self._part(self.rollouts, "cloud state", self.metrics.varies, theta)

    def of_guards(self, guards: Scenarios, theta: np.ndarray) -> RolloutPart:
        """Return the first steps of guards as a part of a metric vector.

        Of its metrics only the last counts as one that depends on θ: the others are metrics of the guards too, and
        twice the same constraint would only make the projection (E5) degenerate.

        Parameters
        ----------
        guards : Scenarios
        theta : numpy.ndarray, shape (d,)
            The safe start.

        Returns
        -------
        RolloutPart
        """
        last = np.arange(len(self.rows)) == len(self.rows) - 1
        rollouts = self.roll_out(_first_steps(guards))
        return self._part(rollouts, "first step of guard", last, theta)

    def decreases(self, theta: np.ndarray, scenarios: Scenarios) -> np.ndarray:
        """Return the last metric of the first step of scenarios, shape (S, 1), in parts of ρ.

        Parameters
        ----------
        theta : numpy.ndarray, shape (d,)
        scenarios : Scenarios
            S of them.

        Returns
        -------
        numpy.ndarray, shape (S, 1)
        """
        return self._over(scenarios).evaluate(theta[None])[0].reshape(scenarios.count, -1)[:, -1:]

    def add_gradients(
        self,
        theta: np.ndarray,
        scenarios: Scenarios,
        weights: np.ndarray,
        gradients: tuple[np.ndarray, np.ndarray, np.ndarray],
    ) -> None:
        """Add the gradients of weighted first steps to those of scenarios.

        Parameters
        ----------
        theta : numpy.ndarray, shape (d,)
        scenarios : Scenarios
        weights : numpy.ndarray, shape (S,)
            Of their last metric.
        gradients : tuple of numpy.ndarray
            By initial states, parameters and disturbances in units of the bounds; changed in place.
        """
        rollouts, (gx0, gp, gw) = self._over(scenarios), gradients
        multipliers = np.zeros((scenarios.count, len(self.rows)))
        multipliers[:, -1] = weights
        by_x0, by_p, by_w = rollouts.scenario_gradients(theta, multipliers)
        gx0 += by_x0
        gp += by_p
        gw[:, :1] += by_w

    def largest(self, theta: np.ndarray) -> float:
        """Return the largest a with which V falls as it should from every state of the cloud, 0 or less if it rises.

        Parameters
        ----------
        theta : numpy.ndarray, shape (d,)

        Returns
        -------
        float
        """
        metric = self.rollouts.evaluate(theta[None])[0].reshape(self.cloud.count, -1)[:, -1]
        after = metric * self.policy.backup.rho + self.limits
        above = ~(after <= self.metrics.floor)
        return float(np.min(1 - after[above] / self.levels[above], initial=1.0))

    def remedy(self, row: int, theta: np.ndarray) -> str:
        """Return what to do about a metric that is positive at the safe start; see `Problem.remedy`.

        Parameters
        ----------
        row : int
            Of `rows`.
        theta : numpy.ndarray, shape (d,)
            The safe start.

        Returns
        -------
        str
        """
        ways = ["lower the level of the scenarios"]
        if row == len(self.rows) - 1:
            ways = [
                *self._lower(theta),
                "raise contraction_floor",
                *ways,
                another_start(self.policy, "faster", "larger Q or smaller R"),
            ]
        if (self.cloud.p != self.policy.plant.p_nominal).any():
            ways.insert(-1, "narrow the ranges of the plant parameters")
        if self.cloud.w.size:
            ways.insert(-1, "make disturbance smaller")
        return listed(ways)

    def _lower(self, theta: np.ndarray) -> list[str]:
        """Say how far one_step is to be lowered, in two digits; nothing where V rises and no part would do."""
        most = self.largest(theta)
        if most <= 0:
            return []
        if most >= 1 - (self.metrics.options.contraction or 0.0):  # of the cloud, where others do not pass
            return ["lower one_step"]
        return [f"lower one_step to {down(most, 2)}"]

    def _advice(self, theta: np.ndarray, which: int, row: int) -> str:
        return self.remedy(row, theta)

    def _over(self, scenarios: Scenarios) -> Rollouts:
        """Return the loop over the first step of scenarios, by the engine of the cloud."""
        return self.rollouts.over(_first_steps(scenarios).in_units(self.units))

    def _part(self, rollouts: Rollouts, name: str, varies: np.ndarray, theta: np.ndarray) -> RolloutPart:
        count, scale = rollouts.batch.count, self._scale(rollouts)
        units = np.tile(self.metrics.in_bounds(self.units), count) / scale
        advice = partial(self._advice, theta)
        return ScaledPart(rollouts, np.tile(varies, count), units, name, self.rows, advice, scale)

    def _scale(self, rollouts: Rollouts) -> np.ndarray:
        """Return what metrics are multiplied by: V(x⁺) counts in parts of what it must not exceed, however small V is.

        Otherwise conditions on small levels, as strict as others, would be lost in the rounding of a step's numbers.
        """
        scale = np.ones((rollouts.batch.count, len(self.rows)))
        limits = rollouts.metrics.contraction_limits(rollouts.batch.x0, rollouts.rests())
        scale[:, -1] = 1 / np.maximum(limits, _LEAST_LIMIT)
        return scale.ravel()


def _first_steps(scenarios: Scenarios) -> Scenarios:
    return Scenarios(scenarios.x0, scenarios.p, scenarios.w[:, :1], 1)
