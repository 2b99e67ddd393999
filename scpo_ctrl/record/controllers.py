"""Section [policy] of a problem file where it is a controller: one that exists, by Python, or as data."""

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from scpo_ctrl.controllers import gain_schedule, linear_controller, lqg, lqi, pid, state_feedback
from scpo_ctrl.errors import DomainError, ProblemFileError
from scpo_ctrl.loop.controlled import ControllerPolicy, controlled
from scpo_ctrl.loop.controller import Controller
from scpo_ctrl.loop.level import Ranges
from scpo_ctrl.messages import shown
from scpo_ctrl.models import Plant
from scpo_ctrl.record.recorded import RecordedController, run_python
from scpo_ctrl.record.signals import signals_of, tables_of
from scpo_ctrl.record.tables import Table, beside, check_keys, python_of, spell_out
from scpo_ctrl.validate import as_array, as_scalar, as_text

CONSTRUCTORS: dict[str, Callable[..., Controller]] = {
    "gain_schedule": gain_schedule,
    "linear_controller": linear_controller,
    "lqg": lqg,
    "lqi": lqi,
    "pid": pid,
    "state_feedback": state_feedback,
}
CONTROLLERS = (*CONSTRUCTORS, "python", "recorded")
LOOP_KEYS = ("reference", "rho")  # of every controller
_VECTORS = ("Q", "R", "process_noise", "sensor_noise")  # which a number or a column may stand for
_SYSTEM, _TRANSFER = ("A", "B", "C", "D"), ("numerator", "denominator")


def build_loop(
    table: Table, plant: Plant, folder: Path, ranges: Ranges, *, trust: bool = False
) -> tuple[ControllerPolicy, RecordedController | None]:
    """Put a plant under the controller of section [policy].

    Parameters
    ----------
    table : dict
        Its keys and values; defaults are filled in. Python that made a controller gives way to the controller as data.
    plant : Plant
    folder : pathlib.Path
        Where the files are that it names.
    ranges : mapping of str to (low, high)
        Of the plant parameters.
    trust : bool
        Whether Python that it names is run.

    Returns
    -------
    policy : ControllerPolicy
    recorded : RecordedController or None
        The file beside the problem that holds the controller; None where the section says all.

    Raises
    ------
    ProblemFileError
        If a key is unknown or missing, a file cannot be read, or Python is named and not trusted.
    ScpoError
        If a value is wrong, or the loop does not hold.
    """
    of_loop = {key: table.pop(key) for key in LOOP_KEYS if key in table}
    rho = as_scalar("rho", of_loop["rho"], above=0.0) if "rho" in of_loop else None
    controller, recorded = build_controller(table, plant, folder, trust=trust)
    reference = of_loop.get("reference")
    if isinstance(reference, dict):
        reference = signals_of(reference, folder, "reference")
    policy = controlled(plant, controller, reference=reference, parameters=ranges, rho=rho)
    table |= _reference_table(policy) | {"rho": policy.backup.rho}
    return policy, recorded


def loop_table(policy: ControllerPolicy) -> Table:
    """Return section [policy] of a loop that was made in Python.

    Parameters
    ----------
    policy : ControllerPolicy

    Returns
    -------
    dict
    """
    return RecordedController.of(policy.controller).table | _reference_table(policy) | {"rho": policy.backup.rho}


def _reference_table(policy: ControllerPolicy) -> Table:
    """Return key reference: one number for each, or by label where some vary."""
    if policy.signals:
        return {"reference": tables_of(dict(policy.reference_by_label))}
    return {"reference": list(policy.reference)} if policy.reference else {}


def build_controller(
    table: Table, plant: Plant, folder: Path, *, trust: bool = False
) -> tuple[Controller, RecordedController | None]:
    """Make the controller of section [policy].

    Parameters
    ----------
    table : dict
        Its keys and values without `LOOP_KEYS`; defaults are filled in.
    plant : Plant
    folder : pathlib.Path
        Where the files are that it names.
    trust : bool
        Whether Python that it names is run.

    Returns
    -------
    controller : Controller
    recorded : RecordedController or None
        As of `build_loop`.

    Raises
    ------
    ProblemFileError, ScpoError
        As of `build_loop`, but for the loop.
    """
    kind = table["kind"]
    if kind not in ("python", "recorded"):
        make = {"linear_controller": _linear}.get(kind, _constructed)
        return make(table, plant), None
    if kind == "python":
        path, function = python_of(table, folder, "make_controller", "controller", trust=trust)
        made = run_python(path, function, lambda make: make(plant) if _takes_plant(make) else make(), Controller)
        recorded = RecordedController.of(made)
    else:
        check_keys(table, ("file",), ("kind", "sha256"))
        recorded = RecordedController.read(beside(folder, table["file"]), table.get("sha256"))
    controller = recorded.controller()
    recorded = RecordedController.of(controller)  # written by hand, it may have had another form
    table.clear()
    table |= recorded.table
    return controller, recorded


