"""The page of a campaign: what came of its points, best, worst, the front between objective and safety, failures."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from scpo_ctrl.campaign.folder import POINTS, Campaign
from scpo_ctrl.campaign.submit import Point, point_of
from scpo_ctrl.campaign.summary import REPORT, Row, Summary, row_of
from scpo_ctrl.campaign.sweep import Sweep
from scpo_ctrl.record.atomic import write_atomic
from scpo_ctrl.report.figures import AFTER, BEFORE, VECTOR_POINTS, style
from scpo_ctrl.report.numbers import bound, margin, number, plural
from scpo_ctrl.report.panels import to_svg
from scpo_ctrl.report.templating import part_of_page, template

MOST_ROWS = 200  # of a table; all points are in summary.csv


@dataclass(frozen=True)
class Listed:
    """A row of a table."""

    number: int
    cells: list[str]
    run: str  # link to its folder


def write_page(sweep: Sweep, campaign: Campaign, summary: Summary) -> None:
    """Write report.html.

    Parameters
    ----------
    sweep : Sweep
    campaign : Campaign
    summary : Summary

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    ranked, front = summary.ranked(), summary.front()

    def listed(numbers: list[int]) -> list[Listed]:
        return [_listed(_row(sweep, campaign, k), sweep) for k in numbers[:MOST_ROWS]]

    failures = [(_row(sweep, campaign, k), k) for k in summary.failed[:MOST_ROWS]]
    text = template("sweep.html.jinja").render(
        style=part_of_page("report.css"),
        own_style=part_of_page("sweep.css"),
        keys=sweep.keys,
        summary=summary,
        said=sentences(summary),
        picture=_picture(summary) if len(summary.safe) > 1 else None,
        front=listed(front),
        ranked=listed(ranked),
        worst=listed(ranked[-1:]),
        unsafe=listed(summary.unsafe),
        failures=[(k, values(row.point), row.reason) for row, k in failures],
        most=MOST_ROWS,
    )
    write_atomic(campaign.folder / REPORT, text.encode())


def sentences(summary: Summary) -> list[str]:
    """Return how many points came to what.

    Parameters
    ----------
    summary : Summary

    Returns
    -------
    list of str
    """
    counts = [
        (len(summary.safe), "finished, no committed policy violates a metric on its scenarios"),
        (len(summary.unsafe), "finished with a committed policy that violates a metric"),
        (len(summary.failed), "failed"),
        (len(summary.not_run), "not run yet; the same command once more goes on"),
        (len(summary.duplicates), "equal to an earlier one, done once"),
    ]
    return [f"{number(count)} {what}" for count, what in counts if count]


def values(point: Point) -> str:
    """Return what a point changes, in words.

    Parameters
    ----------
    point : Point

    Returns
    -------
    str
    """
    return ", ".join(f"{key} = {_value(value)}" for key, value in point.changes.items())


def _row(sweep: Sweep, campaign: Campaign, k: int) -> Row:
    return row_of(campaign, point_of(sweep, campaign, k))


def _listed(row: Row, sweep: Sweep) -> Listed:
    before, after = row.result["objective_initial"], row.objective
    gain = f"{(before - after) / abs(before):.1%}".replace("-", "−") if before else "–"
    cells = [_value(row.point.changes[key]) for key in sweep.keys]
    cells += [row.status.replace("_", " "), number(before), number(after), gain, margin(row.margin)]
    cells.append("not audited" if row.bound is None else f"≤ {bound(row.bound, 2)}")
    return Listed(row.point.number, cells, f"{POINTS}/{row.point.name}/")


def _value(value: Any) -> str:
    return number(value) if isinstance(value, (int, float, str)) else str(value)


def _picture(summary: Summary) -> Markup:
    """Draw safety over objective, the front joined."""
    objective, margins, bounds = np.array(summary.values).T
    worth, label = (
        (bounds, "audit: violation probability ≤") if summary.is_audited else (margins, "worst margin −max g")
    )
    place = {k: i for i, k in enumerate(summary.safe)}
    on = [place[k] for k in summary.front()]
    with style():
        figure = Figure(figsize=(8.0, 4.0), layout="constrained")
        ax = figure.subplots()
        many = len(objective) > VECTOR_POINTS
        ax.plot(objective, worth, ".", color=BEFORE, markersize=5, label="points", rasterized=many)
        ax.plot(objective[on], worth[on], "o-", color=AFTER, markersize=5, linewidth=1.4, label="Pareto front")
        ax.set_xlabel("objective ℓ of the final policy (lower is better)")
        ax.set_ylabel(label)
        ax.legend()
    said = f"{label} over objective, {plural(len(objective), 'point')}, {plural(len(on), 'point')} on the front"
    return to_svg(figure, "front", said)
