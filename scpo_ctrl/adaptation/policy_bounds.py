"""Bounds of a policy's second derivatives around θ, for smoothness constants that hold provably."""

from dataclasses import dataclass
from functools import cached_property

import casadi as ca
import numpy as np

from scpo_ctrl.loop.policy import Policy, layers_of

_SHORT = 8  # side of a weight matrix up to which norms are computed exactly at every state
_MOST_BENT = np.arctanh(1 / np.sqrt(3))  # where |tanh''| is largest, 4 / (3 √3)


@dataclass(frozen=True)
class PolicyBounds:
    """The residual φ(z, θ) around θ. States count in units of the policy's scale: ‖z / scale‖."""

    policy: Policy
    theta: np.ndarray  # (d,)
    radius: float  # r, of the ball around θ

    @cached_property
    def _layers(self) -> list[tuple[np.ndarray, np.ndarray, float]]:
        """Weights, biases and norms of the weights of the hidden layers at θ."""
        return [(W, b, float(np.linalg.norm(W, 2))) for W, b in layers_of(self.theta, self.policy.widths)[0]]

    @cached_property
    def _last(self) -> float:
        """Norm of the output matrix at θ."""
        return float(np.linalg.norm(layers_of(self.theta, self.policy.widths)[1], 2))

    @cached_property
    def _at_zero(self) -> "_Derivatives":
        """The last hidden layer at the equilibrium, S = 1."""
        return self._hidden(np.zeros((1, self.policy.plant.nx)), np.zeros(1))

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

    def curvature(self, z: np.ndarray, e: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Bound ‖φ_zz‖, ‖φ_zθ‖ and ‖φ_θθ‖ in the ball, for all states near given ones.

        Parameters
        ----------
        z : numpy.ndarray, shape (S, nx)
            Deviations from the equilibrium.
        e : numpy.ndarray, shape (S,)
            How far other states are from them at most, scaled.

        Returns
        -------
        zz, zt, tt : numpy.ndarray, shape (S,)
        """
        y = z / np.array(self.policy.scale)
        at, at_zero = self._hidden(y, e), self._at_zero
        length = np.linalg.norm(y, axis=1) + e
        between = self._hidden(np.zeros_like(y), length)  # all states from zero to there
        w, u = self._last + self.radius, max(self.policy.input_scale)
        t = np.minimum(at.t + at_zero.t, between.zt * length)  # a_θ(z) - a_θ(0): W is multiplied by a(z) - a(0)
        return u * w * at.zz, u * np.hypot(at.z, w * at.zt), u * _largest(w * (at.tt + at_zero.tt), t)

    def _hidden(self, y: np.ndarray, e: np.ndarray) -> "_Derivatives":
        """Bound the last hidden layer, layer by layer, for scaled states no further than e from y.

        Each layer owns its part of a unit direction δ. The slope and the curvature of every tanh are the largest over
        the interval that its argument can be in.
        """
        zero, r = np.zeros_like(e), self.radius
        centre, off = y, e  # the layer's output at y and θ, and how far it can be from there
        at = _Derivatives(zero + 1, zero, zero, zero, zero)
        for W, b, norm in self._layers:
            own = np.hypot(np.linalg.norm(centre, axis=1) + off, 1.0)  # of δ's part that this layer owns
            centre, off = centre @ W.T + b, norm * off + r * own
            slope, bend = _tanh_bounds(np.abs(centre), off[:, None])
            steepest, rows = slope.max(axis=1), np.linalg.norm(W, axis=1) + r
            w, w_bend = (_scaled_norm(d, W) + r * d.max(axis=1) for d in (slope, np.sqrt(bend)))
            t = np.hypot((norm + r) * at.t, own)  # of the sum before tanh
            at = _Derivatives(
                z=w * at.z,
                t=np.hypot(w * at.t, steepest * own),
                zz=w_bend * (np.sqrt(bend) * rows).max(axis=1) * at.z**2 + w * at.zz,
                zt=(bend * rows).max(axis=1) * at.z * t + np.hypot(w * at.zt, steepest * at.z),
                tt=bend.max(axis=1) * t**2 + _largest(w * at.tt, steepest * at.t),
            )
            centre = np.tanh(centre)
        return at


@dataclass(frozen=True)
class _Derivatives:
    """Bounds (S,) of a layer's derivatives with respect to the scaled state z and to θ."""

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
    bad = np.asarray(~np.isfinite(gram).all(axis=(-2, -1)))
    squares = np.linalg.eigvalsh(np.where(bad[..., None, None], 0.0, gram))[..., -1]
    return np.where(bad, np.inf, np.sqrt(np.maximum(squares, 0.0)))


def _scaled_norm(d: np.ndarray, W: np.ndarray) -> np.ndarray:
    """Bound the norm of diag(d) W for each row of d, (S,): exactly where one side of W is short."""
    if min(W.shape) <= _SHORT:
        return spectral_norm(d[:, :, None] * W)
    frobenius = np.sqrt(d**2 @ np.sum(W**2, axis=1))
    return np.minimum(frobenius, d.max(axis=1) * np.linalg.norm(W, 2))


def _largest(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Return max p a² + 2 q a b over a² + b² = 1: δ split into what lies below a layer, and its own weights."""
    return (p + np.hypot(p, 2 * q)) / 2


def _tanh_bounds(centre: np.ndarray, off: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest |tanh'| and |tanh''| no further than `off` from a centre >= 0."""
    slope = 1 - np.tanh(np.maximum(centre - off, 0.0)) ** 2
    bent = np.tanh(np.clip(_MOST_BENT, np.maximum(centre - off, 0.0), centre + off))
    return slope, 2 * bent * (1 - bent**2)
