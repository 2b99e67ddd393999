"""Controllers as plain data: there and back to the last bit, and damaged data."""

from __future__ import annotations

import copy
import json

import casadi as ca
import numpy as np
import pytest

import scpo_ctrl as sc
from scpo_ctrl.controllers import gain_schedule, lqg, lqi, pid
from scpo_ctrl.errors import DomainError, ScpoError
from scpo_ctrl.loop.plain import controller_from_plain, controller_to_plain
from scpo_ctrl.models import dc_motor, make_plant, quadruple_tank

SYMBOLS = ("theta", "xi", "y", "r", "u")


def own() -> sc.Controller:
    """Return a nonlinear law without references, with two memories, one of which no command sees."""
    theta, y, xi, u = ca.SX.sym("theta", 2), ca.SX.sym("y", 3), ca.SX.sym("xi", 2), ca.SX.sym("u", 1)
    return sc.Controller(
        name='my "law" ß', theta=theta, theta_initial=[0.1, -1e-300], y=y, xi=xi, u=u,
        command=ca.if_else(y[0] > xi[1], theta[0] * ca.tanh(y[2]), theta[1] / (2 + y[1] ** 2)),
        memory=ca.vertcat(xi[0] + u / 3, 0.9 * xi[1] + ca.fmin(y[0], 0.2)),
        memory_min=[-1, -2], memory_max=[1, 3], memory_initial=[0.5, 0.1], memory_units=["A", ""],
        theta_units=["V", ""], source="a note",
    )  # fmt: skip


CONTROLLERS = {
    "own": own,
    "pid": lambda: pid(dc_motor(), 1.0, 2.0, 0.02, filter_time=2e-3, anti_windup="conditional"),
    "standard": lambda: pid(dc_motor(), 1.0, 2.0, form="standard", setpoint_weight=0.3),
    "lqi": lambda: lqi(make_plant("double_integrator"), [1.0, 1.0, 0.1], [10.0]),
    "lqg": lambda: lqg(quadruple_tank(), np.full(4, 0.1), [10.0, 10.0], np.full(4, 0.01), [0.1, 0.1]),
    "schedule": lambda: gain_schedule(make_plant("double_integrator"), [-1, 1], [[[0.1, 1]], [[0.2, 1]]], signal=0),
}


def law(of: sc.Controller) -> ca.Function:
    symbols = [getattr(of, name) for name in SYMBOLS]
    return ca.Function("law", symbols, [of.command, of.memory, ca.jacobian(of.command, of.theta)])


@pytest.mark.parametrize("make", CONTROLLERS.values(), ids=CONTROLLERS)
def test_there_and_back_to_the_last_bit(make):
    one, rng = make(), np.random.default_rng(2)
    text = json.dumps(controller_to_plain(one), allow_nan=False)
    back = controller_from_plain(json.loads(text))
    for _ in range(50):
        point = [rng.uniform(-1, 1, getattr(one, name).numel()) for name in SYMBOLS]
        for a, b in zip(law(one)(*point), law(back)(*point), strict=True):
            assert np.array(a).tobytes() == np.array(b).tobytes()
    for key in one.__dataclass_fields__:
        if key not in (*SYMBOLS, "command", "memory"):
            np.testing.assert_array_equal(getattr(back, key), getattr(one, key))
    assert json.dumps(controller_to_plain(back), allow_nan=False) == text


def test_other_operations_are_refused():
    theta, y = ca.SX.sym("theta"), ca.SX.sym("y")
    odd = sc.Controller(name="odd", theta=theta, theta_initial=[1.0], y=y, command=theta * ca.remainder(y, 3.0))
    with pytest.raises(DomainError, match=r"controller 'odd' has the operation .* cannot be saved"):
        controller_to_plain(odd)


def edited(*path, value):
    data = holder = copy.deepcopy(controller_to_plain(own()))
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return data


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "the controller is None, expected a table of format, name"),
        (edited("more", value=1), "expected a table of format"),
        (edited("format", value=2), "format is 2, this version reads 1"),
        (edited("y", value=-1), "y is -1"),
        (edited("y", value=2), "operation .* takes 2, expected a whole number from 0 to 1"),
        (edited("y", value=10**9), "y is 1000000000"),
        (edited("u", value=2), "u has 2 symbols, expected one for each of 1 inputs"),
        (edited("xi", value=[]), r"xi is \[\], expected a table of labels"),
        (edited("xi", "max", value=[1.0]), "memory_max has shape|operation .* takes|memory has 2 entries and xi 1"),
        (edited("xi", "max", value=["inf", 1.0]), r"memory_max\[0\] is inf, expected a finite number"),
        (edited("xi", "initial", value=["nan", 0.0]), r"memory_initial\[0\] is nan"),
        (edited("xi", "min", value=[0.9, -2]), "do not hold memory_initial"),
        (edited("theta", "initial", value=[0.1]), "theta takes 1|operation .* takes 1"),
        (edited("theta", "labels", value=["a", "a"]), "two parameters have the same name"),
        (edited("name", value=3), "name is 3"),
        (edited("command", value=[]), "command has shape"),
        (edited("memory", value=[0]), "memory has 1 entries and xi 2"),
        (edited("memory", value=None), "operations or command or memory is no list"),
        (edited("operations", 0, value=["system", 0]), "operation 0 is .*'system'.* which is unknown"),
        (edited("operations", 0, value=["p", 0]), "operation 0 is .*'p'.* which is unknown"),
    ],
)
def test_damaged_data_are_refused_with_their_place(data, words):
    with pytest.raises(ScpoError, match=words):
        controller_from_plain(data)
