"""The gallery's plants against physics, and against what was published of them."""

import control
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from scpo_ctrl.errors import DomainError
from scpo_ctrl.models import ZOO, make_plant
from scpo_ctrl.models.buck import buck_converter, buck_converter_ode
from scpo_ctrl.models.dcmotor import CONSTANT, FRICTION, dc_motor, dc_motor_ode
from scpo_ctrl.models.lanekeeping import FRONT, REAR, lane_keeping, lane_keeping_ode
from scpo_ctrl.models.quadrupletank import AREA, quadruple_tank, quadruple_tank_ode

PLANTS = {
    "dc_motor": (dc_motor, dc_motor_ode),
    "buck_converter": (buck_converter, buck_converter_ode),
    "lane_keeping": (lane_keeping, lane_keeping_ode),
    "quadruple_tank": (quadruple_tank, quadruple_tank_ode),
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
