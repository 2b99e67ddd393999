"""A policy in closed loop with a plant as a problem: metrics and objective from rollouts over scenarios."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import casadi as ca
import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.engine.rollout import Rollouts
from scpo_ctrl.errors import DomainError
from scpo_ctrl.loop.backup import Backup
from scpo_ctrl.loop.black_box import Step
from scpo_ctrl.loop.controlled import ControllerPolicy, LoopPolicy
from scpo_ctrl.loop.metrics import MetricOptions, Metrics
from scpo_ctrl.loop.policy import Policy
from scpo_ctrl.loop.rest import stays_at_rest
from scpo_ctrl.loop.scenario import Scenarios, check_scenarios
from scpo_ctrl.models import Plant
from scpo_ctrl.models.units import Units
from scpo_ctrl.problem.bounds import BoundsPart
from scpo_ctrl.problem.cloud import OneStep
from scpo_ctrl.problem.cost import Cost
from scpo_ctrl.problem.doors import Block
from scpo_ctrl.problem.in_units import checked_objective, inputs_of, local_stability, rollouts_in_units
from scpo_ctrl.problem.in_words import in_words
from scpo_ctrl.problem.objective import Imitation, Objective, Quadratic, UserObjective
from scpo_ctrl.problem.parts import Parts, RolloutPart, Rows, StabilityPart
from scpo_ctrl.problem.posed_again import PosedAgain
from scpo_ctrl.problem.problem import NO_DERIVATIVES, Problem
from scpo_ctrl.problem.remedy import remedy
from scpo_ctrl.sealed import Sealed, as_instance
from scpo_ctrl.shown import Entries, Shown
from scpo_ctrl.validate import as_array, as_function


class ControlProblem(
    PosedAgain, Shown, Problem, Sealed, instead="for another loop write a Problem subclass, or give a FunctionProblem"
):
    """A policy in closed loop with a plant, over scenarios.

    Parameters
    ----------
    policy : Policy or ControllerPolicy
        With its plant and backup.
    scenarios : Scenarios
        What is rolled out.
    objective : Quadratic, Cost, Imitation or UserObjective
        What is minimised.
    metrics : MetricOptions
        Which safety metrics hold.
    seed : int
        Of the initial parameters.
    simulator : callable or casadi.Function, optional
        A black box in the plant's place, ``(x, u, p) -> x_next``: a Python function of stacks of shapes (n, nx),
        (n, nu) and (n, np), or a CasADi function of columns. Bounds, equilibrium, sensors and backup stay the plant's.

    Examples
    --------
    >>> # after the example of `adapt`
    >>> problem.theta_dim, bool((problem.metrics(problem.theta_initial) <= 0).all())
    (16, True)
    """

    def __init__(
        self,
        policy: LoopPolicy,
        scenarios: Scenarios,
        objective: Objective,
        metrics: MetricOptions | None = None,
        *,
        seed: int = 0,
        simulator: Step | ca.Function | None = None,
    ) -> None:
        as_instance("policy", policy, Policy, ControllerPolicy)
        as_instance("scenarios", scenarios, Scenarios)
        objective = checked_objective(objective, policy)
        metrics = MetricOptions() if metrics is None else metrics
        as_instance("metrics", metrics, MetricOptions)
        if simulator is not None:
            as_function("simulator", simulator)
        check_scenarios(policy, scenarios)
        metrics = metrics.resolved(policy.plant, inputs_of(policy))
        super().__init__(policy.theta_initial(seed))
        self.policy, self.scenarios, self.objective_data = policy, scenarios, objective
        self.scenario_metrics = Metrics(policy.plant, policy.backup, scenarios.horizon, metrics)
        self._units = Units.of(policy.plant)
        self._at_rest = local_stability(policy, scenarios, self._units, simulator)
        self.stability = self._at_rest if metrics.stability else None
        if self.stability:
            self.stability.check()
        elif metrics.contraction is not None or metrics.one_step is not None:  # about where the backup is at rest
            self._at_rest.check_rest()
        self.one_step = OneStep.of(policy, scenarios, metrics, self._units, simulator)
        self.rollouts = self._rollouts_in_units(simulator)
        self.rollouts_per_theta, self.simulator, self.posed_on = scenarios.count, simulator, scenarios
        self.tables: dict[str, dict[str, Any]] | None = None  # of the problem file that it was read from
        self._imitation = objective.compiled(policy) if isinstance(objective, Imitation) else None

    def spectral_radius(self, theta: np.ndarray) -> float | None:
        """Return the largest spectral radius of the loop at rest, over its parameters; see `Problem`."""
        return float(self._at_rest.spectral_radii(theta).max())

    def _rollouts_in_units(self, simulator: Step | ca.Function | None) -> Rollouts:
        """Return the closed loop in `Units` of its plant, V in parts of ρ."""
        metrics, objective = self.scenario_metrics.options, self.closed_loop_cost
        return rollouts_in_units(self.policy, self.scenarios, metrics, objective, self._units, simulator)

    def trajectories(self, theta: np.ndarray, scenarios: Scenarios | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return states and commands of every scenario for one θ, for plots.

        Parameters
        ----------
        theta : numpy.ndarray, shape (d,)
        scenarios : Scenarios, optional
            Others than those of the problem.

        Returns
        -------
        X : numpy.ndarray, shape (S, N + 1, nx)
            [x_units]
        U : numpy.ndarray, shape (S, N, nu)
            Commands before saturation [u_units].
        """
        if scenarios is not None:
            check_scenarios(self.policy, scenarios)
        batch = None if scenarios is None else scenarios.in_units(self._units)
        X, U = self.rollouts.trajectories(as_array("theta", theta, (self.theta_dim,)), batch)
        return X * self._units.x, U * self._units.u

    def with_scenarios(self, scenarios: Scenarios, theta_initial: ArrayLike, *, checked: bool = True) -> ControlProblem:
        """Return the same problem over other scenarios, from another safe start.

        Parameters
        ----------
        scenarios : Scenarios
        theta_initial : array_like, shape (d,)
        checked : bool
            Whether so many scenarios must be no more than a run can bear.

        Returns
        -------
        ControlProblem

        Raises
        ------
        DimensionError
            If the scenarios or the start do not fit.
        """
        if checked:
            check_scenarios(self.policy, scenarios)
        other = copy.copy(self)
        for name in ("parts", "fresh", "at_rest"):  # of the scenarios
            vars(other).pop(name, None)
        other.scenarios, other.rollouts_per_theta = scenarios, scenarios.count
        if scenarios.horizon == self.scenarios.horizon:
            other.rollouts = self.rollouts.over(scenarios.in_units(self._units))
        else:
            other.scenario_metrics = replace(self.scenario_metrics, horizon=scenarios.horizon)
            other.rollouts = other._rollouts_in_units(self.simulator)
        other.theta_initial = as_array("theta_initial", theta_initial, (self.theta_dim,))
        other._fixed = None
        return other

    @property
    def has_simulator(self) -> bool:
        """Whether a black box is in the plant's place."""
        return self.simulator is not None

    @property
    def closed_loop_cost(self) -> Quadratic | Cost | None:
        """The objective, where it is a cost of rollouts."""
        return self.objective_data if isinstance(self.objective_data, (Quadratic, Cost)) else None

    @property
    def imitation(self) -> Imitation | None:
        """The expert's data, where the objective imitates it."""
        return self.objective_data if isinstance(self.objective_data, Imitation) else None

    @property
    def plant(self) -> Plant:
        """The plant."""
        return self.policy.plant

    @property
    def backup(self) -> Backup:
        """The backup controller."""
        return self.policy.backup

    @property
    def rows_per_scenario(self) -> int:
        """How many metrics each scenario has."""
        return len(self.scenario_metrics.rows)

    @cached_property
    def parts(self) -> Parts:
        """The metric vector: of the scenarios, of local stability, bounds of parameters, of a cloud of states."""
        rows = self.scenario_metrics
        varies = np.logical_and.outer(~self.at_rest, rows.varies).ravel()
        units = np.tile(rows.in_bounds(self._units), self.scenarios.count)
        of_scenarios = RolloutPart(self.rollouts, varies, units, "scenario", rows.rows, partial(remedy, self))
        at_rest = [] if self.stability is None else [StabilityPart(self.stability)]
        cloud = [] if self.one_step is None else [self.one_step.part(self.theta_initial)]
        return Parts([of_scenarios, *at_rest, *BoundsPart.of(self.policy), *cloud])

    @property
    def varies(self) -> np.ndarray:
        """Which metrics depend on θ, shape (m,), bool: not those of scenarios at rest, or of the state at t = 0."""
        return self.parts.varies

    @property
    def of_scenarios(self) -> slice:
        """Where the metrics of the scenarios are, one scenario's behind the other's; the other parts follow."""
        return slice(0, self.scenarios.count * self.rows_per_scenario)

    @property
    def of_cloud(self) -> slice:
        """Where the metrics of the cloud of states are: last."""
        return slice(self.varies.size - (0 if self.one_step is None else self.one_step.count), self.varies.size)

    @cached_property
    def fresh(self) -> Rows:
        """What is checked of a scenario that is not the problem's own: its rollout and, where asked, its first step."""
        metrics = self.scenario_metrics
        own = Rows(metrics.rows, metrics.varies, metrics.in_bounds(self._units))
        return own if self.one_step is None else own.and_one(self.one_step.decrease, self.backup.rho)

    @cached_property
    def at_rest(self) -> np.ndarray:
        """Which scenarios stay at the equilibrium whatever θ is, as φ(0) = 0, shape (S,), bool."""
        if self.has_simulator or isinstance(self.policy, ControllerPolicy):  # its command at rest may depend on θ
            return np.zeros(self.scenarios.count, dtype=bool)
        return stays_at_rest(self.plant, self.scenarios)

    def remedy(self, index: int) -> str:
        """Return what to do about a metric that is positive at the safe start; see `Problem.remedy`."""
        return self.parts.remedy(index)

    def rests(self, scenarios: Scenarios) -> np.ndarray | None:
        """Return where contraction (E8) is about: where each scenario's loop settles under the backup.

        Parameters
        ----------
        scenarios : Scenarios

        Returns
        -------
        numpy.ndarray, shape (S, nx), or None
            NaN where it does not [x_units]; None for the nominal equilibrium.
        """
        own = scenarios is self.scenarios
        rests = self.rollouts.rests(None if own else scenarios.in_units(self._units))
        return None if rests is None else rests * self._units.x

    def contraction_limits(self, scenarios: Scenarios) -> np.ndarray:
        """Return what V(x_N) must not exceed for contraction (E8), (S,); see `Metrics.contraction_limits`."""
        return self.scenario_metrics.contraction_limits(scenarios.x0, self.rests(scenarios))

    def notes(self) -> tuple[str, ...]:
        """Return in words which metrics cannot move; see `Problem.notes`."""
        contraction = self.scenario_metrics.options.contraction_at_rest
        metrics = f"its metrics (of the contraction, {contraction})" if contraction else "its metrics"
        return super().notes() + tuple(
            f"scenario {s} starts at the equilibrium and stays there whatever the policy is: {metrics} are satisfied "
            "and bound no step; leave that initial state out"
            for s in np.flatnonzero(self.at_rest)[:1]
        )

    @property
    def metric_units(self) -> np.ndarray:
        """Half the width of a box, one for the terminal metric, ρ for contraction; see `Problem.metric_units`."""
        return self.parts.units

    def metric_label(self, index: int) -> str:
        """Return scenario, time and bound of a metric, in words; see `Problem.metric_label`."""
        return self.parts.label(index)

    def sample(self, thetas: np.ndarray) -> np.ndarray:
        """Return the metrics without saturation where the command's bounds are metrics; see `Rollouts`."""
        return self.parts.sample(thetas)

    def blocks(self, columns: int) -> list[Block]:
        """Return parts of the scenarios, and the other parts; see `Problem.blocks`."""
        return self.parts.blocks(columns)

    def differences(
        self, thetas: np.ndarray, g: np.ndarray, sigma: float, block: Block
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return sampled gradients of a part of the metrics; see `Problem.differences`."""
        return self.parts.differences(thetas, g, sigma, block)

    @property
    def is_closed_loop_cost(self) -> bool:
        """Whether the objective is a cost of rollouts and the plant is not a black box."""
        return self.closed_loop_cost is not None and not self.has_simulator

    @property
    def has_derivatives(self) -> bool:
        """Whether plant and objective can be differentiated: no black box among them."""
        return not self.has_simulator and not isinstance(self.objective_data, UserObjective)

    def jacobian(self, theta: np.ndarray, D: np.ndarray | None, block: Block) -> np.ndarray:
        """Return exact derivatives, central differences for a black box; see `Problem.jacobian`."""
        return self.parts.jacobian(theta, D, block)

    def lagrangian_gradients(
        self, thetas: np.ndarray, multipliers: np.ndarray, curvatures: np.ndarray | None = None
    ) -> np.ndarray:
        """Return gradients of objective and metrics together; see `Problem.lagrangian_gradients`."""
        if not self.has_derivatives:
            raise DomainError(NO_DERIVATIVES)
        kappa = np.zeros_like(multipliers) if curvatures is None else curvatures
        gradients = self.parts.gradients(thetas, multipliers, kappa)
        return gradients + self._imitation[1](thetas)[1] if self._imitation is not None else gradients

    def scenario_gradients(
        self, theta: np.ndarray, scenarios: Scenarios, multipliers: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return gradients of weighted metrics, in `metric_units`, with respect to the scenarios themselves.

        Parameters
        ----------
        theta : numpy.ndarray, shape (d,)
        scenarios : Scenarios
            Others over the same horizon.
        multipliers : numpy.ndarray, shape (S, rows)
            Of each scenario's `fresh`.

        Returns
        -------
        gx0 : numpy.ndarray, shape (S, nx)
            Per unit of the initial state [1/x_units].
        gp : numpy.ndarray, shape (S, np)
            [1/p_units]
        gw : numpy.ndarray, shape (S, N, nx) or (S, N, 0)
            [1/x_units]
        """
        batch, own = scenarios.in_units(self._units), multipliers if self.one_step is None else multipliers[:, :-1]
        gx0, gp, gw = self.rollouts.scenario_gradients(theta, own, batch)
        if self.one_step is not None:
            self.one_step.add_gradients(theta, scenarios, multipliers[:, -1], (gx0, gp, gw))
        return gx0 / self._units.x, gp, gw / self._units.x if gw.size else gw

    def gauss_newton(self, theta: np.ndarray) -> np.ndarray:
        """Return the Gauss-Newton matrix of a closed-loop cost; see `Problem.gauss_newton`."""
        if self.closed_loop_cost is not None:
            return self.rollouts.gauss_newton(theta)[2]
        return super().gauss_newton(theta)

    def _metrics(self, thetas: np.ndarray) -> np.ndarray:
        return self.parts.metrics(thetas)

    def _evaluate(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        metrics, cost = self.rollouts.evaluate(theta[None])
        metrics = self.parts.metrics(theta[None], first=metrics)
        return float(cost[0]) if self.closed_loop_cost is not None else self._value(theta), metrics[0]

    def evaluate_scenarios(self, theta: np.ndarray, scenarios: Scenarios) -> tuple[float, np.ndarray]:
        """Return the objective and the metrics of other scenarios (`fresh`), local stability not among them.

        Parameters
        ----------
        theta : numpy.ndarray, shape (d,)
        scenarios : Scenarios
            S of them.

        Returns
        -------
        objective : float
        metrics : numpy.ndarray, shape (S, rows)
            In `metric_units`; where a rollout is lost, not finite.
        """
        there = self.with_scenarios(scenarios, theta)
        metrics, cost = there.rollouts.evaluate(theta[None])
        objective = float(cost[0]) if self.closed_loop_cost is not None else there._value(theta)
        rows = metrics.reshape(scenarios.count, -1)
        if self.one_step is None:
            return objective, rows
        return objective, np.hstack([rows, self.one_step.decreases(theta, scenarios)])

    def _value(self, theta: np.ndarray) -> float:
        if isinstance(self.objective_data, UserObjective):
            return self.objective_data.oracle(theta)[0]
        if self._imitation is not None:
            return float(self._imitation[0](theta[None])[0][0, 0])
        return float(self.rollouts.evaluate(theta[None])[1][0])

    def _gradient(self, theta: np.ndarray) -> np.ndarray:
        if isinstance(self.objective_data, UserObjective):
            return self.objective_data.oracle(theta)[1]
        if self._imitation is not None:
            return self._imitation[1](theta[None])[1][0]
        return self.rollouts.gradient(theta)[1]

    def _shown(self) -> tuple[str, Entries]:
        return self.plant.name, in_words(self)
