"""Plants in files of their own, or in whole problem files: what a simulation takes for the true one."""

from pathlib import Path

from scpo_ctrl.errors import ProblemFileError
from scpo_ctrl.models import Plant
from scpo_ctrl.record.config import SECTIONS, within
from scpo_ctrl.record.plants import build_plant
from scpo_ctrl.record.tables import read_tables


def read_plant(path: Path, *, trust: bool = False) -> Plant:
    """Read section [plant] of a file; its other sections, where it is a whole problem file, do not matter.

    Parameters
    ----------
    path : pathlib.Path
    trust : bool
        Whether Python that it names is run.

    Returns
    -------
    Plant

    Raises
    ------
    ProblemFileError
        If the file cannot be read, is not TOML, or has no such section.
    ScpoError
        As in `build_plant`.
    """
    tables = read_tables(path)
    table = tables.get("plant")
    if not isinstance(table, dict) or set(tables) - set(SECTIONS):
        raise ProblemFileError(f"{path}: is no plant file: it needs a section [plant], as a problem file has it")
    return within(path, "plant", lambda: build_plant(dict(table), path.parent, trust=trust))[0]
