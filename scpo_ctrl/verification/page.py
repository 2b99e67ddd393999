"""The report of a RUN folder against the one that would be written now: its words and numbers, not its pictures."""

import base64
import json
import math
import re
from typing import Any
from xml.etree import ElementTree

import numpy as np

from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.proof.guarded import GuardedRuns
from scpo_ctrl.report.explored import MOST_SCENARIOS
from scpo_ctrl.report.numbers import margin, number
from scpo_ctrl.report.page import render_report
from scpo_ctrl.report.page_data import page_data
from scpo_ctrl.report.panels import NO_PICTURE

_PICTURE = re.compile(r"<svg\b.*?</svg>\n*", re.DOTALL)
_SCRIPT = re.compile(r"<script>.*?</script>", re.DOTALL)
_EXPLORED = re.compile(r'(<script type="application/json" id="explored">)(.*?)(</script>)', re.DOTALL)
_DATA = re.compile(r'<data value="([^"<>]*)" title="([^"<>]*)">([^<>]*)</data>')
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?")
_PARTS = {"svg", "g", "path", "text", "tspan", "defs", "use", "clipPath", "rect", "style", "pattern"}
_STYLE = "*{stroke-linejoin: round; stroke-linecap: butt}"  # the only one that matplotlib writes
_ROUNDING, _SHOWN = 1e-9, 1e-3  # of numbers, relative to max(1, |number|), and of those shown with few digits
_REMEDY = "`scpo-ctrl report` writes it anew"


def page_faults(page: str, result: Result, guarded: GuardedRuns | None = None) -> list[str]:
    """List what report.html says that the record does not.

    Parameters
    ----------
    page : str
        Its content.
    result : Result
        The record, as the report command reads it.
    guarded : GuardedRuns, optional
        What became of the final policy under the guard, where the report shows that.

    Returns
    -------
    list of str
        The first place where words or numbers differ; a picture with more in it than drawing.
    """
    if any(not _is_drawing(picture) for picture in _PICTURE.findall(page)):
        return [f"report.html has a picture that no report draws; {_REMEDY}"]
    found, expected = _plain(page), _plain(render_report(result, pictures=False, guarded=guarded))
    if _SCRIPT.findall(found) != _SCRIPT.findall(expected):
        return [f"report.html has a script that no report has; {_REMEDY}"]
    if not all(_is_explored(part[1], result) for part in _EXPLORED.findall(page)):
        return [f"report.html has other trajectories or steps to explore than the record; {_REMEDY}"]
    words, rightly = _DATA.split(found), _DATA.split(expected)  # text, value, title, shown, text, ...
    if len(words) != len(rightly):
        return [f"report.html does not have the text and the numbers of the record; {_REMEDY}"]
    for place, (one, other) in enumerate(zip(words, rightly, strict=True)):
        same = one == other or (_agree(one, other) if place % 4 == 0 else _close(one, other, _ROUNDING))
        if place % 4 == 3:  # what is shown of a number
            same = one == other or one in _shown(words[place - 2])
        if not same:
            said, right = _first_difference(one, other)
            return [f"report.html says {said!r}, the record {right!r}; {_REMEDY}"]
    return []


def _plain(page: str) -> str:
    return _EXPLORED.sub(r"\1null\3", _PICTURE.sub(NO_PICTURE, page))


def _is_explored(text: str, result: Result) -> bool:
    """Whether what the page lets one explore is what the record has, on scenarios of its choice; null is nothing."""
    try:
        found = json.loads(text)
        if found is None:
            return True
        numbers = np.array([] if found["loop"] is None else found["loop"]["numbers"], dtype=int)
        if len(numbers) > MOST_SCENARIOS:
            return False
        return _same(found, json.loads(json.dumps(page_data(result, numbers if numbers.size else None))))
    except (ValueError, KeyError, TypeError, IndexError):
        return False


def _same(one: Any, other: Any) -> bool:
    """Whether plain data agree, numbers and arrays of them up to their rounding."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, str) and isinstance(other, str):
        return one == other or _same_array(one, other)
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=_SHOWN, abs_tol=_ROUNDING)
    return type(one) is type(other) and one == other


def _same_array(one: str, other: str) -> bool:
    """Whether two arrays in base64 agree."""
    a, b = (np.frombuffer(base64.b64decode(text, validate=True), dtype="<f4") for text in (one, other))
    if a.shape != b.shape:
        return False
    size = float(np.nanmax(np.abs(b), initial=0.0)) if np.isfinite(b).any() else 0.0
    return bool(np.allclose(a, b, rtol=_SHOWN, atol=1e-6 * size, equal_nan=True))


def _agree(one: str, other: str) -> bool:
    """Whether two texts have the same words, and numbers that differ by no more than their rounding."""
    numbers = zip(_NUMBER.findall(one), _NUMBER.findall(other), strict=False)
    return _NUMBER.sub("0", one) == _NUMBER.sub("0", other) and all(_close(*pair, _SHOWN) for pair in numbers)


def _close(one: str, other: str, tolerance: float) -> bool:
    try:
        a, b = float(one), float(other)
    except ValueError:
        return False
    return (
        a == b
        or abs(a - b) <= tolerance * max(1.0 if tolerance == _ROUNDING else abs(b), abs(b))
        or (math.isnan(a) and math.isnan(b))
    )


def _shown(value: str) -> set[str]:
    """Return how a number may be shown: as any, or as a margin."""
    exact = int(value) if re.fullmatch(r"-?[0-9]+", value) else float(value)
    return {number(exact), margin(exact), margin(exact, 2)}


def _first_difference(one: str, other: str) -> tuple[str, str]:
    """Return what two texts have around their first difference."""
    at = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    around = slice(max(0, at - 20), at + 40)
    return " ".join(one[around].split()), " ".join(other[around].split())


def _is_drawing(picture: str) -> bool:
    """Whether a picture holds nothing but what a drawing needs: no link, no script, no style for the page."""
    try:
        root = ElementTree.fromstring(picture)
    except ElementTree.ParseError:
        return False
    if not set(root.attrib) <= {"viewBox", "role", "aria-label"}:
        return False
    for element in root.iter():
        tag, text = str(element.tag), (element.text or "").strip()
        if tag not in _PARTS or (tag == "style" and text != _STYLE):
            return False
        if any(name.startswith("on") or (name == "href" and not to.startswith("#")) for name, to in element.items()):
            return False
    return True
