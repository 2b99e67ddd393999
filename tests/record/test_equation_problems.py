"""A pendulum as text in a problem file: from adapt to verify, report, export and resume, and refusals in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from problem_files import EQUATIONS_PLANT, KINDS, REMOVE, write
from run_folders import faults, same_arrays

import scpo_ctrl as sc
from scpo_ctrl.codegen.build import replay
from scpo_ctrl.compiled import find_compiler
from scpo_ctrl.record import toml
from scpo_ctrl.record.plants import build_plant


def plant_of(table):
    return build_plant(table, Path())[0]


def test_from_adapt_to_export(tmp_path, run):
    problem = write(tmp_path / "pendulum.toml", KINDS["equations"])
    done = run("adapt", problem, "--out", tmp_path / "run")
    assert done.status == 0 and "0 violations" in done.out
    assert run("verify", tmp_path / "run", "--problem", problem).status == 0
    assert run("report", tmp_path / "run").status == 0
    assert run("export", tmp_path / "run", "--out", tmp_path / "c").status == 0
    result = sc.load_result(tmp_path / "run")
    assert result.problem.plant.x_labels == ("angle", "rate") and result.objective_final < result.objective_initial
    if find_compiler():
        assert replay(tmp_path / "c")


def test_a_run_goes_on_to_the_same_bits(tmp_path, run):
    problem = write(tmp_path / "pendulum.toml", KINDS["equations"])
    assert run("adapt", problem, "--out", tmp_path / "at once").status == 0
    assert run("adapt", problem, "--out", tmp_path / "in two", "--steps", 2).status == 0
    assert run("adapt", problem, "--out", tmp_path / "in two", "--resume").status == 0
    same_arrays(tmp_path / "at once", tmp_path / "in two")


def test_the_record_says_what_was_chosen_and_reads_the_same(runs):
    text = (runs["equations"] / "problem.toml").read_text()
    table = toml.loads(text)["plant"]
    assert table["substeps"] == 1 and table["name"] == "pendulum"
    assert {key: table[key] for key in EQUATIONS_PLANT} == EQUATIONS_PLANT
    again = dict(table)
    point = ([0.3, -0.7], [0.2], [1.05])
    np.testing.assert_array_equal(plant_of(again).function(*point), plant_of(dict(EQUATIONS_PLANT)).function(*point))
    assert again == table


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("- 0.3*rate", "- 0.2*rate"),
        ("g = 9.81", "g = 9.80"),
        ('name = "m"', 'name = "M"'),
        ("substeps = 1", "substeps = 2"),
        ("nominal = 1.0", "nominal = 1.01"),
    ],
)
def test_equations_that_were_changed_are_found(copy_of, old, new):
    path = copy_of("equations")
    text = (path / "problem.toml").read_text()
    assert old in text
    (path / "problem.toml").write_text(text.replace(old, new))
    try:
        assert "digest differs" in faults(path)
    except sc.ScpoError as error:  # such as a name that an equation still has
        assert "'m' is no name here" in str(error) or "character" in str(error)


def test_states_in_another_order_are_another_problem(tmp_path, copy_of):
    changes = {"plant": EQUATIONS_PLANT | {"states": EQUATIONS_PLANT["states"][::-1]}, "backup.Q": [0.1, 1.0]}
    asked = write(tmp_path / "asked.toml", KINDS["equations"] | changes)
    found = sc.verify(copy_of("equations"), problem=asked)
    assert any("[plant] states" in fault for fault in found.faults)


def test_linear_equations_and_next_values_have_no_substeps(tmp_path):
    linear = [{"name": "a", "derivative": "b"}, {"name": "b", "derivative": "u - b"}]
    following = [{"name": "a", "next": "a + 0.1*b"}, {"name": "b", "next": "0.9*b + 0.1*u"}]
    for states in (linear, following):
        table = {"kind": "equations", "dt": 0.1, "inputs": [{"name": "u", "min": -1, "max": 1}], "states": states}
        assert plant_of(table).is_linear
        assert "substeps" not in table and table["name"] == "equations"


@pytest.mark.filterwarnings("default::scpo_ctrl.errors.ScpoWarning")
def test_coarse_substeps_are_said_on_stderr(tmp_path, run):
    problem = write(tmp_path / "p.toml", KINDS["equations"] | {"plant.dt": 0.25, "plant.substeps": 1, "adapt.steps": 1})
    done = run("adapt", problem, "--out", tmp_path / "run")
    assert done.status == 0
    assert "scpo-ctrl: warning: plant 'pendulum' with dt = 0.25 s and substeps = 1 errs by 0.54 %" in done.err


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"plant.dt": REMOVE}, "[plant] key 'dt' is missing; needed: dt, states, inputs"),
        ({"plant.state": []}, "[plant] unknown key 'state'; known: dt, states, inputs"),
        ({"plant.dt": -1}, "[plant] dt is -1.0"),
        ({"plant.states": 3}, "[plant] states is 3, expected a list of tables"),
        (
            {"plant.states": [{"name": "x", "next": "x", "derivative": "x"}]},
            "[plant] states[0] has derivative and next",
        ),
        ({"plant.states": [{"name": "x", "next": "__import__('os')"}]}, 'character 12: "\'" is not allowed'),
        ({"plant.constants": {"g": "9.81"}}, "[plant] constants.g is '9.81'"),
        ({"plant.substeps": 0}, "[plant] substeps is 0"),
        ({"plant.dt": 1e4}, "[plant] plant 'pendulum' needs more than 64 Runge-Kutta steps"),
    ],
)
def test_refusals_name_file_section_and_key(tmp_path, run, changes, words):
    problem = write(tmp_path / "p.toml", KINDS["equations"] | changes)
    done = run("adapt", problem, "--out", tmp_path / "run")
    assert done.status == 2 and words in done.line and str(problem) in done.line
    assert not (tmp_path / "run").exists()


def test_the_example_of_the_documentation_is_this_plant():
    text = (Path(__file__).parents[2] / "docs" / "problem-file.md").read_text(encoding="utf-8")
    example = text.split("```toml\n")[1].split("```")[0]
    assert toml.loads(example)["plant"] == EQUATIONS_PLANT
