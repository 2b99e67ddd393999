"""The backup: optimality, the largest level, invariance in simulation, and every refusal."""

import dataclasses

import casadi as ca
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import BOX, pendulum
from scipy.linalg import solve_discrete_are

from scpo_ctrl.errors import BackupError, DomainError, UncontrollableError, UnstabilisableError
from scpo_ctrl.loop.backup import Backup, check_backup, contraction
from scpo_ctrl.loop.design import lqr
from scpo_ctrl.loop.level import largest_level
from scpo_ctrl.loop.scenario import draw_level_set
from scpo_ctrl.models import Plant, discretise, double_integrator, linear


def random_plant(seed, nx=3, nu=2):
    rng = np.random.default_rng(seed)
    bounds = (-rng.uniform(0.5, 3, nx), rng.uniform(0.5, 3, nx), -rng.uniform(0.5, 3, nu), rng.uniform(0.5, 3, nu))
    return linear(rng.normal(size=(nx, nx)), rng.normal(size=(nx, nu)), 0.1, bounds)


@pytest.mark.parametrize("seed", range(5))
def test_gain_and_matrix_solve_the_riccati_equation(seed):
    plant = random_plant(seed)
    backup = lqr(plant, [1.0, 2.0, 0.5], [0.3, 4.0])
    A, B = plant.linearise()
    Q, R = np.diag([1.0, 2.0, 0.5]), np.diag([0.3, 4.0])
    P = solve_discrete_are(A, B, Q, R)
    np.testing.assert_allclose(backup.P, P, rtol=1e-8)
    np.testing.assert_allclose(backup.K, np.linalg.solve(R + B.T @ P @ B, B.T @ P @ A), rtol=1e-8)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_level_set_is_invariant_inside_all_bounds_and_touches_one(seed):
    plant = random_plant(seed)
    backup = lqr(plant, np.ones(3), np.ones(2))
    A, B = plant.linearise()
    rng = np.random.default_rng(seed)
    x = draw_level_set(rng, backup, 1.0, 2000)
    u = -x @ backup.K.T
    assert (x <= plant.x_max + 1e-9).all() and (x >= plant.x_min - 1e-9).all()
    assert (u <= plant.u_max + 1e-9).all() and (u >= plant.u_min - 1e-9).all()
    assert (backup.level(x @ A.T + u @ B.T) <= backup.level(x)).all()
    # The point of {V = ρ} that goes furthest towards a bound a'x ≤ b is P⁻¹a √(ρ / a'P⁻¹a).
    rows = np.vstack([np.eye(3), -np.eye(3), -backup.K, backup.K])
    room = np.concatenate([plant.x_max, -plant.x_min, plant.u_max, -plant.u_min])
    furthest = np.sqrt(backup.rho * np.einsum("ij,jk,ik->i", rows, np.linalg.inv(backup.P), rows))
    assert np.isclose(np.max(furthest / room), 1.0, rtol=1e-9)


def test_level_is_invariant_to_the_units_of_the_states():
    P, H, h = np.array([[2.0, 0.3], [0.3, 1.0]]), np.eye(2), np.array([1.0, 2.0])
    T = np.diag([1000.0, 1e-3])  # x = T y
    assert np.isclose(largest_level(P, H, h), largest_level(T @ P @ T, H @ T, h), rtol=1e-12)


def test_a_linear_plant_takes_a_smaller_level_and_says_what_holds_in_its_ranges():
    plant = double_integrator()
    backup = lqr(plant, [0.1, 0.1], [10.0])
    ranged = lqr(plant, [0.1, 0.1], [10.0], parameters={"mass": [0.1, 5.0]})
    assert (backup.evidence, ranged.evidence) == ("proved", "refuted")  # V grows where the mass is far from one
    near = lqr(plant, [0.1, 0.1], [10.0], parameters={"mass": [0.8, 1.3]})
    assert near.evidence == "proved" and near.claim.proof.boxes == 1
    assert ranged.rho == backup.rho
    assert lqr(plant, [0.1, 0.1], [10.0], rho=3.0).rho == 3.0
    with pytest.raises(BackupError, match="leaves the bounds"):
        lqr(plant, [0.1, 0.1], [10.0], rho=1.001 * backup.rho)
    with pytest.raises(DomainError, match="rho"):
        lqr(plant, [0.1, 0.1], [10.0], rho=0.0)
    with pytest.raises(TypeError):  # only the package says that it is proved
        Backup(backup.K, backup.P, backup.rho, "proved")


