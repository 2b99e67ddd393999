"""How objects print: in some lines on a terminal, and as a small table in a notebook."""

import dataclasses
import html
import textwrap
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from scpo_ctrl.messages import shown
from scpo_ctrl.text import noun_of, visible

Entries = list[tuple[str, str]]

_WIDTH = 96  # characters of a line
_LABEL, _LONGEST = 40, 600  # characters of a label, and of what it says
_FEW = 6  # numbers, names or rows that are shown one by one
_TABLE = "border-collapse: collapse; text-align: left"  # no colours: those of the page hold, light or dark
_CELL = "text-align: left; vertical-align: top; padding: 0.1em 1em 0.1em 0"


class Shown:
    """Base of a class whose objects say in some lines what somebody asks first."""

    def _shown(self) -> tuple[str, Entries]:
        """Return what stands behind the name of the class, and rows of labels and what they say."""
        raise NotImplementedError

    def _cut(self) -> tuple[str, Entries]:
        """Return the same on one line each, and no longer than a screen shows."""
        title, rows = self._shown()
        return _line(title, _LONGEST), [(_line(label, _LABEL), _line(what, _LONGEST)) for label, what in rows]

    def __repr__(self) -> str:
        title, rows = self._cut()
        width = max((len(label) for label, _ in rows), default=0)
        lines = [f"{type(self).__name__}: {title}".removesuffix(": ")]
        for label, what in rows:
            first = f"  {label:<{width}}  "
            lines += textwrap.wrap(what, _WIDTH, initial_indent=first, subsequent_indent=" " * len(first))
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        title, rows = self._cut()
        cells = [(html.escape(label), html.escape(what)) for label, what in rows]
        body = "".join(
            f'<tr><th scope="row" style="{_CELL}">{label}</th><td style="{_CELL}">{what}</td></tr>'
            for label, what in cells
        )
        caption = f"<strong>{type(self).__name__}</strong> {html.escape(title)}".strip()
        return (
            f'<table style="{_TABLE}"><caption style="text-align: left; color: inherit">{caption}</caption>'
            f"<tbody>{body}</tbody></table>"
        )


class ShownAsWritten(Shown):
    """Base of a dataclass that prints as it is written, without the fields that are at their defaults."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    def _shown(self) -> tuple[str, Entries]:
        """Return the fields that are not at their defaults."""
        found = [(one, getattr(self, one.name)) for one in dataclasses.fields(self) if one.repr]
        rows = [(one.name, written(value)) for one, value in found if not _is_default(one, value)]
        return "" if rows else "all at their defaults", rows

    def __repr__(self) -> str:
        return visible(f"{type(self).__name__}({', '.join(f'{key}={value}' for key, value in self._shown()[1])})")


def written(value: Any) -> str:
    """Return a value as it would be written in Python, with few digits and in one line.

    Parameters
    ----------
    value : object

    Returns
    -------
    str
        Of an array that is large, the shape; of what prints in lines, the first of them.
    """
    if isinstance(value, Shown):
        return repr(value).split("\n", maxsplit=1)[0]
    if isinstance(value, tuple) and any(isinstance(entry, Shown) for entry in value):
        return f"({', '.join(map(written, value))},)"
    return shown(np.asarray(value).tolist() if isinstance(value, np.ndarray) and value.size <= _FEW else value)


def titled(value: Shown) -> str:
    """Return what stands behind the name of a class in the first line of what it prints.

    Parameters
    ----------
    value : Shown

    Returns
    -------
    str
    """
    return value._shown()[0]


def numbers(values: Any, digits: int = 3) -> str:
    """Return a few numbers with few digits, and the shape of more of them.

    Parameters
    ----------
    values : array_like
    digits : int

    Returns
    -------
    str
    """
    array = np.asarray(values, dtype=float)
    if array.size > _FEW:
        return "x".join(map(str, array.shape))
    return ", ".join(f"{value:.{digits}g}" for value in array.ravel())


def counted(count: int, noun: str) -> str:
    """Return a count with its noun.

    Parameters
    ----------
    count : int
    noun : str
        In the singular.

    Returns
    -------
    str
    """
    return f"{count} {noun_of(count, noun)}"


def with_unit(text: str, unit: str) -> str:
    """Return a text with a unit behind it, where there is one.

    Parameters
    ----------
    text, unit : str

    Returns
    -------
    str
    """
    return f"{text} {unit}".rstrip()


def few(rows: Sequence[tuple[str, str]], noun: str) -> Entries:
    """Return the first of many rows, and how many more there are.

    Parameters
    ----------
    rows : sequence of (str, str)
    noun : str
        Of one, in the singular.

    Returns
    -------
    list of (str, str)
    """
    more = len(rows) - _FEW
    return list(rows) if more <= 1 else [*rows[:_FEW], ("", f"and {more} more {noun_of(more, noun)}")]


def _line(text: str, most: int) -> str:
    text = visible(text)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _is_default(one: "dataclasses.Field[Any]", value: Any) -> bool:
    """Whether a field has its default; an array or a symbol, which has no plain one, never has."""
    if one.default_factory is not dataclasses.MISSING:
        return np.size(value) == 0
    return one.default is value or (isinstance(value, (bool, int, float, str, tuple)) and value == one.default)
