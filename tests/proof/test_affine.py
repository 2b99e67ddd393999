"""Affine forms, zonotopes and quadratic bounds against values at random points, and what has no enclosure."""

import casadi as ca
import numpy as np
import pytest

from scpo_ctrl.proof.affine import affine_forms
from scpo_ctrl.proof.intervals import NoEnclosureError
from scpo_ctrl.proof.program import Program
from scpo_ctrl.proof.zonotopes import Zonotopes, quadratic_above
from scpo_ctrl.verification.walked import Set, Walked, squares_above

x = ca.SX.sym("x", 2)
ONE = {
    "tanh": ca.tanh(3 * x[0] - x[1]),
    "product": x[0] * x[1],
    "square": x[0] ** 2 + x[0],
    "sin": ca.sin(x[0] + x[1]),
    "cos": ca.cos(2 * x[0]),
    "tan": ca.tan(x[0] / 2),
    "exp": ca.exp(x[0] * x[1]),
    "log": ca.log(3 + x[1]),
    "inverse": 1 / (3 + x[0]),
    "quotient": x[0] / (2.5 + x[1]),
    "root": ca.sqrt(3 + x[0]),
    "power": (x[0] + 3) ** 2.5,
    "cube": x[0] ** 3,
    "atan": ca.atan(x[0]),
    "double": x[0] + x[0] - x[1] / 3,
}
KINKS = {"larger": ca.fmax(x[0] + x[1], 0.2), "smaller": ca.fmin(x[0], x[1]), "size": ca.fabs(x[0] - x[1])}


def boxes(scale, count=200):
    rng = np.random.default_rng(0)
    middle, half = rng.uniform(-1, 1, (2, count)), scale * rng.uniform(0, 1, (2, count))
    return Zonotopes.of_boxes(middle - half, middle + half), middle, half


@pytest.mark.parametrize("scale", [1.0, 1e-2, 1e-6, 1e-12])
@pytest.mark.parametrize("name", [*ONE, *KINKS])
def test_a_form_holds_the_function(name, scale):
    f = ca.Function("f", [x], [{**ONE, **KINKS}[name]])
    z, middle, half = boxes(scale)
    forms = affine_forms(Program.of(f), z)
    low, high = z.values_of(forms, symbols=True).ends
    checked = [] if name in KINKS else [Walked(x, ONE[name])(Set(z.centre, z.gens, z.loose), symbols=True).box]
    rng = np.random.default_rng(1)
    for k in range(40):
        point = middle + half * (rng.uniform(-1, 1, middle.shape) if k > 4 else rng.choice([-1.0, 1.0], middle.shape))
        value = np.array(f(point))[0]
        line = forms.centre[0] + (forms.slopes[0] * (point - z.centre)).sum(axis=0)
        assert (np.abs(value - line) <= forms.error[0] + 4e-16 * np.abs(value)).all()
        assert (low[0] <= value).all() and (value <= high[0]).all()
        for box in checked:
            assert (box.low[:, 0] <= value).all() and (value <= box.high[:, 0]).all()


@pytest.mark.parametrize("name", ONE)
def test_a_form_is_tight_where_the_box_is_small(name):
    f = ca.Function("f", [x], [ONE[name]])
    z, middle, half = boxes(1e-4)
    low, high = z.values_of(affine_forms(Program.of(f), z), symbols=True).ends
    corners = np.array([f(middle + half * np.array([[a], [b]])) for a in (-1, 1) for b in (-1, 1)])[:, 0]
    true = corners.max(axis=0) - corners.min(axis=0)
    assert np.median((high - low)[0] / true) < 1.01


@pytest.mark.parametrize("expression", [ca.if_else(x[0] > 0, x[1], 1.0), ca.floor(x[0]), x[0] ** x[1]])
def test_what_has_no_form_is_named(expression):
    with pytest.raises(NoEnclosureError, match="has no enclosure"):
        Program.of(ca.Function("f", [x], [expression]))


def test_what_is_not_known_is_never_in_bounds():
    z = Zonotopes.of_boxes(np.array([[-1.0], [0.0]]), np.array([[1.0], [1.0]]))
    for expression in (1 / x[0], ca.sqrt(x[0]), ca.log(x[0])):
        low, high = z.values_of(affine_forms(Program.of(ca.Function("f", [x], [expression])), z), symbols=False).ends
        assert not (high < np.inf).any() and not (low > -np.inf).any()


def test_fewer_symbols_hold_the_same_points():
    rng = np.random.default_rng(2)
    z = Zonotopes(rng.normal(size=(3, 5)), rng.normal(size=(3, 20, 5)), np.abs(rng.normal(size=(3, 5))) * 0.1)
    less = z.reduced(2, rng.normal(size=(3, 3)))
    assert less.gens.shape[1] == 5
    directions = rng.normal(size=(200, 3))
    for zeta in rng.choice([-1.0, 1.0], (200, 20)):
        point = z.centre + np.einsum("vkb,k->vb", z.gens, zeta) + z.loose
        shared = less.centre + np.einsum("vkb,k->vb", less.gens[:, :2], zeta[:2])
        most = np.abs(np.einsum("dv,vkb->dkb", directions, less.gens[:, 2:])).sum(axis=1)
        most += np.abs(directions) @ less.loose
        assert (np.abs(directions @ (point - shared)) <= most * (1 + 1e-12)).all()


def test_quadratic_forms_are_below_their_bounds():
    rng = np.random.default_rng(3)
    a, b = (Zonotopes(rng.normal(size=(2, 9)), rng.normal(size=(2, 4, 9)), np.zeros((2, 9))) for _ in range(2))
    P = np.array([[2.0, 0.3], [0.3, 1.0]])
    above = quadratic_above(a, b, P, 0.7)[0]
    sets = [Set(one.centre, one.gens, one.loose) for one in (a, b)]
    other = squares_above(*sets, P, 0.7)
    for zeta in rng.uniform(-1, 1, (500, 4)):
        V = [
            np.einsum("ib,ij,jb->b", y, P, y)
            for y in (one.centre + np.einsum("vkb,k->vb", one.gens, zeta) for one in (a, b))
        ]
        assert (V[0] - 0.7 * V[1] <= np.minimum(above, other)).all()
    assert np.allclose(above, other)
