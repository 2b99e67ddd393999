"""Sampling a continuous plant: exact with constant A, within the tolerance else, and a warning where it is coarse."""

from __future__ import annotations

import warnings

import casadi as ca
import control
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from problems import pendulum
from scipy.integrate import solve_ivp

import scpo_ctrl as sc
from scpo_ctrl.errors import DomainError, ScpoWarning
from scpo_ctrl.models import Plant, cart_pole, cart_pole_ode, discretise, from_statespace, planar_quadrotor_ode
from scpo_ctrl.models.integrator import substeps_needed

MOTOR = np.array([[0.0, 1.0, 0.0], [0.0, -2.0, 40.0], [0.0, -20.0, -1000.0]])  # the current settles within 1 ms


def continuous(A, B, **changes) -> Plant:
    n, m = np.shape(B)
    system = control.StateSpace(A, B, np.eye(n), np.zeros((n, m)))
    bounds = {"x_min": [-1] * n, "x_max": [1] * n, "u_min": [-1] * m, "u_max": [1] * m}
    return from_statespace(system, **bounds).replace(**changes)


@given(numbers=st.lists(st.floats(-3, 3), min_size=12, max_size=12), dt=st.floats(0.01, 2))
def test_a_linear_plant_is_sampled_as_python_control_does(numbers, dt):
    A, B = np.reshape(numbers[:9], (3, 3)), np.reshape(numbers[9:], (3, 1))
    exact = control.sample_system(control.StateSpace(A, B, np.eye(3), np.zeros((3, 1))), dt, method="zoh")
    found = discretise(continuous(A, B), dt).linearise()
    np.testing.assert_allclose(found[0], exact.A, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found[1], exact.B, rtol=1e-9, atol=1e-9)


def test_a_stiff_linear_plant_is_exact_at_a_coarse_sampling_time():
    plant = discretise(continuous(MOTOR, [[0.0], [0.0], [500.0]]), 0.05)
    x0, u = np.array([0.1, -0.2, 0.4]), 0.3
    flow = solve_ivp(
        lambda _, x: MOTOR @ x + [0, 0, 500 * u], (0, 0.05), x0, "Radau", rtol=1e-11, atol=1e-13, jac=MOTOR
    )
    np.testing.assert_allclose(np.array(plant.function(x0, u, []))[:, 0], flow.y[:, -1], rtol=1e-8)


def test_samples_of_a_linear_plant_compose():
    plant = continuous(MOTOR, [[0.0], [0.0], [500.0]])
    whole, half = discretise(plant, 0.02).function, discretise(plant, 0.01).function
    x, u = [0.3, -0.1, 0.9], -0.4
    np.testing.assert_allclose(whole(x, u, []), half(half(x, u, []), u, []), rtol=1e-11, atol=1e-13)


def test_parameters_of_the_input_alone_and_a_curved_input_keep_it_exact():
    x, u, gain = ca.SX.sym("x", 2), ca.SX.sym("u"), ca.SX.sym("gain")
    f = ca.vertcat(x[1], -2 * (x[0] - 0.25) - x[1] + gain * u**3)
    one = np.ones(2)
    plant = Plant(
        name="curved", x=x, u=u, p=gain, p_nominal=[1.0], f=f, x_eq=[0.25, 0.0],
        x_min=-one, x_max=one, u_min=-one[:1], u_max=one[:1],
    )  # fmt: skip
    assert substeps_needed(plant, 0.7) is None
    sampled = discretise(plant, 0.7)
    flow = solve_ivp(
        lambda _, x: np.array(plant.function(x, 0.8, 3.0))[:, 0], (0, 0.7), [0.1, 0.2], rtol=1e-11, atol=1e-13
    )
    np.testing.assert_allclose(np.array(sampled.function([0.1, 0.2], 0.8, 3.0))[:, 0], flow.y[:, -1], rtol=1e-9)
    np.testing.assert_array_equal(np.array(sampled.function(plant.x_eq, 0.0, 3.0))[:, 0], plant.x_eq)  # to the bit


