"""The report: its numbers, its figures, its independence of anything outside the file, and every kind of problem."""

import dataclasses
import html
import re

import numpy as np
import pytest
from problems import control_problem, double_integrator_problem, two_input_problem
from report_runs import VERDICTS_DRAWN, headings, marks, run, svgs, texts, user_problem, with_history

from scpo_ctrl import AdaptOptions
from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.adaptation.status import RunStatus, Verdict
from scpo_ctrl.errors import DomainError, OutputError
from scpo_ctrl.models import linear
from scpo_ctrl.report import page as page_module
from scpo_ctrl.report import wording
from scpo_ctrl.report.figures import phase_figure, signals_figure
from scpo_ctrl.report.history_figures import convergence_figure, margin_cap, smoothness_figure
from scpo_ctrl.report.numbers import number
from scpo_ctrl.report.page import render_report, write_report
from scpo_ctrl.report.panels import to_svg
from scpo_ctrl.report.tables import metric_rows
from scpo_ctrl.report.wording import Beyond, headline


@pytest.fixture(scope="module")
def two_inputs() -> Result:
    return run(two_input_problem())


# --- the page -----------------------------------------------------------------------------------------------------


def test_page_shows_every_number_of_the_summary(plain, page):
    for key, value in plain.summary().items():
        if key == "audit":
            assert value is None
            continue
        if value is None:
            assert f'<td id="summary-{key}">none</td>' in page
            continue
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
    assert (line.level, line.word) == ("unfinished", "Safe on its scenarios, not beside them")
    assert re.search(r"Beside them, [0-9.]+\u202f% of 10\u202f000 fresh scenarios violate a metric", line.sentence)
    policies = summary["accepted"] + 1
    assert f"{policies} of {policies} committed policies satisfy all {summary['metrics']} metrics" in line.sentence
    assert "on 4 scenarios" in line.sentence
    assert page.index(line.sentence) < page.index("<svg")
    better = dataclasses.replace(plain, objective_initial=2.396, objective_final=1.267)
    assert "; objective 2.396 → 1.267 (−47\u202f%)." in headline(better, 0.1).sentence


def test_nothing_is_loaded_from_outside(page):
    assert "://" not in page
    assert not re.search(r"<(link|iframe|object|embed|base)\b|@import|\bsrc=", page)
    assert all(target.startswith("#") for target in re.findall(r'\bhref="(.*?)"', page))
    assert all(target.startswith("#") for target in re.findall(r"url\((.*?)\)", page))


def test_identifiers_are_unique_and_every_reference_has_its_target(page):
    page = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    names = re.findall(r'\bid="(.*?)"', page)
    assert len(names) == len(set(names))
    used = set(re.findall(r'\bhref="#(.*?)"', page)) | set(re.findall(r"url\(#(.*?)\)", page))
    assert used
    assert used <= set(names)


def test_equal_results_give_equal_bytes_whatever_the_settings_of_the_user_which_do_not_change(plain, page, tmp_path):
    """They take the place of the old file, and leave nothing else."""
    import matplotlib
    import matplotlib.pyplot as plt

    path = tmp_path / "report.html"
    path.write_text("old")
    with matplotlib.rc_context({"axes.facecolor": "black", "svg.hashsalt": "other", "lines.linewidth": 7.0}):
        before = dict(matplotlib.rcParams), plt.get_fignums(), plt.get_backend()
        write_report(plain, path)
        assert path.read_bytes() == page.encode()
        assert (dict(matplotlib.rcParams), plt.get_fignums(), plt.get_backend()) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_options_that_differ_from_their_default_stand_out(page):
    assert '<tr class="changed"><th scope="row">steps</th><td>6</td></tr>' in page
    assert page.count('<tr class="changed">') == 2  # and audit
    for field in dataclasses.fields(AdaptOptions):
        assert f'<th scope="row">{field.name.replace("_", " ")}</th>' in page


