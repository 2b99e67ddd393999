"""Value and gradient of an objective that is an expression."""

import casadi as ca
import numpy as np


class Oracle:
    """A CasADi function ``θ -> (ℓ, ∇ℓ)`` as a Python function, which is pickled with it.

    Parameters
    ----------
    function : casadi.Function
    """

    def __init__(self, function: ca.Function) -> None:
        self._function = function

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Return value and gradient.

        Parameters
        ----------
        theta : numpy.ndarray, shape (d,)

        Returns
        -------
        value : float
        gradient : numpy.ndarray, shape (d,)
        """
        value, gradient = self._function(theta)
        return float(value), np.array(gradient)[:, 0]
