"""Logs of states and inputs as CSV."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scpo_ctrl.errors import ProblemFileError
from scpo_ctrl.models import Plant
from scpo_ctrl.problem.objective import read_csv
from scpo_ctrl.reading import LARGEST_DATA, opened

SAMPLE, TIME = "sample", "t"  # columns that say where a log has gaps; the first one counts where both are there


@dataclass(frozen=True)
class LogFile:
    """A log as read."""

    x: np.ndarray  # (T, nx) [x_units]
    u: np.ndarray  # (T, nu) [u_units]
    sample: np.ndarray | None  # (T,) sample numbers
    time: np.ndarray | None  # (T,) [s], where there are no sample numbers


def read_log(path: Path, plant: Plant) -> LogFile:
    """Read columns x0…, u0… from a CSV file with a header, and sample numbers or times where it has them.

    Parameters
    ----------
    path : pathlib.Path
    plant : Plant
        Whose states and inputs they are.

    Returns
    -------
    LogFile

    Raises
    ------
    ProblemFileError
        If the file is missing, a column is, or an entry is not a finite number.
    """
    clock = next((name for name in (SAMPLE, TIME) if name in _header(path)), None)
    names = [f"x{i}" for i in range(plant.nx)] + [f"u{i}" for i in range(plant.nu)]
    data = read_csv(path, names + ([clock] if clock else []))
    x, u, last = np.split(data, [plant.nx, plant.nx + plant.nu], axis=1)
    return LogFile(x, u, last[:, 0] if clock == SAMPLE else None, last[:, 0] if clock == TIME else None)


def _header(path: Path) -> list[str]:
    """Return the names of a file's columns; what is wrong with it is found by what reads the rest."""
    try:
        with opened(path, LARGEST_DATA) as file, io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
            return list(csv.DictReader(text, skipinitialspace=True).fieldnames or [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ProblemFileError(f"{path}: cannot be read as CSV: {reason}") from error
