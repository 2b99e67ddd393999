"""Proofs of level sets checked once more: true ones are accepted, tampered ones are not."""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil

import numpy as np
import pytest
from forms import times
from problem_files import CONTROLLERS, KINDS
from proved_loops import LOOPS, proved, pruned
from run_folders import faults, make_run

from scpo_ctrl import load_result, verify
from scpo_ctrl.proof.backup_set import declared_ranges, prove_backup_set

COUNT = times(1000, 10)  # of tampered proofs, over all loops and kinds


@pytest.fixture(scope="module")
def proofs():
    return {name: proved(*LOOPS[name]) for name in LOOPS}


@pytest.mark.parametrize("name", LOOPS)
def test_a_true_proof_is_accepted(proofs, name):
    one = proofs[name]
    assert one.stated["level"] > 0.1 and one.stated["splits"]
    assert one.faults() == []


def _tree(one, rng, into):
    """Decide a box otherwise, and leave out what came of it; one where the prover's own bounds do not say so."""
    loop, boxes, splits = one.jacobians, one.boxes, one.stated["splits"]
    if into == -3 and not loop.of_set.any():  # the mean is the Jacobian
        return None
    for _ in range(100):
        generation = int(rng.integers(len(splits)))
        box = int(rng.integers(len(splits[generation])))
        low, high = (ends[box][None] for ends in boxes[generation])
        if splits[generation][box] == into or loop.outside(low, high, one.size * (1 - 1e-6))[0]:
            continue
        norm, drift = loop.bounds(low, high, one.size, mean=into == -3).largest
        closes = (norm + 1e-6) * one.size + drift + one.stated["disturbance"] <= one.size
        if into == -2 or not closes[0]:
            return one.stated | {"splits": pruned(splits, generation, box, into)}
    return None


def _scaled(key, factor):
    return lambda one, rng: one.stated | {key: one.stated[key] * factor(rng)} if one.stated[key] else None


def _dropped(one, rng):
    splits = copy.deepcopy(one.stated["splits"])
    del splits[rng.integers(len(splits))][0]
    return one.stated | {"splits": splits}


def _added(one, rng):
    splits = copy.deepcopy(one.stated["splits"])
    splits[rng.integers(len(splits))].append(-1)
    return one.stated | {"splits": splits}


def _unfinished(one, rng):
    return one.stated | {"splits": one.stated["splits"][:-1]} if len(one.stated["splits"]) > 1 else None


def _narrowed(one, rng):
    given = {label: [low + 0.01 * (high - low), high] for label, (low, high) in one.stated["parameters"].items()}
    return one.stated | {"parameters": given} if one.table.get("parameters") else None


def _shrunk(one, rng):
    half = (0.99 * np.array(one.stated["disturbance_half"])).tolist()
    return one.stated | {"disturbance_half": half} if half else None


def _steeper(one, rng):
    """State a smaller contraction: by more where balls bound the mean more closely than intervals do."""
    by_mean = any(-3 in some for some in one.stated["splits"])
    return _scaled("contraction", lambda rng: 1 - 10.0 ** rng.uniform(-3 if by_mean else -7, -1))(one, rng)


def _larger(rng):
    return 1.01


TAMPERED = {
    "closed": lambda one, rng: _tree(one, rng, -1),
    "closed by the mean": lambda one, rng: _tree(one, rng, -3),
    "outside": lambda one, rng: _tree(one, rng, -2),
    "dropped": _dropped,
    "added": _added,
    "unfinished": _unfinished,
    "contraction": _steeper,
    "drift": _scaled("drift", lambda rng: 0.99),
    "disturbance": _scaled("disturbance", lambda rng: 0.99),
    "level": _scaled("level", _larger),
    "rho": _scaled("rho", _larger),
    "narrowed": _narrowed,
    "shrunk": _shrunk,
}


def test_no_tampered_proof_is_accepted(proofs):
    rng, tried, kinds = np.random.default_rng(0), 0, set()
    while tried < COUNT:
        kind, name = rng.choice(list(TAMPERED)), rng.choice(list(LOOPS))
        stated = TAMPERED[kind](proofs[name], rng)
        if stated is None:  # no such thing of this loop
            continue
        found = proofs[name].faults(stated)
        assert found and found[0].startswith("backup_proof.json: "), (kind, name)
        tried, kinds = tried + 1, kinds | {kind}
    assert kinds == set(TAMPERED)


