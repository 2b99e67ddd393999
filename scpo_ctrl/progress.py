"""A line on stderr that follows what takes long: a bar, how many of how many, and of the rest what the width holds."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from scpo_ctrl.errors import DomainError
from scpo_ctrl.messages import shown as in_words
from scpo_ctrl.stop import drawing

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.live import Live
    from rich.text import Text

Monitor = Callable[[int, int], Any]

_SILENT = 1.0  # s, what takes less shows nothing unless it is asked to
_PLAIN_SILENT = 10.0  # s, likewise in a file
_EVERY = 0.1  # s between two states of a line that is followed live
_TENTHS = 10  # plain lines of what is followed in a file
_LONGEST = 60.0  # s between them at most
_NARROWEST, _WIDEST = 6, 24  # columns of the bar
_UNIT_FROM = 60  # columns, from which on the unit of what is counted is said
_NAME_FROM = 100  # likewise the name, where there are fields
_GAP = "  "
_NOTEBOOK_WIDTH, _ENDLESS = 100, 10_000


class Line:
    """A line that follows what takes long, until the end of a ``with`` statement.

    On a terminal, and in a notebook, it is one line that changes. Elsewhere, and where the terminal is to get no escape
    codes (``NO_COLOR``, ``TERM=dumb``), it is a plain line now and then.

    Parameters
    ----------
    name : str
        In front of the bar; may be empty.
    total : int, optional
        Of what is counted; None where it is not known yet.
    unit : str
        Of what is counted.
    shown : bool, optional
        False shows nothing. None shows what takes longer than a second, on a terminal or in a notebook alone; True
        shows at once, and in a file too.
    plain_after : float
        Seconds after which a file gets its first line.
    text : str
        What is said before anything is counted.

    Raises
    ------
    DomainError
        If `shown` is neither a bool nor None.
    """

    def __init__(
        self,
        name: str,
        total: int | None = None,
        *,
        unit: str = "",
        shown: bool | None = None,
        plain_after: float = _PLAIN_SILENT,
        text: str = "",
    ) -> None:
        if not (shown is None or isinstance(shown, bool)):
            raise DomainError(f"progress is {in_words(shown)}, expected true, false or None")
        self._name, self._unit, self._total, self._done = name, unit, total, 0
        self._fields: tuple[str, ...] = (text,) if text else ()
        self._more: tuple[str, ...] = ()
        self._began, self._shows_from = time.monotonic(), 0.0 if shown else _SILENT
        self._first: tuple[int, float] | None = None  # what was done at first, and when that was said
        self._sink = _sink(self, shown, plain_after)

    def __enter__(self) -> Self:
        if self._sink is not None and self._shows_from == 0.0:
            self._sink.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sink is not None:
            with contextlib.suppress(OSError):
                self._sink.end()

    def is_due(self, done: int, total: int | None = None) -> bool:
        """Return whether to show how far it is, so that what there is to say need not be found out for nothing.

        Parameters
        ----------
        done : int
        total : int, optional
            As before where None.

        Returns
        -------
        bool
        """
        self._first = self._first or (done, self.seconds)
        self._done, self._total = done, self._total if total is None else total
        return self._sink is not None and self.seconds >= self._shows_from and self._sink.is_due()

    def show(self, done: int, total: int | None = None, fields: Sequence[str] = (), more: Sequence[str] = ()) -> None:
        """Show how far it is.

        Parameters
        ----------
        done : int
        total : int, optional
            As before where None.
        fields : sequence of str
            What else there is to say, the most important first.
        more : sequence of str
            What is less important than the time that is left.
        """
        if self.is_due(done, total) and self._sink is not None:
            self._fields, self._more = tuple(fields), tuple(more)
            with contextlib.suppress(OSError):  # a terminal or a reader that is gone does not end a run
                self._sink.begin()
                self._sink.update()

    def log(self, text: str) -> None:
        """Write a line that stays, above the one that changes.

        Parameters
        ----------
        text : str
        """
        if self._sink is not None:
            with contextlib.suppress(OSError):
                self._sink.log(text)

    @property
    def is_done(self) -> bool:
        """Whether all is done."""
        return self._done == self._total

    @property
    def tenth(self) -> int:
        """How many tenths are done."""
        return self._done // max(1, (self._total or 0) // _TENTHS)

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began

    def parts(self, width: int, *, ascii_only: bool = False) -> list[tuple[str, str]]:
        """Return what fits a width: name, both parts of the bar, count, and fields, each with the style it is drawn in.

        Parameters
        ----------
        width : int
            Columns.
        ascii_only : bool
            Draw the bar in ASCII.

        Returns
        -------
        list of tuple of str
        """
        total = "?" if self._total is None else str(self._total)
        count = f" {self._done:>{len(total)}}/{total}"
        if self._unit and width >= _UNIT_FROM:
            count += f" {self._unit}"
        name = f"{self._name} " if width >= _NAME_FROM or not self._fields else ""
        bar = min(max(width // 10, _NARROWEST), _WIDEST)
        if len(name) + bar + len(count) > width:
            name = ""
        if bar + len(count) > width:
            bar, count = 0, count.strip()
        full = round(bar * min(self._done / self._total, 1.0)) if self._total else 0
        text, left = "", width - len(name) - bar - len(count)
        for field in (*self._fields, self._time(), *self._more):
            if len(_GAP) + len(field) > left:
                break
            text, left = text + _GAP + field, left - len(_GAP) - len(field)
        marks = "#-" if ascii_only else "━━"
        return [
            (name, "none"),
            (marks[0] * full, "bar.complete"),
            (marks[1] * (bar - full), "bar.back"),
            (count, "progress.download"),
            (text, "none"),
        ]

    def text(self, width: int) -> str:
        """Return the line without styles.

        Parameters
        ----------
        width : int

        Returns
        -------
        str
        """
        return "".join(text for text, _ in self.parts(width, ascii_only=True))

    def words(self) -> str:
        """Return all of the line but the bar.

        Returns
        -------
        str
        """
        name, _, _, count, fields = (text for text, _ in self.parts(_ENDLESS))
        return f"{name}{count.strip()}{fields}"

    def _time(self) -> str:
        """Return the time that is left, or has passed where that is not known."""
        left = 0.0
        first, since = self._first or (0, 0.0)
        if self._total and first < self._done < self._total:
            left = (self.seconds - since) * (self._total - self._done) / (self._done - first)
        seconds = round(left or self.seconds)
        hours, minutes = seconds // 3600, seconds // 60 % 60
        clock = f"{hours}:{minutes:02d}:{seconds % 60:02d}" if hours else f"{minutes}:{seconds % 60:02d}"
        return f"{clock} left" if left else clock

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "Iterator[Text]":
        from rich.text import Text

        parts = self.parts(options.max_width, ascii_only=options.ascii_only)
        yield Text.assemble(*parts, no_wrap=True, overflow="crop", end="")


class _Sink:
    """Where a line is seen; its first showing begins it."""

    def __init__(self, line: Line) -> None:
        self.line, self.due = line, 0.0

    def begin(self) -> None:
        """Show the line for the first time."""

    def is_due(self) -> bool:
        """Return whether to show it anew."""
        return self.line.is_done or self.line.seconds >= self.due

    def update(self) -> None:
        """Show it anew."""
        self.due = self.line.seconds + _EVERY

    def log(self, text: str) -> None:
        """Write a line that stays."""
        if sys.stderr is not None:
            print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave it as it is."""


