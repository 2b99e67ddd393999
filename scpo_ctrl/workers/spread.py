"""Where tasks are done: in this process, or in others; the results come in the order of the tasks, and are the same."""

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from scpo_ctrl.errors import WorkerError
from scpo_ctrl.workers.processes import Lost, Workers

Work = Callable[[Any], Any]  # a task -> its result
Do = Callable[[Iterable[Any]], Generator[Any, None, None]]  # tasks -> their results


class Spread(Protocol):
    """What does tasks somewhere."""

    def __call__(self, factory: Callable[[], Work]) -> AbstractContextManager[Do]:
        """Prepare places where tasks are done, and leave them at the end.

        Parameters
        ----------
        factory : callable
            Makes what does a task, once wherever tasks are done; a function of a module with its arguments
            (`functools.partial`), so that another process can import it.

        Returns
        -------
        context manager
            Of a function that yields the result of every task of an iterable, in their order; closing its iterator
            ends what still goes on. Tasks are sent to where they are done, so they are small.
        """
        ...


@contextmanager
def in_process(factory: Callable[[], Work]) -> Iterator[Do]:
    """Do tasks in this process, one after the other; see `Spread`."""
    work = factory()

    def do(tasks: Iterable[Any]) -> Generator[Any, None, None]:
        yield from map(work, tasks)

    yield do


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

    @contextmanager
    def spread(factory: Callable[[], Work]) -> Iterator[Do]:
        with Workers(factory, count, tries=3) as workers:
            yield lambda tasks: without_losses(workers.results(tasks))

    return spread


def without_losses(results: Generator[Any, None, None]) -> Generator[Any, None, None]:
    """Yield results, all of which are needed.

    Parameters
    ----------
    results : generator
        Is closed with this one.

    Yields
    ------
    object

    Raises
    ------
    WorkerError
        If one is `Lost`.
    """
    with contextlib.closing(results):
        for result in results:
            if isinstance(result, Lost):
                raise WorkerError(f"a part of the work was lost: {result.reason}")
            yield result
