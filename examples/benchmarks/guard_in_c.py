"""The guard in exported C: what it costs on an emulated Cortex-M4F, and the held-out attack through it.

python examples/benchmarks/guard_in_c.py [--count 1000000]

Instructions of a control call at -O2, in float, of 100 test vectors, half of them in the set: the fewest, where an
input is near the backup's, and the most, where the next state is computed at all points of the parameters. "near" is
how much of the samples of fresh episodes is of the first kind, where the C has that condition. Bytes are what a program
that calls `scpo_control` links at -Os, numbers aside. The attack (tests/guard_attack.py) draws states of the set,
parameters of a linear residual that mean the worst, and plants, and counts next states outside the set and inputs
beyond bounds, in float and in double.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "examples"), str(ROOT / "tests")]

from guard_attack import attack, exported, run_of
from support.common import print_table
from support.device import missing, run_on_device

import scpo_ctrl as sc
from scpo_ctrl.codegen import export
from scpo_ctrl.models import Plant, cart_pole, double_integrator, planar_quadrotor
from scpo_ctrl.proof.guarded import guard

EPISODES = 1000
MASSES = {"pole_mass": (0.05, 0.15), "cart_mass": (0.5, 1.5)}
PUSHED = {"parameters": {"mass": (0.8, 1.3)}, "disturbance": [0.0, 0.01]}
Loop = tuple[str, Plant, dict[str, object], bool]
LOOPS: list[Loop] = [
    ("R3", double_integrator(), {}, False),
    ("R3, mass, pushed", double_integrator(), PUSHED, False),
    ("R4", cart_pole(), {}, False),
    ("R4, masses +-50 %", cart_pole(), {"parameters": MASSES}, False),
    ("the same, LQR's gain", cart_pole(), {"parameters": MASSES}, True),
    ("R5", planar_quadrotor(), {}, False),
]


def result_of(plant: Plant, declared: dict[str, object], keep: bool) -> sc.Result:
    """Return a short run, on a designed backup or one that keeps the gain of an LQR."""
    ranges = declared.get("parameters")
    K = sc.lqr(plant, [1.0, 1.0, 10.0, 1.0], [1.0], parameters=ranges).K if keep else None
    return run_of(plant, sc.lmi(plant, K=K, **declared), **declared)


def near_part(result: sc.Result) -> float:
    """Return the part of the samples of fresh episodes at which no next state is computed."""
    problem, plant = result.problem, result.problem.plant
    found = guard(problem)
    condition = found.near()
    if condition is None:
        return 0.0
    least, per = condition
    drawn = problem.scenarios.declared.random(0, EPISODES, 5)
    step, x, near = plant.function.map(EPISODES), drawn.x0, []
    for t in range(problem.scenarios.declared.horizon):
        u, z = problem.policy(x, result.theta), x - plant.x_eq
        away = np.abs(u - (plant.u_eq - z @ found.K.T)) @ per
        near.append(np.linalg.norm(z @ found.root.T, axis=1) <= least - away)
        x = np.array(step(x.T, found.apply(x, u)[0].T, drawn.p.T)).T
        x = x + drawn.w[:, t] if drawn.w.size else x
    return float(np.mean(near))


def cost(name: str, result: sc.Result, folder: Path) -> list[str]:
    """Return a row of the table of costs."""
    found, near = [], "-"
    for guarded in (False, True):
        to = folder / ("with" if guarded else "without")
        done = export(result, to / "c", target="cortex-m4f", guarded=guarded, measured=False)
        (to / "work").mkdir()
        found.append(run_on_device(result.problem.policy, done.path, to / "work"))
        if guarded and "reach" in (done.path / "src" / "scpo_guard.c").read_text():
            near = f"{100 * near_part(result):.0f}"
    without, with_guard = found
    counts = (without.fewest, with_guard.fewest, with_guard.instructions, without.code, with_guard.code)
    points = str(len(guard(result.problem).points))
    return [name, points, near, *(f"{count:.0f}" for count in counts)]


def attacked(name: str, result: sc.Result, folder: Path, count: int) -> list[list[str]]:
    """Return rows of the table of attacks."""
    rows = []
    for real in ("float", "double"):
        found = attack(result.problem, exported(result, folder / real, real), count, seed=7)
        numbers = (found.tried, found.applied, found.guarded, found.escapes, found.beyond)
        rows.append([name, real, *map(str, numbers), f"{found.farthest:.7f}"])
    return rows


def main() -> None:
    """Export, run, attack, and print the tables."""
    parser = argparse.ArgumentParser(description="The guard in exported C: its cost, and an attack")
    parser.add_argument("--count", type=int, default=1_000_000, help="states of the attack")
    count = parser.parse_args().count
    costs, attacks = [], []
    with tempfile.TemporaryDirectory() as folder:
        for k, (name, *declared) in enumerate(LOOPS):
            result = result_of(*declared)
            if not missing():
                costs.append(cost(name, result, Path(folder) / f"{k}"))
            attacks += attacked(name, result, Path(folder) / f"{k}", count)
    print(f"not installed: {', '.join(missing())}" if missing() else "")
    heads = ["guard of", "points", "near, %", "instructions", "near", "at most", "bytes", "with guard"]
    print_table(heads, costs)
    heads = ["guard of", "in", "states", "applied", "guarded", "escapes", "beyond", "largest V / rho"]
    print_table(heads, attacks)


if __name__ == "__main__":
    main()
