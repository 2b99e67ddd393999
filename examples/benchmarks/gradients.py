"""Sampled against exact gradients: what they cost in a step, which of them is chosen, and what runs with either reach.

Costs are CPU time of the gradients of the whole metric vector along orthonormal directions, the least of several that
alternate; "counted" is the ratio of operations that the choice is made by, and "lost" what the choice costs over the
better one. Loops in the upper part are those that the weights of the count were fitted to, those below are not.

    python examples/benchmarks/gradients.py [--seconds S] [--skip-costs] [--runs N] [--seeds N]
"""

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

import controllers
import gallery
import large_policies
import r1_regression
import r2_malicious_expert
from one_step import shipped
from published_plants import PUBLISHED
from support.common import FRESH_SEED, margins, print_table

from scpo_ctrl import AdaptOptions, ControlProblem, Policy, Problem, Quadratic, Result, adapt, controlled, scenarios
from scpo_ctrl.adaptation.gradients import operations
from scpo_ctrl.adaptation.region import sample_region
from scpo_ctrl.adaptation.state import resolved
from scpo_ctrl.assurance import Fresh
from scpo_ctrl.controllers import lqg
from scpo_ctrl.models import Plant, ball_and_beam, cart_pole, double_integrator

KINDS = ("sampled", "exact")
REACH = 1e-3  # of a step: what is kept of the gradients counts little then
STEPS = {"R1": 20, "R3, to the end": 400, "R4": 25, "R5": 12, "masses": 12}  # of the runs; of others 40
FRESH = 20_000
CLOSED = ("double_integrator", "cart_pole", "planar_quadrotor", "motor_pid", "converter_pi")


def hidden(problem: ControlProblem, *widths: int) -> ControlProblem:
    """Return a problem under a network of other widths."""
    assert isinstance(problem.policy, Policy)
    policy = dataclasses.replace(problem.policy, hidden=widths)
    return ControlProblem(policy, problem.scenarios, problem.objective_data, problem.scenario_metrics.options)


def _itself(problem: ControlProblem) -> ControlProblem:
    return problem


def _of_file(load: Callable[[str], tuple[Any, ...]], name: str) -> Any:
    return load(name)[0]


def with_metrics(problem: ControlProblem, **options: Any) -> ControlProblem:
    """Return a problem with other metrics."""
    metrics = dataclasses.replace(problem.scenario_metrics.options, **options)
    return ControlProblem(problem.policy, problem.scenarios, problem.objective_data, metrics)


def disturbed(problem: ControlProblem) -> ControlProblem:
    """Return a problem with disturbances of up to 1e-4 of the states' bounds, from the middle of its level set."""
    plant, batch = problem.plant, problem.scenarios
    size = 1e-4 * np.where(np.isfinite(plant.x_max), plant.x_max - plant.x_eq, 0.0)
    batch = scenarios(plant, problem.backup, horizon=batch.horizon, count=batch.count, level=0.3, disturbance=size)
    options = dataclasses.replace(problem.scenario_metrics.options, contraction=None, contraction_floor=0.0)
    return ControlProblem(problem.policy, batch, problem.objective_data, options)


def under_lqg(plant: Plant) -> ControlProblem:
    """Return a plant, all of whose states are measured, under LQG with weights relative to its bounds."""
    half = np.where(np.isfinite(plant.x_max), plant.x_max - plant.x_eq, 1.0)
    policy = controlled(plant, lqg(plant, 1 / half**2, 1 / plant.u_max**2, 1e-4 * half**2, [1e-3] * plant.nx))
    batch = scenarios(policy.plant, policy.backup, horizon=60, count=24, level=0.4)
    return ControlProblem(policy, batch, Quadratic([1.0] * plant.nx, [0.1] * plant.nu))


