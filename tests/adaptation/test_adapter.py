"""Online use: the batch loop's own bits, one step at a time, and nothing lost by a call that fails."""

import dataclasses
import re
import threading

import numpy as np
import pytest
from adapters import assert_same_bits, drive, finished, mass_problem, moved
from plain import AdaptOptions
from problem_files import write
from problems import double_integrator_problem, offset_problem, scalar_problem, two_input_problem

from scpo_ctrl import (
    Adapter,
    ControlProblem,
    FunctionProblem,
    MetricOptions,
    Quadratic,
    RunStatus,
    UserObjective,
    adapt,
    load_result,
    verify,
)
from scpo_ctrl.engine import library
from scpo_ctrl.errors import DimensionError, DomainError, EvaluationError, RecordError, UnsafeStartError
from scpo_ctrl.record.config import read_problem_file
from scpo_ctrl.record.folder import RunFolder
from scpo_ctrl.rounding import down

# --- The loop --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["gradient", "adam", "lbfgs", "newton"])
def test_steps_are_those_of_the_batch_loop_to_the_last_bit(method):
    problem, options = double_integrator_problem((4,)), AdaptOptions(steps=12, method=method)
    adapter = Adapter(problem, options)
    result, steps = finished(adapter)
    assert steps == 12 and result.status is RunStatus.FINISHED
    assert_same_bits(adapt(problem, options), result)
    assert adapter.step() is None and adapter.result().steps == 12
    assert result.is_safe() and result.objective_final < result.objective_initial


def test_a_converged_run_ends_as_the_batch_loop_does():
    problem, options = scalar_problem(), AdaptOptions(steps=200, method="gradient", tolerance=0.05)
    result, steps = finished(Adapter(problem, options))
    assert result.status is RunStatus.CONVERGED and steps < 200
    assert_same_bits(adapt(problem, options), result)


def test_no_steps_asked_for():
    adapter = Adapter(scalar_problem(), AdaptOptions(steps=0))
    assert adapter.status is RunStatus.FINISHED and adapter.step() is None
    assert_same_bits(adapt(scalar_problem(), AdaptOptions(steps=0)), adapter.result())


@pytest.mark.parametrize("method", ["newton", "gauss_newton"])
def test_a_step_does_not_wait_for_a_compiler(monkeypatch, method):
    adapter = Adapter(double_integrator_problem((4,)), AdaptOptions(steps=2, method=method))
    monkeypatch.setattr(library, "compile_library", lambda *_, **__: pytest.fail("compiles in a step"))
    assert adapter.step() is not None


def test_a_step_returns_its_last_try():
    adapter = Adapter(double_integrator_problem((4,)), AdaptOptions(steps=12))
    tries = []
    for _ in range(12):
        before = adapter.theta
        trial = adapter.step()
        tries.append(trial)
        np.testing.assert_array_equal(adapter.theta, trial.theta if trial.is_committed else before)
    rows = adapter.result().history.rows
    assert tries == [max((row for row in rows if row.step == k), key=rows.index) for k in range(12)]


@pytest.mark.parametrize(("every", "expected"), [(None, 0), (1, 11), (4, 2), (12, 0)])
def test_every_k_th_transition_triggers_a_step(every, expected):
    adapter = Adapter(double_integrator_problem((4,)), AdaptOptions(steps=50), every=every)
    trials = [adapter.observe([0.1, 0.0], [0.0], [0.1, 0.0]) for _ in range(11)]
    assert adapter.result().steps == expected
    assert [k for k, trial in enumerate(trials, 1) if trial] == [k for k in range(1, 12) if every and k % every == 0]
    if expected:
        short = adapt(double_integrator_problem((4,)), AdaptOptions(steps=expected))
        np.testing.assert_array_equal(adapter.theta, short.theta)


@pytest.mark.table(2)
@pytest.mark.parametrize("method", ["gradient", "newton"])
def test_a_run_goes_on_after_it_was_saved_and_loaded(method, tmp_path):
    changes = {
        "adapt": {"steps": 45, "method": method, "tolerance": 0.0},
        "scenarios": {"count": 4, "horizon": 15},
        "policy.hidden": [2],
    }
    file = read_problem_file(write(tmp_path / "problem.toml", changes))
    adapter = Adapter(file.problem, file.options)
    with RunFolder(tmp_path / "run", file) as folder:
        for _ in range(20):
            adapter.step()
        folder.save(adapter.result())
    saved = load_result(tmp_path / "run")
    assert saved.status is RunStatus.RUNNING and verify(tmp_path / "run").passed
    resumed, steps = finished(Adapter(saved.problem, saved.options, resume_from=saved))
    assert steps == 25
    assert_same_bits(adapt(file.problem, file.options), resumed)


