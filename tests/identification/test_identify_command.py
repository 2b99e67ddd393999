"""`scpo-ctrl identify`: the new problem file, what is printed, and logs that leave one line and write nothing."""

from __future__ import annotations

import json
import tomllib

import numpy as np
import pytest
from logs import logged, write_log
from problem_files import write

from scpo_ctrl.models import double_integrator
from scpo_ctrl.record.config import read_problem_file

X, U = logged(double_integrator(), [1.3], [0.002, 0.02], 0.8)
SAMPLE = np.arange(len(X))


@pytest.fixture
def problem(tmp_path):
    return write(tmp_path / "problem.toml", {"scenarios.disturbance": [0.1, 0.1], "scenarios.level": 0.3})


def test_the_new_problem_has_what_was_found_and_runs(run, problem, tmp_path):
    before, new = problem.read_bytes(), tmp_path / "new.toml"
    log = write_log(tmp_path / "log.csv", X, U, sample=SAMPLE)
    outcome = run("identify", problem, log, "--out", new, "--json")
    assert (outcome.status, outcome.err) == (0, "")
    answer = json.loads(outcome.out)
    mass = answer["parameters"]["mass"]
    assert mass["identifiable"] and mass["range"][0] < 1.3 < mass["range"][1]
    written, old = tomllib.loads(new.read_text()), tomllib.loads(before.decode())
    assert written["plant"] == old["plant"] | {"nominal": {"mass": mass["fitted"]}}
    half = [answer["disturbance"][label]["half_width"] for label in ("position", "velocity")]
    found = {"parameters": {"mass": mass["range"]}, "disturbance": half}
    assert written["scenarios"] == old["scenarios"] | found
    assert {key: written[key] for key in written if key not in ("plant", "scenarios")} == {
        key: old[key] for key in old if key not in ("plant", "scenarios")
    }
    assert problem.read_bytes() == before
    assert read_problem_file(new).problem.plant.p_nominal.tolist() == [mass["fitted"]]
    assert run("adapt", new, "--out", tmp_path / "run", "--json").status == 0
    assert run("verify", tmp_path / "run", "--problem", new).status == 0


def test_the_table_names_every_parameter_and_what_was_assumed(run, tmp_path):
    problem = write(tmp_path / "p.toml", {"plant": {"kind": "dc_motor"}, "backup.R": 1.0})
    log = write_log(tmp_path / "log.csv", X, U, t=0.001 * SAMPLE)
    assert "another plant" in run("identify", problem, log).line
    problem = write(tmp_path / "p.toml")
    outcome = run("identify", problem, write_log(tmp_path / "log.csv", X, U, t=0.1 * SAMPLE), "--horizon", 5)
    assert outcome.status == 0
    lines = outcome.out.splitlines()
    assert lines[0].split() == ["parameter", "nominal", "fitted", "range", "identifiable"]
    assert lines[1].startswith("mass [kg]") and lines[1].endswith("yes")
    assert lines[3].split()[0] == "disturbance" and lines[5].startswith("velocity [m/s]")
    assert "399 transitions in 1 pieces" in outcome.out and "5 steps from each" in outcome.out
    assert "independent of all that was before" in outcome.out and "and no feedback" in outcome.out
    assert not list(tmp_path.glob("new*"))


def test_an_exact_log_leaves_no_disturbance(run, problem, tmp_path):
    exact = logged(double_integrator(), [1.3], [0.0, 0.0], 0.8)
    new = tmp_path / "new.toml"
    assert run("identify", problem, write_log(tmp_path / "log.csv", *exact), "--out", new).status == 0
    assert "disturbance" not in tomllib.loads(new.read_text())["scenarios"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read"),
        ("", "column 'x0' is missing"),
        ("x0,x1\n0,0\n", "column 'u0' is missing"),
        ("x0,x1,u0\n0,nan,0\n", "line 2, column 'x1' is 'nan'"),
        ("x0,x1,u0\n0,,0\n", "column 'x1'"),
        ("x0,x1,u0\n", "no data"),
        ("x0,x1,u0\n0,0,0\n", "too short"),
        ("x0;x1;u0\n0;0;0\n", "separated by ';'"),
        ("t,x0,x1,u0\n0,0,0,0\n0.1,0,0,0\n0.05,0,0,0\n", "time t goes backwards at data row 3"),
        ("sample,x0,x1,u0\n1,0,0,0\n0,0,0,0\n", "sample number goes backwards at data row 2"),
        ("sample,sample,x0,x1,u0\n1,1,0,0,0\n", "column 'sample' is there more than once"),
        ("x0,x1,u0\n" + "1,0,0\n" * 40, "tells no parameter"),
    ],
)
def test_a_wrong_log_leaves_one_line_and_no_file(run, problem, tmp_path, text, words):
    log, new = tmp_path / "log.csv", tmp_path / "new.toml"
    if text is not None:
        log.write_text(text)
    outcome = run("identify", problem, log, "--out", new)
    assert outcome.status == 2
    assert words in outcome.line and str(log) in outcome.line
    assert not new.exists()


def test_places_that_are_refused_and_overwriting(run, problem, tmp_path):
    log, elsewhere = write_log(tmp_path / "log.csv", X, U), tmp_path / "elsewhere"
    elsewhere.mkdir()
    before = problem.read_bytes()
    for out, words in (
        (problem, "is there already"),
        (elsewhere, "is a folder"),
        (tmp_path / "no" / "n", "or in none"),
    ):
        outcome = run("identify", problem, log, "--out", out)
        assert outcome.status == 2 and words in outcome.line
    assert problem.read_bytes() == before
    assert "--overwrite goes with --out" in run("identify", problem, log, "--overwrite").line
    imitating = write(tmp_path / "imitating.toml", {"objective": {"kind": "imitation", "csv": "expert.csv"}})
    assert "names 'expert.csv'" in run("identify", imitating, log, "--out", elsewhere / "new.toml").line
    assert run("identify", problem, log, "--out", problem, "--overwrite").status == 0
    assert tomllib.loads(problem.read_text())["plant"]["nominal"]["mass"] == pytest.approx(1.3, rel=0.05)
    assert "unknown plant parameter 'weight'" in run("identify", problem, log, "--parameters", "mass, weight").line


def test_problems_that_are_refused(run, tmp_path):
    log = write_log(tmp_path / "log.csv", X, U)
    (tmp_path / "no.toml").write_text("[plant]\nkind = 'double_integrator'\n")
    assert "section [scenarios] is missing" in run("identify", tmp_path / "no.toml", log).line
    problem = write(tmp_path / "p.toml", {"scenarios.parameters": 3})
    assert "parameters is 3" in run("identify", problem, log).line
