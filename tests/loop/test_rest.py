"""Where the loop under the backup is at rest for plant parameters, and contraction about it (E8)."""

from __future__ import annotations

from dataclasses import replace

import casadi as ca
import numpy as np
import pytest
from loops import loaded_arm, loaded_case

from scpo_ctrl import AdaptOptions, ControlProblem, MetricOptions, Policy, Quadratic, adapt, lqr, scenarios
from scpo_ctrl.engine.simulator import stepping
from scpo_ctrl.errors import UnsafeStartError
from scpo_ctrl.loop.backup import Backup
from scpo_ctrl.loop.black_box import BlackBox, BoxRest
from scpo_ctrl.loop.level import moved_rest
from scpo_ctrl.loop.rest import BackupRest, settle
from scpo_ctrl.models import Plant, cart_pole, double_integrator, planar_quadrotor

BACKUP = loaded_case().loop.policy.backup
PARAMETERS = loaded_case(count=200).batch.p


def box_of(plant: Plant) -> BlackBox:
    return BlackBox(stepping(plant.function, plant))


@pytest.mark.parametrize("black_box", [False, True])
def test_the_loop_under_the_backup_stays_where_it_is_said_to_rest(black_box):
    plant = loaded_arm()
    rest = BoxRest(plant, BACKUP, box_of(plant)) if black_box else BackupRest(plant, BACKUP)
    places = rest.places(PARAMETERS)
    following = np.array(plant.function.map(200)(places.T, -BACKUP.K @ places.T, PARAMETERS.T)).T
    np.testing.assert_allclose(following, places, atol=1e-11)
    assert np.abs(places[:, 0]).max() > 0.1
    slopes = rest.slopes(places, PARAMETERS)
    for j, h in enumerate(1e-5 * np.eye(2)):
        expected = (rest.places(PARAMETERS + h) - rest.places(PARAMETERS - h)) / 2e-5
        np.testing.assert_allclose(slopes[:, :, j], expected, atol=1e-8)


def test_each_place_of_rest_is_the_same_in_any_company():
    rest = BackupRest(loaded_arm(), BACKUP)
    whole = rest.places(PARAMETERS)
    for part in (slice(0, 1), slice(3, 200, 7), slice(1, 130)):
        np.testing.assert_array_equal(rest.places(PARAMETERS[part]), whole[part])
    np.testing.assert_array_equal(rest.places(np.tile(PARAMETERS[5], (4, 1))), np.tile(whole[5], (4, 1)))
    np.testing.assert_array_equal(rest.places(np.array([[0.0, 1.3]])), [[0.0, 0.0]])  # at rest there, to the last bit


@pytest.mark.parametrize(
    ("plant", "moves"), [(double_integrator(), False), (cart_pole(), False), (planar_quadrotor(), True)]
)
def test_where_parameters_do_not_move_the_equilibrium_none_is_looked_for(plant, moves):
    backup = Backup(np.zeros((plant.nu, plant.nx)), np.eye(plant.nx), 1.0)
    assert BackupRest(plant, backup).moves == moves


def test_parameters_that_move_the_equilibrium_are_named():
    ranges = np.array([[-1.0, 1.0], [0.7, 1.4]])  # of the load, and of the gain of an input that is zero at rest
    assert moved_rest(loaded_arm(), ranges).startswith("load may move the equilibrium")
    assert not moved_rest(cart_pole(), np.column_stack([0.9 * cart_pole().p_nominal, 1.1 * cart_pole().p_nominal]))


def test_a_loop_that_never_rests_is_told_from_the_others():
    drifts = np.array([0.0, 1.0, 0.0])

    def loop(x, rows):  # one drifts at any state, one is at rest, one is unstable
        slopes = np.array([0.5, 1.0, 3.0])[rows]
        return slopes[:, None] * x + drifts[rows, None], slopes[:, None, None]

    places = settle(loop, np.array([[2.0], [2.0], [2.0]]), Backup(np.zeros((1, 1)), np.eye(1), 1.0))
    np.testing.assert_allclose(places, [[0.0], [np.nan], [0.0]], atol=1e-12)


def loaded_problem(metrics: MetricOptions, simulator=None, **changes) -> ControlProblem:
    plant = loaded_arm().replace(u_min=[-2.0], u_max=[2.0])
    backup = lqr(plant, [1.0, 0.2], [1.0], parameters={"load": [-0.5, 0.5]})
    batch = scenarios(plant, backup, horizon=60, count=6, level=0.5, parameters={"load": [-0.5, 0.5]})
    batch = replace(batch, **changes)
    objective = Quadratic([1.0, 0.1], [0.05])
    return ControlProblem(Policy(plant, backup, (3,)), batch, objective, metrics, simulator=simulator)


