"""Delays, rate limits and lags: sequences computed by hand, exact solutions, every order of them, and refusals."""

from __future__ import annotations

import itertools

import casadi as ca
import numpy as np
import pytest
from problems import pendulum
from scipy.integrate import solve_ivp

import scpo_ctrl as sc
from scpo_ctrl.errors import DimensionError, DomainError
from scpo_ctrl.models import (
    Plant,
    actuator_lag,
    cart_pole,
    computation_delay,
    discretise,
    double_integrator,
    input_delay,
    linear,
    planar_quadrotor,
    rate_limit,
)

ADDER = linear(1.0, 1.0, 0.5, (-10, 10, -3, 3), u_labels=["flow"], u_units=["l/s"], source="a tank")  # x⁺ = x + u


def run(plant: Plant, commands, x0=None) -> np.ndarray:
    """Return the states from rest, or from elsewhere, under commands: (N + 1, nx)."""
    x = [np.array(plant.x_eq if x0 is None else x0, dtype=float)]
    for u in commands:
        x.append(np.array(plant.function(x[-1], u, plant.p_nominal))[:, 0])
    return np.array(x)


def test_a_delayed_input_arrives_late():
    plant = input_delay(ADDER, 2)
    path = run(plant, [1.0, 2.0, 0.0, 0.0, 0.0])
    np.testing.assert_array_equal(path, [[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 0], [3, 0, 0], [3, 0, 0]])
    assert plant.x_labels == ("x0", "flow applied next", "flow applied in 1 sample")
    assert plant.x_units[1:] == ("l/s", "l/s")
    assert plant.source == "a tank; inputs delayed by 2 samples"


def test_no_delay_is_no_change():
    plant = input_delay(ADDER, 0)
    assert plant.source == "a tank" and plant.nx == 1
    np.testing.assert_array_equal(run(plant, [1.0, 2.0]), run(ADDER, [1.0, 2.0]))


def test_a_computation_takes_a_sample():
    np.testing.assert_array_equal(run(computation_delay(ADDER), [1.0, 2.0, 0.0])[:, 0], [0, 0, 1, 3])


def test_a_change_of_the_input_is_limited_either_way():
    path = run(rate_limit(ADDER, 0.5), [2.0, 2.0, 0.75, 0.75, -9.0, -9.0])
    np.testing.assert_array_equal(path[:, 1], [0, 0.5, 1.0, 0.75, 0.75, 0.25, -0.25])
    np.testing.assert_array_equal(path[:, 0], np.cumsum(path[:, 1]))


def test_inputs_have_limits_and_time_constants_of_their_own():
    two = linear(np.eye(2), np.eye(2), 0.1, ([-9, -9], [9, 9], [-1, -2], [1, 2]))
    np.testing.assert_array_equal(run(rate_limit(two, [0.25, 0.5]), [[1, 1]] * 2)[-1, 2:], [0.5, 1.0])
    lagging = run(actuator_lag(two, [0.1, 0.2]), [[1, 1]] * 3)[-1, 2:]
    np.testing.assert_allclose(lagging, 1 - np.exp([-3, -1.5]), rtol=1e-14)
    plant = input_delay(two, 2)
    np.testing.assert_array_equal(run(plant, [[1, 2], [3, 4]])[-1], [0, 0, 1, 2, 3, 4])
    np.testing.assert_array_equal(plant.x_max[2:], [1, 2, 1, 2])


def test_a_lag_before_an_integrator_is_exact_whatever_the_sampling_time():
    tau, commands = 0.7, np.array([1.0, -2.0, 0.5, 3.0])
    path = run(actuator_lag(linear(1.0, 0.5, 0.5, (-9, 9, -3, 3)), tau), commands)  # x' = a over samples of 0.5 s
    for k, u in enumerate(commands):
        (x, a), t = path[k], 0.5
        after = u + (a - u) * np.exp(-t / tau)
        np.testing.assert_allclose(path[k + 1], [x + u * t + tau * (a - after), after], rtol=1e-13, atol=1e-15)


