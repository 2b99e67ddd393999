"""The discrete LQR of matrices."""

import numpy as np


def dlqr(A: np.ndarray, B: np.ndarray, Q: np.ndarray, R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the gain K and the matrix P of the discrete LQR.

    The numbers are those of `control.dlqr` to the last bit; importing python-control takes more than a second, and most
    commands need no more of it.

    Raises
    ------
    ValueError, numpy.linalg.LinAlgError
        If the Riccati equation has no stabilising solution.
    """
    from scipy.linalg import solve, solve_discrete_are  # takes long to import

    P = solve_discrete_are(A, B, Q, R, s=np.zeros_like(B))
    K = solve(B.T @ P @ B + R, B.T @ P @ A)
    return K, P
