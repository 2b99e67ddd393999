"""Verification of constraints, limits of change and costs that are expressions: recomputed, and every forgery found."""

from __future__ import annotations

import copy
import hashlib
import json
import tomllib

import numpy as np
import pytest
import tomli_w
from problem_files import ENERGY, write
from run_folders import edit_summary, faults, rewrite

import scpo_ctrl as sc
from scpo_ctrl.models import double_integrator
from scpo_ctrl.record.files import load_arrays, load_result, read_problem
from scpo_ctrl.verification.binding import bounds_of
from scpo_ctrl.verification.loop import ClosedLoop
from scpo_ctrl.verification.one_step import cloud_bounds, cloud_loop
from scpo_ctrl.verification.verify import law_of

KINDS = ("expressions, audited", "expressions, one step, saturated", "pid, expressions")


@pytest.mark.parametrize("kind", KINDS)
def test_every_metric_and_the_cost_are_those_of_the_problem(runs, kind):
    path = runs[kind]
    problem, tables, arrays = load_result(path).problem, tomllib.loads(read_problem(path)[0]), load_arrays(path)
    law = law_of(tables, path)
    loop, cloud = ClosedLoop(law, tables, arrays), cloud_loop(law, tables, arrays)
    for size in (0.0, 0.3, 2.0):  # the last one saturates
        theta = problem.theta_initial + size * np.random.default_rng(1).normal(size=problem.theta_dim)
        cost = loop.margins(theta[None])[1]
        assert cost[0] == pytest.approx(problem.objective(theta), rel=1e-10)
        metrics = problem.metrics(theta)
        parts = [(metrics[problem.of_scenarios], bounds_of(loop))]
        if cloud is not None:
            cloud.margins(theta[None])
            each = metrics[problem.of_cloud].reshape(problem.one_step.cloud.count, -1)
            parts.append((each[:, :-1], cloud_bounds(cloud)[:-1]))  # the last counts in parts of what V must not exceed
        for mine, bounds in parts:
            found = np.concatenate([-one.margin.ravel() for one in bounds])
            np.testing.assert_allclose(np.sort(mine, axis=None), np.sort(found), atol=1e-9)


def sign(run, change):
    """Change problem.toml, and make all digests anew."""
    given = tomllib.loads((run / "problem.toml").read_text())
    change(given)
    (run / "problem.toml").write_text(tomli_w.dumps(given))
    rewrite(run, sign=True)


def put(where, value):
    """Return a change of one entry, deleted where the value is None."""

    def change(given):
        *way, last = where
        for key in way:
            given = given[key]
        if value is None:
            del given[last]
        else:
            given[last] = value

    return change


FIRST = ("metrics", "constraints", 0)


@pytest.mark.parametrize(
    ("where", "value", "says"),
    [
        ((*FIRST, "bound"), 0.03, "unsafe"),
        ((*FIRST, "bound"), 0.06, "binding"),
        ((*FIRST, "expression"), "0.9*force*velocity", "binding"),
        ((*FIRST, "unit"), "kW", "binding"),
        ((*FIRST, "name"), "strength", "binding"),
        (FIRST, None, "metrics"),
        (("metrics", "constraints"), None, "metrics"),
        (("metrics", "constraints", 1, "bound"), [2.0, 0.01], "unsafe"),
        (("metrics", "du_max"), [0.01], "unsafe"),
        (("metrics", "du_max"), None, "metrics"),
        (("objective", "R_du"), [0.2], "objective"),
        (("objective", "R_du"), None, "objective"),
        (("objective", "terminal"), None, "objective"),
        (("objective", "terminal"), "position**2", "objective"),
        (("objective", "stage"), "0.5*force**2 + position**2 + 1.01*force*velocity", "objective"),
    ],
)
def test_a_forged_problem_is_found(copy_of, where, value, says):
    run = copy_of("expressions, audited")
    sign(run, put(where, value))
    assert says in faults(run)


def test_forged_weights_are_found(copy_of):
    run = copy_of("pid, expressions")
    text = (run / "problem.toml").read_text()
    for key in ("P_N", "R_du"):
        sign(run, put(("objective", key), None))
        assert "objective" in faults(run)
        (run / "problem.toml").write_text(text)
    sign(run, put(("objective", "Q"), [1.0, 0.1]))
    assert "objective" in faults(run)


