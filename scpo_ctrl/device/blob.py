"""Parameters as the bytes that exported C reads and writes: `scpo_blob_read`, `scpo_blob_write`, the parameter store.

    0  "SCPO"            8  count of numbers      24  zero
    4  format            12 sequence number       28  CRC-32 of bytes 0…27 and the numbers
    5  bytes of a number 16 problem hash, 8 bytes 32  the numbers, IEEE 754
    6  zero

All numbers are little-endian, whatever the processor.
"""

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.errors import BlobError, DomainError
from scpo_ctrl.validate import as_array, as_choice, as_count

FORMAT = 1  # of these bytes; has nothing to do with the version of the package
HEADER = struct.Struct("<4sBBHII8sI")  # all but the CRC
_MAGIC = b"SCPO"
_TYPES: dict[str, np.dtype[Any]] = {"float": np.dtype("<f4"), "double": np.dtype("<f8")}
_START = HEADER.size + 4  # of the numbers


@dataclass(frozen=True)
class Blob:
    """What a blob holds."""

    theta: np.ndarray  # (d,) as doubles
    sequence: int  # of its record, 0…2³²-1; it wraps around
    real: str  # "float" or "double", the type of its numbers


def encode(theta: ArrayLike, problem_hash: bytes, sequence: int = 0, real: str = "float") -> bytes:
    """Return parameters as a blob, the same bytes that the C of an export writes.

    Parameters
    ----------
    theta : array_like, shape (d,)
        Rounded to `real`.
    problem_hash : bytes
        Eight, from `scpo_ctrl.problem.identity.problem_hash`; `SCPO_PROBLEM_HASH` of an export.
    sequence : int
        0…2³²-1. Of blobs that are sent, a receiver may insist that it grows.
    real : str
        "float" or "double", as the export was made.

    Returns
    -------
    bytes
        32 and 4 or 8 for each parameter.

    Raises
    ------
    DomainError, DimensionError
        If θ is no vector of finite numbers that fit the type, or another argument is out of range.
    """
    kind = _TYPES[as_choice("real", real, tuple(_TYPES))]
    values = as_array("theta", theta, (None,))
    with np.errstate(over="ignore"):
        numbers = values.astype(kind)
    for i in np.flatnonzero(~np.isfinite(numbers)):
        raise DomainError(f"theta[{i}] = {values[i]:g} does not fit {real}; encode it with real = 'double'")
    sequence = as_count("sequence", sequence, at_most=2**32 - 1)
    head = HEADER.pack(_MAGIC, FORMAT, kind.itemsize, 0, len(numbers), sequence, _as_hash(problem_hash), 0)
    data = numbers.tobytes()
    return head + struct.pack("<I", zlib.crc32(data, zlib.crc32(head))) + data


def decode(blob: bytes, problem_hash: bytes) -> Blob:
    """Return the parameters of a blob, after checking all that the C checks.

    Parameters
    ----------
    blob : bytes
        From `encode`, from `scpo_blob_write`, or a record of the store.
    problem_hash : bytes
        Eight, of the problem that the parameters are for.

    Returns
    -------
    Blob

    Raises
    ------
    BlobError
        If the blob is cut off or damaged, of another format, or of another problem.
    """
    wanted, blob = _as_hash(problem_hash), bytes(blob)
    if len(blob) < _START:
        raise BlobError(
            f"the blob has {len(blob)} bytes, fewer than its header of {_START}; it is cut off: send it again"
        )
    magic, version, size, zero, count, sequence, found, last = HEADER.unpack_from(blob)
    if magic != _MAGIC:
        raise BlobError(f"the bytes begin with {magic!r}, not {_MAGIC!r}; they are no blob of parameters")
    kinds = {kind.itemsize: real for real, kind in _TYPES.items()}
    if version != FORMAT or zero != 0 or size not in kinds:
        raise BlobError(
            f"the blob has format {version} with numbers of {size} bytes; this version of scpo-ctrl reads format "
            f"{FORMAT} with 4 or 8: use the version that the device was exported by"
        )
    if found != wanted or last != 0:
        raise BlobError(
            f"the blob is of problem {found.hex()}, not {wanted.hex()}; take the run that the device was exported from"
        )
    if len(blob) != _START + count * size:
        more = "cut off: send it again" if len(blob) < _START + count * size else "too long: take off what follows it"
        raise BlobError(
            f"the blob has {len(blob)} bytes where {count} numbers make {_START + count * size}; it is {more}"
        )
    if zlib.crc32(blob[_START:], zlib.crc32(blob[: HEADER.size])) != int.from_bytes(
        blob[HEADER.size : _START], "little"
    ):
        raise BlobError("the CRC of the blob is wrong: bytes were changed on the way; send it again")
    theta = np.frombuffer(blob, _TYPES[kinds[size]], offset=_START).astype(float)
    for i in np.flatnonzero(~np.isfinite(theta)):
        raise BlobError(f"theta[{i}] of the blob is {theta[i]}; whoever wrote it must send finite parameters")
    return Blob(theta, sequence, kinds[size])


def _as_hash(value: object) -> bytes:
    if not isinstance(value, bytes | bytearray) or len(value) != 8:
        raise DomainError("problem_hash must be eight bytes, such as problem_hash(problem) returns")
    return bytes(value)
