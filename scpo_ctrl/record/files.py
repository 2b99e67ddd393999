"""What a RUN folder holds: the arrays of a history, their digest, and loading them again."""

import hashlib
import json
from collections.abc import Collection
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from scpo_ctrl.adaptation.history import AuditRow, History, audit_column, audits_from_columns
from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.adaptation.status import RunStatus
from scpo_ctrl.errors import RecordError
from scpo_ctrl.loop.batch import Scenarios
from scpo_ctrl.places import no_run
from scpo_ctrl.problem.problem import Problem
from scpo_ctrl.reading import LARGEST_ARRAYS, LARGEST_DATA, opened, parsed_json, read_bytes, read_text, unpacked
from scpo_ctrl.record import toml
from scpo_ctrl.record.atomic import steadily
from scpo_ctrl.record.config import IMITATION_FILE, ProblemFile, read_problem_file
from scpo_ctrl.validate import as_path

FORMAT = 2  # of a record; since 2, θ counts in units of the bounds
_STATE, _GUARD, _AUDIT = "state_", "guard_", "audit_"


def history_arrays(result: Result) -> dict[str, np.ndarray]:
    """Return all that is recorded: a row per tried step, the scenarios, and the state to resume from.

    Parameters
    ----------
    result : Result

    Returns
    -------
    dict of str to numpy.ndarray
    """
    arrays = {"format": np.array(FORMAT)} | result.history.columns()
    batch = getattr(result.problem, "scenarios", None)
    if batch is not None:
        arrays |= {"scenario_x0": batch.x0, "scenario_p": batch.p, "scenario_w": batch.w}
    one_step = getattr(result.problem, "one_step", None)
    if one_step is not None:
        arrays |= {f"cloud_{key}": getattr(one_step.cloud, key) for key in ("x0", "p", "w")}
    if result.guards is not None:
        arrays |= {f"{_GUARD}{key}": getattr(result.guards, key) for key in ("x0", "p", "w")}
        arrays |= {_AUDIT + field.name: audit_column(result.audits, field.name) for field in fields(AuditRow)}
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


def digest(arrays: dict[str, np.ndarray], problem_text: str, csv_data: bytes = b"") -> str:
    """Return the SHA-256 of the recorded arrays, the problem file and the data it imitates.

    Parameters
    ----------
    arrays : dict of str to numpy.ndarray
    problem_text : str
        Its [adapt] steps do not count: they may change when a run is resumed.
    csv_data : bytes
        Content of imitation.csv, if the problem has one.

    Returns
    -------
    str
    """
    tables = toml.loads(problem_text)
    tables.get("adapt", {}).pop("steps", None)
    total = hashlib.sha256(json.dumps(tables, sort_keys=True, default=str).encode())
    total.update(csv_data)
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {array.dtype.str} {array.shape}".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def load_arrays(path: str | Path, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Read history.npz of a RUN folder.

    Parameters
    ----------
    path : str or pathlib.Path
        The RUN folder.
    names : collection of str, optional
        Of the arrays that are wanted; all by default.

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
        with opened(file, LARGEST_ARRAYS) as handle:
            return unpacked(handle, LARGEST_ARRAYS, names)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise no_run(Path(path)) from error
    except OSError as error:
        raise RecordError(f"{file}: cannot be read: {error.strerror or error}; restore it or run again") from error
    except ValueError as error:
        raise RecordError(f"{file}: is damaged ({error}); restore it or run again") from error


