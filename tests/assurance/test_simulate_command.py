"""The command simulate: its table, its JSON and its file, exit statuses, and one line for each wrong input."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
import tomli_w
from problem_files import BASE, KINDS
from run_folders import content, make_run

import scpo_ctrl as sc
from scpo_ctrl.assurance.digests import theta_digest
from scpo_ctrl.record.plant_file import read_plant
from scpo_ctrl.report.simulated import MOST_ROWS, shown_policies, simulation_lines

RANGED = {
    "scenarios.parameters": {"mass": [0.9, 1.1]},
    "scenarios.level": 0.6,
    "metrics.contraction": 0.95,
    "adapt.audit": True,
}
TRUTH = {
    "kind": "equations",
    "name": "rubbing",
    "dt": 0.1,
    "states": [
        {"name": "position", "unit": "m", "min": -5.0, "max": 5.0, "derivative": "velocity"},
        {
            "name": "velocity",
            "unit": "m/s",
            "min": -1.5,
            "max": 1.5,
            "derivative": "(force - drag*tanh(velocity/0.1))/mass",
        },
    ],
    "inputs": [{"name": "force", "unit": "N", "min": -1.0, "max": 1.0}],
    "parameters": [
        {"name": "mass", "unit": "kg", "nominal": 1.0, "above": 0.0},
        {"name": "drag", "unit": "N", "nominal": 0.02},
    ],
}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Return a run under a range of masses."""
    return make_run(tmp_path_factory.mktemp("ranged"), RANGED)


@pytest.fixture
def truth(tmp_path):
    def write(**changes):
        path = tmp_path / "truth.toml"
        path.write_text(tomli_w.dumps({"plant": TRUTH | changes}))
        return path

    return write


def test_within_the_ranges_nothing_violates_and_far_outside_something_does(done, run):
    within = run("simulate", done, "--set", "mass=1.05", "--episodes", 60)
    assert (within.status, within.err) == (0, "")
    assert within.out.startswith("simulated on the model, plant 'double_integrator', with mass = 1.05 kg (declared 0.9")
    assert "safe start" in within.out and "(final)" in within.out
    assert "safe" not in within.out.replace("safe start", "")
    assert "0 % of the transitions (0) are outside" in within.out
    outside = run("simulate", done, "--set", "mass=0.02", "--episodes", 60)
    assert outside.status == 1
    assert outside.err.count("\n") == 1 and "simulation.json: simulated on the model" in outside.err
    assert "outside the declared 0.9 to 1.1" in outside.err and "broken by" in outside.out


def test_the_json_is_that_of_python_and_of_the_file(done, run):
    out = run("simulate", done, "--set", "mass=0.02", "--episodes", 40, "--seed", 3, "--json")
    said, result = json.loads(out.out), sc.load_result(done)
    found = sc.simulate(result, parameters={"mass": 0.02}, episodes=40, seed=3)
    assert out.status == 1
    assert (done / "simulation.json").read_text() == found.text()
    assert said == json.loads(found.text())
    assert said["theta_digest"] == theta_digest(result.theta) == said["policies"][-1]["theta_digest"]
    assert said["policies"][0]["violations"] == found.policies[0].violations
    assert said["violations"] == sum(policy["violations"] for policy in said["policies"]) > 0
    assert said["mismatch"]["states"][1]["unit"] == "m/s"


def test_another_plant_comes_from_a_file_or_a_whole_problem_file(done, run, truth, tmp_path):
    alone = json.loads(run("simulate", done, "--plant", truth(), "--episodes", 20, "--json").out)
    assert alone["true_plant"] == "plant 'rubbing' in place of plant 'double_integrator'"
    whole = tmp_path / "whole.toml"
    whole.write_text(tomli_w.dumps(BASE | {"plant": TRUTH}))
    assert json.loads(run("simulate", done, "--plant", whole, "--episodes", 20, "--json").out) == alone
    dragged = run("simulate", done, "--plant", truth(), "--set", "drag=0.5", "--episodes", 20, "--json")
    assert "drag = 0.5 N" in json.loads(dragged.out)["true_plant"]
    assert json.loads(dragged.out)["mismatch"]["uncovered"] > alone["mismatch"]["uncovered"]


