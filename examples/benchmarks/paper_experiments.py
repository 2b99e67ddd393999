"""Both experiments of the paper against seven other methods, on the same rollouts: one table and one figure a problem.

    python examples/benchmarks/paper_experiments.py [--seeds N] [--budget ROLLOUTS] [--problem r1|r2|both] [--out DIR]
                                                    [--methods NAME …] [--tune]

Seeds draw the data, the sabotage and the initial weights. Every policy that a method deploys, each iterate of a descent
and each commit of a safe method, is judged anew from the problem alone; so violations are those of the whole training.
Runs are kept in DIR/runs: an interrupted comparison goes on where it stopped.

`--tune` shows how the settings in baselines/registry.py were chosen: every point of a method's grid on a seed of its
own. A method that is safe by design must not violate there, another one must end with its worst metric below 0.01;
among those the lowest final objective. SCPO runs with its default options.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

from baselines.experiments import EXPERIMENTS, Experiment
from baselines.figure import draw
from baselines.registry import METHODS, TUNING_SEED
from baselines.store import Run, run_or_load, with_budget
from baselines.tables import table, tuned_score, verdict
from support.common import print_table, save

SEEDS = 4
OUT = Path("runs") / "paper_experiments"


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the arguments."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=SEEDS, help="0 to N - 1 are run (default: %(default)s)")
    parser.add_argument("--budget", type=int, help="rollouts of a run (default: 60000 for r1, 250000 for r2)")
    parser.add_argument("--problem", choices=[*EXPERIMENTS, "both"], default="both")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS), metavar="NAME")
    parser.add_argument("--out", type=Path, default=OUT, help="for figures and runs (default: %(default)s)")
    parser.add_argument("--tune", action="store_true", help="run the grids on the tuning seed instead")
    parsed = parser.parse_args(argv)
    for key in ("seeds", "budget"):
        if getattr(parsed, key) is not None and getattr(parsed, key) < 1:
            parser.error(f"--{key} is {getattr(parsed, key)}, expected 1 or more")
    return parsed


def run(folder: Path, problem: str, experiment: Experiment, method: str, seed: int, settings: dict[str, float]) -> Run:
    """Do one run, or load it, and say so on stderr."""
    began = time.perf_counter()
    done = run_or_load(folder, (problem, method), experiment, METHODS[method], seed, settings)
    took = time.perf_counter() - began
    sys.stderr.write(f"{problem} {method} seed {seed} {settings or ''}: {took:.1f} s\n")
    return done


def compare(options: argparse.Namespace, problem: str) -> None:
    """Run every method on every seed of a problem, print the table, draw the figure."""
    experiment = with_budget(EXPERIMENTS[problem], options.budget)
    folder = options.out / "runs"
    runs = {
        method: [
            run(folder, problem, experiment, method, seed, METHODS[method].settings(problem))
            for seed in range(options.seeds)
        ]
        for method in options.methods
        if experiment.declares_set or not METHODS[method].audits
    }
    printed = print_table(*table(experiment, runs))
    print(verdict(runs))
    path = options.out / f"{problem}.png"
    save(draw(experiment, runs), path, printed)
    print(f"figure: {path}\n")


def tune(options: argparse.Namespace, problem: str) -> None:
    """Run every method's grid on the tuning seed and print it, the setting to choose marked."""
    experiment = with_budget(EXPERIMENTS[problem], options.budget)
    rows = []
    for method in (name for name in options.methods if METHODS[name].grid):
        candidates = METHODS[method].candidates()
        runs = [
            run(options.out / "runs", problem, experiment, method, TUNING_SEED, settings) for settings in candidates
        ]
        best = min(range(len(runs)), key=lambda index: tuned_score(method, runs[index]))
        for index, (settings, done) in enumerate(zip(candidates, runs, strict=True)):
            written = ", ".join(f"{key} {value:g}" for key, value in settings.items())
            violating = f"{done.track.violations} of {done.track.worst.size}"
            numbers = [violating, f"{done.track.worst[-1]:.2g}", f"{done.track.objective[-1]:.4f}"]
            rows.append([METHODS[method].label, written, *numbers, "<" if index == best else ""])
    print_table([f"{experiment.title}, tuning", "settings", "violating", "last worst metric", "objective", ""], rows)
    print()


def main(argv: Sequence[str] | None = None) -> None:
    """Compare, or tune."""
    options = parse(argv)
    for problem in EXPERIMENTS if options.problem == "both" else [options.problem]:
        (tune if options.tune else compare)(options, problem)


if __name__ == "__main__":
    main()
