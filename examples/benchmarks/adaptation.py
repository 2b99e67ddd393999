"""R3 by every method: what is reached of what is achievable, where a step's time goes, how much plain numpy takes.

    python examples/benchmarks/adaptation.py [--seeds N] [--steps N] [--numpy-steps N] [--figure PATH]

Achievable is the best objective known. A linear policy's comes from `ipopt_reference.py --starts 8 --policy linear`.
With the network it is that of IPOPT and of the seeds of `adapt`, see docs/results.md. Seeds draw the network's hidden
layer and the probes. Violations are counted anew over every committed policy.
"""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

from numpy_loop import NumpyLoop
from r3_double_integrator import OPTIMUM, STEPS, make_problem
from support.common import margins, print_table, save, violations, without_stability

from scpo_ctrl import AdaptOptions, ControlProblem, Policy, Result, adapt
from scpo_ctrl.adaptation.history import VERDICTS
from scpo_ctrl.adaptation.status import Verdict
from scpo_ctrl.report.figures import AFTER, INK, style
from scpo_ctrl.report.history_figures import power_of_ten

LINEAR_OPTIMUM = 1.52503
ENOUGH = 0.99  # share of the achievable improvement that is asked for
COLOURS = {"newton": AFTER, "gauss_newton": "#009e73", "lbfgs": "#cc79a7", "gradient": INK, "adam": "#e69f00"}
ROLLOUTS = ("metrics", "differences", "evaluate", "gradient", "lagrangian_gradients", "jacobian", "gauss_newton")


class TimedEngine:
    """A rollout engine whose calls are counted and timed."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.calls: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._engine, name)
        return self._timed(name, method) if name in ROLLOUTS else method

    def _timed(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            began = time.perf_counter()
            answer = method(*arguments, **options)
            self.seconds[name] += time.perf_counter() - began
            self.calls[name] += 1
            return answer

        return call


@dataclass
class Run:
    """A run and what its engine did."""

    result: Result
    engine: TimedEngine
    optimum: float
    objective: np.ndarray = field(init=False)  # (steps + 1,) after each step

    def __post_init__(self) -> None:
        history = self.result.history
        committed = history.column("committed")
        objective = np.full(self.result.steps + 1, np.nan)
        objective[0] = self.result.objective_initial
        objective[history.column("step")[committed] + 1] = history.column("objective")[committed]
        last = np.maximum.accumulate(np.where(np.isnan(objective), 0, np.arange(objective.size)))
        self.objective = objective[last]

    @property
    def share(self) -> float:
        """Improvement relative to what is achievable."""
        initial = self.result.objective_initial
        return (initial - self.result.objective_final) / (initial - self.optimum)

    @property
    def probes(self) -> int:
        """Evaluations along the step before it is tried: all but the start and the tries."""
        tried = np.count_nonzero(self.result.history.column("verdict") != VERDICTS.index(Verdict.NO_STEP))
        return self.engine.calls["evaluate"] - 1 - int(tried)


def run(
    steps: int, seed: int, *, method: str, linear: bool = False, at_bounds: bool = True, gradients: str = "sampled"
) -> Run:
    """Adapt R3 with an engine that is timed."""
    base = make_problem()
    policy = Policy(base.plant, base.backup) if linear else replace(base.policy, at_bounds=at_bounds)
    options = base.scenario_metrics.options
    problem = ControlProblem(policy, base.scenarios, base.objective_data, options, seed=seed)
    engine = TimedEngine(problem.rollouts._engine)
    problem.rollouts._engine = engine
    result = adapt(problem, AdaptOptions(steps=steps, seed=seed, method=method, gradients=gradients, audit=False))
    return Run(result, engine, LINEAR_OPTIMUM if linear else OPTIMUM)


@contextmanager
def one_core() -> Iterator[None]:
    """Confine this process to one core, where the system can do that: then rollouts have one thread."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else set()
    if cores:
        os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        if cores:
            os.sched_setaffinity(0, cores)


def spread(values: Sequence[float], form: str) -> str:
    """Return the median and the range of values over seeds."""
    low, high = format(min(values), form), format(max(values), form)
    return format(float(np.median(values)), form) + (f" ({low} to {high})" if low != high else "")


def reached(name: str, runs: Sequence[Run]) -> list[str]:
    """Return a method's row of the first table."""
    results = [run.result for run in runs]
    rejected = [sum(not row.is_committed for row in r.history.rows) / max(1, len(r.history)) for r in results]
    margin = np.concatenate([margins(r.problem, r.committed) for r in results])
    statuses = Counter(r.status.name.lower() for r in results)
    return [
        name,
        spread([r.objective_final for r in results], ".4f"),
        f"{min(run.share for run in runs):.2%}",
        f"{sum(run.share >= ENOUGH for run in runs)} of {len(runs)}",
        violations(margin),
        spread([100 * share for share in rejected], ".1f"),
        spread([r.steps for r in results], ".0f"),
        spread([run.probes for run in runs], ".0f"),
        spread([r.rollouts / 1000 for r in results], ".0f"),
        spread([r.stationarity for r in results], ".0e"),
        ", ".join(f"{count} {status}" for status, count in statuses.items()),
    ]


