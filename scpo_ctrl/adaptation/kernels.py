"""What a step computes besides rollouts, in C: passes over all metrics, the root of a small matrix.

Without a compiler numpy does the same, to rounding.
"""

import functools
import importlib.resources
from typing import Any

import numpy as np
from cffi import FFI

from scpo_ctrl.compiled import compile_library
from scpo_ctrl.errors import CompilerError, DimensionError

_FILES = {"scpo_ctrl.engine": ("lanes.h",), "scpo_ctrl.adaptation": ("passes.c", "root.c")}
_FACTORS = 8  # slacks whose product is a number

_ffi = FFI()
_ffi.cdef(
    """
    double kernel_log_slacks(const double *g, long count, double least, double most);
    long kernel_within_reach(const double *g, const double *squares, const double *L, const unsigned char *varies,
                             long count, double reach, double bend, double error, int64_t *rows);
    int kernel_inverse_root(long n, const double *H, double damping, double *root);
    """
)


@functools.cache
def library() -> Any:
    """Return the compiled kernels, None where they cannot be compiled, written or loaded.

    Returns
    -------
    cffi library or None
        Calls release the interpreter lock.
    """
    sources = {
        name: importlib.resources.files(package).joinpath("c", name).read_text(encoding="utf-8")
        for package, names in _FILES.items()
        for name in names
    }
    try:
        return _ffi.dlopen(str(compile_library(sources, native=True)))
    except (CompilerError, OSError):
        return None


def log_slacks(g: np.ndarray, least: float, most: float) -> float:
    """Return Σ log(-g_i), with -g_i taken for `least` below it and for `most` above.

    Parameters
    ----------
    g : numpy.ndarray, shape (m,)
    least, most : float
        Eight of either multiply to a number.

    Returns
    -------
    float
        Minus infinity where a metric is above zero or not a number.
    """
    kernels = library()
    if kernels is not None:
        return float(kernels.kernel_log_slacks(_doubles(g), g.size, least, most))
    if not np.max(g, initial=0.0) <= 0:
        return -np.inf
    slacks = np.minimum(np.maximum(-g, least), most)
    whole = slacks.size // _FACTORS * _FACTORS
    products = slacks[:whole].reshape(_FACTORS, -1).prod(axis=0)  # a product costs less than a logarithm
    return float(np.log(products).sum() + np.log(slacks[whole:]).sum())


def within_reach(
    g: np.ndarray, squares: np.ndarray, L: np.ndarray, varies: np.ndarray, *, reach: float, bend: float, error: float
) -> np.ndarray | None:
    """Return which metrics vary and can come to zero: g + reach √squares + bend L > -error.

    Parameters
    ----------
    g, squares, L : numpy.ndarray, shape (m,)
        Metrics, their gradients' squared norms and their smoothness constants.
    varies : numpy.ndarray, shape (m,), bool
    reach, bend, error : float

    Returns
    -------
    numpy.ndarray of int, or None
        Indices, None where one of `squares` is not finite.

    Raises
    ------
    DimensionError
        If the sizes differ.
    """
    if not g.size == squares.size == L.size == varies.size:  # C reads them unchecked
        raise DimensionError(f"{g.size} metrics, {squares.size} squares, {L.size} constants and {varies.size} flags")
    kernels = library()
    if kernels is not None:
        rows, flags = np.empty(g.size, dtype=np.int64), np.ascontiguousarray(varies, dtype=bool)
        count = kernels.kernel_within_reach(
            _doubles(g), _doubles(squares), _doubles(L), _ffi.from_buffer("unsigned char[]", flags), g.size,
            reach, bend, error, _ffi.from_buffer("int64_t[]", rows),
        )  # fmt: skip
        return rows[:count].copy() if count >= 0 else None
    if not np.max(squares, initial=0.0) < np.inf:
        return None
    nearest = g + reach * np.sqrt(squares)
    nearest += bend * L
    return np.flatnonzero((nearest > -error) & varies)


def inverse_root(H: np.ndarray, damping: float) -> np.ndarray:
    """Return (|H| + damping)^(-1/2), |H| by absolute eigenvalues.

    Parameters
    ----------
    H : numpy.ndarray, shape (d, d)
        Symmetric.
    damping : float

    Returns
    -------
    numpy.ndarray, shape (d, d)
        Symmetric.
    """
    kernels = library()
    if kernels is not None:
        d = len(H)
        root = np.empty((d, d))
        if kernels.kernel_inverse_root(d, _doubles(H.reshape(d, d)), damping, _doubles(root)):
            return root
    values, vectors = np.linalg.eigh(H)
    return np.asarray((vectors / np.sqrt(np.abs(values) + damping)) @ vectors.T)


def _doubles(array: np.ndarray) -> Any:
    return _ffi.from_buffer("double[]", np.ascontiguousarray(array, dtype=float))
