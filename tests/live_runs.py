"""A run in the course of which a folder is saved, for the live page."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from problem_files import LINEAR_PLANT, write

from scpo_ctrl import adapt
from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.live import Server
from scpo_ctrl.record.config import ProblemFile, read_problem_file
from scpo_ctrl.record.folder import RunFolder

HOSTILE = '<i id="evil" onclick="alert(1)">position</i>'
CHANGES = {
    "metrics.contraction": 0.95,
    "plant": LINEAR_PLANT
    | {
        "name": "</script><i>plant</i>",
        "x_labels": [HOSTILE, f"{HOSTILE} velocity"],
        "u_labels": [f"{HOSTILE} force"],
    },
    "adapt.steps": 8,
}


@dataclass(frozen=True)
class Course:
    """A run, as it was after each step, and at its end."""

    file: ProblemFile
    states: list[Result]

    def save(self, folder: RunFolder, k: int) -> None:
        folder.save(self.states[k])


def course(folder: Path) -> Course:
    """Adapt a small problem whose names are hostile."""
    file = read_problem_file(write(folder / "problem.toml", CHANGES))
    states: list[Result] = []
    last = adapt(file.problem, file.options, monitor=lambda state: states.append(state.result()))
    return Course(file, [*states, last])


@contextlib.contextmanager
def served(run: Path, port: int = 0) -> Iterator[Server]:
    """Serve the page of a folder from a thread."""
    with Server(run, port) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.05])
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
