"""Online use: what measured transitions say of the model, measured states as scenarios, and a plant that differs."""

import re
from pathlib import Path

import numpy as np
import online
import pytest
from adapters import assert_same_bits, drive, finished, mass_problem, moved
from PIL import Image
from plain import AdaptOptions
from problems import scalar_problem

from scpo_ctrl import Adapter, ControlProblem, MetricOptions, Quadratic, RunStatus
from scpo_ctrl.errors import DomainError, EvaluationError

# --- Measured transitions --------------------------------------------------------------------------------------------


def test_model_errors_by_hand():
    """A mass of 1.25 kg, modelled as 1 kg: the errors are -0.2 u (0.005, 0.1)."""
    adapter = Adapter(mass_problem([1.0]))
    inputs = np.array([0.5, -1.0, 0.25])
    for u in inputs:
        x = np.array([0.3, -0.2])
        adapter.observe(x, [u], moved(x, [u], 1.25))
    found = adapter.mismatch()
    assert found.count == 3 and found.uncovered == 3 and found.violations == 0
    np.testing.assert_allclose(found.largest, [0.001, 0.02], rtol=1e-9)
    np.testing.assert_allclose(found.rms, np.sqrt(1.3125 / 3) * np.array([0.001, 0.02]), rtol=1e-9)
    np.testing.assert_array_equal(found.half_widths, [0.0, 0.0])
    np.testing.assert_array_equal(found.exceeds, [True, True])
    assert found.margin == pytest.approx(1.5 - 0.2 - 0.08)  # after u = -1 the velocity is -0.28 m/s


def test_before_the_first_transition():
    found = Adapter(mass_problem([1.0])).mismatch()
    assert found.count == found.uncovered == found.violations == 0 and found.margin == np.inf
    assert not (found.largest.any() or found.rms.any() or found.exceeds.any())


def test_a_right_model_has_no_mismatch():
    adapter = Adapter(mass_problem([1.0]))
    drive(adapter, [2.0, 0.3], 40)
    found = adapter.mismatch()
    assert found.count == 40 and found.uncovered == 0 and not found.exceeds.any()
    assert found.largest.max() < 1e-14


@pytest.mark.parametrize(
    ("masses", "mass", "covered"), [([0.8, 1.3], 1.2, True), ([0.8, 1.3], 1.4, False), ([1.0], 1.2, False)]
)
def test_the_scenarios_cover_a_plant_between_their_masses(masses, mass, covered):
    adapter = Adapter(mass_problem(masses))
    drive(adapter, [2.0, 0.3], 30, mass)
    found = adapter.mismatch()
    assert found.exceeds.all()  # errors are those of the nominal model of 1 kg
    assert found.uncovered == (0 if covered else 30)


def test_disturbances_within_the_half_widths_are_covered():
    adapter = Adapter(mass_problem([1.0], disturbance=0.002))
    np.testing.assert_array_equal(adapter.mismatch().half_widths, [0.002, 0.002])
    x, u = np.array([0.5, 0.1]), np.array([0.2])
    adapter.observe(x, u, moved(x, u, 1.0) + np.array([0.0019, -0.0019]))
    assert adapter.mismatch().uncovered == 0 and not adapter.mismatch().exceeds.any()
    adapter.observe(x, u, moved(x, u, 1.0) + np.array([0.0019, -0.0021]))
    assert adapter.mismatch().uncovered == 1
    np.testing.assert_array_equal(adapter.mismatch().exceeds, [False, True])


def test_measured_violations_are_counted():
    adapter = Adapter(mass_problem([1.0]))
    for u, x_next, violations in (
        ([0.0], [0.0, 1.5], 0),
        ([0.0], [0.0, 1.6], 1),
        ([1.0], [-5.0, 0.0], 1),
        ([-1.1], [0.0, 0.0], 2),
        ([0.0], [-5.2, 1.6], 3),
    ):
        adapter.observe([0.0, 0.0], u, x_next)
        assert adapter.mismatch().violations == violations
    assert adapter.mismatch().margin == pytest.approx(-0.2)


def test_the_model_is_the_black_box_where_there_is_one():
    white = scalar_problem()
    quadratic = Quadratic([1.0], [0.05])
    problem = ControlProblem(
        white.policy, white.scenarios, quadratic, MetricOptions(), simulator=lambda x, u, p: 0.8 * x + 0.5 * u
    )
    adapter = Adapter(problem)
    adapter.observe([1.0], [0.2], [0.9])
    assert adapter.mismatch().largest[0] < 1e-15
    adapter.observe([1.0], [0.2], [1.0])
    assert adapter.mismatch().largest[0] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("answer", "match"), [("raise", "the model raised ValueError: off"), (np.nan, "no finite next")]
)
def test_a_black_box_that_fails_in_an_observation(answer, match):
    fails = []

    def simulator(x, u, p):
        if fails and answer == "raise":
            raise ValueError("off")
        return 0.9 * x + 0.5 * u + (answer if fails else 0.0)

    white = scalar_problem()
    quadratic = Quadratic([1.0], [0.05])
    adapter = Adapter(ControlProblem(white.policy, white.scenarios, quadratic, simulator=simulator), every=1)
    fails.append(True)
    with pytest.raises(EvaluationError, match=match):
        adapter.observe([1.0], [0.0], [0.9])
    assert adapter.mismatch().count == 0 and adapter.result().steps == 0
    fails.clear()
    assert adapter.observe([1.0], [0.0], [0.9]).is_committed and adapter.mismatch().count == 1


