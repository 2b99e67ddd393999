"""What conditions on one step (E13) cost, and what they are worth to a guard: runs with and without them.

A guard that lets a policy act only where V(x⁺) ≤ max((1 − a) V(x), c ρ), and the backup elsewhere, gives back what it
prevents. So each row says where it would act: on fresh states of the declared set, and on the samples of rollouts from
there. Prints a row as soon as a run is done; the audited R4 takes minutes.

    python examples/benchmarks/one_step.py --problem cart_pole --one-step 0.002
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.resources

import numpy as np

from scpo_ctrl import AdaptOptions, ControlProblem, Scenarios, adapt
from scpo_ctrl.record.config import read_problem_file

SEED = 20_261_129  # of the fresh states
ROUNDING = 1e-9  # of V in parts of ρ, and of a command in its unit


def shipped(name: str) -> tuple[ControlProblem, AdaptOptions]:
    """Return a problem that ships with the package, and its options."""
    file = read_problem_file(str(importlib.resources.files("scpo_ctrl") / "data" / f"{name}.toml"))
    return file.problem, file.options


def conditioned(problem: ControlProblem, one_step: float, cloud: int | None, floor: float) -> ControlProblem:
    """Return the same problem with conditions on one step."""
    options = dataclasses.replace(
        problem.scenario_metrics.options, one_step=one_step, cloud=cloud, contraction_floor=floor
    )
    return ControlProblem(problem.policy, problem.scenarios, problem.objective_data, options)


def acts(problem: ControlProblem, theta: np.ndarray, states: int) -> tuple[float, float]:
    """Return on which part of fresh states, and of the samples of rollouts from there, a guard would act."""
    assert problem.one_step is not None and problem.scenarios.declared is not None
    batch, plant = problem.scenarios.declared.random(0, states, SEED), problem.plant
    x, u = problem.trajectories(theta, batch)
    N, count = batch.horizon, batch.count * batch.horizon
    w = batch.w.reshape(count, 1, batch.w.shape[2])
    samples = Scenarios(x[:, :-1].reshape(count, -1), np.repeat(batch.p, N, axis=0), w, 1)
    rises = ~(problem.one_step.decreases(theta, samples).reshape(-1, N) <= ROUNDING)
    beyond = ((u > plant.u_max + ROUNDING) | (u < plant.u_min - ROUNDING)).any(axis=2)
    guarded = rises | beyond
    return float(guarded[:, 0].mean()), float(guarded.mean())


def row(name: str, problem: ControlProblem, checked: ControlProblem, options: AdaptOptions, states: int) -> str:
    """Run, and return a row of the table: what a guard of the conditions `checked` has would do."""
    run = adapt(problem, options)
    at_start, along = acts(checked, run.theta, states)
    last = run.final_audit
    found = [
        name,
        f"{run.objective_initial:.4g} → {run.objective_final:.4g}",
        f"{100 * at_start:.3g} %",
        f"{100 * along:.3g} %",
        "none" if last is None else "passed" if last.passed else "failed",
        f"{problem.spectral_radius(run.theta):.3f}",
        f"{run.seconds:.0f} s",
    ]
    return "| " + " | ".join(found) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", default="cart_pole", help="one that ships with the package")
    parser.add_argument("--one-step", type=float, default=0.002, help="a, the part of V that a step removes")
    parser.add_argument("--cloud", type=int, default=None, help="states")
    parser.add_argument("--floor", type=float, default=0.0, help="c, a part of ρ")
    parser.add_argument("--steps", type=int, default=None, help="those of the problem by default")
    parser.add_argument("--states", type=int, default=20_000, help="fresh ones")
    given = parser.parse_args()
    problem, options = shipped(given.problem)
    options = dataclasses.replace(options, steps=options.steps if given.steps is None else given.steps)
    one_step = conditioned(problem, given.one_step, given.cloud, given.floor)
    print("| run | objective | a guard acts on: fresh states | samples of rollouts | last audit | radius | time |")
    print("|" + " --- |" * 7)
    for audit in (False, True):
        how = dataclasses.replace(options, audit=audit)
        audits = "with audits" if audit else "without audits"
        print(row(f"without one_step, {audits}", problem, one_step, how, given.states), flush=True)
        print(row(f"with one_step, {audits}", one_step, one_step, how, given.states), flush=True)


if __name__ == "__main__":
    main()
