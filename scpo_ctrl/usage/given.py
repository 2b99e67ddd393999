"""What commands take in common: words that are offered, and places that are looked at before the command begins."""

import os
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from scpo_ctrl.choices import TARGETS
from scpo_ctrl.places import (
    check_file,
    check_folder,
    check_future_run,
    check_new_file,
    check_port,
    check_run,
    check_written_run,
    is_run,
)

_DEEP = 3  # folders below each other in which Tab looks for runs


class Words(click.Choice[str]):
    """One of some words; for another one the nearest is named."""

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__(tuple(words))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word."""
        if value in self.choices:
            return str(value)
        near = get_close_matches(str(value), self.choices, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise click.BadParameter(f"{value!r} is none of {', '.join(self.choices)}{meant}", ctx, param)


class Place(click.Path):
    """A path that is looked at when the whole command is understood.

    Parameters
    ----------
    look : callable
        Raises what is wrong with it.
    offer : str
        What Tab completes: "file", "dir" or "run".
    """

    def __init__(self, look: Callable[[Path], None], offer: str) -> None:
        super().__init__(path_type=Path, readable=False)
        self.look, self._offer = look, offer

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Complete a path, of runs that of those that are there."""
        if self._offer != "run":
            return [CompletionItem(incomplete, type=self._offer)]
        found = [CompletionItem(name) for name in sorted(_runs(incomplete))]
        return found or [CompletionItem(incomplete, type="dir")]


class Command(click.Command):
    """A command that looks at all places that it is given before it begins."""

    def invoke(self, ctx: click.Context) -> Any:
        """Look at places, then begin."""
        for parameter in self.params:
            value = ctx.params.get(parameter.name or "")
            if isinstance(parameter.type, Place) and value is not None:
                for path in (value,) if isinstance(value, Path) else value:
                    parameter.type.look(path)
        return super().invoke(ctx)


RUN, WRITTEN_RUN = Place(check_run, "run"), Place(check_written_run, "run")
FUTURE_RUN = Place(check_future_run, "run")
FILE, NEW_FILE = Place(check_file, "file"), Place(check_new_file, "file")
NEW_FOLDER, PORT = Place(check_folder, "dir"), Place(check_port, "file")

run_argument = click.argument("run", type=RUN)
written_run_argument = click.argument("run", type=WRITTEN_RUN)
target_option = click.option(
    "--target", type=Words(TARGETS), default="host", metavar="TARGET", show_default=True,
    help=f"What the resource table is measured for: {', '.join(TARGETS)}.",
)  # fmt: skip
verbose_option = click.option("--verbose", "-v", is_flag=True, help="Write a line for every step on stderr.")
as_json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else there."
)


def exclude_each_other(**given: Any) -> None:
    """Refuse more than one of some options.

    Parameters
    ----------
    **given
        Their values; None, or nothing of many, where they are left out.
    """
    names = [f"--{name}" for name, value in given.items() if value not in (None, ())]
    if len(names) > 1:
        raise click.UsageError(f"{' and '.join(names)} exclude each other", click.get_current_context())


def work(place: str, given: dict[str, Any]) -> int:
    """Import what a command does, and do it.

    Parameters
    ----------
    place : str
        Module below `scpo_ctrl.commands`, a colon, and the function.
    given : dict
        Its arguments.

    Returns
    -------
    int
        Exit status.
    """
    import numpy as np

    module, _, name = place.partition(":")
    with np.errstate(all="ignore"):  # what is not finite is found where it is used
        status: int = getattr(import_module(f"scpo_ctrl.commands.{module}"), name)(**given)
    return status


def _runs(incomplete: str) -> Iterator[str]:
    """Find RUN folders whose path begins like this."""
    parent, _, begin = incomplete.rpartition("/")
    root = Path(f"{parent}/" if parent or incomplete.startswith("/") else ".")
    for folder, below, _ in os.walk(root):
        deep = len(Path(folder).relative_to(root).parts)
        shown = sorted(name for name in below if not name.startswith(".") and (deep or name.startswith(begin)))
        paths = [Path(folder) / name for name in shown]
        yield from (str(path) for path in paths if is_run(path))
        below[:] = [path.name for path in paths if deep + 1 < _DEEP and not is_run(path)]
