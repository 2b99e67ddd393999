"""What is known of the states whose variables are in a box: in coordinates T z they are in a cone around a ray.

Let a = Q v be the part of v = T z that the variables see, Q with rows of length one that are apart, and u the direction
of a in the middle of a box. For all of the box |a - (uᵀa) u| ≤ γ uᵀa, γ the largest at its corners, since that is a
convex cone. So |v|² ≥ vᵀ Λ v, Λ = I + λ (Qᵀ Q - Qᵀu uᵀQ) - λ γ² Qᵀu uᵀQ, for every λ ≥ 0, and |M v| ≤ b |v| where
‖M Λ^{-1/2}‖ ≤ b: a matrix may be long across the ray.
"""

from dataclasses import dataclass

import numpy as np

LESS = 4.0  # times as small a tilt that is tried too
_NARROW = 1e-6  # least γ² that is counted with: more than its rounding


@dataclass(frozen=True)
class Cones:
    """Rays through boxes, and how wide the boxes are seen from the equilibrium."""

    right: np.ndarray  # (n, nx, nx) Λ^{-1/2}
    wide: np.ndarray  # (n, r) what each variable adds to γ²

    @classmethod
    def of(cls, across: np.ndarray, whitened: np.ndarray, low: np.ndarray, high: np.ndarray, tilt: float) -> "Cones":
        """Return the cones of boxes.

        Parameters
        ----------
        across : numpy.ndarray, shape (r, nx)
            Q.
        whitened : numpy.ndarray, shape (r, r)
            Takes the variables, less their values at the equilibrium, to a.
        low, high : numpy.ndarray, shape (n, r)
            Of the variables, less their values at the equilibrium.
        tilt : float
            λ γ², in [0, 1).

        Returns
        -------
        Cones
        """
        r, nx = across.shape
        sides = ((np.arange(2**r)[:, None] >> np.arange(r)) & 1).astype(bool)
        corners = np.where(sides[None], high[:, None], low[:, None]) @ whitened.T  # (n, 2^r, r)
        middle = (low + high) / 2 @ whitened.T
        length = np.linalg.norm(middle, axis=1)
        with np.errstate(all="ignore"):
            u = middle / length[:, None]
            ahead = np.einsum("ncr,nr->nc", corners, u)
            aside = np.linalg.norm(corners - ahead[:, :, None] * u[:, None], axis=2)
            gamma = np.maximum(np.where(ahead > 0, (aside / ahead) ** 2, np.inf).max(axis=1, initial=0.0), _NARROW)
            wide = np.square((high - low) / 2 * np.linalg.norm(whitened, axis=0) / length[:, None])
        known = np.isfinite(gamma) & (length > 0)
        towards = np.where(known[:, None], u, 0.0) @ across
        rays = towards[:, :, None] * towards[:, None]
        beside = across.T @ across - rays
        with np.errstate(divide="ignore"):
            less = np.where(known, 1 / np.sqrt(1 + tilt / gamma) - 1, 0.0)[:, None, None]
        right = np.eye(nx) + (1 / np.sqrt(1 - tilt) - 1) * rays + less * beside
        return cls(right, np.where(np.isfinite(wide), wide, np.inf))


def along(across: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return what leaves of a vector v what is on a ray, and what no variable sees: I - Qᵀ Q + Qᵀu uᵀQ.

    Parameters
    ----------
    across : numpy.ndarray, shape (r, nx)
        Q.
    seen : numpy.ndarray, shape (n, r)
        Of any length along u; of length zero all of v is left.

    Returns
    -------
    numpy.ndarray, shape (n, nx, nx)
    """
    length = np.linalg.norm(seen, axis=1)
    is_ray = (length > 0)[:, None, None]
    towards = seen / np.where(length > 0, length, 1.0)[:, None] @ across
    apart = np.eye(across.shape[1]) - across.T @ across + towards[:, :, None] * towards[:, None]
    return np.where(is_ray, apart, np.eye(across.shape[1]))