def test_a_commit_that_breaks_a_constraint_alone_is_found(copy_of):
    run = copy_of("expressions, audited")
    problem, arrays = load_result(run).problem, load_arrays(run)
    kinds = np.array([row.kind for row in problem.scenario_metrics.rows])
    bad, rng = None, np.random.default_rng(0)
    for size in np.linspace(0.05, 1.0, 400):
        theta = arrays["state_theta"] + size * rng.normal(size=problem.theta_dim)
        g = problem.metrics(theta)
        broken = g[problem.of_scenarios].reshape(-1, kinds.size).max(axis=0) > 1e-4
        if broken.any() and set(kinds[broken]) == {"power"} and (g[problem.of_scenarios.stop :] < 0).all():
            bad = theta
            break
    assert bad is not None
    last = np.flatnonzero(arrays["committed"])[-1]
    thetas, objective = arrays["theta"].copy(), arrays["objective"].copy()
    thetas[last], objective[last] = bad, problem.objective(bad)
    rewrite(
        run, sign=True, theta=thetas, state_theta=bad, objective=objective, state_objective=np.array(objective[last])
    )
    np.save(run / "theta.npy", bad)
    edit_summary(run, objective_final=float(objective[last]))
    said = faults(run)
    assert "is unsafe: its margin is -" in said and "the record says" in said


def test_what_binds_and_numbers_of_the_summary_are_found(copy_of):
    run = copy_of("expressions, audited")
    summary = json.loads((run / "result.json").read_text())
    binding = copy.deepcopy(summary["binding"])
    binding["metrics"]["power"] += 1
    edit_summary(run, binding=binding)
    assert "binding metrics" in faults(run)
    binding = copy.deepcopy(summary["binding"])
    row = next(i for i, one in enumerate(binding["closest"]) if "W" in one["bound"])
    binding["closest"][row]["margin"] += 1e-3
    edit_summary(run, binding=binding)
    assert f"binding closest[{row}]" in faults(run)
    edit_summary(run, binding=summary["binding"], metrics=summary["metrics"] - 1)
    assert "metrics" in faults(run)


def test_certificates_count_constraints(copy_of, run):
    path = copy_of("expressions, audited")
    assert run("certify", path, "--kind", "scenario", "--epsilon", "0.01").status in (0, 1)
    assert sc.verify(path).faults == ()
    stated = json.loads((path / "certificate.json").read_text())
    for one in stated["closest"][:1]:
        one["metric"] += 1e-3
    (path / "certificate.json").write_text(json.dumps(stated))
    assert "certificate.json" in faults(path)


def test_data_of_python_that_are_forged_with_their_digest_are_found(tmp_path):
    plant = double_integrator()
    backup = sc.lqr(plant, [0.1, 0.1], [10.0])
    batch = sc.scenarios(plant, backup, horizon=8, count=3, level=0.35)
    u, v = plant.u, plant.x[1]
    metrics = sc.MetricOptions(constraints=sc.Constraint(name="power", expression=u * v, bound=0.05))
    cost = sc.Cost(0.5 * u**2 + plant.x[0] ** 2, plant.x[0] ** 2)
    problem = sc.ControlProblem(sc.Policy(plant, backup, (3,)), batch, cost, metrics)
    run = tmp_path / "run"
    sc.save_result(sc.adapt(problem, sc.AdaptOptions(steps=3, audit=False)), run)
    assert sc.verify(run).faults == ()

    def forged(name, way, old, new):
        path = run / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        before = (run / "problem.toml").read_text()
        sign(run, put((*way, "sha256"), hashlib.sha256(path.read_bytes()).hexdigest()))
        said = faults(run)
        path.write_text(text)
        (run / "problem.toml").write_text(before)
        return said

    way = ("metrics", "constraints")
    assert "unsafe" in forged("constraints.json", way, '"bound": [0.05]', '"bound": [0.001]')
    assert "binding" in forged("constraints.json", way, '"bound": [0.05]', '"bound": [0.0625]')
    assert "objective" in forged("cost.json", ("objective",), '["constant", 0.5]', '["constant", 0.75]')
    rewrite(run, sign=True)
    assert sc.verify(run).faults == ()


def test_a_cost_that_cancels_is_compared_with_its_parts(tmp_path):
    changes = {"objective": ENERGY | {"stage": "10*position - 10*velocity", "terminal": "100*velocity - 100*position"}}
    problem = sc.load_problem(write(tmp_path / "p.toml", changes | {"metrics.constraints": []}))
    result = sc.adapt(problem, sc.AdaptOptions(steps=2, audit=False))
    sc.save_result(result, tmp_path / "run")
    assert sc.verify(tmp_path / "run").faults == ()
