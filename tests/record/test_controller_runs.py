"""Runs of loops under controllers, from the problem file to what every command says of them, and from Python."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from importlib.resources import files

import casadi as ca
import numpy as np
import pytest
from problem_files import CONTROLLERS, write
from run_folders import same_arrays

import scpo_ctrl as sc
from scpo_ctrl.controllers import pid
from scpo_ctrl.errors import RecordError
from scpo_ctrl.loop.plain import controller_from_plain
from scpo_ctrl.models import dc_motor, make_plant
from scpo_ctrl.models.plain import from_plain
from scpo_ctrl.report.figures import signals_figure
from scpo_ctrl.report.trajectories import shown_plant

DATA = files("scpo_ctrl") / "data"
SHIPPED = {"motor_pid": ("kp", "ki", "kd"), "converter_pi": ("kp", "ki")}


@pytest.mark.table(2)
@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_file_from_adapt_to_resume(tmp_path, run, name):
    problem, folder, labels = str(DATA / f"{name}.toml"), tmp_path / "run", SHIPPED[name]
    done = run("adapt", problem, "--out", folder, "--steps", 3, pictures=True)
    assert done.status == 0
    lines = [line.split() for line in done.out.splitlines() if line.startswith("parameter")]
    summary = json.loads((folder / "result.json").read_text())
    assert [row["label"] for row in summary["parameters"]] == [line[1] for line in lines] == list(labels)
    before = tomllib.loads((DATA / f"{name}.toml").read_text(encoding="utf-8"))["policy"]
    assert [row["before"] for row in summary["parameters"]] == [before[label] for label in labels]
    result = sc.load_result(folder)
    own = result.problem.policy.parameters(result.theta)
    assert {row["label"]: row["after"] for row in summary["parameters"]} == own
    assert own["kp"] > 1.2 * before["kp"] and result.objective_final < result.objective_initial
    assert run("verify", folder, "--problem", problem).status == 0
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert all(repr(value) in page for value in own.values())
    assert "next integral" not in "".join(part.partition("</svg>")[0] for part in page.split("<svg")[1:])
    assert run("report", folder).status == 0
    assert run("certify", folder, "--kind", "scenario", "--epsilon", 0.1).status == 0
    assert run("falsify", folder, "--budget", 100).status == 0
    assert run("verify", folder).status == 0  # with certificate and report
    assert run("adapt", problem, "--out", folder, "--steps", 5, "--resume").status == 0
    assert run("adapt", problem, "--out", tmp_path / "whole", "--steps", 5).status == 0
    same_arrays(folder, tmp_path / "whole")
    assert run("verify", folder).status == 0


def test_a_run_of_a_controller_is_exported_and_replayed(copy_of, run, tmp_path):
    folder = copy_of("pid, audited")
    said = run("export", folder, "--out", tmp_path / "c")
    assert said.status == 0 and "18 files for host" in said.out
    assert "const scpo_real kp = theta[0];" in (tmp_path / "c" / "src" / "scpo_control.c").read_text()
    data = (tmp_path / "c" / "src" / "scpo_data.c").read_text()
    numbers = {float(text) for text in re.findall(r"-?\d+\.\d+(?:e[-+]?\d+)?", data)}
    for row in json.loads((folder / "result.json").read_text())["parameters"]:
        assert {row["before"], row["after"]} <= numbers
    replayed = subprocess.run(["make", "-C", str(tmp_path / "c"), "test"], capture_output=True, text=True, check=True)
    assert "0 failures" in replayed.stdout


def python_problem(mass=(0.98, 1.02), **changes):
    """Return a loop that is made in Python: a plant with outputs, under a law of the user's own."""
    plant = make_plant("double_integrator")
    plant = plant.replace(y=ca.vertcat(plant.x[0], ca.sin(plant.x[1])), y_labels=("position", "s"), y_units=("m", ""))
    theta, y, r, xi = (ca.SX.sym(*of) for of in (("theta", 2), ("y", 2), ("r",), ("xi",)))
    law = sc.Controller(
        name="mine", theta=theta, theta_initial=[0.15, 0.6], y=y, r=r, xi=xi, r_nominal=[0.0], memory_min=[-1],
        memory_max=[1], command=theta[0] * (r - xi) - theta[1] * y[1], memory=xi + 0.5 * (y[0] - xi),
    )  # fmt: skip
    given = {"reference": [0.3], "parameters": {"mass": mass}} | changes
    policy = sc.controlled(plant, law, **given)
    batch = sc.scenarios(
        policy.plant, policy.backup, horizon=15, count=4, level=0.3, parameters={"mass": mass},
        disturbance=[1e-4, 1e-4, 0.0],
    )  # fmt: skip
    return sc.ControlProblem(policy, batch, sc.Quadratic([1.0, 0.1], [0.05]))


