"""Plants: discretisation order, Jacobians, python-control both ways, and every refusal."""

import importlib.resources

import casadi as ca
import control
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from problems import BOX, pendulum
from scipy.linalg import expm

import scpo_ctrl
from scpo_ctrl.errors import BoundsError, DimensionError, DomainError
from scpo_ctrl.models import (
    ZOO,
    Plant,
    discretise,
    double_integrator,
    from_statespace,
    linear,
    make_plant,
    to_statespace,
)


@given(st.lists(st.floats(-3, 3), min_size=9, max_size=9))
def test_linear_plant_steps_as_its_matrices_say(numbers):
    A, B, x, u = np.reshape(numbers[:4], (2, 2)), np.reshape(numbers[4:6], (2, 1)), numbers[6:8], numbers[8:9]
    plant = linear(A, B, 0.1, BOX)
    np.testing.assert_allclose(np.array(plant.function(x, u, []))[:, 0], A @ x + B @ u, atol=1e-13)
    jacobians = plant.linearise()
    np.testing.assert_array_equal(jacobians[0], A)
    np.testing.assert_array_equal(jacobians[1], B)


@pytest.mark.filterwarnings("ignore::scpo_ctrl.errors.ScpoWarning")  # coarse on purpose
def test_runge_kutta_has_order_four():
    x0, u, horizon = np.array([1.0, 0.5]), np.array([0.3]), 0.4
    exact = np.array(discretise(pendulum(), horizon, substeps=1024).function(x0, u, []))
    errors = [
        np.linalg.norm(np.array(discretise(pendulum(), horizon, substeps=n).function(x0, u, [])) - exact)
        for n in (2, 4, 8, 16)
    ]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (np.diff(np.abs(orders - 4)) < 0).all() and abs(orders[-1] - 4) < 0.15, orders


def test_discretised_linear_plant_agrees_with_the_matrix_exponential():
    A, B = np.array([[0.0, 1.0], [-2.0, -0.5]]), np.array([[0.0], [1.0]])
    system = control.StateSpace(A, B, np.eye(2), np.zeros((2, 1)))
    plant = discretise(
        from_statespace(system, x_min=BOX[0], x_max=BOX[1], u_min=BOX[2], u_max=BOX[3]), 0.05, substeps=8
    )
    exact = expm(np.block([[A, B], [np.zeros((1, 3))]]) * 0.05)
    Ad, Bd = plant.linearise()
    np.testing.assert_allclose(Ad, exact[:2, :2], atol=1e-10)
    np.testing.assert_allclose(Bd, exact[:2, 2:], atol=1e-10)


def test_jacobians_agree_with_differences():
    plant, h = discretise(pendulum(), 0.1), 1e-6
    A, B = plant.linearise()
    columns = [
        (
            np.array(plant.function(*(+h * d for d in split), []))
            - np.array(plant.function(*(-h * d for d in split), []))
        )
        for split in ((np.eye(3)[i, :2], np.eye(3)[i, 2:]) for i in range(3))
    ]
    np.testing.assert_allclose(np.hstack([A, B]), np.hstack(columns) / (2 * h), atol=1e-8)


