"""Bounds of a policy's second derivatives around θ, for smoothness constants that hold provably."""

from dataclasses import dataclass
from functools import cached_property

import casadi as ca
import numpy as np

from scpo_ctrl.policy import Policy

_TANH_CURVATURE = 4 / (3 * np.sqrt(3))  # max |tanh''|, at tanh² = 1/3


@dataclass(frozen=True)
class PolicyBounds:
    """The residual φ(z, θ) around θ. States count in units of the policy's scale: ‖z / scale‖."""

    policy: Policy
    theta: np.ndarray  # (d,)
    radius: float  # r, of the ball around θ

    @cached_property
    def _layers(self) -> list[tuple[float, float]]:
        """Largest norm of each weight matrix, and of the bias beside it, in the ball."""
        layers, start = [], 0
        widths = self.policy.widths
        for last, width, biased in zip(widths, widths[1:], [1] * (len(widths) - 2) + [0], strict=False):
            W = self.theta[start : start + width * last].reshape(width, last)
            b = self.theta[start + width * last : start + width * (last + biased)]
            layers.append((float(np.linalg.norm(W, 2)) + self.radius, float(np.linalg.norm(b)) + self.radius))
            start += width * (last + biased)
        return layers

    @cached_property
    def _jacobians(self) -> ca.Function:
        x, theta = ca.SX.sym("x", self.policy.plant.nx), ca.SX.sym("theta", self.policy.theta_dim)
        residual = self.policy.residual(x, theta)
        return ca.Function("jacobians", [x, theta], [ca.jacobian(residual, x), ca.jacobian(residual, theta)])

    def jacobians(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the derivatives of φ at θ.

        Parameters
        ----------
        z : numpy.ndarray, shape (S, nx)
            Deviations from the equilibrium.

        Returns
        -------
        phi_z : numpy.ndarray, shape (S, nu, nx)
        phi_theta : numpy.ndarray, shape (S, nu, d)
        """
        columns = self._jacobians.map(len(z))((self.policy.plant.x_eq + z).T, self.theta)
        nu = self.policy.plant.nu
        phi_z, phi_theta = (part.full().reshape(nu, len(z), -1).swapaxes(0, 1) for part in columns)
        return phi_z, phi_theta

    def curvature(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Bound ‖φ_zz‖, ‖φ_zθ‖ and ‖φ_θθ‖ in the ball, for scaled states up to a norm.

        Parameters
        ----------
        y : numpy.ndarray, shape (S,)
            Largest ‖z / scale‖.

        Returns
        -------
        zz, zt, tt : numpy.ndarray, shape (S,)
        """
        at, at_zero = self._hidden(y), self._hidden(np.zeros_like(y))
        w = self._layers[-1][0]
        t = np.minimum(at.t + at_zero.t, at.zt * y)  # a_θ(z) - a_θ(0): W is multiplied by a(z) - a(0)
        return w * at.zz, np.hypot(at.z, w * at.zt), _largest(w * (at.tt + at_zero.tt), t)

    def _hidden(self, y: np.ndarray) -> "_Derivatives":
        """Bound the derivatives of the last hidden layer, layer by layer; each owns its part of a unit direction δ."""
        zero = np.zeros_like(y)
        at = _Derivatives(y, zero + 1, zero, zero, zero, zero)
        for (w, b), width in zip(self._layers, self.policy.hidden, strict=False):
            z, t = w * at.z, np.hypot(w * at.t, np.hypot(at.a, 1.0))  # of the sum before tanh
            zz, zt, tt = w * at.zz, np.hypot(w * at.zt, at.z), _largest(w * at.tt, at.t)
            a = np.minimum(w * at.a + b, np.sqrt(width))
            c = _TANH_CURVATURE
            at = _Derivatives(a, z, t, c * z**2 + zz, c * z * t + zt, c * t**2 + tt)
        return at


@dataclass(frozen=True)
class _Derivatives:
    """Bounds (S,) of a layer's output and its derivatives with respect to the scaled state and to θ."""

    a: np.ndarray
    z: np.ndarray
    t: np.ndarray
    zz: np.ndarray
    zt: np.ndarray
    tt: np.ndarray


def spectral_norm(M: np.ndarray) -> np.ndarray:
    """Return the largest singular values of a stack of matrices.

    Parameters
    ----------
    M : numpy.ndarray, shape (..., n, k)

    Returns
    -------
    numpy.ndarray, shape (...)
    """
    if min(M.shape[-2:]) == 1:
        return np.sqrt(np.sum(M**2, axis=(-2, -1)))
    gram = M @ M.swapaxes(-2, -1) if M.shape[-2] <= M.shape[-1] else M.swapaxes(-2, -1) @ M
    bad = ~np.isfinite(gram).all(axis=(-2, -1))
    squares = np.linalg.eigvalsh(np.where(bad[..., None, None], 0.0, gram))[..., -1]
    return np.where(bad, np.inf, np.sqrt(np.maximum(squares, 0.0)))


def _largest(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Return max p a² + 2 q a b over a² + b² = 1: δ split into what lies below a layer, and its own weights."""
    return (p + np.hypot(p, 2 * q)) / 2