def test_a_run_of_another_problem_is_not_resumed():
    problem, other = (double_integrator_problem((4,), seed=seed) for seed in (0, 3))
    result = adapt(problem, AdaptOptions(steps=3))
    with pytest.raises(RecordError, match="another problem: the margin"):
        Adapter(problem.with_scenarios(other.scenarios, problem.theta_initial), result.options, resume_from=result)
    with pytest.raises(RecordError, match="began at other parameters"):
        Adapter(other, result.options, resume_from=result)
    with pytest.raises(RecordError, match="does not fit"):
        Adapter(scalar_problem(), result.options, resume_from=result)


def test_an_unsafe_policy_is_not_resumed():
    """A record whose last policy is unsafe, and says so, as certified mode with wrong constants leaves it."""
    problem = double_integrator_problem((4,))
    result = adapt(problem, AdaptOptions(steps=3))
    theta = result.theta + np.append(np.zeros(12), np.full(4, 30.0))  # of the output layer
    margin = -problem.metrics(theta).max()
    assert margin < 0
    rows = [dataclasses.replace(row, theta=theta, margin=margin) for row in result.history.rows]
    history = type(result.history)(theta.size, rows)
    with pytest.raises(UnsafeStartError, match=re.escape(f"its margin is {down(margin, 4)}")):
        Adapter(problem, result.options, resume_from=dataclasses.replace(result, theta=theta, history=history))


def test_what_cannot_run_online_is_refused():
    function = FunctionProblem(np.zeros(2), lambda t: t - 1, UserObjective(lambda t: (float(t @ t), 2 * t)))
    with pytest.raises(DomainError, match="FunctionProblem"):
        Adapter(function)
    with pytest.raises(DomainError, match="verified"):
        Adapter(scalar_problem(), AdaptOptions(mode="certified", smoothness=1.0))
    for every in (0, -1, 2.5, True):
        with pytest.raises(DomainError, match="every"):
            Adapter(scalar_problem(), every=every)


# --- The command -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [scalar_problem, two_input_problem, offset_problem, double_integrator_problem])
def test_the_command_is_the_policy_with_saturation(make):
    problem = make()
    adapter = Adapter(problem, AdaptOptions(steps=5))
    plant, rng = problem.plant, np.random.default_rng(0)
    finished(adapter)
    X = plant.x_eq + rng.normal(0.0, 3.0, (50, plant.nx))
    U = np.array([adapter.command(x) for x in X])
    np.testing.assert_allclose(U, problem.policy(X, adapter.theta), rtol=1e-9, atol=1e-10)
    at_bound = (plant.u_min == U) | (plant.u_max == U)
    assert at_bound.any() and not at_bound.all()
    np.testing.assert_allclose(adapter.command(plant.x_eq), plant.u_eq, atol=1e-12)


def test_a_copy_of_theta_is_handed_out():
    adapter = Adapter(scalar_problem())
    adapter.theta[:] = np.nan
    assert np.isfinite(adapter.command([0.5])).all()


def test_the_policy_does_not_change_while_a_step_is_under_way():
    """The black box asks for the policy in every rollout, from within the step."""
    seen = []

    def simulator(x, u, p):
        if adapters:
            seen.append((adapters[0].theta, adapters[0].command([0.5])))
        return 0.9 * x + 0.5 * u

    adapters = []
    white = scalar_problem((3,))
    quadratic = Quadratic([1.0], [0.05])
    problem = ControlProblem(white.policy, white.scenarios, quadratic, MetricOptions(), simulator=simulator)
    adapters.append(Adapter(problem, AdaptOptions(steps=4)))
    for _ in range(2):
        before, u = adapters[0].theta, adapters[0].command([0.5])
        seen.clear()
        assert adapters[0].step().is_committed
        assert len(seen) > 10
        for theta, command in seen:
            np.testing.assert_array_equal(theta, before)
            np.testing.assert_array_equal(command, u)
        assert (adapters[0].theta != before).any()


def test_steps_in_another_thread_are_the_same():
    """Commands and observations go on meanwhile, and every command is one of a committed policy."""
    problem, options = mass_problem([0.9, 1.1]), AdaptOptions(steps=25)
    adapter, x, commands = Adapter(problem, options), np.array([1.5, 0.3]), []
    worker = threading.Thread(target=finished, args=[adapter])
    worker.start()
    while worker.is_alive():
        commands.append(adapter.command(x))
        adapter.observe(x, commands[-1], moved(x, commands[-1], 1.0))
    worker.join()
    result = adapter.result()
    assert_same_bits(adapt(problem, options), result)
    possible = problem.policy(x, result.committed)
    assert len(commands) > 10 and adapter.mismatch().count == len(commands)
    assert all(np.abs(possible - u).min() < 1e-12 for u in commands)


