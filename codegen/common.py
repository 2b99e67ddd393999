"""What every export says: of which run it is, for which target, and what was shown of its parameters."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scpo_ctrl.adaptation.result import Result, margin_of
from scpo_ctrl.codegen.targets import Target
from scpo_ctrl.codegen.vectors import ProjectionVectors, projection_vectors
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.report.numbers import number
from scpo_ctrl.report.wording import capital, headline, stability
from scpo_ctrl.version import __version__

_ACTIVE = (8, 32)  # least and most constraints that the exported projection solves for at once


@dataclass(frozen=True, kw_only=True)
class Common:
    """What every export says: of which run it is, for which target, and what was shown."""

    version: str  # of this package
    input_hash: str  # sha256 of all inputs
    prefix: str
    real: str  # "float" or "double"
    target: Target
    plant: str  # as the user named it; what prints it escapes it
    dt: float  # [s]
    max_dim: int  # largest dimension of a projection
    max_active: int  # constraints that it solves for at once
    margin: float  # -max g at the parameters as rounded for the target, on scenarios and guards, computed in double
    guards: int  # scenarios of the run besides those of its problem
    claim: str  # what was shown of the parameters before they were rounded: the word of the report's headline
    shown: str  # the same in sentences
    projections: ProjectionVectors

    def fields(self) -> dict[str, Any]:
        """Return everything by name.

        Returns
        -------
        dict
        """
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def common(
    result: Result, target: Target, real: str, prefix: str, margin: float, hashed: Mapping[str, object]
) -> dict[str, Any]:
    """Collect the fields of `Common`.

    Parameters
    ----------
    result : Result
    target : Target
    real : str
        "float" or "double".
    prefix : str
        Of every name in the C code.
    margin : float
        At the parameters as rounded.
    hashed : mapping of str to object
        What is exported besides, for the hash of all inputs.

    Returns
    -------
    dict
        By name.
    """
    problem, size = result.problem, result.theta.size
    assert isinstance(problem, ControlProblem)
    directions = result.options.directions
    active = int(np.max(result.history.column("active"), initial=0))
    values: dict[str, Any] = {
        "version": __version__,
        "prefix": prefix,
        "real": real,
        "plant": problem.plant.name,
        "max_dim": min(directions, size) if directions else size,
        "max_active": min(max(2 * active, _ACTIVE[0]), _ACTIVE[1]),
        "margin": margin,
    }
    claim, shown = _claims(result)
    return values | {
        "target": target,
        "dt": problem.plant.dt,
        "guards": result.guards.count if result.guards else 0,
        "claim": claim,
        "shown": shown,
        "input_hash": _hash({**values, **hashed, "target": target.name}),
        "projections": projection_vectors(values["max_dim"], real),
    }


def _claims(result: Result) -> tuple[str, str]:
    """Return what was shown of a run's parameters, in the words of its report."""
    said = headline(result, margin_of(result.everywhere.metrics(result.theta)))
    sentences = [said.sentence]
    if result.final_audit is None:
        sentences.append("The final policy was not audited.")
    if found := stability(result, number):
        sentences.append(f"{capital(found)}.")
    return said.word, " ".join(sentences)


def _hash(values: dict[str, object]) -> str:
    """Hash numbers by their bits and everything else by its text."""

    def plain(value: object) -> object:
        return [x.hex() for x in value.ravel().tolist()] if isinstance(value, np.ndarray) else str(value)

    text = json.dumps({key: plain(value) for key, value in values.items()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
