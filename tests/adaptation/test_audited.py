"""The audit loop (E12): what it leaves is safe beside its scenarios, and resumes, records and deploys as it should."""

from __future__ import annotations

import dataclasses
import itertools
import re
import time

import numpy as np
import pytest
from problems import double_integrator_problem

import scpo_ctrl as sc
from scpo_ctrl.adaptation import audited
from scpo_ctrl.adaptation.history import VERDICTS
from scpo_ctrl.adaptation.status import RunStatus, Verdict
from scpo_ctrl.assurance import Fresh, audit
from scpo_ctrl.assurance.fresh import LOOK_SEED
from scpo_ctrl.models import linear
from scpo_ctrl.problem.guarded import GuardedProblem
from scpo_ctrl.record.files import history_arrays
from scpo_ctrl.report.answers import answers
from scpo_ctrl.report.compare import compared
from scpo_ctrl.report.fresh_costs import fresh_costs
from scpo_ctrl.report.wording import headline

FEW = {"steps": 40, "guards": 4, "back_off": 1e-3, "audit_rollouts": 2000}


def problem(count=3, **metrics) -> sc.ControlProblem:
    """Return R3's plant with so few scenarios that a run overfits them."""
    plant = sc.models.double_integrator()
    backup = sc.lqr(plant, [0.1, 0.1], [10.0])
    batch = sc.scenarios(plant, backup, horizon=30, count=count, level=0.8, seed=1)
    policy, objective = sc.Policy(plant, backup, (6,)), sc.Quadratic([1.0, 0.1], [0.05])
    return sc.ControlProblem(policy, batch, objective, sc.MetricOptions(**metrics), seed=2)


@pytest.fixture(scope="module")
def run() -> sc.Result:
    return sc.adapt(problem(), sc.AdaptOptions(**FEW))


def differences(one: sc.Result, two: sc.Result) -> list[str]:
    a, b = history_arrays(one), history_arrays(two)
    return [k for k in a.keys() | b.keys() if k not in a or k not in b or a[k].tobytes() != b[k].tobytes()]


def test_an_audited_policy_is_safe_where_the_plain_one_is_not(run):
    plain = sc.adapt(problem(), sc.AdaptOptions(steps=40, audit=False))
    beside = [Fresh.drawn(r.problem, r.theta, 0, 50_000, 123) for r in (plain, run)]
    assert beside[0].violations > 500
    assert beside[1].violations <= 2
    assert beside[1].objective < Fresh.drawn(run.problem, run.theta_initial, 0, 50_000, 123).objective
    assert run.final_audit is not None and run.final_audit.passed and run.final_audit.rollouts == 2000
    assert plain.audits == () and plain.final_audit is None and plain.summary()["audit"] is None
    said = run.summary()["audit"]
    k = sum(row.full for row in run.audits[1:])
    assert said["epsilon"] == pytest.approx(1 - (1e-6 / (k * (k + 1))) ** (1 / 2000))


def test_what_is_kept_is_safe_on_all_of_s_and_the_rest_is_withdrawn(run):
    assert run.guards is not None and run.guards.count == run.audits[-1].guards > 4
    verdicts = [VERDICTS[row.verdict] for row in run.history.rows]
    assert Verdict.WITHDRAWN in verdicts
    everywhere = run.problem.with_scenarios(run.problem.scenarios.and_then(run.guards), run.theta_initial)
    margins = -everywhere.metrics(run.committed).max(axis=1)
    np.testing.assert_allclose(margins[1:], run.history.column("margin")[run.history.column("committed")], atol=1e-12)
    assert (margins >= -1e-12).all() and run.is_safe()
    given_up = np.array(
        [row.theta for row, v in zip(run.history.rows, verdicts, strict=True) if v is Verdict.WITHDRAWN]
    )
    assert (everywhere.metrics(given_up).max(axis=1) > -1e-3).any()
    np.testing.assert_array_equal(run.committed[-1], run.theta)
    said = run.summary()
    assert said["withdrawn"] == len(given_up)
    assert said["accepted"] + said["rejected"] + said["withdrawn"] == len(run.history)


