"""The report: its numbers, its figures, its independence of anything outside the file, and every kind of problem."""

import copy
import dataclasses
import html
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from problems import control_problem, double_integrator_problem, scalar_problem, two_input_problem

from scpo_ctrl import AdaptOptions, ControlProblem, FunctionProblem, MetricOptions, UserObjective, adapt
from scpo_ctrl.errors import DomainError, OutputError
from scpo_ctrl.figures import phase_figure, signals_figure
from scpo_ctrl.history import VERDICTS, History, Trial
from scpo_ctrl.history_figures import convergence_figure, margin_cap, smoothness_figure
from scpo_ctrl.models import linear
from scpo_ctrl.report import closest_metrics, headline, number, render_report, write_report
from scpo_ctrl.result import Result
from scpo_ctrl.status import RunStatus, Verdict
from scpo_ctrl.trajectories import bound_use, level_set, projections, roll, shown_states, spread

STEPS = 6
VERDICTS_DRAWN = (Verdict.COMMITTED, Verdict.NO_DECREASE, Verdict.NO_STEP)


def user_problem() -> FunctionProblem:
    """Return |θ - 1|² subject to θ₁ ≤ 0.5 and a metric that never changes, without a plant."""
    return FunctionProblem(
        np.zeros(2),
        lambda thetas: np.stack([thetas[:, 0] - 0.5, np.full(len(thetas), -3.0)], axis=1),
        UserObjective(lambda theta: (float((theta - 1) @ (theta - 1)), 2 * (theta - 1))),
        labels=("first <b>bound</b> & $more$", "constant"),
    )


def run(problem, **options) -> Result:
    return adapt(problem, AdaptOptions(**{"steps": STEPS, **options}))


@pytest.fixture(scope="module")
def plain() -> Result:
    return run(double_integrator_problem())


@pytest.fixture(scope="module")
def page(plain) -> str:
    return render_report(plain)


@pytest.fixture(scope="module")
def two_inputs() -> Result:
    return run(two_input_problem())


def trial(theta, step, verdict, objective, margin, delta_norm=0.1) -> Trial:
    """Return a row of history with the columns that figures show."""
    return Trial(
        step=step,
        verdict=VERDICTS.index(verdict),
        objective=objective,
        margin=margin,
        worst=0,
        step_length=1.0,
        delta_norm=delta_norm,
        predicted=0.1,
        smoothness_max=10.0,
        smoothness_median=1.0,
        active=2,
        projection_status=0,
        projection_iterations=3,
        rollouts=10,
        theta=theta,
    )


def with_history(result: Result, *rows, **changes) -> Result:
    history = History(result.theta.size, [trial(result.theta, i, *row) for i, row in enumerate(rows)])
    return dataclasses.replace(result, history=history, **changes)


def svgs(page: str) -> list[ET.Element]:
    """Return every inline figure, parsed as XML."""
    found = re.findall(r"<svg\b.*?</svg>", page, flags=re.DOTALL)
    return [ET.fromstring(text) for text in found]


def texts(figure: ET.Element) -> str:
    return " | ".join(" ".join(element.itertext()) for element in figure.iter("text"))


