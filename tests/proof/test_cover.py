"""Covers: what is proved holds on dense points, slivers and tight bounds are never proved, and what is refused."""

import numpy as np
import pytest
from forms import LONG

import scpo_ctrl as sc
from scpo_ctrl.errors import DimensionError, DomainError
from scpo_ctrl.models import double_integrator
from scpo_ctrl.proof.closed_loop import CoveredLoop
from scpo_ctrl.proof.cover import cover
from scpo_ctrl.proof.tree import Tree
from scpo_ctrl.verification.cover_proof import kept_boxes, leaves
from scpo_ctrl.verification.covered import CoveredBoxes

SEEDS = range(12)


def problem(plant=None, hidden=(3,), metrics=None, horizon=8, cost=None, **declared):
    plant = double_integrator() if plant is None else plant
    backup = sc.lqr(plant, [0.1] * plant.nx, [10.0] * plant.nu)
    batch = sc.scenarios(plant, backup, horizon=horizon, **({"count": 4, "level": 0.5} | declared))
    cost = sc.Quadratic([1.0] * plant.nx, [0.1] * plant.nu) if cost is None else cost
    return sc.ControlProblem(sc.Policy(plant, backup, hidden), batch, cost, metrics or sc.MetricOptions())


def moved(of, seed, size):
    """A policy away from the safe start."""
    return of.theta_initial + size * np.random.default_rng(seed).normal(size=of.theta_dim)


def worst(of, theta, count=4000):
    """The largest metric at dense points of the declared set, found without any enclosure."""
    declared = of.scenarios.declared
    batch = declared.edge(count, 1).and_then(declared.random(0, count, 2))
    values = of.evaluate_scenarios(theta, batch)[1][:, of.fresh.varies]
    return float(np.nan_to_num(values, nan=np.inf).max())


def largest_safe(of, seed):
    """The size of a step from the safe start at which dense points begin to violate."""
    low, high = 0.0, 4.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if worst(of, moved(of, seed, middle)) <= 0 else (low, middle)
    return low


@pytest.mark.table(3)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_policy_with_room_is_proved_and_one_with_a_sliver_is_not(seed):
    of = problem()
    size = largest_safe(of, seed)
    inside = cover(of, moved(of, seed, 0.9 * size), seconds=60)
    assert inside.proved and inside.undecided == 0 and worst(of, moved(of, seed, 0.9 * size), 20_000) <= 0
    beyond = cover(of, moved(of, seed, 1.0005 * size), seconds=60, boxes=20_000)
    assert not beyond.proved
    if beyond.refuted:
        values = of.evaluate_scenarios(beyond.theta, beyond.counterexample)[1][:, of.fresh.varies]
        assert values.max() > 1e-12


@pytest.mark.parametrize("part", [0.999, 1.001])
def test_a_bound_a_thousandth_too_tight(part):
    of = problem(hidden=(), horizon=6)
    theta = moved(of, 0, 0.05)
    batch = of.scenarios.declared.edge(20_000, 0)
    most = np.abs(of.trajectories(theta, batch)[1]).max()
    plant = double_integrator().replace(u_max=[part * most], u_min=[-part * most])
    tight = sc.ControlProblem(
        sc.Policy(plant, of.backup, (), scale=of.policy.scale, input_scale=of.policy.input_scale),
        sc.scenarios(plant, of.backup, horizon=6, count=4, level=0.5),
        of.objective_data,
    )
    assert cover(tight, theta, seconds=30).proved == (part > 1)


def test_the_origin_is_covered_by_the_jacobian():
    of = problem(metrics=sc.MetricOptions(contraction=0.6), horizon=30)
    found = cover(of, moved(of, 1, 0.02), seconds=60)
    assert found.proved and "V falls by 0.6 every 30 steps" in found.sentence() and "for ever" in found.sentence()
    cones, low, _ = leaves(found.tree.letters, CoveredBoxes(of, found.theta))
    assert set(cones[low[0] == 0].tolist()) == {0, 1, 2, 3}  # the centre of each cone is in a box that is proved


def test_contraction_that_is_not_met_at_the_origin_is_refuted_or_open():
    of = problem(metrics=sc.MetricOptions(contraction=0.05, stability=False, path=True), horizon=8)
    assert not cover(of, of.theta_initial, seconds=10, boxes=4000).proved


