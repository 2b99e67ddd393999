"""The span that a step with sampled gradients is searched in: random directions, and coordinates of unit curvature."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from scpo_ctrl.device.arithmetic import Arithmetic

_DAMPING = 0.1  # added to the Gauss-Newton matrix, in parts of its mean curvature


@dataclass
class Directions:
    """Orthonormal directions, each along parameters of its own, and the factor C of the curvature in their span."""

    arithmetic: Arithmetic
    group: np.ndarray  # (d,) the direction that has a part along a parameter
    along: np.ndarray  # (d,) this part
    count: int
    random: int  # state of the generator
    gamma: Any = None

    @classmethod
    def draw(cls, arithmetic: Arithmetic, parameters: int, count: int, random: int) -> "Directions":
        """Deal out the parameters evenly, in random order.

        Parameters
        ----------
        arithmetic : Arithmetic
        parameters : int
        count : int
            Of directions.
        random : int
            State of the generator.

        Returns
        -------
        Directions
        """
        group = [i % count for i in range(parameters)]
        along = np.zeros(parameters, arithmetic.number)
        for i in reversed(range(parameters)):
            random ^= (random << 13) & 0xFFFFFFFF
            random ^= random >> 17
            random ^= (random << 5) & 0xFFFFFFFF
            other = (random >> 8) % (i + 1)
            group[other], group[i] = group[i], group[other]
            size = arithmetic.number((parameters + count - 1 - group[i]) // count)
            along[i] = arithmetic.number(1 if random & 128 else -1) / np.sqrt(size)
        return cls(arithmetic, np.array(group), along, count, random)

    def disturbed(self, theta: np.ndarray, radius: Any) -> np.ndarray:
        """Return θ + σ d_j for each direction, shape (count, d)."""
        here = self.group == np.arange(self.count)[:, None]
        return np.where(here, theta + radius * self.along, theta)

    def factorise(self, matrix: np.ndarray, scale: Any) -> None:
        """Damp scale times a matrix, shape (count, count), of which the lower half is read, and factor it."""
        arithmetic, number, k = self.arithmetic, self.arithmetic.number, self.count
        mean = arithmetic.sum(np.diagonal(matrix)) * scale / number(k)
        if not mean > arithmetic.least:
            mean = arithmetic.least
        self.C = C = matrix * scale
        for i in range(k):
            for j in range(i):
                C[i, j] = (C[i, j] - self._inner(C[i, :j], C[j, :j])) / C[j, j]
            C[i, i] = np.sqrt(C[i, i] + number(_DAMPING) * mean - self._inner(C[i, :i], C[i, :i]))
        self.gamma = number(1) / ((number(1) + number(_DAMPING)) * mean)

    def transposed(self, vectors: np.ndarray) -> np.ndarray:
        """Return C⁻¹ v of every row of an array, shape (..., count)."""
        vectors = np.array(vectors)
        for i in range(self.count):
            vectors[..., i] = (vectors[..., i] - self._inner(self.C[i, :i], vectors[..., :i])) / self.C[i, i]
        return vectors

    def moves(self, alpha: np.ndarray) -> np.ndarray:
        """Return C'⁻¹ α, what a step is along each direction, shape (count,)."""
        move = np.zeros_like(alpha)
        for i in reversed(range(self.count)):
            move[i] = (alpha[i] - self._inner(self.C[i + 1 :, i], move[i + 1 :])) / self.C[i, i]
        return move

    def apply(self, move: np.ndarray) -> np.ndarray:
        """Return a step in the space of θ, shape (d,)."""
        return self.along * move[self.group]

    def _inner(self, x: np.ndarray, y: np.ndarray) -> Any:
        return self.arithmetic.inner(x, y) if x.size else self.arithmetic.number(0)
