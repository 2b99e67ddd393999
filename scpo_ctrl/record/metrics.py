"""Section [metrics] of a problem file, constraints among it: as text, or as data."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import casadi as ca
import numpy as np

from scpo_ctrl.errors import DimensionError, DomainError, ProblemFileError
from scpo_ctrl.loop.constraint import Constraint
from scpo_ctrl.loop.controlled import ControllerPolicy, LoopPolicy
from scpo_ctrl.loop.metrics import MetricOptions
from scpo_ctrl.messages import shown
from scpo_ctrl.models import Plant
from scpo_ctrl.models.names import plant_expression
from scpo_ctrl.problem.in_units import inputs_of
from scpo_ctrl.problem.step_response import overshoot, settling
from scpo_ctrl.record.recorded import RecordedConstraints
from scpo_ctrl.record.tables import Table, beside, check_keys, kind_of

_MOST = 1000  # constraints
_RESPONSES: dict[str, tuple[tuple[str, ...], tuple[str, ...], Callable[..., Constraint]]] = {  # needed, and more
    "overshoot": (("reference", "most"), ("until", "outputs"), overshoot),
    "settling": (("reference", "band", "after"), ("outputs",), settling),
}
Constants = Mapping[str, float]
_NEEDED, _MORE = ("name", "expression", "bound"), ("unit", "scale")


def build_metrics(
    table: Table, policy: LoopPolicy, folder: Path, constants: Constants
) -> tuple[MetricOptions, RecordedConstraints | None]:
    """Make the options of section [metrics].

    Parameters
    ----------
    table : dict
        Its keys and values; defaults are filled in.
    policy : Policy or ControllerPolicy
        Whose signals the constraints are of.
    folder : pathlib.Path
        Where the file is that it may name.
    constants : mapping of str to float
        Numbers that expressions may name.

    Returns
    -------
    options : MetricOptions
    recorded : RecordedConstraints or None
        The file beside the problem that holds the constraints; None where the section says all.

    Raises
    ------
    ProblemFileError
        If a key is unknown or missing, or a file cannot be read.
    ScpoError
        If a value is wrong.
    """
    check_keys(table, (), tuple(field.name for field in dataclasses.fields(MetricOptions)))
    plant, given = policy.plant, table.get("constraints")
    by_kind = _by_kind(given, policy, constants)
    constraints = by_kind
    if given is not None and by_kind is None:
        constraints = read_constraints(given, plant, folder, constants)
    options = MetricOptions(**table | {"constraints": constraints})
    resolved = options.resolved(plant, inputs_of(policy)).constraints or ()
    recorded = RecordedConstraints.of(resolved, plant) if by_kind or isinstance(given, dict) else None
    said = recorded.table if recorded else [_spelled(*pair) for pair in zip(resolved, given or (), strict=True)]
    table.clear()
    table |= metrics_table(options, said)
    return options, recorded


def read_constraints(given: Any, plant: Plant, folder: Path, constants: Constants) -> tuple[Constraint, ...]:
    """Return the constraints of section [metrics].

    Parameters
    ----------
    given : list of dict, or dict
        What key "constraints" says: tables of text, or what file has them as data.
    plant : Plant
        Whose signals they are of.
    folder : pathlib.Path
        Where that file is.
    constants : mapping of str to float
        Numbers that expressions may name.

    Returns
    -------
    tuple of Constraint
        Without a scale where none is given.

    Raises
    ------
    ProblemFileError, ScpoError
        As of `build_metrics`.
    """
    if isinstance(given, dict) and "kind" in given:
        kind_of(given, ("recorded",))
        check_keys(given, ("file",), ("kind", "sha256"))
        return RecordedConstraints.read(beside(folder, given["file"]), given.get("sha256")).constraints(plant)
    return tuple(_constraint(i, one, plant, constants) for i, one in enumerate(_tables(given)))


def metrics_table(options: MetricOptions, constraints: Any) -> Table:
    """Return section [metrics] with all options that have a value; TOML has no null.

    Parameters
    ----------
    options : MetricOptions
    constraints : list of dict, dict, or None
        What key "constraints" says.

    Returns
    -------
    dict
    """
    own = {"constraints": constraints or None, "du_max": None if options.du_max is None else options.du_max.tolist()}
    table = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)} | own
    return {key: value for key, value in table.items() if value is not None}


def limits_of_inputs(options: MetricOptions, inputs: int) -> np.ndarray | None:
    """Return du_max as a file has it: of inputs alone, where what follows in memory has no limit.

    Parameters
    ----------
    options : MetricOptions
        Of a problem, with a number for each input of the loop's plant.
    inputs : int
        How many of them are inputs.

    Returns
    -------
    numpy.ndarray or None
    """
    du_max = options.du_max
    return du_max if du_max is None or np.isfinite(du_max[inputs:]).any() else du_max[:inputs]


def _tables(given: Any) -> list[Table]:
    """Return constraints as the tables that they must be."""
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise ProblemFileError(
            f"constraints is {shown(given)}, expected tables [[metrics.constraints]] with the keys "
            f"{', '.join((*_NEEDED, *_MORE))}"
        )
    if len(given) > _MOST:
        raise DimensionError(f"constraints has {len(given)} entries, expected at most {_MOST}")
    return given


def _by_kind(given: Any, policy: LoopPolicy, constants: Constants) -> tuple[Constraint, ...] | None:
    """Return constraints of which some are of a step response, which a record has as data; None if none is."""
    if not isinstance(given, list) or not any(isinstance(one, dict) and "kind" in one for one in given):
        return None
    if not isinstance(policy, ControllerPolicy):
        raise DomainError("constraints of a step response need a reference; give a controller in [policy]")
    found: list[Constraint] = []
    for i, one in enumerate(_tables(given)):
        if "kind" not in one:
            found.append(_constraint(i, one, policy.plant, constants))
            continue
        try:
            needed, more, function = _RESPONSES[kind_of(one, tuple(_RESPONSES))]
            check_keys(one, needed, ("kind", *more))
        except ProblemFileError as error:
            raise ProblemFileError(f"constraints[{i}]: {error}") from error
        found.append(function(policy, **{key: value for key, value in one.items() if key != "kind"}))
    return tuple(found)


def _constraint(index: int, table: Table, plant: Plant, constants: Constants) -> Constraint:
    where = f"constraints[{index}]"
    for key in _NEEDED:
        if key not in table:
            raise ProblemFileError(f"{where} has no {key!r}; needed: {', '.join(_NEEDED)}")
    unknown = sorted(set(table) - {*_NEEDED, *_MORE})
    if unknown:
        raise ProblemFileError(
            f"{where} has the unknown key {shown(unknown[0])}; known: {', '.join((*_NEEDED, *_MORE))}"
        )
    given = table["expression"]
    texts = given if isinstance(given, list) else [given]
    if not texts:
        raise DomainError(f"{where}: expression is [], expected text, or a list of it")
    entries = [
        plant_expression(f"{where}.expression" + f"[{i}]" * isinstance(given, list), text, plant, constants)
        for i, text in enumerate(texts)
    ]
    return Constraint(**table | {"expression": ca.vertcat(*entries)})


def _spelled(one: Constraint, given: Table) -> Table:
    """Return the table of a constraint in one form: numbers and words for one entry, lists for several."""
    assert one.scale is not None
    text = given["expression"]
    texts = text if isinstance(text, list) else [text]
    lists = {
        "name": list(one.name),
        "expression": texts,
        "bound": one.bound.tolist(),
        "unit": list(one.unit),
        "scale": one.scale.tolist(),
    }
    return lists if len(one.name) > 1 else {key: value[0] for key, value in lists.items()}