def test_figures_are_well_formed_and_in_order(page):
    assert headings(page)[:5] == [
        "Phase portrait",
        "Objective, margin and stationarity over tried steps",
        "Inputs and states over time",
        "What held the steps back",
        "Metrics closest to their limit",
    ]
    assert headings(page)[5] == "What binds, and in which scenarios"
    figures = svgs(page)
    assert [figure.get("aria-label") for figure in figures] == headings(page)[:4]
    assert "position [m]" in texts(figures[0])
    assert "velocity [m/s]" in texts(figures[0])
    assert "level set {V ≤ ρ}" in texts(figures[0])
    assert "[N]" in texts(figures[2])
    assert "time [s]" in texts(figures[2])


# --- the table of metrics -----------------------------------------------------------------------------------------


def test_closest_metrics_stand_in_the_table_with_their_scenarios(plain, page):
    before, after = plain.problem.metrics(plain.theta_initial), plain.problem.metrics(plain.theta)
    rows = metric_rows(plain, before, after)
    table = page[page.index('<table id="closest">') :]
    table = html.unescape(table[: table.index("</table>")])
    assert re.findall(r"<tr[^>]*><td>(.*?)</td>", table) == [
        row.label + ("" if row.varies else " (fixed by the initial state)") for row in rows
    ]
    assert re.findall(r'<td colspan="5"[^>]*>((?:scenario|guard|cloud state) .*?)</td>', table) == [
        row.scenario for row in rows
    ]
    exact = [float(text) for text in re.findall(r'<data value="(.*?)"', table)]
    assert exact == [value for row in rows for value in (row.part, row.after, row.before)]


# --- verdicts -----------------------------------------------------------------------------------------------------


def test_a_committed_violation_turns_the_report_red(plain):
    bad = with_history(
        plain, (Verdict.COMMITTED, 0.5, 0.01), (Verdict.COMMITTED, 0.4, -0.02), (Verdict.COMMITTED, 0.4, np.nan)
    )
    line = headline(bad, bad.margin())
    assert (line.level, line.word) == ("unsafe", "Unsafe")
    assert line.sentence.startswith("2 of 4 committed policies break a metric")
    assert '<section class="headline unsafe"' in render_report(bad, pictures=False)
    assert marks(convergence_figure(bad)) == {"committed": 3, "committed, yet unsafe": 2}


def test_a_final_policy_that_breaks_a_metric_when_computed_anew_is_unsafe(plain):
    line = headline(plain, -0.25)
    assert line.level == "unsafe"
    assert "0.25" in line.sentence
    assert headline(plain, -np.inf).level == "unsafe"


@pytest.mark.parametrize(
    ("status", "level"),
    [
        (RunStatus.FINISHED, "unfinished"),
        (RunStatus.CONVERGED, "unfinished"),
        (RunStatus.INTERRUPTED, "unfinished"),
        (RunStatus.RUNNING, "unfinished"),
        (RunStatus.STALLED, "unfinished"),
        (RunStatus.SMOOTHNESS_TOO_SMALL, "unsafe"),
    ],
)
def test_status_and_its_advice_are_shown(plain, monkeypatch, status, level):
    monkeypatch.setattr(page_module, "panels", lambda *_: [])  # the figures take long, and are the same
    monkeypatch.setattr(wording, "beyond", lambda _: Beyond("none of them violates", "not beside them"))
    result = dataclasses.replace(plain, status=status)
    assert headline(result, result.margin()).level == level
    page = render_report(result)
    assert f'<section class="headline {level}"' in page
    assert html.escape(status.value, quote=False) in page


def test_a_headline_says_all_that_is_not_so(plain, monkeypatch):
    monkeypatch.setattr(wording, "beyond", lambda _: Beyond("half of them violate", "not beside them"))
    monkeypatch.setattr(wording, "is_stable", lambda _: False)
    line = headline(plain, plain.margin())
    assert line.word == "Safe on its scenarios, not beside them, not stable at rest"
    assert "half of them violate" in line.sentence and "Spectral radius at rest" in line.sentence


def test_zero_tried_steps():
    result = run(double_integrator_problem(), steps=0)
    assert "The backup satisfies all" in headline(result, result.margin()).sentence
    assert "no step was tried" in headline(result, result.margin()).sentence
    page = render_report(result)
    assert len(svgs(page)) == 2
    assert "No step was tried" in headings(page)
    assert "from backup to final" not in page  # nothing changed


