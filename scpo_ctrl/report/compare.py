"""Several runs side by side: one self-contained HTML file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scpo_ctrl.adaptation.result import Result, margin_of
from scpo_ctrl.record.atomic import write_atomic
from scpo_ctrl.report.answers import answers
from scpo_ctrl.report.figures import FORBIDDEN, LIMIT, style
from scpo_ctrl.report.fresh_costs import fresh_costs
from scpo_ctrl.report.labels import labelled
from scpo_ctrl.report.numbers import bound, margin, number
from scpo_ctrl.report.page_data import history_data
from scpo_ctrl.report.panels import to_svg
from scpo_ctrl.report.tables import bound_rows, details, metric_rows, option_rows
from scpo_ctrl.report.templating import digest, part_of_page, template
from scpo_ctrl.report.wording import Headline, change, headline, start_name
from scpo_ctrl.text import visible

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a8a8a", "#c9a227")  # of runs, again with other dashes
_DASHES: tuple[Any, ...] = ("solid", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))


@dataclass(frozen=True)
class Compared:
    """A run, and what is said of it."""

    name: str
    result: Result
    verdict: Headline
    facts: dict[str, str]  # what stands in the table
    given: dict[str, str]  # problem and options


def compared(name: str, result: Result) -> Compared:
    """Return what is said of a run beside others.

    Parameters
    ----------
    name : str
        Of its folder.
    result : Result

    Returns
    -------
    Compared
    """
    everywhere = result.everywhere
    before, after = everywhere.metrics(result.theta_initial), everywhere.metrics(result.theta)
    summary, verdict = result.summary(), headline(result, margin_of(after))
    stable, _, better, binds = answers(result, metric_rows(result, before, after))
    audit = summary["audit"]
    fresh = fresh_costs(result)
    facts = {
        "verdict": verdict.word,
        "spectral radius at rest": " ".join(stable.parts),
        "committed policies that violate": f"{number(summary['violations'])} of {number(summary['accepted'] + 1)}",
        "worst margin": margin(summary["worst_margin"]),
        "audit: a fresh scenario violates with probability": f"≤ {bound(audit['epsilon'], 2)}"
        if audit
        else "not audited",
        "objective": f"{' '.join(better.parts)}{change(result, ' ({})')}",
        "on fresh scenarios": fresh.said() if fresh else "no mean cost",
        "what binds": f"{' '.join(binds.parts)}; {binds.said}",
        "stationarity": number(result.stationarity),
        "status": summary["status"].replace("_", " "),
        "tried steps": number(len(result.history)),
        "committed": number(summary["accepted"]),
        "rollouts": number(result.rollouts),
        "seconds": number(result.seconds),
    }
    return Compared(visible(name), result, verdict, facts, _given(result))


def _given(result: Result) -> dict[str, str]:
    """Return problem and options in words."""
    rows = {name: number(value) for name, value in details(result) if name != "stability"}
    rows |= {name: f"{number(low)} … {number(high)} {unit}".rstrip() for name, low, high, unit, _ in bound_rows(result)}
    objective = type(getattr(result.problem, "objective_data", result.problem)).__name__.lower()
    return rows | {"objective": objective} | {name.replace("_", " "): number(v) for name, v, _ in option_rows(result)}


def render_compared(runs: list[Compared]) -> str:
    """Return the page as HTML text.

    Parameters
    ----------
    runs : list of Compared
        Two at least.

    Returns
    -------
    str
    """
    script = part_of_page("chart.js", "history.js", "compare.js")
    tried = [run for run in runs if len(run.result.history)]
    return template("compare.html.jinja").render(
        style=part_of_page("report.css"),
        script=script,
        script_digest=digest(script),
        runs=runs,
        facts=_rows(runs, lambda run: run.facts),
        differences=[row for row in _rows(runs, lambda run: run.given) if len(set(row[1])) > 1],
        parameters=_rows(runs, _parameters),
        comparable=len({(run.given["objective"], run.facts["objective"].split(" ")[0]) for run in runs}) == 1,
        picture=to_svg(compared_figure(tried), "compared", "Objective and margin over tried steps") if tried else None,
        explored=[_run_data(runs.index(run), run) for run in tried],
    )


def write_compared(runs: list[Compared], path: Path) -> None:
    """Write the page, at once or not at all.

    Parameters
    ----------
    runs : list of Compared
    path : pathlib.Path

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    write_atomic(Path(path), render_compared(runs).encode())


def compared_figure(runs: list[Compared]) -> Figure:
    """Draw the objective and the margin of the committed policies of each run over its tried steps.

    Parameters
    ----------
    runs : list of Compared
        With one tried step each at least.

    Returns
    -------
    matplotlib.figure.Figure
    """
    with style():
        figure = Figure(figsize=(10.0, 5.0), layout="constrained")
        top, bottom = figure.subplots(2, 1, sharex=True)
        for k, run in enumerate(runs):
            look = {"color": COLOURS[k % len(COLOURS)], "linestyle": _DASHES[k // len(COLOURS) % len(_DASHES)]}
            _stairs(top, run.result, "objective", run.result.objective_initial, label=run.name, **look)
            _stairs(bottom, run.result, "margin", run.result.margin_initial, **look)
        top.set_ylabel("objective ℓ")
        bottom.set_ylabel("margin −max g")
        bottom.set_xlabel("tried step (0: the safe start)")
        bottom.set_yscale("symlog", linthresh=1e-6)
        low = bottom.get_ylim()[0]
        if low < 0:
            bottom.axhspan(low, 0, **FORBIDDEN)
        bottom.axhline(0, color=LIMIT, linewidth=1.2)
        figure.legend(loc="outside lower center", ncols=3)
    return figure


def _stairs(ax: Axes, result: Result, column: str, first: float, **look: Any) -> None:
    at = np.flatnonzero(result.history.column("committed"))
    values = np.append(first, result.history.column(column)[at])
    x = np.concatenate([[0], at + 1, [len(result.history)]])
    ax.plot(x, np.append(values, values[-1]), drawstyle="steps-post", linewidth=1.4, **look)


def _rows(runs: list[Compared], of: Callable[[Compared], dict[str, str]]) -> list[tuple[str, list[str]]]:
    """Return every name with what each run has under it."""
    names = dict.fromkeys(name for run in runs for name in of(run))
    return [(name, [of(run).get(name, "–") for run in runs]) for name in names]


def _parameters(run: Compared) -> dict[str, str]:
    """Return the parameters of a controller, before and after."""
    return {
        labelled(row["label"], row["unit"], " "): f"{number(row['before'])} → {number(row['after'])}"
        for row in run.result.parameters()
    }


def _run_data(place: int, run: Compared) -> dict[str, Any]:
    history = history_data(run.result, np.array([], dtype=int))
    return {"place": place, "name": run.name, "start": start_name(run.result), "history": history}
