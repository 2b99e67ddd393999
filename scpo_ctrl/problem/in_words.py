"""What a control problem is made of, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scpo_ctrl.shown import Entries, titled, written

if TYPE_CHECKING:
    from scpo_ctrl.problem.control_problem import ControlProblem

_IN_WORDS = {
    "state": "bounds of states",
    "command": "bounds of commands",
    "rate": "changes of inputs",
    "terminal": "terminal set",
}  # kinds that say more than their own name


def in_words(problem: ControlProblem) -> Entries:
    """Return policy, scenarios, metrics and objective of a problem.

    Parameters
    ----------
    problem : ControlProblem

    Returns
    -------
    list of (str, str)
        What each is called, and what it is.
    """
    return [
        ("policy", titled(problem.policy)),
        ("scenarios", titled(problem.scenarios)),
        ("metrics", _metrics(problem)),
        ("objective", written(problem.objective_data)),
    ]


def _metrics(problem: ControlProblem) -> str:
    """Return how many metrics each scenario has and of which kinds, and what there is beside them."""
    kinds = dict.fromkeys(_IN_WORDS.get(row.kind, row.kind) for row in problem.scenario_metrics.rows)
    beside = {"stability at rest": problem.stability, "one step": problem.one_step}
    found = [f"{problem.rows_per_scenario} of each scenario", *(name for name, part in beside.items() if part)]
    found[0] += f": {', '.join(kinds)}" if kinds else ""
    return "; ".join(found)
