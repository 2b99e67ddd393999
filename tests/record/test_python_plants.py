"""Plants that the user's Python makes: run for adapt alone, kept as data, and never run from a RUN folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from problem_files import write
from run_folders import content, faults, same_arrays

import scpo_ctrl as sc
from scpo_ctrl.errors import ProblemFileError
from scpo_ctrl.models import cart_pole_ode, discretise, input_delay
from scpo_ctrl.models.plain import to_plain
from scpo_ctrl.record.files import digest, load_arrays, read_problem
from scpo_ctrl.record.recorded import RecordedPlant

CODE = """
from pathlib import Path

from scpo_ctrl.models import double_integrator, input_delay

with (Path(__file__).parent / "times run").open("a") as file:
    file.write("x")


def make_plant():
    return input_delay(double_integrator(), 1)


def slow():
    return input_delay(double_integrator(velocity_max=1.0), 1)
"""
CHANGES = {
    "plant": {"kind": "python", "file": "plant.py"},
    "backup": {"kind": "lqr", "Q": [0.1, 0.1, 0.1], "R": [10.0]},
    "objective": {"kind": "quadratic", "Q": [1.0, 0.1, 0.0], "R": [0.05]},
    "scenarios.parameters": {"mass": [0.95, 1.05]},
}


def times_run(folder: Path) -> int:
    path = folder / "times run"
    return len(path.read_text()) if path.exists() else 0


@pytest.fixture
def problem(tmp_path):
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "plant.py").write_text(CODE)
    return write(tmp_path / "user" / "problem.toml", CHANGES)


@pytest.fixture
def adapted(problem, tmp_path, run):
    """The RUN of the problem; its Python would stop whatever runs it once more."""
    assert run("adapt", problem, "--out", tmp_path / "run").status == 0
    assert times_run(problem.parent) == 1
    return tmp_path / "run"


def test_only_adapt_runs_the_python(adapted, problem, run, tmp_path):
    (problem.parent / "plant.py").write_text("raise SystemExit('run once more')")
    (adapted / "plant.py").write_text("raise SystemExit('run from a RUN folder')")
    assert sc.verify(adapted).passed
    assert sc.load_result(adapted).problem.plant.x_labels[2] == "force applied next"
    for command in (["verify"], ["report"], ["export", "--out", tmp_path / "c"], ["falsify", "--budget", "200"]):
        assert run(command[0], adapted, *command[1:]).status in (0, 1), command
    assert run("adapt", adapted / "problem.toml", "--out", tmp_path / "again", "--steps", 1).status == 0
    assert run("adapt", problem, "--out", tmp_path / "other").line.endswith(
        "plant.py: raised SystemExit: run once more"
    )
    assert not (tmp_path / "other").exists()


def test_python_that_goes_elsewhere_takes_nothing_with_it(problem, run, tmp_path, monkeypatch):
    plant = problem.parent / "plant.py"
    plant.write_text(f"import os\nos.chdir({str(tmp_path.parent)!r})\n" + plant.read_text())
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert run("adapt", problem, "--out", "run", "--steps", 0).status == 0
    assert (tmp_path / "here" / "run" / "theta.npy").is_file() and not (tmp_path.parent / "run").exists()


def test_the_plant_in_the_folder_is_the_one_that_was_made(adapted):
    made, kept = input_delay(sc.models.double_integrator(), 1), sc.load_result(adapted).problem.plant
    assert json.loads((adapted / "plant.json").read_text()) == to_plain(made)
    point = ([0.3, -0.2, 0.7], [0.1], [1.02])
    np.testing.assert_array_equal(made.function(*point), kept.function(*point))


def test_a_run_goes_on_to_the_same_bits(adapted, problem, run, tmp_path):
    assert run("adapt", problem, "--out", tmp_path / "in two", "--steps", 2).status == 0
    assert run("adapt", problem, "--out", tmp_path / "in two", "--resume").status == 0
    same_arrays(adapted, tmp_path / "in two")
    before = content(adapted)["plant.json"]
    assert run("adapt", adapted / "problem.toml", "--out", adapted, "--resume", "--steps", 7).status == 0
    assert content(adapted)["plant.json"] == before


def test_verify_runs_a_problem_files_python_only_if_trusted(adapted, problem, run):
    refused = run("verify", adapted, "--problem", problem)
    assert refused.status == 2 and "[plant] kind is 'python', which runs" in refused.line and "--trust" in refused.line
    assert times_run(problem.parent) == 1
    assert run("verify", adapted, "--problem", problem, "--trust").status == 0
    assert times_run(problem.parent) == 2
    changed = write(problem.parent / "other.toml", CHANGES | {"plant.function": "slow"})
    found = run("verify", adapted, "--problem", changed, "--trust")
    assert found.status == 1 and "the run is of another problem: [plant] sha256 is" in found.err
    usage = run("verify", adapted, "--trust")
    assert usage.status == 2 and "--trust goes with --problem" in usage.line


def sign(run: Path) -> None:
    """Make the digest anew, as somebody would who knows how."""
    arrays = load_arrays(run)
    arrays.pop("digest")
    total = digest(arrays, *read_problem(run))
    np.savez(run / "history.npz", **arrays, digest=np.array(total))
    summary = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps(summary | {"digest": total}))


def test_a_folder_that_names_python_is_refused_by_all_that_reads_it(adapted, run, tmp_path):
    (adapted / "plant.py").write_text(CODE)
    text = (adapted / "problem.toml").read_text()
    before, after = text.index("[plant]"), text.index("[backup]")
    (adapted / "problem.toml").write_text(
        text[:before] + '[plant]\nkind = "python"\nfile = "plant.py"\n\n' + text[after:]
    )
    sign(adapted)
    for command in (["verify"], ["report"], ["export", "--out", tmp_path / "c"], ["falsify", "--budget", "200"]):
        done = run(command[0], adapted, *command[1:])
        assert done.status == 2 and "kind is 'python'" in done.line, command
    with pytest.raises(ProblemFileError, match="kind is 'python'"):
        sc.load_result(adapted)
    with pytest.raises(ProblemFileError, match="kind is 'python'"):
        sc.verify(adapted, trust=True)  # which is about the problem file that is asked for
    assert times_run(adapted) == 0


def test_a_plant_that_was_changed_is_found(adapted, run):
    path, text = adapted / "plant.json", (adapted / "plant.json").read_text()
    other = text.replace('["constant", 0.1]', '["constant", 0.11]')
    assert other != text
    path.write_text(other)
    assert "plant.json: was changed: its SHA-256 is" in run("verify", adapted).line
    problem_text = (adapted / "problem.toml").read_text()
    table = RecordedPlant.read(path).table
    old = next(line for line in problem_text.splitlines() if line.startswith("sha256"))
    (adapted / "problem.toml").write_text(problem_text.replace(old, f'sha256 = "{table["sha256"]}"'))
    assert "digest differs" in faults(adapted)
    sign(adapted)
    assert "committed policy" in faults(adapted) or "scenario" in faults(adapted)  # its numbers are of another plant


@pytest.mark.parametrize("damage", ["{", "[]", "", "[" * 100_000])
def test_a_damaged_plant_is_named(adapted, run, damage):
    (adapted / "plant.json").write_text(damage)
    text = (adapted / "problem.toml").read_text()
    (adapted / "problem.toml").write_text("\n".join(l for l in text.splitlines() if not l.startswith("sha256")))  # noqa: E741
    for command in ("verify", "report"):
        assert "it is damaged" in run(command, adapted).line
    (adapted / "plant.json").unlink()
    assert "plant.json: cannot be read: No such file" in run("report", adapted).line


def test_another_plant_is_not_resumed(adapted, problem, run):
    (problem.parent / "plant.py").write_text(CODE.replace("double_integrator()", "double_integrator(dt=0.2)"))
    assert "its problem differs in [plant] sha256" in run("adapt", problem, "--out", adapted, "--resume").line


def test_an_overwritten_run_leaves_no_plant_behind(adapted, run, tmp_path):
    assert run("adapt", write(tmp_path / "plain.toml"), "--out", adapted, "--overwrite").status == 0
    assert "plant.json" not in content(adapted)
    assert sc.verify(adapted).passed


def test_a_plant_file_of_any_name_is_read(adapted, problem, run, tmp_path):
    shutil.copy(adapted / "plant.json", tmp_path / "mine.json")
    changes = CHANGES | {"plant": {"kind": "recorded", "file": "mine.json"}}
    other = write(tmp_path / "mine.toml", changes)
    assert run("verify", adapted, "--problem", other).status == 0


@pytest.mark.parametrize(
    ("code", "table", "words"),
    [
        ("1/0", {}, "plant.py: raised ZeroDivisionError: division by zero"),
        ("def make_plant(:", {}, "plant.py: raised SyntaxError"),
        ("def make_plant():\n    raise KeyError('k')", {}, "raised KeyError: 'k'"),
        ("def make_plant():\n    open('missing')", {}, "cannot be read or run: No such file"),
        ("def make_plant():\n    return 3", {}, "make_plant returned a int, expected a Plant of scpo_ctrl.models"),
        ("make_plant = 3", {}, "has no function 'make_plant'"),
        ("x = 1", {"function": "plant"}, "has no function 'plant'"),
        ("x = 1", {"function": 3}, "function is 3"),
        ("x = 1", {"file": "no.py"}, "no.py: cannot be read or run: No such file"),
        ("x = 1", {"file": ""}, "file is '', expected the name of a file"),
        ("x = 1", {"files": "plant.py"}, "unknown key 'files'; known: file, kind, function"),
        (
            "from scpo_ctrl import models\ndef make_plant():\n    models.make_plant('no')",
            {},
            "unknown plant 'no'",
        ),
    ],
)
def test_faults_of_the_python_are_one_line(problem, run, tmp_path, code, table, words):
    (problem.parent / "plant.py").write_text(code)
    write(problem, CHANGES | {"plant": CHANGES["plant"] | table})
    done = run("adapt", problem, "--out", tmp_path / "run")
    assert done.status == 2 and f"{problem}: [plant] " in done.line and words in done.line
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_a_nonlinear_plant_with_parameters_holds_too(tmp_path, run):
    (tmp_path / "plant.py").write_text(
        "from scpo_ctrl.models import cart_pole_ode, discretise\n\n"
        "def make_plant():\n    return discretise(cart_pole_ode(), 1 / 15, tolerance=1e-6)\n"
    )
    changes = {
        "plant": {"kind": "python", "file": "plant.py"},
        "backup": {"kind": "lqr", "Q": [1.0] * 4, "R": [1.0]},
        "objective": {"kind": "quadratic", "Q": [1.0, 0.1, 1.0, 0.1], "R": [0.01]},
        "scenarios.parameters": {"pole_mass": [0.05, 0.15]},
    }
    problem = write(tmp_path / "problem.toml", changes)
    assert run("adapt", problem, "--out", tmp_path / "run").status == 0
    assert run("verify", tmp_path / "run", "--problem", problem, "--trust").status == 0
    plant = sc.load_result(tmp_path / "run").problem.plant
    exact = discretise(cart_pole_ode(), 1 / 15, substeps=64)
    point = ([0.1, 0.2, 0.1, 0.3], [2.0], plant.p_nominal)
    np.testing.assert_allclose(plant.function(*point), exact.function(*point), atol=1e-7)
