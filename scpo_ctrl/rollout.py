"""Closed-loop rollouts of plant and policy as compiled CasADi functions, batched over scenarios and parameters."""

from collections.abc import Callable

import casadi as ca
import numpy as np

from scpo_ctrl.compiled import StackFunction, compile_functions
from scpo_ctrl.metrics import Metrics
from scpo_ctrl.models import Plant
from scpo_ctrl.policy import Policy
from scpo_ctrl.scenario import Scenarios

Stage = Callable[[Plant, ca.SX, ca.SX], ca.SX]


class Rollouts:
    """The closed loop over all scenarios: metrics, mean stage cost, its gradient, and trajectories.

    Where metrics bound the command, saturation never acts at safe parameters. Then `sample` leaves it out: its metrics
    are equal wherever all are safe, and tell the same parameters unsafe (up to the first command beyond a bound the
    trajectories agree), but they are smooth across the bounds. With saturation, θ and a sample θ + σ d_j beyond a
    nearly active command bound have a kink between them, which no smoothness constant covers.

    Parameters
    ----------
    policy : Policy
        In closed loop with its plant.
    batch : Scenarios
        What is rolled out.
    metrics : Metrics
        Of one scenario.
    stage : callable, optional
        ``(plant, x, u) -> cost`` of one time step, u the applied input; no cost if None.
    """

    def __init__(self, policy: Policy, batch: Scenarios, metrics: Metrics, stage: Stage | None = None) -> None:
        self.batch = batch
        self._policy, self._metrics, self._stage = policy, metrics, stage
        nx, np_, nw = batch.x0.shape[1], batch.p.shape[1], batch.w.shape[2]
        theta = ca.MX.sym("theta", policy.theta_dim)
        data = [
            ca.MX.sym("x0", nx, batch.count),
            ca.MX.sym("p", np_, batch.count),
            ca.MX.sym("w", nw, batch.count * batch.horizon),
        ]
        g, cost = self._scenarios(saturated=True)(*data, theta)
        mean = ca.sum2(cost) / batch.count
        functions = [ca.Function("evaluate", [theta, *data], [ca.vec(g), mean])]
        if stage:
            functions.append(ca.Function("gradient", [theta, *data], [mean, ca.gradient(mean, theta)]))
        if metrics.bounds_command:
            g_smooth, _ = self._scenarios(saturated=False)(*data, theta)
            functions.append(ca.Function("sample", [theta, *data], [ca.vec(g_smooth)]))
        values = [batch.x0.T, batch.p.T, batch.w.reshape(batch.count * batch.horizon, nw).T]
        stacks = {function.name(): StackFunction(function, values) for function in compile_functions(functions)}
        self.evaluate = stacks["evaluate"]
        self.sample = stacks.get("sample", self.evaluate)
        self.gradient = stacks.get("gradient")

    def trajectories(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return states and commands of every scenario for one θ, for plots.

        Parameters
        ----------
        theta : numpy.ndarray, shape (d,)

        Returns
        -------
        X : numpy.ndarray, shape (S, N + 1, nx)
        U : numpy.ndarray, shape (S, N, nu)
            Commands before saturation.
        """
        batch = self.batch
        S, N = batch.count, batch.horizon
        thetas, parameters = np.tile(theta[:, None], (1, N * S)), np.repeat(batch.p.T, N, axis=1)
        disturbances = batch.w.reshape(S * N, batch.w.shape[2]).T
        roll = self._step(saturated=True).mapaccum("roll", N).map(S)
        states, commands, _ = roll(batch.x0.T, thetas, parameters, disturbances)
        X = np.array(states).T.reshape(S, N, -1)
        return np.concatenate([batch.x0[:, None], X], axis=1), np.array(commands).T.reshape(S, N, -1)

    def _step(self, *, saturated: bool) -> ca.Function:
        """One time step of the closed loop: (x, θ, p, w) -> (x⁺, command, cost)."""
        plant, policy = self._policy.plant, self._policy
        x, theta, p = ca.SX.sym("x", plant.nx), ca.SX.sym("theta", policy.theta_dim), ca.SX.sym("p", plant.npar)
        w = ca.SX.sym("w", self.batch.w.shape[2])
        command = policy.command(x, theta)
        u = policy.saturate(command) if saturated else command
        x_next = plant.function(x, u, p)
        cost = self._stage(plant, x, u) if self._stage else ca.SX(0)
        return ca.Function("step", [x, theta, p, w], [x_next + w if w.numel() else x_next, command, cost])

    def _scenarios(self, *, saturated: bool) -> ca.Function:
        """All scenarios: (x0, p, w, θ) -> (metrics, mean cost over the time steps), a column per scenario."""
        N, plant = self.batch.horizon, self._policy.plant
        x0, p, theta = ca.MX.sym("x0", plant.nx), ca.MX.sym("p", plant.npar), ca.MX.sym("theta", self._policy.theta_dim)
        w = ca.MX.sym("w", self.batch.w.shape[2], N)
        roll = self._step(saturated=saturated).mapaccum("roll", N)
        X, U, cost = roll(x0, ca.repmat(theta, 1, N), ca.repmat(p, 1, N), w)
        metrics = self._metrics.expression(ca.horzcat(x0, X), U)
        one = ca.Function("scenario", [x0, p, w, theta], [metrics, ca.sum2(cost) / N])
        return one.map("scenarios", "serial", self.batch.count, [3], [])
