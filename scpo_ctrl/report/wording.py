"""What is said of a run, in the report, on the terminal and in exports alike: the headline, and what it is made of."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from scpo_ctrl.adaptation.binding import TIGHT
from scpo_ctrl.adaptation.options import CURVED
from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.adaptation.status import RunStatus, Verdict
from scpo_ctrl.assurance.audit import BETA
from scpo_ctrl.assurance.clopper_pearson import violation_bound
from scpo_ctrl.loop.controlled import ControllerPolicy
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.report.at_rest import CORNERS, is_stable, worst_inside
from scpo_ctrl.report.fresh_costs import FreshCosts, fresh_costs
from scpo_ctrl.report.numbers import NARROW_SPACE, bound, number, plural, short

_MOST_GAINS = 24  # in as many lines on a terminal
VERDICT_WORDS = {
    Verdict.COMMITTED: "committed",
    Verdict.UNSAFE: "rejected: unsafe, or within the back-off",
    Verdict.NO_DECREASE: "rejected: no decrease",
    Verdict.NOT_FINITE: "rejected: not finite",
    Verdict.NO_STEP: "rejected: no step",
    Verdict.WITHDRAWN: "withdrawn after an audit",
}


@dataclass(frozen=True)
class Headline:
    """What the eye sees first."""

    level: str  # "safe", "unfinished" or "unsafe": decides the colour
    word: str
    sentence: str


def headline(result: Result, margin_now: float) -> Headline:
    """Return the verdict on a run, in one sentence.

    Parameters
    ----------
    result : Result
    margin_now : float
        Margin of the final policy, computed anew.

    Returns
    -------
    Headline
    """
    summary, problem = result.summary(), result.problem
    policies, violations, metrics = summary["accepted"] + 1, summary["violations"], number(summary["metrics"])
    where = f" on {plural(problem.scenarios.count, 'scenario')}" if isinstance(problem, ControlProblem) else ""
    outcome = _outcome(result, summary)
    if violations:
        sentence = f"{number(violations)} of {plural(policies, 'committed policy')} break a metric{where}; {outcome}."
        return Headline("unsafe", "Unsafe", sentence)
    if not margin_now >= 0:
        sentence = f"Computed anew, the final policy breaks a metric by {bound(-margin_now)}, unlike its record."
        return Headline("unsafe", "Unsafe", sentence)
    if result.status is RunStatus.SMOOTHNESS_TOO_SMALL:
        return Headline("unsafe", "Not certified", f"The smoothness constants did not hold; {outcome}.")
    reached = optimality(result, lambda value: short(value, 2))
    outcome += f". {capital(reached)}" if reached else ""
    every = f"{number(policies)} of {plural(policies, 'committed policy')}"
    sentence = f"{every} satisfy all {metrics} metrics{where}; {outcome}."
    if policies == 1:
        sentence = f"The {start_name(result)} satisfies all {metrics} metrics{where}; {outcome}."
    return _kept(result, sentence)


def _outcome(result: Result, summary: dict[str, Any]) -> str:
    """Return what became of the objective, or of the steps that were tried."""
    if summary["accepted"]:
        return (
            f"objective {number(result.objective_initial)} → {number(result.objective_final)}{change(result, ' ({})')}"
        )
    kept = f"the {start_name(result)} was kept"
    if summary["withdrawn"]:
        return f"{kept}, {plural(summary['withdrawn'], 'commit')} withdrawn after an audit"
    return (
        f"{kept}, {plural(summary['rejected'], 'tried step')} rejected" if summary["rejected"] else "no step was tried"
    )


def _kept(result: Result, sentence: str) -> Headline:
    """Return the headline of a run in which every metric held, which says no more than that."""
    audit = audited(result)
    title = "Safe on its scenarios" if isinstance(result.problem, ControlProblem) else "Every metric holds"
    if audit:
        title = "Audited"
    look = audit or beyond(result)
    but = [look.but] if look and look.but else []
    if look:
        sentence = f"{sentence} Beside them, {look.sentence}."
    if not is_stable(result):
        sentence = f"{sentence} {capital(stability(result, number))}."
        but.append("not stable at rest")
    if but:
        return Headline("unfinished", ", ".join([title, *but]), sentence)
    words = {
        RunStatus.RUNNING: ", not finished",
        RunStatus.INTERRUPTED: ", not finished",
        RunStatus.STALLED: ", stalled",
        RunStatus.CONVERGED: ", converged",
    }
    level = "safe" if result.status in (RunStatus.CONVERGED, RunStatus.FINISHED) else "unfinished"
    title += words.get(result.status, "")
    if not audit and isinstance(result.problem, ControlProblem):
        return Headline("unfinished", f"{title}, not audited", sentence)
    return Headline(level, title, sentence)


def capital(text: str) -> str:
    """Return a clause as the beginning of a sentence.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
    """
    return text[0].upper() + text[1:]


def change(result: Result, text: str = "{}") -> str:
    """Return the relative change of the objective; nothing where it means nothing.

    Parameters
    ----------
    result : Result
    text : str
        What it is put into.

    Returns
    -------
    str
    """
    found = percent(result.objective_initial, result.objective_final)
    return text.format(found) if found else ""


def percent(before: float, after: float) -> str:
    """Return a relative change in percent; nothing where it means nothing.

    Parameters
    ----------
    before, after : float

    Returns
    -------
    str
    """
    if not (np.isfinite([before, after]).all() and before not in (0.0, after)):
        return ""
    part = 100 * (after - before) / abs(before)
    return f"{part:+.{0 if abs(part) >= 1 else 2}f}{NARROW_SPACE}%".replace("-", "−")


def optimality(result: Result, show: Callable[[float], str]) -> str:
    """Return how close to an optimum a run ended, with a number; nothing before the first step.

    Parameters
    ----------
    result : Result
    show : callable
        Prints a number.

    Returns
    -------
    str
    """
    if not np.isfinite(result.stationarity):
        return ""
    part, tolerance = show(result.stationarity), show(result.options.tolerance)
    if result.status is RunStatus.CONVERGED:
        scale = max(abs(result.objective_final), abs(result.objective_initial)) or 1.0
        fall = show(result.stationarity * scale)
        order = "to first order"
        sampled = 0 < result.options.directions < result.theta.size
        if sampled and result.options.method not in CURVED:  # whose stationarity is that of the whole step
            order += " along the directions sampled"
        return f"converged: the objective can fall by at most about {fall} {order} (stationarity {part})"
    word = {RunStatus.STALLED: "stalled", RunStatus.FINISHED: "finished"}.get(result.status, "stopped")
    return f"{word} with stationarity {part}, where {tolerance} counts as converged"


@dataclass(frozen=True)
class Beyond:
    """How the final policy does on fresh scenarios of the declared set, in words."""

    sentence: str
    but: str = ""  # what a headline has to add: that some violate, or that they cost more than under the safe start


def audited(result: Result) -> Beyond | None:
    """Return what the final audit of a run says; None where there was none.

    Parameters
    ----------
    result : Result

    Returns
    -------
    Beyond or None
    """
    last = result.final_audit
    if last is None:
        return None
    assert isinstance(result.problem, ControlProblem)
    most = bound(result.audit_bound(), 2)
    sentence = (
        f"audited: no violation in {number(last.rollouts)} fresh scenarios of the declared set over "
        f"{plural(result.problem.scenarios.horizon, 'step')}, nor in a search from the worst of them "
        f"(probability ≤ {most} at confidence 1 − {number(BETA)})"
    )
    costs = fresh_costs(result)
    if costs is None:
        return Beyond(sentence)
    if costs.after > costs.before:
        more = f"costs more than the {start_name(result)}"
        return Beyond(f"{sentence}, but {costs.said()}, more than with the {start_name(result)}", more)
    kept = np.array_equal(result.theta, result.theta_initial)
    itself = f", the policy is the {start_name(result)} itself" if kept else ""
    return Beyond(f"{sentence}; {costs.said()}{itself}")


def beyond(result: Result) -> Beyond | None:
    """Look beyond the scenarios of a run; None where there is nothing to look at.

    Parameters
    ----------
    result : Result

    Returns
    -------
    Beyond or None
    """
    problem = result.problem
    if not isinstance(problem, ControlProblem):
        return None
    if result.looks is None:
        return None
    start, final = result.looks
    count, percent = final.worst.size, f"{NARROW_SPACE}%"
    if final.violations:
        shares = [short(100 * look.violations / count) + percent for look in (final, start)]
        of_start = f" ({shares[1]} with the {start_name(result)})" if start.violations else ""
        return Beyond(f"{shares[0]} of {number(count)} fresh scenarios violate a metric{of_start}", "not beside them")
    sentence = f"none of {number(count)} fresh scenarios violates a metric"
    if problem.is_closed_loop_cost and final.objective > start.objective:
        costs = FreshCosts.of(start, final).said()
        more = f"costs more than the {start_name(result)}"
        return Beyond(f"{sentence}, but {costs}, more than with the {start_name(result)}", more)
    most = bound(100 * violation_bound(0, count, BETA), 2) + percent
    return Beyond(f"{sentence}: at most {most} do, at confidence 1 − {number(BETA)}")


def stability(result: Result, show: Callable[[float], str]) -> str:
    """Return the spectral radius of the loop at rest before and after, and where; nothing without a model of a loop.

    Parameters
    ----------
    result : Result
    show : callable
        Prints a number.

    Returns
    -------
    str
    """
    ends = [result.problem.spectral_radius(theta) for theta in (result.theta_initial, result.theta)]
    if None in ends:
        return ""
    before, after = (show(end) if end is not None and np.isfinite(end) else "none (no equilibrium)" for end in ends)
    radius, where = worst_inside(result)
    found = ends[1] is not None and radius >= 1 > ends[1]
    inside = f", but {show(radius) if np.isfinite(radius) else 'none (no equilibrium)'} {where}" if found else ""
    return f"spectral radius at rest {before} → {after}, {CORNERS}{inside}"


def start_name(result: Result) -> str:
    """Return what the safe start is: the backup of a plant, or nothing more than that, as where scenarios were learned.

    Parameters
    ----------
    result : Result

    Returns
    -------
    str
    """
    problem = result.problem
    if not isinstance(problem, ControlProblem):
        return "safe start"
    if isinstance(problem.policy, ControllerPolicy):
        return "safe start" if result.theta_initial.any() else problem.policy.controller.name
    output = problem.policy.widths[-2] * problem.plant.nu  # weights of the last layer: while they are zero, so is φ
    return "safe start" if result.theta_initial[-output:].any() else "backup"


def backup_name(problem: ControlProblem) -> str:
    """Return what the backup of a plant is: a controller as it ran before, or the backup of a residual policy.

    Parameters
    ----------
    problem : ControlProblem

    Returns
    -------
    str
    """
    policy = problem.policy
    return f"{policy.controller.name} as it ran before" if isinstance(policy, ControllerPolicy) else "backup"


def met_bound(row: dict[str, Any]) -> float | None:
    """Return the bound that a parameter of a controller has come to, within 1 % of its way there; None if it has not.

    Parameters
    ----------
    row : dict
        Of `Result.parameters`.

    Returns
    -------
    float or None
    """
    ends = (end for end in row.get("bounds", ()) if end is not None)
    return next((end for end in ends if abs(row["after"] - end) <= TIGHT * abs(row["before"] - end)), None)


def gains(result: Result) -> list[str]:
    """Return the parameters of a controller before and after, each in a line for a terminal.

    Parameters
    ----------
    result : Result

    Returns
    -------
    list of str
        Empty where the policy is not a controller's; of very many the first ones, and how many there are.
    """
    rows = result.parameters()
    width = max((len(row["label"]) for row in rows[:_MOST_GAINS]), default=0)
    lines = []
    for row in rows[:_MOST_GAINS]:
        line = f"parameter  {row['label']:<{width}} {row['before']:.4g} -> {row['after']:.4g} {row['unit']}".rstrip()
        met = met_bound(row)
        lines.append(line if met is None else f"{line}, at its bound {met:.4g}")
    more = len(rows) - _MOST_GAINS
    return lines + ([f"parameter  and {plural(more, 'more parameter')}, in result.json"] if more > 0 else [])
