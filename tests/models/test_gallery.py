"""The gallery's plants against physics, and against what was published of them."""

import functools

import control
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from scpo_ctrl.errors import DomainError
from scpo_ctrl.models import ZOO, make_plant
from scpo_ctrl.models.aircraft import afti_16, afti_16_ode
from scpo_ctrl.models.balancingrobot import (
    BACK_EMF,
    BODY,
    BODY_INERTIA,
    CENTRE,
    GRAVITY,
    MOTOR_INERTIA,
    RADIUS,
    RESISTANCE,
    TORQUE_CONSTANT,
    WHEEL,
    WHEEL_INERTIA,
    balancing_robot,
    balancing_robot_ode,
)
from scpo_ctrl.models.balancingrobot import FRICTION as OF_MOTORS
from scpo_ctrl.models.ballandbeam import ball_and_beam, ball_and_beam_ode
from scpo_ctrl.models.buck import buck_converter, buck_converter_ode
from scpo_ctrl.models.cstr import FLOW, HEAT_CAPACITY, REACTION_HEAT, TRANSFER, VOLUME, cstr, cstr_ode
from scpo_ctrl.models.dcmotor import CONSTANT, FRICTION, dc_motor, dc_motor_ode
from scpo_ctrl.models.heater import heater, heater_ode
from scpo_ctrl.models.lanekeeping import FRONT, REAR, lane_keeping, lane_keeping_ode
from scpo_ctrl.models.quadrupletank import AREA, quadruple_tank, quadruple_tank_ode

PLANTS = {
    "dc_motor": (dc_motor, dc_motor_ode),
    "buck_converter": (buck_converter, buck_converter_ode),
    "lane_keeping": (lane_keeping, lane_keeping_ode),
    "quadruple_tank": (quadruple_tank, quadruple_tank_ode),
    "heater": (functools.partial(heater, dead_time=0.0), heater_ode),
    "balancing_robot": (balancing_robot, balancing_robot_ode),
    "ball_and_beam": (ball_and_beam, ball_and_beam_ode),
    "afti_16": (afti_16, afti_16_ode),
    "cstr": (cstr, cstr_ode),
}


def derivative(plant, x, u, p=None):
    return np.array(plant.function(x, u, plant.p_nominal if p is None else p))[:, 0]


@pytest.mark.parametrize("name", PLANTS)
def test_samples_are_those_of_an_integrator_and_the_equilibrium_is_one(name):
    discrete, continuous = (make() for make in PLANTS[name])
    rng = np.random.default_rng(0)
    np.testing.assert_allclose(derivative(continuous, continuous.x_eq, continuous.u_eq), 0, atol=1e-9)
    np.testing.assert_allclose(derivative(discrete, discrete.x_eq, discrete.u_eq), discrete.x_eq, atol=1e-9)
    half = (discrete.x_max - discrete.x_min) / 2
    for _ in range(5):
        x = discrete.x_eq + 0.3 * rng.uniform(-1, 1, discrete.nx) * np.minimum(half, discrete.x_max - discrete.x_eq)
        u = rng.uniform(discrete.u_min, discrete.u_max)
        found = solve_ivp(
            lambda _t, z, u=u: derivative(continuous, z, u), (0, discrete.dt), x, method="LSODA", rtol=1e-10, atol=1e-12
        )
        np.testing.assert_allclose(derivative(discrete, x, u) / half, found.y[:, -1] / half, atol=1e-4)
    assert make_plant(name).name == discrete.name and name in ZOO


def test_the_motor_converts_energy():
    plant, speed, voltage = dc_motor_ode(), 120.0, 7.0
    inertia, resistance = plant.p_nominal
    current = (voltage - CONSTANT * speed) / resistance
    kinetic = inertia * speed * derivative(plant, [0.3, speed], [voltage])[1]
    assert voltage * current == pytest.approx(resistance * current**2 + FRICTION * speed**2 + kinetic)
    A, B = plant.linearise()
    assert np.linalg.eigvals(A).max() == pytest.approx(0, abs=1e-9) and B[0, 0] == 0


def test_the_converter_rings_at_the_published_frequency():
    plant = buck_converter_ode()
    A, _ = plant.linearise()
    poles = np.linalg.eigvals(A)
    assert np.abs(poles[0]) / (2 * np.pi) == pytest.approx(1.0e3, rel=0.02)  # f_0 = 1 kHz
    assert np.abs(poles[0]) / (-2 * poles[0].real) == pytest.approx(9.5, rel=0.01)  # Q_0 = 9.5
    assert plant.u_eq[0] == pytest.approx(0.536, abs=1e-3)  # D
    x, u = np.array([4.0, 14.0]), np.array([0.6])
    stored = np.array([50e-6 * x[0], 500e-6 * x[1]]) @ derivative(plant, x, u)
    assert stored == pytest.approx(u[0] * 28 * x[0] - x[1] ** 2 / 3)  # what comes in less what the load takes


