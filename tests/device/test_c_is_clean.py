"""The exported adaptation compiles without a warning, as C and C++, and runs without undefined behaviour."""

import device_runs
import pytest
from exports import STRICT, need

SANITIZE = "-O1 -g1 -fsanitize=address,undefined -fno-sanitize-recover=all"
BUILDS = [
    ("R3", "float", "gcc", "-std=c99 -Wstrict-prototypes"),
    ("disturbed cloud", "double", "g++", "-std=c++11 -x c++"),
    ("linear", "float", "clang", "-std=c99"),
    ("terminal, two layers", "double", "clang++", "-std=c++11 -x c++ -Wno-deprecated"),
    ("end alone", "float", "gcc", "-std=c99"),
    ("kinked", "float", "g++", "-std=c++11 -x c++"),
    ("explosive", "double", "gcc", "-std=c99 -DSCPO_NROWS=2 -DSCPO_MEMORY=1"),
]


@pytest.mark.parametrize(("name", "real", "compiler", "flags"), BUILDS)
def test_strict_and_sanitized(name, real, compiler, flags, tmp_path):
    need(compiler)
    program = device_runs.build(
        device_runs.CASES[name](), tmp_path / "c", real, f"{flags} {STRICT} {SANITIZE}", compiler
    )
    found = device_runs.lines(program, 12, 8, 0.1)
    assert len(found) == 12 and found[-1]["counts"][1] > 0
