"""Where tasks are done: in this process, or in others; the results come in the order of the tasks, and are the same."""

import contextlib
from collections.abc import Callable, Generator, Iterable
from typing import Any, Protocol

from scpo_ctrl.errors import WorkerError
from scpo_ctrl.workers.processes import Lost, Workers

Work = Callable[[Any], Any]  # a task -> its result


class Spread(Protocol):
    """What does tasks somewhere; closing its iterator ends what still goes on."""

    def __call__(self, factory: Callable[[], Work], tasks: Iterable[Any]) -> Generator[Any, None, None]:
        """Yield the result of every task, in their order.

        Parameters
        ----------
        factory : callable
            Makes what does a task, once wherever tasks are done; a function of a module with its arguments
            (`functools.partial`), so that another process can import it.
        tasks : iterable
            Small: each is sent to where it is done.

        Yields
        ------
        object
        """
        ...


def in_process(factory: Callable[[], Work], tasks: Iterable[Any]) -> Generator[Any, None, None]:
    """Do tasks in this process, one after the other; see `Spread`."""
    yield from map(factory(), tasks)


def in_processes(count: int) -> Spread:
    """Return what does tasks in so many other processes. A task whose process is killed is done again by another one.

    Parameters
    ----------
    count : int

    Returns
    -------
    Spread
        Raises WorkerError if a task raises, or is lost three times.
    """

    def spread(factory: Callable[[], Work], tasks: Iterable[Any]) -> Generator[Any, None, None]:
        with Workers(factory, count, tries=3) as workers, contextlib.closing(workers.results(tasks)) as results:
            for result in results:
                if isinstance(result, Lost):
                    raise WorkerError(f"a part of the work was lost: {result.reason}")
                yield result

    return spread
