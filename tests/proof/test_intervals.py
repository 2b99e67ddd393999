"""Enclosures against values in fifty digits at random points, and what has none."""

import random

import casadi as ca
import fuzz_expressions
import mpmath
import numpy as np
import pytest

from scpo_ctrl.errors import DomainError
from scpo_ctrl.invariance.intervals import Interval, NoEnclosureError, enclosure, magnitude
from scpo_ctrl.models.expression import expression

x = ca.SX.sym("x", 2)
ONE = {
    "add": (x[0] + x[1], lambda a, b: a + b),
    "sub": (x[0] - x[1], lambda a, b: a - b),
    "mul": (x[0] * x[1], lambda a, b: a * b),
    "div": (x[0] / x[1], lambda a, b: a / b),
    "neg": (-x[0], lambda a, b: -a),
    "twice": (x[0] + x[0], lambda a, b: 2 * a),
    "square": (x[0] ** 2, lambda a, b: a * a),
    "inverse": (1 / x[0], lambda a, b: 1 / a),
    "root": (ca.sqrt(x[0] ** 2 + 0.1), lambda a, b: mpmath.sqrt(a * a + mpmath.mpf(0.1))),
    "sin": (ca.sin(3 * x[0]), lambda a, b: mpmath.sin(3 * a)),
    "cos": (ca.cos(3 * x[0]), lambda a, b: mpmath.cos(3 * a)),
    "tan": (ca.tan(x[0]), lambda a, b: mpmath.tan(a)),
    "exp": (ca.exp(x[0]), lambda a, b: mpmath.exp(a)),
    "expm1": (ca.expm1(x[0]), lambda a, b: mpmath.expm1(a)),
    "log": (ca.log(x[0] ** 2 + 0.1), lambda a, b: mpmath.log(a * a + mpmath.mpf(0.1))),
    "tanh": (ca.tanh(x[0]), lambda a, b: mpmath.tanh(a)),
    "atan": (ca.atan(x[0]), lambda a, b: mpmath.atan(a)),
    "sinh": (ca.sinh(x[0]), lambda a, b: mpmath.sinh(a)),
    "asinh": (ca.asinh(x[0]), lambda a, b: mpmath.asinh(a)),
    "cosh": (ca.cosh(x[0]), lambda a, b: mpmath.cosh(a)),
    "cube": (x[0] ** 3, lambda a, b: a**3),
    "fourth": (x[0] ** 4, lambda a, b: a**4),
    "power": ((x[0] ** 2 + 0.1) ** 1.5, lambda a, b: (a * a + mpmath.mpf(0.1)) ** mpmath.mpf(1.5)),
}


def boxes(rng, count):
    middle, width = rng.uniform(-3, 3, (count, 2)), 10.0 ** rng.uniform(-12, 0.5, (count, 2))
    width[: count // 4] = 0.0
    return Interval(middle - width, middle + width)


@pytest.mark.parametrize("name", ONE)
def test_every_operation_holds_its_values_in_fifty_digits(name):
    value, exact = ONE[name]
    rng = np.random.default_rng(1)
    box = boxes(rng, 400)
    (found,) = enclosure(ca.Function("f", [x], [value]), box)
    with mpmath.workdps(50):
        for i, part in enumerate(rng.uniform(size=(400, 2))):
            for inside in (0.0, 1.0, part):  # ends and a point between them
                a, b = (mpmath.mpf(v) for v in box.low[i] + inside * (box.high[i] - box.low[i]))
                if (
                    not (box.low[i] <= np.array([float(a), float(b)])).all()
                    or not (np.array([float(a), float(b)]) <= box.high[i]).all()
                ):
                    continue  # the sum rounded out of the box
                if name in ("div", "inverse") and (b if name == "div" else a) == 0:
                    continue
                right = exact(a, b)
                assert mpmath.mpf(found.low[i, 0, 0]) <= right <= mpmath.mpf(found.high[i, 0, 0]), (name, box.low[i])


def test_points_are_enclosed_tightly():
    rng = np.random.default_rng(2)
    points = rng.uniform(0.1, 2.0, (300, 2))
    for name, (value, _) in ONE.items():
        (found,) = enclosure(ca.Function("f", [x], [value]), Interval(points, points))
        width = (found.high - found.low)[:, 0, 0]
        assert (width <= 1e-13 * (1 + magnitude(found)[:, 0, 0] ** 2)).all(), name


def test_whole_expressions_hold_their_values():
    rng, generator, held = random.Random(5), np.random.default_rng(5), 0
    symbols = {name: ca.SX.sym(name) for name in fuzz_expressions.NAMES}
    column = ca.vertcat(*symbols.values())
    for _ in range(300):
        try:
            value = expression("f", fuzz_expressions.text(rng, 3), symbols)
            function = ca.Function("f", [column], [value])
            middle, width = generator.uniform(0.2, 2.0, (50, 4)), 10.0 ** generator.uniform(-6, -1, (50, 4))
            (found,) = enclosure(function, Interval(middle - width, middle + width))
        except DomainError:
            continue
        points = middle + generator.uniform(-1, 1, (50, 4)) * width
        values = np.array(function.map(50)(points.T)).ravel()
        known = np.isfinite(values)
        slack = 1e-9 * (1 + np.abs(values))  # of the value in doubles itself
        low, high = found.low[:, 0, 0], found.high[:, 0, 0]
        assert (low[known] <= (values + slack)[known]).all() and ((values - slack)[known] <= high[known]).all()
        held += int(known.any())
    assert held > 100


@pytest.mark.parametrize(
    ("value", "name"), [(ca.fabs(x[0]), "fabs"), (ca.fmax(x[0], 0), "fmax"), (ca.floor(x[0]), "floor")]
)
def test_what_has_a_kink_is_named(value, name):
    with pytest.raises(NoEnclosureError, match=name):
        enclosure(ca.Function("f", [x], [value]), boxes(np.random.default_rng(0), 2))


def test_a_pole_inside_is_a_whole_line():
    for value in (1 / x[0], ca.tan(x[0]), ca.log(x[0]), ca.sqrt(x[0])):
        (found,) = enclosure(ca.Function("f", [x], [value]), Interval(np.array([[-1.0, 0]]), np.array([[2.0, 0]])))
        assert not np.isfinite(found.low).any()
