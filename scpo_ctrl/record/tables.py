"""Sections of a problem file: their keys and kinds checked, and numbers brought into one form."""

from pathlib import Path
from typing import Any

import numpy as np

from scpo_ctrl.errors import ProblemFileError
from scpo_ctrl.messages import shown
from scpo_ctrl.reading import read_text
from scpo_ctrl.record import toml
from scpo_ctrl.validate import as_text

Table = dict[str, Any]


def read_tables(path: Path) -> dict[str, Any]:
    """Read a file of problems or plants as it is, nothing checked but that it is TOML.

    Parameters
    ----------
    path : pathlib.Path

    Returns
    -------
    dict

    Raises
    ------
    ProblemFileError
        If it cannot be read.
    """
    try:
        return toml.loads(read_text(path, encoding="utf-8-sig"))  # some editors put a byte order mark first
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ProblemFileError(f"{path}: cannot be read: {reason}; give a problem file in TOML") from error
    except (ValueError, RecursionError) as error:
        raise ProblemFileError(f"{path}: is not valid TOML: {error}") from error


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


def beside(folder: Path, name: object, key: str = "file") -> Path:
    """Return the path of a file that a section names.

    Parameters
    ----------
    folder : pathlib.Path
        Of the problem file.
    name : object
        What the key says.
    key : str
        Which one.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ProblemFileError
        If it cannot name a file.
    """
    if not is_file_name(name):
        raise ProblemFileError(f"{key} is {shown(name)}, expected the name of a file")
    return folder / str(name)


def python_of(table: Table, folder: Path, function: str, made: str, *, trust: bool) -> tuple[Path, str]:
    """Return which Python a section of kind "python" names, if it may be run.

    Parameters
    ----------
    table : dict
        The section.
    folder : pathlib.Path
        Of the problem file.
    function : str
        Name of the function in it by default.
    made : str
        What it makes, for the message.
    trust : bool
        Whether it may be run.

    Returns
    -------
    path : pathlib.Path
    function : str

    Raises
    ------
    ProblemFileError
        If a key is unknown or missing, or it may not be run.
    """
    check_keys(table, ("file",), ("kind", "function"))
    path, name = beside(folder, table["file"]), as_text("function", table.get("function", function))
    if not trust:
        raise ProblemFileError(
            f"kind is 'python', which runs {path}: that is for `adapt` and load_problem, and for `verify --problem` "
            f"and `simulate --plant` with --trust; a RUN folder holds its {made} as data"
        )
    return path, name
