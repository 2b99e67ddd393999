"""Runs with and without audits (E12) on scenarios that neither has seen: who violates, at what cost, how stable.

The loops are R3, R4 and R5 as shipped and with more scenarios, a buck converter under a load range, a heater behind
dead time, plants of the literature (`published_plants.py`), and random linear plants of two to six states. Fresh
scenarios are drawn from each loop's declared set with a seed of their own. "before" is what a run left in November
2026, when it neither measured stability at rest nor audited, on loops with settings of their own: the part that
violated, or the spectral radius at rest. "radius" is that radius. "time" is the processor's for a step, the audits of
the run included, with and without them. Prints a table, a row as soon as a loop is done.

    python examples/benchmarks/beyond_the_scenarios.py --fresh 1000000 --random 20
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.resources
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import casadi as ca
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from published_plants import PUBLISHED

from scpo_ctrl import AdaptOptions, ControlProblem, MetricOptions, Policy, Quadratic, Result, adapt, lqr, scenarios
from scpo_ctrl.assurance import Fresh
from scpo_ctrl.errors import UnsafeStartError
from scpo_ctrl.models import Plant, discretise, linear
from scpo_ctrl.record.config import read_problem_file

SHIPPED = ("double_integrator", "cart_pole", "planar_quadrotor")
MORE = (("double_integrator", 512), ("double_integrator", 2048), ("cart_pole", 128))  # scenarios
BEFORE = {
    "double_integrator": "32-39 %",
    "double_integrator, 512 scenarios": "2.4 %",
    "double_integrator, 2048 scenarios": "0.4 %",
    "cart_pole": "19-29 %",
    "cart_pole, 128 scenarios": "10 %",
    "planar_quadrotor": "56-60 %",
    "buck converter": "radius 1.4-1.7",
    "heater": "radius 9.4",
    "DC servo": "0 %",
    "ball and plate": "0 %",
    "AFTI-16": "0 %",
    "slow cart-pole": "0 %",
    "fast cart-pole": "20-23 %",
    "four tanks, minimum phase": "24-76 %",
    "four tanks, non-minimum phase": "24-76 %",
    "masses": "49 %",
}
SEED = 20_261_129  # of the fresh scenarios
SHORT = AdaptOptions(steps=100)  # of the loops that do not ship with the package
Loop = tuple[ControlProblem, AdaptOptions]


def buck(draw: str = "random") -> ControlProblem:
    """Return an averaged buck converter, 12 V to 5 V, whose load of 3 to 10 ohm moves the current at rest."""
    x, u, load = ca.SX.sym("x", 2), ca.SX.sym("u"), ca.SX.sym("load")
    L, C, V = 100e-6, 100e-6, 12.0  # H, F, V
    f = ca.vertcat((V * u - x[1]) / L, (x[0] - x[1] / load) / C)
    plant = Plant(
        name="buck converter", x=x, u=u, p=load, p_nominal=np.array([5.0]), p_labels=("load",), p_units=("ohm",), f=f,
        x_min=[-1.0, 3.0], x_max=[4.0, 7.0], u_min=[0.0], u_max=[1.0], x_eq=[1.0, 5.0], u_eq=[5 / 12],
        x_labels=("current", "voltage"), x_units=("A", "V"), u_labels=("duty",), u_units=("",),
    )  # fmt: skip
    plant = discretise(plant, 20e-6, substeps=1)
    backup = lqr(plant, [0.1, 0.1], [10.0], parameters={"load": (3.0, 10.0)})
    batch = scenarios(plant, backup, horizon=60, count=32, level=0.5, parameters={"load": (3.0, 10.0)}, draw=draw)
    return ControlProblem(Policy(plant, backup, (12,)), batch, Quadratic([0.1, 1.0], [0.05]), MetricOptions())


def heater(draw: str = "random") -> ControlProblem:
    """Return a first-order lag behind four samples of dead time."""
    A, B = np.zeros((5, 5)), np.zeros((5, 1))
    A[0, 0], A[0, 1], A[1:4, 2:5], B[4] = 0.975, 0.025, np.eye(3), 1.0
    return around(linear(A, B, 1.0, ([-5.0] * 5, [5.0] * 5, [-5.0], [5.0]), name="heater"), 40, draw)


def random_plant(seed: int, draw: str = "random") -> ControlProblem:
    """Return a random linear plant, stable or a little unstable."""
    rng = np.random.default_rng(seed)
    n = 2 + seed % 5
    A, B = rng.normal(size=(n, n)), rng.normal(size=(n, 1))
    A *= rng.uniform(0.8, 1.05) / np.abs(np.linalg.eigvals(A)).max()
    return around(linear(A, B, 0.1, ([-5.0] * n, [5.0] * n, [-1.0], [1.0]), name=f"random {seed}, n = {n}"), 30, draw)


def around(plant: Plant, horizon: int, draw: str) -> ControlProblem:
    """Return a plant with a careful backup, 32 scenarios and a small network."""
    backup = lqr(plant, np.full(plant.nx, 0.1), [10.0])
    batch = scenarios(plant, backup, horizon=horizon, count=32, level=0.8, draw=draw)
    objective = Quadratic(np.eye(plant.nx)[0] + 0.1, [0.05])
    return ControlProblem(Policy(plant, backup, (12,)), batch, objective, MetricOptions())


def shipped(name: str) -> Loop:
    """Return a problem that ships with the package, and its options."""
    file = read_problem_file(str(importlib.resources.files("scpo_ctrl") / "data" / f"{name}.toml"))
    assert isinstance(file.problem, ControlProblem)
    return file.problem, file.options


def with_more(name: str, count: int) -> Loop:
    """Return a problem that ships with the package on more scenarios, drawn at random from its declared set."""
    problem, options = shipped(name)
    declared = problem.scenarios.declared
    assert declared is not None
    batch = dataclasses.replace(declared.random(0, count, seed=1), declared=declared)
    return problem.with_scenarios(batch, problem.theta_initial), options


def loops(random: int, draw: str = "random") -> Iterator[tuple[str, Callable[[], Loop]]]:
    """Yield the loops' names and what makes them; scenarios of those made here are drawn as `scenarios` says."""
    for name in SHIPPED:
        yield name, partial(shipped, name)
    for name, count in MORE:
        yield f"{name}, {count} scenarios", partial(with_more, name, count)
    makers = {"buck converter": partial(buck, draw), "heater": partial(heater, draw), **PUBLISHED}
    for name, maker in makers.items():
        yield name, lambda maker=maker: (maker(), SHORT)
    for seed in range(random):
        yield f"random {seed}, n = {2 + seed % 5}", lambda seed=seed: (random_plant(seed, draw), SHORT)


