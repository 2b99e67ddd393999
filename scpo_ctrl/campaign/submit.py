"""The points of a campaign on their way to workers, and what became of them."""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import Any

from scpo_ctrl.campaign.folder import Campaign, Failure
from scpo_ctrl.campaign.point import run_point
from scpo_ctrl.campaign.study import ask, changes_of
from scpo_ctrl.campaign.sweep import Changes, Sweep
from scpo_ctrl.campaign.window import PAUSE, Window
from scpo_ctrl.errors import RecordError
from scpo_ctrl.workers import Lost


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


def point_of(sweep: Sweep, campaign: Campaign, k: int) -> Point:
    """Return a point that is known.

    Parameters
    ----------
    sweep : Sweep
    campaign : Campaign
    k : int
        Its number.

    Returns
    -------
    Point

    Raises
    ------
    RecordError
        If it depends on others that have no run yet.
    """
    changes = changes_of(sweep, campaign, k)
    if changes is None:
        raise RecordError(f"{campaign.folder}: point {k} has not been asked for; go on with the campaign")
    return Point(k, campaign.name(changes), changes)


def points(sweep: Sweep, campaign: Campaign) -> Iterator[Point]:
    """Yield all points that are known, equal ones too.

    Parameters
    ----------
    sweep : Sweep
    campaign : Campaign

    Yields
    ------
    Point
    """
    for k in range(sweep.count):
        if (changes := changes_of(sweep, campaign, k)) is None:
            return
        yield Point(k, campaign.name(changes), changes)


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

    def __post_init__(self) -> None:
        self.tally = Tally(self.sweep.count)
        self._under_way: set[str] = set()

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
        window = Window(connect, self._submit, returns)
        with closing(window.results(self._unsettled())) as results:
            for found in results:
                self.tally.workers = window.workers
                if found is not None:
                    self._take(*found)
                elif self.follow(self.tally):
                    break
                else:
                    time.sleep(PAUSE)
        return self.tally

    def _unsettled(self) -> Iterator[Point | None]:
        """Yield each point once that has neither a finished run nor a failure of its own, and None to wait for some."""
        seen = set()
        for point in self._points():
            if point is None:
                yield None
                continue
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
                self._under_way.add(point.name)
                yield point

    def _points(self) -> Iterator[Point | None]:
        """Yield all points, and None as long as the next ones depend on others."""
        sweep = self.sweep
        for k in range(sweep.count):
            if k >= sweep.drawn and k % sweep.round == 0:
                while self._under_way:
                    yield None
                ask(sweep, self.campaign, k // sweep.round)
            yield point_of(sweep, self.campaign, k)

    def _submit(self, client: Any, point: Point) -> Any:
        campaign, folder = self.campaign, str(self.campaign.folder.resolve())
        of = hashlib.sha256(f"{campaign.digest} {folder}".encode()).hexdigest()[:16]  # elsewhere points are others
        return client.submit(
            run_point, folder, campaign.digest, point.name, point.changes, key=f"{of}-{point.name}", pure=False
        )

    def _take(self, point: Point, result: Failure | Lost | None) -> None:
        """Take what came of a point."""
        self._under_way.remove(point.name)
        if isinstance(result, Lost):
            result = Failure(result.reason, again=True)
            self.campaign.fail(point.name, result)
        if result is None and (summary := self.campaign.summary(point.name)) is not None:
            self._finished(summary)
        else:
            self.tally.failed += 1

    def _finished(self, summary: dict[str, Any]) -> None:
        self.tally.finished += 1
        if not summary["violations"]:
            self.tally.best = min(self.tally.best, summary["objective_final"])