def test_a_parameter_in_the_state_matrix_takes_steps():
    x, u, load = ca.SX.sym("x"), ca.SX.sym("u"), ca.SX.sym("load")
    plant = Plant(
        name="decay", x=x, u=u, p=load, p_nominal=[2.0], f=u - load * x, x_min=[-1], x_max=[1], u_min=[-1], u_max=[1]
    )
    for dt in (0.01, 0.3, 2.0):
        count, found = substeps_needed(plant, dt), float(discretise(plant, dt).function(1.0, 0.0, 2.0))
        assert abs(found - np.exp(-2 * dt)) <= 1e-4 * (1 - np.exp(-2 * dt))
        assert count == {0.01: 1, 0.3: 2, 2.0: 8}[dt]


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-7])
@pytest.mark.parametrize(
    ("make", "dt"), [(pendulum, 0.4), (cart_pole_ode, 0.2), (planar_quadrotor_ode, 0.1)], ids=["pendulum", "R4", "R5"]
)
def test_the_error_is_within_the_tolerance(make, dt, tolerance):
    plant, rng = make(), np.random.default_rng(7)  # other points than those that it is chosen by
    sampled, p = discretise(plant, dt, tolerance=tolerance), plant.p_nominal
    errors, motions = [], []
    for _ in range(20):
        x, u = rng.uniform(plant.x_min, plant.x_max), rng.uniform(plant.u_min, plant.u_max)
        flow = solve_ivp(
            lambda _, x, u=u: np.array(plant.function(x, u, p))[:, 0], (0, dt), x, "DOP853", rtol=1e-12, atol=1e-13
        )
        errors.append(np.array(sampled.function(x, u, p))[:, 0] - flow.y[:, -1])
        motions.append(flow.y[:, -1] - x)
    assert (np.abs(errors).max(axis=0) <= 2 * tolerance * np.abs(motions).max(axis=0)).all()


def test_no_more_steps_than_needed():
    plant = pendulum()
    assert [substeps_needed(plant, dt) for dt in (0.05, 0.4, 1.0)] == [1, 4, 16]
    assert substeps_needed(plant, 0.4, tolerance=1e-8) > 16
    one, chosen = (discretise(plant, 0.05, **how).f for how in ({"substeps": 1}, {}))
    assert str(one) == str(chosen)


def test_coarse_substeps_are_warned_about_with_their_error():
    with pytest.warns(ScpoWarning, match=r"'pendulum' with dt = 0.4 s and substeps = 1 errs by 1.8 %.*more substeps"):
        discretise(pendulum(), 0.4, substeps=1)
    motor = continuous(MOTOR, [[0.0], [0.0], [500.0]])
    with pytest.warns(ScpoWarning, match="substeps = 2 errs by more than all of its motion"):
        discretise(motor, 0.01, substeps=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cart_pole()
        discretise(pendulum(), 0.4, substeps=4)
        discretise(motor, 0.01, substeps=40)


def test_what_is_too_fast_is_refused_with_its_error():
    x, u = ca.SX.sym("x", 2), ca.SX.sym("u")
    f = ca.vertcat(ca.sin(x[1]), -1e6 * ca.tanh(x[1]) + u)
    plant = Plant(name="stiff", x=x, u=u, f=f, x_min=[-1, -1], x_max=[1, 1], u_min=[-1], u_max=[1])
    with pytest.raises(DomainError, match=r"'stiff' needs more than 64 Runge-Kutta.*dt = 0.1 s: .* is 0.01 %; sample"):
        discretise(plant, 0.1)


def test_points_whose_solution_ends_do_not_count():
    x, u = ca.SX.sym("x"), ca.SX.sym("u")
    f = u - 0.5 * ca.sqrt(x)
    outflow = Plant(name="tank", x=x, u=u, f=f, x_eq=[1], u_eq=[0.5], x_min=[0], x_max=[2], u_min=[0], u_max=[1])
    plant = discretise(outflow, 0.5)  # some run empty within a sample, where the square root ends
    np.testing.assert_array_equal(plant.function(1.0, 0.5, []), 1.0)


def test_exponentials_beyond_a_double_are_refused():
    with pytest.raises(DomainError, match="leaves the range of a double within a sample of dt = 10000 s"):
        discretise(continuous([[1.0]], [[1.0]]), 1e4)
    for wrong in (0.0, -1.0, 2.0):
        with pytest.raises(DomainError, match="tolerance"):
            discretise(pendulum(), 0.1, tolerance=wrong)


def test_a_backup_designed_on_exact_samples_holds_the_stiff_motor():
    plant = discretise(continuous(MOTOR, [[0.0], [0.0], [500.0]]), 0.005)
    assert sc.lqr(plant, [1.0, 0.1, 0.1], 1.0).evidence == "proved"
