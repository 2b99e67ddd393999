"""The guard (E9) attacked, and what it costs: states that escape, how often it acts, what is left of the improvement.

python examples/benchmarks/guards.py [--count 10000000] [--only NAME]

For each plant a policy is adapted, with one-step conditions (E13) where nothing else is said, and audits, on a proved
level set. "escape" counts next states
outside the set, or inputs beyond their bounds, of random and adversarial quadruples: states in the set, half of them on
its surface; policies with random parameters, small and huge, and inputs anywhere and at their bounds; parameters
anywhere and at corners of their ranges; disturbances that raise V most. "acts" and "left" are of 20 000 fresh episodes.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.common import print_table

import scpo_ctrl as sc
from scpo_ctrl.invariance.guard import Guard
from scpo_ctrl.models import cart_pole, double_integrator, planar_quadrotor
from scpo_ctrl.proof.guarded import guard, guarded_runs

HALVES = {"pole_mass": (0.05, 0.15), "cart_mass": (0.5, 1.5)}
AT_ONCE = 200_000


def double_integrator_problem() -> sc.ControlProblem:
    """Return R3 on its LQR's level set, without conditions on one step."""
    plant = double_integrator()
    backup = sc.lqr(plant, [0.1, 0.1], [10.0])
    batch = sc.scenarios(plant, backup, count=32, level=0.9, horizon=50, seed=1)
    metrics = sc.MetricOptions(contraction=0.3)
    return sc.ControlProblem(sc.Policy(plant, backup), batch, sc.Quadratic([1.0, 0.1], [0.05]), metrics)


def pushed_problem() -> sc.ControlProblem:
    """Return R3 with a range of the mass and disturbances, on a set designed for them."""
    plant, ranges, half = double_integrator(), {"mass": (0.8, 1.3)}, [0.0, 0.01]
    backup = sc.lmi(plant, parameters=ranges, disturbance=half)
    batch = sc.scenarios(
        plant, backup, count=32, level=0.9, horizon=50, seed=1, parameters=ranges, disturbance=half
    )  # fmt: skip
    metrics = sc.MetricOptions(one_step=0.005, cloud=64, contraction_floor=0.1)
    return sc.ControlProblem(sc.Policy(plant, backup), batch, sc.Quadratic([1.0, 0.1], [0.05]), metrics)


def cart_pole_problem() -> sc.ControlProblem:
    """Return R4 with both masses +-50 %, on a set designed for the LQR's gain."""
    plant = cart_pole()
    gain = sc.lqr(plant, [1.0, 1.0, 10.0, 1.0], [1.0], parameters=HALVES).K
    backup = sc.lmi(plant, K=gain, parameters=HALVES)
    batch = sc.scenarios(plant, backup, count=64, level=0.9, horizon=50, seed=1, parameters=HALVES)
    metrics = sc.MetricOptions(one_step=0.005, cloud=64, contraction_floor=0.05)
    return sc.ControlProblem(sc.Policy(plant, backup), batch, sc.Quadratic([1.0, 0.1, 1.0, 0.1], [0.01]), metrics)


def horizon_problem() -> sc.ControlProblem:
    """Return R4 as before, with contraction over the horizon (E8) in place of conditions on one step."""
    of = cart_pole_problem()
    metrics = sc.MetricOptions(contraction=0.9, contraction_floor=0.05)
    return sc.ControlProblem(of.policy, of.scenarios, of.objective_data, metrics)


def quadrotor_problem() -> sc.ControlProblem:
    """Return R5 on a designed set."""
    plant = planar_quadrotor()
    backup = sc.lmi(plant)
    batch = sc.scenarios(plant, backup, count=64, level=0.9, horizon=60, seed=1)
    metrics = sc.MetricOptions(one_step=0.005, cloud=128, contraction_floor=0.05)
    cost = sc.Quadratic([100.0, 1.0, 100.0, 1.0, 1.0, 0.01], [1.0, 1.0])
    return sc.ControlProblem(sc.Policy(plant, backup), batch, cost, metrics)


PROBLEMS: dict[str, Callable[[], sc.ControlProblem]] = {
    "R3, (E8) alone": double_integrator_problem,
    "R3, mass, pushed": pushed_problem,
    "R4, masses +-50 %": cart_pole_problem,
    "R4, (E8) alone": horizon_problem,
    "R5": quadrotor_problem,
}


def escapes(problem: sc.ControlProblem, held: Guard, rng: np.random.Generator, count: int) -> int:
    """Return how many of random and adversarial quadruples escape."""
    plant, (unit, root), declared = problem.plant, problem.backup.shape, problem.scenarios.declared
    assert declared is not None
    towards = rng.normal(size=(count, plant.nx))
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    length = np.where(rng.uniform(size=(count, 1)) < 0.5, 1 - 1e-8, rng.uniform(size=(count, 1)))
    x = plant.x_eq + unit * ((length * towards) @ root.T)
    sides = rng.uniform(size=(count, plant.npar))
    sides = np.where(rng.uniform(size=sides.shape) < 0.5, np.round(sides), sides)
    p = declared.ranges[:, 0] + sides * np.ptp(declared.ranges, axis=1)
    thirds = np.array_split(np.arange(count), 3)
    u = np.empty((count, plant.nu))
    theta = rng.normal(size=problem.theta_dim) * 10.0 ** rng.uniform(-2, 3)
    assert isinstance(problem.policy, sc.Policy)
    u[thirds[0]] = problem.policy(x[thirds[0]], theta)
    u[thirds[1]] = rng.uniform(plant.u_min, plant.u_max, (len(thirds[1]), plant.nu))
    u[thirds[2]] = np.where(rng.uniform(size=(len(thirds[2]), plant.nu)) < 0.5, plant.u_min, plant.u_max)
    applied, _ = held.apply(x, u)
    following = np.array(plant.function.map(count)(x.T, applied.T, p.T)).T
    if declared.half.size:
        slope = (following - plant.x_eq) @ problem.backup.P
        following = following + np.where(slope >= 0, declared.half, -declared.half)
    out = problem.backup.level(following, plant.x_eq) > problem.backup.rho
    out |= ((applied < plant.u_min) | (applied > plant.u_max)).any(axis=1)
    return int(out.sum())


def row(name: str, count: int) -> list[str]:
    """Return a row of the table."""
    problem = PROBLEMS[name]()
    began = time.process_time()
    held = guard(problem)
    made = time.process_time() - began
    rng, out = np.random.default_rng(17), 0
    for start in range(0, count, AT_ONCE):
        out += escapes(problem, held, rng, min(AT_ONCE, count - start))
    result = sc.adapt(problem, sc.AdaptOptions(steps=80))
    runs = guarded_runs(problem, result.theta, held)
    gained = "" if runs.kept is None else f"{100 * runs.kept:.2f}"
    lost = 100 * (held.between + held.pushed)
    costs = f"{runs.cost_backup:.4g} -> {runs.cost_without:.4g}"
    return [
        name, f"{out} of {count:.0e}", f"{100 * runs.acted / runs.samples:.2g}", gained, costs, str(len(held.points)),
        f"{lost:.1f}", f"{made:.1f}",
    ]  # fmt: skip


def main() -> None:
    """Attack, adapt, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000_000, help="quadruples for each plant")
    parser.add_argument("--only", choices=PROBLEMS, help="one plant")
    given = parser.parse_args()
    names = [given.only] if given.only else list(PROBLEMS)
    heads = ["guard of", "escape", "acts, %", "left, %", "cost, backup -> adapted", "points", "lost, %", "made, s"]
    print_table(heads, [row(name, given.count) for name in names])


if __name__ == "__main__":
    main()
