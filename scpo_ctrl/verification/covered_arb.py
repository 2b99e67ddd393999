"""Single boxes of a cover in Arb's ball arithmetic, which rounds for itself: a sample of what doubles have re-checked.

The same walk as in `walked`, with forms whose centres, slopes and errors are balls. Lines beside functions of one
argument are Taylor's, or where second derivatives vary too much for that those of the mean slope.

References
----------
F. Johansson, "Arb: efficient arbitrary-precision midpoint-radius interval arithmetic", IEEE Transactions on Computers
66, 2017.
"""

from collections.abc import Callable

import casadi as ca
import numpy as np
from flint import arb

from scpo_ctrl.errors import DomainError
from scpo_ctrl.models.instructions import operation_name
from scpo_ctrl.verification.covered import ALLOWED, CoveredBoxes
from scpo_ctrl.verification.walked import Walked

_ONE = arb(0, 1)
_ZERO = arb(0)
_FUNCTIONS = {
    ca.OP_TANH: lambda y: (y.tanh(), 1 - y.tanh() ** 2, -2 * y.tanh() * (1 - y.tanh() ** 2)),
    ca.OP_SIN: lambda y: (y.sin(), y.cos(), -y.sin()),
    ca.OP_COS: lambda y: (y.cos(), -y.sin(), -y.cos()),
    ca.OP_EXP: lambda y: (y.exp(), y.exp(), y.exp()),
    ca.OP_SQRT: lambda y: (y.sqrt(), 1 / (2 * y.sqrt()), -1 / (4 * y * y.sqrt())),
    ca.OP_INV: lambda y: (1 / y, -1 / y**2, 2 / y**3),
    ca.OP_LOG: lambda y: (y.log(), 1 / y, -1 / y**2),
    ca.OP_ATAN: lambda y: (y.atan(), 1 / (1 + y * y), -2 * y / (1 + y * y) ** 2),
}
Value = tuple[arb, dict[int, arb], arb]  # centre, slopes by variable, error


class _Balls:
    """Values c + Σ_k G_k ζ_k, |ζ_k| ≤ 1, of one box."""

    def __init__(self, centre: list[arb], gens: list[list[arb]]) -> None:
        self.centre, self.gens = centre, gens

    def and_of(self, other: "_Balls") -> "_Balls":
        return _Balls(self.centre + other.centre, self.gens + other.gens)

    def ends(self, i: int) -> tuple[arb, arb]:
        half = _absolute(self.gens[i])
        return self.centre[i] - half, self.centre[i] + half

    def walked(self, function: Walked, fresh: int) -> tuple["_Balls", int]:
        """Return what a function is over them, errors as symbols from number `fresh` on, and the next free number."""
        memory: dict[int, Value] = {}
        out: list[Value] = [(_ZERO, {}, _ZERO)] * function.m
        for done in function.steps:
            if done.operation == ca.OP_CONST:
                memory[done.place] = (arb(done.value), {}, _ZERO)
            elif done.operation == ca.OP_INPUT:
                memory[done.place] = (self.centre[done.entry[1]], {done.entry[1]: arb(1)}, _ZERO)
            elif done.operation == ca.OP_OUTPUT:
                out[done.entry[1]] = memory[done.takes[0]]
            else:
                memory[done.place] = self._of(done.operation, [memory[k] for k in done.takes])
        gens = []
        for j, (_, slopes, error) in enumerate(out):
            row = self._along(slopes)
            gens.append(row + [_ZERO] * (fresh + j - len(row)) + [error])
        return _Balls([one[0] for one in out], gens), fresh + function.m

    def _along(self, slopes: dict[int, arb]) -> list[arb]:
        row: list[arb] = []
        for i, s in slopes.items():
            more = [s * g for g in self.gens[i]]
            longer, shorter = (row, more) if len(row) >= len(more) else (more, row)
            row = [a + b for a, b in zip(longer, shorter, strict=False)] + longer[len(shorter) :]
        return row

    def _half(self, a: Value) -> arb:
        return _absolute(self._along(a[1])) + a[2]

    def _of(self, operation: int, takes: list[Value]) -> Value:
        a, b = takes[0], takes[-1]
        if operation in (ca.OP_ADD, ca.OP_SUB):
            sign = 1 if operation == ca.OP_ADD else -1
            slopes = {i: a[1].get(i, _ZERO) + sign * b[1].get(i, _ZERO) for i in a[1] | b[1]}
            return a[0] + sign * b[0], slopes, a[2] + b[2]
        if operation in (ca.OP_NEG, ca.OP_TWICE, ca.OP_ASSIGN):
            k = {ca.OP_NEG: -1, ca.OP_TWICE: 2, ca.OP_ASSIGN: 1}[operation]
            return k * a[0], {i: k * s for i, s in a[1].items()}, abs(k) * a[2]
        if operation in (ca.OP_SQ, ca.OP_MUL):
            return self._product(a, b, is_square=operation == ca.OP_SQ)
        if operation == ca.OP_DIV:
            return self._product(a, self._curve(_FUNCTIONS[ca.OP_INV], b), is_square=False)
        if operation in (ca.OP_POW, ca.OP_CONSTPOW) and not b[1] and b[2] == 0:
            e = b[0]
            return self._curve(lambda y: (y**e, e * y ** (e - 1), e * (e - 1) * y ** (e - 2)), a)
        if operation not in _FUNCTIONS:
            raise DomainError(f"the operation {operation_name(operation)} is not re-checked in Arb")
        return self._curve(_FUNCTIONS[operation], a)

    def _product(self, a: Value, b: Value, *, is_square: bool) -> Value:
        slopes = {i: a[0] * b[1].get(i, _ZERO) + b[0] * a[1].get(i, _ZERO) for i in a[1] | b[1]}
        wide = self._half(a) * self._half(b)
        error = a[0].abs_upper() * b[2] + b[0].abs_upper() * a[2]
        error = error.upper()
        if is_square:
            return a[0] * a[0] + wide / 2, slopes, error + wide / 2
        return a[0] * b[0], slopes, error + wide

    def _curve(self, derivatives: Callable[[arb], tuple[arb, arb, arb]], a: Value) -> Value:
        c = a[0].mid()
        R = (self._half(a) + (a[0] - c).abs_upper()).upper()
        if R == 0:
            return derivatives(c)[0], {}, _ZERO
        over = c + R * _ONE
        f, slope, _ = derivatives(c)
        bent = derivatives(over)[2] / 2
        lines = [(f, slope, (bent * arb(0.5, 0.5)) * R * R)]  # (y - c)² is in [0, R²]
        if derivatives is _FUNCTIONS[ca.OP_TANH]:
            lines.append(_beside_tanh(c, (c - R).lower(), (c + R).upper()))
        value, alpha, rest = min(lines, key=lambda one: float(one[2].rad()))
        slopes = {i: alpha.mid() * s for i, s in a[1].items()}
        off = (alpha - alpha.mid()).abs_upper() * R
        # α (y - c) counts from the form's own centre: what lies between the two centres is in the value.
        centre = value + alpha.mid() * (a[0] - c) + rest.mid()
        error = alpha.mid().abs_upper() * a[2] + (rest - rest.mid()).abs_upper() + off
        return centre.mid(), slopes, (error + (centre - centre.mid()).abs_upper()).upper()