def history_drawn(result):
    """Return the figures of a history, parsed, without those of the plant."""
    return [
        svg
        for figure in (convergence_figure, smoothness_figure)
        for svg in svgs(to_svg(figure(result), figure.__name__, "drawn"))
    ]


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
    assert line.level == "unfinished"  # not audited
    assert "the backup was kept, 5 tried steps rejected" in line.sentence
    figure = convergence_figure(rejected)
    assert marks(figure) == {
        "rejected: unsafe, or within the back-off": 1,
        "rejected: no decrease": 1,
        "rejected: not finite": 2,
        "rejected: no step": 1,
    }
    for ax in figure.axes[:2]:  # whatever was tried stands inside the picture
        low, high = ax.get_ylim()
        for line2d in ax.lines:
            assert (np.asarray(line2d.get_ydata()) >= low).all()
            assert (np.asarray(line2d.get_ydata()) <= high).all()
    assert len(history_drawn(rejected)) == 2


def test_margins_that_are_all_zero(plain):
    still = with_history(plain, (Verdict.COMMITTED, 1.0, 0.0), margin_initial=0.0, objective_initial=0.0)
    assert len(history_drawn(still)) == 2
    page = render_report(still, pictures=False)
    assert "from backup to final" not in page  # a change relative to zero means nothing


# --- every kind of problem ----------------------------------------------------------------------------------------


def test_four_states_and_two_inputs(two_inputs):
    page = render_report(two_inputs)
    figures = svgs(page)
    assert len(figures) == 4
    assert "projected" in texts(figures[0])
    assert "valve" in texts(figures[2])
    assert '<th scope="row">state x3</th><td>−0.9 … ∞' in page
    assert '<th scope="row">input heater</th><td>−0.9 … 0.9 kW' in page


def test_no_plant_leaves_the_history_and_the_table():
    result = run(user_problem())
    page = render_report(result)
    assert headings(page)[:3] == [
        "Objective, margin and stationarity over tried steps",
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
    page = render_report(run(double_integrator_problem(), mode="certified", smoothness=1e4, steps=2), pictures=False)
    assert "Certified mode." in page
    assert "Verified mode." not in page
    assert "given by the user, not estimated" in page
    bounded = run(double_integrator_problem(stability=False), mode="certified", radius=0.01, steps=2)
    page = render_report(bounded, pictures=False)
    assert "derived from the linear plant, the policy and the scenarios" in page


def test_margin_cap_is_that_of_the_initial_states(plain):
    g = plain.problem.metrics(plain.theta_initial)
    assert margin_cap(plain) == -g[~plain.problem.varies].max()
    assert margin_cap(run(user_problem(), steps=0)) == np.inf


# --- size ---------------------------------------------------------------------------------------------------------


def test_many_scenarios_and_a_long_history_stay_small(plain):
    many = control_problem(plain.problem.plant, (4,), count=1500, horizon=40)
    rng = np.random.default_rng(0)
    rows = [(VERDICTS_DRAWN[k % 3], 1 / (1 + k), 10.0 ** rng.uniform(-6, -1)) for k in range(5000)]
    result = with_history(dataclasses.replace(plain, problem=many, theta=many.theta_initial), *rows)
    page = render_report(dataclasses.replace(result, theta_initial=many.theta_initial))
    assert len(page.encode()) < 1_500_000
    assert "12 of 1\u202f500 scenarios" in page
    assert "64 of 1\u202f500 scenarios" in page


def test_many_points_become_an_image_inside_the_file(plain):
    long = control_problem(plain.problem.plant, (4,), count=64, horizon=400)
    page = render_report(dataclasses.replace(plain, problem=long))
    images = re.findall(r'<image\b[^>]*\bhref="(.*?)"', page, flags=re.DOTALL)
    assert images
    assert all(image.startswith("data:image/png;base64,") for image in images)
    assert len(page.encode()) < 1_500_000


# --- writing ------------------------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_written_is_named(plain, page, tmp_path, monkeypatch):
    monkeypatch.setattr("scpo_ctrl.report.page.render_report", lambda *_, **__: page)
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
    monkeypatch.setattr("scpo_ctrl.report.page.render_report", lambda *_, **__: page)
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
