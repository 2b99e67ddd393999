"""Level sets of backups that are proved to be kept, or which part of them is: boxes, seconds, what is in the way.

python examples/benchmarks/proved_sets.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.common import print_table

import scpo_ctrl as sc
from scpo_ctrl.controllers import pid
from scpo_ctrl.loop.level import Ranges, parameter_ranges
from scpo_ctrl.models import Plant, cart_pole, dc_motor, double_integrator, planar_quadrotor, quadruple_tank
from scpo_ctrl.proof.backup_set import prove_backup_set

Loop = tuple[str, Plant, list[float], list[float], Ranges]
HALVES: Ranges = {"pole_mass": (0.05, 0.15), "cart_mass": (0.5, 1.5)}
LOOPS: list[Loop] = [
    ("R3, mass 0.8 ... 1.3", double_integrator(), [0.1, 0.1], [10.0], {"mass": (0.8, 1.3)}),
    ("R3, mass 0.3 ... 3", double_integrator(), [0.1, 0.1], [10.0], {"mass": (0.3, 3.0)}),
    ("R4, masses +-50 %", cart_pole(), [1.0, 1.0, 10.0, 1.0], [1.0], HALVES),
    ("R5", planar_quadrotor(), [1.0] * 6, [100.0] * 2, {}),
    ("quadruple tank", quadruple_tank(), [1.0] * 4, [1.0] * 2, {}),
]


def row(name: str, policy: sc.Policy | sc.ControllerPolicy, ranges: Ranges) -> list[str]:
    """Return a row of the table."""
    proof = prove_backup_set(policy, parameter_ranges(policy.plant, ranges))
    level = "rho" if proof.proved else f"{proof.level:.3g} rho"
    at = proof.blocks.split(" at ")[0].removeprefix("a step may multiply the length by ")
    return [name, level, str(proof.boxes), f"{proof.seconds:.2f}", at, ", ".join(proof.variables)]


def main() -> None:
    """Prove, and print the table."""
    rows = [
        row(name, sc.Policy(plant, sc.lqr(plant, Q, R, parameters=None if plant.is_linear else ranges)), ranges)
        for name, plant, Q, R, ranges in LOOPS
    ]
    motor = dc_motor()
    rows.append(row("DC motor, PID", sc.controlled(motor, pid(motor, 1.0, 2.0, 0.02, filter_time=2e-3)), {}))
    print_table(["backup", "proved", "boxes", "s", "a step multiplies by", "the Jacobian depends on"], rows)


if __name__ == "__main__":
    main()
