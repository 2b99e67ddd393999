"""Plant parameters of scenarios that are replaced on a device: the same bits in C, and what is safe under which."""

import device_runs
import numpy as np
import pytest
from device_runs import state
from exports import STRICT, need
from test_imitation_on_device import CPP

import scpo_ctrl as sc
from scpo_ctrl.device import DeviceStatus, device_adapter
from scpo_ctrl.errors import DomainError

RANGE = (0.8, 1.25)
MASSES = {3: (1.25, 1.25), 14: (0.8, 0.8), 16: (1.25, 1.25), 20: (1.1, 1.25)}  # by the step before which they come
STEPS = 24


def with_masses(problem, low, high):
    """Return the problem whose scenarios have other masses."""
    batch = problem.scenarios
    p = low + (batch.p - RANGE[0]) / (RANGE[1] - RANGE[0]) * (high - low)
    moved = sc.Scenarios(batch.x0, p, batch.w, batch.horizon)
    return sc.ControlProblem(problem.policy, moved, problem.objective_data, problem.scenario_metrics.options)


def follow(problem, adapter, lines=None):
    """Adapt while masses change; every commit is safe under its own. Return how steps ended."""
    at, outcomes = problem, []
    for k in range(STEPS):
        if k in MASSES:
            adapter.parameters(*([end] for end in MASSES[k]))
            at = with_masses(problem, *MASSES[k])
        before = adapter.theta
        outcomes.append(adapter.step())
        if lines is not None:
            assert state(adapter, outcomes[-1]) == lines[k], f"step {k}"
        if outcomes[-1] is DeviceStatus.COMMITTED:
            assert at.metrics(adapter.theta).max() <= 0
            assert adapter.objective == pytest.approx(at.objective(adapter.theta), rel=1e-9)
        else:
            assert np.array_equal(adapter.theta, before)
        if outcomes[-1] is DeviceStatus.START_UNSAFE:
            assert at.metrics(adapter.theta).max() > 0
    return outcomes


def test_the_same_bits_and_every_commit_is_safe_under_its_parameters():
    need("gcc")
    problem = device_runs.CASES["imitating masses"]()
    words = [word for step, ends in MASSES.items() for word in (step, *ends)]
    program = device_runs.built("imitating masses", "double", f"{CPP} {STRICT}", 128)
    outcomes = follow(problem, device_adapter(problem, "double"), device_runs.lines(program, STEPS, -1, 0, -1, *words))
    assert outcomes.count(DeviceStatus.COMMITTED) > 10


def test_a_policy_that_other_parameters_make_unsafe_stays_until_they_do_not():
    problem = device_runs.CASES["masses"]()
    outcomes = follow(problem, device_adapter(problem, "double"))
    assert DeviceStatus.COMMITTED in outcomes[3:14] and DeviceStatus.COMMITTED in outcomes[16:20]
    assert outcomes[14:16] == [DeviceStatus.START_UNSAFE] * 2


def test_parameters_out_of_the_declared_ranges_are_refused():
    adapter = device_adapter(device_runs.CASES["masses"](), "double")
    for low, high in ((0.79, 1.0), (1.0, 1.26), (1.0, 0.99)):
        with pytest.raises(DomainError, match="do not lie within the declared ranges"):
            adapter.parameters([low], [high])
    np.testing.assert_allclose(adapter.model.parameters_over(*adapter.model.p_range), adapter.model.p, rtol=1e-15)
    for name in ("cloud at other rests", "kinked"):  # parameters that move the equilibrium, and none
        with pytest.raises(DomainError, match="none is replaced"):
            device_adapter(device_runs.CASES[name](), "double").parameters([0.0], [0.0])