def test_a_changed_gain_or_shape_is_accepted_only_if_its_own_set_is_proved(proofs):
    rng, refused, accepted = np.random.default_rng(1), 0, 0
    for name in ("integrator", "pendulum", "spring", "tanks"):
        one, law = proofs[name], proofs[name].law
        for _ in range(25):
            key = rng.choice(["K", "P"])
            change = 1 + 1e-3 * rng.uniform(-1, 1, getattr(law, key).shape)
            change = (change + change.T) / 2 if key == "P" else change
            other = dataclasses.replace(law, **{key: getattr(law, key) * change})
            if one.faults(law=other):
                refused += 1
                continue
            backup = dataclasses.replace(one.policy.backup, K=other.K, P=other.P)
            half = np.array(one.table["disturbance"]) if "disturbance" in one.table else None
            policy = dataclasses.replace(one.policy, backup=backup)
            again = prove_backup_set(policy, one.ranges, half)
            assert again.level >= one.stated["level"]
            accepted += 1
    assert refused > 40 and refused + accepted == 100


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"kind": 1, "kind": 2}', "[" * 100_000, "NaN"])
def test_a_damaged_file_is_named(proofs, text):
    from scpo_ctrl.verification.proof_file import proof_faults

    one = proofs["integrator"]
    (found,) = proof_faults(text, one.law, one.table)[0]
    assert found.startswith("backup_proof.json")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kind", "cover"), ("proved", False), ("proved", 1), ("level", 0.0), ("level", 2.0), ("level", "all"),
        ("level", -1), ("rho", None), ("boxes", 0), ("boxes", 1.0), ("contraction", None), ("contraction", -1.0),
        ("drift", True), ("disturbance", -1), ("variables", ["speed"]), ("variables", []), ("variables", "mass"),
        ("splits", []), ("splits", [[]]), ("splits", [[1]]), ("splits", [[-4]]), ("splits", [[True]]),
        ("splits", [[-1.0]]), ("splits", [[0], [-1, -1], []]), ("splits", {}), ("splits", [[-2]]), ("splits", [[0]]),
        ("parameters", {}), ("parameters", {"mass": [0.8]}), ("signals", {"mass": [0, 1]}), ("disturbance_half", [0]),
        ("blocks", None), ("more", 1), ("seconds", "none"), ("tilt", 1.0), ("tilt", -0.1), ("tilt", None),
    ],
)  # fmt: skip
def test_a_changed_entry_is_named(proofs, key, value):
    (found,) = proofs["integrator"].faults(proofs["integrator"].stated | {key: value})
    assert key in found or key in ("proved", "level", "splits", "variables")


def test_a_set_that_leaves_a_bound_is_refused(proofs):
    one = proofs["pendulum"]
    narrow = one.policy.plant.replace(u_min=[-0.5], u_max=[0.5])
    (found,) = one.faults(law=dataclasses.replace(one.law, plant=narrow))
    assert "within the bounds of u0" in found
    one = proofs["sine law"]
    narrow = one.policy.plant.replace(u_min=[-0.05], u_max=[0.05])
    (found,) = one.faults(law=dataclasses.replace(one.law, plant=narrow))
    assert "within the bounds of force" in found


def test_a_shape_that_is_not_positive_definite_is_refused(proofs):
    law = proofs["pendulum"].law
    for P in (-law.P, np.diag([1.0, 0.0]), np.array([[1.0, 2.0], [2.0, 1.0]]), np.full((2, 2), np.nan)):
        assert proofs["pendulum"].faults(law=dataclasses.replace(law, P=P))


def test_what_the_mean_proves_is_refused_of_the_jacobian_itself(proofs):
    """Boxes that are closed by the mean along rays, stated to be closed by the Jacobian."""
    one = proofs["wave"]
    places = [(g, i) for g, some in enumerate(one.stated["splits"]) for i, which in enumerate(some) if which == -3]
    assert len(places) > 4
    refused = 0
    for generation, box in places:
        splits = copy.deepcopy(one.stated["splits"])
        splits[generation][box] = -1
        refused += bool(one.faults(one.stated | {"splits": splits}))
    assert refused > len(places) / 2