def test_statespace_round_trip_keeps_matrices_time_and_labels():
    plant = double_integrator(dt=0.2)
    system = to_statespace(plant)
    assert system.dt == 0.2
    back = from_statespace(
        system, x_min=plant.x_min, x_max=plant.x_max, u_min=plant.u_min, u_max=plant.u_max, name=plant.name
    )
    for one, other in zip(plant.linearise(), back.linearise(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert (back.x_labels, back.u_labels) == (plant.x_labels, plant.u_labels)


def test_a_source_is_what_the_user_says():
    assert linear([[0.5]], [[1.0]], 0.1, ([-1.0], [1.0], [-1.0], [1.0])).source == ""
    assert linear([[0.5]], [[1.0]], 0.1, ([-1.0], [1.0], [-1.0], [1.0]), source="data sheet").source == "data sheet"
    demo = importlib.resources.files("scpo_ctrl") / "data" / "double_integrator.toml"
    with importlib.resources.as_file(demo) as path:
        plant = scpo_ctrl.load_problem(path).plant
    assert "zero-order-hold" in plant.source and "R3" in plant.source
    for one, other in zip(plant.linearise(), double_integrator().linearise(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-15)  # what the source says is so


def test_double_integrator_is_the_plant_of_r3():
    A, B = double_integrator().linearise()
    np.testing.assert_allclose(A, [[1, 0.1], [0, 1]], atol=0)
    np.testing.assert_allclose(B, [[0.005], [0.1]], rtol=1e-15)


def test_only_a_linear_plant_counts_as_linear():
    assert double_integrator().is_linear
    assert not pendulum().is_linear
    x, u = ca.SX.sym("x"), ca.SX.sym("u")
    one = np.ones(1)
    bilinear = Plant(name="b", x=x, u=u, f=x * u, dt=0.1, x_min=-one, x_max=one, u_min=-one, u_max=one)
    assert not bilinear.is_linear


def test_every_plant_of_the_zoo_is_at_rest_and_documented():
    for name in ZOO:
        plant = make_plant(name)
        plant.linearise()
        assert plant.source
        assert all(plant.x_units), plant.x_units


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"x_min": np.array([1.0, -1.0]), "x_max": np.array([-1.0, 1.0])}, DomainError, r"x_min\[0\].*swap"),
        ({"x_min": np.array([0.1, -1.0])}, BoundsError, "do not hold the origin"),
        ({"u_max": np.array([np.inf])}, DomainError, "u_max"),
        ({"x_max": np.array([np.nan, 1.0])}, DomainError, r"x_max\[0\]"),
        ({"x_max": np.ones(3)}, DimensionError, r"\(3,\).*\(2,\)"),
        ({"dt": -0.1}, DomainError, "dt"),
        ({"x_labels": ("only one",)}, DimensionError, "x_labels"),
        ({"f": ca.SX(3, 1)}, DimensionError, "f has shape"),
        ({"x_eq": np.array([2.0, 0.0])}, BoundsError, "equilibrium x_eq"),
    ],
)
def test_a_plant_refuses_what_cannot_be_meant(changes, error, words):
    with pytest.raises(error, match=words):
        linear(np.eye(2), np.ones((2, 1)), 0.1, BOX).replace(**changes)


@pytest.mark.parametrize(
    ("A", "B", "dt", "words"),
    [
        (np.ones((2, 3)), np.ones((2, 1)), 0.1, "square"),
        (np.eye(2), np.ones((3, 1)), 0.1, "B has shape"),
        (np.eye(2), np.ones((2, 1)), 0.0, "dt"),
        ([[1, np.nan], [0, 1]], np.ones((2, 1)), 0.1, r"A\[0, 1\] is nan"),
        ([["a"]], [[1]], 0.1, "real numbers"),
    ],
)
def test_linear_names_the_wrong_argument(A, B, dt, words):
    with pytest.raises(ValueError, match=words):
        linear(A, B, dt, BOX)


def test_discretise_and_zoo_refusals():
    with pytest.raises(DomainError, match="discrete already"):
        discretise(double_integrator(), 0.1)
    with pytest.raises(DomainError, match="substeps"):
        discretise(pendulum(), 0.1, substeps=0)
    with pytest.raises(DomainError, match="the zoo has"):
        make_plant("unicycle")
    with pytest.raises(DomainError, match=r"'mass'.*known"):
        make_plant("double_integrator", mass=2)
    with pytest.raises(DomainError, match="not at rest"):
        linear(np.eye(2), np.ones((2, 1)), 0.1, BOX).replace(
            x_eq=np.array([0.5, 0.0]), u_eq=np.array([0.5])
        ).linearise()
    with pytest.raises(DomainError, match="no sampling time"):
        from_statespace(
            control.StateSpace([[1]], [[1]], [[1]], [[0]], True), x_min=[-1], x_max=[1], u_min=[-1], u_max=[1]
        )
