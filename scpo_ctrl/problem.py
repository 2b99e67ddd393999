"""What is adapted: metrics and objective as functions of θ, from a plant or from the user's own functions."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import casadi as ca
import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.backup import Backup
from scpo_ctrl.compiled import StackFunction, compile_functions
from scpo_ctrl.errors import DimensionError, DomainError, EvaluationError
from scpo_ctrl.metrics import MetricOptions, Metrics
from scpo_ctrl.models import Plant
from scpo_ctrl.objective import Imitation, Objective, Quadratic, UserObjective
from scpo_ctrl.policy import Policy
from scpo_ctrl.rollout import Rollouts, Step
from scpo_ctrl.scenario import Scenarios
from scpo_ctrl.validate import as_array

_NO_DERIVATIVES = "this problem has no derivatives of its metrics; use sampled gradients and a first-order method"
_NUMBERS = 1 << 25  # sampled metrics kept at once


@dataclass(frozen=True)
class Block:
    """A part of the metric vector that is sampled at once."""

    metrics: slice
    scenarios: slice | None  # the same part of the scenarios; None for all


class Problem(ABC):
    """minimise ℓ(θ) subject to g(θ) ≤ 0 (E1), from a safe start θ₀. Subclasses give the three functions below.

    Parameters
    ----------
    theta_initial : array_like, shape (d,)
        The safe start.
    """

    rollouts_per_theta: int = 1  # rollouts that one evaluation of the metrics costs

    def __init__(self, theta_initial: ArrayLike) -> None:
        self.theta_initial = as_array("theta_initial", theta_initial, (None,))
        if not self.theta_initial.size:
            raise DimensionError("theta_initial is empty; a policy needs at least one parameter")

    @property
    def theta_dim(self) -> int:
        """Number of parameters d."""
        return self.theta_initial.size

    @property
    @abstractmethod
    def varies(self) -> np.ndarray:
        """Which metrics depend on θ, shape (m,), bool; the others cannot bound a step."""

    @abstractmethod
    def _metrics(self, thetas: np.ndarray) -> np.ndarray:
        """Metrics of a stack, (K, d) -> (K, m)."""

    @abstractmethod
    def _value(self, theta: np.ndarray) -> float:
        """Objective of one θ."""

    @abstractmethod
    def _gradient(self, theta: np.ndarray) -> np.ndarray:
        """Gradient of the objective at one θ, shape (d,)."""

    def sample(self, thetas: np.ndarray) -> np.ndarray:
        """Return metrics to take differences of: smooth, and equal to `metrics` where all are safe.

        Parameters
        ----------
        thetas : numpy.ndarray, shape (K, d)

        Returns
        -------
        numpy.ndarray, shape (K, m)
        """
        return self._metrics(thetas)

    def blocks(self, columns: int) -> list[Block]:
        """Return parts of the metric vector of which `columns` copies fit into memory at once.

        Parameters
        ----------
        columns : int
            How many θ are sampled.

        Returns
        -------
        list of Block
            Together all metrics, in their order.
        """
        return [Block(slice(0, self.varies.size), None)]

    def differences(
        self, thetas: np.ndarray, g: np.ndarray, sigma: float, block: Block
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return (sample - g) / σ for a part of the metrics (E2), and the squared norms of its columns.

        Parameters
        ----------
        thetas : numpy.ndarray, shape (K, d)
            θ + σ d_j.
        g : numpy.ndarray, shape (m,)
            All metrics at θ.
        sigma : float
            Sampling radius σ.
        block : Block

        Returns
        -------
        differences : numpy.ndarray, shape (K, block)
        squares : numpy.ndarray, shape (block,)
        """
        rows = (self.sample(thetas)[:, block.metrics] - g[block.metrics]) / sigma
        return rows, np.einsum("ki,ki->i", rows, rows)

    @property
    def is_closed_loop_cost(self) -> bool:
        """Whether the objective is a cost of rollouts of a model: there Newton's method pays."""
        return False

    @property
    def has_derivatives(self) -> bool:
        """Whether `jacobian` and `lagrangian_gradients` exist: a model that can be differentiated."""
        return False

    def jacobian(self, theta: np.ndarray, D: np.ndarray | None, block: Block) -> np.ndarray:
        """Return exact derivatives of a part of the metrics along directions: (E2) for σ → 0, its error e = 0.

        Parameters
        ----------
        theta : numpy.ndarray, shape (d,)
        D : numpy.ndarray, shape (p, d), or None
            Directions; the full basis if None.
        block : Block

        Returns
        -------
        numpy.ndarray, shape (p, block)

        Raises
        ------
        DomainError
            If the problem has no derivatives.
        """
        raise DomainError(_NO_DERIVATIVES)

    def lagrangian_gradients(self, thetas: np.ndarray, multipliers: np.ndarray) -> np.ndarray:
        """Return gradients of ℓ + Σ λ_i g_i.

        Parameters
        ----------
        thetas : numpy.ndarray, shape (K, d)
        multipliers : numpy.ndarray, shape (m,)
            λ, >= 0.

        Returns
        -------
        numpy.ndarray, shape (K, d)

        Raises
        ------
        DomainError
            If the problem has no derivatives.
        """
        raise DomainError(_NO_DERIVATIVES)

    def gauss_newton(self, theta: np.ndarray) -> np.ndarray:
        """Return the Gauss-Newton matrix of the objective, 2 JᵀJ for a sum of squares with Jacobian J.

        Parameters
        ----------
        theta : numpy.ndarray, shape (d,)

        Returns
        -------
        numpy.ndarray, shape (d, d)

        Raises
        ------
        DomainError
            If the objective is not known to be a sum of squares.
        """
        raise DomainError("the objective is not known to be a sum of squares; use another method than 'gauss_newton'")

    def _evaluate(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Objective and metrics of one θ; overridden where both come from the same rollouts."""
        return self._value(theta), self._metrics(theta[None])[0]

    def metric_label(self, index: int) -> str:
        """Return what a metric means, in words.

        Parameters
        ----------
        index : int
            Position in the metric vector.

        Returns
        -------
        str
        """
        return f"metric {index}"

    def metrics(self, theta: ArrayLike) -> np.ndarray:
        """Return the safety metrics g(θ), safe at or below zero.

        Parameters
        ----------
        theta : array_like, shape (d,) or (K, d)

        Returns
        -------
        numpy.ndarray, shape (m,) or (K, m)

        Raises
        ------
        DimensionError, DomainError
            If theta has the wrong shape or is not finite.
        """
        theta = self._checked(theta)
        return self._metrics(np.atleast_2d(theta)).reshape(*theta.shape[:-1], -1)

    def objective(self, theta: ArrayLike) -> float | np.ndarray:
        """Return the objective ℓ(θ).

        Parameters
        ----------
        theta : array_like, shape (d,) or (K, d)

        Returns
        -------
        float or numpy.ndarray, shape (K,)

        Raises
        ------
        DimensionError, DomainError
            If theta has the wrong shape or is not finite.
        """
        theta = self._checked(theta)
        return self._value(theta) if theta.ndim == 1 else np.array([self._value(row) for row in theta])

    def gradient(self, theta: ArrayLike) -> np.ndarray:
        """Return the gradient of the objective.

        Parameters
        ----------
        theta : array_like, shape (d,)

        Returns
        -------
        numpy.ndarray, shape (d,)

        Raises
        ------
        EvaluationError
            If it is not finite.
        """
        gradient = self._gradient(as_array("theta", theta, (self.theta_dim,)))
        if not np.isfinite(gradient).all():
            raise EvaluationError("the gradient of the objective is not finite at a safe policy; check the objective")
        return gradient

    def evaluate(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Return objective and metrics of one θ, from the same rollouts where possible.

        Parameters
        ----------
        theta : numpy.ndarray, shape (d,)

        Returns
        -------
        objective : float
        metrics : numpy.ndarray, shape (m,)
            Either may be non-finite; the caller does not commit such a policy.
        """
        return self._evaluate(theta)

    def _checked(self, theta: ArrayLike) -> np.ndarray:
        if np.ndim(theta) == 1:
            return as_array("theta", theta, (self.theta_dim,))
        return as_array("theta", theta, (None, self.theta_dim))


class ControlProblem(Problem):
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
        super().__init__(policy.theta_initial(seed))
        self.policy, self.scenarios, self._objective = policy, scenarios, objective
        self.scenario_metrics = Metrics(policy.plant, policy.backup, scenarios.horizon, metrics or MetricOptions())
        if scenarios.x0.shape[1] != policy.plant.nx:
            raise DimensionError(f"scenarios have {scenarios.x0.shape[1]} states, the plant has {policy.plant.nx}")
        quadratic = objective if isinstance(objective, Quadratic) else None
        self.rollouts = Rollouts(policy, scenarios, self.scenario_metrics, quadratic, simulator=simulator)
        self.rollouts_per_theta = scenarios.count
        self.has_simulator = simulator is not None
        self._imitation = objective.compiled(policy) if isinstance(objective, Imitation) else None

    @property
    def plant(self) -> Plant:
        """The plant."""
        return self.policy.plant

    @property
    def backup(self) -> Backup:
        """The backup controller."""
        return self.policy.backup

    @cached_property
    def varies(self) -> np.ndarray:
        """Which metrics depend on θ: all but the state bounds at t = 0, shape (m,), bool."""
        return np.tile(self.scenario_metrics.varies, self.scenarios.count)

    def metric_label(self, index: int) -> str:
        """Return scenario, time and bound of a metric, in words.

        Parameters
        ----------
        index : int
            Position in the metric vector.

        Returns
        -------
        str
        """
        scenario, row = divmod(index, len(self.scenario_metrics.rows))
        meaning = self.scenario_metrics.rows[row]
        return f"scenario {scenario}, t = {meaning.time}: {meaning.label}"

    def sample(self, thetas: np.ndarray) -> np.ndarray:
        """Return the metrics without saturation where the command's bounds are metrics; see `Rollouts`.

        Parameters
        ----------
        thetas : numpy.ndarray, shape (K, d)

        Returns
        -------
        numpy.ndarray, shape (K, m)
        """
        return self.rollouts.sample(thetas)

    def blocks(self, columns: int) -> list[Block]:
        """Return parts of the scenarios; see `Problem.blocks`.

        Parameters
        ----------
        columns : int
            How many θ are sampled.

        Returns
        -------
        list of Block
        """
        rows, S = len(self.scenario_metrics.rows), self.scenarios.count
        size = max(1, _NUMBERS // max(1, columns * rows))
        parts = [slice(start, min(start + size, S)) for start in range(0, S, size)]
        return [Block(slice(part.start * rows, part.stop * rows), part) for part in parts]

    def differences(
        self, thetas: np.ndarray, g: np.ndarray, sigma: float, block: Block
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return sampled gradients of a part of the metrics; see `Problem.differences`.

        Parameters
        ----------
        thetas : numpy.ndarray, shape (K, d)
        g : numpy.ndarray, shape (m,)
        sigma : float
        block : Block

        Returns
        -------
        differences : numpy.ndarray, shape (K, block)
        squares : numpy.ndarray, shape (block,)
        """
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
        """Return exact derivatives of a part of the metrics, differences for a black box; see `Problem.jacobian`.

        Parameters
        ----------
        theta : numpy.ndarray, shape (d,)
        D : numpy.ndarray, shape (p, d), or None
        block : Block

        Returns
        -------
        numpy.ndarray, shape (p, block)
        """
        return self.rollouts.jacobian(theta, D, block.scenarios)

    def lagrangian_gradients(self, thetas: np.ndarray, multipliers: np.ndarray) -> np.ndarray:
        """Return gradients of ℓ + Σ λ_i g_i; see `Problem.lagrangian_gradients`.

        Parameters
        ----------
        thetas : numpy.ndarray, shape (K, d)
        multipliers : numpy.ndarray, shape (m,)

        Returns
        -------
        numpy.ndarray, shape (K, d)

        Raises
        ------
        DomainError
            If plant or objective are a black box.
        """
        if not self.has_derivatives:
            raise DomainError(_NO_DERIVATIVES)
        gradients = self.rollouts.lagrangian_gradients(thetas, multipliers)
        return gradients + self._imitation[1](thetas)[1] if self._imitation is not None else gradients

    def gauss_newton(self, theta: np.ndarray) -> np.ndarray:
        """Return the Gauss-Newton matrix of a quadratic objective; see `Problem.gauss_newton`.

        Parameters
        ----------
        theta : numpy.ndarray, shape (d,)

        Returns
        -------
        numpy.ndarray, shape (d, d)
        """
        if isinstance(self._objective, Quadratic):
            return self.rollouts.gauss_newton(theta)[2]
        return super().gauss_newton(theta)

    def _metrics(self, thetas: np.ndarray) -> np.ndarray:
        return self.rollouts.evaluate(thetas)[0]

    def _evaluate(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        metrics, cost = self.rollouts.evaluate(theta[None])
        return float(cost[0]) if isinstance(self._objective, Quadratic) else self._value(theta), metrics[0]

    def _value(self, theta: np.ndarray) -> float:
        if isinstance(self._objective, UserObjective):
            return self._objective.oracle(theta)[0]
        if self._imitation is not None:
            return float(self._imitation[0](theta[None])[0][0, 0])
        return float(self.rollouts.evaluate(theta[None])[1][0])

    def _gradient(self, theta: np.ndarray) -> np.ndarray:
        if isinstance(self._objective, UserObjective):
            return self._objective.oracle(theta)[1]
        if self._imitation is not None:
            return self._imitation[1](theta[None])[1][0]
        return self.rollouts.gradient(theta)[1]


class FunctionProblem(Problem):
    """The user's own metrics and objective, no plant: metrics of stacks, and a first-order oracle.

    Parameters
    ----------
    theta_initial : array_like, shape (d,)
        The safe start.
    metrics : callable
        ``(K, d) -> (K, m)``, all rows at once.
    objective : UserObjective
        What is minimised.
    labels : sequence of str, optional
        What the metrics mean, for reports.
    """

    def __init__(
        self,
        theta_initial: ArrayLike,
        metrics: Callable[[np.ndarray], np.ndarray],
        objective: UserObjective,
        *,
        labels: tuple[str, ...] = (),
    ) -> None:
        super().__init__(theta_initial)
        self._user_metrics, self._objective, self._labels = metrics, objective, labels
        self._count = self._metrics(self.theta_initial[None]).shape[1]
        if labels and len(labels) != self._count:
            raise DimensionError(f"labels has {len(labels)} entries, expected one for each of {self._count} metrics")

    @classmethod
    def from_casadi(
        cls,
        theta: ca.SX | ca.MX,
        objective: ca.SX | ca.MX,
        metrics: ca.SX | ca.MX,
        theta_initial: ArrayLike,
        *,
        labels: tuple[str, ...] = (),
    ) -> "FunctionProblem":
        """Make a problem from CasADi expressions of θ, compiled where a compiler is there.

        Parameters
        ----------
        theta : casadi.SX or casadi.MX, shape (d, 1)
            Symbols.
        objective : casadi.SX or casadi.MX, scalar
        metrics : casadi.SX or casadi.MX, shape (m, 1)
        theta_initial : array_like, shape (d,)
            The safe start.
        labels : tuple of str, optional
            What the metrics mean, for reports.

        Returns
        -------
        FunctionProblem
        """
        functions = [
            ca.Function("metrics", [theta], [metrics]),
            ca.Function("oracle", [theta], [objective, ca.gradient(objective, theta)]),
        ]
        stack, oracle = (StackFunction(function, []) for function in compile_functions(functions))

        def value_and_gradient(point: np.ndarray) -> tuple[float, np.ndarray]:
            value, gradient = oracle(point[None])
            return float(value[0, 0]), gradient[0]

        return cls(theta_initial, lambda thetas: stack(thetas)[0], UserObjective(value_and_gradient), labels=labels)

    @cached_property
    def varies(self) -> np.ndarray:
        """All True: nothing is known about the user's metrics, shape (m,), bool."""
        return np.ones(self._count, dtype=bool)

    def metric_label(self, index: int) -> str:
        """Return the user's label of a metric.

        Parameters
        ----------
        index : int
            Position in the metric vector.

        Returns
        -------
        str
        """
        return self._labels[index] if self._labels else super().metric_label(index)

    def _metrics(self, thetas: np.ndarray) -> np.ndarray:
        try:
            values = np.asarray(self._user_metrics(thetas), dtype=float)
        except Exception as error:
            raise EvaluationError(f"the metrics raised {type(error).__name__}: {error}") from error
        if values.ndim != 2 or len(values) != len(thetas):
            raise DimensionError(
                f"the metrics returned shape {values.shape} for {len(thetas)} policies, expected (K, m)"
            )
        return values

    def _value(self, theta: np.ndarray) -> float:
        return self._objective.oracle(theta)[0]

    def _gradient(self, theta: np.ndarray) -> np.ndarray:
        return self._objective.oracle(theta)[1]
