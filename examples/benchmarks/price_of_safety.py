"""What audited runs keep of what IPOPT reaches, on fresh scenarios: R3, R4, R5 and a buck converter.

Both optimise the same policy class on the same S of (E12): the objective over the problem's scenarios, the metrics over
scenarios and guards, with the same back-off. IPOPT need not keep local stability (E11), so it may only reach more. It
starts from the adapted policy and from random ones, on the guards closest to their bounds; those that its answer breaks
by more than a tenth of the back-off are added until there are none. Share kept is (backup - adapted) / (backup - IPOPT)
in mean cost on fresh scenarios.

    python examples/benchmarks/price_of_safety.py [--only NAME] [--fresh N] [--starts N] [--seconds S]
        [--guards N] [--steps N]
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from beyond_the_scenarios import SEED, SHORT, Loop, buck, shipped
from ipopt_reference import ADAPTED, Optimum, optimise, random_starts
from support.common import print_table

from scpo_ctrl import ControlProblem, Result, adapt
from scpo_ctrl.assurance import Fresh
from scpo_ctrl.problem.guarded import GuardedProblem

MORE = 32  # guards that IPOPT gets where it breaks some that it has not seen
ITERATIONS = 1000  # of IPOPT between two looks at the other guards
EATEN = 0.1  # part of the back-off that IPOPT may use up, which only lets it reach more
COLD, WARM = 1e-4, 1e-6  # barriers of IPOPT at a start, and where it has got more guards; relative to the objective
NO_LESS = 1e-5  # part of the objective: a look later it has to have fallen by more, or IPOPT has ended
HEADER = (
    "",
    "scenarios, guards",
    "backup",
    "adapted",
    "IPOPT",
    "share kept",
    "violate: adapted, IPOPT",
    "radius: adapted, IPOPT",
    "IPOPT started from",
)


LOOPS: dict[str, Callable[[], Loop]] = {
    "R3, double integrator": partial(shipped, "double_integrator"),
    "R4, cart-pole": partial(shipped, "cart_pole"),
    "R5, planar quadrotor": partial(shipped, "planar_quadrotor"),
    "buck converter": lambda: (buck(), SHORT),
}


def without_stability(problem: ControlProblem) -> ControlProblem:
    """Return the problem without local stability."""
    metrics = dataclasses.replace(problem.scenario_metrics.options, stability=False)
    relaxed = ControlProblem(problem.policy, problem.scenarios, problem.objective_data, metrics)
    return relaxed.with_scenarios(problem.scenarios, problem.theta_initial)


def solve(result: Result, start: tuple[str, np.ndarray], seconds: float, guards: int = 64) -> Optimum:
    """Return the best that IPOPT reaches from a start on the final S of an audited run; its violation is that on S."""
    assert isinstance(result.problem, ControlProblem) and result.guards is not None
    problem, back_off = without_stability(result.problem), result.options.back_off
    whole = GuardedProblem(problem, result.guards, back_off)
    seen = np.argsort(-worst_of_guards(whole, result.theta), kind="stable")[:guards]
    (name, theta), iterations, began, met = start, 0, time.perf_counter(), list[Optimum]()
    barrier = COLD
    while True:
        part = GuardedProblem(problem, result.guards.part(np.sort(seen)), back_off)
        left = seconds - (time.perf_counter() - began)
        (optimum,) = optimise(part, [(name, theta)], seconds=left, iterations=ITERATIONS, barrier=barrier)
        barrier = WARM
        theta, iterations = optimum.theta, iterations + optimum.iterations
        worst, taken = worst_of_guards(whole, theta), time.perf_counter() - began
        violation = max(optimum.violation, float(worst.max(initial=0.0)))
        met.append(dataclasses.replace(optimum, violation=violation, iterations=iterations, seconds=taken))
        next_ones = np.argsort(-worst, kind="stable")[:MORE]
        broken = np.setdiff1d(next_ones[worst[next_ones] > EATEN * back_off], seen)
        stands = len(met) > 1 and met[-1].objective > (1 - NO_LESS) * met[-2].objective
        if taken >= seconds or (stands and not broken.size):
            return best(met, back_off)
        seen = np.append(seen, broken)


def best(optima: Sequence[Optimum], back_off: float) -> Optimum:
    """Return the one of least objective among those that keep their back-off on S, or the one that nearly does."""
    kept = [optimum for optimum in optima if optimum.violation <= EATEN * back_off]
    if kept:
        return min(kept, key=lambda optimum: optimum.objective)
    return min(optima, key=lambda optimum: optimum.violation)


def worst_of_guards(problem: GuardedProblem, theta: np.ndarray) -> np.ndarray:
    """Return the largest metric of each guard, with its back-off."""
    guards, rows = problem.guards.count, problem.problem.rows_per_scenario
    return problem.metrics_kept_clear(theta[None])[0, -guards * rows :].reshape(guards, rows).max(axis=1)


def row(name: str, result: Result, optimum: Optimum, fresh: int) -> list[str]:
    """Return a loop's row of the table."""
    problem = result.problem
    assert isinstance(problem, ControlProblem) and result.guards is not None
    thetas = (problem.theta_initial, result.theta, optimum.theta)
    backup, adapted, reference = (Fresh.drawn(problem, theta, 0, fresh, SEED) for theta in thetas)
    return [
        name,
        f"{problem.scenarios.count}, {result.guards.count}",
        *(f"{found.objective:.5g}" for found in (backup, adapted, reference)),
        f"{(backup.objective - adapted.objective) / (backup.objective - reference.objective):.1%}",
        f"{adapted.violations}, {reference.violations}",
        f"{problem.spectral_radius(result.theta):.3f}, {problem.spectral_radius(optimum.theta):.3f}",
        f"{optimum.start}",
    ]


def sentence(optimum: Optimum) -> str:
    """Return in words what IPOPT found from a start."""
    found = f"objective {optimum.objective:.6g} on S, which it breaks by {optimum.violation:.1e} with the back-off"
    ended = f"{optimum.iterations} iterations, {optimum.seconds:.0f} s, {optimum.status}"
    return f"IPOPT from {optimum.start}: {found}; {ended}"


def main(argv: Sequence[str] | None = None) -> None:
    """Print IPOPT's starts and the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="part of the name of the loops to run")
    parser.add_argument("--fresh", type=int, default=100_000, help="scenarios for each policy (default: %(default)s)")
    parser.add_argument("--starts", type=int, default=2, help="random starts of IPOPT (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=600.0, help="of IPOPT a start (default: %(default)s)")
    parser.add_argument("--guards", type=int, default=64, help="that IPOPT sees at first (default: %(default)s)")
    parser.add_argument("--steps", type=int, help="steps of the adaptation (default: those of the problem)")
    given = parser.parse_args(argv)
    rows = []
    for name, make in LOOPS.items():
        if given.only not in name:
            continue
        problem, options = make()
        result = adapt(problem, options if given.steps is None else dataclasses.replace(options, steps=given.steps))
        points = [(ADAPTED, result.theta), *random_starts(problem, given.starts)]
        optima = []
        for point in points:
            optima.append(solve(result, point, given.seconds, given.guards))
            print(name, sentence(optima[-1]), sep=", ", flush=True)
        rows.append(row(name, result, best(optima, result.options.back_off), given.fresh))
    print_table(HEADER, rows)


if __name__ == "__main__":
    main()
