"""Methods that trade safety against the objective, or look no further than the last try."""

from collections.abc import Iterator

import numpy as np

from baselines.oracle import Oracle

_SHORTEST = 1e-9  # a step below this length changes nothing


class Adam:
    """Adam's steps (D. Kingma, J. Ba, arXiv 1412.6980), with decay rates for short runs, those of the package.

    Parameters
    ----------
    rate : float
        Length of a step in each parameter, about.
    size : int
        Number of parameters.
    """

    def __init__(self, rate: float, size: int) -> None:
        self.rate, self.count = rate, 0
        self.first, self.second = np.zeros(size), np.zeros(size)

    def step(self, gradient: np.ndarray) -> np.ndarray:
        """Return the step for a new gradient, shape (d,)."""
        self.count += 1
        self.first = 0.9 * self.first + 0.1 * gradient
        self.second = 0.99 * self.second + 0.01 * gradient**2
        mean, square = self.first / (1 - 0.9**self.count), self.second / (1 - 0.99**self.count)
        return -self.rate * mean / (np.sqrt(square) + 1e-8)


def unconstrained(oracle: Oracle, *, rate: float, steps: int = 2000) -> Iterator[np.ndarray]:
    """Minimise ℓ by Adam. A step costs the rollouts of the policy it deploys, nothing else, so steps are limited too.

    Parameters
    ----------
    oracle : Oracle
    rate : float
        Of Adam.
    steps : int
        At most so many.

    Yields
    ------
    numpy.ndarray, shape (d,)
    """
    theta, adam = oracle.problem.theta_initial, Adam(rate, oracle.problem.theta_dim)
    for _ in range(steps):
        theta = theta + adam.step(oracle.gradient(theta))
        oracle.spend(1)
        yield theta


def fixed_penalty(oracle: Oracle, *, rate: float, weight: float) -> Iterator[np.ndarray]:
    """Minimise ℓ + w Σ max(0, g_i)² by Adam, gradients of the metrics sampled.

    Parameters
    ----------
    oracle : Oracle
    rate : float
        Of Adam.
    weight : float
        w.

    Yields
    ------
    numpy.ndarray, shape (d,)
    """
    theta, adam = oracle.problem.theta_initial, Adam(rate, oracle.problem.theta_dim)
    while True:
        g = oracle.smooth_metrics(theta)
        slope = 2 * weight * np.maximum(g, 0.0) @ oracle.sampled_jacobian(theta, g)
        theta = theta + adam.step(oracle.gradient(theta) + slope)
        yield theta


def primal_dual(oracle: Oracle, *, rate: float, dual_rate: float) -> Iterator[np.ndarray]:
    """Descend the Lagrangian ℓ + λᵀg in θ by Adam, ascend it in λ ≥ 0 by gradient steps, gradients of g sampled.

    K. Arrow, L. Hurwicz, H. Uzawa, Studies in Linear and Non-Linear Programming, 1958.

    Parameters
    ----------
    oracle : Oracle
    rate : float
        Of Adam.
    dual_rate : float
        Length of a step in λ for each unit of a metric.

    Yields
    ------
    numpy.ndarray, shape (d,)
    """
    theta, adam = oracle.problem.theta_initial, Adam(rate, oracle.problem.theta_dim)
    multipliers = np.zeros(1)  # the size of g, once it is known
    while True:
        g = oracle.smooth_metrics(theta)
        multipliers = np.maximum(multipliers + dual_rate * g, 0.0)
        slope = multipliers @ oracle.sampled_jacobian(theta, g)
        theta = theta + adam.step(oracle.gradient(theta) + slope)
        yield theta


def reject_and_backtrack(oracle: Oracle, *, length: float) -> Iterator[np.ndarray]:
    """Try a gradient step of ℓ; deploy it where it is safe and lowers ℓ, and double the next; else halve it.

    Parameters
    ----------
    oracle : Oracle
    length : float
        Of the first step.

    Yields
    ------
    numpy.ndarray, shape (d,)
    """
    theta = oracle.problem.theta_initial
    objective, gradient = oracle.objective(theta), oracle.gradient(theta)
    norm = float(np.linalg.norm(gradient))
    while min(norm, length) > _SHORTEST:
        tried = theta - length / norm * gradient
        safe = (oracle.metrics(tried) <= 0).all()
        value = oracle.objective(tried)
        if not safe or value > objective - 1e-4 * length * norm:
            length /= 2
            continue
        theta, objective, gradient = tried, value, oracle.gradient(tried)
        norm = float(np.linalg.norm(gradient))
        length *= 2
        yield theta
