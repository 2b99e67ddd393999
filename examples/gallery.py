"""A gallery of loops that engineers have: the controller of a textbook, adapted, and run on a microcontroller.

Each file of examples/gallery is a plant with published numbers under the controller that a textbook would give it.
This script adapts its numbers with audits, exports C, replays it on this computer and on an emulated Cortex-M4F, draws
a step before and after, and prints what came out.

    python examples/gallery.py [--only NAME] [--out DIR]

The cost is that of 100 000 fresh scenarios of the declared set, which no run has seen, and "violate" how many of them
break a metric after adaptation. A step is the largest along the output whose start is in the declared set; plant and
controller are at rest there, as they are where it ends. The AFTI-16 begins with an error of pitch instead: its bounds
let it be at rest within about a degree of level only. Rise time is from 10 to 90 %, settling time to 2 %, on the
nominal plant. Margins are of the loop opened at the plant's input, linearised at rest; a gain margin below zero is how
far the gain may fall. Instructions are those of a step at -O2, bytes what a program that calls a step links at -Os,
both in float.
"""

import argparse
import runpy
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from support.before_after import Signal, draw
from support.common import FRESH, FRESH_SEED, number, numbers, print_table, save
from support.device import OnDevice, missing, run_on_device
from support.step_response import Response, largest_error, largest_step, margins, opened, step

from scpo_ctrl import AdaptOptions, ControllerPolicy, ControlProblem, Result, adapt
from scpo_ctrl.assurance import Fresh
from scpo_ctrl.codegen import export, replay
from scpo_ctrl.models import Plant
from scpo_ctrl.models.dcmotor import CONSTANT, RESISTANCE
from scpo_ctrl.record.config import read_problem_file

FOLDER = Path(__file__).parent / "gallery"
SCRIPTED = AdaptOptions(steps=40)  # of the loops that a problem file cannot say

# --- Loops -----------------------------------------------------------------------------------------------------------
# What is looked at in each: the signal that steps, for how long, and the signal that an engineer watches beside it.

Watched = Callable[[Plant, Sequence[Response], np.ndarray, np.ndarray], Signal]


def state(index: int) -> Watched:
    """Return what watches a state of the plant."""

    def of(plant: Plant, responses: Sequence[Response], x: np.ndarray, u: np.ndarray) -> Signal:
        bounds = (float(plant.x_min[index]), float(plant.x_max[index]))
        values = [response.x[:, index] for response in responses]
        return Signal(plant.x_labels[index], plant.x_units[index], values, bounds, float(x[index]))

    return of


def applied(index: int) -> Watched:
    """Return what watches an input of the plant."""

    def of(plant: Plant, responses: Sequence[Response], x: np.ndarray, u: np.ndarray) -> Signal:
        bounds = (float(plant.u_min[index]), float(plant.u_max[index]))
        values = [response.u[:, index] for response in responses]
        return Signal(plant.u_labels[index], plant.u_units[index], values, bounds, float(u[index]))

    return of


def motor_current(plant: Plant, responses: Sequence[Response], x: np.ndarray, u: np.ndarray) -> Signal:
    """Watch the current in the motor's winding."""
    values = [(response.u[:, 0] - CONSTANT * response.x[:-1, 1]) / RESISTANCE for response in responses]
    return Signal("current", "A", values, (-np.inf, np.inf), 0.0)


@dataclass(frozen=True)
class Loop:
    """A loop of the gallery, and what is looked at in it."""

    file: str
    held: tuple[int, ...]  # measured signals, one for each input: the first one steps
    most: float  # a step that is too large; its sign is where it begins
    samples: int  # of the step
    watched: Watched
    at_rest: bool = True  # whether the plant is at rest where the step begins


LOOPS = {
    "dc_motor": Loop("dc_motor.py", (0,), -6.0, 200, motor_current),
    "buck_converter": Loop("buck_converter.py", (1,), -8.0, 350, state(0)),
    "lane_keeping": Loop("lane_keeping.toml", (0,), -1.0, 40, state(2)),
    "quadruple_tank": Loop("quadruple_tank.py", (0, 1), -8.0, 60, applied(0)),
    "heater": Loop("heater.toml", (0,), -30.0, 180, applied(0)),
    "balancing_robot": Loop("balancing_robot.toml", (0,), -10.0, 2500, state(1)),
    "ball_and_beam": Loop("ball_and_beam.toml", (0,), -0.5, 350, state(2)),
    "afti_16": Loop("afti_16.toml", (3,), -80.0, 1200, state(1), at_rest=False),
    "cstr": Loop("cstr.toml", (0,), -9.0, 400, applied(0)),
}


def load(name: str) -> tuple[ControlProblem, AdaptOptions]:
    """Return a loop of the gallery, and the options of its run."""
    path = FOLDER / LOOPS[name].file
    if path.suffix == ".py":
        problem, options = runpy.run_path(str(path))["make_problem"](), SCRIPTED
    else:
        read = read_problem_file(path)
        problem, options = read.problem, read.options
    assert isinstance(problem, ControlProblem)
    return problem, options


# --- A run -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What came out of a loop."""

    name: str
    result: Result
    fresh: tuple[Fresh, Fresh]  # before, after, as the responses
    responses: tuple[Response, Response]
    device: OnDevice | None  # none without the tools
    seconds: float  # of adaptation

    @property
    def policy(self) -> ControllerPolicy:
        """The loop's policy."""
        assert isinstance(self.result.problem, ControlProblem)
        policy = self.result.problem.policy
        assert isinstance(policy, ControllerPolicy)
        return policy


