"""One-step conditions on a cloud of states (E13): what they compute, and what a run that has them leaves."""

from __future__ import annotations

import dataclasses
import importlib.resources
import itertools

import casadi as ca
import numpy as np
import pytest
from plain import AdaptOptions
from problem_files import write
from problems import control_problem, double_integrator_problem

import scpo_ctrl as sc
from scpo_ctrl.adaptation.binding import binding, binding_summary, closest_metrics, cloud_room
from scpo_ctrl.adaptation.proven_smoothness import smoothness_bounds
from scpo_ctrl.assurance import Fresh, audit, falsify
from scpo_ctrl.errors import DomainError, ProblemFileError, UnsafeStartError
from scpo_ctrl.models import Plant
from scpo_ctrl.problem.guarded import GuardedProblem
from scpo_ctrl.report.tables import details, metric_rows, what_binds


def shipped(name: str, **options) -> sc.ControlProblem:
    """Return a problem that ships with the package, with other metrics."""
    problem = sc.load_problem(str(importlib.resources.files("scpo_ctrl") / "data" / f"{name}.toml"))
    return with_metrics(problem, **options)


def with_metrics(problem: sc.ControlProblem, **options) -> sc.ControlProblem:
    changed = dataclasses.replace(problem.scenario_metrics.options, **options)
    return sc.ControlProblem(
        problem.policy, problem.scenarios, problem.objective_data, changed, simulator=problem.simulator
    )


def disturbed(**options) -> sc.ControlProblem:
    """Return the double integrator with another mass and disturbances in each scenario."""
    problem = double_integrator_problem((3,))
    batch = sc.scenarios(
        problem.plant, problem.backup, horizon=9, count=5, level=0.5, parameters={"mass": (0.9, 1.1)},
        disturbance=[0.001, 0.002], disturbance_fixed=0.5,
    )  # fmt: skip
    return sc.ControlProblem(problem.policy, batch, problem.objective_data, sc.MetricOptions(**options))


def loaded(**options) -> sc.ControlProblem:
    """Return a damped mass under a constant load, which moves where it settles."""
    x, u, p = ca.SX.sym("x", 2), ca.SX.sym("u"), ca.SX.sym("p")
    bounds = {"x_min": [-5.0, -1.5], "x_max": [5.0, 1.5], "u_min": [-1.0], "u_max": [1.0]}
    f = ca.vertcat(x[0] + 0.1 * x[1], 0.95 * x[1] + 0.1 * (u + p))
    plant = Plant(name="loaded", x=x, u=u, p=p, p_labels=("load",), p_nominal=[0.0], f=f, dt=0.1, **bounds)
    backup = sc.lqr(plant, [0.1, 0.1], [10.0])
    batch = sc.scenarios(plant, backup, horizon=9, count=5, level=0.3, parameters={"load": (-0.05, 0.05)})
    return sc.ControlProblem(
        sc.Policy(plant, backup, (3,)), batch, sc.Quadratic([1.0, 0.1], [0.05]), sc.MetricOptions(**options)
    )


def box_of(plant: Plant):
    """Return a plant as a black box."""

    def step(x, u, p):
        return np.array(plant.function.map(len(x))(x.T, u.T, p.T)).T

    return step


def expected(problem: sc.ControlProblem, theta: np.ndarray) -> np.ndarray:
    """Return the metrics of the cloud by a loop over its states, from the equation."""
    plant, backup, options = problem.plant, problem.backup, problem.scenario_metrics.options
    a, c, cloud = options.one_step, options.contraction_floor, problem.one_step.cloud
    assert cloud.horizon == 1 and cloud.count == options.cloud
    rows = []
    for k in range(cloud.count):
        x, p = cloud.x0[k], cloud.p[k]
        rest = plant.x_eq
        for _ in range(3000):  # until the loop under the backup is at rest
            command = np.clip(plant.u_eq - backup.K @ (rest - plant.x_eq), plant.u_min, plant.u_max)
            rest = np.array(plant.function(rest, command, p))[:, 0]
        u = problem.policy.commands(x[None, None], theta[None])[0, 0]
        after = np.array(plant.function(x, np.clip(u, plant.u_min, plant.u_max), p))[:, 0]
        after = after + cloud.w[k, 0] if cloud.w.size else after
        V = [(z - rest) @ backup.P @ (z - rest) for z in (x, after)]
        states = [bound for z in (x, after) for bound in (*(z - plant.x_max), *(plant.x_min - z))]
        rows.append([*states, *(u - plant.u_max), *(plant.u_min - u), V[1] - max((1 - a) * V[0], c * backup.rho)])
    return np.array(rows)


