"""The history of a run: a row per tried step, in columns."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import Field, dataclass, fields
from typing import Any

import numpy as np

from scpo_ctrl.adaptation.status import Verdict
from scpo_ctrl.projection.status import ProjectionStatus
from scpo_ctrl.rounding import down
from scpo_ctrl.shown import Entries, Shown, counted
from scpo_ctrl.validate import as_choice

VERDICTS = tuple(Verdict)
PROJECTION_STATUSES = tuple(ProjectionStatus)


@dataclass(frozen=True, repr=False)
class Trial(Shown):
    """One tried step: a row of the history.

    Attributes
    ----------
    step : int
        Step of the run it belongs to, from 0.
    verdict : int
        Position in Verdict.
    objective : float
        ℓ at the tried parameters.
    margin : float
        -max_i g_i at the tried parameters, positive is safe.
    worst : int
        Index of the metric with the least margin.
    step_length : float
        Of the step before projection.
    delta_norm : float
        Of the projected step.
    predicted : float
        Fall of the merit (the objective, for "newton" with its barrier) that its model predicts.
    stationarity : float
        Of the parameters before the step, relative to the objective; 0 satisfies the conditions.
    smoothness_max : float
        Largest L used.
    smoothness_median : float
        Median L used.
    active : int
        Constraints that held the projection back.
    projection_status : int
        Position in ProjectionStatus.
    projection_iterations : int
        Of the projection's solver.
    rollouts : int
        Of the run so far.
    theta : numpy.ndarray, shape (d,)
        The tried parameters.
    """

    step: int
    verdict: int
    objective: float
    margin: float
    worst: int
    step_length: float
    delta_norm: float
    predicted: float
    stationarity: float
    smoothness_max: float
    smoothness_median: float
    active: int
    projection_status: int
    projection_iterations: int
    rollouts: int
    theta: np.ndarray

    @property
    def is_committed(self) -> bool:
        """Whether the step was committed."""
        return VERDICTS[self.verdict] is Verdict.COMMITTED

    def _shown(self) -> tuple[str, Entries]:
        rows = [("objective", f"{self.objective:.4g}"), ("margin", down(self.margin))]
        return f"step {self.step}, {VERDICTS[self.verdict].name.lower().replace('_', ' ')}", rows


@dataclass(frozen=True, repr=False)
class AuditRow(Shown):
    """One audit of a committed policy (E12): a row of the run's audits.

    Attributes
    ----------
    step : int
        Steps done before it.
    policy : int
        Row of the history that it is of; -1 for the safe start.
    full : int
        Whether it was of the size that may end a run, 0 or 1.
    rollouts : int
        Fresh scenarios drawn at random.
    violations : int
        Among them.
    found : int
        Counterexamples, by the search too, that became guards.
    worst : float
        Largest metric met, in `Problem.metric_units`.
    objective : float
        Mean over the scenarios drawn at random.
    back : int
        Row of the history that the run went on from; the same as `policy` where it passed.
    guards : int
        Scenarios of S besides the problem's own, afterwards.
    """

    step: int
    policy: int
    full: int
    rollouts: int
    violations: int
    found: int
    worst: float
    objective: float
    back: int
    guards: int

    @property
    def passed(self) -> bool:
        """Whether nothing violated, neither at random nor by the search."""
        return self.violations == 0 and self.found == 0

    def _shown(self) -> tuple[str, Entries]:
        word = "passed" if self.passed else f"failed, {counted(self.found, 'counterexample')} kept"
        drawn = f"{self.violations} of {counted(self.rollouts, 'fresh scenario')} violate"
        return f"at step {self.step}, {word}", [("drawn", drawn), ("objective", f"{self.objective:.4g}")]


class History(Shown):
    """Rows of a run, appended one by one and read as columns.

    Parameters
    ----------
    theta_dim : int
        Number of parameters d.
    rows : sequence of Trial, optional
        To start from.
    """

    def __init__(self, theta_dim: int, rows: list[Trial] | None = None) -> None:
        self.theta_dim = theta_dim
        self.rows = list(rows or [])

    def __len__(self) -> int:
        return len(self.rows)

    def _shown(self) -> tuple[str, Entries]:
        found = Counter(VERDICTS[row.verdict].name.lower().replace("_", " ") for row in self.rows)
        return counted(len(self), "tried step"), [(word, str(count)) for word, count in found.most_common()]

    def append(self, trial: Trial) -> None:
        """Add a row.

        Parameters
        ----------
        trial : Trial
        """
        self.rows.append(trial)

    def column(self, name: str) -> np.ndarray:
        """Return a column.

        Parameters
        ----------
        name : str
            A field of `Trial`, or "committed".

        Returns
        -------
        numpy.ndarray, shape (rows,), or (rows, d) for "theta"
        """
        as_choice("name", name, ("committed", *(field.name for field in fields(Trial))))
        if name == "committed":
            return self.column("verdict") == VERDICTS.index(Verdict.COMMITTED)
        if name == "theta":
            return np.array([row.theta for row in self.rows]).reshape(-1, self.theta_dim)
        return _column(self.rows, Trial, name)

    def columns(self) -> dict[str, np.ndarray]:
        """Return all columns by name.

        Returns
        -------
        dict of str to numpy.ndarray
        """
        return {name: self.column(name) for name in [*(field.name for field in fields(Trial)), "committed"]}

    @classmethod
    def from_columns(cls, columns: dict[str, np.ndarray]) -> "History":
        """Rebuild a history from its columns.

        Parameters
        ----------
        columns : dict of str to numpy.ndarray

        Returns
        -------
        History
        """
        scalars = [field for field in fields(Trial) if field.name != "theta"]
        lists = [_numbers(field, columns[field.name]) for field in scalars]
        theta = columns["theta"]
        rows = [
            Trial(**dict(zip([field.name for field in scalars], row, strict=True)), theta=theta[i])
            for i, row in enumerate(zip(*lists, strict=True))
        ]
        return cls(theta.shape[1], rows)


def audit_column(audits: Sequence[AuditRow], name: str) -> np.ndarray:
    """Return a column of the audits of a run.

    Parameters
    ----------
    audits : sequence of AuditRow
    name : str
        A field of `AuditRow`.

    Returns
    -------
    numpy.ndarray, shape (audits,)
    """
    return _column(audits, AuditRow, name)


def audits_from_columns(columns: dict[str, np.ndarray | None]) -> tuple[AuditRow, ...]:
    """Rebuild the audits of a run from their columns.

    Parameters
    ----------
    columns : dict of str to numpy.ndarray
        None where the run made none.

    Returns
    -------
    tuple of AuditRow
    """
    lists = []
    for field in fields(AuditRow):
        values = columns[field.name]
        if values is None:
            return ()
        lists.append(_numbers(field, values))
    return tuple(AuditRow(*row) for row in zip(*lists, strict=True))


def _column(rows: Sequence[Trial] | Sequence[AuditRow], kind: type[Trial | AuditRow], name: str) -> np.ndarray:
    """Return a field of all rows, in the type that it has there."""
    found = next(field for field in fields(kind) if field.name == name)
    return np.array([getattr(row, name) for row in rows], dtype=np.int64 if found.type is int else np.float64)


def _numbers(field: "Field[Any]", values: np.ndarray) -> list[int | float]:
    """Return a column as the numbers of a field of its rows."""
    number = int if field.type is int else float
    return [number(value) for value in values]
