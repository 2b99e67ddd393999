"""The command line."""

import contextlib
import io
import logging
import math
import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import click
import numpy as np

from scpo_ctrl.adaptation.adapt import adapt
from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.adaptation.state import State
from scpo_ctrl.adaptation.status import RunStatus
from scpo_ctrl.cli_assurance import certify_command, falsify_command, simulate_command
from scpo_ctrl.cli_device import bridge_command, export_command, pil_command
from scpo_ctrl.cli_guard import guard_command
from scpo_ctrl.cli_identify import identify_command
from scpo_ctrl.cli_plants import plants_command
from scpo_ctrl.compiled import find_compiler
from scpo_ctrl.errors import OutputError, RecordError, ScpoError, ScpoWarning, cause
from scpo_ctrl.reading import read_text
from scpo_ctrl.record import toml
from scpo_ctrl.record.assurance import load_guarded
from scpo_ctrl.record.atomic import stamps
from scpo_ctrl.record.config import ProblemFile, read_problem_file
from scpo_ctrl.record.files import load_result
from scpo_ctrl.record.folder import RunFolder, is_unfinished
from scpo_ctrl.record.scenario_file import with_learned
from scpo_ctrl.report.display import Display
from scpo_ctrl.report.reach import reach_lines
from scpo_ctrl.report.wording import audited, beyond, gains, optimality, stability
from scpo_ctrl.rounding import down
from scpo_ctrl.stop import Stop, Stopped, answered
from scpo_ctrl.stop import say as say_at_once
from scpo_ctrl.terminal import PATH, as_json_option, failed, print_json, run_argument, say, verdict, warn
from scpo_ctrl.verification.verify import verify as verify_record
from scpo_ctrl.version import __version__

_SAVE_EVERY = 2.0  # s between saves of a running run, and at least 20 times what a save takes
_FAILED = (RunStatus.INTERRUPTED, RunStatus.SMOOTHNESS_TOO_SMALL)
_TRIES = 5  # to write a report before another process saves once more
_SHOWN = 3  # faults named in one line


def main() -> None:
    """Run the command line; every mistake of the user ends in one line on stderr, never in a traceback."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files may hold what the terminal cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    stop = Stop()
    try:
        with answered(stop):
            status = _run_command(stop)
    except KeyboardInterrupt:
        say_at_once(f"interrupted; {stop.remedy}")
        status = 128 + (stop.number or signal.SIGINT)
        try:
            if sys.stdout is not None:
                sys.stdout.flush()
        except OSError:
            _discard_stdout()
    sys.exit(status)


def _run_command(stop: Stop) -> int:
    """Return the exit status; what went wrong is a line on stderr by then."""
    message = None
    try:
        with _quiet_warnings():
            status = _invoke(stop)
        if sys.stdout is not None:  # closed by the caller
            sys.stdout.flush()
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "scpo-ctrl"
        message, status = f"{error.format_message().rstrip('.')}; see `{command} --help`", 2
    except click.ClickException as error:
        message, status = error.format_message(), 2
    except ScpoError as error:
        message, status = str(error), error.exit_status
    except BrokenPipeError:
        _discard_stdout()
        status = 1
    except OSError as error:
        if not error.filename:
            _discard_stdout()
        message, status = f"{error.filename or 'standard output'}: {error.strerror or error}", 2
    except Exception as error:
        message, status = _own_fault(error), 1
    return status if message is None else failed(message, status)


def _own_fault(error: Exception) -> str:
    """Say in one line that nothing but the machine, or this package, can be at fault."""
    if isinstance(error, MemoryError):
        return "not enough memory; lower [scenarios] count or horizon, or [policy] hidden"
    if os.environ.get("SCPO_TRACEBACK"):
        raise error
    where = "SCPO_TRACEBACK=1 shows where"
    return f"{cause(error)}; this is a fault of scpo-ctrl, please report it with what you gave it ({where})"


@contextmanager
def _quiet_warnings() -> Iterator[None]:
    """Say our own warnings in a line, and keep those of libraries off stderr; `python -W error` still raises them."""
    show = warnings.showwarning
    warnings.showwarning = lambda message, *_args, **_options: (
        warn(f"warning: {message}") if isinstance(message, ScpoWarning) else None
    )
    try:
        with np.errstate(all="ignore"):  # what is not finite is found where it is used
            yield
    finally:
        warnings.showwarning = show


@contextmanager
def _progress_shown() -> Iterator[None]:
    """Show on stderr what the library logs, such as a compilation that takes long."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("scpo-ctrl: %(message)s"))
    log = logging.getLogger("scpo_ctrl")
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def _invoke(stop: Stop) -> int:
    try:
        with _progress_shown(), cli.make_context("scpo-ctrl", sys.argv[1:], obj=stop) as context:
            status = cli.invoke(context)
    except click.exceptions.Exit as done:  # --help, --version
        status = done.exit_code
    except BaseException as error:
        if stop.is_immediate or isinstance(error, click.Abort):  # what was interrupted may say so in its own way
            raise Stopped from error
        raise
    return status if isinstance(status, int) else 0


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=False)
@click.version_option(__version__)
def cli() -> None:
    """Safe online adaptation of controllers (SCPO), from a plant model to C on a microcontroller."""


