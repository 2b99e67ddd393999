"""What a result does by itself is what the functions of the front door do with it."""

from __future__ import annotations

import fuzz_tables
import numpy as np
import pytest

import scpo_ctrl as sc
from scpo_ctrl import controllers, models
from scpo_ctrl.errors import DimensionError, DomainError
from scpo_ctrl.report.figures import phase_figure


@pytest.fixture(scope="module")
def result():
    """A short run on the double integrator."""
    return fuzz_tables.here().result


@pytest.fixture(scope="module")
def of_functions():
    """A short run without a plant."""
    it = fuzz_tables.here()
    return sc.adapt(sc.FunctionProblem(np.zeros(2), it.metrics, it.oracle), sc.AdaptOptions(steps=0))


def test_a_simulation_is_the_rollout_of_a_scenario(result):
    problem, batch = result.problem, result.problem.scenarios
    X, U = problem.trajectories(result.theta)
    found = result.simulate(batch.x0)
    np.testing.assert_array_equal(found[0], X)
    np.testing.assert_array_equal(found[1], np.clip(U, problem.plant.u_min, problem.plant.u_max))
    longer, inputs = result.simulate(batch.x0[0], steps=9)
    assert longer.shape == (10, 2)
    np.testing.assert_allclose(longer[: batch.horizon + 1], X[0], rtol=1e-12)
    np.testing.assert_allclose(inputs, result.policy(longer[:-1]), rtol=1e-9, atol=1e-12)


def test_parameters_of_a_simulation_are_those_given(result):
    plant, x0 = result.problem.plant, [1.0, 0.3]
    X, U = result.simulate(x0, steps=1, parameters={"mass": 2.0})
    np.testing.assert_allclose(X[1], np.array(plant.function(x0, U[0], 2.0))[:, 0], rtol=1e-12)
    assert not np.allclose(X, result.simulate(x0, steps=1)[0])
    for wrong, said in (({"weight": 1.0}, "has mass"), ({"mass": -1.0}, "> 0"), ([1.0], "a mapping")):
        with pytest.raises(DomainError, match=said):
            result.simulate(x0, parameters=wrong)


def test_a_controller_begins_with_what_it_remembers_at_first():
    motor = models.dc_motor()
    law = controllers.pid(motor, kp=1.0, ki=2.0, kd=0.02, filter_time=2e-3)
    loop = sc.controlled(motor, law)
    batch = sc.scenarios(loop.plant, loop.backup, horizon=5, count=2)
    problem = sc.ControlProblem(loop, batch, sc.Quadratic(1.0, 0.05))
    result = sc.adapt(problem, sc.AdaptOptions(steps=0))
    x0 = batch.x0[0, : motor.nx]
    X, U = result.simulate(x0)
    assert U.shape == (5, motor.nu)
    np.testing.assert_allclose(X[0], [*x0, *law.memory_initial], rtol=1e-12)
    np.testing.assert_allclose(X, result.simulate(X[0])[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(result.policy(X[:-1])[:, : motor.nu], U, rtol=1e-9, atol=1e-12)
    with pytest.raises(DimensionError, match="what the controller remembers"):
        result.simulate([*X[0], 0.0])


def test_a_device_result_has_a_policy_too(result):
    found = sc.adapt_as_device(result.problem, steps=1)
    X, U = found.simulate([1.0, 0.0], steps=2)
    np.testing.assert_allclose(found.policy(X[:-1]), U, rtol=1e-9, atol=1e-12)


def test_without_a_plant_there_is_no_policy(of_functions):
    for call in (of_functions.policy, of_functions.simulate):
        with pytest.raises(DomainError, match="has no plant"):
            call([0.0, 0.0])
    with pytest.raises(DomainError, match="nothing to draw"):
        of_functions.plot()


def test_a_plot_is_the_pictures_of_the_report_in_one(result):
    above, below = result.plot().subfigs
    alone = phase_figure(result)
    assert [ax.get_xlabel() for ax in above.axes] == [ax.get_xlabel() for ax in alone.axes]
    assert [len(ax.lines) for ax in above.axes] == [len(ax.lines) for ax in alone.axes]
    assert "objective" in below.axes[0].get_ylabel().lower()
    assert below.axes[-1].get_xlabel() == "tried step (0: the backup)"


def test_what_is_written_is_what_the_front_door_writes(result, tmp_path, monkeypatch):
    monkeypatch.setattr("scpo_ctrl.report.page.panels", lambda *_: [])  # the figures take long, and are the same
    result.report(tmp_path / "own.html")
    sc.write_report(result, str(tmp_path / "door.html"))
    assert (tmp_path / "own.html").read_bytes() == (tmp_path / "door.html").read_bytes()
    result.save(tmp_path / "run")
    np.testing.assert_array_equal(sc.load_result(tmp_path / "run").theta, result.theta)
    own = result.export(tmp_path / "own", "cortex-m4f", measured=False, prefix="mine")
    door = sc.export(result, tmp_path / "door", target="cortex-m4f", measured=False, prefix="mine")
    assert own.files == door.files
    assert all((own.path / name).read_bytes() == (door.path / name).read_bytes() for name in own.files)
    with pytest.raises(TypeError, match="speed"):
        result.export(tmp_path / "c", speed=1)
