"""Values as they stand in messages: short, on one line, whatever the user handed in."""

import datetime
import os
import reprlib
from typing import Any

import numpy as np

_SHOWN = 60  # characters of a value in a message
_DIGITS = 40  # of a whole number in a message
_PLAIN = (
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    list,
    tuple,
    dict,
    set,
    os.PathLike,
    datetime.date,
    datetime.time,
)


def shown(value: Any) -> str:
    """Return a value for a message: arrays and numpy's numbers as plain ones, cut where it is long.

    Parameters
    ----------
    value : object

    Returns
    -------
    str
    """
    if isinstance(value, np.ndarray) and value.size > _SHOWN:
        return f"an array of shape {value.shape}"
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, type) or callable(value):
        return f"the {'class' if isinstance(value, type) else 'function'} {getattr(value, '__name__', '')}".rstrip()
    if not isinstance(value, _PLAIN):
        return f"a {type(value).__name__}"
    text = _Shown().repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


class _Shown(reprlib.Repr):
    """Prints what is near the beginning only, however large or deep the value is, even if it holds itself."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 8
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = _SHOWN
        self.maxstring = self.maxother = 2 * _SHOWN

    def repr_instance(self, x: Any, level: int) -> str:
        """Print entries that are not plain by their class, whatever they make of themselves."""
        return super().repr_instance(x, level) if isinstance(x, _PLAIN) else f"a {type(x).__name__}"

    def repr_int(self, x: int, level: int) -> str:
        """Print a whole number; one of thousands of digits cannot be turned into text."""
        digits = round(x.bit_length() * np.log10(2))
        return repr(x) if digits <= _DIGITS else f"a whole number of {digits} digits"
