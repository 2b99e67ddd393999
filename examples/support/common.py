"""Arguments, a run without metrics to compare with, a table, and the margin over the steps as a figure's panel."""

import argparse
import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from scpo_ctrl import AdaptOptions, ControlProblem, FunctionProblem, Problem, Result, UserObjective, adapt
from scpo_ctrl.assurance import Fresh
from scpo_ctrl.report.figures import AFTER, FORBIDDEN, INK, LIMIT, style
from scpo_ctrl.report.history_figures import power_of_ten

UNCONSTRAINED = "#aa4499"  # beside the report's colours, also for colour-blind readers
FRESH, FRESH_SEED = 100_000, 20_261_129  # scenarios that no run has seen, and the seed they are drawn with
_SMALLEST = -9  # margins below 10 to this power are drawn as zero


def arguments(description: str | None, name: str, steps: int, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the arguments that every example takes: ``--steps`` and ``--figure``."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    default = Path(__file__).parents[1] / "figures" / f"{name}.png"
    parser.add_argument("--steps", type=int, default=steps, help="first-order steps (default: %(default)s)")
    parser.add_argument("--figure", type=Path, default=default, help="where the figure goes (default: %(default)s)")
    parsed = parser.parse_args(argv)
    if parsed.steps < 0:
        parser.error(f"--steps is {parsed.steps}, expected 0 or more")
    return parsed


def adapt_without_metrics(problem: Problem, steps: int) -> Result:
    """Minimise the same objective by Adam with nothing to keep it safe: one metric that is always -1."""

    def nothing_to_keep(thetas: np.ndarray) -> np.ndarray:
        return np.full((len(thetas), 1), -1.0)

    objective = UserObjective(lambda theta: (float(problem.objective(theta)), problem.gradient(theta)))
    unconstrained = FunctionProblem(problem.theta_initial, nothing_to_keep, objective)
    return adapt(unconstrained, AdaptOptions(steps=steps, method="adam", directions=1))


def margins(problem: Problem, thetas: np.ndarray) -> np.ndarray:
    """Return the margin -max_i g_i(θ) of every policy of a stack, computed anew."""
    return -problem.metrics(thetas).max(axis=1)


def number(value: float) -> str:
    """Return a number in a few digits, or that a time never comes."""
    return "never" if np.isinf(value) else f"{value:.3g}"


def numbers(result: Result, digits: int = 4, *, units: bool = True) -> str:
    """Return the numbers of a controller before and after."""
    parts = []
    for row in result.parameters():
        before, after = (f"{row[end]:.{digits}g}" for end in ("before", "after"))
        parts.append(f"{row['label']} {before} -> {after} {row['unit'] if units else ''}".rstrip())
    return ", ".join(parts)


def violations(margin: np.ndarray) -> str:
    """Return how many of the policies with these margins are unsafe, in words."""
    return f"{np.count_nonzero(~(margin >= 0))} of {margin.size}"


def violating_part(problem: Problem, theta: np.ndarray) -> float:
    """Return on what part of fresh scenarios of the declared set a policy violates; not a number where none is."""
    if not isinstance(problem, ControlProblem):
        return float("nan")
    return Fresh.drawn(problem, theta, 0, FRESH, FRESH_SEED).violations / FRESH


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Print columns, the first one to the left, the others to the right; return header and rows."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, ["-" * width for width in widths], *rows):
        others = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  ".join([row[0].ljust(widths[0]), *others]).rstrip())
    return [header, *rows]


def draw_margins(ax: Axes, result: Result, unconstrained: np.ndarray) -> None:
    """Draw the margin of every committed policy, of every try that was not safe, and of the run without metrics.

    The scale is logarithmic on both sides of zero: safe policies lie above it.
    """
    committed = margins(result.problem, result.committed)
    columns = result.history.columns()
    rejected = columns["margin"] < 0
    lowest = min(-1e-2, 3 * float(unconstrained.min()))
    highest = 5 * float(committed.max())
    ax.set_yscale("symlog", linthresh=10.0**_SMALLEST, linscale=0.4)
    ax.axhspan(lowest, 0, **FORBIDDEN)
    ax.axhline(0, color=LIMIT, linewidth=1.4, zorder=1.5)
    ax.plot(unconstrained, color=UNCONSTRAINED, linewidth=1.6, linestyle=(0, (4, 2)), label="without metrics")
    ax.plot(committed, color=AFTER, linewidth=1.2, marker=".", markersize=3, label="committed policies")
    label = f"unsafe tries, rejected ({rejected.sum()})"
    ax.plot(columns["step"][rejected] + 1, columns["margin"][rejected], "x", color=LIMIT, markersize=4.5, label=label)
    ticks = {0.0: "0"}
    ticks |= {10.0**k: power_of_ten(k) for k in range(-7, 4, 3) if 10.0**k < highest}
    ticks |= {-(10.0**k): power_of_ten(k, "−") for k in range(-7, 4, 3) if -(10.0**k) > lowest}
    ax.set_yticks(list(ticks), list(ticks.values()))
    ax.minorticks_off()
    ax.set(xlim=(0, max(1, result.steps)), ylim=(lowest, highest), xlabel="step", ylabel="margin −max g")
    ax.text(0.985, 0.93, "safe", transform=ax.transAxes, ha="right", color=INK, fontweight="bold")
    below = {"textcoords": "offset points", "xycoords": ax.get_yaxis_transform(), "ha": "right", "va": "top"}
    ax.annotate("unsafe", (0.985, 0.0), xytext=(0, -3), color=LIMIT, fontweight="bold", **below)


def save(figure: Figure, path: Path, table: Sequence[Sequence[str]]) -> None:
    """Write a figure as PNG, and the table that was printed with it as JSON into its "Description".

    A test compares that table with what the documentation states beside the figure. A palette of 256 colours makes a
    third of the size, and no difference to the eye.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = io.BytesIO()
    with style():
        figure.savefig(drawn, dpi=130)
    text = PngInfo()
    text.add_text("Description", json.dumps([list(row) for row in table]))
    palette = Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    palette.save(path, "PNG", optimize=True, pnginfo=text)


def without_stability(problem: ControlProblem) -> ControlProblem:
    """Return a problem without the metric of local stability, for comparisons with what has the metrics of rollouts."""
    options = dataclasses.replace(problem.scenario_metrics.options, stability=False)
    return ControlProblem(problem.policy, problem.scenarios, problem.objective_data, options)
