"""Enclosures once more, for many boxes at once: first-order forms over zonotopes, instruction by instruction.

Written apart from the prover of covers, in another way: lines beside tanh are tangents at a slope that is chosen first,
1 - s², and hold on a whole half-line; those of other functions are Taylor's, with second derivatives enclosed by
intervals. n products and sums of doubles are within (n + 2) u of their absolute values, u = 2⁻⁵³; 2u are taken, and
what is not a number holds in no comparison.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import casadi as ca
import numpy as np

from scpo_ctrl.errors import DomainError
from scpo_ctrl.invariance.intervals import Interval, enclosure
from scpo_ctrl.models.instructions import instructions

U = 2.0**-52
_TINY = 1e-290
_MOST = 48  # symbols


@dataclass(frozen=True)
class Set:
    """Zonotopes c + Gζ + l over B boxes."""

    centre: np.ndarray  # (n, B)
    gens: np.ndarray  # (n, K, B)
    loose: np.ndarray  # (n, B)

    @property
    def reach(self) -> np.ndarray:
        """Half widths, shape (n, B)."""
        total = np.abs(self.gens).sum(axis=1) + self.loose
        return np.asarray(total * (1 + (self.gens.shape[1] + 4) * U) + _TINY)

    @property
    def box(self) -> Interval:
        """A box that holds them, boxes first."""
        reach = self.reach
        reach = reach + 2 * U * (np.abs(self.centre) + reach)
        return Interval((self.centre - reach).T, (self.centre + reach).T)

    def and_of(self, other: "Set") -> "Set":
        """Return the values of both, over the same symbols."""
        K = max(self.gens.shape[1], other.gens.shape[1])
        parts = [np.pad(one.gens, ((0, 0), (0, K - one.gens.shape[1]), (0, 0))) for one in (self, other)]
        return Set(
            np.concatenate([self.centre, other.centre]),
            np.concatenate(parts),
            np.concatenate([self.loose, other.loose]),
        )

    def rows(self, some: slice) -> "Set":
        """Return some values."""
        return Set(self.centre[some], self.gens[some], self.loose[some])

    def part(self, boxes: np.ndarray) -> "Set":
        """Return those over some boxes."""
        return Set(self.centre[:, boxes], self.gens[:, :, boxes], self.loose[:, boxes])

    def with_symbols(self, half: np.ndarray) -> "Set":
        """Return the values with independent ones added, half widths (n, B)."""
        return Set(self.centre, np.concatenate([self.gens, _own(half)], axis=1), self.loose)

    def bounded(self, kept: int) -> "Set":
        """Return a set that holds this one, with few symbols beside the first ones."""
        if self.gens.shape[1] <= max(_MOST, kept + 2 * len(self.centre)):
            return self
        G = np.concatenate([self.gens[:, kept:], _own(self.loose)], axis=1)
        W, S, left = _along_axes(G)
        sizes = np.abs(S).sum(axis=2) * (1 + (G.shape[1] + 4) * U)
        box = np.moveaxis(W * sizes[:, None, :], 0, -1)
        rounded = U * np.abs(box).sum(axis=1)
        gens = np.concatenate([self.gens[:, :kept], box], axis=1)
        return Set(self.centre, gens, (left.T + 2 * rounded) * (1 + 8 * U) + _TINY)


def _own(half: np.ndarray) -> np.ndarray:
    n = len(half)
    gens = np.zeros((n, n, half.shape[1]))
    gens[np.arange(n), np.arange(n)] = half
    return gens


def _along_axes(G: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return axes W (B, n, n), S (B, n, K) and bounds of |Gζ - WSζ| (B, n) for symbols G (n, K, B)."""
    G = np.moveaxis(G, -1, 0)
    size = np.maximum(np.abs(G).sum(axis=2), _TINY)
    scaled = G / size[:, :, None]
    axes = np.linalg.eigh(np.nan_to_num(scaled @ scaled.swapaxes(1, 2), nan=0.0, posinf=0.0))[1]
    W = size[:, :, None] * axes
    S = axes.swapaxes(1, 2) @ scaled
    left = np.abs(G - W @ S).sum(axis=2)
    rounded = (np.abs(G) + np.abs(W) @ np.abs(S)).sum(axis=2)
    return W, S, left * (1 + (G.shape[2] + 4) * U) + (len(size[0]) + G.shape[2] + 8) * U * rounded


