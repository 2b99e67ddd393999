"""Runs under references that vary, forged by somebody who makes all digests anew; sequences from CSV; bad signals."""

from __future__ import annotations

import copy
import re
import shutil
import tomllib

import numpy as np
import pytest
import tomli_w
from problem_files import CONTROLLERS, EQUATIONS_PLANT, write
from run_folders import faults, make_run, rewrite, same_arrays

import scpo_ctrl as sc
from scpo_ctrl.errors import DomainError
from scpo_ctrl.record.files import load_arrays

SIGNALS = CONTROLLERS["pid, signals"]
STEP = SIGNALS["policy"]["reference"]["position reference"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("signals"), SIGNALS)


@pytest.fixture
def folder(recorded, tmp_path):
    return shutil.copytree(recorded, tmp_path / "run")


def edited(run, edit):
    """Change problem.toml, and sign the run again."""
    tables = tomllib.loads((run / "problem.toml").read_text())
    edit(tables)
    (run / "problem.toml").write_text(tomli_w.dumps(tables))
    rewrite(run, sign=True)
    return run


def test_the_record_passes_and_is_of_its_problem_file(recorded):
    assert sc.verify(recorded).faults == ()
    assert sc.verify(recorded, problem=recorded.parent / "problem.toml").faults == ()
    problem = sc.load_result(recorded).problem
    assert problem.plant.p_labels[-4:] == ("noise of position", "mass", "position reference", "time")


def test_another_range_is_found(folder):
    def wider(tables):
        tables["policy"]["reference"]["position reference"]["after"] = [-0.5, 0.6]

    assert "position reference after are not those of problem.toml" in faults(edited(folder, wider))


def test_another_instant_is_found(folder):
    def later(tables):
        tables["policy"]["reference"]["position reference"]["at"] = [0.3, 0.6]

    assert "position reference at are not those of problem.toml" in faults(edited(folder, later))


def test_another_ramp_of_the_plant_is_found(folder):
    def faster(tables):
        tables["plant"]["signals"]["mass"]["over"] = 0.1

    assert "objective" in faults(edited(folder, faster))


def test_an_end_that_is_not_that_of_the_signal_is_found(folder):
    p = load_arrays(folder)["scenario_p"].copy()
    p[0, -2] += 0.1
    rewrite(folder, sign=True, scenario_p=p)
    assert "position reference are not those" in faults(folder)


def test_a_run_goes_on_to_the_same_bits(recorded, run, tmp_path):
    part, problem = tmp_path / "part", recorded.parent / "problem.toml"
    assert run("adapt", problem, "--out", part, "--steps", 3).status == 0
    assert run("adapt", problem, "--out", part, "--resume").status == 0
    same_arrays(recorded, part)


def test_a_problem_of_python_is_the_same_run(recorded, tmp_path):
    result = sc.load_result(recorded)
    sc.save_result(result, tmp_path / "again")
    assert sc.verify(tmp_path / "again").faults == ()
    assert sc.load_result(tmp_path / "again").theta.tobytes() == result.theta.tobytes()


def test_a_sequence_of_a_file_is_in_the_record(tmp_path):
    rows = ["other,position reference", *(f"{k},{0.4 * min(k, 10) / 10}" for k in range(15))]
    (tmp_path / "path.csv").write_text("\n".join(rows) + "\n")
    sequence = {"kind": "sequence", "csv": "path.csv", "scale": [-1.0, 1.0]}
    changes = SIGNALS | {"policy": SIGNALS["policy"] | {"reference": {"position reference": sequence}}}
    run = make_run(tmp_path, {**changes, "metrics": {}})
    (tmp_path / "path.csv").unlink()
    assert sc.verify(run).faults == ()
    (signal,) = sc.load_result(run).problem.policy.signals.values()
    np.testing.assert_allclose(signal.samples, 0.4 * np.minimum(np.arange(15), 10) / 10)


@pytest.mark.parametrize(
    ("where", "value", "says"),
    [
        ("policy.reference", {"speed": STEP}, "unknown reference 'speed'; controller 'PID' has: position reference"),
        ("policy.reference", {"position reference": {"kind": "jump"}}, "kind one of: constant, step"),
        ("policy.reference", {"position reference": {"kind": "step", "before": 0.0}}, "'after' of a step is missing"),
        ("policy.reference", {"position reference": STEP | {"over": 1.0}}, "unknown key 'over' of a step"),
        ("policy.reference", {"position reference": STEP | {"at": [1.0, 0.5]}}, "at = \\[1, 0.5\\] is swapped"),
        ("policy.reference", {"position reference": {"kind": "sequence", "csv": "no.csv"}}, "no.csv: cannot be read"),
        ("policy.reference", {"position reference": STEP | {"before": 50.0}}, "comes to rest with position = 50"),
        ("policy.reference", {"position reference": STEP | {"after": 50.0}}, "force <= 1 N .* signals milder"),
        ("plant.signals", {"weight": STEP}, "no such fixed parameter, but mass"),
        ("plant.signals", {"mass": STEP}, "only above 0"),
        ("plant.signals", [STEP], "expected a table of signals by label"),
        ("plant.sensor_noise", [0.1], "half_width"),
        ("plant.input_delay", -1, "steps"),
        ("plant.rate_limit", "fast", "per_step"),
        ("objective", {"kind": "quadratic", "Q": [1.0, 0.1], "R": [0.05]}, "tracking"),
        ("objective", {"kind": "tracking", "Q": [1.0], "error": "cubes"}, "'squares', 'itae'|squares, itae"),
        ("metrics", {"constraints": [{"kind": "undershoot"}]}, "constraints\\[0\\]: kind is .* overshoot, settling"),
        ("metrics", {"constraints": [1, {"kind": "overshoot"}]}, "expected tables \\[\\[metrics.constraints\\]\\]"),
        ("metrics", {"constraints": [{"kind": "overshoot", "reference": [], "most": 1.0}]}, "no reference that varies"),
        ("metrics", {"constraints": [{"kind": "overshoot", "reference": "position reference"}]}, "'most' is missing"),
        ("scenarios.parameters", {"mass": [0.9, 1.1]}, "a signal says what it is"),
    ],
)  # fmt: skip
def test_bad_signals_are_one_line(where, value, says, tmp_path, run):
    path = write(tmp_path / "problem.toml", SIGNALS | {where: value})
    outcome = run("adapt", path, "--out", tmp_path / "run")
    assert outcome.status in (1, 2)
    assert re.search(says, outcome.line), outcome.line
    assert "wrong kind" not in outcome.line
    assert list(tmp_path.iterdir()) == [path]


