"""What is adapted: metrics and objective as functions of θ.

Only `Problem.metrics` counts metrics in the units of their bounds. Everywhere else they count in `metric_units`: there
a small number is small for every metric, and no step depends on the units that a user chose.
"""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.engine.rollout import NO_SQUARES
from scpo_ctrl.errors import DimensionError, DomainError, EvaluationError
from scpo_ctrl.problem.doors import Block, Checked
from scpo_ctrl.problem.remedy import fixed_note
from scpo_ctrl.validate import as_array, dimensions

NO_DERIVATIVES = "this problem has no derivatives of its metrics; use sampled gradients and a first-order method"
_PROBES = 16  # by which a metric that cannot move is recognised
NUMBERS = 1 << 25  # sampled metrics kept at once


class Problem(Checked, ABC):
    """minimise ℓ(θ) subject to g(θ) ≤ 0 (E1), from a safe start θ₀. Subclasses give the three functions below.

    Parameters
    ----------
    theta_initial : array_like, shape (d,)
        The safe start.

    Examples
    --------
    After the example of `adapt`:

    >>> isinstance(problem, sc.Problem), problem.objective(result.theta) == result.objective_final
    (True, True)
    """

    _fixed: np.ndarray | None = None  # (m,) bool, set by `find_fixed`
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

    @property
    def moves(self) -> np.ndarray:
        """Which metrics can bound a step, shape (m,), bool: those that vary, without those `find_fixed` found."""
        return self.varies if self._fixed is None else self.varies & ~self._fixed

    def find_fixed(self, g: np.ndarray) -> np.ndarray:
        """Find metrics that are zero at the safe start and at every probe around it: no step may bend to them.

        A metric at zero whose gradient is zero leaves no room to any step (E5), and one that is constant needs none.
        Probes lie at several distances in random directions. Verification of a step still counts every metric.

        Parameters
        ----------
        g : numpy.ndarray, shape (m,)
            Metrics at the safe start.

        Returns
        -------
        numpy.ndarray of int
            Their indices; none are looked for where no metric is exactly zero.
        """
        suspects = np.flatnonzero((g == 0) & self.varies)
        self._fixed = None
        if suspects.size:
            rng = np.random.default_rng(0)
            steps = rng.normal(size=(_PROBES, self.theta_dim)) * np.geomspace(1e-3, 1.0, _PROBES)[:, None]
            with np.errstate(all="ignore"):
                values = self._metrics(self.theta_initial + steps)[:, suspects]
            suspects = suspects[(values == 0).all(axis=0)]
            self._fixed = np.zeros(g.size, dtype=bool)
            self._fixed[suspects] = True
        return suspects

    def remedy(self, index: int) -> str:
        """Return what to do about a metric that is positive at the safe start.

        Parameters
        ----------
        index : int
            Position in the metric vector.

        Returns
        -------
        str
        """
        return "start from parameters at which every metric is at or below zero"

    def notes(self) -> tuple[str, ...]:
        """Return in words which metrics a run leaves out because they cannot move; at most one line for all.

        Returns
        -------
        tuple of str
        """
        return fixed_note(self, np.zeros(0, dtype=np.int64) if self._fixed is None else np.flatnonzero(self._fixed))

    @property
    def metric_units(self) -> np.ndarray:
        """What counts as one of each metric, in the unit of its bound, shape (m,)."""
        return np.ones(self.varies.size)

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
        raise DomainError(NO_DERIVATIVES)

    def lagrangian_gradients(
        self, thetas: np.ndarray, multipliers: np.ndarray, curvatures: np.ndarray | None = None
    ) -> np.ndarray:
        """Return gradients of ℓ + Σ λ_i g_i + κ_i g_i² / 2.

        Parameters
        ----------
        thetas : numpy.ndarray, shape (K, d)
        multipliers : numpy.ndarray, shape (m,)
            λ.
        curvatures : numpy.ndarray, shape (m,), optional
            κ; zero by default.

        Returns
        -------
        numpy.ndarray, shape (K, d)

        Raises
        ------
        DomainError
            If the problem has no derivatives.
        """
        raise DomainError(NO_DERIVATIVES)

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
        raise DomainError(NO_SQUARES)

    def _evaluate(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Objective and metrics of one θ; overridden where both come from the same rollouts."""
        return self._value(theta), self._metrics(theta[None])[0]

    def spectral_radius(self, theta: np.ndarray) -> float | None:
        """Return the spectral radius of a closed loop at rest, the largest over its plant parameters.

        Parameters
        ----------
        theta : numpy.ndarray, shape (d,)

        Returns
        -------
        float or None
            Infinite without an equilibrium, None without a model.
        """
        return None

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
        """Return the safety metrics g(θ) in the units of their bounds, safe at or below zero.

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
        found = self.in_bounds_units(self._metrics(np.atleast_2d(theta)))
        return found[0] if theta.ndim == 1 else found

    def in_bounds_units(self, g: np.ndarray) -> np.ndarray:
        """Return metrics that count in `metric_units` in the units of their bounds.

        Parameters
        ----------
        g : numpy.ndarray, shape (..., m)

        Returns
        -------
        numpy.ndarray, shape (..., m)
        """
        with np.errstate(over="ignore"):
            return np.asarray(g * self.metric_units)

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
            In `metric_units`. Either may be non-finite; the caller does not commit such a policy.
        """
        return self._evaluate(theta)

    def _checked(self, theta: ArrayLike) -> np.ndarray:
        if dimensions(theta) == 1:
            return as_array("theta", theta, (self.theta_dim,))
        return as_array("theta", theta, (None, self.theta_dim))
