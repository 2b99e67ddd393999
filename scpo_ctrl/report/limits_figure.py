"""The picture of constraints and limited changes of inputs over time, before and after, against their bounds."""

from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.models import Plant
from scpo_ctrl.report import figures
from scpo_ctrl.report.labels import labelled, time_label
from scpo_ctrl.report.trajectories import Limited, limited, plant_problem, roll
from scpo_ctrl.report.wording import start_name

MOST_LIMITS = 12  # shown
_DASHED: Literal["--"] = "--"


def limits_figure(result: Result) -> Figure:
    """Draw constraints and changes of inputs over time, the safe start on the left and the adapted policy on the right.

    Parameters
    ----------
    result : Result
        Of a problem with a plant that has constraints or du_max.

    Returns
    -------
    matplotlib.figure.Figure
    """
    problem, rolled = plant_problem(result), roll(result, figures.SIGNAL_TRAJECTORIES)
    plant, p = problem.plant, problem.scenarios.p[rolled.scenarios]
    pairs = zip(
        limited(problem, p, rolled.X_before, rolled.U_before),
        limited(problem, p, rolled.X_after, rolled.U_after),
        strict=True,
    )
    shown = closest(list(pairs))
    with figures.style():
        figure = Figure(figsize=(10.0, 0.9 + 1.45 * len(shown)), layout="constrained")
        axes = figure.subplots(len(shown), 2, sharex=True, sharey="row", squeeze=False)
        for row, pair in zip(axes, shown, strict=True):
            for ax, one, colour in zip(row, pair, (figures.BEFORE, figures.AFTER), strict=True):
                ax.set_xlim(0, problem.scenarios.horizon * (plant.dt or 1.0))
                draw_limited(ax, plant, [one], pair, [(colour, "")])
            row[0].set_ylabel(limit_label(pair[0]))
        axes[0, 0].set_title(f"before: {start_name(result)}")
        axes[0, 1].set_title("after: adapted policy")
        for ax in axes[-1]:
            ax.set_xlabel(time_label(plant))
        figure.align_ylabels()
        figure.legend(handles=limit_handles(), loc="outside lower center", ncols=2, handlelength=2.4)
    return figure


def closest(pairs: list[tuple[Limited, Limited]]) -> list[tuple[Limited, Limited]]:
    """Choose what to show: all, or those that come closest to their bounds.

    Parameters
    ----------
    pairs : list of tuple
        Before and after.

    Returns
    -------
    list of tuple
    """
    use = [-max(one.used for one in pair) for pair in pairs]
    return [pairs[i] for i in sorted(np.argsort(use, kind="stable")[:MOST_LIMITS].tolist())]


def draw_limited(
    ax: Axes, plant: Plant, drawn: list[Limited], together: tuple[Limited, ...], styles: list[tuple[str, str]]
) -> None:
    """Draw a constraint over time with its bounds as dashed lines.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    plant : Plant
    drawn : list of Limited
        Of one constraint.
    together : tuple of Limited
        Whose values set the axis range.
    styles : list of tuple
        Colour and name of each.
    """
    one = together[0]
    values = np.concatenate([of.values.ravel() for of in together])
    figures.draw_bounds(ax, np.append(values, one.rest), one.low, one.high, line=_DASHED)
    ax.axhline(one.rest, color=figures.REST, linewidth=0.8, zorder=1)
    for of, (colour, name) in zip(drawn, styles, strict=True):
        figures.draw_signal(ax, plant, of.values, colour, name, first=of.first)


def limit_label(one: Limited) -> str:
    """Return the label of an axis, with the unit.

    Parameters
    ----------
    one : Limited

    Returns
    -------
    str
    """
    return labelled(one.name, one.unit)


def limit_handles() -> list[Line2D]:
    """Return what the lines of a picture mean, for its legend.

    Returns
    -------
    list of matplotlib.lines.Line2D
    """
    return [
        Line2D([], [], color=figures.LIMIT, linewidth=1.2, linestyle=_DASHED, label="bound"),
        Line2D([], [], color=figures.REST, linewidth=0.8, label="at the equilibrium"),
    ]
