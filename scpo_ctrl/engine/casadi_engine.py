"""Rollouts by CasADi: where there is no compiler, for plants that the C engine does not know, and for tests."""

from collections.abc import Callable

import casadi as ca
import numpy as np

from scpo_ctrl.compiled import StackFunction, compile_functions
from scpo_ctrl.engine.loop import CostTerms, Engine, Loop
from scpo_ctrl.loop.rest import BackupRest
from scpo_ctrl.loop.scenario import Scenarios
from scpo_ctrl.models.varying import over_time, pulled_back, settled, signal_count

_AT_ONCE = 64  # scenarios whose residuals are differentiated together


class CasadiEngine(Engine):
    """The engine by CasADi; see `Engine` for what its methods do. Derivatives are CasADi's."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        plant, backup, options = loop.metrics.plant, loop.metrics.backup, loop.metrics.options
        self._rest = BackupRest(plant, backup, loop.policy.at_start) if options.contraction is not None else None
        self._functions: dict[tuple[str, int], ca.Function] = {}
        self._bound: dict[str, tuple[Scenarios, StackFunction]] = {}

    def metrics(self, batch: Scenarios, thetas: np.ndarray, out: np.ndarray, *, saturated: bool) -> None:
        """Fill `out` with metrics."""
        out[:] = self._call("evaluate" if saturated else "sample", batch, thetas)[0]

    def evaluate(self, batch: Scenarios, thetas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return metrics and mean costs."""
        metrics, cost = self._call("evaluate", batch, thetas)
        return metrics, cost[:, 0]

    def gradient(self, batch: Scenarios, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Return mean cost and gradient by CasADi's adjoint."""
        cost, gradient = self._call("gradient", batch, theta[None])
        return float(cost[0, 0]), gradient[0]

    def lagrangian_gradients(
        self, batch: Scenarios, thetas: np.ndarray, multipliers: np.ndarray, curvatures: np.ndarray, *, saturated: bool
    ) -> np.ndarray:
        """Return gradients of mean cost plus linear and quadratic terms of the metrics by CasADi's adjoint."""
        rows = np.hstack([thetas, np.tile(np.concatenate([multipliers, curvatures]), (len(thetas), 1))])
        return self._call("lagrangian_true" if saturated else "lagrangian_smooth", batch, rows)[0]

    def jacobian(self, batch: Scenarios, theta: np.ndarray, D: np.ndarray | None, *, saturated: bool) -> np.ndarray:
        """Return derivatives of the metrics by CasADi's forward mode."""
        rows = _with_directions(theta, np.eye(theta.size) if D is None else D)
        return self._call("jacobian_true" if saturated else "jacobian_smooth", batch, rows)[0]

    def scenario_gradients(
        self, batch: Scenarios, theta: np.ndarray, multipliers: np.ndarray, *, saturated: bool = True
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return gradients of weighted metrics with respect to each scenario by CasADi's adjoint."""
        rows = np.concatenate([theta, multipliers.ravel()])[None]
        found = self._call("scenarios_true" if saturated else "scenarios_smooth", batch, rows)
        gx0, gp, by_signals, gw, moved = (part.reshape(batch.count, -1) for part in found)
        plant, rests = self._loop.metrics.plant, self.rests(batch)
        if self._rest and rests is not None:
            gp = gp + np.einsum("sij,si->sj", self._rest.slopes(rests, settled(plant, batch.p)), moved)
        each = by_signals.reshape(batch.count, batch.horizon + 1, -1)
        return gx0, pulled_back(plant, batch.p, gp, each), gw.reshape(batch.w.shape)

    def rests(self, batch: Scenarios) -> np.ndarray | None:
        """Return where contraction is about, None for the nominal equilibrium."""
        return self._rest.places(settled(self._loop.metrics.plant, batch.p)) if self._rest else None

    def gauss_newton(self, batch: Scenarios, theta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Return mean cost, gradient and Gauss-Newton matrix by CasADi's forward mode."""
        cost, gradient = self.gradient(batch, theta)
        rows, H = _with_directions(theta, np.eye(theta.size)), np.zeros((theta.size, theta.size))
        for start in range(0, batch.count, _AT_ONCE):
            J = self._call("residuals", batch.part(slice(start, start + _AT_ONCE)), rows)[0]
            H += J @ J.T
        return cost, gradient, 2 * H / (batch.count * batch.horizon)

    def trajectories(self, batch: Scenarios, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return states and commands."""
        X, U = self._call("trajectories", batch, theta[None])
        S, N = batch.count, batch.horizon
        X = np.concatenate([batch.x0[:, None], X.reshape(S, N, -1)], axis=1)
        return X, U.reshape(S, N, -1)

    def _call(self, name: str, batch: Scenarios, thetas: np.ndarray) -> list[np.ndarray]:
        """Evaluate a function on a stack; the batch that was used last stays bound to it."""
        if name not in self._bound or self._bound[name][0] is not batch:
            if (name, batch.count) not in self._functions:
                self._functions[name, batch.count] = compile_functions([self._build(name, batch)])[0]
            w = batch.w.reshape(batch.count * batch.horizon, batch.w.shape[2])
            rests = self.rests(batch)
            signals = over_time(self._loop.metrics.plant, batch.p, batch.horizon)
            varying = signals.reshape(batch.count * (batch.horizon + 1), signals.shape[2])
            about = np.zeros((0, batch.count)) if rests is None else rests.T
            data = [batch.x0.T, batch.p.T, varying.T, w.T, about]
            stack = StackFunction(self._functions[name, batch.count], data)
            self._bound[name] = batch, stack
        return self._bound[name][1](thetas)

    def _build(self, name: str, batch: Scenarios) -> ca.Function:
        """Make a function of θ, or of θ and a direction or the terms of the metrics, and of the arrays of the batch."""
        nx, np_, nw = batch.x0.shape[1], batch.p.shape[1], batch.w.shape[2]
        theta = ca.MX.sym("theta", self._loop.policy.theta_dim)
        metrics_count = batch.count * len(self._loop.metrics.rows)
        sizes = {"lagrangian": 2 * metrics_count, "scenarios": metrics_count}
        direction = ca.MX.sym("direction", sizes.get(name.partition("_")[0], theta.numel()))
        data = [
            ca.MX.sym("x0", nx, batch.count),
            ca.MX.sym("p", np_, batch.count),
            ca.MX.sym("signals", signal_count(self._loop.metrics.plant), batch.count * (batch.horizon + 1)),
            ca.MX.sym("w", nw, batch.count * batch.horizon),
            ca.MX.sym("rest", nx if self._rest and self._rest.moves else 0, batch.count),
        ]
        saturated = name != "sample" and not name.endswith("_smooth")
        g, cost, residuals, X, U = self._scenarios(batch, saturated=saturated)(*data, theta)
        mean = ca.sum2(cost) / batch.count

        def along(values: ca.MX) -> list[ca.MX]:
            return [ca.jtimes(ca.vec(values), theta, direction)]

        def lagrangian() -> list[ca.MX]:
            linear, quadratic = direction[:metrics_count], direction[metrics_count:]
            return [ca.gradient(mean + ca.dot(ca.vec(g), linear + quadratic * ca.vec(g) / 2), theta)]

        def of_scenarios() -> list[ca.MX]:
            return [ca.vec(ca.gradient(ca.dot(ca.vec(g), direction), array)) for array in data]

        outputs: dict[str, Callable[[], list[ca.MX]]] = {
            "evaluate": lambda: [ca.vec(g), mean],
            "sample": lambda: [ca.vec(g)],
            "gradient": lambda: [mean, ca.gradient(mean, theta)],
            "lagrangian_true": lagrangian,
            "lagrangian_smooth": lagrangian,
            "scenarios_true": of_scenarios,
            "scenarios_smooth": of_scenarios,
            "jacobian_true": lambda: along(g),
            "jacobian_smooth": lambda: along(g),
            "residuals": lambda: along(residuals),
            "trajectories": lambda: [ca.vec(X), ca.vec(U)],
        }
        directed = name.startswith(("jacobian", "residuals", "lagrangian", "scenarios"))
        point = ca.vertcat(theta, direction) if directed else theta
        stacked = ca.MX.sym("point", point.numel())
        whole = ca.Function(name, [theta, direction, *data], outputs[name]())
        parts = [stacked[: theta.numel()], stacked[theta.numel() :] if point.numel() > theta.numel() else 0]
        return ca.Function(name, [stacked, *data], whole.call([*parts, *data]))

    def _step(self, batch: Scenarios, *, saturated: bool) -> ca.Function:
        """One time step: (x, θ, p, w) -> (x⁺, command, applied input, cost, residuals), cost = |residuals|².

        The cost is the diagonal one; expressions are taken over the whole trajectory.
        """
        policy, stage = self._loop.policy, self._loop.stage
        plant = policy.plant
        x, theta, p = ca.SX.sym("x", plant.nx), ca.SX.sym("theta", policy.theta_dim), ca.SX.sym("p", plant.npar)
        w = ca.SX.sym("w", batch.w.shape[2])
        command = policy.command(x, theta, p, saturated=saturated)
        u = policy.saturate(command) if saturated else command
        x_next = plant.function(x, u, p)
        z, v = x - ca.DM(plant.x_eq), u - ca.DM(plant.u_eq)
        cost = ca.dot(ca.DM(stage.Q), z**2) + ca.dot(ca.DM(stage.R), v**2)
        residuals = ca.vertcat(ca.DM(np.sqrt(stage.Q)) * z, ca.DM(np.sqrt(stage.R)) * v)
        following = x_next + w if w.numel() else x_next
        return ca.Function("step", [x, theta, p, w], [following, command, u, cost, residuals])

    def _scenarios(self, batch: Scenarios, *, saturated: bool) -> ca.Function:
        """All scenarios: (x0, p, signals, w, rest, θ) -> (metrics, mean cost, residuals, X, U) side by side."""
        N, policy = batch.horizon, self._loop.policy
        plant = policy.plant
        x0, p, theta = ca.MX.sym("x0", plant.nx), ca.MX.sym("p", plant.npar), ca.MX.sym("theta", policy.theta_dim)
        signals = ca.MX.sym("signals", signal_count(plant), N + 1)
        P = ca.vertcat(ca.repmat(p[: plant.npar - signals.shape[0]], 1, N + 1), signals)  # parameters over time
        w = ca.MX.sym("w", batch.w.shape[2], N)
        rest = ca.MX.sym("rest", plant.nx if self._rest and self._rest.moves else 0)
        roll = self._step(batch, saturated=saturated).mapaccum("roll", N)
        X, U, applied, cost, residuals = roll(x0, ca.repmat(theta, 1, N), P[:, :N], w)
        whole = ca.horzcat(x0, X)
        if self._loop.stage.terms is not None:
            cost, residuals = _cost(self._loop.stage.terms, whole, applied, P)
        metrics = self._loop.metrics.expression(whole, U, rest if rest.numel() else None, applied, P)
        one = ca.Function("scenario", [x0, p, signals, w, rest, theta], [metrics, ca.sum2(cost) / N, residuals, X, U])
        return one.map("scenarios", "serial", batch.count, [5], [])


def _cost(terms: CostTerms, X: ca.MX, U: ca.MX, P: ca.MX) -> tuple[ca.MX, ca.MX]:
    """Return the terms of the cost of a trajectory (1, N + 1), and residuals, none where it is no sum of squares."""
    N = U.shape[1]
    arguments = X[:, :N], U, ca.horzcat(U[:, 0], U[:, : N - 1]), P[:, :N]
    cost = ca.horzcat(terms.stage.map(N)(*arguments), terms.terminal(X[:, N], P[:, N]))
    if terms.residuals is None or terms.terminal_residuals is None:
        return cost, ca.MX(0, 1)
    at_end = terms.terminal_residuals(X[:, N], P[:, N])
    return cost, ca.vertcat(ca.vec(terms.residuals.map(N)(*arguments)), at_end)


def _with_directions(theta: np.ndarray, D: np.ndarray) -> np.ndarray:
    return np.hstack([np.tile(theta, (len(D), 1)), D])
