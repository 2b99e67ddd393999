"""What the report says of signals: responses to steps, references and loads in words, numbers of a scenario."""

import html
import re

import casadi as ca
import control
import numpy as np
import pytest

import scpo_ctrl as sc
from scpo_ctrl import AdaptOptions, signals
from scpo_ctrl.controllers import lqi, pid, state_feedback
from scpo_ctrl.models import dc_motor, double_integrator, heater, quadruple_tank, sensor_noise, with_signals
from scpo_ctrl.report.figures import signals_figure
from scpo_ctrl.report.limits_figure import limit_label
from scpo_ctrl.report.page import render_report
from scpo_ctrl.report.response import responses, step_info
from scpo_ctrl.report.signal_words import in_words, telling
from scpo_ctrl.report.tables import conditions
from scpo_ctrl.report.trajectories import limited

NO_STEP = AdaptOptions(steps=0, audit=False)
LATE = 300.0  # when the ambient moves [s]


@pytest.fixture(scope="module")
def result():
    """Return a noisy heater's run of three steps: the set point moves at 10 s, the ambient later on."""
    plant = sensor_noise(heater(dead_time=5.0), 1e-3)
    plant = with_signals(plant, {"ambient": signals.step(23.0, (18.0, 25.0), at=LATE)})
    reference = {"temperature reference": signals.step(60.0, (55.0, 65.0), at=10.0)}
    loop = sc.controlled(plant, pid(plant, 3.0, 0.02), reference=reference)
    starts = sc.scenarios(loop.plant, loop.backup, horizon=100, count=6, level=1e-6)
    limits = sc.settling(loop, "temperature reference", 4.0, after=50.0)
    task = sc.ControlProblem(loop, starts, sc.tracking(loop, [1.0], [1e-3]), sc.MetricOptions(constraints=limits))
    return sc.adapt(task, AdaptOptions(steps=3, audit=False))


def test_the_largest_step_is_read_off_until_the_load_moves(result):
    (found,), problem = responses(result), result.problem
    after = problem.scenarios.p[:, problem.plant.p_labels.index("temperature reference after")]
    k = int(np.abs(after - 60).argmax())
    assert found.scenario == k and found.reference.numbers == (60.0, after[k], 10.0)
    t = 5.0 * np.arange(58)  # from 10 s to the sample before 300 s
    for theta, info, peak in zip((result.theta_initial, result.theta), found.info, found.peaks[0][2:], strict=True):
        X, U = problem.trajectories(theta)
        part = (X[k, 2:60, 0] - 60) / (after[k] - 60)
        expected = control.step_info(part, t, final_output=1.0)
        assert info[:2] == pytest.approx((expected["RiseTime"], expected["Overshoot"]))
        outside = np.flatnonzero(np.abs(part - 1) > 0.02)
        assert info[2] == (np.inf if outside[-1] == 57 else pytest.approx(t[outside[-1] + 1]))
        applied = U[k, :, 0] - problem.plant.u_eq[0]
        assert peak == pytest.approx(applied[np.abs(applied).argmax()] + problem.plant.u_eq[0])
    assert found.info[1][0] < found.info[0][0] and [name for name, *_ in found.peaks] == ["power"]


def test_steps_down_and_ramps_have_the_same_numbers_as_steps_up():
    t = np.linspace(0, 10, 201)
    y = 1 - np.exp(-t) * np.cos(3 * t)
    up, down = step_info(t, y, 1.0), step_info(t, 5 - 2 * y, 3.0)
    assert down == pytest.approx(up) and 20 < up[1] < 60 and 2 < up[2] < 5
    assert step_info(t, y, 0.0) == (np.inf, 0.0, np.inf)  # no step
    assert step_info(t, np.full(201, np.nan), 1.0) == (np.inf, 0.0, np.inf)
    assert step_info(t, 0.5 * y, 1.0)[2] == np.inf


def test_a_constraint_over_time_is_in_force_when_it_says(result):
    problem = result.problem
    X, U = problem.trajectories(result.theta)
    above, below = limited(problem, problem.scenarios.p, X, U)
    after = problem.scenarios.p[:, problem.plant.p_labels.index("temperature reference after")]
    off = X[:, :, 0] - after[:, None]
    off[:, :10] = 0  # the first 50 s
    np.testing.assert_allclose(above.values, off, atol=1e-12)
    np.testing.assert_allclose(below.values, -off, atol=1e-12)
    assert max(above.used, below.used) == pytest.approx(np.abs(off).max() / 4.0)
    assert max(map(len, limit_label(above).split("\n"))) <= 20


def test_numbers_of_a_scenario_are_those_that_were_drawn(result):
    plant, batch = result.problem.plant, result.problem.scenarios
    names = [plant.p_labels[i] for i in telling(plant, batch.p)]
    assert names == ["ambient after", "temperature reference after"]
    said = conditions(plant, batch, 2)
    value = batch.p[2, plant.p_labels.index("temperature reference after")]
    assert f"temperature reference after {value:.3g} degC" in said
    assert "seed" not in said and "time" not in said and said.count("ambient") == 1


