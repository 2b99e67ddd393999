"""What held the last tried steps of a run back, in words: the metric or guard, its time step, and the remedy."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from scpo_ctrl.adaptation.history import VERDICTS, Trial
from scpo_ctrl.adaptation.options import CURVED
from scpo_ctrl.adaptation.status import RunStatus, Verdict
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.problem.guarded import GuardedProblem
from scpo_ctrl.problem.problem import Problem
from scpo_ctrl.rounding import down

if TYPE_CHECKING:
    from scpo_ctrl.adaptation.result import Result


def held_back(result: Result) -> str:
    """Return what kept a run from committing steps at its end.

    Parameters
    ----------
    result : Result

    Returns
    -------
    str
        Sentences, where it stalled, never left its start, or ended with a whole step in vain; else empty.
    """
    rows, problem = result.history.rows, _with_guards(result)
    if result.status is RunStatus.SMOOTHNESS_TOO_SMALL and rows:
        return f"The bound that it left: {problem.metric_label(rows[-1].worst)}."
    last = _since_commit(rows)
    in_vain = len(last) == len(rows) or len(last) >= result.options.tries
    if not last or not (result.status is RunStatus.STALLED or (in_vain and result.status is RunStatus.FINISHED)):
        return ""
    verdicts = Counter(VERDICTS[row.verdict] for row in last)
    if verdicts[Verdict.UNSAFE]:
        del verdicts[Verdict.NO_STEP]  # unsafe steps make the constants L large, which leave no step
    verdict, count = verdicts.most_common(1)[0]
    (worst, times), *_ = Counter(row.worst for row in last if VERDICTS[row.verdict] is verdict).most_common(1)
    found = _part(len(last), count, "" if len(last) == len(rows) else " since the last commit")
    where = "" if worst < 0 else f", {'' if times == count else f'{times} of them '}at {problem.metric_label(worst)}"
    return f"{found} {_remedy(result, problem, verdict, where)}"


def _remedy(result: Result, problem: Problem, verdict: Verdict, where: str) -> str:
    """Return what became of most tried steps, where, and what to do about it."""
    if verdict is Verdict.WITHDRAWN:
        return f"withdrawn after an audit: give more scenarios, or raise back_off. {_closest(result, problem)}."
    if verdict is Verdict.NO_DECREASE:
        return f"without a fall of the objective: smooth it, or lower radius. {_closest(result, problem)}."
    if verdict is Verdict.NO_STEP:
        more = "start from parameters with more room there"
        if isinstance(result.problem, ControlProblem):
            more = problem.remedy(_least_room(result, problem))
        return f"left without a length. {_closest(result, problem)}: {more}."
    if verdict is Verdict.NOT_FINITE:
        return f"not finite{where}: lower radius, or shorten the horizon."
    other = "" if result.options.method in CURVED else ", or take method 'newton', whose steps bend along it"
    smooth = (
        f"Where that metric is smooth, lower radius or sampling_radius{other}; else write it as several smooth ones."
    )
    return f"unsafe{where}. {smooth}"


def _part(total: int, count: int, since: str) -> str:
    """Begin a sentence about some of the tried steps."""
    if count == total:
        return f"The tried step{since} was" if total == 1 else f"All {total} tried steps{since} were"
    return f"{count} of {total} tried steps{since} {'was' if count == 1 else 'were'}"


def _with_guards(result: Result) -> Problem:
    """Return the problem whose metrics the rows of a run name: its own, and those of its guards (E12)."""
    if result.guards is None or not isinstance(result.problem, ControlProblem):
        return result.problem
    return GuardedProblem(result.problem, result.guards, result.options.back_off)


def _since_commit(rows: list[Trial]) -> list[Trial]:
    last = max((i for i, row in enumerate(rows) if row.is_committed), default=-1)
    return rows[last + 1 :]


def _least_room(result: Result, problem: Problem) -> int:
    """Return the metric that can move and is closest to its bound at the final policy."""
    g = problem.evaluate(result.theta)[1]
    return int(np.argmax(np.where(problem.moves, np.nan_to_num(g, nan=np.inf), -np.inf)))


def _closest(result: Result, problem: Problem) -> str:
    index = _least_room(result, problem)
    margin = -float(problem.metrics(result.theta)[index])
    return f"Closest to its bound is {problem.metric_label(index)}, with {down(margin)} left"
