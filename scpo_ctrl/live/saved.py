"""What a page needs of a RUN folder, read from its files alone; the problem is not rebuilt."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scpo_ctrl.adaptation.history import VERDICTS
from scpo_ctrl.errors import RecordError
from scpo_ctrl.reading import read_text
from scpo_ctrl.record import toml
from scpo_ctrl.record.atomic import stamps
from scpo_ctrl.record.files import load_arrays, load_summary
from scpo_ctrl.record.samples_file import SAMPLES_FILE, SavedSamples, load_samples

# What the page draws over tried steps, in the order of its rows; `tried` counts them from 1.
COLUMNS = (
    "tried",
    "step",
    "objective",
    "margin",
    "stationarity",
    "verdict",
    "active",
    "smoothness_max",
    "smoothness_median",
    "delta_norm",
)
_STARTS = ("objective_initial", "margin_initial", "digest")
_FILES = ("result.json", "problem.toml", "history.npz", SAMPLES_FILE)


@dataclass(frozen=True)
class Saved:
    """One save of a run."""

    summary: dict[str, Any]  # result.json
    tables: dict[str, Any]  # problem.toml
    rows: np.ndarray  # (tries, columns) of the history, see COLUMNS
    objective_initial: float
    margin_initial: float
    samples: SavedSamples | None  # of a plant at work
    time: float  # of the save [s since 1970]

    def column(self, name: str) -> np.ndarray:
        """Return a column of the history.

        Parameters
        ----------
        name : str
            One of COLUMNS.

        Returns
        -------
        numpy.ndarray, shape (tries,)
        """
        return self.rows[:, COLUMNS.index(name)]


def marks(path: Path) -> list[tuple[str, int, int, int]]:
    """Return what changes whenever a save replaces a file that is shown; nothing where there is no run.

    Parameters
    ----------
    path : pathlib.Path
        The RUN folder.

    Returns
    -------
    list of tuple
    """
    found = [stamp for stamp in stamps(path) if stamp[0] in _FILES]
    return found if any(name == "history.npz" for name, *_ in found) else []


def read_saved(path: Path) -> Saved:
    """Read the last save of a run.

    Parameters
    ----------
    path : pathlib.Path
        The RUN folder.

    Returns
    -------
    Saved

    Raises
    ------
    RecordError
        If a file is missing or damaged, or they are of two saves, as between two of them.
    """
    arrays, summary = load_arrays(path, (*COLUMNS, *_STARTS)), load_summary(path)
    if str(arrays.get("digest")) != summary.get("digest"):
        raise RecordError(f"{path}: result.json and history.npz are of two saves; wait for the next one")
    try:
        count = len(arrays["verdict"])
        columns = [np.arange(1, count + 1), *(arrays[name] for name in COLUMNS[1:])]
        rows = np.stack(columns, axis=1).astype(float).reshape(count, len(COLUMNS))
        if not np.isin(arrays["verdict"], range(len(VERDICTS))).all():
            raise ValueError("a verdict is unknown")
        return Saved(
            summary=summary,
            tables=toml.loads(read_text(path / "problem.toml")),
            rows=rows,
            objective_initial=float(arrays["objective_initial"]),
            margin_initial=float(arrays["margin_initial"]),
            samples=load_samples(path),
            time=(path / "result.json").stat().st_mtime,
        )
    except (LookupError, ValueError, TypeError, OSError) as error:
        raise RecordError(f"{path}: the record is incomplete or damaged ({error}); restore it or run again") from error
