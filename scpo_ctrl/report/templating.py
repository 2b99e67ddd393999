"""What pages are made of: templates that escape what they are given, and style and script as they are."""

import base64
import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from scpo_ctrl.report.numbers import margin, number, short, with_unit
from scpo_ctrl.text import visible

_TEMPLATES = Path(__file__).with_name("templates")


def part_of_page(*names: str) -> Markup:
    """Return files that a page holds as they are: its style, its script.

    Parameters
    ----------
    *names : str

    Returns
    -------
    markupsafe.Markup
    """
    return Markup("\n".join((_TEMPLATES / name).read_text() for name in names))


def digest(script: str) -> str:
    """Return what the page's policy names its script by: no other one is run.

    Parameters
    ----------
    script : str

    Returns
    -------
    str
    """
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


@cache
def template(name: str) -> jinja2.Template:
    """Return a page to be filled in; what it is given is escaped.

    Parameters
    ----------
    name : str

    Returns
    -------
    jinja2.Template
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("scpo_ctrl.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
    )
    environment.filters |= {"number": number, "short": short, "data": _data, "unit": with_unit}
    environment.filters |= {"margin": margin, "margin_data": _margin_data}
    return environment.get_template(name)


def _data(value: float, show: Callable[[Any], str] = number) -> Markup:
    """Return a number for reading that also carries its every digit, for machines and on hovering."""
    exact = repr(value.item() if isinstance(value, np.generic) else value)
    return Markup('<data value="{0}" title="{0}">{1}</data>').format(exact, show(value))


def _margin_data(value: float, digits: int = 4) -> Markup:
    return _data(value, lambda exact: margin(exact, digits))
