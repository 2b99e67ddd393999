"""A problem file with what a log says of its plant."""

from pathlib import Path
from typing import Any

import tomli_w

from scpo_ctrl.errors import OutputError, ProblemFileError
from scpo_ctrl.identification.result import Identification
from scpo_ctrl.messages import shown
from scpo_ctrl.models import Plant
from scpo_ctrl.record.atomic import write_atomic
from scpo_ctrl.record.config import within
from scpo_ctrl.record.plants import build_plant
from scpo_ctrl.record.tables import Table, read_tables

_FILES = ("file", "csv", "learned")  # keys that name a file beside the problem


def read_plant_of(path: Path, *, trust: bool) -> tuple[Plant, dict[str, Any]]:
    """Read the plant of a problem file, and nothing else of it.

    Parameters
    ----------
    path : pathlib.Path
    trust : bool
        Whether Python that it names is run.

    Returns
    -------
    plant : Plant
    tables : dict
        The file as it is.

    Raises
    ------
    ProblemFileError, ScpoError
        If it cannot be read, or a section that is needed is missing or wrong.
    """
    tables = read_tables(path)
    for section in ("plant", "scenarios"):
        if not isinstance(tables.get(section), dict):
            raise ProblemFileError(f"{path}: section [{section}] is missing; give a whole problem file")
    ranges = tables["scenarios"].get("parameters", {})
    if not isinstance(ranges, dict):
        raise ProblemFileError(f"{path}: [scenarios] parameters is {shown(ranges)}, expected a table of ranges")
    plant = within(path, "plant", lambda: build_plant(dict(tables["plant"]), path.parent, trust=trust)[0])
    return plant, tables


def check_place(path: Path, tables: dict[str, Any], out: Path, *, overwrite: bool) -> None:
    """Refuse a place where the new problem file must not, or cannot, stand.

    Parameters
    ----------
    path : pathlib.Path
        Of the old one.
    tables : dict
        Of the old one.
    out : pathlib.Path
        Of the new one.
    overwrite : bool
        Whether a file there is replaced.

    Raises
    ------
    OutputError
        If there is a file and `overwrite` is false, no folder, or another one than that of the files that the problem
        names.
    """
    if out.is_dir() or not out.parent.is_dir():
        raise OutputError(f"{out}: is a folder, or in none; give the name of a file in a folder that exists")
    if out.exists() and not overwrite:
        raise OutputError(f"{out}: is there already; --overwrite replaces it, or give another name")
    named = next(_named(tables), None)
    if named is not None and out.parent.resolve() != path.parent.resolve():
        raise OutputError(f"{out}: the problem names {named!r} beside {path}; write the new problem file there too")


def new_tables(tables: dict[str, Any], found: Identification) -> dict[str, Any]:
    """Return a problem with fitted values, their ranges and the half widths of the disturbance.

    Parameters
    ----------
    tables : dict
        Of the problem as it was.
    found : Identification

    Returns
    -------
    dict
        Whose other keys, and ranges of parameters that were not fitted, are as before.
    """
    plant, scenarios = dict(tables["plant"]), dict(tables["scenarios"])
    ranges = {label: list(limits) for label, limits in found.parameters().items()}
    plant["nominal"] = {**plant.get("nominal", {}), **{label: found.value(label) for label in ranges}}
    scenarios["parameters"] = {**scenarios.get("parameters", {}), **ranges}
    half = found.half_widths.tolist()
    scenarios.pop("disturbance", None)
    if any(half):
        scenarios["disturbance"] = half
    else:
        scenarios.pop("disturbance_fixed", None)
    return tables | {"plant": plant, "scenarios": scenarios}


def write_identified(out: Path, tables: dict[str, Any], found: Identification) -> None:
    """Write a problem file with what a log says of its plant: the whole new file, or nothing.

    Parameters
    ----------
    out : pathlib.Path
    tables : dict
        Of the problem as it was.
    found : Identification

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    write_atomic(out, tomli_w.dumps(new_tables(tables, found)).encode())


def _named(table: Table) -> Any:
    """Yield the files that tables name relative to the problem file."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _named(value)
        elif key in _FILES and isinstance(value, str) and not Path(value).is_absolute():
            yield value