def fitted() -> dict[str, tuple[Callable[[], Problem], int]]:
    """Return some of the loops that the weights were fitted to, and how many directions, 0 for all."""
    r3, r4, r5 = (shipped(name)[0] for name in CLOSED[:3])
    rows: dict[str, tuple[Callable[[], Problem], int]] = {}
    for name, base in (("R3", r3), ("R4", r4), ("R5", r5)):
        rows[f"{name}, linear"] = partial(hidden, base), 0
        rows[f"{name}, 12"] = partial(_itself, base), 0
        rows[f"{name}, 12, 12 directions"] = partial(_itself, base), 12
        rows[f"{name}, 16-16"] = partial(hidden, base, 16, 16), 0
    for name in CLOSED[3:]:
        rows[name] = partial(_of_file, shipped, name), 0
    for name in ("dc_motor", "buck_converter", "quadruple_tank"):
        rows[f"gallery: {name}"] = partial(_of_file, gallery.load, name), 0
    rows |= {"tanks, LQG": (controllers.tanks, 0), "car": (controllers.car, 0)}
    rows |= {name: (make, 0) for name, make in PUBLISHED.items()}
    rows |= {f"ten masses, {d}": (partial(large_policies.make_problem, d), 60) for d in (120, 1000)}
    return rows


def others() -> dict[str, tuple[Callable[[], Problem], int]]:
    """Return loops that the weights were not fitted to."""
    r3, r4, r5 = (shipped(name)[0] for name in CLOSED[:3])
    rows: dict[str, tuple[Callable[[], Problem], int]] = {
        "R1, expressions": (lambda: r1_regression.make_problem(r1_regression.make_data()), 0),
        "R2, imitation": (lambda: r2_malicious_expert.make_problem()[0], 0),
        "R3, 20-20": (lambda: hidden(r3, 20, 20), 0),
        "R3, 200, 60 directions": (lambda: hidden(r3, 200), 60),
        "R3, disturbances": (lambda: disturbed(r3), 0),
        "R3, one step": (lambda: with_metrics(r3, one_step=0.002, cloud=1024), 0),
        "R4, one step": (lambda: with_metrics(r4, one_step=0.002, cloud=1024), 0),
        "R4, 100, 60 directions": (lambda: hidden(r4, 100), 60),
        "R5, disturbances": (lambda: disturbed(r5), 0),
        "R5, one step": (lambda: with_metrics(r5, one_step=0.002, cloud=1024), 0),
    }
    for make in (double_integrator, cart_pole, ball_and_beam):
        rows[f"{make.__name__}, LQG"] = partial(under_lqg, make()), 0
    rows["masses, 40, 60 directions"] = (lambda: hidden(PUBLISHED["masses"](), 40)), 60
    return rows


def cost_row(name: str, problem: Problem, directions: int, seconds: float) -> tuple[list[str], float]:
    """Time both ways and return a row, and the time of the choice relative to the better one."""
    d, theta = problem.theta_dim, problem.theta_initial
    p = min(d, directions or d)
    D = np.linalg.qr(np.random.default_rng(0).normal(size=(d, p)))[0].T.copy()
    g = problem.evaluate(theta)[1]
    least = dict.fromkeys(KINDS, np.inf)
    options = {kind: AdaptOptions(gradients=kind) for kind in KINDS}
    end = time.process_time() + seconds
    rounds = 0
    while rounds < 3 or time.process_time() < end:
        for kind in KINDS:
            began = time.process_time()
            sample_region(problem, theta, g, np.ones(g.size), D, REACH, options[kind])
            if rounds:  # the first one compiles
                least[kind] = min(least[kind], time.process_time() - began)
        rounds += 1
    method = "gradient" if directions == 0 else "lbfgs"
    chosen = resolved(problem, AdaptOptions(method=method, directions=0 if p == d else p)).gradients
    counted = operations(problem, p) if isinstance(problem, ControlProblem) else None
    lost = least[chosen] / min(least.values())
    return [
        name, f"{d}", f"{p}", f"{g.size}", *(f"{1000 * least[kind]:.2f}" for kind in KINDS),
        f"{least['exact'] / least['sampled']:.2f}",
        "" if counted is None else f"{counted.exact / counted.sampled:.2f}", chosen, f"{lost - 1:.0%}",
    ], lost  # fmt: skip