def _takes_plant(make: Callable[..., Any]) -> bool:
    """Whether a function of the user's needs an argument."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(of.kind in kinds and of.default is of.empty for of in inspect.signature(make).parameters.values())


def _constructed(table: Table, plant: Plant) -> Controller:
    """Return a controller of scpo_ctrl.controllers, its keys those of its constructor in Python."""
    make = CONSTRUCTORS[table["kind"]]
    _, *arguments = inspect.signature(make).parameters.values()
    defaults = {of.name: of.default for of in arguments if of.default is not of.empty}
    check_keys(table, ("kind", *(of.name for of in arguments if of.name not in defaults)), tuple(defaults))
    controller = make(plant, **{key: value for key, value in table.items() if key != "kind"})
    for key, value in (defaults | _found(table, plant, controller)).items():
        if value is not None:
            table.setdefault(key, list(value) if isinstance(value, tuple) else value)
    spell_out(table, {key: 1 for key in _VECTORS if key in table})
    return controller


def _found(table: Table, plant: Plant, controller: Controller) -> dict[str, Any]:
    """Return what a constructor found by itself where it was not given: the record says it, wherever it is read."""
    memory = controller.memory_min, controller.memory_max
    if table["kind"] == "lqg":
        return {"estimate": [end.tolist() for end in memory]}
    if table["kind"] != "pid" or plant.dt is None:
        return {}
    follows = "ki" in table and table.get("anti_windup", "back_calculation") == "back_calculation"
    found: dict[str, Any] = {"tracking_time": 10 * plant.dt} if follows else {}
    return found | ({"filtered": [float(end[-1]) for end in memory]} if "kd" in table else {})


def _linear(table: Table, plant: Plant) -> Controller:
    """Return a linear controller by the matrices of its states or by its transfer function."""
    import control  # takes a second, and most problems do without

    is_transfer = bool(set(_TRANSFER) & set(table))
    check_keys(table, ("kind", *(_TRANSFER if is_transfer else _SYSTEM[:3]), "memory"), ("name", "bounds", *_SYSTEM))
    name = as_text("name", table.get("name", "linear controller"))
    if is_transfer:
        if set(_SYSTEM) & set(table):
            raise ProblemFileError("give either A, B, C and D or numerator and denominator, not both")
        parts = [_polynomial(key, table.pop(key)) for key in _TRANSFER]
        if len(parts[0]) > len(parts[1]):
            raise DomainError(
                "numerator has a higher degree than denominator: no controller knows the future; lower it"
            )
        state = control.ss(control.tf(*parts, True))
        matrices = [np.atleast_2d(np.asarray(getattr(state, key), dtype=float)) for key in _SYSTEM]
    else:
        matrices = [as_array(key, table[key], (None, None)) for key in _SYSTEM[:3]]
        feedthrough = np.zeros((len(matrices[2]), matrices[1].shape[1]))
        matrices.append(as_array("D", table.get("D", feedthrough), feedthrough.shape))
    shapes = [matrix.shape for matrix in matrices]
    (nm, _), (_, inputs), (outputs, _), _ = shapes
    if shapes != [(nm, nm), (nm, inputs), (outputs, nm), (outputs, inputs)]:
        raise DomainError(f"A, B, C and D have the shapes {', '.join(map(str, shapes))}, which do not fit each other")
    system = control.StateSpace(*matrices, plant.dt)
    made = linear_controller(plant, system, memory=table["memory"], bounds=table.get("bounds"))
    controller = dataclasses.replace(made, name=name)  # python-control numbers what has none
    memory = controller.memory_max.tolist()
    table |= {"name": name, "memory": memory} | dict(
        zip(_SYSTEM, (matrix.tolist() for matrix in matrices), strict=True)
    )
    return controller


def _polynomial(key: str, value: Any) -> np.ndarray:
    """Return the coefficients of a polynomial in z, the highest power first."""
    found = as_array(key, value, (None,))
    if not found.size or found[0] == 0:
        raise DomainError(f"{key} is {shown(value)}, expected coefficients in z, the first of them not zero")
    return found
