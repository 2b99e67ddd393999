"""Proved level sets against random simulation, corners included; planted faults; what cannot be proved."""

import dataclasses

import casadi as ca
import numpy as np
import pytest
from forms import times

import scpo_ctrl as sc
from scpo_ctrl.controllers import pid
from scpo_ctrl.errors import DomainError
from scpo_ctrl.invariance.level_set import WHOLE
from scpo_ctrl.loop.backup import Backup
from scpo_ctrl.loop.level import parameter_ranges
from scpo_ctrl.models import cart_pole, dc_motor, double_integrator, quadruple_tank, signals, with_signals
from scpo_ctrl.proof.backup_set import prove_backup_set

MANY = times(200_000)
MASSES = {"pole_mass": (0.08, 0.12), "cart_mass": (0.8, 1.2)}


def lqr_policy(plant, Q, R, ranges=None):
    return sc.Policy(plant, sc.lqr(plant, Q, R, parameters=ranges))


def curved():
    """Return the double integrator under a law that is no straight line, and depends on no parameter."""
    x, theta = ca.SX.sym("x", 2), ca.SX.sym("theta", 2)
    command = -theta[0] * ca.tanh(x[0]) - theta[1] * x[1]
    law = sc.Controller(name="curved", theta=theta, theta_initial=[0.1, 0.5], y=x, command=command)
    return sc.controlled(double_integrator(), law)


CASES = {
    "curved": (curved, {"mass": (0.95, 1.05)}, None),
    "R3": (lambda: lqr_policy(double_integrator(), [0.1, 0.1], [10.0]), {"mass": (0.8, 1.3)}, [1e-3, 1e-3]),
    "R4": (lambda: lqr_policy(cart_pole(), [1, 1, 10, 1], [1.0]), {}, None),
    "tank": (lambda: lqr_policy(quadruple_tank(), [1.0] * 4, [1.0] * 2), {}, None),
    "PID": (lambda: sc.controlled(dc_motor(), pid(dc_motor(), 1.0, 2.0, 0.02, filter_time=2e-3)), {}, None),
}


def escapes(policy, proof, ranges, half, count=MANY):
    """Return how many of random states on and in the set leave it in a step, parameters and disturbances at corners."""
    plant, backup, rng = policy.plant, policy.backup, np.random.default_rng(0)
    unit, root = backup.shape
    towards = rng.normal(size=(count, plant.nx))
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    length = np.where(rng.uniform(size=(count, 1)) < 0.5, 1.0, rng.uniform(size=(count, 1)))
    z = np.sqrt(proof.level) * unit * (length * towards @ root.T)
    sides = rng.uniform(size=(count, plant.npar))
    sides = np.where(rng.uniform(size=sides.shape) < 0.5, np.round(sides), sides)
    p = ranges[:, 0] + sides * np.ptp(ranges, axis=1)
    if isinstance(policy, sc.ControllerPolicy):
        u = np.array(policy.at_start.map(count)((plant.x_eq + z).T, p.T))
    else:
        u = (plant.u_eq - z @ backup.K.T).T
    assert (plant.u_min <= u.T).all() and (plant.u_max >= u.T).all()
    x = plant.x_eq + z
    assert (x >= plant.x_min).all() and (x <= plant.x_max).all()
    following = np.array(plant.function.map(count)(x.T, u, p.T)).T
    if half is not None:
        following = following + np.sign(rng.normal(size=following.shape)) * half
    return int((backup.level(following, plant.x_eq) > proof.level * backup.rho).sum())


@pytest.mark.table(5)
@pytest.mark.parametrize("name", CASES)
def test_no_random_state_escapes_what_is_proved(name):
    make, given, half = CASES[name]
    policy = make()
    ranges, half = parameter_ranges(policy.plant, given), None if half is None else np.array(half)
    proof = prove_backup_set(policy, ranges, half)
    if name == "curved":  # of which V holds near the middle alone
        assert not proof.proved and 0.1 < proof.level < 1
    else:
        assert proof.proved and proof.level == WHOLE and not proof.blocks
    assert escapes(policy, proof, ranges, half) == 0


def test_a_range_that_is_too_wide_is_not_proved_and_its_parameter_is_named():
    policy = lqr_policy(double_integrator(), [0.1, 0.1], [10.0])
    proof = prove_backup_set(policy, np.array([[0.3, 3.0]]))
    assert not proof.proved and proof.level == 0
    assert "mass in [0.3, 3]" in proof.blocks


