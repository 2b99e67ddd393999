"""Where margins, and what breaks a bound, are rounded before anybody reads them: never to something better."""

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal


def down(value: float, digits: int = 3) -> str:
    """Return a number with few digits that is not larger, for a margin: what is below zero never reads as zero.

    Parameters
    ----------
    value : float
    digits : int
        At most 15.

    Returns
    -------
    str
    """
    return _rounded(value, digits, ROUND_FLOOR)


def up(value: float, digits: int = 3) -> str:
    """Return a number with few digits that is not smaller, for an excess, or for a bound of a probability.

    Parameters
    ----------
    value : float
    digits : int
        At most 15.

    Returns
    -------
    str
    """
    return _rounded(value, digits, ROUND_CEILING)


def _rounded(value: float, digits: int, direction: str) -> str:
    value = float(value)
    if math.isfinite(value):
        exact = Decimal(value)
        value = float(Context(prec=digits, rounding=direction).plus(exact)) or 0.0  # without the sign of -0.0
    return f"{value:.{digits}g}"
