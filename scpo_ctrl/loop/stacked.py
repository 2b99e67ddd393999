"""Expressions on stacks of numbers, for what steps a black box."""

import casadi as ca
import numpy as np


class StackedFunction:
    """A CasADi function of columns as one of stacks, the last axis of each for a column.

    Parameters
    ----------
    function : casadi.Function
    """

    def __init__(self, function: ca.Function) -> None:
        self._function = function
        self._mapped: dict[int, ca.Function] = {}

    def __call__(self, *stacks: np.ndarray) -> list[np.ndarray]:
        """Return its results; not a number where a state or an input is none, whatever the expression makes of it.

        Parameters
        ----------
        *stacks : numpy.ndarray, shape (..., n)
            Of one shape but for the last axis.

        Returns
        -------
        list of numpy.ndarray, shape (..., n)
        """
        shape = stacks[0].shape[:-1]
        count = int(np.prod(shape))
        if count not in self._mapped:
            self._mapped[count] = self._function.map(count)
        columns = [np.ascontiguousarray(stack.reshape(count, -1).T) for stack in stacks]
        found = self._mapped[count].call([ca.DM(column) for column in columns])
        lost = np.any([np.isnan(column).any(axis=0) for column in columns], axis=0)
        rows = [self._function.numel_out(k) for k in range(self._function.n_out())]  # of some functions none
        results = [np.array(result).reshape(size, count).T for result, size in zip(found, rows, strict=True)]
        for result in results:
            result[lost] = np.nan
        return [result.reshape(*shape, size) for result, size in zip(results, rows, strict=True)]
