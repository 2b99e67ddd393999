"""What `verify` takes from the audits of a run (E12): nothing that it can find out by itself."""

from __future__ import annotations

import json

import numpy as np
import pytest
from problem_files import KINDS, write
from run_folders import edit_summary, faults, make_run, rewrite

from scpo_ctrl import verify
from scpo_ctrl.adaptation import audited
from scpo_ctrl.record.files import load_arrays
from scpo_ctrl.verification.audits import dropped_guards


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Return a run with the default number of fresh scenarios, in which an audit failed."""
    changes = KINDS["audited"] | {"adapt": {"steps": 25, "guards": 3, "back_off": 0.0}}
    run = make_run(tmp_path_factory.mktemp("audited"), changes)
    arrays = load_arrays(run)
    assert (arrays["audit_found"] > 0).any() and not dropped_guards(arrays)
    return run


@pytest.fixture
def run(original, tmp_path):
    import shutil

    return shutil.copytree(original, tmp_path / "run")


def forged(run, index, **changes):
    """Change columns of one audit, and sign."""
    arrays = load_arrays(run)
    columns = {}
    for key, value in changes.items():
        column = arrays[f"audit_{key}"].copy()
        column[index] = value
        columns[f"audit_{key}"] = column
    rewrite(run, sign=True, **columns)
    return faults(run)


def test_it_passes(run):
    assert verify(run).faults == ()


def test_more_rollouts_than_were_made_do_not_make_a_smaller_bound(run):
    audit = json.loads((run / "result.json").read_text())["audit"]
    found = forged(run, -1, rollouts=10_000_000)
    edit_summary(run, audit=audit | {"rollouts": 10_000_000, "epsilon": audit["epsilon"] / 1e4})
    assert "numbers that no run writes" in found and "numbers that no run writes" in faults(run)


def test_a_failed_audit_that_is_said_to_have_passed(run):
    first = int(np.flatnonzero(load_arrays(run)["audit_found"])[0])
    assert "worst metric" in forged(run, first, found=0, violations=0)
    assert "goes on from another policy" in forged(run, first, worst=-1.0)


def test_a_final_policy_that_its_scenarios_of_the_last_audit_refute(run):
    """The last audit is moved to a withdrawn policy, which is committed again: all that is signed fits, but not Z."""
    arrays = load_arrays(run)
    edit = arrays["theta"][arrays["verdict"] == 5]
    assert len(edit)
    rewrite(run, sign=True, state_theta=edit[-1])
    assert faults(run)


def test_guards_that_were_dropped_do_not_refute_what_was_rejected_on_them(tmp_path, monkeypatch):
    monkeypatch.setattr(audited, "MOST_GUARDS", 5)
    changes = KINDS["audited"] | {"adapt": {"steps": 40, "guards": 3, "back_off": 0.0, "audit_rollouts": 2000}}
    run = make_run(tmp_path / "one", changes)
    assert dropped_guards(load_arrays(run))
    assert verify(run).faults == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda b: b.update(guards=b["guards"] + 1), "binding guards = "),
        (lambda b: b.update(guards=0, guards_never=[]), "binding guards_never = []"),
        (lambda b: b.pop("guards"), "which is not what a save writes"),
        (lambda b: rename(b, "guard", "scenario"), "binding closest["),
        (lambda b: rename(b, "guard", "guard", 1), "binding closest["),
    ],
)
def test_what_binds_of_guards_is_recomputed(run, change, said):
    account = json.loads((run / "result.json").read_text())["binding"]
    assert account["guards"] and any("guard" in row for row in account["closest"])
    change(account)
    edit_summary(run, binding=account)
    assert said in faults(run)


def rename(account, before, after, more=0):
    """Say of the first of the closest metrics that is of a guard that it is of something else."""
    row = next(row for row in account["closest"] if before in row)
    row[after] = row.pop(before) + more


def test_a_run_without_audits_says_nothing_of_guards(tmp_path):
    run = make_run(tmp_path / "plain", KINDS["audited"] | {"adapt": {"steps": 3, "audit": False}})
    account = json.loads((run / "result.json").read_text())["binding"]
    assert set(account) == {"within", "metrics", "scenarios", "scenarios_never", "closest"}
    assert all(set(row) == {"scenario", "time", "bound", "margin"} for row in account["closest"])
    edit_summary(run, binding=account | {"guards": 0, "guards_never": []})
    assert "which is not what a save writes" in faults(run)


def test_an_interrupted_audit_leaves_a_record_that_holds(tmp_path):
    """Of a run that had converged, too, which its last audit would have said."""
    from scpo_ctrl.adaptation.adapt import adapt
    from scpo_ctrl.record.config import read_problem_file
    from scpo_ctrl.record.files import load_result
    from scpo_ctrl.record.save import save_result

    for name, tolerance in (("finished", 1e-9), ("converged", 0.2)):
        table = KINDS["audited"]["adapt"] | {"steps": 25, "tolerance": tolerance}
        file = read_problem_file(write(tmp_path / f"{name}.toml", {"adapt": table}))
        calls, seen = [], []
        whole = adapt(file.problem, file.options, audit_monitor=lambda *at, calls=calls: calls.append(at))

        def at_the_last(*at, calls=calls, seen=seen):
            seen.append(at)
            return len(seen) == len(calls)

        part = adapt(file.problem, file.options, audit_monitor=at_the_last)
        assert (part.status.name, whole.status.name) == ("INTERRUPTED", name.upper())
        save_result(part, tmp_path / name)
        assert verify(tmp_path / name).faults == ()
        again = adapt(file.problem, file.options, resume_from=load_result(tmp_path / name))
        assert again.status is whole.status
        assert again.audits == whole.audits
        np.testing.assert_array_equal(again.theta, whole.theta)
