"""The methods by name, their labels, the grids they were tuned on, and what was chosen for each problem."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from baselines import descent, safe
from baselines.oracle import Method

TUNING_SEED = 1000  # never among the seeds that are reported
NEARLY_SAFE = 1e-2  # a method that trades safety is tuned to end with its worst metric below this


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A method as the experiments run it."""

    label: str
    run: Method
    safe: bool  # by design, if its constants are right
    audits: bool = False  # so that it needs a declared set of scenarios
    grid: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    chosen: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # problem -> settings

    def settings(self, problem: str) -> dict[str, float]:
        """Return the settings chosen for a problem."""
        return dict(self.chosen.get(problem, {}))

    def candidates(self) -> list[dict[str, float]]:
        """Return every point of the grid."""
        return [dict(zip(self.grid, values, strict=True)) for values in itertools.product(*self.grid.values())]


METHODS: dict[str, Entry] = {
    "scpo": Entry(label="SCPO", run=safe.scpo, safe=True),
    "scpo_audited": Entry(label="SCPO, audited", run=partial(safe.scpo, audit=True), safe=True, audits=True),
    "ss_qcqp": Entry(
        label="SS-QCQP, gradients known",
        run=safe.ss_qcqp,
        safe=True,
        grid={"scale": (1.0, 10.0, 100.0, 1000.0)},
        chosen={"r1": {"scale": 1000.0}, "r2": {"scale": 100.0}},
    ),
    "szo_qq": Entry(
        label="SZO-QQ",
        run=safe.szo_qq,
        safe=True,
        grid={"proximity": (1e-3, 1e-2), "caution": (0.1, 1.0, 3.0, 10.0)},
        chosen={"r1": {"proximity": 1e-3, "caution": 10.0}, "r2": {"proximity": 1e-3, "caution": 3.0}},
    ),
    "log_barrier": Entry(
        label="log barrier",
        run=safe.log_barrier,
        safe=True,
        grid={"weight": (1e-4, 1e-3, 1e-2, 1e-1), "caution": (0.1, 1.0)},
        chosen={"r1": {"weight": 1e-3, "caution": 1.0}, "r2": {"weight": 1e-4, "caution": 1.0}},
    ),
    "reject": Entry(
        label="reject and backtrack",
        run=descent.reject_and_backtrack,
        safe=True,
        grid={"length": (0.01, 0.1, 1.0)},
        chosen={"r1": {"length": 0.01}, "r2": {"length": 0.01}},
    ),
    "primal_dual": Entry(
        label="primal-dual",
        run=descent.primal_dual,
        safe=False,
        grid={"rate": (0.003, 0.01), "dual_rate": (0.001, 0.01, 0.1, 1.0)},
        chosen={"r1": {"rate": 0.003, "dual_rate": 1.0}, "r2": {"rate": 0.01, "dual_rate": 0.001}},
    ),
    "penalty": Entry(
        label="fixed penalty",
        run=descent.fixed_penalty,
        safe=False,
        grid={"rate": (0.003, 0.01), "weight": (0.01, 0.1, 1.0, 10.0, 100.0)},
        chosen={"r1": {"rate": 0.003, "weight": 10.0}, "r2": {"rate": 0.01, "weight": 10.0}},
    ),
    "unconstrained": Entry(
        label="unconstrained",
        run=descent.unconstrained,
        safe=False,
        grid={"rate": (0.001, 0.003, 0.01, 0.03)},
        chosen={"r1": {"rate": 0.03}, "r2": {"rate": 0.03}},
    ),
}