def test_r3_has_the_backup_of_the_design_notes():
    backup = lqr(double_integrator(), [0.1, 0.1], [10.0])
    assert contraction(double_integrator(), backup) < 1
    assert np.isclose(backup.rho, 54.66133, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda b: Backup(-b.K, b.P, b.rho / 100), "grows along"),
        (lambda b: Backup(b.K, b.P, b.rho * 1.001), "leaves the bounds"),
        (lambda b: Backup(b.K, -b.P, b.rho), "not positive definite"),
        (lambda b: Backup(b.K.T, b.P, b.rho), "do not fit"),
    ],
)
def test_check_refuses_a_backup_that_does_not_hold(change, words):
    plant = double_integrator()
    with pytest.raises(BackupError, match=words):
        check_backup(plant, change(lqr(plant, [0.1, 0.1], [10.0])))


def test_each_design_failure_has_its_own_error():
    with pytest.raises(UnstabilisableError, match=r"mode 1\.2"):
        lqr(linear(np.diag([1.2, 0.5]), [[0.0], [1.0]], 0.1, BOX), np.ones(2), np.ones(1))
    stable = linear(np.diag([0.9, 0.5]), [[0.0], [1.0]], 0.1, BOX)
    with pytest.raises(UncontrollableError, match="allow_uncontrollable") as caught:
        lqr(stable, np.ones(2), np.ones(1))
    assert not isinstance(caught.value, UnstabilisableError)
    assert lqr(stable, np.ones(2), np.ones(1), allow_uncontrollable=True).rho > 0
    with pytest.raises(BackupError, match="discretise"):
        lqr(pendulum(), np.ones(2), np.ones(1))


def test_uncontrollability_is_found_in_any_coordinates():
    T = np.array([[1.0, 0.4, -0.3], [0.2, 1.0, 0.7], [-0.5, 0.1, 1.0]])
    A = T @ np.diag([1.1, 0.8, 0.5]) @ np.linalg.inv(T)
    B = T @ np.array([[0.0], [1.0], [1.0]])
    bounds = (-np.ones(3), np.ones(3), [-1.0], [1.0])
    with pytest.raises(UnstabilisableError, match=r"1\.1"):
        lqr(linear(A, B, 0.1, bounds), np.ones(3), np.ones(1))


@pytest.mark.parametrize(
    ("Q", "R", "words"),
    [
        ([1.0, 1.0], [0.0], r"R\[0\]"),
        ([1.0, -1.0], [1.0], r"Q\[1\]"),
        ([0.0, 1.0], [1.0], r"Q\[0\]"),
        ([1.0], [1.0], "Q has shape"),
        ([1.0, np.nan], [1.0], "Q"),
        ([[1.0, 2.0], [0.0, 1.0]], [1.0], "symmetric"),
        ([[1.0, 2.0], [2.0, 1.0]], [1.0], "positive definite"),
    ],
)
def test_weights_are_checked(Q, R, words):
    with pytest.raises(ValueError, match=words):
        lqr(double_integrator(), Q, R)


def test_a_full_weight_matrix_is_as_good_as_its_diagonal():
    plant = double_integrator()
    one, other = lqr(plant, [1.0, 2.0], [3.0]), lqr(plant, np.diag([1.0, 2.0]), [[3.0]])
    np.testing.assert_array_equal(one.K, other.K)


def test_no_finite_bound_is_refused():
    plant = double_integrator().replace(x_min=np.full(2, -np.inf), x_max=np.full(2, np.inf))
    assert np.isfinite(lqr(plant, [1, 1], [1]).rho)  # the input bounds still limit the level set
    with pytest.raises(DomainError, match="finite"):
        plant.replace(u_max=np.array([np.inf]))


