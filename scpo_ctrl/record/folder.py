"""A RUN folder being written: made by its first save, locked while a run goes on, and found again to resume."""

import contextlib
import csv
import errno
import fcntl
import io
import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType

import numpy as np

from scpo_ctrl.adaptation.binding import binding_summary
from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.errors import OutputError, RecordError
from scpo_ctrl.places import check_folder
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.problem.guarded import everywhere
from scpo_ctrl.problem.learned import LEARNED_FILE
from scpo_ctrl.record.atomic import is_staged, unwritable, write_together
from scpo_ctrl.record.config import IMITATION_FILE, ProblemFile
from scpo_ctrl.record.files import digest, history_arrays, load_arrays, load_state, read_run
from scpo_ctrl.record.recorded import CONSTRAINTS_FILE, CONTROLLER_FILE, COST_FILE, PLANT_FILE
from scpo_ctrl.record.samples_file import SAMPLES_FILE

# In the order in which a save puts them in place: a folder with a history has all of a run.
FILES = (
    "theta.npy",
    "result.json",
    IMITATION_FILE,
    LEARNED_FILE,
    PLANT_FILE,
    CONTROLLER_FILE,
    CONSTRAINTS_FILE,
    COST_FILE,
    "problem.toml",
    "history.npz",
    SAMPLES_FILE,
    "report.html",
)

_LOOKS, _PAUSE = 3, 0.03  # tries to lock a folder, and the time between them [s]
CERTIFICATE_FILE, FALSIFIED_FILE, FALSIFIED_PICTURE = "certificate.json", "falsified.toml", "falsified.png"
SIMULATION_FILE, SIMULATION_PICTURE = "simulation.json", "simulation.png"
# Are of one state of the run; another save removes them.
BACKUP_PROOF_FILE, COVER_FILE, GUARD_FILE = "backup_proof.json", "cover_proof.json", "guard.json"
POLYTOPE_FILE = "polytope_proof.json"
OF_FINAL = (
    CERTIFICATE_FILE,
    BACKUP_PROOF_FILE,
    POLYTOPE_FILE,
    COVER_FILE,
    GUARD_FILE,
    FALSIFIED_FILE,
    FALSIFIED_PICTURE,
    SIMULATION_FILE,
    SIMULATION_PICTURE,
)