def test_a_second_call_goes_on_to_the_same_tree():
    of = problem(metrics=sc.MetricOptions(contraction=0.9))
    theta = moved(of, 1, 0.02)
    whole, part = cover(of, theta), cover(of, theta, boxes=20)
    assert not part.proved and 0 < part.undecided <= 1 and "not decided on" in part.sentence()
    tree = Tree(CoveredLoop.of(of, theta).region, part.tree.letters)
    assert tree.pending == part.tree.pending and tree.undecided == pytest.approx(part.undecided)
    assert cover(of, theta, tree=tree).tree.letters == whole.tree.letters


ROUND = {"mass": (0.9, 1.1)}


@pytest.mark.table(9)
@pytest.mark.parametrize(
    ("metrics", "declared"),
    [
        ({}, {"parameters": ROUND}),
        ({}, {"disturbance": [0.002, 0.005]}),
        ({}, {"disturbance": [0.001, 0.002], "disturbance_fixed": 0.5}),
        ({}, {"box": [[-1.0, -0.3], [1.5, 0.3]], "level": None}),
        ({}, {"box": [[0.5, 0.1], [1.5, 0.3]], "level": None}),
        ({}, {"initial_states": [[1.0, 0.1], [-1.0, 0.2]], "neighbourhood": 0.01, "level": None, "count": None}),
        ({}, {"initial_states": [[1.0, 0.1]], "level": None, "count": None, "parameters": ROUND}),
        ({"terminal": True}, {}),
        ({"one_step": 1e-4}, {}),
        ({"contraction": 0.9, "contraction_floor": 0.05}, {"disturbance": [1e-4, 1e-4]}),
        ({"du_max": [0.5]}, {}),
    ],
)
def test_what_is_proved_is_so_at_dense_points_and_by_the_other_method(metrics, declared):
    of = problem(metrics=sc.MetricOptions(**metrics), horizon=20 if LONG else 10, **declared)
    theta = moved(of, 3, 0.02)
    found = cover(of, theta, seconds=60)
    assert found.proved, found.sentence()
    assert worst(of, theta) <= 1e-12
    boxes = CoveredBoxes(of, theta)
    cones, low, high = leaves(found.tree.letters, boxes)
    kept = np.concatenate([kept_boxes(boxes, k, low[:, cones == k], high[:, cones == k]) for k in range(boxes.cones)])
    assert kept.all()


def test_a_constraint_of_the_users_is_covered():
    plant = double_integrator()
    power = sc.Constraint(expression=plant.u[0] * plant.x[1], bound=0.3, name="power", unit="W")
    of = problem(plant, metrics=sc.MetricOptions(constraints=power))
    assert cover(of, of.theta_initial, seconds=30).proved
    tight = problem(
        plant, metrics=sc.MetricOptions(constraints=sc.Constraint(expression=plant.x[1], bound=0.5, name="speed"))
    )
    assert cover(tight, tight.theta_initial, seconds=30).refuted


def test_what_no_cover_knows_is_refused():
    of = problem(metrics=sc.MetricOptions(path=False, terminal=True))
    with pytest.raises(DomainError, match="may be cut"):
        cover(of, of.theta_initial)
    by_hand = problem()
    by_hand.scenarios = sc.Scenarios(np.zeros((1, 2)), np.ones((1, 1)), np.zeros((1, 8, 0)), 8)
    with pytest.raises(DomainError, match="declare no set"):
        cover(by_hand, by_hand.theta_initial)
    of = problem()
    with pytest.raises(DimensionError, match="theta"):
        cover(of, np.zeros(3))
    with pytest.raises(DomainError, match="seconds"):
        cover(of, of.theta_initial, seconds=0.0)
    box = sc.ControlProblem(of.policy, of.scenarios, of.objective_data, simulator=lambda x, u, p: 0.9 * x)
    with pytest.raises(DomainError, match="black box"):
        cover(box, of.theta_initial)


def test_a_point_that_is_infinite_is_never_proved():
    of = problem()
    assert not cover(of, np.full(of.theta_dim, 1e300), seconds=5, boxes=200).proved
