"""What the page says of a save, in words and as rows: plain data, whose every number is for reading or for a chart."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scpo_ctrl.live.facts import facts, plain, waiting
from scpo_ctrl.live.saved import COLUMNS, Saved

MOST_ROWS = 2000  # of a history; of a longer one every second row is sent, every fourth …


@dataclass(frozen=True)
class View:
    """What the page shows."""

    facts: dict[str, Any]
    rows: np.ndarray  # (n, columns) of the history, every first, second, fourth … of them
    every: int = 1

    @property
    def name(self) -> str:
        """What names these rows: a browser that comes back says so what it has (Last-Event-ID)."""
        return self._name(len(self.rows))

    def known(self, name: str | None) -> int:
        """Return how many of the rows are those that were sent under a name; 0 where others were.

        Parameters
        ----------
        name : str, optional
            Whatever a client says.

        Returns
        -------
        int
        """
        parts = (name or "").split("-")
        if len(parts) != 3 or not (parts[1].isascii() and parts[1].isdigit() and len(parts[1]) < 8):
            return 0
        count = int(parts[1])
        return count if count <= len(self.rows) and self._name(count) == name else 0

    def _name(self, count: int) -> str:
        content = hashlib.blake2s(self.rows[:count].tobytes(), digest_size=8).hexdigest()
        return f"{self.every}-{count}-{content}"

    def event(self, known: int) -> bytes:
        """Return the event that brings a client up to date.

        Parameters
        ----------
        known : int
            Rows that it has.

        Returns
        -------
        bytes
        """
        rows = [[plain(value) for value in row] for row in self.rows[known:].tolist()]
        data = {"from": known, "columns": COLUMNS, "rows": rows, "facts": self.facts}
        text = json.dumps(data, allow_nan=False, separators=(",", ":"))  # ASCII, and on one line
        return f"id: {self.name}\ndata: {text}\n\n".encode("ascii")


def view_of(path: Path, saved: Saved | None, is_writing: bool, trouble: str = "") -> View:
    """Return what the page shows of a RUN folder.

    Parameters
    ----------
    path : pathlib.Path
    saved : Saved, optional
        Its last save; None before the first one.
    is_writing : bool
        Whether a process is writing there.
    trouble : str
        Why something newer could not be read.

    Returns
    -------
    View
    """
    if saved is None:
        return View(waiting(path) | {"trouble": trouble}, np.zeros((0, len(COLUMNS))))
    every = 1
    while -(-len(saved.rows) // every) > MOST_ROWS:
        every *= 2
    return View(facts(path, saved, is_writing) | {"trouble": trouble}, saved.rows[::every], every)