def test_the_car_drives_the_circle_of_its_steering_angle():
    plant, speed, steering = lane_keeping_ode(), 15.0, 0.08
    slip = np.arctan(REAR * np.tan(steering) / (FRONT + REAR))
    curvature = np.sin(slip) / REAR  # of the circle that the centre of gravity describes
    at_rest = derivative(plant, [0.0, -slip, steering], [0.0], [speed, curvature])
    np.testing.assert_allclose(at_rest, 0, atol=1e-12)
    straight = derivative(plant, [0.2, 0.05, 0.0], [0.1], [speed, 0.0])
    np.testing.assert_allclose(straight, [speed * np.sin(0.05), 0.0, 0.1], atol=1e-12)
    left, right = (derivative(plant, [s * 0.3, s * 0.1, s * 0.05], [s * 0.2], [speed, 0.0]) for s in (1, -1))
    np.testing.assert_allclose(left, -right, atol=1e-12)


@pytest.mark.parametrize(
    ("phase", "levels", "times", "zeros"),
    [
        ("minimum", (12.4, 12.7, 1.8, 1.4), (62, 90, 23, 30), (-0.060, -0.018)),
        ("nonminimum", (12.6, 13.0, 4.8, 4.9), (63, 91, 39, 56), (0.013, -0.057)),
    ],
)
def test_the_tanks_are_those_that_were_published(phase, levels, times, zeros):
    plant = quadruple_tank_ode(phase)
    np.testing.assert_allclose(plant.x_eq, levels, rtol=0.1)  # of its rounded parameters
    A, B = plant.linearise()
    np.testing.assert_allclose(-1 / np.diag(A), times, rtol=0.05)
    found = np.sort(control.zeros(control.ss(A, B, np.eye(4)[:2], np.zeros((2, 2)))).real)
    np.testing.assert_allclose(found, np.sort(zeros), atol=0.004)
    u = plant.u_eq * 1.1
    gains = {"minimum": (3.33, 3.35), "nonminimum": (3.14, 3.29)}[phase]
    leaves = np.array([0.071, 0.057]) * np.sqrt(2 * 981 * plant.x_eq[:2])
    assert AREA @ derivative(plant, plant.x_eq, u) == pytest.approx(np.array(gains) @ u - leaves.sum())  # volume


def test_the_heater_answers_a_step_as_was_measured():
    plant, step = heater(dt=1.0), 10.0
    x, temperatures = plant.x_eq, []
    for _ in range(15 + 175 + 1):
        temperatures.append(x[0])
        x = derivative(plant, x, plant.u_eq + step)
    assert max(temperatures[:16]) == pytest.approx(60) and temperatures[16] > 60.05  # 15 s of dead time
    assert temperatures[-1] - 60 == pytest.approx(0.9 * step * (1 - np.exp(-1)))  # a time constant behind it
    assert plant.u_eq == pytest.approx((60 - 23) / 0.9)
    assert heater(dt=5.0).nx == 4 and heater(dead_time=0.0).nx == 1


def robot_energy(x):
    """Kinetic and potential energy of wheels, body and rotors, from their own velocities."""
    _, pitch, wheel_rate, pitch_rate = x
    forward = RADIUS * wheel_rate
    body = np.array([forward + CENTRE * np.cos(pitch) * pitch_rate, -CENTRE * np.sin(pitch) * pitch_rate])
    return (
        WHEEL * forward**2
        + WHEEL_INERTIA * wheel_rate**2
        + BODY * body @ body / 2
        + BODY_INERTIA * pitch_rate**2 / 2
        + MOTOR_INERTIA * (wheel_rate - pitch_rate) ** 2
        + BODY * GRAVITY * CENTRE * np.cos(pitch)
    )


def test_the_robot_converts_energy():
    plant, x, u = balancing_robot_ode(), np.array([1.0, 0.3, 5.0, -2.0]), np.array([3.0])
    slip = x[2] - x[3]
    current = (u[0] - BACK_EMF * slip) / RESISTANCE  # of each motor
    step, change = 1e-6, derivative(plant, x, u)
    power = (robot_energy(x + step * change) - robot_energy(x - step * change)) / (2 * step)
    assert power == pytest.approx(2 * (TORQUE_CONSTANT * current - OF_MOTORS * slip) * slip, rel=1e-6)
    np.testing.assert_allclose(derivative(plant, -x, -u), -change, atol=1e-9)  # forwards as backwards


def test_the_robot_is_the_one_whose_gains_were_published():
    A, B = balancing_robot_ode().linearise()
    joined = np.block([[A, np.zeros((4, 1))], [np.eye(4)[:1], np.zeros((1, 1))]])
    gain, _, _ = control.lqr(joined, np.vstack([B, [[0]]]), np.diag([1, 6e5, 1, 1, 4e2]), [[2e3]])  # 1e3 a motor
    gain[0, 2] *= 0.85  # the source's, against noise of the wheel's rate
    np.testing.assert_allclose(gain[0], [-0.83508, -34.18958, -1.09951, -2.81409, -0.44721], atol=1e-5)


