"""Policies: zero at the start, zero at the equilibrium, saturated, and equal to the formula written again in numpy."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import double_integrator_problem, offset_problem, scalar_problem, two_input_problem

from scpo_ctrl.errors import DimensionError, DomainError
from scpo_ctrl.loop.policy import Policy

PROBLEMS = {
    "scalar linear": scalar_problem(),
    "one layer": double_integrator_problem((5,)),
    "two inputs, two layers": two_input_problem(3, (4, 3)),
}


def by_hand(policy, x, theta):
    """Return sat(u_eq - K z + input_scale φ(z / scale)) from the definition, one state."""
    plant, z = policy.plant, x - policy.plant.x_eq
    a, zero, rest = z / np.array(policy.scale), np.zeros(plant.nx), list(theta)
    for width in policy.hidden:
        W = np.array([[rest.pop(0) for _ in a] for _ in range(width)])
        b = np.array([rest.pop(0) for _ in range(width)])
        a, zero = np.tanh(W @ a + b), np.tanh(W @ zero + b)
    W = np.array([[rest.pop(0) for _ in a] for _ in range(plant.nu)])
    assert not rest
    residual = policy.input_scale * (W @ (a - zero))
    return np.clip(plant.u_eq - policy.backup.K @ z + residual, plant.u_min, plant.u_max)


@pytest.mark.parametrize("name", PROBLEMS)
def test_policy_is_its_formula(name):
    policy, rng = PROBLEMS[name].policy, np.random.default_rng(0)
    x = policy.plant.x_eq + rng.normal(size=(50, policy.plant.nx))
    thetas = rng.normal(size=(50, policy.theta_dim))
    expected = [by_hand(policy, *pair) for pair in zip(x, thetas, strict=True)]
    np.testing.assert_allclose(policy(x, thetas), expected, atol=1e-14)


@pytest.mark.parametrize("name", PROBLEMS)
@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31))
def test_start_is_the_backup_and_equilibrium_stays(name, seed):
    policy, rng = PROBLEMS[name].policy, np.random.default_rng(seed)
    plant, x = policy.plant, policy.plant.x_eq + rng.normal(size=(7, policy.plant.nx))
    backup = np.clip(plant.u_eq - (x - plant.x_eq) @ policy.backup.K.T, plant.u_min, plant.u_max)
    np.testing.assert_allclose(policy(x, policy.theta_initial(seed)), backup, atol=1e-14)
    theta = 10 * rng.normal(size=policy.theta_dim)
    np.testing.assert_allclose(policy(plant.x_eq, theta), plant.u_eq, atol=1e-14)
    u = policy(100 * x, theta)
    assert (u >= plant.u_min).all() and (u <= plant.u_max).all()


def test_stacks_broadcast():
    policy = PROBLEMS["one layer"].policy
    x, thetas = np.ones((3, 1, 2)), np.zeros((5, policy.theta_dim))
    assert policy(x, thetas).shape == (3, 5, 1)
    assert policy(np.ones(2), thetas).shape == (5, 1)
    assert policy(np.ones(2), thetas[0]).shape == (1,)
    assert policy(np.ones((0, 2)), thetas[0]).shape == (0, 1)


def test_r3_policy_has_48_parameters_and_seeds_differ():
    policy = double_integrator_problem((12,)).policy
    assert policy.theta_dim == 48
    assert (policy.theta_initial(0) != policy.theta_initial(1)).any()
    np.testing.assert_array_equal(policy.theta_initial(3), policy.theta_initial(3))


def hidden_layer(policy, theta):
    """Return W_1 and b_1."""
    width, nx = policy.hidden[0], policy.plant.nx
    return theta[: width * nx].reshape(width, nx), theta[width * nx : width * (nx + 1)]


@pytest.mark.parametrize(
    ("problem", "bounds"),
    [
        # the level set of the double integrator's backup touches the bounds of velocity, and reaches 94 % of position's
        (double_integrator_problem((12,)), [(1, 1.5), (1, -1.5), (0, 5.0), (0, -5.0)]),
        (double_integrator_problem((12,), scale=(2.0, 0.5)), [(1, 1.5), (1, -1.5), (0, 5.0), (0, -5.0)]),
        (double_integrator_problem((7,)), [(1, 1.5), (1, -1.5), (0, 5.0)]),  # up to half of the units
        (double_integrator_problem((2, 9)), [(1, 1.5)]),
        (double_integrator_problem((1,)), []),
        (offset_problem((6,)), [(0, -0.2)]),  # no bound above, and an equilibrium that is not the origin
    ],
)
def test_units_start_at_the_bounds_nearest_first(problem, bounds):
    policy = problem.policy
    theta, drawn = policy.theta_initial(5), replace(policy, at_bounds=False).theta_initial(5)
    W, b = hidden_layer(policy, theta)
    for unit, (i, bound) in enumerate(bounds):
        z = np.zeros(policy.plant.nx)
        for part in (0.8, 1.0):  # steepest at 80 % of the way, and 0.4 further at the bound
            z[i] = part * bound / policy.scale[i]
            assert W[unit] @ z + b[unit] == pytest.approx(2 * (part - 0.8), abs=1e-12)
        assert np.count_nonzero(W[unit]) == 1
    W_drawn, b_drawn = hidden_layer(policy, drawn)
    np.testing.assert_array_equal(W[len(bounds) :], W_drawn[len(bounds) :])
    np.testing.assert_array_equal(b[len(bounds) :], b_drawn[len(bounds) :])
    np.testing.assert_array_equal(theta[b.size * (policy.plant.nx + 1) :], drawn[b.size * (policy.plant.nx + 1) :])


def test_bounds_that_the_level_set_stays_far_from_have_no_unit():
    policy = double_integrator_problem((12,), scale=(1.0, 1.0)).policy  # it reaches 1 and 0.94 of the way
    far = replace(policy, backup=replace(policy.backup, rho=policy.backup.rho / 3.9))  # now 0.51 and 0.48
    W, b = hidden_layer(far, far.theta_initial(0))
    np.testing.assert_allclose(W[:2], [[0, 2 / 1.5], [0, -2 / 1.5]])
    assert (b[:2] == -1.6).all()
    np.testing.assert_array_equal(W[2:], hidden_layer(far, replace(far, at_bounds=False).theta_initial(0))[0][2:])


def test_all_units_drawn_at_random_have_the_spread_asked_for():
    policy = replace(double_integrator_problem((400,)).policy, at_bounds=False, init=0.3)
    W, b = hidden_layer(policy, policy.theta_initial(1))
    assert np.std(np.r_[W.ravel(), b]) == pytest.approx(0.3, rel=0.08)


def test_refusals():
    policy = PROBLEMS["one layer"].policy
    with pytest.raises(DimensionError, match=r"\(\.\.\., 2\)"):
        policy(np.ones(3), np.zeros(policy.theta_dim))
    with pytest.raises(DimensionError, match="broadcast"):
        policy(np.ones((2, 2)), np.zeros((3, policy.theta_dim)))
    for arguments, words in (
        ({"hidden": (0,)}, r"hidden\[0\]"),
        ({"hidden": (2.5,)}, r"hidden\[0\]"),
        ({"init": -1.0}, "init"),
        ({"scale": (1.0, 0.0)}, "scale"),
    ):
        with pytest.raises(DomainError, match=words):
            Policy(policy.plant, policy.backup, **arguments)
