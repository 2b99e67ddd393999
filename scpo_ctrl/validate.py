"""Checks at the door: kinds, shapes and finiteness of what users hand in, with errors that name what, where and fix."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.errors import DimensionError, DomainError
from scpo_ctrl.messages import shown

LARGEST_COUNT = 2**63 - 1  # of whole numbers: what TOML and numpy's int64 hold
LONGEST_NAME = 1000  # characters of a name, a label or a unit, which messages, reports and C show
REAL = "biufO"  # kinds of arrays, returned by a function, that a double keeps: neither complex numbers nor text

_LONGEST_PATH = 4096  # characters, as on Linux
_MOST_ENTRIES = 1 << 27  # of an array: a gigabyte
_MOST_LISTED = 10_000_000  # of an array as nested lists, an object each


def as_array(name: str, value: ArrayLike, shape: Sequence[int | None], *, finite: bool = True) -> np.ndarray:
    """Return `value` as a float64 array of the given shape.

    Lists, numpy arrays and matrices, scipy's sparse ones and CasADi's DM are taken. A row or a column of a matrix is
    taken as a vector, and a number as a vector of length one.

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
        If an entry is masked, not a number (booleans and strings are none), NaN, or (with `finite`) infinite.
    """
    array = _fitted(_converted(name, value, "in rows of equal length" if len(shape) > 1 else ""), shape)
    if array.ndim != len(shape) or any(n is not None and n != k for n, k in zip(shape, array.shape, strict=True)):
        expected = (
            "(" + ", ".join("any" if n is None else str(n) for n in shape) + ("," if len(shape) == 1 else "") + ")"
        )
        found = f"has shape {array.shape}" if array.ndim else f"is {shown(value)}"
        raise DimensionError(f"{name} {found}, expected {'' if array.ndim else 'an array of shape '}{expected}")
    bad = ~np.isfinite(array) if finite else np.isnan(array)
    if bad.any():
        where = ", ".join(str(int(i)) for i in np.argwhere(bad)[0])
        raise DomainError(f"{name}[{where}] is {array[bad][0]}, expected a finite number")
    return array


def as_stack(name: str, value: ArrayLike) -> np.ndarray:
    """Return `value` as a float64 array of whatever shape; its entries need not be finite.

    Parameters
    ----------
    name : str
    value : array_like

    Returns
    -------
    numpy.ndarray
        A float64 copy.

    Raises
    ------
    DomainError
        If an entry is masked or not a number.
    """
    return _converted(name, value, "in rows of equal length")


def as_lists(name: str, value: Any) -> Any:
    """Return an array as nested lists, and what is none as it is.

    Parameters
    ----------
    name : str
    value : object

    Returns
    -------
    object

    Raises
    ------
    DomainError
        If the array is too large.
    """
    if not isinstance(value, np.ndarray):
        return value
    if value.size > _MOST_LISTED:
        raise DomainError(f"{name} has shape {value.shape}, more than {_MOST_LISTED} entries; make it smaller")
    return value.tolist()


def dimensions(value: Any) -> int:
    """Return the number of axes of an array or of nested lists, by their first entries.

    Parameters
    ----------
    value : object

    Returns
    -------
    int
        Zero for what is neither.
    """
    axes = 0
    while isinstance(value, (list, tuple)) and axes < 64:
        axes, value = axes + 1, value[0] if value else None
    return axes + value.ndim if isinstance(value, (np.ndarray, np.generic)) else axes


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
        raise DomainError(f"{name} is {shown(value)}, expected a finite number")
    if not (number > above and at_least <= number <= at_most):
        limits = [
            f"> {above:g}" if above > -np.inf else "",
            f">= {at_least:g}" if at_least > -np.inf else "",
            f"<= {at_most:g}" if at_most < np.inf else "",
        ]
        raise DomainError(f"{name} is {number!r}, expected a number {' and '.join(x for x in limits if x)}")
    return number


def as_count(name: str, value: Any, *, at_least: int = 0, at_most: int = LARGEST_COUNT) -> int:
    """Return `value` as an int inside its range.

    Parameters
    ----------
    name : str
        What the value is called in the error message.
    value : int
        The value; booleans and floats are refused.
    at_least, at_most : int
        Smallest and largest value allowed.

    Returns
    -------
    int
        The value.

    Raises
    ------
    DomainError
        If it is not a whole number, or outside the range.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or value < at_least:
        raise DomainError(f"{name} is {shown(value)}, expected a whole number >= {at_least}")
    if value > at_most:
        raise DomainError(f"{name} is {shown(value)}, expected a whole number >= {at_least} and <= {at_most}")
    return int(value)


