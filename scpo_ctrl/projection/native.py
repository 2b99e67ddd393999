"""The projection (E5) by the C source that also runs on devices, compiled when the package was installed."""

import importlib
import threading
from typing import Any

import numpy as np

from scpo_ctrl.projection.cone import Cone, Projection
from scpo_ctrl.projection.status import ProjectionStatus

try:
    _solver: Any = importlib.import_module("scpo_ctrl.projection._solver")
except ImportError:  # installed without a C compiler
    _solver = None
ffi: Any = getattr(_solver, "ffi", None)
lib: Any = getattr(_solver, "lib", None)

_OK, _CAPPED, _UNSAFE_START = 0, 1, 2  # scpo_status in scpo.h
_local = threading.local()  # a call releases the interpreter lock, so each thread has its own scratch memory


def available() -> bool:
    """Return whether the extension was compiled.

    Returns
    -------
    bool
    """
    return lib is not None


def fits(cone: Cone) -> bool:
    """Return whether the extension takes a problem of this dimension.

    Parameters
    ----------
    cone : Cone

    Returns
    -------
    bool
    """
    return bool(cone.u.size <= lib.SCPO_MAX_DIM)


def solve(cone: Cone, guess: np.ndarray | None = None, norms: np.ndarray | None = None) -> Projection | None:
    """Solve (E5).

    Parameters
    ----------
    cone : Cone
        Of C-contiguous arrays of the right shapes and types, as the next two are.
    guess : numpy.ndarray of int64, shape (k,), optional
        Constraints likely to be active.
    norms : numpy.ndarray, shape (m,), optional
        Norms of the rows of G.

    Returns
    -------
    Projection or None
        None where a number, also one of guess and norms, is not finite or out of range.
    """
    work = _workspace()
    delta = np.empty(cone.u.size)
    address, double = ffi.from_buffer, "double[]"
    status = lib.scpo_host_project(
        cone.u.size, cone.c.size, address(double, cone.u), address(double, cone.c), address(double, cone.G),
        address(double, cone.e), address(double, cone.L), cone.r,
        work.nothing if norms is None else address(double, norms),
        work.nothing if guess is None else address("long long[]", guess), 0 if guess is None else guess.size,
        work.scratch, address(double, delta), work.active_address, work.info_address,
    )  # fmt: skip
    active = work.active
    held, iterations, inside = work.info.tolist()
    if status == _OK:
        outcome = ProjectionStatus.INSIDE if inside else ProjectionStatus.SOLVED
        return Projection(delta, outcome, iterations, active[:held].astype(np.int64))
    if status == _CAPPED:
        return Projection(delta, ProjectionStatus.CAPPED, iterations, active[:held].astype(np.int64))
    if status == _UNSAFE_START:
        return Projection(delta, ProjectionStatus.UNSAFE_START, 0, np.flatnonzero(cone.c > 0))
    return None


class _Workspace:
    """Scratch memory of a thread."""

    def __init__(self) -> None:
        self.scratch = ffi.new_allocator(should_clear_after_alloc=False)("scpo_workspace *")  # touched as far as used
        self.active = np.zeros(lib.SCPO_SLOTS, dtype=np.int32)
        self.info = np.zeros(3, dtype=np.int32)
        self.active_address, self.info_address = (ffi.from_buffer("int[]", x) for x in (self.active, self.info))
        self.nothing = ffi.NULL


def _workspace() -> _Workspace:
    if not hasattr(_local, "work"):
        _local.work = _Workspace()
    work: _Workspace = _local.work
    return work
