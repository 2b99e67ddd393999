"""Figures of a run's history: what was tried, what was committed, and what held the steps back."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase

from scpo_ctrl.adaptation.history import VERDICTS
from scpo_ctrl.adaptation.options import CURVED
from scpo_ctrl.adaptation.result import Result, margin_of
from scpo_ctrl.adaptation.status import Verdict
from scpo_ctrl.report.figures import AFTER, BEFORE, FORBIDDEN, INK, LIMIT, VECTOR_POINTS, style
from scpo_ctrl.report.numbers import power_of_ten
from scpo_ctrl.report.wording import VERDICT_WORDS, start_name

# marker, its colour, its size, what the legend says
MARKS: dict[Verdict, tuple[str, str, float, str]] = {
    Verdict.COMMITTED: ("o", AFTER, 3.5, VERDICT_WORDS[Verdict.COMMITTED]),
    Verdict.UNSAFE: ("x", LIMIT, 6.0, VERDICT_WORDS[Verdict.UNSAFE]),
    Verdict.NO_DECREASE: ("v", "#cc79a7", 5.5, VERDICT_WORDS[Verdict.NO_DECREASE]),
    Verdict.NOT_FINITE: ("*", INK, 7.0, VERDICT_WORDS[Verdict.NOT_FINITE]),
    Verdict.NO_STEP: ("|", "#666666", 7.0, VERDICT_WORDS[Verdict.NO_STEP]),
    Verdict.WITHDRAWN: ("o", "#c9a227", 3.5, VERDICT_WORDS[Verdict.WITHDRAWN]),
}
_VECTOR_STEPS = VECTOR_POINTS // 10  # tried steps beyond which marks and lines become an image inside the figure
_LONG = 150  # tried steps beyond which lines are thin
_DECADES = 9  # a margin this many decades below the largest one counts as zero


def convergence_figure(result: Result) -> Figure:
    """Draw objective, margin and stationarity over the tried steps, committed and rejected ones marked by verdict.

    Parameters
    ----------
    result : Result
        With one tried step at least.

    Returns
    -------
    matplotlib.figure.Figure
    """
    with style():
        figure = Figure(figsize=(10.0, 7.4), layout="constrained")
        draw_convergence(figure, result)
    return figure


def draw_convergence(figure: FigureBase, result: Result) -> None:
    """Draw objective, margin and stationarity into a figure or a part of one, in the style that is set.

    Parameters
    ----------
    figure : matplotlib.figure.FigureBase
    result : Result
        With one tried step at least.
    """
    columns = result.history.columns()
    committed = columns["committed"]
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 2))
    _objective(top, result, columns["objective"], committed, columns["verdict"])
    _margin(middle, result, columns["margin"], committed, columns["verdict"])
    _margin_limits(middle, result)
    _stationarity(bottom, result, columns["stationarity"], columns["step"])
    bottom.set_xlabel(f"tried step (0: the {start_name(result)})")
    bottom.set_xlim(-0.01 * len(committed) - 0.2, 1.01 * len(committed) + 0.2)
    bottom.xaxis.get_major_locator().set_params(integer=True)
    handles, labels = middle.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    figure.align_ylabels()


def smoothness_figure(result: Result) -> Figure:
    """Draw active constraints, smoothness constants and step lengths over the tried steps.

    Parameters
    ----------
    result : Result
        With one tried step at least.

    Returns
    -------
    matplotlib.figure.Figure
    """
    columns = result.history.columns()
    tried = np.arange(1, len(result.history) + 1)
    as_image = tried.size > _VECTOR_STEPS
    with style():
        figure = Figure(figsize=(10.0, 2.7), layout="constrained")
        left, middle, right = figure.subplots(1, 3, sharex=True)
        left.set_title("active constraints")
        left.plot(tried, columns["active"], color=AFTER, linewidth=1.2, drawstyle="steps-mid", rasterized=as_image)
        left.yaxis.get_major_locator().set_params(integer=True)
        left.set_ylim(0, 1.1 * max(1, int(columns["active"].max())))
        middle.set_title("smoothness constants L")
        width = 1.4 if tried.size <= _LONG else 0.8
        for name, colour in (("smoothness_max", AFTER), ("smoothness_median", BEFORE)):
            look: dict[str, Any] = {"color": colour, "linewidth": width, "rasterized": as_image}
            middle.plot(tried, columns[name], label=name.split("_")[1], **look)
        right.set_title("length of the projected step ‖Δ‖")
        right.plot(tried, columns["delta_norm"], color=AFTER, linewidth=width, label="‖Δ‖", rasterized=as_image)
        lengths = columns["delta_norm"]
        if not scales_basis(result):  # else the radius is in another norm
            right.axhline(result.options.radius, color=LIMIT, linewidth=1.2, linestyle=":", label="radius r")
            right.legend(loc="best")
            lengths = np.append(lengths, result.options.radius)
        _log_axis(middle, np.concatenate([columns["smoothness_max"], columns["smoothness_median"]]))
        _log_axis(right, lengths)
        middle.legend(loc="best")
        for ax in (left, middle, right):
            ax.set_xlabel("tried step")
            ax.xaxis.get_major_locator().set_params(integer=True)
    return figure


def scales_basis(result: Result) -> bool:
    """Return whether the radius and the smoothness constants are in another norm than that of the parameters.

    Parameters
    ----------
    result : Result

    Returns
    -------
    bool
    """
    return result.options.method in CURVED or result.options.preconditioner is not None


def margin_cap(result: Result) -> float:
    """Return the margin of the metrics that no policy can change (the states at t = 0); infinite if there are none.

    Parameters
    ----------
    result : Result

    Returns
    -------
    float
    """
    return margin_of(result.problem.metrics(result.theta_initial)[~result.problem.varies])


def _path(first: float, values: np.ndarray, committed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Stairs of the committed value, from the backup at 0 to the last tried step."""
    at = np.flatnonzero(committed)
    level = np.concatenate([[first], values[at]])
    return np.concatenate([[0], at + 1, [len(values)]]), np.append(level, level[-1])


