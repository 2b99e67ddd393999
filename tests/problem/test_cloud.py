"""One-step conditions on a cloud of states (E13): what they compute."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from clouds import CASES, disturbed, expected, shipped, with_metrics
from problem_files import write
from problems import double_integrator_problem

import scpo_ctrl as sc
from scpo_ctrl.errors import DomainError, ProblemFileError


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
    assert extreme.sum() > 8  # where the constant part and the other have the same sign
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
