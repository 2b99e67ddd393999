"""Verification of a certificate by its own code: every field forged, and policy or problem changed since."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from problem_files import KINDS
from run_folders import faults, make_run

from scpo_ctrl import load_result, verify
from scpo_ctrl.assurance import certify
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
