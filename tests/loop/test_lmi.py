"""Level sets that are designed and proved: against random simulation, against LQR's, and what cannot be had."""

import casadi as ca
import numpy as np
import pytest
from forms import times

import scpo_ctrl as sc
from scpo_ctrl.errors import BackupError, DimensionError, DomainError, UnsafeStartError
from scpo_ctrl.loop import of_gain
from scpo_ctrl.models import Plant, cart_pole, double_integrator, linear, planar_quadrotor

MANY = times(1_000_000)
HALVES = {"pole_mass": (0.05, 0.15), "cart_mass": (0.5, 1.5)}


def volume(backup, other):
    """Return by how much the level set of one backup is larger than that of another."""
    logs = [len(b.P) * np.log(b.rho) / 2 - np.linalg.slogdet(b.P)[1] / 2 for b in (backup, other)]
    return float(np.exp(logs[0] - logs[1]))


def escapes(plant: Plant, backup, ranges, half, count=MANY) -> int:
    """Return how many random states, half of them on the surface, leave the set or a bound in a step."""
    rng, (unit, root) = np.random.default_rng(5), backup.shape
    towards = rng.normal(size=(count, plant.nx))
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    length = np.where(rng.uniform(size=(count, 1)) < 0.5, 1 - 1e-8, rng.uniform(size=(count, 1)))
    x = plant.x_eq + unit * ((length * towards) @ root.T)
    sides = rng.uniform(size=(count, plant.npar))
    p = np.where(rng.uniform(size=sides.shape) < 0.5, np.round(sides), sides) * np.ptp(ranges, axis=1) + ranges[:, 0]
    u = plant.u_eq - (x - plant.x_eq) @ backup.K.T
    following = np.array(plant.function.map(count)(x.T, u.T, p.T)).T + np.sign(rng.normal(size=x.shape)) * half
    out = backup.level(following, plant.x_eq) > backup.rho
    for values, low, high in ((x, plant.x_min, plant.x_max), (u, plant.u_min, plant.u_max)):
        out |= ((values < low) | (values > high)).any(axis=1)
    return int(out.sum())


@pytest.mark.table(4)
@pytest.mark.parametrize(
    ("plant", "Q", "R", "parameters", "given", "decay", "least"),
    [
        (double_integrator(), [0.1, 0.1], [10.0], {"mass": (0.5, 1.5)}, False, 0.99, 1.3),
        (cart_pole(), [1, 1, 10, 1], [1.0], HALVES, True, 0.99, 50),
        (cart_pole(), [1, 1, 10, 1], [1.0], HALVES, False, 0.99, 150),
        (planar_quadrotor(), [1.0] * 6, [100.0] * 2, {}, False, 0.999, 5000),
    ],
    ids=["R3", "R4, gain kept", "R4", "R5"],
)
def test_a_designed_set_is_many_times_that_of_lqr_and_is_kept(plant, Q, R, parameters, given, decay, least):
    lqr = sc.lqr(plant, Q, R, parameters=parameters)
    backup = sc.lmi(plant, K=lqr.K if given else None, parameters=parameters, decay=decay)
    assert backup.evidence == "proved" and backup.claim.proof.contraction < 1
    assert np.array_equal(backup.K, lqr.K) == given
    assert volume(backup, lqr) > least
    assert escapes(plant, backup, backup.claim.ranges, 0.0) == 0


def test_a_disturbance_is_designed_for():
    plant, half = double_integrator(), np.array([0.0, 0.02])
    backup = sc.lmi(plant, parameters={"mass": (0.8, 1.3)}, disturbance=half)
    assert backup.claim.proof.disturbance > 0 and np.array_equal(
        backup.claim.proof.half, half / (plant.x_max - plant.x_min) * 2
    )
    assert escapes(plant, backup, backup.claim.ranges, half) == 0
    with pytest.raises(BackupError, match="no level set of plant 'double_integrator' is proved"):
        sc.lmi(plant, disturbance=[0.0, 2.0])


def test_a_parameter_that_moves_the_equilibrium_is_designed_for():
    A, B = [[1.0, 0.1], [0.0, 0.9]], [[0.0], [0.1]]
    base = linear(A, B, 0.1, ([-1, -1], [1, 1], [-1], [1]))
    load = ca.SX.sym("load")
    plant = base.replace(p=load, p_nominal=[0.0], p_labels=("load",), f=base.f + ca.vertcat(0, 0.02 * load))
    backup = sc.lmi(plant, parameters={"load": (-1.0, 1.0)})
    assert backup.claim.proof.drift > 0 and escapes(plant, backup, backup.claim.ranges, 0.0) == 0


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda p: sc.lmi(p, K=[[1.0]]), DimensionError, "K"),
        (lambda p: sc.lmi(p, decay=1.0), DomainError, r"decay = 1, expected a number in \(0, 1\)"),
        (lambda p: sc.lmi(p, decay=np.nan), DomainError, "decay"),
        (lambda p: sc.lmi(p, disturbance=[0.1]), DimensionError, "disturbance"),
        (lambda p: sc.lmi(p, disturbance=[0.1, -0.1]), DomainError, "expected half widths >= 0"),
        (lambda p: sc.lmi(p, K=[[-1.0, -1.0]]), UnsafeStartError, "is not stable at rest"),
        (lambda p: sc.lmi(p, parameters={"mas": (1, 2)}), DomainError, "unknown plant parameter 'mas'"),
        (lambda p: of_gain(p, [[-1.0, -1.0]]), UnsafeStartError, "is not stable at rest"),
        (lambda p: of_gain(p, [[np.inf, 0.0]]), DomainError, "K"),
    ],
)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call(double_integrator())


def test_a_gain_that_is_given_has_the_level_of_its_loop():
    plant = double_integrator()
    lqr = sc.lqr(plant, [0.1, 0.1], [10.0])
    backup = of_gain(plant, lqr.K)
    assert backup.evidence == "proved" and escapes(plant, backup, backup.claim.ranges, 0.0) == 0
    A, B = plant.linearise()
    fall = backup.P - (A - B @ lqr.K).T @ backup.P @ (A - B @ lqr.K)
    assert np.linalg.eigvalsh(fall).min() > 0
