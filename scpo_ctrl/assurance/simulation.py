"""What a simulation on a true plant has shown, policy by policy, and its record."""

import json
import math
from dataclasses import dataclass
from typing import Any

from scpo_ctrl.assurance.mismatch import Mismatch
from scpo_ctrl.problem.parts import ROUNDING
from scpo_ctrl.rounding import down, up
from scpo_ctrl.shown import Entries, Shown, counted
from scpo_ctrl.version import __version__


@dataclass(frozen=True)
class SimulatedPolicy:
    """What episodes of one policy have shown; the same episodes for all.

    Attributes
    ----------
    step : int
        Steps of the run that were done when it was committed; 0 for the safe start.
    is_final : bool
        Whether the run ended with it.
    withdrawn : bool
        Whether a later audit took it back.
    episodes : int
        On the true plant, and as many on the model.
    violations : int
        Episodes on the true plant that break a metric.
    command_alone : int
        Those of them that break no metric but bounds of the command, before saturation.
    violations_on_model : int
        Episodes on the model that break a metric.
    worst : float
        Largest metric on the true plant, in `Problem.metric_units`, contraction in parts of V(x_0).
    metric : str
        Which one, in words.
    kind : str
        Of the metric, see `Row`; "command" is the one before saturation.
    excess : float
        The same in the unit of its bound: above zero where it is broken; infinite where a rollout is lost.
    unit : str
        That `excess` counts in.
    objective : float
        Mean over the episodes on the true plant.
    objective_on_model : float
        The same on the model.
    worst_episode : int
        Number of the episode that this was met in.
    theta_digest : str
        SHA-256 of θ.
    """

    step: int
    is_final: bool
    withdrawn: bool
    episodes: int
    violations: int
    command_alone: int
    violations_on_model: int
    worst: float
    metric: str
    kind: str
    excess: float
    unit: str
    objective: float
    objective_on_model: float
    worst_episode: int
    theta_digest: str

    @property
    def closest(self) -> str:
        """The metric that was closest to its bound, or furthest beyond it, in words."""
        return self.metric + (", before saturation" if self.kind == "command" else "")

    @property
    def room(self) -> str:
        """How far beyond its bound, or how much was left."""
        if not math.isfinite(self.excess):
            return "no finite number"
        if self.worst > ROUNDING:
            return f"broken by {up(self.excess)} {self.unit}".rstrip()
        return f"{down(max(0.0, -self.excess))} {self.unit}".rstrip() + " to spare"


@dataclass(frozen=True, repr=False)
class Simulation(Shown):
    """An adaptation that goes on on a true plant: every policy that would be at work, in their order.

    Attributes
    ----------
    true_plant : str
        What was simulated, in words.
    policies : tuple of SimulatedPolicy
        The safe start first.
    mismatch : Mismatch
        Of the model: of transitions that begin within the state bounds.
    x_labels : tuple of str
        Of `mismatch`.
    x_units : tuple of str
        Likewise.
    parameters : dict of str to float
        That were set, by label.
    audited : bool
        Whether the policies are those that passed an audit; else every committed one.
    distribution : str
        That the episodes were drawn from, but for the parameters that were set.
    episodes : int
        Of each policy.
    seed : int
        Of the episodes.
    theta_digest : str
        SHA-256 of the run's final θ.
    problem_digest : str or None
        SHA-256 of the problem file's sections; None for a problem made in Python.
    version : str
        Of the package.

    Examples
    --------
    After the example of `adapt`:

    >>> found = sc.simulate(result, parameters={"mass": 1.1}, episodes=50)
    >>> [policy.step for policy in found.policies]
    [0, 4]
    """

    true_plant: str
    policies: tuple[SimulatedPolicy, ...]
    mismatch: Mismatch
    x_labels: tuple[str, ...]
    x_units: tuple[str, ...]
    parameters: dict[str, float]
    audited: bool
    distribution: str
    episodes: int
    seed: int
    theta_digest: str
    problem_digest: str | None
    version: str = __version__

    @property
    def violations(self) -> int:
        """Episodes that break a metric on the true plant, of all policies."""
        return sum(policy.violations for policy in self.policies)

    @property
    def passed(self) -> bool:
        """Whether no episode breaks a metric; of these episodes, and nothing more."""
        return self.violations == 0

    def sentence(self) -> str:
        """Return in words what was found, and no more.

        Returns
        -------
        str
        """
        total, where = self.episodes * len(self.policies), f"simulated on {self.true_plant}"
        if self.passed:
            return f"{where}: no violation in {total} episodes; that is no proof"
        worst = max(self.policies, key=lambda policy: policy.worst)
        return f"{where}: {self.violations} of {total} episodes violate; worst {worst.closest}, {worst.room}"

    def summary(self) -> dict[str, Any]:
        """Return the content of simulation.json.

        Returns
        -------
        dict
        """
        of = self.mismatch
        columns = (self.x_labels, self.x_units, of.largest, of.rms, of.half_widths, of.exceeds.tolist())
        states = [
            {"label": label, "unit": unit, "largest": _finite(a), "rms": _finite(b), "half_width": c, "exceeds": d}
            for label, unit, a, b, c, d in zip(*columns, strict=True)
        ]
        return {
            "true_plant": self.true_plant,
            "passed": self.passed,
            "episodes": self.episodes,
            "violations": self.violations,
            "policies": [_row(policy) for policy in self.policies],
            "audited": self.audited,
            "parameters": self.parameters,
            "mismatch": {
                "transitions": of.count,
                "uncovered": of.uncovered,
                "violations": of.violations,
                "margin": _finite(of.margin),
                "states": states,
            },
            "distribution": self.distribution,
            "seed": self.seed,
            "theta_digest": self.theta_digest,
            "problem_digest": self.problem_digest,
            "version": self.version,
        }

    def text(self) -> str:
        """Return simulation.json; equal for the same run, true plant, episodes and seed.

        Returns
        -------
        str
        """
        return json.dumps(self.summary(), indent=2, allow_nan=False) + "\n"

    def _shown(self) -> tuple[str, Entries]:
        last, worst = self.policies[-1], max(self.policies, key=lambda one: one.violations)
        which = "passed an audit" if self.audited else "were committed, without audits"
        rows = [
            ("policies", f"{len(self.policies)}: the safe start, and those that {which}"),
            ("the last", f"violates in {last.violations} of {counted(self.episodes, 'episode')}"),
            ("the worst", f"of step {worst.step}, in {worst.violations} of {counted(self.episodes, 'episode')}"),
            ("objective", f"{self.policies[0].objective:.4g} -> {last.objective:.4g}"),
        ]
        return self.true_plant, rows


def _row(policy: SimulatedPolicy) -> dict[str, Any]:
    """Return a policy as plain data, None for what JSON has no number for."""
    return {name: _finite(value) if isinstance(value, float) else value for name, value in vars(policy).items()}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
