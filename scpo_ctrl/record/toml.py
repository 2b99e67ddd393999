"""TOML of bounded depth: Python's parser takes memory that grows with the square of the depth of a dotted key."""

import re
import tomllib
from typing import Any

from scpo_ctrl.loop.sizes import MOST_DOTS

_PART = r"""(?:"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+'|[A-Za-z0-9_-]++)"""
_DOT = r"[ \t]*+\.[ \t]*+"
# One after the other, so that dots within strings and comments count for no key. An open string ends with the text.
_PIECES = re.compile(
    rf"""
    \#[^\n]*+
    | \"{{3}} (?: [^\\"] | \\(?s:.) | "{{1,2}}+(?!") )*+ "{{0,5}}
    | '{{3}} (?: [^'] | '{{1,2}}+(?!') )*+ '{{0,5}}
    | (?P<deep> {_PART} (?: {_DOT} {_PART} ){{{MOST_DOTS + 1},}}+ )
    | {_PART} (?: {_DOT} {_PART} )*+
    """,
    re.VERBOSE,
)
_DOTS = re.compile(rf"{_PART}|(\.)")


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
    deep = next((piece for piece in _PIECES.finditer(text) if piece["deep"]), None)
    if deep:
        line = text.count("\n", 0, deep.start()) + 1
        dots = sum(1 for found in _DOTS.finditer(deep["deep"]) if found[1])
        raise tomllib.TOMLDecodeError(f"line {line} has a key of {dots} dots, more than {MOST_DOTS}; nest less")
    return tomllib.loads(text)