def as_flag(name: str, value: Any) -> bool:
    """Return `value` as a bool.

    Parameters
    ----------
    name : str
        What the value is called in the error message.
    value : bool
        The value; numbers are refused.

    Returns
    -------
    bool

    Raises
    ------
    DomainError
        If it is neither true nor false.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise DomainError(f"{name} is {shown(value)}, expected true or false")
    return bool(value)


def as_choice(name: str, value: Any, known: Sequence[str]) -> str:
    """Return `value` if it is one of some words.

    Parameters
    ----------
    name : str
        What the value is called in the error message.
    value : str
    known : sequence of str

    Returns
    -------
    str

    Raises
    ------
    DomainError
        If it is none of them.
    """
    if not isinstance(value, str) or value not in known:
        raise DomainError(f"{name} is {shown(value)}, expected one of: {', '.join(known)}")
    return value


def as_text(name: str, value: Any, *, at_most: int = LONGEST_NAME) -> str:
    """Return `value` if it is text that a file can hold.

    Parameters
    ----------
    name : str
        What the value is called in the error message.
    value : str
        The value; halves of characters (surrogates) are refused, which UTF-8 has no bytes for.
    at_most : int
        Number of characters.

    Returns
    -------
    str
        The value.

    Raises
    ------
    DomainError
        If it is no such text, or longer.
    """
    if not isinstance(value, str) or any("\ud800" <= character <= "\udfff" for character in value):
        raise DomainError(f"{name} is {shown(value)}, expected text in Unicode")
    if len(value) > at_most:
        raise DomainError(f"{name} has {len(value)} characters, more than {at_most}; shorten it")
    return value


def as_texts(name: str, value: Any) -> tuple[str, ...]:
    """Return `value` as a tuple of strings.

    Parameters
    ----------
    name : str
        What the value is called in the error message.
    value : sequence of str
        One string is refused: it is a sequence of letters.

    Returns
    -------
    tuple of str

    Raises
    ------
    DomainError
        If it is none.
    """
    if isinstance(value, np.ndarray) and value.dtype.kind == "U":
        value = value.tolist()
    if not isinstance(value, (list, tuple)):
        raise DomainError(f"{name} is {shown(value)}, expected a list of strings")
    return tuple(as_text(f"{name}[{i}]", text) for i, text in enumerate(value))


def as_function(name: str, value: Any) -> Any:
    """Return `value` if it can be called.

    Parameters
    ----------
    name : str
        What the value is called in the error message.
    value : callable

    Returns
    -------
    callable

    Raises
    ------
    DomainError
        If it cannot.
    """
    if not callable(value):
        raise DomainError(f"{name} is {shown(value)}, expected a function")
    return value


def as_path(name: str, value: Any) -> Path:
    """Return the name of a file or a folder as a path.

    Parameters
    ----------
    name : str
        What the value is called in the error message.
    value : str or os.PathLike

    Returns
    -------
    pathlib.Path

    Raises
    ------
    DomainError
        If it is neither, or holds a null character.
    """
    text = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    if not isinstance(text, str) or not 0 < len(text) <= _LONGEST_PATH or "\0" in text:
        raise DomainError(f"{name} is {shown(value)}, expected the name of a file or a folder")
    return Path(text)


def _converted(name: str, value: Any, rows: str) -> np.ndarray:
    """Return a float64 copy of whatever shape."""
    expected = f"an array of real numbers {rows}".rstrip()
    try:
        if math.prod(getattr(value, "shape", ())) > _MOST_ENTRIES:
            raise DomainError(f"{name} has shape {value.shape}, more than {_MOST_ENTRIES} entries; make it smaller")
        value = value.toarray() if callable(getattr(value, "toarray", None)) else value  # scipy's sparse matrices
        if np.ma.isMaskedArray(value):
            if np.ma.getmaskarray(value).any():
                raise DomainError(f"{name} has masked entries; fill them in (filled) or leave them out (compressed)")
            value = value.filled()
        if not _is_numeric(value):
            raise DomainError(f"{name} is {shown(value)}, expected an array of real numbers")
        return np.array(value, dtype=np.float64, order="C")
    except DomainError:
        raise
    except OverflowError as error:
        raise DomainError(f"{name} is {shown(value)}, expected numbers within the range of a double") from error
    except MemoryError as error:
        raise DomainError(f"{name} does not fit into memory; make it smaller") from error
    except Exception as error:  # ragged or endless lists, symbols, whatever the value's class makes of it
        raise DomainError(f"{name} is {shown(value)}, expected {expected}") from error


def _fitted(array: np.ndarray, shape: Sequence[int | None]) -> np.ndarray:
    """Turn rows and columns into vectors, and a number into a vector of length one, where a vector is expected."""
    if len(shape) != 1:
        return array
    if array.ndim == 2 and 1 in array.shape:
        return array.reshape(-1)
    return array.reshape(1) if array.ndim == 0 and shape[0] == 1 else array


def _as_float(value: Any) -> float:
    """Return a scalar as a float, NaN where it is no real number within the range of a double."""
    if isinstance(value, (bool, np.bool_, str, bytes)) or np.ma.isMaskedArray(value) or dimensions(value):
        return np.nan
    if isinstance(value, np.ndarray):
        value = value.item()
    if not np.isscalar(value) or isinstance(value, (bool, str, bytes)):
        return np.nan
    try:
        return float(np.real(value)) if np.isreal(value) else np.nan
    except (OverflowError, TypeError, ValueError):
        return np.nan


def _is_numeric(value: Any) -> bool:
    """Whether nothing in nested lists and arrays is a boolean, a text or a complex number."""
    if isinstance(value, (list, tuple)):
        return all(_is_numeric(entry) for entry in value)
    if isinstance(value, (str, bytes, dict)):
        return False
    return np.asarray(value).dtype.kind in "iufO"