def _beside_tanh(c: arb, low: arb, high: arb) -> tuple[arb, arb, arb]:
    """Return a value, a slope 1 - s² and a remainder beside tanh: its tangents of this slope bound it on each side."""
    chord = float(((high.tanh() - low.tanh()) / (high - low)).mid())
    s = arb(min(max(0.0, 1.0 - chord), 1.0 - 1e-12) ** 0.5)
    alpha = 1 - s * s
    values = [low.tanh() - alpha * low, high.tanh() - alpha * high]
    at = s.atanh()
    tangent = s - alpha * at
    if not (bool(at < low) or bool(at > high)):
        values.append(tangent)
    if not (bool(-at < low) or bool(-at > high)):
        values.append(-tangent)
    between = values[0]
    for one in values[1:]:
        between = between.union(one)
    return alpha * c, alpha, between


def _absolute(row: list[arb]) -> arb:
    total = _ZERO
    for g in row:
        total += g.abs_upper()
    return total.upper()


class ArbBoxes:
    """The loop of a cover, one box at a time.

    Parameters
    ----------
    boxes : CoveredBoxes
    """

    def __init__(self, boxes: CoveredBoxes) -> None:
        self.of = boxes

    def holds(self, cone: int, low: np.ndarray, high: np.ndarray) -> bool:
        """Return whether every metric is kept from a box of a cone, low and high (size,)."""
        of, (of_x, _, of_v) = self.of, self.of.starts[cone]
        size = len(low)
        ends = [(arb(a), arb(b)) for a, b in zip(low.tolist(), high.tolist(), strict=True)]
        gens = [[(b - a) / 2 if i == j else _ZERO for j in range(size)] for i, (a, b) in enumerate(ends)]
        q = _Balls([(a + b) / 2 for a, b in ends], gens)
        x0, fresh = q.walked(of_x, size)
        v, fresh = q.walked(of_v, fresh)
        z, before = x0.and_of(v), None
        for t in range(of.N):
            u, x, fresh = self._stepped(z, fresh)
            kept = self._within(u, of.plant.u_min, of.plant.u_max) and self._within(x, of.plant.x_min, of.plant.x_max)
            kept = kept and self._own(z, u if before is None else before, u, t)
            if t == 0 and of.options.one_step is not None:
                kept = kept and self._falls(x, x0, 1 - of.options.one_step)
            if not kept:
                return False
            before, z = u, x.and_of(v)
        return self._ends(z, x0, fresh)

    def _stepped(self, z: _Balls, fresh: int) -> tuple[_Balls, _Balls, int]:
        """Return command and next state, and the next free number of a symbol."""
        of = self.of
        u, fresh = z.walked(of.law, fresh)
        x, fresh = z.and_of(u).walked(of.next, fresh)
        for i in np.flatnonzero(of.push).tolist():
            x.gens[i] = x.gens[i] + [_ZERO] * (fresh - len(x.gens[i])) + [arb(float(of.push[i]))]
            fresh += 1
        return u, x, fresh

    def _own(self, z: _Balls, before: _Balls, u: _Balls, t: int) -> bool:
        of = self.of
        if of.own is None or of.metrics.steps is None:
            return True
        both = z.and_of(before).and_of(u)
        values, _ = both.walked(of.own, 1 + max(len(row) for row in both.gens))
        return all(bool(values.ends(i)[1] <= ALLOWED) for i in of.metrics.steps.at(t, of.N))

    def _ends(self, z: _Balls, x0: _Balls, fresh: int) -> bool:
        """Return whether what is asked for of the last state holds."""
        of = self.of
        if of.own_at_end is not None:
            values, _ = z.walked(of.own_at_end, fresh)
            if not all(bool(values.ends(i)[1] <= ALLOWED) for i in range(of.own_at_end.m)):
                return False
        last = _Balls(z.centre[: of.nx], z.gens[: of.nx])
        if of.options.terminal and not bool(self._above(last, last, 0.0) <= arb(of.backup.rho) * (1 + ALLOWED)):
            return False
        return of.options.contraction is None or self._falls(last, x0, of.options.contraction)

    def _within(self, values: _Balls, least: np.ndarray, most: np.ndarray) -> bool:
        for i, (a, b) in enumerate(zip(least.tolist(), most.tolist(), strict=True)):
            low, high = values.ends(i)
            room = ALLOWED * (b - a) / 2 if np.isfinite(b - a) else ALLOWED
            if (np.isfinite(b) and not bool(high <= b + room)) or (np.isfinite(a) and not bool(low >= a - room)):
                return False
        return True

    def _falls(self, x: _Balls, x0: _Balls, gamma: float) -> bool:
        floor = self.of.metrics.floor
        if floor and bool(self._above(x, x, 0.0) <= floor):
            return True
        return bool(self._above(x, x0, gamma) <= ALLOWED * self.of.backup.rho)

    def _above(self, a: _Balls, b: _Balls, gamma: float) -> arb:
        """Bound V(a) - γ V(b) from above."""
        P, x_eq, n = self.of.backup.P, self.of.plant.x_eq, self.of.nx
        K = max(len(row) for one in (a, b) for row in one.gens)
        parts = []
        for one in (a, b):
            rows = [
                [c - float(x)] + g + [_ZERO] * (K - len(g)) for c, x, g in zip(one.centre, x_eq, one.gens, strict=True)
            ]
            pulled = [
                [sum((float(P[i, j]) * rows[j][k] for j in range(n)), _ZERO) for k in range(K + 1)] for i in range(n)
            ]
            parts.append((rows, pulled))
        total = _ZERO
        for k in range(K + 1):
            for m in range(k, K + 1):
                found = [sum((rows[i][k] * pulled[i][m] for i in range(n)), _ZERO) for rows, pulled in parts]
                entry = found[0] - gamma * found[1]
                if k == m:
                    total += entry if k == 0 else max(entry.upper(), _ZERO)
                else:
                    total += 2 * abs(entry)
        return total


def sample_holds(boxes: CoveredBoxes, cones: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return for each of some boxes whether it is kept, low and high (size, B); halves where a whole one is not.

    Parameters
    ----------
    boxes : CoveredBoxes
    cones : numpy.ndarray of int, shape (B,)
    low, high : numpy.ndarray, shape (size, B)

    Returns
    -------
    numpy.ndarray of bool, shape (B,)
    """
    one = ArbBoxes(boxes)
    return np.array(
        [_holds(one, int(c), a, b, _HALVINGS) for c, a, b in zip(cones, low.T, high.T, strict=True)], dtype=bool
    )


_HALVINGS = 6


def _holds(one: ArbBoxes, cone: int, low: np.ndarray, high: np.ndarray, left: int) -> bool:
    if one.holds(cone, low, high):
        return True
    if not left or not len(low):
        return False
    axis = left % len(low)
    middle, upper, lower = (low[axis] + high[axis]) / 2, high.copy(), low.copy()
    upper[axis], lower[axis] = middle, middle
    return _holds(one, cone, low, upper, left - 1) and _holds(one, cone, lower, high, left - 1)
