"""Processor in the loop: an export on an emulated or real device, compared with Python, with what it takes there."""

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.assurance.audit import audit
from scpo_ctrl.choices import SAMPLES, STEPS, WITHIN
from scpo_ctrl.codegen import TARGETS, export
from scpo_ctrl.codegen.device import GRADIENTS
from scpo_ctrl.codegen.targets import Target, check_options
from scpo_ctrl.device.emulator import (
    BOARD,
    Emulator,
    build,
    check_tools,
    function_bytes,
    instructions_per_tick,
    variable_bytes,
)
from scpo_ctrl.device.link import Answer, Device, Port, Progress
from scpo_ctrl.errors import DeviceError
from scpo_ctrl.invariance.guard import Guard
from scpo_ctrl.loop.policy import Policy
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.proof.guarded import guard
from scpo_ctrl.sealed import as_instance

_AT_ONCE = 200  # pieces of a request: a device answers in seconds, however slow it is
_STACK_PIECES = 700  # whose stack is measured: several steps of small problems
_PREFIX = "scpo"
_OK, _GUARDED = 0, 6  # SCPO_OK, SCPO_GUARDED
_NEAR = 200  # states near the edge of the guard's set
_GOES_ON = ("committed", "rejected", "audited", "withdrawn")
_FRESH, _SEED = 20_000, 20_261_130  # of the audit on this computer

Monitor = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class PilRun:
    """What a device did, and what it took; bytes and instructions are None where they are not known over a port."""

    target: str
    real: str
    port: str
    samples: int  # of the closed loop with the plant in Python
    guarded: int | None  # states at which the guard acted, some of them near the edge of its set; None without guard
    astray: int  # inputs that Python's guard would not let pass
    largest_difference: float  # |u of the device - u of Python|, relative to half the width of the bounds
    steps: int  # of the adaptation on the device, from the run's start
    commits: int
    violations: int  # committed policies that break a metric, computed in double
    worst_margin: float  # of them, in double
    objective_initial: float  # in double
    objective_final: float  # of the active policy
    outcome: str  # of the last step
    audits: int  # that ended on the device
    audited: int  # points that they drew
    fresh: int  # states drawn on this computer to audit the active policy; 0 where no set is declared
    fresh_violations: int  # of these, how many break a metric
    audit_instructions: int | None  # mean of a point
    code_bytes: int | None
    ram_bytes: int | None
    stack_bytes: int | None
    control_instructions: int | None  # the most of a sample
    projection_instructions: int | None  # mean of a projection
    slice_instructions: int | None  # the dearest piece
    step_instructions: int | None  # mean of a step
    dearest_step_instructions: int | None

    @property
    def passed(self) -> bool:
        """Whether the device did what Python does, and no commit breaks a metric of its scenarios in double."""
        return (
            self.violations == 0
            and self.astray == 0
            and self.largest_difference <= (1e-5 if self.real == "float" else 1e-12)
        )

    def summary(self) -> dict[str, Any]:
        """Return the same as plain data, for JSON.

        Returns
        -------
        dict
        """
        return {"passed": self.passed, **asdict(self)}


