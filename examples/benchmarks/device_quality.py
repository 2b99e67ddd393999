"""What the adaptation of a device reaches of what Newton's reaches on the desktop: R3, from many initial networks.

The device, its exported C on this computer, has 8 scenarios of 30 steps, a working set of 16 metrics, four pairs of
BFGS, and the arithmetic of its type; Newton's has all metrics and second derivatives. Both audit what they commit, each
on points that it draws itself; `--no-audit` is both without. A share is the fall of the objective in parts of Newton's,
by the problem's own objective in double. Margins are the least of all commits, likewise: negative is a violation.

What is said of other states is measured on states that neither saw: `--fresh` of them, from another generator, and a
search from the worst; violating is how many break a metric under the final policy.

    python examples/benchmarks/device_quality.py --seeds 16 [--gradients sampled] [--no-audit]
"""

from __future__ import annotations

import argparse
import importlib.resources
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests")]

import numpy as np
from device_runs import build, lines

from scpo_ctrl import AdaptOptions, ControlProblem, Scenarios, adapt, audit, load_problem
from scpo_ctrl.codegen.device import GRADIENTS

REALS = ("double", "float")
_BETWEEN = 8  # steps between two audits at least, so that there are no more outcomes than that of audits
_FLAGS = "-O2 -std=c99 -ffp-contract=off"


@dataclass(frozen=True)
class DeviceRun:
    """What the exported C does on this computer."""

    theta: np.ndarray  # (d,) active at the end
    committed: np.ndarray  # (commits, d)
    tries: int
    audits: int
    margin: float  # least of all commits, by the problem's own metrics in double


@dataclass(frozen=True)
class Comparison:
    """A run of Newton's and what devices make of the same problem."""

    start: float
    newton: float
    devices: tuple[DeviceRun, ...]  # by `REALS`
    ends: tuple[float, ...]  # objectives of their policies
    violating: tuple[float, ...]  # of fresh scenarios, under Newton's final policy and those of the devices

    @property
    def shares(self) -> list[float]:
        """Falls of the objective in parts of Newton's."""
        return [float((self.start - end) / (self.start - self.newton)) for end in self.ends]


def r3(seed: int, count: int = 8, horizon: int = 30) -> ControlProblem:
    """Return R3 with the scenarios of a device, from another initial network."""
    problem = load_problem(str(importlib.resources.files("scpo_ctrl") / "data" / "double_integrator.toml"))
    assert isinstance(problem, ControlProblem)
    batch = problem.scenarios
    assert batch.declared is not None
    declared = replace(batch.declared, horizon=horizon)
    few = Scenarios(batch.x0[:count], batch.p[:count], batch.w[:count, :horizon], horizon, declared)
    options = problem.scenario_metrics.options
    return ControlProblem(problem.policy, few, problem.objective_data, options, seed=seed)


def run_of_c(problem: ControlProblem, steps: int, real: str, gradients: str, *, audited: bool) -> DeviceRun:
    """Export the adaptation, build it, and let it take steps from the safe start."""
    with tempfile.TemporaryDirectory() as folder:
        program = build(problem, Path(folder) / "c", real, _FLAGS, gradients=gradients, audited=audited)
        found = lines(program, steps + (steps // _BETWEEN if audited else 0))
    found = [line for line in found if line["counts"][0] <= steps + 1]
    key = "committed" if audited else "theta"
    commits = [line[key] for before, line in zip([None, *found], found, strict=False) if _commits(before, line)]
    committed = np.array(commits).reshape(-1, problem.theta_dim)
    worst = problem.metrics(committed).max() if len(committed) else -np.inf
    tries, audits = found[-1]["counts"][2], found[-1]["audits"][0] if audited else 0
    return DeviceRun(np.array(found[-1]["theta"]), committed, tries, audits, -float(worst))


def _commits(before: dict | None, line: dict) -> bool:
    return line["counts"][1] > (0 if before is None else before["counts"][1])


def compare(
    problem: ControlProblem, steps: int, gradients: str = GRADIENTS[0], fresh: int = 100_000, *, audited: bool = True
) -> Comparison:
    """Adapt on the desktop and as devices do, and audit what they end with."""
    newton = adapt(problem, AdaptOptions(steps=steps, audit=audited))
    devices = tuple(run_of_c(problem, steps, real, gradients, audited=audited) for real in REALS)
    thetas = (newton.theta, *(device.theta for device in devices))
    violating = tuple(audit(problem, theta, rollouts=fresh, seed=20_261_130).violations / fresh for theta in thetas)
    ends = tuple(problem.objective(device.theta) for device in devices)
    return Comparison(newton.objective_initial, newton.objective_final, devices, ends, violating)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=16, help="initial networks")
    parser.add_argument("--steps", type=int, default=400, help="steps of each run, at most")
    parser.add_argument("--fresh", type=int, default=100_000, help="fresh scenarios for each final policy")
    parser.add_argument("--first", type=int, default=0, help="initial network to begin with")
    parser.add_argument("--no-audit", action="store_true", help="neither audits what it commits")
    parser.add_argument("--gradients", choices=GRADIENTS, default=GRADIENTS[0])
    given = parser.parse_args()
    print(
        "| seed | start | Newton's, violating | "
        + " | ".join(f"{real}: share, commits, tries, audits, margin, violating" for real in REALS)
        + " |"
    )
    print("|---|---|---|" + "---|" * len(REALS))
    found = []
    for seed in range(given.first, given.first + given.seeds):
        done = compare(r3(seed), given.steps, given.gradients, given.fresh, audited=not given.no_audit)
        found.append(done)
        cells = [
            f"{share:.4f}, {len(device.committed)}, {device.tries}, {device.audits}, {device.margin:.1e}, {part:.3%}"
            for share, device, part in zip(done.shares, done.devices, done.violating[1:], strict=True)
        ]
        newton = f"{done.newton:.4f}, {done.violating[0]:.3%}"
        print(f"| {seed} | {done.start:.4f} | {newton} | {' | '.join(cells)} |", flush=True)
    for k, real in enumerate(REALS):
        shares, devices = [one.shares[k] for one in found], [one.devices[k] for one in found]
        commits, unsafe = sum(len(one.committed) for one in devices), sum(one.margin < 0 for one in devices)
        print(
            f"{real}: median share {np.median(shares):.4f}, least {min(shares):.4f}; {commits} commits, "
            f"{unsafe} runs with a violation in double, least margin {min(one.margin for one in devices):.2e}; "
            f"median of fresh scenarios that break a metric {np.median([one.violating[k + 1] for one in found]):.3%}, "
            f"largest {max(one.violating[k + 1] for one in found):.3%}"
        )
    of_newton = [one.violating[0] for one in found]
    print(f"Newton's: median {np.median(of_newton):.3%}, largest {max(of_newton):.3%}")


if __name__ == "__main__":
    main()
