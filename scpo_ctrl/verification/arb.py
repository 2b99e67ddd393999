"""Functions of a model in ball arithmetic (Arb, by python-flint), at points and on boxes, and norms proved in it.

On a box a value is an interval whose ends are balls: each holds the end that exact arithmetic would give, so that Arb
accounts for rounding, and the ends for the width of the box. What is not known is not a number.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import casadi as ca
import numpy as np
from flint import arb, arb_mat

from scpo_ctrl.errors import DomainError
from scpo_ctrl.models.instructions import instructions, operation_name

Ends = tuple[arb, arb]
_ZERO, _ONE, _HALF = arb(0), arb(1), arb(0.5)
_UNKNOWN: Ends = (arb.nan(), arb.nan())
_MARGINS = (1e-12, 1e-9, 1e-6)  # of the estimate of a norm, tried one after the other


class BallFunction:
    """An SX function of one column; an operation that has no enclosure here is refused by its name."""

    def __init__(self, function: ca.Function) -> None:
        self._steps, self._memory = list(instructions(function)), function.sz_w()
        sizes = [function.size_out(i) for i in range(function.n_out())]
        places = [list(zip(*function.sparsity_out(i).get_triplet(), strict=True)) for i in range(function.n_out())]
        self._into = [[row * size[1] + column for row, column in at] for size, at in zip(sizes, places, strict=True)]
        self._numbers = [m * n for m, n in sizes]
        for step in self._steps:
            if step.operation not in (*_OPERATIONS, ca.OP_INPUT, ca.OP_OUTPUT, ca.OP_CONST):
                raise DomainError(f"the operation {operation_name(step.operation)} has no enclosure in ball arithmetic")

    def at(self, point: Sequence[arb]) -> list[list[arb]]:
        """Return the entries of each result at a point, dense, row by row."""
        return self._walk(point, 0, lambda value: value)

    def on(self, box: Sequence[Ends]) -> list[list[Ends]]:
        """Return the entries of each result on a box, dense, row by row."""
        return self._walk(box, 1, lambda value: (value, value))

    def _walk(self, given: Sequence[Any], kind: int, made: Callable[[arb], Any]) -> list[list[Any]]:
        memory: list[Any] = [None] * self._memory
        results = [[made(_ZERO)] * number for number in self._numbers]
        for step in self._steps:
            takes = step.takes
            if step.operation == ca.OP_OUTPUT:
                results[step.entry[0]][self._into[step.entry[0]][step.entry[1]]] = memory[takes[0]]
            elif step.operation == ca.OP_CONST:
                memory[step.place] = made(arb(step.value))
            elif step.operation == ca.OP_INPUT:
                memory[step.place] = given[step.entry[1]]
            elif len(takes) == 1:
                memory[step.place] = _OPERATIONS[step.operation][kind](memory[takes[0]])
            else:
                memory[step.place] = _OPERATIONS[step.operation][kind](memory[takes[0]], memory[takes[1]])
        return results


def cholesky(A: Sequence[Sequence[arb]]) -> list[list[arb]] | None:
    """Return the lower factor of a symmetric matrix, or None where it is not shown to be positive definite."""
    L = [[_ZERO] * len(A) for _ in A]
    for j in range(len(A)):
        pivot = A[j][j] - sum((L[j][k] * L[j][k] for k in range(j)), _ZERO)
        if not pivot > 0:
            return None
        L[j][j] = pivot.sqrt()
        for i in range(j + 1, len(A)):
            L[i][j] = (A[i][j] - sum((L[i][k] * L[j][k] for k in range(j)), _ZERO)) / L[j][j]
    return L


def is_shorter(M: arb_mat, bound: arb, metric: arb_mat | None = None) -> bool:
    """Return whether |M v|² < bound² vᵀ Λ v is shown for all v, Λ = I if none is given: bound² Λ - MᵀM ≻ 0."""
    metric = arb_mat(M.ncols(), M.ncols(), 1) if metric is None else metric
    gram = (bound * bound) * metric - M.transpose() * M
    return bool(bound > 0) and cholesky(gram.tolist()) is not None


def norm_bound(M: arb_mat) -> arb:
    """Return a proved bound of the 2-norm of a matrix, which may be infinite."""
    middle = np.array([float(entry.mid()) for entry in M.entries()]).reshape(M.nrows(), M.ncols())
    if not np.isfinite(middle).all():
        return arb.pos_inf()
    guess = float(np.linalg.norm(middle, 2))
    bounds = (arb(guess * (1 + margin) + 1e-3 * margin) for margin in _MARGINS)
    return next((bound for bound in bounds if is_shorter(M, bound)), arb.pos_inf())


def _hull(*values: arb) -> Ends:
    low = high = values[0]
    for value in values[1:]:
        low, high = low.min(value), high.max(value)
    return low, high


def _product(a: Ends, b: Ends) -> Ends:
    """Multiply by the ends that count for the signs, or by all where these are not sure."""
    if not b[0] >= _ZERO and b[1] <= _ZERO:
        low, high = _product(a, (-b[1], -b[0]))
        return -high, -low
    if b[0] >= _ZERO:
        if a[0] >= _ZERO:
            return a[0] * b[0], a[1] * b[1]
        if a[1] <= _ZERO:
            return a[0] * b[1], a[1] * b[0]
        if a[0] <= _ZERO and a[1] >= _ZERO:
            return a[0] * b[1], a[1] * b[1]
    elif a[0] >= _ZERO or a[1] <= _ZERO:
        return _product(b, a)
    return _hull(a[0] * b[0], a[0] * b[1], a[1] * b[0], a[1] * b[1])


def _inverse(a: Ends) -> Ends:
    return (1 / a[1], 1 / a[0]) if a[0] > _ZERO or a[1] < _ZERO else _UNKNOWN


def _even(function: Callable[[arb], arb]) -> Callable[[Ends], Ends]:
    """Return an even function that rises from zero on, on intervals."""

    def on(a: Ends) -> Ends:
        low, high = _hull(function(a[0]), function(a[1]))
        return (low if a[0] > _ZERO or a[1] < _ZERO else function(_ZERO)), high

    return on


def _wave(function: Callable[[arb], arb], peak: float) -> Callable[[Ends], Ends]:
    """Return sine or cosine on intervals: it is one at this part of every turn, and minus one half a turn later."""

    def on(a: Ends) -> Ends:
        if not (a[0].is_finite() and a[1].is_finite()):
            return _UNKNOWN
        low, high = _hull(function(a[0]), function(a[1]))
        turns = (a[0] / (2 * arb.pi())).union(a[1] / (2 * arb.pi())) - arb(peak)
        low = -_ONE if (turns + _HALF).contains_integer() else low
        return low, _ONE if turns.contains_integer() else high

    return on


def _tangent(a: Ends) -> Ends:
    """Return the tangent, which rises between its poles."""
    low, high = _COSINE(a)
    return (a[0].tan(), a[1].tan()) if low > _ZERO or high < _ZERO else _UNKNOWN


def _power(a: Ends, b: Ends) -> Ends:
    """Return a constant power of a base above zero, or a whole one."""
    n, is_whole, apart = b[0], b[0].is_integer(), bool(a[0] > _ZERO or a[1] < _ZERO)
    if b[0] is not b[1] or not (a[0] > _ZERO or (is_whole and (n > _ZERO or a[1] < _ZERO))):
        return _UNKNOWN
    low, high = _hull(a[0] ** n, a[1] ** n)
    return (low if apart or not (n / 2).is_integer() else _ZERO), high


_COSINE = _wave(arb.cos, 0.0)
_RISING = {
    ca.OP_SQRT: arb.sqrt, ca.OP_LOG: arb.log, ca.OP_EXP: arb.exp, ca.OP_EXPM1: arb.expm1, ca.OP_TANH: arb.tanh,
    ca.OP_ATAN: arb.atan, ca.OP_SINH: arb.sinh, ca.OP_ASINH: arb.asinh,
}  # fmt: skip
_OPERATIONS: dict[int, tuple[Callable[..., Any], Callable[..., Any]]] = {  # at points, and on intervals
    operation: (function, lambda a, f=function: (f(a[0]), f(a[1]))) for operation, function in _RISING.items()
} | {
    ca.OP_ASSIGN: (operator.pos, lambda a: a),
    ca.OP_ADD: (operator.add, lambda a, b: (a[0] + b[0], a[1] + b[1])),
    ca.OP_SUB: (operator.sub, lambda a, b: (a[0] - b[1], a[1] - b[0])),
    ca.OP_MUL: (operator.mul, _product),
    ca.OP_DIV: (operator.truediv, lambda a, b: _product(a, _inverse(b))),
    ca.OP_INV: (lambda a: 1 / a, _inverse),
    ca.OP_NEG: (operator.neg, lambda a: (-a[1], -a[0])),
    ca.OP_SQ: (lambda a: a * a, _even(lambda a: a * a)),
    ca.OP_TWICE: (lambda a: a + a, lambda a: (a[0] + a[0], a[1] + a[1])),
    ca.OP_SIN: (arb.sin, _wave(arb.sin, 0.25)),
    ca.OP_COS: (arb.cos, _COSINE),
    ca.OP_TAN: (arb.tan, _tangent),
    ca.OP_COSH: (arb.cosh, _even(arb.cosh)),
    ca.OP_CONSTPOW: (operator.pow, _power),
    ca.OP_POW: (operator.pow, _power),
}
