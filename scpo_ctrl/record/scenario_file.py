"""Scenario files: one scenario in TOML, such as what `falsify` found, to join those of a run."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from scpo_ctrl.errors import DomainError, ProblemFileError
from scpo_ctrl.loop.batch import Scenarios
from scpo_ctrl.messages import shown
from scpo_ctrl.models.varying import first_varying, settled
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.problem.learned import LEARNED_FILE, LearnedScenarios
from scpo_ctrl.reading import read_text
from scpo_ctrl.record import toml
from scpo_ctrl.record.config import ProblemFile, located
from scpo_ctrl.validate import as_array

_KEYS = ("horizon", "initial_state", "parameters", "disturbance")


def with_learned(file: ProblemFile, paths: Iterable[Path]) -> ProblemFile:
    """Return a problem file with the scenarios of scenario files after its own.

    Parameters
    ----------
    file : ProblemFile
    paths : iterable of pathlib.Path
        Scenario files.

    Returns
    -------
    ProblemFile
        A run of it records them in learned.npz.

    Raises
    ------
    ProblemFileError
        If a file cannot be read, or is not a scenario file.
    DimensionError, DomainError
        If a scenario is not one of the problem's declared set.
    """
    problem, more = file.problem, None
    for path in paths:
        one = _read(path, problem)
        more = one if more is None else more.and_then(one)
    if more is None:
        return file
    start = problem.theta_initial
    joined = problem.with_scenarios(problem.scenarios.and_then(more), start)
    learned = LearnedScenarios.of(more if file.learned is None else file.learned.scenarios.and_then(more), start)
    names = {"learned": LEARNED_FILE, "learned_sha256": learned.sha256}
    joined.tables = {**file.tables, "scenarios": {**file.tables["scenarios"], **names}}
    return replace(file, problem=joined, tables=joined.tables, learned=learned)


def _read(path: Path, problem: ControlProblem) -> Scenarios:
    """Read a scenario, which must be one of the problem's."""
    try:
        tables = toml.loads(read_text(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ProblemFileError(
            f"{path}: cannot be read: {reason}; give a scenario file, as `falsify` writes"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ProblemFileError(f"{path}: is not valid TOML: {error}") from error
    table = tables.get("scenario")
    if not isinstance(table, dict) or set(tables) - {"scenario", "violation"}:
        raise ProblemFileError(f"{path}: is no scenario file: it needs a section [scenario], as `falsify` writes it")
    unknown = sorted(set(table) - set(_KEYS))
    if unknown:
        raise ProblemFileError(f"{path}: [scenario] unknown key {shown(unknown[0])}; known: {', '.join(_KEYS)}")
    with located(f"{path}: [scenario] "):
        return _scenario(table, problem)


def _scenario(table: dict[str, Any], problem: ControlProblem) -> Scenarios:
    plant, batch = problem.plant, problem.scenarios
    if "initial_state" not in table:
        raise ProblemFileError("key 'initial_state' is missing")
    if table.get("horizon", batch.horizon) != batch.horizon:
        raise DomainError(f"horizon is {shown(table['horizon'])}, that of the problem {batch.horizon}; give the same")
    x0 = as_array("initial_state", table["initial_state"], (plant.nx,))
    outside = np.flatnonzero((x0 < plant.x_min) | (x0 > plant.x_max))
    if outside.size:
        raise DomainError(f"initial_state is outside the bounds of {plant.x_labels[outside[0]]}; no policy can keep it")
    given, known = table.get("parameters", {}), plant.p_labels[: first_varying(plant)]
    if not isinstance(given, dict) or set(given) - set(known):
        raise DomainError(f"parameters is {shown(given)}, expected some of: {', '.join(known) or 'none'}")
    p = np.array([as_array(k, [given.get(k, nominal)], (1,))[0] for k, nominal in _nominal(problem)])
    p = settled(plant, p[None])[0]
    w = as_array("disturbance", table.get("disturbance", np.zeros(batch.w.shape[1:])), batch.w.shape[1:])
    one = Scenarios(x0[None], p.reshape(1, -1), w[None], batch.horizon, batch.declared)
    if batch.declared is not None:
        near = batch.declared.nearest(one)
        wide = 1e-9 * np.maximum(1.0, np.abs(w))
        if not np.array_equal(near.p, one.p) or (w.size and (np.abs(near.w[0] - w) > wide).any()):
            raise DomainError(
                "parameters or disturbance are outside the ranges of [scenarios], or of signals; widen these there"
            )
    return one


def _nominal(problem: ControlProblem) -> list[tuple[str, float]]:
    plant = problem.plant
    return list(zip(plant.p_labels, plant.p_nominal.tolist(), strict=True))
