"""Numbers for reading, as the report and headlines print them; the terminal's own are plain ASCII."""

from collections.abc import Callable
from typing import Any

import numpy as np

from scpo_ctrl.rounding import down, up
from scpo_ctrl.text import noun_of

NARROW_SPACE = "\u202f"  # does not break
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: Any) -> str:
    """Return a number for reading: four digits, thousands apart, a true minus, powers of ten.

    Parameters
    ----------
    value : int, float, bool, str or None
        What is not a number is returned as text.

    Returns
    -------
    str
    """
    if value is None:
        return "none"
    if isinstance(value, (bool, str)):
        return str(value).lower() if isinstance(value, bool) else value
    if isinstance(value, (int, np.integer)):
        return f"{int(value):,}".replace(",", NARROW_SPACE).replace("-", "−")
    if not np.isfinite(value):
        return "not a number" if np.isnan(value) else "∞" if value > 0 else "−∞"
    text = f"{value:.4g}"
    if "e" in text:
        digits, exponent = text.split("e")
        text = f"{digits}{NARROW_SPACE}×{NARROW_SPACE}{power_of_ten(int(exponent))}"
    return text.replace("-", "−")


def margin(value: float, digits: int = 4) -> str:
    """Return a margin for reading, no larger than it is.

    Parameters
    ----------
    value : float
    digits : int

    Returns
    -------
    str
    """
    return number(float(down(value, digits)))


def bound(value: float, digits: int = 4) -> str:
    """Return an upper bound, or by how much a limit is exceeded, for reading: no smaller than it is.

    Parameters
    ----------
    value : float
    digits : int

    Returns
    -------
    str
    """
    return number(float(up(value, digits)))


def short(value: float, digits: int = 3) -> str:
    """Return a number for reading, with few digits.

    Parameters
    ----------
    value : float
    digits : int

    Returns
    -------
    str
    """
    return number(float(f"{value:.{digits}g}"))


def power_of_ten(exponent: int, sign: str = "") -> str:
    """Return a power of ten in plain characters, ``10⁻³``.

    Parameters
    ----------
    exponent : int
    sign : str
        What stands before it.

    Returns
    -------
    str
    """
    return f"{sign}10{str(exponent).translate(_SUPERSCRIPTS)}"


def with_unit(value: float, unit: str, show: Callable[[float], str] = number) -> str:
    """Return a number for reading with its unit, which may be empty.

    Parameters
    ----------
    value : float
    unit : str
    show : callable
        Prints the number.

    Returns
    -------
    str
    """
    return f"{show(value)} {unit}".rstrip()


def plural(count: int, noun: str) -> str:
    """Return a count with its noun.

    Parameters
    ----------
    count : int
    noun : str
        In the singular.

    Returns
    -------
    str
    """
    return f"{number(count)} {noun_of(count, noun)}"
