"""A problem whose policy is rolled out on another plant than the one that it was posed on."""

import copy

from scpo_ctrl.loop.black_box import Step
from scpo_ctrl.models.units import Units
from scpo_ctrl.problem.cloud import OneStep
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.problem.in_units import rollouts_in_units


def on_another_plant(problem: ControlProblem, step: Step) -> ControlProblem:
    """Return a problem with a black box in the plant's place, to roll out policies and not to adapt them.

    Nothing is checked of the loop at rest, unlike in a problem posed on the box: the policies are those of the plant
    that they were adapted on, and may fail on this one.

    Parameters
    ----------
    problem : ControlProblem
        Bounds, sensors, backup, metrics and objective stay its own.
    step : callable
        ``(x, u, p) -> x_next`` of stacks; see `ControlProblem`. p are the parameters of the plant alone.

    Returns
    -------
    ControlProblem
    """
    units, options = Units.of(problem.plant), problem.scenario_metrics.options
    other = copy.copy(problem)
    for name in ("parts", "fresh"):  # which hold rollouts
        vars(other).pop(name, None)
    other.simulator = step
    other.one_step = OneStep.of(problem.policy, problem.scenarios, options, units, step)
    other.rollouts = rollouts_in_units(
        problem.policy, problem.scenarios, options, problem.closed_loop_cost, units, step
    )
    return other
