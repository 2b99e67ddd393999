"""Section [objective] of a problem file: weights, expressions as text or as data, or an expert's data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import casadi as ca

from scpo_ctrl.errors import DomainError, ProblemFileError
from scpo_ctrl.loop.controlled import ControllerPolicy, LoopPolicy
from scpo_ctrl.messages import shown
from scpo_ctrl.models import Plant
from scpo_ctrl.models.names import plant_expression
from scpo_ctrl.problem.cost import Cost
from scpo_ctrl.problem.in_units import inputs_of
from scpo_ctrl.problem.objective import Imitation, Objective, Quadratic
from scpo_ctrl.problem.tracking import tracking
from scpo_ctrl.record.recorded import RecordedCost
from scpo_ctrl.record.tables import Table, beside, check_keys, is_file_name, kind_of
from scpo_ctrl.validate import as_array, as_flag

KINDS = ("quadratic", "tracking", "expression", "imitation", "recorded")
Constants = Mapping[str, float]
_MOST = 1000  # residuals
_WEIGHTS = {"Q": "nx", "R": "nu", "P_N": "nx", "R_du": "nu"}


def build_objective(
    table: Table, policy: LoopPolicy, folder: Path, constants: Constants
) -> tuple[Objective, RecordedCost | None]:
    """Make the objective of section [objective].

    Parameters
    ----------
    table : dict
        Its keys and values; defaults are filled in.
    policy : Policy or ControllerPolicy
        Whose states and inputs it is of.
    folder : pathlib.Path
        Where the file is that it may name.
    constants : mapping of str to float
        Numbers that expressions may name.

    Returns
    -------
    objective : Quadratic, Cost or Imitation
    recorded : RecordedCost or None
        The file beside the problem that holds a cost; None where the section says all.

    Raises
    ------
    ProblemFileError
        If a key is unknown or missing, or a file cannot be read.
    ScpoError
        If a value is wrong.
    """
    plant, kind = policy.plant, kind_of(table, KINDS)
    if kind == "quadratic":
        return _quadratic(table, policy), None
    if kind == "imitation":
        check_keys(table, ("kind", "csv"))
        if not is_file_name(table["csv"]):
            raise ProblemFileError(f"csv is {shown(table['csv'])}, expected the name of a file")
        return Imitation.from_csv(folder / table["csv"], plant.nx, plant.nu), None
    cost = _tracking(table, policy) if kind == "tracking" else read_cost(table, plant, folder, constants)
    cost.terms(plant, inputs_of(policy))  # whether it fits
    if kind in ("recorded", "tracking"):
        recorded = RecordedCost.of(cost, plant)
        table.clear()
        table |= recorded.table
        return cost, recorded
    table["least_squares"] = cost.least_squares
    if cost.R_du is not None:
        table["R_du"] = cost.R_du.tolist()
    if cost.least_squares:
        table |= {key: _texts(table[key]) for key in ("stage", "terminal") if key in table}
    return cost, None


def read_cost(table: Table, plant: Plant, folder: Path, constants: Constants) -> Cost:
    """Return the cost of section [objective] of kind "expression" or "recorded".

    Parameters
    ----------
    table : dict
        Its keys and values.
    plant : Plant
        Whose signals it is of.
    folder : pathlib.Path
        Where the file is that it may name.
    constants : mapping of str to float
        Numbers that expressions may name.

    Returns
    -------
    Cost

    Raises
    ------
    ProblemFileError, ScpoError
        As of `build_objective`.
    """
    if table["kind"] == "recorded":
        check_keys(table, ("file",), ("kind", "sha256"))
        return RecordedCost.read(beside(folder, table["file"]), table.get("sha256")).cost(plant)
    check_keys(table, ("kind", "stage"), ("terminal", "least_squares", "R_du"))
    least_squares = as_flag("least_squares", table.get("least_squares", False))
    squares, written = least_squares, [key for key in ("stage", "terminal") if key in table]
    parts = {key: _column(key, table[key], plant, constants, least_squares=squares) for key in written}
    return Cost(**parts, least_squares=least_squares, R_du=table.get("R_du"))


def quadratic_table(weights: Quadratic) -> Table:
    """Return section [objective] of weights.

    Parameters
    ----------
    weights : Quadratic

    Returns
    -------
    dict
    """
    found = {key: getattr(weights, key) for key in _WEIGHTS}
    return {"kind": "quadratic"} | {key: W.tolist() for key, W in found.items() if W is not None}


def _quadratic(table: Table, policy: LoopPolicy) -> Quadratic:
    check_keys(table, ("kind", "Q", "R"), ("P_N", "R_du"))
    alone = policy.controlled_plant if isinstance(policy, ControllerPolicy) else policy.plant
    weights = Quadratic(**{key: table[key] for key in _WEIGHTS if key in table}).of_sizes(alone.nx, alone.nu)
    for key, size in _WEIGHTS.items():
        W = getattr(weights, key)
        if W is not None and len(W) != getattr(policy.plant, size):
            as_array(key, W, (getattr(alone, size),) * W.ndim)
    table |= quadratic_table(weights)
    return weights


def _tracking(table: Table, policy: LoopPolicy) -> Cost:
    """Return the cost of tracking errors, which a record has as expressions."""
    if not isinstance(policy, ControllerPolicy):
        raise DomainError("kind is 'tracking', and a residual policy has no references; give a controller in [policy]")
    check_keys(table, ("kind", "Q"), ("R", "R_du", "outputs", "error"))
    given = {key: table[key] for key in ("R", "R_du", "outputs") if key in table}
    return tracking(policy, table["Q"], kind=table.get("error", "squares"), **given)


def _column(key: str, given: Any, plant: Plant, constants: Constants, *, least_squares: bool) -> ca.SX:
    """Return the expression of a text, or the residuals of a list of texts."""
    if isinstance(given, list) and not least_squares:
        raise DomainError(f"{key} is a list, of residuals; set least_squares = true, or write one expression")
    if not given or (isinstance(given, list) and len(given) > _MOST):
        raise DomainError(f"{key} is {shown(given)}, expected text, or a list of 1 to {_MOST} with least_squares")
    is_list = isinstance(given, list)
    names = [f"{key}[{i}]" if is_list else key for i in range(len(_texts(given)))]
    entries = [plant_expression(*pair, plant, constants) for pair in zip(names, _texts(given), strict=True)]
    return ca.vertcat(*entries)


def _texts(given: Any) -> list[Any]:
    return given if isinstance(given, list) else [given]