# --- Input that is wrong ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        (([0.0], [0.0], [0.0, 0.0]), DimensionError, r"^x has shape \(1,\), expected \(2,\)"),
        (([0.0, 0.0], [0.0, 0.0], [0.0, 0.0]), DimensionError, r"^u has shape \(2,\)"),
        ((0.0, [0.0], [0.0, 0.0]), DimensionError, "^x is 0.0"),
        (([0.0, 0.0], [0.0], [[0.0, 0.0]] * 2), DimensionError, "^x_next has shape"),
        (([0.0, np.nan], [0.0], [0.0, 0.0]), DomainError, r"^x\[1\] is nan"),
        (([0.0, 0.0], [np.inf], [0.0, 0.0]), DomainError, r"^u\[0\] is inf"),
        (([0.0, 0.0], [0.0], [np.nan, 0.0]), DomainError, r"^x_next\[0\] is nan"),
        (([0.0, 0.0], ["1"], [0.0, 0.0]), DomainError, "^u is"),
        (([1.7e308, 1.7e308], [0.0], [0.0, 0.0]), EvaluationError, "no finite next state"),
    ],
)
def test_a_wrong_observation_changes_nothing(arguments, error, match):
    adapter, same = (Adapter(mass_problem([0.9, 1.1]), AdaptOptions(steps=20), every=2) for _ in range(2))
    for pilot in (adapter, same):
        drive(pilot, [1.0, 0.2], 3)
    with pytest.raises(error, match=match):
        adapter.observe(*arguments)
    for field in dataclasses.fields(adapter.mismatch()):
        np.testing.assert_array_equal(getattr(adapter.mismatch(), field.name), getattr(same.mismatch(), field.name))
    for pilot in (adapter, same):
        drive(pilot, [1.0, 0.2], 5)
    assert adapter.result().steps == 4
    assert_same_bits(same.result(), adapter.result())
    np.testing.assert_array_equal(adapter.learn_scenarios(9).taken, same.learn_scenarios(9).taken)


def test_a_wrong_state_gets_no_command():
    adapter = Adapter(mass_problem([1.0]))
    with pytest.raises(DimensionError, match=r"x has shape \(3,\)"):
        adapter.command([0.0, 0.0, 0.0])
    with pytest.raises(DomainError, match=r"x\[0\] is nan"):
        adapter.command([np.nan, 0.0])


def test_a_command_that_overflows():
    """z / scale is infinite, and its product with the zero parameters not a number."""
    adapter = Adapter(scalar_problem(scale=(1e-3,)))
    np.testing.assert_array_equal(adapter.command([1e305]), [-1.0])
    with pytest.raises(EvaluationError, match=r"the command at x = \[1e\+306\] is not a number; check the measurement"):
        adapter.command([1e306])


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("method", ["gradient", "adam"])
def test_a_step_that_fails_changes_nothing(failure, method):
    """The black box fails somewhere in the second step; then the run goes on as if nothing had been."""
    calls, fail_at = [0], [0]

    def simulator(x, u, p):
        calls[0] += 1
        if calls[0] == fail_at[0]:
            raise failure("no licence")
        return 0.9 * x + 0.5 * u

    white = scalar_problem((3,))
    quadratic = Quadratic([1.0], [0.05])
    problem = ControlProblem(white.policy, white.scenarios, quadratic, MetricOptions(), simulator=simulator)
    options = AdaptOptions(steps=3, method=method)
    undisturbed, adapter = Adapter(problem, options), Adapter(problem, options)
    undisturbed.step()
    adapter.step()
    start, theta = calls[0], adapter.theta
    undisturbed.step()
    for later in np.linspace(1, calls[0] - start, 5, dtype=int):
        fail_at[0] = calls[0] + later
        with pytest.raises(KeyboardInterrupt if failure is KeyboardInterrupt else EvaluationError, match="no licence"):
            adapter.step()
        assert calls[0] == fail_at[0]
        np.testing.assert_array_equal(adapter.theta, theta)
        assert adapter.result().steps == 1 and adapter.status is RunStatus.RUNNING
    assert_same_bits(finished(undisturbed)[0], finished(adapter)[0])
