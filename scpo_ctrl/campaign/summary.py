"""What a campaign came to: a row for each point, as CSV and Parquet, and which points stand out."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from scpo_ctrl.campaign.folder import POINTS, Campaign
from scpo_ctrl.campaign.submit import Point, points
from scpo_ctrl.campaign.sweep import Sweep
from scpo_ctrl.record.atomic import write_atomic

# Columns that are keys of result.json.
NUMBERS = (
    "steps",
    "accepted",
    "violations",
    "objective_initial",
    "objective_final",
    "worst_margin",
    "spectral_radius_initial",
    "spectral_radius_final",
    "fresh_objective_initial",
    "fresh_objective_final",
    "rollouts",
    "seconds",
)
FAILED, NOT_RUN = "failed", "not run"
SUMMARY_CSV, SUMMARY_PARQUET, REPORT = "summary.csv", "summary.parquet", "report.html"


@dataclass(frozen=True)
class Row:
    """A point, and what came of it."""

    point: Point
    status: str  # of its run, or FAILED, or NOT_RUN
    reason: str  # why it failed
    result: dict[str, Any]  # of result.json; empty without a run

    @property
    def objective(self) -> float:
        """That of the final policy."""
        return float(self.result["objective_final"])

    @property
    def margin(self) -> float:
        """The worst of all committed policies."""
        return float(self.result["worst_margin"])

    @property
    def bound(self) -> float | None:
        """The largest probability of a violation that the audit leaves; None where it was not audited or failed."""
        audit = self.result["audit"]
        return float(audit["epsilon"]) if audit else None

    @property
    def is_safe(self) -> bool:
        """Whether no committed policy violates a metric on its scenarios."""
        return bool(self.result) and not self.result["violations"]


@dataclass
class Summary:
    """What all points came to, as far as it fits into memory for any number of them."""

    total: int = 0
    failed: list[int] = field(default_factory=list)  # numbers of points
    not_run: list[int] = field(default_factory=list)
    duplicates: list[int] = field(default_factory=list)
    safe: list[int] = field(default_factory=list)
    unsafe: list[int] = field(default_factory=list)
    values: list[tuple[float, float, float]] = field(default_factory=list)  # objective, margin, bound of safe ones

    @property
    def finished(self) -> int:
        """Points with a finished run, each counted once."""
        return len(self.safe) + len(self.unsafe)

    @property
    def is_audited(self) -> bool:
        """Whether every run was audited, so that bounds compare."""
        return bool(self.values) and all(np.isfinite(bound) for _, _, bound in self.values)

    def ranked(self) -> list[int]:
        """Return points with safe runs, the lowest objective first.

        Returns
        -------
        list of int
        """
        return [self.safe[k] for k in np.argsort([objective for objective, _, _ in self.values], kind="stable")]

    def front(self) -> list[int]:
        """Return the points that no other one beats in both objective and margin, or the audits' bound if all have one.

        Returns
        -------
        list of int
            The lowest objective first.
        """
        worth = [(o, b if self.is_audited else -m) for o, m, b in self.values]
        best, found = np.inf, []
        for k in sorted(range(len(worth)), key=lambda k: worth[k]):
            if worth[k][1] < best:
                best = worth[k][1]
                found.append(self.safe[k])
        return found


def row_of(campaign: Campaign, point: Point) -> Row:
    """Return what came of a point.

    Parameters
    ----------
    campaign : Campaign
    point : Point

    Returns
    -------
    Row
    """
    result = campaign.summary(point.name)
    if result is not None:
        return Row(point, str(result["status"]), "", result)
    failure = campaign.failure(point.name)
    return Row(point, FAILED, failure.reason, {}) if failure else Row(point, NOT_RUN, "", {})


def rows(sweep: Sweep, campaign: Campaign) -> Iterator[Row]:
    """Yield what came of all points.

    Parameters
    ----------
    sweep : Sweep
    campaign : Campaign

    Yields
    ------
    Row
    """
    return (row_of(campaign, point) for point in points(sweep, campaign))


def write_tables(sweep: Sweep, campaign: Campaign) -> Summary:
    """Write summary.csv, and summary.parquet where pyarrow is installed.

    Parameters
    ----------
    sweep : Sweep
    campaign : Campaign

    Returns
    -------
    Summary

    Raises
    ------
    OutputError
        If they cannot be written.
    """
    text, summary, seen = io.StringIO(), Summary(), set[bytes]()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["point", *sweep.keys, "status", *NUMBERS, "audit_epsilon", "reason", "run"])
    for row in rows(sweep, campaign):
        writer.writerow(_cells(row))
        name = bytes.fromhex(row.point.name)
        _count(summary, row, is_again=name in seen)
        seen.add(name)
    summary.not_run += range(summary.total, sweep.count)  # which have not been asked for
    summary.total = sweep.count
    data = text.getvalue().encode()
    write_atomic(campaign.folder / SUMMARY_CSV, data)
    if find_spec("pyarrow"):
        write_atomic(campaign.folder / SUMMARY_PARQUET, _parquet(data))
    return summary


def _cells(row: Row) -> list[Any]:
    values = [json.dumps(v) if isinstance(v, (list, dict, bool)) else v for v in row.point.changes.values()]
    numbers = [row.result.get(name) for name in NUMBERS] + [row.bound if row.result else None]
    run = Path(POINTS) / row.point.name if row.result else ""
    return [row.point.number, *values, row.status, *numbers, row.reason, run]


def _count(summary: Summary, row: Row, *, is_again: bool) -> None:
    number = row.point.number
    summary.total += 1
    if is_again:
        summary.duplicates.append(number)
    elif row.is_safe:
        summary.safe.append(number)
        summary.values.append((row.objective, row.margin, np.inf if row.bound is None else row.bound))
    elif row.result:
        summary.unsafe.append(number)
    else:
        (summary.failed if row.status == FAILED else summary.not_run).append(number)


def _parquet(data: bytes) -> bytes:
    """Return CSV as Parquet."""
    from pyarrow import BufferOutputStream, csv, parquet  # pyright: ignore[reportMissingImports]

    out = BufferOutputStream()
    parquet.write_table(csv.read_csv(io.BytesIO(data)), out)
    return bytes(out.getvalue())
