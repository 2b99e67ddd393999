"""Numbers as C source: literals that read back as the same number, and text that is safe inside a comment."""

import math
import re
from typing import Any

import numpy as np

from scpo_ctrl.errors import DomainError
from scpo_ctrl.text import one_line

_ENDS_COMMENT = re.compile(r"[*/]{2,}|\?{2,}")  # ends or begins a comment; begins a trigraph


def number_type(real: str) -> type[np.floating[Any]]:
    """Return numpy's type of a target's numbers.

    Parameters
    ----------
    real : str
        "float" or "double".

    Returns
    -------
    type
    """
    return np.float64 if real == "double" else np.float32


def rounded(value: float, real: str, towards: float | None = None) -> float:
    """Return the number that a target stores for `value`.

    Parameters
    ----------
    value : float
    real : str
        "float" or "double".
    towards : float, optional
        -inf or inf: the nearest number on that side, so that a bound never grows. The nearest one where None.

    Returns
    -------
    float
        Infinite where it overflows.
    """
    if real == "double":
        return float(value)
    with np.errstate(over="ignore"):
        number = np.float32(value)
        if towards is not None and (float(number) - value) * math.copysign(1.0, towards) < 0:
            number = np.nextafter(number, np.float32(towards))
    return float(number)


def literal(value: float, real: str, *, short: bool = False) -> str:
    """Return a C floating literal that reads back as `value` rounded to `real`.

    Parameters
    ----------
    value : float
    real : str
        "float" or "double".
    short : bool
        Whether it is the shortest one, for code that is read.

    Returns
    -------
    str
        Such as ``0.10000000000000001`` or ``1.0f``; ``0.1`` if short.

    Raises
    ------
    DomainError
        If the value is NaN, infinite, or overflows `real`.
    """
    number = _finite(value, real)
    if short:
        return _suffixed(str(np.float32(number) if real == "float" else number), real)
    return _suffixed(f"{number:.9g}" if real == "float" else f"{number:.17g}", real)


def _finite(value: float, real: str) -> float:
    number = rounded(value, real)
    if not math.isfinite(number):
        remedy = "; export with real = 'double'" if math.isfinite(value) else ""
        raise DomainError(f"{value} has no literal of type {real} in C{remedy}")
    return number


def _suffixed(text: str, real: str) -> str:
    if "." not in text and "e" not in text:
        text += ".0"
    return text + ("f" if real == "float" else "")


def string(text: str) -> str:
    """Return a C string literal that holds a text as UTF-8, whatever the compiler takes its sources for.

    Parameters
    ----------
    text : str
        A label or a unit from a user.

    Returns
    -------
    str
        With its quotes, of printable ASCII only.
    """
    plain = (chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in one_line(str(text)).encode())
    return f'"{"".join(plain)}"'


def comment(text: str) -> str:
    """Return text that cannot end a C comment or string, break a line or a table.

    Parameters
    ----------
    text : str
        A label or a unit from a user.

    Returns
    -------
    str
        Printable, on one line.
    """
    line = one_line(str(text))
    for bad, good in (("\\", "/"), ("|", "/"), ("`", "'"), ('"', "'")):
        line = line.replace(bad, good)
    return _ENDS_COMMENT.sub(lambda found: " ".join(found[0]), line)
