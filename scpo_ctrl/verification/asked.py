"""Whether a RUN is of a problem file: the file read now, its defaults filled in, against the problem as run."""

import math
from typing import Any

import numpy as np

from scpo_ctrl.record.config import ProblemFile

_FILES = {"csv", "learned"}  # names of files, whose contents are compared
_FOUND = (("backup", "rho"), ("policy", "rho"))  # by simulation, where it is not given
_ROUNDING = 1e-9
_DESIGNED = ("K", "P", "rho")  # by a solver, whose answers differ between machines
_DIFFERENT = 1e-3  # part of the largest entry


def asked_faults(asked: ProblemFile, run: ProblemFile) -> list[str]:
    """List where a run is not of a problem file; only [adapt] steps may differ, and gradients that are left open.

    Parameters
    ----------
    asked : ProblemFile
        What the user has.
    run : ProblemFile
        That of the RUN.

    Returns
    -------
    list of str
    """
    faults, asked = [], asked.with_gradients(run.options.gradients)
    for section in dict.fromkeys((*run.tables, *asked.tables)):
        table, wanted = run.tables.get(section, {}), asked.tables.get(section, {})
        for key in sorted({*table, *wanted} - _FILES):
            if (section, key) == ("adapt", "steps") or _is_equal(table.get(key), wanted.get(key), (section, key)):
                continue
            if section == "backup" and key in _DESIGNED and table.get("kind") == "lmi" and _is_near(table, wanted, key):
                continue
            faults.append(
                f"the run is of another problem: [{section}] {key} is {table.get(key, 'not set')!r:.100} in RUN, "
                f"{wanted.get(key, 'not set')!r:.100} in the problem file"
            )
    data, own = asked.imitation, run.imitation
    if (data is None) != (own is None) or (
        data and own and not (np.array_equal(data.x, own.x) and np.array_equal(data.u, own.u))
    ):
        faults.append("the run is of another problem: imitation.csv does not hold the data of [objective] csv")
    if list(run.tables["scenarios"].get("parameters", {})) != list(asked.tables["scenarios"].get("parameters", {})):
        faults.append("the run is of another problem: [scenarios] parameters come in another order, and are so drawn")
    return faults


def _is_equal(one: Any, other: Any, where: tuple[str, str]) -> bool:
    if where in _FOUND and isinstance(one, float) and isinstance(other, (int, float)):
        return math.isclose(one, other, rel_tol=_ROUNDING)
    return _listed(one) == _listed(other)


def _is_near(table: dict[str, Any], wanted: dict[str, Any], key: str) -> bool:
    """Whether numbers of a level set may have come of the same design."""
    if key not in table or key not in wanted:
        return False
    one, other = np.array(table[key], dtype=float), np.array(wanted[key], dtype=float)
    return one.shape == other.shape and bool(np.abs(one - other).max() <= _DIFFERENT * np.abs(other).max())


def _listed(value: Any) -> Any:
    """Return nested tuples as lists, as TOML gives them."""
    return [_listed(entry) for entry in value] if isinstance(value, (list, tuple)) else value
