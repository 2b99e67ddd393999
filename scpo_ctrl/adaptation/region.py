"""The local safe region: sampled gradients, their error, smoothness constants, (E2)-(E4)."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from scpo_ctrl.adaptation.kernels import within_reach
from scpo_ctrl.adaptation.options import AdaptOptions
from scpo_ctrl.adaptation.proven_smoothness import smoothness_bounds
from scpo_ctrl.adaptation.scaling import Scaling
from scpo_ctrl.errors import EvaluationError
from scpo_ctrl.problem.doors import Block
from scpo_ctrl.problem.problem import Problem
from scpo_ctrl.projection.cone import Cone

_PROBES = 8  # directions of the first estimate of the smoothness constants
_PROBE_RADIUS = 0.1  # in radii
_TOO_FAR = 1e3  # of the bounds: a probe that moves a metric by more is of a loop that diverges
SMALLEST_SMOOTHNESS = 1e-9


@dataclass(frozen=True)
class Region:
    """What the samples around θ say about the metrics that a step within reach can make active; a step is Dᵀα."""

    D: np.ndarray  # (p, d) directions, orthonormal in the norm of the scaling
    rows: np.ndarray  # (k,) indices of the metrics kept
    c: np.ndarray  # (k,) metrics at θ plus their error, at most 0
    G: np.ndarray  # (k, p) sampled gradients (E2)
    norms: np.ndarray  # (k,) their norms
    sampling_radius: float  # σ; 0 for exact gradients
    error: np.ndarray  # (k,) ε of each metric
    largest_error: float  # ε of all metrics, the largest
    radius: float  # no step is longer
    slopes: np.ndarray  # (m,) norms of the gradients of all metrics, kept or not
    linear: np.ndarray  # (k,) bool, metrics linear in θ: L = 0, and their gradients are exact

    @cached_property
    def noise(self) -> np.ndarray:
        """The part of e (E3) that the metrics' errors make, shape (k,)."""
        return np.where(self.linear, 0.0, _error_factors(self.sampling_radius, len(self.D))[1] * self.error)

    def cone(self, z: np.ndarray, L: np.ndarray, kept: float = 0.0) -> Cone:
        """Return the projection problem (E5) of a step.

        Parameters
        ----------
        z : numpy.ndarray, shape (p,)
            The step, in the coordinates of D.
        L : numpy.ndarray, shape (k,)
            Smoothness constants.
        kept : float
            Part of its distance from zero that the step must leave to every metric, in [0, 1).

        Returns
        -------
        Cone
        """
        L = np.where(self.linear, 0.0, L)
        e = _error_factors(self.sampling_radius, len(self.D))[0] * L + self.noise
        return Cone(z, (1 - kept) * self.c, self.G, e, L, self.radius)

    def places(self, metrics: np.ndarray) -> np.ndarray:
        """Return where those of some metrics that are kept stand among them.

        Parameters
        ----------
        metrics : numpy.ndarray of int
            Indices of metrics.

        Returns
        -------
        numpy.ndarray of int
        """
        if not (metrics.size and self.rows.size):
            return np.zeros(0, dtype=np.int64)
        places = np.minimum(self.rows.searchsorted(metrics), self.rows.size - 1)
        return places[self.rows[places] == metrics]

    def step(self, alpha: np.ndarray) -> np.ndarray:
        """Return the step Dᵀα in parameter space.

        Parameters
        ----------
        alpha : numpy.ndarray, shape (p,)

        Returns
        -------
        numpy.ndarray, shape (d,)
        """
        return alpha @ self.D

    def shown_smoothness(self, alpha: np.ndarray, g_new: np.ndarray) -> np.ndarray:
        """Return the smallest L with which (E4) would have held for a tried step.

        Parameters
        ----------
        alpha : numpy.ndarray, shape (p,)
            Not zero.
        g_new : numpy.ndarray, shape (k,)
            The metrics kept, after the step.

        Returns
        -------
        numpy.ndarray, shape (k,)
            Zero where the linear part alone held; infinite where the metric is not finite.
        """
        norm = math.sqrt(alpha @ alpha)
        curved = norm**2 / 2 + _error_factors(self.sampling_radius, len(self.D))[0] * norm
        excess = self.beyond(alpha, g_new) - (2 * self.error + norm * self.noise)
        shown = excess / curved
        return np.fmin(np.maximum(shown, 0.0), np.inf)  # infinite where it is not a number

    def beyond(self, alpha: np.ndarray, g_new: np.ndarray) -> np.ndarray:
        """Return how far metrics are from what the linear part of (E4) says after a step.

        Parameters
        ----------
        alpha : numpy.ndarray, shape (p,)
        g_new : numpy.ndarray, shape (k,)
            The metrics kept, after the step.

        Returns
        -------
        numpy.ndarray, shape (k,)
        """
        return g_new - (self.G @ alpha + self.c)


