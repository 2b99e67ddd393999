"""Controllers that make no loop: each says what is wrong with which of its expressions, and none ends the process."""

import casadi as ca
import control
import numpy as np
import pytest

import scpo_ctrl as sc
from scpo_ctrl.controllers import gain_schedule, linear_controller, pid
from scpo_ctrl.errors import BoundsError, DomainError, UnsafeStartError
from scpo_ctrl.loop.controlled import controlled
from scpo_ctrl.models import Plant, linear

THETA, Y, XI, U = (ca.SX.sym(*of) for of in (("theta", 2), ("y", 2), ("xi",), ("u",)))
LINEAR = -THETA[0] * Y[0] - THETA[1] * Y[1]


def plant():
    return linear([[1.0, 0.1], [-0.2, 0.85]], [[0.0], [0.1]], 0.1, ([-2.0, -5.0], [2.0, 5.0], [-8.0], [8.0]))


def law(command=LINEAR, **changes):
    given = {"name": "own", "theta": THETA, "theta_initial": [3.0, 2.0], "y": Y, "command": command}
    return sc.Controller(**given | changes)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (LINEAR + ca.sin(Y[0]) / Y[0], "'own': the command of u0 is nan at the equilibrium"),
        (LINEAR / (Y[0] + Y[1]), "'own': the command of u0 is nan at the equilibrium"),
        (LINEAR - ca.sign(Y[0]) * ca.sqrt(ca.fabs(Y[0])), "'own': the command of u0 is not differentiable"),
        (LINEAR + ca.log(Y[0]), "'own': the command of u0 is -inf at the equilibrium"),
    ],
)
def test_a_law_without_value_or_slope_at_rest_is_named(command, says):
    with pytest.raises(DomainError, match=says):
        controlled(plant(), law(command))


def test_a_memory_without_slope_at_rest_is_named():
    memory = {"xi": XI, "memory": 0.5 * XI + ca.sqrt(Y[0] ** 2 + Y[1] ** 2), "memory_min": [-1.0], "memory_max": [1.0]}
    with pytest.raises(DomainError, match="'own': the command of next xi0 is not differentiable"):
        controlled(plant(), law(LINEAR + XI, **memory))


@pytest.mark.parametrize(
    "twice", [{"r": Y, "command": LINEAR}, {"theta": ca.vertcat(THETA[0], THETA[0])}, {"y": ca.vertcat(Y[0], THETA[1])}]
)
def test_a_symbol_in_two_places_is_refused(twice):
    with pytest.raises(DomainError, match=r"'own': a symbol is in more than one place of theta, y, r, u and xi"):
        law(**twice)


@pytest.mark.parametrize("width", [1e-300, 1e-120, 1e150, 1.7e308])
def test_memory_whose_width_has_no_square_is_refused(width):
    memory = {"xi": XI, "memory": 0.5 * XI, "memory_min": [-width], "memory_max": [width]}
    with pytest.raises(BoundsError, match=r"'own': memory_min\[0\] = .* apart, expected 1e-100 to 1e\+100"):
        law(LINEAR + XI, **memory)


def test_widths_far_from_one_make_the_loop_of_other_units():
    # The same memory in units of 1e-40 and 1e40: V is the same function of the loop.
    levels = []
    for unit in (1.0, 1e-40, 1e40):
        memory = {"xi": XI, "memory": 0.5 * XI + unit * Y[0], "memory_min": [-3 * unit], "memory_max": [3 * unit]}
        policy = controlled(plant(), law(LINEAR - XI / unit, **memory))
        levels.append(policy.backup.extent / [1.0, 1.0, unit])
    np.testing.assert_allclose(levels[1:], [levels[0]] * 2, rtol=1e-6)


def test_an_operation_that_no_c_library_has_is_refused_wherever_it_is_written():
    x, u = ca.SX.sym("x"), ca.SX.sym("u")
    bounds = {"x_min": [-1.0], "x_max": [1.0], "u_min": [-1.0], "u_max": [1.0]}
    theta = ca.MX.sym("theta", 2)
    inside = ca.Function("inside", [x], [ca.erfinv(x)])
    for make in (
        lambda: law(LINEAR + ca.erfinv(Y[0])),
        lambda: law(LINEAR + XI, xi=XI, memory=ca.erfinv(XI), memory_min=[-1.0], memory_max=[1.0]),
        lambda: Plant(name="odd", x=x, u=u, f=0.5 * ca.erfinv(x) + u, **bounds),
        lambda: Plant(name="odd", x=x, u=u, f=0.5 * x + u, y=ca.erfinv(x), **bounds),
        lambda: sc.FunctionProblem.from_casadi(theta, inside(theta[0]), theta[1], [0.0, -1.0]),
    ):
        with pytest.raises(DomainError, match="has erfinv, which no C library has; write it with its inverse, erf"):
            make()


@pytest.mark.parametrize("reference", [2.0, -2.0, 2.0 - 1e-13, -2.0 + 1e-13])
def test_rest_on_a_bound_is_refused_however_it_rounds(reference):
    shows = plant()
    shows = shows.replace(y=shows.x[0])
    with pytest.raises(UnsafeStartError, match=r"comes to rest with x0 = .*2, which needs room within"):
        controlled(shows, pid(shows, 3.0, 1.0), reference=[reference])


def test_points_and_transfer_functions_that_no_double_or_controller_has():
    with pytest.raises(DomainError, match="values that ascend"):
        gain_schedule(plant(), [-1.7e308, 1.7e308], np.ones((2, 1, 2)), signal=0)
    shows = plant()
    shows = shows.replace(y=shows.x[0])
    with pytest.raises(DomainError, match="no controller knows the future"):
        linear_controller(shows, control.tf([5.0, 1.0, 1.0], [1.0, 0.5], 0.1), memory=1.0)
