"""Discrete maps against SciPy's integrators: plants at drawn parameters, and the gallery's loops over many samples."""

import functools

import casadi as ca
import gallery
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from scpo_ctrl.models import ZOO, Plant, make_plant
from scpo_ctrl.models.aircraft import afti_16_ode
from scpo_ctrl.models.balancingrobot import balancing_robot_ode
from scpo_ctrl.models.ballandbeam import ball_and_beam_ode
from scpo_ctrl.models.buck import buck_converter_ode
from scpo_ctrl.models.cartpole import cart_pole_ode
from scpo_ctrl.models.cstr import cstr_ode
from scpo_ctrl.models.dcmotor import dc_motor_ode
from scpo_ctrl.models.heater import heater_ode
from scpo_ctrl.models.lanekeeping import lane_keeping_ode
from scpo_ctrl.models.quadrotor import planar_quadrotor_ode
from scpo_ctrl.models.quadrupletank import quadruple_tank_ode

SAMPLES = 25


def mass_ode() -> Plant:
    """Return a mass under a force, which R3 samples exactly."""
    x, u, m = ca.SX.sym("x", 2), ca.SX.sym("u"), ca.SX.sym("m")
    bounds = {"x_min": [-5, -1.5], "x_max": [5, 1.5], "u_min": [-1], "u_max": [1]}
    return Plant(name="mass", x=x, u=u, p=m, p_nominal=[1.0], f=ca.vertcat(x[1], u / m), **bounds)


CONTINUOUS = {
    "afti_16": afti_16_ode,
    "balancing_robot": balancing_robot_ode,
    "ball_and_beam": ball_and_beam_ode,
    "buck_converter": buck_converter_ode,
    "cart_pole": cart_pole_ode,
    "cstr": cstr_ode,
    "dc_motor": dc_motor_ode,
    "double_integrator": mass_ode,
    "heater": heater_ode,
    "lane_keeping": lane_keeping_ode,
    "planar_quadrotor": planar_quadrotor_ode,
    "quadruple_tank": quadruple_tank_ode,
}
# R4 and R5 as they are sampled, the heater without what is on its way.
DISCRETE = {name: functools.partial(make_plant, name) for name in ZOO} | {
    "heater": functools.partial(make_plant, "heater", dead_time=0.0)
}


def flow(plant, x, u, p, dt):
    """Return the state after a sample with the input held."""
    found = solve_ivp(
        lambda _, z: np.array(plant.function(z, u, p))[:, 0], (0, dt), x, method="LSODA", rtol=1e-10, atol=1e-12
    )
    return found.y[:, -1]


def test_every_plant_of_the_zoo_has_its_equations_here():
    assert set(CONTINUOUS) == set(ZOO)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_a_sample_at_drawn_parameters_is_that_of_an_integrator(name):
    discrete, continuous, rng = DISCRETE[name](), CONTINUOUS[name](), np.random.default_rng(20)
    room = np.minimum(discrete.x_max - discrete.x_eq, discrete.x_eq - discrete.x_min)
    half = np.where(np.isfinite(room), room, 1.0)
    moved = 0.0
    for _ in range(6):
        p = continuous.p_nominal * rng.uniform(0.8, 1.2, continuous.npar)
        x = discrete.x_eq + 0.3 * rng.uniform(-1, 1, discrete.nx) * half
        u = rng.uniform(discrete.u_min, discrete.u_max)
        found = np.array(discrete.function(x, u, p))[:, 0]
        np.testing.assert_allclose(found / half, flow(continuous, x, u, p, discrete.dt) / half, atol=1e-4)
        moved = max(moved, np.abs((found - np.array(discrete.function(x, u, discrete.p_nominal))[:, 0]) / half).max())
    assert moved > 1e-5 or not continuous.npar  # parameters matter


@pytest.mark.parametrize("name", gallery.LOOPS)
def test_a_loop_of_the_gallery_is_that_of_an_integrator(name):
    """The controller runs as it does today; of the plant's state SciPy says what it is, and dead time is a queue."""
    problem, _ = gallery.load(name)
    policy, continuous = problem.policy, CONTINUOUS[name]()
    plant, alone, n = policy.plant, policy.controlled_plant, continuous.nx
    drawn = problem.scenarios.declared.random(0, 2, 7)
    theta = problem.theta_initial
    for start, p in zip(drawn.x0, drawn.p, strict=True):
        loop, s = start, start
        for _ in range(SAMPLES):
            u = policy(s, theta)
            following = np.array(plant.function(s, u, p))[:, 0]  # of memories, and of inputs on their way
            delayed = s[n : n + continuous.nu] if alone.nx > n else u[: continuous.nu]
            following[:n] = flow(continuous, s[:n], delayed, p[: continuous.npar], plant.dt)
            s = following
            loop = np.array(plant.function(loop, policy(loop, theta), p))[:, 0]
        size = problem.backup.extent[: alone.nx]  # of the set that it holds
        assert (np.abs(s - loop)[: alone.nx] <= 1e-3 * size).all()
        assert (np.abs(s - start)[: alone.nx] / size).max() > 0.05
