"""What objects print: few lines, no arrays, nothing that is not known, and no markup of the user's."""

from __future__ import annotations

import dataclasses
import html.parser

import fuzz_tables
import numpy as np
import pytest

import scpo_ctrl as sc
from scpo_ctrl import controllers, models
from scpo_ctrl.models.plain import to_plain
from scpo_ctrl.shown import Shown


@pytest.fixture(scope="module")
def objects():
    """One of each kind that somebody looks at."""
    it = fuzz_tables.here()
    theta, problem, result = it.result.theta, it.problem, it.result
    power = sc.Constraint(name="power", expression=it.plant.u * it.plant.x[1], bound=0.3, unit="W")
    return {
        type(one).__name__: one
        for one in (
            it.plant, it.backup, it.policy, it.controlled, it.controlled.controller, it.batch, problem, it.options,
            result, it.adapter, it.adapter.mismatch(), power, sc.MetricOptions(constraints=power), sc.DeviceOptions(),
            it.objective, it.oracle, sc.Imitation(np.ones((9, 2)), np.ones((9, 1))), sc.Cost(it.plant.x[0] ** 2),
            sc.FunctionProblem(np.zeros(2), it.metrics, it.oracle),
            sc.project([1.0], [-0.1], [[1.0]], [0.0], [0.0], 1.0),
            sc.audit(problem, theta, rollouts=20, seed=0), sc.certify(problem, theta, epsilon=0.5, beta=0.5),
            sc.falsify(problem, theta, budget=20), sc.simulate(result, episodes=2), result.history.rows[0],
            sc.adapt_as_device(problem, steps=1), models.signals.step(0.0, 1.0, at=0.5), result.history,
            result.audits[0], it.adapter.samples(), it.batch.declared,
        )
    }  # fmt: skip


class Page(html.parser.HTMLParser):
    """The text of a page, and its tags."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_every_object_is_short_and_says_the_same_twice(objects):
    assert all(isinstance(one, Shown) for one in objects.values())
    for name, one in objects.items():
        lines, page = repr(one).split("\n"), Page(one._repr_html_())
        assert lines[0].startswith(name)
        assert len(lines) <= 16
        assert all(len(line) <= 120 for line in lines)
        assert "array(" not in repr(one)
        assert "[[" not in repr(one)
        said = " ".join(repr(one).split())
        for tag, attributes in page.tags:
            assert tag in ("table", "caption", "strong", "tbody", "tr", "th", "td")
            assert "background" not in attributes.get("style", "")
        if "(" not in lines[0].split(":")[0]:
            assert all(word in page.text for word in said.replace(":", " ").split() if word.isalpha())


def test_a_run_says_where_it_is_safe_and_that_nobody_looked_beyond(objects):
    result = objects["Result"]
    assert "of all committed policies, on its 2 scenarios" in repr(result)
    looked, nobody = dataclasses.replace(result, audits=()), "not audited: nothing is said of other scenarios"
    assert nobody in repr(looked)
    assert nobody not in repr(result) or result.final_audit is None
    bad = dataclasses.replace(result, margin_initial=-0.25)
    assert "-0.25 of all committed policies, so one breaks a metric" in repr(bad)
    for one in objects.values():
        claims = repr(one).replace("unsafe", "").replace("the safe start", "")
        assert "safe" not in claims or "on its 2 scenarios" in claims


def test_a_problem_says_which_metrics_it_has_and_a_history_what_became_of_its_steps(objects):
    it = fuzz_tables.here()
    power = sc.Constraint(name="power", expression=it.plant.u * it.plant.x[1], bound=0.3, unit="W")
    options = sc.MetricOptions(constraints=power, contraction=0.9, du_max=[0.5])
    problem = sc.ControlProblem(it.policy, it.batch, it.objective, options)
    said = "bounds of states, bounds of commands, power, changes of inputs, contraction; stability at rest"
    assert f"metrics {problem.rows_per_scenario} of each scenario: {said}" in " ".join(repr(problem).split())
    assert "MetricOptions" not in repr(problem)
    history = objects["Result"].history
    assert repr(history).split("\n")[0] == f"History: {len(history)} tried step"
    assert f"committed {history.column('committed').sum()}" in " ".join(repr(history).split())


def test_a_stopped_run_says_what_to_do(objects):
    stopped = dataclasses.replace(objects["Result"], status=sc.RunStatus.STALLED)
    assert "lower radius" in repr(stopped)
    assert repr(stopped).startswith("Result: stalled\n")


def test_a_backup_is_not_proved_by_printing_it():
    backup = sc.lqr(models.double_integrator(), [0.1, 0.1], [10.0])
    assert "not looked at yet" in repr(backup)
    assert backup.evidence == "proved"
    assert "proved" in repr(backup)
    assert "unchecked" in repr(dataclasses.replace(backup))


def test_options_print_as_they_are_written():
    options = sc.AdaptOptions(steps=40, method="gradient", preconditioner=[2.0, 1.0])
    assert repr(options) == "AdaptOptions(steps=40, method='gradient', preconditioner=(2.0, 1.0))"
    assert eval(repr(options), {"AdaptOptions": sc.AdaptOptions}) == options
    assert repr(sc.AdaptOptions()) == "AdaptOptions()"
    assert "all at their defaults" in sc.AdaptOptions()._repr_html_()
    assert repr(sc.Quadratic(Q=np.ones(99), R=0.1)) == "Quadratic(Q=an array of shape (99,), R=0.1)"


def test_labels_are_text_and_nothing_else():
    plant = models.double_integrator().replace(
        name="<script>x</script>\x1b[2J", x_labels=("<b>&\n", "y" * 900), x_units=("m", "m/s")
    )
    assert "\x1b" not in repr(plant)
    assert len(repr(plant)) < 1000
    page = Page(plant._repr_html_())
    assert {tag for tag, _ in page.tags} <= {"table", "caption", "strong", "tbody", "tr", "th", "td"}
    assert "<script>x</script>" in page.text


@pytest.mark.parametrize("none", ["1", "-"])
def test_what_has_no_dimension_is_printed_without_a_unit(none):
    plain = models.buck_converter()
    plant = plain.replace(u_units=(none,), p_units=(none,) * plain.npar, x_units=("A", none))
    bare = plain.replace(u_units=("",), p_units=("",) * plain.npar, x_units=("A", ""))
    for other, it in ((repr(bare), repr(plant)), (bare._repr_html_(), plant._repr_html_())):
        assert it == other
    assert to_plain(plant) == to_plain(bare)
    one = sc.Constraint(name=("a", "b"), expression=[plant.x[0], plant.u], bound=1.0, unit=("A", none))
    assert one.unit == ("A", "")
    assert sc.Constraint(name="a", expression=plant.u, bound=1.0, unit=none).unit == ("",)
    law = controllers.state_feedback(models.double_integrator().replace(x_units=("m", none)), [[1.0, 1.0]])
    assert law.theta_units[1] in ("N", "m/s^2", "m/s²")
