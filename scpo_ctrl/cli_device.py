"""The commands about devices."""

from pathlib import Path
from typing import Any

import click

from scpo_ctrl.device.pil import SAMPLES, STEPS, PilRun, pil
from scpo_ctrl.record.files import load_result
from scpo_ctrl.report.display import Rollouts
from scpo_ctrl.terminal import as_json_option, failed, print_json, run_argument, say

_BOARDS = ("cortex-m3", "cortex-m4f", "cortex-m7", "cortex-m33", "rv32imafc")
_MOST = 1_000_000


@click.command("pil")
@run_argument
@click.option("--target", type=click.Choice(_BOARDS), help="An emulated board, which is built and started.")
@click.option("--port", help="A serial line to a device that runs the export of RUN, such as /dev/ttyUSB0.")
@click.option("--real", type=click.Choice(["float", "double"]), help="Arithmetic; by default the target's own.")
@click.option("--steps", type=click.IntRange(0, _MOST), default=STEPS, show_default=True, help="Of the adaptation.")
@click.option(
    "--samples", type=click.IntRange(1, _MOST), default=SAMPLES, show_default=True, help="Of the closed loop."
)
@as_json_option
def pil_command(
    run: Path, target: str | None, port: str | None, real: str | None, steps: int, samples: int, as_json: bool
) -> int:
    """Run the export of RUN on a device, emulated or real: it controls the plant in Python, then adapts itself."""
    if (target is None) == (port is None):
        raise click.UsageError("give either --target or --port", click.get_current_context())
    if port is not None and real is not None:
        raise click.UsageError("--real goes with --target; a device has its own", click.get_current_context())
    with Rollouts("pil", quiet=as_json) as line:
        done = pil(
            load_result(run), target=target, port=port, real=real, steps=steps, samples=samples,
            monitor=lambda what, k, total: line.show(k, total),
        )  # fmt: skip
    if as_json:
        print_json(done.summary())
    else:
        for text in _lines(done):
            say(text)
    if done.passed:
        return 0
    what = f"{done.violations} committed policies break a metric" if done.violations else "inputs differ from Python's"
    return failed(f"{run}: on {done.target}, {what}", 1)


def _lines(done: PilRun) -> list[str]:
    """Return what a device did and took, in lines."""
    loop = (
        f"{done.samples} samples, largest difference to Python {done.largest_difference:.2g} of the bounds' half width"
    )
    adapted = f"{done.steps} steps, {done.commits} commits, {done.violations} violations in double, then {done.outcome}"
    dearest = f"instructions in the mean, {done.dearest_step_instructions or 0:,} at most"
    rows: list[tuple[str, Any, str]] = [
        ("closed loop", loop, ""),
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
