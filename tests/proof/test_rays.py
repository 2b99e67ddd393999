"""The mean of the Jacobian along rays: what it is, what it proves that the Jacobian does not, and what it must not."""

import dataclasses

import casadi as ca
import numpy as np
import pytest
from proved_loops import proved, pruned, wave

import scpo_ctrl as sc
from scpo_ctrl.invariance.cones import Cones, along
from scpo_ctrl.invariance.intervals import Enclosure, Interval
from scpo_ctrl.invariance.jacobians import Law, LevelSet, jacobians
from scpo_ctrl.invariance.level_set import prove_level_set
from scpo_ctrl.models import ball_and_beam

NONE = np.zeros((0, 2))


def ring(policy, rho, count=20_001):
    """Return states on the surface of {V ≤ ρ}, less the equilibrium."""
    angle = np.linspace(0, 2 * np.pi, count)
    unit, root = dataclasses.replace(policy.backup, rho=rho).shape
    return unit * (np.stack([np.cos(angle), np.sin(angle)]).T @ root.T)


def following(policy, z):
    plant = policy.plant
    commands = (plant.u_eq - z @ policy.backup.K.T).T
    return np.array(plant.function.map(len(z))((plant.x_eq + z).T, commands, np.zeros((0, len(z))))).T


def longest(policy, rho):
    """Return the largest norm of the Jacobian itself on the surface of {V ≤ ρ}."""
    plant, level_set = policy.plant, LevelSet.of(policy.backup.P, rho)
    f = ca.substitute(plant.f, plant.u, Law(plant, policy.backup.K).command(plant.x, plant.p))
    J = ca.Function("J", [plant.x], [ca.densify(ca.jacobian(f, plant.x))])
    z = ring(policy, rho, 401)
    found = np.array(J.map(len(z))((plant.x_eq + z).T)).reshape(2, len(z), 2).transpose(1, 0, 2)
    return float(np.linalg.norm(level_set.T @ found @ level_set.back, ord=2, axis=(1, 2)).max())


def test_a_set_is_proved_on_which_the_jacobian_is_too_long():
    policy = wave()
    rho = 0.85 * policy.backup.rho
    proof = prove_level_set(Law(policy.plant, policy.backup.K), policy.backup.P, rho, NONE, search=False)
    assert longest(policy, rho) > 1.001
    assert proof.proved and proof.contraction < 1
    assert sum(int((some == -3).sum()) for some in proof.splits) > 0
    z = np.vstack([part * ring(policy, rho) for part in np.linspace(0.05, 1, 20)])
    assert (policy.backup.level(following(policy, z), policy.plant.x_eq) <= rho).all()


def test_a_level_one_percent_above_the_largest_that_holds_is_never_proved():
    policy = wave()
    far = {"x_min": [-1e3] * 2, "x_max": [1e3] * 2, "u_min": [-1e4], "u_max": [1e4]}
    wide = policy.plant.replace(**far)

    def leaves(rho):
        return bool((policy.backup.level(following(policy, ring(policy, rho)), wide.x_eq) > rho).any())

    low, high = 0.5 * policy.backup.rho, 50 * policy.backup.rho
    assert leaves(high) and not leaves(low)
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if leaves(middle) else (middle, high)
    law = Law(wide, policy.backup.K)
    assert not prove_level_set(law, policy.backup.P, 1.01 * high, NONE, search=False).proved
    assert prove_level_set(law, policy.backup.P, 0.55 * low, NONE, search=False).proved


@pytest.mark.parametrize("rise", [1e-9, 1e-6])
def test_a_rise_at_rest_is_never_proved(rise):
    """A loop that is a little too long along one direction at rest, and bends: no cone, and no mean, may hide it."""
    x, u = ca.SX.sym("x", 2), ca.SX.sym("u")
    for own, holds in ((1 + rise, False), (0.99, True)):
        f = ca.vertcat(own * x[0], 0.5 * x[1] + 0.1 * x[1] ** 3 + u)
        bounds = {"x_min": [-1.0] * 2, "x_max": [1.0] * 2, "u_min": [-1.0], "u_max": [1.0]}
        plant = sc.models.Plant(name="slow", x=x, u=u, f=f, dt=0.1, **bounds)
        proof = prove_level_set(Law(plant, np.zeros((1, 2))), np.eye(2), 0.5, NONE, search=False)
        assert proof.proved is holds


@pytest.fixture(scope="module")
def beam():
    plant = ball_and_beam()
    policy = sc.Policy(plant, sc.lqr(plant, [100.0, 10.0, 1.0, 1.0], [1e-3]))
    ranges = np.tile(plant.p_nominal[:, None], 2) * [0.9, 1.1]
    level_set = LevelSet.of(policy.backup.P, policy.backup.rho)
    return policy, jacobians(Law(plant, policy.backup.K), level_set, ranges)


