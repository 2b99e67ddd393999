"""The comparison as a figure: the objective over the rollouts, and how much of what was deployed violates a metric."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from baselines.experiments import Experiment
from baselines.oracle import Track
from baselines.registry import METHODS
from baselines.store import Run
from baselines.tables import Runs, never_violated
from scpo_ctrl.report.figures import AFTER, INK, LIMIT, style

COLOURS = {
    "scpo": AFTER,
    "scpo_audited": "#56b4e9",
    "ss_qcqp": "#009e73",
    "szo_qq": "#117733",
    "log_barrier": "#44aa99",
    "reject": "#6a6a6a",
    "primal_dual": "#cc79a7",
    "penalty": "#aa4499",
    "unconstrained": LIMIT,
}
POINTS = 400  # of a curve
_CROSSES = 14  # along the curve of a method that violates
_GAP = 0.052  # between labels, of the axis


def draw(experiment: Experiment, runs: Runs) -> Figure:
    """Draw objective over rollouts on the left, the violating share of every method on the right.

    Parameters
    ----------
    experiment : Experiment
    runs : mapping
        By method, a run for each seed.

    Returns
    -------
    matplotlib.figure.Figure
    """
    with style():
        figure = Figure(figsize=(12.0, 5.0), layout="constrained")
        curves, shares = figure.subplots(1, 2, width_ratios=[2.1, 1])
        draw_curves(curves, experiment, runs)
        draw_shares(shares, runs)
        seeds = len(next(iter(runs.values())))
        figure.suptitle(
            f"{experiment.title}: median and range of {seeds} seed{'s' if seeds > 1 else ''}",
            x=0.01,
            ha="left",
            fontsize=11,
            fontweight="bold",
            color=INK,
        )
    return figure


def deployed_at(track: Track, rollouts: np.ndarray) -> np.ndarray:
    """Return which policy was deployed last after so many rollouts, as indices.

    Parameters
    ----------
    track : Track
    rollouts : numpy.ndarray, shape (n,)

    Returns
    -------
    numpy.ndarray of int, shape (n,)
    """
    return np.searchsorted(track.rollouts, rollouts, side="right") - 1


def draw_curves(ax: Axes, experiment: Experiment, runs: Runs) -> None:
    """Draw the objective of the deployed policy; crosses where it violates a metric in some seed.

    The axis spans what methods reach that keep safe by design; an arrow beside a name says that its curve ends below.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    experiment : Experiment
    runs : mapping
    """
    grid = np.linspace(0, experiment.budget, POINTS)
    ends: dict[str, float] = {}
    for name, some in runs.items():
        tracks = [run.track for run in some]
        at = [deployed_at(track, grid) for track in tracks]
        values = np.array([track.objective[index] for track, index in zip(tracks, at, strict=True)])
        unsafe = np.any([track.unsafe[index] for track, index in zip(tracks, at, strict=True)], axis=0)
        middle, colour, ours = np.median(values, axis=0), COLOURS[name], name == "scpo"
        dashes = "-" if never_violated(some) else (0, (4, 2))
        width, order = (2.8, 5) if ours else (1.5, 3)
        ax.fill_between(grid / 1e3, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.13, linewidth=0)
        ax.plot(grid / 1e3, middle, color=colour, linewidth=width, linestyle=dashes, zorder=order)
        marked = _spaced(np.flatnonzero(unsafe))
        ax.plot(grid[marked] / 1e3, middle[marked], "x", color=LIMIT, markersize=6, markeredgewidth=1.6, zorder=6)
        ends[name] = float(middle[-1])
    ax.set_xlim(0, experiment.budget / 1e3)
    ax.set_ylim(*span(runs))
    ax.set(xlabel=f"{experiment.rollouts} [thousand]", ylabel=experiment.objective)
    ax.set_title("objective of the deployed policy; × it violates a metric")
    label_ends(ax, ends)


def span(runs: Runs) -> tuple[float, float]:
    """Return the limits of the objective's axis: from just below the best safe method to just above the safe start.

    Parameters
    ----------
    runs : mapping

    Returns
    -------
    low, high : float
    """
    shown = [name for name in runs if METHODS[name].safe] or list(runs)
    low = min(float(run.track.objective.min()) for name in shown for run in runs[name])
    high = max(float(run.track.objective[0]) for some in runs.values() for run in some)
    return low - 0.08 * (high - low), high + 0.08 * (high - low)


def _spaced(indices: np.ndarray) -> np.ndarray:
    """Keep a few of the points of a curve, the first one among them, so that crosses do not touch."""
    kept: list[int] = []
    for index in indices:
        if not kept or index - kept[-1] >= POINTS // _CROSSES:
            kept.append(int(index))
    return np.array(kept, dtype=int)


def label_ends(ax: Axes, ends: dict[str, float]) -> None:
    """Write each method's name and last value beside the end of its curve, moved apart where they would overlap.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    ends : dict
        Last value of each curve.
    """
    low, high = ax.get_ylim()
    names = sorted(ends, key=lambda name: ends[name])
    wanted = np.clip([(ends[name] - low) / (high - low) for name in names], 0.0, 1.0)
    for name, place, height in zip(names, apart(wanted, _GAP), wanted, strict=True):
        outside = "" if ends[name] >= low else " ↓"
        line = {
            "arrowstyle": "-",
            "relpos": (0, 0.5),
            "color": COLOURS[name],
            "linewidth": 0.7,
            "shrinkA": 2,
            "shrinkB": 0,
        }
        ax.annotate(
            f"{METHODS[name].label}  {ends[name]:.3f}{outside}",
            xy=(1.0, height),
            xytext=(1.05, place),
            xycoords="axes fraction",
            textcoords="axes fraction",
            va="center",
            color=COLOURS[name],
            fontweight="bold" if name == "scpo" else "normal",
            arrowprops=line,
            annotation_clip=False,
        )


def apart(wanted: np.ndarray, gap: float) -> np.ndarray:
    """Return places between 0 and 1, at least a gap apart and in the same order, near the wanted ones.

    Parameters
    ----------
    wanted : numpy.ndarray, shape (n,)
        Ascending.
    gap : float

    Returns
    -------
    numpy.ndarray, shape (n,)
    """
    places = wanted.copy()
    for _ in range(200):
        short = gap - np.diff(places)
        push = np.where(short > 0, short / 2, 0.0)
        places[1:] += push
        places[:-1] -= push
        places[0], places[-1] = max(places[0], 0.0), min(places[-1], 1.0)
    return places


def draw_shares(ax: Axes, runs: Runs) -> None:
    """Draw the violating share of all policies that a method deployed, its worst violation in words.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    runs : mapping
    """
    for row, some in enumerate(runs.values()):
        share = 100 * float(np.median([run.track.violations / run.track.worst.size for run in some]))
        ax.barh(row, share, height=0.62, color=LIMIT, edgecolor="none")
        inside = share > 50
        colour, side = ("white", "right") if inside else (INK, "left")
        ax.text(share + (-1.5 if inside else 1.5), row, in_words(some), va="center", ha=side, color=colour, fontsize=8)
    ax.set_yticks(range(len(runs)), [METHODS[name].label for name in runs])
    for tick, name in zip(ax.get_yticklabels(), runs, strict=True):
        tick.set_color(COLOURS[name])
        tick.set_fontweight("bold" if name == "scpo" else "normal")
    ax.invert_yaxis()
    ax.set(xlim=(0, 100), xlabel="violating, of deployed policies [%]")
    ax.set_title("policies that violate, all seeds")
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)


def in_words(some: Sequence[Run]) -> str:
    """Say whether a method violated, in how many of its policies over all seeds, and by how much at worst.

    Parameters
    ----------
    some : sequence of Run

    Returns
    -------
    str
    """
    violations, deployed = (sum(run.track.violations for run in some), sum(run.track.worst.size for run in some))
    if violations == 0:
        return f"none of {deployed}"
    worst = max(run.track.worst_violation for run in some)
    return f"{violations} of {deployed}, worst {format(worst, '.0f' if worst >= 100 else '.2g')}"
