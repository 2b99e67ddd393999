"""Pickles and deep copies of a control problem: what it is made of, from which it is posed again where it is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from scpo_ctrl.models.pickled import shallow

if TYPE_CHECKING:
    from scpo_ctrl.loop.batch import Scenarios
    from scpo_ctrl.loop.controlled import LoopPolicy
    from scpo_ctrl.loop.metrics import Metrics
    from scpo_ctrl.problem.objective import Objective


class PosedAgain:
    """Base of a problem that compiles its loop: a pickle has its data alone, and loading it compiles anew."""

    policy: LoopPolicy
    scenarios: Scenarios
    posed_on: Scenarios  # the first ones, whose ranges local stability and conditions on one step are about
    objective_data: Objective
    scenario_metrics: Metrics
    simulator: Any
    theta_initial: np.ndarray
    tables: dict[str, dict[str, Any]] | None
    _fixed: np.ndarray | None

    def __getstate__(self) -> dict[str, Any]:
        return {
            "made_of": (self.policy, self.posed_on, self.objective_data, self.scenario_metrics.options),
            "simulator": self.simulator,
            "scenarios": self.scenarios,
            "kept": {key: getattr(self, key) for key in ("theta_initial", "tables", "_fixed")},
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        make: Any = type(self)
        again = make(*state["made_of"], simulator=state["simulator"])
        if state["scenarios"] is not again.scenarios:
            again = again.with_scenarios(state["scenarios"], again.theta_initial, checked=False)
        vars(self).update(vars(again) | state["kept"])

    def __copy__(self) -> Self:
        return shallow(self)
