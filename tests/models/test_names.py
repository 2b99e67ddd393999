"""Names of a plant's signals in expressions that are written as text."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest

from scpo_ctrl.errors import DomainError
from scpo_ctrl.models import Plant, make_plant
from scpo_ctrl.models.names import names_of, plant_expression


def plant(x_labels=("a", "b"), u_labels=("c",), p_labels=("d",), y_labels=("e",)):
    x, u, p = ca.SX.sym("x", 2), ca.SX.sym("u"), ca.SX.sym("p")
    bounds = {"x_min": [-1, -1], "x_max": [1, 1], "u_min": [-1], "u_max": [1]}
    labels = {"x_labels": x_labels, "u_labels": u_labels, "p_labels": p_labels, "y_labels": y_labels}
    f = ca.vertcat(0.9 * x[0] + 0.1 * u, 0.8 * x[1] * p)
    return Plant(name="two", x=x, u=u, p=p, p_nominal=[1.0], f=f, y=x[0] + 10 * x[1], dt=0.1, **bounds, **labels)


def value(text, of, x=(2.0, 3.0), u=5.0, p=7.0):
    return float(ca.Function("h", [of.x, of.u, of.p], [plant_expression("h", text, of)])(x, u, p))


def test_each_signal_has_a_name():
    of = plant()
    assert list(names_of(of)) == ["a", "b", "c", "d", "e"]
    assert value("a + 100*b - c*d + sin(e)", of) == pytest.approx(2 + 300 - 35 + np.sin(32), rel=1e-15)


def test_what_is_no_name_has_underscores_or_its_place():
    of = plant(x_labels=("duty cycle", "Ölstand"), u_labels=("sin",), p_labels=("1st gain",), y_labels=("x0",))
    assert list(names_of(of)) == ["duty_cycle", "x1", "u0", "p0"]  # no output is called as a place is
    assert value("duty_cycle + 10*x1 + 100*u0 + 1000*p0", of) == 2 + 30 + 500 + 7000


def test_what_two_signals_share_is_said():
    of = plant(x_labels=("speed", "angle"), p_labels=("speed",), y_labels=("speed",))
    assert list(names_of(of)) == ["x0", "angle", "c", "p0"]
    assert value("x0 - p0", of) == -5
    with pytest.raises(DomainError, match="power: the plant has 'speed' more than once; write x0 or p0"):
        plant_expression("power", "2*speed", of)
    with pytest.raises(DomainError, match="'wrong' is no name here"):
        plant_expression("power", "wrong", of)


def test_a_state_goes_before_an_output_of_its_name_and_a_place_belongs_to_its_signal():
    assert value("a", plant(y_labels=("a",))) == 2
    assert list(names_of(plant(x_labels=("x1", "x0")))) == ["x0", "x1", "c", "d", "e"]
    assert value("x0", plant(x_labels=("x1", "x0"))) == 2


@pytest.mark.parametrize("kind", ["planar_quadrotor", "quadruple_tank", "lane_keeping"])
def test_every_signal_of_the_zoo_has_a_name(kind):
    of = make_plant(kind)
    assert len(names_of(of)) == of.nx + of.nu + of.npar  # their outputs are states
    assert not {f"x{i}" for i in range(of.nx)} & set(names_of(of))
