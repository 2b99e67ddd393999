"""The table of proofs of the gallery: its rows, and what they count."""

from dataclasses import replace
from pathlib import Path

import gallery_proofs as table
import numpy as np
import pytest

from scpo_ctrl import AdaptOptions
from scpo_ctrl.proof.backup_set import declared_ranges, prove_backup_set

DOCS = Path(__file__).parents[2] / "docs" / "gallery.md"


def test_every_loop_has_a_row_in_the_docs():
    lines = DOCS.read_text(encoding="utf-8").splitlines()
    first = lines.index(f"| {' | '.join(table.HEADS)} |")
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines[first + 2 :][: len(table.LOOPS)]] == [
        *table.LOOPS
    ]


@pytest.fixture
def _short(monkeypatch):
    monkeypatch.setattr(table, "OPTIONS", AdaptOptions(steps=2, audit=False))
    monkeypatch.setattr(table, "EPISODES", 50)


@pytest.mark.usefixtures("_short")
def test_a_row_of_a_proved_loop():
    found = dict(zip(table.HEADS, table.row("lane_keeping", 20), strict=True))
    assert (found["evidence"], found["proved"], found["volume"], found["in the way"]) == ("proved", "rho", "1", "")
    assert found["acts, %"] == "0" and float(found["left, %"]) == pytest.approx(100)


@pytest.mark.long
@pytest.mark.usefixtures("_short")
def test_a_row_of_one_whose_outputs_are_less_than_its_state():
    refuted = dict(zip(table.HEADS, table.row("heater", 20), strict=True))
    assert refuted["evidence"] == "refuted" and refuted["acts, %"] == "not proved" and refuted["cover"] == "5 states"


def test_a_volume_is_that_of_the_part_that_is_proved():
    loop = table.LOOPS["R3"]
    problem = loop.problem()
    proof = prove_backup_set(problem.policy, *declared_ranges(problem))
    assert float(table.part(loop, problem, proof)) == 1
    assert float(table.part(loop, problem, replace(proof, level=0.25))) == pytest.approx(0.25)  # of two states
    half = table.Loop(loop.problem, lambda: replace(problem.backup, rho=problem.backup.rho / 2))
    assert float(table.part(half, problem, proof)) == pytest.approx(2)
    assert np.isfinite(proof.contraction)
