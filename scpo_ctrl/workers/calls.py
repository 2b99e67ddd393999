"""Calls of a simulator in a worker, whose failures are results; light to import, as workers may start often."""

from collections.abc import Callable
from typing import Any

import numpy as np

from scpo_ctrl.errors import cause
from scpo_ctrl.validate import REAL, as_function
from scpo_ctrl.workers.processes import Lost

Stack = tuple[np.ndarray, np.ndarray, np.ndarray]  # x (n, nx), u (n, nu), p (n, np)


class Calls:
    """Calls of what a process has made for itself, such as an instance of a simulator.

    Parameters
    ----------
    factory : callable
        Makes a function of arrays, that returns one of the shape of the first.
    """

    def __init__(self, factory: Callable[[], Callable[..., Any]]) -> None:
        self._step = as_function("what the factory makes", factory())

    def __call__(self, stack: Stack) -> Any:
        """Return the next states, or why there are none."""
        try:
            returned = np.array(self._step(*stack))
            following = returned.astype(float) if returned.dtype.kind in REAL else None
        except Exception as error:
            return Lost(f"the simulator raised {cause(error)}")
        if following is None:
            return Lost(f"the simulator returned {returned.dtype}, expected real numbers")
        if following.shape != stack[0].shape:
            return Lost(f"the simulator returned shape {following.shape}, expected {stack[0].shape}")
        return following
