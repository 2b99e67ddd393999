"""The command line: which commands there are, and what becomes of mistakes."""

import contextlib
import io
import logging
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

import click
from click.shell_completion import CompletionItem, get_completion_class, shell_complete

from scpo_ctrl.errors import ScpoError, ScpoWarning, cause
from scpo_ctrl.stop import Stop, Stopped, answered
from scpo_ctrl.stop import say as say_at_once
from scpo_ctrl.terminal import failed, warn
from scpo_ctrl.version import __version__

_COMPLETE = "_SCPO_CTRL_COMPLETE"  # variable by which a shell asks
_MENDED = {  # in click's scripts: what a description has after a comma, and a zsh that has loaded no completion yet
    "fish": ('string split ","', 'string split --max 1 ","'),
    "zsh": ("    compdef ", "    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }\n    compdef "),
}
# The module of scpo_ctrl.usage that has a command, loaded when it is called, and what --help says of it.
_COMMANDS = {
    "adapt": ("adapting", "Adapt the policy of a problem; every committed one is safe."),
    "bridge": ("device", "Adapt on this computer what a device runs."),
    "certify": ("assurance", "Certify a run's final policy, or prove its backup's set."),
    "compare": ("records", "Write a page with several runs side by side."),
    "demo": ("adapting", "Adapt, verify, report, export and replay an example."),
    "export": ("device", "Write C99 for the policy of a run, and its projection."),
    "falsify": ("assurance", "Search for a scenario that breaks a run's final policy."),
    "guard": ("assurance", "Simulate a run's final policy under the guard."),
    "identify": ("records", "Fit the plant of a problem to a log."),
    "pil": ("device", "Run the export of a run on a device, emulated or real."),
    "plants": ("records", "List the model zoo."),
    "report": ("records", "Write a run's page, report.html."),
    "simulate": ("assurance", "Simulate a run's policies on a plant that differs."),
    "sweep": ("campaigns", "Adapt many variants of a problem, on many workers."),
    "verify": ("records", "Re-check a run from its files alone."),
    "watch": ("records", "Show a run in a browser while it goes on."),
}


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
        yield
    finally:
        warnings.showwarning = show


class _Said(logging.Handler):
    """Says what is logged on stderr, below a line that is being drawn there."""

    def emit(self, record: logging.LogRecord) -> None:
        warn(record.getMessage())


@contextmanager
def _progress_shown() -> Iterator[None]:
    """Show on stderr what the library logs, such as a compilation that takes long."""
    handler = _Said()
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
    if asked := os.environ.get(_COMPLETE):  # by the shell, at Tab
        return shell_complete(cli, {}, "scpo-ctrl", _COMPLETE, asked)
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


class _Commands(click.Group):
    """Commands that are imported when they are called: all of them would take seconds."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"scpo_ctrl.usage.{_COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name][1]) for name in self.list_commands(ctx)])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the name of a command, or an option."""
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [*(CompletionItem(name, help=_COMMANDS[name][1]) for name in names), *options]


def _print_completion(context: click.Context, _option: click.Parameter, shell: str | None) -> None:
    """Print the script by which a shell completes the command at Tab."""
    kind = get_completion_class(shell or "")
    if shell is not None and kind is not None:
        click.echo(kind(cli, {}, "scpo-ctrl", _COMPLETE).source().replace(*_MENDED.get(shell, ("", ""))))
        context.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=False)
@click.version_option(__version__)
@click.option(
    "--completion", type=click.Choice(["bash", "zsh", "fish"]), is_eager=True, expose_value=False,
    callback=_print_completion, help="Print a script for the shell, by which Tab completes scpo-ctrl.",
)  # fmt: skip
def cli() -> None:
    """Safe online adaptation of controllers (SCPO), from a plant model to C on a microcontroller."""


def _discard_stdout() -> None:
    """Nobody reads on: what is still buffered would fail once more when the interpreter ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