# --- Measured states as scenarios ------------------------------------------------------------------------------------


@pytest.mark.parametrize("choice", ["farthest", "latest"])
def test_measured_states_become_scenarios(choice):
    problem = mass_problem([0.9, 1.1], disturbance=0.001)
    adapter = Adapter(problem, AdaptOptions(steps=8), every=5)
    states, _ = drive(adapter, [1.5, 0.4], 40)
    before = adapter.theta
    learned = adapter.learn_scenarios(5, choice=choice)
    assert len(learned.taken) == 5 and not len(learned.left_out) and learned.reasons == ()
    if choice == "latest":
        np.testing.assert_array_equal(learned.taken, states[-6:-1])
    np.testing.assert_array_equal(adapter.theta, before)
    batch, old = adapter.problem.scenarios, problem.scenarios
    assert batch.count == old.count + 5
    np.testing.assert_array_equal(batch.x0, np.vstack([old.x0, learned.taken]))
    np.testing.assert_array_equal(batch.p, np.vstack([old.p, old.p[:5]]))
    np.testing.assert_array_equal(batch.w, np.concatenate([old.w, old.w[:5]]))
    result = adapter.result()
    assert result.steps == 0 and not len(result.history) and result.status is RunStatus.RUNNING
    np.testing.assert_array_equal(result.theta_initial, before)
    result, steps = finished(adapter)
    assert steps == 8 and len(result.committed) > 1 and result.is_safe()
    assert problem.metrics(result.committed).max() <= 0  # the scenarios of before are still among them
    assert result.objective_final < result.objective_initial
    assert adapter.mismatch().count == 40


def test_a_run_on_learned_scenarios_is_resumed():
    options = AdaptOptions(steps=10)
    adapter = Adapter(mass_problem([0.9, 1.1]), options)
    for _ in range(3):
        adapter.step()
    drive(adapter, [1.5, 0.4], 10)
    assert len(adapter.learn_scenarios(2).taken) == 2
    for _ in range(4):
        adapter.step()
    half = adapter.result()
    assert half.steps == 4
    resumed = Adapter(adapter.problem, options, resume_from=half)
    assert_same_bits(finished(adapter)[0], finished(resumed)[0])


def test_farthest_states_are_far_in_the_norm_of_V():
    problem = mass_problem([1.0])
    adapter = Adapter(problem, AdaptOptions(steps=3))
    states, _ = drive(adapter, [1.0, 0.2], 60)
    taken = adapter.learn_scenarios(4).taken
    level = problem.backup.level
    known = list(problem.scenarios.x0)
    for state in taken:
        distances = [min(level(x - other) for other in known) for x in states[:-1]]
        assert min(level(state - other) for other in known) == pytest.approx(max(distances), rel=1e-9)
        known.append(state)


def test_states_that_are_initial_states_already_are_not_taken_again():
    problem = mass_problem([1.0])
    adapter = Adapter(problem)
    adapter.observe(problem.scenarios.x0[2], [0.0], [0.0, 0.0])
    adapter.observe([1.0, 0.0], [0.0], [0.0, 0.0])
    adapter.observe([1.0, 0.0], [0.0], [0.0, 0.0])
    np.testing.assert_array_equal(adapter.learn_scenarios(3).taken, [[1.0, 0.0]])
    grown = adapter.problem
    learned = adapter.learn_scenarios(3)
    assert learned.taken.shape == learned.left_out.shape == (0, 2) and adapter.problem is grown


def test_states_on_which_the_policy_is_unsafe_are_left_out():
    adapter = Adapter(mass_problem([1.0]), AdaptOptions(steps=5))
    finished(adapter)
    states = [[4.9, 1.4], [0.5, 0.0], [0.0, 1.6]]
    for x in states:
        adapter.observe(x, [0.0], [0.0, 0.0])
    before = adapter.result()
    learned = adapter.learn_scenarios(3, choice="latest")
    np.testing.assert_array_equal(learned.taken, states[1:2])
    np.testing.assert_array_equal(learned.left_out, [states[0], states[2]])
    assert len(learned.reasons) == 2
    assert all(re.fullmatch(r"t = \d+: (position|velocity|force) [<>]= \S+ \S+", reason) for reason in learned.reasons)
    assert adapter.result().is_safe() and before.is_safe()


def test_nothing_changes_where_no_state_is_safe():
    adapter = Adapter(mass_problem([1.0]), AdaptOptions(steps=5))
    adapter.step()
    adapter.observe([0.0, 1.6], [0.0], [0.0, 1.6])
    before, problem = adapter.result(), adapter.problem
    learned = adapter.learn_scenarios(1)
    assert learned.taken.shape == (0, 2) and learned.left_out.shape == (1, 2)
    assert adapter.problem is problem
    assert_same_bits(before, adapter.result())


