"""Functions of CasADi and systems of python-control as plants, and plants as StateSpace, against their simulations."""

from __future__ import annotations

import casadi as ca
import control
import numpy as np
import pytest
from problems import pendulum

import scpo_ctrl as sc
from scpo_ctrl.errors import DimensionError, DomainError, ScpoError
from scpo_ctrl.models import (
    cart_pole,
    discretise,
    double_integrator,
    from_function,
    from_nonlinear,
    input_delay,
    planar_quadrotor,
    to_statespace,
)

BOUNDS = {"x_min": [-2, -2], "x_max": [2, 2], "u_min": [-1], "u_max": [1]}


def swing(t, x, u, params):
    return np.array([x[1], -9.81 * np.sin(x[0]) - 0.3 * x[1] + u[0]])


def system(update=swing, dt=0, **changes):
    names = {"states": ["angle", "rate"], "inputs": ["torque"], "outputs": 2, "name": "pendulum"}
    return control.NonlinearIOSystem(update, None, dt=dt, **names | changes)


# To python-control


@pytest.mark.parametrize("plant", [double_integrator(), input_delay(double_integrator(), 3)], ids=["R3", "delayed"])
def test_a_linear_plant_as_statespace_moves_alike(plant):
    commands, x = np.random.default_rng(0).uniform(-1, 1, 20), np.linspace(0.5, -0.5, plant.nx)
    response = control.forced_response(
        to_statespace(plant), inputs=commands, initial_state=x, timepts=np.arange(20) * plant.dt
    )
    for k, u in enumerate(commands):
        np.testing.assert_allclose(response.states[:, k], x, atol=1e-12)
        x = np.array(plant.function(x, u, plant.p_nominal))[:, 0]


@pytest.mark.parametrize("make", [cart_pole, planar_quadrotor])
def test_a_nonlinear_plant_as_statespace_is_its_tangent_with_its_names(make):
    plant = make()
    found = to_statespace(plant)
    assert (tuple(found.state_labels), tuple(found.input_labels), found.dt) == (
        plant.x_labels,
        plant.u_labels,
        plant.dt,
    )
    errors = []
    for size in (1e-2, 1e-3):
        dx, du = size * np.linspace(1, -1, plant.nx), size * np.linspace(-0.1, 0.1, plant.nu)
        after = np.array(plant.function(plant.x_eq + dx, plant.u_eq + du, plant.p_nominal))[:, 0] - plant.x_eq
        errors.append(np.abs(after - found.A @ dx - found.B @ du).max())
    assert errors[1] < errors[0] / 50  # of second order or higher


# From functions of CasADi


@pytest.mark.parametrize("kind", [ca.SX, ca.MX])
def test_a_function_in_memory_and_in_a_file_are_the_same_plant(tmp_path, kind):
    x, u, p = kind.sym("x", 2), kind.sym("u"), kind.sym("p")
    ode = ca.Function("swing", [x, u, p], [ca.vertcat(x[1], -p * ca.sin(x[0]) + u)])
    ode.save(str(tmp_path / "ode.casadi"))
    fields = {"p_nominal": [9.81], "p_labels": ["g"], "x_labels": ["angle", "rate"]}
    one, other = (from_function(f, dt=None, **BOUNDS, **fields) for f in (ode, tmp_path / "ode.casadi"))
    point = ([0.3, -0.2], [0.5], [9.0])
    np.testing.assert_array_equal(one.function(*point), other.function(*point))
    np.testing.assert_allclose(np.array(one.function(*point))[:, 0], [-0.2, -9 * np.sin(0.3) + 0.5], rtol=1e-15)
    assert (one.name, one.x_labels, one.p_labels) == ("swing", ("angle", "rate"), ("g",))


def test_a_function_without_parameters_and_with_more_results():
    plant = pendulum()
    f = ca.Function("f", [plant.x, plant.u], [plant.f, plant.x])
    made = from_function(f, dt=None, name="mine", **BOUNDS)
    np.testing.assert_array_equal(made.function([1, 2], 0.5, []), plant.function([1, 2], 0.5, []))
    assert made.name == "mine" and made.npar == 0


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda x, u, p: 3, DomainError, "function is 3, expected a casadi.Function"),
        (lambda x, u, p: "missing", DomainError, "function: missing: cannot be read: No such file"),
        (lambda x, u, p: __file__, DomainError, "is none that Function.save wrote"),
        (lambda x, u, p: ca.Function("f", [x], [x]), DimensionError, "expected columns x, u and"),
        (lambda x, u, p: ca.Function("f", [x.T, u], [x]), DimensionError, "expected columns x, u and"),
        (lambda x, u, p: ca.Function("f", [x, u], [u]), DimensionError, "f has shape"),
        (lambda x, u, p: ca.Function("f", [x, u, p], [x]), DimensionError, "p_nominal has shape"),
    ],
)
def test_other_functions_are_refused(make, error, words):
    with pytest.raises(error, match=words):
        from_function(make(ca.SX.sym("x", 2), ca.SX.sym("u"), ca.SX.sym("p")), dt=0.1, **BOUNDS)


