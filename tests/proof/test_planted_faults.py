"""A thousand level sets with a fault planted in each: none is proved; without the fault all are."""

import numpy as np
import pytest
from problems import pendulum

import scpo_ctrl as sc
from scpo_ctrl.invariance.jacobians import SLACK, Law
from scpo_ctrl.invariance.level_set import WHOLE, prove_level_set
from scpo_ctrl.loop.level import bounds_of, largest_level
from scpo_ctrl.models import discretise, linear

NONE = np.zeros((0, 2))


def loop(rng):
    """Return a random linear plant with bounds, a gain that is stable, and the P of its Lyapunov equation."""
    import control
    import scipy.linalg

    n, m = int(rng.integers(1, 6)), int(rng.integers(1, 3))
    A = rng.normal(size=(n, n))
    A *= rng.uniform(0.5, 1.2) / np.abs(np.linalg.eigvals(A)).max()
    B = rng.normal(size=(n, m))
    half_x, half_u = rng.uniform(0.5, 2.0, n), rng.uniform(0.5, 2.0, m)
    plant = linear(A, B, 0.1, (-half_x, half_x, -half_u, half_u))
    K = np.atleast_2d(control.dlqr(A, B, np.eye(n), np.eye(m))[0])
    P = scipy.linalg.solve_discrete_lyapunov((A - B @ K).T, np.eye(n))
    return plant, np.asarray(K), (P + P.T) / 2, A - B @ np.asarray(K)


def proved(plant, K, P, rho, half=None):
    return prove_level_set(Law(plant, K), P, rho, NONE, half, search=False).proved


def scaled(plant, P, loop, norm):
    """Return the plant with f multiplied so that a step multiplies √V by a number somewhere."""
    C = np.linalg.cholesky(P)
    longest = np.linalg.norm(np.linalg.solve(C, (C.T @ loop).T), 2)
    return plant.replace(f=norm / longest * plant.f)


def tightened(plant, K, P, rho, part=1e-3):
    """Return the plant with the bound that the level set touches a part tighter."""
    H, h = bounds_of(plant, K)
    which = int(np.argmin(h**2 / np.einsum("ij,jk,ik->i", H, np.linalg.inv(P), H)))
    n, m = plant.nx, plant.nu
    name, i = [("x_max", 0), ("x_min", n), ("u_max", 2 * n), ("u_min", 2 * n + m)][
        int(np.searchsorted([n, 2 * n, 2 * n + m], which, side="right"))
    ]
    bound = getattr(plant, name).copy()
    bound[which - i] *= 1 - part
    return plant.replace(**{name: bound})


FAULTS = {
    "V rises by 1e-9": lambda plant, K, P, A, rho, rng: (scaled(plant, P, A, 1 + 1e-9), K, P, rho),
    "V rises by 1e-3": lambda plant, K, P, A, rho, rng: (scaled(plant, P, A, 1 + 1e-3), K, P, rho),
    "the level is 1 % too large": lambda plant, K, P, A, rho, rng: (plant, K, P, 1.01 * rho),
    "a bound is 0.1 % too tight": lambda plant, K, P, A, rho, rng: (tightened(plant, K, P, rho), K, P, rho),
    "a bound is 1e-6 too tight": lambda plant, K, P, A, rho, rng: (tightened(plant, K, P, rho, 1e-6), K, P, rho),
}


@pytest.mark.table(5)
@pytest.mark.parametrize("fault", FAULTS)
def test_none_of_two_hundred_is_proved_with_a_fault_and_all_without(fault):
    rng = np.random.default_rng(sorted(FAULTS).index(fault))
    for _ in range(200):
        plant, K, P, A = loop(rng)
        rho = largest_level(P, *bounds_of(plant, K))
        assert proved(plant, K, P, rho)
        assert not proved(*FAULTS[fault](plant, K, P, A, rho, rng))


def test_a_disturbance_that_is_a_little_too_large_is_refused():
    rng = np.random.default_rng(9)
    for _ in range(100):
        plant, K, P, A = loop(rng)
        rho, C = largest_level(P, *bounds_of(plant, K)), np.linalg.cholesky(P)
        left = 1 - np.linalg.norm(np.linalg.solve(C, (C.T @ A).T), 2)  # of √ρ
        half = np.zeros(plant.nx)
        half[0] = np.sqrt(WHOLE * rho / P[0, 0]) * left
        assert proved(plant, K, P, rho, half * (1 - 1e-6))
        assert not proved(plant, K, P, rho, half * (1 + 10 * SLACK))


def test_a_nonlinear_level_that_is_one_percent_too_large_is_refused():
    """From the largest level that no state leaves, found by bisection of the true maximum over the surface."""
    plant = discretise(pendulum(), 0.1)
    backup = sc.lqr(plant, [1.0, 1.0], [0.05], rho=None)
    angle = np.linspace(0, 2 * np.pi, 20_001)
    ring = np.stack([np.cos(angle), np.sin(angle)]).T @ np.linalg.inv(np.linalg.cholesky(backup.P))
    wide = plant.replace(x_min=-1e3 * np.ones(2), x_max=1e3 * np.ones(2), u_min=[-1e4], u_max=[1e4])

    def leaves(rho):
        z = np.sqrt(rho) * ring
        x = plant.x_eq + z
        commands = (plant.u_eq - z @ backup.K.T).T
        following = np.array(plant.function.map(len(x))(x.T, commands, np.zeros((0, len(x))))).T
        return bool((backup.level(following, plant.x_eq) > rho).any())

    low, high = backup.rho, backup.rho
    while not leaves(high):
        high *= 2
        if high > 1e6:
            pytest.fail("the pendulum's V falls everywhere")
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if leaves(middle) else (middle, high)
    law = Law(wide, backup.K)
    assert not prove_level_set(law, backup.P, 1.01 * high, NONE, search=False).proved
