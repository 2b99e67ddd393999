"""Points on their way to workers: never more than a window of them, so that memory stays as it is for any number."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from scpo_ctrl.campaign.cluster import check_versions, require
from scpo_ctrl.campaign.folder import Campaign, Failure
from scpo_ctrl.campaign.point import run_point
from scpo_ctrl.campaign.sweep import Changes, Sweep
from scpo_ctrl.errors import ClusterError, ScpoError, cause

_PAUSE = 0.05  # s between looks at what is done
_LOOK = 2.0  # s between looks at how many workers there are
_LEAST, _PER_THREAD = 64, 3  # points that wait on the scheduler: enough for clusters that grow by what waits
_RETURN = 60.0  # s that a scheduler may take to come back


@dataclass(frozen=True)
class Point:
    """A point of a campaign."""

    number: int
    name: str
    changes: Changes


@dataclass
class Tally:
    """What became of the points so far."""

    total: int
    finished: int = 0
    failed: int = 0
    duplicates: int = 0
    workers: int = 0
    best: float = float("inf")

    @property
    def done(self) -> int:
        """Points with which nothing is left to do."""
        return self.finished + self.failed + self.duplicates


def points(sweep: Sweep, campaign: Campaign) -> Iterator[Point]:
    """Yield all points, equal ones too.

    Parameters
    ----------
    sweep : Sweep
    campaign : Campaign

    Yields
    ------
    Point
    """
    for k in range(sweep.count):
        changes = sweep.changes(k)
        yield Point(k, campaign.name(changes), changes)


class LostError(Exception):
    """The scheduler is gone, or has forgotten what it was given."""


@dataclass
class Submission:
    """Runs what is left of a campaign.

    Parameters
    ----------
    sweep : Sweep
    campaign : Campaign
    follow : callable
        Called with the tally now and then; returns whether to end.
    """

    sweep: Sweep
    campaign: Campaign
    follow: Callable[[Tally], bool]
    pending: dict[Any, Point] = field(default_factory=dict)  # by future
    is_ended: bool = False
    _looked: float = -float("inf")
    _room: int = _LEAST

    def __post_init__(self) -> None:
        self.tally = Tally(self.sweep.count)

    def run(self, connect: Callable[[], AbstractContextManager[Any]], *, returns: bool) -> Tally:
        """Run every point that has no finished run.

        Parameters
        ----------
        connect : callable
            Yields a client.
        returns : bool
            Whether a scheduler that is lost may come back.

        Returns
        -------
        Tally

        Raises
        ------
        ClusterError
            If the scheduler is lost for good, or workers are of other versions.
        """
        left = self._unsettled()
        until = None
        while True:
            try:
                with connect() as client:
                    until = None
                    self._drive(client, left)
                return self.tally
            except LostError as lost:
                left = chain(list(self.pending.values()), left)
                self.pending.clear()
                if not returns:
                    raise ClusterError(f"the cluster is gone: {lost}; the same command once more goes on") from lost
                until = time.monotonic() + _RETURN
            except ClusterError:
                if until is None or time.monotonic() > until:
                    raise
                time.sleep(1.0)

    def _unsettled(self) -> Iterator[Point]:
        """Yield each point once that has neither a finished run nor a failure of its own."""
        seen = set()
        for point in points(self.sweep, self.campaign):
            key = bytes.fromhex(point.name)
            if key in seen:
                self.tally.duplicates += 1
                continue
            seen.add(key)
            failure = self.campaign.failure(point.name)
            if failure is not None and not failure.again:
                self.tally.failed += 1
            elif (summary := self.campaign.summary(point.name)) is not None:
                self._finished(summary)
            else:
                yield point

    def _drive(self, client: Any, left: Iterable[Point]) -> None:
        """Keep a window of points on the scheduler until none is left, or it is time to end."""
        left, is_out = iter(left), False
        while True:
            while not is_out and len(self.pending) < self._window(client):
                point = next(left, None)
                is_out = point is None
                if point is not None:
                    self._submit(client, point)
            if not self.pending:
                return
            done = [future for future in self.pending if future.done()]
            if client.status != "running":
                raise LostError("it does not answer any more")
            for future in done:
                self._take(future)
            if self.follow(self.tally):
                self.is_ended = True
                with suppress(Exception):  # it may be gone by now
                    client.cancel(list(self.pending))
                self.pending.clear()
                return
            if not done:
                time.sleep(_PAUSE)

    def _window(self, client: Any) -> int:
        """Return how many points may wait."""
        if time.monotonic() > self._looked + _LOOK:
            try:
                threads = client.nthreads()
                if len(threads) > self.tally.workers:  # some may have come
                    check_versions(client)
            except OSError as error:
                raise LostError(cause(error)) from error
            self.tally.workers, self._looked = len(threads), time.monotonic()
            self._room = max(_LEAST, _PER_THREAD * sum(threads.values()))
        return self._room

    def _submit(self, client: Any, point: Point) -> None:
        campaign = self.campaign
        future = client.submit(
            run_point, str(campaign.folder.resolve()), campaign.digest, point.name, point.changes,
            key=f"{campaign.digest[:16]}-{point.name}", pure=False,
        )  # fmt: skip
        self.pending[future] = point

    def _take(self, future: Any) -> None:
        """Take what came of a point."""
        if future.status in ("cancelled", "lost"):
            raise LostError("it has forgotten what it was given")
        point = self.pending.pop(future)
        if future.status == "error":
            error = future.exception()
            if isinstance(error, ScpoError):
                raise error
            if not isinstance(error, require().KilledWorker):
                raise ClusterError(f"a worker cannot run points ({cause(error)}); look at its log") from error
            failure = Failure(
                "each worker that had it died: too little memory, or what its problem names ends it", True
            )
            self.campaign.fail(point.name, failure)
        else:
            failure = future.result()
        if failure is None and (summary := self.campaign.summary(point.name)) is not None:
            self._finished(summary)
        else:
            self.tally.failed += 1

    def _finished(self, summary: dict[str, Any]) -> None:
        self.tally.finished += 1
        if not summary["violations"]:
            self.tally.best = min(self.tally.best, summary["objective_final"])
