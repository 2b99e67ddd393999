"""SCPO's loop in plain numpy, a conic solver called for every projection: what `adapt` is timed against.

The same algorithm as `adapt` with method "gradient" and sampled gradients, written over from docs/method.md: rollouts
batched over parameters and scenarios, screening, a stationarity measure, probes, tries, verification. Only linear
plants, box bounds and contraction. Gradients of the objective come from the rollouts sampled for the metrics.
"""

import time
from dataclasses import dataclass, field

import cvxpy as cp
import numpy as np

from scpo_ctrl import AdaptOptions, ControlProblem

_OPTIMISM, _MEMORY, _SMALLEST, _SUFFICIENT = 0.3, 1e-4, 1e-9, 1e-4
_PAIRS, _PAIR_RADIUS = 8, 0.1


@dataclass
class NumpyLoop:
    """The state of a run; every call of `step` is one step of the method."""

    problem: ControlProblem
    options: AdaptOptions = field(
        default_factory=lambda: AdaptOptions(method="gradient", gradients="sampled", audit=False)
    )
    rollout_seconds: float = 0.0
    conic_seconds: float = 0.0
    projections: int = 0
    constraints: int = 0  # of all projections together

    def __post_init__(self) -> None:
        self.theta = self.problem.theta_initial.copy()
        self.A, self.B = self.problem.plant.linearise()
        (self.objective,), (self.g,) = self.roll(self.theta[None])
        self.objective_initial, self.length = float(self.objective), self.options.step_length * self.options.radius
        self.varies, self.converged = self.problem.varies, False
        self.L = self._first_smoothness()

    def roll(self, thetas: np.ndarray, *, saturated: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Return mean costs (K,) and metrics (K, m) of stacks of parameters."""
        began = time.perf_counter()
        problem, plant, N = self.problem, self.problem.plant, self.problem.scenarios.horizon
        objective = problem.objective_data
        x = np.broadcast_to(problem.scenarios.x0, (len(thetas), *problem.scenarios.x0.shape))
        start, cost, states, commands = x, np.zeros(x.shape[:2]), [], []
        for _ in range(N):
            u = problem.policy.commands(x, thetas)
            states += [x - plant.x_max, plant.x_min - x]
            commands += [u - plant.u_max, plant.u_min - u]
            u = np.clip(u, plant.u_min, plant.u_max) if saturated else u
            cost = cost + x**2 @ objective.Q + u**2 @ objective.R
            x = x @ self.A.T + u @ self.B.T
        states += [x - plant.x_max, plant.x_min - x]
        first, last = (np.einsum("ksi,ij,ksj->ks", y, problem.backup.P, y) for y in (start, x))
        contraction = last - problem.scenario_metrics.options.contraction * first
        metrics = np.concatenate([*states, *commands, contraction[:, :, None]], axis=2).reshape(len(thetas), -1)
        self.rollout_seconds += time.perf_counter() - began
        return cost.mean(axis=1) / N, metrics / problem.metric_units

    def step(self) -> None:
        """Do one step of the loop of docs/method.md: sample, screen, measure, probe, try, verify."""
        options, d = self.options, self.theta.size
        sigma, radius = options.sampling_radius, options.radius
        costs, samples = self.roll(self.theta + sigma * np.eye(d), saturated=False)
        gradient, G = (costs - self.objective) / sigma, ((samples - self.g) / sigma).T  # (E2)
        error = options.metric_error * np.maximum(1.0, np.abs(self.g))
        c = np.minimum(self.g + error, 0.0)
        slopes = np.linalg.norm(G, axis=1) + self._error(self.L, error)
        rows = np.flatnonzero(self.varies & (c + slopes * radius + self.L / 2 * radius**2 > 0))
        self.rows, self.c, self.G, self.error = rows, c[rows], G[rows], error[rows]
        remembered, direction = self.L[rows], -gradient / np.linalg.norm(gradient)
        steepest = self._project(radius * direction, np.zeros(rows.size), np.zeros(rows.size))
        self.converged = -gradient @ steepest <= options.tolerance * abs(self.objective_initial)
        if self.converged:
            return
        z = self.length * direction
        L = self._probe(z, remembered)
        for _ in range(options.tries):
            delta = self._project(z, L, self._error(L, self.error))
            verdict, L = self._try(delta, -float(gradient @ delta), L)
            if verdict == "committed":
                self.length = min(2 * self.length, options.step_length * radius)
                break
            if verdict == "no decrease":
                norm = float(np.linalg.norm(delta))
                self.length = min(self.length, norm) / 2 if norm > 0 else self.length
                z = self.length * direction
        self.L[rows] = np.maximum(L, options.decay * remembered)

    def _probe(self, z: np.ndarray, remembered: np.ndarray) -> np.ndarray:
        """Measure the smoothness constants along the step."""
        L = _OPTIMISM * remembered
        for _ in range(self.options.probes):
            delta = self._project(z, L, self._error(L, self.error))
            norm = float(np.linalg.norm(delta))
            if norm == 0:
                return L
            reached = self.roll((self.theta + delta)[None])[1][0, self.rows]
            curvature = np.maximum(2 * (reached - self.c - self.G @ delta) / norm**2, 0.0)
            L = self.options.growth * curvature + _MEMORY * remembered
        return L

    def _try(self, delta: np.ndarray, predicted: float, L: np.ndarray) -> tuple[str, np.ndarray]:
        """Verify a step, learn from it, commit it where it is safe and lowers the objective: (verdict, L)."""
        options, norm = self.options, float(np.linalg.norm(delta))
        if norm == 0:
            return "no decrease", np.maximum(options.decay * L, _SMALLEST)
        (objective,), (g,) = self.roll((self.theta + delta)[None])
        error = options.metric_error * np.maximum(1.0, np.abs(self.g))
        unsafe = ~(g <= np.minimum(0.0, np.maximum(-error, self.g)))
        wide = np.sqrt(self.theta.size) * options.sampling_radius * norm
        noise = 2 * self.error * (1 + np.sqrt(self.theta.size) * norm / options.sampling_radius)
        shown = np.maximum(2 * (g[self.rows] - self.c - self.G @ delta - noise) / (norm**2 + wide), 0.0)
        least = L if unsafe.any() else np.maximum(options.decay * L, _SMALLEST)
        L_new = np.maximum(least, options.growth * np.where(unsafe[self.rows], np.maximum(shown, L), shown))
        if unsafe.any():
            return "unsafe", L_new
        if not (predicted > 0 and self.objective - objective >= _SUFFICIENT * predicted):
            return "no decrease", L_new
        self.theta, self.objective, self.g = self.theta + delta, float(objective), g
        return "committed", L_new

    def _project(self, u: np.ndarray, L: np.ndarray, e: np.ndarray) -> np.ndarray:
        """Solve (E5) over the constraints that can be active, by CVXPY and Clarabel; then the repair."""
        began = time.perf_counter()
        r = min(self.options.radius, float(np.linalg.norm(u)))
        kept = self.c + (np.linalg.norm(self.G, axis=1) + e) * r + L / 2 * r**2 > 0
        c, G, e, L = self.c[kept], self.G[kept], e[kept], L[kept]
        scale = np.abs(c) + np.linalg.norm(G, axis=1) + e + L
        a, t, s = cp.Variable(u.size), cp.Variable(), cp.Variable()
        constraints = [cp.norm(a) <= t, t <= r, cp.sum_squares(a) <= s]
        if c.size:
            constraints.append(c / scale + (G / scale[:, None]) @ a + e / scale * t + L / 2 / scale * s <= 0)
        far = float(np.linalg.norm(u))
        program = cp.Problem(cp.Minimize(cp.sum_squares(a) / far - 2 * (u / far) @ a), constraints)
        program.solve(solver="CLARABEL")
        delta = np.zeros_like(u) if a.value is None else a.value
        # Repair: the largest part of the answer that is feasible, the root of one quadratic for each constraint.
        norm = float(np.linalg.norm(delta))
        slope, bend = G @ delta + e * norm, L / 2 * norm**2
        denominator = slope + np.sqrt(np.maximum(slope**2 - 4 * bend * c, 0.0))
        roots = np.divide(-2 * c, denominator, out=np.full(c.size, np.inf), where=denominator > 0)
        part = min(1.0, r / norm if norm > 0 else 1.0, float(np.min(roots, initial=np.inf)) * (1 - 1e-12))
        self.conic_seconds += time.perf_counter() - began
        self.projections, self.constraints = self.projections + 1, self.constraints + int(kept.sum())
        return part * delta

    def _error(self, L: np.ndarray, error: np.ndarray) -> np.ndarray:
        """Return e of (E3)."""
        sigma = self.options.sampling_radius
        return np.sqrt(self.theta.size) * (L * sigma / 2 + 2 * error / sigma)

    def _first_smoothness(self) -> np.ndarray:
        """Second differences along random directions, the same as `adapt` draws."""
        h = _PAIR_RADIUS * self.options.radius
        probes = np.random.default_rng(self.options.seed).normal(size=(_PAIRS, self.theta.size))
        probes *= h / np.linalg.norm(probes, axis=1, keepdims=True)
        both = [self.roll(self.theta + sign * probes, saturated=False)[1] for sign in (1, -1)]
        curvature = np.abs(both[0] + both[1] - 2 * self.g).max(axis=0) / h**2
        return np.maximum(self.options.growth * curvature, _SMALLEST)
