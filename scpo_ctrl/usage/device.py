"""What the commands about devices take."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from scpo_ctrl.choices import DEVICE_GRADIENTS, REALS, SAMPLES, STEPS, TARGETS, WITHIN
from scpo_ctrl.errors import OutputError
from scpo_ctrl.usage.assurance import within_option
from scpo_ctrl.usage.given import (
    NEW_FILE,
    NEW_FOLDER,
    PORT,
    Command,
    Words,
    as_json_option,
    run_argument,
    target_option,
    work,
)

_MOST = 1_000_000
_gradients = click.option(
    "--gradients", type=Words(DEVICE_GRADIENTS), default=DEVICE_GRADIENTS[0], show_default=True,
    help="Of the adaptation: backwards through rollouts, or sampled from more rollouts, in less memory.",
)  # fmt: skip
_audit = click.option(
    "--audit/--no-audit", default=True, show_default=True,
    help="Of the adaptation: it audits what it commits on fresh points before that is applied, if a set is declared.",
)  # fmt: skip
_real = click.option("--real", type=Words(REALS), help="Arithmetic; by default the target's own.")


def _counted(name: str, text: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Return an option of numbers with commas between them."""
    return click.option(name, metavar="A,B", callback=_numbers, help=text)


def _numbers(context: click.Context, option: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    try:
        return None if value is None else tuple(float(part) for part in value.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is no list of numbers such as 0.01,0.002", context, option) from error


@click.command("export", cls=Command)
@run_argument
@click.option("--out", type=NEW_FOLDER, required=True, help="Folder to write the C to.")
@target_option
@_real
@click.option("--prefix", default="scpo", show_default=True, help="Prefix of every C name.")
@click.option("--adapt", is_flag=True, help="With the adaptation itself, to run on the device.")
@_gradients
@_audit
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
def export_command(**given: Any) -> int:
    """Write C99 for the policy of RUN and its projection."""
    counts = [name for name in ("x_step", "x_zero", "u_step", "u_zero") if given[name] is not None]
    _belongs(not counts or given["fixed"], "what a count is goes with --fixed")
    _belongs(given["within"] == WITHIN[0] or given["guard"], "--within goes with --guard")
    _belongs(given["examples"] is None or given["adapt"], "--examples goes with --adapt")
    _belongs(given["gradients"] == DEVICE_GRADIENTS[0] or given["adapt"], "--gradients goes with --adapt")
    _belongs(given["audit"] or given["adapt"], "--no-audit goes with --adapt")
    return work("device:export_run", given)


def _belongs(does: bool, words: str) -> None:
    """Refuse an option without the one that it goes with."""
    if not does:
        raise click.UsageError(words, click.get_current_context())


@click.command("pil", cls=Command)
@run_argument
@click.option(
    "--target", type=Words(TARGETS[1:]), metavar="TARGET",
    help=f"An emulated board, which is built and started: {', '.join(TARGETS[1:])}.",
)  # fmt: skip
@click.option("--port", type=PORT, help="A serial line to a device that runs the export of RUN, such as /dev/ttyUSB0.")
@_real
@_gradients
@_audit
@click.option("--steps", type=click.IntRange(0, _MOST), default=STEPS, show_default=True, help="Of the adaptation.")
@click.option(
    "--samples", type=click.IntRange(1, _MOST), default=SAMPLES, show_default=True, help="Of the closed loop."
)
@click.option("--guard", is_flag=True, help="The export has the guard (E9), which is compared with Python's.")
@within_option
@as_json_option
def pil_command(**given: Any) -> int:
    """Run the export of RUN on a device, emulated or real: it controls the plant in Python, then adapts itself."""
    target, port = given["target"], given["port"]
    _belongs((target is None) != (port is None), "give either --target or --port")
    _belongs(port is None or given["real"] is None, "--real goes with --target; a device has its own")
    exact = given["gradients"] == DEVICE_GRADIENTS[0]
    _belongs(port is None or exact, "--gradients goes with --target; a device has its own")
    _belongs(port is None or given["audit"], "--no-audit goes with --target; a device has its own")
    return work("device:pil_run", given)


@click.command("bridge", cls=Command)
@run_argument
@click.option("--port", type=PORT, required=True, help="A serial line to a device that runs the export of RUN.")
@click.option(
    "--out", type=NEW_FOLDER, help="RUN folder to write, the adaptation on this computer; by default RUN/bridge."
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier run there.")
@click.option("--steps", type=click.IntRange(0, _MOST), default=100, show_default=True, help="Of the adaptation.")
@click.option("--seconds", type=click.FloatRange(0.0, min_open=True), help="After which it ends.")
@click.option("--log", type=NEW_FILE, help="CSV file for all samples, as `identify` reads it.")
@as_json_option
def bridge_command(run: Path, out: Path | None, overwrite: bool, **given: Any) -> int:
    """Adapt on this computer what a device runs: take in its samples, send audited policies back."""
    out = run / "bridge" if out is None else out
    if out.exists() and not overwrite:
        raise OutputError(f"{out} is there already; choose a new folder, or --overwrite")
    return work("device:bridge_run", {"run": run, "out": out, "overwrite": overwrite, **given})
