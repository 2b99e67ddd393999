"""One-step conditions on a cloud of states (E13): what a run that has them leaves."""

from __future__ import annotations

import numpy as np
import pytest
from clouds import CASES, box_of, disturbed, shipped, with_metrics
from plain import AdaptOptions
from problems import control_problem, double_integrator_problem

import scpo_ctrl as sc
from scpo_ctrl.adaptation.binding import binding, binding_summary, closest_metrics, cloud_room
from scpo_ctrl.adaptation.proven_smoothness import smoothness_bounds
from scpo_ctrl.assurance import Fresh, audit, falsify
from scpo_ctrl.errors import UnsafeStartError
from scpo_ctrl.problem.guarded import GuardedProblem
from scpo_ctrl.report.tables import details, metric_rows, what_binds


def test_a_backup_that_is_too_slow_is_an_unsafe_start_with_the_part_that_passes():
    problem = shipped("double_integrator", one_step=0.05, cloud=64)
    with pytest.raises(UnsafeStartError, match=r"cloud state \d+, t = 1: V\(x_1\) <= 0.95 V\(x_0\).*lower one_step to"):
        sc.adapt(problem, AdaptOptions(steps=1))
    most = problem.one_step.largest(problem.theta_initial)
    for part, passes in ((0.999 * most, True), (1.001 * most, False)):
        near = shipped("double_integrator", one_step=part, cloud=64)
        assert (near.metrics(near.theta_initial).max() <= 0) == passes
    shaken = disturbed(one_step=0.001, cloud=64)
    assert shaken.metrics(shaken.theta_initial).max() > 0  # V cannot fall below what disturbances add
    said = shaken.remedy(shaken.varies.size - 1)
    assert "raise contraction_floor" in said and "make disturbance smaller" in said and "narrow the ranges" in said
    assert "lower the level" in shaken.remedy(shaken.of_cloud.start)


@pytest.fixture(scope="module")
def runs() -> dict[str, dict[bool, sc.Result]]:
    """R3 and R4 with and without conditions on one step, a few steps each."""
    found = {}
    for name, a, steps in (("double_integrator", 0.002, 12), ("cart_pole", 0.002, 8)):
        problem = shipped(name, one_step=a)
        plain = with_metrics(problem, one_step=None, cloud=None)
        options = AdaptOptions(steps=steps)
        found[name] = {True: sc.adapt(problem, options), False: sc.adapt(plain, options)}
    return found


@pytest.mark.table(2)
@pytest.mark.parametrize("name", ["double_integrator", "cart_pole"])
def test_a_run_keeps_v_falling_where_it_did_not_before(runs, name):
    with_it, without = runs[name][True], runs[name][False]
    one_step, declared = with_it.problem.one_step, with_it.problem.scenarios.declared
    assert with_it.is_safe() and with_it.objective_final < with_it.objective_initial
    fresh = declared.random(0, 20_000, 99)
    shares = [float((one_step.decreases(run.theta, fresh) > 1e-12).mean()) for run in (with_it, without)]
    assert shares[0] < 0.08
    assert shares[1] > 5 * shares[0] and shares[1] > 0.3
    for theta in with_it.committed:
        assert with_it.problem.metrics(theta)[with_it.problem.of_cloud].max() <= 1e-9


def test_what_binds_names_states_of_the_cloud(runs):
    run = runs["double_integrator"][True]
    problem = run.problem
    before, after = problem.metrics(run.theta_initial), problem.metrics(run.theta)
    room, moves = cloud_room(problem.one_step), problem.varies[problem.of_cloud]
    near = after.copy()
    near[problem.of_cloud.start + np.flatnonzero(moves)[:3]] = -0.009 * room[np.flatnonzero(moves)[:3]]
    assert binding(problem, near).kinds["one step"][0] == 3 + binding(problem, after).kinds["one step"][0]
    count, of = binding(problem, after).kinds["one step"]
    assert of == moves.sum()
    assert count == np.count_nonzero(moves & (-after[problem.of_cloud] <= 0.01 * room))
    V = problem.backup.level(problem.one_step.cloud.x0)
    np.testing.assert_allclose(room.reshape(V.size, -1)[:, -1], 0.002 * V, rtol=1e-9)
    decreases = problem.of_cloud.start + len(problem.one_step.rows) * np.arange(V.size) + len(problem.one_step.rows) - 1
    near[decreases[5]] = -1e-4 * room.reshape(V.size, -1)[5, -1]
    closest = closest_metrics(problem, before, near)
    assert len(closest) == 10 and [row.part for row in closest] == sorted(row.part for row in closest)
    first = closest[0]
    assert (first.cloud_state, first.scenario, first.first, first.last) == (5, None, 1, 1)
    assert first.label == "V(x_1) <= 0.998 V(x_0)" and first.part == pytest.approx(1e-4)
    assert (first.before, first.after) == (-before[decreases[5]], -near[decreases[5]])
    assert problem.metric_label(decreases[5]) == "cloud state 5, t = 1: V(x_1) <= 0.998 V(x_0)"
    listed = binding_summary(problem, before, near)["closest"]
    assert listed[0] == {"cloud_state": 5, "time": [1, 1], "bound": first.label, "margin": first.after}
    assert metric_rows(run, before, near)[0].scenario.startswith("cloud state 5: from position")
    assert ("one step from the cloud of states", count, of) in what_binds(run, after).counts
    assert "one step V(x⁺) ≤ 0.998 V(x) from 256 states" in dict(details(run))["metrics of"]