Value = tuple[Any, dict[int, Any], Any]  # centre, slopes by variable, error: arrays (B,), or numbers


class Walked:
    """A function of one column, walked over instruction by instruction.

    Parameters
    ----------
    z : casadi.SX, shape (n, 1)
    values : casadi.SX, shape (m, 1)
    """

    def __init__(self, z: ca.SX, values: ca.SX) -> None:
        self.m = values.numel()
        function = ca.Function("walked", [z], [ca.densify(values)])
        self.steps = list(instructions(function))
        self.is_affine = not ca.depends_on(ca.jacobian(values, z), z)

    def __call__(self, over: Set, *, symbols: bool) -> Set:
        """Return what the function is over a set; errors are symbols of their own, or loose."""
        walk, memory = _Walk(over), dict[int, Value]()
        zero = np.zeros(over.centre.shape[1])
        out: list[Value] = [(zero, {}, zero)] * self.m
        for done in self.steps:
            if done.operation == ca.OP_CONST:
                memory[done.place] = (np.float64(done.value), {}, np.float64(0.0))
            elif done.operation == ca.OP_INPUT:
                memory[done.place] = (over.centre[done.entry[1]], {done.entry[1]: np.float64(1.0)}, np.float64(0.0))
            elif done.operation == ca.OP_OUTPUT:
                out[done.entry[1]] = memory[done.takes[0]]
            else:
                memory[done.place] = walk.of(done.operation, [memory[k] for k in done.takes])
        centre, gens = np.zeros((self.m, zero.size)), np.zeros((self.m, over.gens.shape[1], zero.size))
        error = np.zeros(centre.shape)
        for j, (c, slopes, e) in enumerate(out):
            centre[j], error[j] = c, e
            for i, a in slopes.items():
                gens[j] += a * over.gens[i]
                error[j] += np.abs(a) * (over.loose[i] + (over.gens.shape[1] + len(slopes) + 4) * U * walk.reach[i])
            error[j] = error[j] * (1 + (16 + 4 * len(slopes)) * U) + _TINY
        none = Set(centre, gens, np.zeros(centre.shape))
        return none.with_symbols(error) if symbols else Set(centre, gens, error)


