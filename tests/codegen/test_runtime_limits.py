"""The projection's caps: what stops there is still feasible and says so, and nothing ever works longer."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import projection_cases as pc
import pytest
from test_runtime_projection import CAPPED, OK, RUNTIME, assert_feasible, compile_runtime

from scpo_ctrl import project
from scpo_ctrl.projection import native

ROOT = Path(__file__).parents[2]
MOST = 400  # Newton steps and rounds


@pytest.mark.parametrize("real", [np.float64, np.float32], ids=["double", "float"])
def test_too_few_places_cap_and_stay_feasible(tmp_path, real):
    """More constraints hold the answer than the working set has places for."""
    runtime = compile_runtime(tmp_path, real, places=2)
    statuses = []
    for case in pc.cases("small_steps", 40, ((8, 8), (12, 20)), seed=21, real=real):
        delta, status = runtime.project(case)
        assert status in (OK, CAPPED)
        assert_feasible(case, delta)
        if status == OK:
            assert pc.gap(case, delta) <= (1e-8 if real is np.float64 else 1e-2)
        statuses.append(status)
    assert CAPPED in statuses


def test_the_bound_on_iterations_is_the_one_in_the_source():
    source = (RUNTIME / "src" / "scpo_internal.h").read_text()
    assert int(re.search(r"#define SCPO_MAX_NEWTON (\d+)", source)[1]) == MOST


@pytest.mark.parametrize("name", ["nearly_boundary", "boundary_exact", "polyhedron_far", "plain"])
def test_iterations_stay_within_the_bound(name):
    for case in pc.cases(name, 200, ((2, 40), (12, 40), (5, 6)), seed=22):
        assert 0 <= project(*case).iterations <= MOST + case.c.size // 16


def test_iterations_stay_within_the_bound_on_any_numbers():
    rng = np.random.default_rng(23)
    for _ in range(500):
        p, m = rng.integers(1, 6), rng.integers(1, 12)
        wild = [rng.normal(size=shape) * 10.0 ** rng.uniform(-40, 40, shape) for shape in (p, m, (m, p), m, m)]
        answer = project(wild[0], -np.abs(wild[1]), wild[2], np.abs(wild[3]), np.abs(wild[4]), 10 ** rng.uniform(-9, 9))
        assert 0 <= answer.iterations <= MOST


@pytest.mark.skipif(not native.available(), reason="without the compiled extension there is no limit of its own")
def test_more_active_constraints_than_places_on_the_host():
    """A polyhedron of 300 rows, nearly all active at the answer, in as many dimensions."""
    rng = np.random.default_rng(24)
    case = pc.Case(
        rng.normal(size=300), -rng.uniform(0, 1e-3, 300), rng.normal(size=(300, 300)), *np.zeros((2, 300)), 1e3
    )
    answer = project(*case)
    assert answer.status.name == "SOLVED" and answer.active.size > 100
    assert_feasible(case, answer.delta)
    assert pc.gap(case, answer.delta, conic=False) <= 1e-8


def test_the_million_driver_draws_the_regimes_and_judges_them():
    """A few of the instances that the benchmark counts by the million."""
    script = ROOT / "examples" / "benchmarks" / "projection_million.py"
    command = [sys.executable, script, "--count", "300", "--real", "double"]
    output = subprocess.run([str(x) for x in command], capture_output=True, text=True, check=True).stdout
    rows = {line.split()[0]: line.split() for line in output.split("iterations\n")[1].splitlines()[:-1]}
    assert set(rows) == set(pc.REGIMES)
    for name, row in rows.items():
        assert row[1:5] == ["300", "0", "0", "0"], name
        assert float(row[5]) <= (1e-8 if name in pc.REGULAR else 1e-6)


@pytest.mark.long
def test_the_million_driver_goes_on_where_it_stopped(tmp_path):
    script = ROOT / "examples" / "benchmarks" / "projection_million.py"
    command = [sys.executable, script, "--regimes", "plain", "--real", "float", "--resume", tmp_path / "counts.json"]

    def last_line(count: int) -> str:
        done = subprocess.run([*map(str, command), "--count", str(count)], capture_output=True, text=True, check=True)
        return done.stdout.splitlines()[-1]

    assert last_line(100_000) == last_line(100_000)
    kept = (tmp_path / "counts.json").read_text()
    resumed = last_line(100_500)
    assert (tmp_path / "counts.json").read_text() == kept
    (tmp_path / "counts.json").unlink()
    assert last_line(100_500) == resumed
    unknown = subprocess.run([*map(str, command), "--regimes", "none"], capture_output=True, text=True, check=False)
    assert unknown.returncode == 1 and "no such regime: none" in unknown.stderr
