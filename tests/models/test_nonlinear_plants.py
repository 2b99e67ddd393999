"""Cart-pole and planar quadrotor: energy, momentum, symmetry, equilibria, Jacobians, and SciPy's integrator."""

from __future__ import annotations

import inspect

import casadi as ca
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from scpo_ctrl.errors import BoundsError, DomainError
from scpo_ctrl.models import ZOO, cart_pole, cart_pole_ode, discretise, make_plant, planar_quadrotor_ode

G = 9.8  # m/s²
PLANTS = {"cart_pole": cart_pole_ode, "planar_quadrotor": planar_quadrotor_ode}
# Energy [J] of a state, and the power [W] that the inputs bring in, each from the positions of the masses.
PARAMETERS = {"cart_pole": (0.07, 1.4, 0.6), "planar_quadrotor": (0.031, 1.1e-5)}


def cart_pole_energy(x, p):
    (_, v, angle, rate), (m, M, half) = x, p
    centre = (v + half * rate * np.cos(angle), -half * rate * np.sin(angle))  # velocity of the pole's centre of mass
    inertia = m * (2 * half) ** 2 / 12
    return M * v**2 / 2 + m * np.dot(centre, centre) / 2 + inertia * rate**2 / 2 + m * G * half * np.cos(angle)


def quadrotor_energy(x, p):
    (_, vx, z, vz, _, rate), (mass, inertia) = x, p
    return mass * (vx**2 + vz**2) / 2 + inertia * rate**2 / 2 + mass * G * z


def quadrotor_power(x, u):
    lever = 0.0397 / np.sqrt(2)
    return (u[0] + u[1]) * (np.sin(x[4]) * x[1] + np.cos(x[4]) * x[3]) + lever * (u[1] - u[0]) * x[5]


ENERGY = {"cart_pole": cart_pole_energy, "planar_quadrotor": quadrotor_energy}
POWER = {"cart_pole": lambda x, u: u[0] * x[1], "planar_quadrotor": quadrotor_power}


def derivative(plant, x, u, p):
    return np.array(plant.function(x, u, p))[:, 0]


def integrate(plant, x0, u, p, times):
    """Integrate by SciPy at tight tolerance."""
    solution = solve_ivp(
        lambda _, x: derivative(plant, x, u, p), (0, times[-1]), x0, "DOP853", times, rtol=1e-12, atol=1e-13
    )
    return solution.y.T


def state(plant, seed, size=1.0):
    rng = np.random.default_rng(seed)
    return size * rng.uniform(np.maximum(plant.x_min, -2), np.minimum(plant.x_max, 2)), rng.uniform(
        plant.u_min, plant.u_max
    )


@pytest.mark.parametrize("name", PLANTS)
def test_energy_is_constant_without_input(name):
    plant, p = PLANTS[name](), PARAMETERS[name]
    x0 = np.array([0.1, 0.5, 2.0, -1.0]) if name == "cart_pole" else np.array([0.0, 1.0, 5.0, 2.0, 0.7, 3.0])
    path = integrate(plant, x0, np.zeros(plant.nu), p, np.linspace(0, 3, 31))
    energies = np.array([ENERGY[name](x, p) for x in path])
    assert np.ptp(path[:, 2]) > 1.0  # the pole swings, the drone falls
    np.testing.assert_allclose(energies, energies[0], rtol=1e-9)


@pytest.mark.parametrize("name", PLANTS)
@given(seed=st.integers(0, 10_000))
def test_energy_grows_by_the_power_of_the_inputs(name, seed):
    plant, p = PLANTS[name](), np.array(PARAMETERS[name])
    x, u = state(plant, seed)
    direction, h = derivative(plant, x, u, p), 1e-6
    rate = (ENERGY[name](x + h * direction, p) - ENERGY[name](x - h * direction, p)) / (2 * h)
    np.testing.assert_allclose(rate, POWER[name](x, u), rtol=1e-6, atol=1e-7)


@given(seed=st.integers(0, 10_000))
def test_the_force_changes_the_momentum_of_the_cart_pole(seed):
    plant, (m, M, half) = cart_pole_ode(), PARAMETERS["cart_pole"]
    x, u = state(plant, seed, size=1.5)
    dx = derivative(plant, x, u, (m, M, half))
    swing = m * half * (dx[3] * np.cos(x[2]) - x[3] ** 2 * np.sin(x[2]))
    np.testing.assert_allclose((m + M) * dx[1] + swing, u[0], atol=1e-12)


def test_a_pole_on_a_heavy_cart_is_a_pendulum():
    plant, half = cart_pole_ode(), 0.5
    for angle in (-2.0, 0.1, 1.0):
        dx = derivative(plant, [0, 0, angle, 0.3], [0.0], [0.1, 1e9, half])
        np.testing.assert_allclose(dx, [0, 0, 0.3, 3 * G / (4 * half) * np.sin(angle)], atol=1e-7)


@pytest.mark.parametrize("name", PLANTS)
@given(seed=st.integers(0, 10_000))
def test_the_mirror_image_moves_as_the_mirror_image(name, seed):
    plant, p = PLANTS[name](), PARAMETERS[name]
    x, u = state(plant, seed)
    if name == "cart_pole":
        mirror, other = -np.ones(4), -u
    else:  # the vertical motion stays, the rotors change places
        mirror, other = np.array([-1, -1, 1, 1, -1, -1]), u[::-1]
    np.testing.assert_allclose(
        derivative(plant, mirror * x, other, p), mirror * derivative(plant, x, u, p), atol=1e-12, rtol=1e-12
    )


