"""Text in the language of the file that it goes into: whatever a label holds, it stays text.

A template is filled in by an environment that escapes every string, whoever it came from, unless it is `Code`. So text
of a user cannot be forgotten: to print it as it is, somebody has to say so.
"""

import re
from collections.abc import Callable
from pathlib import PurePath
from xml.sax.saxutils import escape

from scpo_ctrl.codegen.literals import comment
from scpo_ctrl.text import one_line

_NOT_PLAIN = re.compile(r"[^A-Za-z0-9 _.,/+-]")


class Code(str):
    """Text in the language of the file already; what any operation makes of it is plain text again."""

    __slots__ = ()


def markdown(text: str) -> str:
    """Return text as inline code of Markdown, in which nothing has a meaning but the backtick.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
        With apostrophes in the place of backticks, and a slash in that of ``|``, which would end a cell of a table.
    """
    return f"`{one_line(text).replace('`', chr(39)).replace('|', '/') or ' '}`"


def plain(text: str) -> str:
    """Return text of letters, digits and a few signs, which mean nothing to Make and CMake.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
        With an underscore for everything else.
    """
    return _NOT_PLAIN.sub("_", text)


def xml(text: str) -> str:
    """Return text for an attribute of XML.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
    """
    return escape(one_line(text), {'"': "&quot;"})


def escape_for(name: str) -> Callable[[str], str]:
    """Return what escapes text for a file.

    Parameters
    ----------
    name : str
        Of the file or of its template.

    Returns
    -------
    callable

    Raises
    ------
    KeyError
        If the language of the file is not known.
    """
    file = PurePath(name.removesuffix(".jinja")).name
    return _LANGUAGES[file if "." not in file or file == "CMakeLists.txt" else PurePath(file).suffix]


_LANGUAGES: dict[str, Callable[[str], str]] = {
    ".c": comment,
    ".h": comment,
    ".hpp": comment,
    ".ino": comment,
    ".a2l": comment,
    ".md": markdown,
    "Makefile": plain,
    "CMakeLists.txt": plain,
    "zephyr_Kconfig": plain,
    ".conf": plain,
    ".yml": plain,
    ".properties": plain,
    ".json": plain,
    ".xml": xml,
    "LICENSE": one_line,
}
