"""The curvature of many parameters in few directions: a Krylov space of the merit's Hessian, by Lanczos's method.

A network of d weights has a Hessian of d² numbers, but a step needs what it does to a few directions. From the gradient
b the vectors b, Hb, H²b … span the space in which conjugate gradients would look for the Newton step; H in an
orthonormal basis of it is a small matrix whose eigenvalues are close to the extreme ones of H, and whose absolute value
makes a norm there (docs/method.md). C. Lanczos, J. Res. Nat. Bur. Standards 45 (1950); every vector is orthogonalised
against all others, twice, since rounding errors lose orthogonality otherwise.
"""

from collections.abc import Callable

import numpy as np

_NEW = 1e-9  # part of a product that must lie outside of the basis to be a new direction; less is rounding


def krylov(product: Callable[[np.ndarray], np.ndarray], first: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Grow a space from a vector by products of a symmetric matrix with the space's own directions.

    Parameters
    ----------
    product : callable
        From a vector (d,) to the matrix times it (d,).
    first : numpy.ndarray, shape (d,)
    count : int
        How many directions, at least 1; there are fewer where the products bring no new ones.

    Returns
    -------
    V : numpy.ndarray, shape (p, d)
        Orthonormal rows; the first one along `first`.
    H : numpy.ndarray, shape (p, p)
        The matrix along them, symmetric.
    """
    basis = _Basis(min(count, first.size), first.size)
    basis.add(first)
    products = np.empty_like(basis.rows)
    done = 0
    while done < basis.count:
        products[done] = product(basis.rows[done])
        basis.add(products[done])
        done += 1
    V = basis.rows[:done]
    H = V @ products[:done].T
    return V, (H + H.T) / 2


class _Basis:
    """Orthonormal rows, of which there are never more than `most`."""

    def __init__(self, most: int, size: int) -> None:
        self.rows, self.count = np.empty((most, size)), 0

    def add(self, vector: np.ndarray) -> None:
        """Take in the part of a vector that is new, if there is one."""
        length = np.linalg.norm(vector)
        if self.count == len(self.rows) or not 0 < length < np.inf:
            return
        rest, known = vector / length, self.rows[: self.count]
        for _ in range(2):
            rest = rest - known.T @ (known @ rest)
        new = np.linalg.norm(rest)
        if new > _NEW:
            self.rows[self.count] = rest / new
            self.count += 1
