"""Sections of a problem file: their keys and kinds checked, and numbers brought into one form."""

from typing import Any

import numpy as np

from scpo_ctrl.errors import ProblemFileError
from scpo_ctrl.messages import shown

Table = dict[str, Any]


def check_keys(table: Table, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> None:
    """Refuse a section with keys that are unknown or missing.

    Parameters
    ----------
    table : dict
    required, optional : tuple of str
        Keys.

    Raises
    ------
    ProblemFileError
        If there are.
    """
    unknown = sorted(set(table) - {*required, *optional})
    if unknown:
        raise ProblemFileError(f"unknown key {shown(unknown[0])}; known: {', '.join((*required, *optional))}")
    missing = [key for key in required if key not in table]
    if missing:
        raise ProblemFileError(f"key {missing[0]!r} is missing; needed: {', '.join(required)}")


def kind_of(table: Table, known: tuple[str, ...]) -> str:
    """Return the kind of a section.

    Parameters
    ----------
    table : dict
    known : tuple of str
        What it may be.

    Returns
    -------
    str

    Raises
    ------
    ProblemFileError
        If it is missing or another one.
    """
    if "kind" not in table:
        raise ProblemFileError(f"key 'kind' is missing, expected one of: {', '.join(known)}")
    if not isinstance(table["kind"], str) or table["kind"] not in known:
        raise ProblemFileError(f"kind is {shown(table['kind'])}, expected one of: {', '.join(known)}")
    return table["kind"]


def spell_out(table: Table, axes: dict[str, int]) -> None:
    """Write numbers and columns as the vectors and matrices that they were taken for: a record has one form.

    Parameters
    ----------
    table : dict
    axes : dict of str to int
        How many each key has.
    """
    for key, count in axes.items():
        value = np.array(table[key], dtype=float)
        if value.ndim == 0:
            table[key] = value.reshape((1,) * count).tolist()
        elif count == 1 and value.ndim == 2 and 1 in value.shape:
            table[key] = value.reshape(-1).tolist()


def is_file_name(value: object) -> bool:
    """Return whether a value can name a file.

    Parameters
    ----------
    value : object

    Returns
    -------
    bool
    """
    return isinstance(value, str) and bool(value) and "\0" not in value
