"""What a reader explores: the data in the page are the run's own numbers, few enough, and the page says all without."""

import base64
import dataclasses
import json
import re

import numpy as np
import pytest
from problems import control_problem, scalar_problem, two_input_problem
from report_runs import headings, run, user_problem

from scpo_ctrl.models import linear
from scpo_ctrl.report.explored import MOST_SCENARIOS, MOST_STEPS, MOST_VALUES, explored, spread_steps
from scpo_ctrl.report.page import digest, render_report
from scpo_ctrl.report.page_data import encoded, page_data
from scpo_ctrl.verification.page import page_faults

DATA = re.compile(r'<script type="application/json" id="explored">(.*?)</script>', re.DOTALL)


def data_of(page: str) -> dict:
    return json.loads(DATA.search(page).group(1))


def decoded(text: str, *shape: int) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype="<f4").reshape(shape)


def test_trajectories_in_the_page_are_those_of_the_committed_policies(plain, page):
    loop, problem = data_of(page)["loop"], plain.problem
    K, S, T = len(loop["tried"]), len(loop["numbers"]), len(loop["t"])
    values = decoded(loop["values"], K, len(loop["signals"]), S, T)
    assert [signal["name"] for signal in loop["signals"]] == [*problem.plant.u_labels, *problem.plant.x_labels]
    assert loop["tried"][0] == 0
    history = plain.history
    for k, row in enumerate(loop["tried"]):
        theta = plain.theta_initial if row == 0 else history.rows[row - 1].theta
        assert row == 0 or history.rows[row - 1].is_committed
        X, U = problem.trajectories(theta)
        assert np.array_equal(values[k, 1:], X[loop["numbers"]].transpose(2, 0, 1).astype(np.float32))
        assert np.array_equal(values[k, :1, :, :-1], U[loop["numbers"]].transpose(2, 0, 1).astype(np.float32))
        assert np.isnan(values[k, 0, :, -1]).all()  # no input acts on the last state
    assert np.array_equal(theta, plain.theta)
    assert loop["t"] == pytest.approx(np.arange(T) * problem.plant.dt)


def test_history_in_the_page_is_that_of_the_run(plain, page):
    found, columns = data_of(page)["history"], plain.history.columns()
    assert found["tried"] == list(range(1, len(plain.history) + 1))
    for name in ("objective", "margin", "stationarity", "verdict", "active", "delta_norm"):
        assert np.array_equal(decoded(found[name], -1), columns[name].astype(np.float32))
    assert found["objective_initial"] == plain.objective_initial
    assert found["margin_initial"] == plain.margin_initial


def test_margins_of_scenarios_are_the_least_parts_of_their_bounds(plain, page):
    loop, problem = data_of(page)["loop"], plain.problem
    margins = decoded(loop["margins"], len(loop["tried"]), len(loop["numbers"]))
    X, U = problem.trajectories(plain.theta)
    plant = problem.plant
    of_bounds = 1 - np.concatenate([np.abs(X[:, 1:]) / plant.x_max, np.abs(U) / plant.u_max], axis=2).max(axis=(1, 2))
    # Symmetric bounds and rest at zero; contraction may be closer than any of them, never farther.
    assert (margins[-1] <= 100 * of_bounds[loop["numbers"]] + 1e-3).all()
    g = problem.metrics(plain.theta)
    assert np.array_equal(margins.min(axis=1) >= 0, np.full(len(margins), True))
    assert g[problem.varies].max() <= 0


def test_a_choice_of_steps_holds_both_ends_and_the_way_of_the_objective():
    objectives = np.concatenate([np.linspace(10, 1, 11), np.full(1000, 1.0)])
    chosen = spread_steps(objectives, 20)
    assert chosen[0] == 0
    assert chosen[-1] == 1010
    assert len(chosen) <= 20
    assert np.count_nonzero(chosen <= 10) >= 6  # where it falls
    assert np.diff(chosen).max() < 300  # and none is left out for long
    assert spread_steps(objectives[:5], 20).tolist() == [0, 1, 2, 3, 4]
    assert spread_steps(np.ones(100), 3).tolist() == [0, 50, 99]


