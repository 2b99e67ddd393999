"""Time and peak memory of whole adaptation steps against weights, scenarios, horizon and metrics.

Each point runs in a fresh process, whose peak memory (imports included) is the kernel's count. One thing varies at a
time, from 100 weights, 64 sampled directions, 32 scenarios and 50 steps of a double integrator.

python examples/benchmarks/scaling.py [--largest FRACTION] [--steps N] [--figure PATH]
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.common import print_table, save

from scpo_ctrl import AdaptOptions, ControlProblem, adapt
from scpo_ctrl.adaptation.state import State
from scpo_ctrl.loop.design import lqr
from scpo_ctrl.loop.metrics import MetricOptions
from scpo_ctrl.loop.policy import Policy
from scpo_ctrl.loop.scenario import scenarios
from scpo_ctrl.models import double_integrator
from scpo_ctrl.problem.objective import Quadratic
from scpo_ctrl.report.figures import AFTER, INK, LIMIT, style
from scpo_ctrl.report.history_figures import power_of_ten

DIRECTIONS = 64
PARAMETERS_PER_UNIT = 4  # of a network 2-h-1
LIMIT_MB = 2000  # what the project promises
PATH_ROWS = 304  # metrics of a scenario with bounds over 50 steps


@dataclass(frozen=True)
class Point:
    """What is measured."""

    weights: int = 100
    scenarios: int = 32
    horizon: int = 50
    path: bool = False  # bounds at every time; else two metrics a scenario, at the end


@dataclass(frozen=True)
class Measured:
    """What came out."""

    metrics: int
    wall: float  # s, median of a step
    seconds: float  # of all threads' computing, median of a step: other programs hardly change it
    megabytes: float  # peak of the process


BASE = Point()
SWEEPS = {
    "weights": [replace(BASE, weights=n) for n in (12, 100, 1000, 10_000)],
    "scenarios": [replace(BASE, scenarios=n) for n in (10, 100, 1000, 10_000, 100_000)],
    "horizon": [replace(BASE, horizon=n) for n in (10, 100, 1000)],
    "metrics": [replace(BASE, path=True, scenarios=round(m / PATH_ROWS)) for m in (1000, 10_000, 100_000, 1_000_000)],
}


def make_problem(point: Point) -> ControlProblem:
    """Make the problem of a point."""
    plant = double_integrator()
    backup = lqr(plant, [0.1, 0.1], [10.0])
    batch = scenarios(plant, backup, horizon=point.horizon, count=point.scenarios, level=0.8)
    metrics = MetricOptions() if point.path else MetricOptions(path=False, terminal=True, contraction=0.9999)
    policy = Policy(plant, backup, (point.weights // PARAMETERS_PER_UNIT,))
    return ControlProblem(policy, batch, Quadratic([1.0, 0.1], [0.05]), metrics)


def measure(point: Point, steps: int) -> Measured:
    """Adapt for some steps, in this process."""
    problem, times = make_problem(point), []

    def note(state: State) -> bool:
        times.append((state.seconds, time.process_time()))
        return False

    directions = min(DIRECTIONS, problem.theta_dim)
    options = AdaptOptions(steps=steps + 1, directions=directions, gradients="sampled", audit=False)
    adapt(problem, options, monitor=note)
    wall, computing = np.median(np.diff(times, axis=0), axis=0).tolist()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Measured(problem.varies.size, wall, computing, peak / (1024 if sys.platform == "linux" else 1024**2))


def in_fresh_process(point: Point, steps: int) -> Measured:
    """Measure a point in a process of its own."""
    command = [sys.executable, __file__, "--steps", str(steps), "--point", json.dumps(asdict(point))]
    # Threads of the linear algebra library wait by spinning, which would count as computing.
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return Measured(**json.loads(done.stdout))


def draw(results: dict[str, list[tuple[float, Measured]]]) -> Figure:
    """Draw time and memory against each quantity, on logarithmic axes, with linear growth from first to last."""
    powers = FuncFormatter(lambda value, _: power_of_ten(round(np.log10(value))))
    with style():
        figure = Figure(figsize=(9.6, 4.6), layout="constrained")
        axes = figure.subplots(2, len(results), sharey="row", squeeze=False)
        for column, (name, points) in zip(axes.T, results.items(), strict=True):
            sizes = np.array([size for size, _ in points])
            for ax, key in zip(column, ("seconds", "megabytes"), strict=True):
                values = np.array([getattr(measured, key) for _, measured in points])
                ax.loglog(sizes, values, color=AFTER, marker="o", markersize=4)
                linear = np.interp(sizes, sizes[[0, -1]], values[[0, -1]])
                ax.loglog(sizes, linear, color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
                for axis in (ax.xaxis, ax.yaxis):
                    axis.set_major_locator(LogLocator(numticks=7))
                    axis.set_major_formatter(powers)
                    axis.set_minor_formatter(NullFormatter())
            column[0].set_title(name)
            column[1].set_ylim(100, 1.7 * LIMIT_MB)
            column[1].axhline(LIMIT_MB, color=LIMIT, linewidth=1.2)
            column[1].set_xlabel(name)
        axes[0, 0].set_ylabel("CPU s per step")
        axes[1, 0].set_ylabel("peak MB")
        axes[1, 0].annotate("2 GB", (0.02, LIMIT_MB), xycoords=("axes fraction", "data"), va="bottom", color=LIMIT)
        axes[0, 0].text(0.05, 0.93, "dashed: linear growth", transform=axes[0, 0].transAxes, fontsize=7.5, color=INK)
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    """Measure all points, print the table and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=3, help="steps measured, after a first one (default: %(default)s)")
    parser.add_argument("--largest", type=float, default=1.0, help="leave out points beyond this share of the largest")
    parser.add_argument("--figure", type=Path, default=Path(__file__).parents[1] / "figures" / "scaling.png")
    parser.add_argument("--point", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.point:
        print(json.dumps(asdict(measure(Point(**json.loads(options.point)), options.steps))))
        return
    rows, results = [], {}
    for name, points in SWEEPS.items():
        key = "scenarios" if name == "metrics" else name
        largest = options.largest * getattr(points[-1], key)
        done = [(p, in_fresh_process(p, options.steps)) for p in points if p is points[0] or getattr(p, key) <= largest]
        results[name] = [(m.metrics if name == "metrics" else getattr(p, key), m) for p, m in done]
        for p, m in done:
            sizes = (p.weights, p.scenarios, p.horizon, m.metrics)
            rows.append([name, *map(str, sizes), f"{m.wall:.3g}", f"{m.seconds:.3g}", f"{m.megabytes:.0f}"])
    table = print_table(
        ["against", "weights", "scenarios", "horizon", "metrics", "s per step", "CPU s", "peak MB"], rows
    )
    save(draw(results), options.figure, table)


if __name__ == "__main__":
    main()
