"""Runs on learned scenarios as RUN folders: saved, verified, loaded, resumed, exported, reported, and tampered with."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
import tomllib

import numpy as np
import pytest
from adapters import assert_same_bits, drive, finished, mass_problem
from plain import AdaptOptions
from problem_files import write, write_expert
from run_folders import content, edit_summary, faults, rewrite, same_arrays

from scpo_ctrl import Adapter, adapt, load_problem, load_result, save_result, verify
from scpo_ctrl.errors import DimensionError, DomainError, OutputError, ProblemFileError, RecordError
from scpo_ctrl.problem.function_problem import FunctionProblem
from scpo_ctrl.problem.learned import LearnedScenarios
from scpo_ctrl.problem.objective import UserObjective
from scpo_ctrl.record.config import read_problem_file
from scpo_ctrl.record.files import load_arrays
from scpo_ctrl.record.folder import RunFolder
from scpo_ctrl.report.wording import start_name

CHANGES = {
    "scenarios": {
        "count": 4,
        "horizon": 15,
        "level": 0.4,
        "parameters": {"mass": [0.9, 1.1]},
        "disturbance": [0.0005, 0.001],
        "disturbance_fixed": 0.5,
    },
    "policy.hidden": [2],
    "adapt": {"steps": 12, "tolerance": 0.0},
}


def pilot(folder, changes=CHANGES, **options) -> Adapter:
    """Return an adapter that has learned two scenarios after five steps, and has done three since."""
    write_expert(folder / "expert.csv")
    file = read_problem_file(write(folder / "problem.toml", changes))
    adapter = Adapter(file.problem, dataclasses.replace(file.options, audit=False, **options), every=4)
    drive(adapter, [0.8, 0.0], 20)
    assert adapter.result().steps == 5
    assert len(adapter.learn_scenarios(2).taken) == 2
    drive(adapter, [0.5, 0.1], 12)
    assert adapter.result().steps == 3
    return adapter


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An adapter, and the folder that its run was saved in; both to be left as they are."""
    root = tmp_path_factory.mktemp("made")
    adapter = pilot(root)
    save_result(adapter.result(), root / "run")
    return adapter, root / "run"


@pytest.fixture
def copied(made, tmp_path):
    return shutil.copytree(made[1], tmp_path / "run")


def rewrite_learned(run, **changes) -> None:
    """Change arrays of learned.npz, and sign it as somebody would who knows how."""
    with np.load(run / "learned.npz") as archive:
        arrays = dict(archive) | changes
    np.savez(run / "learned.npz", **arrays)
    text, found = (run / "problem.toml").read_text(), hashlib.sha256((run / "learned.npz").read_bytes()).hexdigest()
    (run / "problem.toml").write_text(re.sub('learned_sha256 = "[0-9a-f]+"', f'learned_sha256 = "{found}"', text))
    rewrite(run, sign=True)


def test_the_folder_holds_the_scenarios_and_the_start_as_learned(made):
    adapter, run = made
    tables, before = (tomllib.loads((f / "problem.toml").read_text()) for f in (run, run.parent))
    assert {"problem.toml", "result.json", "history.npz", "theta.npy", "learned.npz"} == set(content(run))
    drawn = {key: value for key, value in tables["scenarios"].items() if "learned" not in key}
    assert drawn == before["scenarios"] | {"seed": 0, "draw": "random"}
    assert tables["scenarios"]["learned"] == "learned.npz"
    assert tables["scenarios"]["learned_sha256"] == hashlib.sha256((run / "learned.npz").read_bytes()).hexdigest()
    batch, result = adapter.problem.scenarios, adapter.result()
    with np.load(run / "learned.npz") as found:
        for key in ("x0", "p", "w"):
            np.testing.assert_array_equal(found[key], getattr(batch, key)[4:])
        np.testing.assert_array_equal(found["theta_initial"], result.theta_initial)
    assert batch.count == 6 and np.ptp(batch.p[4:]) > 0 and batch.w[4:].any()


def test_every_policy_is_verified_on_every_scenario_learned_ones_included(made):
    adapter, run = made
    found, result = verify(run), adapter.result()
    assert found.faults == ()
    assert found.policies == len(result.committed) > 1
    assert found.scenarios == 6
    assert found.worst_margin == pytest.approx(result.worst_margin(), abs=1e-11)


