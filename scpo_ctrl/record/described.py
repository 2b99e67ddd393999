"""The problem file of a problem that was made in Python: its plant as data, and sections that make the rest anew."""

from typing import Any

import numpy as np

from scpo_ctrl.errors import RecordError, ScpoError
from scpo_ctrl.loop.backup import Backup
from scpo_ctrl.loop.controlled import ControllerPolicy, controlled
from scpo_ctrl.loop.design import lqr
from scpo_ctrl.loop.policy import Policy
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.problem.cost import Cost
from scpo_ctrl.problem.objective import Quadratic
from scpo_ctrl.record.config import IMITATION_FILE, fill_in_scenarios, filled
from scpo_ctrl.record.controllers import loop_table
from scpo_ctrl.record.recorded import RecordedPlant
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
    cost = problem.closed_loop_cost
    if problem.scenario_metrics.steps is not None:
        raise _indescribable("it has constraints or du_max", "keep result.theta and the script that made it")
    if isinstance(cost, Cost) or (cost is not None and not cost.is_diagonal):
        raise _indescribable(
            "its cost is more than diagonal weights Q and R", "keep result.theta and the script that made it"
        )
    if not isinstance(problem.objective_data, Quadratic) and problem.imitation is None:
        raise _indescribable("its objective is the user's own", "give a Quadratic or an Imitation")
    if batch.described is None:
        raise _indescribable("its scenarios are arrays", "draw them with scpo_ctrl.scenarios")
    given = {key: _plain(value) for key, value in batch.described.items() if value is not None}
    fill_in_scenarios(given)
    ranges = batch.described["parameters"]
    of_policy = (
        _controlled(policy, ranges) if isinstance(policy, ControllerPolicy) else _residual(problem, policy, ranges)
    )
    tables: dict[str, Table] = {
        "plant": recorded_plant(problem).table,
        **of_policy,
        "objective": {"kind": "imitation", "csv": IMITATION_FILE},
        "scenarios": given,
        "metrics": filled(problem.scenario_metrics.options),
    }
    if isinstance(problem.objective_data, Quadratic):
        weights = problem.objective_data
        tables["objective"] = {"kind": "quadratic", "Q": weights.Q.tolist(), "R": weights.R.tolist()}
    return tables


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
        raise _indescribable("its backup was given by hand", "design it with lqr")
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