@cli.command()
@click.option("--out", type=PATH, default=Path("runs/demo"), show_default=True)
@as_json_option
def demo(out: Path, as_json: bool) -> int:
    """Run the main job on the double integrator: adapt, verify, report, export C, replay it."""
    from scpo_ctrl.codegen import export
    from scpo_ctrl.codegen.build import replay

    _resumable()
    with as_file(files("scpo_ctrl") / "data" / "double_integrator.toml") as path:
        file = read_problem_file(path)
    with RunFolder(out, file, overwrite=lambda path: _is_demo(path, file)) as folder:
        result = _adapt("the demo", file, folder, None, as_json)
    if result.status in _FAILED:
        return _finish(result, out, as_json)
    checked = verify_record(out)
    exported = export(result, out / "c", target="host", real="double")
    replayed = replay(exported.path) if find_compiler() else "not replayed: no C compiler found (set CC or install one)"
    if not as_json:
        say(f"verified   {checked.policies} policies on {checked.scenarios} scenarios: {verdict(checked.passed)}")
        say(f"C          {exported.path}: {replayed.strip().splitlines()[-1]}")
    return _finish(result, out, as_json, extra={"verified": checked.passed, "replayed": replayed}, ok=checked.passed)


@cli.command("adapt")
@click.argument("problem", type=PATH)
@click.option("--out", type=PATH, required=True, help="RUN folder to write.")
@click.option("--steps", type=click.IntRange(0), help="Number of first-order steps, instead of [adapt] steps.")
@click.option("--seed", type=click.IntRange(0), help="Seed of the initial parameters, instead of [adapt] seed.")
@click.option("--resume", is_flag=True, help="Go on from the last complete state in RUN.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier run in RUN.")
@click.option("--learn", type=PATH, multiple=True, help="Scenario file, as `falsify` writes, whose scenario joins in.")
@as_json_option
def adapt_command(
    problem: Path,
    out: Path,
    steps: int | None,
    seed: int | None,
    resume: bool,
    overwrite: bool,
    learn: tuple[Path, ...],
    as_json: bool,
) -> int:
    """Adapt the policy of PROBLEM.toml; every committed policy is safe on its scenarios."""
    if resume and overwrite:
        raise click.UsageError("--resume and --overwrite exclude each other", click.get_current_context())
    _resumable()
    file = read_problem_file(problem, steps=steps, seed=seed, trust=True)
    if learn:
        file = with_learned(file, learn)
    if resume and (out / "history.npz").exists():
        folder, earlier = RunFolder.resumed(out, file)
    else:  # nothing to go on from: an earlier process may have ended within its first save
        folder, earlier = RunFolder(out, file, overwrite=is_unfinished if resume else overwrite), None
    with folder:
        result = _adapt(str(problem), file, folder, earlier, as_json)
    return _finish(result, out, as_json)


@cli.command("verify")
@run_argument
@click.option("--problem", type=PATH, help="Problem file that RUN is said to be of: check that it is.")
@click.option("--seed", type=click.IntRange(0), help="Seed instead of [adapt] seed of that file, as given to `adapt`.")
@click.option("--trust", is_flag=True, help="Run the Python that that file names, and compare.")
@as_json_option
def verify_command(run: Path, problem: Path | None, seed: int | None, trust: bool, as_json: bool) -> int:
    """Re-check the record of RUN from its files alone."""
    for given, option in ((seed is not None, "--seed"), (trust, "--trust")):
        if given and problem is None:
            raise click.UsageError(f"{option} goes with --problem", click.get_current_context())
    checked = verify_record(run, problem=problem, seed=seed, trust=trust)
    if as_json:
        print_json({"passed": checked.passed, **asdict(checked)})
    else:
        say(f"{run}: {checked.policies} committed policies, {checked.scenarios} scenarios, {checked.metrics} metrics")
        say(f"worst margin {down(checked.worst_margin)}, violations {checked.violations}: {verdict(checked.passed)}")
        if checked.backup:
            say(f"backup: {checked.backup}")
    if not checked.passed:
        more = f"; and {len(checked.faults) - _SHOWN} more (see --json)" if len(checked.faults) > _SHOWN else ""
        return failed(f"{run}: {'; '.join(checked.faults[:_SHOWN])}{more}", 1)
    return 0


