"""TOML of bounded depth: Python's parser takes memory that grows with the square of the depth of a dotted key."""

import re
import tomllib
from typing import Any

from scpo_ctrl.loop.sizes import MOST_DOTS

_PART = r"""(?:"[^"\n]{0,200}"|'[^'\n]{0,200}'|[A-Za-z0-9_-]+)"""
_DEEP = re.compile(rf"(?<![A-Za-z0-9_-])(?:{_PART}[ \t]{{0,9}}\.[ \t]{{0,9}}){{{MOST_DOTS},}}")


def loads(text: str) -> dict[str, Any]:
    """Parse TOML.

    Parameters
    ----------
    text : str

    Returns
    -------
    dict

    Raises
    ------
    tomllib.TOMLDecodeError
        If it is not valid, or a key has more dots than any problem needs.
    """
    deep = _DEEP.search(text)
    if deep:
        line = text.count("\n", 0, deep.start()) + 1
        dots = deep.group().count(".")
        raise tomllib.TOMLDecodeError(f"line {line} has a key of {dots} dots, more than {MOST_DOTS}; nest less")
    return tomllib.loads(text)