SCENARIO = '[scenario]\ninitial_state = [0.0, 0.0, 0.0, 0.0]\nparameters = {"position reference after" = 0.5}\n'


def test_learned_scenarios_hold_what_is_drawn_of_signals(tmp_path, run):
    problem, one = write(tmp_path / "problem.toml", SIGNALS), tmp_path / "one.toml"
    one.write_text(SCENARIO)
    assert run("adapt", problem, "--out", tmp_path / "run", "--learn", one).status == 0
    learned = sc.load_result(tmp_path / "run").problem.scenarios
    labels = sc.load_result(tmp_path / "run").problem.plant.p_labels
    assert (learned.count, labels[-2:], learned.p[-1, -2]) == (5, ("position reference", "time"), 0.5)
    assert sc.verify(tmp_path / "run").faults == ()
    with np.load(tmp_path / "run/learned.npz") as archive:
        arrays = dict(archive)
    np.savez(tmp_path / "run/learned.npz", **arrays | {"p": arrays["p"] + np.eye(1, len(labels), len(labels) - 2)})
    text = re.sub('learned_sha256 = "[0-9a-f]+"\n', "", (tmp_path / "run/problem.toml").read_text())
    (tmp_path / "run/problem.toml").write_text(text)
    with pytest.raises(DomainError, match="position reference that is not where its signal ends"):
        sc.load_problem(tmp_path / "run/problem.toml")


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ('"position reference after" = 0.6', "outside the ranges"),
        ('"position reference" = 0.3', "expected some of: noise of position seed, mass after, position reference af"),
        ("time = 0.0", "expected some of"),
    ],
)
def test_a_scenario_of_what_is_not_drawn_is_refused(parameters, says, tmp_path, run):
    problem, one = write(tmp_path / "problem.toml", SIGNALS), tmp_path / "one.toml"
    one.write_text(SCENARIO.replace('"position reference after" = 0.5', parameters))
    outcome = run("adapt", problem, "--out", tmp_path / "run", "--learn", one)
    assert outcome.status == 2 and says in outcome.line
    assert not (tmp_path / "run").exists()


def test_what_falsify_writes_is_what_is_drawn(tmp_path, run):
    wild = SIGNALS["policy"]["reference"]["position reference"] | {"after": [-1.5, 1.5]}
    changes = {"policy.reference": {"position reference": wild}, "metrics": {}, "adapt": {"steps": 8, "audit": False}}
    make_run(tmp_path, SIGNALS | {"scenarios": {"count": 2, "horizon": 20, "level": 0.1}} | changes)
    assert run("falsify", tmp_path / "run", "--budget", 2000).status == 1
    found = tomllib.loads((tmp_path / "run/falsified.toml").read_text())["scenario"]["parameters"]
    assert [*found] == ["noise of position seed", "mass after", "position reference after", "position reference at"]
    again = run(
        "adapt", tmp_path / "problem.toml", "--out", tmp_path / "again", "--learn", tmp_path / "run/falsified.toml"
    )
    assert again.status == 0
    assert sc.verify(tmp_path / "again").faults == ()


def test_a_start_at_rest_that_a_load_moves_counts_in_run_and_verification(tmp_path):
    pendulum = copy.deepcopy(EQUATIONS_PLANT)
    pendulum["states"][1]["derivative"] = "(torque - load)/m - 9.81*sin(angle) - 0.3*rate"
    pendulum["parameters"].append({"name": "load", "nominal": 0.0})
    pendulum["signals"] = {"load": {"kind": "sine", "mean": 0.0, "amplitude": [0.1, 0.3], "frequency": 0.5}}
    given = {
        "plant": pendulum | {"constants": {}},
        "backup": {"kind": "lqr", "Q": [1.0, 0.1], "R": [1.0]},
        "scenarios": {"horizon": 20, "initial_states": [[0.0, 0.0], [0.2, 0.1]], "level": 0.3},
    }
    run = make_run(tmp_path, given)
    assert not sc.load_result(run).problem.at_rest.any()
    assert sc.verify(run).faults == ()
