"""The engine's libraries: what is compiled when, and what is shared."""

from __future__ import annotations

import numpy as np
import pytest
from loops import linear_case

from scpo_ctrl.engine.rollout import Rollouts
from scpo_ctrl.loop.metrics import MetricOptions


def rollouts_of(**options):
    case = linear_case((5,), MetricOptions(), **options)
    return Rollouts(case.loop.policy, case.batch, case.loop.metrics, case.loop.stage)


def test_derivatives_are_compiled_when_they_are_asked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    rollouts = rollouts_of()
    theta = np.zeros(rollouts.policy.theta_dim)

    def libraries():
        return len(list(tmp_path.rglob("*.so")))

    rollouts.evaluate(theta[None])
    assert libraries() == 1
    for _ in range(2):
        rollouts.gradient(theta)
        assert libraries() == 2
    rollouts_of(count=3).gradient(theta)  # an equal structure
    assert libraries() == 2
    rollouts.prepare()
    assert libraries() == 4
    with pytest.raises(AttributeError, match="no function 'engine_hessian'"):
        _ = rollouts._engine._library.engine_hessian
