"""The law of a user's expressions against the network stage that is written by hand: the same policy both ways.

A residual network is given once as what it is, and once as a controller whose law is its expressions. Both run on the
same lanes to nearly the same numbers; ratios are of computing time in one run.

    python examples/benchmarks/laws_against_network.py [--repeat N]
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import casadi as ca
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.common import print_table

import scpo_ctrl as sc
from scpo_ctrl.engine.lanes import LaneEngine
from scpo_ctrl.engine.loop import Loop, Stage
from scpo_ctrl.loop.controlled import ControllerPolicy
from scpo_ctrl.loop.metrics import Metrics
from scpo_ctrl.models import Plant, cart_pole, double_integrator

SCENARIOS, HORIZON = 32, 50
LOOPS: tuple[tuple[Plant, list[float], list[float], tuple[int, ...]], ...] = (
    (double_integrator(), [0.1, 0.1], [10.0], (12,)),
    (cart_pole(), [1.0, 1.0, 10.0, 1.0], [1.0], (12,)),
    (double_integrator(), [0.1, 0.1], [10.0], (32, 32)),
)


def both_ways(
    plant: Plant, Q: list[float], R: list[float], hidden: tuple[int, ...]
) -> tuple[sc.Policy, ControllerPolicy]:
    """Return a residual network, and a controller with its expressions for a law."""
    policy = sc.Policy(plant, sc.lqr(plant, Q=Q, R=R), hidden)
    x, theta = ca.SX.sym("x", plant.nx), ca.SX.sym("theta", policy.theta_dim)
    command = policy.command(x, theta)
    start = policy.theta_initial(0)
    controller = sc.Controller(name="network", theta=theta, theta_initial=start, y=x, command=command)
    law = ca.Function("law", [x, ca.SX.sym("p", plant.npar), theta], [command, command])
    ones = (1.0,) * policy.theta_dim
    return policy, ControllerPolicy(plant, policy.backup, controller, (), ones, law, plant)


def seconds(call: Callable[[], object], repeat: int) -> float:
    """Return the least computing time of a call in some rounds."""
    best, count = np.inf, 1
    for _ in range(repeat):
        begin = time.process_time()
        for _ in range(count):
            call()
        took = time.process_time() - begin
        best, count = min(best, took / count), max(1, int(count * 0.1 / max(took, 1e-6)))
    return best


def compare(loop: tuple[Plant, list[float], list[float], tuple[int, ...]], repeat: int) -> list[str]:
    """Return a row of the table."""
    plant, *_, hidden = loop
    policy, law = both_ways(*loop)
    batch = sc.scenarios(plant, policy.backup, horizon=HORIZON, count=SCENARIOS, level=0.5)
    metrics = Metrics(plant, policy.backup, HORIZON, sc.MetricOptions(contraction=0.9))
    stage = Stage(np.ones(plant.nx), np.ones(plant.nu))
    engines = [LaneEngine(Loop(of, replace(metrics), stage)) for of in (policy, law)]
    theta = policy.theta_initial(0) + 1e-3 * np.random.default_rng(0).normal(size=policy.theta_dim)
    thetas = theta + 1e-3 * np.eye(theta.size)
    apart = np.abs(np.subtract(*(engine.evaluate(batch, thetas)[0] for engine in engines))).max()
    row = [plant.name, "x".join(map(str, hidden)), f"{apart:.0e}"]
    for call in (
        lambda engine: engine.evaluate(batch, thetas),
        lambda engine: engine.gradient(batch, theta),
        lambda engine: engine.jacobian(batch, theta, None, saturated=False),
        lambda engine: engine.gauss_newton(batch, theta),
    ):
        by_hand, by_law = (seconds(partial(call, engine), repeat) for engine in engines)
        row.append(f"{by_law / by_hand:.2f}")
    return row


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=6, help="rounds, of which the fastest counts")
    repeat = parser.parse_args(argv).repeat
    head = [
        "law / network, CPU time",
        "hidden",
        "metrics apart",
        "rollouts",
        "gradient",
        "Jacobian",
        "Gauss-Newton",
    ]
    print_table(head, [compare(loop, repeat) for loop in LOOPS])


if __name__ == "__main__":
    main()
