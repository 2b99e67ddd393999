"""Margins that people read: never better than they are, and every one of them rounded in one place."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest

from scpo_ctrl.report.numbers import bound, margin
from scpo_ctrl.rounding import down, up

ROOT = Path(__file__).resolve().parents[1]
# A field of a text that rounds by itself what is a margin, or breaks a bound.
ROUNDED = re.compile(r"\{[^{}]*\b\w*(margin|excess|spare|violation_bound|audit_bound)\w*\b[^{}]*:\.?\d*[efg]\}")


def draws() -> np.ndarray:
    rng = np.random.default_rng(3)
    sizes = 10.0 ** rng.uniform(-300, 300, 2000) * rng.choice([-1.0, 1.0], 2000)
    near = np.round(rng.normal(size=500), 3)
    return np.concatenate([sizes, near, np.nextafter(near, np.inf), np.nextafter(near, -np.inf)])


@pytest.mark.parametrize("digits", [1, 2, 3, 4, 9])
def test_what_is_shown_is_never_better_than_it_is(digits):
    for value in draws():
        low, high = float(down(value, digits)), float(up(value, digits))
        assert low <= value <= high
        assert high - low <= 1.001 * 10.0 ** (1 - digits) * abs(value)
        assert low == float(f"{low:.{digits}g}")  # no more digits than were asked for


def test_a_margin_below_zero_never_reads_as_zero_or_above():
    for value in (-1e-300, -4.9e-324, -1e-17, -0.00004, -0.9999999):
        assert float(down(value)) < 0 and down(value).startswith("-")
        assert margin(value).startswith("−")
        assert float(up(-value)) > 0
    assert (down(0.0), down(-0.0), up(-0.0), margin(-0.0)) == ("0", "0", "0", "0")


def test_known_roundings():
    assert [down(x) for x in (0.19996, 1.2345e-7, -1.2341, 250.0)] == ["0.199", "1.23e-07", "-1.24", "250"]
    assert [up(x) for x in (0.19991, 1.2341e-7, -1.2349)] == ["0.2", "1.24e-07", "-1.23"]
    assert (margin(0.12349), bound(0.12341)) == ("0.1234", "0.1235")
    assert [down(x) for x in (math.inf, -math.inf, math.nan)] == ["inf", "-inf", "nan"]


def sources() -> list[Path]:
    return sorted(path for folder in ("scpo_ctrl", "codegen") for path in (ROOT / folder).rglob("*.py"))


def test_no_margin_is_rounded_elsewhere():
    assert len(sources()) > 50
    found = [
        f"{path.relative_to(ROOT)}: {field[0]}" for path in sources() for field in ROUNDED.finditer(path.read_text())
    ]
    assert found == []
    page = (ROOT / "scpo_ctrl/report/templates/report.html.jinja").read_text()
    exports = "".join(path.read_text() for path in sorted((ROOT / "codegen" / "templates").rglob("*.jinja")))
    for template in (page, exports):
        printed = re.findall(r"\{\{[^{}]*\b(?:margin|worst_margin|margin_now|after|before|part)\b \| (\w+)", template)
        assert printed and set(printed) <= {"margin", "margin_data"}


@pytest.mark.parametrize("text", ["{state.margin:.2e}", "{-attack.excess:.4g}", "{summary['worst_margin']:.3g}"])
def test_a_margin_that_is_rounded_elsewhere_is_found(text):
    assert ROUNDED.search(f'say(f"worst {text}")')
    assert not ROUNDED.search('say(f"worst {down(margin)}, objective {value:.3g}")')
