"""The report of a run: one self-contained HTML file, which needs nothing from outside and says all without its script."""

import base64
import hashlib
import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from scpo_ctrl.adaptation.binding import TIGHT
from scpo_ctrl.adaptation.options import CURVED
from scpo_ctrl.adaptation.result import Result, margin_of
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.proof.backup_set import NARROWER, standing
from scpo_ctrl.proof.guarded import GuardedRuns
from scpo_ctrl.record.atomic import write_atomic
from scpo_ctrl.report.answers import answers
from scpo_ctrl.report.figures import PHASE_TRAJECTORIES, SIGNAL_TRAJECTORIES, phase_figure, signals_figure, style
from scpo_ctrl.report.guard_figure import guard_figure
from scpo_ctrl.report.history_figures import convergence_figure, scales_basis, smoothness_figure
from scpo_ctrl.report.limits_figure import MOST_LIMITS, limits_figure
from scpo_ctrl.report.numbers import NARROW_SPACE, margin, number, plural, short, with_unit
from scpo_ctrl.report.page_data import page_data
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
from scpo_ctrl.report.trajectories import MOST_STATES, loads, memories
from scpo_ctrl.report.wording import backup_name, change, headline, start_name
from scpo_ctrl.text import visible

NO_PICTURE = Markup("<svg></svg>")
_COLOUR = re.compile("#[0-9a-f]{6}")
COLOURS = {  # of pictures, by their names in the page's style
    "#222222": "ink",
    "#000000": "ink",
    "#444444": "soft",
    "#ffffff": "paper",
    "#8a8a8a": "before",
    "#0072b2": "after",
    "#d55e00": "limit",
    "#009e73": "level",
    "#bbbbbb": "rest",
    "#666666": "frame",
    "#999999": "frame",
    "#e9e9e9": "faint",
    "#fdf0e6": "outside",
    "#eba878": "hatch",
    "#e5f5f1": "safe-ground",
    "#c9a227": "withdrawn",
    "#cc79a7": "shorter",
}
_TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class Panel:
    """A figure of the report."""

    name: str
    title: str
    svg: Markup
    caption: str


def write_report(result: Result, path: Path, guarded: GuardedRuns | None = None) -> None:
    """Write the report of a result as one self-contained HTML file; equal results give equal bytes.

    Parameters
    ----------
    result : Result
        Of a problem with or without a plant.
    path : pathlib.Path
        The file. It is replaced at once or not at all.
    guarded : GuardedRuns, optional
        What became of the final policy under the guard.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    write_atomic(Path(path), render_report(result, guarded=guarded).encode())


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
    closest, script = metric_rows(result, before, after), part_of_page("chart.js", "history.js", "explore.js")
    return template("report.html.jinja").render(
        style=part_of_page("report.css"),
        script=script,
        script_digest=digest(script),
        explored=page_data(result) if pictures else None,
        answers=answers(result, closest),
        title=problem.plant.name if isinstance(problem, ControlProblem) else "user's functions",
        plant=problem.plant if isinstance(problem, ControlProblem) else None,
        start=start_name(result),
        headline=headline(result, margin_of(after)),
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
        panels=_panels(result, pictures) + _guard_panels(result, pictures, guarded),
        closest=closest,
        binds=what_binds(result, after),
        tight=f"{100 * TIGHT:g}{NARROW_SPACE}%",
        notes=_scope(result),
    )


def part_of_page(*names: str) -> Markup:
    """Return files that a page holds as they are: its style, its script.

    Parameters
    ----------
    *names : str

    Returns
    -------
    markupsafe.Markup
    """
    return Markup("\n".join((_TEMPLATES / name).read_text() for name in names))


def digest(script: str) -> str:
    """Return what the page's policy names its script by: no other one is run.

    Parameters
    ----------
    script : str

    Returns
    -------
    str
    """
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


@cache
def template(name: str) -> jinja2.Template:
    """Return a page to be filled in; what it is given is escaped.

    Parameters
    ----------
    name : str

    Returns
    -------
    jinja2.Template
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("scpo_ctrl.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
    )
    environment.filters |= {"number": number, "short": short, "data": _data, "unit": with_unit}
    environment.filters |= {"margin": margin, "margin_data": _margin_data}
    return environment.get_template(name)


def to_svg(figure: Figure, name: str, description: str) -> Markup:
    """Return a figure as inline SVG, its identifiers made unique by a prefix.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    name : str
        The prefix.
    description : str
        What a screen reader says.

    Returns
    -------
    markupsafe.Markup
    """
    buffer = io.StringIO()
    with style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # the browser has other fonts
        no_metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", dpi=160, metadata=no_metadata)
    text = buffer.getvalue()
    body = text[text.index(">", text.index("<svg")) + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'\b(?:xlink:)?href="#', f'href="#{name}-', body).replace("xlink:href", "href")
    body = body.replace("url(#", f"url(#{name}-").replace("'DejaVu Sans'", "inherit")
    body = re.sub(r"<[^<>!]*>", lambda tag: _COLOUR.sub(_of_page, tag.group()), body)
    width, height = (72 * float(inches) for inches in figure.get_size_inches())
    head = f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(visible(description))}">'
    return Markup(head + body)  # matplotlib escapes the labels in it


def _of_page(colour: re.Match[str]) -> str:
    """Return a colour of a picture as the page has it, in light and in dark."""
    name = COLOURS.get(colour.group())
    return f"var(--{name})" if name else colour.group()


