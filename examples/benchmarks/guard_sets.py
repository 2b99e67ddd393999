"""Guards of larger sets: how often they act, what is left of the improvement, and what they cost in C.

python examples/benchmarks/guard_sets.py [--count 1000000] [--only NAME]

R3 and R4 are adapted with the metrics (E6) to (E8) alone, on their scenarios alone: nothing that they know of a guard.
Three guards: the next state stays in the level set of the backup, or in the largest polytope that the backup keeps, or
the backup brings it into the level set in ten steps. "escape" counts next states outside the set, or inputs beyond
bounds, of random and adversarial states, policies, parameters and disturbances. "acts" and "left" are of 20 000 fresh
episodes. Instructions are those of a control call on an emulated Cortex-M4F at -O2, in float, of 100 test vectors, half
of them in the set, of a residual without a hidden layer: without the guard at most, with it at least and at most.
"""

import argparse
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.common import print_table
from support.device import OnDevice, missing, run_on_device

import scpo_ctrl as sc
from scpo_ctrl.codegen import export
from scpo_ctrl.errors import DomainError
from scpo_ctrl.invariance.guard import Guard
from scpo_ctrl.invariance.polytope_guard import PolytopeGuard
from scpo_ctrl.models import cart_pole, double_integrator
from scpo_ctrl.proof.guarded import guard, guarded_runs

AT_ONCE = 100_000
GUARDS = {"level": {"within": "level"}, "polytope": {"within": "polytope"}, "lookahead 10": {"lookahead": 10}}


def problem_of(level: float, contraction: float, floor: float = 0.0, **declared: object) -> sc.ControlProblem:
    """Return R3 on its LQR's level set, without conditions on one step."""
    plant = double_integrator()
    backup = sc.lqr(plant, [0.1, 0.1], [10.0], parameters=declared.get("parameters"))
    batch = sc.scenarios(plant, backup, horizon=50, count=32, level=level, **declared)
    metrics = sc.MetricOptions(contraction=contraction, contraction_floor=floor)
    return sc.ControlProblem(sc.Policy(plant, backup, hidden=(12,)), batch, sc.Quadratic([1.0, 0.1], [0.05]), metrics)


def cart_pole_problem() -> sc.ControlProblem:
    """Return R4 at its nominal masses on a set designed for the LQR's gain, without conditions on one step."""
    plant = cart_pole()
    backup = sc.lmi(plant, K=sc.lqr(plant, [1.0, 1.0, 10.0, 1.0], [1.0]).K)
    batch = sc.scenarios(plant, backup, count=64, level=0.9, horizon=50, seed=1)
    metrics = sc.MetricOptions(contraction=0.9, contraction_floor=0.05)
    return sc.ControlProblem(sc.Policy(plant, backup), batch, sc.Quadratic([1.0, 0.1, 1.0, 0.1], [0.01]), metrics)


PROBLEMS = {
    "R3": partial(problem_of, 0.8, 0.3),
    "R3, all of the set": partial(problem_of, 1.0, 0.3),
    "R3, mass 0.5 ... 1.5": partial(problem_of, 0.9, 0.9, 0.05, parameters={"mass": (0.5, 1.5)}),
    "R3, mass, pushed": partial(problem_of, 0.9, 0.9, 0.1, parameters={"mass": (0.8, 1.3)}, disturbance=[0.0, 0.01]),
    "R4": cart_pole_problem,
}


