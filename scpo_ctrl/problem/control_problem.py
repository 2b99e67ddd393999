"""A policy in closed loop with a plant as a problem: metrics and objective from rollouts over scenarios."""

import copy
from dataclasses import replace
from functools import cached_property
from typing import Any

import casadi as ca
import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.engine.rollout import Rollouts, Step
from scpo_ctrl.errors import DimensionError, DomainError
from scpo_ctrl.loop.backup import Backup
from scpo_ctrl.loop.metrics import MetricOptions, Metrics
from scpo_ctrl.loop.policy import Policy
from scpo_ctrl.loop.scenario import Scenarios
from scpo_ctrl.loop.sizes import check_rollouts
from scpo_ctrl.models import Plant
from scpo_ctrl.models.units import Units
from scpo_ctrl.problem.in_units import local_stability, rollouts_in_units
from scpo_ctrl.problem.objective import Imitation, Objective, Quadratic, UserObjective
from scpo_ctrl.problem.problem import NO_DERIVATIVES, NUMBERS, Block, Problem
from scpo_ctrl.problem.remedy import remedy
from scpo_ctrl.sealed import Sealed, as_instance
from scpo_ctrl.validate import as_array, as_function


class ControlProblem(Problem, Sealed, instead="for another loop write a Problem subclass, or give a FunctionProblem"):
    """A policy in closed loop with a plant, over scenarios.

    Parameters
    ----------
    policy : Policy
        With its plant and backup.
    scenarios : Scenarios
        What is rolled out.
    objective : Quadratic, Imitation or UserObjective
        What is minimised.
    metrics : MetricOptions
        Which safety metrics hold.
    seed : int
        Of the initial parameters.
    simulator : callable or casadi.Function, optional
        A black box in the plant's place, ``(x, u, p) -> x_next``: a Python function of stacks of shapes (n, nx),
        (n, nu) and (n, np), or a CasADi function of columns. Bounds, equilibrium and backup stay the plant's.
    """

    def __init__(
        self,
        policy: Policy,
        scenarios: Scenarios,
        objective: Objective,
        metrics: MetricOptions | None = None,
        *,
        seed: int = 0,
        simulator: Step | ca.Function | None = None,
    ) -> None:
        as_instance("policy", policy, Policy)
        as_instance("scenarios", scenarios, Scenarios)
        as_instance("objective", objective, Quadratic, Imitation, UserObjective)
        metrics = MetricOptions() if metrics is None else metrics
        as_instance("metrics", metrics, MetricOptions)
        if simulator is not None:
            as_function("simulator", simulator)
        _check_states(policy, scenarios)
        super().__init__(policy.theta_initial(seed))
        self.policy, self.scenarios, self._objective = policy, scenarios, objective
        self.scenario_metrics = Metrics(policy.plant, policy.backup, scenarios.horizon, metrics)
        self._units = Units.of(policy.plant)
        self._at_rest = local_stability(policy, scenarios, self._units, simulator)
        self.stability = self._at_rest if metrics.stability else None
        if self.stability:
            self.stability.check()
        elif metrics.contraction is not None:  # which is about where the backup is at rest
            self._at_rest.check_rest()
        self.rollouts = self._rollouts_in_units(simulator)
        self.rollouts_per_theta = scenarios.count
        self.simulator = simulator
        self.tables: dict[str, dict[str, Any]] | None = None  # of the problem file that it was read from
        self._imitation = objective.compiled(policy) if isinstance(objective, Imitation) else None

    def spectral_radius(self, theta: np.ndarray) -> float | None:
        """Return the largest spectral radius of the loop at rest, over its parameters; see `Problem`."""
        return float(self._at_rest.spectral_radii(theta).max())

    def costless_rollouts(self, scenarios: Scenarios) -> Rollouts:
        """Return the closed loop over other scenarios without its stage cost, in units of the bounds.

        Parameters
        ----------
        scenarios : Scenarios

        Returns
        -------
        Rollouts
        """
        other = self.with_scenarios(scenarios, self.theta_initial)
        return other._rollouts_in_units(self.simulator, cost=False)

    def _rollouts_in_units(self, simulator: Step | ca.Function | None, *, cost: bool = True) -> Rollouts:
        """Return the closed loop in `Units` of its plant, V in parts of ρ."""
        quadratic = self._objective if cost and isinstance(self._objective, Quadratic) else None
        options = self.scenario_metrics.options
        return rollouts_in_units(self.policy, self.scenarios, options, quadratic, self._units, simulator)

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
        batch = None if scenarios is None else scenarios.in_units(self._units)
        X, U = self.rollouts.trajectories(theta, batch)
        return X * self._units.x, U * self._units.u

    def with_scenarios(self, scenarios: Scenarios, theta_initial: ArrayLike) -> "ControlProblem":
        """Return the same problem over other scenarios, from another safe start.

        Parameters
        ----------
        scenarios : Scenarios
        theta_initial : array_like, shape (d,)

        Returns
        -------
        ControlProblem

        Raises
        ------
        DimensionError
            If the scenarios or the start do not fit.
        """
        _check_states(self.policy, scenarios)
        other = copy.copy(self)
        for name in ("varies", "at_rest", "metric_units"):  # of the scenarios
            vars(other).pop(name, None)
        other.scenarios, other.rollouts_per_theta = scenarios, scenarios.count
        other.scenario_metrics = replace(self.scenario_metrics, horizon=scenarios.horizon)
        if scenarios.horizon == self.scenarios.horizon:
            other.rollouts = self.rollouts.over(scenarios.in_units(self._units))
        else:
            other.rollouts = other._rollouts_in_units(self.simulator)
        other.theta_initial = as_array("theta_initial", theta_initial, (self.theta_dim,))
        other._fixed = None
        return other

    @property
    def has_simulator(self) -> bool:
        """Whether a black box is in the plant's place."""
        return self.simulator is not None

    @property
    def objective_data(self) -> Objective:
        """The objective as it was given."""
        return self._objective

    @property
    def imitation(self) -> Imitation | None:
        """The expert's data, where the objective imitates it."""
        return self._objective if isinstance(self._objective, Imitation) else None

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
    def varies(self) -> np.ndarray:
        """Which metrics depend on θ, shape (m,), bool: not those of scenarios at rest, or of the state at t = 0."""
        of_scenarios = np.logical_and.outer(~self.at_rest, self.scenario_metrics.varies).ravel()
        return np.append(of_scenarios, np.ones(self._stabilities, dtype=bool))

    @property
    def of_scenarios(self) -> slice:
        """Where the metrics of the scenarios are, one scenario's behind the other's; those of stability follow."""
        return slice(0, self.scenarios.count * self.rows_per_scenario)

    @property
    def _stabilities(self) -> int:
        return 0 if self.stability is None else self.stability.count

    @cached_property
    def at_rest(self) -> np.ndarray:
        """Which scenarios stay at the equilibrium whatever θ is, as φ(0) = 0, shape (S,), bool."""
        batch, plant = self.scenarios, self.plant
        rest = (batch.x0 == plant.x_eq).all(axis=1) & ~batch.w.any(axis=(1, 2))
        if self.has_simulator:
            return np.zeros_like(rest)
        for s in np.flatnonzero(rest):
            rest[s] = np.array_equal(np.array(plant.function(plant.x_eq, plant.u_eq, batch.p[s]))[:, 0], plant.x_eq)
        return rest

    def remedy(self, index: int) -> str:
        """Return what to do about a metric that is positive at the safe start; see `Problem.remedy`."""
        if index >= self.of_scenarios.stop:
            return "narrow the parameter ranges, or design a backup that holds all of them"
        return remedy(self, *divmod(index, len(self.scenario_metrics.rows)))

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
        return super().notes() + tuple(
            f"scenario {s} starts at the equilibrium and stays there whatever the policy is: its metrics (of a "
            "contraction, 0 <= 0) are satisfied and bound no step; leave that initial state out"
            for s in np.flatnonzero(self.at_rest)[:1]
        )

    @cached_property
    def metric_units(self) -> np.ndarray:
        """Half the width of a box, one for the terminal metric, ρ for contraction; see `Problem.metric_units`."""
        of_scenarios = np.tile(self.scenario_metrics.in_bounds(self._units), self.scenarios.count)
        return np.append(of_scenarios, np.ones(self._stabilities))

    def metric_label(self, index: int) -> str:
        """Return scenario, time and bound of a metric, in words; see `Problem.metric_label`."""
        if self.stability is not None and index >= self.of_scenarios.stop:
            return self.stability.label(index - self.of_scenarios.stop)
        scenario, row = divmod(index, len(self.scenario_metrics.rows))
        return f"scenario {scenario}, {self.scenario_metrics.rows[row].in_words}"

    def sample(self, thetas: np.ndarray) -> np.ndarray:
        """Return the metrics without saturation where the command's bounds are metrics; see `Rollouts`."""
        return self._with_stability(self.rollouts.sample(thetas), thetas)

    def _with_stability(self, metrics: np.ndarray, thetas: np.ndarray) -> np.ndarray:
        """Put the metrics of local stability after those of the scenarios, (K, m)."""
        return metrics if self.stability is None else np.hstack([metrics, self.stability.metrics(thetas)])

    def blocks(self, columns: int) -> list[Block]:
        """Return parts of the scenarios; see `Problem.blocks`."""
        rows, S = len(self.scenario_metrics.rows), self.scenarios.count
        size = max(1, NUMBERS // max(1, columns * rows))
        parts = [slice(start, min(start + size, S)) for start in range(0, S, size)]
        blocks = [Block(slice(part.start * rows, part.stop * rows), part) for part in parts]
        if self.stability is None:
            return blocks
        return [*blocks, Block(slice(S * rows, S * rows + self.stability.count), None)]

    def differences(
        self, thetas: np.ndarray, g: np.ndarray, sigma: float, block: Block
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return sampled gradients of a part of the metrics; see `Problem.differences`."""
        if self.stability is not None and block.scenarios is None:
            rows = (self.stability.metrics(thetas) - g[block.metrics]) / sigma
            return rows, np.einsum("ki,ki->i", rows, rows)
        return self.rollouts.differences(thetas, g[block.metrics], sigma, block.scenarios)

    @property
    def is_closed_loop_cost(self) -> bool:
        """Whether the objective is quadratic and the plant is not a black box."""
        return isinstance(self._objective, Quadratic) and not self.has_simulator

    @property
    def has_derivatives(self) -> bool:
        """Whether plant and objective can be differentiated: no black box among them."""
        return not self.has_simulator and not isinstance(self._objective, UserObjective)

    def jacobian(self, theta: np.ndarray, D: np.ndarray | None, block: Block) -> np.ndarray:
        """Return exact derivatives, central differences for a black box; see `Problem.jacobian`."""
        if self.stability is not None and block.scenarios is None:
            return self.stability.jacobian(theta, D)
        return self.rollouts.jacobian(theta, D, block.scenarios)

    def lagrangian_gradients(
        self, thetas: np.ndarray, multipliers: np.ndarray, curvatures: np.ndarray | None = None
    ) -> np.ndarray:
        """Return gradients of objective and metrics together; see `Problem.lagrangian_gradients`."""
        if not self.has_derivatives:
            raise DomainError(NO_DERIVATIVES)
        kappa = np.zeros_like(multipliers) if curvatures is None else curvatures
        ours, others = self.of_scenarios, slice(self.of_scenarios.stop, None)
        gradients = self.rollouts.lagrangian_gradients(thetas, multipliers[ours], kappa[ours])
        if self.stability is not None:
            gradients = gradients + self.stability.gradients(thetas, multipliers[others], kappa[others])
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
            Of each scenario's metrics.

        Returns
        -------
        gx0 : numpy.ndarray, shape (S, nx)
            Per unit of the initial state [1/x_units].
        gp : numpy.ndarray, shape (S, np)
            [1/p_units]
        gw : numpy.ndarray, shape (S, N, nx) or (S, N, 0)
            [1/x_units]
        """
        batch = scenarios.in_units(self._units)
        gx0, gp, gw = self.rollouts.scenario_gradients(theta, multipliers, batch)
        return gx0 / self._units.x, gp, gw / self._units.x if gw.size else gw

    def gauss_newton(self, theta: np.ndarray) -> np.ndarray:
        """Return the Gauss-Newton matrix of a quadratic objective; see `Problem.gauss_newton`."""
        if isinstance(self._objective, Quadratic):
            return self.rollouts.gauss_newton(theta)[2]
        return super().gauss_newton(theta)

    def _metrics(self, thetas: np.ndarray) -> np.ndarray:
        return self._with_stability(self.rollouts.evaluate(thetas)[0], thetas)

    def _evaluate(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        metrics, cost = self.rollouts.evaluate(theta[None])
        metrics = self._with_stability(metrics, theta[None])
        return float(cost[0]) if isinstance(self._objective, Quadratic) else self._value(theta), metrics[0]

    def evaluate_scenarios(self, theta: np.ndarray, scenarios: Scenarios) -> tuple[float, np.ndarray]:
        """Return the objective and the metrics of other scenarios, local stability not among them.

        Parameters
        ----------
        theta : numpy.ndarray, shape (d,)
        scenarios : Scenarios
            S of them.

        Returns
        -------
        objective : float
        metrics : numpy.ndarray, shape (S, rows_per_scenario)
            In `metric_units`; where a rollout is lost, not finite.
        """
        there = self.with_scenarios(scenarios, theta)
        metrics, cost = there.rollouts.evaluate(theta[None])
        objective = float(cost[0]) if isinstance(self._objective, Quadratic) else there._value(theta)
        return objective, metrics.reshape(scenarios.count, -1)

    def _value(self, theta: np.ndarray) -> float:
        if isinstance(self._objective, UserObjective):
            return self._objective.oracle(theta)[0]
        of_data = self._imitation
        return float(self.rollouts.evaluate(theta[None])[1][0] if of_data is None else of_data[0](theta[None])[0][0, 0])

    def _gradient(self, theta: np.ndarray) -> np.ndarray:
        if isinstance(self._objective, UserObjective):
            return self._objective.oracle(theta)[1]
        if self._imitation is not None:
            return self._imitation[1](theta[None])[1][0]
        return self.rollouts.gradient(theta)[1]


def _check_states(policy: Policy, scenarios: Scenarios) -> None:
    """Check that scenarios are there, of the plant, and no more than a run can bear."""
    plant = policy.plant
    as_instance("scenarios", scenarios, Scenarios)
    if not scenarios.count:
        raise DimensionError("scenarios is empty; give at least one")
    if scenarios.x0.shape[1] != plant.nx:
        raise DimensionError(f"scenarios have {scenarios.x0.shape[1]} states, the plant has {plant.nx}")
    check_rollouts(scenarios.count, scenarios.horizon, plant.nx, plant.nu, policy.theta_dim)
