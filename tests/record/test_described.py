"""Results of problems made in Python: saved with their plant as data, verified, read, resumed and exported."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from problems import control_problem, pendulum
from run_folders import same_arrays

import scpo_ctrl as sc
from scpo_ctrl.codegen import export
from scpo_ctrl.errors import RecordError
from scpo_ctrl.loop.backup import Backup, check_backup
from scpo_ctrl.models import cart_pole, discretise, double_integrator, input_delay, rate_limit
from scpo_ctrl.models.plain import to_plain

FEW = sc.AdaptOptions(steps=3, audit=False)


def mass_on_a_line(plant=None, backup=None, batch=None, objective=None, metrics=None, seed=0, **drawn):
    plant = double_integrator() if plant is None else plant
    backup = sc.lqr(plant, np.full(plant.nx, 0.1), 10.0) if backup is None else backup
    batch = sc.scenarios(plant, backup, **({"horizon": 8, "count": 3} | drawn)) if batch is None else batch
    objective = sc.Quadratic(np.ones(plant.nx), 0.05) if objective is None else objective
    return sc.ControlProblem(sc.Policy(plant, backup, (3,)), batch, objective, metrics, seed=seed)


def limited():
    """Return a pendulum behind a rate limit and a delay, made in Python."""
    plant = input_delay(rate_limit(discretise(pendulum(), 0.05), 0.4), 1)
    backup = sc.lqr(plant, [1.0, 0.1, 0.1, 0.1], 1.0, allow_uncontrollable=True)
    return mass_on_a_line(plant, backup)


def ranges():
    plant, given = cart_pole(), {"pole_mass": (0.05, 0.15)}
    backup = sc.lqr(plant, np.ones(4), 1.0, parameters=given)
    return mass_on_a_line(plant, backup, parameters=given, disturbance=np.full(4, 1e-4), disturbance_fixed=0.5)


RNG = np.random.default_rng(0)
PROBLEMS = {
    "plain": mass_on_a_line,
    "behind a limit and a delay": limited,
    "ranges and disturbances": ranges,
    "initial states": lambda: mass_on_a_line(count=None, initial_states=[[1.0, 0.2], [-2.0, 0.5]]),
    "box, spread": lambda: mass_on_a_line(box=[[-1.0, -0.3], [2.0, 0.3]], draw="low_discrepancy", seed=3),
    "level, spread": lambda: mass_on_a_line(level=0.4, draw="low_discrepancy"),
    "another seed": lambda: mass_on_a_line(seed=5),
    "metrics": lambda: mass_on_a_line(metrics=sc.MetricOptions(contraction=0.95, terminal=True, command=False)),
    "imitation": lambda: mass_on_a_line(
        objective=sc.Imitation(RNG.normal(size=(9, 2)) / 9, RNG.normal(size=(9, 1)) / 9)
    ),
    "matrix weights": lambda: mass_on_a_line(
        backup=sc.lqr(double_integrator(), [[0.1, 0.02], [0.02, 0.1]], [[10.0]], rho=0.5)
    ),
    "linear policy": lambda: control_problem(double_integrator()),
}


@pytest.mark.parametrize("make", PROBLEMS.values(), ids=PROBLEMS)
def test_a_result_is_saved_verified_and_read(tmp_path, make):
    problem = make()
    result = sc.adapt(problem, FEW)
    sc.save_result(result, tmp_path / "run")
    assert sc.verify(tmp_path / "run").passed, sc.verify(tmp_path / "run").faults
    back = sc.load_result(tmp_path / "run")
    np.testing.assert_array_equal(back.theta, result.theta)
    np.testing.assert_allclose(back.problem.metrics(back.theta), problem.metrics(result.theta), rtol=1e-9, atol=1e-12)
    assert back.problem.objective(back.theta) == pytest.approx(problem.objective(result.theta), rel=1e-12)
    for key in ("x0", "p", "w"):
        np.testing.assert_array_equal(getattr(back.problem.scenarios, key), getattr(problem.scenarios, key))
    assert json.loads((tmp_path / "run" / "plant.json").read_text()) == to_plain(problem.plant)


def test_what_was_saved_is_saved_again_to_the_same_bytes(tmp_path):
    result = sc.adapt(limited(), FEW)
    sc.save_result(result, tmp_path / "one")
    sc.save_result(sc.load_result(tmp_path / "one"), tmp_path / "two")
    same_arrays(tmp_path / "one", tmp_path / "two")
    for name in ("problem.toml", "plant.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_longer_run_takes_the_place_of_its_beginning(tmp_path, run):
    problem = mass_on_a_line()
    sc.save_result(sc.adapt(problem, sc.AdaptOptions(steps=2, audit=False)), tmp_path / "run")
    sc.save_result(sc.adapt(problem, FEW), tmp_path / "run")
    assert sc.load_result(tmp_path / "run").steps == 3
    again = run("adapt", tmp_path / "run" / "problem.toml", "--out", tmp_path / "run", "--resume", "--steps", 5)
    assert again.status == 0
    sc.save_result(sc.adapt(problem, sc.AdaptOptions(steps=5, audit=False)), tmp_path / "whole")
    same_arrays(tmp_path / "run", tmp_path / "whole")


def test_an_audited_run_is_verified_and_exported(tmp_path):
    result = sc.adapt(mass_on_a_line(), sc.AdaptOptions(steps=6, guards=8, audit_rollouts=500))
    sc.save_result(result, tmp_path / "run")
    assert sc.verify(tmp_path / "run").passed
    assert export(sc.load_result(tmp_path / "run"), tmp_path / "c", target="host", real="double").margin >= 0


def test_learned_scenarios_come_behind(tmp_path):
    adapter = sc.Adapter(mass_on_a_line(), sc.AdaptOptions(steps=2, audit=False))
    x = np.array([0.4, 0.1])
    for _ in range(12):
        u = adapter.command(x)
        x_next = np.array(adapter.problem.plant.function(x, u, 1.0))[:, 0]
        adapter.observe(x, u, x_next)
        x = x_next
    adapter.learn_scenarios(count=2)
    sc.save_result(adapter.result(), tmp_path / "run")
    assert sc.verify(tmp_path / "run").passed
    assert sc.load_result(tmp_path / "run").problem.scenarios.count == 5


def elsewhere():
    """Return a problem whose backup is of another plant."""
    slow = double_integrator(velocity_max=1.0)
    return mass_on_a_line(double_integrator(), sc.lqr(slow, [0.1, 0.1], 10.0))


def by_hand():
    """Return a problem with a backup that holds nothing in its units: of a plant with other bounds."""
    wide = sc.lqr(double_integrator(velocity_max=3.0), [0.1, 0.1], 10.0)
    return mass_on_a_line(backup=Backup(wide.K, wide.P, wide.rho))


def moved():
    problem = mass_on_a_line()
    return mass_on_a_line(batch=dataclasses.replace(problem.scenarios, x0=problem.scenarios.x0 / 2))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (elsewhere, "its backup is of another plant; design it with lqr"),
        (by_hand, "its backup does not hold for its scenarios"),
        (moved, "do not begin with those of its problem file"),
        (lambda: mass_on_a_line(batch=sc.Scenarios(np.zeros((1, 2)) + 0.1, np.ones((1, 1)), np.zeros((1, 8, 0)), 8)),
         "its scenarios are arrays; draw them with scpo_ctrl.scenarios"),
        (lambda: mass_on_a_line(objective=sc.UserObjective(lambda t: (float(t @ t), 2 * t))),
         "its objective is the user's own; give a Quadratic"),
    ],
    ids=["elsewhere", "by hand", "moved", "arrays", "own objective"],
)  # fmt: skip
def test_what_no_problem_file_can_describe_is_refused(tmp_path, make, words):
    result = sc.adapt(make(), sc.AdaptOptions(steps=1, audit=False))
    with pytest.raises(RecordError, match=words):
        sc.save_result(result, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_simulator_is_refused(tmp_path):
    problem = mass_on_a_line()
    plant = problem.plant
    box = sc.ControlProblem(problem.policy, problem.scenarios, sc.Quadratic([1, 1], 0.05), simulator=plant.function)
    with pytest.raises(RecordError, match="its plant is a simulator"):
        sc.save_result(sc.adapt(box, sc.AdaptOptions(steps=1, audit=False)), tmp_path / "run")


@pytest.mark.parametrize("make", ["lmi", "by hand"])
def test_a_backup_that_is_no_lqr_is_written_as_its_numbers(tmp_path, make):
    plant = double_integrator()
    lqr = sc.lqr(plant, [0.1, 0.1], 10.0)
    backup = sc.lmi(plant) if make == "lmi" else check_backup(plant, Backup(lqr.K, lqr.P, lqr.rho / 2))
    result = sc.adapt(mass_on_a_line(backup=backup), sc.AdaptOptions(steps=3, audit=False))
    sc.save_result(result, tmp_path / "run")
    again = sc.load_result(tmp_path / "run").problem.backup
    assert all(np.array_equal(getattr(again, key), getattr(backup, key)) for key in ("K", "P", "rho"))
    assert sc.verify(tmp_path / "run").passed
