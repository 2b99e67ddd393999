"""One thread for BLAS while a run steps.

The products of a step are so small that more threads cost time, a lot of it on busy cores; and they would change the
last bits of the results with the number of cores. Rollouts have threads of their own.
"""

import functools
from contextlib import AbstractContextManager
from typing import Any

from threadpoolctl import ThreadpoolController


def one_thread() -> AbstractContextManager[Any]:
    """Return a context in which the BLAS libraries that are loaded use one thread.

    Returns
    -------
    context manager
    """
    context: AbstractContextManager[Any] = _controller().limit(limits=1, user_api="blas")
    return context


@functools.cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