def escapes(problem: sc.ControlProblem, held: Guard, rng: np.random.Generator, count: int) -> int:
    """Return how many of random and adversarial quadruples escape."""
    plant, declared = problem.plant, problem.scenarios.declared
    half = declared.half if declared.half.size else np.zeros(plant.nx)
    z = held.surface(rng.normal(size=(count, plant.nx)))
    z *= (np.where(rng.uniform(size=count) < 0.5, 1 - 1e-8, rng.uniform(0, 2, count)) / size(held, z))[:, None]
    x = plant.x_eq + z[held.holds(z)]
    sides = rng.uniform(size=(len(x), plant.npar))
    p = np.where(rng.uniform(size=sides.shape) < 0.5, np.round(sides), sides) * np.ptp(declared.ranges, axis=1)
    p += declared.ranges[:, 0]
    thirds = np.array_split(np.arange(len(x)), 3)
    u = np.where(rng.uniform(size=(len(x), plant.nu)) < 0.5, plant.u_min, plant.u_max)
    u[thirds[0]] = problem.policy(x[thirds[0]], rng.normal(size=problem.theta_dim) * 10.0 ** rng.uniform(-2, 3))
    u[thirds[1]] = rng.uniform(plant.u_min, plant.u_max, (len(thirds[1]), plant.nu))
    applied, _ = held.apply(x, u)
    following = np.array(plant.function.map(len(x))(x.T, applied.T, p.T)).T - plant.x_eq
    out = ((applied < plant.u_min) | (applied > plant.u_max)).any(axis=1)
    if isinstance(held, PolytopeGuard):
        return int((out | ((following @ held.polytope.F.T + np.abs(held.polytope.F) @ half).max(axis=1) > 1)).sum())
    following += np.where(following @ problem.backup.P >= 0, half, -half)
    return int((out | ~held.holds(following)).sum())


def size(held: Guard, z: np.ndarray) -> np.ndarray:
    """Return what a polytope, or a level set, is to be multiplied by to have states on its surface."""
    if isinstance(held, PolytopeGuard):
        return held.polytope.gauge(z)
    return np.linalg.norm(z @ held.root.T, axis=1)


def instructions(result: sc.Result, folder: Path, within: str) -> list[str]:
    """Return what a control call takes on the device: with the guard at least and at most, and without it."""
    if missing():
        return ["-"] * 3
    problem, found = result.problem, list[OnDevice]()
    policy = sc.Policy(problem.plant, problem.backup)
    small = sc.ControlProblem(policy, problem.scenarios, problem.objective_data, sc.MetricOptions())
    result = sc.adapt(small, sc.AdaptOptions(steps=2, audit=False))
    for guarded in (False, True):
        to = folder / f"{within}{guarded}"
        options = {"guarded": True, "within": within} if guarded else {}
        done = export(result, to / "c", target="cortex-m4f", measured=False, **options)
        (to / "work").mkdir()
        found.append(run_on_device(result.problem.policy, done.path, to / "work"))
    without, with_guard = found
    return [f"{count:.0f}" for count in (without.instructions, with_guard.fewest, with_guard.instructions)]


def rows(name: str, count: int, folder: Path) -> list[list[str]]:
    """Return rows of the table."""
    problem = PROBLEMS[name]()
    result, found = sc.adapt(problem, sc.AdaptOptions(steps=200, audit=False)), []
    for kind, options in GUARDS.items():
        began = time.process_time()
        try:
            held = guard(problem, **options)
        except DomainError:
            found.append([name, kind, "refused", *["-"] * 7])
            continue
        made, rng = time.process_time() - began, np.random.default_rng(17)
        out = sum(escapes(problem, held, rng, AT_ONCE) for _ in range(-(-count // AT_ONCE)))
        runs = guarded_runs(problem, result.theta, held)
        left = "" if runs.kept is None else f"{100 * runs.kept:.2f}"
        facets = str(len(held.polytope.F)) if isinstance(held, PolytopeGuard) else "-"
        device = (
            instructions(result, folder / name.replace(" ", "_"), kind) if kind in ("level", "polytope") else ["-"] * 3
        )
        acted = f"{100 * runs.acted / runs.samples:.2g}"
        found.append([name, kind, f"{out} of {count:.0e}", acted, left, facets, f"{made:.2f}", *device])
    return found


def main() -> None:
    """Adapt, attack, export, and print the table."""
    parser = argparse.ArgumentParser(description="Guards of larger sets")
    parser.add_argument("--count", type=int, default=1_000_000, help="quadruples for each guard")
    parser.add_argument("--only", choices=PROBLEMS, help="one of them")
    given = parser.parse_args()
    names = [given.only] if given.only else list(PROBLEMS)
    with tempfile.TemporaryDirectory() as folder:
        table = [row for name in names for row in rows(name, given.count, Path(folder))]
    heads = ["of", "guard", "escape", "acts, %", "left, %", "facets", "made, s", "without", "least", "at most"]
    print_table(heads, table)


if __name__ == "__main__":
    main()
