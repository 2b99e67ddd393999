"""What `verify` takes from the audits of a run (E12): nothing that it can find out by itself."""

from __future__ import annotations

import json

import numpy as np
import pytest
from problem_files import KINDS
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
