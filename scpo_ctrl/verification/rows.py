"""Expressions evaluated at rows of arguments."""

from typing import Any

import casadi as ca
import numpy as np


class AtRows:
    """Evaluates functions at rows of arguments; what CasADi builds for a number of rows is kept for the next step."""

    def __init__(self) -> None:
        self._built: dict[tuple[str, int], ca.Function] = {}

    def __call__(self, function: ca.Function, *rows: np.ndarray) -> Any:
        """Return what a function returns, a column for each row.

        Parameters
        ----------
        function : casadi.Function
            Of columns; of a name of its own.
        *rows : numpy.ndarray, shape (n, ...)

        Returns
        -------
        casadi.DM or tuple of casadi.DM
        """
        key = function.name(), len(rows[0])
        if key not in self._built:
            self._built[key] = function.map(key[1])
        return self._built[key](*(part.T for part in rows))
