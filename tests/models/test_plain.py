"""Plants as plain data: there and back to the last bit, every operation of the list, and damaged data."""

from __future__ import annotations

import copy
import json

import casadi as ca
import numpy as np
import pytest
from problems import pendulum

from scpo_ctrl.errors import DomainError, ScpoError
from scpo_ctrl.models import ZOO, Plant, actuator_lag, discretise, input_delay, linear, make_plant, rate_limit
from scpo_ctrl.models.operations import CODES
from scpo_ctrl.models.plain import from_plain, to_plain


def rich() -> Plant:
    """Return a plant with every operation of the list, a structural zero, and what JSON has no number for."""
    x, u, p = ca.SX.sym("x", 3), ca.SX.sym("u"), ca.SX.sym("p")
    a, b = x[0], 0.3 * u + p
    unary = [
        a - b, -a * b, ca.sqrt(2 + a), ca.fabs(b), ca.sign(a), ca.floor(3 * a), ca.ceil(3 * b), ca.exp(-a), ca.expm1(b),
        ca.log(2 + a), ca.log1p(b / 3), ca.erf(a), ca.sin(a), ca.cos(b), ca.tan(a), ca.asin(a / 2), ca.acos(a / 2),
        ca.atan(b), ca.sinh(a), ca.cosh(b), ca.tanh(a), ca.asinh(b), ca.acosh(2 + a), ca.atanh(a / 2),
    ]  # fmt: skip
    binary = [
        (2 + a) ** b, (2 + a) ** 2.5, ca.fmin(a, b), ca.fmax(a, b), ca.atan2(a, b), ca.fmod(3 * a, 0.7), ca.hypot(a, b),
        ca.copysign(a, b), ca.if_else(ca.logic_and(a < b, a <= 3), a, b), ca.if_else(ca.logic_or(a == b, a != 1), b, a),
        ca.if_else(ca.logic_not(a < b), 1, 2), a**2, a + a, 1 / (3 + a), ca.fmin(a, np.inf),
    ]  # fmt: skip
    f = ca.SX(3, 1)
    f[0], f[1] = ca.sum1(ca.vertcat(*unary)), ca.sum1(ca.vertcat(*binary))
    return Plant(
        name="rich", x=x, u=u, p=p, f=f, dt=0.1, p_nominal=[0.25], p_labels=["gain"], p_above=[-1],
        x_min=[-1, -np.inf, -1], x_max=[1, np.inf, 1], u_min=[-1], u_max=[1], x_labels=["a", "b\u00df", "c"],
        source='of "here"',
    )  # fmt: skip


def showing() -> Plant:
    """Return a plant with outputs, one of them nonlinear in state and parameter."""
    plant = rich()
    x, p = plant.x, plant.p
    return plant.replace(
        y=ca.vertcat(ca.hypot(x[0], p) - ca.sin(x[2]) / 3, x[1]), y_labels=["s", "t"], y_units=["m", ""]
    )


def of_outputs(plant: Plant) -> ca.Function:
    return ca.Function("h", [plant.x, plant.p], [plant.y])


PLANTS = {name: lambda name=name: make_plant(name) for name in ZOO} | {
    "rich": rich,
    "continuous": pendulum,
    "sampled": lambda: discretise(pendulum(), 0.4),
    "linear": lambda: linear([[0.9, 0.1], [0.0, 0.8]], [0.0, 1.0], 0.1, ([-1, -1], [1, 1], -1, 1)),
    "with outputs": showing,
    "wrapped": lambda: actuator_lag(rate_limit(input_delay(make_plant("cart_pole"), 2), 0.5), 0.1),
}


@pytest.mark.parametrize("make", PLANTS.values(), ids=PLANTS)
def test_there_and_back_to_the_last_bit(make):
    plant, rng = make(), np.random.default_rng(3)
    text = json.dumps(to_plain(plant), allow_nan=False)
    back = from_plain(json.loads(text))
    for _ in range(50):
        point = rng.uniform(-1, 1, plant.nx), rng.uniform(-1, 1, plant.nu), rng.uniform(0.1, 1, plant.npar)
        for one, other in zip(plant.derivatives(*point), back.derivatives(*point), strict=True):
            assert np.array(one).tobytes() == np.array(other).tobytes()
        one, other = (of_outputs(each)(point[0], point[2]) for each in (plant, back))
        assert np.array(one).tobytes() == np.array(other).tobytes()
    assert json.loads(text)["format"] == 1 + bool(plant.y.numel())
    for key in plant.__dataclass_fields__:
        if key not in ("x", "u", "p", "f", "y"):
            np.testing.assert_array_equal(getattr(back, key), getattr(plant, key))
    assert json.dumps(to_plain(back), allow_nan=False) == text