def test_a_loop_made_in_python_is_saved_and_read_back_to_the_same_bits(tmp_path, run):
    problem = python_problem()
    result = sc.adapt(problem, sc.AdaptOptions(steps=4, audit=False))
    sc.save_result(result, tmp_path / "run")
    back = sc.load_result(tmp_path / "run")
    theta = 0.1 * np.arange(2.0)
    assert back.problem.metrics(theta).tobytes() == problem.metrics(theta).tobytes()
    assert back.problem.objective(theta) == problem.objective(theta)
    assert back.problem.policy.scale == problem.policy.scale
    tables = tomllib.loads((tmp_path / "run" / "problem.toml").read_text())
    assert {tables[section]["kind"] for section in ("plant", "policy")} == {"recorded"} and "backup" not in tables
    plant = from_plain(json.loads((tmp_path / "run" / "plant.json").read_text()))
    assert (plant.nx, plant.y_labels) == (2, ("position", "s"))
    assert controller_from_plain(json.loads((tmp_path / "run" / "controller.json").read_text())).name == "mine"
    assert sc.verify(tmp_path / "run").faults == ()
    more = sc.adapt(problem, sc.AdaptOptions(steps=6, audit=False), resume_from=result)
    sc.save_result(more, tmp_path / "run")  # a later state of the same run
    again = run("adapt", tmp_path / "run" / "problem.toml", "--out", tmp_path / "again")
    assert again.status == 0
    same_arrays(tmp_path / "run", tmp_path / "again")
    assert sc.verify(tmp_path / "again").faults == ()


def test_a_loop_that_holds_its_level_at_nominal_parameters_alone_is_saved_and_verified(tmp_path):
    wider = sc.adapt(python_problem((0.9, 1.1), parameters=None), sc.AdaptOptions(steps=1, audit=False))
    sc.save_result(wider, tmp_path / "wider")
    sc.write_report(wider, tmp_path / "wider" / "report.html")  # of what was made in Python, and not of the record
    assert sc.load_result(tmp_path / "wider").problem.backup.evidence == "refuted"
    assert sc.verify(tmp_path / "wider").faults == ()


def test_what_no_file_describes_is_refused_in_words(tmp_path):
    x, u = ca.SX.sym("x"), ca.SX.sym("u")
    theta, y = ca.SX.sym("theta"), ca.SX.sym("y")
    odd = sc.Controller(name="odd", theta=theta, theta_initial=[0.5], y=y, command=-theta * ca.remainder(y, 9.0))
    plant = sc.models.Plant(name="one", x=x, u=u, f=x + 0.1 * u, dt=0.1, x_min=[-1], x_max=[1], u_min=[-1], u_max=[1])
    policy = sc.controlled(plant, odd)
    batch = sc.scenarios(policy.plant, policy.backup, horizon=5, count=2)
    result = sc.adapt(
        sc.ControlProblem(policy, batch, sc.Quadratic([1.0], [1.0])), sc.AdaptOptions(steps=1, audit=False)
    )
    with pytest.raises(sc.ScpoError, match=r"controller 'odd' has the operation .* cannot be saved"):
        sc.save_result(result, tmp_path / "odd")
    assert not (tmp_path / "odd").exists()
    motor = dc_motor()
    policy = sc.controlled(motor, pid(motor, 1.0, 2.0))
    one = sc.scenarios(policy.plant, policy.backup, horizon=5, count=2)
    arrays = sc.Scenarios(one.x0, one.p, one.w, one.horizon)
    result = sc.adapt(sc.ControlProblem(policy, arrays, sc.Quadratic([1.0, 0.0], [1.0])), sc.AdaptOptions(steps=1))
    with pytest.raises(RecordError, match=r"its scenarios are arrays; draw them with scpo_ctrl\.scenarios"):
        sc.save_result(result, tmp_path / "arrays")


def test_pictures_show_memory_as_memory(runs):
    result = sc.load_result(runs["pid, audited"])
    labels = [ax.get_ylabel() for ax in signals_figure(result).axes if ax.get_ylabel()]
    assert [label.split("\n")[0] for label in labels].count("memory") == 2
    assert not any("next" in label for label in labels) and len(labels) == 5
    plant, shown = result.problem.plant, shown_plant(result.problem)
    np.testing.assert_array_equal(shown.x_max[2:], plant.u_max[1:])
    assert shown.x_labels[2:] == ("integral (memory)", "filtered position (memory)")


def test_another_controller_is_not_resumed(copy_of, run, tmp_path):
    folder = copy_of("pid, audited")
    changed = CONTROLLERS["pid, audited"] | {"policy.kp": 0.31}
    said = run("adapt", write(tmp_path / "other.toml", changed), "--out", folder, "--resume")
    assert said.status != 0 and "its problem differs in [policy] kp: 0.3 there, 0.31 here" in said.line
    residual = write(tmp_path / "residual.toml")
    said = run("adapt", residual, "--out", folder, "--resume")
    assert said.status != 0 and "its problem differs in [" in said.line
    assert run("verify", folder, "--problem", residual).status == 1


def test_a_violation_that_falsify_finds_joins_the_run(tmp_path, run):
    base = CONTROLLERS["pid, audited"] | {"scenarios.level": 1.0, "adapt": {"steps": 12, "audit": False}}
    problem = write(tmp_path / "p.toml", base)
    assert run("adapt", problem, "--out", tmp_path / "run").status == 0
    found = run("falsify", tmp_path / "run", "--budget", 2000)
    assert found.status == 1
    learned = tmp_path / "run" / "falsified.toml"
    assert len(tomllib.loads(learned.read_text())["scenario"]["initial_state"]) == 4
    shutil.copy(learned, tmp_path / "one.toml")
    again = run("adapt", problem, "--out", tmp_path / "again", "--learn", tmp_path / "one.toml")
    assert again.status == 0
    assert run("verify", tmp_path / "again").status == 0
