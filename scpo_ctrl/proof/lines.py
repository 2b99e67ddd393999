"""Lines beside functions of one variable: f(y) = f₀ + α (y - c) + e, |e| ≤ δ, for all y of an interval.

Where f is convex or concave on pieces, α is the slope of its secant and the ends of g(y) = f(y) - α (y - c) are found
piece by piece: a convex g is at most what it is at an end of the piece, and with any ŷ in it at least
g(ŷ) - |g'(ŷ)| · width. Newton's method or a formula makes ŷ nearly the place where g' vanishes, so that the line is the
best one but for rounding (Chebyshev's); the bound holds wherever ŷ is. Other functions have the line of their
derivative at c, and a remainder ½ f''(ȳ)(y - c)² with f'' enclosed by intervals.
"""

from collections.abc import Callable
from functools import lru_cache

import casadi as ca
import numpy as np

from scpo_ctrl.invariance.intervals import Interval, enclosure
from scpo_ctrl.proof.zonotopes import EPS, TINY

_UNITS = (
    64  # in EPS, of functions of numpy and what is computed from them: they are within four units in the last place
)
_FAR = 1e6  # of angles
_NARROW = 1e-5  # relative to one: a secant of less is mostly rounding

Line = tuple[np.ndarray, np.ndarray, np.ndarray]  # f₀, α, δ
_Function = Callable[[np.ndarray], np.ndarray]


def line_beside(operation: int, low: np.ndarray, high: np.ndarray, centre: np.ndarray, exponent: float = 0.0) -> Line:
    """Return the line beside an operation of CasADi with one argument.

    Parameters
    ----------
    operation : int
        Such as casadi.OP_TANH.
    low, high, centre : numpy.ndarray
        The intervals, and points in them.
    exponent : float
        Of a power.

    Returns
    -------
    f0, slope, error : numpy.ndarray
        Not a number where nothing is known.

    Raises
    ------
    NoEnclosureError
        If the operation is not known.
    """
    if operation in _PIECES:
        return _PIECES[operation](low, high, centre)
    flat = _by_curvature(_derivatives(operation, exponent), low.ravel(), high.ravel(), centre.ravel())
    f0, alpha, delta = (part.reshape(low.shape) for part in flat)
    return f0, alpha, delta


