"""The RUN folder: atomic writes, and a history from which a run is resumed and re-verified."""

import contextlib
import csv
import hashlib
import io
import json
import os
import shutil
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from scpo_ctrl.config import ProblemFile, read_problem_file
from scpo_ctrl.errors import OutputError, RecordError
from scpo_ctrl.history import History
from scpo_ctrl.result import Result
from scpo_ctrl.status import RunStatus

FILES = ("problem.toml", "result.json", "history.npz", "theta.npy", "report.html", "imitation.csv")
_STATE = "state_"


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that it is either the old one or the whole new one, whatever happens.

    Parameters
    ----------
    path : pathlib.Path
        In an existing folder.
    data : bytes

    Raises
    ------
    OutputError
        If it cannot be written; no temporary file is left.
    """
    name = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError as error:
        if name:
            Path(name).unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot be written: {error.strerror}; free space or choose another --out") from error


class RunFolder:
    """A RUN folder being written. It is made by the first save; a first save that fails leaves nothing behind.

    Parameters
    ----------
    path : str or pathlib.Path
    file : ProblemFile
        The problem as run.
    overwrite : bool
        Replace an earlier run in the folder.

    Raises
    ------
    OutputError
        If the path is a file, or a folder with something else in it, or (without `overwrite`) with a run.
    """

    def __init__(self, path: str | Path, file: ProblemFile, *, overwrite: bool = False) -> None:
        self.path, self.file, self._started = Path(path), file, False
        try:
            found = sorted(entry.name for entry in self.path.iterdir()) if self.path.is_dir() else []
            if self.path.exists() and not self.path.is_dir():
                raise OutputError(f"{self.path}: is not a folder; choose another --out")
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be read: {error.strerror}; choose another --out") from error
        if found and "problem.toml" not in found:
            raise OutputError(f"{self.path}: holds {found[0]!r} but no run; choose another --out")
        if found and not overwrite:
            raise OutputError(f"{self.path}: holds a run already; add --resume to go on, or choose another --out")
        parent = next(folder for folder in self.path.absolute().parents if folder.exists())
        writable = self.path if self.path.exists() else parent
        if not os.access(writable, os.W_OK | os.X_OK):
            raise OutputError(f"{self.path}: {writable} is not writable; choose another --out")

    def save(self, result: Result) -> None:
        """Save the whole state; an interruption leaves the last complete one.

        Parameters
        ----------
        result : Result
            Of the run so far.

        Raises
        ------
        OutputError
            If a file cannot be written.
        """
        if not self._started:
            self._start(result)
        write_atomic(self.path / "history.npz", history_bytes(result, self.file.text()))
        self._write_summary(result)

    def _start(self, result: Result) -> None:
        first_new = self.path.absolute()
        existed = first_new.exists()
        while not first_new.parent.exists():
            first_new = first_new.parent
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            files = {"problem.toml": self.file.text().encode(), "history.npz": history_bytes(result, self.file.text())}
            if self.file.imitation:
                files["imitation.csv"] = _csv_bytes(self.file.imitation.x, self.file.imitation.u)
            if existed:  # an earlier run: its results go before its problem does, so no mixture can pass for a run
                for name in FILES:
                    (self.path / name).unlink(missing_ok=True)
                shutil.rmtree(self.path / "c", ignore_errors=True)
            for name, data in files.items():
                write_atomic(self.path / name, data)
            self._write_summary(result)
        except OSError as error:
            if existed:
                for name in FILES:
                    with contextlib.suppress(OSError):
                        (self.path / name).unlink(missing_ok=True)
            else:
                shutil.rmtree(first_new, ignore_errors=True)
            if isinstance(error, OutputError):
                raise
            raise OutputError(f"{self.path}: cannot be made: {error.strerror}; choose another --out") from error
        self._started = True

    def _write_summary(self, result: Result) -> None:
        buffer = io.BytesIO()
        np.save(buffer, result.theta)
        write_atomic(self.path / "theta.npy", buffer.getvalue())
        summary = result.summary() | {"digest": digest(history_arrays(result), self.file.text())}
        write_atomic(self.path / "result.json", (json.dumps(summary, indent=2) + "\n").encode())

    @classmethod
    def resumed(cls, path: str | Path, file: ProblemFile) -> "RunFolder":
        """Open the folder of an earlier run to go on with.

        Parameters
        ----------
        path : str or pathlib.Path
        file : ProblemFile
            Must be the same problem as the run's, but for [adapt] steps.

        Returns
        -------
        RunFolder

        Raises
        ------
        RecordError
            If the folder's problem differs.
        """
        folder = cls(path, file, overwrite=True)
        earlier = read_problem_file(folder.path / "problem.toml").tables
        for section, table in file.tables.items():
            for key in sorted({*table, *earlier[section]} - {"csv"}):
                if table.get(key) != earlier[section].get(key) and (section, key) != ("adapt", "steps"):
                    raise RecordError(
                        f"{path}: its problem differs in [{section}] {key}: {earlier[section].get(key)!r} there, "
                        f"{table.get(key)!r} here; resume with the same problem, or start anew in another --out"
                    )
        write_atomic(folder.path / "problem.toml", file.text().encode())
        folder._started = True
        return folder


def history_arrays(result: Result) -> dict[str, np.ndarray]:
    """Return all that is recorded: a row per tried step, the scenarios, and the state to resume from.

    Parameters
    ----------
    result : Result

    Returns
    -------
    dict of str to numpy.ndarray
    """
    arrays = result.history.columns()
    batch = getattr(result.problem, "scenarios", None)
    if batch is not None:
        arrays |= {"scenario_x0": batch.x0, "scenario_p": batch.p, "scenario_w": batch.w}
    arrays |= {
        "theta_initial": result.theta_initial,
        "objective_initial": np.array(result.objective_initial),
        "margin_initial": np.array(result.margin_initial),
    }
    state = result.state | {
        "theta": result.theta,
        "objective": np.array(result.objective_final),
        "step": np.array(result.steps),
        "rollouts": np.array(result.rollouts),
        "status": np.array(result.status.name),
    }
    return arrays | {_STATE + key: value for key, value in state.items()}


def history_bytes(result: Result, problem_text: str) -> bytes:
    """Return the content of history.npz, with a digest over all of it and the problem.

    Parameters
    ----------
    result : Result
    problem_text : str

    Returns
    -------
    bytes
    """
    arrays = history_arrays(result)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays, digest=np.array(digest(arrays, problem_text)))  # type: ignore[arg-type]
    return buffer.getvalue()


def digest(arrays: dict[str, np.ndarray], problem_text: str) -> str:
    """Return the SHA-256 of the recorded arrays and the problem file.

    Parameters
    ----------
    arrays : dict of str to numpy.ndarray
    problem_text : str
        Its [adapt] steps do not count: they may change when a run is resumed.

    Returns
    -------
    str
    """
    tables = tomllib.loads(problem_text)
    tables.get("adapt", {}).pop("steps", None)
    total = hashlib.sha256(json.dumps(tables, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {array.dtype.str} {array.shape}".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def load_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Read history.npz of a RUN folder.

    Parameters
    ----------
    path : str or pathlib.Path
        The RUN folder.

    Returns
    -------
    dict of str to numpy.ndarray

    Raises
    ------
    RecordError
        If the folder or the file is missing or damaged.
    """
    file = Path(path) / "history.npz"
    try:
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise RecordError(f"{path}: is not a RUN folder ({file.name} is missing)") from error
    except Exception as error:
        raise RecordError(f"{file}: is damaged: {error}") from error