def test_contraction_is_about_where_the_scenario_rests():
    """About the nominal equilibrium no controller passes: V ends where the load leaves it, above that of a start."""
    start = np.random.default_rng(0).uniform(-0.05, 0.05, (6, 2))
    problem = loaded_problem(MetricOptions(contraction=0.3), x0=start)
    batch, backup, row = problem.scenarios, problem.backup, problem.rows_per_scenario - 1
    rests = BackupRest(problem.plant, backup).places(batch.p)
    X, _ = problem.trajectories(problem.theta_initial)
    expected = backup.level(X[:, -1] - rests) - 0.3 * backup.level(batch.x0 - rests)
    found = problem.metrics(problem.theta_initial)[problem.of_scenarios].reshape(batch.count, -1)[:, row]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(problem.contraction_limits(batch), 0.3 * backup.level(batch.x0 - rests), rtol=1e-12)
    assert (found < 0).all()
    nominal = backup.level(X[:, -1]) - 0.3 * backup.level(batch.x0)
    assert (nominal > 0).any()
    result = adapt(problem, AdaptOptions(steps=5, audit=False))
    assert result.is_safe()
    assert result.objective_final < result.objective_initial


def test_a_start_where_the_load_settles_wants_a_floor():
    rest = BackupRest(loaded_arm(), loaded_problem(MetricOptions()).backup)
    p = np.array([[0.4, 1.0], [-0.3, 1.0]])
    changes = {"x0": rest.places(p), "p": p, "w": np.zeros((2, 60, 0))}
    moved = loaded_problem(MetricOptions(contraction=0.3), **changes)
    theta = moved.theta_initial + 0.3
    assert (moved.metrics(moved.theta_initial)[moved.of_scenarios] < 1e-12).all()
    assert (moved.metrics(theta)[moved.rows_per_scenario - 1]) > 0
    floor = loaded_problem(MetricOptions(contraction=0.3, contraction_floor=0.5), **changes)
    assert (floor.metrics(theta)[floor.rows_per_scenario - 1]) < 0


def fold() -> Plant:
    """Return a plant that has no equilibrium under u = -K z once its parameter exceeds K² / 4."""
    x, u, p = ca.SX.sym("x"), ca.SX.sym("u"), ca.SX.sym("p")
    bounds = {"x_min": [-9.0], "x_max": [9.0], "u_min": [-9.0], "u_max": [9.0]}
    f = 0.9 * x + 0.1 * (u + x**2 + p)
    return Plant(name="fold", x=x, u=u, p=p, p_labels=("lift",), p_nominal=[0.0], f=f, dt=0.1, **bounds)


@pytest.mark.parametrize("black_box", [False, True])
@pytest.mark.parametrize("stability", [False, True])
def test_a_corner_without_an_equilibrium_is_named(stability, black_box):
    plant, metrics = fold(), MetricOptions(contraction=0.5, stability=stability)
    backup = Backup(np.array([[1.0]]), np.array([[1.0]]), 0.04)
    batch = scenarios(plant, backup, horizon=5, count=3, level=0.5, parameters={"lift": [0.0, 3.0]})
    box = {"simulator": plant.function} if black_box else {}
    words = r"no equilibrium for lift = 3; narrow the parameter ranges"
    with pytest.raises(UnsafeStartError, match=words):
        ControlProblem(Policy(plant, backup), batch, Quadratic([1.0], [1.0]), metrics, **box)
    ControlProblem(Policy(plant, backup), batch, Quadratic([1.0], [1.0]), MetricOptions(stability=False), **box)


@pytest.mark.parametrize("black_box", [False, True])
def test_a_scenario_that_never_rests_violates(black_box):
    plant, metrics = fold(), MetricOptions(path=False, contraction=0.9)
    backup = Backup(np.array([[1.0]]), np.array([[1.0]]), 1.0)
    batch = scenarios(plant, backup, horizon=5, count=3, level=0.01, parameters={"lift": [0.0, 0.01]})
    box = {"simulator": plant.function} if black_box else {}
    problem = ControlProblem(Policy(plant, backup), batch, Quadratic([1.0], [1.0]), metrics, **box)
    assert (problem.metrics(problem.theta_initial) <= 0).all()
    beyond = replace(batch, p=np.array([[0.0], [3.0], [0.005]]))
    values = problem.with_scenarios(beyond, problem.theta_initial).metrics(problem.theta_initial)
    assert (values <= 0).tolist()[:3] == [True, False, True]
