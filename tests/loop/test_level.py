"""Levels found by simulation: what passes stays in its level set, what is planted is found, and every refusal."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest
from problems import pendulum

from scpo_ctrl.errors import BackupError, DimensionError, DomainError
from scpo_ctrl.loop.design import lqr
from scpo_ctrl.loop.level import LevelSearch, largest_level, parameter_ranges
from scpo_ctrl.loop.scenario import draw_level_set
from scpo_ctrl.models import Plant, cart_pole, discretise, double_integrator, planar_quadrotor

POLE = {"pole_mass": [0.05, 0.15], "cart_mass": [0.5, 1.5]}


@pytest.fixture(autouse=True)
def _searched_anew(monkeypatch):
    monkeypatch.setattr("scpo_ctrl.loop.backup.LevelSearch", LevelSearch)


def drone_ranges(mass, inertia=0.1):
    m, i = planar_quadrotor().p_nominal
    return {"mass": [m * (1 - mass), m * (1 + mass)], "inertia": [i * (1 - inertia), i * (1 + inertia)]}


def bounds(plant, K):
    rows = np.vstack([np.eye(plant.nx), -np.eye(plant.nx), -K, K])
    room = [plant.x_max - plant.x_eq, plant.x_eq - plant.x_min, plant.u_max - plant.u_eq, plant.u_eq - plant.u_min]
    return rows, np.concatenate(room)


def bump(where: float, height: float) -> Plant:
    """Return x⁺ = 0.5 x + 0.5 u with a bump at `where`, narrow and one-sided, that throws the state outwards."""
    x, u, gain = ca.SX.sym("x"), ca.SX.sym("u"), ca.SX.sym("gain")
    f = 0.5 * x + 0.5 * u + gain * height * x**4 * ca.exp(-(((x - where) / 0.1) ** 2))
    return Plant(
        name="bump",
        x=x,
        u=u,
        p=gain,
        p_nominal=np.full(1, 1e-6),
        p_labels=("gain",),
        f=f,
        dt=0.1,
        x_min=-np.ones(1),
        x_max=np.ones(1),
        u_min=-np.ones(1),
        u_max=np.ones(1),
    )


def loop(plant, backup, x0, p, steps):
    """Roll the saturated loop out, one state at a time."""
    path = [x0]
    for _ in range(steps):
        u = np.clip(plant.u_eq - backup.K @ (path[-1] - plant.x_eq), plant.u_min, plant.u_max)
        path.append(np.array(plant.function(path[-1], u, p))[:, 0])
    return np.array(path)


@pytest.mark.table(3)
@pytest.mark.parametrize(
    ("plant", "Q", "R", "ranges"),
    [
        (discretise(pendulum(), 0.1), [1.0, 1.0], [1.0], {}),
        (cart_pole(), [0.1, 0.1, 1.0, 1.0], [1.0], POLE),
        (planar_quadrotor(), [1, 1, 10, 5, 10, 1], [100, 100], drone_ranges(0.05)),
    ],
)
def test_other_simulations_do_not_leave_the_level_set_either(plant, Q, R, ranges):
    backup = lqr(plant, Q, R, parameters=ranges)
    assert backup.evidence in ("simulated", "proved") and backup.claim.simulated
    assert 0 < backup.rho <= largest_level(backup.P, *bounds(plant, backup.K)) * (1 + 1e-12)
    rng = np.random.default_rng(7)  # not the points of the search
    starts = plant.x_eq + draw_level_set(rng, backup, 1.0, 40)
    low, high = parameter_ranges(plant, ranges).T
    starts = (
        plant.x_eq + (starts - plant.x_eq) * np.sqrt(0.999 * backup.rho / backup.level(starts, plant.x_eq))[:, None]
    )
    for x0 in starts:
        path = loop(plant, backup, x0, rng.uniform(low, high), 150)
        level = backup.level(path, plant.x_eq)
        commands = plant.u_eq - (path - plant.x_eq) @ backup.K.T
        assert (level <= backup.rho).all()
        assert level[-1] < 0.5 * backup.rho
        assert ((path >= plant.x_min) & (path <= plant.x_max)).all()
        assert ((commands >= plant.u_min) & (commands <= plant.u_max)).all()


def test_the_search_is_the_same_every_time():
    one, other = (lqr(cart_pole(), np.ones(4), np.ones(1), parameters=POLE) for _ in range(2))
    assert one.rho == other.rho


@pytest.mark.parametrize("where", [0.35, 0.6, -0.6])
def test_a_planted_violation_is_found_and_the_level_reduced_below_it(where):
    plant = bump(where, 60.0)
    free = lqr(plant, [1.0], [1.0])
    assert np.isclose(free.rho, largest_level(free.P, *bounds(plant, free.K)))
    hit = lqr(plant, [1.0], [1.0], parameters={"gain": sorted([0.0, np.sign(where)])})
    reach = np.sqrt(hit.rho / hit.P[0, 0])
    assert reach < abs(where) + 0.1
    assert reach > 0.5 * abs(where)  # no more than it must


@pytest.mark.parametrize("mass", [0.02, 0.05])
def test_a_level_must_hold_where_the_plant_settles(mass):
    plant = planar_quadrotor()
    backup = lqr(plant, [1, 1, 10, 5, 10, 1], [100, 100], parameters=drone_ranges(mass))
    settled = loop(plant, backup, plant.x_eq, [plant.p_nominal[0] * (1 + mass), plant.p_nominal[1]], 800)[-1]
    assert 0 < backup.level(settled, plant.x_eq) < 0.5 * backup.rho
    assert settled[2] < 1.0  # a heavier drone hovers lower


def test_small_levels_fail_where_the_plant_settles_outside_them():
    plant = planar_quadrotor()
    backup = lqr(plant, [1, 1, 10, 5, 10, 1], [100, 100], parameters=drone_ranges(0.05))
    search = LevelSearch(plant, backup.K, backup.P, np.eye(6), parameter_ranges(plant, drone_ranges(0.05)))
    assert search.passes(backup.rho)
    assert not search.passes(1e-3 * backup.rho)
    nominal = LevelSearch(plant, backup.K, backup.P, np.eye(6), parameter_ranges(plant, None))
    assert nominal.passes(1e-3 * backup.rho)


def test_nothing_is_left_where_the_ranges_are_too_wide():
    plant = cart_pole()
    weights = ([1.0, 1.0, 100.0, 10.0], [0.1])
    assert lqr(plant, np.ones(4), np.ones(1), parameters={"half_length": [0.49, 0.51]}).rho > 0
    with pytest.raises(
        BackupError, match=r"at any level down to 0\.014 of the largest inside all bounds; narrow the ranges"
    ):
        lqr(plant, *weights, parameters={"cart_mass": [0.01, 100.0], "half_length": [0.01, 5.0]})
    with pytest.raises(BackupError, match="at any level"):
        lqr(planar_quadrotor(), [1, 1, 10, 5, 10, 1], [100, 100], parameters=drone_ranges(0.5))


def test_a_level_that_is_given_is_simulated_too():
    plant = bump(0.6, 60.0)
    ranges = {"gain": [0.0, 1.0]}
    found = lqr(plant, [1.0], [1.0], parameters=ranges)
    assert lqr(plant, [1.0], [1.0], parameters=ranges, rho=found.rho).rho == found.rho
    with pytest.raises(BackupError, match="at the level rho = "):
        lqr(plant, [1.0], [1.0], parameters=ranges, rho=1.2 * found.rho)


def test_a_direction_in_which_the_linearised_loop_grows_is_found():
    plant, ranges = cart_pole(), parameter_ranges(cart_pole(), POLE)
    backup = lqr(plant, [0.1, 0.1, 50.0, 1.0], [0.01])  # with the masses at a corner, V grows by 0.4 % in one direction
    assert not LevelSearch(plant, backup.K, backup.P, np.eye(4), ranges).passes(1e-3 * backup.rho)


def test_ranges_of_parameters():
    plant = double_integrator()
    np.testing.assert_array_equal(parameter_ranges(plant, None), [[1.0, 1.0]])
    np.testing.assert_array_equal(parameter_ranges(plant, {"mass": [0.5, 2]}), [[0.5, 2.0]])
    for limits, error, words in (
        ([0.0, 1.0], DomainError, "reaches 0 kg"),
        ([-1.0, 1.0], DomainError, "only above it"),
        ([2.0, 1.0], DomainError, "swapped"),
        ([1.0], DimensionError, "shape"),
        ([1.0, np.nan], DomainError, "finite"),
    ):
        with pytest.raises(error, match=words):
            parameter_ranges(plant, {"mass": limits})
    with pytest.raises(DomainError, match="has: mass"):
        parameter_ranges(plant, {"weight": [1.0, 2.0]})


def test_every_corner_of_the_ranges_is_tried_and_many_parameters_are_sampled():
    plant = cart_pole()
    search = LevelSearch(plant, np.zeros((1, 4)), np.eye(4), np.eye(4), parameter_ranges(plant, POLE))
    corners = {(m, M, 0.5) for m in (0.05, 0.15) for M in (0.5, 1.5)}
    assert corners | {(0.1, 1.0, 0.5)} <= {tuple(np.round(p, 12)) for p in search.parameters}
    levels = np.einsum("ij,ij->i", search.shells, search.shells)
    np.testing.assert_allclose(np.unique(levels.round(9)), np.linspace(0, 1, 11) ** 2, atol=1e-9)
    p = ca.SX.sym("p", 9)
    many = pendulum().replace(p=p, p_nominal=np.ones(9), p_labels=(), p_units=(), p_above=np.zeros(0), dt=0.1)
    ranges = np.tile([0.5, 2.0], (9, 1))
    points = LevelSearch(many, np.zeros((1, 2)), np.eye(2), np.eye(2), ranges).parameters
    assert 9 < len(points) < 100
    assert ((points >= 0.5) & (points <= 2.0)).all()


def test_a_loop_too_slow_for_the_longest_simulation_keeps_its_level_all_the_same():
    x, u = ca.SX.sym("x"), ca.SX.sym("u")
    ends = {"x_min": [-2.0], "x_max": [2.0], "u_min": [-1.0], "u_max": [1.0]}
    plant = Plant(name="slow", x=x, u=u, f=x - 5e-4 * x * (1 - 4 * x**2) + u, dt=0.1, **ends)  # leaves from 0.5 on
    search = LevelSearch(plant, np.zeros((1, 1)), np.eye(1), np.array([[1.0], [-1.0]]), np.zeros((0, 2)))
    assert search.passes(0.2**2)
    assert not search.passes(0.45**2) and not search.passes(0.55**2)