def time_row(name: str, run: Run) -> list[str]:
    """Return a run's row of the second table: milliseconds a step by what they were spent on."""
    spent, steps, total = run.engine.seconds, run.result.steps, run.result.seconds
    rollouts = sum(spent.values())
    sampling, verifying = spent["differences"], spent["evaluate"]
    parts = [sampling, verifying, rollouts - sampling - verifying, total - rollouts, total]
    return [name, str(steps), *(f"{1000 * part / steps:.2f}" for part in parts), f"{1 - rollouts / total:.0%}"]


def against_numpy(steps: int) -> list[list[str]]:
    """Time the same algorithm in plain numpy and in the package, over the same steps, and compare where they arrive."""
    problem, ends = without_stability(make_problem()), []

    def note(state: Any) -> bool:
        ends.append((float(state.objective), state.seconds))
        return False

    options = AdaptOptions(steps=steps, method="gradient", gradients="sampled", audit=False)
    adapt(problem, options, monitor=note)
    loop = NumpyLoop(problem, options)
    loop.rollout_seconds = 0.0
    began = time.perf_counter()
    for _ in range(steps):
        loop.step()
    spent, own = time.perf_counter() - began, ends[-1][1]
    size = f"{loop.projections / steps:.1f} of {loop.constraints / loop.projections:.0f} constraints"
    times = [spent, loop.rollout_seconds, loop.conic_seconds]
    return [
        ["numpy, CVXPY and Clarabel", *(f"{1000 * t / steps:.1f}" for t in times), size, f"{loop.objective:.5f}"],
        ["adapt", f"{1000 * own / steps:.1f}", "", "", "", f"{ends[-1][0]:.5f}"],
        ["times as long", f"{spent / own:.0f}", "", "", "", ""],
    ]


def draw(runs: dict[str, list[Run]]) -> Figure:
    """Draw how far every run's objective is above the best known over the steps, on a logarithmic scale."""
    with style():
        figure = Figure(figsize=(8.4, 4.4), layout="constrained")
        ax = figure.subplots()
        for name, several in runs.items():
            for index, one in enumerate(several):
                gap = np.maximum(one.objective - OPTIMUM, 1e-5) / (one.objective[0] - OPTIMUM)
                width = {"linewidth": 1.8} if index == 0 else {"linewidth": 0.8, "alpha": 0.55}
                ax.plot(np.arange(gap.size), gap, color=COLOURS[name], label=name if index == 0 else None, **width)
                ax.plot(gap.size - 1, gap[-1], "o", color=COLOURS[name], markersize=3)
        ax.axhline(0.01, color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
        ax.annotate("99 % of what is achievable", (0.6, 0.01), (0, 3), textcoords="offset points", fontsize=7.5)
        ax.set_xscale("symlog", linthresh=10)
        ax.set_xticks([0, 5, 10, 30, 100, 400])
        ax.xaxis.set_major_formatter("{x:.0f}")
        ax.minorticks_off()
        ax.set_yscale("log")
        ax.set_yticks([10.0**k for k in range(-4, 1)], [power_of_ten(k) for k in range(-4, 1)])
        ax.set(xlim=(0, None), ylim=(1e-4, 1.2), xlabel="step", ylabel="part of the improvement not reached")
        ax.set_title(f"R3: {len(next(iter(runs.values())))} seeds of each method, seed 0 bold")
        ax.legend(loc="lower left")
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    """Print three tables and draw the figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="0 to N - 1 are run (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=STEPS, help="most steps of a run (default: %(default)s)")
    parser.add_argument("--numpy-steps", type=int, default=8, help="steps in plain numpy (default: %(default)s)")
    parser.add_argument("--figure", type=Path, default=Path(__file__).parents[1] / "figures" / "adaptation.png")
    options = parser.parse_args(argv)
    seeds, steps = range(options.seeds), options.steps
    runs = {name: [run(steps, seed, method=name) for seed in seeds] for name in COLOURS}
    drawn = [run(steps, seed, method="newton", at_bounds=False) for seed in seeds]
    linear = [run(steps, seed, method="newton", linear=True) for seed in seeds]
    header = ["R3", "objective", "least share", "99 %", "violations", "rejected, %", "steps", "probes", "1000 rollouts"]
    header += ["stationarity", "status"]
    rows = [reached(name, several) for name, several in runs.items()]
    rows.insert(1, reached("newton, no units at bounds", drawn))
    table = print_table(header, [*rows, reached("linear policy, newton", linear)])
    print(f"backup {runs['newton'][0].objective[0]:.4f}; achievable {OPTIMUM}, with a linear policy {LINEAR_OPTIMUM}\n")
    header = ["ms a step", "steps", "sampling", "probes, verification", "derivatives", "everything else", "all", "else"]
    exact = {name: run(steps, 0, method=name, gradients="exact") for name in ("newton", "gradient")}
    rows = [time_row(f"{name}, sampled", runs[name][0]) for name in exact]
    with one_core():
        rows.append(time_row("newton, one core", run(steps, 0, method="newton")))
    print_table(header, [*rows, *(time_row(f"{name}, exact", one) for name, one in exact.items())])
    print()
    header = ["ms a step, method gradient", "all", "rollouts", "conic", "projections a step", "objective then"]
    print_table(header, against_numpy(options.numpy_steps))
    save(draw(runs), options.figure, table)
    print(f"\nfigure: {options.figure}")


if __name__ == "__main__":
    main()
