"""What a rollout engine is made of, and what it does."""

from dataclasses import dataclass
from typing import Protocol

import casadi as ca
import numpy as np

from scpo_ctrl.loop.controlled import LoopPolicy
from scpo_ctrl.loop.metrics import Metrics
from scpo_ctrl.loop.scenario import Scenarios


class StageCost(Protocol):
    """What has the diagonals of a stage cost."""

    @property
    def Q(self) -> np.ndarray:
        """Weights of the states (nx,)."""
        ...

    @property
    def R(self) -> np.ndarray:
        """Weights of the inputs (nu,)."""
        ...


@dataclass(frozen=True)
class CostTerms:
    """A cost by expressions: Σ_{t<N} ℓ(x_t, u_t, u_{t-1}, p) + ℓ_N(x_N, p), u the input applied; u_{-1} is u_0."""

    stage: ca.Function  # (x, u, v, p) -> ℓ, v the input before
    terminal: ca.Function  # (x, p) -> ℓ_N
    residuals: ca.Function | None = None  # (x, u, v, p) -> r with ℓ = |r|²; None where the cost is no sum of squares
    terminal_residuals: ca.Function | None = None  # (x, p) -> r with ℓ_N = |r|²


@dataclass(frozen=True)
class Stage:
    """The stage cost: the diagonal zᵀQz + vᵀRv, zero where nothing is to be minimised, or expressions in its place."""

    Q: np.ndarray  # (nx,)
    R: np.ndarray  # (nu,)
    terms: CostTerms | None = None


@dataclass(frozen=True)
class Loop:
    """A closed loop without its scenarios: what engines are made of."""

    policy: LoopPolicy
    metrics: Metrics
    stage: Stage


class Engine(Protocol):
    """Rolls out scenarios. `saturated` loops are the true ones; smooth ones apply the command as it is.

    Shapes: K parameters of dimension d, S scenarios of the batch over N steps, m = S · rows metrics.
    """

    def metrics(self, batch: Scenarios, thetas: np.ndarray, out: np.ndarray, *, saturated: bool) -> None:
        """Fill `out` (K, m) with metrics."""
        ...

    def differences(
        self,
        batch: Scenarios,
        thetas: np.ndarray,
        origin: np.ndarray,
        sigma: float,
        out: np.ndarray,
        *,
        saturated: bool,
    ) -> np.ndarray:
        """Fill `out` (K, m) with (metrics - origin) / σ and return the sums over K of its entries squared (m,)."""
        self.metrics(batch, thetas, out, saturated=saturated)
        with np.errstate(invalid="ignore", over="ignore"):
            out -= origin
            out *= 1 / sigma
            return np.einsum("ki,ki->i", out, out)

    def evaluate(self, batch: Scenarios, thetas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return metrics (K, m) and mean costs (K,) of the saturated loop."""
        ...

    def gradient(self, batch: Scenarios, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the mean cost of the saturated loop and its gradient (d,)."""
        ...

    def lagrangian_gradients(
        self, batch: Scenarios, thetas: np.ndarray, multipliers: np.ndarray, curvatures: np.ndarray, *, saturated: bool
    ) -> np.ndarray:
        """Return gradients (K, d) of mean cost + Σ λ_i g_i + κ_i g_i² / 2, multipliers λ and curvatures κ (m,)."""
        ...

    def jacobian(self, batch: Scenarios, theta: np.ndarray, D: np.ndarray | None, *, saturated: bool) -> np.ndarray:
        """Return derivatives (p, m) of the metrics along the rows of D (p, d), the full basis if None."""
        ...

    def scenario_gradients(
        self, batch: Scenarios, theta: np.ndarray, multipliers: np.ndarray, *, saturated: bool = True
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return gradients of Σ_i λ_si g_i of each scenario s with respect to itself, multipliers λ (S, rows).

        With respect to its initial state (S, nx), its plant parameters (S, np), and its disturbances (S, N, nx), or
        (S, N, 0) where the batch has none.
        """
        ...

    def rests(self, batch: Scenarios) -> np.ndarray | None:
        """Return where the contraction of each scenario is about (S, nx), None for the nominal equilibrium."""
        ...

    def gauss_newton(self, batch: Scenarios, theta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Return mean cost, gradient (d,) and Gauss-Newton matrix (d, d) of the saturated loop."""
        ...

    def trajectories(self, batch: Scenarios, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return states (S, N + 1, nx) and commands before saturation (S, N, nu)."""
        ...