CASES = {
    "R3": lambda: shipped("double_integrator", one_step=0.02, cloud=9),
    "R4": lambda: shipped("cart_pole", one_step=0.002, cloud=17, contraction_floor=0.1),
    "disturbed": lambda: disturbed(one_step=0.01, cloud=12, contraction_floor=0.2),
    "loaded": lambda: loaded(one_step=0.01, cloud=8),
}


@pytest.mark.parametrize("name", CASES)
def test_the_metrics_are_those_of_the_equation(name):
    problem, rng = CASES[name](), np.random.default_rng(0)
    rows = len(problem.one_step.rows)
    for spread in (0.0, 0.1, 1.0):
        theta = problem.theta_initial + spread * rng.normal(size=problem.theta_dim)
        found = problem.metrics(theta)[problem.of_cloud].reshape(-1, rows)
        want = expected(problem, theta)
        np.testing.assert_allclose(found, want, rtol=1e-9, atol=1e-9 * np.abs(want).max())
    moves = problem.varies[problem.of_cloud].reshape(-1, rows)
    nx = problem.plant.nx
    assert not moves[:, : 2 * nx].any() and moves[:, 2 * nx :].all()  # all but the bounds on the state itself


@pytest.mark.parametrize("name", CASES)
def test_what_is_known_without_the_cloud_stays_in_its_place(name):
    problem = CASES[name]()
    plain = with_metrics(problem, one_step=None, cloud=None, contraction_floor=0.0)
    problem = with_metrics(problem, contraction_floor=0.0)
    theta = problem.theta_initial + 0.1 * np.random.default_rng(1).normal(size=problem.theta_dim)
    first = slice(0, plain.varies.size)
    assert problem.of_cloud == slice(plain.varies.size, problem.varies.size)
    assert plain.of_cloud == slice(plain.varies.size, plain.varies.size)
    np.testing.assert_array_equal(problem.metrics(theta)[first], plain.metrics(theta))
    np.testing.assert_array_equal(problem.varies[first], plain.varies)
    np.testing.assert_array_equal(problem.metric_units[first], plain.metric_units)
    assert [problem.metric_label(i) for i in (0, first.stop - 1)] == [
        plain.metric_label(i) for i in (0, first.stop - 1)
    ]
    assert problem.rollouts_per_theta == plain.rollouts_per_theta  # steps are no rollouts
    assert problem.objective(theta) == plain.objective(theta)


@pytest.mark.parametrize("name", CASES)
def test_derivatives_are_those_of_differences(name):
    problem, rng = CASES[name](), np.random.default_rng(2)
    theta = problem.theta_initial + 0.05 * rng.normal(size=problem.theta_dim)
    blocks = problem.blocks(1)
    assert blocks[0].metrics.start == 0 and blocks[-1].metrics.stop == problem.varies.size
    assert all(one.metrics.stop == other.metrics.start for one, other in itertools.pairwise(blocks))
    h, D = 1e-6, rng.normal(size=(3, problem.theta_dim))
    central = (problem.sample(theta + h * D) - problem.sample(theta - h * D)) / (2 * h)
    exact = np.hstack([problem.jacobian(theta, D, block) for block in blocks])
    of = problem.of_cloud
    np.testing.assert_allclose(exact[:, of], central[:, of], rtol=1e-5, atol=1e-7)
    g = problem.sample(theta[None])[0]
    sampled = np.hstack([problem.differences(theta + h * D, g, h, block)[0] for block in blocks])
    np.testing.assert_allclose(sampled[:, of], exact[:, of], rtol=1e-3, atol=1e-4)
    weights = rng.uniform(size=problem.varies.size) * (np.arange(problem.varies.size) >= of.start)
    there = problem.lagrangian_gradients(theta[None], weights, 0.5 * weights)[0]
    bare = problem.lagrangian_gradients(theta[None], 0 * weights)[0]
    np.testing.assert_allclose(D @ (there - bare), exact @ (weights + 0.5 * weights * g), rtol=1e-6, atol=1e-9)


