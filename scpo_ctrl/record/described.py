"""The problem file of a problem that was made in Python: its plant as data, and sections that make the rest anew."""

from dataclasses import replace
from typing import Any

import numpy as np

from scpo_ctrl.errors import RecordError, ScpoError
from scpo_ctrl.loop.backup import Backup
from scpo_ctrl.loop.controlled import ControllerPolicy, controlled
from scpo_ctrl.loop.design import lqr
from scpo_ctrl.loop.given import given
from scpo_ctrl.loop.policy import Policy
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.problem.cost import Cost
from scpo_ctrl.problem.in_units import inputs_of
from scpo_ctrl.problem.objective import Quadratic, UserObjective
from scpo_ctrl.record.config import IMITATION_FILE, fill_in_scenarios
from scpo_ctrl.record.controllers import loop_table
from scpo_ctrl.record.metrics import limits_of_inputs, metrics_table
from scpo_ctrl.record.objectives import quadratic_table
from scpo_ctrl.record.recorded import RecordedConstraints, RecordedCost, RecordedPlant
from scpo_ctrl.record.tables import Table, spell_out


def described(problem: ControlProblem) -> dict[str, Table]:
    """Return the sections of a problem file that describes a problem, but for [adapt].

    Parameters
    ----------
    problem : ControlProblem

    Returns
    -------
    dict

    Raises
    ------
    RecordError
        If no problem file can describe it: a simulator or an objective is the user's own, the backup is not of `lqr`,
        or the loop not of `controlled`, or the scenarios are not of `scenarios`.
    """
    batch, policy = problem.scenarios, problem.policy
    if problem.has_simulator:
        raise _indescribable("its plant is a simulator", "give the plant with CasADi")
    objective = problem.objective_data
    if isinstance(objective, UserObjective):
        raise _indescribable("its objective is the user's own", "give a Quadratic, a Cost or an Imitation")
    if batch.described is None:
        raise _indescribable("its scenarios are arrays", "draw them with scpo_ctrl.scenarios")
    given = {key: _plain(value) for key, value in batch.described.items() if value is not None}
    fill_in_scenarios(given)
    ranges = batch.described["parameters"]
    of_policy = (
        _controlled(policy, ranges) if isinstance(policy, ControllerPolicy) else _residual(problem, policy, ranges)
    )
    cost, constraints = recorded_cost(problem), recorded_constraints(problem)
    own = {"kind": "imitation", "csv": IMITATION_FILE} if cost is None else cost.table
    options = problem.scenario_metrics.options
    options = replace(options, du_max=limits_of_inputs(options, inputs_of(policy)))
    return {
        "plant": recorded_plant(problem).table,
        **of_policy,
        "objective": quadratic_table(objective) if isinstance(objective, Quadratic) else own,
        "scenarios": given,
        "metrics": metrics_table(options, None if constraints is None else constraints.table),
    }


def recorded_plant(problem: ControlProblem) -> RecordedPlant:
    """Return the plant of a problem as data, without what a controller remembers.

    Parameters
    ----------
    problem : ControlProblem

    Returns
    -------
    RecordedPlant
    """
    policy = problem.policy
    return RecordedPlant.of(policy.controlled_plant if isinstance(policy, ControllerPolicy) else problem.plant)


def recorded_constraints(problem: ControlProblem) -> RecordedConstraints | None:
    """Return the constraints of a problem as data.

    Parameters
    ----------
    problem : ControlProblem

    Returns
    -------
    RecordedConstraints or None
        None where it has none.
    """
    constraints = problem.scenario_metrics.options.constraints
    return None if constraints is None else RecordedConstraints.of(constraints, problem.plant)


def recorded_cost(problem: ControlProblem) -> RecordedCost | None:
    """Return the cost of a problem as data.

    Parameters
    ----------
    problem : ControlProblem

    Returns
    -------
    RecordedCost or None
        None where its objective is no `Cost`.
    """
    cost = problem.objective_data
    return RecordedCost.of(cost, problem.plant) if isinstance(cost, Cost) else None


def _controlled(policy: ControllerPolicy, ranges: Any) -> dict[str, Table]:
    """Return the section of a controller, from which the same loop follows on the ranges of the scenarios."""
    plant, level = policy.controlled_plant, policy.backup.rho
    reference = policy.reference_by_label if policy.signals else policy.reference
    try:
        again = controlled(plant, policy.controller, reference=reference, parameters=ranges, rho=level)
    except ScpoError as error:
        raise _indescribable(
            f"its loop does not hold for its scenarios ({error})", "give controlled their parameters"
        ) from error
    if not (_is_same(policy.backup, again.backup) and policy.scale == again.scale):
        raise _indescribable("its loop is not what controlled makes of its plant", "take it as controlled returns it")
    return {"policy": loop_table(policy)}


def _residual(problem: ControlProblem, policy: Policy, ranges: Any) -> dict[str, Table]:
    """Return the sections of a residual on a backup."""
    table: Table = {"kind": policy.kind, "scale": list(policy.scale), "input_scale": list(policy.input_scale)}
    if policy.hidden:
        table |= {"hidden": list(policy.hidden), "init": policy.init, "at_bounds": policy.at_bounds}
    return {"backup": _backup(problem, ranges), "policy": table}


def _backup(problem: ControlProblem, ranges: Any) -> Table:
    """Return section [backup], from which the same backup follows on the ranges of the scenarios."""
    backup, design = problem.backup, problem.backup.design
    if design is None:
        return _given(problem, ranges)
    allow, rho = design.allow_uncontrollable, design.rho
    try:
        again = lqr(problem.plant, design.Q, design.R, allow_uncontrollable=allow, parameters=ranges, rho=rho)
    except ScpoError as error:
        raise _indescribable(f"its backup does not hold for its scenarios ({error})", "design it for them") from error
    if not _is_same(backup, again):
        raise _indescribable("its backup is of another plant", "design it with lqr for this one")
    table: Table = {"kind": "lqr", "Q": design.Q.tolist(), "R": design.R.tolist(), "allow_uncontrollable": allow}
    spell_out(table, {"Q": 1, "R": 1})
    return table if rho is None else table | {"rho": rho}


def _given(problem: ControlProblem, ranges: Any) -> Table:
    """Return section [backup] of one that is no LQR's: its numbers."""
    backup = problem.backup
    try:
        again = given(problem.plant, backup.K, backup.P, backup.rho, ranges)
    except ScpoError as error:
        raise _indescribable(f"its backup does not hold for its scenarios ({error})", "design it for them") from error
    return {"kind": "gain", "K": again.K.tolist(), "P": again.P.tolist(), "rho": again.rho}


def _is_same(one: Backup, other: Backup) -> bool:
    return np.array_equal(one.K, other.K) and np.array_equal(one.P, other.P) and one.rho == other.rho


def _plain(value: Any) -> Any:
    """Return an argument as TOML has it."""
    if isinstance(value, (str, int, np.integer)):
        return value if isinstance(value, str) else int(value)
    if isinstance(value, dict):
        return {str(key): np.array(ends, dtype=float).tolist() for key, ends in value.items()}
    return np.array(value, dtype=float).tolist()


def _indescribable(why: str, remedy: str) -> RecordError:
    return RecordError(f"no problem file can describe the problem of this result: {why}; {remedy}")