def test_cones_that_are_counted_narrower_than_they_are_are_refused():
    """Λ with the cone of a box is below the length of every vector that the box sees, and above that of others."""
    from flint import arb, arb_mat

    from scpo_ctrl.verification.rays import cone

    rng = np.random.default_rng(0)
    for _ in range(50):
        Q = np.linalg.qr(rng.normal(size=(4, 4)))[0][:3]
        middle, half = rng.normal(size=3), 0.2 * rng.uniform(size=3)
        low, high = ([arb(float(value)) for value in middle + sign * half] for sign in (-1, 1))
        metric = cone(arb_mat(3, 3, 1), arb_mat(Q.tolist()), low, high, 0.1)
        if metric is None:
            assert np.linalg.norm(half) > 0.2 * np.linalg.norm(middle)
            continue
        L = np.array([[float(entry) for entry in row] for row in metric.tolist()])
        a = middle + half * rng.uniform(-1, 1, (1000, 3))
        v = a @ Q + rng.normal(size=(1000, 1)) * (np.eye(4) - Q.T @ Q)[0]
        assert (np.einsum("ni,ij,nj->n", v, L, v) <= np.square(v).sum(axis=1) * (1 + 1e-12)).all()
        assert np.linalg.eigvalsh(L)[-1] > 1.01


@pytest.fixture(scope="module")
def certified(tmp_path_factory):
    """Return a run with the file of a proof."""
    changes = {"scenarios.parameters": {"mass": [0.9, 1.1]}, "scenarios.disturbance": [1e-4, 1e-4]}
    run = make_run(tmp_path_factory.mktemp("certified"), changes)
    problem = load_result(run).problem
    found = prove_backup_set(problem.policy, *declared_ranges(problem))
    (run / "backup_proof.json").write_text(json.dumps(found.summary(problem.plant)))
    return run


def test_verify_says_what_was_checked_again(certified, run):
    assert verify(certified).backup == (
        "proved, and re-checked (1 box in ball arithmetic): no state of {V <= rho} leaves it"
    )
    assert "backup: proved, and re-checked" in run("verify", certified).out
    assert json.loads(run("verify", certified, "--json").out)["backup"].startswith("proved")


def test_verify_refuses_a_proof_of_something_else(tmp_path, certified, run):
    folder = shutil.copytree(certified, tmp_path / "run")
    stated = json.loads((folder / "backup_proof.json").read_text())
    (folder / "backup_proof.json").write_text(json.dumps(stated | {"rho": 1.01 * stated["rho"]}))
    assert "backup_proof.json: rho = " in faults(folder)
    outcome = run("verify", folder)
    assert outcome.status == 1 and "backup_proof.json: rho = " in outcome.err


@pytest.mark.table(4)
@pytest.mark.parametrize("kind", ["lqi, one step from a cloud", "one step from a cloud", "two inputs", "lqg"])
def test_proofs_of_runs_are_accepted_with_all_of_them_computed_anew(tmp_path, kind):
    changes = KINDS[kind] if kind in KINDS else CONTROLLERS[kind]
    run = make_run(tmp_path / ("two" if kind == "two inputs" else "one"), changes)
    problem = load_result(run).problem
    found = prove_backup_set(problem.policy, *declared_ranges(problem))
    (run / "backup_proof.json").write_text(json.dumps(found.summary(problem.plant)))
    checked = verify(run)
    assert found.proved and checked.faults == () and checked.backup.startswith("proved, and re-checked")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"scenarios.parameters": {"mass": [0.8, 1.1]}}, "parameters = "),
        ({"scenarios.disturbance": [1e-4, 1.01e-4]}, "disturbance_half = "),
        ({"backup.R": [10.01]}, "rho = "),
    ],
)
def test_verify_refuses_the_proof_of_another_run(tmp_path, certified, changes, named):
    own = {"scenarios.parameters": {"mass": [0.9, 1.1]}, "scenarios.disturbance": [1e-4, 1e-4]}
    other = make_run(tmp_path / "other", own | changes)
    shutil.copy(certified / "backup_proof.json", other)
    assert f"backup_proof.json: {named}" in faults(other)