def test_python_is_run_only_if_trusted(done, run, tmp_path):
    (tmp_path / "truth.py").write_text(
        "from scpo_ctrl.models import double_integrator\ndef make_plant():\n    return double_integrator()\n"
    )
    file = tmp_path / "truth.toml"
    file.write_text('[plant]\nkind = "python"\nfile = "truth.py"\n')
    before = content(done)
    refused = run("simulate", done, "--plant", file, "--episodes", 5)
    assert refused.status == 2 and "`simulate --plant` with --trust" in refused.line
    assert content(done) == before
    assert run("simulate", done, "--plant", file, "--trust", "--episodes", 5).status == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "mas=1"], "unknown parameter 'mas'; known: mass"),
        (["--set", "mass=-1"], "mass = -1: plant 'double_integrator' needs one above 0"),
        (["--set", "mass=nan"], "expected a finite number"),
        (["--set", "mass=1e999"], "expected a finite number"),
        (["--set", "mass"], "expected LABEL=NUMBER"),
        (["--set", "=1"], "expected LABEL=NUMBER"),
        (["--set", "mass=heavy"], "expected LABEL=NUMBER"),
        (["--set", "mass=1", "--set", "mass=2"], "--set gives mass twice"),
        (["--trust"], "--trust goes with --plant"),
        (["--plant", "none.toml"], "none.toml: cannot be read"),
        (["--episodes", "0"], "--episodes"),
        (["--seed", "-1"], "--seed"),
        (["--seed", str(1 << 53)], "--seed"),
    ],
)
def test_wrong_input_is_one_line_and_writes_nothing(done, run, words, said):
    before = content(done)
    outcome = run("simulate", done, *words)
    assert outcome.status == 2 and said in outcome.line
    assert content(done) == before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dt": 0.2}, "truth.toml: [plant] plant 'rubbing' has dt = 0.2 s, expected the model's 0.1 s"),
        ({"input_delay": 1}, "a delay or an actuator adds states"),
        ({"inputs": [{"name": "force", "unit": "N", "min": -1.0, "max": 0.5}]}, "force is within [-1, 0.5]"),
        ({"inputs": [{"name": "force", "unit": "kN", "min": -1.0, "max": 1.0}]}, "force is in kN, in the model in N"),
        ({"dtt": 0.1}, "truth.toml: [plant]"),
        ({"sensor_noise": [0.1, 0.1]}, "is none of the model's"),
    ],
)
def test_a_plant_that_does_not_fit_is_one_line(done, run, truth, changes, said):
    outcome = run("simulate", done, "--plant", truth(**changes))
    assert outcome.status == 2 and said in outcome.line


def test_a_file_that_is_no_plant_is_refused(done, run, tmp_path):
    for text, said in (("[scenarios]\n", "needs a section [plant]"), ("plant = 3\n", "needs a section"), ("[", "TOML")):
        (tmp_path / "none.toml").write_text(text)
        outcome = run("simulate", done, "--plant", tmp_path / "none.toml")
        assert outcome.status == 2 and said in outcome.line


def test_another_save_removes_it_and_other_commands_take_the_folder(tmp_path, run):
    folder = make_run(tmp_path, RANGED)
    assert run("simulate", folder, "--episodes", 5).status == 0
    assert (folder / "simulation.json").exists() and (folder / "simulation.png").read_bytes().startswith(b"\x89PNG")
    assert run("verify", folder).status == 0
    assert run("report", folder).status == 0
    assert (folder / "simulation.json").exists()
    assert run("adapt", folder / "problem.toml", "--out", folder, "--resume", "--steps", 6).status == 0
    assert not (folder / "simulation.json").exists() and not (folder / "simulation.png").exists()


def test_a_tampered_run_is_refused(tmp_path, run):
    folder = make_run(tmp_path, RANGED)
    text = (folder / "problem.toml").read_text()
    (folder / "problem.toml").write_text(text.replace("horizon = 8", "horizon = 9"))
    outcome = run("simulate", folder)
    assert outcome.status == 2 and "do not belong together" in outcome.line


@pytest.mark.table(5)
@pytest.mark.parametrize("kind", KINDS)
def test_the_model_in_its_own_place_is_the_model(runs, kind):
    """A whole run of each kind, its own plant as a black box in the model's place: the same numbers by other code."""
    result = sc.load_result(runs[kind])
    found = sc.simulate(result, read_plant(runs[kind] / "problem.toml"), episodes=12, seed=4)
    assert found.mismatch.uncovered == 0
    assert len(found.policies) >= 1
    for policy in found.policies:
        assert policy.objective == pytest.approx(policy.objective_on_model, rel=1e-8)
        assert policy.violations == policy.violations_on_model


def test_a_parameter_that_varies_is_refused_with_a_remedy(copy_of, run):
    folder = copy_of("pid, signals")
    refused = run("simulate", folder, "--set", "position reference=0.3")
    assert refused.status == 2 and "varies over time; set 'position reference after'" in refused.line
    assert run("simulate", folder, "--set", "position reference after=0.3", "--episodes", 4).status in (0, 1)


def test_a_long_run_shows_some_policies_and_says_how_many_there_are(done):
    found = sc.simulate(sc.load_result(done), episodes=5)
    one = found.policies[-1]
    many = tuple(
        type(one)(**{**vars(one), "step": k, "is_final": k == 90, "violations": int(k in (33, 34))}) for k in range(101)
    )
    steps = [policy.step for policy in shown_policies(many)]
    assert len(steps) <= MOST_ROWS and steps == sorted(set(steps))
    assert {0, 33, 34, 90, 100} <= set(steps)
    assert max(b - a for a, b in pairwise(steps)) <= 20
    lines = simulation_lines(type(found)(**{**vars(found), "policies": many}), 200)
    assert f"{101 - len(steps)} more policies are in simulation.json" in lines
