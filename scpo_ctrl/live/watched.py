"""A RUN folder that is looked at again and again, and those who wait for something new in it."""

import threading
from pathlib import Path

from scpo_ctrl.errors import RecordError, ScpoError, cause
from scpo_ctrl.live.saved import Saved, marks, read_saved
from scpo_ctrl.live.view import View, view_of
from scpo_ctrl.record.atomic import is_locked

_PATIENCE = 8  # looks without success before that is said: a save replaces its files one after the other


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
        self._is_writing = False
        self._failures = 0
        self._changed = threading.Condition()
        self._view: View | None = view_of(path, None, False)  # None once nobody looks any more
        self._version = 1

    def look(self) -> None:
        """Read what has changed; one thread calls it now and then."""
        found = marks(self.path)
        is_writing = is_locked(self.path)
        if found == self._marks and is_writing == self._is_writing and not self._failures:
            return
        try:
            saved = self._read(found)
            view = view_of(self.path, saved, is_writing)
        except ScpoError as error:
            self._failures += 1
            if self._failures == _PATIENCE:
                trouble = f"{error} Trying again, what is shown is of the last save that could be read."
                self._show(view_of(self.path, self._saved, is_writing, trouble))
            return
        self._saved, self._marks, self._is_writing, self._failures = saved, found, is_writing, 0
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

    def _read(self, found: list[tuple[str, int, int, int]]) -> Saved | None:
        """Read a save, all of it from the one that was found."""
        if found == self._marks:
            return self._saved
        if not found:  # nothing is there, or not any more
            return None
        try:
            saved = read_saved(self.path)
            view_of(self.path, saved, False)
        except (LookupError, ValueError, TypeError, AttributeError) as error:  # a record that says other things
            if isinstance(error, ScpoError):
                raise
            raise RecordError(f"{self.path}: the record is damaged ({cause(error)}); run again.") from error
        if found != marks(self.path):
            raise RecordError(f"{self.path}: another save came in between.")
        return saved

    def _show(self, view: View | None) -> None:
        with self._changed:
            self._view = view
            self._version += 1
            self._changed.notify_all()