def with_mass(f, *, name="mass"):
    """Return a plant with a parameter, 1 at nominal."""
    x, u, p = ca.SX.sym("x", 2), ca.SX.sym("u"), ca.SX.sym("p")
    bounds = {"x_min": -np.ones(2), "x_max": np.ones(2), "u_min": -np.ones(1), "u_max": np.ones(1)}
    return Plant(name="test", x=x, u=u, p=p, p_nominal=np.ones(1), p_labels=(name,), f=f(x, u, p), dt=0.1, **bounds)


def test_a_backup_given_by_hand_is_unchecked_until_it_is_checked():
    plant = double_integrator()
    designed = lqr(plant, [0.1, 0.1], [10.0])
    given = Backup(designed.K, designed.P, designed.rho)
    assert (designed.evidence, given.evidence) == ("proved", "unchecked")
    assert dataclasses.replace(designed, rho=1.0).evidence == "unchecked"  # nothing proved carries over to a change
    with pytest.raises(ValueError, match="claim"):
        dataclasses.replace(given, claim=designed.claim)
    with pytest.raises(TypeError, match="evidence"):
        dataclasses.replace(given, evidence="proved")
    with pytest.raises(ValueError, match="read-only"):
        designed.P[0, 0] = 1.0
    checked = check_backup(plant, given)
    assert checked.evidence == "proved"
    assert given.evidence == "unchecked"
    with pytest.raises(BackupError, match="largest inside them is"):  # a hundred times outside the bounds
        check_backup(plant, Backup(designed.K, designed.P, 1e4 * designed.rho))
    with pytest.raises(BackupError, match="not symmetric"):
        check_backup(plant, Backup(designed.K, np.triu(designed.P), 1.0))


def test_ranges_of_parameters_are_proved_whether_the_plant_is_affine_in_them_or_not():
    affine = with_mass(lambda x, u, p: ca.vertcat(x[0] + 0.1 * x[1], x[1] + 0.1 * p * u))
    curved = with_mass(lambda x, u, p: ca.vertcat(x[0] + 0.1 * x[1], x[1] + 0.1 * u / p))
    for plant in (affine, curved):
        backup = lqr(plant, [1.0, 1.0], [1.0])
        given = Backup(backup.K, backup.P, backup.rho)
        assert check_backup(plant, given).evidence == "proved"
        assert check_backup(plant, given, {"mass": [0.8, 1.2]}).evidence == "proved"
    with pytest.raises(BackupError, match=r"at mass = 30: V/rho may reach"):
        check_backup(affine, given, {"mass": [0.8, 30.0]})


def test_a_parameter_that_moves_the_equilibrium_counts():
    plant = with_mass(lambda x, u, p: ca.vertcat(0.5 * x[0] + 0.1 * (p - 1), 0.5 * x[1] + u), name="load")
    given = Backup(np.zeros((1, 2)), np.eye(2), 0.5)  # radius 0.707, of which half is lost in a step
    assert check_backup(plant, given, {"load": [-2.0, 4.0]}).evidence == "proved"  # moves by 0.3
    with pytest.raises(BackupError, match="at load = 5"):
        check_backup(plant, given, {"load": [1.0, 5.0]})  # by 0.4


def test_a_backup_of_a_nonlinear_plant_is_checked_by_simulation_and_proved_where_that_can_be():
    plant = discretise(pendulum(), 0.05)
    backup = lqr(plant, [1.0, 1.0], [1.0])
    given = Backup(backup.K, backup.P, backup.rho)
    assert (given.evidence, check_backup(plant, given).evidence) == ("unchecked", "proved")
    kink = with_mass(lambda x, u, p: ca.vertcat(0.5 * x[0] + 0.1 * ca.fabs(x[1]), 0.5 * x[1] + u))
    assert check_backup(kink, Backup(np.zeros((1, 2)), np.eye(2), 0.9)).evidence == "simulated"  # |x| has no enclosure
    growing = with_mass(lambda x, u, p: ca.vertcat(0.9 * x[0] + 5 * x[0] ** 3, 0.9 * x[1] + u))
    with pytest.raises(BackupError, match="leaves its level set in simulation at the level"):
        check_backup(growing, Backup(np.zeros((1, 2)), np.eye(2), 0.9))
    with pytest.raises(BackupError, match="continuous"):
        check_backup(pendulum(), given)
