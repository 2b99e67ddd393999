"""What to do about a metric that is positive at the safe start, and what is said of one that cannot move."""

from typing import TYPE_CHECKING

import numpy as np

from scpo_ctrl.loop.constraint import BUILT_IN
from scpo_ctrl.loop.controlled import ControllerPolicy, LoopPolicy
from scpo_ctrl.models.varying import still

if TYPE_CHECKING:
    from scpo_ctrl.problem.control_problem import ControlProblem
    from scpo_ctrl.problem.problem import Problem


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
    plant = problem.plant
    milder = ["make the signals milder"] if plant.signals else []
    if batch.w.size:
        milder.append("make disturbance smaller")
    if np.ptp(batch.p[:, still(plant)], axis=0).any():
        milder.append("narrow the ranges of the plant parameters")
    if meaning.kind == "contraction":
        return _listed([*milder, *_contraction_advice(problem)])
    nearer = "lower the level of the scenarios, or move initial_states towards the equilibrium"
    if meaning.fixed:
        return nearer
    more = {
        "command": ["let it saturate (command = false)"],
        "terminal": ["lengthen the horizon"],
        "rate": ["raise du_max"],
    }.get(meaning.kind, [])
    if meaning.kind not in BUILT_IN:
        more = [f"raise the bound of {meaning.kind}"]
    return _listed([nearer, *milder, *more, another_start(problem.policy, "more careful", "other Q and R")])


def _contraction_advice(problem: "ControlProblem") -> list[str]:
    """Say what lets V fall to a given part of V(x_0); on a linear plant the part is the same at every level."""
    ways = ["raise contraction", "lengthen the horizon"]
    moved = problem.scenarios.w.size or problem.plant.signals  # which keep V from vanishing
    if problem.scenario_metrics.options.contraction_floor or moved:
        ways[0] += " or contraction_floor"
    if not problem.plant.is_linear or not problem.scenario_metrics.bounds_command:  # saturation bends the loop too
        ways.append("lower the level of the scenarios")
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


def _listed(ways: list[str]) -> str:
    """Return alternatives as one clause."""
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
