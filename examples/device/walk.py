"""From a controller in Python to a board that adapts while it controls, cut off from power halfway.

A cart on a rail is held by a PD controller that somebody tuned by hand. Its gains become the backup; a network of 12
units is added and adapts on an emulated Cortex-M4F: between two samples the board does a few pieces of its adaptation,
and each commit goes into its parameter store. Halfway the power fails. The board starts again, with the policy that
it had, and goes on.

    python examples/device/walk.py [--samples 360] [--figure PATH]
"""

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import scpo_ctrl as sc
from scpo_ctrl.codegen import TARGETS, export
from scpo_ctrl.device.emulator import BOARD, Emulator, build
from scpo_ctrl.device.link import Device, Port
from scpo_ctrl.models import double_integrator

FIGURE = Path(__file__).resolve().parents[2] / "docs" / "figures" / "device_walk.png"

# --- Problem ---------------------------------------------------------------------------------------------------------
#   plant      |position| <= 5 m, |velocity| <= 1.5 m/s, |force| <= 1 N, a sample every 0.1 s
#   controller PD: force = -0.2 position - 0.7 velocity, which stays the backup
#   safety     the bounds at each time step, and contraction V(x_N) <= 0.5 V(x_0), in eight scenarios of 30 steps

KP, KD = 0.2, 0.7  # [N/m], [N s/m]
HORIZON, SCENARIOS = 30, 8
PIECES = 15  # of the adaptation between two samples
EPISODE = 60  # samples from one start to the next
TARGET = TARGETS["cortex-m4f"]


def make_problem() -> sc.ControlProblem:
    """Make the problem: the PD controller as backup, a network on top of it."""
    plant = double_integrator()
    backup = sc.of_gain(plant, [[KP, KD]])
    angle = np.arange(SCENARIOS) * 2 * np.pi / SCENARIOS
    size = np.tile([0.9, 0.45], SCENARIOS // 2)
    x0 = (
        np.linalg.cholesky(backup.rho * np.linalg.inv(backup.P)) @ (size * np.array([np.cos(angle), np.sin(angle)]))
    ).T
    return sc.ControlProblem(
        sc.Policy(plant, backup, hidden=(12,)),
        sc.scenarios(plant, backup, horizon=HORIZON, initial_states=x0),
        sc.Quadratic(np.array([1.0, 0.1]), np.array([0.05])),
        sc.MetricOptions(contraction=0.5),
    )


# --- Board -----------------------------------------------------------------------------------------------------------


def make_program(problem: sc.ControlProblem, folder: Path) -> Path:
    """Export the problem with its adaptation, and build the board's program, whose flash is a file."""
    start = sc.adapt(problem, sc.AdaptOptions(steps=0, audit=False))  # parameters of the PD controller alone
    # without audits: the first one takes as many pieces as this whole drive has, so that nothing would change in it
    export(start, folder / "c", target=TARGET.name, adapting=True, audited=False, measured=False)
    sources = [*sorted((folder / "c" / "src").glob("*.c")), BOARD / "main.c"]
    program = folder / "board.elf"
    flash = f'BOARD_FLASH="{folder / "flash.bin"}"'
    build(TARGET, sources, [folder / "c" / "include", folder / "c" / "src"], program, flash)
    return program


@dataclass
class Log:
    """What happened, sample by sample."""

    x: list[np.ndarray]
    u: list[float]
    objective: list[float]  # of the policy at work, in double on the model
    cut: int  # the sample before which the power failed
    before: np.ndarray  # parameters at work then
    after: np.ndarray  # those after the restart
    violations: int  # of policies at work


def drive(problem: sc.ControlProblem, program: Path, samples: int) -> Log:
    """Control the cart by the board, which adapts between the samples; cut its power halfway."""
    log = Log([], [], [], samples // 2, np.zeros(0), np.zeros(0), 0)
    with Emulator(TARGET, program) as board:
        device = Device(Port(board.port))
        _drive(problem, device, log, log.cut)
        log.before = device.active()
        device.port.close()
    # `Emulator` ends by a kill: nothing is said to the board, and its memory is gone
    with Emulator(TARGET, program) as board:
        device = Device(Port(board.port))
        log.after = device.active()
        _drive(problem, device, log, samples - log.cut)
        device.port.close()
    return log


def _drive(problem: sc.ControlProblem, device: Device, log: Log, samples: int) -> None:
    plant, starts = problem.plant, problem.scenarios.x0
    theta, objective = np.zeros(0), np.nan
    x = starts[0] if not log.x else log.x[-1]
    for _ in range(samples):
        k = len(log.x)
        if k % EPISODE == 0:
            x = starts[k // EPISODE % SCENARIOS]
        u = device.control(x).u
        device.adapt(PIECES)
        now = device.active()
        if not np.array_equal(now, theta):
            theta, objective = now, float(problem.objective(now))
            log.violations += bool(problem.metrics(now)[problem.varies].max() > 0)
        log.x.append(x)
        log.u.append(float(u[0]))
        log.objective.append(objective)
        x = np.array(plant.function(x, u, plant.p_nominal))[:, 0]


# --- What came out ---------------------------------------------------------------------------------------------------


def draw(log: Log, dt: float) -> Figure:
    """Draw position, velocity and force, and the objective of the policy at work, over time."""
    figure = Figure(figsize=(7.5, 5.5), layout="constrained")
    axes = figure.subplots(3, 1, sharex=True)
    time, x = dt * np.arange(len(log.x)), np.array(log.x)
    x[EPISODE - 1 :: EPISODE] = np.nan  # no line from the end of an episode to the start of the next
    axes[0].plot(time, x[:, 0], label="position [m]")
    axes[0].plot(time, x[:, 1], label="velocity [m/s]")
    axes[0].axhline(1.5, color="0.6", linestyle=":", linewidth=1)
    axes[0].axhline(-1.5, color="0.6", linestyle=":", linewidth=1, label="bounds of the velocity")
    axes[0].legend(loc="lower right", ncols=3, fontsize=8)
    axes[1].step(time, log.u, where="post", color="tab:green")
    axes[1].set_ylabel("force [N]")
    axes[1].set_ylim(-1.15, 1.15)
    axes[2].step(time, log.objective, where="post", color="tab:red")
    axes[2].set_ylabel("objective of the\npolicy at work")
    axes[2].set_xlabel("time [s]")
    axes[2].set_ylim(bottom=0)
    for ax in axes:
        ax.axvline(dt * log.cut, color="black", linewidth=1.2)
    axes[2].annotate("power cut", (dt * log.cut, axes[2].get_ylim()[1] * 0.85), (5, 0), textcoords="offset points")
    axes[0].set_title("A cart under a PD controller that improves on the board")
    return figure


def main() -> None:
    """Run it, and say what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=360)
    parser.add_argument("--figure", type=Path, default=FIGURE)
    options = parser.parse_args()
    problem = make_problem()
    with tempfile.TemporaryDirectory() as name:
        log = drive(problem, make_program(problem, Path(name)), options.samples)
    same = np.array_equal(log.before, log.after)
    print(f"{options.samples} samples; objective {log.objective[0]:.3f} (PD) -> {log.objective[-1]:.3f}")
    print(f"policies at work that break a metric: {log.violations}")
    print(f"after the power cut the board has {'the policy that it had' if same else 'ANOTHER policy'}")
    draw(log, problem.plant.dt).savefig(options.figure, dpi=150)
    print(f"figure: {options.figure}")


if __name__ == "__main__":
    main()
