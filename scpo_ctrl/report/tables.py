"""The tables of the report: what binds, what the scenarios hold, the problem and the options."""

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from scpo_ctrl.adaptation.binding import Binding, ClosestMetric, binding, closest_metrics, ranges
from scpo_ctrl.adaptation.options import AdaptOptions
from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.adaptation.state import resolved
from scpo_ctrl.loop.batch import Scenarios
from scpo_ctrl.loop.controlled import ControllerPolicy, LoopPolicy
from scpo_ctrl.models import Plant
from scpo_ctrl.problem.cloud import OneStep
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.proof.backup_set import standing
from scpo_ctrl.report.numbers import number, plural, short, with_unit
from scpo_ctrl.report.reach import Reach, limits_reached, reach
from scpo_ctrl.report.signal_words import references_in_words, telling, varying_in_words
from scpo_ctrl.report.trajectories import memories, shown_plant
from scpo_ctrl.report.wording import met_bound, percent, stability

_MOST_RUNS = 24  # of scenario numbers in one cell
_KINDS = {
    "state": "state bounds",
    "command": "command bounds",
    "rate": "changes of inputs",
    "terminal": "terminal level",
    "contraction": "contraction",
    "one step": "one step from the cloud of states",
}


@dataclass(frozen=True)
class MetricRow:
    """A row of the table of metrics closest to their limit."""

    label: str
    when: str  # the time steps; empty without a plant
    scenario: str  # "scenario", "guard" or "cloud state" with its number, and what is rolled out in it
    part: float | None  # margin of the final policy [% of the bound]; None without a plant
    after: float  # margin of the final policy
    before: float  # margin of the safe start
    varies: bool  # False where no policy can change it
    number: int | None  # of the scenario on all of S (E12)


@dataclass(frozen=True)
class Spread:
    """What the scenarios hold of one quantity, and what of it binds."""

    name: str
    unit: str
    every: tuple[float, float]  # least and largest over all scenarios
    binding: tuple[float, float] | None  # over those that bind; None if there are none


@dataclass(frozen=True)
class WhatBinds:
    """The tables on binding metrics of a problem with a plant."""

    counts: list[tuple[str, int, int]]  # kind of metric, how many bind, of how many
    places: list[tuple[str, str, str]]  # scenarios, and guards where there are any: which bind, which do not
    spreads: list[Spread]


def metric_rows(result: Result, before: np.ndarray, after: np.ndarray) -> list[MetricRow]:
    """Return the metrics closest to their limit at the final policy, with their scenarios, the closest first.

    Parameters
    ----------
    result : Result
    before, after : numpy.ndarray, shape (m,)
        Metrics of the safe start and of the final policy, of `Result.everywhere`.

    Returns
    -------
    list of MetricRow
    """
    problem = result.everywhere
    rows = []
    for metric in closest_metrics(problem, before, after):
        when, scenario, part = "", "", None
        if isinstance(problem, ControlProblem):
            when, scenario, part = _time(problem, metric), _who(result, problem, metric), 100 * metric.part
        margins = part, metric.after, metric.before
        rows.append(MetricRow(_relations(metric.label), when, scenario, *margins, metric.varies, metric.scenario))
    return rows


def what_binds(result: Result, after: np.ndarray) -> WhatBinds | None:
    """Return which kinds of metrics and which scenarios bind at the final policy; None without a plant.

    Parameters
    ----------
    result : Result
    after : numpy.ndarray, shape (m,)
        Metrics of the final policy, of `Result.everywhere`.

    Returns
    -------
    WhatBinds or None
    """
    problem = result.everywhere
    if not isinstance(problem, ControlProblem):
        return None
    found = binding(problem, after)
    kinds = _KINDS | ({"command": "bounds of command and memory"} if memories(problem) else {})
    counts = [(kinds.get(kind, kind), *numbers) for kind, numbers in found.kinds.items()]
    first = problem.scenarios.count - (result.guards.count if result.guards else 0)
    parts = [("scenarios", found.scenarios[:first])] + ([("guards", found.scenarios[first:])] if result.guards else [])
    places = [(name, _numbers(flags), _numbers(~flags)) for name, flags in parts]
    return WhatBinds(counts, places, _spreads(problem, found))