@pytest.mark.parametrize("method", ["newton", "gradient"])
def test_it_is_loaded_and_goes_on_to_the_same_bits(method, tmp_path, run):
    adapter = pilot(tmp_path, method=method)
    save_result(adapter.result(), tmp_path / "run")
    loaded = load_result(tmp_path / "run")
    np.testing.assert_array_equal(loaded.committed, adapter.result().committed)
    np.testing.assert_array_equal(loaded.problem.theta_initial, adapter.problem.theta_initial)
    whole, _ = finished(adapter)
    assert_same_bits(finished(Adapter(loaded.problem, loaded.options, resume_from=loaded))[0], whole)
    assert_same_bits(adapt(loaded.problem, loaded.options, resume_from=loaded), whole)
    assert run("adapt", tmp_path / "run" / "problem.toml", "--out", tmp_path / "run", "--resume").status == 0
    save_result(whole, tmp_path / "whole")
    same_arrays(tmp_path / "run", tmp_path / "whole")
    assert verify(tmp_path / "run").passed
    assert whole.steps == 12 and whole.is_safe()


def test_its_problem_file_is_one_to_start_a_new_run_from(made, tmp_path, run):
    adapter, there = made
    assert run("adapt", there / "problem.toml", "--out", tmp_path / "new", "--steps", 3, "--seed", 7).status == 0
    result = load_result(tmp_path / "new")
    np.testing.assert_array_equal(result.theta_initial, adapter.problem.theta_initial)
    assert result.problem.scenarios.count == 6
    assert verify(tmp_path / "new").passed


def test_it_is_exported_and_reported(copied, tmp_path, run):
    assert run("export", copied, "--out", tmp_path / "c").status == 0
    assert run("report", copied, pictures=True).status == 0
    page = (copied / "report.html").read_text()
    assert start_name(load_result(copied)) == "safe start"
    assert "safe start" in page and "before: backup" not in page


def test_saved_again_it_is_brought_up_to_date(tmp_path):
    adapter = pilot(tmp_path)
    save_result(adapter.result(), tmp_path / "run")
    (tmp_path / "run" / "report.html").write_text("of an earlier state")
    adapter.step()
    save_result(adapter.result(), tmp_path / "run")
    assert load_result(tmp_path / "run").steps == 4
    assert not (tmp_path / "run" / "report.html").exists()
    assert verify(tmp_path / "run").passed
    adapter.learn_scenarios(1)
    before = content(tmp_path / "run")
    with pytest.raises(OutputError, match="holds a run already"):
        save_result(adapter.result(), tmp_path / "run")
    assert content(tmp_path / "run") == before
    save_result(adapter.result(), tmp_path / "run", overwrite=True)
    assert load_result(tmp_path / "run").problem.scenarios.count == 7
    assert verify(tmp_path / "run").passed


def test_an_update_that_fails_loses_nothing(tmp_path, monkeypatch):
    adapter = pilot(tmp_path)
    save_result(adapter.result(), tmp_path / "run")
    before = content(tmp_path / "run")
    adapter.step()

    def full(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="free some space"):
        save_result(adapter.result(), tmp_path / "run")
    assert content(tmp_path / "run") == before


def test_a_later_learning_keeps_what_was_learned_before(tmp_path):
    adapter = pilot(tmp_path)
    save_result(adapter.result(), tmp_path / "one")
    loaded = load_result(tmp_path / "one")
    again = Adapter(loaded.problem, loaded.options, resume_from=loaded, every=4)
    drive(again, [0.3, 0.2], 8)
    assert len(again.learn_scenarios(3).taken) == 3
    save_result(again.result(), tmp_path / "two")
    found = load_result(tmp_path / "two").problem.scenarios
    assert found.count == 9
    np.testing.assert_array_equal(found.x0[:6], loaded.problem.scenarios.x0)
    assert verify(tmp_path / "two").passed


def test_plain_runs_are_saved_from_python_too(tmp_path):
    write_expert(tmp_path / "expert.csv")
    changes = CHANGES | {"objective": {"kind": "imitation", "csv": "expert.csv"}}
    problem = load_problem(write(tmp_path / "problem.toml", changes))
    save_result(adapt(problem, AdaptOptions(steps=2)), tmp_path / "run")
    assert "learned.npz" not in content(tmp_path / "run")
    save_result(
        adapt(problem, AdaptOptions(steps=2, seed=5)), tmp_path / "seed"
    )  # the start is that of the file's seed
    assert verify(tmp_path / "run").passed and verify(tmp_path / "seed").passed
    for name in ("run", "seed"):
        np.testing.assert_array_equal(load_result(tmp_path / name).problem.theta_initial, problem.theta_initial)
    assert start_name(load_result(tmp_path / "seed")) == "backup"


