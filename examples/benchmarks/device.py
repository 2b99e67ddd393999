"""What the adaptation takes on emulated boards: bytes, stack and instructions of R3 with 8 scenarios.

python examples/benchmarks/device.py [--steps 100] [--targets cortex-m4f ...] [--gradients sampled] [--no-audit]

R3 with 8 scenarios, N = 30, d = 48, from the backup; what is committed is audited on the board, unless --no-audit. A
step is without the points of audits. Fresh states are drawn on this computer, from another generator: how many of them
break a metric under the policy that is active at the end. The emulator counts instructions; they are not cycles.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "examples"), str(ROOT / "tests")]

import numpy as np
from device_problems import r3_problem, unadapted
from support.common import print_table

from scpo_ctrl.codegen.device import GRADIENTS
from scpo_ctrl.device.pil import PilRun, pil

TARGETS = ("cortex-m3", "cortex-m4f", "cortex-m7", "cortex-m33", "rv32imafc")
ROWS = {
    "arithmetic": "real",
    "code of all functions, bytes": "code_bytes",
    "RAM of controller and adapter, bytes": "ram_bytes",
    "stack, bytes at most": "stack_bytes",
    "control, instructions at most": "control_instructions",
    "control with guard, instructions at most": "guarded_control",
    "slice, instructions at most": "slice_instructions",
    "projection, instructions in the mean": "projection_instructions",
    "step, instructions in the mean": "step_instructions",
    "step, instructions at most": "dearest_step_instructions",
    "audits": "audits",
    "point of an audit, instructions in the mean": "audit_instructions",
    "commits": "commits",
    "violations on the scenarios, in double": "violations",
    "of 20,000 fresh states break a metric": "fresh_violations",
    "objective, from 3.273": "objective_final",
}


def guarded_control(target: str) -> int:
    """Return the most that a control call takes under the guard, with parameters far from safe ones."""
    safe = unadapted(r3_problem())
    wild = replace(safe, theta=np.random.default_rng(5).normal(0, 3.0, safe.theta.shape))
    run = pil(wild, target=target, steps=0, samples=1000, within="level")
    assert run.passed and run.guarded
    return run.control_instructions or 0


def cell(run: PilRun, name: str) -> str:
    """Return an entry of the table."""
    value = guarded_control(run.target) if name == "guarded_control" else getattr(run, name)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=TARGETS)
    parser.add_argument("--gradients", choices=GRADIENTS, default=GRADIENTS[0])
    parser.add_argument("--no-audit", action="store_true")
    options = parser.parse_args()
    result = unadapted(r3_problem())
    chosen = {"gradients": options.gradients, "audited": not options.no_audit, "steps": options.steps}
    runs = [pil(result, target=target, samples=1000, **chosen) for target in options.targets]
    print_table(["", *options.targets], [[title, *(cell(run, name) for run in runs)] for title, name in ROWS.items()])


if __name__ == "__main__":
    main()
