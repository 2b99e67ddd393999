"""The report of a run: one self-contained HTML file, no script and no external resource in it."""

import dataclasses
import io
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from scpo_ctrl.control_problem import ControlProblem
from scpo_ctrl.figures import PHASE_TRAJECTORIES, SIGNAL_TRAJECTORIES, phase_figure, signals_figure, style
from scpo_ctrl.history_figures import convergence_figure, power_of_ten, smoothness_figure, start_name
from scpo_ctrl.options import AdaptOptions
from scpo_ctrl.record import write_atomic
from scpo_ctrl.result import Result, margin_of
from scpo_ctrl.status import RunStatus
from scpo_ctrl.trajectories import MOST_STATES

CLOSEST = 10  # metrics in the table
_NARROW_SPACE = "\u202f"  # does not break


@dataclass(frozen=True)
class Headline:
    """What the eye sees first."""

    level: str  # "safe", "unfinished" or "unsafe": decides the colour
    word: str
    sentence: str


@dataclass(frozen=True)
class Panel:
    """A figure of the report."""

    title: str
    svg: Markup
    caption: str


@dataclass(frozen=True)
class ClosestMetric:
    """A row of the table of metrics closest to their limit."""

    label: str
    before: float  # margin of the safe start
    after: float  # margin of the final policy
    varies: bool  # False where no policy can change it


def write_report(result: Result, path: Path) -> None:
    """Write the report of a result as one self-contained HTML file; equal results give equal bytes.

    Parameters
    ----------
    result : Result
        Of a problem with or without a plant.
    path : pathlib.Path
        The file. It is replaced at once or not at all.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    write_atomic(Path(path), render_report(result).encode())


def render_report(result: Result) -> str:
    """Return the report as HTML text.

    Parameters
    ----------
    result : Result

    Returns
    -------
    str
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("scpo_ctrl", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"number": number, "data": _data, "unit": _with_unit}
    problem = result.problem
    before, after = problem.metrics(result.theta_initial), problem.metrics(result.theta)
    return environment.get_template("report.html.jinja").render(
        title=problem.plant.name if isinstance(problem, ControlProblem) else "user's functions",
        plant=problem.plant if isinstance(problem, ControlProblem) else None,
        start=start_name(result),
        headline=headline(result, margin_of(after)),
        summary=result.summary(),
        change=_change(result),
        margin_now=margin_of(after),
        certified=result.options.mode == "certified",
        bounded=result.options.bounds_smoothness,
        details=_details(result),
        options=_options(result.options),
        panels=_panels(result),
        closest=closest_metrics(result, before, after),
        notes=_scope(result),
    )


def headline(result: Result, margin_now: float) -> Headline:
    """Return the verdict on a run, in one sentence.

    Parameters
    ----------
    result : Result
    margin_now : float
        Margin of the final policy, computed anew.

    Returns
    -------
    Headline
    """
    summary, problem = result.summary(), result.problem
    policies, violations, metrics = summary["accepted"] + 1, summary["violations"], number(summary["metrics"])
    where = f" on {_plural(problem.scenarios.count, 'scenario')}" if isinstance(problem, ControlProblem) else ""
    outcome = (
        f"objective {number(result.objective_initial)} → {number(result.objective_final)}{_change(result, ' ({})')}"
        if summary["accepted"]
        else f"the {start_name(result)} was kept, {_plural(summary['rejected'], 'tried step')} rejected"
        if summary["rejected"]
        else "no step was tried"
    )
    if violations:
        sentence = f"{number(violations)} of {_plural(policies, 'committed policy')} break a metric{where}; {outcome}."
        return Headline("unsafe", "Unsafe", sentence)
    if not margin_now >= 0:
        sentence = f"Computed anew, the final policy breaks a metric by {number(-margin_now)}, unlike its record."
        return Headline("unsafe", "Unsafe", sentence)
    if result.status is RunStatus.SMOOTHNESS_TOO_SMALL:
        return Headline("unsafe", "Not certified", f"The smoothness constants did not hold; {outcome}.")
    every = f"{number(policies)} of {_plural(policies, 'committed policy')}"
    sentence = f"{every} satisfy all {metrics} metrics{where}; {outcome}."
    if policies == 1:
        sentence = f"The {start_name(result)} satisfies all {metrics} metrics{where}; {outcome}."
    if result.status in (RunStatus.RUNNING, RunStatus.INTERRUPTED):
        return Headline("unfinished", "Safe, not finished", sentence)
    return Headline("safe", "Safe", sentence)


