"""Steps are planned with the guards that they could meet first; tries are verified on all of S (E12)."""

import dataclasses

import numpy as np
import pytest
from problems import double_integrator_problem

import scpo_ctrl as sc
from scpo_ctrl.adaptation import watch as watching
from scpo_ctrl.adaptation.history import VERDICTS
from scpo_ctrl.adaptation.status import Verdict
from scpo_ctrl.adaptation.watch import watch
from scpo_ctrl.problem.guarded import GuardedProblem


@pytest.fixture(params=[None, 0.01], ids=["rollouts", "and first steps"])
def guarded(monkeypatch, request):
    monkeypatch.setattr(watching, "_LEAST", 3)
    given = double_integrator_problem()
    if request.param:
        options = dataclasses.replace(given.scenario_metrics.options, one_step=request.param, cloud=9)
        given = sc.ControlProblem(given.policy, given.scenarios, given.objective_data, options)
    given = given.with_scenarios(given.scenarios.part(slice(0, 4)), given.theta_initial)
    return GuardedProblem(given, double_integrator_problem().scenarios.declared.edge(10, 3), 0.01)


def test_the_part_watched_is_the_problem_on_those_guards(guarded):
    rng, which = np.random.default_rng(0), np.array([1, 4, 7])
    theta = guarded.theta_initial + 0.05 * rng.normal(size=guarded.theta_dim)
    part, metrics = guarded.watching(which)
    whole = guarded.evaluate(theta)
    np.testing.assert_array_equal(part.evaluate(theta)[1], whole[1][metrics])
    assert part.evaluate(theta)[0] == whole[0]
    np.testing.assert_array_equal(part.varies, guarded.varies[metrics])
    np.testing.assert_array_equal(part.metric_units, guarded.metric_units[metrics])
    assert part.rollouts_per_theta == guarded.problem.scenarios.count + 3
    multipliers = np.zeros(guarded.varies.size)
    multipliers[metrics] = rng.uniform(size=metrics.size)
    np.testing.assert_allclose(
        part.lagrangian_gradients(theta[None], multipliers[metrics]),
        guarded.lagrangian_gradients(theta[None], multipliers),
        rtol=1e-9,
    )


def test_the_guards_with_the_shortest_way_to_a_bound_are_watched(guarded):
    _, g = guarded.evaluate(guarded.theta_initial)
    slopes, L = np.zeros(g.size), np.ones(g.size)
    moves, which = guarded.of_guards(guarded.moves).any(axis=0), guarded.guard_metrics
    row = int(np.flatnonzero(moves)[0])
    slopes[which[:, row]] = 1e3 * np.arange(10, 0, -1)  # the first guards are the steepest ones
    g[which[:, row]] = -0.5
    near = watch(guarded, g, slopes, L)
    assert near.problem.guards.count == 4  # as many as the problem has scenarios
    np.testing.assert_array_equal(near.problem.guards.x0, guarded.guards.x0[:4])
    np.testing.assert_array_equal(near.of(g), g[near.metrics])
    np.testing.assert_array_equal(near.whole(np.array([0, near.metrics.size - 1])), near.metrics[[0, -1]])
    new = slopes.copy()
    new[which[9]] = np.inf  # nothing is known of a new guard: it may be met at once
    assert watch(guarded, g, new, L).problem.guards.x0[-1] == pytest.approx(guarded.guards.x0[9])
    still = L.copy()
    still[which[8]] = 1e12  # as a try that broke it left it
    assert watch(guarded, g, slopes, still).problem.guards.x0[-1] == pytest.approx(guarded.guards.x0[8])


def test_everything_is_watched_where_nothing_is_known_and_where_there_are_few(guarded):
    _, g = guarded.evaluate(guarded.theta_initial)
    nothing = np.zeros(0)
    assert watch(guarded, g, nothing, nothing).metrics is None
    few, _ = guarded.watching(np.arange(3))
    _, g = few.evaluate(few.theta_initial)
    assert watch(few, g, np.ones(g.size), np.ones(g.size)).metrics is None
    assert watch(guarded.problem, g, np.ones(g.size), np.ones(g.size)).problem is guarded.problem


def test_a_run_that_watches_few_guards_is_as_safe_on_all_of_them(monkeypatch):
    monkeypatch.setattr(watching, "_LEAST", 1)
    problem = double_integrator_problem()
    problem = problem.with_scenarios(problem.scenarios.part(slice(0, 4)), problem.theta_initial)
    seen = []

    def monitor(state):
        seen.append(watch(state.problem, state.g, state.slopes, state.L).metrics is not None)
        return False

    result = sc.adapt(problem, sc.AdaptOptions(steps=30, audit_rollouts=2000, guards=48), monitor=monitor)
    assert any(seen)
    assert result.guards.count >= 48 and result.final_audit.passed
    assert result.is_safe()  # on all of S, counterexamples included that joined after a commit
    on_all = GuardedProblem(problem, result.guards, result.options.back_off)
    commits = [i for i, row in enumerate(result.history.rows) if VERDICTS[row.verdict] is Verdict.COMMITTED]
    g = on_all.metrics_kept_clear(np.array([result.history.rows[i].theta for i in commits]))
    kept = [(g[:, : problem.varies.size] <= 0).all(), (on_all.metrics_kept_clear(result.theta[None]) <= 0).all()]
    for i, of_guards in zip(commits, on_all.of_guards(g), strict=True):  # the back-off from those known by then
        known = [row.guards for row in result.audits if row.policy < i]
        kept.append((of_guards[: known[-1]] <= 0).all())
    for row in result.audits:  # and where a run goes on, from those that sent it there
        if row.back in commits:
            kept.append((on_all.of_guards(g)[commits.index(row.back), : row.guards] <= 0).all())
    assert len(commits) > 5 and all(kept)
    assert result.objective_final < result.objective_initial
