"""What fresh scenarios cost before and after: means over one draw, the same for both policies."""

from __future__ import annotations

from dataclasses import dataclass

from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.assurance.fresh import LOOK_SEED, Fresh
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.report.numbers import number


@dataclass(frozen=True)
class FreshCosts:
    """Mean costs of the safe start and of the final policy over the same fresh scenarios."""

    before: float
    after: float
    count: int  # scenarios

    @classmethod
    def of(cls, start: Fresh, final: Fresh) -> FreshCosts:
        """Return the costs of two looks at the same scenarios.

        Parameters
        ----------
        start, final : Fresh

        Returns
        -------
        FreshCosts
        """
        return cls(start.objective, final.objective, final.worst.size)

    def said(self) -> str:
        """Return both, and of what they are the mean, in words.

        Returns
        -------
        str
        """
        means = f"mean cost {number(self.before)} → {number(self.after)}"
        return f"{means} (of the same {number(self.count)} fresh scenarios, seed {LOOK_SEED})"


def fresh_costs(result: Result) -> FreshCosts | None:
    """Return what the safe start and the final policy of a run cost on fresh scenarios.

    Parameters
    ----------
    result : Result

    Returns
    -------
    FreshCosts or None
        None where none can be drawn, or the objective is not a cost of the modelled loop.
    """
    is_cost = isinstance(result.problem, ControlProblem) and result.problem.is_closed_loop_cost
    return FreshCosts.of(*result.looks) if is_cost and result.looks is not None else None