def check_format(path: str | Path, arrays: dict[str, np.ndarray]) -> None:
    """Refuse a record whose parameters mean another controller now.

    Parameters
    ----------
    path : str or pathlib.Path
        The RUN folder, or its learned.npz, for the message.
    arrays : dict of str to numpy.ndarray
        What was read.

    Raises
    ------
    RecordError
        If another version wrote it.
    """
    found = arrays.get("format")
    if found is None or found.shape != () or int(found) != FORMAT:
        raise RecordError(
            f"{path}: was written by an {'earlier' if found is None else 'other'} version, whose theta is another "
            "controller here: entries of theta now count in units of the bounds; run `adapt` again into a new folder, "
            "or use the version that result.json names"
        )


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
        summary = parsed_json(read_text(file), finite=False)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RecordError(f"{file}: is missing or damaged ({reason}); restore it or run again") from error
    if not isinstance(summary, dict):
        raise RecordError(f"{file}: is damaged (it is no JSON object); restore it or run again")
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

    Examples
    --------
    After the example of `adapt`:

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sc.save_result(result, f"{folder}/run")
    ...     again = sc.load_result(f"{folder}/run")
    >>> bool((again.theta == result.theta).all())
    True
    """
    path = as_path("path", path)

    def read() -> Result:
        arrays = load_arrays(path)  # first: whether it is a RUN folder at all
        return load_state(path, read_run(path), arrays)

    return steadily(path, read)


def read_run(path: Path) -> ProblemFile:
    """Read the problem of a RUN folder. One that says nothing of gradients is older than the choice: they are sampled.

    Parameters
    ----------
    path : pathlib.Path
        The RUN folder.

    Returns
    -------
    ProblemFile

    Raises
    ------
    ScpoError
        If the problem file does not hold.
    """
    return read_problem_file(path / "problem.toml").with_gradients("sampled")


def read_problem(path: Path) -> tuple[str, bytes]:
    """Read what the digest of a RUN folder covers besides its history.

    Parameters
    ----------
    path : pathlib.Path
        The RUN folder.

    Returns
    -------
    text : str
        Of problem.toml.
    csv_data : bytes
        Of imitation.csv; empty if there is none.

    Raises
    ------
    RecordError
        If a file is missing or damaged.
    """
    file = path / "problem.toml"
    try:
        text = read_text(file)
        toml.loads(text)
        file = path / IMITATION_FILE
        return text, read_bytes(file, LARGEST_DATA) if file.exists() else b""
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RecordError(f"{file}: is missing or damaged ({reason}); restore it or run again") from error


def load_state(path: Path, file: ProblemFile, arrays: dict[str, np.ndarray]) -> Result:
    """Read the last complete state of a RUN folder whose problem is known.

    Parameters
    ----------
    path : pathlib.Path
        The RUN folder.
    file : ProblemFile
        Read from its problem.toml.
    arrays : dict of str to numpy.ndarray
        Read from its history.npz.

    Returns
    -------
    Result

    Raises
    ------
    RecordError
        If a file is missing or damaged, or the files do not belong together.
    """
    check_format(path, arrays)
    arrays = dict(arrays)
    try:
        stored = str(arrays.pop("digest"))
        if stored != digest(arrays, *read_problem(path)):
            raise RecordError(
                f"{path}: history.npz and problem.toml do not belong together, or were changed (the digest differs); "
                "run again into a new folder"
            )
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
            seconds=float(load_summary(path)["seconds"]),
            stationarity=float(arrays[_STATE + "stationarity"]),
            guards=_guards(arrays, file.problem),
            audits=audits_from_columns({field.name: arrays.get(_AUDIT + field.name) for field in fields(AuditRow)}),
            state={key.removeprefix(_STATE): value for key, value in arrays.items() if key.startswith(_STATE)},
        )
    except RecordError:
        raise
    except (LookupError, ValueError, TypeError) as error:
        raise RecordError(
            f"{path}: the record is incomplete or damaged ({type(error).__name__}: {error}); restore it or run again"
        ) from error
    shape = (file.problem.theta_dim,)
    if result.theta.shape != shape or result.theta_initial.shape != shape or result.history.theta_dim != shape[0]:
        raise RecordError(
            f"{path}: theta has {result.theta.size} entries in history.npz, the problem has {shape[0]}; restore its "
            "problem.toml or run again"
        )
    return result


def _guards(arrays: dict[str, np.ndarray], problem: Problem) -> Scenarios | None:
    """Return the guards of a run that was audited."""
    batch = getattr(problem, "scenarios", None)
    if _GUARD + "x0" not in arrays or batch is None:
        return None
    x0, p, w = (arrays[_GUARD + key] for key in ("x0", "p", "w"))
    return Scenarios(x0, p, w, batch.horizon, batch.declared)
