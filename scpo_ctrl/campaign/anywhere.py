"""Workers of Dask schedulers as places where tasks are done; see `scpo_ctrl.workers.Spread`."""

import pickle
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import lru_cache, partial
from itertools import islice
from typing import Any
from uuid import uuid4

from scpo_ctrl.campaign import cluster
from scpo_ctrl.campaign.window import PAUSE, Found, Window
from scpo_ctrl.errors import WorkerError, cause
from scpo_ctrl.workers import Do, Lost, Spread, Work, without_losses

_TOGETHER = 0.5  # s that tasks take which are sent as one, as each costs the scheduler some milliseconds
_MOST_TOGETHER = 64
_ONE_AT_A_TIME = threading.Lock()  # whatever threads a worker has: what does tasks is made for one


def on_schedulers(addresses: Sequence[str], waiting: Callable[[str], object] | None = None) -> Spread:
    """Return what does tasks on the workers of Dask schedulers, that of each next task on whichever has room.

    Parameters
    ----------
    addresses : sequence of str
        Such as tcp://10.0.0.7:8786.
    waiting : callable, optional
        Called with the address of a scheduler as long as it has no worker.

    Returns
    -------
    Spread
        Raises ClusterError if a scheduler does not answer, or has other versions; WorkerError if a task is lost with
        each of four workers.
    """

    @contextmanager
    def spread(factory: Callable[[], Work]) -> Iterator[Do]:
        job = _Job(factory)
        yield lambda tasks: without_losses(_Results(job, addresses, waiting).of(tasks))

    return spread


class _Job:
    """What does tasks, and how many of them are sent as one."""

    def __init__(self, factory: Callable[[], Work]) -> None:
        try:
            self._factory = pickle.dumps(factory)
        except Exception as error:
            raise WorkerError(
                f"what makes the work cannot be sent to workers ({cause(error)}); give a function of a module, with "
                "functools.partial if it has arguments"
            ) from error
        self._name, self._together = uuid4().hex, 1

    def bundles(self, tasks: Iterable[Any]) -> Iterator[tuple[int, list[Any]]]:
        """Yield tasks, several at a time, with the number of the first."""
        left, first = iter(tasks), 0
        while bundle := list(islice(left, self._together)):
            yield first, bundle
            first += len(bundle)

    def submit(self, client: Any, bundle: tuple[int, list[Any]]) -> Any:
        """Give tasks to a scheduler."""
        first, tasks = bundle
        return client.submit(do_tasks, self._factory, tasks, key=f"scpo-{self._name}-{first}", pure=False)

    def learn(self, seconds: float, count: int) -> None:
        """Take how long tasks took somewhere."""
        self._together = max(1, min(_MOST_TOGETHER, int(_TOGETHER * count / max(seconds, 1e-9))))


def do_tasks(factory: bytes, tasks: list[Any]) -> tuple[float, list[Any]]:
    """Do tasks in a worker.

    Parameters
    ----------
    factory : bytes
        Pickled, of what does them.
    tasks : list

    Returns
    -------
    seconds : float
        That they took.
    results : list
    """
    cluster.keep_to_one_thread()
    with _ONE_AT_A_TIME:
        work = _made(factory)
        start = time.monotonic()
        results = [work(task) for task in tasks]
        return time.monotonic() - start, results


@lru_cache(maxsize=4)
def _made(factory: bytes) -> Work:
    """Return what does tasks, made once."""
    return pickle.loads(factory)()


class _Results:
    """Results of tasks in their order, done by workers of some schedulers."""

    def __init__(self, job: _Job, addresses: Sequence[str], waiting: Callable[[str], object] | None) -> None:
        self._job, self._waiting = job, waiting
        self._windows = {a: Window(partial(cluster.existing, a), job.submit, returns=True) for a in addresses}
        self._done: dict[int, list[Any]] = {}  # by the number of the first task
        self._given = 0

    def of(self, tasks: Iterable[Any]) -> Generator[Any, None, None]:
        """Yield the result of every task, or `Lost`."""
        bundles = self._job.bundles(tasks)
        with ExitStack() as stack:
            left = {a: stack.enter_context(closing(w.results(bundles))) for a, w in self._windows.items()}
            while left:
                found = [self._look(address, left) for address in list(left)]
                while self._given in self._done:
                    results = self._done.pop(self._given)
                    self._given += len(results)
                    yield from results
                for window in self._windows.values():
                    window.held = len(self._done)
                if not any(found):
                    time.sleep(PAUSE)

    def _look(self, address: str, left: dict[str, Generator[Found | None, None, None]]) -> bool:
        """Take the next result of a scheduler, if there is one now."""
        try:
            found = next(left[address])
        except StopIteration:
            del left[address]
            return False
        if found is not None:
            self._take(*found)
        elif self._waiting is not None and not self._windows[address].workers:
            self._waiting(address)
        return found is not None

    def _take(self, bundle: tuple[int, list[Any]], result: Any) -> None:
        first, tasks = bundle
        if isinstance(result, Lost):
            self._done[first] = [result] * len(tasks)
        else:
            seconds, self._done[first] = result
            self._job.learn(seconds, len(tasks))
