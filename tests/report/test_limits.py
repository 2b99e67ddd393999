"""Constraints and limited changes in the report: what is said of them, and what is drawn."""

from __future__ import annotations

import re

import numpy as np
import pytest
from matplotlib.colors import to_hex
from plain_loop import cart, rolled

from scpo_ctrl.assurance.falsify import falsify
from scpo_ctrl.record.files import load_result
from scpo_ctrl.report import figures
from scpo_ctrl.report.falsified import falsified_figure
from scpo_ctrl.report.limits_figure import MOST_LIMITS, closest, limits_figure
from scpo_ctrl.report.page import render_report
from scpo_ctrl.report.reach import limits_reached, reach_lines
from scpo_ctrl.report.trajectories import Limited, limited


@pytest.fixture(scope="module")
def result(runs):
    return load_result(runs["expressions, audited"])


def by_hand(result, theta):
    """Return power, the ellipse, braking and the change of force along all scenarios."""
    batch = result.problem.scenarios
    X, _, U = rolled(result.problem, theta, batch, cart)
    u, v, x = U[:, :, 0], X[:, :, 1], X[:, :, 0]
    return [u * v[:, :-1], (x / 5) ** 2 + v**2, -batch.p * u * v[:, :-1], np.diff(u, axis=1)]


def test_values_are_those_of_a_loop_in_numpy(result):
    found = limited(result.problem, result.problem.scenarios.p, *result.problem.trajectories(result.theta))
    assert [one.name for one in found] == ["power", "ellipse", "braking", "change of force"]
    assert [(one.low, one.high, one.first) for one in found] == [
        (-np.inf, 0.05, 0), (-np.inf, 2.0, 0), (-np.inf, 0.3, 0), (-0.15, 0.15, 1),
    ]  # fmt: skip
    for one, values in zip(found, by_hand(result, result.theta), strict=True):
        np.testing.assert_allclose(one.values, values, atol=1e-12)
        assert one.used == pytest.approx(max(0.0, np.max(values / one.high), -np.min(values) / 0.15 * (one.first == 1)))


def test_memories_have_their_place(runs):
    result = load_result(runs["pid, expressions"])
    X, U = result.problem.trajectories(result.theta)
    drift, power, change = limited(result.problem, result.problem.scenarios.p, X, U)
    np.testing.assert_allclose(drift.values, (X[:, :, 3] - X[:, :, 0]) ** 2, atol=1e-15)
    u = np.clip(U[:, :, 0], -1, 1)
    np.testing.assert_allclose(power.values, u * X[:, :-1, 1] * result.problem.scenarios.p, atol=1e-15)
    np.testing.assert_allclose(change.values, np.diff(u, axis=1), atol=1e-15)


def test_the_report_says_bounds_with_units_and_use(result):
    text, used = render_report(result, pictures=False), [one.after for _, one in limits_reached(result)]
    for name, said, part in zip(
        ("constraint power", "constraint ellipse", "constraint braking", "change of force"),
        ("≤ 0.05 W", "≤ 2", "≤ 0.3", "−0.15 … 0.15 N"),
        used,
        strict=True,
    ):
        row = next(line for line in text.splitlines() if f">{name}</th>" in line)
        assert f"<td>{said}; the scenarios use" in row and repr(100 * part) in row
    assert "Constraints over time" in text and "Constraints: ellipse ≤ 2, power ≤ 0.05 W" in text
    [line] = [line for line in reach_lines(result) if line.startswith("reach")]
    power = by_hand(result, result.theta)[0].max()
    assert f"power {power:.3g} of 0.05 W" in line


def test_each_is_drawn_before_and_after_with_its_bound_dashed(result):
    figure = limits_figure(result)
    axes = np.array(figure.axes).reshape(4, 2)
    labels = [ax.get_ylabel() for ax in axes[:, 0]]
    assert labels == ["power\n[W]", "ellipse", "braking", "change of force\n[N]"]
    for column, theta in enumerate((result.theta_initial, result.theta)):
        for ax, values, first in zip(axes[:, column], by_hand(result, theta), (0, 0, 0, 1), strict=True):
            lines = ax.collections[-1].get_segments()
            np.testing.assert_allclose([line[:, 1] for line in lines], values, atol=1e-12)
            np.testing.assert_allclose(lines[0][:, 0], 0.1 * (first + np.arange(values.shape[1])))
    dashed = [line for line in axes[0, 1].lines if line.get_linestyle() == "--"]
    assert [float(line.get_ydata()[0]) for line in dashed] == [0.05]
    assert to_hex(dashed[0].get_color()) == figures.LIMIT
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["bound", "at the equilibrium"]
    assert "time [s]" in axes[-1, 0].get_xlabel()


def test_a_falsified_picture_has_them(result):
    attack = falsify(result.problem, result.problem.theta_initial + 3.0, budget=2000)
    assert attack.found
    figure = falsified_figure(result, attack)
    labels = [ax.get_ylabel().split("\n")[0] for ax in figure.axes]
    assert labels == ["force", "position", "velocity", "power", "ellipse", "braking", "change of force"]


def test_the_closest_are_shown_where_there_are_many():
    def one(name, high):
        return Limited(name, "", -np.inf, high, 0.0, 0, np.ones((1, 3)))

    pairs = [(one(f"c{i}", 100.0 - i), one(f"c{i}", 100.0 - i)) for i in range(MOST_LIMITS + 5)]
    assert [pair[0].name for pair in closest(pairs)] == [f"c{i}" for i in range(5, MOST_LIMITS + 5)]


def test_a_page_with_forged_bounds_is_not_that_of_the_record(copy_of):
    from scpo_ctrl.verification.verify import verify

    run = copy_of("expressions, audited")
    (run / "report.html").write_text(render_report(load_result(run), pictures=False))
    assert verify(run).faults == ()
    text = (run / "report.html").read_text()
    assert re.search("≤ 0.05 W; the scenarios", text)
    (run / "report.html").write_text(text.replace("≤ 0.05 W; the scenarios", "≤ 0.5 W; the scenarios"))
    assert "report.html" in "; ".join(verify(run).faults)
