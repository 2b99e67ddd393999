"""Signals that ask the process to end: what is being written is finished, and nobody sees a traceback."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

# Those that end a process unless it answers them, and may come from a user, a batch system or a lost terminal.
SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
_lead = [b""]  # what `say` begins with
_INSISTING = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)  # the others repeat themselves


class Stopped(KeyboardInterrupt):
    """The process is to end at once."""


class Stop:
    """What the signals of this process have asked for so far."""

    def __init__(self) -> None:
        self.number: int | None = None  # of the first signal
        self.is_immediate = False  # whether `Stopped` was raised, whatever became of it
        self.remedy = "nothing is left half written"  # after a command that `Stopped` has ended
        self._waits = False

    def wait(self) -> None:
        """Let the first signal from now on wait until `asked`, as a state is to be saved that the run goes on from."""
        self._waits = True

    def asked(self) -> bool:
        """Return whether to end where a run can go on from.

        Returns
        -------
        bool
        """
        return self.number is not None

    def answer(self, number: int, _frame: FrameType | None) -> None:
        """Take a signal.

        Parameters
        ----------
        number : int

        Raises
        ------
        Stopped
            If nothing is to be waited for, or a user insists.
        """
        first, self.number = self.number is None, self.number or number
        if self.is_immediate or not (first or number in _INSISTING):
            return
        if first and self._waits:
            say("stopping after this step; once more to stop at once")
            return
        self.is_immediate = True
        raise Stopped

    @contextmanager
    def steps(self) -> Iterator[None]:
        """Let signals wait no longer than these steps, from the first call of `wait` among them on."""
        try:
            yield
        finally:
            self._waits = False


@contextmanager
def answered(stop: Stop) -> Iterator[None]:
    """Answer the signals that end a process, but for those that the caller of the process had it ignore (``nohup``).

    Parameters
    ----------
    stop : Stop
        Takes them.
    """
    earlier = _replaced(stop.answer)
    try:
        yield
    finally:
        _restore(earlier)


@contextmanager
def patient() -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C wait, where nobody but Python answers it; the second one raises KeyboardInterrupt.

    Yields
    ------
    callable
        Says whether it came.
    """
    is_main = threading.current_thread() is threading.main_thread()  # which alone answers signals
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: False
        return
    came: list[int] = []

    def answer(number: int, _frame: FrameType | None) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)
        say("stopping after this step; once more to stop at once")

    signal.signal(signal.SIGINT, answer)
    try:
        yield lambda: bool(came)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let signals that end the process wait until something is written as a whole."""
    if threading.current_thread() is not threading.main_thread():  # which alone answers signals
        yield
        return
    came: list[int] = []
    earlier = _replaced(lambda number, _frame: came.append(number))
    try:
        yield
    finally:
        _restore(earlier)
        for number in came:
            signal.raise_signal(number)


@contextmanager
def left_to_parent() -> Iterator[None]:
    """Start processes and threads that never hear of Ctrl-C; that of this one is answered right afterwards."""
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # whose own start would let signals in
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def without_traceback() -> None:
    """End silently at Ctrl-C, as other programs do, until `answered` takes over: imports take a while."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def drawing(is_drawn: bool) -> None:
    """Let `say` begin on a new line, while another one is being drawn.

    Parameters
    ----------
    is_drawn : bool
    """
    _lead[0] = b"\n" if is_drawn else b""


def say(text: str) -> None:
    """Write a line to stderr past ``sys.stderr``, which a signal may interrupt; a terminal that is gone is no fault.

    Parameters
    ----------
    text : str
    """
    if sys.stderr is None:  # closed by the caller, and its number may be another file's
        return
    with contextlib.suppress(OSError):
        os.write(2, _lead[0] + f"scpo-ctrl: {text}\n".encode(errors="backslashreplace"))


_Handler = Callable[[int, FrameType | None], object]


def _replaced(handler: _Handler) -> dict[int, signal.Handlers | int | _Handler]:
    """Put a handler in the place of those there are; what is ignored, or was not set from Python, stays."""
    earlier = {number: signal.getsignal(number) for number in SIGNALS}
    known = {number: old for number, old in earlier.items() if old not in (None, signal.SIG_IGN)}
    for number in known:
        signal.signal(number, handler)
    return known  # type: ignore[return-value]


def _restore(earlier: dict[int, signal.Handlers | int | _Handler]) -> None:
    for number, handler in earlier.items():
        signal.signal(number, handler)
