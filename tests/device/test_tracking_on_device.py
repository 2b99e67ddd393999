"""References over the horizon on a device: the same bits in C, and derivatives of the cost."""

import device_runs
import numpy as np
import pytest
from device_runs import state
from exports import STRICT, need

from scpo_ctrl.device import DeviceOptions, device_adapter
from scpo_ctrl.device.policy import Parameters
from scpo_ctrl.device.rollout import Trajectories

OPTIONS = DeviceOptions(tracking=True)


def ramp(problem, moved):
    """Return a reference whose first entry rises over the horizon."""
    reference = np.tile(np.concatenate([problem.plant.x_eq, problem.plant.u_eq]), (problem.scenarios.horizon, 1))
    last = (len(reference) - 1) * reference.shape[1]
    reference[:, 0] += moved * (np.arange(len(reference)) * reference.shape[1]) / last
    return reference


def test_the_same_bits_with_a_ramp():
    need("gcc")
    problem = device_runs.CASES["masses"]()
    adapter = device_adapter(problem, "double", options=OPTIONS)
    program = device_runs.built("masses", "double", f"-DSCPO_TRACKING=1 {STRICT}")
    for k, line in enumerate(device_runs.lines(program, 16, 6, 0.5)):
        if k == 6:
            adapter.refer(ramp(problem, 0.5))
        assert state(adapter, adapter.step()) == line, f"step {k}"
        assert problem.metrics(adapter.theta).max() <= 0
    assert adapter.counts.commits > 8


def test_a_reference_that_stays_is_a_constant_one():
    problem = device_runs.CASES["linear"]()
    tracks, constant = device_adapter(problem, "double", options=OPTIONS), device_adapter(problem, "double")
    reference = constant.reference + 0.1
    constant.refer(reference)
    tracks.refer(np.tile(reference, (problem.scenarios.horizon, 1)))
    for _ in range(3):
        assert state(tracks, tracks.step()) == state(constant, constant.step())
    with pytest.raises(ValueError, match="reference"):
        tracks.refer(reference)


def test_the_gradient_is_that_of_the_cost():
    problem = device_runs.CASES["masses"]()
    plain = DeviceOptions(tracking=True, audited=False)
    adapter, rng = device_adapter(problem, "double", options=plain), np.random.default_rng(0)
    reference = ramp(problem, 0.5) + rng.normal(size=adapter.reference.shape)
    theta, direction = rng.normal(scale=0.1, size=(2, problem.theta_dim))

    def rolled(at):
        return Trajectories.of(Parameters(adapter.model, at))

    slope = rolled(theta).gradient(reference) @ direction
    difference = (
        rolled(theta + 1e-5 * direction).cost(reference) - rolled(theta - 1e-5 * direction).cost(reference)
    ) / 2e-5
    assert slope == pytest.approx(difference, rel=1e-7)
    stages = [
        np.sum((x - r[:2]) ** 2 * [1.0, 0.1], axis=1) + 0.05 * np.sum((u - r[2:]) ** 2, axis=1)
        for x, u, r in zip(rolled(theta).x, adapter.model.saturate(rolled(theta).v), reference, strict=False)
    ]
    assert rolled(theta).cost(reference) == pytest.approx(np.sum(stages), rel=1e-12)
