"""What is seen of a run while it goes on: a line that follows it, and a log of its steps."""

from collections import Counter
from itertools import takewhile
from types import TracebackType
from typing import Self

import numpy as np

from scpo_ctrl.adaptation.binding import least_part, rooms
from scpo_ctrl.adaptation.history import VERDICTS, Trial
from scpo_ctrl.adaptation.state import State
from scpo_ctrl.adaptation.status import Verdict
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.problem.problem import Problem
from scpo_ctrl.progress import Line
from scpo_ctrl.rounding import down

_COLUMNS = f"{'step':>6}  {'objective':>12}  {'margin':>10}  {'|step|':>8}  {'radius':>8}  rejected tries"


class Display:
    """A line that follows a run, on stderr.

    Parameters
    ----------
    steps : int
        Number of steps of the run.
    shown : bool, optional
        As of `scpo_ctrl.progress.Line`.
    verbose : bool
        Write a line for every step.
    heading : str
        What is written above these lines.
    """

    def __init__(self, steps: int, *, shown: bool | None = True, verbose: bool = False, heading: str = "") -> None:
        plain_after = np.inf if verbose else 0.0  # verbose lines stand in a file in its place
        self._line = Line("adapt", steps, shown=shown, plain_after=plain_after, text="the safe start is checked")
        self._verbose = verbose and shown is not False
        self._heading = [heading] if heading else []
        self._fields: tuple[str, ...] = ()
        self._more: tuple[str, ...] = ()
        self._verdicts, self._seen, self._audits = Counter[Verdict](), 0, 0  # of so many rows, after so many audits
        self._problem: Problem | None = None  # whose rooms these are
        self._rooms = np.zeros(0)

    def __enter__(self) -> Self:
        self._line.__enter__()
        if self._verbose:
            for line in (*self._heading, _COLUMNS):
                self._line.log(line)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._line.__exit__(kind, error, trace)

    def show(self, state: State) -> None:
        """Show the state after a step.

        Parameters
        ----------
        state : State
        """
        if self._verbose:
            self._log(state)
        if self._line.is_due(state.step):
            self._fields = f"objective {state.objective:.4f}", f"margin {self._margin(state)}", self._tries(state)
            self._more = f"stationarity {state.stationarity:.1e}", f"active {state.active.size}"
            self._line.show(state.step, None, self._fields, self._more)

    def show_audit(self, step: int, done: int, total: int) -> None:
        """Show how far an audit has come.

        Parameters
        ----------
        step : int
            Steps done before it.
        done, total : int
            Rollouts.
        """
        audit = f"audit {100 * min(done, total) // total:3d} %"
        self._line.show(step, None, (audit, *self._fields), self._more)

    def _tries(self, state: State) -> str:
        """Count the tries by what became of them; an audit changes that of earlier ones."""
        rows, audits = state.history.rows, len(state.audits)
        if audits != self._audits:
            self._verdicts, self._seen = Counter(), 0
        self._verdicts.update(VERDICTS[row.verdict] for row in rows[self._seen :])
        self._seen, self._audits = len(rows), audits
        accepted, withdrawn = self._verdicts[Verdict.COMMITTED], self._verdicts[Verdict.WITHDRAWN]
        return f"accepted {accepted} of {len(rows)}" + (f", withdrawn {withdrawn}" if withdrawn else "")

    def _margin(self, state: State) -> str:
        """Return the margin of the metric closest to its bound, in percent of its room; its own unit without a plant.

        The least margin itself is that of the guard with the least room, whatever its unit: it reads like trouble.
        """
        if not isinstance(state.given, ControlProblem):
            return down(state.margin)
        if self._problem is not state.problem:
            self._problem, self._rooms = state.problem, rooms(state.problem)
        return f"{down(100 * least_part(state.problem, state.g, self._rooms), 2)} %"

    def _log(self, state: State) -> None:
        """Write what became of the last step, and of an audit after it."""
        tried = list(takewhile(lambda row: row.step == state.step - 1, reversed(state.history.rows)))
        last = tried[0] if tried else None
        length, objective = "-" if last is None else f"{last.delta_norm:.2g}", f"{state.objective:.6g}"
        numbers = f"{state.step:>6}  {objective:>12}  {self._margin(state):>10}  {length:>8}  {state.reach:>8.2g}"
        self._line.log(f"{numbers}  {_rejected(tried)}".rstrip())
        for audit in state.audits[-1:]:
            if audit.step == state.step:
                found = "passed" if audit.passed else f"{audit.found} counterexamples, and back to where none breaks"
                self._line.log(f"{'':>6}  audit of {audit.rollouts} fresh scenarios: {found}")


def _rejected(tried: list[Trial]) -> str:
    """Say why tries of a step were rejected, and how often."""
    reasons = Counter(VERDICTS[row.verdict].name.lower().replace("_", " ") for row in tried if not row.is_committed)
    return ", ".join(reason if count == 1 else f"{count} {reason}" for reason, count in reasons.items())
