"""What to do about a metric that is positive at the safe start, and what is said of one that cannot move."""

from typing import TYPE_CHECKING

import numpy as np

from scpo_ctrl.loop.constraint import BUILT_IN, OVERSHOOT
from scpo_ctrl.loop.controlled import ControllerPolicy, LoopPolicy
from scpo_ctrl.models.varying import still

if TYPE_CHECKING:
    from scpo_ctrl.problem.control_problem import ControlProblem
    from scpo_ctrl.problem.problem import Problem

_NEAR = 0.01  # V, in parts of ρ, up to which a scenario begins near rest
_MOST = 3  # other broken metrics that are named


def remedy(problem: "ControlProblem", scenario: int, row: int) -> str:
    """Return what to do about it, in words.

    Parameters
    ----------
    problem : ControlProblem
    scenario : int
    row : int
        Of `ControlProblem.fresh`.

    Returns
    -------
    str
    """
    batch, meaning = problem.scenarios, problem.fresh.rows[row]
    if problem.one_step is not None and meaning.kind == "one step":
        return problem.one_step.remedy(len(problem.one_step.rows) - 1, problem.theta_initial)
    if meaning.kind == "contraction" and not problem.contraction_limits(batch)[scenario]:
        return (
            f"scenario {scenario} starts at the equilibrium, V(x_0) = 0, so V cannot contract; leave that start "
            "out, or set contraction_floor, how near to rest is near enough"
        )
    milder = _milder(problem)
    if meaning.kind == "contraction":
        return listed([*milder, *_contraction_advice(problem)])
    nearer = [f"{_smaller(problem)}, or move initial_states towards the equilibrium"]
    if meaning.fixed:
        return nearer[0]
    if milder and _starts_near_rest(problem, scenario):
        nearer = []
    more = {
        "command": ["let it saturate (command = false)"],
        "terminal": ["lengthen the horizon"],
        "rate": ["raise du_max"],
    }.get(meaning.kind, [])
    if meaning.kind not in BUILT_IN:
        more = [f"raise the bound of {meaning.kind}"]
    if meaning.kind.startswith(OVERSHOOT) and _loads(problem):
        more.append("end it where a load begins, whose effect counts as overshoot too (until)")
    return listed([*nearer, *milder, *more, another_start(problem.policy, "more careful", "other Q and R")])


def _milder(problem: "ControlProblem") -> list[str]:
    """Say what there is that may move the loop less."""
    batch, plant, ways = problem.scenarios, problem.plant, []
    if any(one.kind != "noise" for one in plant.signals):
        ways.append("make the signals milder")
    if any(one.kind == "noise" for one in plant.signals):
        ways.append("make the noise or the steps of the sensors smaller")
    if batch.w.size:
        ways.append("make disturbance smaller")
    if np.ptp(batch.p[:, still(plant)], axis=0).any():
        ways.append("narrow the ranges of the plant parameters")
    return ways


def _smaller(problem: "ControlProblem") -> str:
    """Say what brings the initial states nearer to rest."""
    declared = problem.scenarios.declared
    boxed = declared is not None and declared.box is not None
    return "make the box of the scenarios smaller" if boxed else "lower the level of the scenarios"


def _starts_near_rest(problem: "ControlProblem", scenario: int) -> bool:
    """Whether a scenario begins so near to rest that something else is what moves it."""
    backup = problem.policy.backup
    z = problem.scenarios.x0[scenario] - problem.plant.x_eq
    return bool(z @ backup.P @ z <= _NEAR * backup.rho)


def _loads(problem: "ControlProblem") -> int:
    """Return how many signals there are besides references and noise."""
    references = len(problem.policy.signals) if isinstance(problem.policy, ControllerPolicy) else 0
    return sum(one.kind != "noise" for one in problem.plant.signals) - references


def broken_too(problem: "ControlProblem", metrics: np.ndarray, but: int) -> str:
    """Return in words what else a policy breaks on the scenarios.

    Parameters
    ----------
    problem : ControlProblem
    metrics : numpy.ndarray, shape (m,)
        Positive where it does.
    but : int
        The metric that is told already.

    Returns
    -------
    str
        Begins with a separator; empty where there is nothing else.
    """
    rows = problem.scenario_metrics.rows
    broken = ~(metrics[problem.of_scenarios].reshape(-1, len(rows)) <= 0).all(axis=0)
    told = rows[but % len(rows)].label if but < problem.of_scenarios.stop else ""
    others = [label for label in dict.fromkeys(rows[i].label for i in np.flatnonzero(broken)) if label != told]
    more = f" and {len(others) - _MOST} more" if len(others) > _MOST else ""
    return f"; broken too: {', '.join(others[:_MOST])}{more}" if others else ""


def _contraction_advice(problem: "ControlProblem") -> list[str]:
    """Say what lets V fall to a given part of V(x_0); on a linear plant the part is the same at every level."""
    ways = ["raise contraction", "lengthen the horizon"]
    batch = problem.scenarios
    moved = problem.rests(batch) is not None and np.ptp(batch.p, axis=0).any()
    kept = batch.w.size or problem.plant.signals or moved  # V then need not vanish
    if problem.scenario_metrics.options.contraction_floor or kept:
        ways[0] += " or contraction_floor"
    if not problem.plant.is_linear or not problem.scenario_metrics.bounds_command:  # saturation bends the loop too
        ways.append(_smaller(problem))
    return [*ways, another_start(problem.policy, "faster", "larger Q or smaller R")]


def another_start(policy: LoopPolicy, kind: str, how: str) -> str:
    """Say what to begin with instead.

    Parameters
    ----------
    policy : Policy or ControllerPolicy
    kind : str
        Of backup or controller, in words.
    how : str
        Weights that give such a backup.

    Returns
    -------
    str
    """
    if isinstance(policy, ControllerPolicy):
        return f"begin with a {kind} controller"
    return f"design a {kind} backup ({how})"


def listed(ways: list[str]) -> str:
    """Return alternatives as one clause.

    Parameters
    ----------
    ways : list of str

    Returns
    -------
    str
    """
    return f"{', '.join(ways[:-1])}, or {ways[-1]}" if len(ways) > 1 else ways[0]


def fixed_note(problem: "Problem", fixed: np.ndarray) -> tuple[str, ...]:
    """Return a sentence on metrics that no step can move, none where there are none.

    Parameters
    ----------
    problem : Problem
    fixed : numpy.ndarray of int
        Their indices.

    Returns
    -------
    tuple of str
    """
    if not fixed.size:
        return ()
    count = "a metric is" if fixed.size == 1 else f"{fixed.size} metrics are"
    return (
        f"{count} satisfied and cannot move, so no step is bent to {'it' if fixed.size == 1 else 'them'}: "
        f"{problem.metric_label(int(fixed[0]))}{'' if fixed.size == 1 else ', …'}",
    )