def test_a_lag_before_a_continuous_plant_is_its_differential_equation():
    plant = actuator_lag(pendulum(), 0.2)
    point, u = np.array([0.3, -0.4, 0.6]), 0.1
    found = np.array(plant.function(point, u, []))[:, 0]
    np.testing.assert_allclose(found, [-0.4, -9.81 * np.sin(0.3) + 0.3 * 0.4 + 0.6, -2.5], rtol=1e-14)


def test_a_lag_before_a_discrete_plant_errs_by_the_second_order_of_the_sampling_time():
    errors, x0 = [], np.array([0.5, 0.2, -0.8])
    for steps in (8, 16, 32, 64):
        path = run(actuator_lag(discretise(pendulum(), 1 / steps, substeps=4), 0.2), [0.9] * steps, x0)
        flow = actuator_lag(pendulum(), 0.2).function
        exact = solve_ivp(lambda _, x, f=flow: np.array(f(x, 0.9, []))[:, 0], (0, 1), x0, rtol=1e-11, atol=1e-12)
        errors.append(np.abs(path[-1] - exact.y[:, -1]).max())
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (orders > 1.8).all(), orders
    np.testing.assert_allclose(path[-1, 2], exact.y[2, -1], rtol=1e-9)  # the lag itself is exact


def test_lags_that_are_short_or_long_become_none_and_a_hold():
    quick, slow = (run(actuator_lag(ADDER, tau), [1.0, 2.0], [0.0, 0.5])[:, 0] for tau in (1e-9, 1e9))
    np.testing.assert_allclose(quick, [0, 1, 3], atol=1e-8)
    np.testing.assert_allclose(slow, [0, 0.5, 1.0], atol=1e-8)


WRAPPERS = {
    "delay": lambda plant: input_delay(plant, 2),
    "limit": lambda plant: rate_limit(plant, 0.3),
    "lag": lambda plant: actuator_lag(plant, 0.4),
}


class Chain:
    """Delay, limit and lag in plain Python, from the command on."""

    def __init__(self, order, u_eq, dt):
        self.order, self.queue, self.last, self.lag, self.dt = order, [u_eq, u_eq], u_eq, u_eq, dt

    def __call__(self, u):
        for name in self.order:
            if name == "delay":
                self.queue.append(u)
                u = self.queue.pop(0)
            elif name == "limit":
                u = self.last = self.last + np.clip(u - self.last, -0.3, 0.3)
            else:
                before, decay = self.lag, np.exp(-self.dt / 0.4)
                self.lag = u + (before - u) * decay
                u = u + (before - u) * (1 - decay) * 0.4 / self.dt
        return u


@pytest.mark.parametrize("make", [lambda: ADDER, double_integrator, cart_pole], ids=["adder", "R3", "R4"])
@pytest.mark.parametrize("order", list(itertools.permutations(WRAPPERS)), ids="-".join)
def test_they_work_in_any_order(make, order):
    plain = plant = make()
    for name in reversed(order):
        plant = WRAPPERS[name](plant)
    assert plant.nx == plain.nx + 4 and len(set(plant.x_labels)) == plant.nx
    np.testing.assert_array_equal(run(plant, [plant.u_eq])[-1], plant.x_eq)  # at rest, to the last bit
    commands = np.random.default_rng(1).uniform(plain.u_min, plain.u_max, (12, plain.nu)) / 4
    chain = Chain(order, plain.u_eq, plain.dt)
    expected = run(plain, [chain(u) for u in commands])
    np.testing.assert_allclose(run(plant, commands)[:, : plain.nx], expected, rtol=1e-12, atol=1e-12)


def test_a_backup_is_found_behind_all_of_them():
    plant = ADDER
    for wrap in WRAPPERS.values():
        plant = wrap(plant)
    assert sc.lqr(plant, np.ones(5), 1.0, allow_uncontrollable=True).evidence == "simulated"


