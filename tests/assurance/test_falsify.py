"""falsify: planted violations are found, clean policies are not accused, and what is found is learned."""

from __future__ import annotations

import tomllib

import numpy as np
import pytest
from planted import KINDS, interval_problem, planted
from problem_files import BASE
from run_folders import make_run

from scpo_ctrl import verify
from scpo_ctrl.assurance import Fresh, falsify
from scpo_ctrl.loop import sizes
from scpo_ctrl.record.config import read_problem_file
from scpo_ctrl.record.scenario_file import with_learned


@pytest.mark.table(2)
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_violation_is_found(kind, seed):
    case = planted(kind, seed, clean=False)
    found = falsify(case.problem, case.theta, budget=200_000)
    assert found.found
    assert found.excess > 0
    again = Fresh.of(case.problem, case.theta, found.scenario)
    assert again.worst[0] == found.worst
    assert again.row[0] == found.row
    near = case.problem.scenarios.declared.nearest(found.scenario)
    for key in ("x0", "p", "w"):
        assert np.allclose(getattr(near, key), getattr(found.scenario, key), rtol=1e-12, atol=1e-15)


@pytest.mark.table(3)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_a_clean_policy_is_not_accused(kind, seed):
    case = planted(kind, seed, clean=True)
    found = falsify(case.problem, case.theta, budget=20_000)
    assert not found.found
    assert found.rollouts <= 20_000
    assert found.sentence().startswith("no violation found in")
    assert "that is no proof" in found.sentence()


def test_long_rollouts_are_explored_in_parts_that_fit(monkeypatch):
    case = planted(KINDS[0], 0, clean=True)
    plant, horizon = case.problem.plant, case.problem.scenarios.horizon
    monkeypatch.setattr(sizes, "MOST_NUMBERS", 300 * (horizon + 1) * (plant.nx + plant.nu))
    found = falsify(case.problem, case.theta, budget=20_000)  # explores in quarters, of more than 300
    assert not found.found and 10_000 < found.rollouts <= 20_000


@pytest.mark.parametrize("budget", [1, 7, 300, 3000])
def test_the_budget_is_kept(budget):
    case = planted("disturbance", 0, clean=True)
    assert 1 <= falsify(case.problem, case.theta, budget=budget).rollouts <= budget


def test_the_same_seed_finds_the_same():
    case = planted("disturbance", 1, clean=True)
    one, other = (falsify(case.problem, case.theta, budget=6000, seed=4) for _ in range(2))
    assert (one.worst, one.rollouts, one.metric) == (other.worst, other.rollouts, other.metric)
    assert np.array_equal(one.scenario.w, other.scenario.w)


def test_a_black_box_is_attacked_without_gradients():
    black_box = interval_problem(1e-4, simulator=lambda x, u, p: 0.5 * x + u)
    found = falsify(black_box, black_box.theta_initial, budget=30_000)
    assert found.found
    clean = interval_problem(-1e-6, simulator=lambda x, u, p: 0.5 * x + u)
    assert not falsify(clean, clean.theta_initial, budget=5000).found


def test_what_is_found_is_written_drawn_and_learned(tmp_path, run):
    folder = make_run(tmp_path, {"adapt.steps": 5, "scenarios.count": 4})
    done = run("falsify", folder, "--budget", "20000")
    assert done.status == 1
    scenario = tomllib.loads((folder / "falsified.toml").read_text())
    assert scenario["violation"]["by"] > 0
    assert scenario["violation"]["metric"].startswith("t = ")
    assert (folder / "falsified.png").read_bytes().startswith(b"\x89PNG")
    assert verify(folder).passed  # files of a user's beside it do not matter
    again = tmp_path / "again"
    learned = run("adapt", tmp_path / "problem.toml", "--out", again, "--learn", folder / "falsified.toml")
    assert learned.status == 0, learned.err
    file = read_problem_file(again / "problem.toml")
    assert file.problem.scenarios.count == 5
    assert file.problem.scenarios.x0[-1].tolist() == scenario["scenario"]["initial_state"]
    assert verify(again).passed
    theta = np.load(again / "theta.npy")
    assert (file.problem.metrics(theta) <= 0).all()  # the scenario that broke the first policy holds the second


def test_nothing_is_written_where_nothing_is_found(tmp_path, run):
    folder = make_run(tmp_path, {"adapt.steps": 0, "scenarios.horizon": 30})
    done = run("falsify", folder, "--budget", "2000")
    assert done.status == 0
    assert "that is no proof" in done.out
    assert not (folder / "falsified.toml").exists()


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("nonsense", "TOML"),
        ("[other]", "scenario"),
        ("[scenario]\nhorizon = 8", "initial_state"),
        ("[scenario]\ninitial_state = [1.0]", "initial_state"),
        ("[scenario]\ninitial_state = [1.0, nan]", "initial_state"),
        ("[scenario]\ninitial_state = [9.0, 0.0]", "bounds"),
        ("[scenario]\ninitial_state = [1.0, 0.0]\nhorizon = 9", "horizon"),
        ("[scenario]\ninitial_state = [1.0, 0.0]\nspeed = 1", "speed"),
        ("[scenario]\ninitial_state = [1.0, 0.0]\nparameters = {weight = 1.0}", "parameters"),
        ("[scenario]\ninitial_state = [1.0, 0.0]\nparameters = {mass = 3.0}", "ranges"),
        ("[scenario]\ninitial_state = [1.0, 0.0]\ndisturbance = [[0.1, 0.1]]", "disturbance"),
    ],
)
def test_a_scenario_file_that_does_not_hold_is_refused_with_its_name(tmp_path, run, text, word):
    from problem_files import write

    (tmp_path / "worst.toml").write_text(text)
    problem = write(tmp_path / "problem.toml", None, BASE)
    done = run("adapt", problem, "--out", tmp_path / "run", "--learn", tmp_path / "worst.toml")
    assert done.status == 2
    assert "worst.toml" in done.err
    assert word in done.err
    assert not (tmp_path / "run").exists()


def test_learned_scenarios_stay_after_more_are_learned(tmp_path):
    from problem_files import write

    for i, x in enumerate(("[0.5, 0.0]", "[-0.5, 0.1]")):
        (tmp_path / f"{i}.toml").write_text(f"[scenario]\ninitial_state = {x}\n")
    file = read_problem_file(write(tmp_path / "problem.toml"))
    one = with_learned(file, [tmp_path / "0.toml"])
    both = with_learned(one, [tmp_path / "1.toml"])
    assert both.problem.scenarios.x0[-2:].tolist() == [[0.5, 0.0], [-0.5, 0.1]]
    assert both.learned.scenarios.count == 2
