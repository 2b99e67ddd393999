"""Noise and steps of sensors: what is measured, what stays, and whole loops with a real staircase in them."""

import casadi as ca
import numpy as np
import pytest
from loops import loaded_arm

import scpo_ctrl as sc
from scpo_ctrl.errors import ScpoError
from scpo_ctrl.models import cart_pole_ode, dc_motor, quantise, sensor_noise
from scpo_ctrl.models.varying import drawn_ranges, parameters_over_time

ENCODER = 2 * np.pi / 500  # rad, of 500 lines


def test_noise_is_added_to_what_is_measured_and_nothing_else():
    plain, plant = loaded_arm(), sensor_noise(loaded_arm(), [0.1, 0.0])
    assert plant.p_labels == ("load", "gain", "noise of x0 seed", "noise of x0", "time")
    assert plant.y_labels == ("x0", "x1")
    at = [0.2, 0.9, 0.5, 0.03, 0.0]
    measured = ca.Function("h", [plant.x, plant.p], [plant.measured])([1.0, 2.0], at)
    np.testing.assert_allclose(np.array(measured)[:, 0], [1.03, 2.0], rtol=1e-15)
    np.testing.assert_array_equal(
        plant.function([1.0, 2.0], [0.1], at), plain.function([1.0, 2.0], [0.1], [0.2, 0.9])
    )  # fmt: skip
    np.testing.assert_array_equal(
        ca.Function("h", [plant.x, plant.p], [plant.measured])([1, 2], plant.p_nominal), [[1], [2]]
    )
    assert drawn_ranges(plant) == {2: (0.0, 1.0)}


def test_a_staircase_is_noise_within_half_a_step():
    plant = quantise(loaded_arm(), 0.2)
    assert plant.p_labels[-3:] == ("rounding of x0", "rounding of x1", "time")
    p = np.tile(plant.p_nominal, (500, 1))
    p[:, list(drawn_ranges(plant))] = np.random.default_rng(1).uniform(size=(500, 2))
    error = parameters_over_time(plant, p, 20)[:, :, -3:-1]
    assert 0.0999 < error.max() < 0.1
    assert error.std() == pytest.approx(0.2 / np.sqrt(12), rel=0.02)  # Widrow and Kollar


@pytest.fixture(scope="module")
def servo():
    motor = quantise(dc_motor(), ENCODER)
    controller = sc.controllers.pid(motor, kp=1.0, ki=2.0, kd=0.02, filter_time=2e-3)
    loop = sc.controlled(motor, controller, reference={"position reference": sc.signals.step(0.0, (-0.5, 0.5), 0.01)})
    batch = sc.scenarios(loop.plant, loop.backup, horizon=100, count=12, level=0.02)
    return sc.ControlProblem(loop, batch, sc.tracking(loop, [1.0], [1e-4]), sc.MetricOptions())


def test_a_loop_adapted_under_noise_holds_with_the_staircase(servo):
    """The bounds that hold for all errors within half a step hold for those of a real encoder."""
    result = sc.adapt(servo, sc.AdaptOptions(steps=8, audit_rollouts=2000))
    assert result.objective_final < result.objective_initial
    loop, of = servo.policy, servo.policy.controller
    own = of.theta_initial + np.array(loop.scale) * result.theta
    law = ca.Function("law", [of.xi, of.y, of.r, of.theta], [of.command])
    eta = ca.Function("eta", [of.xi, of.y, of.r, of.u, of.theta], [of.memory])
    plant = loop.controlled_plant
    for after in (-0.5, -0.2, 0.31, 0.5):
        x, xi = plant.x_eq.copy(), of.memory_initial.copy()
        for t in range(100):
            y, r = ENCODER * np.round(x[0] / ENCODER), after if t >= 10 else 0.0
            v = np.array(law(xi, y, r, own))[:, 0]
            assert (v >= plant.u_min).all() and (v <= plant.u_max).all()
            xi = np.array(eta(xi, y, r, v, own))[:, 0]
            x = np.array(plant.function(x, v, plant.p_nominal))[:, 0]
            assert (x >= plant.x_min).all() and (x <= plant.x_max).all()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: sensor_noise(cart_pole_ode(), 0.1), "discretise it first"),
        (lambda: sensor_noise(loaded_arm(), [0.1]), "half_width"),
        (lambda: sensor_noise(loaded_arm(), -0.1), "half_width"),
        (lambda: sensor_noise(loaded_arm(), 0.0), "leave it out"),
        (lambda: quantise(loaded_arm(), np.nan), "step"),
        (lambda: quantise("arm", 0.1), "Plant"),
    ],
)
def test_bad_input(make, says):
    with pytest.raises(ScpoError, match=says):
        make()