class _Walk:
    """Operations on first-order forms."""

    def __init__(self, over: Set) -> None:
        self.over, self.reach = over, over.reach

    def of(self, operation: int, takes: list[Value]) -> Value:
        a, b = takes[0], takes[-1]
        factors = {ca.OP_NEG: -1.0, ca.OP_TWICE: 2.0, ca.OP_ASSIGN: 1.0}
        if operation in factors:
            k = factors[operation]
            return k * a[0], {i: k * s for i, s in a[1].items()}, abs(k) * a[2]
        if operation in (ca.OP_ADD, ca.OP_SUB):
            return self.sum(a, b, 1.0 if operation == ca.OP_ADD else -1.0)
        if operation in (ca.OP_SQ, ca.OP_MUL):
            return self.product(a, b, is_square=operation == ca.OP_SQ)
        if operation == ca.OP_DIV:
            return self.product(a, self.curve(ca.OP_INV, b))
        exponent = 0.0
        if operation in (ca.OP_POW, ca.OP_CONSTPOW):
            if b[1] or np.size(b[0]) > 1:
                raise DomainError("a power whose exponent is not a number cannot be enclosed")
            operation, exponent = ca.OP_POW, float(b[0])
        return self.curve(operation, a, exponent)

    def rounded(self, c: Any, slopes: dict[int, Any], e: Any, sizes: Any) -> Value:
        return c, slopes, (e + U * sizes) * (1 + 16 * U) + _TINY

    def far(self, a: Value) -> Any:
        """Σ_i |a_i| reach_i, without what the symbols share."""
        return sum((np.abs(s) * self.reach[i] for i, s in a[1].items()), np.float64(0.0))

    def half(self, a: Value) -> Any:
        """How far a value is from its centre."""
        if len(a[1]) < 2:
            return (self.far(a) + a[2]) * (1 + 16 * U) + _TINY
        along, K = 0.0, self.over.gens.shape[1]
        for i, s in a[1].items():
            along = along + s * self.over.gens[i]
        slack = sum(np.abs(s) * self.over.loose[i] for i, s in a[1].items())
        return (np.abs(along).sum(axis=0) + slack + a[2] + (K + 16) * U * self.far(a)) * (1 + 16 * U) + _TINY

    def sum(self, a: Value, b: Value, sign: float) -> Value:
        slopes = {i: a[1].get(i, 0.0) + sign * b[1].get(i, 0.0) for i in a[1] | b[1]}
        sizes = np.abs(a[0]) + np.abs(b[0]) + self.far(a) + self.far(b)
        return self.rounded(a[0] + sign * b[0], slopes, a[2] + b[2], sizes)

    def product(self, a: Value, b: Value, *, is_square: bool = False) -> Value:
        """(c + p)(d + q) = cd + cq + dp + pq, |pq| at most the product of both widths; p² is not below zero."""
        c, d, p, q = np.abs(a[0]), np.abs(b[0]), self.half(a), self.half(b)
        slopes = {i: a[0] * b[1].get(i, 0.0) + b[0] * a[1].get(i, 0.0) for i in a[1] | b[1]}
        more = p * q / 2 if is_square else 0.0
        beyond = p * q - more
        sizes = 4 * (c * d + c * self.far(b) + d * self.far(a) + more)
        return self.rounded(a[0] * b[0] + more, slopes, c * b[2] + d * a[2] + beyond * (1 + 4 * U), sizes)

    def curve(self, operation: int, a: Value, exponent: float = 0.0) -> Value:
        R = np.atleast_1d(self.half(a))
        shape = np.broadcast_shapes(np.shape(a[0]), R.shape)
        c = np.broadcast_to(a[0], shape)
        wide = R + 2 * U * (np.abs(c) + R)
        of = _tanh if operation == ca.OP_TANH else _taylor(operation, exponent)
        with np.errstate(all="ignore"):
            f, alpha, delta = of(c, c - wide, c + wide)
        slopes = {i: alpha * s for i, s in a[1].items()}
        sizes = np.abs(f) + self.far((f, slopes, delta))
        return self.rounded(f, slopes, np.abs(alpha) * a[2] + delta, sizes)