def test_v_counts_in_parts_of_what_it_must_not_exceed():
    problem = shipped("double_integrator", one_step=0.02, cloud=16)
    rows, of, one_step = len(problem.one_step.rows), problem.of_cloud, problem.one_step
    limits = 0.98 * problem.backup.level(one_step.cloud.x0)
    assert limits.max() > 1e3 * limits.min()
    np.testing.assert_allclose(problem.metric_units[of].reshape(-1, rows)[:, -1], limits, rtol=1e-9)
    g = problem.sample(problem.theta_initial[None])[0][of].reshape(-1, rows)[:, -1]
    assert (g < -1e-3).all() and (g > -1.0).all()  # of the same size at all levels
    floor = with_metrics(problem, contraction_floor=0.3)
    units = floor.metric_units[floor.of_cloud].reshape(-1, rows)[:, -1]
    np.testing.assert_allclose(units, np.maximum(limits, 0.3 * problem.backup.rho), rtol=1e-9)


def test_the_cloud_is_spread_over_the_declared_set_its_edges_and_the_corners():
    problem = shipped("cart_pole", one_step=0.002)
    cloud, declared = problem.one_step.cloud, problem.scenarios.declared
    part = problem.backup.level(cloud.x0) / (0.8 * problem.backup.rho)
    assert cloud.count == problem.scenario_metrics.options.cloud == 256
    assert part.max() <= 1 + 1e-9
    assert np.count_nonzero(part > 1 - 1e-9) == 96  # three of four of the first half
    assert part.min() < 1e-3
    low, high = declared.ranges.T
    at_end = ((cloud.p == low) | (cloud.p == high)).all(axis=1)
    assert np.count_nonzero(at_end) == 128
    assert len(np.unique(cloud.p[at_end], axis=0)) == 4
    again = shipped("cart_pole", one_step=0.002).one_step.cloud
    np.testing.assert_array_equal(cloud.x0, again.x0)
    other = dataclasses.replace(declared, seed=1).cloud(256)
    assert not (other.x0 == cloud.x0).all(axis=1).any()
    assert not (cloud.x0[:, None] == problem.scenarios.x0).all(axis=2).any()


def test_disturbances_of_the_cloud_are_at_either_end():
    cloud = disturbed(one_step=0.01, cloud=32, contraction_floor=0.2).one_step.cloud
    assert cloud.w.shape == (32, 1, 2)
    np.testing.assert_array_equal(np.abs(cloud.w[16:24]) <= [0.001, 0.002], True)
    extreme = (np.abs(cloud.w[:, 0]) == [0.001, 0.002]).all(axis=1)
    assert extreme.sum() > 16  # where the constant part and the other have the same sign
    assert {tuple(np.sign(w)) for w in cloud.w[extreme, 0]} == {(1, 1), (1, -1), (-1, 1), (-1, -1)}


def test_single_points_have_no_cloud():
    problem = double_integrator_problem((3,))
    given = {"initial_states": [[1.0, 0.2], [-2.0, 0.5]], "horizon": 9}
    for more, message in (
        ({"neighbourhood": 0.0}, "declare none beside their own initial states"),
        ({"neighbourhood": 0.0, "parameters": {"mass": (0.9, 1.1)}}, "declare none beside"),
        ({"level": 0.5}, None),
        ({"neighbourhood": 0.01}, None),
    ):
        batch = sc.scenarios(problem.plant, problem.backup, **given, **more)
        options = sc.MetricOptions(one_step=0.001, cloud=4)
        if message:
            with pytest.raises(DomainError, match=message):
                sc.ControlProblem(problem.policy, batch, problem.objective_data, options)
        else:
            made = sc.ControlProblem(problem.policy, batch, problem.objective_data, options)
            assert made.one_step.cloud.count == 4
    by_hand = dataclasses.replace(batch, declared=None)
    with pytest.raises(DomainError, match="declare none beside"):
        sc.ControlProblem(problem.policy, by_hand, problem.objective_data, options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"one_step": 0.0}, "one_step"),
        ({"one_step": 1.0}, "one_step is 1, the part of V that a step removes"),
        ({"one_step": 1e-20}, "expected a number in \\(0, 1\\)"),
        ({"one_step": float("nan")}, "one_step"),
        ({"cloud": 64}, "give one_step too"),
        ({"one_step": 0.1, "cloud": 0}, "cloud"),
        ({"one_step": 0.1, "cloud": 2.5}, "cloud"),
        ({"contraction_floor": 0.1}, "give contraction or one_step too"),
    ],
)
def test_bad_values(options, message):
    with pytest.raises(sc.errors.ScpoError, match=message):
        sc.MetricOptions(**options)


