"""What a device will do, as users ask for it: results, refusals, ends."""

import clouds
import numpy as np
import problems
import pytest

import scpo_ctrl as sc
from scpo_ctrl.device import DeviceOptions, DeviceStatus, adapt_as_device, device_adapter
from scpo_ctrl.errors import DomainError

PLAIN = DeviceOptions(audited=False)  # what is committed is active


def test_a_result_is_what_its_problem_says():
    problem = problems.double_integrator_problem()
    found = adapt_as_device(problem, steps=30, real="double", options=PLAIN)
    assert found.objectives[0] == pytest.approx(problem.objective(problem.theta_initial), rel=1e-12)
    assert found.objective == pytest.approx(problem.objective(found.theta), rel=1e-12) and found.is_safe()
    assert len(found.committed) == found.counts.commits + 1 and np.all(np.diff(found.objectives) < 0)
    metrics = (problem.metrics(found.committed) / problem.metric_units)[:, problem.varies]
    np.testing.assert_allclose(found.margins, -metrics.max(axis=1), rtol=1e-9)
    assert sc.adapt_as_device is adapt_as_device


def test_float_is_near_double():
    problem = problems.two_input_problem()
    ends = [adapt_as_device(problem, steps=60, real=real, options=PLAIN) for real in ("double", "float")]
    assert ends[1].theta.dtype == np.float32
    assert all(end.is_safe() and end.status is DeviceStatus.CONVERGED for end in ends)
    assert ends[1].objective == pytest.approx(ends[0].objective, rel=1e-4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"objective": sc.Quadratic([1.0, 1.0], [0.05], P_N=np.eye(2))}, "P_N"),
        ({"metrics": sc.MetricOptions(du_max=[0.5])}, "du_max"),
        ({"simulator": clouds.box_of(problems.double_integrator_problem().plant)}, "a simulator"),
    ],
)
def test_what_a_device_does_not_have_is_refused_by_name(change, words):
    of = problems.double_integrator_problem()
    parts = {"objective": of.objective_data, "metrics": of.scenario_metrics.options, "simulator": None} | change
    with pytest.raises(DomainError, match=words):
        adapt_as_device(
            sc.ControlProblem(
                of.policy, of.scenarios, parts["objective"], parts["metrics"], simulator=parts["simulator"]
            )
        )


def test_options_and_numbers_out_of_range_are_refused():
    problem = problems.scalar_problem()
    with pytest.raises(DomainError, match="rows"):
        device_adapter(problem, options=DeviceOptions(rows=200))
    with pytest.raises(DomainError, match="tries"):
        DeviceOptions(tries=-1)
    with pytest.raises(DomainError, match="half"):
        adapt_as_device(problem, real="half")
    with pytest.raises(ValueError, match="theta"):
        adapt_as_device(problem, theta=[0.0, 1.0])


def test_how_it_ends_before_it_begins():
    problem = problems.double_integrator_problem()
    bad = 3.0 * np.random.default_rng(0).normal(size=problem.theta_dim)
    assert problem.metrics(bad).max() > 0
    adapter = device_adapter(problem, theta=bad)
    assert [adapter.step(), adapter.step()] == [DeviceStatus.START_UNSAFE] * 2 and adapter.counts.commits == 0
    adapter = device_adapter(problem)
    adapter.reference[:] = np.nan
    assert adapter.begin() is DeviceStatus.START_BAD
    adapter.reference[:] = adapter.model.reference
    adapter.restart()
    assert adapter.step() is DeviceStatus.COMMITTED


def test_a_scenario_at_rest_bounds_nothing():
    of = clouds.with_metrics(problems.double_integrator_problem(horizon=30), contraction=0.9)
    batch = of.scenarios
    x0, p, w = (np.concatenate([part[:1], part]) for part in (batch.x0, batch.p, batch.w))
    x0[0] = 0.0
    more = sc.Scenarios(x0, p, w, 30)
    problem = sc.ControlProblem(of.policy, more, of.objective_data, of.scenario_metrics.options)
    assert problem.at_rest[0]
    assert adapt_as_device(problem, steps=10).counts.commits > 5