def _secant(f: _Function, slope: _Function, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    width = high - low
    narrow = ~(width > _NARROW * (1 + np.abs(low) + np.abs(high)))
    chord = (f(high) - f(low)) / np.where(narrow, 1.0, width)
    return np.where(narrow, slope(low + width / 2), chord)


def _piecewise(
    f: _Function, slope: _Function, alpha: np.ndarray, centre: np.ndarray, pieces: list[tuple[np.ndarray, ...]]
) -> Line:
    """Return the line of slope α from pieces (low, high, ŷ, sign of the curvature); those with low > high are none."""
    least, most, size = np.full(centre.shape, np.inf), np.full(centre.shape, -np.inf), np.zeros(centre.shape)
    for low, high, flat, sign in pieces:
        none, near = low > high, np.clip(flat, low, high)
        values = [f(y) - alpha * (y - centre) for y in (low, high, near)]
        beyond = np.abs(slope(near) - alpha) * (high - low)
        bulge = np.where(sign > 0, values[2] - beyond, values[2] + beyond)
        least = np.where(none, least, np.minimum(least, np.minimum(np.minimum(*values[:2]), bulge)))
        most = np.where(none, most, np.maximum(most, np.maximum(np.maximum(*values[:2]), bulge)))
        steep = np.abs(alpha) + np.maximum(np.abs(slope(low)), np.maximum(np.abs(slope(high)), np.abs(slope(near))))
        heights = np.maximum(np.abs(f(low)), np.abs(f(high)))
        span = np.abs(high - low) + np.abs(low - centre) + np.abs(high - centre)
        size = np.where(none, size, np.maximum(size, heights + steep * span))
    f0 = least + (most - least) / 2
    return f0, alpha, np.maximum(most - f0, f0 - least) + _UNITS * EPS * size + TINY


def _tanh(low: np.ndarray, high: np.ndarray, centre: np.ndarray) -> Line:
    """Return the line beside tanh: convex below zero, concave above. Slopes are 1 - tanh²."""
    at_low, at_high = np.tanh(low), np.tanh(high)
    width = high - low
    narrow = ~(width > _NARROW)
    alpha = (at_high - at_low) / np.where(narrow, 1.0, width)
    alpha = np.clip(np.where(narrow, 1 - at_low * at_high, alpha), 0.0, 1.0)
    ends = at_low - alpha * (low - centre), at_high - alpha * (high - centre)
    least, most = np.minimum(*ends), np.maximum(*ends)
    flat = np.arctanh(np.minimum(np.sqrt(1 - alpha), 1 - EPS))  # where tanh has this slope
    for sign in (-1.0, 1.0):
        piece = (
            (np.minimum(low, 0.0), np.minimum(high, 0.0)) if sign < 0 else (np.maximum(low, 0.0), np.maximum(high, 0.0))
        )
        near = np.clip(sign * flat, low, high)
        near = np.minimum(near, 0.0) if sign < 0 else np.maximum(near, 0.0)
        there = np.tanh(near)
        bulge = there - alpha * (near - centre) + sign * np.abs(1 - there * there - alpha) * (piece[1] - piece[0])
        is_there = low < 0 if sign < 0 else high > 0
        least = np.where(is_there, np.minimum(least, bulge), least)
        most = np.where(is_there, np.maximum(most, bulge), most)
    f0 = least + (most - least) / 2
    size = 2 + 4 * (width + np.abs(low - centre) + np.abs(high - centre))
    return f0, alpha, np.maximum(most - f0, f0 - least) + _UNITS * EPS * size + TINY


def _exp(low: np.ndarray, high: np.ndarray, centre: np.ndarray) -> Line:
    alpha = _secant(np.exp, np.exp, low, high)
    return _piecewise(np.exp, np.exp, alpha, centre, [(low, high, np.log(alpha), np.ones(low.shape))])


def _log(low: np.ndarray, high: np.ndarray, centre: np.ndarray) -> Line:
    low = np.where(low > 0, low, np.nan)
    alpha = _secant(np.log, np.reciprocal, low, high)
    return _piecewise(np.log, np.reciprocal, alpha, centre, [(low, high, 1 / alpha, -np.ones(low.shape))])


def _sqrt(low: np.ndarray, high: np.ndarray, centre: np.ndarray) -> Line:
    low = np.where(low > 0, low, np.nan)
    alpha = _secant(np.sqrt, lambda y: 0.5 / np.sqrt(y), low, high)
    flat = 0.25 / alpha**2
    return _piecewise(np.sqrt, lambda y: 0.5 / np.sqrt(y), alpha, centre, [(low, high, flat, -np.ones(low.shape))])


def _inverse(low: np.ndarray, high: np.ndarray, centre: np.ndarray) -> Line:
    low = np.where((low > 0) | (high < 0), low, np.nan)
    alpha = -1 / (low * high)
    flat = np.copysign(1 / np.sqrt(-alpha), low)
    return _piecewise(np.reciprocal, lambda y: -1 / y**2, alpha, centre, [(low, high, flat, np.sign(low))])


def _absolute(low: np.ndarray, high: np.ndarray, centre: np.ndarray) -> Line:
    """Return the line beside |y|: y itself, -y, or where the interval holds zero the middle between chord and kink."""
    width = np.where(high > low, high - low, 1.0)
    chord = np.clip((np.abs(high) - np.abs(low)) / width, -1.0, 1.0)
    alpha = np.where(low >= 0, 1.0, np.where(high <= 0, -1.0, chord))
    ends = np.array([np.abs(low) - alpha * (low - centre), np.abs(high) - alpha * (high - centre)])
    kink = np.where((low < 0) & (high > 0), alpha * centre, ends[0])  # α is between the slopes beside it
    least, most = np.minimum(ends.min(axis=0), kink), ends.max(axis=0)
    f0 = least + (most - least) / 2
    size = np.abs(low) + np.abs(high) + np.abs(centre)
    return f0, alpha, np.maximum(most - f0, f0 - least) + _UNITS * EPS * size + TINY


def _sin(low: np.ndarray, high: np.ndarray, centre: np.ndarray) -> Line:
    return _curved(np.sin(centre), np.cos(centre), -np.sin(centre), low, high, centre)


def _cos(low: np.ndarray, high: np.ndarray, centre: np.ndarray) -> Line:
    return _curved(np.cos(centre), -np.sin(centre), -np.cos(centre), low, high, centre)


def _curved(
    value: np.ndarray, slope: np.ndarray, bent: np.ndarray, low: np.ndarray, high: np.ndarray, centre: np.ndarray
) -> Line:
    """Return the line of sine or cosine from value and derivatives at c: f'' is within a distance's width of f''(c)."""
    reach = np.maximum(high - centre, centre - low) * (1 + 4 * EPS)
    is_near = np.abs(centre) < _FAR  # beyond, what numpy makes of an angle is not relied on
    least = np.minimum(np.maximum(bent - reach, -1.0) - 16 * EPS, 0.0) / 2 * reach**2
    most = np.maximum(np.minimum(bent + reach, 1.0) + 16 * EPS, 0.0) / 2 * reach**2
    error = (most - least) / 2 + _UNITS * EPS * (1 + reach + reach**2) + TINY
    return np.where(is_near, value + (least + most) / 2, np.nan), slope, error


def _by_curvature(derivatives: ca.Function, low: np.ndarray, high: np.ndarray, centre: np.ndarray) -> Line:
    at, over = (Interval(a[:, None], b[:, None]) for a, b in ((centre, centre), (low, high)))
    here = enclosure(derivatives, at)[:2]
    value, slope = (Interval(one.low[:, 0, 0], one.high[:, 0, 0]) for one in here)
    bent = enclosure(derivatives, over)[2]
    reach = np.maximum(high - centre, centre - low) * (1 + 4 * EPS)
    least = np.minimum(bent.low[:, 0, 0], 0.0) / 2 * reach**2
    most = np.maximum(bent.high[:, 0, 0], 0.0) / 2 * reach**2
    f0, alpha = value.low + (value.high - value.low) / 2 + (least + most) / 2, slope.low + (slope.high - slope.low) / 2
    unknown = (value.high - value.low) + (slope.high - slope.low) * reach
    size = np.abs(value.low) + np.abs(value.high) + np.abs(least) + np.abs(most)
    error = (most - least) / 2 + unknown + _UNITS * EPS * size + TINY
    known = np.isfinite(f0) & np.isfinite(alpha) & np.isfinite(error)
    return np.where(known, f0, np.nan), np.where(known, alpha, np.nan), np.where(known, error, np.nan)


@lru_cache(maxsize=64)
def _derivatives(operation: int, exponent: float) -> ca.Function:
    """Y -> (f, f', f'') of an operation."""
    y = ca.SX.sym("y")
    powers = (ca.OP_POW, ca.OP_CONSTPOW)
    f = y**exponent if operation in powers else ca.SX.unary(operation, y)
    first = ca.jacobian(f, y)
    return ca.Function("derivatives", [y], [ca.densify(f), ca.densify(first), ca.densify(ca.jacobian(first, y))])


_PIECES = {
    ca.OP_TANH: _tanh,
    ca.OP_EXP: _exp,
    ca.OP_LOG: _log,
    ca.OP_SQRT: _sqrt,
    ca.OP_INV: _inverse,
    ca.OP_FABS: _absolute,
    ca.OP_SIN: _sin,
    ca.OP_COS: _cos,
}