def _who(result: Result, problem: ControlProblem, metric: ClosestMetric) -> str:
    """Return which scenario, guard or state of the cloud a metric is of, and what is rolled out in it."""
    if metric.cloud_state is not None and problem.one_step is not None:
        cloud, k = problem.one_step.cloud, metric.cloud_state
        return f"cloud state {k}: {conditions(problem.plant, cloud, k)}"
    assert metric.scenario is not None  # a metric is of one or the other
    own = problem.scenarios.count - (result.guards.count if result.guards else 0)
    return f"{scenario_name(metric.scenario, own)}: {conditions(problem.plant, problem.scenarios, metric.scenario)}"


def scenario_name(number: int, own: int) -> str:
    """Return what a scenario of all of S (E12) is called.

    Parameters
    ----------
    number : int
    own : int
        How many are the problem's own; the guards follow.

    Returns
    -------
    str
    """
    return f"scenario {number}" if number < own else f"guard {number - own}"


def conditions(plant: Plant, batch: Scenarios, scenario: int) -> str:
    """Return what is rolled out in a scenario, in words: initial state, plant parameters, disturbance.

    Parameters
    ----------
    plant : Plant
    batch : Scenarios
        That it is one of.
    scenario : int

    Returns
    -------
    str
        Parameters and disturbances only where they differ between scenarios or from zero.
    """
    parts = ["from " + ", ".join(_named(plant.x_labels, batch.x0[scenario], plant.x_units))]
    varied = telling(plant, batch.p)
    parts += _named([plant.p_labels[i] for i in varied], batch.p[scenario, varied], [plant.p_units[i] for i in varied])
    w = batch.w[scenario]
    for i in np.flatnonzero(np.abs(w).max(axis=0)):
        ends = float(np.abs(w[:, i]).max()), float(w[:, i].mean())
        largest, mean = (with_unit(value, plant.x_units[i], short) for value in ends)
        parts.append(f"disturbance of {plant.x_labels[i]} up to {largest}, mean {mean}")
    return "; ".join(parts)


def details(result: Result) -> list[tuple[str, Any]]:
    """Return what the numbers of the summary do not say of the problem.

    Parameters
    ----------
    result : Result

    Returns
    -------
    list of tuple
        Name and value.
    """
    problem = result.problem
    if not isinstance(problem, ControlProblem):
        rows = [("problem", "metrics and objective are the user's own functions; no plant")]
        return rows + [("note", note) for note in problem.notes()]
    plant, metrics, N = problem.plant, problem.scenario_metrics.options, problem.scenarios.horizon
    nm = memories(problem)
    nx, nu = plant.nx - nm, plant.nu - nm
    commands = "bounds of command and memory" if nm else "command bounds"
    kinds = ["state bounds"] * metrics.path + [commands] * (metrics.path and metrics.command)
    kinds += constraints_in_words(problem)
    kinds += ["terminal V(x_N) ≤ ρ"] * metrics.terminal
    if metrics.contraction is not None:
        kinds.append(f"contraction V(x_N) ≤ {metrics.contracted.replace('x_0', 'x₀').replace('rho', 'ρ')}")
    kinds += ["local stability at rest"] * (problem.stability is not None)
    if problem.one_step is not None:
        kinds.append(f"one step {decrease(problem.one_step)} from {plural(problem.one_step.cloud.count, 'state')}")
    horizon = f"{number(N)} steps" + (f" = {number(N * plant.dt)} s (sample {number(plant.dt)} s)" if plant.dt else "")
    return [
        ("plant", f"{_plant_name(problem)}: {nx} states, {nu} input" + "s" * (nu > 1)),
        *_policy_rows(problem.policy),
        ("scenarios", problem.scenarios.count),
        ("horizon", horizon),
        *(("varies", said) for said in varying_in_words(problem)),
        ("metrics of", ", ".join(kinds)),
        (f"{_level(problem.policy)}, {standing(problem)}", float(problem.backup.rho)),
        *(("stability", found) for found in [stability(result, number)] if found),
        *(("note", note) for note in problem.notes()),
    ]