def _error_factors(sigma: float, p: int) -> tuple[float, float]:
    """Return what multiplies L and ε in e of (E3), √p (L σ/2 + 2 ε/σ); zeros for exact gradients."""
    return (math.sqrt(p) * sigma / 2, 2 * math.sqrt(p) / sigma) if sigma > 0 else (0.0, 0.0)


def metric_error(g: np.ndarray, options: AdaptOptions) -> np.ndarray:
    """Return ε, how far metrics may be from their values.

    Parameters
    ----------
    g : numpy.ndarray, shape (m,)
        Metrics.
    options : AdaptOptions
        Its `metric_error` is relative to max(1, |g|), g in units of its own.

    Returns
    -------
    numpy.ndarray, shape (m,)
    """
    return options.metric_error * np.maximum(1.0, np.abs(g))


def largest_error(g: np.ndarray, options: AdaptOptions) -> float:
    """Return the largest ε of all metrics.

    Parameters
    ----------
    g : numpy.ndarray, shape (m,)
        Metrics, none positive.
    options : AdaptOptions

    Returns
    -------
    float
    """
    return options.metric_error * max(1.0, -float(g.min(initial=0.0)))


def sample_region(
    problem: Problem,
    theta: np.ndarray,
    g: np.ndarray,
    L: np.ndarray,
    D: np.ndarray,
    reach: float,
    options: AdaptOptions,
) -> Region:
    """Sample the metrics around θ (E2), part by part, and keep those that a step within reach can make active.

    A metric with c + (‖Ĝ‖ + e) ρ + (L/2) ρ² ≤ 0 at the reach ρ cannot be active: docs/method.md, so its
    gradient is dropped as soon as its norm is known. Memory holds one part of the samples and the gradients kept.

    Parameters
    ----------
    problem : Problem
    theta : numpy.ndarray, shape (d,)
    g : numpy.ndarray, shape (m,)
        Metrics at θ.
    L : numpy.ndarray, shape (m,)
        Smoothness constants in the norm of the directions.
    D : numpy.ndarray, shape (p, d)
        Directions.
    reach : float
        No step will be longer, > 0.
    options : AdaptOptions
        Sampling radius, source of the gradients and error of the metrics.

    Returns
    -------
    Region

    Raises
    ------
    EvaluationError
        If a sampled metric is not finite.
    """
    sigma = 0.0 if options.gradients == "exact" else options.sampling_radius
    largest = largest_error(g, options)
    of_smoothness, of_error = _error_factors(sigma, len(D))
    bend, noise = (of_smoothness + reach / 2) * reach, (1 + of_error * reach) * largest  # what L and ε add to a metric
    rows, gradients, norms, linear = [], [], [], []
    slopes = np.empty(g.size)
    for block in problem.blocks(len(D)):
        part = block.metrics
        samples, squares = _sampled(problem, theta, g, D, sigma, block)
        kept = within_reach(g[part], squares, L[part], problem.moves[part], reach=reach, bend=bend, error=noise)
        if kept is None:
            raise EvaluationError(
                f"a metric is not finite within the sampling radius {sigma:g}; make sampling_radius smaller"
            )
        slopes[part] = np.sqrt(squares)
        rows.append(part.start + kept)
        gradients.append(np.ascontiguousarray(samples[:, kept].T))
        norms.append(slopes[part][kept])
        linear.append(np.full(kept.size, block.linear))
    lists = (rows, gradients, norms, linear)
    which, G, lengths, is_linear = (parts[0] if len(parts) == 1 else np.concatenate(parts) for parts in lists)
    error = metric_error(g[which], options)
    c = np.minimum(g[which] + error, 0.0)
    return Region(D, which, c, G, lengths, sigma, error, largest, reach, slopes, is_linear)


