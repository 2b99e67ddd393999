"""What the adaptation of a device reaches of what Newton's reaches on the desktop: R3, from many initial networks.

The device has 8 scenarios of 30 steps, a working set of 16 metrics, four pairs of BFGS, and the arithmetic of its type;
Newton's has all metrics and second derivatives. A share is the fall of the objective in parts of Newton's, by the
problem's own objective in double. Margins are the least of all commits, likewise: negative is a violation.

    python examples/benchmarks/device_quality.py --seeds 16 [--gradients sampled]
"""

from __future__ import annotations

import argparse
import importlib.resources
from dataclasses import dataclass

import numpy as np

from scpo_ctrl import AdaptOptions, ControlProblem, Scenarios, adapt, load_problem
from scpo_ctrl.codegen.device import GRADIENTS
from scpo_ctrl.device import DeviceOptions, DeviceResult, adapt_as_device

REALS = ("double", "float")


@dataclass(frozen=True)
class Comparison:
    """A run of Newton's and what devices make of the same problem."""

    start: float
    newton: float
    devices: tuple[DeviceResult, ...]  # by `REALS`

    @property
    def shares(self) -> list[float]:
        """Falls of the objective in parts of Newton's."""
        ends = [device.problem.objective(np.asarray(device.theta, dtype=float)) for device in self.devices]
        return [float((self.start - end) / (self.start - self.newton)) for end in ends]


def r3(seed: int, count: int = 8, horizon: int = 30) -> ControlProblem:
    """Return R3 with the scenarios of a device, from another initial network."""
    problem = load_problem(str(importlib.resources.files("scpo_ctrl") / "data" / "double_integrator.toml"))
    assert isinstance(problem, ControlProblem)
    batch = problem.scenarios
    few = Scenarios(batch.x0[:count], batch.p[:count], batch.w[:count, :horizon], horizon)
    options = problem.scenario_metrics.options
    return ControlProblem(problem.policy, few, problem.objective_data, options, seed=seed)


def compare(problem: ControlProblem, steps: int, gradients: str = GRADIENTS[0]) -> Comparison:
    """Adapt on the desktop and as devices do."""
    newton = adapt(problem, AdaptOptions(steps=steps, audit=False))
    options = DeviceOptions(gradients=gradients)
    devices = tuple(adapt_as_device(problem, steps=steps, real=real, options=options) for real in REALS)
    return Comparison(newton.objective_initial, newton.objective_final, devices)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=16, help="initial networks")
    parser.add_argument("--steps", type=int, default=400, help="steps of each run, at most")
    parser.add_argument("--gradients", choices=GRADIENTS, default=GRADIENTS[0])
    given = parser.parse_args()
    print(
        "| seed | start | Newton's | " + " | ".join(f"{real}: share, commits, tries, margin" for real in REALS) + " |"
    )
    print("|---|---|---|" + "---|" * len(REALS))
    found = []
    for seed in range(given.seeds):
        done = compare(r3(seed), given.steps, given.gradients)
        found.append(done)
        cells = [
            f"{share:.4f}, {device.counts.commits}, {device.counts.tries}, {device.margin():.1e}"
            for share, device in zip(done.shares, done.devices, strict=True)
        ]
        print(f"| {seed} | {done.start:.4f} | {done.newton:.4f} | {' | '.join(cells)} |", flush=True)
    for k, real in enumerate(REALS):
        shares, devices = [one.shares[k] for one in found], [one.devices[k] for one in found]
        commits, unsafe = sum(one.counts.commits for one in devices), sum(not one.is_safe() for one in devices)
        print(
            f"{real}: median share {np.median(shares):.4f}, least {min(shares):.4f}; {commits} commits, "
            f"{unsafe} runs with a violation in double, least margin {min(one.margin() for one in devices):.2e}"
        )


if __name__ == "__main__":
    main()
