"""What commands share: how they speak, and the options that several have."""

import json
import math
from pathlib import Path
from typing import Any

import click

from scpo_ctrl.stop import say as say_at_once
from scpo_ctrl.text import visible

PATH = click.Path(path_type=Path, readable=False)  # what cannot be read is reported by what reads it
as_json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else there."
)
run_argument = click.argument("run", type=PATH)


def say(line: str) -> None:
    """Print a line on stdout.

    Parameters
    ----------
    line : str
    """
    click.echo(visible(line))


def verdict(passed: bool) -> str:
    """Return a word for whether a check passed.

    Parameters
    ----------
    passed : bool

    Returns
    -------
    str
    """
    return "passed" if passed else "FAILED"


def warn(line: str) -> None:
    """Print one line on stderr.

    Parameters
    ----------
    line : str
    """
    say_at_once(visible(" ".join(line.split())))


def failed(message: str, status: int) -> int:
    """Say on stderr what went wrong.

    Parameters
    ----------
    message : str
    status : int
        Of the process.

    Returns
    -------
    int
        The same.
    """
    warn(message)
    return status


def print_json(value: Any) -> None:
    """Print one JSON object, with null for what JSON has no number for.

    Parameters
    ----------
    value : object
        Plain data.
    """
    say(json.dumps(_finite(value), allow_nan=False))


def _finite(value: Any) -> Any:
    """Return plain data with null for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
