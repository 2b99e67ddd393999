"""Level sets of backups that are proved to be kept, or which part of them is: boxes, seconds, what is in the way.

Then sets that are designed by matrix inequalities (`scpo_ctrl.lmi`), with the gain of the LQR or with one of their own,
and by how much their volume is larger than that of the LQR's level, found by simulation where the plant is nonlinear.
Of a million random states of each, half of them on its surface, it is counted how many leave it in a step. "Arb, s" is
how long the independent checker of `scpo-ctrl verify` takes for all boxes; where it did not accept, it says so.

python examples/benchmarks/proved_sets.py
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import casadi as ca
import numpy as np
from support.common import print_table

import scpo_ctrl as sc
from scpo_ctrl.controllers import pid
from scpo_ctrl.invariance.jacobians import Law
from scpo_ctrl.invariance.level_set import SetProof, reached_ranges
from scpo_ctrl.loop.backup import Backup
from scpo_ctrl.loop.level import Ranges, parameter_ranges
from scpo_ctrl.models import Plant, cart_pole, cstr, dc_motor, double_integrator, planar_quadrotor, quadruple_tank
from scpo_ctrl.proof.backup_set import backup_law, prove_backup_set
from scpo_ctrl.verification.backup_proof import Claim, claim_fault

Loop = tuple[str, Plant, list[float], list[float], Ranges]
HALVES: Ranges = {"pole_mass": (0.05, 0.15), "cart_mass": (0.5, 1.5)}
LOOPS: list[Loop] = [
    ("R3, mass 0.8 ... 1.3", double_integrator(), [0.1, 0.1], [10.0], {"mass": (0.8, 1.3)}),
    ("R3, mass 0.3 ... 3", double_integrator(), [0.1, 0.1], [10.0], {"mass": (0.3, 3.0)}),
    ("R4, masses +-50 %", cart_pole(), [1.0, 1.0, 10.0, 1.0], [1.0], HALVES),
    ("R5", planar_quadrotor(), [1.0] * 6, [100.0] * 2, {}),
    ("quadruple tank", quadruple_tank(), [1.0] * 4, [1.0] * 2, {}),
]


DESIGNED: list[tuple[*Loop, bool, float]] = [
    ("R3, mass 0.5 ... 1.5", double_integrator(), [0.1, 0.1], [10.0], {"mass": (0.5, 1.5)}, True, 0.99),
    ("R3, mass 0.3 ... 3", double_integrator(), [0.1, 0.1], [10.0], {"mass": (0.3, 3.0)}, False, 0.99),
    ("R4, masses +-50 %", cart_pole(), [1.0, 1.0, 10.0, 1.0], [1.0], HALVES, True, 0.99),
    ("R4, masses +-50 %", cart_pole(), [1.0, 1.0, 10.0, 1.0], [1.0], HALVES, False, 0.99),
    ("R5", planar_quadrotor(), [1.0] * 6, [100.0] * 2, {}, True, 0.999),
    ("R5", planar_quadrotor(), [1.0] * 6, [100.0] * 2, {}, False, 0.999),
    ("quadruple tank", quadruple_tank(), [1.0] * 4, [1.0] * 2, {}, False, 0.99),
    ("CSTR", cstr(), [100.0, 0.01], [0.01], {}, False, 0.99),
]


@dataclass(frozen=True)
class Stated:
    """What the checker is told: plant and law, K, P and ρ of a backup."""

    plant: Plant
    law: Law
    P: np.ndarray
    rho: float

    def backup(self, x: ca.SX, p: ca.SX) -> ca.SX:
        """Return the command of the backup."""
        return self.law.command(x, p)


def rechecked(law: Law, backup: Backup, proof: SetProof) -> str:
    """Return how long the check of a proof in ball arithmetic takes."""
    if not proof.level:
        return ""
    splits = [generation.tolist() for generation in proof.splits]
    claim = Claim(proof.level, proof.contraction, proof.drift, proof.disturbance, proof.variables, splits, proof.tilt)
    stated, began = Stated(law.plant, law, backup.P, backup.rho), time.process_time()
    ranges, half = reached_ranges(law.plant, proof.ranges), np.zeros(law.plant.nx)
    fault = claim_fault(stated, ranges, half, claim)  # type: ignore[arg-type]  of a law it asks no more
    return fault or f"{time.process_time() - began:.1f}"


def volume(backup: Backup) -> float:
    """Return the logarithm of the volume of a level set, but for a constant."""
    return len(backup.P) * float(np.log(backup.rho)) / 2 - float(np.linalg.slogdet(backup.P)[1]) / 2


def leaving(plant: Plant, backup: Backup, ranges: np.ndarray, count: int = 1_000_000) -> int:
    """Return how many random states of a level set leave it in a step, parameters anywhere or at corners."""
    rng, (unit, root) = np.random.default_rng(23), backup.shape
    towards = rng.normal(size=(count, plant.nx))
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    length = np.where(rng.uniform(size=(count, 1)) < 0.5, 1 - 1e-8, rng.uniform(size=(count, 1)))
    z = unit * ((length * towards) @ root.T)
    sides = rng.uniform(size=(count, plant.npar))
    sides = np.where(rng.uniform(size=sides.shape) < 0.5, np.round(sides), sides)
    p = ranges[:, 0] + sides * np.ptp(ranges, axis=1)
    following = plant.function.map(count)((plant.x_eq + z).T, (plant.u_eq - z @ backup.K.T).T, p.T)
    return int((backup.level(np.array(following).T, plant.x_eq) > backup.rho).sum())


def designed_row(
    name: str, plant: Plant, Q: list[float], R: list[float], ranges: Ranges, keep: bool, decay: float
) -> list[str]:  # fmt: skip
    """Return a row of the table of designed sets."""
    lqr = sc.lqr(plant, Q, R, parameters=None if plant.is_linear else ranges)
    began = time.process_time()
    backup = sc.lmi(plant, K=lqr.K if keep else None, decay=decay, parameters=ranges)
    spent, gain = time.process_time() - began, "of LQR" if keep else "designed"
    assert backup.claim is not None and backup.claim.proof is not None
    larger, boxes = f"{np.exp(volume(backup) - volume(lqr)):.4g}", str(backup.claim.proof.boxes)
    out = leaving(plant, backup, parameter_ranges(plant, ranges))
    proof = prove_backup_set(sc.Policy(plant, backup), parameter_ranges(plant, ranges))
    checked = rechecked(Law(plant, backup.K), backup, proof)
    return [name, gain, f"{decay:g}", larger, boxes, f"{spent:.1f}", checked, str(out)]


def row(name: str, policy: sc.Policy | sc.ControllerPolicy, ranges: Ranges) -> list[str]:
    """Return a row of the table."""
    proof = prove_backup_set(policy, parameter_ranges(policy.plant, ranges))
    level = "rho" if proof.proved else f"{proof.level:.3g} rho"
    at = proof.blocks.split(" at ")[0].removeprefix("a step may multiply the length by ")
    checked = rechecked(backup_law(policy), policy.backup, proof)
    return [name, level, str(proof.boxes), f"{proof.seconds:.2f}", checked, at, ", ".join(proof.variables)]


def main() -> None:
    """Prove, and print the table."""
    rows = [
        row(name, sc.Policy(plant, sc.lqr(plant, Q, R, parameters=None if plant.is_linear else ranges)), ranges)
        for name, plant, Q, R, ranges in LOOPS
    ]
    motor = dc_motor()
    rows.append(row("DC motor, PID", sc.controlled(motor, pid(motor, 1.0, 2.0, 0.02, filter_time=2e-3)), {}))
    print_table(["backup", "proved", "boxes", "s", "Arb, s", "a step multiplies by", "the Jacobian depends on"], rows)
    heads = ["designed set of", "gain", "decay", "times LQR's volume", "boxes", "s", "Arb, s", "leave it, of 1e6"]
    print_table(heads, [designed_row(*loop) for loop in DESIGNED])


if __name__ == "__main__":
    main()
