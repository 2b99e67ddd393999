"""Closed-loop rollouts of plant and policy over scenarios and parameters: metrics, costs, and their derivatives."""

import copy

import casadi as ca
import numpy as np

from scpo_ctrl.compiled import find_compiler, notice_once
from scpo_ctrl.engine.casadi_engine import CasadiEngine
from scpo_ctrl.engine.emit import UnknownOperationError
from scpo_ctrl.engine.lanes import LaneEngine
from scpo_ctrl.engine.loop import Engine, Loop, Stage, StageCost
from scpo_ctrl.engine.simulator import SimulatorEngine
from scpo_ctrl.errors import DimensionError, DomainError
from scpo_ctrl.loop.black_box import Step
from scpo_ctrl.loop.controlled import LoopPolicy
from scpo_ctrl.loop.metrics import Metrics
from scpo_ctrl.loop.scenario import Scenarios

NO_SQUARES = "the objective is not known to be a sum of squares; use another method than 'gauss_newton'"


class Rollouts:
    """The closed loop over all scenarios: metrics, mean stage cost, their derivatives, and trajectories.

    Where metrics bound the command, saturation never acts at safe parameters. Then `sample`, `differences` and
    `jacobian` leave it out: their metrics are equal wherever all are safe, and tell the same parameters unsafe (up to
    the first command beyond a bound the trajectories agree), but they are smooth across the bounds. With saturation, θ
    and a sample θ + σ d_j beyond a nearly active command bound have a kink between them, which no smoothness constant
    covers.

    Results are new arrays; nothing is kept between calls. A rollout that diverges has metrics that are infinite or NaN.

    Parameters
    ----------
    policy : Policy or ControllerPolicy
        In closed loop with its plant.
    batch : Scenarios
        What is rolled out.
    metrics : Metrics
        Of one scenario.
    objective : StageCost, optional
        Such as `Stage`, whose cost is summed up over time; no cost if None.
    simulator : callable or casadi.Function, optional
        A black box in the plant's place, ``(x, u, p) -> x_next``: a Python function of stacks of shapes (n, nx),
        (n, nu) and (n, np), or a CasADi function of columns. Derivatives are then central differences.

    Raises
    ------
    DimensionError
        If scenarios, objective or simulator do not fit the plant.
    CompilerError
        If the C compiler refuses the engine.
    """

    def __init__(
        self,
        policy: LoopPolicy,
        batch: Scenarios,
        metrics: Metrics,
        objective: StageCost | None = None,
        *,
        simulator: Step | ca.Function | None = None,
    ) -> None:
        self.batch, self.policy, self.metrics = batch, policy, metrics
        plant = policy.plant
        Q, R = (objective.Q, objective.R) if objective else (np.zeros(plant.nx), np.zeros(plant.nu))
        for key, diagonal, size in (("Q", Q, plant.nx), ("R", R, plant.nu)):
            if len(diagonal) != size:
                raise DimensionError(f"objective {key} has {len(diagonal)} entries, expected {size}")
        _check_fit(batch, plant.nx, plant.npar)
        self._rows, self._theta_dim = len(metrics.rows), policy.theta_dim
        self._saturated = not metrics.bounds_command  # also where metrics are sampled
        terms = objective.terms if isinstance(objective, Stage) else None
        self.is_least_squares = terms is None or terms.residuals is not None  # for Gauss-Newton
        self._engine = _make_engine(Loop(policy, metrics, Stage(Q, R, terms)), simulator)

    def over(self, batch: Scenarios) -> "Rollouts":
        """Return the same loop over other scenarios of the same horizon, by the same engine.

        Parameters
        ----------
        batch : Scenarios

        Returns
        -------
        Rollouts

        Raises
        ------
        DimensionError
            If the scenarios do not fit.
        """
        other = copy.copy(self)
        other.batch = self._like_its_own(batch)
        return other

    def prepare(self) -> None:
        """Compile derivatives now, not when they are first asked for, which nobody may have the time to wait for."""
        if isinstance(self._engine, LaneEngine):
            self._engine.prepare()

    def evaluate(self, thetas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return metrics and mean cost of the saturated loop.

        Parameters
        ----------
        thetas : numpy.ndarray, shape (K, d)

        Returns
        -------
        metrics : numpy.ndarray, shape (K, m)
        cost : numpy.ndarray, shape (K,)
            Mean over scenarios and time steps, a terminal cost counted as one more term of the sum.
        """
        return self._engine.evaluate(self.batch, self._stack(thetas))

    def sample(self, thetas: np.ndarray, scenarios: slice | None = None) -> np.ndarray:
        """Return metrics to take differences of, smooth across the command's bounds.

        Parameters
        ----------
        thetas : numpy.ndarray, shape (K, d)
        scenarios : slice, optional
            Part of the batch; all by default.

        Returns
        -------
        numpy.ndarray, shape (K, m)
            m counts the metrics of the scenarios asked for.
        """
        thetas, batch = self._stack(thetas), self._part(scenarios)
        samples = np.empty((len(thetas), batch.count * self._rows))
        self._engine.metrics(batch, thetas, samples, saturated=self._saturated)
        return samples

    def differences(
        self,
        thetas: np.ndarray,
        g: np.ndarray,
        sigma: float,
        scenarios: slice | None = None,
        *,
        out: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return (sample - g) / σ, the sampled gradients (E2), and their squared norms, without a copy in between.

        Parameters
        ----------
        thetas : numpy.ndarray, shape (K, d)
            θ + σ d_j.
        g : numpy.ndarray, shape (m,)
            Metrics at θ of the scenarios asked for.
        sigma : float
            Sampling radius σ.
        scenarios : slice, optional
            Part of the batch; all by default.
        out : numpy.ndarray, shape (K, m), optional
            C-contiguous memory for the differences; new memory by default.

        Returns
        -------
        differences : numpy.ndarray, shape (K, m)
        squares : numpy.ndarray, shape (m,)
            Sums over K of the differences squared.

        Raises
        ------
        DimensionError
            If g or out has the wrong shape.
        """
        thetas, batch = self._stack(thetas), self._part(scenarios)
        shape = (len(thetas), batch.count * self._rows)
        out = np.empty(shape) if out is None else out
        if out.shape != shape or not out.flags.c_contiguous or out.dtype != float:
            raise DimensionError(f"out has shape {out.shape}, expected {shape}, C-contiguous and of doubles")
        if np.shape(g) != shape[1:]:
            raise DimensionError(f"g has shape {np.shape(g)}, expected {shape[1:]}")
        g = np.ascontiguousarray(g, dtype=float)
        return out, self._engine.differences(batch, thetas, g, sigma, out, saturated=self._saturated)

    def gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the mean cost of the saturated loop and its gradient.

        Parameters
        ----------
        theta : numpy.ndarray, shape (d,)

        Returns
        -------
        cost : float
        gradient : numpy.ndarray, shape (d,)
        """
        return self._engine.gradient(self.batch, self._point(theta))

    def lagrangian_gradients(
        self, thetas: np.ndarray, multipliers: np.ndarray, curvatures: np.ndarray | None = None
    ) -> np.ndarray:
        """Return gradients of mean cost + Σ λ_i g_i + κ_i g_i² / 2, of the loop that is sampled.

        Parameters
        ----------
        thetas : numpy.ndarray, shape (K, d)
        multipliers : numpy.ndarray, shape (m,)
            λ, of the metrics of all scenarios.
        curvatures : numpy.ndarray, shape (m,), optional
            κ; zero by default.

        Returns
        -------
        numpy.ndarray, shape (K, d)

        Raises
        ------
        DomainError
            If the plant is a black box: gradients by differences are too rough to be differentiated again.
        DimensionError
            If a shape does not fit.
        """
        multipliers = np.asarray(multipliers, dtype=float)
        curvatures = np.zeros_like(multipliers) if curvatures is None else np.asarray(curvatures, dtype=float)
        for name, values in (("multipliers", multipliers), ("curvatures", curvatures)):
            if values.shape != (self.batch.count * self._rows,):
                raise DimensionError(f"{name} have shape {values.shape}, expected ({self.batch.count * self._rows},)")
        return self._engine.lagrangian_gradients(
            self.batch, self._stack(thetas), multipliers, curvatures, saturated=self._saturated
        )

    def jacobian(self, theta: np.ndarray, D: np.ndarray | None = None, scenarios: slice | None = None) -> np.ndarray:
        """Return the derivatives of the sampled metrics along directions: Ĝ of (E2) for σ → 0, whose e is zero.

        Parameters
        ----------
        theta : numpy.ndarray, shape (d,)
        D : numpy.ndarray, shape (p, d), optional
            Directions; the full basis if None.
        scenarios : slice, optional
            Part of the batch; all by default.

        Returns
        -------
        numpy.ndarray, shape (p, m)
        """
        D = None if D is None else self._stack(D)
        return self._engine.jacobian(self._part(scenarios), self._point(theta), D, saturated=self._saturated)

    def scenario_gradients(
        self, theta: np.ndarray, multipliers: np.ndarray, batch: Scenarios | None = None, *, saturated: bool = True
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return gradients of weighted metrics with respect to the scenarios: where each one gets worse.

        They are those of Σ_i λ_si g_i of each scenario s, with respect to its own initial state, plant parameters and
        disturbances; g_i its metrics in the order of `Metrics.rows`. A scenario whose rollout is lost may have
        gradients that are not finite; the others have theirs.

        Parameters
        ----------
        theta : numpy.ndarray, shape (d,)
        multipliers : numpy.ndarray, shape (S, rows)
            λ; the gradient of one metric of each scenario if they are unit vectors.
        batch : Scenarios, optional
            Other scenarios over the same horizon, such as those of a search; the own batch by default.
        saturated : bool
            Of the true loop, whose command does not change the input while it is beyond a bound; of the smooth loop if
            False.

        Returns
        -------
        gx0 : numpy.ndarray, shape (S, nx)
        gp : numpy.ndarray, shape (S, np)
        gw : numpy.ndarray, shape (S, N, nx)
            Or (S, N, 0) where the batch has no disturbances.

        Raises
        ------
        DimensionError
            If a shape does not fit.
        EvaluationError
            If a black box in the plant's place fails.
        """
        batch = self.batch if batch is None else self._like_its_own(batch)
        multipliers = np.ascontiguousarray(multipliers, dtype=float)
        if multipliers.shape != (batch.count, self._rows):
            raise DimensionError(f"multipliers have shape {multipliers.shape}, expected ({batch.count}, {self._rows})")
        return self._engine.scenario_gradients(batch, self._point(theta), multipliers, saturated=saturated)

    def rests(self, batch: Scenarios | None = None) -> np.ndarray | None:
        """Return where contraction (E8) is about: where each scenario's loop under the backup is at rest.

        Parameters
        ----------
        batch : Scenarios, optional
            Others than its own.

        Returns
        -------
        numpy.ndarray, shape (S, nx), or None
            NaN where it does not come to rest; None where contraction is about the nominal equilibrium, or not asked.
        """
        return self._engine.rests(self.batch if batch is None else batch)

    def gauss_newton(self, theta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Return mean cost, gradient and Gauss-Newton matrix of the saturated loop.

        Parameters
        ----------
        theta : numpy.ndarray, shape (d,)

        Returns
        -------
        cost : float
        gradient : numpy.ndarray, shape (d,)
        H : numpy.ndarray, shape (d, d)
            2 · mean over scenarios and t < N of J_xᵀ Q J_x + J_uᵀ R J_u, J the derivatives of x_t and applied u_t; of
            residuals, their 2 JᵀJ.

        Raises
        ------
        DomainError
            If the cost is no sum of squares.
        """
        if not self.is_least_squares:
            raise DomainError(NO_SQUARES)
        return self._engine.gauss_newton(self.batch, self._point(theta))

    def trajectories(self, theta: np.ndarray, batch: Scenarios | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return states and commands of every scenario for one θ, for plots.

        Parameters
        ----------
        theta : numpy.ndarray, shape (d,)
        batch : Scenarios, optional
            Others than its own.

        Returns
        -------
        X : numpy.ndarray, shape (S, N + 1, nx)
        U : numpy.ndarray, shape (S, N, nu)
            Commands before saturation.
        """
        if batch is not None:
            _check_fit(batch, self.policy.plant.nx, self.policy.plant.npar)
        return self._engine.trajectories(batch or self.batch, self._point(theta))

    def _like_its_own(self, batch: Scenarios) -> Scenarios:
        """Return other scenarios, if they fit the plant and have the same horizon."""
        _check_fit(batch, self.policy.plant.nx, self.policy.plant.npar)
        if batch.horizon != self.batch.horizon:
            raise DimensionError(f"scenarios: horizon is {batch.horizon}, expected {self.batch.horizon}")
        return batch

    def _part(self, scenarios: slice | None) -> Scenarios:
        every = range(self.batch.count)
        return self.batch if scenarios is None or every[scenarios] == every else self.batch.part(scenarios)

    def _stack(self, rows: np.ndarray) -> np.ndarray:
        """Return rows of the size of θ in C's order; C reads them unchecked."""
        rows = np.ascontiguousarray(np.atleast_2d(rows), dtype=float)
        if rows.ndim != 2 or rows.shape[1] != self._theta_dim:
            raise DimensionError(f"theta has shape {rows.shape}, expected (K, {self._theta_dim})")
        return rows

    def _point(self, theta: np.ndarray) -> np.ndarray:
        if np.shape(theta) != (self._theta_dim,):
            raise DimensionError(f"theta has shape {np.shape(theta)}, expected ({self._theta_dim},)")
        return np.ascontiguousarray(theta, dtype=float)


def _check_fit(batch: Scenarios, nx: int, npar: int) -> None:
    """Check the arrays of scenarios, which C reads unchecked."""
    S, N = batch.count, batch.horizon
    for key, shapes in (("x0", [(S, nx)]), ("p", [(S, npar)]), ("w", [(S, N, nx), (S, N, 0)])):
        shape = getattr(batch, key).shape
        if shape not in shapes:
            raise DimensionError(f"scenarios: {key} has shape {shape}, expected {' or '.join(map(str, shapes))}")


def _make_engine(loop: Loop, simulator: Step | ca.Function | None) -> Engine:
    """Return the fastest engine there is; see `Rollouts`."""
    if simulator is not None:
        return SimulatorEngine(loop, simulator)
    if find_compiler() is None:
        notice_once()
        return CasadiEngine(loop)
    try:
        return LaneEngine(loop)
    except UnknownOperationError:  # rare operations of CasADi have no C of ours
        return CasadiEngine(loop)