def _objective(ax: Axes, result: Result, values: np.ndarray, committed: np.ndarray, verdict: np.ndarray) -> None:
    x, y = _path(result.objective_initial, values, committed)
    ax.plot(x, y, color=AFTER, linewidth=1.3, drawstyle="steps-post")
    least, most = float(np.min(y)), float(np.max(y))
    span = (most - least) or max(abs(most), 1e-9)
    view = least - 0.15 * span, most + 0.10 * span
    if least > 0 and most > 100 * least:
        view = least / (most / least) ** 0.1, most * (most / least) ** 0.1
        _log_axis(ax, y)
    _marks(ax, np.where(np.isnan(values), np.inf, values), verdict, view)
    ax.set(ylim=view, ylabel="objective ℓ")
    ends = ax.secondary_yaxis("right")
    ticks = {f"{start_name(result)} {result.objective_initial:.4g}": result.objective_initial}
    if abs(result.objective_final - result.objective_initial) > 0.08 * (view[1] - view[0]):
        ticks[f"final {result.objective_final:.4g}"] = result.objective_final
    ends.set_yticks(list(ticks.values()), [text.replace("-", "−") for text in ticks])
    ends.minorticks_off()
    ends.spines["right"].set_visible(False)
    for end in ticks.values():
        ax.axhline(end, color="#999999", linewidth=0.7, linestyle=":", zorder=1)


def _margin(ax: Axes, result: Result, values: np.ndarray, committed: np.ndarray, verdict: np.ndarray) -> None:
    x, y = _path(result.margin_initial, values, committed)
    every = np.append(values, result.margin_initial)
    view = _margin_axis(ax, every[np.isfinite(every)])
    ax.plot(x, y, color=AFTER, linewidth=1.3, drawstyle="steps-post")
    ax.plot(0, result.margin_initial, "s", color=BEFORE, markersize=6, zorder=3, label=start_name(result))
    values = np.where(np.isnan(values), -np.inf, values)
    _marks(ax, values, verdict, view)
    broken = np.flatnonzero(committed & ~(values >= 0))
    if broken.size:
        at = np.clip(values[broken], *view)
        label = f"committed, yet unsafe ({broken.size})"
        ax.plot(
            broken + 1, at, "X", color=INK, markeredgecolor="white", markersize=8, zorder=4, clip_on=False, label=label
        )
    ax.axhspan(view[0], 0, **FORBIDDEN)  # type: ignore[arg-type]
    ax.axhline(0, color=LIMIT, linewidth=1.4, zorder=1.5, label="limit: margin 0, unsafe below")
    ax.set(ylim=view, ylabel="margin −max g")


