"""The commands about devices."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from scpo_ctrl.adaptation.adapter import Adapter
from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.codegen import FixedPoint, check_options, export
from scpo_ctrl.codegen.device import GRADIENTS
from scpo_ctrl.codegen.targets import TARGETS
from scpo_ctrl.commands.guard import within_option
from scpo_ctrl.device.bridge import bridge
from scpo_ctrl.device.pil import SAMPLES, STEPS, PilRun, pil
from scpo_ctrl.errors import OutputError
from scpo_ctrl.messages import shown
from scpo_ctrl.record.files import load_result
from scpo_ctrl.record.save import save_result
from scpo_ctrl.report.display import Rollouts
from scpo_ctrl.rounding import down, up
from scpo_ctrl.stop import Stop
from scpo_ctrl.terminal import PATH, as_json_option, failed, print_json, run_argument, say, warn

_BOARDS = [name for name, target in TARGETS.items() if target.machine]
_MOST = 1_000_000
_SAVE_EVERY = 2.0  # s between saves of a bridge, and at least 20 times what a save takes
_target = click.option("--target", default="host", show_default=True, help="Board the resource table is measured for.")
_gradients = click.option(
    "--gradients", type=click.Choice(GRADIENTS), default=GRADIENTS[0], show_default=True,
    help="Of the adaptation: backwards through rollouts, or sampled from more rollouts, in less memory.",
)  # fmt: skip
_real = click.option("--real", type=click.Choice(["float", "double"]), help="Arithmetic; by default the target's own.")


def _counted(name: str, text: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Return an option of numbers with commas between them."""
    return click.option(name, metavar="A,B", callback=_numbers, help=text)