def headings(page: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", page)


def marks(figure) -> dict[str, int]:
    """Return the verdicts that the margin axes mark, with how many of each."""
    labels = figure.axes[1].get_legend_handles_labels()[1]
    return {label.rsplit(" (", 1)[0]: int(label[:-1].rsplit("(", 1)[1]) for label in labels if label.endswith(")")}


# --- the page -----------------------------------------------------------------------------------------------------


def test_page_shows_every_number_of_the_summary(plain, page):
    for key, value in plain.summary().items():
        if key == "advice":
            assert html.escape(value, quote=False) in page
            continue
        cell = re.search(rf'<td id="summary-{key}">(.*?)</td>', page).group(1)
        if isinstance(value, str):
            assert cell == value
        else:
            exact, shown = re.fullmatch(r'<data value="(.*?)" title=".*?">(.*?)</data>', cell).groups()
            assert float(exact) == value
            assert shown == number(value)


def test_headline_counts_policies_metrics_and_scenarios(plain, page):
    summary = plain.summary()
    line = headline(plain, plain.margin())
    assert (line.level, line.word) == ("safe", "Safe")
    policies = summary["accepted"] + 1
    assert f"{policies} of {policies} committed policies satisfy all {summary['metrics']} metrics" in line.sentence
    assert "on 4 scenarios" in line.sentence
    assert page.index(line.sentence) < page.index("<svg")
    better = dataclasses.replace(plain, objective_initial=2.396, objective_final=1.267)
    assert "; objective 2.396 → 1.267 (−47\u202f%)." in headline(better, 0.1).sentence


def test_nothing_is_loaded_from_outside(page):
    assert "://" not in page
    assert not re.search(r"<(script|link|iframe|object|embed|base)\b|@import|\bsrc=", page)
    assert all(target.startswith("#") for target in re.findall(r'\bhref="(.*?)"', page))
    assert all(target.startswith("#") for target in re.findall(r"url\((.*?)\)", page))


def test_identifiers_are_unique_and_every_reference_has_its_target(page):
    names = re.findall(r'\bid="(.*?)"', page)
    assert len(names) == len(set(names))
    used = set(re.findall(r'\bhref="#(.*?)"', page)) | set(re.findall(r"url\(#(.*?)\)", page))
    assert used
    assert used <= set(names)


def test_equal_results_give_equal_bytes(plain, page, tmp_path):
    write_report(plain, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_bytes() == page.encode()


def test_settings_of_the_user_neither_matter_nor_change(plain, page):
    import matplotlib

    with matplotlib.rc_context({"axes.facecolor": "black", "svg.hashsalt": "other", "lines.linewidth": 7.0}):
        before = dict(matplotlib.rcParams)
        assert render_report(plain) == page
        assert dict(matplotlib.rcParams) == before


def test_no_figure_of_pyplot_is_made(plain):
    import matplotlib.pyplot as plt

    before = plt.get_fignums(), plt.get_backend()
    render_report(plain)
    assert (plt.get_fignums(), plt.get_backend()) == before


def test_options_that_differ_from_their_default_stand_out(page):
    assert '<tr class="changed"><th scope="row">steps</th><td>6</td></tr>' in page
    assert page.count('<tr class="changed">') == 1
    for field in dataclasses.fields(AdaptOptions):
        assert f'<th scope="row">{field.name.replace("_", " ")}</th>' in page


def test_figures_are_well_formed_and_in_order(page):
    assert headings(page)[:5] == [
        "Phase portrait",
        "Objective and margin over tried steps",
        "Inputs and states over time",
        "What held the steps back",
        "Metrics closest to their limit",
    ]
    figures = svgs(page)
    assert [figure.get("aria-label") for figure in figures] == headings(page)[:4]
    assert "position [m]" in texts(figures[0])
    assert "velocity [m/s]" in texts(figures[0])
    assert "invariant level set" in texts(figures[0])
    assert "[N]" in texts(figures[2])
    assert "time [s]" in texts(figures[2])


# --- the table of metrics -----------------------------------------------------------------------------------------


def test_closest_metrics_are_the_ten_largest_with_their_labels(plain, page):
    before, after = plain.problem.metrics(plain.theta_initial), plain.problem.metrics(plain.theta)
    rows = closest_metrics(plain, before, after)
    order = np.argsort(-after, kind="stable")[:10]
    assert [row.after for row in rows] == (-after[order]).tolist()
    assert [row.before for row in rows] == (-before[order]).tolist()
    expected = [plain.problem.metric_label(int(i)).replace("<=", "≤").replace(">=", "≥") for i in order]
    assert [row.label for row in rows] == expected
    assert [row.varies for row in rows] == plain.problem.varies[order].tolist()
    assert [html.unescape(text) for text in re.findall(r"<tr[^>]*><td>(.*?)</td><td class", page)] == [
        row.label + ("" if row.varies else " (fixed by the initial state)") for row in rows
    ]


def test_a_metric_that_is_not_a_number_comes_first(plain):
    after = plain.problem.metrics(plain.theta)
    after[17] = np.nan
    first = closest_metrics(plain, after, after)[0]
    assert np.isnan(first.after)
    assert first.label.startswith(plain.problem.metric_label(17).split(":")[0])


# --- verdicts -----------------------------------------------------------------------------------------------------


def test_a_committed_violation_turns_the_report_red(plain):
    bad = with_history(
        plain, (Verdict.COMMITTED, 0.5, 0.01), (Verdict.COMMITTED, 0.4, -0.02), (Verdict.COMMITTED, 0.4, np.nan)
    )
    line = headline(bad, bad.margin())
    assert (line.level, line.word) == ("unsafe", "Unsafe")
    assert line.sentence.startswith("2 of 4 committed policies break a metric")
    assert '<section class="headline unsafe"' in render_report(bad)
    assert marks(convergence_figure(bad)) == {"committed": 3, "committed, yet unsafe": 2}


def test_a_final_policy_that_breaks_a_metric_when_computed_anew_is_unsafe(plain):
    line = headline(plain, -0.25)
    assert line.level == "unsafe"
    assert "0.25" in line.sentence
    assert headline(plain, -np.inf).level == "unsafe"


@pytest.mark.parametrize(
    ("status", "level"),
    [
        (RunStatus.FINISHED, "safe"),
        (RunStatus.CONVERGED, "safe"),
        (RunStatus.INTERRUPTED, "unfinished"),
        (RunStatus.RUNNING, "unfinished"),
        (RunStatus.SMOOTHNESS_TOO_SMALL, "unsafe"),
    ],
)
def test_status_and_its_advice_are_shown(plain, monkeypatch, status, level):
    from scpo_ctrl import report

    monkeypatch.setattr(report, "_panels", lambda _: [])  # the figures take long, and are the same
    result = dataclasses.replace(plain, status=status)
    assert headline(result, result.margin()).level == level
    page = render_report(result)
    assert f'<section class="headline {level}"' in page
    assert html.escape(status.value, quote=False) in page


def test_zero_tried_steps():
    result = run(double_integrator_problem(), steps=0)
    assert "The backup satisfies all" in headline(result, result.margin()).sentence
    assert "no step was tried" in headline(result, result.margin()).sentence
    page = render_report(result)
    assert len(svgs(page)) == 2
    assert "No step was tried" in headings(page)
    assert "from backup to final" not in page  # nothing changed


def test_only_rejected_steps(plain):
    rejected = with_history(
        plain,
        (Verdict.UNSAFE, 0.5, -0.02),
        (Verdict.NO_DECREASE, 9e99, 0.3),
        (Verdict.NOT_FINITE, np.nan, -np.inf),
        (Verdict.NOT_FINITE, np.inf, np.nan),
        (Verdict.NO_STEP, 2.0, 0.1, 0.0),
        theta=plain.theta_initial,
        objective_final=plain.objective_initial,
    )
    line = headline(rejected, rejected.margin())
    assert line.level == "safe"
    assert "the backup was kept, 5 tried steps rejected" in line.sentence
    figure = convergence_figure(rejected)
    assert marks(figure) == {
        "rejected: unsafe": 1,
        "rejected: no decrease": 1,
        "rejected: not finite": 2,
        "rejected: no step": 1,
    }
    for ax in figure.axes[:2]:  # whatever was tried stands inside the picture
        low, high = ax.get_ylim()
        for line2d in ax.lines:
            assert (np.asarray(line2d.get_ydata()) >= low).all()
            assert (np.asarray(line2d.get_ydata()) <= high).all()
    assert len(svgs(render_report(rejected))) == 4


def test_margins_that_are_all_zero(plain):
    still = with_history(plain, (Verdict.COMMITTED, 1.0, 0.0), margin_initial=0.0, objective_initial=0.0)
    page = render_report(still)
    assert len(svgs(page)) == 4
    assert "from backup to final" not in page  # a change relative to zero means nothing


# --- trajectories and the level set -------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", [(0, 1), (1, 3), (3, 0)])
def test_projected_level_set_holds_every_state_and_touches_them(pair):
    rng = np.random.default_rng(1)
    root = rng.normal(size=(4, 4))
    P, rho = root @ root.T + 0.1 * np.eye(4), 2.5
    ring = level_set(P, rho, pair, 2000)
    z = rng.normal(size=(200_000, 4))
    z *= np.sqrt(rho / np.einsum("ki,ij,kj->k", z, P, z))[:, None]  # all on the boundary of {V ≤ ρ}
    for angle in np.linspace(0, np.pi, 7):
        normal = np.array([np.cos(angle), np.sin(angle)])
        reached, drawn = np.max(z[:, pair] @ normal), np.max(ring @ normal)
        assert reached <= drawn * (1 + 1e-5)
        assert reached >= 0.97 * drawn
    assert np.allclose(ring[0], ring[-1])


def test_phase_portrait_draws_that_ellipse_around_the_equilibrium(two_inputs):
    plant, backup = two_inputs.problem.plant, two_inputs.problem.backup
    X = two_inputs.problem.rollouts.trajectories(two_inputs.theta)[0]
    figure = phase_figure(two_inputs)
    pairs = projections(plant, X)
    assert len(figure.axes) == len(pairs) == 2
    for ax, pair in zip(figure.axes, pairs, strict=True):
        ring = level_set(backup.P, backup.rho, pair) + plant.x_eq[list(pair)]
        assert any(line.get_xydata().shape == ring.shape and np.allclose(line.get_xydata(), ring) for line in ax.lines)
        assert ax.get_xlabel() == plant.x_labels[pair[0]]
        assert ax.get_ylabel() == plant.x_labels[pair[1]]


def test_trajectories_before_and_after_are_those_of_the_policies(plain):
    rolled = roll(plain, 64)
    X, U = plain.problem.rollouts.trajectories(plain.theta)
    assert np.array_equal(rolled.X_after, X)
    assert np.array_equal(rolled.U_after, U)
    assert np.allclose(rolled.U_before, -rolled.X_before[:, :-1] @ plain.problem.backup.K.T, rtol=0, atol=1e-12)


def test_a_choice_of_scenarios_rolls_out_as_all_of_them_and_keeps_the_tightest():
    problem = control_problem(linear([[0.9]], [[0.5]], 0.1, ([-2.0], [2.0], [-1.0], [1.0])), count=40)
    w = np.random.default_rng(2).uniform(-0.05, 0.05, (40, 10, 1))
    disturbed = dataclasses.replace(problem.scenarios, w=w)
    problem = ControlProblem(problem.policy, disturbed, problem._objective, problem.scenario_metrics.options)
    result = run(problem, steps=2)
    rolled = roll(result, 5)
    X, _ = problem.rollouts.trajectories(result.theta)
    assert rolled.scenarios.size == 5
    assert np.array_equal(rolled.X_after, X[rolled.scenarios])
    worst = problem.metrics(result.theta).reshape(40, -1).max(axis=1)
    assert int(np.argmax(worst)) in rolled.scenarios
    assert problem.rollouts.batch.count == 40


def test_spread_chooses_each_point_once_and_the_far_ones():
    points = np.array([[0.0, 0.0], [0.1, 0.0], [5.0, 0.0], [0.0, 5.0], [0.0, 0.0]])
    assert spread(points, 1, 3).tolist() == [1, 2, 3]
    assert spread(np.zeros((6, 2)), 4, 5).size == np.unique(spread(np.zeros((6, 2)), 4, 5)).size == 5
    assert spread(points, 0, 9).tolist() == [0, 1, 2, 3, 4]


def test_projections_pair_a_coordinate_with_its_rate():
    dt = 0.1
    A = np.eye(4) + dt * np.eye(4, k=2)  # two coordinates, then their rates
    A[2, 2] = A[3, 3] = 0.9
    plant = linear(A, np.eye(4)[:, 2:], dt, (-np.ones(4), np.array([1, 1, np.inf, 1]), -np.ones(2), np.ones(2)))
    X = np.array([[0.1, 0.5, 7.0, -0.2]])
    assert bound_use(plant, X).tolist() == pytest.approx([0.1, 0.5, 0.0, 0.2])
    assert projections(plant, X) == [(1, 3), (0, 2)]
    assert shown_states(plant, X) == [0, 1, 2, 3]
    assert bound_use(plant, np.full((2, 4), np.nan)).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(("nx", "panels"), [(1, 0), (2, 1), (3, 2), (4, 2), (6, 4), (10, 4)])
def test_projections_are_as_many_as_the_page_has_room_for(nx, panels):
    plant = linear(0.9 * np.eye(nx), np.ones((nx, 1)), 0.1, (-np.ones(nx), np.ones(nx), [-1.0], [1.0]))
    X = np.arange(nx) / nx
    pairs = projections(plant, X)
    assert len(set(pairs)) == panels
    assert len(shown_states(plant, X)) == min(nx, 8)
    if nx > 2:
        assert len(set(np.ravel(pairs))) == min(nx, 2 * panels)  # as many states as the panels can show
        assert pairs[0] == (nx - 2, nx - 1)  # no rates here: the states closest to their bounds


def bounds_drawn(ax) -> list[float]:
    """Return the levels of the horizontal lines in the colour of limits."""
    return sorted(float(line.get_ydata()[0]) for line in ax.lines if line.get_color() == "#d55e00")


def test_signals_stand_between_their_bounds_before_and_after(two_inputs):
    plant = two_inputs.problem.plant
    axes = np.array(signals_figure(two_inputs).axes).reshape(6, 2)
    labels = [ax.get_ylabel() for ax in axes[:, 0]]
    assert labels == ["valve\n[%]", "heater\n[kW]", "x0", "x1", "x2", "x3"]
    for i, row in enumerate(axes[:2]):
        for ax in row:
            assert bounds_drawn(ax) == pytest.approx([plant.u_min[i], plant.u_max[i]])
    assert plant.x_max[3] == np.inf
    for ax in axes[5]:
        assert bounds_drawn(ax) == pytest.approx([plant.x_min[3]])
        assert np.isfinite(ax.get_ylim()).all()
        assert ax.get_title(loc="right") == ""  # a bound that is not there is not out of view either


def test_a_bound_far_from_every_value_is_named_instead_of_drawn():
    plant = linear(0.9 * np.eye(2), np.eye(2), 0.1, (-np.ones(2), [1.0, 1e4], -np.ones(2), np.ones(2)))
    result = run(control_problem(plant), steps=1)
    for ax in (phase_figure(result).axes[0], signals_figure(result).axes[7]):
        assert bounds_drawn(ax)[0] == -1.0
        assert ax.get_ylim()[1] < 10
        assert "bound 1e+04 out of view" in ax.get_title(loc="right")


def test_inputs_beyond_their_bounds_are_cut_where_saturation_is_part_of_the_loop(plain, page):
    problem = plain.problem
    assert "on the input before saturation" in page
    loose = type(problem)(
        problem.policy, problem.scenarios, problem._objective, MetricOptions(command=False, terminal=True)
    )
    theta = 50 * np.ones(problem.theta_dim)
    result = dataclasses.replace(plain, problem=loose, theta=theta)
    assert np.abs(roll(result, 64).U_after).max() > 2
    (lines,) = signals_figure(result).axes[1].collections
    assert len(lines.get_paths()) == problem.scenarios.count
    assert max(np.abs(path.vertices[:, 1]).max() for path in lines.get_paths()) == 1.0
    notes = render_report(dataclasses.replace(result, theta=plain.theta))
    assert "the input is saturated inside the closed loop" in notes
    assert "Terminal metric: V(x_N) ≤ ρ" in notes


def test_a_diverged_rollout_does_not_set_the_scale(plain):
    def diverged(theta):
        X, U = type(plain.problem.rollouts).trajectories(plain.problem.rollouts, theta)
        X[0, 3:], U[1, 2:] = 1e200, np.nan
        return X, U

    result = dataclasses.replace(plain, problem=with_trajectories(plain.problem, diverged))
    for figure in (phase_figure(result), signals_figure(result)):
        for ax in figure.axes:
            assert np.abs(ax.get_ylim()).max() < 20


def with_trajectories(problem, trajectories):
    """Return a copy of a problem that draws other trajectories."""
    problem = copy.copy(problem)
    problem.rollouts = copy.copy(problem.rollouts)
    problem.rollouts.trajectories = trajectories
    return problem


# --- every kind of problem ----------------------------------------------------------------------------------------


def test_one_state_is_drawn_over_time_with_the_level_set_as_a_band():
    result = run(scalar_problem())
    plant, backup = result.problem.plant, result.problem.backup
    (ax,) = phase_figure(result).axes
    assert ax.get_xlabel() == "time [s]"
    half = np.sqrt(backup.rho / backup.P[0, 0])
    levels = [float(line.get_ydata()[0]) for line in ax.lines if line.get_color() == "#009e73"]
    assert levels == pytest.approx([-half, half])
    assert set(bounds_drawn(ax)) <= {-2.0, 2.0}
    assert ax.get_xlim()[1] == pytest.approx(result.problem.scenarios.horizon * plant.dt)
    page = render_report(result)
    assert headings(page)[0] == "State and level set"
    assert "1 of 1 committed policy" not in page
    assert len(svgs(page)) == 4


def test_four_states_and_two_inputs(two_inputs):
    page = render_report(two_inputs)
    figures = svgs(page)
    assert len(figures) == 4
    assert "projected" in texts(figures[0])
    assert "valve" in texts(figures[2])
    assert '<th scope="row">state x3</th><td>−0.9 … ∞</td>' in page
    assert '<th scope="row">input heater</th><td>−0.9 … 0.9 kW</td>' in page


def test_no_plant_leaves_the_history_and_the_table():
    result = run(user_problem())
    page = render_report(result)
    assert headings(page)[:3] == [
        "Objective and margin over tried steps",
        "What held the steps back",
        "Metrics closest to their limit",
    ]
    assert len(svgs(page)) == 2
    assert "first &lt;b&gt;bound&lt;/b&gt; &amp; $more$" in page
    assert "safe start" in texts(svgs(page)[0])
    assert "backup" not in texts(svgs(page)[0])
    assert "scenario" not in headline(result, result.margin()).sentence
    for figure in (phase_figure, signals_figure):
        with pytest.raises(DomainError, match="no plant"):
            figure(result)


def test_no_plant_and_no_step_still_gives_a_page():
    page = render_report(run(user_problem(), steps=0))
    assert svgs(page) == []
    assert "No figures" in headings(page)


def test_labels_of_the_user_are_text_and_nothing_else():
    plant = linear(
        [[0.9]], [[0.5]], 0.1, ([-2.0], [2.0], [-1.0], [1.0]), name="<i>plant</i>", x_labels=["$x$ & <y>"],
        x_units=["$"], u_labels=["温度"], u_units=["%"],
    )  # fmt: skip
    page = render_report(run(control_problem(plant), steps=1))
    assert "<i>" not in page
    assert "&lt;i&gt;plant&lt;/i&gt;" in page
    assert "$x$ & <y> [$]" in texts(svgs(page)[0])
    assert "温度" in texts(svgs(page)[2])


def test_certified_mode_says_what_its_guarantee_rests_on():
    page = render_report(run(double_integrator_problem(), mode="certified", smoothness=1e4, steps=2))
    assert "Certified mode." in page
    assert "Verified mode." not in page


def test_margin_cap_is_that_of_the_initial_states(plain):
    g = plain.problem.metrics(plain.theta_initial)
    assert margin_cap(plain) == -g[~plain.problem.varies].max()
    assert margin_cap(run(user_problem(), steps=0)) == np.inf


def test_smoothness_figure_draws_what_the_history_holds(plain):
    left, middle, right = smoothness_figure(plain).axes
    column = plain.history.column
    assert left.lines[0].get_ydata().tolist() == column("active").tolist()
    assert middle.lines[0].get_ydata().tolist() == column("smoothness_max").tolist()
    assert middle.lines[1].get_ydata().tolist() == column("smoothness_median").tolist()
    assert right.lines[0].get_ydata().tolist() == column("delta_norm").tolist()


# --- size ---------------------------------------------------------------------------------------------------------


def test_many_scenarios_and_a_long_history_stay_small(plain):
    many = control_problem(plain.problem.plant, (4,), count=1500, horizon=40)
    rng = np.random.default_rng(0)
    rows = [(VERDICTS_DRAWN[k % 3], 1 / (1 + k), 10.0 ** rng.uniform(-6, -1)) for k in range(5000)]
    result = with_history(dataclasses.replace(plain, problem=many, theta=many.theta_initial), *rows)
    page = render_report(dataclasses.replace(result, theta_initial=many.theta_initial))
    assert len(page.encode()) < 2_000_000
    assert "12 of 1\u202f500 scenarios" in page
    assert "64 of 1\u202f500 scenarios" in page


def test_many_points_become_an_image_inside_the_file(plain):
    long = control_problem(plain.problem.plant, (4,), count=64, horizon=400)
    page = render_report(dataclasses.replace(plain, problem=long))
    images = re.findall(r'<image\b[^>]*\bhref="(.*?)"', page, flags=re.DOTALL)
    assert images
    assert all(image.startswith("data:image/png;base64,") for image in images)
    assert len(page.encode()) < 2_000_000


# --- writing ------------------------------------------------------------------------------------------------------


def test_writing_replaces_the_old_file_and_leaves_nothing_else(plain, page, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    write_report(plain, path)
    assert path.read_text(encoding="utf-8") == page
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_a_file_that_cannot_be_written_is_named(plain, page, tmp_path, monkeypatch):
    monkeypatch.setattr("scpo_ctrl.report.render_report", lambda _: page)
    missing = tmp_path / "nowhere" / "report.html"
    with pytest.raises(OutputError, match=r"nowhere/report\.html"):
        write_report(plain, missing)
    folder = tmp_path / "report.html"
    folder.mkdir()
    with pytest.raises(OutputError, match=r"report\.html"):
        write_report(plain, folder)
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]
    assert list(folder.iterdir()) == []


def test_a_full_disk_leaves_the_old_file(plain, page, tmp_path, monkeypatch):
    monkeypatch.setattr("scpo_ctrl.report.render_report", lambda _: page)
    path = tmp_path / "report.html"
    path.write_text("old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        write_report(plain, path)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


# --- numbers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (9760, "9\u202f760"),
        (-3, "−3"),
        (2.395518988, "2.396"),
        (2.0714e-6, "2.071\u202f×\u202f10⁻⁶"),
        (-1e200, "−1\u202f×\u202f10²⁰⁰"),
        (np.nan, "not a number"),
        (np.inf, "∞"),
        (-np.inf, "−∞"),
        (True, "true"),
        (None, "none"),
        ("adam", "adam"),
    ],
)
def test_numbers_for_reading(value, text):
    assert number(value) == text