def pil(
    result: Result,
    *,
    target: str | None = None,
    port: str | None = None,
    real: str | None = None,
    gradients: str = GRADIENTS[0],
    audited: bool = True,
    steps: int = STEPS,
    samples: int = SAMPLES,
    within: str | None = None,
    monitor: Monitor | None = None,
) -> PilRun:
    """Run an export on an emulated board, or on a real one over a serial line.

    Parameters
    ----------
    result : Result
        Of a `ControlProblem` that is adapted on a device.
    target : str, optional
        An emulated board, which is built and started here.
    port : str, optional
        A serial line instead, with a device that runs `scpo_server_receive` with the export of this run.
    real : str, optional
        "float" or "double"; by default the target's own.
    gradients : str
        "exact" or "sampled", as `export` has them; of an emulated board.
    audited : bool
        Whether the device audits what it commits, as `export` has it; of an emulated board.
    steps : int
        Of the adaptation on the device.
    samples : int
        Of the closed loop.
    within : str, optional
        The set of the guard that the export has: "level" or "polytope"; none by default.
    monitor : callable, optional
        Called with what is done, how far, and of how many.

    Returns
    -------
    PilRun

    Raises
    ------
    DeviceError
        If tools are missing, the device does not answer, or runs another export.
    DomainError
        If the run cannot be exported with its adaptation, or its guard.
    """
    if (target is None) == (port is None):
        raise DeviceError("give either a target, which is emulated, or the port of a device")
    problem = result.problem
    as_instance("the run's problem", problem, ControlProblem)
    assert isinstance(problem, ControlProblem)
    held = None if within is None else guard(problem, within)
    with tempfile.TemporaryDirectory(prefix="scpo-ctrl-") as name:
        work = Path(name)
        if port is not None:
            with Device(Port(port)) as device:
                return _run(result, device, _unknown(device), port, steps, samples, held, monitor)
        chosen, real, _ = check_options(target or "", real, _PREFIX)
        check_tools(chosen)
        folder = work / "c"
        export(
            result, folder, target=chosen.name, real=real, measured=False, adapting=True, gradients=gradients,
            audited=audited, guarded=within is not None, within=within or WITHIN[0],
        )  # fmt: skip
        program = work / "board.elf"
        sources = [*sorted((folder / "src").glob("*.c")), BOARD / "main.c"]
        build(chosen, sources, [folder / "include", folder / "src"], program)
        with Emulator(chosen, program) as board, Device(Port(board.port)) as device:
            found = _run(result, device, chosen, board.port, steps, samples, held, monitor)
            parts = (min(_AT_ONCE, _STACK_PIECES - done) for done in range(0, _STACK_PIECES, _AT_ONCE))
            stack = max(device.stack(), *map(device.stack, parts))
        ram = variable_bytes(chosen, program, "adapter", "controller")
        code = function_bytes(chosen, program, _PREFIX)
    return replace(found, code_bytes=code, ram_bytes=ram, stack_bytes=stack)


def _unknown(device: Device) -> Target:
    """Return what is known of a device at a port: its arithmetic."""
    real = "float" if device.real.itemsize == 4 else "double"
    return replace(TARGETS["host"], name="device", title="a device", real=real)


def _run(
    result: Result,
    device: Device,
    target: Target,
    port: str,
    steps: int,
    samples: int,
    held: Guard | None,
    monitor: Monitor | None,
) -> PilRun:
    problem = result.problem
    assert isinstance(problem, ControlProblem)
    policy = problem.policy
    if not isinstance(policy, Policy) or (device.nx, device.nu, device.theta_dim) != (
        problem.plant.nx,
        problem.plant.nu,
        problem.theta_dim,
    ):
        raise DeviceError(
            f"the device has {device.nx} states, {device.nu} inputs and {device.theta_dim} parameters; it runs the "
            "export of another run: export this one, and flash it"
        )
    say = monitor or (lambda what, done, total: None)
    seen = _closed_loop(result, _Commands(device, policy, held, np.asarray(result.theta)), samples, say)
    progress, committed = _adapt(problem, device, steps, say)
    margins = [-float(np.max(problem.metrics(theta)[problem.varies], initial=-np.inf)) for theta in committed]

    ended = max(progress.steps - (progress.outcome in _GOES_ON), 0)  # the next one has begun by then
    active = device.active()
    fresh, violations = _audit_here(problem, active)
    return PilRun(
        target=target.name,
        real="float" if device.real.itemsize == 4 else "double",
        port=port,
        samples=samples,
        guarded=None if held is None else seen.guarded,
        astray=seen.astray,
        largest_difference=seen.difference,
        steps=ended,
        commits=progress.commits,
        violations=sum(margin < 0 for margin in margins),
        worst_margin=min(margins, default=np.inf),
        objective_initial=float(problem.objective(problem.theta_initial)),
        objective_final=float(problem.objective(active)),
        outcome=progress.outcome,
        audits=progress.audits or 0,
        audited=progress.fresh,
        fresh=fresh,
        fresh_violations=violations,
        code_bytes=None,
        ram_bytes=None,
        stack_bytes=None,
        **_instructions(target, progress, seen.dearest, ended),
    )


