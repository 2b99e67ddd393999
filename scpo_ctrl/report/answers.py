"""What an engineer asks of a run first: is it stable, is it safe, how much better, what binds."""

from dataclasses import dataclass

import numpy as np

from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.report.at_rest import is_stable, worst_inside
from scpo_ctrl.report.fresh_costs import fresh_costs
from scpo_ctrl.report.numbers import NARROW_SPACE, bound, margin, number, short
from scpo_ctrl.report.response import responses
from scpo_ctrl.report.tables import MetricRow
from scpo_ctrl.report.wording import change, start_name


@dataclass(frozen=True)
class Answer:
    """A question, its answer in few words, and what that rests on."""

    question: str
    parts: tuple[str, ...]  # each stays on one line
    said: str


def answers(result: Result, closest: list[MetricRow]) -> list[Answer]:
    """Return the four answers.

    Parameters
    ----------
    result : Result
    closest : list of MetricRow
        The metrics closest to their limit.

    Returns
    -------
    list of Answer
    """
    return [_stable(result), _safe(result), _better(result), _binding(closest)]


def _stable(result: Result) -> Answer:
    ends = [result.problem.spectral_radius(theta) for theta in (result.theta_initial, result.theta)]
    before, after = ends
    if before is None or after is None:
        return Answer("Stable at rest?", ("not known",), "there is no model of a loop to linearise")
    shown = [number(end) if np.isfinite(end) else "no equilibrium" for end in (before, after)]
    word = "stable" if is_stable(result) else "not stable"
    said = f"{word}: spectral radius, {start_name(result)} → final policy; stable below 1"
    radius, where = worst_inside(result)
    if radius >= 1 > after:
        said += f"; {number(radius) if np.isfinite(radius) else 'no equilibrium'} {where}"
    return Answer("Stable at rest?", (shown[0], f"→ {shown[1]}"), said)


def _safe(result: Result) -> Answer:
    summary = result.summary()
    said = f"committed policies violate a metric, the {start_name(result)} included"
    said += f"; worst margin {margin(summary['worst_margin'])}, safe at or above 0"
    audit = summary["audit"]
    if audit is None:
        said += "; not audited"
    elif audit["passed"]:
        said += f"; audited: a fresh scenario violates with probability ≤ {bound(audit['epsilon'], 2)}"
    else:
        said += "; the audit found violations"
    return Answer("Safe?", (number(summary["violations"]), f"of {number(summary['accepted'] + 1)}"), said)


def _better(result: Result) -> Answer:
    ends = (number(result.objective_initial), f"→ {number(result.objective_final)}")
    said = f"objective, {start_name(result)} → final policy{change(result, ' ({})')}"
    if result.final_audit is not None and (costs := fresh_costs(result)):
        said += f"; {costs.said()}"
    said += "".join(f"; {one.in_brief}" for one in responses(result)[:1])
    summary = result.summary()
    tried = f"{number(len(result.history))} tried steps: {number(summary['accepted'])} committed"
    tried += f", {number(summary['rejected'])} rejected"
    tried += f", {number(summary['withdrawn'])} withdrawn after an audit" if summary["withdrawn"] else ""
    return Answer("How much better?", ends, f"{said}; {tried}")


def _binding(closest: list[MetricRow]) -> Answer:
    first = next((row for row in closest if row.varies), None)
    if first is None:
        return Answer("What binds?", ("nothing",), "no metric depends on the policy")
    left = f"margin {margin(first.after)}"
    if first.part is not None and np.isfinite(first.part):
        left += f", {short(first.part, 2)}{NARROW_SPACE}% of the way from rest to the bound"
    where = f", {first.scenario.split(':')[0]}, {first.when}" if first.scenario else ""
    return Answer("What binds?", tuple(first.label.split(" ")), f"the closest metric: {left}{where}")
