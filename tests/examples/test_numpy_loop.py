"""SCPO's loop in plain numpy, written over: the package goes the same way, to what the conic solver leaves."""

from __future__ import annotations

import adaptation
import numpy as np
import pytest
from numpy_loop import NumpyLoop
from r3_double_integrator import make_problem
from support.common import without_stability

from scpo_ctrl import AdaptOptions, adapt


def test_numpy_rollouts_are_the_engines():
    problem = without_stability(make_problem())
    loop = NumpyLoop(problem)
    thetas = problem.theta_initial + 0.3 * np.random.default_rng(0).normal(size=(3, problem.theta_dim))
    cost, metrics = loop.roll(thetas)  # far enough for the saturation to act
    np.testing.assert_allclose(cost, problem.objective(thetas), rtol=1e-12)
    np.testing.assert_allclose(problem.in_bounds_units(metrics), problem.metrics(thetas), rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(loop.roll(thetas, saturated=False)[1], problem.sample(thetas), rtol=1e-9, atol=1e-10)


def test_both_loops_take_the_same_steps():
    problem = without_stability(make_problem())
    options = AdaptOptions(steps=2, method="gradient", gradients="sampled", audit=False)
    loop = NumpyLoop(problem, options)
    for _ in range(options.steps):
        loop.step()
        assert loop.g.max() <= 0
    result = adapt(problem, options)
    fall = result.objective_initial - result.objective_final
    assert loop.objective == pytest.approx(result.objective_final, abs=1e-3 * fall)
    assert np.linalg.norm(loop.theta - result.theta) < 0.02 * np.linalg.norm(result.theta - result.theta_initial)


def test_the_engine_is_timed_and_its_calls_are_counted():
    run = adaptation.run(4, 0, method="gradient")
    engine, result = run.engine, run.result
    assert engine.calls["gradient"] == 4
    assert run.probes == 8
    assert engine.calls["evaluate"] == 1 + run.probes + len(result.history)
    assert 0 < sum(engine.seconds.values()) < result.seconds + 0.1
    assert run.objective.size == 5
    assert (np.diff(run.objective) <= 0).all()