def test_what_no_problem_file_describes_is_refused(tmp_path):
    problem = FunctionProblem(np.zeros(2), lambda t: t - 1, UserObjective(lambda t: (float(t @ t), 2 * t)))
    with pytest.raises(RecordError, match=r"a FunctionProblem, and only a ControlProblem has one"):
        save_result(adapt(problem, AdaptOptions(steps=1)), tmp_path / "run")
    problem = load_problem(write(tmp_path / "problem.toml", CHANGES))
    fewer = problem.with_scenarios(problem.scenarios.part(slice(1, None)), problem.theta_initial)
    with pytest.raises(RecordError, match="do not begin with those of its problem file"):
        save_result(adapt(fewer, AdaptOptions(steps=1)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_of_the_earlier_problem_refuses_the_learned_run(tmp_path):
    file = read_problem_file(write(tmp_path / "problem.toml", CHANGES))
    adapter = Adapter(file.problem, file.options)
    drive(adapter, [0.8, 0.0], 6)
    with RunFolder(tmp_path / "run", file) as folder:
        folder.save(adapter.result())
        before = content(tmp_path / "run")
        assert len(adapter.learn_scenarios(1).taken) == 1
        with pytest.raises(RecordError, match="save_result into another folder"):
            folder.save(adapter.result())
    assert content(tmp_path / "run") == before


def test_resuming_with_the_problem_before_it_learned_is_refused(copied, made, run):
    outcome = run("adapt", made[1].parent / "problem.toml", "--out", copied, "--resume")
    assert outcome.status == 2
    assert f"other learned scenarios; resume with {copied}/problem.toml" in outcome.line


# --- Tampered with ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "noise", "folder"])
def test_a_damaged_file(copied, run, damage):
    path = copied / "learned.npz"
    whole = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "missing":
        path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "noise": b"\xff\x00\x80" * 50}[damage])
    before = content(copied)
    for command in (("verify", copied), ("report", copied), ("export", copied, "--out", copied / "c")):
        outcome = run(*command, "--json")
        assert outcome.status == 2
        assert "learned.npz" in outcome.line
    assert content(copied) == before


def test_another_file_is_noticed(copied, run):
    with np.load(copied / "learned.npz") as archive:
        arrays = dict(archive)
    np.savez(copied / "learned.npz", **(arrays | {"x0": arrays["x0"] + 1e-12}))
    assert "learned.npz was changed after it was written" in faults(copied)
    assert "the last recorded scenarios are not those of learned.npz" in faults(copied)
    with pytest.raises(ProblemFileError, match="was changed: its SHA-256 is"):
        load_result(copied)
    assert run("verify", copied).status == 1


def test_arrays_changed_and_signed_anew(copied):
    with np.load(copied / "learned.npz") as archive:
        arrays = dict(archive)
    for key, said in (("x0", "the last recorded scenarios"), ("w", "the last recorded scenarios"), ("p", "the last")):
        rewrite_learned(copied, **{key: arrays[key] * (1 - 1e-12)})
        assert f"{said}" in faults(copied) and "digest" not in faults(copied)
        rewrite_learned(copied, **arrays)
        assert verify(copied).passed
    rewrite_learned(copied, theta_initial=arrays["theta_initial"] * (1 - 1e-12))
    assert faults(copied) == "the initial parameters are not those of learned.npz"


def test_a_learned_scenario_that_breaks_a_metric_is_found_by_rollouts(copied):
    """Everything made to fit, but the policies' safety."""
    with np.load(copied / "learned.npz") as archive:
        x0 = archive["x0"] + np.array([4.5, 0.0])
    rewrite_learned(copied, x0=x0)
    rewrite(copied, sign=True, scenario_x0=np.vstack([load_arrays(copied)["scenario_x0"][:4], x0]))
    found = verify(copied)
    assert found.violations == found.policies > 1
    assert "committed policy 0 is unsafe" in "; ".join(found.faults)


def test_parameters_and_disturbances_of_learned_scenarios_keep_their_ranges(copied):
    with np.load(copied / "learned.npz") as archive:
        arrays = dict(archive)
    for key, change, said in (("p", 0.5, "plant parameter mass is outside"), ("w", 0.01, "disturbance is outside")):
        recorded = load_arrays(copied)[f"scenario_{key}"]
        rewrite_learned(copied, **{key: arrays[key] + change})
        rewrite(copied, sign=True, **{f"scenario_{key}": np.concatenate([recorded[:4], arrays[key] + change])})
        assert said in faults(copied)
        with pytest.raises(DomainError, match=f"learned {key} .*widen it" if key == "p" else "learned w is beyond"):
            load_result(copied)
        rewrite_learned(copied, **arrays)
        rewrite(copied, sign=True, **{f"scenario_{key}": recorded})
        assert verify(copied).passed


