"""A RUN folder that is looked at again and again, and those who wait for something new in it."""

import threading
from pathlib import Path

from scpo_ctrl.errors import RecordError, ScpoError, cause
from scpo_ctrl.live.saved import Saved, marks, read_saved
from scpo_ctrl.live.view import View, view_of
from scpo_ctrl.record.atomic import is_locked

_PATIENCE = 8  # looks without success before that is said: a save replaces its files one after the other
_AGAIN = 40  # looks between tries, from then on, at what has not changed: it may be large


class Watched:
    """The latest view of a folder, which may not be there yet, and may be made again.

    Parameters
    ----------
    path : pathlib.Path
        The RUN folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._saved: Saved | None = None
        self._marks: list[tuple[str, int, int, int]] = []  # of what is shown
        self._tried = self._marks  # of what was last read, or could not be
        self._is_writing = False
        self._failures, self._trouble = 0, ""
        self._changed = threading.Condition()
        self._view: View | None = view_of(path, None, False)  # None once nobody looks any more
        self._version = 1

    def look(self) -> None:
        """Read what has changed; one thread calls it now and then."""
        found = marks(self.path)
        is_writing = is_locked(self.path)
        if self._is_known(found, is_writing):
            return
        self._tried = found
        try:
            saved = self._read(found)
            view = view_of(self.path, saved, is_writing)
        except Exception as error:  # a record may say whatever its writer wants; the page goes on
            self._failures += 1
            if self._failures >= _PATIENCE and self._trouble != (trouble := self._words(error)):
                self._trouble = trouble
                self._show(view_of(self.path, self._saved, is_writing, trouble))
            return
        self._saved, self._marks, self._is_writing, self._failures, self._trouble = saved, found, is_writing, 0, ""
        self._show(view)

    def wait(self, version: int, seconds: float) -> tuple[int, View | None]:
        """Wait for another view than that of a version.

        Parameters
        ----------
        version : int
            0 for none.
        seconds : float
            At most.

        Returns
        -------
        version : int
        view : View or None
            None where nobody looks any more.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._version != version, seconds)
            return self._version, self._view

    def close(self) -> None:
        """Let everybody who waits go."""
        self._show(None)

    def _is_known(self, found: list[tuple[str, int, int, int]], is_writing: bool) -> bool:
        """Whether what is there is what is shown, or could not be read a moment ago."""
        if not self._failures:
            return found == self._marks and is_writing == self._is_writing
        if found != self._tried or self._failures < _PATIENCE:
            return False
        self._failures += 1
        return self._failures % _AGAIN != 0

    def _words(self, error: Exception) -> str:
        """Say why a record cannot be shown."""
        reason = str(error) if isinstance(error, ScpoError) else f"{self.path}: the record is damaged ({cause(error)})"
        return f"{reason.rstrip('.')}. Trying again; what is shown is of the last save that could be read."

    def _read(self, found: list[tuple[str, int, int, int]]) -> Saved | None:
        """Read a save, all of it from the one that was found."""
        if found == self._marks:
            return self._saved
        if not found:  # nothing is there, or not any more
            return None
        saved = read_saved(self.path)
        for is_writing in (False, True):  # whoever writes may come and go while this is shown
            view_of(self.path, saved, is_writing)
        if found != marks(self.path):
            raise RecordError(f"{self.path}: another save came in between.")
        return saved

    def _show(self, view: View | None) -> None:
        with self._changed:
            self._view = view
            self._version += 1
            self._changed.notify_all()