def test_two_delays_are_one_and_have_labels_of_their_own():
    twice, once = input_delay(computation_delay(ADDER), 2), input_delay(ADDER, 3)
    commands = np.random.default_rng(0).normal(size=10)
    np.testing.assert_array_equal(run(twice, commands)[:, 0], run(once, commands)[:, 0])
    assert twice.x_labels[1:3] == ("flow applied next", "flow applied next (2)")
    assert len(set(computation_delay(twice).x_labels)) == 5


def test_bounds_equilibrium_and_parameters_are_kept():
    plain = planar_quadrotor()
    plant = computation_delay(plain)
    np.testing.assert_array_equal(plant.x_min[-2:], plain.u_min)
    np.testing.assert_array_equal(plant.x_max[-2:], plain.u_max)
    np.testing.assert_array_equal(plant.x_eq, np.append(plain.x_eq, plain.u_eq))
    assert (plant.p_labels, plant.u_labels, plant.dt) == (plain.p_labels, plain.u_labels, plain.dt)
    A, B = plant.linearise()
    A_plain, B_plain = plain.linearise()
    np.testing.assert_allclose(A, np.block([[A_plain, B_plain], [np.zeros((2, 8))]]), atol=1e-15)
    np.testing.assert_array_equal(B, np.vstack([np.zeros((6, 2)), np.eye(2)]))


def test_a_delay_keeps_a_plant_linear_and_a_limit_does_not():
    assert input_delay(ADDER, 3).is_linear and actuator_lag(ADDER, 1.0).is_linear
    limited = rate_limit(ADDER, 0.1)
    assert not limited.is_linear
    np.testing.assert_array_equal(np.hstack(limited.linearise()), [[1, 0, 1], [0, 0, 1]])


def test_adaptation_keeps_a_delayed_plant_safe():
    plant = input_delay(double_integrator(), 2)
    backup = sc.lqr(plant, np.full(4, 0.1), 10.0)
    batch = sc.scenarios(plant, backup, horizon=20, count=4)
    problem = sc.ControlProblem(sc.Policy(plant, backup, (3,)), batch, sc.Quadratic([1, 1, 0, 0], 0.05))
    result = sc.adapt(problem, sc.AdaptOptions(steps=5, audit=False))
    assert result.objective_final < result.objective_initial
    X, U = problem.trajectories(result.theta)
    np.testing.assert_allclose(X[:, 1:, 3], U[:, :, 0], atol=1e-12)
    assert (np.abs(X) <= plant.x_max + 1e-9).all() and (np.abs(U) <= plant.u_max + 1e-9).all()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: input_delay(pendulum(), 1), DomainError, "input_delay counts in samples.*discretise it first"),
        (lambda: computation_delay(pendulum()), DomainError, "discretise it first"),
        (lambda: rate_limit(pendulum(), 1.0), DomainError, "rate_limit counts in samples.*discretise it first"),
        (lambda: input_delay(ADDER, -1), DomainError, "steps is -1"),
        (lambda: input_delay(ADDER, 1.5), DomainError, "steps is 1.5"),
        (lambda: input_delay(ADDER, 1001), DomainError, "steps is 1001"),
        (lambda: rate_limit(ADDER, 0.0), DomainError, r"per_step\[0\] is 0.0, expected a number > 0"),
        (lambda: rate_limit(ADDER, [1.0, 1.0]), DimensionError, r"per_step has shape \(2,\)"),
        (lambda: actuator_lag(ADDER, -1.0), DomainError, r"time_constant\[0\]"),
        (lambda: actuator_lag(ADDER, np.nan), DomainError, "time_constant is nan"),
        (lambda: actuator_lag(ca.SX.sym("x"), 1.0), TypeError, "plant is of class SX"),
    ],
)
def test_what_cannot_be_meant_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()
