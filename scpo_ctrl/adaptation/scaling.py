"""Scaled bases: the norm in which steps, radii and smoothness constants are measured (docs/method.md)."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.adaptation.kernels import inverse_root
from scpo_ctrl.errors import DimensionError, DomainError
from scpo_ctrl.validate import as_array, dimensions

_SYMMETRY = 1e-9  # relative asymmetry of a matrix that is taken for rounding
_LARGEST = 1e100  # of an entry of a preconditioner, and one over it: squares stay within the range of a double


@dataclass(frozen=True)
class Scaling:
    """Δ = S ζ with S = M^(-1/2), symmetric: the norm ‖ζ‖ of a step Δ is (ΔᵀMΔ)^(1/2). A vector is a diagonal.

    On a subspace S has p columns, and steps stay in their span. With orthonormal rows V of it, and M = W diag(m) Wᵀ
    what the curvature is in it, S = Vᵀ W diag(m)^(-1/2).
    """

    S: np.ndarray  # (d,), (d, d) or (d, p), from scaled coordinates to parameters
    left_inverse: np.ndarray | None = None  # (p, d) of S on a subspace, diag(m)^(1/2) Wᵀ V; None elsewhere

    @property
    def size(self) -> int:
        """Number of scaled coordinates, d or p."""
        return self.S.shape[-1]

    @property
    def stretch(self) -> float:
        """The longest Δ of a ζ of length one."""
        return float(np.linalg.norm(self.S, np.inf if self.S.ndim == 1 else 2))

    @cached_property
    def inverse(self) -> np.ndarray:
        """From parameters to scaled coordinates, (d,), (d, d) or (p, d)."""
        if self.left_inverse is not None:
            return self.left_inverse
        return 1 / self.S if self.S.ndim == 1 else np.linalg.inv(self.S)

    @classmethod
    def none(cls, theta_dim: int) -> "Scaling":
        """Return the scaling that changes nothing.

        Parameters
        ----------
        theta_dim : int
            Number of parameters d.

        Returns
        -------
        Scaling
        """
        return cls(np.ones(theta_dim))

    @classmethod
    def from_curvature(cls, H: np.ndarray, damping: float, V: np.ndarray | None = None) -> "Scaling":
        """Return the scaling by a curvature made positive: M = |H| + damping, |H| by absolute eigenvalues.

        Parameters
        ----------
        H : numpy.ndarray, shape (d, d) or (p, p)
            Symmetric; along V where that is given.
        damping : float
            > 0.
        V : numpy.ndarray, shape (p, d), optional
            Orthonormal rows of the subspace that steps stay in.

        Returns
        -------
        Scaling
        """
        if V is None:
            return cls(inverse_root(H, damping))
        values, W = np.linalg.eigh(H)
        roots, along = np.sqrt(np.abs(values) + damping), W.T @ V
        return cls((along / roots[:, None]).T, along * roots[:, None])

    @classmethod
    def from_preconditioner(cls, M: ArrayLike, theta_dim: int) -> "Scaling":
        """Return the scaling by a matrix of the user's, or its diagonal.

        Parameters
        ----------
        M : array_like, shape (d,) or (d, d)
            Positive definite.
        theta_dim : int
            Number of parameters d.

        Returns
        -------
        Scaling

        Raises
        ------
        DimensionError
            If it does not fit the parameters.
        DomainError
            If it is not finite, not symmetric or not positive definite.
        """
        array = as_array("preconditioner", M, (None, None) if dimensions(M) > 1 else (None,))
        if any(size != theta_dim for size in array.shape):
            raise DimensionError(
                f"preconditioner has shape {array.shape}, expected ({theta_dim},) or ({theta_dim}, {theta_dim})"
            )
        if np.abs(array).max(initial=0.0) > _LARGEST:
            raise DomainError(f"preconditioner has an entry beyond {_LARGEST:g}; make it smaller")
        if array.ndim == 1:
            if (array <= 0).any():
                i = int(np.argmin(array))
                raise DomainError(f"preconditioner[{i}] is {array[i]:g}; make every entry positive")
            if array.min() < 1 / _LARGEST:
                raise DomainError(f"preconditioner has an entry below {1 / _LARGEST:g}; make it larger")
            return cls(1 / np.sqrt(array))
        if np.abs(array - array.T).max() > _SYMMETRY * np.abs(array).max():
            raise DomainError("preconditioner is not symmetric; give (M + M') / 2")
        values = np.linalg.eigvalsh(array)
        least = float(values[0])
        if least <= max(1 / _LARGEST, np.finfo(float).eps * theta_dim * float(values[-1])):  # or it is rounding
            raise DomainError(
                f"preconditioner is not positive definite (least eigenvalue {least:.3g}); add some of the identity"
            )
        return cls.from_curvature((array + array.T) / 2, 0.0)

    def to_theta(self, rows: np.ndarray) -> np.ndarray:
        """Return S ζ for rows ζ.

        Parameters
        ----------
        rows : numpy.ndarray, shape (..., d) or (..., p)

        Returns
        -------
        numpy.ndarray, shape (..., d)
        """
        return _times(rows, self._transposed(self.S))

    def to_scaled(self, rows: np.ndarray) -> np.ndarray:
        """Return the ζ of rows Δ, of their part in the subspace.

        Parameters
        ----------
        rows : numpy.ndarray, shape (..., d)

        Returns
        -------
        numpy.ndarray, shape (..., d) or (..., p)
        """
        return _times(rows, self._transposed(self.inverse))

    def of_gradients(self, rows: np.ndarray) -> np.ndarray:
        """Return S'∇ for gradients ∇ with respect to the parameters: those with respect to ζ.

        Parameters
        ----------
        rows : numpy.ndarray, shape (..., d)

        Returns
        -------
        numpy.ndarray, shape (..., d) or (..., p)
        """
        return _times(rows, self.S)

    def to_gradients(self, rows: np.ndarray) -> np.ndarray:
        """Return gradients with respect to the parameters, their part in the subspace, for those with respect to ζ.

        Parameters
        ----------
        rows : numpy.ndarray, shape (..., d) or (..., p)

        Returns
        -------
        numpy.ndarray, shape (..., d)
        """
        return _times(rows, self.inverse)

    def basis(self, Q: np.ndarray | None) -> np.ndarray:
        """Return directions in parameter space: orthonormal rows scaled, or all columns of S.

        Parameters
        ----------
        Q : numpy.ndarray, shape (q, d) or (q, p), or None
            Rows in scaled coordinates; None for the full basis.

        Returns
        -------
        numpy.ndarray, shape (q, d), (d, d) or (p, d)
        """
        if Q is not None:
            return self.to_theta(Q)
        return np.diag(self.S) if self.S.ndim == 1 else np.ascontiguousarray(self._transposed(self.S))

    def _transposed(self, matrix: np.ndarray) -> np.ndarray:
        """Return the transpose; S and its inverse are symmetric but on a subspace."""
        return matrix if self.left_inverse is None else matrix.T


def _times(rows: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return rows times a matrix, or its diagonal."""
    return rows * matrix if matrix.ndim == 1 else rows @ matrix
