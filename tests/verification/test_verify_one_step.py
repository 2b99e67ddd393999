"""Verification of one-step conditions (E13) by its own code: the cloud drawn anew, its metrics, and forged records."""

from __future__ import annotations

import json
import tomllib
from itertools import product

import numpy as np
import pytest
import tomli_w
from problem_files import KINDS, TWO_INPUTS, write
from run_folders import edit_summary, faults, rewrite

from scpo_ctrl import load_problem, verify
from scpo_ctrl.record.files import load_arrays, load_result, read_problem
from scpo_ctrl.verification.certificate import fresh_metrics
from scpo_ctrl.verification.one_step import cloud_faults, cloud_loop, single_steps
from scpo_ctrl.verification.residual import ResidualLaw

AUDITED = "one step, in a box, audited"
MODEL = "one step from a cloud"
MOVING = KINDS["parameters that move the equilibrium"]
SETS = {
    "level": {},
    "no bounds": {"metrics.path": False, "metrics.terminal": True},
    "saturated, to a floor": {"metrics.command": False, "metrics.contraction_floor": 0.3},
    "level, masses": {"scenarios.parameters": {"mass": [0.9, 1.1]}},
    "box, disturbed": {
        "scenarios": {"count": 3, "horizon": 8, "box": [[-1.0, -0.3], [2.0, 0.3]]},
        "scenarios.disturbance": [0.0, 0.002],
    },
    "neighbourhoods": {"scenarios": {"horizon": 8, "initial_states": [[1.0, 0.2], [-2.0, 0.5], [0.0, 0.1]]}},
    "two inputs": TWO_INPUTS,
    "spread, another seed": {"scenarios": {"count": 5, "horizon": 8, "draw": "low_discrepancy", "seed": 4}},
    "quadrotor": {
        key: value for key, value in KINDS["parameters that move the equilibrium"].items() if key != "metrics"
    }
    | {"scenarios.disturbance": [1e-4] * 6, "scenarios.disturbance_fixed": 0.25},
}


@pytest.mark.parametrize("count", [1, 2, 13, 64])
@pytest.mark.parametrize("name", SETS)
def test_the_cloud_is_drawn_anew_for_every_kind_of_set(tmp_path, name, count):
    metrics = {"metrics": {"one_step": 1e-4, "cloud": count}}
    problem = load_problem(write(tmp_path / "problem.toml", metrics | SETS[name]))
    cloud, tables = problem.one_step.cloud, problem.tables
    arrays = {f"cloud_{key}": getattr(cloud, key) for key in ("x0", "p", "w")}
    loop = cloud_loop(ResidualLaw(problem.plant, tables), tables, arrays)
    assert cloud_faults(loop, tables, arrays) == []
    moved = arrays | {"cloud_x0": arrays["cloud_x0"] * (1 + 1e-4)}
    assert "the recorded states of the cloud" in cloud_faults(loop, tables, moved)[0]
    theta = problem.theta_initial + 0.2 * np.random.default_rng(0).normal(size=(3, problem.theta_dim))
    found = loop.margins(theta)[0].exact
    np.testing.assert_allclose(found, -problem.metrics(theta)[:, problem.of_cloud].max(axis=1), rtol=1e-8, atol=1e-9)
    assert loop.metrics == problem.of_cloud.stop - problem.of_cloud.start


def test_fresh_scenarios_are_checked_for_their_first_step(runs):
    tables, problem = tomllib.loads(read_problem(runs[AUDITED])[0]), load_result(runs[AUDITED]).problem
    theta = problem.theta_initial + 0.5 * np.random.default_rng(1).normal(size=problem.theta_dim)
    numbers = np.arange(300)
    worst, labels = fresh_metrics(ResidualLaw(problem.plant, tables), tables, theta, numbers, 9)
    fresh = problem.scenarios.declared.random(0, 300, 9)
    values = problem.evaluate_scenarios(theta, fresh)[1]
    values[:, ~problem.fresh.varies] = -np.inf
    np.testing.assert_allclose(worst, values.max(axis=1), rtol=1e-7, atol=1e-9)
    first = int(np.argmax(values.argmax(axis=1) == problem.rows_per_scenario))
    assert values[first].argmax() == problem.rows_per_scenario
    assert "t = 1: V(x_1) <= 0.99 V(x_0)" in labels(first)


