"""Problem files: what is read, what is filled in, and that it is written so that it reads the same."""

from __future__ import annotations

import dataclasses
import importlib.resources
import tomllib

import numpy as np
import pytest
from problem_files import KINDS, LINEAR_PLANT, tables, write, write_expert

import scpo_ctrl
from scpo_ctrl.adaptation.options import AdaptOptions
from scpo_ctrl.errors import BackupError, DimensionError, DomainError, ProblemFileError, UncontrollableError
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.record.config import read_problem_file


@pytest.mark.parametrize("kind", KINDS)
def test_written_problem_loads_to_the_same_problem(tmp_path, kind):
    write_expert(tmp_path / "expert.csv")
    first = read_problem_file(write(tmp_path / "problem.toml", KINDS[kind]))
    again_path = tmp_path / "again.toml"
    again_path.write_text(first.text(), encoding="utf-8")
    for recorded in (first.constraints, first.cost):
        if recorded:
            (tmp_path / recorded.FILE).write_bytes(recorded.data)
    if first.imitation:
        (tmp_path / "expert.csv").rename(tmp_path / "imitation.csv")
    again = read_problem_file(again_path)

    assert again.text() == first.text()
    assert again.options == first.options
    for name in ("x0", "p", "w"):
        np.testing.assert_array_equal(getattr(again.problem.scenarios, name), getattr(first.problem.scenarios, name))
    np.testing.assert_array_equal(again.problem.theta_initial, first.problem.theta_initial)
    thetas = first.problem.theta_initial + 0.01 * np.arange(first.problem.theta_dim)
    np.testing.assert_array_equal(again.problem.metrics(thetas), first.problem.metrics(thetas))
    assert again.problem.objective(thetas) == first.problem.objective(thetas)


def test_every_default_is_filled_in(tmp_path):
    filled = tomllib.loads(read_problem_file(write(tmp_path / "p.toml", {"plant": LINEAR_PLANT})).text())
    assert filled["plant"] == LINEAR_PLANT | {
        "name": "linear",
        "x_labels": ["x0", "x1"],
        "x_units": ["", ""],
        "u_labels": ["u0"],
        "u_units": [""],
    }
    assert filled["backup"]["allow_uncontrollable"] is False
    backup = scpo_ctrl.load_problem(tmp_path / "p.toml").backup
    scales = {"scale": (backup.extent / 3).tolist(), "input_scale": [1.0]}
    assert filled["policy"] == {"kind": "mlp", "hidden": [3], "init": 0.5, **scales, "at_bounds": True}
    assert filled["scenarios"] == {"count": 3, "horizon": 8, "level": 0.8, "seed": 0, "draw": "random"}
    assert filled["metrics"] == {
        "path": True,
        "command": True,
        "terminal": False,
        "contraction_floor": 0.0,
        "stability": True,
    }
    chosen = {"method": "newton", "gradients": "exact"}  # what "auto" is here
    defaults = dataclasses.asdict(AdaptOptions(steps=5, audit=False, **chosen))
    assert filled["adapt"] == {key: value for key, value in defaults.items() if value is not None}


def test_zoo_plants_are_written_with_their_parameters(tmp_path):
    file = read_problem_file(write(tmp_path / "p.toml", {"plant.velocity_max": 2.0}))
    assert file.tables["plant"] == {
        "kind": "double_integrator",
        "velocity_max": 2.0,
        "dt": 0.1,
        "position_max": 5.0,
        "acceleration_max": 1.0,
    }
    assert file.problem.plant.x_max[1] == 2.0


def test_load_problem_gives_a_control_problem(tmp_path):
    problem = scpo_ctrl.load_problem(str(write(tmp_path / "p.toml")))
    assert isinstance(problem, ControlProblem)
    assert problem.metrics(problem.theta_initial).max() <= 0


def test_overrides_replace_the_section_adapt(tmp_path):
    path = write(tmp_path / "p.toml", {"adapt.seed": 4})
    file = read_problem_file(path, steps=0, seed=7)
    assert (file.options.steps, file.options.seed) == (0, 7)
    assert (file.tables["adapt"]["steps"], file.tables["adapt"]["seed"]) == (0, 7)
    assert not np.array_equal(file.problem.theta_initial, scpo_ctrl.load_problem(path).theta_initial)


def test_a_byte_order_mark_and_other_line_ends_do_no_harm(tmp_path):
    path = write(tmp_path / "p.toml")
    text = read_problem_file(path).text()
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_problem_file(path).text() == text


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"plant.kind": "rocket"}, ProblemFileError),
        ({"backup.Q": [0.1]}, DimensionError),
        ({"backup.R": [-1.0]}, DomainError),
        ({"plant": LINEAR_PLANT | {"B": [[0.1], [0.0]]}}, UncontrollableError),
    ],
)
def test_errors_keep_their_class_and_built_in_parent(tmp_path, changes, kind):
    path = write(tmp_path / "p.toml", changes)
    with pytest.raises(kind, match=rf"{path}: \[") as caught:
        scpo_ctrl.load_problem(path)
    assert isinstance(caught.value, ValueError)


def test_the_file_given_is_left_alone(tmp_path):
    path = write(tmp_path / "p.toml")
    before = tables()
    read_problem_file(path)
    assert tomllib.loads(path.read_text(encoding="utf-8")) == before


def test_a_simulated_level_is_written_and_taken_as_it_is(tmp_path):
    file = read_problem_file(write(tmp_path / "p.toml", KINDS["nonlinear, parameters"]))
    backup = file.problem.backup
    assert backup.claim.simulated
    assert file.tables["backup"]["rho"] == backup.rho
    smaller = write(tmp_path / "q.toml", KINDS["nonlinear, parameters"] | {"backup.rho": 0.5 * backup.rho})
    assert read_problem_file(smaller).problem.backup.rho == 0.5 * backup.rho
    proved = read_problem_file(write(tmp_path / "r.toml"))
    assert proved.problem.backup.evidence == "proved"
    assert "rho" not in proved.tables["backup"]


def test_the_ranges_of_the_scenarios_decide_over_the_backup(tmp_path):
    wide = KINDS["nonlinear, parameters"] | {"scenarios.parameters": {"half_length": [0.01, 5.0]}}
    with pytest.raises(BackupError, match=r"\[backup\] the backup of plant 'cart_pole' leaves its level set"):
        read_problem_file(write(tmp_path / "p.toml", wide))
    wrong = KINDS["nonlinear, parameters"] | {"scenarios.parameters": {"pole_mass": [0.0, 1.0]}}
    with pytest.raises(DomainError, match=r"\[scenarios\] parameters.pole_mass = .* reaches 0 kg"):
        read_problem_file(write(tmp_path / "p.toml", wrong))


@pytest.mark.parametrize("name", ["cart_pole", "double_integrator", "planar_quadrotor"])
def test_files_that_ship_load_and_start_safe(name):
    problem = scpo_ctrl.load_problem(str(importlib.resources.files("scpo_ctrl") / "data" / f"{name}.toml"))
    assert problem.metrics(problem.theta_initial).max() < 0
