"""The checker of polytope_proof.json: it takes what is true, and nothing that was tampered with."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
from polytopes import LOOPS
from proved_loops import StatedLaw

from scpo_ctrl.verification.polytope_file import polytope_faults

TRIES = 60


@pytest.fixture(scope="module")
def loops():
    return {name: (one := make(), one.stated) for name, make in LOOPS.items()}


@pytest.mark.parametrize("name", LOOPS)
def test_a_true_proof_is_accepted(loops, name):
    one, stated = loops[name]
    assert one.faults(stated) == []
    assert len(stated["multipliers"]) == 2 * one.problem.plant.nx + 2 + len(stated["facets"]) * len(one.polytope.loop.A)


def _facet(stated, rng):
    """Move a facet outwards, by more than the proof leaves."""
    k = int(rng.integers(len(stated["facets"])))
    stated["facets"][k] = [value * 0.995 for value in stated["facets"][k]]


def _turned(stated, rng):
    k = int(rng.integers(len(stated["facets"])))
    first, *rest = stated["facets"][k]
    stated["facets"][k] = [first * 0.99 + 0.01 * sum(map(abs, rest)), *(value * 0.97 for value in rest)]


def _removed(stated, rng):
    """Leave a facet out, with its rows and its multipliers."""
    k, count = int(rng.integers(len(stated["facets"]))), len(stated["facets"])
    first = len(stated["multipliers"]) - count * (len(stated["multipliers"]) // count)
    kept = [row for i, row in enumerate(stated["multipliers"]) if i < first or (i - first) % count != k]
    del stated["facets"][k]
    for row in kept:
        pairs = [(i - (i > k), value) for i, value in zip(row["of"], row["are"], strict=True) if i != k]
        row["of"], row["are"] = [i for i, _ in pairs], [value for _, value in pairs]
    stated["multipliers"] = kept


def _weight(stated, rng):
    row = stated["multipliers"][int(rng.integers(len(stated["multipliers"])))]
    row["are"] = (
        [value * 1.001 for value in row["are"]] if rng.uniform() < 0.5 else [value * 0.99 for value in row["are"]]
    )


def _negative(stated, rng):
    row = stated["multipliers"][int(rng.integers(len(stated["multipliers"])))]
    row["are"][int(rng.integers(len(row["are"])))] *= -1


def _other_facet(stated, rng):
    row = stated["multipliers"][int(rng.integers(len(stated["multipliers"])))]
    row["of"] = sorted(int(k) for k in rng.choice(len(stated["facets"]), len(row["of"]), replace=False))
    row["are"] = [value + 0.01 for value in row["are"]]


def _extent(stated, rng):
    k = int(rng.integers(len(stated["extent"])))
    stated["extent"][k] *= 0.99


def _swapped(stated, rng):
    """Exchange multipliers of an axis with those of the other way."""
    rows, nx = stated["multipliers"], len(stated["extent"])
    k = int(rng.integers(nx))
    rows[k], rows[k + nx] = rows[k + nx], rows[k]


FAULTS = (_facet, _turned, _removed, _weight, _negative, _other_facet, _extent, _swapped)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", LOOPS)
def test_tampering_is_refused(loops, name, fault):
    one, stated = loops[name]
    rng, accepted = np.random.default_rng(11), 0
    for _ in range(TRIES // len(LOOPS)):
        other = copy.deepcopy(stated)
        fault(other, rng)
        found = one.faults(other)
        accepted += found == [] and other != stated and not _holds(one, other)
        assert found == [] or found[0].startswith("polytope_proof.json: ")
    assert accepted == 0


def _holds(one, stated):
    """Whether what is stated is true all the same: a multiplier that was not needed in full, or a facet in no way."""
    F, rows = np.array(stated["facets"]), stated["multipliers"]
    H = np.zeros((len(rows), len(F)))
    for k, row in enumerate(rows):
        H[k, row["of"]] = row["are"]
    backup, plant, loop = one.problem.backup, one.problem.plant, one.polytope.loop
    steps = np.einsum("mi,kij->kmj", F, loop.A).reshape(-1, plant.nx)
    axes = np.vstack([np.eye(plant.nx), -np.eye(plant.nx), -backup.K, backup.K])
    e = np.array(stated["extent"])
    found = H.sum(axis=1) + np.abs(np.vstack([axes, steps]) - H @ F) @ e
    most = np.concatenate(
        [
            np.minimum(e, plant.x_max - plant.x_eq), np.minimum(e, plant.x_eq - plant.x_min),
            plant.u_max - plant.u_eq, plant.u_eq - plant.u_min,
            (1 - loop.drift @ F.T - np.abs(F) @ loop.push).ravel(),
        ]
    )  # fmt: skip
    return (H >= 0).all() and (found <= most * (1 + 1e-12)).all()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "backup"}, "kind = "),
        ({"facets": []}, "facets = "),
        ({"facets": [[1.0]]}, "facets = "),
        ({"extent": [1.0, float("inf")]}, "is no number"),
        ({"extent": [0.0, 1.0]}, "extent = "),
        ({"left": -1.0}, "left = "),
        ({"left": 0.5}, "left = 0.5, it may be"),
        ({"cells": [0]}, "cells = "),
        ({"cells": [1000]}, "rows, and"),
        ({"inverse": [1]}, "inverse = "),
        ({"inverse": [False]}, "between is not shown for"),
        ({"between": [-1.0, 0.0]}, "between = "),
        ({"multipliers": [{"of": [0], "are": []}]}, "multipliers = "),
        ({"multipliers": [{"of": [1, 0], "are": [1.0, 1.0]}]}, "multipliers = "),
        ({"multipliers": []}, "multipliers are of 0 rows"),
        ({"parameters": {"mass": [0.5, 1.4]}}, "parameters = "),
        ({"disturbance_half": [0.0, 0.0]}, "disturbance_half = "),
        ({"more": 1}, "keys are missing or too many: more"),
    ],
)
def test_what_is_not_of_the_form_or_the_run_is_named(loops, change, says):
    one, stated = loops["R3, mass"]
    (found,) = one.faults(stated | change)
    assert found.startswith("polytope_proof.json") and says in found


def test_another_loop_is_refused(loops):
    one, stated = loops["R3, mass, pushed"]
    backup, plant = one.problem.backup, one.problem.plant
    law = StatedLaw(plant, backup.K, backup.P, backup.rho)
    for other in (replace(law, K=0.9 * backup.K), replace(law, K=1.2 * backup.K)):
        assert "it is not shown that the set is within" in one.faults(stated, law=other)[0]
    wider = one.table | {"disturbance": [1e-3, 0.0102]}
    assert one.faults(stated | {"disturbance_half": wider["disturbance"]}, table=wider)
    wider = one.table | {"parameters": {"mass": [0.8, 1.31]}}
    assert one.faults(stated | {"parameters": wider["parameters"]}, table=wider)
    assert polytope_faults("{", law, one.table)[0][0].startswith("polytope_proof.json is damaged")
    assert polytope_faults(json.dumps([1]), law, one.table)[0] and polytope_faults(None, law, {}) == ([], "")


def test_bends_between_points_are_shown(loops):
    one, stated = loops["DC motor"]
    assert max(stated["between"]) > 0
    for k in range(2):
        other = copy.deepcopy(stated)
        other["between"][k] *= 0.999
        assert "between is not shown for" in one.faults(other)[0]
    assert one.faults(stated | {"inverse": [not way for way in stated["inverse"]]})
