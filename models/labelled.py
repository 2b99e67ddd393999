"""What signals are called: which is meant, by its number or its label, and in which unit it is."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from scpo_ctrl.errors import DomainError
from scpo_ctrl.messages import shown
from scpo_ctrl.validate import as_text

Place = int | str
_MOST = 20  # labels in a message
_NO_UNITS = "1", "-"  # how others write that there is none


def as_place(name: str, value: Any, labels: Sequence[str], noun: str) -> int:
    """Return the place of a signal that is given by its number or its label.

    Parameters
    ----------
    name : str
        What the value is called in the error message.
    value : int or str
    labels : sequence of str
        Of all signals of its kind.
    noun : str
        Of one, in the singular.

    Returns
    -------
    int

    Raises
    ------
    DomainError
        If there is none, or more than one of that label.
    """
    if isinstance(value, str) and labels.count(value) == 1:
        return labels.index(value)
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and 0 <= value < len(labels):
        return int(value)
    listed = ", ".join(f"{i} {label!r}" for i, label in enumerate(labels[:_MOST]))
    listed += f" and {len(labels) - _MOST} more" if len(labels) > _MOST else ""
    several = ", which several have" if isinstance(value, str) and value in labels else ""
    raise DomainError(f"{name} is {shown(value)}{several}, expected the number or the name of a {noun}: {listed}")


def as_places(name: str, value: Any, labels: Sequence[str], noun: str) -> list[int]:
    """Return the places of some signals, of which a single one may be given by itself.

    Parameters
    ----------
    name, labels, noun
        As of `as_place`.
    value : sequence of int or str, int or str

    Returns
    -------
    list of int

    Raises
    ------
    DomainError
        As of `as_place`.
    """
    if isinstance(value, np.ndarray):
        value = value.tolist()
    every = list(value) if isinstance(value, (list, tuple)) else [value]
    return [as_place(f"{name}[{k}]" if len(every) > 1 else name, one, labels, noun) for k, one in enumerate(every)]


def as_unit(name: str, value: Any) -> str:
    """Return a unit; none where a signal has no dimension, however that is written.

    Parameters
    ----------
    name : str
        What the value is called in the error message.
    value : str

    Returns
    -------
    str

    Raises
    ------
    DomainError
        If it is no text that a file can hold.
    """
    unit = as_text(name, value)
    return "" if unit.strip() in _NO_UNITS else unit


def as_names(key: str, values: Sequence[Any]) -> tuple[str, ...]:
    """Return labels, or units where the key says so.

    Parameters
    ----------
    key : str
        Such as "x_labels" or "x_units", for the error message too.
    values : sequence of str

    Returns
    -------
    tuple of str

    Raises
    ------
    DomainError
        If one is no text that a file can hold.
    """
    check = as_unit if key.endswith("_units") else as_text
    return tuple(check(f"{key}[{i}]", value) for i, value in enumerate(values))