class _Live(_Sink):
    """A terminal, on which the line changes."""

    _live: "Live | None" = None

    def begin(self) -> None:
        if self._live is not None:
            return
        from rich.console import Console
        from rich.live import Live

        class Quiet(Console):
            """A console that stays quiet once nobody reads it any more; rich would end the process."""

            def on_broken_pipe(self) -> None:
                self.quiet = True

        drawing(True)
        is_shared = sys.stdout is not None and sys.stdout.isatty()  # what is printed meanwhile stands above the line
        console = Quiet(stderr=True)
        self._live = Live(self.line, console=console, refresh_per_second=8, redirect_stdout=is_shared)
        self._live.start(refresh=True)

    def log(self, text: str) -> None:
        self.begin()
        if self._live is not None:
            self._live.console.print(text, soft_wrap=True, highlight=False, markup=False)

    def end(self) -> None:
        if self._live is not None:
            drawing(False)
            self._live.stop()


class _Notebook(_Sink):
    """The output of a cell, in which the line changes."""

    _handle: Any = None

    def begin(self) -> None:
        if self._handle is None:
            display = import_module("IPython.display").display
            self._handle = display(self._content(), raw=True, display_id=True)

    def update(self) -> None:
        super().update()
        self._handle.update(self._content(), raw=True)

    def end(self) -> None:
        if self._handle is not None:
            self.update()

    def _content(self) -> dict[str, str]:
        return {"text/plain": self.line.text(_NOTEBOOK_WIDTH)}


class _Plain(_Sink):
    """A file, or a terminal without escape codes: a plain line at every tenth, and at least every minute."""

    def __init__(self, line: Line, silent: float) -> None:
        super().__init__(line)
        self._silent, self._tenth, self.due = silent, 0, _LONGEST

    def is_due(self) -> bool:
        is_far = self.line.tenth > self._tenth and self.line.seconds >= self._silent
        return is_far or self.line.seconds >= self.due

    def update(self) -> None:
        self._tenth, self.due = self.line.tenth, self.line.seconds + _LONGEST
        self.log(self.line.words())


def _sink(line: Line, shown: bool | None, plain_after: float) -> _Sink | None:
    """Return where a line is seen, if anywhere."""
    if shown is False or sys.stderr is None:
        return None
    if _is_notebook():
        return _Notebook(line)
    is_terminal = sys.stderr.isatty()
    if is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in ("dumb", "unknown"):
        return _Live(line)
    return _Plain(line, plain_after) if shown or is_terminal else None


def _is_notebook() -> bool:
    """Return whether a Jupyter kernel runs this."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return hasattr(shell, "kernel")


@contextmanager
def following(name: str, unit: str, shown: bool | None, monitor: Monitor | None) -> Iterator[Monitor]:
    """Show a line in a ``with`` statement, beside a monitor of the user's.

    Parameters
    ----------
    name, unit, shown
        As of `Line`.
    monitor : callable, optional
        Called with what is done and of how many.

    Yields
    ------
    callable
        To be called likewise; returns what the user's does.
    """
    with Line(name, unit=unit, shown=shown) as line:

        def follow(done: int, total: int) -> Any:
            line.show(min(done, total), total)
            return None if monitor is None else monitor(done, total)

        yield follow
