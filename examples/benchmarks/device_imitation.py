"""R2 on a device: an expert who is right on one side and malicious on the other, imitated by the exported adaptation.

python examples/benchmarks/device_imitation.py [--steps 120] [--target cortex-m4f]

The error on each half is over all 400 examples, whatever the ring holds; violations are counted in double. With
--target also what it takes on an emulated board: 8 scenarios, N = 30, d = 48, a ring of 128 examples; instructions are
not cycles.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "examples"), str(ROOT / "tests"), str(ROOT / "examples" / "benchmarks")]

from device import ROWS, TARGETS, cell
from device_problems import r3_problem, unadapted
from r2_malicious_expert import half_errors, make_problem
from support.common import print_table

from scpo_ctrl import ControlProblem
from scpo_ctrl.device import DeviceOptions, adapt_as_device
from scpo_ctrl.device.pil import pil


def row(steps: int, real: str, examples: int) -> list[str]:
    """Adapt R2 as a device does; return a row of the table."""
    problem, data = make_problem(stability=False)
    found = adapt_as_device(problem, steps=steps, real=real, options=DeviceOptions(examples=examples))
    committed = found.committed.astype(float)
    good, malicious = half_errors(problem, data, committed)
    violations = int((problem.metrics(committed).max(axis=1) > 0).sum())
    halves = [f"{half[0]:.3f} to {half[-1]:.3f}" for half in (good, malicious)]
    return [real, str(examples), *halves, str(found.counts.commits), str(violations)]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--target", choices=TARGETS)
    options = parser.parse_args()
    rows = [row(options.steps, real, examples) for real in ("double", "float") for examples in (400, 128)]
    print_table(["arithmetic", "examples", "error, right half", "malicious half", "commits", "violations"], rows)
    if options.target is not None:
        base, (_, data) = r3_problem(), make_problem(stability=False)
        problem = ControlProblem(base.policy, base.scenarios, data, base.scenario_metrics.options)
        run = pil(unadapted(problem), target=options.target, steps=options.steps, samples=100)
        titles = {title.split(", from")[0]: name for title, name in ROWS.items()}
        print_table(["", options.target], [[title, cell(run, name)] for title, name in titles.items()])


if __name__ == "__main__":
    main()
