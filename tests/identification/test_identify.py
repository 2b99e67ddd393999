"""Fits to logs with known answers: exact ones, ranges, what no log tells, and logs that are wrong."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest
from logs import logged
from problems import double_integrator_problem

from scpo_ctrl import identify
from scpo_ctrl.errors import ScpoError
from scpo_ctrl.identification.log import Log
from scpo_ctrl.identification.prediction import Prediction
from scpo_ctrl.identification.residuals import beyond
from scpo_ctrl.models import (
    Plant,
    buck_converter,
    cart_pole,
    cart_pole_ode,
    dc_motor,
    double_integrator,
    linear,
    signals,
    with_signals,
)

MASS = [1.3]


@pytest.fixture(scope="module")
def r3() -> tuple[np.ndarray, np.ndarray]:
    return logged(double_integrator(), MASS, [0.002, 0.02], 0.8)


@pytest.mark.parametrize("horizon", [1, 7])
@pytest.mark.parametrize(
    ("plant", "p", "excitation"),
    [
        (double_integrator(), MASS, 0.8),
        (dc_motor(), [4e-6, 4.8], 6.0),
        (buck_converter(), [4.2, 26.0], 0.04),
        (cart_pole(angle_max=3.0), [0.14, 0.8, 0.4], 1.0),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_without_disturbance_the_parameters_are_exact(plant, p, excitation, horizon):
    x, u = logged(plant, p, [0.0] * plant.nx, excitation, 250)
    found = identify(plant, x, u, horizon=horizon)
    np.testing.assert_allclose(found.values, p, rtol=1e-7)
    assert found.fitted == plant.p_labels and not found.doubts
    assert (found.half_widths <= 1e-9 * np.abs(x).max(axis=0)).all()


def test_predictions_are_steps_of_the_model_and_sensitivities_their_derivatives():
    plant, p, delta = cart_pole(), np.array([0.12, 0.9, 0.45]), 1e-6
    x, u = logged(plant, p.tolist(), [0.01] * 4, 0.5, 12)
    windows = Log.of(plant, x, u, None, None).windows(5)
    predict = Prediction(plant, windows, [2, 0])
    predicted, S = predict(p)
    following = x[5]
    for k in range(5):
        following = np.array(plant.function(following, u[5 + k], p))[:, 0]
        np.testing.assert_allclose(predicted[1, k], following, rtol=1e-12)
    for column, i in enumerate([2, 0]):
        moved = delta * np.eye(3)[i]
        difference = (predict(p + moved)[0] - predict(p - moved)[0]) / (2 * delta)
        np.testing.assert_allclose(S[..., column], difference, atol=1e-7)


def test_the_answer_of_a_linear_model_is_that_of_least_squares():
    plant, rng = _gains(), np.random.default_rng(4)
    u = rng.uniform(-1, 1, (300, 1))
    x = np.zeros((300, 1))
    for t in range(299):
        x[t + 1] = 0.8 * x[t] + 0.3 * u[t] + rng.uniform(-0.05, 0.05)
    found = identify(plant, x, u, confidence=0.95)
    rows = np.hstack([x[:-1], u[:-1]])
    answer, squares = np.linalg.lstsq(rows, x[1:, 0], rcond=None)[:2]
    np.testing.assert_allclose(found.values, answer, rtol=1e-6)
    classical = np.sqrt(np.diag(np.linalg.inv(rows.T @ rows)) * squares[0] / 297)
    half = np.diff(found.ranges, axis=1)[:, 0] / 2
    assert (half >= 2.2 * classical).all() and (half <= 3.2 * classical).all()  # t at 0.9875 is 2.25


def _gains() -> Plant:
    x, u, p = ca.SX.sym("x"), ca.SX.sym("u"), ca.SX.sym("p", 2)
    bounds = {"x_min": [-5.0], "x_max": [5.0], "u_min": [-1.0], "u_max": [1.0]}
    more = {"p_nominal": [0.5, 0.0], "p_labels": ("pole", "gain"), "dt": 0.1}
    return Plant(name="gains", x=x, u=u, p=p, f=p[0] * x + p[1] * u, **bounds, **more)


def test_ranges_and_half_widths_hold_on_logs_that_were_not_fitted():
    plant, held, inside = double_integrator(), 0, []
    for seed in range(30):
        found = identify(plant, *logged(plant, MASS, [0.002, 0.02], 0.8, 200, seed))
        ((low, high),) = found.parameters().values()
        held += low <= MASS[0] <= high
        x, u = logged(plant, MASS, [0.002, 0.02], 0.8, 200, 1000 + seed)
        predicted = np.array(plant.function.map(199)(x[:-1].T, u[:-1].T, np.tile(found.values, 199)[None])).T
        inside.append((np.abs(x[1:] - predicted) <= found.half_widths).all(axis=1).mean())
    assert held >= 29
    assert min(inside) >= 0.99


def test_the_part_beyond_the_largest_residuals_has_a_beta_distribution():
    assert beyond(500, 1, 0.99) == pytest.approx(1 - 0.01 ** (1 / 500), rel=1e-9)
    rng = np.random.default_rng(0)
    largest = np.abs(rng.uniform(-1, 1, (4000, 100, 2))).max(axis=1)
    outside = 1 - largest.prod(axis=1)
    assert np.mean(outside <= beyond(100, 2, 0.9)) == pytest.approx(0.9, abs=0.015)


def test_gaps_cut_the_log_and_nothing_is_predicted_across_them(r3):
    x, u = r3
    rows = np.r_[0:150, 250:400]
    found = identify(double_integrator(), x[rows], u[rows], sample=rows)
    assert (found.pieces, found.transitions) == (2, 298)
    timed = identify(double_integrator(), x[rows], u[rows], time=0.1 * rows + 5.0)
    np.testing.assert_array_equal(timed.ranges, found.ranges)
    windows = Log.of(double_integrator(), x[rows], u[rows], rows, None).windows(40)
    assert len(windows.x0) == 6 and windows.run.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_array_equal(windows.x0[3], x[250])
    with pytest.raises(ScpoError, match="another plant"):  # as if the gap of 20 m were none
        identify(double_integrator(), x[rows] + np.where(rows > 200, 20.0, 0.0)[:, None], u[rows])


def test_a_problem_stands_for_its_plant(r3):
    problem = double_integrator_problem()
    assert identify(problem, *r3).value("mass") == identify(problem.plant, *r3).value("mass")


def test_parameters_without_an_effect_of_their_own_are_named_and_kept():
    x, u, p = ca.SX.sym("x"), ca.SX.sym("u"), ca.SX.sym("p", 4)
    plant = Plant(
        name="four", x=x, u=u, p=p, f=0.5 * x + p[0] * p[1] * u + p[2] + 0 * p[3], dt=0.1,
        x_min=[-5.0], x_max=[5.0], u_min=[-1.0], u_max=[1.0], p_nominal=[1.0, 1.0, 0.0, 1.0],
        p_labels=("a", "b", "offset", "nothing"), p_above=[0.0, 0.0, -np.inf, -np.inf],
    )  # fmt: skip
    log = logged(plant, [1.5, 1.0, 0.0, 1.0], [0.01], 0.8)
    found = identify(plant, *log)
    assert len(found.fitted) == 1 and found.fitted[0] in "ab"
    other = ({"a", "b"} - {*found.fitted}).pop()
    assert found.kept == {
        "nothing": "no effect in this log",
        "offset": "its effect is the same in every sample, as of a constant disturbance",
        other: f"its effect cannot be told from that of {found.fitted[0]}",
    }
    assert found.value(found.fitted[0]) == pytest.approx(1.5, rel=0.01)
    assert found.value(other) == 1.0
    assert identify(plant, *log, parameters=["b"]).value("b") == pytest.approx(1.5, rel=0.01)


def test_an_effect_that_the_disturbance_hides_is_kept():
    plant = double_integrator()
    with pytest.raises(ScpoError, match=r"tells no parameter .*\(mass: the disturbance hides its effect\)"):
        identify(plant, *logged(plant, MASS, [0.1, 1.0], 0.05, 60))


def test_what_speaks_against_the_assumptions_is_said():
    plant, rng = double_integrator(), np.random.default_rng(5)
    x, u = logged(plant, MASS, [0.002, 0.02], 0.8)
    assert identify(plant, x, u).doubts == ()
    slow = np.repeat(rng.uniform(-0.02, 0.02, 40), 10)
    drag, offset, follow = x.copy(), x.copy(), x.copy()
    for t in range(399):
        own = np.array(plant.function(follow[t], u[t], MASS))[:, 0]
        follow[t + 1] = own + np.array([0.0, slow[t]])
        drag[t + 1] = np.array(plant.function(drag[t], u[t], MASS))[:, 0] - [0.0, 0.1 * drag[t, 1]]
        offset[t + 1] = np.array(plant.function(offset[t], u[t], MASS))[:, 0] + [0.0, rng.uniform(0.0, 0.02)]
    for log, words in ((follow, "are correlated from sample"), (drag, "depend on state"), (offset, "have a mean of")):
        assert any(f"the residuals of velocity {words}" in text for text in identify(plant, log, u).doubts), words
    assert "force leaves its bounds in the log" in identify(plant, x, 1.5 * u).doubts[-1]


def test_signals_stay_at_nominal_and_their_numbers_are_not_fitted():
    plant = with_signals(cart_pole(), {"half_length": signals.constant((0.4, 0.6))})
    x, u = logged(cart_pole(), [0.14, 0.8, 0.5], [0.001] * 4, 0.5, 60)
    assert identify(plant, x, u).asked == ("pole_mass", "cart_mass")
    with pytest.raises(ScpoError, match="unknown plant parameter 'half_length'"):
        identify(plant, x, u, parameters=["half_length"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, u: {"x": x[:15], "u": u[:15]}, "log is too short: its 15 rows in 1 pieces have 14 transitions"),
        (lambda x, u: {"x": x, "u": u, "horizon": 50}, "have 7 windows of 50 steps .* 20 are needed"),
        (lambda x, u: {"x": x[::2], "u": u[::2], "sample": np.arange(200) * 2}, "in 200 pieces have 0 transitions"),
        (lambda x, u: {"x": 0 * x, "u": 0 * u}, "tells no parameter .*no effect"),
        (lambda x, u: _at_constant_force(), "tells no parameter .*same in every sample"),
        (lambda x, u: {"x": x, "u": u, "sample": np.r_[0:200, 199:399]}, "sample number stands still at data row 201"),
        (lambda x, u: {"x": x, "u": u, "sample": np.arange(400) / 2}, "data row 2 is 0.5, expected whole"),
        (lambda x, u: {"x": x, "u": u, "time": -0.1 * np.arange(400)}, "time t goes backwards at data row 2"),
        (lambda x, u: {"x": x, "u": u, "time": 0.05 * np.arange(400)}, "rises by 0.05 s .* no multiple of .* dt = 0.1"),
        (lambda x, u: {"x": np.where(np.arange(2) == 1, np.nan, x), "u": u}, r"x\[0, 1\] is nan"),
        (lambda x, u: {"x": x, "u": u[:-1]}, "u has shape"),
        (lambda x, u: {"x": 1e200 * x, "u": u}, "not finite over this log"),
        (lambda x, u: {"x": x[:, ::-1], "u": u}, "log of another plant"),
        (lambda x, u: {"x": x, "u": u, "parameters": []}, "expected labels"),
        (lambda x, u: {"x": x, "u": u, "parameters": ["mass", "mass"]}, "each once"),
        (lambda x, u: {"x": x, "u": u, "confidence": 1.0}, "confidence is 1.0"),
        (lambda x, u: {"x": x, "u": u, "margin": -0.1}, "margin is -0.1"),
    ],
)
def test_a_log_or_an_option_that_is_wrong(r3, change, words):
    with pytest.raises(ScpoError, match=words) as caught:
        identify(double_integrator(), **change(*r3))
    assert caught.value.exit_status == 2


def _at_constant_force() -> dict[str, np.ndarray]:
    x, u = logged(double_integrator(), MASS, [0.002, 0.02], 0.0, offset=0.5)
    return {"x": x, "u": u}


def test_plants_that_cannot_be_fitted():
    log = np.zeros((30, 2)), np.zeros((30, 1))
    bare = linear([[1.0, 0.1], [0.0, 1.0]], [[0.005], [0.1]], 0.1, ([-5, -2], [5, 2], -1, 1))
    with pytest.raises(ScpoError, match="has no parameters to fit"):
        identify(bare, *log)
    with pytest.raises(ScpoError, match="is continuous; discretise"):
        identify(cart_pole_ode(), np.zeros((30, 4)), log[1])
    low = double_integrator().replace(p_above=[1.0])
    with pytest.raises(ScpoError, match="mass is 1 at nominal, not above its limit 1"):
        identify(low, *log)
