"""Plant parameters of scenarios that are replaced on a device: the same bits in C, and what is safe under which."""

import device_runs
import numpy as np
import pytest
from device_runs import state
from exports import STRICT, need
from test_imitation_on_device import CPP
from test_link import at_a_line, served

import scpo_ctrl as sc
from scpo_ctrl.device import DeviceOptions, DeviceStatus, device_adapter
from scpo_ctrl.errors import DeviceError, DomainError

RANGE = (0.8, 1.25)
MASSES = {3: (1.25, 1.25), 14: (0.8, 0.8), 16: (1.25, 1.25), 20: (1.1, 1.25)}  # by the step before which they come
STEPS = 24
PLAIN = DeviceOptions(audited=False)  # what is committed is active


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
    program = device_runs.built("imitating masses", "double", f"{CPP} {STRICT}", DeviceOptions().examples, audited=True)
    outcomes = follow(problem, device_adapter(problem, "double"), device_runs.lines(program, STEPS, -1, 0, -1, *words))
    assert outcomes.count(DeviceStatus.COMMITTED) > 10


def test_a_policy_that_other_parameters_make_unsafe_stays_until_they_do_not():
    problem = device_runs.CASES["masses"]()
    outcomes = follow(problem, device_adapter(problem, "double", options=PLAIN))
    assert DeviceStatus.COMMITTED in outcomes[3:14] and DeviceStatus.COMMITTED in outcomes[16:20]
    assert outcomes[14:16] == [DeviceStatus.START_UNSAFE] * 2


def test_parameters_out_of_the_declared_ranges_are_refused():
    adapter = device_adapter(device_runs.CASES["masses"](), "double", options=PLAIN)
    for low, high in ((0.79, 1.0), (1.0, 1.26), (1.0, 0.99)):
        with pytest.raises(DomainError, match="do not lie within the declared ranges"):
            adapter.parameters([low], [high])
    np.testing.assert_allclose(
        adapter.model.parameters_over(adapter.model.p, *adapter.model.p_range), adapter.model.p, rtol=1e-15
    )
    for name in ("cloud at other rests", "kinked"):  # parameters that move the equilibrium, and none
        with pytest.raises(DomainError, match="none is replaced"):
            device_adapter(device_runs.CASES[name](), "double").parameters([0.0], [0.0])


def test_plant_parameters_come_over_the_line(tmp_path):
    """Commits are safe, and objectives those, of the masses that were sent; what is refused changes nothing."""
    problem = device_runs.masses()
    heavy = with_masses(problem, 1.1, 1.25)
    with at_a_line(served(problem, tmp_path, audited=False)) as device:
        assert device.load(problem.theta_initial) == 0
        before = device.adapt(0)
        for low, high in ((0.7, 1.0), (1.0, 1.3), (1.2, 1.1), (np.nan, 1.0), (1.0, np.inf)):
            assert device.parameters(np.array([low]), np.array([high])) == 4  # SCPO_BAD_STATE
        assert device.adapt(0) == before
        with pytest.raises(DeviceError, match="refuses the request 'P'"):
            device.parameters(np.array([1.0]), np.zeros(0))
        for masses, at in (((0.8, 1.25), problem), ((1.1, 1.25), heavy)):
            assert device.parameters(np.array(masses[:1]), np.array(masses[1:])) == 0
            for _ in range(4):
                progress = device.adapt(100_000)
                assert progress.outcome == "committed"
                theta = device.active()
                assert at.metrics(theta).max() <= 0
                assert progress.objective == pytest.approx(at.objective(theta), rel=1e-5)
        assert progress.objective != pytest.approx(problem.objective(theta), rel=1e-3)
