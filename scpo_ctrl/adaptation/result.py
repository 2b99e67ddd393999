"""The result of an adaptation run, which verifies itself from the problem's data."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import scpo_ctrl as sc  # of the wings above, which its front door imports when they are asked for
from scpo_ctrl.adaptation.held_back import held_back
from scpo_ctrl.adaptation.history import VERDICTS, AuditRow, History
from scpo_ctrl.adaptation.options import AdaptOptions
from scpo_ctrl.adaptation.status import RunStatus, Verdict
from scpo_ctrl.assurance.audit import BETA
from scpo_ctrl.assurance.clopper_pearson import violation_bound
from scpo_ctrl.assurance.fresh import Fresh, look_beyond
from scpo_ctrl.loop.batch import Scenarios
from scpo_ctrl.loop.controlled import ControllerPolicy
from scpo_ctrl.problem.applied import Applied
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.problem.guarded import GuardedProblem, everywhere
from scpo_ctrl.problem.problem import Problem
from scpo_ctrl.rounding import down, up
from scpo_ctrl.sealed import Sealed
from scpo_ctrl.shown import Entries, Shown, counted
from scpo_ctrl.version import __version__

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from scpo_ctrl.codegen import Export

_AT_ONCE = 1 << 22  # metrics of committed policies computed at once


@dataclass(frozen=True, eq=False, repr=False)
class Result(Shown, Applied[Problem], Sealed, instead="hold the Result in an object of your own"):
    """What a run did, and the state from which it can go on.

    Attributes
    ----------
    problem : Problem
        What was adapted.
    options : AdaptOptions
        Of the run.
    status : RunStatus
        How the run ended, and what to do about it.
    theta : numpy.ndarray, shape (d,)
        The last committed parameters.
    theta_initial : numpy.ndarray, shape (d,)
        The safe start.
    objective_initial : float
        Objective at θ₀.
    objective_final : float
        Objective at the last committed parameters.
    margin_initial : float
        -max_i g_i(θ₀).
    history : History
        A row per tried step.
    steps : int
        Steps done, committed or not.
    rollouts : int
        Rollouts of the run.
    seconds : float
        Wall time, of all sessions.
    stationarity : float
        Of the last step's start, relative to the objective: 0 where no step can lower it.
    state : dict of str to numpy.ndarray
        What `resume` goes on from.
    guards : Scenarios or None
        Of (E12): what S holds besides the scenarios of the problem; None: no audits.
    audits : tuple of AuditRow
        That of the safe start first.

    Examples
    --------
    After the example of `adapt`:

    >>> result.status.name, len(result.committed), result.margin() > 0
    ('FINISHED', 4, True)
    >>> result.final_audit.violations, round(result.audit_bound(), 4)
    (0, 0.0144)
    >>> result.policy([1.0, 0.0]).round(2), result.simulate([1.0, 0.0], steps=3)[1].round(2).tolist()
    (array([-0.73]), [[-0.73], [-0.69], [-0.65]])
    """

    problem: Problem
    options: AdaptOptions
    status: RunStatus
    theta: np.ndarray
    theta_initial: np.ndarray
    objective_initial: float
    objective_final: float
    margin_initial: float
    history: History
    steps: int
    rollouts: int
    seconds: float
    stationarity: float
    state: dict[str, np.ndarray]
    guards: Scenarios | None = None
    audits: tuple[AuditRow, ...] = ()

    @property
    def committed(self) -> np.ndarray:
        """Every committed policy, θ₀ first, shape (accepted + 1, d)."""
        return np.vstack([self.theta_initial, self.history.column("theta")[self.history.column("committed")]])

    @property
    def everywhere(self) -> Problem:
        """The problem on all of S (E12), its scenarios and then its guards, where the run has any."""
        return everywhere(self.problem, self.guards) if isinstance(self.problem, ControlProblem) else self.problem

    def margin(self) -> float:
        """Return -max_i g_i at the final parameters, computed anew; -inf where a metric is not finite.

        Returns
        -------
        float
            Positive is safe.
        """
        return margin_of(self.problem.metrics(self.theta))

    def is_safe(self) -> bool:
        """Return whether every committed policy satisfies every metric on its scenarios and guards, computed anew.

        Returns
        -------
        bool
        """
        problem = self.problem
        if self.guards is not None and isinstance(problem, ControlProblem):
            problem = GuardedProblem(problem, self.guards, self.options.back_off)
        thetas = self.committed
        parts = (problem.metrics(thetas[some]) for some in in_parts(len(thetas), problem.varies.size))
        return all(margin_of(part.ravel()) >= 0 for part in parts)

    @cached_property
    def looks(self) -> tuple[Fresh, Fresh] | None:
        """What the safe start and the final policy do on the same fresh scenarios; None where none can be drawn."""
        if not isinstance(self.problem, ControlProblem):
            return None
        start, final = (look_beyond(self.problem, theta) for theta in (self.theta_initial, self.theta))
        return None if start is None or final is None else (start, final)

    @property
    def final_audit(self) -> AuditRow | None:
        """The audit of the final policy (E12), None where audits are not made, or the run has not ended."""
        ended = self.status in (RunStatus.FINISHED, RunStatus.CONVERGED, RunStatus.STALLED)
        return self.audits[-1] if ended and self.audits else None

    def audit_bound(self) -> float:
        """Return the bound of the probability that a fresh scenario violates a metric, at confidence 1 - `BETA`.

        Returns
        -------
        float
            Clopper-Pearson for the final audit; the k-th audit that might have ended the run has the part
            1 / (k (k + 1)) of β, so that the confidence is of all of them. 1 without a final audit.
        """
        last, k = self.final_audit, max(1, sum(row.full for row in self.audits[1:]))
        return 1.0 if last is None else violation_bound(last.violations, last.rollouts, BETA / (k * (k + 1)))

    def _audit_summary(self) -> dict[str, Any] | None:
        last = self.final_audit
        if last is None:
            return None
        counts = {"rollouts": last.rollouts, "violations": last.violations}
        return {"passed": last.passed, **counts, "epsilon": self.audit_bound(), "beta": BETA}

    def worst_margin(self) -> float:
        """Return the least recorded margin over every committed policy, θ₀ included.

        Returns
        -------
        float
        """
        margins = np.append(self.margin_initial, self.history.column("margin")[self.history.column("committed")])
        return float(np.min(np.nan_to_num(margins, nan=-np.inf, posinf=np.inf)))

    def notes(self) -> tuple[str, ...]:
        """Return what the run left out, in words: metrics that are satisfied and cannot move.

        Returns
        -------
        tuple of str
        """
        return self.problem.notes()

    def advice(self) -> str:
        """Return what to do about how the run ended; where no step was committed, what held the steps back.

        Returns
        -------
        str
            The advice of its status, and the metric or guard by label, scenario and time step, with its remedy.
        """
        held = held_back(self)
        return f"{self.status.value} {held}".rstrip() if self.status is not RunStatus.FINISHED or not held else held

    def summary(self) -> dict[str, Any]:
        """Return the numbers of ``result.json``.

        Returns
        -------
        dict
        """
        margins = self.history.column("margin")[self.history.column("committed")]
        withdrawn = int(np.count_nonzero(self.history.column("verdict") == VERDICTS.index(Verdict.WITHDRAWN)))
        return {
            "status": self.status.name.lower(),
            "advice": self.status.value,
            "steps": self.steps,
            "accepted": len(margins),
            "rejected": len(self.history) - len(margins) - withdrawn,
            "withdrawn": withdrawn,
            "violations": int(np.count_nonzero(~(margins >= 0))) + int(not self.margin_initial >= 0),
            "worst_margin": self.worst_margin(),
            "objective_initial": self.objective_initial,
            "objective_final": self.objective_final,
            "stationarity": self.stationarity if np.isfinite(self.stationarity) else None,
            "theta_dim": self.theta.size,
            "metrics": int(self.problem.varies.size),
            "rollouts": self.rollouts,
            "gradients": self.options.gradients,
            "spectral_radius_initial": _number_or_none(self.problem.spectral_radius(self.theta_initial)),
            "spectral_radius_final": _number_or_none(self.problem.spectral_radius(self.theta)),
            "audit": self._audit_summary(),
            "fresh_objective_initial": self.audits[0].objective if self.audits else None,
            "fresh_objective_final": self.final_audit.objective if self.final_audit else None,
            "seconds": self.seconds,
            "version": __version__,
        } | ({"parameters": parameters} if (parameters := self.parameters()) else {})

    def plot(self) -> "Figure":
        """Draw the run in one figure, see `scpo_ctrl.plot`.

        Returns
        -------
        matplotlib.figure.Figure
        """
        return sc.plot(self)

    def report(self, path: str | os.PathLike[str]) -> None:
        """Write the report as one HTML file, see `scpo_ctrl.write_report`.

        Parameters
        ----------
        path : path-like
        """
        sc.write_report(self, path)

    def export(self, path: str | os.PathLike[str], target: str = "host", **options: Any) -> "Export":
        """Write the policy as C99, see `scpo_ctrl.export`.

        Parameters
        ----------
        path : path-like
            The folder.
        target : str
            The processor.
        **options
            Others of `scpo_ctrl.export`.

        Returns
        -------
        Export
        """
        return sc.export(self, path, target, **options)

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Save the run as a RUN folder, see `scpo_ctrl.save_result`.

        Parameters
        ----------
        path : str or pathlib.Path
            The folder.
        overwrite : bool
            Replace another run in it.
        """
        sc.save_result(self, path, overwrite=overwrite)

    def parameters(self) -> list[dict[str, Any]]:
        """Return the parameters of a controller before and after.

        Returns
        -------
        list of dict
            Each with label, unit, before and after [unit], and where it has bounds these, least and largest, None for
            none; empty where the policy is not a controller's.
        """
        policy = self.problem.policy if isinstance(self.problem, ControlProblem) else None
        if not isinstance(policy, ControllerPolicy):
            return []
        before, after = (policy.parameters(theta) for theta in (self.theta_initial, self.theta))
        of, rows = policy.controller, []
        for label, unit, low, high in zip(of.theta_labels, of.theta_units, of.theta_min, of.theta_max, strict=True):
            row: dict[str, Any] = {"label": label, "unit": unit, "before": before[label], "after": after[label]}
            ends = [_number_or_none(float(low)), _number_or_none(float(high))]
            rows.append(row | ({"bounds": ends} if any(end is not None for end in ends) else {}))
        return rows

    def _shown(self) -> tuple[str, Entries]:
        tries, commits = len(self.history), len(self.committed) - 1
        rows = [
            ("objective", f"{self.objective_initial:.4g} -> {self.objective_final:.4g}"),
            ("steps", f"{self.steps}, {commits} of {counted(tries, 'tried step')} committed"),
            ("gradients", f"{self.options.gradients}, of the metrics; method {self.options.method}"),
        ]
        margin = self.worst_margin()
        worst = f"{down(margin)} of all committed policies" + ("" if margin >= 0 else ", so one breaks a metric")
        if isinstance(self.problem, ControlProblem):
            guards = f" and {counted(self.guards.count, 'guard')}" if self.guards else ""
            worst += f", on its {counted(self.problem.scenarios.count, 'scenario')}{guards}"
        rows.append(("worst margin", worst))
        if isinstance(self.problem, ControlProblem):
            rows.append(("beyond them", self._beyond()))
            rows += [] if self.problem.stability else [("at rest", "stability is no metric of this run")]
        if self.status not in (RunStatus.FINISHED, RunStatus.CONVERGED) or not commits:
            rows.append(("advice", self.advice()))
        return self.status.name.lower().replace("_", " "), rows

    def _beyond(self) -> str:
        """Return what is known of other scenarios than those of the run."""
        last = self.final_audit
        if last is None:
            return "not audited: nothing is said of other scenarios"
        if not last.passed:
            return f"the audit failed: {last.violations} of {counted(last.rollouts, 'fresh scenario')} violate"
        bound = f"at most {up(self.audit_bound())} of them violate, at confidence 1 - {BETA:g}"
        return f"audited, no violation in {counted(last.rollouts, 'fresh scenario')}: {bound}"


def in_parts(policies: int, metrics: int) -> Iterator[slice]:
    """Return parts of some policies whose metrics fit into memory.

    Parameters
    ----------
    policies : int
    metrics : int
        Of each.

    Returns
    -------
    iterator of slice
    """
    size = max(1, _AT_ONCE // max(1, metrics))
    return (slice(start, start + size) for start in range(0, policies, size))


def margin_of(metrics: np.ndarray) -> float:
    """Return -max(metrics); -inf where one is not a number, so that an undefined metric never passes.

    Parameters
    ----------
    metrics : numpy.ndarray, shape (m,)

    Returns
    -------
    float
    """
    most = float(np.max(metrics, initial=-np.inf))
    return -np.inf if np.isnan(most) else -most


def _number_or_none(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None
