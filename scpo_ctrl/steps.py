"""First-order steps of the objective: where the parameters would go if nothing had to be safe."""

from dataclasses import dataclass, field

import numpy as np

from scpo_ctrl.options import AdaptOptions

_SHORTEST = 1e-9  # relative to the longest step


@dataclass
class FirstOrder:
    """Gradient, momentum or Adam directions, with a length that the run adapts.

    A step is a direction times a length. The projection cuts it to what is safe, so the length starts far beyond the
    region's radius: then the projected step is close to the best one of the whole region, and slides along active
    constraints instead of stopping at them. The length shrinks only where the objective did not fall as predicted.
    """

    options: AdaptOptions
    length: float  # of the next step
    first: np.ndarray  # (d,) first moment of the gradient
    second: np.ndarray  # (d,) second moment
    count: int = 0  # gradients seen
    longest: float = field(init=False)

    def __post_init__(self) -> None:
        self.longest = self.options.step_length * self.options.radius

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
        """
        return cls(options, options.step_length * options.radius, np.zeros(theta_dim), np.zeros(theta_dim))

    def step(self, gradient: np.ndarray) -> np.ndarray:
        """Return the unconstrained step for a new gradient.

        Parameters
        ----------
        gradient : numpy.ndarray, shape (d,)

        Returns
        -------
        numpy.ndarray, shape (d,)
            Always a descent direction; zero for a zero gradient.
        """
        self.count += 1
        b1, b2 = self.options.momentum, self.options.second_momentum
        self.first = b1 * self.first + (1 - b1) * gradient
        self.second = b2 * self.second + (1 - b2) * gradient**2
        if self.options.method == "momentum":
            direction = -self.first
        elif self.options.method == "adam":
            scale = np.sqrt(self.second / (1 - b2**self.count))
            direction = -self.first / (scale + 1e-8 * max(float(scale.max()), np.finfo(float).tiny))
        else:
            direction = -gradient
        return self.scaled(direction if direction @ gradient < 0 else -gradient)

    def scaled(self, direction: np.ndarray) -> np.ndarray:
        """Return a direction with the current length.

        Parameters
        ----------
        direction : numpy.ndarray, shape (d,)

        Returns
        -------
        numpy.ndarray, shape (d,)
        """
        norm = float(np.linalg.norm(direction))
        return direction * (self.length / norm) if norm > 0 else np.zeros_like(direction)

    def shorten(self, tried: float) -> None:
        """Halve the length after a projected step of length `tried` did not lower the objective.

        Parameters
        ----------
        tried : float
        """
        self.length = max(min(self.length, tried) / 2, _SHORTEST * self.longest)

    def lengthen(self) -> None:
        """Let the length recover after a commit."""
        self.length = min(2 * self.length, self.longest)