def test_a_disturbance_lowers_what_holds():
    policy = lqr_policy(double_integrator(), [0.1, 0.1], [10.0])
    ranges = parameter_ranges(policy.plant, {"mass": (0.8, 1.3)})
    far = prove_backup_set(policy, ranges, np.array([0.0, 0.05]))
    assert not far.proved
    near = prove_backup_set(policy, ranges, np.array([0.0, 0.002]))
    assert near.proved and near.disturbance > 0
    assert escapes(policy, near, ranges, np.array([0.0, 0.002])) == 0


def test_a_level_that_is_too_large_leaves_a_bound():
    policy = lqr_policy(double_integrator(), [0.1, 0.1], [10.0])
    b = policy.backup
    larger = sc.Policy(policy.plant, Backup(b.K, b.P, 1.01 * b.rho))
    proof = prove_backup_set(larger, parameter_ranges(policy.plant, None))
    assert not proof.proved and "beyond the bounds of" in proof.blocks
    assert 0.9 < proof.level < 1 / 1.01


def test_a_shape_that_does_not_decrease_is_not_proved():
    policy = lqr_policy(double_integrator(), [0.1, 0.1], [10.0])
    b, rng = policy.backup, np.random.default_rng(3)
    refused = 0
    for _ in range(100):
        A = rng.normal(size=(2, 2))
        P = A @ A.T + 0.01 * np.eye(2)
        A_cl = np.array([[1, 0.1], [0, 1]]) - np.array([[0.005], [0.1]]) @ b.K
        falls = np.linalg.eigvalsh(P - A_cl.T @ P @ A_cl).min()
        rho = 1e-3 * min(1 / np.linalg.inv(P).diagonal().max(), 1.0)
        proof = prove_backup_set(sc.Policy(policy.plant, Backup(b.K, P, rho)), parameter_ranges(policy.plant, None))
        assert proof.proved == (falls > 1e-8) or abs(falls) < 1e-6
        refused += not proof.proved
    assert 10 < refused < 100


def test_masses_of_the_cart_pole():
    """The level that simulations found for a range of both masses can be proved."""
    policy = lqr_policy(cart_pole(), [1, 1, 10, 1], [1.0], MASSES)
    ranges = parameter_ranges(policy.plant, MASSES)
    proof = prove_backup_set(policy, ranges, most_boxes=6000)
    assert proof.proved and set(proof.variables) == {"angle", "rate", "force", "pole_mass", "cart_mass"}
    assert escapes(policy, proof, ranges, None) == 0


def test_parameters_that_vary_take_every_value_of_their_signals():
    plant = with_signals(double_integrator(), {"mass": signals.step(1.0, (0.8, 1.3), (0.0, 1.0))})
    policy = lqr_policy(plant, [0.1, 0.1], [10.0])
    proof = prove_backup_set(policy, parameter_ranges(plant, None))
    assert proof.proved and proof.variables == ("mass",)
    wide = with_signals(double_integrator(), {"mass": signals.step(1.0, (0.3, 3.0))})
    assert not prove_backup_set(lqr_policy(wide, [0.1, 0.1], [10.0]), parameter_ranges(wide, None)).proved


def test_a_law_that_may_command_too_much_is_not_proved():
    policy = curved()
    narrow = policy.plant.replace(u_min=[-0.05], u_max=[0.05])
    proof = prove_backup_set(dataclasses.replace(policy, plant=narrow), parameter_ranges(narrow, None))
    assert not proof.proved and proof.blocks == "the set reaches beyond the bounds of force"
    assert 0 < proof.level < 1


def test_what_cannot_be_enclosed_is_named():
    x, u = ca.SX.sym("x", 2), ca.SX.sym("u")
    f = ca.vertcat(x[0] + 0.1 * x[1], 0.9 * x[1] + 0.1 * u + 0.01 * x[0] * ca.fabs(x[1]))
    bounds = {"x_min": [-1, -1], "x_max": [1, 1], "u_min": [-1], "u_max": [1]}
    plant = sc.models.Plant(name="friction", x=x, u=u, f=f, dt=0.1, **bounds)
    with pytest.raises(DomainError, match=r"fabs|sign"):
        prove_backup_set(lqr_policy(plant, [1.0, 1.0], [1.0]), np.zeros((0, 2)))