def test_sizes_and_floors_that_cannot_be():
    with pytest.raises(DomainError, match=r"above the level 0\.5"):
        disturbed(one_step=0.01, contraction_floor=0.6)
    with pytest.raises(DomainError, match="lower one of them"):
        disturbed(one_step=0.01, cloud=10**9)
    with pytest.raises(DomainError, match="give one_step"):
        _ = sc.MetricOptions().of_one_step


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


@pytest.mark.parametrize("name", ["R4", "disturbed", "loaded"])
def test_gradients_by_scenarios_hold_for_first_steps(name):
    problem, rng = CASES[name](), np.random.default_rng(3)
    theta = problem.theta_initial + 0.05 * rng.normal(size=problem.theta_dim)
    batch = problem.scenarios.declared.random(0, 6, 1)
    weights = np.zeros((6, len(problem.fresh.rows)))
    weights[:, -1] = 1.0
    gx0, gp, gw = problem.scenario_gradients(theta, batch, weights)
    h = 1e-6

    def value(**moved) -> np.ndarray:
        return problem.evaluate_scenarios(theta, dataclasses.replace(batch, **moved))[1][:, -1]

    for i in range(problem.plant.nx):
        move = h * np.eye(problem.plant.nx)[i]
        slope = (value(x0=batch.x0 + move) - value(x0=batch.x0 - move)) / (2 * h)
        np.testing.assert_allclose(gx0[:, i], slope, rtol=1e-4, atol=1e-6)
    slope = (value(p=batch.p + h) - value(p=batch.p - h)) / (2 * h)
    np.testing.assert_allclose(gp.sum(axis=1), slope, rtol=1e-4, atol=1e-6)
    if gw.size:
        assert not gw[:, 1:].any()
        slope = (value(w=batch.w + h) - value(w=batch.w - h)) / (2 * h)
        np.testing.assert_allclose(gw[:, 0].sum(axis=1), slope, rtol=1e-4, atol=1e-6)


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


def test_other_scenarios_keep_the_cloud():
    problem = CASES["disturbed"]()
    other = problem.with_scenarios(problem.scenarios.part(slice(0, 2)), problem.theta_initial)
    assert other.one_step.cloud is problem.one_step.cloud
    assert other.of_cloud.stop - other.of_cloud.start == problem.of_cloud.stop - problem.of_cloud.start
    np.testing.assert_array_equal(
        other.metrics(problem.theta_initial)[other.of_cloud], problem.metrics(problem.theta_initial)[problem.of_cloud]
    )


def test_a_problem_file_asks_for_it(tmp_path):
    changes = {"metrics": {"one_step": 0.01, "cloud": 7}}
    problem = sc.load_problem(write(tmp_path / "problem.toml", changes))
    assert problem.one_step.cloud.count == 7 and problem.tables["metrics"]["cloud"] == 7
    plain = sc.load_problem(write(tmp_path / "plain.toml", {}))
    assert plain.one_step is None and not {"one_step", "cloud"} & set(plain.tables["metrics"])
    filled = sc.load_problem(write(tmp_path / "filled.toml", {"metrics": {"one_step": 0.01}}))
    assert filled.tables["metrics"]["cloud"] == 256
    for metrics, message in (({"one_step": 1.5}, "one_step is 1.5"), ({"onestep": 0.1}, "unknown key 'onestep'")):
        with pytest.raises((DomainError, ProblemFileError), match=message):
            sc.load_problem(write(tmp_path / "bad.toml", {"metrics": metrics}))
    with pytest.raises(DomainError, match="declare none beside"):
        given = {"scenarios": {"horizon": 8, "initial_states": [[1.0, 0.2]], "neighbourhood": 0.0}}
        sc.load_problem(write(tmp_path / "points.toml", changes | given))
