"""The command that adapts many variants of a problem."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import click

from scpo_ctrl.campaign import cluster, study
from scpo_ctrl.campaign.folder import Campaign, opened
from scpo_ctrl.campaign.page import sentences, values, write_page
from scpo_ctrl.campaign.submit import Submission, Tally, point_of
from scpo_ctrl.campaign.summary import REPORT, SUMMARY_CSV, SUMMARY_PARQUET, Row, Summary, row_of, write_tables
from scpo_ctrl.campaign.sweep import Sweep, read_sweep
from scpo_ctrl.progress import Line
from scpo_ctrl.rounding import down
from scpo_ctrl.stop import Stop
from scpo_ctrl.terminal import print_json, say, warn

_SHOWN = 5  # failures in the terminal
_LISTED = 1000  # in JSON


def sweep_problem(sweep: Path, out: Path, workers: int | None, scheduler: str | None, limit: int, as_json: bool) -> int:
    """Adapt every point of a sweep, and sum up."""
    stop = click.get_current_context().ensure_object(Stop)
    stop.remedy = "the same command once more goes on with what is left"
    cluster.require()  # before anything slow
    points = read_sweep(sweep, limit=limit)
    if points.sampler == "optuna":
        study.require()
    with opened(out, points) as campaign:
        connect = _connect(workers, scheduler, quiet=as_json)
        with stop.steps(), Line("sweep", points.count, unit="points", shown=not as_json) as line:

            def follow(tally: Tally) -> bool:
                stop.wait()
                line.show(tally.done, fields=_fields(tally))
                return stop.asked()

            Submission(points, campaign, follow).run(connect, returns=scheduler is not None)
        summary = write_tables(points, campaign)
        write_page(points, campaign, summary)
        _say(points, campaign, summary, as_json)
    return 1 if summary.failed or summary.not_run or summary.unsafe else 0


def _connect(workers: int | None, scheduler: str | None, *, quiet: bool) -> Callable[[], AbstractContextManager[Any]]:
    """Return what connects to workers, and says where to look at them."""

    @contextmanager
    def connect() -> Iterator[Any]:
        made = cluster.local(workers or os.cpu_count() or 1) if scheduler is None else cluster.existing(scheduler)
        with made as client:
            if not quiet and (page := cluster.page(client)):
                warn(f"workers at work: {page}")
            yield client

    return connect


def _fields(tally: Tally) -> list[str]:
    said = [f"failed {tally.failed}"] if tally.failed else []
    said += [f"objective {tally.best:.4g} at best"] if tally.best < float("inf") else []
    return [*said, f"workers {tally.workers}" if tally.workers else "waiting for workers"]


def _say(sweep: Sweep, campaign: Campaign, summary: Summary, as_json: bool) -> None:
    def row(k: int) -> Row:
        return row_of(campaign, point_of(sweep, campaign, k))

    ranked = summary.ranked()
    if as_json:
        print_json(
            _json(sweep, campaign, summary, [row(k) for k in ranked[:1]], [row(k) for k in summary.failed[:_LISTED]])
        )
        return
    say(f"points     {summary.total}: {'; '.join(sentences(summary))}")
    for k in ranked[:1]:
        best = row(k)
        found = f"objective {best.objective:.4g}, worst margin {down(best.margin)}"
        say(f"best       point {k}: {found}; {values(best.point)}")
        if weighed := sweep.weighed:
            say(f"           objectives compare only between points of the same {', '.join(weighed)}")
    for k in summary.failed[:_SHOWN]:
        say(f"failed     point {k}, {values(row(k).point)}: {row(k).reason}")
    if len(summary.failed) > _SHOWN:
        say(f"           and {len(summary.failed) - _SHOWN} more")
    tables = ", ".join(name for name in (SUMMARY_CSV, SUMMARY_PARQUET) if (campaign.folder / name).exists())
    say(f"results    {campaign.folder}/ ({REPORT}, {tables}, points/)")


def _json(sweep: Sweep, campaign: Campaign, summary: Summary, best: list[Row], failed: list[Row]) -> dict[str, Any]:
    def point(row: Row) -> dict[str, Any]:
        return {"point": row.point.number, "changes": row.point.changes, "run": str(campaign.run(row.point.name))}

    return {
        "campaign": str(campaign.folder),
        "points": summary.total,
        "finished": summary.finished,
        "unsafe": len(summary.unsafe),
        "failed": len(summary.failed),
        "not_run": len(summary.not_run),
        "duplicates": len(summary.duplicates),
        "best": point(best[0]) | {"objective": best[0].objective, "worst_margin": best[0].margin} if best else None,
        "compare_only_at_same": list(sweep.weighed),
        "front": summary.front()[:_LISTED],
        "failures": [point(row) | {"reason": row.reason} for row in failed],
    }
