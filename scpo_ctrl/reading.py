"""Reading the files of users: regular ones only, and none larger than what is meant; pipes and devices never end."""

import errno
import json
import os
import stat
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

MIB = 1 << 20
LARGEST_TEXT = 16 * MIB  # of TOML and JSON
LARGEST_DATA = 64 * MIB  # of imitation data
LARGEST_LEARNED = 256 * MIB  # of learned scenarios, also unpacked
LARGEST_ARRAYS = 2048 * MIB  # of a history, also unpacked

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@contextmanager
def opened(path: str | Path, at_most: int) -> Iterator[BinaryIO]:
    """Open a regular file to be read.

    Parameters
    ----------
    path : str or pathlib.Path
    at_most : int
        Largest size [B].

    Yields
    ------
    binary file

    Raises
    ------
    OSError
        If it cannot be read, is no regular file, or is too large; ``strerror`` says so in words.
    """
    _check(Path(path).stat(), path, at_most)  # before it is opened: to open a device may do something
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe put there meanwhile does not block
    with os.fdopen(descriptor, "rb") as file:
        _check(os.fstat(descriptor), path, at_most)
        yield file


def read_bytes(path: str | Path, at_most: int) -> bytes:
    """Return the content of a regular file.

    Parameters
    ----------
    path : str or pathlib.Path
    at_most : int
        Largest size [B].

    Returns
    -------
    bytes

    Raises
    ------
    OSError
        As in `opened`.
    """
    with opened(path, at_most) as file:
        data = file.read(at_most + 1)
    if len(data) > at_most:  # it grew, or has no size, as below /proc
        raise _too_large(path, at_most)
    return data


def read_text(path: str | Path, *, encoding: str = "utf-8") -> str:
    """Return the content of a regular text file of at most LARGEST_TEXT, line ends made alike.

    Parameters
    ----------
    path : str or pathlib.Path
    encoding : str

    Returns
    -------
    str

    Raises
    ------
    OSError
        As in `opened`.
    UnicodeDecodeError
        If it is no text in this encoding.
    """
    return read_bytes(path, LARGEST_TEXT).decode(encoding).replace("\r\n", "\n").replace("\r", "\n")


def parsed_json(text: str | bytes, *, finite: bool = True) -> Any:
    """Return what JSON text says, in which no key is there twice.

    Parameters
    ----------
    text : str or bytes
    finite : bool
        Whether NaN and infinities, which JSON does not know, are refused.

    Returns
    -------
    object

    Raises
    ------
    ValueError
        If it says nothing, or a thing twice.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse if finite else None)
    except RecursionError as error:
        raise ValueError("brackets are nested too deeply") from error


def unpacked(file: BinaryIO, at_most: int, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz.

    Parameters
    ----------
    file : binary file
    at_most : int
        Largest size when unpacked [B].
    names : collection of str, optional
        Of the arrays that are wanted, as far as they are there; all by default.

    Returns
    -------
    dict of str to numpy.ndarray

    Raises
    ------
    ValueError
        If it is damaged or too large.
    """
    try:
        with zipfile.ZipFile(file) as archive:  # reads no more of an entry than the size that it names
            size = sum(entry.file_size for entry in archive.infolist())
        if size > at_most:
            raise ValueError(
                f"it unpacks to {size // MIB} MiB, more than {at_most // MIB} MiB, the limit of such a file"
            )
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files if names is None or name in names}
    except Exception as error:  # whatever numpy and zlib make of damaged bytes
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key is there twice")
    return dict(pairs)


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _check(found: os.stat_result, path: str | Path, at_most: int) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        raise OSError(errno.EINVAL, f"it is {kind}, and only regular files are read", str(path))
    if found.st_size > at_most:
        raise _too_large(path, at_most)


def _too_large(path: str | Path, at_most: int) -> OSError:
    return OSError(errno.EFBIG, f"it is larger than {at_most // MIB} MiB, the limit of such a file", str(path))