def closest_metrics(result: Result, before: np.ndarray, after: np.ndarray) -> list[ClosestMetric]:
    """Return the metrics closest to their limit at the final policy, the closest first.

    Parameters
    ----------
    result : Result
    before, after : numpy.ndarray, shape (m,)
        Metrics of the safe start and of the final policy.

    Returns
    -------
    list of ClosestMetric
    """
    order = np.argsort(-np.nan_to_num(after, nan=np.inf), kind="stable")[:CLOSEST]
    label, varies = result.problem.metric_label, result.problem.varies
    return [
        ClosestMetric(_relations(label(int(i))), -float(before[i]), -float(after[i]), bool(varies[i])) for i in order
    ]


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
    width, height = (72 * float(inches) for inches in figure.get_size_inches())
    head = f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(description)}">'
    return Markup(head + body)  # matplotlib escapes the labels in it


def number(value: Any) -> str:
    """Return a number for reading: four digits, thousands apart, a true minus, powers of ten.

    Parameters
    ----------
    value : int, float, bool, str or None
        What is not a number is returned as text.

    Returns
    -------
    str
    """
    if value is None:
        return "none"
    if isinstance(value, (bool, str)):
        return str(value).lower() if isinstance(value, bool) else value
    if isinstance(value, (int, np.integer)):
        return f"{int(value):,}".replace(",", _NARROW_SPACE).replace("-", "−")
    if not np.isfinite(value):
        return "not a number" if np.isnan(value) else "∞" if value > 0 else "−∞"
    text = f"{value:.4g}"
    if "e" in text:
        digits, exponent = text.split("e")
        text = f"{digits}{_NARROW_SPACE}×{_NARROW_SPACE}{power_of_ten(int(exponent))}"
    return text.replace("-", "−")


def _panels(result: Result) -> list[Panel]:
    """Make the figures that the problem and its history allow."""
    panels = []
    problem = result.problem
    if isinstance(problem, ControlProblem):
        plant, count = problem.plant, problem.scenarios.count
        title = "Phase portrait" if plant.nx > 1 else "State and level set"
        proved = problem.backup.evidence == "proved"
        invariant = "invariant under the backup" + ("" if proved else " in every simulation of it, which is no proof")
        caption = (
            f"{_selection(count, PHASE_TRAJECTORIES)} Each begins at a circle. The level set is {invariant}; an "
            "adapted trajectory may leave it while every metric holds."
        )
        if plant.nx > 1 and count > PHASE_TRAJECTORIES:
            caption += " Dots: other initial states."
        if plant.nx > 2:
            caption += " Projections: a coordinate against its rate first, then the states closest to their bounds."
        panels.append(Panel(title, to_svg(phase_figure(result), "phase", title), caption))
    if len(result.history):
        title = "Objective and margin over tried steps"
        caption = (
            "The margin −max g is that of the worst metric, in the unit of that metric, on a scale logarithmic on both "
            "sides of zero. A rejected step was tried on the model only. Values off the scale stand at its edge."
        )
        panels.append(Panel(title, to_svg(convergence_figure(result), "convergence", title), caption))
    if isinstance(problem, ControlProblem):
        title = "Inputs and states over time"
        caption = _selection(count, SIGNAL_TRAJECTORIES)
        if problem.scenario_metrics.options.command:
            caption += " Inputs are commands before saturation, held over a sample."
        if plant.nx > MOST_STATES:
            caption += f" The {MOST_STATES} of {plant.nx} states that come closest to their bounds are shown."
        panels.append(Panel(title, to_svg(signals_figure(result), "signals", title), caption))
    if len(result.history):
        title = "What held the steps back"
        caption = (
            "Constraints active in the projection; largest and median smoothness constant over all metrics; length of "
            "the projected step beside the radius of the local safe region."
        )
        panels.append(Panel(title, to_svg(smoothness_figure(result), "smoothness", title), caption))
    return panels