class RunFolder:
    """A RUN folder being written. It is made by the first save; a first save that fails leaves nothing behind.

    Use it in a ``with`` statement: it is locked against other processes from its first save to the end.

    Parameters
    ----------
    path : str or pathlib.Path
    file : ProblemFile
        The problem as run.
    overwrite : bool or callable
        Replace an earlier run in the folder, or one of which the callable says so; other files in it are left alone.
        It is asked now, and under the lock once more: another process may have finished a run there meanwhile.

    Raises
    ------
    OutputError
        If the path is a file, or a folder with something else in it, or (without `overwrite`) with a run.
    """

    def __init__(
        self, path: str | Path, file: ProblemFile, *, overwrite: bool | Callable[[Path], bool] = False
    ) -> None:
        self.path, self.file = Path(path), file
        self._overwrite = overwrite
        self._text = file.text()
        self._started = False
        self._lock_handle: int | None = None
        check_folder(self.path)
        self._check_free()

    def _check_free(self) -> None:
        check_free(self.path, self._overwrite)

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock_handle is not None:
            os.close(self._lock_handle)
            self._lock_handle = None

    def save(self, result: Result) -> None:
        """Save the whole state; an interruption, or a disk that is full, leaves the last complete one.

        Parameters
        ----------
        result : Result
            Of the run so far.

        Raises
        ------
        OutputError
            If a file cannot be written.
        RecordError
            If the run is on other scenarios than the problem file's, or from another start.
        """
        if not _is_of(result, self.file):
            raise RecordError(
                f"{self.path}: the run is on other scenarios, or from another start, than the problem file describes, "
                "such as learned ones; save it with save_result into another folder"
            )
        data = self.file.imitation
        csv_data = _csv_bytes(data.x, data.u) if data else b""
        arrays = history_arrays(result)
        total = digest(arrays, self._text, csv_data)
        on_all, guards = everywhere(self.file.problem, result.guards), result.guards.count if result.guards else 0
        before, after = on_all.metrics(np.stack([result.theta_initial, result.theta]))
        summary = result.summary() | {"binding": binding_summary(on_all, before, after, guards), "digest": total}
        contents = {
            "theta.npy": _npy_bytes(result.theta),
            "result.json": (json.dumps(summary, indent=2) + "\n").encode(),
            IMITATION_FILE: csv_data,
            LEARNED_FILE: self.file.learned.data if self.file.learned else b"",
            **self.file.recorded(),
            "problem.toml": self._text.encode(),
            "history.npz": _npz_bytes(arrays | {"digest": np.array(total)}),
        }
        files = {self.path / name: content for name, content in contents.items() if content}
        if not self._started:
            self._start(files)
            return
        try:
            write_together(files, remove=[self.path / name for name in ("report.html", *OF_FINAL)])  # of the earlier
        except OutputError as error:
            raise OutputError(f"{error}; then --resume goes on from the last complete state") from error

    def go_on(self) -> None:
        """Take over the folder and the run in it, an earlier state of the one to be saved; nothing is removed first.

        Raises
        ------
        OutputError
            If another process is writing there, or has put another run there.
        """
        self._lock()
        self._check_free()
        self._remove_staged()
        self._started = True

    def _start(self, files: dict[Path, bytes]) -> None:
        """Make the folder and put the first state in it, in place of an earlier run."""
        made: list[Path] = []
        try:
            for folder in reversed([self.path, *self.path.parents]):
                if not folder.exists():
                    with contextlib.suppress(FileExistsError):  # by another process, this very moment
                        folder.mkdir()
                        made.append(folder)
            self._lock()
            self._check_free()
            self._remove_staged()
            write_together(files, remove=[self.path / name for name in (*OF_FINAL, *reversed(FILES))])
        except BaseException as error:
            for folder in reversed(made):
                with contextlib.suppress(OSError):
                    folder.rmdir()
            if isinstance(error, OSError) and not isinstance(error, OutputError):
                raise unwritable(self.path, error) from error
            raise
        self._started = True

    def _remove_staged(self) -> None:
        """Remove what a killed process left on its way; only under the lock."""
        for path in self.path.iterdir():
            if is_staged(path.name, (*FILES, *OF_FINAL)):
                path.unlink(missing_ok=True)

    def _lock(self) -> None:
        """Keep other processes from writing here until this one ends, however it ends."""
        if self._lock_handle is not None:
            return
        handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            _flock(handle)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                os.close(handle)
                raise OutputError(
                    f"{self.path}: another process is writing there; wait for it, or choose another --out"
                ) from error
            # a file system without locks
        self._lock_handle = handle
        if not (self.path.exists() and os.path.samestat(os.fstat(handle), self.path.stat())):
            raise OutputError(f"{self.path}: another process removed or replaced it; try once more")

    @classmethod
    def resumed(cls, path: str | Path, file: ProblemFile) -> tuple["RunFolder", Result]:
        """Open the folder of an earlier run to go on with.

        Parameters
        ----------
        path : str or pathlib.Path
        file : ProblemFile
            Must be the same problem as the run's, but for [adapt] steps. Where it leaves the gradients to the package,
            the run goes on with those that it began with.

        Returns
        -------
        RunFolder
        Result
            The run's last complete state.

        Raises
        ------
        OutputError
            If another process is writing there.
        RecordError
            If the folder's problem differs, its record is damaged, or it has done more steps than are asked for.
        """
        folder = cls(path, file, overwrite=True)  # nothing is replaced but by a later state
        folder._lock()
        with contextlib.ExitStack() as stack:
            stack.enter_context(folder)  # unlock it where it cannot be resumed
            earlier = read_run(folder.path)
            file = file.with_gradients(earlier.options.gradients)
            _check_same(folder.path, earlier, file)
            result = load_state(folder.path, earlier, load_arrays(folder.path))
            if file.options.steps < result.steps:
                raise RecordError(
                    f"{folder.path}: its run has done {result.steps} steps, [adapt] steps asks for "
                    f"{file.options.steps} in all; ask for more with --steps, or choose another --out"
                )
            folder._remove_staged()
            stack.pop_all()
        folder.file, folder._text, folder._started = file, file.text(), True
        return folder, result


