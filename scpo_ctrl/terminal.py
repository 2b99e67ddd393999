"""How commands speak."""

import json
import math
import re
import shutil
import sys
import textwrap
from typing import Any, TextIO

import click

from scpo_ctrl.stop import say as say_at_once
from scpo_ctrl.text import visible

_LABEL = re.compile(r"\S+ {2,}|\w{10} ")  # what a line begins with, before its text, in a column of eleven
_HANG = 4  # columns, of what follows a line without one
_NAME = len("scpo-ctrl: ")


def say(line: str) -> None:
    """Print a line on stdout.

    Parameters
    ----------
    line : str
    """
    click.echo(_fitted(visible(line), sys.stdout))


def _fitted(line: str, stream: TextIO | None, before: int = 0) -> str:
    """Return a line as a terminal holds it: broken between words, and what follows stands below the text of its label.

    In a file a line stays one.
    """
    if stream is None or not stream.isatty():
        return line
    width = shutil.get_terminal_size().columns
    label = _LABEL.match(line)
    hang = " " * (label.end() if label and label.end() <= width // 3 else _HANG)
    lines = textwrap.wrap(
        line, width, initial_indent=" " * before, subsequent_indent=hang, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(lines)[before:]


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
    say_at_once(_fitted(visible(" ".join(line.split())), sys.stderr, before=_NAME))


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
    click.echo(visible(json.dumps(_finite(value), allow_nan=False)))


def _finite(value: Any) -> Any:
    """Return plain data with null for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