def _stationarity(ax: Axes, result: Result, values: np.ndarray, step: np.ndarray) -> None:
    """Draw the stationarity of the parameters that each step was tried from: those after the try before it."""
    x = np.arange(len(values), dtype=float)
    if step[-1] < result.steps - 1:  # the last step found nothing to try
        x, values = np.append(x, len(x)), np.append(values, result.stationarity)
    tolerance = result.options.tolerance
    _log_axis(ax, np.append(values, tolerance))
    values = np.where(np.isnan(values), np.inf, values)
    look: dict[str, Any] = {
        "color": AFTER,
        "linewidth": 1.3,
        "markersize": 4,
        "rasterized": len(values) > _VECTOR_STEPS,
    }
    ax.plot(x, np.clip(values, *ax.get_ylim()), ".-", **look)
    if tolerance > 0:
        label = "tolerance: converged at or below it"
        ax.axhline(tolerance, color=INK, linewidth=0.9, linestyle="--", label=label)
        ax.legend(loc="best")
    ax.set_ylabel("stationarity")


def _margin_limits(ax: Axes, result: Result) -> None:
    cap = margin_cap(result)
    if ax.get_ylim()[0] < cap < ax.get_ylim()[1]:
        text = "largest possible: fixed by the initial states"
        ax.axhline(cap, color=INK, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1.4, label=text)


def _margin_axis(ax: Axes, margins: np.ndarray) -> tuple[float, float]:
    """Make a scale that is logarithmic on both sides of zero, and return its range."""
    most, least = float(np.max(margins, initial=0.0)), float(np.min(margins, initial=0.0))
    size = np.abs(margins[margins != 0])
    if not size.size:
        return -1.0, 1.0
    top = int(np.ceil(np.log10(size.max())))
    bottom = int(np.floor(np.log10(max(size.min(), size.max() * 10.0**-_DECADES))))
    ax.set_yscale("symlog", linthresh=10.0**bottom, linscale=0.6)
    decades = (top - bottom) * (1 + (least < 0)) + 1.2
    exponents = range(bottom + (decades > 6), top + 1, max(1, round(decades / 7)))  # room for the label of zero
    ticks = {0.0: "0"}
    ticks |= {10.0**k: power_of_ten(k) for k in exponents if 10.0**k <= 3 * most}
    ticks |= {-(10.0**k): power_of_ten(k, "−") for k in exponents if -(10.0**k) >= 3 * least}
    ax.set_yticks(list(ticks), list(ticks.values()))
    ax.minorticks_off()
    floor = 10.0**bottom
    return min(3 * least, -floor), max(3 * most, floor)


def _marks(ax: Axes, values: np.ndarray, verdict: np.ndarray, view: tuple[float, float]) -> None:
    """Mark every tried step by its verdict; one outside the view, or not finite, stands at the edge."""
    low, high = np.quantile(view, [0.02, 0.98]) if ax.get_yscale() == "linear" else view
    shown = np.clip(values, low, high)
    for kind, (marker, colour, size, label) in MARKS.items():
        at = np.flatnonzero(verdict == VERDICTS.index(kind))
        if at.size:
            ax.plot(
                at + 1,
                shown[at],
                marker,
                color=colour,
                markersize=size,
                markeredgewidth=1.4 if marker in "x|" else 0.0,
                zorder=2.5 if kind is Verdict.COMMITTED else 3.5,
                clip_on=False,
                label=f"{label} ({at.size})",
                rasterized=len(values) > _VECTOR_STEPS,
            )


def _log_axis(ax: Axes, values: np.ndarray) -> None:
    """Make the scale logarithmic, with plain characters at its ticks, where values allow it."""
    positive = values[np.isfinite(values) & (values > 0)]
    if not positive.size:
        return
    low, high = int(np.floor(np.log10(positive.min()))), int(np.ceil(np.log10(positive.max())))
    low, high = (low - 1, high + 1) if low == high else (low, high)
    exponents = range(low, high + 1, max(1, -(-(high - low) // 6)))
    ax.set_yscale("log", nonpositive="mask")
    ax.set_yticks([10.0**k for k in exponents], [power_of_ten(k) for k in exponents])
    ax.minorticks_off()
    ax.set_ylim(10.0 ** (low - 0.1), 10.0 ** (high + 0.1))
