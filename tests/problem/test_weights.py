"""A weight is a matrix, its diagonal, or a number, wherever there is one."""

from __future__ import annotations

import numpy as np
import pytest

import scpo_ctrl as sc
from scpo_ctrl import controllers, models
from scpo_ctrl.errors import DimensionError, DomainError
from scpo_ctrl.weights import as_matrix, as_weight

PLANT = models.planar_quadrotor()
FORMS = [0.3, [0.3, 0.3], np.diag([0.3, 0.3])]
WRONG = [[0.3], [0.3] * 3, np.ones((3, 3)), -0.3, np.nan, [[1.0, 2.0], [0.0, 1.0]], [[1.0, 2.0], [2.0, 1.0]]]


def backup():
    plant = models.double_integrator()
    return plant, sc.lqr(plant, 0.1, 10.0)


@pytest.mark.parametrize("form", FORMS, ids=("number", "diagonal", "matrix"))
def test_forms_of_a_weight_are_the_same(form):
    np.testing.assert_array_equal(as_weight("Q", form, 2), [0.3, 0.3])
    np.testing.assert_array_equal(as_matrix("P", form, 2), np.diag([0.3, 0.3]))


@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_what_is_no_weight_is_refused(value):
    with pytest.raises((DimensionError, DomainError), match=r"^Q"):
        as_weight("Q", value, 2)


def test_definite_where_it_has_to_be():
    singular = [[1.0, 1.0], [1.0, 1.0]]
    np.testing.assert_array_equal(as_weight("Q", singular, 2), singular)
    for value in (singular, 0.0, [1.0, 0.0]):
        with pytest.raises(DomainError, match=r"Q.*(positive definite|> 0)"):
            as_weight("Q", value, 2, definite=True)


def test_a_full_matrix_stays_one():
    full = np.array([[2.0, 0.5], [0.5, 1.0]])
    np.testing.assert_array_equal(as_weight("Q", full), full)
    np.testing.assert_array_equal(as_matrix("P", full, 2), full)


def test_lqr_and_level_sets_take_numbers():
    plant, number = backup()
    diagonal = sc.lqr(plant, [0.1, 0.1], [10.0])
    matrix = sc.lqr(plant, np.diag([0.1, 0.1]), np.diag([10.0]))
    for other in (diagonal, matrix):
        np.testing.assert_array_equal(number.K, other.K)
        assert number.rho == other.rho
    for form in FORMS:
        given = sc.Backup(K=number.K, P=form, rho=1.0)
        np.testing.assert_array_equal(given.P, 0.3 * np.eye(2))
        assert given.level([1.0, 2.0]) == pytest.approx(1.5)
    with pytest.raises(DimensionError, match="P has shape"):
        sc.Backup(K=number.K, P=[1.0, 1.0, 1.0], rho=1.0)


def test_covariances_of_an_observer_take_matrices_and_numbers():
    plant = models.double_integrator()
    shows = plant.replace(y=plant.x[0])
    numbers = controllers.lqg(shows, 1.0, 1.0, 0.1, 0.1)
    matrices = controllers.lqg(shows, np.eye(2), [[1.0]], 0.1 * np.eye(2), [[0.1]])
    np.testing.assert_array_equal(numbers.theta_initial, matrices.theta_initial)
    coupled = controllers.lqg(shows, np.eye(2), 1.0, [[0.1, 0.05], [0.05, 0.1]], 0.1)
    assert np.abs(coupled.theta_initial - numbers.theta_initial).max() > 1e-3
    integral = controllers.lqi(plant, 1.0, 1.0)
    np.testing.assert_array_equal(integral.theta_initial, controllers.lqi(plant, [1.0] * 3, [1.0]).theta_initial)


@pytest.mark.parametrize("kind", ["quadratic", "cost"])
def test_an_objective_takes_numbers(kind):
    plant, start = backup()
    policy, batch = sc.Policy(plant, start), sc.scenarios(plant, start, horizon=5, count=2)

    def value(Q, R, P_N, R_du):
        if kind == "quadratic":
            objective = sc.Quadratic(Q, R, P_N=P_N, R_du=R_du)
        else:
            objective = sc.Cost(plant.x[0] ** 2, R_du=R_du)
        problem = sc.ControlProblem(policy, batch, objective)
        assert np.ndim(problem.objective_data.R_du) == 1
        return problem.objective(problem.theta_initial)

    assert value(0.3, 0.2, 0.5, 0.1) == value([0.3, 0.3], [0.2], [0.5, 0.5], [0.1])


def test_a_number_weighs_every_input():
    plant = PLANT
    start = sc.lmi(plant)
    policy, batch = sc.Policy(plant, start), sc.scenarios(plant, start, horizon=3, count=1)
    found = [
        sc.ControlProblem(policy, batch, sc.Quadratic(Q, R)).objective(np.zeros(policy.theta_dim))
        for Q, R in ((0.3, 0.2), ([0.3] * 6, [0.2, 0.2]), (0.3 * np.eye(6), 0.2 * np.eye(2)))
    ]
    assert found[0] == found[1] == found[2] > 0