def test_a_run_goes_on_from_a_policy_that_is_clear_of_all_of_s(monkeypatch):
    seen, go_on = [], audited.go_on

    def watched(state, on_larger, theta):
        seen.append(on_larger.metrics_kept_clear(theta[None]).max())
        go_on(state, on_larger, theta)

    monkeypatch.setattr(audited, "go_on", watched)
    sc.adapt(problem(), sc.AdaptOptions(**FEW | {"back_off": 0.02}))
    assert len(seen) > 3 and max(seen) <= 0  # commits from before a guard was found may be safe there, and not clear


@pytest.mark.table(4)
@pytest.mark.parametrize("stop", [16, 1, 7, 33])
def test_a_run_goes_on_to_the_same_bits_from_any_moment(run, stop):
    options = sc.AdaptOptions(**FEW)
    interrupted = sc.adapt(problem(), options, monitor=lambda state: state.step >= stop)
    assert interrupted.status is RunStatus.INTERRUPTED and interrupted.final_audit is None
    assert not differences(sc.adapt(problem(), options, resume_from=interrupted), run)
    shorter = sc.adapt(problem(), dataclasses.replace(options, steps=stop))
    assert shorter.final_audit is not None and shorter.final_audit.passed
    assert not differences(sc.adapt(problem(), options, resume_from=shorter), run)


def halted(
    options: sc.AdaptOptions, at: int, earlier: sc.Result | None = None
) -> tuple[sc.Result, list[tuple[int, int]]]:
    """Return a run that is stopped at some call of the monitor of its audits, and the calls."""
    calls: list[tuple[int, int]] = []

    def monitor(done: int, total: int) -> bool:
        calls.append((done, total))
        return len(calls) == at

    return sc.adapt(problem(), options, resume_from=earlier, audit_monitor=monitor), calls


