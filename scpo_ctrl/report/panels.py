"""The figures of the report: pictures with their captions, in colours that follow the page's."""

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from scpo_ctrl.adaptation.options import CURVED
from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.proof.backup_set import NARROWER, standing
from scpo_ctrl.proof.guarded import GuardedRuns
from scpo_ctrl.report.figures import PHASE_TRAJECTORIES, SIGNAL_TRAJECTORIES, phase_figure, signals_figure, style
from scpo_ctrl.report.guard_figure import guard_figure
from scpo_ctrl.report.history_figures import convergence_figure, scales_basis, smoothness_figure
from scpo_ctrl.report.limits_figure import MOST_LIMITS, limits_figure
from scpo_ctrl.report.numbers import number, plural
from scpo_ctrl.report.trajectories import MOST_STATES, loads, memories
from scpo_ctrl.report.wording import backup_name
from scpo_ctrl.text import visible

NO_PICTURE = Markup("<svg></svg>")
_CONVERGENCE = (
    "The margin −max g is that of the worst metric, in the unit of that metric, on a scale logarithmic on both "
    "sides of zero. A rejected step was tried on the model only. Values off the scale stand at its edge. The "
    "stationarity is by how much the objective could still fall to first order, relative to the objective."
)
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


@dataclass(frozen=True)
class Panel:
    """A figure of the report."""

    name: str
    title: str
    svg: Markup
    caption: str
    selection: str = ""  # which scenarios the picture shows


def panels(result: Result, pictures: bool, guarded: GuardedRuns | None) -> list[Panel]:
    """Make the figures that the problem and its history allow.

    Parameters
    ----------
    result : Result
    pictures : bool
        Whether to draw them.
    guarded : GuardedRuns or None
        What became of the final policy under the guard.

    Returns
    -------
    list of Panel
    """

    def drawn(figure: Callable[[Result], Figure], name: str, title: str) -> Markup:
        return to_svg(figure(result), name, title) if pictures else NO_PICTURE

    problem, found = result.problem, []
    if isinstance(problem, ControlProblem):
        title = "Phase portrait" if problem.plant.nx > 1 else "State and level set"
        said = _phase_caption(problem), _phase_selection(problem)
        found.append(Panel("phase", title, drawn(phase_figure, "phase", title), *said))
    if len(result.history):
        title = "Objective, margin and stationarity over tried steps"
        found.append(Panel("convergence", title, drawn(convergence_figure, "convergence", title), _CONVERGENCE))
    if isinstance(problem, ControlProblem):
        title, selection = "Inputs and states over time", _selection(problem.scenarios.count, SIGNAL_TRAJECTORIES)
        svg = drawn(signals_figure, "signals", title)
        found.append(Panel("signals", title, svg, _over_time_caption(problem), selection))
        if problem.scenario_metrics.steps is not None:
            title = "Constraints over time"
            svg = drawn(limits_figure, "limits", title)
            found.append(Panel("limits", title, svg, _limits_caption(problem), selection))
    if len(result.history):
        title = "What held the steps back"
        svg = drawn(smoothness_figure, "smoothness", title)
        found.append(Panel("smoothness", title, svg, _smoothness_caption(result)))
    return found + _guard_panels(result, pictures, guarded)


def _phase_caption(problem: ControlProblem) -> str:
    """Return what the phase portrait shows."""
    plant, backup = problem.plant, backup_name(problem)
    invariant = {
        "proved": f"invariant under the {backup}",
        "simulated": f"invariant under the {backup} in every simulation of it, which is no proof",
        NARROWER: f"invariant under the {backup} without the disturbances that are declared; with them it is unproved",
        "refuted": f"not invariant: a simulation under the {backup} leaves it",
    }.get(standing(problem), f"unchecked: nothing shows that it is invariant under the {backup}")
    caption = (
        f"Each trajectory begins at a circle. The level set is {invariant}; an "
        "adapted trajectory may leave it while every metric holds."
    )
    if plant.signals:
        caption += " Equilibrium and level set are about where references and loads begin."
    if plant.nx > 2:
        caption += " Projections: a coordinate against its rate first, then the states closest to their bounds."
    return caption


def _phase_selection(problem: ControlProblem) -> str:
    count = problem.scenarios.count
    others = " Dots: other initial states." if problem.plant.nx > 1 and count > PHASE_TRAJECTORIES else ""
    return _selection(count, PHASE_TRAJECTORIES) + others


def _smoothness_caption(result: Result) -> str:
    """Return what the figure of active constraints, smoothness constants and step lengths shows."""
    norm = (
        ". The smoothness constants are in the norm that scales the basis, which changes with every step."
        if result.options.method in CURVED
        else "; the smoothness constants are in the norm of the preconditioner."
        if scales_basis(result)
        else ", beside the radius of the local safe region."
    )
    return (
        "Constraints active in the projection; largest and median smoothness constant of the metrics that a step "
        f"could make active; length of the projected step in the space of the parameters{norm}"
    )


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


def _limits_caption(problem: ControlProblem) -> str:
    """Return what the figure of constraints shows."""
    steps = problem.scenario_metrics.steps
    caption = "Of the input that is applied, after saturation."
    if steps is not None and len(steps.rows) - steps.changes // 2 > MOST_LIMITS:
        caption += f" The {MOST_LIMITS} that come closest to their bounds are shown."
    return caption


def _over_time_caption(problem: ControlProblem) -> str:
    """Return what the figure of inputs and states shows."""
    caption = ""
    if problem.scenario_metrics.options.command:
        caption += "Inputs are commands before saturation, held over a sample."
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
