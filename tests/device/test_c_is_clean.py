"""The exported adaptation compiles without a warning, as C and C++, and runs without undefined behaviour."""

import device_runs
import pytest
from exports import STRICT, need

SANITIZE = "-O0 -fsanitize=address,undefined -fno-sanitize-recover=all"
BUILDS = [
    ("disturbed cloud", "double", "g++", "-std=c++11 -x c++ -DSCPO_NROWS=2 -DSCPO_MEMORY=1", "scpo"),
    ("kinked", "float", "gcc", "-std=c99 -Wstrict-prototypes", "my_loop"),
]


@pytest.mark.table(2)
@pytest.mark.parametrize(("name", "real", "compiler", "flags", "prefix"), BUILDS)
def test_strict_and_sanitized(name, real, compiler, flags, prefix, tmp_path):
    need(compiler)
    problem = device_runs.CASES[name]()
    words = f"{flags} {STRICT} {SANITIZE}"
    program = device_runs.build(problem, tmp_path / "c", real, words, compiler, prefix)
    found = device_runs.lines(program, 8, 4, 0.1)
    assert len(found) == 8 and found[-1]["counts"][1] > 0
