"""`scpo-ctrl certify RUN --kind backup`: what it says, writes and refuses."""

import copy
import json
import re

import numpy as np
import pytest
from problem_files import EQUATIONS_PLANT, write
from run_folders import make_run

import scpo_ctrl as sc
from scpo_ctrl.loop.backup import Backup
from scpo_ctrl.models import double_integrator
from scpo_ctrl.proof import backup_set
from scpo_ctrl.proof.backup_set import NARROWER, prove_backup_set, prove_in_time, standing


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
    assert found(nominal, parameters={"mass": (0.3, 3.0)}) == "refuted"  # as a backup that knows of them is
    assert found(nominal, disturbance=[0.0, 0.05]) == NARROWER
    assert found(sc.lqr(plant, [0.1, 0.1], [10.0], parameters={"mass": (0.3, 3.0)})) == "refuted"
    masses, half = {"mass": (0.9, 1.1)}, [0.0, 0.01]
    pushed = sc.lmi(plant, parameters=masses, disturbance=half)
    assert found(pushed, parameters=masses, disturbance=half) == "proved"
    again = sc.check_backup(plant, Backup(pushed.K, pushed.P, pushed.rho), masses)  # as a record makes it
    assert found(again, parameters=masses, disturbance=half) == "proved"
    assert found(pushed, parameters=masses, disturbance=[0.0, 0.1]) == NARROWER


def pendulum(second: str, parameters=None, **changes):
    """Return changes that make a problem of a pendulum whose rate's derivative is given."""
    plant = copy.deepcopy(EQUATIONS_PLANT)
    plant["states"][1]["derivative"] = second
    plant["parameters"] = [{"name": "m", "unit": "kg", "nominal": 1.0}]
    scenarios = {"count": 3, "horizon": 8, "level": 0.2} | ({"parameters": {"m": parameters}} if parameters else {})
    weights = {"backup": {"kind": "lqr", "Q": [1.0, 1.0], "R": [1.0]}, "adapt": {"steps": 1, "audit": False}}
    return {"plant": plant, "scenarios": scenarios} | weights | changes


SMOOTH = "(torque/m - g*sin(angle))/l - 0.3*rate"


@pytest.fixture(scope="module")
def upright(tmp_path_factory):
    """Return a run whose backup's proof takes hundreds of boxes."""
    return make_run(tmp_path_factory.mktemp("upright"), pendulum(SMOOTH, [0.1, 8.0]))


def test_where_time_is_up_it_says_what_holds_and_a_second_call_goes_on(upright, run, monkeypatch):
    monkeypatch.setattr(backup_set, "_FEWEST", 24)  # boxes, far from what the whole set takes
    path, told = upright / "backup_proof.json", []
    for _ in range(2):
        outcome = run("certify", upright, "--kind", "backup", "--seconds", 0.02)
        assert outcome.status == 1 and "time is up, and a second call goes on with more boxes" in outcome.line
        assert "angle in [" in outcome.line and sc.verify(upright).passed
        told.append(json.loads(path.read_text()))
        path.write_text(json.dumps(told[-1] | {"seconds": 2.0}))  # whatever this computer took
    assert told[0]["level"] <= told[1]["level"] < 1 and told[1]["seconds"] > 2 and not told[1]["proved"]
    monkeypatch.undo()
    run("certify", upright, "--kind", "backup", "--seconds", 20)
    assert json.loads(path.read_text())["level"] > told[1]["level"]  # by more boxes
    refused = run("certify", upright, "--kind", "backup", "--seconds", 0)
    assert refused.status == 2 and "seconds" in refused.line
    path.write_text("{")
    damaged = run("certify", upright, "--kind", "backup")
    assert damaged.status == 2 and "backup_proof.json is damaged" in damaged.line


def test_a_range_that_is_too_wide_names_its_worst_vertex_and_the_range_that_holds(tmp_path, run):
    wide = {"scenarios": {"count": 3, "horizon": 8, "level": 0.2, "parameters": {"mass": [0.3, 3.0]}}}
    folder = make_run(tmp_path, wide)
    line = run("certify", folder, "--kind", "backup").line
    assert "the worst vertex is mass = 3, where it multiplies the length by 1.007 near rest" in line
    held = np.array(re.search(r"would be proved for mass in \[(\S+), (\S+)\]", line).groups(), dtype=float)
    policy = sc.load_result(folder).problem.policy
    assert prove_backup_set(policy, held[None]).proved
    assert not prove_backup_set(policy, 1 + 1.05 * (held[None] - 1)).proved
    pushed = make_run(
        tmp_path / "pushed", {"scenarios": wide["scenarios"] | {"parameters": {}, "disturbance": [0, 0.1]}}
    )
    part = float(re.search(r"for (\S+) % of the disturbance", run("certify", pushed, "--kind", "backup").line)[1]) / 100
    policy, nominal = sc.load_result(pushed).problem.policy, np.array([[1.0, 1.0]])
    assert prove_backup_set(policy, nominal, part * np.array([0, 0.1])).proved
    assert not prove_backup_set(policy, nominal, (part + 0.02) * np.array([0, 0.1])).proved


@pytest.mark.table(3)
@pytest.mark.parametrize(
    ("second", "operation"),
    [
        (SMOOTH.replace("0.3*rate", "0.3*abs(rate)*rate"), "fabs"),
        (SMOOTH.replace("torque", "min(max(torque,-1.5),1.5)"), "fmin, fmax"),  # a saturation inside f
        (SMOOTH.replace("rate", "(rate - min(max(rate,-0.1),0.1) + 0.1*rate)"), "fmin, fmax"),  # a dead zone
    ],
    ids=["friction", "saturation", "dead zone"],
)
def test_a_kink_inside_the_plant_is_refused_and_named(second, operation, tmp_path, run):
    folder = make_run(tmp_path, pendulum(second))
    outcome = run("certify", folder, "--kind", "backup")
    assert outcome.status == 2 and not (folder / "backup_proof.json").exists()
    assert re.search(rf"plant 'pendulum' .* its equations have {operation};.* without kinks", outcome.line)


def test_a_range_across_a_singularity_and_a_plant_that_does_not_rest_are_refused(tmp_path, run):
    for k, ends in enumerate(([-0.5, 1.5], [0.0, 1.5])):
        outcome = run("adapt", write(tmp_path / "p.toml", pendulum(SMOOTH, ends)), "--out", tmp_path / f"{k}")
        assert outcome.status == 2 and f"m in [{ends[0]:g}, 1.5] straddles a singularity" in outcome.line
    for k, second in enumerate((f"{SMOOTH} + 40.0", SMOOTH.replace("sin", "cos"))):
        outcome = run("adapt", write(tmp_path / "q.toml", pendulum(second)), "--out", tmp_path / f"q{k}")
        assert outcome.status == 2 and "is not at rest at (x_eq, u_eq): its rate moves by" in outcome.line
    plant, backup = double_integrator(), sc.lqr(double_integrator(), [0.1, 0.1], [10.0])
    proof = prove_in_time(sc.Policy(plant, backup), np.array([[-0.5, 1.5]]))[0]
    assert not proof.proved and "mass in [-0.5, 1.5] straddles a singularity" in proof.blocks