def constraints_in_words(problem: ControlProblem) -> list[str]:
    """Return the constraints of every time step and the limits of the inputs' change, in words.

    Parameters
    ----------
    problem : ControlProblem

    Returns
    -------
    list of str
    """
    steps = problem.scenario_metrics.steps
    return [] if steps is None else [_relations(row.label) for row in steps.rows]


def decrease(one_step: OneStep) -> str:
    """Return what V of the next state must not exceed (E13), in words.

    Parameters
    ----------
    one_step : OneStep

    Returns
    -------
    str
    """
    return "V(x⁺) ≤ " + one_step.metrics.options.contracted.replace("x_0", "x").replace("rho", "ρ")


def gain_rows(result: Result) -> list[dict[str, Any]]:
    """Return the parameters of a controller before and after, each with its change in percent.

    Parameters
    ----------
    result : Result

    Returns
    -------
    list of dict
        Of `Result.parameters`, and change in words; empty where the policy is not a controller's.
    """
    rows = result.parameters()
    for row in rows:
        met = met_bound(row)
        ends = ["none" if end is None else short(end) for end in row.get("bounds", ())]
        row["change"] = percent(row["before"], row["after"])
        row["kept"] = "" if not ends else f"{' … '.join(ends)}{'' if met is None else ', met'}"
    return rows


def bound_rows(result: Result) -> list[tuple[str, float, float, str, Reach]]:
    """Return the bounds of states, inputs, and of what a controller remembers.

    Parameters
    ----------
    result : Result

    Returns
    -------
    list of tuple
        Name, low, high [unit], unit, and how much of them the scenarios use; empty where the problem has no plant.
    """
    problem = result.problem
    if not isinstance(problem, ControlProblem):
        return []
    plant, nm = problem.plant, memories(problem)
    rows = []
    for stem, count, kind in (("x", plant.nx - nm, "state"), ("u", plant.nu - nm, "input")):
        ends = zip(*(getattr(plant, f"{stem}_{key}") for key in ("labels", "min", "max", "units")), strict=True)
        rows += [(f"{kind} {label}", low, high, unit) for label, low, high, unit in list(ends)[:count]]
    names, first = plant.x_labels[plant.nx - nm :], plant.nu - nm
    ends = zip(names, plant.u_min[first:], plant.u_max[first:], plant.u_units[first:], strict=True)
    rows += [(f"memory {label}", low, high, unit) for label, low, high, unit in ends]
    return [(*row, used) for row, used in zip(rows, reach(result)[: len(rows)], strict=True)]


def limit_rows(result: Result) -> list[tuple[str, str, Reach]]:
    """Return the constraints and limited changes of inputs.

    Parameters
    ----------
    result : Result

    Returns
    -------
    list of tuple
        Name, bounds in words, and how much of them the scenarios use; empty where the problem has none.
    """
    return [
        (one.name if one.first else f"constraint {one.name}", one.in_words, used)
        for one, used in limits_reached(result)
    ]


def option_rows(result: Result) -> list[tuple[str, Any, bool]]:
    """Return the options: name, value, and whether it differs from what would have been chosen by default.

    Parameters
    ----------
    result : Result

    Returns
    -------
    list of tuple
    """
    options = result.options
    of_problem = resolved(result.problem, dataclasses.replace(options, method="auto", gradients="auto"))
    given_method = resolved(result.problem, dataclasses.replace(options, gradients="auto"))
    chosen = {"method": of_problem.method, "gradients": given_method.gradients}
    rows: list[tuple[str, Any, bool]] = []
    for field in dataclasses.fields(AdaptOptions):
        value = getattr(options, field.name)
        changed = value != chosen.get(field.name, field.default)
        if isinstance(value, tuple):
            value = f"diagonal of {len(value)}" if np.ndim(value) == 1 else f"matrix {len(value)} × {len(value)}"
        rows.append((field.name, value, changed))
    return rows


