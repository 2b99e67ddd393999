"""Guesses and norms of the projection: they save time, and neither safety nor the answer depends on a guess."""

from collections.abc import Iterator

import numpy as np
import projection_in_the_loop
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from projection_cases import DEGENERATE, REGIMES, REGULAR, Case, cases, gap
from rounding import exact, largest_of_any_order, norm_above, norms
from test_projection_properties import SOLVED, assert_feasible, drawn, objective

from scpo_ctrl import ProjectionStatus, project, project_reference
from scpo_ctrl.errors import DimensionError, DomainError
from scpo_ctrl.projection import native

MANY = ((2, 80), (5, 300), (20, 90), (12, 700))  # more constraints than the compiled solver gets without being asked
MOST = 3 * 400  # Newton steps and rounds, without what the number of constraints adds

pytestmark = pytest.mark.skipif(not native.available(), reason="guesses are of use to the compiled extension")


def lengths(case: Case) -> np.ndarray:
    return np.linalg.norm(case.G, axis=1)


def guesses(active: np.ndarray, count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield good, useless, wrong and absurd guesses."""
    yield active
    yield np.zeros(0, dtype=int)
    yield rng.integers(0, count, 7)
    yield np.repeat(active, 3)
    yield np.setdiff1d(np.arange(count), active)[:40]
    yield rng.permutation(count)
    yield np.full(5 * count, count - 1)


@pytest.mark.parametrize("name", REGIMES)
def test_any_guess_leads_to_the_same_answer(name):
    rng = np.random.default_rng(1)
    for case in cases(name, 8, MANY, seed=41):
        blind = project(*case)
        assert blind.status in SOLVED
        for k, guess in enumerate(guesses(blind.active, case.c.size, rng)):
            answer = project(*case, guess=guess, norms=lengths(case) if k % 2 else None)
            assert answer.status in SOLVED
            assert_feasible(case, answer.delta)
            assert gap(case, answer.delta) <= (1e-9 if name in REGULAR else 1e-6)
            assert abs(objective(case, answer.delta) - objective(case, blind.delta)) <= 1e-9 * float(case.u @ case.u)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(REGIMES)), st.integers(1, 12), st.integers(65, 400), st.data())
def test_any_guess_of_whatever_hypothesis_draws(name, p, m, data):
    case = drawn(name, (p, m), data.draw(st.integers(0, 2**32 - 1)))
    guess = data.draw(st.lists(st.integers(0, m - 1), max_size=40))
    answer, blind = project(*case, guess=guess), project(*case)
    assert answer.status in SOLVED
    assert_feasible(case, answer.delta)
    assert gap(case, answer.delta) <= (1e-8 if name in REGULAR else 1e-6)
    assert abs(objective(case, answer.delta) - objective(case, blind.delta)) <= 1e-9 * float(case.u @ case.u)


@pytest.mark.parametrize("name", ["plain", "exact_gradients", "large_errors", "radius_active", "curvature_spread"])
def test_as_close_as_the_reference(name):
    for case in cases(name, 4, MANY, seed=42):
        whole = project_reference(*case)
        answer = project(*case, guess=np.arange(5), norms=lengths(case))
        assert objective(case, answer.delta) <= objective(case, whole.delta) + 1e-9 * float(case.u @ case.u)
        np.testing.assert_allclose(answer.delta, whole.delta, atol=3e-5 * np.linalg.norm(case.u))


def test_the_active_constraints_are_those_of_the_multipliers():
    """Solved with the active rows alone, the answer is the same; without one of them it is longer or closer."""
    for case in cases("plain", 8, MANY, seed=43):
        answer = project(*case)
        kept = Case(case.u, *(part[answer.active] for part in case[1:5]), case.r)
        np.testing.assert_allclose(project(*kept).delta, answer.delta, atol=1e-6 * np.linalg.norm(case.u))
        for k in range(answer.active.size):
            fewer = Case(case.u, *(np.delete(part, k, axis=0) for part in kept[1:5]), case.r)
            assert objective(case, project(*fewer).delta) < objective(case, answer.delta)


def test_a_good_guess_saves_iterations():
    blind, guided = 0, 0
    for case in cases("plain", 40, MANY, seed=44):
        first = project(*case)
        blind += first.iterations
        guided += project(*case, guess=first.active).iterations
    assert guided < 0.8 * blind


@pytest.mark.parametrize("name", ["plain", "zero_rows", "scaled_rows", "duplicates"])
def test_norms_that_are_too_large_change_nothing(name):
    rng = np.random.default_rng(2)
    for case in cases(name, 8, MANY, seed=45):
        answer = project(*case, norms=lengths(case) * 10 ** rng.uniform(0, 3, case.c.size))
        assert_feasible(case, answer.delta)
        assert abs(objective(case, answer.delta) - objective(case, project(*case).delta)) <= 1e-9 * float(
            case.u @ case.u
        )


@pytest.mark.parametrize("name", REGIMES)
def test_feasible_in_any_order_and_in_rational_numbers(name):
    """As promised for the runtime, with rows that it never saw."""
    rng = np.random.default_rng(46)
    for case in cases(name, 3, ((1, 70), (9, 90), (20, 200)), seed=46):
        delta = project(*case, norms=lengths(case)).delta
        assert largest_of_any_order(case, delta, rng) <= 0
        assert max(norms(delta, rng)) <= case.r
        alpha = exact(delta)
        norm = norm_above(alpha) if any(alpha) else 0
        assert norm <= exact(np.array([case.r]))[0]
        for c, G, e, L in zip(exact(case.c), case.G, exact(case.e), exact(case.L), strict=True):
            assert c + sum(a * b for a, b in zip(exact(G), alpha, strict=True)) + e * norm + L / 2 * norm * norm <= 0


def first_row(case: Case) -> Case:
    return Case(case.u, *(part[:1] for part in case[1:5]), case.r)


def touching(rng: np.random.Generator, dim: int) -> Case:
    """Return rows of which a few touch the answer of the first, as far as rounding lets one say so."""
    curved = rng.integers(2)
    G, e, L = rng.normal(size=(70, dim)), curved * rng.uniform(0, 0.2, 70), curved * rng.uniform(0, 1, 70)
    case = Case(5 * G[0] + rng.normal(size=dim), np.full(70, -1.0), G, e, L, 1e3)
    delta = project(*first_row(case)).delta
    G[1:][G[1:] @ delta < 0] *= -1
    norm = float(np.linalg.norm(delta))
    case.c[1:] = -(G @ delta + e * norm + L / 2 * norm**2)[1:] * 9
    case.c[1:4] = case.c[1:4] / 9 * (1 + rng.integers(0, 3, 3) * np.finfo(float).eps)
    return case


def test_rows_that_only_rounding_keeps_inside():
    """The answer with the first row alone satisfies some of the others in one order of summation and not in another."""
    rng = np.random.default_rng(47)
    for dim in (1, 2, 7, 30):
        for _ in range(25):
            case = touching(rng, dim)
            bound = objective(case, project(*first_row(case)).delta)  # no answer with more rows is closer
            for guess in ([0], []):
                answer = project(*case, guess=guess, norms=lengths(case))
                assert_feasible(case, answer.delta)
                assert largest_of_any_order(case, answer.delta, rng) <= 0
                assert objective(case, answer.delta) <= bound + 1e-7 * float(case.u @ case.u)


def test_any_numbers_stay_finite_and_feasible():
    """Whatever is finite, of any size, also where norms overflow or vanish."""
    rng = np.random.default_rng(48)
    for reach in (1, 40, 150, 300):
        for _ in range(150):
            p, m = rng.integers(1, 5), rng.integers(65, 90)
            shapes = (p, m, (m, p), m, m)
            u, c, G, e, L = (rng.normal(size=shape) * 10.0 ** rng.uniform(-reach, reach, shape) for shape in shapes)
            case = Case(u, -np.abs(c), G, np.abs(e), np.abs(L), 10 ** rng.uniform(-9, 9))
            answer = project(*case, guess=rng.integers(0, m, 3))
            assert answer.status in (*SOLVED, ProjectionStatus.CAPPED)
            assert 0 <= answer.iterations <= MOST + m // 8
            with np.errstate(all="ignore"):
                assert_feasible(case, answer.delta)


def test_iterations_stay_within_the_bound():
    for name in sorted(DEGENERATE):
        for case in cases(name, 6, MANY, seed=49):
            assert 0 <= project(*case).iterations <= MOST + case.c.size // 8


@pytest.mark.parametrize("solver", ["DUAL", "CLARABEL"])
@pytest.mark.parametrize("count", [4, 100])
@pytest.mark.parametrize("hints", [{}, {"guess": [1, 2]}, {"norms": np.full(100, 9.0)}])
def test_what_is_wrong_with_the_data_is_named(solver, count, hints):
    case = next(cases("plain", 1, ((5, count),)))
    hints = {name: value[:count] for name, value in hints.items()}
    for field in ("u", "c", "G", "e", "L"):
        for value in (np.nan, np.inf, -np.inf):
            array = getattr(case, field).copy()
            array.flat[3] = value
            with pytest.raises(DomainError, match=rf"{field}\[.*3\]"):
                project(*case._replace(**{field: array}), solver=solver, **hints)
    for field in ("e", "L"):
        array = getattr(case, field).copy()
        array[2] = -1e-9
        with pytest.raises(DomainError, match=rf"{field}\[2\]"):
            project(*case._replace(**{field: array}), solver=solver, **hints)
    c = case.c.copy()
    c[3] = 1e-30
    unsafe = project(*case._replace(c=c), solver=solver, **hints)
    assert unsafe.status is ProjectionStatus.UNSAFE_START and not unsafe.delta.any()
    np.testing.assert_array_equal(unsafe.active, [3])


def test_what_is_wrong_is_named_where_no_step_is_asked_for():
    """No row has to be read for the answer 0."""
    case = next(cases("plain", 1, ((5, 100),)))._replace(u=np.zeros(5))
    assert not project(*case).delta.any()
    c, G = case.c.copy(), case.G.copy()
    c[3], G[3, 2] = 1e-30, np.nan
    assert project(*case._replace(c=c)).status is ProjectionStatus.UNSAFE_START
    with pytest.raises(DomainError, match=r"G\[3, 2\] is nan"):
        project(*case._replace(G=G))


def test_rows_whose_squares_vanish_are_read():
    """Norms of 1e-170 are computed as 0, and yet -1e-50 + 1e-170 · 1e125 is not below 0."""
    rng = np.random.default_rng(50)
    for dim in (1, 5, 30):
        G = rng.normal(size=(90, dim))
        case = Case(G[7] * 1e125, np.full(90, -1e-50), G * 1e-170, np.zeros(90), np.zeros(90), 1e130)
        assert not lengths(case).any()
        for norms_known in (None, lengths(case)):
            answer = project(*case, norms=norms_known)
            assert answer.delta.any()
            assert_feasible(case, answer.delta)


@pytest.mark.parametrize("solver", ["DUAL", "CLARABEL"])
@pytest.mark.parametrize("count", [4, 100])
@pytest.mark.parametrize(
    ("hint", "error", "words"),
    [
        ({"guess": [0, 100]}, DomainError, r"guess\[1\] is 100, expected the index of one of the (4|100) constraints"),
        ({"guess": np.array([0, 1, -1])}, DomainError, r"guess\[2\] is -1"),
        ({"guess": np.array([2**40])}, DomainError, r"guess\[0\] is 1099511627776"),
        ({"guess": np.array([0.0, 1.0])}, DomainError, "guess is an array of float64"),
        ({"guess": np.array([True, False])}, DomainError, "guess is an array of bool"),
        ({"guess": 3}, DimensionError, r"guess has shape \(\)"),
        ({"guess": [[0, 1]]}, DimensionError, r"guess has shape \(1, 2\)"),
        ({"norms": np.ones(3)}, DimensionError, r"norms has shape \(3,\)"),
        ({"norms": 1.0}, DimensionError, "norms"),
        ({"norms": -1.0}, DomainError, r"norms\[1\] is -1"),
        ({"norms": np.nan}, DomainError, r"norms\[1\]"),
        ({"norms": np.inf}, DomainError, r"norms\[1\]"),
    ],
)
def test_wrong_hints_are_named(solver, count, hint, error, words):
    case = next(cases("plain", 1, ((5, count),)))
    if error is DomainError and "norms" in hint:
        value, hint = hint["norms"], {"norms": lengths(case)}
        hint["norms"][1] = value
    with pytest.raises(error, match=words):
        project(*case, solver=solver, **hint)


def test_every_kind_of_hint_takes_the_same_way():
    case = next(cases("plain", 1, ((5, 100),)))
    active = project(*case).active
    direct = project(*case, guess=active, norms=lengths(case))
    for guess in (active.tolist(), active.astype(np.int32), active.astype(np.uint8), np.repeat(active, 2)[::2]):
        for size in (lengths(case), lengths(case).tolist(), np.repeat(lengths(case), 2)[::2]):
            np.testing.assert_array_equal(project(*case, guess=guess, norms=size).delta, direct.delta)
    np.testing.assert_array_equal(project(*case, guess=[]).delta, project(*case).delta)


def test_the_projections_of_adaptation_with_and_without_hints(capsys):
    projection_in_the_loop.main(["--steps", "2"])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[:2] for row in rows] == [["R3,", "gradient"], ["R3,", "newton"], ["R2,", "gradient"]]
    for row in rows:
        a_step, constraints, active = map(float, row[2:5])
        assert 2 <= a_step <= 8 and active < constraints < 9760
        assert float(row[-1]) <= 1e-9
