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
    """θ = S ζ with S = M^(-1/2): the norm ‖ζ‖ of a step Δ is (ΔᵀMΔ)^(1/2). S is symmetric; a vector is a diagonal."""

    S: np.ndarray  # (d,) or (d, d), from scaled coordinates to parameters

    @property
    def size(self) -> int:
        """Number of scaled coordinates."""
        return len(self.S)

    @property
    def stretch(self) -> float:
        """The longest Δ of a ζ of length one."""
        return float(np.linalg.norm(self.S, np.inf if self.S.ndim == 1 else 2))

    @cached_property
    def inverse(self) -> np.ndarray:
        """From parameters to scaled coordinates, of the shape of S."""
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
    def from_curvature(cls, H: np.ndarray, damping: float) -> "Scaling":
        """Return the scaling by a curvature made positive: M = |H| + damping, |H| by absolute eigenvalues.

        Parameters
        ----------
        H : numpy.ndarray, shape (d, d)
            Symmetric.
        damping : float
            > 0.

        Returns
        -------
        Scaling
        """
        return cls(inverse_root(H, damping))

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
        rows : numpy.ndarray, shape (..., d)

        Returns
        -------
        numpy.ndarray, shape (..., d)
        """
        return rows * self.S if self.S.ndim == 1 else rows @ self.S

    def to_scaled(self, rows: np.ndarray) -> np.ndarray:
        """Return S⁻¹ Δ for rows Δ.

        Parameters
        ----------
        rows : numpy.ndarray, shape (..., d)

        Returns
        -------
        numpy.ndarray, shape (..., d)
        """
        return rows * self.inverse if self.inverse.ndim == 1 else rows @ self.inverse

    def of_gradients(self, rows: np.ndarray) -> np.ndarray:
        """Return S'∇ for gradients ∇ with respect to the parameters: those with respect to ζ.

        Parameters
        ----------
        rows : numpy.ndarray, shape (..., d)

        Returns
        -------
        numpy.ndarray, shape (..., d)
        """
        return self.to_theta(rows)

    def to_gradients(self, rows: np.ndarray) -> np.ndarray:
        """Return gradients with respect to the parameters for those with respect to ζ.

        Parameters
        ----------
        rows : numpy.ndarray, shape (..., d)

        Returns
        -------
        numpy.ndarray, shape (..., d)
        """
        return self.to_scaled(rows)

    def basis(self, Q: np.ndarray | None) -> np.ndarray:
        """Return directions in parameter space: the rows of Qᵀ = Q scaled, or of S itself.

        Parameters
        ----------
        Q : numpy.ndarray, shape (p, d), or None
            Orthonormal rows in scaled coordinates; None for the full basis.

        Returns
        -------
        numpy.ndarray, shape (p, d) or (d, d)
        """
        if Q is not None:
            return self.to_theta(Q)
        return np.diag(self.S) if self.S.ndim == 1 else self.S
