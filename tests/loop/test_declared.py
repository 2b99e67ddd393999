"""The declared set: uniform where it says so, the same points wherever they are drawn, and edges that are edges."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest

from scpo_ctrl import lqr, scenarios
from scpo_ctrl.errors import DomainError
from scpo_ctrl.models import Plant, double_integrator

PLANT = double_integrator()
BACKUP = lqr(PLANT, [0.1, 0.1], [10.0])
KEYS = ("x0", "p", "w")


def declared(**given):
    given = {"count": 4, "level": 0.81, "parameters": {"mass": (0.5, 1.5)}, "disturbance": [0.01, 0.02]} | given
    return scenarios(PLANT, BACKUP, horizon=20, **{k: v for k, v in given.items() if v is not None}).declared


GIVEN = {"count": None, "level": None, "initial_states": [[1.0, 0.0], [-2.0, 0.5]]}
SETS = {
    "level": declared(),
    "box": declared(level=None, box=[[-1.0, -0.2], [2.0, 0.3]], disturbance_fixed=0.5),
    "neighbourhood": declared(**GIVEN, neighbourhood=0.1),
    "given alone": declared(**GIVEN, neighbourhood=0.0, parameters=None, disturbance=None),
}


@pytest.mark.parametrize("name", SETS)
def test_a_point_is_the_same_with_whichever_others_it_is_drawn(name):
    many, few = SETS[name].random(0, 60, 7), SETS[name].random(37, 5, 7)
    for key in KEYS:
        np.testing.assert_array_equal(getattr(many, key)[37:42], getattr(few, key))
    assert not np.array_equal(many.x0, SETS[name].random(0, 60, 8).x0)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("way", ["random", "spread", "edge"])
def test_all_points_are_in_the_set(name, way):
    of = SETS[name]
    points = of.random(0, 300, 1) if way == "random" else getattr(of, way)(300, 1)
    moved = of.nearest(points)
    for key in KEYS:
        np.testing.assert_allclose(getattr(moved, key), getattr(points, key), atol=1e-12)


def test_random_points_are_uniform():
    points = SETS["level"].random(0, 40_000, 3)
    part = BACKUP.level(points.x0) / (0.81 * BACKUP.rho)
    for level in (0.1, 0.5, 0.9):  # of an area, the share within a level is the level
        assert np.mean(part < level) == pytest.approx(level, abs=0.01)
    assert np.mean(points.p < 0.8) == pytest.approx(0.3, abs=0.01)
    w = points.w[:, :, 1] / 0.02
    assert np.mean(w < 0.5) == pytest.approx(0.75, abs=0.003)
    assert abs(np.corrcoef(w[:, 0], w[:, 1])[0, 1]) < 0.02
    fixed = SETS["box"].random(0, 2000, 3).w
    assert np.ptp(fixed, axis=1).max() <= 0.02 + 1e-12  # twice half of the half width


def test_spread_points_leave_smaller_gaps_than_random_ones():
    def gap(points):
        unit, root = BACKUP.shape
        ball = np.linalg.solve(root, (points.x0 / unit / 0.9).T).T
        grid = np.random.default_rng(0).uniform(-1, 1, (2000, 2))
        grid = grid[np.linalg.norm(grid, axis=1) < 1]
        return np.linalg.norm(grid[:, None] - ball, axis=2).min(axis=1).mean()

    spread = np.mean([gap(SETS["level"].spread(64, seed)) for seed in range(5)])
    assert spread < np.mean([gap(SETS["level"].random(0, 64, seed)) for seed in range(5)])


def test_edges():
    points = SETS["level"].edge(64, 0)
    part = BACKUP.level(points.x0) / (0.81 * BACKUP.rho)
    np.testing.assert_allclose(part[np.arange(64) % 4 != 3], 1.0, rtol=1e-9)
    assert part[3::4].min() < 1e-3
    assert set(points.p[::2, 0]) == {0.5, 1.5}
    np.testing.assert_allclose(np.abs(points.w), np.broadcast_to([0.01, 0.02], points.w.shape))


def test_edges_of_every_kind_meet_every_corner():
    """Taken in turn they did not: of three states one never met a corner of p, nor did a switching sequence."""
    x, u, p = ca.SX.sym("x", 3), ca.SX.sym("u"), ca.SX.sym("p")
    f = 0.8 * x + ca.vertcat(x[1], x[2], u * p) / 10
    bounds = {"x_min": -np.ones(3), "x_max": np.ones(3), "u_min": [-1.0], "u_max": [1.0]}
    plant = Plant(name="chain", x=x, u=u, p=p, p_nominal=[1.0], p_labels=("gain",), f=f, dt=0.1, **bounds)
    ranges, box = {"gain": (0.5, 1.5)}, [[-0.2] * 3, [0.2] * 3]
    backup = lqr(plant, np.ones(3), [1.0])
    batch = scenarios(plant, backup, horizon=8, count=2, box=box, parameters=ranges, disturbance=[0.01] * 3)
    points = batch.declared.edge(512, 0)
    faces, changes = np.isclose(np.abs(points.x0), 0.2), (np.diff(points.w[:, :, 0], axis=1) != 0).sum(axis=1)
    kinds = {"constant": changes == 0, "at every step": changes == 7, "once": changes == 1}
    kinds |= {f"face of {i}, {end}": np.isclose(points.x0[:, i], end) for i in range(3) for end in (-0.2, 0.2)}
    kinds |= {"corner of the box": faces.all(axis=1), "face alone": faces.sum(axis=1) == 1}
    for name, kind in kinds.items():
        for value in (0.5, 1.5):
            assert np.count_nonzero(kind & (points.p[:, 0] == value)) > 8, (name, value)
    assert len(np.unique(points.x0[faces.all(axis=1)], axis=0)) == 8


def test_points_outside_are_moved_to_the_boundary():
    of = SETS["level"]
    inside = of.edge(32, 1)
    far = of.nearest(type(inside)(3 * inside.x0, 2 * inside.p, 5 * inside.w, 20))
    part = BACKUP.level(far.x0) / (0.81 * BACKUP.rho)
    assert part.max() <= 1 + 1e-9
    assert far.p.max() == 1.5
    assert np.abs(far.w).max(axis=(0, 1)) == pytest.approx([0.01, 0.02])


@pytest.mark.parametrize("name", ["level", "box", "neighbourhood"])
def test_a_step_along_a_gradient_is_the_one_that_gains_most(name):
    of, rng = SETS[name], np.random.default_rng(0)
    gradient = rng.normal(size=(1, 2))
    gain = float((of.along(gradient) @ gradient.T)[0, 0])
    points = of.random(0, 20_000, 5).x0
    half = np.array([[-0.5, 0.05]]) if name == "box" else np.zeros((1, 2))
    if name == "neighbourhood":
        nearest = np.argmin(np.abs(points[:, :1] - of.centres[:, 0]), axis=1)
        half = of.centres[nearest]
    most = float(((points - (half if name != "box" else of.box.mean(axis=0))) @ gradient.T).max())
    assert 0.97 * gain <= most <= gain * (1 + 1e-9)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"box": [[0.0, 0.0], [1.0, 0.0]], "level": None},
            "no interior: its velocity goes from 0 to 0; give it some width",
        ),
        ({"box": [[0.0, 0.0], [9.0, 1.0]], "level": None}, r"box\[1\]\[0\] = 9 m is outside"),
        ({"box": [[0.0, 0.0], [1.0, 1.0]]}, "one of level, neighbourhood and box"),
        ({"neighbourhood": 0.1, "level": None}, "initial_states"),
        (GIVEN | {"neighbourhood": 1.5}, "neighbourhood is 1.5"),
        ({"draw": "sobol"}, "expected one of: low_discrepancy, random"),
    ],
)
def test_refusals(given, said):
    with pytest.raises(DomainError, match=said):
        declared(**given)


def test_low_discrepancy_draws_are_points_of_the_set():
    batch = scenarios(PLANT, BACKUP, horizon=5, count=12, level=0.5, draw="low_discrepancy", seed=3)
    np.testing.assert_array_equal(batch.x0, batch.declared.spread(12, 3).x0)
    assert "V <= 0.5 rho" in batch.declared.distribution
