"""Words and numbers for reading, alike in the report and on the terminal."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from scpo_ctrl.adaptation.options import CURVED
from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.adaptation.status import RunStatus
from scpo_ctrl.assurance.audit import BETA
from scpo_ctrl.assurance.fresh import look_beyond, violation_bound
from scpo_ctrl.loop.controlled import ControllerPolicy
from scpo_ctrl.problem.control_problem import ControlProblem

NARROW_SPACE = "\u202f"  # does not break
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: Any) -> str:
    """Return a number for reading: four digits, thousands apart, a true minus, powers of ten.

    Parameters
    ----------
    value : int, float, bool, str or None
        What is not a number is returned as text.

    Returns
    -------
    str
    """
    if value is None:
        return "none"
    if isinstance(value, (bool, str)):
        return str(value).lower() if isinstance(value, bool) else value
    if isinstance(value, (int, np.integer)):
        return f"{int(value):,}".replace(",", NARROW_SPACE).replace("-", "−")
    if not np.isfinite(value):
        return "not a number" if np.isnan(value) else "∞" if value > 0 else "−∞"
    text = f"{value:.4g}"
    if "e" in text:
        digits, exponent = text.split("e")
        text = f"{digits}{NARROW_SPACE}×{NARROW_SPACE}{power_of_ten(int(exponent))}"
    return text.replace("-", "−")


def short(value: float, digits: int = 3) -> str:
    """Return a number for reading, with few digits.

    Parameters
    ----------
    value : float
    digits : int

    Returns
    -------
    str
    """
    return number(float(f"{value:.{digits}g}"))


def power_of_ten(exponent: int, sign: str = "") -> str:
    """Return a power of ten in plain characters, ``10⁻³``.

    Parameters
    ----------
    exponent : int
    sign : str
        What stands before it.

    Returns
    -------
    str
    """
    return f"{sign}10{str(exponent).translate(_SUPERSCRIPTS)}"


def with_unit(value: float, unit: str, show: Callable[[float], str] = number) -> str:
    """Return a number for reading with its unit, which may be empty.

    Parameters
    ----------
    value : float
    unit : str
    show : callable
        Prints the number.

    Returns
    -------
    str
    """
    return f"{show(value)} {unit}".rstrip()


def plural(count: int, noun: str) -> str:
    """Return a count with its noun.

    Parameters
    ----------
    count : int
    noun : str
        In the singular.

    Returns
    -------
    str
    """
    many = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{number(count)} {noun if count == 1 else many}"


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
    before, after = result.objective_initial, result.objective_final
    if not (np.isfinite([before, after]).all() and before not in (0.0, after)):
        return ""
    percent = 100 * (after - before) / abs(before)
    return text.format(f"{percent:+.{0 if abs(percent) >= 1 else 2}f}{NARROW_SPACE}%".replace("-", "−"))


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
    most = short(result.audit_bound(), 2)
    sentence = (
        f"audited: no violation in {number(last.rollouts)} fresh scenarios, nor in a search from the worst of them "
        f"(probability ≤ {most} at confidence 1 − {number(BETA)})"
    )
    start = result.audits[0].objective
    costs = f"mean cost there {number(start)} → {number(last.objective)}"
    if not (isinstance(result.problem, ControlProblem) and result.problem.is_closed_loop_cost):
        return Beyond(sentence)
    if last.objective > start:
        return Beyond(
            f"{sentence}, but their {costs}, more than with the {start_name(result)}",
            f"costs more than the {start_name(result)}",
        )
    return Beyond(f"{sentence}; {costs}")


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
    start, final = (look_beyond(problem, theta) for theta in (result.theta_initial, result.theta))
    if start is None or final is None:
        return None
    count, percent = final.worst.size, f"{NARROW_SPACE}%"
    if final.violations:
        shares = [short(100 * look.violations / count) + percent for look in (final, start)]
        of_start = f" ({shares[1]} with the {start_name(result)})" if start.violations else ""
        return Beyond(f"{shares[0]} of {number(count)} fresh scenarios violate a metric{of_start}", "not beside them")
    sentence = f"none of {number(count)} fresh scenarios violates a metric"
    if problem.is_closed_loop_cost and final.objective > start.objective:
        costs = f"{number(final.objective)}, more than the {number(start.objective)} of the {start_name(result)}"
        return Beyond(f"{sentence}, but their mean cost is {costs}", f"costs more than the {start_name(result)}")
    most = short(100 * violation_bound(0, count, BETA), 2) + percent
    return Beyond(f"{sentence}: at most {most} do, at confidence 1 − {number(BETA)}")


def stability(result: Result, show: Callable[[float], str]) -> str:
    """Return the spectral radius of the loop at rest before and after; nothing without a model of a loop.

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
    return f"spectral radius at rest {before} → {after}"


def is_stable(result: Result) -> bool:
    """Return whether the final loop is stable at rest for all of its parameters, as far as there is a model of it.

    Parameters
    ----------
    result : Result

    Returns
    -------
    bool
    """
    radius = result.problem.spectral_radius(result.theta)
    return radius is None or radius < 1


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
