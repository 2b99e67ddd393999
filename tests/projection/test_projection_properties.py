"""Properties of the compiled projection on whatever hypothesis draws: any regime, any size, any numbers."""

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from projection_cases import REGIMES, REGULAR, Case, gap, residuals

from scpo_ctrl import ProjectionStatus, project, project_reference

SOLVED = (ProjectionStatus.SOLVED, ProjectionStatus.INSIDE)
sizes = st.tuples(st.integers(1, 12), st.integers(1, 16))  # (p, m)
seeds = st.integers(0, 2**32 - 1)
anything = st.sampled_from(sorted(REGIMES))


def drawn(name, size, seed):
    return REGIMES[name](np.random.default_rng(seed), *size).rounded(np.float64)


def assert_feasible(case, delta):
    """Assert (E4) and the radius in float64 and in a wider type."""
    wide = Case(*(np.asarray(part, dtype=np.longdouble) for part in case[:5]), case.r)
    assert np.isfinite(delta).all()
    assert (residuals(case, delta) <= 0).all() and (residuals(wide, delta.astype(np.longdouble)) <= 0).all()
    assert np.linalg.norm(delta.astype(np.longdouble)) <= case.r


def objective(case, delta):
    return float(np.sum((delta - case.u) ** 2))


@settings(deadline=None, max_examples=150)
@given(anything, sizes, seeds)
def test_feasible_closest_and_not_longer(name, size, seed):
    case = drawn(name, size, seed)
    answer = project(*case)
    assert answer.status in SOLVED
    assert_feasible(case, answer.delta)
    assert np.linalg.norm(answer.delta) <= np.linalg.norm(case.u) * (1 + 1e-12)
    assert gap(case, answer.delta) <= (1e-8 if name in REGULAR else 1e-6)


@settings(deadline=None, max_examples=100)
@given(anything, sizes, seeds, st.floats(-6, 1))
def test_nonexpansive(name, size, seed, decades):
    case = drawn(name, size, seed)
    length = max(float(np.linalg.norm(case.u)), 1.0)
    moved = case.u + 10**decades * length * np.random.default_rng(seed).normal(size=size[0])
    distance = np.linalg.norm(project(*case).delta - project(*case._replace(u=moved)).delta)
    longest = max(min(case.r, np.linalg.norm(case.u)), min(case.r, np.linalg.norm(moved)))
    assert distance <= np.linalg.norm(case.u - moved) * (1 + 1e-9) + 1e-4 * longest


@settings(deadline=None, max_examples=100)
@given(anything, sizes, seeds, st.integers(-30, 30), st.data())
def test_invariant_to_the_scale_of_rows_and_of_length(name, size, seed, power, data):
    """Powers of two change no digit, so answers differ by what the order of pivots and the tolerances let them."""
    case = drawn(name, size, seed)
    value = objective(case, project(*case).delta)
    allowed = 1e-6 * max(value, 1e-6 * float(case.u @ case.u))
    w = 2.0 ** np.array(data.draw(st.lists(st.integers(-30, 30), min_size=size[1], max_size=size[1])))
    rows = case._replace(c=case.c * w, G=case.G * w[:, None], e=case.e * w, L=case.L * w)
    assert abs(objective(case, project(*rows).delta) - value) <= allowed
    s = 2.0**power
    longer = Case(case.u * s, case.c, case.G / s, case.e / s, case.L / s**2, case.r * s)
    assert abs(objective(case, project(*longer).delta / s) - value) <= allowed


@settings(deadline=None, max_examples=60)
@given(anything, sizes, seeds)
def test_a_copied_row_changes_nothing_and_a_new_one_helps_nobody(name, size, seed):
    case = drawn(name, size, seed)
    value = objective(case, project(*case).delta)
    allowed = 1e-6 * max(value, 1e-6 * float(case.u @ case.u))
    twice = Case(case.u, *(np.concatenate([part, part]) for part in case[1:5]), case.r)
    assert abs(objective(case, project(*twice).delta) - value) <= allowed
    other = drawn("plain", size, seed + 1)
    more = Case(case.u, *(np.concatenate([a, b]) for a, b in zip(case[1:5], other[1:5], strict=True)), case.r)
    assert objective(case, project(*more).delta) >= value - allowed


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(sorted(REGULAR)), sizes, seeds)
def test_agrees_with_the_reference(name, size, seed):
    """The objective is strongly convex: a relative gap of 1e-7 of the reference is a distance of 3e-4 |u| at most."""
    case = drawn(name, size, seed)
    fast, whole = project(*case), project_reference(*case)
    assume(whole.status is not ProjectionStatus.CAPPED)
    scale = max(objective(case, whole.delta), 1e-6 * float(case.u @ case.u))
    assert objective(case, fast.delta) <= objective(case, whole.delta) + 1e-8 * scale
    assert np.linalg.norm(fast.delta - whole.delta) <= 1e-3 * np.linalg.norm(case.u)


def numbers(*shape, low=-1e100, high=1e100):
    return arrays(np.float64, shape, elements=st.floats(low, high))


@settings(deadline=None, max_examples=200)
@given(st.data(), st.integers(1, 5), st.integers(0, 6))
def test_any_numbers_give_a_feasible_answer(data, p, m):
    case = Case(
        u=data.draw(numbers(p)),
        c=data.draw(numbers(m, high=0.0)),
        G=data.draw(numbers(m, p)),
        e=data.draw(numbers(m, low=0.0)),
        L=data.draw(numbers(m, low=0.0)),
        r=data.draw(st.floats(1e-100, 1e100)),
    )
    answer = project(*case)
    assert answer.status in (*SOLVED, ProjectionStatus.CAPPED)
    assume(not 0 < np.max(np.abs(answer.delta)) < 1e-150)  # squares of shorter ones are 0: docs/projection.md
    norm = np.linalg.norm(answer.delta)
    terms = np.abs(case.c) + np.abs(case.G * answer.delta).sum(axis=1) + case.e * norm + case.L / 2 * norm * norm
    kept = terms > 0  # terms that are all 0, by underflow too, are no constraint
    assert_feasible(Case(case.u, *(part[kept] for part in case[1:5]), case.r), answer.delta)
