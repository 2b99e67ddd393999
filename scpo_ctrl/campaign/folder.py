"""The folder of a campaign: what was given, a RUN for each point, failures; all state is in these files."""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import tomli_w

from scpo_ctrl.adaptation.status import RunStatus
from scpo_ctrl.campaign.sweep import Changes, Sweep, changed
from scpo_ctrl.errors import OutputError, ProblemFileError, RecordError
from scpo_ctrl.messages import shown
from scpo_ctrl.places import check_folder, is_run
from scpo_ctrl.reading import LARGEST_LEARNED, parsed_json, read_bytes, read_text
from scpo_ctrl.record.atomic import is_staged, unwritable, write_atomic
from scpo_ctrl.record.config import read_problem_file
from scpo_ctrl.record.files import load_arrays, load_summary
from scpo_ctrl.record.tables import read_tables
from scpo_ctrl.version import __version__

GIVEN, POINTS, FAILED, CAMPAIGN_FILE, PROBLEM_FILE = "given", "points", "failed", "campaign.json", "problem.toml"
FORMAT = 1
_FILE_KEYS = ("csv", "file", "learned")  # whose values name files beside a problem
_NAME = 16  # hexadecimal digits of the name of a point
_UNFINISHED = (RunStatus.RUNNING.name, RunStatus.INTERRUPTED.name)


@dataclass(frozen=True)
class Failure:
    """Why a point has no finished run."""

    reason: str
    again: bool  # whether the machine was at fault, so that going on tries once more


@dataclass(frozen=True)
class Campaign:
    """A campaign in its folder. It knows no more than its files say."""

    folder: Path

    @property
    def problem(self) -> Path:
        """The problem file that points change."""
        return self.folder / GIVEN / PROBLEM_FILE

    @cached_property
    def tables(self) -> dict[str, Any]:
        """What that file says."""
        return read_tables(self.problem)

    @cached_property
    def digest(self) -> str:
        """Of sweep, problem and the files beside it."""
        try:
            found = parsed_json(read_text(self.folder / CAMPAIGN_FILE))["digest"]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise RecordError(f"{self.folder}: has no readable {CAMPAIGN_FILE}; give a folder of a campaign") from error
        return str(found)

    def name(self, changes: Changes) -> str:
        """Return the name of a point: equal ones have one.

        Parameters
        ----------
        changes : dict

        Returns
        -------
        str
        """
        text = json.dumps(changed(self.tables, changes), sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:_NAME]

    def run(self, name: str) -> Path:
        """Return the RUN folder of a point.

        Parameters
        ----------
        name : str

        Returns
        -------
        pathlib.Path
        """
        return self.folder / POINTS / name

    def summary(self, name: str) -> dict[str, Any] | None:
        """Return the numbers of a point whose run is finished.

        Parameters
        ----------
        name : str

        Returns
        -------
        dict or None
            Those of its result.json; None where it is not finished.
        """
        run = self.run(name)
        if not is_run(run):
            return None
        try:
            arrays, summary = load_arrays(run, ("state_status", "digest")), load_summary(run)
        except RecordError:
            return None
        whole = {"state_status", "digest"} <= arrays.keys() and str(arrays["digest"]) == summary.get("digest")
        return summary if whole and str(arrays["state_status"]) not in _UNFINISHED else None

    def failure(self, name: str) -> Failure | None:
        """Return why a point failed.

        Parameters
        ----------
        name : str

        Returns
        -------
        Failure or None
            None where it did not.
        """
        try:
            found = Failure(**parsed_json(read_text(self._failure_file(name))))
        except (OSError, ValueError, TypeError):
            return None
        return found if isinstance(found.reason, str) and isinstance(found.again, bool) else None

    def fail(self, name: str, failure: Failure) -> None:
        """Record that a point failed; a disk that is full is left for the next try.

        Parameters
        ----------
        name : str
        failure : Failure
        """
        with contextlib.suppress(OutputError):
            write_atomic(self._failure_file(name), json.dumps(vars(failure), indent=2).encode())

    def forgive(self, name: str) -> None:
        """Remove what is recorded of an earlier failure.

        Parameters
        ----------
        name : str
        """
        self._failure_file(name).unlink(missing_ok=True)

    def is_settled(self, name: str) -> bool:
        """Return whether a point needs no run any more.

        Parameters
        ----------
        name : str

        Returns
        -------
        bool
        """
        failure = self.failure(name)
        return (failure is not None and not failure.again) or self.summary(name) is not None

    def _failure_file(self, name: str) -> Path:
        return self.folder / FAILED / f"{name}.json"


