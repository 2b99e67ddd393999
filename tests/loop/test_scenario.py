"""Scenarios: ranges, disturbances with a fixed part, and that old files draw what they drew."""

from __future__ import annotations

import numpy as np
import pytest

from scpo_ctrl.errors import DomainError
from scpo_ctrl.loop.design import lqr
from scpo_ctrl.loop.scenario import scenarios
from scpo_ctrl.models import double_integrator

PLANT = double_integrator()
BACKUP = lqr(PLANT, [0.1, 0.1], [10.0])
HALF = np.array([0.01, 0.02])


def draw(**keys):
    return scenarios(PLANT, BACKUP, horizon=40, count=300, seed=5, **keys)


def test_draws_are_those_of_the_generator_in_the_order_of_the_definitions():
    batch = draw(parameters={"mass": [0.5, 1.5]}, disturbance=HALF)
    rng = np.random.default_rng(5)
    rng.normal(size=(300, 2)), rng.uniform(size=(300, 1))
    np.testing.assert_array_equal(batch.p[:, 0], rng.uniform(0.5, 1.5, 300))
    np.testing.assert_array_equal(batch.w, rng.uniform(-HALF, HALF, (300, 40, 2)))
    zero = draw(parameters={"mass": [0.5, 1.5]}, disturbance=HALF, disturbance_fixed=0.0)
    np.testing.assert_array_equal(zero.w, batch.w)


@pytest.mark.parametrize("fixed", [0.25, 0.8, 1.0])
def test_a_part_of_the_disturbance_is_constant_over_time(fixed):
    w = draw(disturbance=HALF, disturbance_fixed=fixed).w
    assert (np.abs(w) <= HALF).all()
    assert (np.ptp(w, axis=1) <= 2 * (1 - fixed) * HALF * (1 + 1e-9)).all()
    mean = w.mean(axis=1)  # the fixed part, and the mean of 40 draws of the rest
    expected = HALF**2 / 3 * (fixed**2 + (1 - fixed) ** 2 / 40)
    np.testing.assert_allclose(mean.var(axis=0), expected, rtol=0.2)
    assert np.abs(w).max() > 0.9 * HALF.max() * max(fixed, 1 - fixed)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"disturbance": [0.1, 1.6]}, r"disturbance\[1\] = 1.6 m/s is more than half the width"),
        ({"disturbance": [-0.1, 0.1]}, "half widths >= 0"),
        ({"disturbance_fixed": 0.5}, "give its half widths"),
        ({"disturbance": HALF, "disturbance_fixed": -0.1}, "disturbance_fixed is -0.1"),
        ({"disturbance": HALF, "disturbance_fixed": True}, "disturbance_fixed is True"),
        ({"parameters": {"mass": [0.0, 1.0]}}, "reaches 0 kg"),
    ],
)
def test_what_cannot_be_meant_is_refused(keys, words):
    with pytest.raises(DomainError, match=words):
        draw(**keys)


def test_a_bound_that_is_infinite_takes_any_disturbance():
    free = PLANT.replace(x_max=np.array([np.inf, 1.5]))
    batch = scenarios(free, BACKUP, horizon=3, count=2, disturbance=[100.0, 0.1])
    assert batch.w.shape == (2, 3, 2)


def test_limits_are_zero_or_huge():
    plant = double_integrator().replace(x_min=[-np.inf] * 2, x_max=[np.inf] * 2)
    backup = lqr(plant, [0.1, 0.1], [10.0])
    still = scenarios(plant, backup, horizon=3, count=2, disturbance=[-0.0, 0.0], disturbance_fixed=0.5)
    assert not still.w.any()
    with pytest.raises(DomainError, match="no policy can keep them"):
        scenarios(plant, backup, horizon=3, count=2, disturbance=[0.0, 1.7e308])
    free = plant.replace(p_above=[-np.inf])
    assert not scenarios(free, backup, horizon=3, count=2, parameters={"mass": [0.0, -0.0]}).p.any()
    with pytest.raises(DomainError, match="wider than a double can tell"):
        scenarios(free, backup, horizon=3, count=2, parameters={"mass": [-1.7e308, 1.7e308]})