def check_free(path: Path, overwrite: bool | Callable[[Path], bool]) -> None:
    """Refuse a folder with something that is not to be replaced.

    Parameters
    ----------
    path : pathlib.Path
    overwrite : bool or callable
        As of `RunFolder`.

    Raises
    ------
    OutputError
        If there is something.
    """
    try:
        found = _entries(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be read: {error.strerror}; choose another --out") from error
    if found and not is_run(found):
        raise OutputError(f"{path}: holds {found[0]!r} but no run; choose another --out")
    if found and not (overwrite(path) if callable(overwrite) else overwrite):
        raise OutputError(
            f"{path}: holds a run already; choose another --out, or let `scpo-ctrl adapt` go on with it (--resume) or "
            "replace it (--overwrite)"
        )


def _flock(handle: int) -> None:
    """Lock an open folder; one that only looks whether it is locked holds it for a moment."""
    for _ in range(_LOOKS):
        with contextlib.suppress(BlockingIOError, PermissionError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(_PAUSE)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_unfinished(path: Path) -> bool:
    """Return whether a folder holds what a process left that ended within its first save, and no run.

    Parameters
    ----------
    path : pathlib.Path

    Returns
    -------
    bool
    """
    return not (path / "history.npz").exists()


def is_run(names: Iterable[str]) -> bool:
    """Return whether a folder with files of these names holds a run, or the beginning of its first save.

    Parameters
    ----------
    names : iterable of str

    Returns
    -------
    bool
    """
    names = set(names)
    return {"problem.toml", "history.npz"} <= names or ("theta.npy" in names and names <= set(FILES))


def _is_of(result: Result, file: ProblemFile) -> bool:
    """Whether a run is on the scenarios of a problem file, and from its start."""
    problem, other = result.problem, file.problem
    if not isinstance(problem, ControlProblem) or not np.array_equal(problem.theta_initial, other.theta_initial):
        return False
    pairs = [[getattr(of.scenarios, key) for of in (problem, other)] for key in ("x0", "p", "w")]
    return all(np.array_equal(one, another) for one, another in pairs)


def _entries(path: Path) -> list[str]:
    """Names in a folder, but for what a killed process left; none if it does not exist."""
    if not path.exists():
        return []
    return sorted(entry.name for entry in path.iterdir() if not is_staged(entry.name, (*FILES, *OF_FINAL)))


def _check_same(path: Path, earlier: ProblemFile, file: ProblemFile) -> None:
    """Refuse to resume a run of another problem."""
    for section in dict.fromkeys((*file.tables, *earlier.tables)):
        table, there = file.tables.get(section, {}), earlier.tables.get(section, {})
        if there.get("learned_sha256") != table.get("learned_sha256"):
            raise RecordError(
                f"{path}: its problem has other learned scenarios; resume with {path / 'problem.toml'}, or choose "
                "another --out"
            )
        for key in sorted({*table, *there} - {"csv", "learned"}):  # names of files; their contents are compared
            if table.get(key) != there.get(key) and (section, key) != ("adapt", "steps"):
                raise RecordError(
                    f"{path}: its problem differs in [{section}] {key}: {there.get(key, 'not set')!r} there, "
                    f"{table.get(key, 'not set')!r} here; resume with the same problem, or choose another --out"
                )
    old, new = earlier.imitation, file.imitation
    if old and new and not (np.array_equal(old.x, new.x) and np.array_equal(old.u, new.u)):
        raise RecordError(
            f"{path}: its problem differs in [objective] csv: the data are others than in {path / 'imitation.csv'}; "
            "resume with the same data, or choose another --out"
        )


def _npy_bytes(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _npz_bytes(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _csv_bytes(x: np.ndarray, u: np.ndarray) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([f"x{i}" for i in range(x.shape[1])] + [f"u{i}" for i in range(u.shape[1])])
    writer.writerows([[repr(float(value)) for value in row] for row in np.hstack([x, u])])
    return text.getvalue().encode()
