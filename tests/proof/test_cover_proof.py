"""cover_proof.json: what the command writes, what its checker accepts, and tampered files."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from run_folders import make_run

import scpo_ctrl as sc
from scpo_ctrl.record import toml
from scpo_ctrl.verification.cover_proof import cover_faults

SMALL = {
    "scenarios": {"count": 3, "horizon": 6, "level": 0.3},
    "metrics": {"contraction": 0.97},
    "adapt": {"steps": 1, "audit": False, "radius": 0.02},
}


@pytest.fixture(scope="module")
def covered(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("covered"), SMALL)


@pytest.fixture
def copied(covered, tmp_path):
    folder = Path(shutil.copytree(covered, tmp_path / "run"))
    (folder / "cover_proof.json").unlink(missing_ok=True)
    return folder


@pytest.fixture
def record(covered, run):
    if not (covered / "cover_proof.json").exists():
        assert run("certify", covered, "--kind", "cover").status == 0
    result = sc.load_result(covered)
    text = (covered / "cover_proof.json").read_text()
    return json.loads(text), result, toml.loads((covered / "problem.toml").read_text())


def faults(stated, result, tables, sample=2):
    return cover_faults(json.dumps(stated), result.problem, tables, result.theta, sample=sample)


def test_the_command_proves_and_verify_accepts(covered, run, record):
    outcome = run("certify", covered, "--kind", "cover")
    assert outcome.status == 0 and "every point of the declared set keeps" in outcome.out and "for ever" in outcome.out
    stated = json.loads((covered / "cover_proof.json").read_text())
    assert stated["proved"] and stated["undecided_percent"] == 0 and stated["boxes"] == len(stated["letters"])
    assert sc.verify(covered).passed
    assert json.loads(run("certify", covered, "--kind", "cover", "--json").out)["boxes"] == stated["boxes"]


def test_each_proved_box_is_also_kept_in_arb(record):
    assert faults(*record, sample=10_000) == []


def changed_letters(letters, seed):
    """Letters with one of them changed, one left out, two swapped, or one more."""
    rng = np.random.default_rng(seed)
    k, kind = int(rng.integers(len(letters))), seed % 4
    if kind == 0:
        other = rng.choice(list("?ab")) if letters[k] == "." else rng.choice(list(".?"))  # not across another number
        return letters[:k] + str(other) + letters[k + 1 :]
    if kind == 1:
        return letters[:k] + letters[k + 1 :]
    if kind == 2:
        return letters + str(rng.choice(list(".ab")))
    return letters[:k] + str(rng.choice(list(".ab"))) + letters[k:]


@pytest.mark.parametrize("seed", range(24))
def test_changed_letters_are_no_cover(record, seed):
    stated, result, tables = record
    letters = changed_letters(stated["letters"], seed)
    found = faults(stated | {"letters": letters, "boxes": len(letters)}, result, tables)
    assert found and all("cover_proof.json" in fault for fault in found)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("level", 0.5),
        ("cones", 3),
        ("boxes", 1),
        ("allowed", 1e-3),
        ("kind", "backup"),
        ("proved", False),
        ("refuted", True),
        ("sentence", "proved for all plants"),
        ("undecided_percent", 1.0),
        ("seconds", -1.0),
        ("widened", 2.0),
        ("numbers", []),
        ("letters", "...."),
        ("letters", 7),
        ("theta_digest", "0"),
        ("problem_digest", "0"),
        ("more", 1),
    ],
)
def test_a_changed_statement_is_refused(record, key, value):
    stated, result, tables = record
    found = faults(stated | {key: value}, result, tables)
    assert found and all("cover_proof.json" in fault for fault in found)


def test_another_policy_or_problem_is_refused(record):
    stated, result, tables = record
    text = json.dumps(stated)
    assert "policy was changed" in cover_faults(text, result.problem, tables, result.theta + 1e-9)[0]
    level = {**tables, "scenarios": {**tables["scenarios"], "level": 0.4}}
    assert "problem was changed" in cover_faults(text, result.problem, level, result.theta)[0]
    bound = {**tables, "plant": {**tables["plant"], "mass": 1.001}}
    assert "problem was changed" in cover_faults(text, result.problem, bound, result.theta)[0]


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"letters": 1}', "[" * 100_000])
def test_a_damaged_file_is_a_fault(record, text):
    _, result, tables = record
    (found,) = cover_faults(text, result.problem, tables, result.theta)
    assert found.startswith("cover_proof.json")


def test_a_stronger_claim_than_the_boxes_bear_is_refused(record):
    """A forger who signs a cover of an unsafe policy anew: no box of it holds."""
    stated, result, tables = record
    theta = result.theta + 3.0
    signed = stated | {"theta_digest": hashlib.sha256(theta.astype("<f8").tobytes()).hexdigest()}
    (found,) = cover_faults(json.dumps(signed), result.problem, tables, theta)
    assert re.search(r"is not shown to keep every metric, re-checked in (doubles|Arb)", found)


def test_what_is_refuted_is_a_scenario_to_learn_from(tmp_path, run):
    changes = {"scenarios": {"count": 3, "horizon": 20, "level": 0.9}, "adapt": {"steps": 40, "audit": False}}
    folder = make_run(tmp_path, changes | {"metrics": {"contraction": 0.9}})
    outcome = run("certify", folder, "--kind", "cover")
    assert outcome.status == 1 and "refuted" in outcome.line and "by a cover" in outcome.line
    assert json.loads((folder / "cover_proof.json").read_text())["counterexample"]["initial_state"]
    learned = run(
        "adapt", folder / "problem.toml", "--out", tmp_path / "more", "--learn", folder / "falsified.toml", "--steps", 2
    )
    assert learned.status == 0
    assert sc.verify(folder).passed


def test_a_cover_goes_on_where_it_stopped(copied, run):
    folder = copied
    first = run("certify", folder, "--kind", "cover", "--boxes", 5)
    assert first.status == 1 and "not decided on" in first.line and "a second call goes on from here" in first.line
    stated = json.loads((folder / "cover_proof.json").read_text())
    assert not stated["proved"] and stated["boxes"] == 5 and sc.verify(folder).passed
    assert run("certify", folder, "--kind", "cover").status == 0
    assert json.loads((folder / "cover_proof.json").read_text())["letters"].startswith(stated["letters"])
    (folder / "cover_proof.json").write_text("{")
    assert run("certify", folder, "--kind", "cover").status == 2


def test_options_of_other_kinds_are_refused(copied, run):
    folder = copied
    for kind, option in (("cover", "--epsilon"), ("backup", "--boxes"), ("scenario", "--seconds")):
        outcome = run("certify", folder, "--kind", kind, option, 1)
        assert outcome.status == 2 and f"{option} is of --kind" in outcome.line
    outcome = run("certify", folder, "--kind", "cover", "--seconds", 0)
    assert outcome.status == 2 and "seconds" in outcome.line


def test_another_save_removes_the_cover(copied, run):
    folder = copied
    run("certify", folder, "--kind", "cover", "--boxes", 5)
    assert run("adapt", folder / "problem.toml", "--out", folder, "--resume", "--steps", 7).status == 0
    assert not (folder / "cover_proof.json").exists()
