"""Section [backup] of a problem file."""

from numpy.typing import ArrayLike

from scpo_ctrl.errors import ProblemFileError
from scpo_ctrl.loop.backup import Backup
from scpo_ctrl.loop.design import lqr
from scpo_ctrl.loop.given import DECAY, given, lmi, of_gain
from scpo_ctrl.loop.level import Ranges
from scpo_ctrl.models import Plant
from scpo_ctrl.record.tables import Table, check_keys, kind_of, spell_out


def build_backup(plant: Plant, table: Table, drawn: Table, ranges: Ranges) -> Backup:
    """Return the backup that section [backup] describes; defaults are filled in.

    Parameters
    ----------
    plant : Plant
    table : dict
        The section.
    drawn : dict
        Section [scenarios], whose disturbance a level set is designed for.
    ranges : mapping of str to (low, high)
        Of plant parameters, by label.

    Returns
    -------
    Backup

    Raises
    ------
    ScpoError
        If a key or value is wrong, or no level holds.
    """
    kind = kind_of(table, ("lqr", "lmi", "gain"))
    if kind != "lqr":
        return _designed(plant, table, ranges, drawn.get("disturbance"), kind)
    check_keys(table, ("kind", "Q", "R"), ("allow_uncontrollable", "rho"))
    allow, rho = table.setdefault("allow_uncontrollable", False), table.get("rho")
    backup = lqr(plant, table["Q"], table["R"], allow_uncontrollable=allow, parameters=ranges, rho=rho)
    spell_out(table, {"Q": 1, "R": 1})
    if not plant.is_linear:  # the record names the level that was found
        table.setdefault("rho", backup.rho)
    return backup


def _designed(plant: Plant, table: Table, ranges: Ranges, half: ArrayLike | None, kind: str) -> Backup:
    """Return a backup of a level set that is designed, or of a gain; the record says the numbers that came of it."""
    if kind == "lmi":
        check_keys(table, ("kind",), ("K", "decay", "P", "rho"))
        table.setdefault("decay", DECAY)
    else:
        check_keys(table, ("kind", "K"), ("P", "rho"))
    if "P" in table:
        missing = next((key for key in ("K", "rho") if key not in table), None)
        if missing:
            raise ProblemFileError(f"P is given, but not {missing}; give K, P and rho, or leave P out")
        backup = given(plant, table["K"], table["P"], table["rho"], ranges)
    elif kind == "lmi":
        if "rho" in table:
            raise ProblemFileError("rho is given, but not P; the level follows from the design, leave it out")
        backup = lmi(plant, K=table.get("K"), decay=table["decay"], parameters=ranges, disturbance=half)
    else:
        backup = of_gain(plant, table["K"], rho=table.get("rho"), parameters=ranges)
    table |= {"K": backup.K.tolist(), "P": backup.P.tolist(), "rho": backup.rho}
    return backup
