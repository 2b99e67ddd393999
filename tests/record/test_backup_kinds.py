"""Section [backup]: a level set that is designed, a gain that is given, and what is wrong with them."""

import json

import numpy as np
import pytest
from problem_files import write

import scpo_ctrl as sc
from scpo_ctrl.errors import ProblemFileError, ScpoError
from scpo_ctrl.record.config import read_problem_file

LMI = {"backup": {"kind": "lmi"}, "scenarios.level": 0.4}


def test_a_designed_set_is_recorded_as_numbers_that_make_it_again(tmp_path):
    file = read_problem_file(write(tmp_path / "p.toml", LMI))
    table = file.tables["backup"]
    assert set(table) == {"kind", "decay", "K", "P", "rho"} and table["decay"] == 0.99
    again = read_problem_file(write(tmp_path / "q.toml", {"backup": table, "scenarios.level": 0.4}))
    for key in ("K", "P", "rho"):
        assert np.array_equal(getattr(again.problem.backup, key), getattr(file.problem.backup, key))
    assert again.problem.backup.evidence == file.problem.backup.evidence == "proved"


def test_a_gain(tmp_path):
    changes = {"backup": {"kind": "gain", "K": [[0.1, 0.5]]}, "scenarios.level": 0.4}
    file = read_problem_file(write(tmp_path / "p.toml", changes))
    assert np.array_equal(file.problem.backup.K, [[0.1, 0.5]]) and file.problem.backup.evidence == "proved"
    assert set(file.tables["backup"]) == {"kind", "K", "P", "rho"}
    kept = {"backup": {"kind": "lmi", "K": [[0.1, 0.5]]}, "scenarios.level": 0.4}
    designed = read_problem_file(write(tmp_path / "q.toml", kept)).problem.backup
    assert np.array_equal(designed.K, [[0.1, 0.5]])
    assert np.linalg.det(designed.P / designed.rho) < np.linalg.det(file.problem.backup.P / file.problem.backup.rho)


@pytest.mark.parametrize(
    ("backup", "words"),
    [
        ({"kind": "lmi", "Q": [1.0, 1.0]}, "Q"),
        ({"kind": "lmi", "decay": 1.5}, r"decay = 1.5, expected a number in \(0, 1\)"),
        ({"kind": "lmi", "rho": 1.0}, "rho is given, but not P"),
        ({"kind": "lmi", "P": [[1.0, 0.0], [0.0, 1.0]], "rho": 1.0}, "P is given, but not K"),
        ({"kind": "gain"}, "K"),
        ({"kind": "gain", "K": [[1.0]]}, "K"),
        ({"kind": "gain", "K": [[-1.0, 0.0]]}, "is not stable at rest"),
        ({"kind": "gain", "K": [[0.1, 0.5]], "P": [[1.0, 0.0], [0.0, 1.0]], "rho": 0.1}, "V = x'Px grows"),
        ({"kind": "gain", "K": "much"}, "K"),
    ],
)
def test_wrong_values_are_named(tmp_path, backup, words):
    with pytest.raises(ScpoError, match=rf"(?s)\[backup\].*{words}"):
        read_problem_file(write(tmp_path / "p.toml", {"backup": backup}))


def test_what_cannot_be_proved_says_what_is_in_the_way(tmp_path, run):
    wide = LMI | {"scenarios.parameters": {"mass": [0.01, 100.0]}}
    outcome = run("adapt", write(tmp_path / "p.toml", wide), "--out", tmp_path / "run")
    assert outcome.status in (1, 2) and "no level set of plant 'double_integrator' is proved" in outcome.line
    assert not (tmp_path / "run").exists()


def test_a_run_on_a_designed_set_is_proved_for_its_disturbances(tmp_path, run):
    changes = LMI | {"scenarios.parameters": {"mass": [0.9, 1.1]}, "scenarios.disturbance": [0.0, 0.001]}
    assert run("adapt", write(tmp_path / "p.toml", changes), "--out", tmp_path / "run").status == 0
    assert run("certify", tmp_path / "run", "--kind", "backup").status == 0
    proof = json.loads((tmp_path / "run" / "backup_proof.json").read_text())
    assert proof["proved"] and proof["disturbance"] > 0 and proof["parameters"] == {"mass": [0.9, 1.1]}
    assert sc.verify(tmp_path / "run").passed


def test_a_section_without_kind_is_refused(tmp_path):
    with pytest.raises(ProblemFileError, match=r"\[backup\]"):
        read_problem_file(write(tmp_path / "p.toml", {"backup": {"K": [[0.1, 0.5]]}}))
