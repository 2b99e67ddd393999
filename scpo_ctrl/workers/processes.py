"""Processes that do tasks: one that dies or hangs is replaced, and its task is done again or given up with a reason."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from typing import Any, Self

from scpo_ctrl.errors import WorkerError, cause
from scpo_ctrl.stop import left_to_parent

_AHEAD = 8  # tasks for each process, that may be done before the first result is taken
_THREADS = dict.fromkeys(("SCPO_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_LOOK = 0.5  # s between looks at who is alive, as what a process has forked may hold its link open
READY_WITHIN = 600.0  # s from its start, in which a process makes what does tasks
_STILLBORN = 3  # processes, one after the other, that die before they are ready: there is no use in another one


@dataclass(frozen=True)
class Lost:
    """A task without a result."""

    reason: str


@dataclass
class _Worker:
    """A process, and what it does."""

    process: Any
    link: Connection
    since: float  # when it was started, or got its task
    index: int | None = None  # of the task
    task: Any = None
    ready: bool = False  # whether it has made what does tasks


class _Order:
    """Tasks that are under way, and results that wait for those before them."""

    def __init__(self, tasks: Iterable[Any], most: int) -> None:
        self._tasks, self._most = enumerate(tasks), most
        self.given = 0  # results
        self.waiting: deque[tuple[int, Any]] = deque()
        self.tries: dict[int, int] = {}  # of tasks without a result: how often a process has died of them
        self.done: dict[int, Any] = {}

    def fill(self) -> None:
        """Take tasks, as many as may be under way."""
        while len(self.tries) + len(self.done) < self._most and (found := next(self._tasks, None)) is not None:
            self.waiting.append(found)
            self.tries[found[0]] = 0

    def finish(self, index: int, result: Any) -> None:
        """Take a result."""
        del self.tries[index]
        self.done[index] = result


class Workers:
    """Processes that each make something once, by a factory, and apply it to tasks.

    They are started anew (spawned), with a thread each: a script that uses them keeps what it does below
    ``if __name__ == "__main__":``. They leave Ctrl-C to this process, and end with it, however it ends.

    Parameters
    ----------
    factory : callable
        Makes what does a task: a function of a module, or `functools.partial` of one.
    count : int
        Of processes.
    timeout : float, optional
        Seconds that a task may take; its process is killed then.
    ready_within : float
        Seconds from the start of a process, in which it makes what does tasks.
    tries : int
        How often a task is begun whose process dies.
    """

    def __init__(
        self,
        factory: Callable[[], Callable[[Any], Any]],
        count: int,
        *,
        timeout: float | None = None,
        ready_within: float = READY_WITHIN,
        tries: int = 1,
    ) -> None:
        self._factory, self._count, self._timeout, self._tries = factory, count, timeout, tries
        self._ready_within, self._closed = ready_within, False
        self._workers: list[_Worker] = []
        self._stillborn = 0  # processes, one after the other, that died before they were ready
        try:
            self._fill()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def processes(self) -> list[int]:
        """Their numbers."""
        return [worker.process.pid for worker in self._workers]

    def results(self, tasks: Iterable[Any]) -> Generator[Any, None, None]:
        """Yield the result of every task, or `Lost`, in the order of the tasks.

        Parameters
        ----------
        tasks : iterable

        Yields
        ------
        object

        Raises
        ------
        WorkerError
            If a process cannot make what does the tasks, or not in time, a task raises, or the processes were ended.
        """
        if self._closed:
            raise WorkerError("these workers have been ended; make others")
        self._fill()
        order = _Order(tasks, _AHEAD * self._count)
        try:
            while True:
                self._assign(order)
                while order.given in order.done:
                    order.given += 1
                    yield order.done.pop(order.given - 1)
                    self._assign(order)
                if not order.tries:
                    return
                self._listen(order)
        finally:  # tasks that go on are of no use to anybody
            for worker in self._workers:
                if worker.index is not None:
                    _end(worker)
            self._workers = [worker for worker in self._workers if worker.index is None]

    def close(self) -> None:
        """End the processes."""
        self._closed = True
        for worker in self._workers:
            _end(worker)
        self._workers = []

    def _fill(self) -> None:
        """Start those that are missing."""
        while len(self._workers) < self._count:
            self._workers.append(self._start())

    def _assign(self, order: _Order) -> None:
        """Give tasks to those that have none."""
        order.fill()
        for worker in self._workers:
            if worker.ready and worker.index is None and order.waiting:
                worker.index, worker.task = order.waiting.popleft()
                worker.since = time.monotonic()
                with contextlib.suppress(OSError):  # it has died, which `_listen` sees
                    worker.link.send(worker.task)

    def _listen(self, order: _Order) -> None:
        """Wait until something is said, a process has died, or the time of one is up."""
        ends = [worker.since + self._timeout for worker in self._workers if self._timeout and worker.index is not None]
        left = max(0.0, min([_LOOK, *(end - time.monotonic() for end in ends)]))
        heard = set(wait([worker.link for worker in self._workers], left))
        for i, worker in enumerate(self._workers):
            if worker.process.exitcode is not None and not worker.link.poll():
                self._workers[i] = self._after(worker, order)
            elif worker.link in heard:
                try:
                    self._hear(worker, order, *worker.link.recv())
                except (EOFError, OSError):
                    self._workers[i] = self._after(worker, order)
            elif self._timeout and worker.index is not None and time.monotonic() >= worker.since + self._timeout:
                order.finish(worker.index, Lost(f"took longer than {self._timeout:g} s"))
                _end(worker)
                self._workers[i] = self._start()
            elif not worker.ready and time.monotonic() >= worker.since + self._ready_within:
                raise WorkerError(f"a worker has not been ready {self._ready_within:g} s after its start")

    def _hear(self, worker: _Worker, order: _Order, kind: str, value: Any) -> None:
        """Take what a process says: that it is ready, a result, or an error."""
        if kind == "raised":
            raise WorkerError(f"a worker raised {value}")
        if kind == "ready":
            worker.ready, self._stillborn = True, 0
        elif worker.index is not None:
            order.finish(worker.index, value)
            worker.index = worker.task = None

    def _after(self, worker: _Worker, order: _Order) -> _Worker:
        """Replace a process that died, and do its task again or give it up."""
        _end(worker)
        how = _ending(worker.process.exitcode)
        if not worker.ready:
            self._stillborn += 1
            if self._stillborn >= _STILLBORN:
                raise WorkerError(
                    f"a worker {how} before it was ready; a script that uses workers keeps what it does below "
                    '`if __name__ == "__main__":`, and what makes the work is a function of a module'
                )
        if worker.index is not None:
            order.tries[worker.index] += 1
            if order.tries[worker.index] >= self._tries:
                order.finish(worker.index, Lost(f"its process {how}"))
            else:
                order.waiting.appendleft((worker.index, worker.task))
        return self._start()

    def _start(self) -> _Worker:
        context = get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(target=_serve, args=(there, self._factory), daemon=True)
        with _environment(_THREADS), left_to_parent():
            try:
                process.start()
            except Exception as error:
                here.close()
                raise WorkerError(
                    f"a worker cannot be started ({cause(error)}); what makes the work is a function of a module, "
                    "with functools.partial if it has arguments, so that another process can import it"
                ) from error
            finally:
                there.close()
        return _Worker(process, here, time.monotonic())


def _end(worker: _Worker) -> None:
    """End a process, which has nothing to finish."""
    worker.process.kill()
    worker.process.join()
    worker.link.close()


def _serve(link: Connection, factory: Callable[[], Callable[[Any], Any]]) -> None:
    """Do tasks until nobody is there any more: what a process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, daemon=True).start()
    own = os.getpid()
    try:
        work = factory()
        link.send(("ready", None))
        while True:
            task = link.recv()
            result = work(task)
            if os.getpid() != own:  # what the work has forked is not asked for anything
                os._exit(0)
            link.send(("done", result))
    except (EOFError, BrokenPipeError):
        pass
    except Exception as error:
        if os.getpid() != own:
            os._exit(1)
        link.send(("raised", cause(error)))
    sys.stdout.flush()


def _end_with_parent() -> None:
    """End this process when the one that started it has ended, whatever is going on."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set variables of the environment, for what is started meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _ending(code: int | None) -> str:
    """Return in words how a process has ended."""
    if code is not None and code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with status {code}"
