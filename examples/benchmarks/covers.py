"""Covers of adapted policies: boxes, seconds, what is not decided.

python examples/benchmarks/covers.py [slivers | back-off]

"slivers" covers policies that violate on a sliver of the set, "back-off" ones that were adapted and audited with
different back-offs.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import casadi as ca
import numpy as np
from support.common import print_table

import scpo_ctrl as sc
from scpo_ctrl.models import Plant, discretise, double_integrator, lane_keeping
from scpo_ctrl.proof.cover import cover

SECONDS, SLIVER_SECONDS, BACK_OFF_SECONDS = 600.0, 60.0, 120.0
DENSE = 200_000  # points at which a sliver is looked for
DIRECTIONS = 10
BACK_OFFS = (0.0, 0.001, 0.003, 0.005, 0.01)


def pendulum() -> Plant:
    """Return a pendulum that is held upright by a motor, sampled at 20 Hz."""
    x, u, m = ca.SX.sym("x", 2), ca.SX.sym("u"), ca.SX.sym("m")
    f = ca.vertcat(x[1], u / (m * 0.25) + 19.62 * ca.sin(x[0]) - 0.1 * x[1])
    bounds = {"x_min": [-0.8, -2.0], "x_max": [0.8, 2.0], "u_min": [-4.0], "u_max": [4.0]}
    zero = {"x_eq": [0.0, 0.0], "u_eq": [0.0]}
    plant = Plant(name="pendulum", x=x, u=u, p=m, f=f, p_nominal=[0.5], p_labels=("m",), **bounds, **zero)
    return discretise(plant, 0.05)


def problem(
    plant: Plant, Q: list[float], R: list[float], hidden: tuple[int, ...], horizon: int, level: float
) -> sc.ControlProblem:
    """Return a network on an LQR with the square of its weights as cost."""
    backup = sc.lqr(plant, Q, R)
    batch = sc.scenarios(plant, backup, horizon=horizon, count=64, level=level)
    cost = sc.Quadratic(10 * np.array(Q), 0.1 * np.array(R))
    return sc.ControlProblem(sc.Policy(plant, backup, hidden), batch, cost, sc.MetricOptions(contraction=0.3))


def r3() -> sc.ControlProblem:
    """Return R3 on drawn scenarios."""
    plant = double_integrator()
    backup = sc.lqr(plant, [0.1, 0.1], [10.0])
    batch = sc.scenarios(plant, backup, horizon=50, count=32, level=0.81)
    cost = sc.Quadratic([1.0, 0.1], [0.05])
    return sc.ControlProblem(sc.Policy(plant, backup, (12,)), batch, cost, sc.MetricOptions(contraction=0.3))


def row(name: str, of: sc.ControlProblem, theta: np.ndarray, seconds: float = SECONDS) -> list[str]:
    """Return a row of the table."""
    found = cover(of, theta, seconds=seconds)
    verdict = "proved" if found.proved else "refuted" if found.refuted else "open"
    undecided = "" if found.refuted else f"{100 * found.undecided:.3g}"
    ever = "for ever" if found.proved and "for ever" in found.forever_sentence else ""
    return [name, verdict, str(found.tree.count), f"{found.seconds:.1f}", undecided, ever]


def worst(of: sc.ControlProblem, theta: np.ndarray) -> tuple[float, float]:
    """Return the largest metric at dense points, and at which part of them one is violated."""
    declared, found = of.scenarios.declared, []
    assert declared is not None
    for first in range(0, DENSE, 20_000):
        batch = declared.random(first, 20_000, 7)
        found.append(of.evaluate_scenarios(theta, batch)[1][:, of.fresh.varies].max(axis=1))
    every = np.nan_to_num(np.concatenate(found), nan=np.inf)
    return float(every.max()), float((every > 1e-12).mean())


def slivers(of: sc.ControlProblem, theta: np.ndarray) -> list[list[str]]:
    """Move a safe policy until dense points begin to violate, and a little beyond; none of those may be proved."""
    rows, rng = [], np.random.default_rng(0)
    for k in range(DIRECTIONS):
        d, low, high = rng.normal(size=theta.size), 0.0, 0.1
        while high - low > 1e-5 * high:
            middle = (low + high) / 2
            low, high = (middle, high) if worst(of, theta + middle * d)[0] <= 0 else (low, middle)
        for beyond in (high, 1.001 * high):
            area = worst(of, theta + beyond * d)[1]
            rows.append([*row(f"direction {k}", of, theta + beyond * d, SLIVER_SECONDS)[:5], f"{area:.1e}"])
    return rows


def back_offs(of: sc.ControlProblem) -> list[list[str]]:
    """Adapt and audit with different back-offs, and cover what comes out."""
    rows = []
    for back_off in BACK_OFFS:
        result = sc.adapt(of, sc.AdaptOptions(steps=400, back_off=back_off))
        found = row(f"{100 * back_off:g} %", of, result.theta, BACK_OFF_SECONDS)[:5]
        audits = "passed" if result.final_audit is not None and result.final_audit.passed else "not passed"
        rows.append([*found, f"{result.objective_final:.4f}", audits])
    return rows


def policies(integrator: sc.ControlProblem) -> list[list[str]]:
    """Adapt several plants, and cover what comes out."""
    audited = sc.adapt(integrator, sc.AdaptOptions(steps=400))
    rows = [row("R3, audited, network of 12", integrator, audited.theta)]
    plain = sc.adapt(integrator, sc.AdaptOptions(steps=150, audit=False))
    rows.append(row("R3, audit = false", integrator, plain.theta))
    upright = problem(pendulum(), [1.0, 0.1], [1.0], (12,), 40, 0.8)
    rows.append(row("pendulum, network of 12", upright, sc.adapt(upright, sc.AdaptOptions(steps=150)).theta))
    lane = problem(lane_keeping(), [1.0, 1.0, 1.0], [10.0], (6,), 30, 0.4)
    rows.append(row("lane keeping, 3 states, network of 6", lane, sc.adapt(lane, sc.AdaptOptions(steps=60)).theta))
    return rows


def main() -> None:
    """Adapt, cover, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "what", nargs="?", choices=["slivers", "back-off"], help="policies of several plants if left out"
    )
    what, integrator, names = parser.parse_args().what, r3(), ["policy", "cover", "boxes", "s", "% open"]
    if what == "slivers":
        audited = sc.adapt(integrator, sc.AdaptOptions(steps=400))
        print_table([*names, "violates"], slivers(integrator, audited.theta))
    elif what == "back-off":
        print_table(["back-off", *names[1:], "cost", "audit"], back_offs(integrator))
    else:
        print_table([*names, ""], policies(integrator))


if __name__ == "__main__":
    main()