def _numbers(context: click.Context, option: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    try:
        return None if value is None else tuple(float(part) for part in value.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{shown(value)} is no list of numbers such as 0.01,0.002", context, option) from error


@click.command("export")
@run_argument
@click.option("--out", type=PATH, required=True, help="Folder to write the C to.")
@_target
@_real
@click.option("--prefix", default="scpo", show_default=True, help="Prefix of every C name.")
@click.option("--adapt", is_flag=True, help="With the adaptation itself, to run on the device.")
@_gradients
@click.option("--examples", type=int, help="With --adapt: of an expert that it keeps, at most.  [default: 128]")
@click.option(
    "--guard", is_flag=True, help="With the guard (E9): whatever theta holds, no state leaves the proved set."
)
@within_option
@click.option(
    "--builds",
    is_flag=True,
    help="With boards/: Arduino, PlatformIO, Zephyr, timers of boards, A2L, and an FMU by make.",
)
@click.option("--fixed", is_flag=True, help="With the policy in integers, for processors without floating point.")
@_counted("--x-step", "What a count of each state is, such as 0.01,0.002; powers of two by default.")
@_counted("--x-zero", "Each state at count 0; zero by default.")
@_counted("--u-step", "What a count of each input is.")
@_counted("--u-zero", "Each input at count 0.")
@as_json_option
def export_command(
    run: Path,
    out: Path,
    target: str,
    real: str | None,
    prefix: str,
    guard: bool,
    within: str,
    adapt: bool,
    gradients: str,
    examples: int | None,
    builds: bool,
    fixed: bool,
    as_json: bool,
    **counted: tuple[float, ...] | None,
) -> int:
    """Write C99 for the policy of RUN and its projection."""
    check_options(target, real, prefix)  # before the run is loaded, which takes seconds
    if not fixed and any(value is not None for value in counted.values()):
        raise click.UsageError("what a count is goes with --fixed", click.get_current_context())
    exported = export(
        load_result(run), out, target, real, prefix, guarded=guard, within=within, adapting=adapt, builds=builds,
        examples=examples, gradients=gradients, fixed=FixedPoint(**counted) if fixed else False,
    )  # fmt: skip
    if as_json:
        print_json(exported.summary())
    else:
        say(f"{exported.path}: {len(exported.files)} files for {exported.target}, {exported.real}")
        say(f"of the run: {exported.claim}; README.md there says on what, and how to call the code")
        say(f"margin of the exported parameters, on all that the run kept safe: {down(exported.margin)}")
        if exported.fixed_margin is not None and exported.fixed_error is not None:
            off = ", ".join(up(error) for error in exported.fixed_error)
            say(f"in integers: inputs off by at most {off}; margin there {down(exported.fixed_margin)}")
    if exported.margin < 0:
        warn(
            f"{out}: rounded to {exported.real}, the parameters have margin {down(exported.margin)}: they are UNSAFE "
            "by that much; adapt with a larger [adapt] metric_error, such as 1e-6"
        )
    elif exported.fixed_margin is not None and exported.fixed_margin < 0:
        warn(
            f"{out}: in integers the loop has margin {down(exported.fixed_margin)}: it is UNSAFE by that much; adapt "
            "with a larger [adapt] metric_error, or count finer"
        )
    return 0


@click.command("pil")
@run_argument
@click.option("--target", type=click.Choice(_BOARDS), help="An emulated board, which is built and started.")
@click.option("--port", help="A serial line to a device that runs the export of RUN, such as /dev/ttyUSB0.")
@click.option("--real", type=click.Choice(["float", "double"]), help="Arithmetic; by default the target's own.")
@_gradients
@click.option("--steps", type=click.IntRange(0, _MOST), default=STEPS, show_default=True, help="Of the adaptation.")
@click.option(
    "--samples", type=click.IntRange(1, _MOST), default=SAMPLES, show_default=True, help="Of the closed loop."
)
@click.option("--guard", is_flag=True, help="The export has the guard (E9), which is compared with Python's.")
@within_option
@as_json_option
def pil_command(
    run: Path,
    target: str | None,
    port: str | None,
    real: str | None,
    gradients: str,
    steps: int,
    samples: int,
    guard: bool,
    within: str,
    as_json: bool,
) -> int:
    """Run the export of RUN on a device, emulated or real: it controls the plant in Python, then adapts itself."""
    if (target is None) == (port is None):
        raise click.UsageError("give either --target or --port", click.get_current_context())
    if port is not None and real is not None:
        raise click.UsageError("--real goes with --target; a device has its own", click.get_current_context())
    if port is not None and gradients != GRADIENTS[0]:
        raise click.UsageError("--gradients goes with --target; a device has its own", click.get_current_context())
    with Rollouts("pil", quiet=as_json) as line:
        done = pil(
            load_result(run), target=target, port=port, real=real, gradients=gradients, steps=steps, samples=samples,
            within=within if guard else None, monitor=lambda what, k, total: line.show(k, total),
        )  # fmt: skip
    if as_json:
        print_json(done.summary())
    else:
        for text in _lines(done):
            say(text)
    if done.passed:
        return 0
    what = f"{done.violations} committed policies break a metric" if done.violations else "inputs differ from Python's"
    if done.astray:
        what = f"{done.astray} inputs passed that Python's guard replaces: does the device run an export with --guard?"
    return failed(f"{run}: on {done.target}, {what}", 1)


@click.command("bridge")
@run_argument
@click.option("--port", required=True, help="A serial line to a device that runs the export of RUN.")
@click.option("--out", type=PATH, help="RUN folder to write, the adaptation on this computer; by default RUN/bridge.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier run there.")
@click.option("--steps", type=click.IntRange(0, _MOST), default=100, show_default=True, help="Of the adaptation.")
@click.option("--seconds", type=click.FloatRange(0.0, min_open=True), help="After which it ends.")
@click.option("--log", type=PATH, help="CSV file for all samples, as `identify` reads it.")
@as_json_option
def bridge_command(
    run: Path,
    port: str,
    out: Path | None,
    overwrite: bool,
    steps: int,
    seconds: float | None,
    log: Path | None,
    as_json: bool,
) -> int:
    """Adapt on this computer what a device runs: take in its samples, send audited policies back."""
    result = load_result(run)
    out = run / "bridge" if out is None else out
    if out.exists() and not overwrite:
        raise OutputError(f"{out} is there already; choose a new folder, or --overwrite")
    stop = click.get_current_context().ensure_object(Stop)
    saves = _Saves(out, overwrite)
    with stop.steps(), Rollouts("bridge", quiet=as_json) as line:

        def monitor(done: int, total: int) -> bool:
            line.show(done, total)
            return stop.asked()

        limit = math.inf if seconds is None else seconds
        done, adapted = bridge(result, port, steps=steps, seconds=limit, log=log, monitor=monitor, save=saves)
    saves.save(adapted)
    if as_json:
        print_json(done.summary())
    else:
        say(f"{done.samples} samples, {done.transitions} transitions, {done.uncovered} that no scenario explains")
        say(f"{done.steps} steps, {done.sent} policies sent, {done.refused} refused after rounding ({done.status})")
        say(f"objective {done.objective_initial:.6g} -> {done.objective_final:.6g}; {out}")
    return 0


class _Saves:
    """Saves of a bridge: now and then while it goes on, for `watch`, and at its end."""

    def __init__(self, out: Path, overwrite: bool) -> None:
        self._out, self._overwrite = out, overwrite
        self._adapter: Adapter | None = None
        self._due = time.monotonic() + _SAVE_EVERY

    def __call__(self, adapter: Adapter) -> None:
        self._adapter, began = adapter, time.monotonic()
        if began >= self._due:
            self.save(adapter.result())
            self._due = time.monotonic() + max(_SAVE_EVERY, 20 * (time.monotonic() - began))

    def save(self, result: Result) -> None:
        """Save a state of the run, and what was measured last."""
        samples = self._adapter.samples() if self._adapter else None
        save_result(result, self._out, overwrite=self._overwrite, samples=samples)


def _lines(done: PilRun) -> list[str]:
    """Return what a device did and took, in lines."""
    loop = (
        f"{done.samples} samples, largest difference to Python {done.largest_difference:.2g} of the bounds' half width"
    )
    adapted = f"{done.steps} steps, {done.commits} commits, {done.violations} violations in double, then {done.outcome}"
    dearest = f"instructions in the mean, {done.dearest_step_instructions or 0:,} at most"
    rows: list[tuple[str, Any, str]] = [
        ("closed loop", loop, ""),
        ("guard", None if done.guarded is None else f"acted at {done.guarded} states, let {done.astray} astray", ""),
        ("adaptation", adapted, ""),
        ("objective", f"{done.objective_initial:.6g} -> {done.objective_final:.6g}", ""),
        ("code", done.code_bytes, "bytes of functions"),
        ("RAM", done.ram_bytes, "bytes of controller and adapter"),
        ("stack", done.stack_bytes, "bytes at most"),
        ("control", done.control_instructions, "instructions at most"),
        ("projection", done.projection_instructions, "instructions in the mean"),
        ("slice", done.slice_instructions, "instructions at most"),
        ("step", done.step_instructions, dearest),
    ]
    return [
        f"{name:12s}{value:,} {unit}" if isinstance(value, int) else f"{name:12s}{value} {unit}"
        for name, value, unit in rows
        if value is not None
    ]
