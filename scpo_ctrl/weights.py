"""Weights as users give them: a matrix, its diagonal, or one number for all entries of the diagonal."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.errors import DomainError
from scpo_ctrl.messages import shown
from scpo_ctrl.validate import as_array, as_scalar, as_stack

ROUNDING = 1e-12  # of an eigenvalue, relative to the diagonal: what is below may be zero


def as_weight(name: str, value: ArrayLike, size: int | None = None, *, definite: bool = False) -> np.ndarray:
    """Return a weight that is positive semidefinite: its diagonal where it has no more, else the matrix.

    Parameters
    ----------
    name : str
        What it is called in messages.
    value : array_like
        A matrix, a diagonal, or a number for all entries of the diagonal.
    size : int, optional
        How many entries the diagonal has to have; None where that is not known yet.
    definite : bool
        Whether it has to be positive definite.

    Returns
    -------
    numpy.ndarray, shape (n,) or (n, n)
        Of a number whose size is not known, shape ().

    Raises
    ------
    DimensionError
        If it has another size.
    DomainError
        If it is not symmetric, or not positive semidefinite, or not definite where it has to be.
    """
    W, range_of_entries = as_stack(name, value), {"above" if definite else "at_least": 0.0}
    if W.ndim == 0:
        number = as_scalar(name, float(W), **range_of_entries)
        return np.asarray(number) if size is None else np.full(size, number)
    square = W.ndim == 2 and W.shape[0] == W.shape[1]
    if W.ndim == 2 and (square or 1 not in W.shape):
        W = as_array(name, W, (len(W) if size is None else size,) * 2)
        if np.any(W[~np.eye(len(W), dtype=bool)]):
            return _checked(name, value, W, definite)
        W = np.diag(W)
    W = as_array(name, W, (size,))
    for i, entry in enumerate(W):
        as_scalar(f"{name}[{i}]", float(entry), **range_of_entries)
    return W


def as_matrix(name: str, value: ArrayLike, size: int) -> np.ndarray:
    """Return a matrix that is given as it is, by its diagonal, or by one number for all entries of that.

    Parameters
    ----------
    name : str
        What it is called in messages.
    value : array_like
    size : int
        Rows and columns of one that is given by its diagonal.

    Returns
    -------
    numpy.ndarray, shape (size, size)
        Or of its own shape, where it was given as it is.

    Raises
    ------
    DimensionError, DomainError
        If it is no such thing.
    """
    W = as_stack(name, value)
    if W.ndim == 0:
        return as_scalar(name, float(W)) * np.eye(size)
    return np.diag(as_array(name, W, (size,))) if W.ndim == 1 else as_array(name, W, (None, None))


def normalised(W: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return roots of the diagonal, and eigenvalues and vectors of the matrix with a diagonal of ones.

    Parameters
    ----------
    W : numpy.ndarray, shape (n, n)
        Symmetric.

    Returns
    -------
    size, values : numpy.ndarray, shape (n,)
    vectors : numpy.ndarray, shape (n, n)
    """
    size = np.sqrt(np.diag(W))
    inverse = np.divide(1.0, size, out=np.ones_like(size), where=size > 0)
    values, vectors = np.linalg.eigh(W * inverse[:, None] * inverse)
    return size, values, vectors


def _checked(name: str, value: Any, W: np.ndarray, definite: bool) -> np.ndarray:
    """Return a matrix that is symmetric, and positive semidefinite or definite."""
    if not np.allclose(W, W.T, rtol=1e-12, atol=0.0):
        raise DomainError(f"{name} is {shown(value)}, not symmetric; give (W + W.T) / 2, which weighs the same")
    W = (W + W.T) / 2
    range_of_entries = {"above" if definite else "at_least": 0.0}
    for i, entry in enumerate(np.diag(W)):
        as_scalar(f"{name}[{i}, {i}]", float(entry), **range_of_entries)
    least = normalised(W)[1].min()
    if definite and not least > 0:
        raise DomainError(f"{name} is {shown(value)}, not positive definite; raise its diagonal")
    if not least >= -ROUNDING * len(W):
        raise DomainError(f"{name} is {shown(value)}, not positive semidefinite; a cost with it has no lower end")
    return W
