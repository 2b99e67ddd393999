"""Enclosures of SX functions: intervals with outward rounding, for many boxes at once.

Sums, products, quotients and roots are IEEE operations, so that one unit in the last place outwards encloses them.
Other functions of numpy are within a few units; eight are taken.
"""

from collections.abc import Callable
from dataclasses import dataclass

import casadi as ca
import numpy as np

from scpo_ctrl.errors import DomainError
from scpo_ctrl.models.instructions import instructions, operation_name

_EPS, _TINY = float(np.finfo(float).eps), 1e-300
_AT_ONCE = 1 << 21  # ends of intervals that are held at a time
_ALONE = (ca.OP_POW, ca.OP_CONSTPOW)  # whose second argument is to be one number
_UNITS = 8  # in the last place, of functions that are no IEEE operations


@dataclass(frozen=True)
class Interval:
    """Low and high ends, arrays of one shape; whole lines where nothing is known."""

    low: np.ndarray
    high: np.ndarray


class NoEnclosureError(DomainError):
    """An expression has an operation that intervals do not know."""


class Enclosure:
    """Enclosures of what an SX function of one column is on boxes of its argument.

    Parameters
    ----------
    function : casadi.Function
    """

    def __init__(self, function: ca.Function) -> None:
        self._sizes = [function.size_out(i) for i in range(function.n_out())]
        self._places = [_places(function.sparsity_out(i)) for i in range(function.n_out())]
        steps = list(instructions(function))
        at: dict[int, int] = {}  # which value is where in the memory of the function
        takes, depth, self._outputs = dict[int, list[int]](), dict[int, int](), list[tuple[int, int, int]]()
        groups: dict[tuple[int, int, int], list[int]] = {}
        for i, done in enumerate(steps):
            if done.operation == ca.OP_OUTPUT:
                self._outputs.append((*done.entry, at[done.takes[0]]))
                continue
            takes[i] = [at[place] for place in done.takes]
            depth[i] = 1 + max((depth[k] for k in takes[i]), default=-1)
            own = i if done.operation in _ALONE else -1
            groups.setdefault((depth[i], done.operation, own), []).append(i)
            at[done.place] = i
        order = [i for key in sorted(groups) for i in groups[key]]
        row = {i: number for number, i in enumerate(order)}  # of a value among all
        self._rows, self._outputs = len(order), [(which, entry, row[i]) for which, entry, i in self._outputs]
        self._constants = [(row[i], steps[i].value) for i in order if steps[i].operation == ca.OP_CONST]
        self._inputs = [(row[i], steps[i].entry[1]) for i in order if steps[i].operation == ca.OP_INPUT]
        self._groups = [
            (operation, slice(row[some[0]], row[some[-1]] + 1), _arguments([takes[i] for i in some], row))
            for (_, operation, _), some in sorted(groups.items())
            if operation not in (ca.OP_CONST, ca.OP_INPUT)
        ]

    def __call__(self, boxes: Interval) -> list[Interval]:
        """Return enclosures on boxes.

        Parameters
        ----------
        boxes : Interval, shape (n, k)

        Returns
        -------
        list of Interval, shape (n, rows, columns)
            For each result, dense.

        Raises
        ------
        NoEnclosureError
            If an operation has no enclosure here; it is named.
        """
        count, some = len(boxes.low), max(1, _AT_ONCE // max(1, self._rows))
        results = [Interval(np.zeros((count, *size)), np.zeros((count, *size))) for size in self._sizes]
        with np.errstate(all="ignore"):
            for start in range(0, count, some):
                self._enclose(boxes, slice(start, min(start + some, count)), results)
        return results

    def _enclose(self, boxes: Interval, some: slice, results: list[Interval]) -> None:
        """Enclose on some of the boxes, all operations of one kind and depth together."""
        low, high = np.empty((2, self._rows, some.stop - some.start))
        for row, value in self._constants:
            low[row] = high[row] = value
        for row, entry in self._inputs:
            low[row], high[row] = boxes.low[some, entry], boxes.high[some, entry]
        for operation, into, arguments in self._groups:
            found = _applied(operation, [Interval(low[rows], high[rows]) for rows in arguments])
            low[into], high[into] = found.low, found.high
        for which, entry, row in self._outputs:
            place = self._places[which][entry]
            results[which].low[(some, *place)], results[which].high[(some, *place)] = low[row], high[row]


def enclosure(function: ca.Function, boxes: Interval) -> list[Interval]:
    """Return enclosures of what an SX function is on boxes of its only argument; see `Enclosure`.

    Parameters
    ----------
    function : casadi.Function
        Of one column.
    boxes : Interval, shape (n, k)

    Returns
    -------
    list of Interval, shape (n, rows, columns)
    """
    return Enclosure(function)(boxes)


def magnitude(value: Interval) -> np.ndarray:
    """Return the largest absolute value of each entry.

    Parameters
    ----------
    value : Interval

    Returns
    -------
    numpy.ndarray
        Infinite where nothing is known.
    """
    size = np.maximum(np.abs(value.low), np.abs(value.high))
    return np.where(np.isnan(size), np.inf, size)


def _places(sparsity: ca.Sparsity) -> list[tuple[int, int]]:
    return list(zip(*sparsity.get_triplet(), strict=True))


def _arguments(takes: list[list[int]], row: dict[int, int]) -> list[np.ndarray]:
    """Return the rows of the first arguments of operations, and of the second ones where there are any."""
    return [np.array([row[i] for i in some]) for some in zip(*takes, strict=True)]


def _applied(operation: int, takes: list[Interval]) -> Interval:
    known = _OPERATIONS.get(operation)
    if known is None:
        raise NoEnclosureError(f"the operation {operation_name(operation)} has no enclosure by intervals")
    return known(*takes[: known.__code__.co_argcount])


def _out(low: np.ndarray, high: np.ndarray, units: int = 1) -> Interval:
    """Return an interval with its ends moved outwards; the whole line where an end is not a number."""
    if np.isfinite(low.sum() + high.sum()):  # a sum is quicker than a look at each
        step = units * _EPS  # of a number it is at least that many units in its last place
        return Interval(low - (np.abs(low) * step + _TINY), high + (np.abs(high) * step + _TINY))
    lost = np.isnan(low) | np.isnan(high)
    for _ in range(units):
        low, high = np.nextafter(low, -np.inf), np.nextafter(high, np.inf)
    return Interval(np.where(lost, -np.inf, low), np.where(lost, np.inf, high))


def _add(a: Interval, b: Interval) -> Interval:
    return _out(a.low + b.low, a.high + b.high)


def _sub(a: Interval, b: Interval) -> Interval:
    return _out(a.low - b.high, a.high - b.low)


def _mul(a: Interval, b: Interval) -> Interval:
    ends = np.array([a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high])
    if np.isfinite(ends.sum()):
        return _out(ends.min(axis=0), ends.max(axis=0))
    finite = np.isfinite(a.low) & np.isfinite(a.high) & np.isfinite(b.low) & np.isfinite(b.high)
    ends = np.where(np.isnan(ends) & ~finite, 0.0, ends)  # zero times a line
    low, high = ends.min(axis=0), ends.max(axis=0)
    line = ~finite & ~(((a.low == 0) & (a.high == 0)) | ((b.low == 0) & (b.high == 0)))
    return _out(np.where(line, -np.inf, low), np.where(line, np.inf, high))


def _inv(a: Interval) -> Interval:
    apart = (a.low > 0) | (a.high < 0)
    return _out(np.where(apart, 1 / a.high, -np.inf), np.where(apart, 1 / a.low, np.inf))


def _div(a: Interval, b: Interval) -> Interval:
    apart = (b.low > 0) | (b.high < 0)
    ends = np.array([a.low / b.low, a.low / b.high, a.high / b.low, a.high / b.high])
    return _out(np.where(apart, ends.min(axis=0), -np.inf), np.where(apart, ends.max(axis=0), np.inf))


def _sq(a: Interval) -> Interval:
    ends = np.array([a.low * a.low, a.high * a.high])
    inside = (a.low <= 0) & (a.high >= 0)
    found = _out(np.where(inside, 0.0, ends.min(axis=0)), ends.max(axis=0))
    return Interval(np.maximum(found.low, 0.0), found.high)


def _neg(a: Interval) -> Interval:
    return Interval(-a.high, -a.low)


def _sqrt(a: Interval) -> Interval:
    found = _out(np.sqrt(a.low), np.sqrt(a.high))  # of a negative end nothing is known
    return Interval(np.where(a.low >= 0, np.maximum(found.low, 0.0), -np.inf), found.high)


def _rising(function: Callable[[np.ndarray], np.ndarray]) -> Callable[[Interval], Interval]:
    def applied(a: Interval) -> Interval:
        return _out(function(a.low), function(a.high), _UNITS)

    return applied


def _sine(a: Interval, shift: float) -> Interval:
    """Enclose sin(x + shift), shift a multiple of π/2: its ends, and ±1 where a peak may be between them."""
    quarter = round(shift / (np.pi / 2))
    function = np.sin if quarter == 0 else np.cos
    ends = np.array([function(a.low), function(a.high)])
    turns = [(end + shift) / (2 * np.pi) for end in (a.low, a.high)]
    room = 1e-9 * (1 + np.abs(turns[0]) + np.abs(turns[1]))  # far more than a quotient's rounding
    far = ~(np.maximum(np.abs(a.low), np.abs(a.high)) < 1e6)

    def has(peak: float) -> np.ndarray:
        return (np.floor(turns[1] - peak + room) >= np.ceil(turns[0] - peak - room)) | far

    found = _out(np.where(has(0.75), -1.0, ends.min(axis=0)), np.where(has(0.25), 1.0, ends.max(axis=0)), _UNITS)
    return Interval(np.maximum(found.low, -1.0), np.minimum(found.high, 1.0))


def _sin(a: Interval) -> Interval:
    return _sine(a, 0.0)


def _cos(a: Interval) -> Interval:
    return _sine(a, np.pi / 2)


def _tan(a: Interval) -> Interval:
    return _div(_sin(a), _cos(a))


def _cosh(a: Interval) -> Interval:
    ends = np.array([np.cosh(a.low), np.cosh(a.high)])
    inside = (a.low <= 0) & (a.high >= 0)
    return _out(np.where(inside, 1.0, ends.min(axis=0)), ends.max(axis=0), _UNITS)


def _log(a: Interval) -> Interval:
    found = _out(np.log(a.low), np.log(a.high), _UNITS)
    return Interval(np.where(a.low > 0, found.low, -np.inf), found.high)


def _constant_power(a: Interval, b: Interval) -> Interval:
    """Enclose a**b for one exponent: of a base above zero, or a whole exponent."""
    exponent = float(b.low.ravel()[0]) if b.low.size else 1.0
    if not (b.low == b.high).all() or not (b.low == exponent).all():
        return Interval(np.full_like(a.low, -np.inf), np.full_like(a.high, np.inf))
    ends = np.array([np.power(a.low, exponent), np.power(a.high, exponent)])
    whole, positive = exponent == round(exponent), a.low > 0
    even = whole and exponent > 0 and round(exponent) % 2 == 0
    low = np.where(even & (a.low <= 0) & (a.high >= 0), 0.0, ends.min(axis=0))
    known = positive | (whole and exponent > 0) | (whole & (a.high < 0))
    return _out(np.where(known, low, -np.inf), np.where(known, ends.max(axis=0), np.inf), _UNITS)


def _assign(a: Interval) -> Interval:
    return a


def _twice(a: Interval) -> Interval:
    return Interval(2 * a.low, 2 * a.high)


_OPERATIONS: dict[int, Callable[..., Interval]] = {
    ca.OP_ASSIGN: _assign,
    ca.OP_ADD: _add,
    ca.OP_SUB: _sub,
    ca.OP_MUL: _mul,
    ca.OP_DIV: _div,
    ca.OP_INV: _inv,
    ca.OP_NEG: _neg,
    ca.OP_SQ: _sq,
    ca.OP_TWICE: _twice,
    ca.OP_SQRT: _sqrt,
    ca.OP_SIN: _sin,
    ca.OP_COS: _cos,
    ca.OP_TAN: _tan,
    ca.OP_COSH: _cosh,
    ca.OP_LOG: _log,
    ca.OP_CONSTPOW: _constant_power,
    ca.OP_POW: _constant_power,
} | {
    operation: _rising(function)
    for operation, function in (
        (ca.OP_EXP, np.exp),
        (ca.OP_TANH, np.tanh),
        (ca.OP_ATAN, np.arctan),
        (ca.OP_SINH, np.sinh),
        (ca.OP_ASINH, np.arcsinh),
        (ca.OP_EXPM1, np.expm1),
    )
}