def timed(problem: ControlProblem, options: AdaptOptions) -> tuple[Result, float]:
    """Adapt, and return the processor time of a step [s] beside the result; that of compiling is another process's."""
    problem.evaluate(problem.theta_initial)
    began = time.process_time()
    result = adapt(problem, options)
    return result, (time.process_time() - began) / result.steps


def row(name: str, problem: ControlProblem, options: AdaptOptions, fresh: int) -> str:
    """Run with and without audits, and return a row of the table."""
    (plain, lone), (audited, all_in) = (timed(problem, dataclasses.replace(options, audit=on)) for on in (False, True))
    start = Fresh.drawn(problem, problem.theta_initial, 0, fresh, SEED)
    ends = [Fresh.drawn(problem, run.theta, 0, fresh, SEED) for run in (plain, audited)]
    radii = [problem.spectral_radius(theta) for theta in (problem.theta_initial, plain.theta, audited.theta)]
    last = audited.final_audit
    found = [
        name,
        BEFORE.get(name, ""),
        f"{100 * ends[0].violations / fresh:.3g} %",
        f"{ends[1].violations} of {fresh}",
        "passed" if last is not None and last.passed else "none",
        "{:.3f} {:.3f} {:.3f}".format(*radii),
        f"{start.objective:.4g} {ends[0].objective:.4g} {ends[1].objective:.4g}",
        f"{all_in / lone:.1f}",
    ]
    return "| " + " | ".join(found) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fresh", type=int, default=100_000, help="scenarios for each policy")
    parser.add_argument("--random", type=int, default=5, help="random plants")
    parser.add_argument("--draw", default="random", help="of buck converter, heater and random plants")
    parser.add_argument("--only", default="", help="part of the name of the loops to run")
    given = parser.parse_args()
    kinds = "violate: before", "without audits", "with audits", "last audit", "radius: backup, without, with"
    print("| loop |", " | ".join(kinds), "| fresh cost: backup, without, with | time of a step, with / without |")
    print("|" + " --- |" * 8)
    for name, make in loops(given.random, given.draw):
        if given.only in name:
            problem, options = make()
            try:
                print(row(name, problem, options, given.fresh), flush=True)
            except UnsafeStartError as error:
                print(f"| {name} | refused: {error} |", flush=True)


if __name__ == "__main__":
    main()