def test_what_is_explored_is_bounded(plain):
    many = dataclasses.replace(plain.problem.scenarios, horizon=plain.problem.scenarios.horizon)
    x0 = np.repeat(many.x0, 30, axis=0) * np.linspace(0.5, 1, 30 * many.count)[:, None]
    batch = type(many)(x0, np.repeat(many.p, 30, axis=0), np.repeat(many.w, 30, axis=0), many.horizon)
    problem = plain.problem.with_scenarios(batch, plain.theta_initial)
    loop = explored(dataclasses.replace(plain, problem=problem))
    assert loop.values.shape[0] <= MOST_STEPS
    assert loop.values.shape[2] == MOST_SCENARIOS
    assert loop.values.size <= MOST_VALUES
    g = problem.metrics(plain.theta)[problem.of_scenarios].reshape(batch.count, -1)
    assert set(loop.scenarios) <= set(range(batch.count))
    assert problem.metrics(plain.theta).shape[0] > g.shape[0] - 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_what_no_float_holds_is_not_a_number(value):
    assert np.isnan(decoded(encoded(np.array([value])), 1)).all()


@pytest.mark.parametrize("problem", [scalar_problem, two_input_problem, user_problem])
def test_every_kind_of_problem_has_data_or_none(problem):
    result = run(problem(), steps=2)
    found = page_data(result)
    assert (found["loop"] is None) == (problem is user_problem)
    if found["loop"]:
        loop = found["loop"]
        shape = len(loop["tried"]), len(loop["signals"]), len(loop["numbers"]), len(loop["t"])
        assert np.isfinite(decoded(loop["values"], *shape)[..., :-1]).all()
        assert len(loop["portraits"]) == {1: 0, 4: 2}[result.problem.plant.nx]


# --- the page -----------------------------------------------------------------------------------------------------


def test_the_policy_of_the_page_allows_its_own_script_alone(page):
    policy = re.search(r'http-equiv="Content-Security-Policy" content="(.*?)"', page).group(1)
    (script,) = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    allowed = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert allowed["default-src"] == "'none'"
    assert allowed["script-src"] == f"'{digest(script)}'"
    assert not re.search(r"\son\w+=", page)


def test_without_script_every_figure_and_number_is_there(page):
    bare = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    for title in headings(page)[:4]:
        assert re.search(rf'class="static"[^>]*aria-label="{title}, picture"><svg', bare)
    assert not re.search(r'<div class="static"[^>]*hidden', bare)
    assert ".explore { display: none;" in bare


def test_four_questions_are_answered_first(plain, page):
    tiles = page[page.index('<dl class="tiles">') : page.index("</dl>")]
    assert re.findall("<dt>(.*?)</dt>", tiles) == ["Stable at rest?", "Safe?", "How much better?", "What binds?"]
    before, after = (plain.problem.spectral_radius(theta) for theta in (plain.theta_initial, plain.theta))
    assert f"<span>{before:.4g}</span> <span>→ {after:.4g}</span>" in tiles
    assert f"<span>0</span> <span>of {plain.summary()['accepted'] + 1}</span>" in tiles
    assert page.index("<dl") < page.index("<svg")


def test_labels_cannot_end_the_data():
    plant = linear([[0.9]], [[0.5]], 0.1, ([-2.0], [2.0], [-1.0], [1.0]), x_labels=["</script><i>"], u_units=["&"])
    page = render_report(run(control_problem(plant), steps=1))
    text = DATA.search(page).group(1)
    assert not set("<>&'") & set(text)
    signals = json.loads(text)["loop"]["signals"]
    assert [(one["name"], one["unit"]) for one in signals] == [("u0", "&"), ("</script><i>", "")]


def test_colours_of_pictures_follow_the_page(page):
    pictures = " ".join(re.findall(r"<svg\b.*?</svg>", page, flags=re.DOTALL))
    assert not re.findall(r"(?:fill|stroke): #[0-9a-f]{6}", pictures)
    style = page[page.index("<style>") : page.index("</style>")]
    light, dark = style.split("@media screen and (prefers-color-scheme: dark)")
    for name in set(re.findall(r"var\(--([\w-]+)\)", pictures + style)):
        assert f"--{name}:" in light
        assert f"--{name}:" in dark[: dark.index("* {")]


def test_verify_compares_what_is_explored_with_the_record(plain, page):
    assert page_faults(page, plain) == []
    data = data_of(page)
    values = decoded(data["loop"]["values"], -1).copy()
    values[np.nanargmax(values)] *= 1.01
    data["loop"]["values"] = base64.b64encode(values.tobytes()).decode()
    forged = DATA.sub(lambda _: f'<script type="application/json" id="explored">{json.dumps(data)}</script>', page)
    assert "explore" in page_faults(forged, plain)[0]
    assert "script" in page_faults(page.replace('"use strict";', '"use strict";alert(1);', 1), plain)[0]
    assert page_faults(DATA.sub(lambda part: part.group().replace(part.group(1), "[1]"), page), plain)
