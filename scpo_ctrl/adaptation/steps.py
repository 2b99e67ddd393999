"""First-order steps of the objective: where the parameters would go if nothing had to be safe."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from scpo_ctrl.adaptation.options import AdaptOptions
from scpo_ctrl.adaptation.scaling import Scaling
from scpo_ctrl.problem.problem import Problem

_SHORTEST = 1e-9  # relative to the longest step
_PAIRS = 12  # of changes that L-BFGS remembers


@dataclass(frozen=True)
class Plan:
    """A step before projection, and the norm in which it is measured."""

    scaling: Scaling
    z: np.ndarray  # (d,) the step, in scaled coordinates; (p,) in a subspace
    gradient: np.ndarray  # (d,) of the merit, what is to fall: ℓ, or ℓ with a barrier
    curvature: float  # of the model along scaled steps: 1 for Newton's, 0 for a linear one
    reach: float  # no step will be longer
    evaluations: int = 0  # how many θ were rolled out for it
    gap: float = np.inf  # estimate of how far the objective is above its optimum, where the method has one
    kept: float = 0.0  # part of its distance from zero that a step must leave to every metric

    def predicted(self, delta: np.ndarray, length: float) -> float:
        """Return the fall of the merit that the model predicts.

        Parameters
        ----------
        delta : numpy.ndarray, shape (d,)
            A step in parameter space.
        length : float
            Its scaled norm.

        Returns
        -------
        float
        """
        return -float(self.gradient @ delta) - self.curvature / 2 * length**2


class Method(Protocol):
    """Plans steps and learns from what came of them; all that it remembers is in `saved`."""

    def plan(self, problem: Problem, theta: np.ndarray, g: np.ndarray) -> Plan:
        """Plan a step from committed parameters with metrics g (m,)."""
        ...

    def merit(self, objective: float, g: np.ndarray) -> float:
        """Return what a commit must lower."""
        ...

    def fitted(self, part: float) -> None:
        """Learn from a step whose model was too long: the part of it that lowers the merit most."""
        ...

    def committed(self, length: float, ratio: float) -> None:
        """Learn from a commit: its scaled length, and actual against predicted fall of the merit."""
        ...

    def shorten(self, slope: np.ndarray, z: np.ndarray, length: float) -> np.ndarray:
        """Return the step to project after z (p,), whose projection, of this length, did not lower the merit."""
        ...

    def finish(self, *, is_committed: bool) -> None:
        """End a step."""
        ...

    def resumes(self, earlier: "Method") -> None:
        """Take over, at the start, what an earlier state of the method knows whatever the metrics are."""
        ...

    def saved(self) -> dict[str, np.ndarray]:
        """Return everything that a resumed run needs."""
        ...

    def restore(self, saved: dict[str, np.ndarray]) -> None:
        """Go on from what was saved."""
        ...


@dataclass
class FirstOrder:
    """Gradient, momentum, Adam or L-BFGS directions, with a length that the run adapts.

    A step is a direction times a length. The projection cuts it to what is safe, so the length starts far beyond the
    region's radius: then the projected step is close to the best one of the whole region, and slides along active
    constraints instead of stopping at them. The length shrinks only where the objective did not fall as predicted.
    """

    options: AdaptOptions
    scaling: Scaling
    length: float  # of the next step
    first: np.ndarray  # (d,) first moment of the gradient
    second: np.ndarray  # (d,) second moment
    count: int = 0  # gradients seen
    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))  # (k, d) θ of the last commits, for L-BFGS
    gradients: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))  # (k, d) their gradients

    @classmethod
    def start(cls, options: AdaptOptions, theta_dim: int) -> "FirstOrder":
        """Return the state before the first step.

        Parameters
        ----------
        options : AdaptOptions
        theta_dim : int

        Returns
        -------
        FirstOrder

        Raises
        ------
        DimensionError, DomainError
            If the preconditioner does not fit or is not positive definite.
        """
        given = options.preconditioner
        scaling = Scaling.none(theta_dim) if given is None else Scaling.from_preconditioner(given, theta_dim)
        zero, empty = np.zeros(theta_dim), np.zeros((0, theta_dim))
        return cls(options, scaling, options.step_length * options.radius, zero, zero, 0, empty, empty)

    @property
    def longest(self) -> float:
        """The length of the first step."""
        return self.options.step_length * self.options.radius

    def plan(self, problem: Problem, theta: np.ndarray, g: np.ndarray) -> Plan:
        """Return the unconstrained step for the gradient at θ: always one of descent; zero for a zero gradient.

        Parameters
        ----------
        problem : Problem
        theta : numpy.ndarray, shape (d,)
        g : numpy.ndarray, shape (m,)

        Returns
        -------
        Plan
        """
        gradient = problem.gradient(theta)
        direction = self._direction(theta, gradient)
        steepest = -self.scaling.of_gradients(gradient)  # in scaled coordinates
        z = self.scaling.to_scaled(direction) if direction is not None and direction @ gradient < 0 else steepest
        return Plan(self.scaling, self._scaled(z), gradient, 0.0, self.options.radius)

    def merit(self, objective: float, g: np.ndarray) -> float:
        """Return the objective.

        Parameters
        ----------
        objective : float
        g : numpy.ndarray, shape (m,)

        Returns
        -------
        float
        """
        return objective

    def fitted(self, part: float) -> None:
        """Do nothing: linear models have no length.

        Parameters
        ----------
        part : float
        """

    def committed(self, length: float, ratio: float) -> None:
        """Let the length recover.

        Parameters
        ----------
        length, ratio : float
        """
        self.length = min(2 * self.length, self.longest)

    def shorten(self, slope: np.ndarray, z: np.ndarray, length: float) -> np.ndarray:
        """Return a step of half the length along the gradient, whose projection is a descent direction.

        Parameters
        ----------
        slope : numpy.ndarray, shape (p,)
            Gradient of the objective in the coordinates of the step.
        z : numpy.ndarray, shape (p,)
        length : float
            Of the projected step that failed; 0 if there was none, which says nothing about the length.

        Returns
        -------
        numpy.ndarray, shape (p,)
        """
        if length > 0:
            self.length = max(min(self.length, length) / 2, _SHORTEST * self.longest)
        return self._scaled(-slope)

    def finish(self, *, is_committed: bool) -> None:
        """Do nothing more.

        Parameters
        ----------
        is_committed : bool
        """

    def resumes(self, earlier: Method) -> None:
        """Take over nothing; see `Method`.

        Parameters
        ----------
        earlier : Method
        """

    def saved(self) -> dict[str, np.ndarray]:
        """Return moments, length and L-BFGS's memory.

        Returns
        -------
        dict of str to numpy.ndarray
        """
        return {
            "first": self.first,
            "second": self.second,
            "length": np.array(self.length),
            "count": np.array(self.count),
            "points": self.points,
            "gradients": self.gradients,
        }

    def restore(self, saved: dict[str, np.ndarray]) -> None:
        """Go on from `saved`.

        Parameters
        ----------
        saved : dict of str to numpy.ndarray
        """
        self.first, self.second = saved["first"], saved["second"]
        self.length, self.count = float(saved["length"]), int(saved["count"])
        self.points, self.gradients = saved["points"], saved["gradients"]

    def _scaled(self, z: np.ndarray) -> np.ndarray:
        """Give a step the current length."""
        norm = float(np.linalg.norm(z))
        return z * (self.length / norm) if norm > 0 else np.zeros_like(z)

    def _direction(self, theta: np.ndarray, gradient: np.ndarray) -> np.ndarray | None:
        """Return the method's direction; None for the gradient's."""
        self.count += 1
        b1, b2 = self.options.momentum, self.options.second_momentum
        method = self.options.method
        if method in ("momentum", "adam"):
            self.first = b1 * self.first + (1 - b1) * gradient
            self.second = b2 * self.second + (1 - b2) * gradient**2
        if method == "momentum":
            return -self.first
        if method == "adam":
            scale = np.sqrt(self.second / (1 - b2**self.count))
            return -self.first / (scale + 1e-8 * max(float(scale.max()), np.finfo(float).tiny))
        if method == "lbfgs":
            if not (len(self.points) and np.array_equal(self.points[-1], theta)):
                self.points = np.vstack([self.points, theta])[-_PAIRS - 1 :]
                self.gradients = np.vstack([self.gradients, gradient])[-_PAIRS - 1 :]
            return -_lbfgs_product(np.diff(self.points, axis=0), np.diff(self.gradients, axis=0), gradient)
        return None


def _lbfgs_product(steps: np.ndarray, changes: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Return L-BFGS's inverse Hessian times the gradient by its two-loop recursion.

    J. Nocedal, S. J. Wright, Numerical Optimization, 2nd edition, algorithm 7.4; pairs without positive curvature are
    left out.
    """
    curvature = np.einsum("ij,ij->i", steps, changes)
    good = curvature > 1e-12 * np.linalg.norm(steps, axis=1) * np.linalg.norm(changes, axis=1)
    steps, changes, curvature = steps[good], changes[good], curvature[good]
    q, weights = gradient.copy(), np.zeros(len(steps))
    for i in reversed(range(len(steps))):
        weights[i] = steps[i] @ q / curvature[i]
        q -= weights[i] * changes[i]
    if len(steps):
        q *= curvature[-1] / (changes[-1] @ changes[-1])
    for i in range(len(steps)):
        q += (weights[i] - changes[i] @ q / curvature[i]) * steps[i]
    return q