def test_learning_needs_states_and_a_known_choice():
    adapter = Adapter(mass_problem([1.0]))
    with pytest.raises(DomainError, match="call observe before"):
        adapter.learn_scenarios(3)
    with pytest.raises(DomainError, match="farthest, latest"):
        adapter.learn_scenarios(3, choice="nearest")
    with pytest.raises(DomainError, match="count is 0"):
        adapter.learn_scenarios(0)


def test_learned_scenarios_keep_black_box_metrics_and_start():
    def simulator(x, u, p):
        return 0.85 * x + 0.5 * u

    white = scalar_problem((2,))
    options = MetricOptions(contraction=0.9)
    problem = ControlProblem(white.policy, white.scenarios, Quadratic([1.0], [0.05]), options, simulator=simulator)
    adapter = Adapter(problem, AdaptOptions(steps=4))
    adapter.observe([0.7], [0.0], [0.595])
    assert len(adapter.learn_scenarios(1).taken) == 1
    grown, ours = adapter.problem, problem.of_scenarios
    assert grown.simulator is simulator and grown.scenario_metrics.options == options
    np.testing.assert_array_equal(grown.metrics(adapter.theta)[ours], problem.metrics(adapter.theta)[ours])
    assert finished(adapter)[0].is_safe()


# --- A plant that differs from the model -----------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["gradient", "newton"])
def test_a_heavier_plant_stays_in_its_bounds_while_the_policy_adapts(method):
    """A fifth heavier than the model, between the masses of the scenarios, from random states inside them."""
    problem = mass_problem([0.8, 1.3], horizon=50, terminal=True)
    adapter = Adapter(problem, AdaptOptions(steps=40, method=method), every=25)
    backup, rng, costs = Adapter(problem), np.random.default_rng(2), []
    plant, P = problem.plant, problem.backup.P
    for _ in range(16):
        z = rng.normal(size=2)
        x = z * np.sqrt(rng.uniform(0.2, 0.6) * problem.backup.rho / (z @ P @ z))
        cost = []
        for pilot in (backup, adapter):
            X, U = drive(pilot, x, 50, 1.2)
            assert ((plant.x_min <= X) & (plant.x_max >= X)).all()
            assert (np.abs(U) <= 1.0).all()
            cost.append(float(np.mean(X[:-1] ** 2 @ [1.0, 0.1] + 0.05 * U[:, 0] ** 2)))
        costs.append(cost)
    costs = np.array(costs)
    assert adapter.result().steps == 32 and adapter.result().is_safe()
    assert adapter.mismatch().violations == 0 and adapter.mismatch().uncovered == 0
    assert costs[8:, 1].sum() < 0.8 * costs[8:, 0].sum()
    assert costs[:, 1].sum() < costs[:, 0].sum()


# --- The example -----------------------------------------------------------------------------------------------------


def test_the_example_adapts_without_a_violation():
    outcome = online.run(steps=60)
    assert outcome.mismatch.violations == outcome.mismatch.uncovered == 0 and outcome.mismatch.count == 1500
    assert outcome.result.is_safe() and outcome.result.steps == 60
    assert outcome.margin.min() > 0
    rounds = outcome.cost.reshape(3, online.STARTS, 2).mean(axis=1)
    np.testing.assert_array_equal(rounds[0, 0], rounds[1, 0])  # the backup repeats itself
    assert (np.diff(rounds[:, 1]) < 0).all() and rounds[-1, 1] < 0.6 * rounds[-1, 0]
    error = 0.1 * (1 - 1 / 1.2)  # of the velocity per unit of force
    assert 0.5 * error < outcome.mismatch.largest[1] <= error


def test_the_example_prints_a_table_and_writes_its_figure(tmp_path, capsys):
    figure = tmp_path / "new" / "figure.png"
    online.main(["--steps", "3", "--figure", str(figure)])
    printed = capsys.readouterr().out
    assert re.search(r"^violations measured, of samples +0 of 100$", printed, re.MULTILINE)
    assert printed.endswith(f"figure: {figure}\n")
    with Image.open(figure) as image:
        assert image.format == "PNG" and image.width >= 1000 and image.height >= 500
        assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) >= 50
    text = Path(online.__file__).read_text(encoding="utf-8")
    positions = [text.index(f"# --- {heading} ---") for heading in ("Problem", "Adaptation", "What came out")]
    assert positions == sorted(positions)


def test_samples_say_where_the_backup_took_over():
    adapter = Adapter(mass_problem([1.0]), AdaptOptions(steps=3))
    assert adapter.samples().x.shape == (0, 2)
    x = np.array([1.0, 0.0])
    for k in range(1005):
        adapter.observe(x, [-0.01 * k / 1005], x, acted=k % 500 == 4)
    adapter.step()
    taken = adapter.samples()
    assert (taken.number[0], taken.number[-1], len(taken.number)) == (6, 1005, 1000)
    assert taken.number[taken.acted].tolist() == [505, 1005] and taken.interventions == adapter.interventions == 3
    np.testing.assert_allclose(taken.u[:, 0], -0.01 * np.arange(5, 1005) / 1005)
