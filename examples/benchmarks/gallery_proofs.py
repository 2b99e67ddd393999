"""What is proved of each loop of the gallery and of the zoo, and what a guard on its set leaves of the improvement.

python examples/benchmarks/gallery_proofs.py [--only NAME] [--boxes 4000]

"evidence" is what stands behind the backup's level set for all that the loop declares, "proved" the part of rho that
is, "volume" that of the proved set in parts of the set that simulations found (of R4 and R5 an LQR's; their own are
designed). "cover" is of the adapted policy: proved, refuted, which part of the set is open after as many boxes, or what
no cover knows. "acts" and "left" are of fresh episodes under the guard: in which part of the samples it acts, and which
part of the improvement is left; "outputs" means that the controller measures less than the state. Seconds are of CPU,
on one core; all else is the same in every run.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import covers
import gallery
import guards
from proved_sets import volume

import scpo_ctrl as sc
from scpo_ctrl.errors import DomainError
from scpo_ctrl.invariance.level_set import SetProof
from scpo_ctrl.models import cart_pole, planar_quadrotor
from scpo_ctrl.proof.backup_set import backup_law, declared_ranges, prove_backup_set
from scpo_ctrl.proof.cover import cover
from scpo_ctrl.proof.guarded import guard, guarded_runs
from scpo_ctrl.proof.obstacles import explained

BOXES, SECONDS = 4000, 600.0  # of a proof and of a cover; seconds are more than these take
OPTIONS = sc.AdaptOptions(steps=40, audit_rollouts=10_000)
EPISODES = 2000
MOST_STATES = 3  # of a loop, to be covered


@dataclass(frozen=True)
class Loop:
    """A loop, and the backup whose level simulations found."""

    problem: Callable[[], sc.ControlProblem]
    simulated: Callable[[], sc.Backup] | None = None  # that of the problem if None


def of_gallery(name: str) -> Loop:
    """Return a loop of the gallery."""
    return Loop(lambda: gallery.load(name)[0])


def pendulum() -> sc.ControlProblem:
    """Return the pendulum of the covers."""
    return covers.problem(covers.pendulum(), [1.0, 0.1], [1.0], (12,), 40, 0.8)


LOOPS = {name: of_gallery(name) for name in gallery.LOOPS} | {
    "R3": Loop(guards.double_integrator_problem),
    "R4, masses +-50 %": Loop(
        guards.cart_pole_problem, lambda: sc.lqr(cart_pole(), [1, 1, 10, 1], [1.0], parameters=guards.HALVES)
    ),
    "R5": Loop(guards.quadrotor_problem, lambda: sc.lqr(planar_quadrotor(), [1.0] * 6, [100.0] * 2)),
    "pendulum": Loop(pendulum),
}
HEADS = ["loop", "states", "evidence", "proved", "volume", "boxes", "s", "in the way", "cover", "acts, %", "left, %"]


def part(loop: Loop, problem: sc.ControlProblem, proof: SetProof) -> str:
    """Return the volume of the proved set in parts of that which simulations found."""
    if not proof.level:
        return "0"
    found = problem.backup if loop.simulated is None else loop.simulated()
    less = problem.plant.nx * float(np.log(proof.level)) / 2
    return f"{np.exp(volume(problem.backup) + less - volume(found)):.3g}"


def covered(problem: sc.ControlProblem, theta: np.ndarray, boxes: int) -> str:
    """Return what a cover says."""
    if problem.plant.nx > MOST_STATES:
        return f"{problem.plant.nx} states"
    try:
        found = cover(problem, theta, boxes=boxes, seconds=SECONDS)
    except DomainError as error:
        return f"none: {error}".partition(",")[0]
    if found.refuted:
        return "refuted"
    return f"proved, {found.tree.count} boxes" if found.proved else f"{100 * found.undecided:.2g} % open"


def guarded(problem: sc.ControlProblem, theta: np.ndarray, proof: SetProof) -> list[str]:
    """Return how often the guard acts, and what is left of the improvement, or why there is no guard."""
    if not proof.proved:
        return ["not proved", ""]
    try:
        held = guard(problem)
    except DomainError as error:
        return ["outputs" if "does not determine" in str(error) else str(error), ""]
    runs = guarded_runs(problem, theta, held, episodes=EPISODES)
    assert runs.escapes == 0
    return [f"{100 * runs.acted / runs.samples:.2g}", "no gain" if runs.kept is None else f"{100 * runs.kept:.1f}"]


def row(name: str, boxes: int) -> list[str]:
    """Return a row of the table."""
    loop = LOOPS[name]
    problem = loop.problem()
    began = time.process_time()
    proof = prove_backup_set(problem.policy, *declared_ranges(problem), most_boxes=boxes)
    spent = time.process_time() - began
    proof = explained(backup_law(problem.policy), problem.backup.P, proof, seconds=SECONDS)
    evidence = "proved" if proof.proved else problem.backup.evidence
    theta = sc.adapt(problem, OPTIONS).theta
    level = "rho" if proof.proved else f"{proof.level:.3g} rho"
    return [
        name, str(problem.plant.nx), evidence, level, part(loop, problem, proof), str(proof.boxes), f"{spent:.1f}",
        proof.blocks, covered(problem, theta, boxes), *guarded(problem, theta, proof),
    ]  # fmt: skip


def print_row(cells: Sequence[str]) -> None:
    """Print a line of a table of Markdown."""
    print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Prove, adapt, guard, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=LOOPS, help="one loop")
    parser.add_argument("--boxes", type=int, default=BOXES, help="of a proof, and of a cover")
    given = parser.parse_args()
    print_row(HEADS)
    print_row(["---"] * len(HEADS))
    for name in [given.only] if given.only else LOOPS:
        print_row(row(name, given.boxes))


if __name__ == "__main__":
    main()