def test_the_key_removed(copied):
    text = (copied / "problem.toml").read_text()
    (copied / "problem.toml").write_text("".join(f"{row}\n" for row in text.splitlines() if "learned" not in row))
    rewrite(copied, sign=True)
    said = faults(copied)
    assert "the initial parameters are not the backup" in said and "has 6 scenarios besides 0 learned" in said


def test_binding_counts_learned_scenarios(copied):
    account = json.loads((copied / "result.json").read_text())["binding"]
    last = max([pair[1] for pair in account["scenarios_never"]] + [row["scenario"] for row in account["closest"]])
    assert last == 5
    account["scenarios_never"] = [[0, 3]]
    edit_summary(copied, binding=account)
    assert "binding scenarios_never" in faults(copied)


# --- Problem files written by hand -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "arrays", "error", "said"),
    [
        ({"learned": 3}, {}, ProblemFileError, "learned is 3, expected the name of a file"),
        ({"learned_sha256": "00"}, {}, ProblemFileError, "no file"),
        ({"learned": "other.npz"}, {}, ProblemFileError, "other.npz: cannot be read"),
        ({"learned_sha256": "00", "learned": "more.npz"}, {}, ProblemFileError, "was changed"),
        ({"learned": "more.npz"}, {"x0": np.zeros((1, 3))}, DimensionError, r"learned x0 has shape \(1, 3\)"),
        ({"learned": "more.npz"}, {"x0": np.array(1.0)}, DimensionError, "learned x0"),
        ({"learned": "more.npz"}, {"x0": np.full((1, 2), np.nan)}, DomainError, r"learned x0\[0, 0\] is nan"),
        ({"learned": "more.npz"}, {"p": np.zeros((2, 1))}, DimensionError, "learned p"),
        ({"learned": "more.npz"}, {"p": np.full((1, 1), 1.05)}, DomainError, r"mass outside \[1, 1\]"),
        ({"learned": "more.npz"}, {"w": np.zeros((1, 9, 0))}, DimensionError, "learned w"),
        ({"learned": "more.npz"}, {"theta_initial": np.zeros(3)}, DimensionError, "learned theta_initial"),
        ({"learned": "more.npz"}, {"theta_initial": np.array("text")}, DomainError, "learned theta_initial"),
        ({"learned": "more.npz"}, {"extra": np.zeros(1)}, ProblemFileError, "holds .*extra.*, expected x0, p, w"),
        ({"learned": "more.npz"}, {"x0": np.array([None])}, ProblemFileError, "is damaged"),
    ],
)
def test_a_wrong_file_has_its_clear_error(tmp_path, run, keys, arrays, error, said):
    file = read_problem_file(write(tmp_path / "problem.toml"))
    batch = file.problem.scenarios.part(slice(1))
    good = {"x0": batch.x0, "p": batch.p, "w": batch.w, "theta_initial": file.problem.theta_initial}
    np.savez(tmp_path / "more.npz", **({"format": 2} | good | arrays))
    path = write(tmp_path / "problem.toml", {f"scenarios.{key}": value for key, value in keys.items()})
    with pytest.raises(error, match=r"\[scenarios\] .*" + said):
        load_problem(path)
    assert run("adapt", path, "--out", tmp_path / "run").status == 2
    assert not (tmp_path / "run").exists()


def test_an_unsafe_learned_scenario_writes_nothing(tmp_path, run):
    file = read_problem_file(write(tmp_path / "problem.toml"))
    batch = file.problem.scenarios.part(slice(1))
    outside = dataclasses.replace(batch, x0=np.array([[5.5, 0.0]]))
    (tmp_path / "more.npz").write_bytes(LearnedScenarios.of(outside, file.problem.theta_initial).data)
    path = write(tmp_path / "problem.toml", {"scenarios.learned": "more.npz"})
    outcome = run("adapt", path, "--out", tmp_path / "run")
    assert outcome.status == 1
    assert "scenario 3, t = 0: position <= 5 m is exceeded by" in outcome.line
    assert not (tmp_path / "run").exists()


def test_equal_scenarios_give_equal_bytes():
    batch = mass_problem([1.0]).scenarios
    one, other = (LearnedScenarios.of(batch, np.arange(3.0)) for _ in range(2))
    assert one.data == other.data and one.sha256 == other.sha256
