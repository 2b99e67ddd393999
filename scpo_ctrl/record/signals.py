"""Signals in a problem file: tables of their numbers, and sequences from CSV files."""

from pathlib import Path
from typing import Any

from scpo_ctrl.errors import ProblemFileError
from scpo_ctrl.messages import shown
from scpo_ctrl.models.signals import Signal, from_table, to_table
from scpo_ctrl.problem.objective import read_csv
from scpo_ctrl.record.tables import Table, beside


def signals_of(table: Any, folder: Path, what: str) -> dict[str, Signal | Any]:
    """Return the signals of a table by label; what is no table stays as it is.

    Parameters
    ----------
    table : dict
    folder : pathlib.Path
        Where the CSV files are that it names.
    what : str
        Its key, for messages.

    Returns
    -------
    dict of str to Signal or object

    Raises
    ------
    ProblemFileError
        If it is no table, or a file cannot be read.
    DomainError
        If a signal is wrong.
    """
    if not isinstance(table, dict):
        raise ProblemFileError(f"{what} is {shown(table)}, expected a table of signals by label")
    return {key: _signal(key, value, folder) if isinstance(value, dict) else value for key, value in table.items()}


def tables_of(signals: dict[str, Signal | Any]) -> Table:
    """Return signals as tables, numbers as they are.

    Parameters
    ----------
    signals : dict of str to Signal or float

    Returns
    -------
    dict
    """
    return {label: to_table(value) if isinstance(value, Signal) else value for label, value in signals.items()}


def _signal(label: str, table: Table, folder: Path) -> Signal:
    """Return a signal; of a sequence a CSV file may hold the values."""
    given = dict(table)
    if given.get("kind") == "sequence" and "csv" in given:
        if "values" in given:
            raise ProblemFileError(f"{label} has values and csv; give one of them")
        path, column = beside(folder, given.pop("csv"), "csv"), given.pop("column", label)
        if not isinstance(column, str):
            raise ProblemFileError(f"{label}: column is {shown(column)}, expected the name of a column of {path}")
        given["values"] = read_csv(path, [column])[:, 0]
    return from_table(given)
