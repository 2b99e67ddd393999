"""Local stability of a black box at rest (E11): against that of the plant whose box it is, and what runs make of it."""

from __future__ import annotations

import numpy as np
import pytest
from loops import loaded_arm
from problems import double_integrator_problem, two_input_problem

from scpo_ctrl import (
    AdaptOptions,
    ControlProblem,
    MetricOptions,
    Policy,
    Quadratic,
    UserObjective,
    adapt,
    lqr,
    scenarios,
)
from scpo_ctrl.engine.simulator import stepping
from scpo_ctrl.errors import UnsafeStartError
from scpo_ctrl.loop import black_box, box_stability
from scpo_ctrl.loop.black_box import BlackBox, BoxRest
from scpo_ctrl.models import linear


def loaded_problem() -> ControlProblem:
    plant = loaded_arm().replace(u_min=[-2.0], u_max=[2.0])
    ranges = {"load": [-0.5, 0.5], "gain": [0.8, 1.2]}
    backup = lqr(plant, [1.0, 0.2], [1.0], parameters=ranges)
    batch = scenarios(plant, backup, horizon=10, count=4, level=0.5, parameters=ranges)
    return ControlProblem(Policy(plant, backup, (3,)), batch, Quadratic([1.0, 0.1], [0.05]))


def around_a_box(problem: ControlProblem) -> ControlProblem:
    objective = Quadratic(np.ones(problem.plant.nx), np.ones(problem.plant.nu))
    return ControlProblem(problem.policy, problem.scenarios, objective, simulator=problem.plant.function)


@pytest.mark.parametrize(
    "make", [lambda: double_integrator_problem((3,)), lambda: two_input_problem(3, (2,)), loaded_problem]
)
def test_metrics_slopes_and_radii_are_those_of_the_plant(make):
    known = make()
    plant, box, rng = known.stability, around_a_box(known).stability, np.random.default_rng(0)
    assert box.count == plant.count
    assert box.power == plant.power
    thetas = known.theta_initial + 0.05 * rng.normal(size=(4, known.theta_dim))
    np.testing.assert_allclose(box.metrics(thetas), plant.metrics(thetas), atol=1e-9)
    D = rng.normal(size=(3, known.theta_dim))
    for directions in (None, D):
        slopes = plant.jacobian(thetas[0], directions)
        np.testing.assert_allclose(box.jacobian(thetas[0], directions), slopes, atol=1e-5 * np.abs(slopes).max())
    for theta in thetas:
        np.testing.assert_allclose(box.spectral_radii(theta), plant.spectral_radii(theta), atol=1e-9)
        np.testing.assert_allclose(box.equilibria(theta)[0], plant.equilibria(theta)[0], atol=1e-11)


def test_an_objective_that_pulls_towards_an_unstable_loop_does_not_get_there():
    """From starts so near that no bound is reached in time, nothing but (E11) is in the way."""
    bounds = [-2.0, -2.0], [2.0, 2.0], [-0.5], [0.5]
    plant = linear([[0.95, -0.1], [0.3, 0.9]], [[0.5], [0.08]], 5e-5, bounds)
    policy = Policy(plant, lqr(plant, [0.1, 0.1], [10.0]), scale=(1.0, 1.0))
    batch, wanted = scenarios(plant, policy.backup, horizon=3, count=3, level=1e-4), np.array([1.0, 1.0])
    objective = UserObjective(lambda theta: (float((theta - wanted) @ (theta - wanted)), 2 * (theta - wanted)))
    radii = {}
    for stability in (False, True):
        metrics = MetricOptions(stability=stability)
        result = adapt(
            ControlProblem(policy, batch, objective, metrics, simulator=plant.function), AdaptOptions(steps=40)
        )
        assert result.is_safe()
        assert result.objective_final < 0.9 * result.objective_initial
        radii[stability] = result.problem.spectral_radius(result.theta)
        assert result.summary()["spectral_radius_final"] == pytest.approx(radii[stability])
    assert radii[True] < 1 < radii[False]


def test_a_black_box_that_never_rests_says_how_to_go_on_without():
    base = double_integrator_problem((2,))

    def drifting(x, u, p):
        return np.stack([x[:, 0] + 0.1 * x[:, 1] + 0.01, x[:, 1] + 0.1 * np.cos(u[:, 0]) + 0.1], axis=1)

    arguments = base.policy, base.scenarios, Quadratic([1.0, 1.0], [1.0])
    with pytest.raises(UnsafeStartError, match=r"no equilibrium.*stability = False"):
        ControlProblem(*arguments, simulator=drifting)
    without = ControlProblem(*arguments, MetricOptions(stability=False), simulator=drifting)
    assert without.spectral_radius(without.theta_initial) == np.inf


def test_chunks_change_nothing(monkeypatch):
    known = loaded_problem()
    box, thetas = around_a_box(known), known.theta_initial + 0.02 * np.arange(6)[:, None]
    whole, rests = (
        box.stability.metrics(thetas),
        BoxRest(known.plant, known.backup, BlackBox(stepping(known.plant.function, known.plant))),
    )
    p = np.random.default_rng(0).uniform([-0.5, 0.8], [0.5, 1.2], (9, 2))
    places = rests.places(p)
    for module in (box_stability, black_box):
        monkeypatch.setattr(module, "_NUMBERS", 200)
    np.testing.assert_allclose(box.stability.metrics(thetas), whole, atol=1e-9)
    np.testing.assert_allclose(rests.places(p), places, atol=1e-12)