def costs(seconds: float) -> None:
    """Print the table of costs."""
    header = [
        "gradients of a step",
        "d",
        "p",
        "metrics",
        "sampled ms",
        "exact ms",
        "ratio",
        "counted",
        "chosen",
        "lost",
    ]
    for title, rows in (("fitted", fitted()), ("not fitted", others())):
        found = [cost_row(name, make(), p, seconds) for name, (make, p) in rows.items()]
        print_table(header, [row for row, _ in found])
        mean = float(np.exp(np.mean(np.log([lost for _, lost in found]))))
        print(f"{title}: the choice costs {mean - 1:.1%} over the better one on average\n")


def run_problems() -> dict[str, Callable[[int], Problem]]:
    """Return the problems of the runs by seed."""

    def seeded(make: Callable[[], ControlProblem]) -> Callable[[int], Problem]:
        def of_seed(seed: int) -> ControlProblem:
            base = make()
            options = base.scenario_metrics.options
            return ControlProblem(base.policy, base.scenarios, base.objective_data, options, seed=seed)

        return of_seed

    r3, r4, r5 = (partial(_of_file, shipped, name) for name in CLOSED[:3])
    return {
        "R1": lambda seed: r1_regression.make_problem(r1_regression.make_data(seed), seed),
        "R2": lambda seed: r2_malicious_expert.make_problem(seed)[0],
        "R3": seeded(r3),
        "R3, to the end": seeded(r3),
        "R3, one step": seeded(lambda: with_metrics(r3(), one_step=0.002)),
        "R4": seeded(r4),
        "R5": seeded(r5),
        **{name: seeded(make) for name, make in controllers.LOOPS.items()},
        **{name: seeded(PUBLISHED[name]) for name in ("DC servo", "ball and plate", "AFTI-16", "masses")},
    }


def fresh_part(result: Result) -> float:
    """Return the part of fresh scenarios on which a final policy violates; not a number where none is declared."""
    problem = result.problem
    if not isinstance(problem, ControlProblem):
        return np.nan
    return Fresh.drawn(problem, result.theta, 0, FRESH, FRESH_SEED).violations / FRESH


def run_row(name: str, make: Callable[[int], Problem], seeds: int) -> list[str]:
    """Run both ways with some seeds and return a row: medians, sampled and then exact."""
    found: dict[str, list[Result]] = {kind: [] for kind in KINDS}
    for seed in range(seeds):
        for kind in KINDS:
            options = AdaptOptions(steps=STEPS.get(name, 40), seed=seed, gradients=kind, audit=False)
            found[kind].append(adapt(make(seed), options))
    both = [found[kind] for kind in KINDS]
    falls = [np.array([r.objective_initial - r.objective_final for r in runs]) for runs in both]
    share = falls[1] / falls[0]
    broken = [sum(int((margins(r.problem, r.committed) < 0).sum()) for r in runs) for runs in both]

    def pair(values: Callable[[Result], float], form: str) -> str:
        return ", ".join(format(float(np.median([values(r) for r in runs])), form) for runs in both)

    return [
        name, pair(lambda r: r.steps, ".0f"), pair(lambda r: r.objective_final, ".5g"),
        f"{np.median(share):.4f} ({share.min():.4f} to {share.max():.4f})", pair(lambda r: r.stationarity, ".0e"),
        f"{broken[0]}, {broken[1]}", pair(fresh_part, ".2%"), pair(lambda r: 1000 * r.seconds / max(1, r.steps), ".0f"),
    ]  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=0.5, help="of CPU for each loop (default: %(default)s)")
    parser.add_argument("--skip-costs", action="store_true", help="print the table of the runs only")
    parser.add_argument("--runs", nargs="*", default=None, help="which problems are run (default: all)")
    parser.add_argument("--seeds", type=int, default=4)
    given = parser.parse_args(argv)
    if not given.skip_costs:
        costs(given.seconds)
    problems = run_problems()
    rows = []
    for name in problems if given.runs is None else given.runs:
        rows.append(run_row(name, problems[name], given.seeds))
        print(" | ".join(rows[-1]), flush=True)
    header = ["sampled, exact", "steps", "objective", "improvement, exact to sampled", "stationarity"]
    header += ["violating commits", f"violating, of {FRESH} fresh", "ms a step"]
    if rows:
        print()
        print_table(header, rows)


if __name__ == "__main__":
    main()