def test_unknown_fields_are_named():
    f = double_integrator().function
    with pytest.raises(DomainError, match="unknown field 'label' of a plant; known: dt, name, p_above"):
        from_function(f, dt=0.1, label="x", **BOUNDS)


# From nonlinear systems


def test_a_continuous_system_is_integrated_and_linearised():
    plant, simulator = from_nonlinear(system(), dt=0.2, x_units=["rad", "rad/s"], u_units=["N m"], **BOUNDS)
    exact = discretise(pendulum(), 0.2, substeps=64)
    for one, other in zip(plant.linearise(), exact.linearise(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-7)
    rng = np.random.default_rng(0)
    x, u = rng.uniform(-2, 2, (5, 2)), rng.uniform(-1, 1, (5, 1))
    expected = [np.array(exact.function(*row, []))[:, 0] for row in zip(x, u, strict=True)]
    np.testing.assert_allclose(simulator(x, u, np.zeros((5, 0))), expected, atol=1e-7)
    response = control.input_output_response(
        system(), np.linspace(0, 0.2, 51), np.full(51, u[0, 0]), x[0], solve_ivp_kwargs={"rtol": 1e-10, "atol": 1e-12}
    )
    np.testing.assert_allclose(simulator(x[:1], u[:1], np.zeros((1, 0)))[0], response.states[:, -1], atol=1e-7)
    assert (plant.name, plant.x_labels, plant.u_labels) == ("pendulum", ("angle", "rate"), ("torque",))
    assert (plant.x_units, plant.u_units, plant.dt) == (("rad", "rad/s"), ("N m",), 0.2)


def test_a_discrete_system_with_parameters_moves_as_python_control_says():
    def update(t, x, u, params):
        return np.array([x[0] + 0.1 * x[1], x[1] + 0.1 * (u[0] / params["mass"] - x[1] ** 3)])

    discrete = system(update, dt=0.1, params={"mass": 2.0})
    plant, simulator = from_nonlinear(discrete, **BOUNDS)
    commands, x = np.random.default_rng(1).uniform(-1, 1, 15), np.array([0.5, -0.4])
    response = control.input_output_response(discrete, np.arange(15) * 0.1, commands, x)
    for k, u in enumerate(commands):
        np.testing.assert_allclose(response.states[:, k], x, atol=1e-12)
        x = simulator(x[None], np.array([[u]]), np.zeros((1, 0)))[0]
    np.testing.assert_allclose(plant.linearise()[1], [[0.0], [0.05]], atol=1e-9)
    assert plant.dt == 0.1


def test_an_equilibrium_elsewhere():
    x_eq, u_eq = [0.1, 0.0], [9.81 * np.sin(0.1)]
    plant, simulator = from_nonlinear(system(), dt=0.1, x_eq=x_eq, u_eq=u_eq, **BOUNDS)
    np.testing.assert_array_equal(np.array(plant.function(x_eq, u_eq, []))[:, 0], x_eq)
    np.testing.assert_allclose(simulator(np.array([x_eq]), np.array([u_eq]), np.zeros((1, 0)))[0], x_eq, atol=1e-9)


def test_a_system_is_adapted_as_a_black_box():
    plant, simulator = from_nonlinear(system(), dt=0.1, **BOUNDS)
    backup = sc.lqr(plant, [1.0, 1.0], 1.0)
    batch = sc.scenarios(plant, backup, horizon=8, count=2, level=0.5)
    problem = sc.ControlProblem(
        sc.Policy(plant, backup),
        batch,
        sc.Quadratic([1.0, 0.1], 0.05),
        sc.MetricOptions(stability=False),
        simulator=simulator,
    )
    result = sc.adapt(problem, sc.AdaptOptions(steps=2, audit=False, method="gradient"))
    assert result.is_safe() and result.objective_final <= result.objective_initial


@pytest.mark.parametrize(
    ("make", "changes", "words"),
    [
        (lambda: control.tf([1], [1, 1]), {"dt": 0.1}, "expected a NonlinearIOSystem"),
        (lambda: None, {"dt": 0.1}, "the system is None"),
        (system, {}, "is continuous; give the sampling time dt"),
        (lambda: system(dt=0.1), {"dt": 0.1}, "discrete already"),
        (lambda: system(dt=True), {}, "no sampling time"),
        (lambda: system(states=None, outputs=None), {"dt": 0.1}, "does not say how many states"),
        (system, {"dt": 0.1, "x_eq": [0.1, 0.0]}, r"not at rest at \(x_eq, u_eq\): its angle moves by 0.0048"),
        (system, {"dt": 0.1, "x_min": [-1]}, "x_min has shape"),
        (system, {"dt": 0.1, "x_max": [np.inf, 1]}, r"x_max\[0\] is inf"),
        (lambda: system(lambda t, x, u, params: x / 0), {"dt": 0.1}, "not finite about its equilibrium"),
        (lambda: system(lambda t, x, u, params: -1e6 * x), {"dt": 10.0}, "takes more than 20000 evaluations"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_other_systems_are_refused(make, changes, words):
    with pytest.raises(ScpoError, match=words):
        from_nonlinear(make(), **BOUNDS | changes)
