"""Figures of a result for a plant: phase portrait and signals over time.

Made with matplotlib's object-oriented API: no pyplot, no global state. Colours are distinguishable for colour-blind
readers (M. Okabe, K. Ito), and no meaning rests on colour alone.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib.style
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure, FigureBase
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, PathPatch
from matplotlib.path import Path

from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.loop.controlled import ControllerPolicy
from scpo_ctrl.models import Plant
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.report.labels import axis_label, labelled, time_label
from scpo_ctrl.report.trajectories import (
    Rolled,
    followed_references,
    level_set,
    loads,
    memories,
    plant_problem,
    projections,
    roll,
    shown_plant,
    shown_states,
    spread,
)
from scpo_ctrl.report.wording import start_name
from scpo_ctrl.text import visible

BEFORE, AFTER, LIMIT, LEVEL, INK = "#8a8a8a", "#0072b2", "#d55e00", "#009e73", "#222222"
REST = "#bbbbbb"
FORBIDDEN = {"facecolor": "#fdf0e6", "edgecolor": "#eba878", "hatch": "////", "linewidth": 0.0, "zorder": 0.5}
NOTE = {"loc": "right", "fontsize": 7.5, "fontweight": "normal", "color": "#666666"}
PHASE_TRAJECTORIES = 12  # shown in a phase portrait
PHASE_DOTS = 150  # initial states shown
SIGNAL_TRAJECTORIES = 64  # shown over time
VECTOR_POINTS = 20_000  # beyond this many points of a kind, lines become an image inside the figure
_DASHES = (0, (4, 2))
_FAR = 3.0  # a bound this many times the span of the values away is not drawn, but named
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "text.parse_math": False,  # labels are the user's: a dollar sign is a dollar sign
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.labelcolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e9e9e9",
    "grid.linewidth": 0.6,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "legend.frameon": False,
    "hatch.linewidth": 0.5,
    "path.simplify_threshold": 0.2,
    "svg.fonttype": "none",
    "svg.hashsalt": "scpo-ctrl",
}


@contextmanager
def style() -> Iterator[None]:
    """Draw in the report's style whatever the user's own settings are, and leave those as they were."""
    with matplotlib.style.context(["default", STYLE]):
        yield


def phase_figure(result: Result) -> Figure:
    """Draw the phase portrait: bounds, invariant level set, initial states, trajectories before and after.

    Parameters
    ----------
    result : Result
        Of a problem with a plant.

    Returns
    -------
    matplotlib.figure.Figure
        One projection for two states, more for more of them (see `projections`); the state over time for one.

    Raises
    ------
    DomainError
        If the problem has no plant.
    """
    with style():
        figure = Figure(figsize=(10.0, 5.6), layout="constrained")
        rows, columns = draw_phase(figure, result)
        figure.set_figheight(5.6 if rows == columns == 1 else 0.6 + 4.1 * rows)
    return figure


def draw_phase(figure: FigureBase, result: Result) -> tuple[int, int]:
    """Draw the phase portrait into a figure or a part of one, in the style that is set.

    Parameters
    ----------
    figure : matplotlib.figure.FigureBase
    result : Result
        Of a problem with a plant.

    Returns
    -------
    rows, columns : int
        How its projections stand.
    """
    problem = plant_problem(result)
    rolled = roll(result, PHASE_TRAJECTORIES)
    pairs = projections(shown_plant(problem), np.concatenate([rolled.X_before, rolled.X_after]))
    columns = min(2, max(1, len(pairs)))
    rows = -(-max(1, len(pairs)) // columns)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    if pairs:
        for ax, pair in zip(axes, pairs, strict=True):
            _portrait(ax, problem, rolled, pair)
    else:
        _only_state(axes[0], problem, rolled)
    handles = _phase_legend(problem, start_name(result))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, handlelength=2.4)
    return rows, columns


def signals_figure(result: Result) -> Figure:
    """Draw inputs and states over time, the safe start on the left and the adapted policy on the right, with bounds.

    Parameters
    ----------
    result : Result
        Of a problem with a plant.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    DomainError
        If the problem has no plant.
    """
    problem, rolled = plant_problem(result), roll(result, SIGNAL_TRAJECTORIES)
    plant, command = shown_plant(problem), problem.scenario_metrics.options.command
    states = shown_states(plant, np.concatenate([rolled.X_before, rolled.X_after]))
    inputs = [(rolled.U_before, i, "u") for i in range(plant.nu - memories(problem))]
    signals = inputs + [(rolled.X_before, i, "x") for i in states]
    followed, varying = followed_references(problem, rolled.scenarios), loads(problem, rolled.scenarios)
    count = len(signals) + len(varying)
    with style():
        figure = Figure(figsize=(10.0, 0.7 + 1.45 * count), layout="constrained")
        axes = figure.subplots(count, 2, sharex=True, sharey="row", squeeze=False)
        for row, (_, i, stem) in zip(axes, signals, strict=False):
            low, high, rest = (getattr(plant, f"{stem}_{end}")[i] for end in ("min", "max", "eq"))
            pair = (rolled.U_before, rolled.U_after) if stem == "u" else (rolled.X_before, rolled.X_after)
            values = [side[:, :, i] for side in pair]
            if stem == "u" and not command:
                values = [np.clip(side, low, high) for side in values]
            view, hidden = view_of(np.concatenate(values), low, high)
            for ax, side, colour in zip(row, values, (BEFORE, AFTER), strict=True):
                ax.set(xlim=(0, problem.scenarios.horizon * (plant.dt or 1.0)), ylim=view)
                _forbid_rows(ax, view, low, high)
                if stem == "x" and i in followed:
                    _lines(ax, _over_time(plant, followed[i], hold=True), INK, 0.8, 0.8, dashed=True)
                else:
                    ax.axhline(rest, color=REST, linewidth=0.8, zorder=1)
                _lines(ax, _over_time(plant, side, hold=stem == "u"), colour, 0.8, 0.7)
            remembered = stem == "x" and i >= plant.nx - memories(problem)
            row[0].set_ylabel(("memory\n" if remembered else "") + axis_label(problem.plant, stem, i))
            if hidden:
                row[1].set_title(_out_of_view(hidden), **NOTE)
        for row, (label, unit, given) in zip(axes[len(signals) :], varying, strict=True):
            for ax in row:
                ax.set_ylim(view_of(given, -np.inf, np.inf)[0])
                _lines(ax, _over_time(plant, given, hold=True), INK, 0.8, 0.8, dashed=True)
            row[0].set_ylabel(labelled(label, unit))
        axes[0, 0].set_title(f"before: {start_name(result)}")
        axes[0, 1].set_title("after: adapted policy")
        for ax in axes[-1]:
            ax.set_xlabel(time_label(plant))
        if followed or varying:
            line = Line2D([], [], color=INK, linewidth=0.8, linestyle=_DASHES, label="given: reference or load")
            figure.legend(handles=[line], loc="outside lower center", handlelength=2.4)
        figure.align_ylabels()
    return figure


def _portrait(ax: Axes, problem: ControlProblem, rolled: Rolled, pair: tuple[int, int]) -> None:
    plant, backup, (i, j) = shown_plant(problem), problem.backup, pair
    before, after = rolled.X_before[:, :, pair], rolled.X_after[:, :, pair]
    start = problem.scenarios.x0[spread(problem.scenarios.x0, 0, PHASE_DOTS)][:, pair]
    ring = level_set(backup.P, backup.rho, pair) + plant.x_eq[[i, j]]
    drawn = np.concatenate([before.reshape(-1, 2), after.reshape(-1, 2), ring])
    (x_view, x_hidden), (y_view, y_hidden) = (
        view_of(drawn[:, k], plant.x_min[axis], plant.x_max[axis]) for k, axis in enumerate(pair)
    )
    ax.set(xlim=x_view, ylim=y_view, xlabel=axis_label(plant, "x", i, " "), ylabel=axis_label(plant, "x", j, " "))
    _forbid_outside(ax, x_view, y_view, plant.x_min[[i, j]], plant.x_max[[i, j]])
    ax.fill(*ring.T, facecolor=LEVEL, alpha=0.10, zorder=0.8)
    ax.plot(*ring.T, color=LEVEL, linewidth=1.4, zorder=1.6)
    _lines(ax, before, BEFORE, 1.1, 1.0, dashed=True)
    _lines(ax, after, AFTER, 1.5, 1.0)
    _arrows(ax, after, np.array([np.ptp(x_view), np.ptp(y_view)]))
    ax.plot(*start.T, ".", color=INK, markersize=3.0, zorder=2.9)
    ax.plot(*after[:, 0].T, "o", color="white", markeredgecolor=INK, markersize=5.0, zorder=3)
    ax.plot(*plant.x_eq[[i, j]], "P", color=INK, markeredgecolor="white", markersize=8, zorder=4)
    hidden = {i: x_hidden, j: y_hidden}
    notes = [f"{visible(plant.x_labels[axis])}: {_out_of_view(bounds)}" for axis, bounds in hidden.items() if bounds]
    ax.set_title("; ".join(notes), **NOTE)  # type: ignore[arg-type]


def _only_state(ax: Axes, problem: ControlProblem, rolled: Rolled) -> None:
    """One state has no phase plane: draw it over time, with the level set as a band."""
    plant, backup = problem.plant, problem.backup
    half = float(np.sqrt(backup.rho / backup.P[0, 0]))
    band = plant.x_eq[0] + np.array([-half, half])
    before, after = rolled.X_before[:, :, 0], rolled.X_after[:, :, 0]
    low, high = plant.x_min[0], plant.x_max[0]
    view, hidden = view_of(np.concatenate([before.ravel(), after.ravel(), band]), low, high)
    ax.set_title(_out_of_view(hidden) if hidden else "", **NOTE)  # type: ignore[arg-type]
    ax.set(ylim=view, ylabel=axis_label(plant, "x", 0, " "), xlabel=time_label(plant))
    ax.set_xlim(0, problem.scenarios.horizon * (plant.dt or 1.0))
    _forbid_rows(ax, view, low, high)
    ax.axhspan(*band, facecolor=LEVEL, alpha=0.10, zorder=0.8)
    for edge in band:
        ax.axhline(edge, color=LEVEL, linewidth=3.5, zorder=1.4)  # a bound may lie on it
    _lines(ax, _over_time(plant, before), BEFORE, 1.1, 1.0, dashed=True)
    _lines(ax, _over_time(plant, after), AFTER, 1.5, 1.0)
    ax.plot(np.zeros(len(after)), after[:, 0], "o", color="white", markeredgecolor=INK, markersize=5.0, zorder=3)
    ax.axhline(plant.x_eq[0], color=INK, linewidth=0.8, linestyle=":", zorder=1)


def _phase_legend(problem: ControlProblem, start: str) -> list[Artist]:
    plant, policy = problem.plant, problem.policy
    held = policy.controller.name if isinstance(policy, ControllerPolicy) else "backup"
    what = f"level set {{V ≤ ρ}} of the {held}" + (", projected" if plant.nx > 2 else "")
    rest = {"marker": "P", "markeredgecolor": "white", "markersize": 8, "linestyle": ""}
    if plant.nx == 1:
        rest = {"linewidth": 0.8, "linestyle": ":"}
    handles: list[Artist] = [
        Line2D([], [], color=BEFORE, linewidth=1.1, linestyle=_DASHES, label=f"before: {start}"),
        Line2D([], [], color=AFTER, linewidth=1.5, label="after: adapted policy"),
        Line2D([], [], color="white", marker="o", markeredgecolor=INK, markersize=5, label="initial state"),
        Line2D([], [], color=INK, label="equilibrium", **rest),  # type: ignore[arg-type]
        Patch(facecolor="#e5f5f1", edgecolor=LEVEL, linewidth=1.4, label=what),
    ]
    if np.isfinite([plant.x_min, plant.x_max]).any():
        label = "outside the bounds" if memories(problem) else "outside the state bounds"
        handles.append(Patch(facecolor="#fdf0e6", edgecolor=LIMIT, hatch="////", linewidth=0.8, label=label))
    return handles


def _lines(ax: Axes, points: np.ndarray, colour: str, width: float, alpha: float, *, dashed: bool = False) -> None:
    """Draw k lines, shape (k, T, 2), in the view set before; many points become an image, so that files stay small."""
    low, high = np.stack([ax.get_xlim(), ax.get_ylim()], axis=1)
    near = np.clip(points, low - 20 * (high - low), high + 20 * (high - low))  # a diverged one leaves the picture
    finite = [line[np.isfinite(line).all(axis=1)] for line in near]
    dashes = _DASHES if dashed else "solid"
    lines = LineCollection(finite, colors=colour, linewidths=width, alpha=alpha, linestyles=dashes, zorder=2)
    lines.set_rasterized(points.shape[0] * points.shape[1] > VECTOR_POINTS)
    ax.add_collection(lines, autolim=False)


def _arrows(ax: Axes, lines: np.ndarray, span: np.ndarray) -> None:
    """Mark the direction of time on each line, a third of its way along."""
    for line in lines[np.max(np.abs(lines / span), axis=(1, 2)) < 1e3]:  # not on one that diverged
        way = np.cumsum(np.linalg.norm(np.diff(line / span, axis=0), axis=1))
        if way[-1] < 0.05:
            continue
        k = int(np.searchsorted(way, way[-1] / 3))
        arrow = {"arrowstyle": "-|>", "color": AFTER, "mutation_scale": 11, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", xy=tuple(line[k + 1]), xytext=tuple(line[k]), arrowprops=arrow)


def _over_time(plant: Plant, values: np.ndarray, *, hold: bool = False, first: int = 0) -> np.ndarray:
    """Points (k, T, 2) of signals (k, T) over time, from a step on; an input is held over its sample."""
    time = (first + np.arange(values.shape[1] + hold)) * (plant.dt or 1.0)
    if hold:
        time, values = np.repeat(time, 2)[1:-1], np.repeat(values, 2, axis=1)
    return np.stack([np.broadcast_to(time, values.shape), values], axis=2)


def view_of(values: np.ndarray, low: float, high: float) -> tuple[tuple[float, float], list[float]]:
    """Return the axis range, and the bounds that are out of it: those much farther away than the values reach.

    Parameters
    ----------
    values : numpy.ndarray
        What is drawn; those that are not finite do not count.
    low, high : float
        Bounds.

    Returns
    -------
    view : (float, float)
    hidden : list of float
    """
    bounds = [float(bound) for bound in (low, high) if np.isfinite(bound)]
    finite = values[np.isfinite(values)]
    if len(bounds) == 2:  # what left the bounds by far does not set the scale
        finite = np.clip(finite, low - (high - low), high + (high - low))
    least, most = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    span = max(most - least, 1e-9 * max(abs(least), abs(most))) or 1.0
    shown = [bound for bound in bounds if least - _FAR * span <= bound <= most + _FAR * span]
    least, most = min([least, *shown]), max([most, *shown])
    pad = 0.07 * max(most - least, span)
    return (least - pad, most + pad), [bound for bound in bounds if bound not in shown]


def _forbid_rows(ax: Axes, view: tuple[float, float], low: float, high: float, line: str = "-") -> None:
    for bound, edge in ((low, view[0]), (high, view[1])):
        if view[0] < bound < view[1]:
            ax.axhspan(min(bound, edge), max(bound, edge), **FORBIDDEN)  # type: ignore[arg-type]
            ax.axhline(bound, color=LIMIT, linewidth=1.2, linestyle=line, zorder=1.5)


def _forbid_outside(
    ax: Axes, x_view: tuple[float, float], y_view: tuple[float, float], low: np.ndarray, high: np.ndarray
) -> None:
    """Hatch what the bounds exclude: the view with the box cut out."""
    (x0, x1), (y0, y1) = (tuple(np.clip((low[k], high[k]), *view)) for k, view in enumerate((x_view, y_view)))
    box = Path([(x0, y0), (x0, y1), (x1, y1), (x1, y0), (x0, y0)], closed=True)  # against the outer one: a hole
    (X0, X1), (Y0, Y1) = x_view, y_view
    outer = Path([(X0, Y0), (X1, Y0), (X1, Y1), (X0, Y1), (X0, Y0)], closed=True)
    if (x0, x1, y0, y1) != (X0, X1, Y0, Y1):
        ax.add_patch(PathPatch(Path.make_compound_path(outer, box), **FORBIDDEN))
    for bound, view, draw in zip([*low, *high], [x_view, y_view] * 2, [ax.axvline, ax.axhline] * 2, strict=True):
        if view[0] < bound < view[1]:
            draw(float(bound), color=LIMIT, linewidth=1.4, zorder=1.5)


def _out_of_view(bounds: list[float]) -> str:
    values = " and ".join(f"{bound:.3g}" for bound in bounds)
    return f"bound{'s' * (len(bounds) > 1)} {values} out of view".replace("-", "−")


def draw_signal(
    ax: Axes, plant: Plant, values: np.ndarray, colour: str, name: str, *, hold: bool = False, first: int = 0
) -> None:
    """Draw signals over time.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    plant : Plant
    values : numpy.ndarray, shape (k, T)
    colour, name : str
        Name for the legend.
    hold : bool
        Whether a value holds over its sample, as an input does.
    first : int
        Time step of the first value.
    """
    width, alpha = (1.4, 1.0) if len(values) == 1 else (0.8, 0.7)
    _lines(ax, _over_time(plant, values, hold=hold, first=first), colour, width, alpha)
    ax.plot([], [], color=colour, label=name)


def draw_bounds(ax: Axes, values: np.ndarray, low: float, high: float, *, line: str = "-") -> None:
    """Set the axis range to what is drawn and the bounds near it, and hatch what they exclude.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    values : numpy.ndarray
        What is drawn.
    low, high : float
    line : str
        Style of the line at a bound, as of matplotlib.
    """
    view, hidden = view_of(values, low, high)
    ax.set_ylim(view)
    _forbid_rows(ax, view, low, high, line)
    if hidden:
        ax.set_title(_out_of_view(hidden), **NOTE)  # type: ignore[arg-type]
