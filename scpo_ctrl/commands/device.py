"""The commands about devices."""

import math
import time
from pathlib import Path
from typing import Any

import click

from scpo_ctrl.adaptation.adapter import Adapter
from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.codegen import TARGETS, FixedPoint, check_options, export
from scpo_ctrl.codegen.export import check_replaceable
from scpo_ctrl.device.bridge import bridge
from scpo_ctrl.device.emulator import check_tools
from scpo_ctrl.device.pil import PilRun, pil
from scpo_ctrl.progress import Line, following
from scpo_ctrl.record.files import load_result
from scpo_ctrl.record.save import save_result
from scpo_ctrl.rounding import down, up
from scpo_ctrl.stop import Stop
from scpo_ctrl.terminal import failed, print_json, say, warn

_SAVE_EVERY = 2.0  # s between saves of a bridge, and at least 20 times what a save takes


def export_run(
    run: Path,
    out: Path,
    target: str,
    real: str | None,
    prefix: str,
    guard: bool,
    within: str,
    adapt: bool,
    gradients: str,
    audit: bool,
    examples: int | None,
    builds: bool,
    fixed: bool,
    as_json: bool,
    **counted: tuple[float, ...] | None,
) -> int:
    """Write C99 for the policy of RUN and its projection."""
    check_options(target, real, prefix)  # before the run is loaded, which takes seconds
    check_replaceable(out)
    exported = export(
        load_result(run), out, target, real, prefix, guarded=guard, within=within, adapting=adapt, builds=builds,
        examples=examples, gradients=gradients, audited=audit, fixed=FixedPoint(**counted) if fixed else False,
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


def pil_run(
    run: Path,
    target: str | None,
    port: Path | None,
    real: str | None,
    gradients: str,
    audit: bool,
    steps: int,
    samples: int,
    guard: bool,
    within: str,
    as_json: bool,
) -> int:
    """Run the export of RUN on a device, emulated or real: it controls the plant in Python, then adapts itself."""
    if target is not None:
        check_tools(TARGETS[target])  # before the run is loaded, which takes seconds
    with Line("pil", shown=not as_json) as line:
        done = pil(
            load_result(run), target=target, port=None if port is None else str(port), real=real, gradients=gradients,
            audited=audit, steps=steps, samples=samples, within=within if guard else None,
            monitor=lambda what, k, total: line.show(k, total, (what,)),
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


def bridge_run(
    run: Path,
    port: Path,
    out: Path,
    overwrite: bool,
    steps: int,
    seconds: float | None,
    log: Path | None,
    as_json: bool,
) -> int:
    """Adapt on this computer what a device runs: take in its samples, send audited policies back."""
    result = load_result(run)
    stop = click.get_current_context().ensure_object(Stop)
    saves = _Saves(out, overwrite)
    with stop.steps(), following("bridge", "steps", not as_json, None) as follow:

        def monitor(done: int, total: int) -> bool:
            follow(done, total)
            return stop.asked()

        limit = math.inf if seconds is None else seconds
        done, adapted = bridge(result, str(port), steps=steps, seconds=limit, log=log, monitor=monitor, save=saves)
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


def _beyond(done: PilRun) -> str | None:
    """Return what is known of states beside the scenarios, under the active policy."""
    if not done.fresh:
        return None
    here = f"{done.fresh_violations:,} of {done.fresh:,} fresh states break a metric"
    return here if done.audits else f"{here}; nothing is audited on the device"


def _active(done: PilRun) -> str:
    """Return in words which policy is active, where it may be the start in spite of commits."""
    start = done.commits and done.objective_final == done.objective_initial
    return "the active policy" + (": still the start, no audit was passed in these steps (--steps)" if start else "")


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
        ("objective", f"{done.objective_initial:.6g} -> {done.objective_final:.6g}, of {_active(done)}", ""),
        ("beyond", _beyond(done), ""),
        ("code", done.code_bytes, "bytes of functions"),
        ("RAM", done.ram_bytes, "bytes of controller and adapter"),
        ("stack", done.stack_bytes, "bytes at most"),
        ("control", done.control_instructions, "instructions at most"),
        ("projection", done.projection_instructions, "instructions in the mean"),
        ("slice", done.slice_instructions, "instructions at most"),
        ("step", done.step_instructions, dearest),
        ("audit", done.audit_instructions, f"instructions a point, {done.audits} audits of {done.audited:,} points"),
    ]
    return [
        f"{name:12s}{value:,} {unit}" if isinstance(value, int) else f"{name:12s}{value} {unit}"
        for name, value, unit in rows
        if value is not None
    ]
