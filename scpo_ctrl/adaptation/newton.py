"""Newton steps of the objective with a logarithmic barrier, and the scaled basis that their curvature gives.

The merit ℓ(θ) - μ Σ log(-g_i(θ)) keeps the iterates off the bounds on their way, so that the local safe region leaves
room for long steps; μ falls as the steps converge. Its curvature H makes the norm (ΔᵀHΔ)^(1/2) in which the region is
sampled. Nothing of this bears on safety, which is the projection's and the verification's. docs/method.md derives it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from scpo_ctrl.adaptation.kernels import log_slacks
from scpo_ctrl.adaptation.options import AdaptOptions
from scpo_ctrl.adaptation.scaling import Scaling
from scpo_ctrl.adaptation.steps import Method, Plan
from scpo_ctrl.adaptation.subspace import krylov
from scpo_ctrl.errors import EvaluationError
from scpo_ctrl.problem.problem import Problem

DIRECTIONS = 60  # of the Krylov space, by default
_STEP = 1e-8  # of the differences of gradients: their curvature and their rounding cost the same here
_FEW = 4000  # metrics beyond which each one's share of the barrier shrinks
_SLACK = 1e-9  # a metric closer to zero than this counts as so far from it
_MOST_SLACK = 1e30  # and one farther as so far
_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 4e-4, 4e-6, 1.0  # relative to the objective
_UNIT = 0.5  # of |ℓ(θ₀)|: what ΔᵀHΔ is where ‖Δ‖ = 1, so a step of that length promises a quarter of |ℓ(θ₀)|
_FALL = 0.25  # factor on the barrier where a step promises less than the barrier itself
_RISE = 4.0  # factor on the barrier where a run goes on from an earlier policy
_NEGLIGIBLE = 1e-5  # share in the barrier's curvature, relative to the rest of it, below which a metric is left out
_KEPT = 0.1  # of its distance from zero that a step leaves to every metric, as interior points must
_SAVED = ("size", "barrier", "damping", "reach")  # all that a run goes on with
_REACH, _LEAST_REACH = 3.0, 0.02  # a step reaches this times the last one, and at least this times the radius


@dataclass
class Newton:
    """Newton, Newton-Krylov or Gauss-Newton steps with a logarithmic barrier."""

    options: AdaptOptions
    size: float  # |ℓ(θ₀)|, the scale of barrier and damping
    barrier: float  # relative weight of the barrier
    damping: float  # relative, added to the curvature
    reach: float
    promise: float = np.inf  # fall of the merit that the last whole step promised

    @classmethod
    def start(cls, options: AdaptOptions, objective: float) -> "Newton":
        """Return the state before the first step.

        Parameters
        ----------
        options : AdaptOptions
        objective : float
            ℓ(θ₀).

        Returns
        -------
        Newton
        """
        size = abs(objective) if objective else 1.0
        return cls(options, size, options.barrier, _DAMPING, options.radius)

    def plan(self, problem: Problem, theta: np.ndarray, g: np.ndarray) -> Plan:
        """Return the Newton step, cut to the reach, and its norm.

        Parameters
        ----------
        problem : Problem
            With derivatives.
        theta : numpy.ndarray, shape (d,)
        g : numpy.ndarray, shape (m,)

        Returns
        -------
        Plan

        Raises
        ------
        DomainError
            If the problem does not have the derivatives that the method needs.
        EvaluationError
            If one of them is not finite.
        """
        slack = np.maximum(-g, _SLACK)
        multipliers = self._weight(g) / slack * problem.moves
        found = self._curvature(problem, theta, multipliers, multipliers / slack)
        if not (np.isfinite(found.H).all() and np.isfinite(found.gradient).all()):
            raise EvaluationError("a derivative of the objective or of a metric is not finite at a safe policy")
        unit = _UNIT * self.size  # without it the radius would be in the unit of the objective's root
        scaling = found.scaling(unit, self.damping * self.size)
        z = -scaling.of_gradients(found.gradient) / unit
        norm = math.sqrt(z @ z)
        self.promise = unit * norm**2 / 2
        gap = self.promise + self._weight(g) * min(theta.size, int(np.count_nonzero(problem.moves)))
        z = z * min(1.0, self.reach / norm) if norm > 0 else z
        return Plan(scaling, z, found.gradient, unit, self.reach, found.evaluations, gap, _KEPT)

    def merit(self, objective: float, g: np.ndarray) -> float:
        """Return the objective with its barrier; infinite beyond a bound.

        Parameters
        ----------
        objective : float
        g : numpy.ndarray, shape (m,)

        Returns
        -------
        float
        """
        logarithms = log_slacks(g, _SLACK, _MOST_SLACK)
        return objective - self._weight(g) * logarithms if logarithms > -np.inf else np.inf

    def fitted(self, part: float) -> None:
        """Damp the next steps more where the model was far too long.

        Parameters
        ----------
        part : float
        """
        if part < 0.3:
            self._damp()

    def committed(self, length: float, ratio: float) -> None:
        """Adapt reach and damping.

        Parameters
        ----------
        length, ratio : float
        """
        radius = self.options.radius
        self.reach = min(radius, max(_REACH * length, _LEAST_REACH * radius))
        if ratio > 0.75:
            self.damping = max(self.damping / 1.3, _LEAST_DAMPING)
        elif ratio < 0.25:
            self._damp()

    def shorten(self, slope: np.ndarray, z: np.ndarray, length: float) -> np.ndarray:
        """Return a third of the step, and damp the next ones more.

        Parameters
        ----------
        slope, z : numpy.ndarray, shape (p,)
        length : float

        Returns
        -------
        numpy.ndarray, shape (p,)
        """
        self._damp()
        return z / 3

    def finish(self, *, is_committed: bool) -> None:
        """Let the barrier fall where the steps have nearly converged for it, or do not get anywhere.

        Parameters
        ----------
        is_committed : bool
        """
        if not is_committed or self.promise < self.barrier * self.size:
            self.barrier = max(_FALL * self.barrier, self.options.barrier_min)

    def resumes(self, earlier: Method) -> None:
        """Begin with a barrier somewhat above the earlier one, whose iterates were close to the end already.

        Parameters
        ----------
        earlier : Method
        """
        if isinstance(earlier, Newton):
            self.barrier = min(self.barrier, _RISE * earlier.barrier)

    def saved(self) -> dict[str, np.ndarray]:
        """Return scale, barrier, damping and reach.

        Returns
        -------
        dict of str to numpy.ndarray
        """
        return {name: np.array(getattr(self, name)) for name in _SAVED}

    def restore(self, saved: dict[str, np.ndarray]) -> None:
        """Go on from `saved`.

        Parameters
        ----------
        saved : dict of str to numpy.ndarray
        """
        for name in _SAVED:
            setattr(self, name, float(saved[name]))

    def _curvature(
        self, problem: Problem, theta: np.ndarray, multipliers: np.ndarray, curvatures: np.ndarray
    ) -> "Curvature":
        """Return what the method takes for the merit's curvature."""
        if self.options.method == "gauss_newton":
            return _gauss_newton(problem, theta, multipliers, curvatures)
        # the quadratic model of the barrier has its gradient and curvature at θ, and can be differenced
        gradients = partial(problem.lagrangian_gradients, multipliers=2 * multipliers, curvatures=curvatures)
        if self.options.method == "newton":
            return _newton(gradients, theta)
        return _newton_krylov(gradients, theta, self.options.directions or DIRECTIONS)

    def _damp(self) -> None:
        self.damping = min(2 * self.damping, _MOST_DAMPING)

    def _weight(self, g: np.ndarray) -> float:
        """Weight μ of each metric in the barrier."""
        return self.barrier * self.size * min(1.0, _FEW / max(1, g.size))


