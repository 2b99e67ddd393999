"""Closed loops of residual policies once more, in numpy and by hand: nothing is shared with the engines but numbers."""

from __future__ import annotations

import numpy as np

from scpo_ctrl import ControlProblem
from scpo_ctrl.loop.scenario import Scenarios


def rolled(problem: ControlProblem, theta, batch: Scenarios, step) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return states (S, N + 1, nx), commands and applied inputs (S, N, nu) of a network with one hidden layer or none.

    `step` is the plant, ``(x, u, p) -> x_next`` on rows.
    """
    policy, plant = problem.policy, problem.plant
    x, X, V = batch.x0, [batch.x0], []
    for t in range(batch.horizon):
        z = x - plant.x_eq
        features, rest = z / np.array(policy.scale), theta
        if policy.hidden:
            width, nx = policy.hidden[0], plant.nx
            W, b, rest = np.split(theta, [width * nx, width * (nx + 1)])
            features = np.tanh(features @ W.reshape(width, nx).T + b) - np.tanh(b)
        residual = features @ rest.reshape(plant.nu, -1).T * np.array(policy.input_scale)
        V.append(plant.u_eq - z @ policy.backup.K.T + residual)
        x = step(x, np.clip(V[-1], plant.u_min, plant.u_max), batch.p)
        x = x + batch.w[:, t] if batch.w.size else x
        X.append(x)
    V = np.stack(V, axis=1)
    return np.stack(X, axis=1), V, np.clip(V, plant.u_min, plant.u_max)


def cart(x, u, p):
    """Return the next states of the double integrator, 0.1 s on, mass p [kg]."""
    a = u[:, 0] / p[:, 0]
    return np.stack([x[:, 0] + 0.1 * x[:, 1] + 0.005 * a, x[:, 1] + 0.1 * a], axis=1)
