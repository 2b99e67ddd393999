import math

import numpy as np
import pytest
from exports import need, run
from hypothesis import given
from hypothesis import strategies as st

from scpo_ctrl.codegen.literals import comment, literal, rounded
from scpo_ctrl.errors import DomainError

finite = st.floats(allow_nan=False, allow_infinity=False)
singles = st.floats(allow_nan=False, allow_infinity=False, width=32)


def is_c_literal(text: str) -> bool:
    """A decimal floating constant of C needs a point or an exponent."""
    number = text.removesuffix("f").lstrip("-")
    return ("." in number or "e" in number) and number[0].isdigit()


@given(finite)
def test_double_round_trip(value):
    text = literal(value, "double")
    assert float(text) == value
    assert math.copysign(1, float(text)) == math.copysign(1, value)
    assert is_c_literal(text) and not text.endswith("f")


@given(singles)
def test_float_round_trip(value):
    text = literal(value, "float")
    assert np.float32(text.removesuffix("f")) == np.float32(value)
    assert is_c_literal(text) and text.endswith("f")


@pytest.mark.parametrize(
    ("value", "real", "text"),
    [
        (1.0, "float", "1.0f"),
        (-0.0, "double", "-0.0"),
        (0.1, "double", "0.10000000000000001"),
        (1e-18, "double", "1.0000000000000001e-18"),
        (1e10, "float", "1e+10f"),
        (16777216.0, "float", "16777216.0f"),
    ],
)
def test_known_literals(value, real, text):
    assert literal(value, real) == text


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_refuses_what_is_no_number(value):
    with pytest.raises(DomainError, match="has no literal of type double"):
        literal(value, "double")


def test_refuses_overflow_in_float():
    with pytest.raises(DomainError, match="real = 'double'"):
        literal(1e39, "float")


@given(st.floats(-1e30, 1e30))
def test_directed_rounding_is_the_nearest_float_on_that_side(value):
    down, up = rounded(value, "float", -math.inf), rounded(value, "float", math.inf)
    assert down <= value <= up
    assert np.nextafter(np.float32(down), np.float32(np.inf)) >= np.float32(up)
    assert rounded(value, "float") in (down, up)


@given(st.text())
def test_comment_cannot_end_a_comment(text):
    safe = comment(text)
    assert "*/" not in safe and "/*" not in safe and "\n" not in safe and "\\" not in safe and "|" not in safe


def test_the_compiler_reads_the_same_numbers(tmp_path):
    need("gcc")
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2**64, 500, dtype=np.uint64).view(np.float64)
    doubles = np.append(bits[np.isfinite(bits)], [5e-324, np.finfo(float).max, np.finfo(float).tiny])
    bits32 = rng.integers(0, 2**32, 500, dtype=np.uint32).view(np.float32)
    floats = np.append(bits32[np.isfinite(bits32)], np.float32([1e-45, np.finfo(np.float32).max])).astype(float)
    lines = ["#include <stdio.h>", "int main(void)", "{"]
    for name, values, real in (("d", doubles, "double"), ("f", floats, "float")):
        lines.append(f"static const {real} {name}[] = {{{', '.join(literal(v, real) for v in values)}}};")
    lines += ["fwrite(d, sizeof d, 1, stdout);", "fwrite(f, sizeof f, 1, stdout);", "return 0;", "}"]
    (tmp_path / "n.c").write_text("\n".join(lines))
    run("gcc", "-std=c99", "-pedantic", "-Wall", "-Wconversion", "-Werror", "n.c", "-o", "n", cwd=tmp_path)
    import subprocess

    output = subprocess.run([tmp_path / "n"], capture_output=True, check=True).stdout
    assert output == doubles.tobytes() + floats.astype(np.float32).tobytes()