def test_the_mean_along_rays_is_what_the_mean_value_theorem_asks_for(beam):
    policy, loop = beam
    plant, rng = policy.plant, np.random.default_rng(0)
    z = rng.normal(size=(200, 4)) @ loop.set.back.T / 4
    p = rng.uniform(0.9, 1.1, (200, 1)) * plant.p_nominal
    values = np.hstack([plant.x_eq + z, plant.u_eq - z @ policy.backup.K.T, p])
    labels = [*plant.x_labels, *plant.u_labels, *plant.p_labels]
    mean = loop.rays.at(values[:, [labels.index(label) for label in loop.labels]])
    assert (mean.low <= mean.high).all() and (mean.high - mean.low).max() < 0.02
    step = np.array(plant.function.map(200)(values[:, :4].T, values[:, 4:5].T, p.T)).T - plant.x_eq
    middle, radius = (mean.high + mean.low) / 2, (mean.high - mean.low) / 2
    off = np.abs(np.einsum("nij,nj->ni", middle, z) - step)
    assert (off <= np.einsum("nij,nj->ni", radius, np.abs(z)) + 1e-12).all()


def test_second_derivatives_of_the_mean_are_enclosed(beam):
    """Differences of it, at points of boxes, along each variable."""
    _, loop = beam
    rng, k = np.random.default_rng(1), len(loop.middle)
    low = loop.middle + loop.reach * rng.uniform(-0.8, 0.4, (20, k))
    high = low + 0.3 * loop.reach
    bent = loop.rays.bent(low, high)
    nodes, weights = np.polynomial.legendre.leggauss(8)

    def mean(points):
        J = 0.0
        for t, w in zip((nodes + 1) / 2, weights / 2, strict=True):
            at = np.where(loop.of_set, loop.middle + t * (points - loop.middle), points)
            found = loop.jacobian(Interval(at, at))[0]
            J = J + w * (found.low + found.high) / 2
        return J

    middle = (low + high) / 2
    for i in range(k):
        h = np.zeros(k)
        h[i] = 0.02 * loop.reach[i]
        second = (mean(middle + h) - 2 * mean(middle) + mean(middle - h)) / h[i] ** 2
        room = 1e-9 / h[i] ** 2
        assert (second >= bent.low[:, i] - room).all() and (second <= bent.high[:, i] + room).all()


def test_vectors_that_a_box_sees_are_no_shorter_than_its_cone_counts():
    rng = np.random.default_rng(2)
    across = np.linalg.qr(rng.normal(size=(5, 5)))[0][:3]
    whitened = rng.normal(size=(3, 3))
    low = rng.normal(size=(100, 3))
    high = low + rng.uniform(0, 0.4, (100, 3))
    cones = Cones.of(across, whitened, low, high, 0.05)
    narrow = 0
    for right, a, b in zip(cones.right, low, high, strict=True):
        seen = rng.uniform(a, b, (300, 3)) @ whitened.T
        v = seen @ across + rng.normal(size=(300, 5)) @ (np.eye(5) - across.T @ across)
        counted = np.linalg.norm(np.linalg.solve(right, v.T), axis=0)
        assert (counted <= np.linalg.norm(v, axis=1) * (1 + 1e-9)).all()
        narrow += not np.allclose(right, np.eye(5))
        assert np.linalg.norm(along(across, seen) @ v[:, :, None] - v[:, :, None]) < 1e-9 * np.linalg.norm(v)
    assert narrow > 50


def test_a_tree_that_is_closed_too_early_by_the_mean_is_refused():
    one = proved(wave)
    splits = one.stated["splits"]
    assert one.faults() == []
    assert one.faults(one.stated | {"splits": pruned(splits, 0, 0, -3)})


def test_all_instructions_of_one_kind_and_depth_are_enclosed_as_each_for_itself():
    """Against values at random points: sums, products, quotients, powers, sines, of many boxes and few."""
    x = ca.SX.sym("x", 3)
    f = ca.vertcat(
        ca.sin(x[0] * x[1]) / (2 + x[2] ** 2), x[0] ** 3 - x[1] * x[2], ca.exp(x[1]) * ca.sqrt(1 + x[2] ** 2)
    )
    function = ca.Function("f", [x], [f, ca.jacobian(f, x)])
    rng, enclose = np.random.default_rng(3), Enclosure(function)
    low = rng.uniform(-2, 1, (500, 3))
    high = low + rng.uniform(0, 1, (500, 3))
    found = enclose(Interval(low, high))
    for _ in range(20):
        points = rng.uniform(low, high)
        for i, value in enumerate(function.map(500)(points.T)):
            values = np.array(value).reshape(3, 500, -1).transpose(1, 0, 2)
            assert (values >= found[i].low).all() and (values <= found[i].high).all()
    single = [enclose(Interval(low[k : k + 1], high[k : k + 1])) for k in range(5)]
    assert all((single[k][i].low[0] == found[i].low[k]).all() for k in range(5) for i in range(2))
