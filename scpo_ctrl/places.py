"""Files, folders and ports that a user names: looked at before anything slow is imported or computed for them."""

import errno
import os
import stat
from pathlib import Path

from scpo_ctrl.errors import DeviceError, OutputError, ProblemFileError, RecordError


def is_run(path: Path) -> bool:
    """Return whether a folder holds a run.

    Parameters
    ----------
    path : pathlib.Path

    Returns
    -------
    bool
    """
    return (path / "history.npz").exists()


def no_run(path: Path) -> RecordError:
    """Return the error for a path that is no RUN folder.

    Parameters
    ----------
    path : pathlib.Path

    Returns
    -------
    RecordError
    """
    return RecordError(f"{path}: is not a RUN folder: history.npz is missing; give one that `adapt` wrote")


def check_run(path: Path) -> None:
    """Refuse what is no RUN folder.

    Parameters
    ----------
    path : pathlib.Path

    Raises
    ------
    RecordError
        If it is none.
    """
    if not is_run(path):
        raise no_run(path)


def check_written_run(path: Path) -> None:
    """Refuse what is no RUN folder, or takes no new files.

    Parameters
    ----------
    path : pathlib.Path

    Raises
    ------
    RecordError
        If it is no RUN folder.
    OutputError
        If it cannot be written.
    """
    check_run(path)
    if not os.access(path, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: is not writable, and what comes out is saved there; make the folder writable")


def check_future_run(path: Path) -> None:
    """Refuse what can never become a RUN folder: something else is there.

    Parameters
    ----------
    path : pathlib.Path

    Raises
    ------
    RecordError
        If there is something that is no folder.
    """
    if path.exists() and not path.is_dir():
        raise RecordError(f"{path}: is not a folder; give the RUN folder that `adapt --out` names")


def check_file(path: Path) -> None:
    """Refuse a file that cannot be read.

    Parameters
    ----------
    path : pathlib.Path

    Raises
    ------
    ProblemFileError
        If there is none, or it is a folder.
    """
    try:
        found = path.stat()
        code = errno.EISDIR if stat.S_ISDIR(found.st_mode) else 0 if os.access(path, os.R_OK) else errno.EACCES
        reason = os.strerror(code) if code else ""
    except OSError as error:
        reason = error.strerror or str(error)
    except ValueError as error:  # a zero byte
        reason = str(error)
    if reason:
        raise ProblemFileError(f"{path}: cannot be read: {reason}; give a file that exists")


def check_folder(path: Path) -> None:
    """Refuse a folder that can neither be made nor written.

    Parameters
    ----------
    path : pathlib.Path

    Raises
    ------
    OutputError
        If it is a file, or is to be made where that is not allowed.
    """
    nearest = next(folder for folder in (path, *path.absolute().parents) if os.path.lexists(folder))
    if not nearest.is_dir():
        which = "" if nearest == path else f"{nearest} "
        raise OutputError(f"{path}: {which}is not a folder; choose another --out")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: {nearest} is not writable; choose another --out")


def check_new_file(path: Path) -> None:
    """Refuse a file that cannot be written.

    Parameters
    ----------
    path : pathlib.Path

    Raises
    ------
    OutputError
        If it is a folder, or in none, or in one that is not writable.
    """
    if path.is_dir() or not path.parent.is_dir():
        raise OutputError(f"{path}: is a folder, or in none; give the name of a file in a folder that exists")
    if path.exists() and not path.is_file():  # a device or a pipe
        raise OutputError(f"{path}: is there, and is not a file; give another name")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: cannot be written: {path.parent} is not writable; choose another folder")


def check_port(path: Path) -> None:
    """Refuse what is no serial line.

    Parameters
    ----------
    path : pathlib.Path

    Raises
    ------
    DeviceError
        If it is not there, not to be used, or no device.
    """
    try:
        is_device = stat.S_ISCHR(path.stat().st_mode)
        reason = "" if is_device else "it is no serial line"
        if is_device and not os.access(path, os.R_OK | os.W_OK):
            reason = os.strerror(errno.EACCES)
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise DeviceError(f"{path} cannot be opened: {reason}; connect the device, and check its name")
