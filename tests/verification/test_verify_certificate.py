"""Verification of a certificate by its own code: every field forged, and policy or problem changed since."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from problem_files import KINDS
from run_folders import faults, make_run

from scpo_ctrl import load_result, verify
from scpo_ctrl.assurance import certify, violation_bound
from scpo_ctrl.verification import certificate as verified
from scpo_ctrl.verification.draw import philox


@pytest.mark.parametrize("key", [0, 77, (1 << 64) + 123456789, (1 << 128) - 1])
def test_philox_is_that_of_numpy(key):
    theirs = np.random.Philox(key=key)
    theirs.advance(1000)
    mine = philox(np.arange(1000, 1100, dtype=np.uint64), key)
    assert np.array_equal(mine.ravel(), theirs.random_raw(400))


@pytest.mark.table(8)
@pytest.mark.parametrize("name", KINDS)
def test_a_certificate_of_every_kind_of_run_verifies(tmp_path, name):
    run = make_run(tmp_path / ("two" if name == "two inputs" else "one"), KINDS[name])
    result = load_result(run)
    (run / "certificate.json").write_text(certify(result.problem, result.theta, epsilon=0.005).text())
    assert verify(run).faults == ()


@pytest.fixture(scope="module")
def certified(tmp_path_factory):
    """Return a run with a certificate that did not pass, so that every list of it has entries."""
    run = make_run(tmp_path_factory.mktemp("certified"), KINDS["parameters, disturbance"])
    result = load_result(run)
    (run / "certificate.json").write_text(certify(result.problem, result.theta, epsilon=0.02).text())
    return run


def first(entries, **changes):
    return [entries[0] | changes, *entries[1:]]


FORGED = {
    "kind": lambda c: {"kind": "cover"},
    "passed": lambda c: {"passed": True},
    "rollouts": lambda c: {"rollouts": 10 * c["rollouts"]},
    "rollouts and bound": lambda c: {"rollouts": 1},
    "violations": lambda c: {"violations": 0},
    "violations, one less": lambda c: {"violations": c["violations"] - 1, "violating": c["violating"][1:]},
    "epsilon": lambda c: {"epsilon": 0.002},
    "epsilon outside": lambda c: {"epsilon": 1.5},
    "beta": lambda c: {"beta": 1e-9},
    "beta outside": lambda c: {"beta": 0.0},
    "bound": lambda c: {"bound": 0.9 * c["bound"]},
    "worst": lambda c: {"worst": 0.5 * c["worst"]},
    "worst_scenario": lambda c: {"worst_scenario": c["worst_scenario"] + 1},
    "worst_metric": lambda c: {"worst_metric": "t = 3: position <= 5 m"},
    "closest": lambda c: {"closest": c["closest"][:-1]},
    "closest, another value": lambda c: {
        "closest": first(c["closest"], metric=2 * c["worst"]),
        "worst": 2 * c["worst"],
    },
    "closest, the worst left out": lambda c: {"closest": [*c["closest"][1:], {"scenario": 0, "metric": 1e-9}]},
    "violating": lambda c: {"violating": c["violating"][1:]},
    "violating, another": lambda c: {"violating": sorted({*c["violating"][1:], _clean(c)})},
    "distribution": lambda c: {"distribution": c["distribution"].replace("0.4", "0.9")},
    "seed": lambda c: {"seed": c["seed"] + 1},
    "seed too large": lambda c: {"seed": 1 << 60},
    "theta_digest": lambda c: {"theta_digest": "0" * 64},
    "problem_digest": lambda c: {"problem_digest": "0" * 64},
    "version": lambda c: {"version": "the best"},
    "version, long": lambda c: {"version": "0" + 60 * "a" + "!"},
    "planned": lambda c: {"planned": c["planned"] + 1},
    "rollouts, as of no certificate": lambda c: (
        {"epsilon": 1e-12, "planned": 13815510557965, "rollouts": 13815510557965, "beta": 1e-6}
    ),
    "rollouts, fewer": lambda c: {"rollouts": c["rollouts"] - 1},
    "parts": lambda c: {"parts": [c["parts"][0] | {"violations": c["violations"] - 1}]},
    "parts, another worst": lambda c: {"parts": [c["parts"][0] | {"worst": 2 * c["worst"]}]},
    "parts, none": lambda c: {"parts": []},
}


def _clean(stated) -> int:
    return next(k for k in range(stated["rollouts"]) if k not in stated["violating"])


@pytest.mark.parametrize("forged", FORGED)
def test_a_forged_field_is_named(tmp_path, certified, forged):
    run = tmp_path / "run"
    shutil.copytree(certified, run)
    stated = json.loads((run / "certificate.json").read_text())
    assert stated["violations"] > 10
    (run / "certificate.json").write_text(json.dumps(stated | FORGED[forged](stated)))
    found = faults(run)
    assert "certificate.json" in found
    assert forged.split(",")[0].split()[0] in found


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"kind": 1, "kind": 2}', "[" * 100_000])
def test_a_damaged_certificate_is_named(tmp_path, certified, text):
    run = tmp_path / "run"
    shutil.copytree(certified, run)
    (run / "certificate.json").write_text(text)
    assert "certificate.json" in faults(run)


@pytest.mark.parametrize("key", ["closest", "seed", "worst"])
def test_a_missing_key_is_named(tmp_path, certified, key):
    run = tmp_path / "run"
    shutil.copytree(certified, run)
    stated = json.loads((run / "certificate.json").read_text())
    del stated[key]
    (run / "certificate.json").write_text(json.dumps(stated))
    assert key in faults(run)


def test_another_policy_since_is_named(tmp_path, certified):
    other = make_run(tmp_path / "other", KINDS["parameters, disturbance"] | {"adapt.steps": 0})
    shutil.copy(certified / "certificate.json", other)
    assert "the policy was changed since" in faults(other)


def test_another_problem_since_is_named(tmp_path, certified):
    other = make_run(tmp_path / "other", KINDS["parameters, disturbance"] | {"scenarios.disturbance": [0.001, 0.001]})
    shutil.copy(certified / "certificate.json", other)
    assert "the problem was changed since" in faults(other)


def test_a_certificate_of_before_there_were_parts_verifies(tmp_path, certified):
    run = tmp_path / "run"
    shutil.copytree(certified, run)
    stated = json.loads((run / "certificate.json").read_text())
    (run / "certificate.json").write_text(
        json.dumps({k: v for k, v in stated.items() if k not in ("planned", "parts")})
    )
    assert verify(run).faults == ()
    assert "no part 0" in verify(run, parts=[0]).faults[0]


def certified_rollouts(run) -> int:
    return json.loads((run / "certificate.json").read_text())["rollouts"]


def test_a_part_is_drawn_again_and_what_was_left_out_is_found(tmp_path, certified, monkeypatch):
    """Of more than a thousand violations not all are listed: only drawing all of the part again shows one less."""
    once = verify(certified, parts=[0])
    assert once.faults == () and once.certificate.startswith("NOT passed, ")
    assert once.certificate.endswith(f" {certified_rollouts(certified)} of part 0 rolled out again")
    again = int(verify(certified).certificate.split(" of them rolled out again")[0].split()[-1])
    assert min(certified_rollouts(certified), verified.SAMPLE) <= again < 2 * verified.SAMPLE
    assert "no part 1" in verify(certified, parts=[1]).faults[0]
    monkeypatch.setattr(verified, "_MOST_VIOLATING", 10)
    run = tmp_path / "run"
    shutil.copytree(certified, run)
    c = json.loads((run / "certificate.json").read_text())
    k, n = c["violations"] - 1, c["rollouts"]
    forged = {"violations": k, "violating": c["violating"][:10], "bound": violation_bound(k, n, c["beta"])}
    forged["parts"] = [c["parts"][0] | {"violations": k}]
    (run / "certificate.json").write_text(json.dumps(c | forged))
    assert verify(run).faults == ()
    assert f"violations = {k}, right is {k + 1}" in verify(run, parts=[0]).faults[0]


def test_a_certificate_that_stopped_early_verifies_and_no_other_number_does(tmp_path, certified):
    run = tmp_path / "run"
    shutil.copytree(certified, run)
    result = load_result(run)
    early = certify(result.problem, result.theta, epsilon=0.02, stop_early=True)
    (run / "certificate.json").write_text(early.text())
    assert early.rollouts < early.planned
    assert verify(run, parts=[0]).faults == ()
    c = json.loads(early.text())
    (run / "certificate.json").write_text(json.dumps(c | {"rollouts": c["rollouts"] + 1}))
    assert "only the first violation" in faults(run)