def _spreads(problem: ControlProblem, found: Binding) -> list[Spread]:
    """List initial states, parameters and disturbances: over all scenarios, and over those that bind."""
    plant, batch = shown_plant(problem), problem.scenarios
    columns = [(f"initial {plant.x_labels[i]}", plant.x_units[i], batch.x0[:, i]) for i in range(plant.nx)]
    columns += [(plant.p_labels[i], plant.p_units[i], batch.p[:, i]) for i in telling(plant, batch.p)]
    for i in np.flatnonzero(np.abs(batch.w).max(axis=(0, 1))):
        name, unit = f"disturbance of {plant.x_labels[i]}", plant.x_units[i]
        columns.append((f"{name}, mean over time", unit, batch.w[:, :, i].mean(axis=1)))
        columns.append((f"{name}, largest", unit, np.abs(batch.w[:, :, i]).max(axis=1)))
    return [
        Spread(name, unit, _ends(values), _ends(values[found.scenarios]) if found.scenarios.any() else None)
        for name, unit, values in columns
    ]


def _ends(values: np.ndarray) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _named(labels: Any, values: np.ndarray, units: Any) -> list[str]:
    columns = zip(labels, values, units, strict=True)
    return [f"{label} {with_unit(float(value), unit, short)}" for label, value, unit in columns]


def _time(problem: ControlProblem, metric: ClosestMetric) -> str:
    steps = f"{metric.first}" if metric.first == metric.last else f"{metric.first} … {metric.last}"
    dt = problem.plant.dt
    if not dt:
        return f"t = {steps}"
    seconds = " … ".join(short(t * dt) for t in sorted({metric.first, metric.last}))
    return f"t = {steps} ({seconds} s)"


def _numbers(flags: np.ndarray) -> str:
    """Return how many scenarios are set, and which."""
    count = int(flags.sum())
    if not count:
        return "none"
    if count == flags.size:
        return f"all {number(count)}" if count > 1 else "the only one"
    runs = [f"{a}" if a == b else f"{a}–{b}" for a, b in ranges(flags)]
    more = f" and {plural(len(runs) - _MOST_RUNS, 'more run')} of numbers" if len(runs) > _MOST_RUNS else ""
    return f"{number(count)} of {number(flags.size)}: {', '.join(runs[:_MOST_RUNS])}{more}"


def _relations(text: str) -> str:
    return re.sub(r"(?<== )-(?=\d)", "−", text).replace("<= rho", "≤ ρ").replace("<=", "≤").replace(">=", "≥")


def _plant_name(problem: ControlProblem) -> str:
    policy = problem.policy
    return policy.controlled_plant.name if isinstance(policy, ControllerPolicy) else problem.plant.name


def _level(policy: LoopPolicy) -> str:
    return "level ρ of the loop before" if isinstance(policy, ControllerPolicy) else "backup level ρ"


def _policy_rows(policy: LoopPolicy) -> list[tuple[str, Any]]:
    if not isinstance(policy, ControllerPolicy):
        widths = "-".join(str(width) for width in policy.widths)
        return [("policy", f"residual on the backup, {policy.kind} {widths}")]
    of = policy.controller
    rows = [("controller", f"{of.name}: {', '.join(of.theta_labels)}")]
    rows += [("reference", said) for said in references_in_words(policy)]
    if of.memories:
        rows.append(("memory", ", ".join(of.memory_labels)))
    return rows + ([("source of the controller", of.source)] if of.source else [])