@contextmanager
def opened(out: Path, sweep: Sweep) -> Iterator[Campaign]:
    """Make the folder of a campaign, or go on with it; locked against other processes of the same machine.

    Parameters
    ----------
    out : pathlib.Path
    sweep : Sweep

    Yields
    ------
    Campaign

    Raises
    ------
    OutputError
        If it cannot be written, another process is at work there, or it holds something else.
    RecordError
        If it holds another campaign, or what was given to this one has been changed there.
    ProblemFileError
        If the problem, or a file beside it, cannot be read, or does not have a key that is swept.
    """
    check_folder(out)
    given = _given(sweep)
    digest = hashlib.sha256(b"".join(_framed(name, data) for name, data in sorted(given.items()))).hexdigest()
    if not _is_begun(out, digest):
        _check_first(sweep)
    try:
        for folder in (out / GIVEN, out / POINTS, out / FAILED):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(out, error) from error
    with _locked(out):
        is_begun = _is_begun(out, digest)  # by now
        for name, data in given.items():
            _give(out / GIVEN / name, data, is_begun=is_begun)
        if not is_begun:
            facts = {"format": FORMAT, "digest": digest, "points": sweep.count, "version": __version__}
            write_atomic(out / CAMPAIGN_FILE, json.dumps(facts, indent=2).encode())
        yield Campaign(out)


def _is_begun(out: Path, digest: str) -> bool:
    """Return whether a folder holds this campaign already; refuse one that holds something else."""
    found = sorted(entry.name for entry in out.iterdir()) if out.exists() else []
    if CAMPAIGN_FILE in found:
        if Campaign(out).digest != digest:
            raise RecordError(
                f"{out}: holds another campaign, of other points, problem or data; choose another --out, or go on with "
                f"{out / GIVEN / 'sweep.toml'}"
            )
        return True
    made = {GIVEN, *(name for name in (POINTS, FAILED) if name in found and not any((out / name).iterdir()))}
    for name in found:  # what a process that was killed has left at the beginning is no hindrance
        if name not in made and not is_staged(name, (CAMPAIGN_FILE,)):
            raise OutputError(f"{out}: holds {name!r} but no campaign; choose another --out")
    return False


def _give(path: Path, data: bytes, *, is_begun: bool) -> None:
    """Write a file that points are made of, unless a campaign that has begun has it; refuse another one."""
    if not is_begun or not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(path, error) from error
        write_atomic(path, data)
        return
    try:
        is_same = read_bytes(path, LARGEST_LEARNED) == data
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}; remove it, and it is written anew") from error
    if not is_same:
        raise RecordError(
            f"{path}: was changed since the campaign began, so that further points would be of another problem; remove "
            "it, and it is written anew, or choose another --out for what it says now"
        )


def _given(sweep: Sweep) -> dict[str, bytes]:
    """Return the files of a campaign: sweep and problem, and what these name beside the problem."""
    tables = read_tables(sweep.problem)
    first = changed(tables, sweep.changes(0))
    files = {"sweep.toml": tomli_w.dumps(sweep.tables | {"problem": PROBLEM_FILE}).encode()}
    files[PROBLEM_FILE] = tomli_w.dumps(tables).encode()
    drawn = {key: draw.values for key, draw in sweep.draws.items()}
    swept = [{key.rpartition(".")[2]: v} for part in (sweep.grid, sweep.rows, drawn) for key in part for v in part[key]]
    for name in sorted({*_named(first), *_named(swept)}):
        path = Path(name)
        if path.is_absolute() or ".." in path.parts:
            raise ProblemFileError(
                f"{sweep.problem}: names {shown(name)}, which is not in its folder; put it there, as a campaign "
                "keeps a copy of all that it needs"
            )
        if (source := sweep.problem.parent / path).is_file():  # else the point itself says what is missing
            try:
                files[str(path)] = read_bytes(source, LARGEST_LEARNED)
            except OSError as error:
                raise ProblemFileError(
                    f"{source}: cannot be read: {error.strerror}; give a file that exists"
                ) from error
    return files


def _named(value: Any) -> Iterator[str]:
    """Yield the names of files in the tables of a problem."""
    for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(entry, (dict, list)):
            yield from _named(entry)
        elif key in _FILE_KEYS and isinstance(entry, str):
            yield entry


def _check_first(sweep: Sweep) -> None:
    """Refuse a sweep over a key that the problem does not have: no point could be run."""
    try:
        tables = changed(read_tables(sweep.problem), sweep.changes(0))
        read_problem_file(sweep.problem, tables=tables, trust=True)
    except ProblemFileError as error:
        for key in sweep.keys:
            if f"[{key.partition('.')[0]}] unknown key {shown(key.rpartition('.')[2])}" in str(error):
                raise ProblemFileError(f"{error}; the sweep changes {key}") from error
    except Exception:  # of this point alone, perhaps: its failure is recorded
        return


def _framed(name: str, data: bytes) -> bytes:
    return f"{name} {len(data)}\n".encode() + data


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Keep other processes from this campaign, until this one ends, however it ends."""
    handle = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            raise OutputError(
                f"{out}: another process is at work there; wait for it, or choose another --out"
            ) from error
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(handle)
