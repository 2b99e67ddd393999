"""The report of a run: one self-contained HTML file, which says all without its script too."""

import os
from typing import Any

from scpo_ctrl.adaptation.binding import TIGHT
from scpo_ctrl.adaptation.options import CURVED
from scpo_ctrl.adaptation.result import Result, margin_of
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.proof.guarded import GuardedRuns
from scpo_ctrl.record.atomic import write_atomic
from scpo_ctrl.report.answers import answers
from scpo_ctrl.report.numbers import NARROW_SPACE
from scpo_ctrl.report.page_data import page_data
from scpo_ctrl.report.panels import panels
from scpo_ctrl.report.response import responses
from scpo_ctrl.report.tables import (
    bound_rows,
    constraints_in_words,
    decrease,
    details,
    gain_rows,
    limit_rows,
    metric_rows,
    option_rows,
    what_binds,
)
from scpo_ctrl.report.templating import digest, part_of_page, template
from scpo_ctrl.report.trajectories import memories
from scpo_ctrl.report.wording import backup_name, change, headline, start_name
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.validate import as_path

SCRIPTS = "chart.js", "history.js", "signals.js", "explore.js"


def write_report(result: Result, path: str | os.PathLike[str], guarded: GuardedRuns | None = None) -> None:
    """Write the report of a result as one self-contained HTML file; equal results give equal bytes.

    Parameters
    ----------
    result : Result
        Of a problem with or without a plant.
    path : path-like
        The file. It is replaced at once or not at all.
    guarded : GuardedRuns, optional
        What became of the final policy under the guard.

    Raises
    ------
    OutputError
        If it cannot be written.

    Examples
    --------
    After the example of `adapt`:

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sc.write_report(result, f"{folder}/report.html")
    ...     "Audited" in pathlib.Path(folder, "report.html").read_text(encoding="utf-8")
    True
    """
    as_instance("result", result, Result)
    if guarded is not None:
        as_instance("guarded", guarded, GuardedRuns)
    write_atomic(as_path("path", path), render_report(result, guarded=guarded).encode())


def render_report(result: Result, *, pictures: bool = True, guarded: GuardedRuns | None = None) -> str:
    """Return the report as HTML text.

    Parameters
    ----------
    result : Result
    pictures : bool
        Whether to draw the figures, which takes most of the time; their titles and captions are there without, too.
    guarded : GuardedRuns, optional
        What became of the final policy under the guard.

    Returns
    -------
    str
    """
    problem = result.problem
    everywhere = result.everywhere
    before, after = everywhere.metrics(result.theta_initial), everywhere.metrics(result.theta)
    closest, script = metric_rows(result, before, after), part_of_page(*SCRIPTS)
    return template("report.html.jinja").render(
        style=part_of_page("report.css"),
        script=script,
        script_digest=digest(script),
        explored=page_data(result) if pictures else None,
        explorable=len(result.history) > 0 or isinstance(problem, ControlProblem),
        answers=answers(result, closest),
        title=problem.plant.name if isinstance(problem, ControlProblem) else "user's functions",
        plant=problem.plant if isinstance(problem, ControlProblem) else None,
        start=start_name(result),
        headline=headline(result, margin_of(after)),
        advice=result.advice(),
        summary={key: value for key, value in result.summary().items() if key not in ("audit", "parameters")},
        gains=gain_rows(result),
        responses=responses(result),
        bounds=bound_rows(result),
        limits=limit_rows(result),
        change=change(result),
        margin_now=margin_of(after),
        certified=result.options.mode == "certified",
        bounded=result.options.bounds_smoothness,
        has_barrier=result.options.method in CURVED,
        details=details(result),
        options=option_rows(result),
        panels=panels(result, pictures, guarded),
        closest=closest,
        binds=what_binds(result, after),
        tight=f"{100 * TIGHT:g}{NARROW_SPACE}%",
        notes=_scope(result),
    )


def _scope(result: Result) -> dict[str, Any]:
    """Return what the notes on guarantees depend on."""
    problem = result.problem
    if not isinstance(problem, ControlProblem):
        return {"scenarios": None, "guards": 0}
    options = problem.scenario_metrics.options
    return {
        "scenarios": problem.scenarios.count,
        "guards": result.guards.count if result.guards else 0,
        "steps": problem.scenarios.horizon,
        "backup": backup_name(problem),
        "memory": bool(memories(problem)),
        "terminal": options.terminal,
        "contraction": options.contraction and options.contracted.replace("x_0", "x₀").replace("rho", "ρ"),
        "path": options.path,
        "constraints": constraints_in_words(problem),
        "command": options.command,
        "one_step": problem.one_step and decrease(problem.one_step),
        "cloud": options.cloud,
    }
