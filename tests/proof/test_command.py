"""`scpo-ctrl certify RUN --kind backup`: what it says, writes and refuses."""

import json

from run_folders import make_run

import scpo_ctrl as sc
from scpo_ctrl.loop.backup import Backup
from scpo_ctrl.models import double_integrator
from scpo_ctrl.proof.backup_set import NARROWER, standing


def test_a_backup_that_is_proved(copy_of, run):
    folder = copy_of("mlp")
    outcome = run("certify", folder, "--kind", "backup")
    assert outcome.status == 0 and "proved of {V <= rho}: no state of it leaves it" in outcome.out
    written = json.loads((folder / "backup_proof.json").read_text())
    assert (
        written["proved"]
        and written["kind"] == "backup"
        and written["rho"] == sc.load_result(folder).problem.backup.rho
    )
    assert sc.verify(folder).passed
    assert json.loads(run("certify", folder, "--kind", "backup", "--json").out)["boxes"] == written["boxes"]


def test_one_that_is_not(tmp_path, run):
    folder = make_run(
        tmp_path, {"scenarios": {"count": 3, "horizon": 8, "level": 0.2, "parameters": {"mass": [0.3, 3.0]}}}
    )
    outcome = run("certify", folder, "--kind", "backup")
    assert outcome.status == 1 and outcome.out == ""
    assert "not proved of {V <= rho}: a step may multiply the length by" in outcome.line and "mass in" in outcome.line
    assert not json.loads((folder / "backup_proof.json").read_text())["proved"]
    found = json.loads(run("certify", folder, "--kind", "backup", "--json").out)
    assert found["parameters"] == {"mass": [0.3, 3.0]}


def test_what_is_of_the_other_kind_is_refused(copy_of, run):
    folder = copy_of("mlp")
    for option, value in (("--epsilon", 0.1), ("--beta", 0.1), ("--seed", 1)):
        outcome = run("certify", folder, "--kind", "backup", option, value)
        assert outcome.status == 2 and f"{option} is of --kind scenario" in outcome.line
    assert not (folder / "backup_proof.json").exists()


def test_another_save_removes_the_proof(copy_of, run):
    folder = copy_of("mlp")
    assert run("certify", folder, "--kind", "backup").status == 0
    assert run("adapt", folder / "problem.toml", "--out", folder, "--resume", "--steps", 7).status == 0
    assert not (folder / "backup_proof.json").exists()


def test_a_proof_for_less_than_is_declared_is_not_called_one_for_all_of_it():
    plant = double_integrator()

    def found(backup, **declared):
        batch = sc.scenarios(plant, backup, count=3, level=0.2, horizon=5, **declared)
        cost = sc.Quadratic([1.0, 1.0], [1.0])
        return standing(sc.ControlProblem(sc.Policy(plant, backup), batch, cost, sc.MetricOptions()))

    nominal = sc.lqr(plant, [0.1, 0.1], [10.0])
    assert found(nominal) == "proved"
    assert found(nominal, parameters={"mass": (0.9, 1.1)}) == "proved"  # by a proof of its own
    assert found(nominal, parameters={"mass": (0.3, 3.0)}) == NARROWER
    assert found(nominal, disturbance=[0.0, 0.05]) == NARROWER
    assert found(sc.lqr(plant, [0.1, 0.1], [10.0], parameters={"mass": (0.3, 3.0)})) == "refuted"
    masses, half = {"mass": (0.9, 1.1)}, [0.0, 0.01]
    pushed = sc.lmi(plant, parameters=masses, disturbance=half)
    assert found(pushed, parameters=masses, disturbance=half) == "proved"
    again = sc.check_backup(plant, Backup(pushed.K, pushed.P, pushed.rho), masses)  # as a record makes it
    assert found(again, parameters=masses, disturbance=half) == "proved"
    assert found(pushed, parameters=masses, disturbance=[0.0, 0.1]) == NARROWER