def _sampled(
    problem: Problem, theta: np.ndarray, g: np.ndarray, D: np.ndarray, sigma: float, block: Block
) -> tuple[np.ndarray, np.ndarray]:
    """Return gradients of a part of the metrics (p, block), exact ones for σ = 0, and their squared norms."""
    if sigma > 0 and not block.linear:
        return problem.differences(theta + sigma * D, g, sigma, block)
    gradients = problem.jacobian(theta, D, block)
    return gradients, np.einsum("ki,ki->i", gradients, gradients)


def directions(z: np.ndarray, normals: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray | None:
    """Return orthonormal directions: the step first, then recent constraint normals, random ones for the rest.

    Parameters
    ----------
    z : numpy.ndarray, shape (d,)
        The unconstrained step, in scaled coordinates as all of these; its direction is never lost.
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
    d = z.size
    if count == 0 or count >= d:
        return None
    kept = normals[: max(count // 2 - 1, 0)]
    rest = rng.normal(size=(count - 1 - len(kept), d))
    basis, _ = np.linalg.qr(np.vstack([z, kept, rest]).T)
    return np.asarray(basis.T)


@dataclass(frozen=True)
class FirstSmoothness:
    """What is known of the metrics before anything was tried."""

    L: np.ndarray  # (m,) smoothness constants
    slopes: np.ndarray  # (m,) about ‖∇g‖, from the same steps; zeros where none were made
    evaluations: int  # how many θ were rolled out


def first_smoothness(
    problem: Problem,
    theta: np.ndarray,
    g: np.ndarray,
    scaling: Scaling,
    options: AdaptOptions,
    rng: np.random.Generator,
) -> FirstSmoothness:
    """Return smoothness constants: as given, bounded if certified, else from second differences along random steps.

    Parameters
    ----------
    problem : Problem
    theta : numpy.ndarray, shape (d,)
    g : numpy.ndarray, shape (m,)
        Metrics at θ.
    scaling : Scaling
        Whose norm the constants are for.
    options : AdaptOptions
        A given `smoothness` is taken as it is.
    rng : numpy.random.Generator

    Returns
    -------
    FirstSmoothness

    Raises
    ------
    DomainError
        If certified constants are asked for where no bound is known.
    """
    if options.smoothness is not None:
        return FirstSmoothness(np.full(g.size, options.smoothness), np.zeros(g.size), 0)
    if options.mode == "certified":
        stretch = scaling.stretch
        bounds = stretch**2 * smoothness_bounds(problem, theta, stretch * options.radius)
        return FirstSmoothness(np.maximum(bounds, SMALLEST_SMOOTHNESS), np.zeros(g.size), 0)
    h = _PROBE_RADIUS * options.radius
    probes = rng.normal(size=(_PROBES, scaling.size))
    probes = scaling.to_theta(h * probes / np.linalg.norm(probes, axis=1, keepdims=True))
    thetas, L, slopes = np.vstack([theta + probes, theta - probes]), np.empty(g.size), np.empty(g.size)
    for block in problem.blocks(len(thetas)):
        with np.errstate(invalid="ignore"):
            changes, _ = problem.differences(thetas, g, 1.0, block)
            forward, backward = changes[:_PROBES], changes[_PROBES:]
            curvature, slope = np.abs(forward + backward) / h**2, (forward - backward) / (2 * h)
        diverged = ~(np.maximum(np.abs(forward), np.abs(backward)) < _TOO_FAR)  # says nothing of the curvature
        curvature[diverged], slope[diverged] = 0.0, 0.0
        L[block.metrics] = np.maximum(options.growth * curvature.max(axis=0), SMALLEST_SMOOTHNESS)
        slopes[block.metrics] = np.sqrt(scaling.size * np.mean(slope**2, axis=0))  # along random directions
    return FirstSmoothness(L, slopes, 2 * _PROBES)
