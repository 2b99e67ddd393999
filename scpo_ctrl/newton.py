"""Newton steps of the objective with a logarithmic barrier, and the scaled basis that their curvature gives.

The merit ℓ(θ) - μ Σ log(-g_i(θ)) keeps the iterates off the bounds on their way, so that the local safe region leaves
room for long steps; μ falls as the steps converge. Its curvature H makes the norm (ΔᵀHΔ)^(1/2) in which the region is
sampled. Nothing of this bears on safety, which is the projection's and the verification's. docs/method.md derives it.
"""

from dataclasses import dataclass

import numpy as np

from scpo_ctrl.options import AdaptOptions
from scpo_ctrl.problem import Problem
from scpo_ctrl.scaling import Scaling
from scpo_ctrl.steps import Plan

_STEP = 1e-6  # of the differences of gradients
_FEW = 4000  # metrics beyond which each one's share of the barrier shrinks
_SLACK = 1e-9  # a metric closer to zero than this counts as so far from it
_DAMPING, _LEAST_DAMPING = 4e-4, 4e-6  # relative to the objective
_CENTRED = 0.1  # a Newton step that promises less than this times the barrier lets the barrier fall
_NEGLIGIBLE = 1e-5  # part of the largest share in the barrier's curvature below which a metric is left out
_FADING = 0.7  # promises of earlier steps fade by this, so that a single short one does not count
_REACH, _LEAST_REACH = 3.0, 0.02  # a step reaches this times the last one, and at least this times the radius


@dataclass
class Newton:
    """Newton or Gauss-Newton steps with a logarithmic barrier."""

    options: AdaptOptions
    size: float  # |ℓ(θ₀)|, the scale of barrier and damping
    barrier: float  # relative weight of the barrier
    damping: float  # relative, added to the curvature
    reach: float
    decrement: float = np.inf  # fall of the merit that the last whole step promised

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
        """
        d, slack = theta.size, np.maximum(-g, _SLACK)
        multipliers = np.where(problem.varies, self._weight(g) / slack, 0.0)
        objective_gradient = problem.gradient(theta)
        if self.options.method == "gauss_newton":
            H, evaluations = problem.gauss_newton(theta), 2 * d
            slope = np.zeros(d)
        else:
            gradients = problem.lagrangian_gradients(np.vstack([theta, theta + _STEP * np.eye(d)]), multipliers)
            H, slope = (gradients[1:] - gradients[0]) / _STEP, gradients[0]
            H, evaluations = (H + H.T) / 2, 2 * d + 1
        for block in problem.blocks(d):
            J, part = problem.jacobian(theta, None, block), block.metrics
            H = H + _gram(J, multipliers[part] / slack[part])
            if self.options.method == "gauss_newton":
                slope = slope + J @ multipliers[part]
        gradient = objective_gradient + slope if self.options.method == "gauss_newton" else slope
        scaling = Scaling.from_curvature(H, self.damping * self.size)
        z = -scaling.to_theta(gradient)
        norm = float(np.linalg.norm(z))
        gap = norm**2 / 2 + self._weight(g) * min(d, int(np.count_nonzero(problem.varies)))
        self.decrement = max(norm**2 / 2, _FADING * self.decrement) if np.isfinite(self.decrement) else norm**2 / 2
        z = z * min(1.0, self.reach / norm) if norm > 0 else z
        return Plan(scaling, z, objective_gradient, gradient, 1.0, self.reach, evaluations, gap)

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
        if not (g <= 0).all():
            return np.inf
        return objective - self._weight(g) * float(np.log(np.maximum(-g, _SLACK)).sum())

    def fitted(self, part: float) -> None:
        """Damp the next steps more where the model was far too long.

        Parameters
        ----------
        part : float
        """
        if part < 0.3:
            self.damping *= 2

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
            self.damping *= 2

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
        self.damping *= 2
        return z / 3

    def finish(self, *, is_committed: bool) -> None:
        """Let the barrier fall where the steps have nearly converged for it, or do not get anywhere.

        Parameters
        ----------
        is_committed : bool
        """
        if self.decrement < _CENTRED * self.barrier * self.size:
            self.barrier = max(self.barrier / 2, self.options.barrier_min)

    def saved(self) -> dict[str, np.ndarray]:
        """Return barrier, damping and reach.

        Returns
        -------
        dict of str to numpy.ndarray
        """
        return {name: np.array(getattr(self, name)) for name in ("size", "barrier", "damping", "reach")}

    def restore(self, saved: dict[str, np.ndarray]) -> None:
        """Go on from `saved`.

        Parameters
        ----------
        saved : dict of str to numpy.ndarray
        """
        for name in ("size", "barrier", "damping", "reach"):
            setattr(self, name, float(saved[name]))

    def _weight(self, g: np.ndarray) -> float:
        """Weight μ of each metric in the barrier."""
        return self.barrier * self.size * min(1.0, _FEW / max(1, g.size))


def _gram(J: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return Σ w_i ∇g_i∇g_iᵀ over the columns ∇g_i of J (d, m) that matter: few metrics are near their bounds."""
    sizes = weights * np.einsum("ki,ki->i", J, J)
    near = np.flatnonzero(sizes > _NEGLIGIBLE * sizes.max(initial=0.0))
    roots = J[:, near] * np.sqrt(weights[near])
    return np.asarray(roots @ roots.T)
