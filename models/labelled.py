"""Which state, input, parameter or output is meant: by its number, or by its label."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from scpo_ctrl.errors import DomainError
from scpo_ctrl.messages import shown

Place = int | str
_MOST = 20  # labels in a message


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