def test_every_operation_of_the_list_is_tried():
    assert {name for name, *_ in to_plain(rich())["operations"]} == {*CODES, "x", "u", "p", "constant"}


def test_other_operations_are_refused():
    x, u = ca.SX.sym("x"), ca.SX.sym("u")
    plant = Plant(name="odd", x=x, u=u, f=ca.remainder(x, 3.0) + u, x_min=[-1], x_max=[1], u_min=[-1], u_max=[1])
    with pytest.raises(DomainError, match=r"'odd' has the operation .* cannot be saved"):
        to_plain(plant)


def edited(*path, value, of=lambda: make_plant("double_integrator")):
    data = holder = copy.deepcopy(to_plain(of()))
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return data


def with_outputs(*path, value):
    return edited(*path, value=value, of=showing)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "the plant is None, expected a table of format, name"),
        ({}, "the plant is {}, expected a table"),
        (edited("more", value=1), "expected a table of format"),
        (edited("format", value=3), "format is 3, this version reads 1, 2, 3"),
        (edited("format", value=2), "format is 2, this version reads 1, 2, 3, with y from 2"),
        (with_outputs("format", value=1), "format is 1, this version reads 1, 2, 3, with y from 2"),
        (with_outputs("h", value=None), "operations or f or h is no list"),
        (with_outputs("h", value=[0]), "y_labels has 2 entries, expected 1"),
        (with_outputs("h", value=[0, 9999]), "h takes 9999"),
        (with_outputs("h", value=to_plain(showing())["f"][1:]), "plant 'rich': y depends on u"),
        (with_outputs("y", value={}), r"y is \{\}, expected a table of labels, units"),
        (edited("y", value={"labels": [], "units": []}), "expected a table of format, name, .*, y, h"),
        (edited("x", value=[]), r"x is \[\], expected a table of labels"),
        (edited("x", "labels", value="ab"), "x.labels is 'ab', expected a list"),
        (edited("x", "min", value=["-infinite", 0]), "x.min has '-infinite', expected a number"),
        (edited("x", "min", value=[True, 0]), "x.min has True"),
        (edited("x", "min", value=[-(10**400), 0]), "x.min has a whole number"),
        (edited("x", "max", value=[1.0]), r"x_max has shape \(1,\)"),
        (edited("x", "labels", value=[3, 4]), "x_labels"),
        (edited("dt", value="0.1"), "dt is '0.1'"),
        (edited("name", value=3), "name is 3"),
        (edited("f", value=3), "operations or f is no list"),
        (edited("f", value=[0]), "f has shape"),
        (edited("f", value=[0, -1]), "f takes -1, expected a whole number"),
        (edited("f", value=[0, 1.0]), "f takes 1.0, expected a whole number"),
        (edited("f", value=[0, True]), "f takes True"),
        (edited("operations", 0, value="x"), "operation 0 is 'x', expected a list"),
        (edited("operations", 0, value=[]), r"operation 0 is \[\], expected a list"),
        (edited("operations", 0, value=[["x"], 0]), "expected a list that begins with a name"),
        (edited("operations", 0, value=["x", 2]), "operation 0 takes 2, expected a whole number from 0 to 1"),
        (edited("operations", 0, value=["x", 0, 0]), "unknown or has another number of arguments"),
        (edited("operations", 0, value=["system", 0]), "operation 0 is .*'system'.* which is unknown"),
        (edited("operations", 0, value=["neg", 0]), "operation 0 takes 0"),
        (edited("operations", 1, value=["add", 0, 1]), "operation 1 takes 1, expected a whole number from 0 to 0"),
        (edited("operations", 0, value=["constant", "x"]), "operation 0 has 'x'"),
    ],
)
def test_damaged_data_are_refused_with_their_place(data, words):
    with pytest.raises(ScpoError, match=words):
        from_plain(data)


def test_too_many_operations_are_refused():
    with pytest.raises(ScpoError, match="operations has 1000001 entries"):
        from_plain(edited("operations", value=[["x", 0]] * 1_000_001))
