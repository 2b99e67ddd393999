"""Tasks on their way to workers: never more than a window of them, so that memory stays as it is for any number."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from scpo_ctrl.campaign.cluster import check_versions, require, revive
from scpo_ctrl.errors import ClusterError, ScpoError, cause
from scpo_ctrl.workers import Lost

PAUSE = 0.05  # s between looks at what is done
_LOOK = 2.0  # s between looks at how many workers there are
_LEAST, _PER_THREAD = 64, 3  # tasks that wait on the scheduler: enough for clusters that grow by what waits
_RETURN = 60.0  # s that a scheduler, or a first worker of a local one, may take to come back

_END = object()  # of tasks
Found = tuple[Any, Any]  # a task, and its result or `Lost`


class LostError(Exception):
    """The scheduler is gone, or has forgotten what it was given."""


@dataclass
class Window:
    """Keeps tasks on a scheduler, and gives those that are lost with it to the next one.

    Parameters
    ----------
    connect : callable
        Yields a client.
    submit : callable
        Gives a client a task, and returns the future of its result.
    returns : bool
        Whether a scheduler that is lost may come back.
    """

    connect: Callable[[], AbstractContextManager[Any]]
    submit: Callable[[Any, Any], Any]
    returns: bool
    workers: int = 0
    held: int = 0  # results that wait for others somewhere: so many tasks less are given meanwhile
    pending: dict[Any, Any] = field(default_factory=dict)  # tasks by future
    _looked: float = -float("inf")
    _staffed: float = field(default_factory=time.monotonic)  # when there was a worker last
    _room: int = _LEAST

    def results(self, tasks: Iterable[Any]) -> Generator[Found | None, None, None]:
        """Yield each task with its result, as they come, and None after every look; closing this cancels the others.

        Parameters
        ----------
        tasks : iterable
            None among them says that there are none before others are done.

        Yields
        ------
        tuple or None

        Raises
        ------
        ClusterError
            If the scheduler is lost for good, or workers are of other versions.
        ScpoError
            That a task raised.
        """
        left, until = iter(tasks), None
        while True:
            try:
                with self.connect() as client:
                    until = None
                    yield from self._drive(client, left)
                return
            except LostError as lost:
                left = chain(list(self.pending.values()), left)
                self.pending.clear()
                if not self.returns:
                    raise ClusterError(f"the cluster is gone: {lost}; the same command once more goes on") from lost
                until = time.monotonic() + _RETURN
            except ClusterError:
                if until is None or time.monotonic() > until:
                    raise
                time.sleep(1.0)

    def _drive(self, client: Any, left: Iterator[Any]) -> Generator[Found | None, None, None]:
        """Keep a window of tasks on the scheduler until none is left."""
        is_out = False
        try:
            while True:
                while not is_out and len(self.pending) + self.held < self._window(client):
                    task = next(left, _END)
                    if task is None:
                        break
                    if not (is_out := task is _END):
                        self.pending[self.submit(client, task)] = task
                if is_out and not self.pending:
                    return
                done = [future for future in self.pending if future.done()]
                if client.status != "running":
                    raise LostError("it does not answer any more")
                for future in done:
                    result = self._result(future)
                    yield self.pending.pop(future), result
                yield None
        except GeneratorExit:
            with suppress(Exception):  # it may be gone by now
                client.cancel(list(self.pending))
            self.pending.clear()
            raise

    def _window(self, client: Any) -> int:
        """Return how many tasks may wait."""
        if time.monotonic() > self._looked + _LOOK:
            try:
                threads = client.nthreads()
                if len(threads) > self.workers:  # some may have come
                    check_versions(client)
                is_local = revive(client)
            except OSError as error:
                raise LostError(cause(error)) from error
            self.workers, self._looked = len(threads), time.monotonic()
            if threads or not is_local:
                self._staffed = self._looked
            elif self._looked > self._staffed + _RETURN:
                raise LostError("all its workers have died, and it starts no others")
            self._room = max(_LEAST, _PER_THREAD * sum(threads.values()))
        return self._room

    def _result(self, future: Any) -> Any:
        """Return what came of a task."""
        if future.status in ("cancelled", "lost"):
            raise LostError("it has forgotten what it was given")
        try:
            if future.status != "error":
                return future.result()
            error = future.exception()
        except (CancelledError, OSError) as lost:
            raise LostError("it has forgotten what it was given") from lost
        if isinstance(error, ScpoError):
            raise error
        if not isinstance(error, require().KilledWorker):
            raise ClusterError(f"a worker cannot do its task ({cause(error)}); look at its log") from error
        return Lost("each worker that had it died: too little memory, or what its problem names ends it")