def _instructions(target: Target, progress: Progress, control: int, ended: int) -> dict[str, int | None]:
    """Return what a device's work cost, from its own counter; None where what that counts is not known."""
    ticks = {
        "audit": progress.auditing / progress.fresh if progress.fresh else None,
        "control": control,
        "projection": progress.projecting / max(progress.projections, 1),
        "slice": progress.dearest_piece,
        "step": (progress.all - progress.auditing) / max(ended, 1),
        "dearest_step": progress.dearest_step,
    }
    scale = instructions_per_tick(target) if target.machine else None
    return {
        f"{name}_instructions": None if scale is None or of is None else round(of * scale) for name, of in ticks.items()
    }


class _Commands:
    """A device's inputs, compared with what Python's policy, and its guard, give."""

    def __init__(self, device: Device, policy: Policy, held: Guard | None, theta: np.ndarray) -> None:
        self.device, self.policy, self.held = device, policy, held
        self.theta = np.asarray(theta, device.real).astype(float)
        self.half = (policy.plant.u_max - policy.plant.u_min) / 2
        self.difference, self.dearest, self.guarded, self.astray = 0.0, 0, 0, 0
        if device.load(self.theta) != _OK:
            raise DeviceError("the device refuses the run's parameters; export anew, and flash it")

    def at(self, x: np.ndarray) -> np.ndarray:
        """Return the device's input at a state, and note what it differs from and what it costs."""
        seen = np.asarray(x, self.device.real).astype(float)
        answer: Answer = self.device.control(seen)
        acted, wanted = answer.status == _GUARDED, self.policy(seen, self.theta)
        if self.held is not None:
            _, acts = self.held.apply(seen, wanted)
            self.astray += bool(acts) and not acted
        self.guarded += acted
        expected = self.policy(seen, np.zeros_like(self.theta)) if acted else wanted
        self.difference = max(self.difference, float(np.max(np.abs(answer.u - expected) / self.half)))
        self.dearest = max(self.dearest, answer.cost)
        return answer.u


def _closed_loop(result: Result, commands: _Commands, samples: int, say: Callable[[str, int, int], None]) -> _Commands:
    """Let the device control the plant in Python, scenario after scenario, and look near the edge of a guard's set."""
    problem, plant = result.problem, commands.policy.plant
    assert isinstance(problem, ControlProblem)
    batch, s = problem.scenarios, 0
    x = batch.x0[0]
    for k in range(samples):
        if k % batch.horizon == 0:
            s = (k // batch.horizon) % batch.count
            x = batch.x0[s]
        x = np.array(plant.function(x, commands.at(x), batch.p[s]))[:, 0]
        say("samples", k + 1, samples)
    if commands.held is not None:
        rng = np.random.default_rng(0)
        towards = rng.standard_normal((_NEAR, plant.nx))
        edge = commands.held.surface(towards / np.linalg.norm(towards, axis=1, keepdims=True))
        for z in edge * rng.uniform(0.5, 1.0, (_NEAR, 1)):
            commands.at(plant.x_eq + z)
    return commands


def _adapt(
    problem: ControlProblem, device: Device, steps: int, say: Callable[[str, int, int], None]
) -> tuple[Progress, list[np.ndarray]]:
    """Let the device adapt from the run's start: what came of it, and every policy that it committed."""
    if device.load(problem.theta_initial) != _OK:
        raise DeviceError("the device refuses the run's start; export anew, and flash it")
    committed: list[np.ndarray] = []
    progress = device.adapt(0)
    for k in range(steps):
        progress = device.adapt(_AT_ONCE)
        while progress.outcome == "adapting":
            progress = device.adapt(_AT_ONCE)
        if progress.outcome == "committed":
            committed.append(device.active() if progress.audits is None else device.committed())
        say("steps", k + 1, steps)
        if progress.outcome not in _GOES_ON:
            break
    return progress, committed


def _audit_here(problem: ControlProblem, theta: np.ndarray) -> tuple[int, int]:
    """Audit a policy on states that the device did not see: how many were drawn, and how many break a metric."""
    declared = problem.scenarios.declared
    if declared is None or not declared.has_interior:
        return 0, 0
    found = audit(problem, theta, rollouts=_FRESH, seed=_SEED, progress=False)
    return found.rollouts, found.violations
