"""Progress on a terminal: of a run, its steps and its audits; of commands that roll out for long, their rollouts."""

import contextlib
from collections import Counter
from types import TracebackType
from typing import Self

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from scpo_ctrl.adaptation.binding import least_part, rooms
from scpo_ctrl.adaptation.history import VERDICTS
from scpo_ctrl.adaptation.state import State
from scpo_ctrl.adaptation.status import Verdict
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.problem.problem import Problem
from scpo_ctrl.rounding import down


class _Console(Console):
    """A console that stays quiet once nobody reads it any more; rich would end the process."""

    def on_broken_pipe(self) -> None:
        """Write nothing from now on."""
        self.quiet = True


class _Line:
    """A line on stderr that follows what a command does, while stderr is a terminal.

    Parameters
    ----------
    name : str
        Of the command.
    total : int, optional
        Of what is counted; None where it is not known yet.
    quiet : bool
        Show nothing.
    text : str
        Of the line before anything is counted.
    """

    def __init__(self, name: str, total: int | None, *, quiet: bool, text: str = "") -> None:
        self._console = _Console(stderr=True)
        self._is_live = self._console.is_terminal and not quiet
        self._progress = Progress(
            TextColumn(name),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._is_live,
        )
        self._task = self._progress.add_task(name, total=total, text=text)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._progress.stop()


class Rollouts(_Line):
    """The rollouts of a command that takes long, while stderr is a terminal.

    Parameters
    ----------
    name : str
        Of the command.
    quiet : bool
        Show nothing.
    """

    def __init__(self, name: str, *, quiet: bool = False) -> None:
        super().__init__(name, None, quiet=quiet)

    def show(self, done: int, total: int) -> None:
        """Show how many rollouts are done.

        Parameters
        ----------
        done, total : int
        """
        with contextlib.suppress(OSError):
            self._progress.update(self._task, completed=min(done, total), total=total, text="rollouts")


class Covering(_Line):
    """How far a cover is, in percent of the declared set, while stderr is a terminal.

    Parameters
    ----------
    quiet : bool
        Show nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        super().__init__("cover", 100, quiet=quiet)

    def show(self, decided: float, boxes: int) -> None:
        """Show which part is decided, after so many boxes.

        Parameters
        ----------
        decided : float
        boxes : int
        """
        with contextlib.suppress(OSError):
            self._progress.update(self._task, completed=int(100 * decided), text=f"% decided, {boxes} boxes")


class Display(_Line):
    """A line that follows a run, on stderr; a plain line now and then where stderr is no terminal.

    Parameters
    ----------
    steps : int
        Number of first-order steps of the run.
    quiet : bool
        Show nothing.
    """

    def __init__(self, steps: int, *, quiet: bool = False) -> None:
        super().__init__("adapt", steps, quiet=quiet, text="the safe start is checked")
        self._plain = None if quiet or self._is_live else self._console
        self._steps, self._text = steps, ""
        self._verdicts, self._seen, self._audits = Counter[Verdict](), 0, 0  # of so many rows, after so many audits
        self._problem: Problem | None = None  # whose rooms these are
        self._rooms = np.zeros(0)

    def show(self, state: State) -> None:
        """Show the state after a step.

        Parameters
        ----------
        state : State
        """
        self._text = (
            f"objective {state.objective:.4f}  margin {self._margin(state)}  "
            f"stationarity {state.stationarity:.1e}  "
            f"{self._tries(state)}  active {state.active.size}"
        )
        with contextlib.suppress(OSError):  # a terminal or a reader that is gone does not end a run
            self._progress.update(self._task, completed=state.step, text=self._text)
            if self._plain and (state.step % max(1, self._steps // 10) == 0):
                self._plain.print(f"step {state.step}/{self._steps}  {self._text}", soft_wrap=True, highlight=False)

    def show_audit(self, done: int, total: int) -> None:
        """Show how far an audit has come.

        Parameters
        ----------
        done, total : int
            Rollouts.
        """
        with contextlib.suppress(OSError):
            text = f"{self._text}  audit {100 * min(done, total) // total} %"
            self._progress.update(self._task, text=text)

    def _tries(self, state: State) -> str:
        """Count the tries by what became of them; an audit changes that of earlier ones."""
        rows, audits = state.history.rows, len(state.audits)
        if audits != self._audits:
            self._verdicts, self._seen = Counter(), 0
        self._verdicts.update(VERDICTS[row.verdict] for row in rows[self._seen :])
        self._seen, self._audits = len(rows), audits
        accepted, withdrawn = self._verdicts[Verdict.COMMITTED], self._verdicts[Verdict.WITHDRAWN]
        rejected = len(rows) - accepted - withdrawn
        return f"accepted {accepted} rejected {rejected}" + (f" withdrawn {withdrawn}" if withdrawn else "")

    def _margin(self, state: State) -> str:
        """Return the margin of the metric closest to its bound, in percent of its room; its own unit without a plant.

        The least margin itself is that of the guard with the least room, whatever its unit: it reads like trouble.
        """
        if not isinstance(state.given, ControlProblem):
            return down(state.margin)
        if self._problem is not state.problem:
            self._problem, self._rooms = state.problem, rooms(state.problem)
        return f"{down(100 * least_part(state.problem, state.g, self._rooms), 2)} %"