def steps_of(name: str, problem: ControlProblem, thetas: Sequence[np.ndarray]) -> tuple[Response, ...]:
    """Return the step of each of the parameters."""
    loop = LOOPS[name]
    begin = (
        largest_step(problem, loop.held, loop.most) if loop.at_rest else largest_error(problem, *loop.held, loop.most)
    )
    assert isinstance(problem.policy, ControllerPolicy)
    return tuple(step(problem.policy, theta, begin, loop.samples, loop.held[0]) for theta in thetas)


def run(name: str, out: Path, fresh: int = FRESH, options: AdaptOptions | None = None) -> Outcome:
    """Adapt a loop, look at it before and after, and run its C."""
    began = time.perf_counter()
    problem, own = load(name)
    result = adapt(problem, options or own)
    seconds = time.perf_counter() - began
    thetas = (result.theta_initial, result.theta)
    ends = tuple(Fresh.drawn(problem, theta, 0, fresh, FRESH_SEED) for theta in thetas)
    responses = steps_of(name, problem, thetas)
    folder = export(result, out / name / "c", target="cortex-m4f", measured=False).path
    print(f"{name}: {replay(folder)}", flush=True)
    device = None
    if not missing():
        assert isinstance(problem.policy, ControllerPolicy)
        with tempfile.TemporaryDirectory() as work:
            device = run_on_device(problem.policy, folder, Path(work))
    return Outcome(name, result, ends, responses, device, seconds)


# --- What came out ---------------------------------------------------------------------------------------------------

COSTS = ["plant", "controller", "numbers", "cost", "less", "violate", "run [s]", "bytes", "instructions"]
STEPS = ["plant", "rise [s]", "overshoot [%]", "settling [s]", "peak of", "value", "gain [dB]", "phase [deg]"]


def watched(outcome: Outcome) -> Signal:
    """Return the signal beside the output."""
    policy = outcome.policy
    plant, joined = policy.controlled_plant, policy.plant
    rest = joined.x_eq[: plant.nx], joined.u_eq[: plant.nu]
    return LOOPS[outcome.name].watched(plant, outcome.responses, *rest)


def of_cost(outcome: Outcome) -> list[str]:
    """Return a line of the first table."""
    (before, after), device = outcome.fresh, outcome.device
    return [
        outcome.name,
        outcome.policy.controller.name,
        str(outcome.result.theta.size),
        f"{before.objective:.3g} -> {after.objective:.3g}",
        f"{100 * (1 - after.objective / before.objective):.0f} %",
        f"{after.violations} of {after.worst.size}",
        f"{outcome.seconds:.0f}",
        str(device.code) if device else "-",
        f"{device.instructions:.0f}" if device else "-",
    ]


def of_step(outcome: Outcome) -> list[str]:
    """Return a line of the second table."""
    policy, result, signal = outcome.policy, outcome.result, watched(outcome)
    rise, overshoot, settling = zip(*(response.info for response in outcome.responses), strict=True)
    room = ["-", "-"]
    if policy.controlled_plant.nu == 1:
        gain, phase = zip(
            *(margins(opened(policy, theta)) for theta in (result.theta_initial, result.theta)), strict=True
        )
        room = [" -> ".join(f"{value:.1f}" for value in gain), " -> ".join(f"{value:.0f}" for value in phase)]
    return [
        outcome.name,
        " -> ".join(map(number, rise)),
        " -> ".join(f"{value:.0f}" for value in overshoot),
        " -> ".join(map(number, settling)),
        f"{signal.label} [{signal.unit}]",
        " -> ".join(map(number, signal.peaks)),
        *room,
    ]


def picture(outcome: Outcome, path: Path, table: Sequence[Sequence[str]]) -> None:
    """Draw a loop's step before and after."""
    plant, responses, index = outcome.policy.controlled_plant, outcome.responses, LOOPS[outcome.name].held[0]
    shown = [i for i in range(plant.nx) if str(plant.x[i]) == str(plant.measured[index])]
    bounds = (float(plant.x_min[shown[0]]), float(plant.x_max[shown[0]])) if shown else (-np.inf, np.inf)
    label, unit = plant.measured_labels[index], plant.measured_units[index]
    output = Signal(label, unit, [response.y for response in responses], bounds, responses[0].end)
    title = f"{outcome.name.replace('_', ' ')} under {outcome.policy.controller.name}"
    save(draw(title, output, watched(outcome), responses), path, table)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=[*LOOPS], help="one of the loops")
    parser.add_argument("--out", type=Path, default=Path("runs/gallery"), help="where figures and C go")
    given = parser.parse_args(arguments)
    if missing():
        print(f"without emulation: {', '.join(missing())} not found; apt-get install gcc-arm-none-eabi qemu-system-arm")
    outcomes = [run(name, given.out) for name in LOOPS if given.only in (None, name)]
    for outcome in outcomes:
        print(f"{outcome.name}: {numbers(outcome.result)}")
    print()
    table = print_table(COSTS, [of_cost(outcome) for outcome in outcomes])
    print()
    table += print_table(STEPS, [of_step(outcome) for outcome in outcomes])
    for outcome in outcomes:
        picture(outcome, given.out / f"{outcome.name}.png", table)


if __name__ == "__main__":
    main()