def load_summary(path: str | Path) -> dict[str, Any]:
    """Read result.json of a RUN folder.

    Parameters
    ----------
    path : str or pathlib.Path
        The RUN folder.

    Returns
    -------
    dict

    Raises
    ------
    RecordError
        If it is missing or damaged.
    """
    file = Path(path) / "result.json"
    try:
        summary = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{file}: is missing or damaged: {error}") from error
    if not isinstance(summary, dict):
        raise RecordError(f"{file}: is damaged: expected an object")
    return summary


def load_result(path: str | Path) -> Result:
    """Read a RUN folder.

    Parameters
    ----------
    path : str or pathlib.Path
        The RUN folder.

    Returns
    -------
    Result
        With the problem rebuilt from problem.toml.

    Raises
    ------
    RecordError
        If a file is missing or damaged, or the files do not belong together.
    ScpoError
        If the problem file does not hold.
    """
    arrays = load_arrays(path)
    file = read_problem_file(Path(path) / "problem.toml")
    try:
        seconds = float(load_summary(path)["seconds"])
        result = Result(
            problem=file.problem,
            options=file.options,
            status=RunStatus[str(arrays[_STATE + "status"])],
            theta=arrays[_STATE + "theta"],
            theta_initial=arrays["theta_initial"],
            objective_initial=float(arrays["objective_initial"]),
            objective_final=float(arrays[_STATE + "objective"]),
            margin_initial=float(arrays["margin_initial"]),
            history=History.from_columns(arrays),
            steps=int(arrays[_STATE + "step"]),
            rollouts=int(arrays[_STATE + "rollouts"]),
            seconds=seconds,
            state={key.removeprefix(_STATE): value for key, value in arrays.items() if key.startswith(_STATE)},
        )
    except (KeyError, ValueError, TypeError) as error:
        raise RecordError(f"{path}: the record is incomplete or damaged ({error})") from error
    if result.theta.shape != (file.problem.theta_dim,) or result.history.theta_dim != file.problem.theta_dim:
        raise RecordError(f"{path}: theta has {result.theta.size} entries, the problem has {file.problem.theta_dim}")
    return result


def _csv_bytes(x: np.ndarray, u: np.ndarray) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([f"x{i}" for i in range(x.shape[1])] + [f"u{i}" for i in range(u.shape[1])])
    writer.writerows([[repr(float(value)) for value in row] for row in np.hstack([x, u])])
    return text.getvalue().encode()
