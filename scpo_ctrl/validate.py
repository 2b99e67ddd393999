"""Checks at the door: shapes and finiteness of what users hand in, with errors that name what, where and the remedy."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.errors import DimensionError, DomainError


def as_array(name: str, value: ArrayLike, shape: Sequence[int | None], *, finite: bool = True) -> np.ndarray:
    """Return `value` as a float64 array of the given shape.

    Parameters
    ----------
    name : str
        What the value is called in the error message.
    value : array_like
        The value.
    shape : sequence of int or None
        The expected shape; None leaves an axis free.
    finite : bool
        Whether infinite entries are refused; NaN always is.

    Returns
    -------
    numpy.ndarray
        A float64 copy.

    Raises
    ------
    DimensionError
        If the shape differs.
    DomainError
        If an entry is not a number (booleans and strings are none), NaN, or (with `finite`) infinite.
    """
    if not _is_numeric(value):
        raise DomainError(f"{name} is {_short(value)}, expected an array of real numbers")
    try:
        array = np.array(value, dtype=np.float64, order="C")
    except OverflowError as error:
        raise DomainError(f"{name} is {_short(value)}, expected numbers within the range of a double") from error
    except (TypeError, ValueError) as error:
        expected = "real numbers" if len(shape) == 1 else "real numbers in rows of equal length"
        raise DomainError(f"{name} is {_short(value)}, expected an array of {expected}") from error
    expected = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ("," if len(shape) == 1 else "") + ")"
    if array.ndim != len(shape) or any(n is not None and n != k for n, k in zip(shape, array.shape, strict=True)):
        found = f"has shape {array.shape}" if array.ndim else f"is {_short(value)}"
        raise DimensionError(f"{name} {found}, expected {'' if array.ndim else 'an array of shape '}{expected}")
    bad = ~np.isfinite(array) if finite else np.isnan(array)
    if bad.any():
        where = ", ".join(str(int(i)) for i in np.argwhere(bad)[0])
        raise DomainError(f"{name}[{where}] is {array[bad][0]}, expected a finite number")
    return array


def as_scalar(
    name: str, value: Any, *, above: float = -np.inf, at_least: float = -np.inf, at_most: float = np.inf
) -> float:
    """Return `value` as a float inside its range.

    Parameters
    ----------
    name : str
        What the value is called in the error message.
    value : float
        The value; booleans and strings are refused.
    above, at_least, at_most : float
        The range: ``above < value``, ``at_least <= value <= at_most``.

    Returns
    -------
    float
        The value.

    Raises
    ------
    DomainError
        If it is not a finite real number, or outside the range.
    """
    number = _as_float(value)
    if not np.isfinite(number):
        raise DomainError(f"{name} is {_short(value)}, expected a finite number")
    if not (number > above and at_least <= number <= at_most):
        limits = [
            f"> {above:g}" if above > -np.inf else "",
            f">= {at_least:g}" if at_least > -np.inf else "",
            f"<= {at_most:g}" if at_most < np.inf else "",
        ]
        raise DomainError(f"{name} is {number!r}, expected a number {' and '.join(x for x in limits if x)}")
    return number


def as_count(name: str, value: Any, *, at_least: int = 0) -> int:
    """Return `value` as an int not below `at_least`.

    Parameters
    ----------
    name : str
        What the value is called in the error message.
    value : int
        The value; booleans and floats are refused.
    at_least : int
        Smallest value allowed.

    Returns
    -------
    int
        The value.

    Raises
    ------
    DomainError
        If it is not a whole number, or too small.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < at_least:
        raise DomainError(f"{name} is {_short(value)}, expected a whole number >= {at_least}")
    return int(value)


def as_text(name: str, value: Any) -> str:
    """Return `value` if it is text that a file can hold.

    Parameters
    ----------
    name : str
        What the value is called in the error message.
    value : str
        The value; halves of characters (surrogates) are refused, which UTF-8 has no bytes for.

    Returns
    -------
    str
        The value.

    Raises
    ------
    DomainError
        If it is no such text.
    """
    if not isinstance(value, str) or any("\ud800" <= character <= "\udfff" for character in value):
        raise DomainError(f"{name} is {_short(value)}, expected text in Unicode")
    return value


def _as_float(value: Any) -> float:
    """Return a scalar as a float, NaN where it is no real number within the range of a double."""
    if isinstance(value, (bool, np.bool_, str, bytes)) or not np.isscalar(value) or not np.isreal(value):
        return np.nan
    try:
        return float(np.real(value))
    except OverflowError:
        return np.nan


def _is_numeric(value: Any) -> bool:
    """Whether nothing in nested lists and arrays is a boolean, a text or a complex number."""
    if isinstance(value, (list, tuple)):
        return all(_is_numeric(entry) for entry in value)
    if isinstance(value, (str, bytes, dict)):
        return False
    return np.asarray(value).dtype.kind in "iufO"


def _short(value: Any) -> str:
    """Return a value for a message: arrays and numpy's numbers as plain ones, cut where it is long."""
    text = repr(value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value)
    return text if len(text) <= 60 else text[:57] + "..."