def _selection(count: int, most: int) -> str:
    if count <= most:
        return f"All {_plural(count, 'scenario')}." if count > 1 else "The only scenario."
    return f"{most} of {number(count)} scenarios, spread over the initial states, the least margin among them."


def _details(result: Result) -> list[tuple[str, Any]]:
    """List what the numbers of the summary do not say of the problem."""
    problem = result.problem
    if not isinstance(problem, ControlProblem):
        return [("problem", "metrics and objective are the user's own functions; no plant")]
    plant, metrics, N = problem.plant, problem.scenario_metrics.options, problem.scenarios.horizon
    kinds = ["state bounds"] * metrics.path + ["command bounds"] * (metrics.path and metrics.command)
    kinds += ["terminal V(x_N) ≤ ρ"] * metrics.terminal
    if metrics.contraction is not None:
        kinds.append(f"contraction V(x_N) ≤ {metrics.contraction:g} V(x₀)")
    horizon = f"{number(N)} steps" + (f" = {number(N * plant.dt)} s (sample {number(plant.dt)} s)" if plant.dt else "")
    hidden = "-".join(str(width) for width in problem.policy.widths)
    return [
        ("plant", f"{plant.name}: {plant.nx} states, {plant.nu} input" + "s" * (plant.nu > 1)),
        ("policy", f"residual on the backup, {problem.policy.kind} {hidden}"),
        ("scenarios", problem.scenarios.count),
        ("horizon", horizon),
        ("metrics of", ", ".join(kinds)),
        (f"backup level ρ, {problem.backup.evidence}", float(problem.backup.rho)),
    ]


def _options(options: AdaptOptions) -> list[tuple[str, Any, bool]]:
    """List the options: name, value, and whether it differs from the default."""
    fields = dataclasses.fields(AdaptOptions)
    return [(f.name, getattr(options, f.name), getattr(options, f.name) != f.default) for f in fields]


def _scope(result: Result) -> dict[str, Any]:
    """Return what the notes on guarantees depend on."""
    problem = result.problem
    if not isinstance(problem, ControlProblem):
        return {"scenarios": None}
    options = problem.scenario_metrics.options
    return {
        "scenarios": problem.scenarios.count,
        "steps": problem.scenarios.horizon,
        "terminal": options.terminal,
        "contraction": options.contraction,
        "path": options.path,
        "command": options.command,
    }


def _change(result: Result, text: str = "{}") -> str:
    """Return the relative change of the objective; nothing where it means nothing."""
    before, after = result.objective_initial, result.objective_final
    if not (np.isfinite([before, after]).all() and before not in (0.0, after)):
        return ""
    percent = 100 * (after - before) / abs(before)
    return text.format(f"{percent:+.{0 if abs(percent) >= 1 else 2}f}{_NARROW_SPACE}%".replace("-", "−"))


def _plural(count: int, noun: str) -> str:
    many = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{number(count)} {noun if count == 1 else many}"


def _relations(text: str) -> str:
    return text.replace("<=", "≤").replace(">=", "≥")


def _data(value: float) -> Markup:
    """Return a number for reading that also carries its every digit, for machines and on hovering."""
    exact = repr(value.item() if isinstance(value, np.generic) else value)
    return Markup('<data value="{0}" title="{0}">{1}</data>').format(exact, number(value))


def _with_unit(value: float, unit: str) -> str:
    return f"{number(value)} {unit}".rstrip()
