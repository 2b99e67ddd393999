"""Certified smoothness constants on nonlinear plants, and an attack on those of all plants."""

from __future__ import annotations

import numpy as np
import proved_loops
import pytest
from certified_loops import NONLINEAR, PROBLEMS, ball, hessian_function, hessian_norms, nonlinear, parameters

from scpo_ctrl import AdaptOptions, ControlProblem, adapt
from scpo_ctrl.adaptation.proven_smoothness import smoothness_bounds


@pytest.mark.parametrize("radius", [1e-3, 0.02])
@pytest.mark.parametrize("name", NONLINEAR)
def test_bounds_of_nonlinear_plants_hold_for_hessians_all_over_the_ball(name, radius):
    problem, rng = NONLINEAR[name](), np.random.default_rng(0)
    function = hessian_function(problem)
    for theta in (problem.theta_initial, parameters(problem, 0.03)):
        L = smoothness_bounds(problem, theta, radius)
        for delta in ball(rng, radius, theta.size, 10):
            norms = hessian_norms(problem, function, theta + delta)
            assert (norms <= L * (1 + 1e-9) + 1e-12).all()
    norms = hessian_norms(problem, function, theta)
    which = norms > 1e-2 * norms.max()
    assert np.median(L[which] / norms[which]) < (6 if radius == 1e-3 else 20)  # or steps would vanish


def attacked(problem: ControlProblem, theta: np.ndarray, radius: float, L: np.ndarray) -> float:
    """Return the largest ratio of observed second differences to the bounds: random pairs, the best ones improved."""
    rng, best = np.random.default_rng(5), 0.0

    def ratios(middles: np.ndarray, steps: np.ndarray) -> np.ndarray:
        g, lengths = problem.sample(middles), np.sum(steps**2, axis=1)[:, None]
        second = np.abs(problem.sample(middles + steps) + problem.sample(middles - steps) - 2 * g)
        rounding = 1e-13 * (1 + np.abs(g))
        return np.divide(second - rounding, L * lengths, out=np.zeros_like(g), where=L > 0).max(axis=1)

    size = theta.size
    middles, steps = 0.5 * ball(rng, radius, size, 200), 0.5 * ball(rng, radius, size, 200)
    found = ratios(theta + middles, steps)
    for spread in 0.5 ** np.arange(12):  # pairs about the best ones, ever nearer; all within the ball
        order = np.argsort(-found)[:20]
        middles, steps, found = middles[order], steps[order], found[order]
        more = [np.repeat(part, 9, axis=0) for part in (middles, steps)]
        more = [part + spread * radius * rng.normal(size=part.shape) / np.sqrt(size) for part in more]
        more = [part * np.minimum(1, radius / 2 / np.linalg.norm(part, axis=1))[:, None] for part in more]
        middles, steps = (np.vstack(pair) for pair in zip((middles, steps), more, strict=True))
        found = np.append(found, ratios(theta + more[0], more[1]))
        best = max(best, float(found.max()))
    return best


@pytest.mark.parametrize("name", [*PROBLEMS, *NONLINEAR])
def test_no_attack_finds_a_second_difference_above_its_bound(name):
    problem = (PROBLEMS | NONLINEAR)[name]()
    for theta in (problem.theta_initial, parameters(problem, 0.03)):
        largest = attacked(problem, theta, 0.02, smoothness_bounds(problem, theta, 0.02))
        assert 0.1 < largest <= 1  # what is never reached by far would be a bound of nothing


def test_certified_adaptation_of_a_nonlinear_plant_moves_and_stays_safe():
    problem = nonlinear(proved_loops.pendulum, horizon=20)
    result = adapt(problem, AdaptOptions(steps=30, mode="certified", radius=0.02))
    assert result.is_safe() and result.worst_margin() >= 0
    assert result.objective_final < 0.99 * result.objective_initial