def test_the_page_says_what_moves_and_how_the_loop_answers(result):
    page = render_report(result, pictures=False)
    text = re.sub(r"<[^>]+>", " ", page)
    assert "temperature reference, a step from 60 to 55 … 65 degC at 10 s" in text
    assert "ambient, a step from 23 to 18 … 25 degC at 300 s" in text
    assert "noise of temperature, uniform within ± 0.001 degC" in text
    assert page.count('class="response"') == 1 and "settling time, to 2 %" in text and "peak of power" in text
    (one,) = responses(result)
    (_, beyond, goes), (_, settled, settles) = one.rows[1:3]
    said = f"largest step of temperature reference: overshoot {beyond} → {goes}, settling time {settled} → {settles}"
    assert said in html.unescape(text)  # among the first answers: a lower cost alone may hide what a step became


def test_loads_and_references_are_drawn_with_a_legend(result):
    figure = signals_figure(result)
    labels = [ax.get_ylabel() for ax in figure.axes[::2]]
    assert labels[-1] == "ambient\n[degC]" and not any("noise" in label for label in labels)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["given: reference or load"]
    drawn = np.concatenate([line.vertices[:, 1] for line in figure.axes[-1].collections[0].get_paths()])
    ambient = result.problem.scenarios.p[:, result.problem.plant.p_labels.index("ambient after")]
    assert set(np.round(drawn, 9)) == {23.0, *np.round(ambient, 9)}


def test_without_steps_there_is_no_response():
    plant = double_integrator()
    loop = sc.controlled(plant, state_feedback(plant, sc.lqr(plant, [0.1, 0.1], [10.0]).K))
    batch = sc.scenarios(loop.plant, loop.backup, horizon=20, count=4, level=0.2)
    task = sc.ControlProblem(loop, batch, sc.Quadratic([1.0, 0.1], [0.05]))
    result = sc.adapt(task, AdaptOptions(steps=1, audit=False))
    assert responses(result) == [] and 'class="response"' not in render_report(result, pictures=False)
    assert not signals_figure(result).legends


def untried(plant, law, reference, horizon):
    """Return a run of no step that tracks references."""
    loop = sc.controlled(plant, law, reference=reference)
    batch = sc.scenarios(loop.plant, loop.backup, horizon=horizon, count=4, level=1e-6)
    return sc.adapt(sc.ControlProblem(loop, batch, sc.tracking(loop, law.r.numel() * [1.0])), NO_STEP)


@pytest.mark.parametrize(("after", "at", "count"), [(0.3, 0.0, 1), (0.3, 0.019, 1), (0.3, 0.02, 0), (0.0, 0.01, 0)])
def test_a_step_that_is_not_there_or_comes_after_the_end_has_no_response(after, at, count):
    motor = dc_motor()
    reference = {"position reference": signals.step(0.0, after, at=at)}
    result = untried(motor, pid(motor, 1.0, kd=0.02, filter_time=2e-3), reference, 20)
    assert len(responses(result)) == count
    assert render_report(result, pictures=False).count('class="response"') == count


def test_each_reference_has_its_own_response_until_another_one_moves():
    tank = quadruple_tank()
    tank = tank.replace(y=ca.SX(0, 1), y_labels=(), y_units=())
    law = lqi(tank, [1.0] * 4 + [0.1] * 2, [1.0, 1.0], tracked=[0, 1])
    first, second = tank.x_eq[:2]
    moves = signals.step(first, first + 0.2, at=20.0), signals.ramp(second, second - 0.1, at=60.0, over=8.0)
    result = untried(tank, law, dict(zip(law.r_labels, moves, strict=True)), 200)
    step, ramp = responses(result)
    (X,), _ = (part[:1] for part in result.problem.trajectories(result.theta))
    dt = tank.dt
    k, m = round(20 / dt), round(60 / dt)
    assert step.info[1] == step_info(dt * np.arange(m - k), X[k:m, 0], first + 0.2, first)
    assert ramp.info[1] == step_info(dt * np.arange(201 - m), X[m:, 1], second - 0.1, second)
    assert ramp.info[1][0] < np.inf and [name for name, *_ in ramp.peaks] == ["pump 1", "pump 2"]


@pytest.mark.parametrize(
    ("signal", "says"),
    [
        (signals.ramp(0.5, 15.0, at=2e-4, over=2e-3), "r, a ramp from 0.5 to 15 V at 0.0002 s within 0.002 s"),
        (signals.sine(0.0, (0.1, 0.2), 50.0), "r, a sine of 0 ± 0.1 … 0.2 V at 50 Hz"),
        (signals.sequence([1.0, 3.0, 2.0]), "r, a sequence of 3 values from 1 to 3 V"),
        (signals.constant((1.0, 2.0)), "r, constant at 1 … 2 V"),
        (signals.noise(0.01), "r, uniform within ± 0.01 V"),
    ],
)
def test_signals_in_words(signal, says):
    assert in_words("r", signal, "V") == says
