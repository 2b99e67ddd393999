"""The closed loop of a problem in units of its bounds, where no step depends on the units that a user chose."""

from dataclasses import replace

import casadi as ca
import numpy as np

from scpo_ctrl.engine.loop import Stage
from scpo_ctrl.engine.rollout import Rollouts
from scpo_ctrl.engine.simulator import in_units
from scpo_ctrl.errors import DomainError
from scpo_ctrl.loop.black_box import Step
from scpo_ctrl.loop.box_stability import BoxStability
from scpo_ctrl.loop.controlled import ControllerPolicy, LoopPolicy
from scpo_ctrl.loop.metrics import MetricOptions, Metrics
from scpo_ctrl.loop.numeric import box_in_loop, plant_alone
from scpo_ctrl.loop.scenario import Scenarios
from scpo_ctrl.loop.sizes import check_metrics
from scpo_ctrl.loop.stability import LocalStability
from scpo_ctrl.models.units import Units
from scpo_ctrl.problem.cost import Cost, terms_in_units
from scpo_ctrl.problem.objective import Imitation, Objective, Quadratic, UserObjective
from scpo_ctrl.sealed import as_instance


def policy_in_units(policy: LoopPolicy, units: Units) -> LoopPolicy:
    """Return a policy in units of its plant, V in parts of ρ.

    Parameters
    ----------
    policy : Policy or ControllerPolicy
    units : Units

    Returns
    -------
    Policy or ControllerPolicy
    """
    scaled = policy.in_units(units)
    return replace(scaled, backup=replace(scaled.backup, P=scaled.backup.P / policy.backup.rho, rho=1.0))


def inputs_of(policy: LoopPolicy) -> int:
    """Return how many inputs of a loop's plant are inputs, and not memories that follow.

    Parameters
    ----------
    policy : Policy or ControllerPolicy

    Returns
    -------
    int
    """
    return policy.plant.nu - (policy.controller.memories if isinstance(policy, ControllerPolicy) else 0)


def checked_objective(objective: Objective, policy: LoopPolicy) -> Objective:
    """Return an objective with a weight for each state and input, if it does not hold a loop where references begin.

    Parameters
    ----------
    objective : Quadratic, Cost, Imitation or UserObjective
    policy : Policy or ControllerPolicy

    Returns
    -------
    Quadratic, Cost, Imitation or UserObjective

    Raises
    ------
    ClassError, DomainError
        If it is none, or holds the loop there.
    """
    as_instance("objective", objective, Quadratic, Cost, Imitation, UserObjective)
    if isinstance(objective, Quadratic) and isinstance(policy, ControllerPolicy) and policy.signals:
        how = 'scpo_ctrl.tracking (kind = "tracking" in a problem file), or a Cost'
        raise DomainError(f"a Quadratic holds the loop where references begin, and they vary: give {how}")
    inputs = inputs_of(policy)
    if isinstance(objective, Quadratic):
        return objective.of_sizes(policy.plant.nx - (policy.plant.nu - inputs), inputs)
    if isinstance(objective, Cost) and objective.R_du is not None and objective.R_du.ndim == 0:
        return replace(objective, R_du=np.full(inputs, objective.R_du))
    return objective


def local_stability(
    policy: LoopPolicy, scenarios: Scenarios, units: Units, simulator: Step | ca.Function | None
) -> LocalStability:
    """Return the metrics (E11), over the declared ranges of the plant parameters, else those of the scenarios.

    Parameters
    ----------
    policy : Policy or ControllerPolicy
    scenarios : Scenarios
    units : Units
    simulator : callable or casadi.Function, optional
        A black box in the plant's place.

    Returns
    -------
    LocalStability
    """
    scaled = policy_in_units(policy, units)
    if scenarios.declared is not None:
        ranges = scenarios.declared.ranges
    else:
        seen = np.vstack([scenarios.p, policy.plant.p_nominal])
        ranges = np.stack([seen.min(axis=0), seen.max(axis=0)], axis=1)
    if simulator is None:
        return LocalStability(scaled, ranges)
    return BoxStability(scaled, ranges, box_in_loop(in_units(simulator, plant_alone(policy), units), scaled))


def rollouts_in_units(
    policy: LoopPolicy,
    scenarios: Scenarios,
    options: MetricOptions,
    objective: Quadratic | Cost | None,
    units: Units,
    simulator: Step | ca.Function | None,
) -> Rollouts:
    """Return the closed loop over scenarios.

    Parameters
    ----------
    policy : Policy or ControllerPolicy
    scenarios : Scenarios
    options : MetricOptions
    objective : Quadratic or Cost, optional
        Whose stage cost is summed up.
    units : Units
    simulator : callable or casadi.Function, optional
        A black box in the plant's place.

    Returns
    -------
    Rollouts
    """
    scaled, plant = policy_in_units(policy, units), policy.plant
    metrics = Metrics(scaled.plant, scaled.backup, scenarios.horizon, options.in_units(plant, scaled.plant, units))
    if not metrics.rows:
        raise DomainError("du_max is the only metric, and over horizon = 1 no input changes; lengthen the horizon")
    check_metrics(scenarios.count, len(metrics.rows))
    stage = None
    if isinstance(objective, Cost):
        terms = objective.terms(plant, inputs_of(policy))
        stage = Stage(np.zeros(plant.nx), np.zeros(plant.nu), terms_in_units(terms, plant, units))
    elif objective is not None:
        objective = objective.with_memory(policy) if isinstance(policy, ControllerPolicy) else objective
        objective.check_fit(plant)
        stage = objective.stage(plant, units)
    box = None if simulator is None else in_units(simulator, plant_alone(policy), units)
    return Rollouts(scaled, scenarios.in_units(units), metrics, stage, simulator=box)
