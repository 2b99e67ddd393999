"""The projection of the package: optimal in every regime, feasible to the last bit, and its invariances."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from projection_cases import DEGENERATE, REGIMES, REGULAR, Case, cases, gap, residuals

from scpo_ctrl import ProjectionStatus, project, project_reference
from scpo_ctrl.errors import DimensionError, DomainError
from scpo_ctrl.projection import conic, native
from scpo_ctrl.projection.cone import Cone, checked, reduce, repair, screen

TOLERANCE = 1e-4  # of an answer of norm 1, for a relative gap of 1e-8: the objective is strongly convex
SIZES = ((1, 1), (5, 4), (20, 10), (12, 40), (3, 90))


def feasible(case, delta):
    wide = Case(*(np.asarray(part, dtype=np.longdouble) for part in case[:5]), case.r)
    return (residuals(case, delta) <= 0).all() and (residuals(wide, delta.astype(np.longdouble)) <= 0).all()


@pytest.mark.table(4)
@pytest.mark.parametrize("solver", ["DUAL", "CLARABEL"])
@pytest.mark.parametrize("name", REGIMES)
def test_answers_are_optimal_and_feasible(name, solver):
    for case in cases(name, 10 if solver == "DUAL" else 5, SIZES, seed=5):
        answer = project(*case, solver=solver)
        assert answer.status in (ProjectionStatus.SOLVED, ProjectionStatus.INSIDE)
        assert feasible(case, answer.delta)
        assert np.linalg.norm(answer.delta) <= case.r
        regular = 1e-8 if solver == "DUAL" else 1e-7
        assert gap(case, answer.delta) <= (1e-6 if name in DEGENERATE else regular)


@pytest.mark.parametrize("solver", ["CLARABEL", "ECOS"])
@pytest.mark.parametrize("name", ["plain", "small_steps", "radius_active", "large_errors"])
def test_agrees_with_the_reference_on_the_whole_problem(name, solver):
    pytest.importorskip(solver.lower())
    for case in cases(name, 3, SIZES, seed=11):
        fast, whole = project(*case), project_reference(*case, solver=solver)
        assert feasible(case, whole.delta)
        np.testing.assert_allclose(fast.delta, whole.delta, atol=3e-5 * np.linalg.norm(case.u))


def one(name, size, seed=0):
    return next(iter(cases(name, 1, (size,), seed=seed)))


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 1000))
def test_invariant_to_rotation_row_scaling_and_units_of_length(seed):
    rng = np.random.default_rng(seed)
    case = one("plain", (8, 6), seed)
    answer = project(*case).delta
    Q, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    np.testing.assert_allclose(project(*case._replace(u=Q @ case.u, G=case.G @ Q.T)).delta, Q @ answer, atol=TOLERANCE)
    w = np.exp(rng.uniform(-7, 7, 6))
    rows = case._replace(c=case.c * w, G=case.G * w[:, None], e=case.e * w, L=case.L * w)
    np.testing.assert_allclose(project(*rows).delta, answer, atol=TOLERANCE)
    longer = case._replace(u=case.u * 1e3, G=case.G / 1e3, e=case.e / 1e3, L=case.L / 1e6, r=case.r * 1e3)
    np.testing.assert_allclose(project(*longer).delta / 1e3, answer, atol=TOLERANCE)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 1000))
def test_nonexpansive_idempotent_and_never_longer(seed):
    rng = np.random.default_rng(seed)
    case = one("plain", (6, 8), seed)
    v = case.u + rng.normal(size=6)
    p, q = project(*case).delta, project(*case._replace(u=v)).delta
    assert np.linalg.norm(p - q) <= np.linalg.norm(case.u - v) + TOLERANCE
    assert np.linalg.norm(p) <= np.linalg.norm(case.u) * (1 + 1e-12)
    np.testing.assert_allclose(project(*case._replace(u=p)).delta, p, atol=TOLERANCE)


def test_screening_is_exact():
    for case in cases("plain", 20, ((10, 30),), seed=3):
        cone = Cone(*case)
        kept = screen(cone)
        dropped = np.setdiff1d(np.arange(30), kept)
        rng = np.random.default_rng(0)
        alphas = rng.normal(size=(200, 10))
        alphas *= (cone.longest * rng.uniform(size=200) ** 0.1 / np.linalg.norm(alphas, axis=1))[:, None]
        for alpha in alphas:
            assert (cone.bound(alpha)[dropped] <= 0).all()
        whole = project_reference(*case)
        assert not np.intersect1d(np.flatnonzero(cone.bound(whole.delta) > -1e-7), dropped).size


def test_reduction_keeps_the_answer():
    case = one("plain", (60, 5))
    cone, basis = reduce(Cone(*case))
    assert cone.u.size == 6 and basis.shape == (60, 6)
    np.testing.assert_allclose(basis.T @ basis, np.eye(6), atol=1e-12)
    np.testing.assert_allclose(basis @ cone.u, case.u, atol=1e-12)
    np.testing.assert_allclose(cone.G @ basis.T, case.G, atol=1e-12)
    small, none = reduce(Cone(*one("plain", (4, 9))))
    assert none is None and small.u.size == 4


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(REGIMES)), st.integers(0, 100), st.floats(0.01, 1e6))
def test_repair_makes_anything_feasible(name, seed, stretch):
    case = one(name, (5, 7), seed)
    rng = np.random.default_rng(seed)
    for wild in (case.u * stretch, rng.normal(size=5) * stretch, np.full(5, np.nan), np.full(5, 1e300)):
        with np.errstate(over="ignore", invalid="ignore"):
            delta = repair(Cone(*case), wild)
        assert feasible(case, delta)
    if name in REGULAR:
        tau = np.linalg.norm(repair(Cone(*case), case.u * 100)) / np.linalg.norm(case.u * 100)
        further = case.u * 100 * tau * (1 + 1e-6)
        assert tau in (0, 1) or (residuals(case, further) > 0).any() or np.linalg.norm(further) > case.r


def test_a_guess_changes_the_work_but_not_the_answer():
    iterations = np.zeros(2)
    for seed in range(6):
        case = one("plain", (12, 60), seed)
        blind = project(*case, solver="CLARABEL")
        for guess in (blind.active, np.arange(60)):
            guided = project(*case, solver="CLARABEL", guess=guess)
            np.testing.assert_allclose(guided.delta, blind.delta, atol=TOLERANCE)
            iterations += (blind.iterations, guided.iterations) if guess is blind.active else (0, 0)
    assert iterations[1] < iterations[0]


@pytest.mark.parametrize("solver", ["DUAL", "CLARABEL"])
def test_a_row_of_zeros_on_the_boundary_is_no_constraint(solver):
    u, G = np.array([1.0, 2.0]), np.array([[0.0, 0.0], [1.0, 1.0]])
    alone = project(u, np.zeros(1), G[:1], 0.0, 0.0, 5.0, solver=solver)
    assert alone.status is ProjectionStatus.INSIDE and (alone.delta == u).all()
    both = project(u, np.array([0.0, -1.0]), G, 0.0, 0.0, 5.0, solver=solver)
    np.testing.assert_allclose(both.delta, [0.0, 1.0], atol=1e-6)
    curved = project(u, np.zeros(1), G[:1], 0.0, 1.0, 5.0, solver=solver)
    np.testing.assert_array_equal(curved.delta, 0.0)  # ‖δ‖² ≤ 0


@pytest.mark.parametrize(("dim", "count"), [(5, 3000), (30, 3000)])
@pytest.mark.parametrize("name", ["plain", "all_on_boundary", "duplicates"])
def test_many_constraints_are_solved_on_working_sets(name, dim, count):
    """Far more constraints are violated at first than the working set has places for."""
    case = one(name, (dim, count))
    answer = project(*case)
    assert answer.status in (ProjectionStatus.SOLVED, ProjectionStatus.INSIDE)
    assert feasible(case, answer.delta)
    assert gap(case, answer.delta) <= 1e-6


@pytest.mark.parametrize("count", [10, 300])
def test_ways_to_the_compiled_solver_agree(count, monkeypatch):
    """Arrays go straight to C, lists and views through checks, more dimensions than it takes through working sets."""
    case = one("plain", (9, count))
    direct = project(*case).delta
    lists = project(*(part.tolist() for part in case[:5]), case.r).delta
    np.testing.assert_allclose(lists, direct, atol=1e-7)
    view = case._replace(G=np.asfortranarray(case.G))
    np.testing.assert_allclose(project(*view).delta, direct, atol=1e-7)
    monkeypatch.setattr(native, "fits", lambda cone: cone.u.size < 9)
    np.testing.assert_allclose(project(*case).delta, direct, atol=1e-7)


def test_threads_have_their_own_scratch_memory():
    instances = list(cases("plain", 40, ((30, 20),), seed=8))
    alone = [project(*case).delta for case in instances]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda case: project(*case).delta, instances * 5))
    for i, delta in enumerate(together):
        np.testing.assert_array_equal(delta, alone[i % 40])


def test_without_the_extension_clarabel_takes_its_place(monkeypatch):
    case = one("plain", (6, 5))
    fast = project(*case)
    monkeypatch.setattr(native, "lib", None)
    np.testing.assert_allclose(project(*case).delta, fast.delta, atol=TOLERANCE)


def test_large_problems():
    case = one("plain", (3000, 150))
    answer = project(*case)
    assert answer.status is ProjectionStatus.SOLVED
    assert feasible(case, answer.delta)
    assert gap(case, answer.delta, conic=False) <= 1e-8


def test_statuses():
    case = one("plain", (5, 4))
    assert project(*case._replace(u=case.u * 1e-6)).status is ProjectionStatus.INSIDE
    unsafe = project(*case._replace(c=case.c + 10))
    assert unsafe.status is ProjectionStatus.UNSAFE_START and not unsafe.delta.any()
    assert project_reference(*case._replace(c=case.c + 10)).status is ProjectionStatus.UNSAFE_START
    nothing = project(case.u, [], np.zeros((0, 5)), [], [], np.inf)
    np.testing.assert_array_equal(nothing.delta, case.u)
    cut = project(case.u, [], np.zeros((0, 5)), [], [], 0.1)
    np.testing.assert_allclose(cut.delta, 0.1 * case.u / np.linalg.norm(case.u), rtol=1e-9)
    assert not project(np.zeros(5), *case[1:]).delta.any()
    assert all(status.value.endswith((".", "policy.")) for status in ProjectionStatus)


def test_a_solver_that_stops_early_still_gives_a_feasible_step(monkeypatch):
    case = one("plain", (10, 30))
    monkeypatch.setitem(conic._TIGHT, "CLARABEL", {"max_iter": 2})
    monkeypatch.setattr(conic, "_OWN", {"max_iter": 2})
    answer = project(*case, solver="CLARABEL")
    assert answer.status is ProjectionStatus.CAPPED
    assert feasible(case, answer.delta)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"u": []}, DimensionError, "u is empty"),
        ({"u": [[1.0, 2.0], [3.0, 4.0]]}, DimensionError, "u has shape"),
        ({"u": [1.0, np.nan]}, DomainError, r"u\[1\]"),
        ({"G": np.ones((2, 2))}, DimensionError, r"G has shape \(2, 2\), expected \(1, 2\)"),
        ({"c": [np.inf]}, DomainError, "c"),
        ({"e": -1.0}, DomainError, r"e\[0\]"),
        ({"L": [-1.0]}, DomainError, r"L\[0\]"),
        ({"L": [1.0, 2.0]}, DimensionError, "L has shape"),
        ({"r": 0.0}, DomainError, "r is 0"),
        ({"r": np.nan}, DomainError, "r is nan"),
        ({"solver": "OSQP"}, DomainError, "unknown solver"),
    ],
)
def test_bad_input_is_named(change, error, words):
    good = {"u": [1.0, 2.0], "c": [-0.1], "G": [[1.0, 0.0]], "e": 0.1, "L": 1.0, "r": 1.0}
    with pytest.raises(error, match=words):
        project(**(good | change))
    with pytest.raises(error, match=words):
        project_reference(**(good | change))


def test_a_solver_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr("scpo_ctrl.projection.conic._installed", lambda: {"CLARABEL"})
    with pytest.raises(DomainError, match=r"scpo-ctrl\[ecos\]"):
        project_reference(*one("plain", (5, 4)), solver="ECOS")


def test_scalars_broadcast_over_constraints():
    case = one("plain", (5, 4))
    cone = checked(case.u, case.c, case.G, 0.1, 2.0, np.inf)
    assert (cone.e == 0.1).all() and (cone.L == 2.0).all() and cone.e.shape == (4,)
    assert cone.longest == np.linalg.norm(case.u)


def test_every_kind_of_argument_takes_the_same_way():
    case = one("plain", (5, 4))
    exact = project(*case)
    for arguments in (
        [part.tolist() for part in case[:5]],
        [np.asfortranarray(part) for part in case[:5]],
    ):
        for r in (case.r, np.float64(case.r)):
            np.testing.assert_array_equal(project(*arguments, r).delta, exact.delta)
    for size in (1e-120, 1e160):  # extreme units of length
        np.testing.assert_allclose(project([size, size], [-0.1 * size], [[1, 0]], 0, 0, np.inf).delta[0], 0.1 * size)
    np.testing.assert_array_equal(project([1, 1], [], [], [], [], 2).delta, [1, 1])
    assert exact.active.dtype == project(*one("plain", (5, 90))).active.dtype == np.int64
    for r in ("1", None, np.array([1.0, 2.0])):
        with pytest.raises(DomainError, match="r is"):
            project(*case[:5], r)


@pytest.mark.parametrize("solver", ["CLARABEL", "ECOS"])
@pytest.mark.parametrize(
    ("step", "slope"), [(1e200, 1e160), (1e300, 1.0), (1e-200, 1e160), (1e-300, 1.0), (1.0, 1e300)]
)
def test_numbers_whose_squares_leave_the_range_of_a_double(solver, step, slope):
    rng = np.random.default_rng(1)
    u, G, c = rng.normal(size=3) * step, rng.normal(size=(4, 3)) * slope, -np.abs(rng.normal(size=4))
    for answer in (
        project(u, c, G, 0.0, 0.0, 1.0, solver=solver),
        project_reference(u, c, G, 0.0, 0.0, 1.0, solver=solver),
    ):
        size = np.abs(answer.delta).max()
        assert np.isfinite(answer.delta).all() and size <= 1.0
        assert (c / slope + (G / slope) @ answer.delta <= 1e-9 * max(size, 1 / slope)).all()
        assert answer.status is not ProjectionStatus.UNSAFE_START


def test_units_of_the_step_and_of_the_constraints_change_nothing_far_away():
    u, c, G = np.array([3.0, 4.0]), np.array([-0.5, -0.2]), np.array([[1.0, 0.2], [0.1, 1.0]])
    near = project_reference(u, c, G, 0.01, 0.3, 2.0)
    far = project_reference(u * 2.0**400, c, G * 2.0**-400, 0.01 * 2.0**-400, 0.3 * 2.0**-800, 2.0**401)
    np.testing.assert_allclose(far.delta * 2.0**-400, near.delta, rtol=1e-6)
