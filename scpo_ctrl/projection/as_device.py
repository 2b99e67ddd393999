"""The projection (E5) as an exported adaptation has it: in its type, with its guesses and multipliers."""

from dataclasses import dataclass

import numpy as np

from scpo_ctrl.errors import DomainError, MissingPackageError
from scpo_ctrl.projection.native import ffi, lib


@dataclass(frozen=True)
class DeviceProjection:
    """An answer with its multipliers."""

    delta: np.ndarray  # (d,)
    multipliers: np.ndarray  # (m,) of delta - u + sum_i multiplier_i (G_i + L_i delta) = 0
    pieces: int  # calls of the device that it takes


def check_sizes(dim: int, rows: int) -> None:
    """Refuse a projection that the compiled one has no room for, or that was not compiled.

    Parameters
    ----------
    dim : int
        Of a step.
    rows : int
        Of the working set, at most.

    Raises
    ------
    DomainError
        That says which size is too large.
    MissingPackageError
        Without the extension.
    """
    if lib is None:
        raise MissingPackageError(
            "the projection in C was not compiled when scpo-ctrl was installed; install it again with a C compiler"
        )
    for name, size, most in (("parameters", dim, lib.SCPO_DEVICE_DIM), ("rows", rows, lib.SCPO_DEVICE_ROWS)):
        if size > most:
            raise DomainError(f"a working set of {size} {name} is more than the {most} of a device; take fewer")


def project_as_device(
    u: np.ndarray,
    c: np.ndarray,
    G: np.ndarray,
    e: np.ndarray,
    L: np.ndarray,
    r: np.floating,
    guess: np.ndarray,
) -> DeviceProjection:
    """Solve (E5).

    Parameters
    ----------
    u : numpy.ndarray, shape (d,)
        C-contiguous, of float64 or float32, as the others are.
    c : numpy.ndarray, shape (m,)
    G : numpy.ndarray, shape (m, d)
    e : numpy.ndarray, shape (m,)
    L : numpy.ndarray, shape (m,)
    r : numpy.float64 or numpy.float32
    guess : numpy.ndarray, shape (m,)
        Multipliers of the rows that are likely to be active, 0 of others.

    Returns
    -------
    DeviceProjection
        Zero where a number is not finite or out of range, as on the device.
    """
    kind = "double" if u.dtype == np.float64 else "float"
    solve = getattr(lib, f"scpo_device_{kind}_solve")
    delta, multipliers = np.zeros_like(u), np.zeros_like(c)
    pieces = ffi.new("int *")

    def address(values: np.ndarray) -> object:
        return ffi.from_buffer(f"{kind}[]", values)

    status = solve(
        u.size, c.size, address(u), address(c), address(G), address(e), address(L), float(r),
        address(guess), address(delta), address(multipliers), pieces,
    )  # fmt: skip
    if status < 0:
        raise MemoryError
    return DeviceProjection(delta, multipliers, int(pieces[0]))
