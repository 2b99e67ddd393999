"""The mean of a Jacobian along rays from the equilibrium, in balls, and the cones of states that a box leaves.

F(x, p) - F(x_eq, p) = J̄ (x - x_eq), J̄(η) = ∫₀¹ J(η₀ + t (η - η₀)) dt, where parameters do not move. Of each of M parts
of [0, 1] the midpoint rule takes J in the middle and d²J/dt² / 24 M² somewhere on it.
"""

import itertools
from collections.abc import Sequence

import casadi as ca
from flint import arb, arb_mat

from scpo_ctrl.verification.arb import BallFunction, Ends

_PARTS = 4  # M
_NARROW = 1e-6  # least square of the tangent of a cone


class MeanJacobian:
    """J̄ at points, and its second derivatives on boxes.

    Parameters
    ----------
    eta : casadi.SX, shape (k, 1)
    J : casadi.SX, shape (nx, nx)
    bends : casadi.Function
        η to ∂²J/∂η_k² for each k, and more.
    rest : list of arb, shape (k,)
        η₀.
    moves : list of bool, shape (k,)
        Whether a variable moves along the ray.
    """

    def __init__(self, eta: ca.SX, J: ca.SX, bends: BallFunction, rest: list[arb], moves: list[bool]) -> None:
        delta = ca.SX.sym("delta", eta.numel())
        towards = ca.vertcat(*(delta[k] if move else 0 for k, move in enumerate(moves)))
        twice = ca.jtimes(ca.jtimes(ca.vec(J), eta, towards), eta, towards)
        self._jacobian = BallFunction(ca.Function("jacobian", [eta], ca.cse([J])))
        second = ca.reshape(ca.densify(twice), *J.shape)
        self._along = BallFunction(ca.Function("along", [ca.vertcat(eta, delta)], ca.cse([second])))
        self._bends, self._rest, self._moves = bends, rest, moves

    def at(self, point: Sequence[float]) -> list[arb]:
        """Enclose the entries of J̄ at a point, row by row."""
        ends = [(arb(value), arb(value)) for value in point]
        delta = [value - rest for (value, _), rest in zip(ends, self._rest, strict=True)]
        total: list[arb] = []
        for i in range(_PARTS):
            middle = arb(2 * i + 1) / (2 * _PARTS)
            (J,) = self._jacobian.at([low for low, _ in self._part(ends, middle, middle)])
            part = self._part(ends, arb(i) / _PARTS, arb(i + 1) / _PARTS)
            (B,) = self._along.on([*part, *((value, value) for value in delta)])
            own = [one + low.union(high) / (24 * _PARTS**2) for one, (low, high) in zip(J, B, strict=True)]
            total = [a + b for a, b in zip(total, own, strict=True)] if total else own
        return [entry / _PARTS for entry in total]

    def bent(self, box: list[Ends]) -> list[list[Ends]]:
        """Enclose ∂²J̄/∂η_k² on a box, for each k the entries row by row."""
        totals: list[list[Ends]] = []
        for i in range(_PARTS):
            start, end = arb(i) / _PARTS, arb(i + 1) / _PARTS
            weights = [(end**3 - start**3) / 3 if move else end - start for move in self._moves]
            found = self._bends.on(self._part(box, start, end))
            own = [[(w * a, w * b) for a, b in part] for w, part in zip(weights, found, strict=False)]
            totals = (
                [
                    [(a + c, b + d) for (a, b), (c, d) in zip(*both, strict=True)]
                    for both in zip(totals, own, strict=True)
                ]
                if totals
                else own
            )
        return totals

    def _part(self, box: list[Ends], start: arb, end: arb) -> list[Ends]:
        """Enclose η₀ + t (η - η₀) for η in a box, and t from start to end."""
        part = []
        for (low, high), rest, move in zip(box, self._rest, self._moves, strict=True):
            a, b = low - rest, high - rest
            moved = rest + (start * a).min(end * a), rest + (start * b).max(end * b)
            part.append(moved if move else (low, high))
        return part


def cone(whitened: arb_mat, across: arb_mat, low: list[arb], high: list[arb], tilt: float) -> arb_mat | None:
    """Return a matrix Λ with vᵀ Λ v ≤ |v|² for all vectors that are seen in a box.

    With a = Q v, of which |a - (uᵀa) u| ≤ γ uᵀa at the corners of the box and so in all of it, it is
    I + λ (Qᵀ Q - Qᵀu uᵀQ) - λ γ² Qᵀu uᵀQ.

    Parameters
    ----------
    whitened : arb_mat, shape (r, r)
        Takes what is seen to a.
    across : arb_mat, shape (r, nx)
        Q.
    low, high : list of arb, shape (r,)
        The box, less what is seen of the equilibrium.
    tilt : float
        λ γ², in [0, 1).

    Returns
    -------
    arb_mat, optional
        None where a corner is not shown to be ahead.
    """
    rows = len(low)
    middle = whitened * arb_mat(rows, 1, [(a + b) / 2 for a, b in zip(low, high, strict=True)])
    length = sum((entry * entry for entry in middle.entries()), arb(0)).sqrt()
    if not length > 0:
        return None
    u, gamma = middle * (1 / length), arb(_NARROW)
    for corner in itertools.product(*zip(low, high, strict=True)):
        a = whitened * arb_mat(rows, 1, list(corner))
        ahead = (u.transpose() * a)[0, 0]
        if not ahead > 0:
            return None
        aside = sum((entry * entry for entry in (a - u * ahead).entries()), arb(0))
        gamma = gamma.max(aside / (ahead * ahead))
    most = gamma.upper()
    ray = across.transpose() * u
    beside = across.transpose() * across - ray * ray.transpose()
    nx = across.ncols()
    return arb_mat(nx, nx, 1) + beside * (arb(tilt) / most) - ray * ray.transpose() * arb(tilt)