def _tanh(c: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a line f + α (y - c) beside tanh, and how far it is from it at most.

    α = 1 - s² for some s in [0, 1): tanh is concave above zero and below its tangent at atanh s there, and the mirror
    of that below; on its own side of zero it is above the lower one of the chord's ends. s is that of the chord.
    """
    ends = np.tanh(low), np.tanh(high)
    width = high - low
    narrow = width < 1e-6
    chord = np.where(narrow, 1 - ends[0] ** 2, (ends[1] - ends[0]) / np.where(narrow, 1.0, width))
    s = np.sqrt(np.clip(1 - chord, 0.0, 1 - 1e-12))
    alpha = 1 - s * s
    tangent = s - alpha * np.arctanh(s)  # of g(y) = tanh y - α y at atanh s
    values = [ends[0] - alpha * low, ends[1] - alpha * high]
    at = np.arctanh(s)
    # The tangent holds on all of y ≥ 0; a side on which atanh s is not passed has its greatest value at an end.
    top = np.where((at >= low) & (at <= high), tangent, -np.inf)
    bottom = np.where((-at >= low) & (-at <= high), -tangent, np.inf)
    edge = 8 * U * (1 + at) + 1e-7 * s  # where atanh s is so close to an end that rounding decides, both count
    top = np.where((at >= low - edge) & (at <= high + edge), np.maximum(top, tangent), top)
    bottom = np.where((-at >= low - edge) & (-at <= high + edge), np.minimum(bottom, -tangent), bottom)
    most = np.maximum(np.maximum(*values), top)
    least = np.minimum(np.minimum(*values), bottom)
    middle = least + (most - least) / 2
    size = 4 + np.abs(low) + np.abs(high) + np.abs(c) + 2 * at
    return middle + alpha * c, alpha, np.maximum(most - middle, middle - least) + 64 * U * size


@lru_cache(maxsize=64)
def _taylor(operation: int, exponent: float) -> Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]:
    y = ca.SX.sym("y")
    f = y**exponent if operation == ca.OP_POW else ca.SX.unary(operation, y)
    first = ca.jacobian(f, y)
    near = ca.Function("near", [y], [ca.densify(f), ca.densify(first)])
    bent = ca.Function("bent", [y], [ca.densify(ca.jacobian(first, y))])

    def line(c: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        value, slope = enclosure(near, Interval(c[:, None], c[:, None]))
        (curved,) = enclosure(bent, Interval(low[:, None], high[:, None]))
        R = np.maximum(high - c, c - low) * (1 + 4 * U)
        least = value.low[:, 0, 0] + np.minimum(curved.low[:, 0, 0], 0.0) / 2 * R * R
        most = value.high[:, 0, 0] + np.maximum(curved.high[:, 0, 0], 0.0) / 2 * R * R
        middle, alpha = least + (most - least) / 2, (slope.low + (slope.high - slope.low) / 2)[:, 0, 0]
        off = (slope.high - slope.low)[:, 0, 0] * R
        error = np.maximum(most - middle, middle - least) + off + 16 * U * (np.abs(least) + np.abs(most) + off)
        return middle, alpha, np.where(np.isfinite(middle + alpha), error, np.nan)

    return line


def times(J: Interval, y: Set) -> Set:
    """Return J̄ y for every matrix J̄ of a box (B, n, n)."""
    A = J.low + (J.high - J.low) / 2
    R = np.maximum(J.high - A, A - J.low) * (1 + 2 * U)
    n, far = len(y.centre), y.reach + np.abs(y.centre)
    error = np.einsum("bij,jb->ib", R + (2 * n + 8) * U * np.abs(A), far)
    error += np.einsum("bij,jb->ib", np.abs(A), y.loose)
    gens = np.moveaxis(A @ np.moveaxis(y.gens, -1, 0), 0, -1)
    made = Set(np.einsum("bij,jb->ib", A, y.centre), gens, np.zeros(y.centre.shape))
    return made.with_symbols(error * (1 + (2 * n + 8) * U) + _TINY)


def squares_above(a: Set, b: Set, P: np.ndarray, factor: float) -> np.ndarray:
    """Bound aᵀPa - factor · bᵀPb from above over the same symbols, (B,)."""
    K = max(a.gens.shape[1], b.gens.shape[1])
    total, sizes = 0.0, 0.0
    for one, weight in ((a, 1.0), (b, -factor)):
        G = np.moveaxis(np.pad(one.gens, ((0, 0), (0, K - one.gens.shape[1]), (0, 0))), -1, 0)
        whole = np.concatenate([one.centre.T[:, :, None], G], axis=2)  # (B, n, 1 + K)
        total = total + weight * (whole.swapaxes(1, 2) @ (P @ whole))
        far = (np.abs(one.centre) + one.reach).T
        pulled = far @ np.abs(P)
        sizes = sizes + abs(weight) * np.einsum("bi,bi->b", pulled, far)
        loose = abs(weight) * 3 * np.einsum("bi,bi->b", pulled, one.loose.T)  # |2aᵀPl| + |lᵀPl|, l ≤ a's reach
        total = total + loose[:, None, None] * _corner(K + 1)
    M = np.asarray(total)
    own = np.maximum(np.einsum("bkk->bk", M[:, 1:, 1:]), 0.0).sum(axis=1)
    across = np.abs(M).sum(axis=(1, 2)) - np.abs(np.einsum("bkk->bk", M)).sum(axis=1)
    n = len(P)
    return np.asarray(M[:, 0, 0] + own + across + (4 * n * n + 4 * K + 32) * U * sizes + _TINY)


def _corner(size: int) -> np.ndarray:
    corner = np.zeros((1, size, size))
    corner[0, 0, 0] = 1.0
    return corner