@cli.command("report")
@run_argument
@as_json_option
def report_command(run: Path, as_json: bool) -> int:
    """Write RUN/report.html, self-contained."""
    from scpo_ctrl.report.page import write_report

    for _ in range(_TRIES):  # of the last state, though another process may be saving later ones
        before = stamps(run)
        write_report(result := load_result(run), run / "report.html", load_guarded(run, result))
        if before == stamps(run):
            break
    if as_json:
        print_json({"report": str(run / "report.html")})
    else:
        say(str(run / "report.html"))
    return 0


for command in (
    certify_command,
    falsify_command,
    simulate_command,
    guard_command,
    export_command,
    pil_command,
    bridge_command,
    identify_command,
    plants_command,
):
    cli.add_command(command)


def _is_demo(out: Path, file: ProblemFile) -> bool:
    """Whether an earlier demo, and not another run, even of the same plant, is in the folder."""
    try:
        earlier = toml.loads(read_text(out / "problem.toml"))
    except (OSError, ValueError):
        return False
    return bool(earlier == toml.loads(file.text()))


def _stop() -> Stop:
    return click.get_current_context().ensure_object(Stop)


def _resumable() -> None:
    """Say what an interruption leaves of a run."""
    _stop().remedy = "`--resume` goes on from the last complete state, if one was saved"


def _adapt(name: str, file: ProblemFile, folder: RunFolder, earlier: Result | None, quiet: bool) -> Result:
    """Adapt with a progress display, saving the state at once and then now and then; write the report at the end."""
    from scpo_ctrl.report.page import write_report

    due = -math.inf
    stop = _stop()
    with stop.steps(), Display(file.options.steps, quiet=quiet) as display:

        def monitor(state: State) -> bool:
            nonlocal due
            stop.wait()  # before anybody can see that something was saved
            began = time.monotonic()
            if began >= due:
                folder.save(state.result())
                ended = time.monotonic()
                due = ended + max(_SAVE_EVERY, 20 * (ended - began))
            display.show(state)
            return stop.asked()

        def audit_monitor(done: int, total: int) -> bool:
            display.show_audit(done, total)
            return stop.asked()

        try:
            result = adapt(
                file.problem, file.options, resume_from=earlier, monitor=monitor, audit_monitor=audit_monitor
            )
        except OutputError:
            raise
        except ScpoError as error:
            raise type(error)(f"{folder.path if isinstance(error, RecordError) else name}: {error}") from error
        folder.save(result)
    write_report(result, folder.path / "report.html")
    return result


def _finish(result: Result, out: Path, as_json: bool, *, extra: dict[str, Any] | None = None, ok: bool = True) -> int:
    summary = result.summary() | {"run": str(out)} | (extra or {})
    if as_json:
        print_json(summary)
    else:
        say(f"status     {summary['status']}: {summary['advice']}")
        for line in [*(f"note       {n}" for n in result.notes()), *gains(result), *reach_lines(result)]:
            say(line)
        say(f"objective  {result.objective_initial:.4g} -> {result.objective_final:.4g}")
        if reached := optimality(result, lambda value: f"{value:.2g}"):
            say(f"optimality {reached}")
        given_up = ", withdrawn after audits {withdrawn}" if summary["withdrawn"] else ""
        say(f"tries      accepted {{accepted}}, rejected {{rejected}}{given_up}, in {{steps}} steps".format(**summary))
        kept = f"{summary['violations']} violations, worst margin {down(summary['worst_margin'])}"
        say(f"safety     on its scenarios: {kept}")
        if found := stability(result, lambda value: f"{value:.4g}"):
            say(f"stability  {found}, the largest over the parameter ranges")
        if look := audited(result):
            say(f"audit      {look.sentence.removeprefix('audited: ')}")
        elif look := beyond(result):
            say(f"beside     {look.sentence}; the run was not audited")
        say(f"results    {out}/ (report.html, result.json, history.npz)")
    return 1 if result.status in _FAILED or summary["violations"] or not ok else 0


def _discard_stdout() -> None:
    """Nobody reads on: what is still buffered would fail once more when the interpreter ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
