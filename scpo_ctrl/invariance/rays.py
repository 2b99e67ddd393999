"""The mean of the Jacobian along the rays from the equilibrium, which is what the mean value theorem asks of it.

F(x, p) - F(x_eq, p) = J̄ (x - x_eq) with J̄(η) = ∫₀¹ J(η₀ + t δ) dt and δ = η - η₀, in which parameters stay what they
are. The ray is cut into M parts. By the midpoint rule J̄ is the mean of J at their middles and of B / 24 M² on them,
B = d²J/dt²; and ∂²J̄/∂η_k² is the sum of w_i ∂²J/∂η_k² on the parts of all rays of a box, w_i the integral of t² over a
part, of a parameter that of 1.
"""

from dataclasses import dataclass

import casadi as ca
import numpy as np

from scpo_ctrl.invariance.intervals import Enclosure, Interval, magnitude

_PARTS = 4  # of a ray, M
_ULPS = 4  # in the last place of the larger end: more than a sum and a product are rounded by


@dataclass(frozen=True)
class Rays:
    """Enclosures of the mean of a Jacobian along rays."""

    jacobian: Enclosure  # η -> J, and more
    along: Enclosure  # (η, δ) -> B
    bends: Enclosure  # η -> ∂²J/∂η_k² for each k, and more
    middle: np.ndarray  # (k,) η₀
    moves: np.ndarray  # (k,) bool: whether a variable moves along the ray

    @classmethod
    def of(
        cls, eta: ca.SX, J: ca.SX, jacobian: Enclosure, bends: Enclosure, middle: np.ndarray, moves: np.ndarray
    ) -> "Rays":
        """Return the rays of a Jacobian.

        Parameters
        ----------
        eta : casadi.SX, shape (k, 1)
        J : casadi.SX, shape (nx, nx)
        jacobian, bends : Enclosure
            Whose first results are J, and ∂²J/∂η_k² for each k.
        middle : numpy.ndarray, shape (k,)
        moves : numpy.ndarray of bool, shape (k,)

        Returns
        -------
        Rays
        """
        delta = ca.SX.sym("delta", eta.numel())
        towards = delta * ca.DM(moves.astype(float))
        slope = ca.jtimes(ca.vec(J), eta, towards)
        B = ca.reshape(ca.densify(ca.jtimes(slope, eta, towards)), *J.shape)
        B = Enclosure(ca.Function("along", [ca.vertcat(eta, delta)], ca.cse([B])))
        return cls(jacobian, B, bends, middle, moves)

    def at(self, points: np.ndarray) -> Interval:
        """Enclose the mean at points.

        Parameters
        ----------
        points : numpy.ndarray, shape (n, k)

        Returns
        -------
        Interval, shape (n, nx, nx)
        """
        n, away = len(points), points - self.middle
        delta = _outwards(away, away, np.abs(away))
        middles = [self._part(points, points, (i + 0.5) / _PARTS, (i + 0.5) / _PARTS) for i in range(_PARTS)]
        parts = [self._part(points, points, i / _PARTS, (i + 1) / _PARTS) for i in range(_PARTS)]
        J = self.jacobian(_stacked(middles))[0]
        towards = _stacked([delta] * _PARTS)
        boxes = _stacked(parts)
        ends = (np.hstack([getattr(some, end) for some in (boxes, towards)]) for end in ("low", "high"))
        (B,) = self.along(Interval(*ends))
        shape = (_PARTS, n, *J.low.shape[1:])
        low, high, size = np.zeros((3, *shape[1:]))
        for part, weight in ((J, 1 / _PARTS), (B, 1 / (24 * _PARTS**3))):
            low += part.low.reshape(shape).sum(axis=0) * weight
            high += part.high.reshape(shape).sum(axis=0) * weight
            size += magnitude(part).reshape(shape).sum(axis=0) * weight
        return _outwards(low, high, size)

    def bent(self, low: np.ndarray, high: np.ndarray) -> Interval:
        """Enclose the second derivatives of the mean on boxes.

        Parameters
        ----------
        low, high : numpy.ndarray, shape (n, k)

        Returns
        -------
        Interval, shape (n, k, nx, nx)
        """
        n = len(low)
        parts = _stacked([self._part(low, high, i / _PARTS, (i + 1) / _PARTS) for i in range(_PARTS)])
        cubes = np.diff((np.arange(_PARTS + 1) / _PARTS) ** 3) / 3
        weights = np.where(self.moves[:, None], cubes, 1 / _PARTS)  # (k, M)
        found = self.bends(parts)[: len(self.middle)]
        low, high, size = (
            np.einsum("inkab,ki->nkab", stack.reshape(_PARTS, n, *stack.shape[1:]), weights)
            for stack in (
                np.stack([part.low for part in found], axis=1),
                np.stack([part.high for part in found], axis=1),
                np.stack([magnitude(part) for part in found], axis=1),
            )
        )
        return _outwards(low, high, size)

    def _part(self, low: np.ndarray, high: np.ndarray, start: float, end: float) -> Interval:
        """Enclose η₀ + t δ for η in boxes and t between two numbers."""
        deltas = low - self.middle, high - self.middle
        least = self.middle + np.minimum(start * deltas[0], end * deltas[0])
        most = self.middle + np.maximum(start * deltas[1], end * deltas[1])
        room = _ULPS * np.finfo(float).eps * (np.abs(low) + np.abs(high) + np.abs(self.middle))
        return Interval(np.where(self.moves, least - room, low), np.where(self.moves, most + room, high))


def _stacked(parts: list[Interval]) -> Interval:
    return Interval(np.vstack([part.low for part in parts]), np.vstack([part.high for part in parts]))


def _outwards(low: np.ndarray, high: np.ndarray, size: np.ndarray) -> Interval:
    """Return ends moved outwards by more than sums of some size have rounded; lines where nothing is known."""
    with np.errstate(invalid="ignore"):
        room = 16 * np.finfo(float).eps * size
        low, high = low - room, high + room
    lost = np.isnan(low) | np.isnan(high)
    return Interval(np.where(lost, -np.inf, low), np.where(lost, np.inf, high))
