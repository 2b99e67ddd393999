"""Controllers that a textbook would give, adapted: the same structure with better numbers, audited.

A PID on a DC motor's position, a PI on a buck converter's voltage, state feedback that keeps a lane, and an LQG
controller of the quadruple tank. Each run starts from the controller as it is, and the numbers are of fresh scenarios
of the declared set, which the run never saw. Each controller is exported as C for a Cortex-M4F, and its vectors are
replayed on this computer.

    python examples/controllers.py [--steps N] [--only NAME] [--out DIR]
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scpo_ctrl import (
    AdaptOptions,
    ControllerPolicy,
    ControlProblem,
    MetricOptions,
    Quadratic,
    Result,
    adapt,
    controlled,
    lqr,
    scenarios,
)
from scpo_ctrl.assurance import Fresh
from scpo_ctrl.codegen import export, replay
from scpo_ctrl.controllers import lqg, pid, state_feedback
from scpo_ctrl.models import buck_converter, dc_motor, lane_keeping, quadruple_tank

# --- Problem ---------------------------------------------------------------------------------------------------------
# A plant, the controller of today, what to be good at, and initial states of the loop, memory included, in an ellipsoid
# that the loop holds. Metrics: all bounds at each time step, contraction, and stability at rest.


def motor() -> ControlProblem:
    """Return a position servo under a PID."""
    plant = dc_motor()
    policy = controlled(plant, pid(plant, 1.0, 2.0, 0.02, filter_time=2e-3))
    batch = scenarios(policy.plant, policy.backup, horizon=300, count=24, level=0.5)
    return ControlProblem(policy, batch, Quadratic([1.0, 0.0], [1e-4]), MetricOptions(contraction=0.6))


def converter() -> ControlProblem:
    """Return a buck converter under a PI, the load of which is known to within a quarter."""
    plant, ranges = buck_converter(), {"load": (2.5, 4.0)}
    policy = controlled(plant, pid(plant, 0.001, 6.0), parameters=ranges)
    batch = scenarios(policy.plant, policy.backup, horizon=150, count=24, level=0.5, parameters=ranges)
    metrics = MetricOptions(contraction=0.9, contraction_floor=0.6)
    return ControlProblem(policy, batch, Quadratic([0.0, 1.0], [0.1]), metrics)


def car() -> ControlProblem:
    """Return a car that keeps its lane under state feedback, at speeds around 20 m/s."""
    plant, ranges = lane_keeping(), {"speed": (19.0, 21.0)}
    gain = lqr(plant, [1.0, 1.0, 1.0], [1.0]).K
    policy = controlled(plant, state_feedback(plant, gain), parameters=ranges)
    batch = scenarios(policy.plant, policy.backup, horizon=60, count=24, level=0.8, parameters=ranges)
    return ControlProblem(policy, batch, Quadratic([1.0, 0.0, 0.0], [0.1]), MetricOptions(contraction=0.6))


def tanks() -> ControlProblem:
    """Return the quadruple tank, of which two levels are measured, under LQG."""
    plant = quadruple_tank()
    controller = lqg(plant, np.full(4, 0.1), [10.0, 10.0], np.full(4, 0.01), [0.1, 0.1])
    policy = controlled(plant, controller)
    batch = scenarios(policy.plant, policy.backup, horizon=60, count=24, level=0.5)
    return ControlProblem(policy, batch, Quadratic([1.0, 1.0, 0.0, 0.0], [0.1, 0.1]), MetricOptions(contraction=0.6))


LOOPS: dict[str, Callable[[], ControlProblem]] = {"motor": motor, "converter": converter, "car": car, "tanks": tanks}

# --- Adaptation ------------------------------------------------------------------------------------------------------

FRESH, SEED = 100_000, 20_261_129  # scenarios that no run draws


@dataclass(frozen=True)
class Outcome:
    """What came out of one loop."""

    result: Result
    start: Fresh
    end: Fresh


def run(problem: ControlProblem, steps: int, fresh: int = FRESH) -> Outcome:
    """Adapt a controller, and roll out fresh scenarios before and after."""
    result = adapt(problem, AdaptOptions(steps=steps))
    ends = (Fresh.drawn(problem, theta, 0, fresh, SEED) for theta in (problem.theta_initial, result.theta))
    return Outcome(result, *ends)


# --- What came out ---------------------------------------------------------------------------------------------------


def row(name: str, outcome: Outcome) -> str:
    """Return a line of the table."""
    result, start, end = outcome.result, outcome.start, outcome.end
    assert isinstance(result.problem, ControlProblem)
    last, radius = result.final_audit, result.problem.spectral_radius(result.theta)
    found = [
        f"{name}: {result.problem.plant.name}",
        str(result.theta.size),
        f"{start.objective:.4g} -> {end.objective:.4g}",
        f"{100 * (1 - end.objective / start.objective):.0f} %",
        f"{end.violations} of {end.worst.size}",
        "passed" if last is not None and last.passed else "none",
        f"{radius:.4f}",
        f"{result.seconds:.0f} s",
    ]
    return "| " + " | ".join(found) + " |"


def numbers(result: Result) -> str:
    """Return the controller's parameters before and after."""
    assert isinstance(result.problem, ControlProblem)
    policy = result.problem.policy
    assert isinstance(policy, ControllerPolicy)
    before, after = policy.parameters(result.theta_initial), policy.parameters(result.theta)
    return ", ".join(f"{label} {before[label]:.4g} -> {after[label]:.4g}" for label in before)


def in_c(name: str, result: Result, out: Path) -> str:
    """Export a controller, replay its vectors on this computer, and return what that printed."""
    return replay(export(result, out / name, target="cortex-m4f", prefix=name).path)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--only", choices=[*LOOPS], help="one of the loops")
    parser.add_argument("--out", type=Path, default=Path("runs/controllers"), help="where the C goes")
    given = parser.parse_args(arguments)
    print("| loop | numbers | cost of fresh scenarios | less | violate | last audit | radius at rest | run |")
    print("|" + " --- |" * 8)
    for name, make in LOOPS.items():
        if given.only in (None, name):
            outcome = run(make(), given.steps)
            print(row(name, outcome), flush=True)
            if outcome.result.theta.size <= 3:
                print(f"  {numbers(outcome.result)}")
            print(f"  {in_c(name, outcome.result, given.out)}")


if __name__ == "__main__":
    main()