def test_a_run_that_is_stopped_in_an_audit_does_it_again_to_the_same_bits(run):
    options = sc.AdaptOptions(**FEW)
    watched, calls = halted(options, -1)
    assert differences(run, watched) == []
    assert all(0 < done <= total for done, total in calls)
    assert calls[-1][0] >= 0.9 * 2500  # those at random and at the edges at least
    first = [i for i, (done, _) in enumerate(calls, start=1) if i == 1 or done <= calls[i - 2][0]]
    again = sum(row.rollouts == options.audit_rollouts for row in run.audits[1:])  # full ones begin with a small one
    assert len(first) == len(run.audits) - 1 + again  # the safe start's is not watched
    part, at = None, 0
    for place in (first[0], first[len(first) // 2] - 1, len(calls)):  # each time the audit begins anew
        part, _ = halted(options, place - at, part)
        assert (part.status, part.final_audit) == (RunStatus.INTERRUPTED, None)
        assert len(part.audits) < len(run.audits) and part.is_safe()
        at = max(i for i in first if i <= place) - 1
    assert differences(run, sc.adapt(problem(), options, resume_from=part)) == []
    assert differences(run, sc.Adapter(problem(), options, resume_from=part).result()) == []


STALLING = {"method": "gradient", "patience": 1, "tries": 1, "radius": 100.0}


@pytest.mark.table(2)
@pytest.mark.parametrize("more", [{"tolerance": 0.3}, STALLING])
def test_a_run_that_is_stopped_in_its_last_audit_ends_as_it_would_have(more):
    options = sc.AdaptOptions(**FEW | more)
    whole, calls = halted(options, -1)
    assert whole.status in (RunStatus.CONVERGED, RunStatus.STALLED)
    part, _ = halted(options, len(calls))
    assert (part.status, part.steps) == (RunStatus.INTERRUPTED, whole.steps)
    again = sc.adapt(problem(), options, resume_from=part)
    assert again.status is whole.status
    assert differences(whole, again) == []
    assert sc.Adapter(problem(), options, resume_from=part).status is whole.status


def test_without_audits_the_run_is_the_plain_one():
    options = sc.AdaptOptions(steps=5, audit=False)
    made_by_hand = problem()
    batch = made_by_hand.scenarios
    undeclared = sc.Scenarios(batch.x0, batch.p, batch.w, batch.horizon)
    alike = sc.ControlProblem(
        made_by_hand.policy, undeclared, sc.Quadratic([1.0, 0.1], [0.05]), sc.MetricOptions(), seed=2
    )
    plain, none_declared = sc.adapt(problem(), options), sc.adapt(alike, sc.AdaptOptions(steps=5))
    np.testing.assert_array_equal(plain.theta, none_declared.theta)
    assert none_declared.audits == () and none_declared.guards is None


def test_a_set_that_the_backup_does_not_hold_is_refused_with_one_that_it_does():
    plant = linear([[1.0, 0.1], [0.0, 1.0]], [[0.005], [0.1]], 0.1, ([-5.0, -1.5], [5.0, 1.5], [-1.0], [1.0]))
    backup = sc.lqr(plant, [0.1, 0.1], [10.0])
    tight = plant.replace(u_min=np.array([-0.4]), u_max=np.array([0.4]), u_units=("N",))

    def at(level):
        inside = sc.scenarios(tight, backup, horizon=30, count=4, level=0.05)
        declared = sc.scenarios(tight, backup, horizon=30, count=4, level=level).declared
        batch = sc.Scenarios(inside.x0, inside.p, inside.w, 30, declared)
        return sc.ControlProblem(sc.Policy(tight, backup), batch, sc.Quadratic([1.0, 0.1], [0.05]))

    says = r"larger than the backup holds: from x0 .* by [\d.]+ N; level = (\S+) passes"
    with pytest.raises(sc.errors.UnsafeStartError, match=says) as refused:
        sc.adapt(at(0.8), sc.AdaptOptions(steps=2, audit_rollouts=2000))
    (level,) = map(float, re.findall(says, str(refused.value)))
    assert sc.adapt(at(level), sc.AdaptOptions(steps=2, audit_rollouts=2000)).final_audit is not None


def test_an_adapter_puts_only_audited_policies_to_work(monkeypatch):
    options = sc.AdaptOptions(**FEW | {"guards": 48, "back_off": 0.01})
    run, adapter = sc.adapt(problem(), options), sc.Adapter(problem(), options)
    at_work = [adapter.theta]
    while adapter.status is RunStatus.RUNNING:
        adapter.step()
        at_work.append(adapter.theta)
    result = adapter.result()
    assert not differences(result, run)
    np.testing.assert_array_equal(at_work[-1], result.theta)
    rows = result.history.rows
    known = [result.theta_initial, *(rows[a.policy].theta for a in run.audits if a.passed and a.policy >= 0)]
    assert all(any(np.array_equal(theta, other) for other in known) for theta in at_work)
    assert len({theta.tobytes() for theta in at_work}) > 2
    again = sc.Adapter(problem(), options, resume_from=result)
    np.testing.assert_array_equal(again.theta, result.theta)
    monkeypatch.setattr(audited, "audit", None)  # a run that has ended is not audited anew
    assert again.result().final_audit == result.final_audit


def test_the_time_of_a_run_is_that_of_its_audits_too(monkeypatch):
    def slow(*args, **options):
        time.sleep(0.05)
        return audit(*args, **options)

    monkeypatch.setattr(audited, "audit", slow)
    result = sc.adapt(problem(), sc.AdaptOptions(**FEW | {"steps": 12}))
    assert result.seconds >= 0.05 * (len(result.audits) - 1)


def test_a_policy_that_costs_more_beside_its_scenarios_is_amber(run):
    assert (headline(run, 0.1).level, headline(run, 0.1).word) == ("safe", "Audited")
    dearer = dataclasses.replace(run, theta=run.theta_initial, theta_initial=run.theta)
    line = headline(dearer, 0.1)
    assert (line.level, line.word) == ("unfinished", "Audited, costs more than the safe start")
    over = f"of the declared set over {run.problem.scenarios.horizon} steps"
    assert f"no violation in 2\u202f000 fresh scenarios {over}" in line.sentence


def test_costs_before_and_after_are_of_one_draw(run):
    costs = fresh_costs(run)
    declared = run.problem.scenarios.declared.random(0, costs.count, LOOK_SEED)
    for cost, theta in ((costs.before, run.theta_initial), (costs.after, run.theta)):
        assert run.problem.with_scenarios(declared, theta, checked=False).objective(theta) == pytest.approx(cost)
    words = f"(of the same 10\u202f000 fresh scenarios, seed {LOOK_SEED})"
    assert words in headline(run, 0.1).sentence
    assert words in answers(run, [])[2].said
    assert words in compared("run", run).facts["on fresh scenarios"]


def test_a_run_that_kept_its_start_does_not_cost_more_than_it(run):
    dearer = dataclasses.replace(run.audits[-1], objective=1e3)  # the audits' own draws differ
    kept = dataclasses.replace(run, theta=run.theta_initial, audits=(*run.audits[:-1], dearer))
    line = headline(kept, 0.1)
    assert "costs more" not in line.word
    assert "the policy is the backup itself" in line.sentence


def test_a_black_box_is_audited_too():
    plant = sc.models.double_integrator()
    step = plant.function
    backup = sc.lqr(plant, [0.1, 0.1], [10.0])
    batch = sc.scenarios(plant, backup, horizon=15, count=3, level=0.8, seed=1)
    box = sc.ControlProblem(
        sc.Policy(plant, backup, (3,)), batch, sc.Quadratic([1.0, 0.1], [0.05]),
        simulator=lambda x, u, p: np.array(step.map(len(x))(x.T, u.T, p.T)).T,
    )  # fmt: skip
    result = sc.adapt(box, sc.AdaptOptions(steps=6, audit_rollouts=300, guards=4))
    assert result.final_audit is not None and result.final_audit.passed
    assert result.final_audit.rollouts == 300


def test_a_guarded_problem_is_the_problem_on_all_of_s_kept_clear():
    given = double_integrator_problem()
    guards = given.scenarios.declared.edge(5, 3)
    guarded = GuardedProblem(given, guards, 0.01)
    rng = np.random.default_rng(0)
    theta = given.theta_initial + 0.1 * rng.normal(size=given.theta_dim)
    S, rows = given.scenarios.count, given.rows_per_scenario
    both = given.with_scenarios(given.scenarios.and_then(guards), given.theta_initial)
    _, g = both.evaluate(theta)
    of_guards = slice(S * rows, (S + 5) * rows)
    expected = np.concatenate([g[: S * rows], g[(S + 5) * rows :], g[of_guards]])
    objective, found = guarded.evaluate(theta)
    assert objective == given.evaluate(theta)[0]
    kept = found - expected
    assert (kept >= -1e-15).all() and (kept <= 0.01 + 1e-15).all() and kept.max() > 0.009
    np.testing.assert_allclose(guarded.in_bounds_units(found), guarded.in_bounds_units(expected + kept), atol=1e-15)
    np.testing.assert_allclose(guarded.sample(theta[None])[0], found, atol=1e-12)
    start = guarded.evaluate(given.theta_initial)[1]
    assert (start <= 0).all()  # the safe start is always inside

    multipliers, curvatures = rng.uniform(size=(2, guarded.varies.size))

    def lagrangian(at):
        value, metrics = guarded.evaluate(at)
        return value + multipliers @ metrics + curvatures @ metrics**2 / 2

    gradient = guarded.lagrangian_gradients(theta[None], multipliers, curvatures)[0]
    direction = rng.normal(size=theta.size)
    slope = (lagrangian(theta + 1e-6 * direction) - lagrangian(theta - 1e-6 * direction)) / 2e-6
    assert slope == pytest.approx(gradient @ direction, rel=1e-5)
    for block in guarded.blocks(theta.size):
        J = guarded.jacobian(theta, direction[None], block)[0]
        steps = guarded.sample(np.stack([theta + 1e-6 * direction, theta - 1e-6 * direction]))[:, block.metrics]
        np.testing.assert_allclose(J, (steps[0] - steps[1]) / 2e-6, atol=1e-6)
        sampled, _ = guarded.differences((theta + 1e-5 * direction)[None], found, 1e-5, block)
        np.testing.assert_allclose(sampled[0], J, atol=5e-3)


def test_s_stays_bounded_and_drops_what_nothing_came_close_to(monkeypatch):
    monkeypatch.setattr(audited, "MOST_GUARDS", 8)
    result = sc.adapt(problem(), sc.AdaptOptions(**FEW))
    during = [row for row in result.audits if row.step < 40]
    assert max(row.guards for row in during) == 8
    assert any(now.guards < before.guards + now.found for before, now in itertools.pairwise(during))
    assert result.final_audit is not None and result.final_audit.passed and result.is_safe()
