"""Progress of a run on a terminal: objective, margin, accepted and rejected tries, active constraints."""

import contextlib
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from scpo_ctrl.adaptation.state import State


class _Console(Console):
    """A console that stays quiet once nobody reads it any more; rich would end the process."""

    def on_broken_pipe(self) -> None:
        """Write nothing from now on."""
        self.quiet = True


class Display:
    """A line that follows a run, on stderr; a plain line now and then where stderr is no terminal.

    Parameters
    ----------
    steps : int
        Number of first-order steps of the run.
    quiet : bool
        Show nothing.
    """

    def __init__(self, steps: int, *, quiet: bool = False) -> None:
        console = _Console(stderr=True)
        self._live = console.is_terminal and not quiet
        self._plain = None if quiet or self._live else console
        self._steps, self._accepted, self._seen = steps, 0, 0
        self._progress = Progress(
            TextColumn("adapt"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not self._live,
        )
        self._task = self._progress.add_task("adapt", total=steps, text="")

    def __enter__(self) -> "Display":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._progress.stop()

    def show(self, state: State) -> None:
        """Show the state after a step.

        Parameters
        ----------
        state : State
        """
        rows = state.history.rows
        self._accepted += sum(row.is_committed for row in rows[self._seen :])
        self._seen = len(rows)
        text = (
            f"objective {state.objective:.4f}  margin {state.margin:.2e}  "
            f"stationarity {state.stationarity:.1e}  "
            f"accepted {self._accepted} rejected {self._seen - self._accepted}  active {state.active.size}"
        )
        with contextlib.suppress(OSError):  # a terminal or a reader that is gone does not end a run
            self._progress.update(self._task, completed=state.step, text=text)
            if self._plain and (state.step % max(1, self._steps // 10) == 0):
                self._plain.print(f"step {state.step}/{self._steps}  {text}", soft_wrap=True, highlight=False)