def _guard_panels(result: Result, pictures: bool, guarded: GuardedRuns | None) -> list[Panel]:
    """Make the figure of where the guard acts, where that was simulated."""
    if guarded is None or not isinstance(result.problem, ControlProblem):
        return []
    title = "Where the guard acts"
    said = guarded.sentence()
    caption = (
        f"{said[0].upper()}{said[1:]}. The set is proved to be kept under the guard from every state in it, whatever "
        "the parameters of the policy, on the model within its ranges."
    )
    svg = to_svg(guard_figure(result.problem, guarded), "guard", title) if pictures else NO_PICTURE
    return [Panel("guard", title, svg, caption)]


def _panels(result: Result, pictures: bool) -> list[Panel]:
    """Make the figures that the problem and its history allow."""

    def drawn(figure: Callable[[Result], Figure], name: str, title: str) -> Markup:
        return to_svg(figure(result), name, title) if pictures else NO_PICTURE

    panels = []
    problem = result.problem
    if isinstance(problem, ControlProblem):
        plant, count = problem.plant, problem.scenarios.count
        title = "Phase portrait" if plant.nx > 1 else "State and level set"
        backup = backup_name(problem)
        invariant = {
            "proved": f"invariant under the {backup}",
            "simulated": f"invariant under the {backup} in every simulation of it, which is no proof",
            NARROWER: f"invariant under the {backup} for less than is declared: narrower ranges, or no disturbances",
            "refuted": f"not invariant: a simulation under the {backup} leaves it",
        }.get(standing(problem), f"unchecked: nothing shows that it is invariant under the {backup}")
        caption = (
            f"{_selection(count, PHASE_TRAJECTORIES)} Each begins at a circle. The level set is {invariant}; an "
            "adapted trajectory may leave it while every metric holds."
        )
        if plant.nx > 1 and count > PHASE_TRAJECTORIES:
            caption += " Dots: other initial states."
        if plant.signals:
            caption += " Equilibrium and level set are about where references and loads begin."
        if plant.nx > 2:
            caption += " Projections: a coordinate against its rate first, then the states closest to their bounds."
        panels.append(Panel("phase", title, drawn(phase_figure, "phase", title), caption))
    if len(result.history):
        title = "Objective, margin and stationarity over tried steps"
        caption = (
            "The margin −max g is that of the worst metric, in the unit of that metric, on a scale logarithmic on both "
            "sides of zero. A rejected step was tried on the model only. Values off the scale stand at its edge. The "
            "stationarity is by how much the objective could still fall to first order, relative to the objective."
        )
        panels.append(Panel("convergence", title, drawn(convergence_figure, "convergence", title), caption))
    if isinstance(problem, ControlProblem):
        title = "Inputs and states over time"
        caption = _over_time_caption(problem)
        if loads(problem, np.arange(1)):
            caption += " Below them what varies by itself."
        panels.append(Panel("signals", title, drawn(signals_figure, "signals", title), caption))
        if problem.scenario_metrics.steps is not None:
            title = "Constraints over time"
            panels.append(Panel("limits", title, drawn(limits_figure, "limits", title), _limits_caption(problem)))
    if len(result.history):
        title = "What held the steps back"
        caption = (
            "Constraints active in the projection; largest and median smoothness constant of the metrics that a step "
            "could make active; length of the projected step in the space of the parameters"
        )
        caption += (
            ". The smoothness constants are in the norm that scales the basis, which changes with every step."
            if result.options.method in CURVED
            else "; the smoothness constants are in the norm of the preconditioner."
            if scales_basis(result)
            else ", beside the radius of the local safe region."
        )
        panels.append(Panel("smoothness", title, drawn(smoothness_figure, "smoothness", title), caption))
    return panels


def _limits_caption(problem: ControlProblem) -> str:
    """Return what the figure of constraints shows."""
    steps = problem.scenario_metrics.steps
    caption = _selection(problem.scenarios.count, SIGNAL_TRAJECTORIES)
    caption += " Of the input that is applied, after saturation."
    if steps is not None and len(steps.rows) - steps.changes // 2 > MOST_LIMITS:
        caption += f" The {MOST_LIMITS} that come closest to their bounds are shown."
    return caption


def _over_time_caption(problem: ControlProblem) -> str:
    """Return what the figure of inputs and states shows."""
    caption = _selection(problem.scenarios.count, SIGNAL_TRAJECTORIES)
    if problem.scenario_metrics.options.command:
        caption += " Inputs are commands before saturation, held over a sample."
    if memories(problem):
        caption += " Memory is what the controller remembers, cut to its own bounds."
    if problem.plant.nx > MOST_STATES:
        caption += f" The {MOST_STATES} of {problem.plant.nx} states that come closest to their bounds are shown."
    if loads(problem, np.arange(1)):
        caption += " Below them stands what varies by itself."
    return caption


def _selection(count: int, most: int) -> str:
    if count <= most:
        return f"All {plural(count, 'scenario')}." if count > 1 else "The only scenario."
    return f"{most} of {number(count)} scenarios, spread over the initial states, the least margin among them."


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


def _data(value: float, show: Callable[[Any], str] = number) -> Markup:
    """Return a number for reading that also carries its every digit, for machines and on hovering."""
    exact = repr(value.item() if isinstance(value, np.generic) else value)
    return Markup('<data value="{0}" title="{0}">{1}</data>').format(exact, show(value))


def _margin_data(value: float, digits: int = 4) -> Markup:
    return _data(value, lambda exact: margin(exact, digits))
