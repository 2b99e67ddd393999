"""A few of the cases of `fuzz_problems` and `fuzz_calls`, which find more when they run for longer."""

from __future__ import annotations

import os

import fuzz_calls
import fuzz_problems
import fuzz_tables
import pytest
from forms import times

SEED = 77
CALLS, PROBLEMS = int(os.environ.get("SCPO_FUZZ_CALLS", times(200, 2))), int(os.environ.get("SCPO_FUZZ_PROBLEMS", "24"))


@pytest.mark.parametrize("part", range(4))
def test_mutated_problem_files(tmp_path, run, part):
    for index in range(part, PROBLEMS, 4):
        place = tmp_path / str(index)
        place.mkdir()
        problem, before = fuzz_problems.make_case(SEED, index, place)
        outcome = run(*fuzz_problems.command(problem))
        changed = sorted(place.rglob("*")) != before
        found = fuzz_problems.faults(outcome.status, outcome.out, outcome.err, changed=changed, problem=problem)
        assert found == [], index


@pytest.mark.parametrize("part", range(4))
def test_wrong_calls(tmp_path, monkeypatch, part):
    monkeypatch.chdir(tmp_path)
    for index in range(part, CALLS, 4):
        place = tmp_path / str(index)
        place.mkdir()
        assert fuzz_calls.run_case(SEED, index, place) == [], index


def test_every_public_name_is_called(tmp_path):
    names = {name.split(".")[0].split("(")[0].split(",")[0] for name in fuzz_tables.calls(tmp_path)}
    enums_and_answers = {"Learned", "Mismatch", "Problem", "Projection", "ProjectionStatus", "RunStatus", "ScpoError"}
    enums_and_answers |= {"Audit", "Certificate", "Falsification", "Identification", "Simulation"}
    enums_and_answers |= {"DeviceResult", "DeviceStatus"}
    constants = {"Verdict", "__version__", "ZOO", "TARGETS", "Export", "Target"}
    for module in (fuzz_tables.sc, fuzz_tables.models, fuzz_tables.codegen, fuzz_tables.controllers):
        assert set(module.__all__) - names <= enums_and_answers | constants
