"""What a guess of the active constraints and their rows' norms save: the projections that adaptation asks for.

R3 and R2 are adapted; each projection of the steps after the first ones is then repeated without guess and norms, with
one of them, and with both, as in the loop. Reported is the shortest time of several, mean over the projections.

    python examples/benchmarks/projection_in_the_loop.py [--steps N]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

import r2_malicious_expert
import r3_double_integrator
from support.common import print_table

from scpo_ctrl import AdaptOptions, ControlProblem, adapt, project
from scpo_ctrl.adaptation import attempt

FIRST = 10  # steps that are left out: before them little is known of the active constraints
REPEATS = 5
HINTS = {"neither": (), "guess": ("guess",), "norms": ("norms",), "both": ("guess", "norms")}
RUNS: dict[str, tuple[Callable[[], ControlProblem], str]] = {
    "R3, gradient": (r3_double_integrator.make_problem, "gradient"),
    "R3, newton": (r3_double_integrator.make_problem, "newton"),
    "R2, gradient": (lambda: r2_malicious_expert.make_problem()[0], "gradient"),
}


def recorded(make_problem: Callable[[], ControlProblem], method: str, steps: int) -> list[tuple[tuple, dict[str, Any]]]:
    """Adapt, and return the arguments of every projection but those of the first steps."""
    calls: list[tuple[tuple, dict[str, Any]]] = []
    begun = 0

    def note(*data: Any, **options: Any) -> Any:
        calls.append((data, {name: options[name] for name in ("guess", "norms")}))
        return project(*data, **options)

    def count(state: Any) -> bool:
        nonlocal begun
        begun = len(calls) if state.step == FIRST else begun
        return False

    attempt.project = note
    try:
        adapt(make_problem(), AdaptOptions(steps=FIRST + steps, method=method, audit=False), monitor=count)
    finally:
        attempt.project = project
    return calls[begun:]


def timed(calls: list[tuple[tuple, dict[str, Any]]], kept: tuple[str, ...]) -> tuple[float, np.ndarray]:
    """Return the mean over calls of the shortest time with these hints in s, and the objectives relative to |u|²."""
    seconds, objectives = np.full(len(calls), np.inf), np.zeros(len(calls))
    for k, (data, hints) in enumerate(calls):
        u, options = data[0], {name: hints[name] for name in kept}
        for _ in range(REPEATS):
            began = time.perf_counter()
            answer = project(*data, **options)
            seconds[k] = min(seconds[k], time.perf_counter() - began)
        objectives[k] = np.sum((answer.delta - u) ** 2) / (u @ u)
    return float(np.mean(seconds)), objectives


def row(name: str, steps: int) -> list[str]:
    """Return a run's row of the table."""
    calls = recorded(*RUNS[name], steps)
    constraints = np.mean([data[1].size for data, _ in calls])
    active = np.mean([project(*data, **hints).active.size for data, hints in calls])
    seconds, objectives = zip(*(timed(calls, kept) for kept in HINTS.values()), strict=True)
    spread = float(np.max(np.ptp(objectives, axis=0)))
    sizes = [f"{len(calls) / steps:.1f}", f"{constraints:.0f}", f"{active:.1f}"]
    return [name, *sizes, *(f"{1e6 * part:.0f}" for part in seconds), f"{spread:.0e}"]


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=40, help="steps after the first ones (default: %(default)s)")
    steps = parser.parse_args(argv).steps
    header = ["µs a projection", "a step", "constraints", "active", *HINTS, "objectives differ by"]
    print_table(header, [row(name, steps) for name in RUNS])


if __name__ == "__main__":
    main()
