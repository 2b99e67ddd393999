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
        self._policy = policy
        nx, np_, nw = batch.x0.shape[1], batch.p.shape[1], batch.w.shape[2]
        theta = ca.MX.sym("theta", policy.theta_dim)
        data = [
            ca.MX.sym("x0", nx, batch.count),
            ca.MX.sym("p", np_, batch.count),
            ca.MX.sym("w", nw, batch.count * batch.horizon),
        ]
        one = self._scenario(metrics, stage)
        g, cost = one.map("scenarios", "serial", batch.count, [3], [])(*data, theta)
        mean = ca.sum2(cost) / batch.count
        evaluate = ca.Function("evaluate", [theta, *data], [ca.vec(g), mean])
        gradient = ca.Function("gradient", [theta, *data], [mean, ca.gradient(mean, theta)])
        values = [batch.x0.T, batch.p.T, batch.w.reshape(batch.count * batch.horizon, nw).T]
        compiled = compile_functions([evaluate, gradient] if stage else [evaluate])
        self.evaluate = StackFunction(compiled[0], values)
        self.gradient = StackFunction(compiled[-1], values) if stage else None

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
        states, commands, _ = (
            self._step(None)
            .mapaccum("roll", N)
            .map(S)(
                batch.x0.T,
                np.tile(theta[:, None], (1, N * S)),
                np.repeat(batch.p.T, N, axis=1),
                batch.w.reshape(S * N, batch.w.shape[2]).T,
            )
        )
        X = np.array(states).T.reshape(S, N, -1)
        return np.concatenate([batch.x0[:, None], X], axis=1), np.array(commands).T.reshape(S, N, -1)

    def _step(self, stage: Stage | None) -> ca.Function:
        """One time step of the closed loop: (x, θ, p, w) -> (x⁺, command, cost)."""
        plant, policy = self._policy.plant, self._policy
        x, theta, p = ca.SX.sym("x", plant.nx), ca.SX.sym("theta", policy.theta_dim), ca.SX.sym("p", plant.npar)
        w = ca.SX.sym("w", self.batch.w.shape[2])
        command = policy.command(x, theta)
        u = policy.saturate(command)
        x_next = plant.function(x, u, p)
        cost = stage(plant, x, u) if stage else ca.SX(0)
        return ca.Function("step", [x, theta, p, w], [x_next + w if w.numel() else x_next, command, cost])

    def _scenario(self, metrics: Metrics, stage: Stage | None) -> ca.Function:
        """One scenario: (x0, p, w, θ) -> (metrics, mean cost over its time steps)."""
        N, plant = self.batch.horizon, self._policy.plant
        x0, p, theta = ca.MX.sym("x0", plant.nx), ca.MX.sym("p", plant.npar), ca.MX.sym("theta", self._policy.theta_dim)
        w = ca.MX.sym("w", self.batch.w.shape[2], N)
        X, U, cost = self._step(stage).mapaccum("roll", N)(x0, ca.repmat(theta, 1, N), ca.repmat(p, 1, N), w)
        return ca.Function("scenario", [x0, p, w, theta], [metrics.expression(ca.horzcat(x0, X), U), ca.sum2(cost) / N])