def test_fresh_scenarios_are_checked_for_their_first_step_too(runs):
    """A policy that keeps every metric of its rollouts is caught where its first step lets V rise."""
    run = runs["double_integrator"][False]
    plain, problem = run.problem, runs["double_integrator"][True].problem
    fresh = problem.scenarios.declared.random(0, 2000, 5)
    own, with_step = (Fresh.of(of, run.theta, fresh) for of in (plain, problem))
    rises = problem.one_step.decreases(run.theta, fresh)[:, 0] > 1e-12
    np.testing.assert_array_equal(with_step.violates, own.violates | rises)
    assert rises.sum() > 100
    found = audit(problem, run.theta, rollouts=500, seed=3)
    assert not found.passed
    rows = Fresh.of(problem, run.theta, found.counterexamples).row
    assert (rows == problem.rows_per_scenario).any()
    attack = falsify(with_metrics(problem, one_step=0.02), run.theta, budget=2000)
    assert attack.found


def test_guards_have_conditions_on_their_first_step():
    problem = CASES["R3"]()
    guards = problem.scenarios.declared.edge(7, 1)
    guarded = GuardedProblem(problem, guards, 1e-3)
    theta = problem.theta_initial + 0.05 * np.random.default_rng(4).normal(size=problem.theta_dim)
    rows, steps = problem.rows_per_scenario, len(problem.one_step.rows)
    assert guarded.varies.size == problem.varies.size + 7 * (rows + steps)
    last = guarded.metrics(theta)[-7 * steps :].reshape(7, steps)
    np.testing.assert_allclose(last[:, -1:] / problem.backup.rho, problem.one_step.decreases(theta, guards), atol=1e-12)
    moves = guarded.varies[-7 * steps :].reshape(7, steps)
    assert moves[:, -1].all() and not moves[:, :-1].any()  # their bounds are those of the guards
    path = guarded.metrics(theta)[problem.varies.size : problem.varies.size + 7 * rows].reshape(7, rows)
    for i, row in enumerate(problem.one_step.rows[:-1]):
        same = next(
            k for k, of in enumerate(problem.scenario_metrics.rows) if (of.time, of.label) == (row.time, row.label)
        )
        np.testing.assert_allclose(last[:, i], path[:, same], atol=1e-12)
    assert guarded.metric_label(guarded.varies.size - 1).startswith("first step of guard 6, t = 1: V(x_1) <=")
    assert "one_step" in guarded.remedy(guarded.varies.size - 1)
    thetas = np.stack([theta, problem.theta_initial])
    each = np.split(guarded.metrics_kept_clear(thetas)[:, problem.varies.size :].max(axis=0), [7 * rows])
    largest = np.max([part.reshape(7, -1).max(axis=1) for part in each], axis=0)
    np.testing.assert_array_equal(guarded.closest(thetas), largest)
    # the cloud keeps clear of its limit by the back-off, local stability does not
    clear = guarded.metrics_kept_clear(theta[None])[0][: problem.varies.size] - problem._metrics(theta[None])[0]
    assert (clear[problem.of_cloud][problem.varies[problem.of_cloud]] > 0).all()
    assert not clear[problem.of_scenarios.stop : problem.of_cloud.start].any()


def test_an_audited_run_leaves_nothing_that_fresh_states_break():
    problem = control_problem(sc.models.double_integrator(), (4,), count=4, horizon=12, seed=1)
    problem = with_metrics(problem, one_step=0.005, cloud=16)
    options = sc.AdaptOptions(steps=12, guards=8, audit_rollouts=2000)
    run = sc.adapt(problem, options)
    assert run.final_audit is not None and run.final_audit.passed
    fresh = problem.scenarios.declared.random(0, 20_000, 7)
    assert (problem.one_step.decreases(run.theta, fresh) > 1e-12).mean() < 1e-3
    assert run.objective_final < run.objective_initial


def test_a_black_box_has_the_same_metrics():
    problem = control_problem(sc.models.double_integrator(), (3,), count=3, horizon=6)
    problem = with_metrics(problem, one_step=0.005, cloud=6)
    box = sc.ControlProblem(
        problem.policy, problem.scenarios, problem.objective_data, problem.scenario_metrics.options,
        simulator=box_of(problem.plant),
    )  # fmt: skip
    theta = problem.theta_initial + 0.1 * np.random.default_rng(5).normal(size=problem.theta_dim)
    of = problem.of_cloud
    np.testing.assert_allclose(box.metrics(theta)[of], problem.metrics(theta)[of], rtol=1e-9, atol=1e-9)
    run = sc.adapt(box, AdaptOptions(steps=3))
    assert run.is_safe() and len(run.committed) > 1
    assert box.metrics(run.theta)[of].max() <= 1e-9


def test_certified_constants_bound_the_curvature_of_the_cloud():
    problem = with_metrics(double_integrator_problem((3,)), one_step=0.005, cloud=5, stability=False)
    rng, radius = np.random.default_rng(6), 0.05
    theta = problem.theta_initial + 0.1 * rng.normal(size=problem.theta_dim)
    L = smoothness_bounds(problem, theta, radius)
    assert L.shape == problem.varies.shape
    steps, h = rng.normal(size=(60, problem.theta_dim)), 1e-3
    steps /= np.linalg.norm(steps, axis=1, keepdims=True)
    middle = problem.sample(theta[None])
    second = (problem.sample(theta + h * steps) - 2 * middle + problem.sample(theta - h * steps)) / h**2
    assert (np.abs(second).max(axis=0) <= L + 1e-6).all()
    assert (L[problem.of_cloud][len(problem.one_step.rows) - 1 :: len(problem.one_step.rows)] > 0).all()
    run = sc.adapt(problem, sc.AdaptOptions(mode="certified", method="gradient", radius=0.02, steps=4))
    assert run.is_safe() and len(run.committed) > 1
