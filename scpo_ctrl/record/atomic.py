"""Files that are replaced as a whole, and read as a whole, by processes that know nothing of each other."""

import contextlib
import errno
import fcntl
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from scpo_ctrl.errors import OutputError, ScpoError
from scpo_ctrl.stop import uninterrupted

_T = TypeVar("_T")
_STAGED = re.compile(r"\.(.+)\.[0-9a-f]{16}\.tmp")  # files on their way, which a killed process may leave
_PAUSES = (0.01, 0.03, 0.1, 0.3, 1.0)  # s between readings while another process saves


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
    write_together({path: data})


def write_together(files: dict[Path, bytes], *, remove: Iterable[Path] = ()) -> None:
    """Write files so that none is replaced before all are on the disk.

    Parameters
    ----------
    files : dict of pathlib.Path to bytes
        In existing folders; put in place in this order.
    remove : iterable of pathlib.Path
        Removed, where they exist, once the new files are on the disk.

    Raises
    ------
    OutputError
        If one cannot be written; then all are as before, and no temporary file is left.
    """
    with uninterrupted():
        _write_together(files, remove)


def _write_together(files: dict[Path, bytes], remove: Iterable[Path]) -> None:
    staged = {path: path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp") for path in files}
    path = next(iter(files))
    try:
        for path in files:
            if path.exists() and not path.is_file():  # a device or a pipe would be gone
                raise OSError(errno.EINVAL, "is there, and is not a file")
        for path, data in files.items():
            with staged[path].open("xb") as file:  # its mode follows the umask
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for path in remove:
            path.unlink(missing_ok=True)
        for path, temporary in staged.items():
            temporary.replace(path)
        _sync_folders({path.parent for path in files})
    except BaseException as error:
        for temporary in staged.values():
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise unwritable(path, error) from error
        raise


def is_staged(name: str, files: Iterable[str]) -> bool:
    """Return whether a killed process left this file on its way to one of `files`.

    Parameters
    ----------
    name : str
    files : iterable of str

    Returns
    -------
    bool
    """
    match = _STAGED.fullmatch(name)
    return match is not None and match[1] in files


def was_cut_short(path: Path) -> bool:
    """Return whether a process was killed while it wrote to a RUN folder, or is writing now.

    Parameters
    ----------
    path : pathlib.Path
        The RUN folder.

    Returns
    -------
    bool
    """
    return any(_STAGED.fullmatch(entry.name) for entry in path.iterdir())


def unwritable(path: Path, error: OSError) -> OutputError:
    """Return the error that names a path, why it cannot be written, and the remedy.

    Parameters
    ----------
    path : pathlib.Path
    error : OSError

    Returns
    -------
    OutputError
    """
    remedies = dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space")
    remedies[errno.EFBIG] = "raise the limit of a file's size (ulimit -f)"
    remedy = remedies.get(error.errno or 0, "make the folder writable")
    return OutputError(f"{path}: cannot be written: {error.strerror or error}; {remedy} or choose another place")


def steadily(path: Path, read: Callable[[], _T]) -> _T:
    """Return what is read from a RUN folder, all of it from one save, though another process may be saving there.

    Parameters
    ----------
    path : pathlib.Path
        The RUN folder.
    read : callable
        Reads; once more where files were replaced meanwhile.

    Returns
    -------
    object
        Of the last reading.
    """
    for pause in _PAUSES:
        before = stamps(path)
        with contextlib.suppress(ScpoError):
            value = read()
            if before == stamps(path) and not (was_cut_short(path) and is_locked(path)):
                return value
        if before == stamps(path) and not is_locked(path):
            break
        time.sleep(pause)
    return read()


def stamps(path: Path) -> list[tuple[str, int, int, int]]:
    """Return what changes whenever a save replaces a file of a folder; nothing where there is no folder.

    Parameters
    ----------
    path : pathlib.Path

    Returns
    -------
    list of tuple
        Name, inode, time of the last change and size of each file; of the report nothing.
    """
    found: list[tuple[str, int, int, int]] = []
    entries: list[Path] = []
    with contextlib.suppress(OSError):
        entries.extend(path.iterdir())
    for entry in entries:
        with contextlib.suppress(OSError):  # a file on its way that is in its place by now, a link that leads nowhere
            if entry.name != "report.html":
                status = entry.stat()
                found.append((entry.name, status.st_ino, status.st_mtime_ns, status.st_size))
    return sorted(found)


def is_locked(path: Path) -> bool:
    """Return whether a process that is alive is writing to a folder.

    Parameters
    ----------
    path : pathlib.Path

    Returns
    -------
    bool
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)  # a pipe would not open before somebody writes to it
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EWOULDBLOCK, errno.EACCES)
    finally:
        os.close(handle)
    return False


def _sync_folders(folders: Iterable[Path]) -> None:
    """Make renames last through a power cut, where the file system can."""
    for folder in folders:
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
