"""What the projection claims of finite arithmetic: (E4) holds in any order of summation, and exactly."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import projection_cases as pc
import pytest
from rounding import exact, largest_of_any_order, norm_above, norms
from test_runtime_projection import Runtime, compile_runtime

SIZES = ((1, 6), (5, 4), (9, 12), (20, 10), (35, 20), (64, 12))


@pytest.fixture(scope="module", params=["float -O2", "float -Os", "double -O2"])
def runtime(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    """The runtime as compiled for speed and for size."""
    real, flag = request.param.split()
    number = np.float64 if real == "double" else np.float32
    return compile_runtime(tmp_path_factory.mktemp("rounding"), number, flags=(flag,))


@pytest.mark.table(8)
@pytest.mark.parametrize("name", pc.REGIMES)
def test_feasible_in_any_order(runtime: Runtime, name: str) -> None:
    rng = np.random.default_rng(31)
    for case in pc.cases(name, 12, SIZES, seed=32, real=runtime.real):
        delta, _ = runtime.project(case)
        assert largest_of_any_order(case, delta, rng) <= 0
        assert max(norms(delta, rng)) <= case.r


@pytest.mark.table(2)
@pytest.mark.parametrize("real", [np.float64, np.float32], ids=["double", "float"])
def test_the_same_bits_whatever_the_compiler_optimises_for(tmp_path: Path, real: type) -> None:
    """One source has one order of summation; only contraction and fast-math would change it."""
    built = []
    for flag in ("-O0", "-O1", "-O2", "-O3", "-Os"):
        (tmp_path / flag).mkdir()
        built.append(compile_runtime(tmp_path / flag, real, flags=(flag,)))
    for name in pc.REGIMES:
        for case in pc.cases(name, 6, SIZES, seed=34, real=real):
            answers = [runtime.project(case) for runtime in built]
            assert len({(delta.tobytes(), status) for delta, status in answers}) == 1, name


@pytest.mark.table(4)
@pytest.mark.parametrize("name", pc.REGIMES)
def test_feasible_in_rational_numbers(runtime: Runtime, name: str) -> None:
    for case in pc.cases(name, 6, SIZES, seed=33, real=runtime.real):
        delta = exact(runtime.project(case)[0])
        norm = norm_above(delta) if any(delta) else Fraction(0)
        assert norm <= Fraction(float(case.r))
        for c, G, e, L in zip(exact(case.c), case.G, exact(case.e), exact(case.L), strict=True):
            slope = sum(a * b for a, b in zip(exact(G), delta, strict=True))
            assert c + slope + e * norm + L / 2 * norm * norm <= 0
