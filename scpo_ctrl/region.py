"""The local safe region: sampled gradients, their error, smoothness constants, (E2)-(E4)."""

from dataclasses import dataclass

import numpy as np

from scpo_ctrl.cone import Cone, product
from scpo_ctrl.errors import EvaluationError
from scpo_ctrl.options import AdaptOptions
from scpo_ctrl.problem import Problem

_PROBES = 8  # directions of the first estimate of the smoothness constants
_PROBE_RADIUS = 0.3  # in radii
SMALLEST_SMOOTHNESS = 1e-9


@dataclass(frozen=True)
class Region:
    """What the samples around θ say about the metrics that vary; a step is Dᵀα."""

    D: np.ndarray | None  # (p, d) orthonormal rows; None for the full basis
    c: np.ndarray  # (m,) metrics at θ plus their error, at most 0
    G: np.ndarray  # (m, p) sampled gradients (E2)
    sampling_radius: float  # σ
    error: np.ndarray  # (m,) ε of each metric
    radius: float  # r

    def cone(self, step: np.ndarray, L: np.ndarray) -> Cone:
        """Return the projection problem (E5) of a step.

        Parameters
        ----------
        step : numpy.ndarray, shape (d,)
        L : numpy.ndarray, shape (m,)
            Smoothness constants.

        Returns
        -------
        Cone
        """
        p, sigma = self.G.shape[1], self.sampling_radius
        e = np.sqrt(p) * (L * sigma / 2 + 2 * self.error / sigma)  # (E3) with finite arithmetic
        return Cone(step if self.D is None else self.D @ step, self.c, self.G, e, L, self.radius)

    def step(self, alpha: np.ndarray) -> np.ndarray:
        """Return the step Dᵀα in parameter space.

        Parameters
        ----------
        alpha : numpy.ndarray, shape (p,)

        Returns
        -------
        numpy.ndarray, shape (d,)
        """
        return alpha if self.D is None else alpha @ self.D

    def shown_smoothness(self, alpha: np.ndarray, g_new: np.ndarray) -> np.ndarray:
        """Return the smallest L with which (E4) would have held for a tried step.

        Parameters
        ----------
        alpha : numpy.ndarray, shape (p,)
            Not zero.
        g_new : numpy.ndarray, shape (m,)
            Metrics after the step.

        Returns
        -------
        numpy.ndarray, shape (m,)
            Zero where the linear part alone held; infinite where the metric is not finite.
        """
        norm, p = float(np.linalg.norm(alpha)), self.G.shape[1]
        noise = 2 * self.error * (1 + np.sqrt(p) * norm / self.sampling_radius)
        with np.errstate(invalid="ignore"):
            excess = g_new - self.c - product(self.G, alpha) - noise
        shown = 2 * excess / (norm**2 + np.sqrt(p) * self.sampling_radius * norm)
        return np.where(np.isnan(shown), np.inf, np.maximum(shown, 0.0))


def sample_region(
    problem: Problem, theta: np.ndarray, g: np.ndarray, error: np.ndarray, D: np.ndarray | None, options: AdaptOptions
) -> Region:
    """Sample the metrics around θ (E2).

    Parameters
    ----------
    problem : Problem
    theta : numpy.ndarray, shape (d,)
    g : numpy.ndarray, shape (m,)
        Metrics at θ, those that vary.
    error : numpy.ndarray, shape (m,)
        ε of each metric.
    D : numpy.ndarray, shape (p, d), or None
        Orthonormal directions; None for the full basis.
    options : AdaptOptions
        Radii.

    Returns
    -------
    Region

    Raises
    ------
    EvaluationError
        If a sampled metric is not finite.
    """
    sigma = options.sampling_radius
    samples = problem.sample(theta + sigma * (np.eye(theta.size) if D is None else D))[:, problem.varies]
    if not np.isfinite(samples).all():
        raise EvaluationError(
            f"a metric is not finite within the sampling radius {sigma:g}; make sampling_radius smaller"
        )
    return Region(D, np.minimum(g + error, 0.0), (samples - g).T / sigma, sigma, error, options.radius)


def directions(step: np.ndarray, normals: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray | None:
    """Return orthonormal directions: the step first, then recent constraint normals, random ones for the rest.

    Parameters
    ----------
    step : numpy.ndarray, shape (d,)
        The unconstrained step; its direction is never lost.
    normals : numpy.ndarray, shape (k, d)
        Gradients of the constraints that were active last.
    count : int
        Number of directions p; 0 for the full basis.
    rng : numpy.random.Generator

    Returns
    -------
    numpy.ndarray, shape (p, d), or None
        None for the full basis.
    """
    d = step.size
    if count == 0 or count >= d:
        return None
    kept = normals[: max(count // 2 - 1, 0)]
    rest = rng.normal(size=(count - 1 - len(kept), d))
    basis, _ = np.linalg.qr(np.vstack([step, kept, rest]).T)
    return np.asarray(basis.T)


def first_smoothness(
    problem: Problem, theta: np.ndarray, g: np.ndarray, options: AdaptOptions, rng: np.random.Generator
) -> tuple[np.ndarray, int]:
    """Estimate smoothness constants from second differences along random directions.

    Parameters
    ----------
    problem : Problem
    theta : numpy.ndarray, shape (d,)
    g : numpy.ndarray, shape (m,)
        Metrics at θ, those that vary.
    options : AdaptOptions
        A given `smoothness` is taken as it is.
    rng : numpy.random.Generator

    Returns
    -------
    L : numpy.ndarray, shape (m,)
    evaluations : int
        Number of θ that were rolled out.
    """
    if options.smoothness is not None:
        return np.full(g.size, options.smoothness), 0
    h = _PROBE_RADIUS * options.radius
    probes = rng.normal(size=(_PROBES, theta.size))
    probes *= h / np.linalg.norm(probes, axis=1, keepdims=True)
    ahead, behind = np.split(problem.sample(np.vstack([theta + probes, theta - probes]))[:, problem.varies], 2)
    with np.errstate(invalid="ignore"):
        curvature = np.abs(ahead - 2 * g + behind) / h**2
    curvature[~np.isfinite(curvature)] = 0.0  # a probe that diverged says nothing; the loop will learn it
    return np.maximum(options.growth * curvature.max(axis=0), SMALLEST_SMOOTHNESS), 2 * _PROBES
