"""The guard in exported C on an emulated Cortex-M4F: bytes and instructions of a control call without it and with it.

python examples/benchmarks/guard_in_c.py

Instructions are the most of 100 test vectors, at -O2, in float: a call whose input passes computes the next state at
all points of the parameters. Bytes are what a program that calls `scpo_control` links at -Os, numbers aside.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.common import print_table
from support.device import missing, run_on_device

import scpo_ctrl as sc
from scpo_ctrl.codegen import export
from scpo_ctrl.models import Plant, cart_pole, double_integrator, planar_quadrotor
from scpo_ctrl.proof.guarded import guard

LOOPS: list[tuple[str, Plant, dict[str, tuple[float, float]]]] = [
    ("R3", double_integrator(), {}),
    ("R3, mass 0.8 ... 1.3", double_integrator(), {"mass": (0.8, 1.3)}),
    ("R4", cart_pole(), {}),
    ("R4, cart +-20 %", cart_pole(), {"cart_mass": (0.8, 1.2)}),
    ("R4, masses +-50 %", cart_pole(), {"pole_mass": (0.05, 0.15), "cart_mass": (0.5, 1.5)}),
    ("R5", planar_quadrotor(), {}),
]


def row(name: str, plant: Plant, ranges: dict[str, tuple[float, float]], folder: Path) -> list[str]:
    """Return a row of the table."""
    backup = sc.lmi(plant, parameters=ranges)
    batch = sc.scenarios(plant, backup, count=3, level=0.5, horizon=10, seed=1, parameters=ranges)
    cost, policy = sc.Quadratic(np.ones(plant.nx), np.ones(plant.nu)), sc.Policy(plant, backup)
    problem = sc.ControlProblem(policy, batch, cost, sc.MetricOptions())
    result = sc.adapt(problem, sc.AdaptOptions(steps=2, audit=False))
    found = []
    for guarded in (False, True):
        to = folder / f"{len(list(folder.iterdir()))}"
        exported = export(result, to / "c", target="cortex-m4f", guarded=guarded, measured=False)
        work = to / "work"
        work.mkdir()
        found.append(run_on_device(policy, exported.path, work))
    numbers = [f"{getattr(one, of):.0f}" for of in ("instructions", "code") for one in found]
    return [name, str(len(guard(problem).points)), *numbers]


def main() -> None:
    """Export, run, and print the table."""
    if tools := missing():
        sys.exit(f"{', '.join(tools)}: not installed")
    with tempfile.TemporaryDirectory() as folder:
        rows = [row(*loop, Path(folder)) for loop in LOOPS]
    heads = ["guard of", "points", "instructions without", "with guard", "bytes without", "with guard"]
    print_table(heads, rows)


if __name__ == "__main__":
    main()