@dataclass(frozen=True)
class Curvature:
    """Gradient and Hessian of the merit, or of what stands for them."""

    gradient: np.ndarray  # (d,)
    H: np.ndarray  # (d, d), symmetric; along V, (p, p), where that is given
    evaluations: int  # how many θ were rolled out
    V: np.ndarray | None = None  # (p, d), orthonormal rows

    def scaling(self, unit: float, damping: float) -> Scaling:
        """Return the scaling by the curvature, in parts of `unit`.

        Parameters
        ----------
        unit : float
        damping : float
            Added to the curvature, in the unit of the merit.

        Returns
        -------
        Scaling
        """
        return Scaling.from_curvature(self.H / unit, damping / unit, self.V)


def _newton(gradients: Callable[[np.ndarray], np.ndarray], theta: np.ndarray) -> Curvature:
    """Return the Hessian by differences of gradients along every parameter."""
    d = theta.size
    points = np.tile(theta, (d + 1, 1))
    points.reshape(-1)[d :: d + 1] += _STEP  # θ + _STEP e_k after θ itself
    found = gradients(points)
    H = (found[1:] - found[0]) * (0.5 / _STEP)
    return Curvature(found[0], H + H.T, d + 1)


def _newton_krylov(gradients: Callable[[np.ndarray], np.ndarray], theta: np.ndarray, count: int) -> Curvature:
    """Return the Hessian in a Krylov space, by differences of gradients along its directions."""
    gradient = gradients(theta[None])[0]

    def product(v: np.ndarray) -> np.ndarray:
        return np.asarray((gradients((theta + _STEP * v)[None])[0] - gradient) / _STEP)

    first = gradient if gradient.any() else np.ones_like(theta)  # a space of no directions has no step of length zero
    V, H = krylov(product, first, count)
    return Curvature(gradient, H, 1 + len(V), V)


def _gauss_newton(problem: Problem, theta: np.ndarray, multipliers: np.ndarray, curvatures: np.ndarray) -> Curvature:
    """Return curvature and gradient of objective and barrier without second derivatives, and how many evaluations."""
    H, gradient = problem.gauss_newton(theta), problem.gradient(theta)
    least = _NEGLIGIBLE * float(np.linalg.norm(H))
    for block in problem.blocks(theta.size):
        J, part = problem.jacobian(theta, None, block), block.metrics
        near = np.flatnonzero(curvatures[part] * np.einsum("ki,ki->i", J, J) > least)
        roots = J[:, near] * np.sqrt(curvatures[part][near])
        H = H + roots @ roots.T
        gradient = gradient + J @ multipliers[part]
    return Curvature(gradient, H, 2 * theta.size)
