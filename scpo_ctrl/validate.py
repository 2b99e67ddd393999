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
        If an entry is not a number, NaN, or (with `finite`) infinite.
    """
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DomainError(f"{name} must be an array of real numbers, got {_short(value)}") from error
    expected = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ("," if len(shape) == 1 else "") + ")"
    if array.ndim != len(shape) or any(n is not None and n != k for n, k in zip(shape, array.shape, strict=True)):
        raise DimensionError(f"{name} has shape {array.shape}, expected {expected}")
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
    if (
        isinstance(value, (bool, str, bytes))
        or not np.isscalar(value)
        or not np.isreal(value)
        or not np.isfinite(value)
    ):
        raise DomainError(f"{name} is {_short(value)}, expected a finite number")
    number = float(np.real(value))
    if not (number > above and at_least <= number <= at_most):
        limits = [
            f"> {above:g}" if above > -np.inf else "",
            f">= {at_least:g}" if at_least > -np.inf else "",
            f"<= {at_most:g}" if at_most < np.inf else "",
        ]
        raise DomainError(f"{name} is {number:g}, expected a number {' and '.join(x for x in limits if x)}")
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


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
