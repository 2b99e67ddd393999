"""simulate: numbers against a plain loop, policies against those that an `Adapter` has at work, and what it refuses."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import casadi as ca
import numpy as np
import pytest
from plain_loop import cart, rolled

import scpo_ctrl as sc
from scpo_ctrl import models
from scpo_ctrl.assurance.digests import theta_digest
from scpo_ctrl.assurance.simulate import episodes_again, policies_at_work
from scpo_ctrl.errors import ClassError, DimensionError, DomainError, EvaluationError
from scpo_ctrl.models import double_integrator
from scpo_ctrl.report.simulated_figure import simulation_figure, simulation_png

_STREAM = 1 << 65  # of simulations, which no audit and no certificate draws from
RANGE = (0.9, 1.1)  # kg


def cart_problem(*, disturbance=None, parameters=None, **metrics) -> sc.ControlProblem:
    plant = double_integrator()
    backup = sc.lqr(plant, [0.1, 0.1], [10.0])
    ranges = {"mass": RANGE} if parameters is None else parameters
    batch = sc.scenarios(
        plant, backup, horizon=30, count=12, level=0.7, parameters=ranges, disturbance=disturbance, seed=3
    )
    options = sc.MetricOptions(**{"contraction": 0.7, **metrics})
    return sc.ControlProblem(sc.Policy(plant, backup, (4,)), batch, sc.Quadratic([1.0, 0.1], [0.05]), options)


OPTIONS = sc.AdaptOptions(steps=12, audit_rollouts=200, audit_every=4)


@pytest.fixture(scope="module")
def result() -> sc.Result:
    return sc.adapt(cart_problem(), OPTIONS)


@pytest.fixture(scope="module")
def unaudited() -> sc.Result:
    return sc.adapt(cart_problem(disturbance=[0.002, 0.004]), sc.AdaptOptions(steps=4, audit=False))


def rubbing(drag: float = 0.05, **changes) -> models.Plant:
    """Return the cart with friction, of which the model knows nothing, by the exact discretisation of the rest."""
    plant, size = double_integrator(), ca.SX.sym("drag")
    force = plant.u - size * ca.tanh(plant.x[1] / 0.1)
    f = ca.vertcat(plant.x[0] + 0.1 * plant.x[1] + 0.005 * force / plant.p, plant.x[1] + 0.1 * force / plant.p)
    return plant.replace(
        name="rubbing cart", f=f, p=ca.vertcat(size, plant.p), p_labels=("drag", "mass"), p_units=("N", "kg"),
        p_nominal=[drag, 1.0], p_above=[-np.inf, 0.0], **changes,
    )  # fmt: skip


def by_hand(problem: sc.ControlProblem, theta, drawn, step) -> tuple[np.ndarray, np.ndarray, float]:
    """Return which episodes violate metrics of states, and which any metric, and the mean cost, from a plain loop."""
    X, V, U = rolled(problem, theta, drawn, step)
    plant, P = problem.plant, problem.backup.P
    pairs = ((X[:, 1:], plant.x_min, plant.x_max), (V, plant.u_min, plant.u_max))
    outside = [(values < low) | (values > high) for values, low, high in pairs]
    broken = np.any([part.any(axis=(1, 2)) for part in outside], axis=0)
    level = [np.einsum("si,ij,sj->s", x, P, x) for x in (X[:, 0], X[:, -1])]
    cost = (X[:, :-1] ** 2 @ [1.0, 0.1] + U[:, :, 0] ** 2 * 0.05).mean()
    slower = level[1] > 0.7 * level[0]
    return outside[0].any(axis=(1, 2)) | slower, broken | slower, float(cost)


def drawn(problem: sc.ControlProblem, count: int, seed: int):
    return problem.scenarios.declared.random(0, count, _STREAM + seed)


@pytest.mark.parametrize("mass", [0.2, 0.95, 1.08, 3.0])
def test_numbers_are_those_of_a_plain_simulation(unaudited, mass):
    problem = unaudited.problem
    found = sc.simulate(unaudited, parameters={"mass": mass}, episodes=70, seed=5)
    batch = drawn(problem, 70, 5)
    true = replace(batch, p=np.full((70, 1), mass))
    assert len(found.policies) == len(unaudited.committed)
    for policy, theta in zip(found.policies, unaudited.committed, strict=True):
        by_state, violate, cost = by_hand(problem, theta, true, cart)
        _, on_model, cost_on_model = by_hand(problem, theta, batch, cart)
        assert (policy.violations, policy.violations_on_model) == (violate.sum(), on_model.sum())
        assert policy.command_alone == (violate & ~by_state).sum()
        assert policy.objective == pytest.approx(cost, rel=1e-12)
        assert policy.objective_on_model == pytest.approx(cost_on_model, rel=1e-12)
        assert policy.theta_digest == theta_digest(theta)


def test_a_mass_within_the_ranges_violates_nothing_and_one_far_outside_does(result):
    within = [sc.simulate(result, parameters={"mass": mass}) for mass in (0.92, 1.08)]
    assert [found.violations for found in within] == [0, 0]
    assert all(found.passed and found.mismatch.uncovered == 0 for found in within)
    heavy = sc.simulate(result, parameters={"mass": 4.0})
    assert not heavy.passed
    assert "outside the declared 0.9 to 1.1" in heavy.true_plant
    assert "violate; worst t = " in heavy.sentence()
    assert heavy.mismatch.uncovered == heavy.mismatch.count
    assert "safe" not in heavy.sentence() + within[0].sentence()


def test_another_plant_is_simulated_with_the_masses_of_the_scenarios(unaudited):
    problem, batch = unaudited.problem, drawn(unaudited.problem, 40, 0)

    def step(x, u, p):
        return cart(x, u - 0.3 * np.tanh(x[:, 1:] / 0.1), p)

    found = sc.simulate(unaudited, rubbing(), {"drag": 0.3}, episodes=40)
    black_box = sc.simulate(unaudited, step, episodes=40)
    for policy, boxed, theta in zip(found.policies, black_box.policies, unaudited.committed, strict=True):
        _, violate, cost = by_hand(problem, theta, batch, step)
        assert policy.violations == boxed.violations == violate.sum()
        assert policy.objective == pytest.approx(cost, rel=1e-10)
        assert boxed.objective == pytest.approx(cost, rel=1e-10)
    assert "plant 'rubbing cart' in place of plant 'double_integrator' with drag = 0.3 N" in found.true_plant
    assert sc.simulate(unaudited, rubbing(), episodes=40).policies != found.policies


def test_the_closest_metric_is_the_one_that_a_plain_simulation_breaks_most(unaudited):
    found = sc.simulate(unaudited, parameters={"mass": 0.2}, episodes=50).policies[-1]
    true = replace(drawn(unaudited.problem, 50, 0), p=np.full((50, 1), 0.2))
    X, V, _ = rolled(unaudited.problem, unaudited.theta, true, cart)
    assert found.kind in ("state", "command")
    most = {"state": np.abs(X[:, 1:]) - [5.0, 1.5], "command": np.abs(V) - 1.0}[found.kind]
    assert found.excess == pytest.approx(most.max(), rel=1e-9)
    assert found.room == f"broken by {found.room.split()[2]} {found.unit}"
    assert float(found.room.split()[2]) >= found.excess


def test_contraction_that_is_broken_most_counts_in_parts_of_its_limit(unaudited):
    found = sc.simulate(unaudited, parameters={"mass": 3.0}, episodes=50).policies[0]
    true = replace(drawn(unaudited.problem, 50, 0), p=np.full((50, 1), 3.0))
    X, _, _ = rolled(unaudited.problem, unaudited.theta_initial, true, cart)
    V = [np.einsum("si,ij,sj->s", x, unaudited.problem.backup.P, x) for x in (X[:, 0], X[:, -1])]
    assert found.kind == "contraction"
    assert found.excess == pytest.approx((V[1] / (0.7 * V[0]) - 1).max(), rel=1e-9)
    assert found.room.endswith("of its limit") and found.room.startswith("broken by ")


def test_the_episode_that_is_worst_is_named_and_drawn(unaudited):
    found = sc.simulate(unaudited, parameters={"mass": 0.2}, episodes=50, seed=2)
    policy = found.policies[-1]
    once_more = sc.simulate(unaudited, parameters={"mass": 0.2}, episodes=policy.worst_episode + 1, seed=2).policies[-1]
    assert (once_more.worst_episode, once_more.excess) == (policy.worst_episode, policy.excess)
    ends = [found.policies[0].worst_episode, policy.worst_episode]
    true = replace(drawn(unaudited.problem, 50, 2), p=np.full((50, 1), 0.2)).part(np.array(ends))
    sides = episodes_again(unaudited, None, found.parameters, 2, ends)
    for (X, U), theta in zip(sides, (unaudited.theta_initial, unaudited.theta), strict=True):
        expected = rolled(unaudited.problem, theta, true, cart)
        np.testing.assert_allclose(X, expected[0], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(U, expected[1], rtol=1e-9, atol=1e-12)
    figure = simulation_figure(unaudited, found, None)
    assert "simulated on the model" in figure.get_suptitle()
    names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert names == ["safe start", "final policy"]
    assert len(figure.axes) == 3  # force, position, velocity
    worst = sides[1][0][1]
    lines = [
        line for ax in figure.axes[1:2] for part in ax.collections for line in getattr(part, "get_segments", list)()
    ]
    assert any(len(line) == 31 and np.allclose(np.asarray(line)[:, 1], worst[:, 0]) for line in lines)


def test_mismatch_is_that_of_the_plain_transitions(unaudited):
    found = sc.simulate(unaudited, rubbing(), {"drag": 0.3, "mass": 1.05}, episodes=30).mismatch
    errors, uncovered, count = [], 0, 0
    true = replace(drawn(unaudited.problem, 30, 0), p=np.full((30, 1), 1.05))
    for theta in unaudited.committed:
        X, _, U = rolled(unaudited.problem, theta, true, lambda x, u, p: cart(x, u - 0.3 * np.tanh(x[:, 1:] / 0.1), p))
        x, u, x_next = X[:, :-1].reshape(-1, 2), U.reshape(-1, 1), X[:, 1:].reshape(-1, 2)
        inside = (np.abs(x) <= [5.0, 1.5]).all(axis=1)
        x, u, x_next = x[inside], u[inside], x_next[inside]
        errors.append(np.abs(x_next - cart(x, u, np.ones((len(x), 1)))))
        ends = [cart(x, u, np.full((len(x), 1), mass)) for mass in RANGE]
        half = np.array([0.002, 0.004])
        low, high = np.min(ends, axis=0) - half, np.max(ends, axis=0) + half
        uncovered += int(((x_next < low - 1e-8) | (x_next > high + 1e-8)).any(axis=1).sum())
        count += len(x)
    every = np.vstack(errors)
    np.testing.assert_allclose(found.largest, every.max(axis=0), rtol=1e-9)
    np.testing.assert_allclose(found.rms, np.sqrt((every**2).mean(axis=0)), rtol=1e-9)
    np.testing.assert_array_equal(found.half_widths, [0.002, 0.004])
    assert (found.uncovered, found.count) == (uncovered, count)
    assert 0 < uncovered < count


def test_the_model_itself_has_no_mismatch(unaudited):
    found = sc.simulate(unaudited, episodes=50)
    assert found.true_plant == "the model itself, plant 'double_integrator'"
    assert found.mismatch.uncovered == 0
    assert [p.violations for p in found.policies] == [p.violations_on_model for p in found.policies]
    assert [p.objective for p in found.policies] == [p.objective_on_model for p in found.policies]


def test_policies_are_those_that_an_adapter_has_at_work(result):
    pilot, seen = sc.Adapter(cart_problem(), OPTIONS), []
    while True:
        if not any(np.array_equal(pilot.theta, theta) for theta in seen):
            seen.append(pilot.theta)
        if pilot.status is not sc.RunStatus.RUNNING:
            break
        pilot.step()
    trials = policies_at_work(result)
    thetas = [result.theta_initial, *(trial.theta for trial in trials[1:])]
    np.testing.assert_array_equal(thetas, seen)
    assert 2 <= len(seen) < len(result.committed)
    policies = sc.simulate(result, episodes=5).policies
    assert [policy.is_final for policy in policies] == [False] * (len(seen) - 1) + [True]
    assert policies[0].step == 0
    assert policies[-1].step == trials[-1].step + 1 <= result.steps


def test_a_policy_that_was_withdrawn_after_it_passed_was_at_work(result):
    passed = next(row for row in result.audits if row.passed and row.policy >= 0)
    rows, withdrawn = list(result.history.rows), list(sc.Verdict).index(sc.Verdict.WITHDRAWN)
    rows[passed.policy] = replace(rows[passed.policy], verdict=withdrawn)
    history = type(result.history)(result.history.theta_dim, rows)
    found = sc.simulate(replace(result, history=history), episodes=5)
    assert [policy.withdrawn for policy in found.policies].count(True) == 1
    assert found.policies[1].withdrawn


def test_episodes_are_the_same_for_every_policy_and_follow_from_the_seed(result):
    one, again, other = (sc.simulate(result, episodes=20, seed=seed) for seed in (1, 1, 2))
    assert one.text() == again.text()
    assert one.policies[0].objective != other.policies[0].objective
    assert json.loads(one.text())["theta_digest"] == theta_digest(result.theta)


def test_parts_of_the_episodes_add_up(result, monkeypatch):
    whole = sc.simulate(result, rubbing(), episodes=23)
    monkeypatch.setattr(sys.modules["scpo_ctrl.assurance.simulate"], "_NUMBERS", 5000)
    calls = []
    parts = sc.simulate(result, rubbing(), episodes=23, monitor=lambda done, total: calls.append((done, total)))
    assert [(p.violations, p.metric, p.excess) for p in parts.policies] == [
        (p.violations, p.metric, p.excess) for p in whole.policies
    ]
    np.testing.assert_allclose([p.objective for p in parts.policies], [p.objective for p in whole.policies], rtol=1e-13)
    assert parts.mismatch.count == whole.mismatch.count
    assert calls[-1] == (2 * 23 * len(whole.policies),) * 2
    assert len(calls) > len(whole.policies)


def test_a_plant_that_runs_away_is_lost_in_words_and_null_in_json(result):
    away = double_integrator()
    away = away.replace(name="away", f=away.f + 1e80 * (away.x + 0.01) ** 5)
    found = sc.simulate(result, away, episodes=10)
    assert all(policy.violations == 10 for policy in found.policies)
    assert all(policy.room == "no finite number" for policy in found.policies)
    summary = json.loads(found.text())
    assert summary["policies"][0]["excess"] is None
    assert summary["policies"][0]["objective"] is None
    assert found.mismatch.count <= 10 * 30 * len(found.policies)
    assert simulation_png(result, found, away).startswith(b"\x89PNG")


def test_one_step_conditions_are_checked_on_the_true_plant():
    plant = double_integrator()
    backup = sc.lqr(plant, [1.0, 1.0], [1.0])
    batch = sc.scenarios(plant, backup, horizon=10, count=6, level=0.5, parameters={"mass": (0.95, 1.05)})
    metrics = sc.MetricOptions(one_step=0.01, cloud=32, contraction_floor=0.01)
    problem = sc.ControlProblem(sc.Policy(plant, backup, (3,)), batch, sc.Quadratic([1.0, 0.1], [0.05]), metrics)
    run = sc.adapt(problem, sc.AdaptOptions(steps=2, audit=False))
    light, heavy = (sc.simulate(run, rubbing(0.0), {"mass": mass}, episodes=80) for mass in (1.0, 30.0))
    same = sc.simulate(run, parameters={"mass": 30.0}, episodes=80)
    assert light.passed
    assert [p.violations for p in heavy.policies] == [p.violations for p in same.policies]
    assert heavy.policies[0].violations > 0
    assert heavy.policies[0].kind == "one step"


@pytest.mark.parametrize(
    ("plant", "parameters", "kind", "match"),
    [
        (None, {"mas": 1.0}, DomainError, "unknown parameter 'mas'; known: mass"),
        (None, {"mass": 0.0}, DomainError, "mass = 0: plant 'double_integrator' needs one above 0"),
        (None, {"mass": np.nan}, DomainError, "finite"),
        (None, {"mass": "1"}, DomainError, "finite"),
        (None, ["mass"], ClassError, "values by label"),
        (None, {1: 1.0}, ClassError, "values by label"),
        (3.0, None, DomainError, "expected a function"),
        (rubbing(), {"drg": 1.0}, DomainError, "known: mass, drag"),
        (rubbing(dt=0.2), None, DomainError, "has dt = 0.2 s, expected the model's 0.1 s"),
        (rubbing(dt=None), None, DomainError, "is continuous"),
        (models.input_delay(double_integrator(), 1), None, DimensionError, "a delay or an actuator adds states"),
        (rubbing(u_min=[-0.5]), None, DomainError, r"force is within \[-0.5, 1\]"),
        (rubbing(x_units=("mm", "m/s")), None, DomainError, "position is in mm, in the model in m"),
        (rubbing(x_labels=("velocity", "position")), None, DomainError, "in the same order"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(result, plant, parameters, kind, match):
    with pytest.raises(kind, match=match):
        sc.simulate(result, plant, parameters, episodes=2)


def test_a_nominal_value_that_is_not_simulated_is_said(result):
    found = sc.simulate(result, double_integrator().replace(p_nominal=[1.25]), episodes=2)
    assert "mass as the scenarios draw it, not its nominal 1.25 kg" in found.true_plant
    set_there = sc.simulate(result, double_integrator().replace(p_nominal=[1.25]), {"mass": 1.25}, episodes=2)
    assert "nominal" not in set_there.true_plant


def test_what_has_no_plant_or_no_declared_set_is_refused(result):
    oracle = sc.UserObjective(lambda theta: (float(theta @ theta), 2 * theta))
    problem = sc.FunctionProblem(np.zeros(1), lambda thetas: thetas - 1.0, oracle)
    with pytest.raises(DomainError, match="FunctionProblem has no plant"):
        sc.simulate(sc.adapt(problem, sc.AdaptOptions(steps=1)))
    with pytest.raises(ClassError, match="expected a Result"):
        sc.simulate("RUN")
    by_hand = replace(result.problem.scenarios, declared=None, described=None)
    bare = result.problem.with_scenarios(by_hand, result.theta_initial)
    with pytest.raises(DomainError, match="no declared set"):
        sc.simulate(replace(result, problem=bare))


@pytest.mark.parametrize(
    "wrong", [{"episodes": 0}, {"episodes": 10**9}, {"seed": -1}, {"seed": 1 << 53}, {"monitor": 1}]
)
def test_counts_have_ranges(result, wrong):
    with pytest.raises(DomainError, match=next(iter(wrong))):
        sc.simulate(result, **wrong)


def test_a_black_box_that_fails_is_named(result):
    def broken(x, u, p):
        raise OSError("no licence")

    with pytest.raises(EvaluationError, match="no licence"):
        sc.simulate(result, broken, episodes=2)
    with pytest.raises(DimensionError, match="a row for each"):
        sc.simulate(result, lambda x, u, p: x[:1], episodes=2)


def test_values_of_scenarios_for_which_the_true_plant_means_nothing_are_refused(result):
    with pytest.raises(DomainError, match=r"parameter mass reaches 0\.9\d* ?; the plant|mass reaches"):
        sc.simulate(result, double_integrator().replace(p_above=[0.99]), episodes=50)