@pytest.mark.parametrize("name", PLANTS)
def test_at_rest_at_the_equilibrium(name):
    plant = PLANTS[name]()
    np.testing.assert_allclose(derivative(plant, plant.x_eq, plant.u_eq, plant.p_nominal), 0, atol=1e-13)
    discrete = make_plant(name)
    A, _ = discrete.linearise()
    assert np.abs(np.linalg.eigvals(A)).max() >= 1 - 1e-9  # nothing comes to rest by itself


def test_parameters_move_the_equilibrium_of_the_quadrotor_only():
    pole, drone = cart_pole_ode(), planar_quadrotor_ode()
    np.testing.assert_array_equal(derivative(pole, pole.x_eq, pole.u_eq, [0.3, 0.2, 0.9]), 0)
    mass, inertia = drone.p_nominal
    falling = derivative(drone, drone.x_eq, drone.u_eq, [1.25 * mass, 0.5 * inertia])
    np.testing.assert_allclose(falling, [0, 0, 0, -0.2 * G, 0, 0], atol=1e-12)  # g (1 / 1.25 - 1)


@pytest.mark.parametrize("name", PLANTS)
@pytest.mark.parametrize("seed", range(3))
def test_jacobians_agree_with_differences(name, seed):
    plant, p, h = make_plant(name), np.array(PARAMETERS[name]), 1e-6
    x, u = state(plant, seed)
    exact = ca.Function(
        "jacobians", [plant.x, plant.u, plant.p], [ca.jacobian(plant.f, ca.vertcat(plant.x, plant.u, plant.p))]
    )
    z = np.concatenate([x, u, p])
    parts = [plant.nx, plant.nx + plant.nu]
    steps = h * np.maximum(np.abs(z), 1e-3)
    columns = [
        (derivative(plant, *np.split(z + d, parts)) - derivative(plant, *np.split(z - d, parts))) / (2 * d.sum())
        for d in np.diag(steps)
    ]
    found = np.array(exact(x, u, p))
    scale = np.abs(found).max(axis=0)  # of a column: inertia is in 1e-5 kg m²
    np.testing.assert_allclose(found / scale, np.stack(columns, axis=1) / scale, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "tolerance"), [("cart_pole", 1e-4), ("planar_quadrotor", 5e-5)])
def test_a_sample_agrees_with_scipy(name, tolerance):
    ode, plant, p = PLANTS[name](), make_plant(name), PARAMETERS[name]
    for seed in range(5):
        x, u = state(ode, seed)
        exact = integrate(ode, x, u, p, [plant.dt])[-1]
        np.testing.assert_allclose(derivative(plant, x, u, p), exact, atol=tolerance)


@pytest.mark.filterwarnings("ignore::scpo_ctrl.errors.ScpoWarning")  # coarse on purpose
@pytest.mark.parametrize("name", PLANTS)
def test_error_falls_with_the_fourth_power_of_the_step(name):
    ode, p, span = PLANTS[name](), PARAMETERS[name], 0.3
    x, u = state(ode, 4)
    u = ode.u_eq + 0.1 * (u - ode.u_eq)  # rotors at their limits would turn the drone over many times in that span
    exact = integrate(ode, x, u, p, [span])[-1]
    errors = [np.abs(derivative(discretise(ode, span, substeps=n), x, u, p) - exact).max() for n in (2, 4, 8)]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.abs(orders[-1] - 4) < 0.4, (orders, errors)


def test_numbers_are_those_of_the_reference_problems():
    pole, drone = make_plant("cart_pole"), make_plant("planar_quadrotor")
    assert (pole.dt, drone.dt) == (1 / 15, 1 / 50)
    np.testing.assert_array_equal(pole.x_max, [2, 2, 0.18, 2])
    np.testing.assert_array_equal(pole.x_min, -pole.x_max)
    np.testing.assert_array_equal([pole.u_min, pole.u_max], [[-10], [10]])
    np.testing.assert_array_equal(drone.x_min, [-2, -2, 0, -2, -0.2, -1])
    np.testing.assert_array_equal(drone.x_max, [2, 2, 2, 2, 0.2, 1])
    np.testing.assert_array_equal([drone.u_min, drone.u_max], [[0.0563] * 2, [0.2967] * 2])
    np.testing.assert_array_equal(pole.p_nominal, [0.1, 1.0, 0.5])
    np.testing.assert_array_equal(drone.p_nominal, [0.027, 1.4e-5])
    for plant in (pole, drone):
        assert all(plant.x_units) and all(plant.u_units) and all(plant.p_units) and "(20" in plant.source
        assert not plant.is_linear


@pytest.mark.parametrize("name", PLANTS)
def test_every_keyword_sets_its_bound_and_is_checked(name):
    standard = make_plant(name)
    for key, parameter in inspect.signature(ZOO[name]).parameters.items():
        changed = make_plant(name, **{key: 1.01 * parameter.default})
        fields = ("x_min", "x_max", "u_min", "u_max")
        moved = [f for f in fields if not np.array_equal(getattr(changed, f), getattr(standard, f))]
        assert moved if key != "dt" else changed.dt == 1.01 * parameter.default, key
        for value in (0.0, -1.0, np.nan, "1"):
            with pytest.raises(DomainError, match=key):
                make_plant(name, **{key: value})
    assert cart_pole(force_max=3.0).u_max == 3.0


def test_bounds_that_do_not_hold_hovering_are_refused():
    with pytest.raises(BoundsError, match="equilibrium x_eq"):
        planar_quadrotor_ode(altitude_max=0.9)
    with pytest.raises(BoundsError, match="equilibrium u_eq"):
        planar_quadrotor_ode(thrust_max=0.13)
    with pytest.raises(DomainError, match="swap"):
        planar_quadrotor_ode(thrust_min=0.3)
