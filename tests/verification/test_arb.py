"""Ball arithmetic against the fast intervals on random expressions, and against exact values; proved norms."""

from __future__ import annotations

import random

import casadi as ca
import fuzz_expressions
import numpy as np
import pytest
from flint import arb, arb_mat, ctx

from scpo_ctrl.errors import DomainError
from scpo_ctrl.invariance.intervals import Interval, enclosure
from scpo_ctrl.models.expression import expression
from scpo_ctrl.verification.arb import BallFunction, cholesky, is_shorter, norm_bound

x = ca.SX.sym("x", 2)
ONE = {
    "add": x[0] + x[1], "sub": x[0] - x[1], "mul": x[0] * x[1], "div": x[0] / x[1], "neg": -x[0], "twice": x[0] + x[0],
    "square": x[0] ** 2, "inverse": 1 / x[0], "root": ca.sqrt(x[0]), "sin": ca.sin(3 * x[0]), "cos": ca.cos(3 * x[0]),
    "tan": ca.tan(x[0]), "exp": ca.exp(x[0]), "expm1": ca.expm1(x[0]), "log": ca.log(x[0]), "tanh": ca.tanh(x[0]),
    "atan": ca.atan(x[0]), "sinh": ca.sinh(x[0]), "asinh": ca.asinh(x[0]), "cosh": ca.cosh(x[0]), "cube": x[0] ** 3,
    "fourth": x[0] ** 4, "power": x[0] ** 1.5, "falling": x[0] ** -3, "root inverse": x[0] ** -0.5,
    "constant": ca.SX(0.1) + 0 * x[0], "sum of products": x[0] * x[1] - (x[0] - x[1]) * x[1],
}  # fmt: skip


@pytest.fixture(autouse=True)
def precision():
    with ctx.workprec(100):
        yield


def ends(low, high):
    return [(arb(a), arb(b)) for a, b in zip(low.tolist(), high.tolist(), strict=True)]


def compare(function, low, high, rng) -> int:
    """Compare both on boxes (n, k), and the values at points of them; return how many are bounded."""
    balls, (fast,) = BallFunction(function), enclosure(function, Interval(low, high))
    bounded = 0
    for i in range(len(low)):
        ((least, most),) = balls.on(ends(low[i], high[i]))[0]
        a, b = float(fast.low[i, 0, 0]), float(fast.high[i, 0, 0])
        if not (least.is_finite() and most.is_finite()):  # a part of it is not defined somewhere on the box
            continue
        assert a <= least and most <= b  # outward rounding is all that the fast ones add
        bounded += 1
        for part in (np.zeros(low.shape[1]), np.ones(low.shape[1]), rng.uniform(size=low.shape[1])):
            point = np.clip(low[i] + part * (high[i] - low[i]), low[i], high[i])
            ((value,),) = balls.at([arb(one) for one in point.tolist()])
            assert not (value < least or value > most or value < a or value > b)
    return bounded


@pytest.mark.parametrize("name", ONE)
def test_operations_agree_with_the_fast_intervals_and_hold_their_values(name):
    rng = np.random.default_rng(0)
    middle, width = rng.uniform(-3, 3, (200, 2)), 10.0 ** rng.uniform(-12, 0.5, (200, 2))
    width[:20] = 0.0
    assert compare(ca.Function("f", [x], [ONE[name]]), middle - width, middle + width, rng) >= 50


def test_random_expressions_agree_with_the_fast_intervals_and_hold_their_values():
    rng, generator, bounded = random.Random(7), np.random.default_rng(7), 0
    symbols = {name: ca.SX.sym(name) for name in fuzz_expressions.NAMES}
    for _ in range(400):
        try:
            value = expression("f", fuzz_expressions.text(rng, 3), symbols)
            function = ca.Function("f", [ca.vertcat(*symbols.values())], [value])
            middle, width = generator.uniform(-0.5, 2.0, (20, 4)), 10.0 ** generator.uniform(-6, 0, (20, 4))
            bounded += compare(function, middle - width, middle + width, generator)
        except DomainError:
            continue
    assert bounded > 1000


@pytest.mark.parametrize(
    ("value", "name"), [(ca.fabs(x[0]), "fabs"), (ca.fmax(x[0], 0), "fmax"), (ca.floor(x[0]), "floor")]
)
def test_what_has_a_kink_is_named(value, name):
    with pytest.raises(DomainError, match=name):
        BallFunction(ca.Function("f", [x], [value]))


def test_what_is_not_defined_is_not_known():
    for value in (1 / x[0], ca.tan(x[0]), ca.log(x[0]), ca.sqrt(x[0]), x[0] ** -2, x[0] ** 0.5, ca.sin(1 / x[0])):
        ((low, high),) = BallFunction(ca.Function("f", [x], [value])).on([(arb(-1), arb(2)), (arb(0), arb(1))])[0]
        assert not (low.is_finite() and high.is_finite())


def test_entries_are_row_by_row_and_zeros_are_there():
    value = ca.SX(2, 3)
    value[0, 1], value[1, 0] = x[0], 2 * x[1]
    balls = BallFunction(ca.Function("f", [x], [value, x[1]]))
    first, second = balls.at([arb(3), arb(5)])
    assert [float(entry) for entry in first] == [0, 3, 0, 10, 0, 0] and float(second[0]) == 5
    first, _ = balls.on([(arb(3), arb(4)), (arb(5), arb(6))])
    assert [float(high) for _, high in first] == [0, 4, 0, 12, 0, 0]


def test_norms_are_bounded_from_above_and_not_by_much():
    rng = np.random.default_rng(3)
    for _ in range(200):
        M = rng.normal(size=rng.integers(1, 6, 2)) * 10.0 ** rng.uniform(-3, 3)
        size = float(np.linalg.norm(M, 2))
        balls = arb_mat(*M.shape, M.ravel().tolist())
        assert is_shorter(balls, arb(size * (1 + 1e-12))) and not is_shorter(balls, arb(size * (1 - 1e-12)))
        assert not is_shorter(balls, arb(-2 * size))
        assert size * (1 - 1e-15) <= norm_bound(balls) <= size * (1 + 1e-9)
    loose = arb_mat(2, 2, [arb(1, 0.1), arb(0, 0.1), arb(0, 0.1), arb(1, 0.1)])
    assert not norm_bound(loose) < 1.2  # of ones everywhere that they may be
    assert not norm_bound(arb_mat(1, 1, [arb.nan()])).is_finite()


def test_factors_of_positive_definite_matrices_alone():
    L = cholesky([[arb(4), arb(2)], [arb(2), arb(3)]])
    assert L is not None and float(L[1][0]) == 1
    assert cholesky([[arb(1), arb(1)], [arb(1), arb(1)]]) is None
    assert cholesky([[arb(-1)]]) is None and cholesky([[arb.nan()]]) is None
    assert cholesky([[arb(1, 1)]]) is None
