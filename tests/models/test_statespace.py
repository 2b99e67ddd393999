"""Plants from systems of python-control and scipy, from vectors and numbers, and from CasADi in any form."""

from __future__ import annotations

import warnings

import casadi as ca
import control
import numpy as np
import pytest
import scipy.signal
import scipy.sparse

from scpo_ctrl import MetricOptions, Policy, Quadratic, lqr
from scpo_ctrl.errors import BackupError, DimensionError
from scpo_ctrl.models import Plant, discretise, double_integrator, from_statespace, linear

A, B = np.array([[0.0, 1.0], [0.0, -1.0]]), np.array([[0.0], [2.0]])
C, D = np.eye(2), np.zeros((2, 1))
BOUNDS = {"x_min": [-1, -2], "x_max": [1, 2], "u_min": -1, "u_max": 1}
MOTOR = control.StateSpace(A, B, C, D, name="dc motor", states=["angle", "rate"], inputs=["voltage"])


def same(plant: Plant, other: Plant) -> bool:
    matrices = zip(plant.linearise(), other.linearise(), strict=True)
    return all(np.array_equal(one, another) for one, another in matrices) and plant.dt == other.dt


@pytest.mark.parametrize(
    ("system", "dt"),
    [
        (MOTOR, None),
        (control.StateSpace(A, B, C, D, 0.1), 0.1),
        (scipy.signal.StateSpace(A, B, C, D), None),
        (scipy.signal.StateSpace(A, B, C, D, dt=0.1), 0.1),
        (scipy.signal.dlti(A, B, C, D, dt=0.1), 0.1),
        (scipy.signal.lti(A, B, C, D), None),
    ],
)
def test_systems_of_others_keep_matrices_and_time(system, dt):
    plant = from_statespace(system, **BOUNDS)
    for one, other in zip((A, B), plant.linearise(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert plant.dt == dt
    np.testing.assert_array_equal(plant.u_max, [1.0])


def test_names_labels_and_units():
    sampled = control.sample_system(MOTOR, 0.1)
    assert "$" in sampled.name
    plant = from_statespace(sampled, x_units=["rad", "rad/s"], u_units=["V"], **BOUNDS)
    assert (plant.name, plant.x_labels, plant.u_labels) == ("dc motor", ("angle", "rate"), ("voltage",))
    assert (plant.x_units, plant.u_units) == (("rad", "rad/s"), ("V",))
    assert from_statespace(sampled, name="m", x_labels=["a", "b"], **BOUNDS).x_labels == ("a", "b")
    assert from_statespace(control.StateSpace(A, B, C, D), **BOUNDS).name == "linear"
    with pytest.raises(DimensionError, match="x_units has 1 entries, expected 2"):
        from_statespace(sampled, x_units=["rad"], **BOUNDS)


@pytest.mark.parametrize(
    ("system", "words"),
    [
        (control.tf([1], [1, 1, 0]), r"TransferFunction, which has no states.*control.ss"),
        (scipy.signal.dlti([1], [1, 0.5], dt=0.1), "TransferFunctionDiscrete, which has no states"),
        (scipy.signal.ZerosPolesGain([], [-1], 1), r"ZerosPolesGain.*, which has no states"),
        (
            control.NonlinearIOSystem(lambda t, x, u, p: x, None, inputs=1, states=2, outputs=2),
            "NonlinearIOSystem, which is nonlinear; linearise it",
        ),
        (control.StateSpace([], [], [], [[2.0]]), "at least one state, and a static gain has none"),
        (control.StateSpace(A, B, C, D, True), "no sampling time"),
        (scipy.signal.dlti(A, B, C, D), "no sampling time"),
        (np.eye(2), "expected a StateSpace"),
        (None, "the system is None, expected a StateSpace"),
    ],
)
def test_what_has_no_bounded_states_is_refused_in_words(system, words):
    with pytest.raises(ValueError, match=words):
        from_statespace(system, **BOUNDS)


def test_vectors_numbers_columns_and_sparse_matrices_mean_the_same():
    plain = linear(np.eye(2), [[0.0], [1.0]], 0.5, ([-1.0, -2.0], [1.0, 2.0], [-1.0], [1.0]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        column = np.matrix([[1.0], [2.0]])
    bounds = (-column, np.array([[1.0], [2.0]]), -1, np.float32(1))
    other = linear(scipy.sparse.csr_matrix(np.eye(2)), [0, 1], np.float32(0.5), bounds)
    assert same(plain, other)
    for key in ("x_min", "x_max", "u_min", "u_max"):
        np.testing.assert_array_equal(getattr(plain, key), getattr(other, key))
    assert same(linear(0.5, 2, 0.1, (-1, 1, -1, 1)), linear([[0.5]], [[2.0]], 0.1, ([-1], [1], [-1], [1])))
    assert double_integrator(dt=np.float32(0.5)).dt == 0.5


def test_weights_of_backup_and_objective_come_in_the_same_forms():
    plant = double_integrator()
    forms = [([0.1, 0.2], [10.0]), (np.diag([0.1, 0.2]), 10.0), (np.array([[0.1], [0.2]]), [[10.0]])]
    backups = [lqr(plant, Q, R) for Q, R in forms]
    objectives = [Quadratic(Q, R) for Q, R in forms]
    for backup, objective in zip(backups, objectives, strict=True):
        np.testing.assert_array_equal(backup.K, backups[0].K)
        np.testing.assert_array_equal(objective.Q, [0.1, 0.2])
        np.testing.assert_array_equal(objective.R, [10.0])
    assert Quadratic(np.diag([0.1, 0.2]), 10.0).is_diagonal
    assert not Quadratic([[1.0, 0.5], [0.5, 1.0]], 1.0).is_diagonal
    assert Policy(plant, backups[0], 12).hidden == (12,)
    assert MetricOptions(contraction=np.float32(0.5)).contraction == 0.5


@pytest.mark.parametrize("kind", [ca.SX, ca.MX])
def test_expressions_of_any_form_give_the_same_plant(kind):
    x, u, p = kind.sym("x", 2), kind.sym("u"), kind.sym("p")
    f = ca.vertcat(x[1], -p * ca.sin(x[0]) + u)
    common = {"name": "pendulum", "p_nominal": [9.8], "p_labels": ["g"]} | BOUNDS
    forms = [f, [x[1], -p * ca.sin(x[0]) + u], ca.Function("ode", [x, u, p], [f])]
    plants = [Plant(x=x, u=u, p=p, f=form, **common) for form in forms]
    point = ([0.3, -0.1], [0.5], [9.0])
    for plant in plants:
        assert isinstance(plant.f, ca.SX)
        np.testing.assert_array_equal(plant.function(*point), plants[0].function(*point))
        assert discretise(plant, 0.1).linearise()[0].shape == (2, 2)


def test_symbols_that_do_not_fit_are_named():
    x, u, k = ca.SX.sym("x", 2), ca.SX.sym("u"), ca.SX.sym("k")
    for change, words in (
        ({"f": ca.vertcat(x[1], k * u)}, "f depends on k, which is none of x, u and p; name it in p"),
        ({"f": ca.Function("g", [x], [x])}, "f takes 1 arguments, expected a function of"),
        ({"f": ca.Function("g", [u, x], [ca.vertcat(x[1], u)])}, "does not fit its symbols"),
        ({"f": lambda x, _u: x}, "expected a CasADi expression, a list of them or a casadi.Function"),
        ({"x": ca.MX.sym("x", 2)}, "x is MX and f is SX"),
        ({"x": 2 * x}, "expected symbols"),
        ({"u": x[0]}, "a symbol is in more than one place"),
        ({"f": [x[1]]}, r"f has shape \(1, 1\), expected \(2, 1\)"),
    ):
        right = {"name": "p", "x": x, "u": u, "f": ca.vertcat(x[1], u), "dt": 0.1} | BOUNDS
        with pytest.raises(ValueError, match=words):
            Plant(**(right | change))


@pytest.mark.parametrize("key", ["A", "B"])
def test_masked_ragged_and_huge_arrays_are_refused(key):
    right = {"A": np.eye(2), "B": np.ones((2, 1)), "dt": 0.1, "bounds": ([-1, -1], [1, 1], -1, 1)}
    masked = np.ma.masked_array(right[key], mask=np.arange(right[key].size).reshape(right[key].shape) == 1)
    for value, words in (
        (masked, f"{key} has masked entries; fill them in"),
        ([[1.0, 0.0], [1.0]], f"{key} is .*, expected an array of real numbers in rows of equal length"),
        (np.broadcast_to(1.0, (10**6, 10**6)), f"{key} has shape .* make it smaller"),
        (scipy.sparse.csr_matrix((10**6, 10**6)), f"{key} has shape .* make it smaller"),
    ):
        with pytest.raises(ValueError, match=words):
            linear(**(right | {key: value}))


@pytest.mark.parametrize(("size", "how"), [(1e200, "far apart"), (1e-200, "close together")])
def test_a_level_out_of_range_is_refused_in_words(size, how):
    plant = linear([[1, 0.1], [0, 1]], [0, 0.1], 0.1, ([-size] * 2, [size] * 2, -size, size))
    with pytest.raises(BackupError, match=f"{how}.*choose other units"):
        lqr(plant, [1.0, 1.0], 1.0)


def test_bounds_that_are_never_met_do_not_limit_the_level():
    wide = linear([[1, 0.1], [0, 1]], [0, 0.1], 0.1, ([-1e300, -1], [1e300, 1], -1, 1))
    none = wide.replace(x_min=[-np.inf, -1], x_max=[np.inf, 1])
    assert lqr(wide, [1.0, 1.0], 1.0).rho == lqr(none, [1.0, 1.0], 1.0).rho