@pytest.mark.parametrize("kind", [MODEL, AUDITED])
def test_a_cloud_that_was_changed(copy_of, kind):
    run = copy_of(kind)
    cloud = {key: value for key, value in load_arrays(run).items() if key.startswith("cloud_")}
    forged = {
        "states": {"cloud_x0": 0.1 * cloud["cloud_x0"]},
        "as many states": {key: value[:5] for key, value in cloud.items()},
    }
    if kind == MODEL:
        forged["plant parameters"] = {"cloud_p": cloud["cloud_p"][::-1].copy()}
        forged["disturbances"] = {"cloud_w": 0 * cloud["cloud_w"]}
    for words, arrays in forged.items():
        rewrite(run, sign=True, **arrays)
        assert words in faults(run) and "cloud" in faults(run)
        rewrite(run, sign=True, **cloud)
    assert verify(run).faults == ()


def test_a_cloud_that_no_problem_asks_for(copy_of):
    run = copy_of("mlp")
    rewrite(run, sign=True, cloud_x0=np.zeros((3, 2)))
    assert "cloud_x0, yet problem.toml asks for no one_step" in faults(run)


def test_a_stricter_condition_than_was_kept(copy_of):
    run = copy_of(AUDITED)
    tables = tomllib.loads((run / "problem.toml").read_text())
    tables["metrics"]["one_step"] = 0.4
    (run / "problem.toml").write_text(tomli_w.dumps(tables))
    rewrite(run, sign=True)
    assert "is unsafe: its margin is -" in faults(run)


def test_a_policy_that_lets_v_rise_is_found_on_the_cloud_alone(copy_of):
    """Its scenarios hold, so only the cloud, or the first steps of guards, can tell."""
    run = copy_of(AUDITED)
    arrays, problem = load_arrays(run), load_result(run).problem
    rng = np.random.default_rng(2)
    for size, _ in product(np.geomspace(0.05, 2.0, 12), range(20)):
        theta = problem.theta_initial + size * rng.normal(size=problem.theta_dim)
        g = problem.metrics(theta)
        if g[: problem.of_cloud.start].max() < -1e-6 and g[problem.of_cloud].max() > 1e-6:
            break
    else:
        pytest.fail("no policy holds on its scenarios alone")
    last = np.flatnonzero(arrays["committed"])[-1]
    thetas = arrays["theta"].copy()
    thetas[last] = theta
    rewrite(run, sign=True, theta=thetas, state_theta=theta)
    np.save(run / "theta.npy", theta)
    assert "is unsafe: its margin is -" in faults(run)


def test_what_binds_of_the_cloud(copy_of):
    run = copy_of(MODEL)
    account = json.loads((run / "result.json").read_text())["binding"]
    of_cloud = [i for i, row in enumerate(account["closest"]) if "cloud_state" in row]
    assert of_cloud and "one step" in account["metrics"]
    changed = json.loads(json.dumps(account))
    changed["metrics"]["one step"] += 20
    edit_summary(run, binding=changed)
    assert "binding metrics" in faults(run)
    for key, value in (("cloud_state", 10**6), ("margin", 7.0), ("bound", "V(x_N) <= rho"), ("time", [0, 1])):
        changed = json.loads(json.dumps(account))
        changed["closest"][of_cloud[0]][key] = value
        edit_summary(run, binding=changed)
        assert f"binding closest[{of_cloud[0]}]" in faults(run)
    renamed = json.loads(json.dumps(account))
    row = renamed["closest"][of_cloud[0]]
    row["scenario"] = row.pop("cloud_state")
    edit_summary(run, binding=renamed)
    assert f"binding closest[{of_cloud[0]}]" in faults(run)
    edit_summary(run, binding=account)
    assert verify(run).faults == ()


def test_single_steps_take_the_first_disturbance(runs):
    tables, problem = tomllib.loads(read_problem(runs[MODEL])[0]), load_result(runs[MODEL]).problem
    batch = problem.scenarios
    loop = single_steps(ResidualLaw(problem.plant, tables), tables, batch.x0, batch.p, batch.w)
    theta = problem.theta_initial + 0.1 * np.random.default_rng(3).normal(size=problem.theta_dim)
    loop.margins(theta[None])
    after = np.array(problem.plant.function.map(batch.count)(batch.x0.T, loop.u[:, 0].T, batch.p.T)).T + batch.w[:, 0]
    np.testing.assert_allclose(loop.x[:, 1], after, rtol=1e-12)
