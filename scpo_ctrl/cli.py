"""The command line."""

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from scpo_ctrl import __version__
from scpo_ctrl.adapt import adapt
from scpo_ctrl.compiled import find_compiler
from scpo_ctrl.config import ProblemFile, read_problem_file
from scpo_ctrl.display import Display
from scpo_ctrl.errors import ScpoError
from scpo_ctrl.models import ZOO, make_plant
from scpo_ctrl.record import RunFolder, load_result
from scpo_ctrl.result import Result
from scpo_ctrl.state import State
from scpo_ctrl.status import RunStatus
from scpo_ctrl.verify import verify as verify_record

_SAVE_EVERY = 2.0  # s between saves of a running run, and at least 20 times what a save takes
_FAILED = (RunStatus.INTERRUPTED, RunStatus.SMOOTHNESS_TOO_SMALL)

_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else there.")
_run = click.argument("run", type=click.Path(path_type=Path))
_target = click.option("--target", default="host", show_default=True, help="Board the resource table is measured for.")
_real = click.option("--real", type=click.Choice(["float", "double"]), help="Arithmetic; by default the target's own.")


def main() -> None:
    """Run the command line; every mistake of the user ends in one line on stderr, never in a traceback."""
    try:
        status = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        _fail("interrupted", 1)
    except click.ClickException as error:
        _fail(error.format_message(), 2)
    except ScpoError as error:
        _fail(str(error), error.exit_status)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        _fail(f"{error.filename or 'output'}: {error.strerror or error}", 2)
    else:
        sys.exit(status if isinstance(status, int) else 0)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Safe online adaptation of controllers (SCPO), from a plant model to C on a microcontroller."""


@cli.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/demo"), show_default=True)
@_json
def demo(out: Path, as_json: bool) -> int:
    """Run the main job on the double integrator: adapt, verify, report, export C, replay it."""
    from scpo_ctrl.codegen import export  # noqa: PLC0415  only this command and `export` need the generator
    from scpo_ctrl.codegen.build import replay  # noqa: PLC0415

    with as_file(files("scpo_ctrl") / "data" / "double_integrator.toml") as path:
        file = read_problem_file(path)
    result = _adapt(file, RunFolder(out, file, overwrite=True), None, as_json)
    if result.status in _FAILED:
        return _finish(result, out, as_json)
    checked = verify_record(out)
    exported = export(result, out / "c", target="host", real="double")
    replayed = replay(exported.path) if find_compiler() else "not replayed: no C compiler found (set CC or install one)"
    if not as_json:
        _say(f"verified   {checked.policies} policies on {checked.scenarios} scenarios: {_verdict(checked.passed)}")
        _say(f"C          {exported.path}: {replayed.strip().splitlines()[-1]}")
    return _finish(result, out, as_json, extra={"verified": checked.passed, "replayed": replayed}, ok=checked.passed)


@cli.command("adapt")
@click.argument("problem", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="RUN folder to write.")
@click.option("--steps", type=int, help="Number of first-order steps, instead of [adapt] steps.")
@click.option("--seed", type=int, help="Seed of the initial parameters, instead of [adapt] seed.")
@click.option("--resume", is_flag=True, help="Go on from the last complete state in RUN.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier run in RUN.")
@_json
def adapt_command(
    problem: Path, out: Path, steps: int | None, seed: int | None, resume: bool, overwrite: bool, as_json: bool
) -> int:
    """Adapt the policy of PROBLEM.toml; every committed policy is safe."""
    file = read_problem_file(problem, steps=steps, seed=seed)
    if resume and (out / "history.npz").exists():
        folder = RunFolder.resumed(out, file)
        return _finish(_adapt(file, folder, load_result(out), as_json), out, as_json)
    return _finish(_adapt(file, RunFolder(out, file, overwrite=overwrite), None, as_json), out, as_json)


@cli.command("verify")
@_run
@_json
def verify_command(run: Path, as_json: bool) -> int:
    """Re-check the record of RUN from its files alone."""
    checked = verify_record(run)
    if as_json:
        click.echo(json.dumps({"passed": checked.passed, **asdict(checked)}))
    else:
        _say(f"{run}: {checked.policies} committed policies, {checked.scenarios} scenarios, {checked.metrics} metrics")
        _say(f"worst margin {checked.worst_margin:.3g}, violations {checked.violations}: {_verdict(checked.passed)}")
    for fault in checked.faults:
        click.echo(f"scpo-ctrl: {run}: {fault}", err=True)
    return 0 if checked.passed else 1


@cli.command("export")
@_run
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write the C to.")
@_target
@_real
@click.option("--prefix", default="scpo", show_default=True, help="Prefix of every C name.")
@_json
def export_command(run: Path, out: Path, target: str, real: str | None, prefix: str, as_json: bool) -> int:
    """Write C99 for the policy of RUN and its projection."""
    from scpo_ctrl.codegen import export  # noqa: PLC0415

    exported = export(load_result(run), out, target=target, real=real, prefix=prefix)
    if as_json:
        listed = {"path": str(exported.path), "files": [str(name) for name in exported.files]}
        click.echo(
            json.dumps({**listed, "target": exported.target, "real": exported.real, "resources": exported.resources})
        )
    else:
        _say(
            f"{exported.path}: {len(exported.files)} files for {exported.target}, {exported.real}; see README.md there"
        )
    return 0


@cli.command("report")
@_run
@_json
def report_command(run: Path, as_json: bool) -> int:
    """Write RUN/report.html, self-contained."""
    from scpo_ctrl.report import write_report  # noqa: PLC0415  matplotlib is slow to import

    write_report(load_result(run), run / "report.html")
    click.echo(json.dumps({"report": str(run / "report.html")}) if as_json else str(run / "report.html"))
    return 0


@cli.command()
@_json
def plants(as_json: bool) -> int:
    """List the model zoo, one line each."""
    zoo = {name: make_plant(name) for name in sorted(ZOO)}
    if as_json:
        rows = {
            name: {"nx": p.nx, "nu": p.nu, "dt": p.dt, "parameters": list(p.p_labels), "source": p.source}
            for name, p in zoo.items()
        }
        click.echo(json.dumps(rows))
    else:
        for name, plant in zoo.items():
            states, inputs = (
                ", ".join(f"{label} [{unit}]" for label, unit in zip(*pair, strict=True))
                for pair in ((plant.x_labels, plant.x_units), (plant.u_labels, plant.u_units))
            )
            click.echo(f"{name}: states {states}; inputs {inputs}; dt {plant.dt:g} s; {plant.source}")
    return 0


def _adapt(file: ProblemFile, folder: RunFolder, earlier: Result | None, quiet: bool) -> Result:
    """Adapt with a progress display, saving the state now and then; write the report at the end."""
    from scpo_ctrl.report import write_report  # noqa: PLC0415

    saved = time.monotonic()
    pause = _SAVE_EVERY
    with _stop_requests() as stop, Display(file.options.steps, quiet=quiet) as display:

        def monitor(state: State) -> bool:
            nonlocal saved, pause
            display.show(state)
            if time.monotonic() - saved > pause:
                began = time.monotonic()
                folder.save(state.result())
                saved = time.monotonic()
                pause = max(_SAVE_EVERY, 20 * (saved - began))
            return stop()

        result = adapt(file.problem, file.options, resume_from=earlier, monitor=monitor)
    folder.save(result)
    write_report(result, folder.path / "report.html")
    return result


@contextmanager
def _stop_requests() -> Iterator[Callable[[], bool]]:
    """Turn Ctrl-C and termination into a request that the loop answers after its step; a second one is immediate."""
    asked = False

    def ask(signum: int, _frame: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        click.echo("scpo-ctrl: stopping after this step; once more to stop at once", err=True)

    earlier = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _finish(result: Result, out: Path, as_json: bool, *, extra: dict[str, Any] | None = None, ok: bool = True) -> int:
    summary = result.summary() | {"run": str(out)} | (extra or {})
    if as_json:
        click.echo(json.dumps(summary))
    else:
        table = Table(show_header=False, box=None, pad_edge=False)
        kept = "accepted {accepted}, rejected {rejected}, of {steps} steps".format(**summary)
        for key, value in (
            ("status", f"{summary['status']}: {summary['advice']}"),
            ("objective", f"{result.objective_initial:.4g} -> {result.objective_final:.4g}"),
            ("tries", kept),
            ("safety", f"{summary['violations']} violations, worst margin {summary['worst_margin']:.3g}"),
            ("results", f"{out}/ (report.html, result.json, history.npz)"),
        ):
            table.add_row(key, value)
        Console(soft_wrap=True).print(table)
    return 1 if result.status in _FAILED or summary["violations"] or not ok else 0


def _verdict(passed: bool) -> str:
    return "passed" if passed else "FAILED"


def _say(text: str) -> None:
    click.echo(text)


def _fail(message: str, status: int) -> None:
    click.echo(f"scpo-ctrl: {' '.join(message.split())}", err=True)
    sys.exit(status)