def test_a_ball_rolls_down_a_beam():
    plant = ball_and_beam_ode()
    down = derivative(plant, [0.1, 0.0, 0.2, 0.0], [0.0])[1]
    assert down == pytest.approx(-9.8 * np.sin(0.2) * 5 / 7, rel=0.02)  # five sevenths for a solid ball
    assert derivative(plant, [0.1, 0.0, 0.2, 0.0], [0.0], [2 / 3 * 0.11 * 0.015**2])[1] == pytest.approx(
        -9.8 * np.sin(0.2) * 3 / 5
    )  # three fifths for a hollow one
    x, roll = np.array([0.3, 0.2, 0.15, 0.0]), 1 + 9.99e-6 / 0.015**2 / 0.11
    change = derivative(plant, x, [0.0])
    assert roll * x[1] * change[1] + 9.8 * np.sin(x[2]) * x[1] == pytest.approx(0)  # energy on a beam at rest
    turning = derivative(plant, [0.3, 0.0, 0.0, 2.0], [0.0])[1]
    assert turning * roll == pytest.approx(0.3 * 2.0**2)  # outwards
    A, B = plant.linearise()
    gain = np.ravel(control.acker(A, B, [-2 + 2j, -2 - 2j, -20, -80]))
    np.testing.assert_allclose(gain, [-12800 / 7, -7200 / 7, 2008, 104], rtol=5e-3)  # where r̈ = -7 α


def test_the_aircraft_has_the_poles_of_its_source():
    plant = afti_16_ode()
    A, B = plant.linearise()
    poles = np.sort_complex(np.linalg.eigvals(A))
    np.testing.assert_allclose(poles, [-7.6636, -0.0075 - 0.0556j, -0.0075 + 0.0556j, 5.4530], atol=1e-4)
    np.testing.assert_array_equal(A[3], [0, 0, 1, 0])
    assert A[0, 3] == pytest.approx(-32.174 * np.pi / 180)  # ft/s² of gravity for a degree of pitch
    np.testing.assert_allclose(B[1:], [[-0.1689, -0.2514], [-17.251, -1.5766], [0, 0]])  # no unit: degrees a degree
    np.testing.assert_array_equal(plant.u_max, [25, 25])


def test_the_reactor_has_three_steady_states_of_which_it_is_held_at_the_middle_one():
    plant = cstr_ode()
    np.testing.assert_allclose(plant.x_eq, [0.5, 350], rtol=1e-3)  # as published, rounded
    assert plant.u_eq[0] == pytest.approx(300, abs=0.05)

    def heat(temperature):
        """Rate of temperature where the concentration has settled."""
        rate = 7.2e10 / 60 * np.exp(-8750 / temperature)
        settled = FLOW / VOLUME / (FLOW / VOLUME + rate)
        return derivative(plant, [settled, temperature], plant.u_eq)[1]

    cold, hot = brentq(heat, 310, 340), brentq(heat, 360, 390)
    assert cold == pytest.approx(324.5, abs=0.5) and hot == pytest.approx(369.7, abs=0.5)
    A, _ = plant.linearise()
    np.testing.assert_allclose(np.sort(np.linalg.eigvals(A)) * 60, [-0.454, 2.833], atol=0.01)  # 1/min
    x, u = np.array([0.4, 355.0]), np.array([295.0])
    change = VOLUME * derivative(plant, x, u)
    made = FLOW * (1 - x[0]) - change[0]  # mol/s of product
    given_off = HEAT_CAPACITY * (change[1] + FLOW * (x[1] - 350)) + TRANSFER * (x[1] - u[0])
    assert given_off == pytest.approx(REACTION_HEAT * made)  # W


def test_what_new_plants_refuse():
    for make in (balancing_robot, ball_and_beam, afti_16):
        for key in make.__kwdefaults__:
            with pytest.raises(DomainError, match=key):
                make(**{key: 0.0})
    for make, options, said in (
        (heater, {"dead_time": 12.0}, "whole number of samples"),
        (heater, {"dead_time": -5.0}, "dead_time"),
        (heater, {"temperature": 20.0}, "temperature"),
        (heater, {"temperature": 120.0, "temperature_max": 130.0}, "full power"),
        (heater, {"temperature_max": 60.0}, "temperature_max"),
        (heater, {"dt": float("nan")}, "dt"),
        (cstr, {"coolant_min": 305.0}, "between them"),
        (cstr, {"coolant_max": float("nan")}, "coolant_max"),
        (cstr, {"temperature_margin": -1.0}, "temperature_margin"),
    ):
        with pytest.raises(DomainError, match=said):
            make(**options)


def test_what_plants_refuse():
    for make, key in ((dc_motor, "speed_max"), (buck_converter, "current_max"), (lane_keeping, "offset_max")):
        with pytest.raises(DomainError, match=key):
            make(**{key: -1.0})
    with pytest.raises(DomainError, match="less than the supply"):
        buck_converter(output=30.0)
    with pytest.raises(DomainError, match="phase"):
        quadruple_tank(phase="maximum")
    with pytest.raises(DomainError, match="operating point"):
        quadruple_tank(level_max=10.0)
