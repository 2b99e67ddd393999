"""A step before and after adaptation as a figure: the controlled output, and the signal that matters beside it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scpo_ctrl.report.figures import AFTER, BEFORE, FORBIDDEN, INK, LIMIT, NOTE, style
from support.step_response import Response

_FAR = 1.0  # a bound this many times the span of the curves away is not drawn, but named


@dataclass(frozen=True)
class Signal:
    """A signal of both responses."""

    label: str
    unit: str
    values: Sequence[np.ndarray]  # before, after: (N,) or (N + 1,)
    bounds: tuple[float, float]
    rest: float  # where it ends

    @property
    def peaks(self) -> tuple[float, ...]:
        """Its values farthest from where it ends, before and after."""
        return tuple(float(values[np.abs(values - self.rest).argmax()]) for values in self.values)


def draw(title: str, output: Signal, beside: Signal, responses: Sequence[Response]) -> Figure:
    """Draw both signals over time, one above the other.

    Parameters
    ----------
    title : str
    output, beside : Signal
    responses : sequence of Response
        Before and after.

    Returns
    -------
    matplotlib.figure.Figure
    """
    with style():
        figure = Figure(figsize=(8.0, 4.6), layout="constrained")
        axes = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        for ax, signal, stepped in ((axes[0], output, False), (axes[1], beside, True)):
            for values, name, colour in zip(signal.values, ("before", "after"), (BEFORE, AFTER), strict=True):
                held = stepped and len(values) < len(responses[0].t)
                shown = responses[0].t[: len(values)]
                ax.plot(
                    shown,
                    values,
                    color=colour,
                    linewidth=1.8,
                    label=name,
                    drawstyle="steps-post" if held else "default",
                )
            _limits(ax, signal)
            ax.set_ylabel(f"{signal.label} [{signal.unit}]" if signal.unit else signal.label)
        axes[0].axhline(output.rest, color=INK, linewidth=0.9, linestyle=":", zorder=1)
        axes[0].set_title(title)
        axes[0].legend(loc="best")
        axes[1].set(xlabel="time [s]", xlim=(0, responses[0].t[-1]))
    return figure


def _limits(ax: Axes, signal: Signal) -> None:
    """Draw the bounds that are near the curves, and name those that are not."""
    low, high = (float(end(np.concatenate(signal.values))) for end in (np.min, np.max))
    span = max(high - low, 1e-12)
    ends, far = [low - 0.08 * span, high + 0.08 * span], []
    for side, bound in enumerate(signal.bounds):
        distance = bound - high if side else low - bound
        if not np.isfinite(bound):
            continue
        if distance > _FAR * span:
            far.append(f"{'≤' if side else '≥'} {bound:g}")
            continue
        beyond = bound + (0.12 if side else -0.12) * span
        ends[side] = beyond
        ax.axhline(bound, color=LIMIT, linewidth=1.4)
        ax.axhspan(min(bound, beyond), max(bound, beyond), **FORBIDDEN)
    ax.set_ylim(*ends)
    if far:
        ax.set_title(f"bounds {' and '.join(far)} {signal.unit} not shown".replace("  ", " "), **NOTE)
