"""BFGS in product form with a limited memory: the coordinates in which a step is planned and projected.

H = S S' with S = sqrt(gamma) (I + s_k w_k') ... (I + s_1 w_1'), and w = -y / (s'y) + B s / sqrt(s'y s'B s).
(K. W. Brodlie, A. R. Gourlay, J. Greenstadt, "Rank-one and rank-two corrections to positive definite matrices expressed
in product form", IMA J. Appl. Math. 11, 1973.)
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scpo_ctrl.device.arithmetic import Arithmetic

_LEAST_CURVATURE = 0.2  # of s'B s, that s'y is moved up to (Powell's damping)
_LEAST_SLOPE = 16  # of s'y against s's, in units of the rounding error


@dataclass
class Pair:
    """What a change of θ, s, did to the gradient, y."""

    s: np.ndarray  # (d,)
    y: np.ndarray  # (d,)
    w: np.ndarray  # (d,)
    determinant: Any  # of I + s w'


@dataclass
class Scaling:
    """S and what it was learnt from."""

    arithmetic: Arithmetic
    memory: int  # pairs, at most
    gamma: Any
    pairs: list[Pair] = field(default_factory=list)  # oldest first

    def forget(self) -> None:
        """Forget all pairs."""
        self.pairs = []

    def apply(self, vector: np.ndarray) -> np.ndarray:
        """Return S v, shape (d,)."""
        vector = vector * np.sqrt(self.gamma)
        for pair in self.pairs:
            vector = vector + self.arithmetic.inner(pair.w, vector) * pair.s
        return vector

    def transposed(self, vectors: np.ndarray) -> np.ndarray:
        """Return S'v of every row of an array, shape (..., d)."""
        for pair in reversed(self.pairs):
            vectors = vectors + self.arithmetic.inner(pair.s, vectors)[..., None] * pair.w
        return vectors * np.sqrt(self.gamma)

    def inverse(self, vector: np.ndarray, pairs: int | None = None) -> np.ndarray:
        """Return S⁻¹ v with the first pairs, all by default, shape (d,)."""
        for pair in reversed(self.pairs[:pairs]):
            vector = vector + -self.arithmetic.inner(pair.w, vector) / pair.determinant * pair.s
        return vector * (self.arithmetic.number(1) / np.sqrt(self.gamma))

    def inverse_transposed(self, vector: np.ndarray, pairs: int | None = None) -> np.ndarray:
        """Return S'⁻¹ v with the first pairs, all by default, shape (d,)."""
        vector = vector * (self.arithmetic.number(1) / np.sqrt(self.gamma))
        for pair in self.pairs[:pairs]:
            vector = vector + -self.arithmetic.inner(pair.s, vector) / pair.determinant * pair.w
        return vector

    def learn(self, s: np.ndarray, y: np.ndarray) -> bool:
        """Take in a pair, with y moved where the matrix would not stay positive definite.

        Parameters
        ----------
        s : numpy.ndarray, shape (d,)
        y : numpy.ndarray, shape (d,)

        Returns
        -------
        bool
            Whether it was taken in.
        """
        inner, number = self.arithmetic.inner, self.arithmetic.number
        ss, sy, part = inner(s, s), inner(s, y), number(_LEAST_CURVATURE)
        scaled = self.inverse(s)
        sBs = inner(scaled, scaled)
        if sy < part * sBs:
            kept = (number(1) - part) * sBs / (sBs - sy)
            y = y * kept + (number(1) - kept) * self.inverse_transposed(scaled)
            sy = inner(s, y)
        if not sy > number(_LEAST_SLOPE) * self.arithmetic.epsilon * ss:
            return False
        self.pairs = [*self.pairs, Pair(s.copy(), y, y, sy)][-self.memory :]
        self.gamma = sy / inner(y, y)
        for k in range(len(self.pairs)):
            self._complete(k)
        return True

    def _complete(self, k: int) -> None:
        """Set w of a pair, from those before it."""
        inner, one, pair = self.arithmetic.inner, self.arithmetic.number(1), self.pairs[k]
        sy, scaled = inner(pair.s, pair.y), self.inverse(pair.s, k)
        sBs, Bs = inner(scaled, scaled), self.inverse_transposed(scaled, k)
        pair.w = Bs * (one / np.sqrt(sy * sBs)) + (-one / sy) * pair.y
        pair.determinant = one + inner(pair.s, pair.w)
