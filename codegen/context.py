"""All that a template may read."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from scpo_ctrl.adaptation.result import Result, margin_of
from scpo_ctrl.codegen.literals import literal, rounded
from scpo_ctrl.codegen.targets import Target, check_options
from scpo_ctrl.codegen.vectors import ControlVectors, ProjectionVectors, control_vectors, projection_vectors
from scpo_ctrl.errors import DomainError
from scpo_ctrl.loop.controlled import residual_policy
from scpo_ctrl.loop.policy import Policy
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.report.numbers import number
from scpo_ctrl.report.wording import capital, headline, stability
from scpo_ctrl.version import __version__

_SCALES = ("scale", "input_scale")  # of a policy, with units
_ACTIVE = (8, 32)  # least and most constraints that the exported projection solves for at once


@dataclass(frozen=True)
class Block:
    """A matrix of θ, or a vector as one row, with its name."""

    title: str
    rows: np.ndarray  # (rows, columns)


@dataclass(frozen=True)
class Context:
    """What is exported: the policy, its target, and the vectors."""

    version: str  # of this package
    input_hash: str  # sha256 of all inputs
    prefix: str
    real: str  # "float" or "double"
    target: Target
    plant: str  # as the user named it; what prints it escapes it
    x_names: tuple[str, ...]  # (nx,) label and unit
    u_names: tuple[str, ...]  # (nu,) label and unit
    widths: tuple[int, ...]  # of the layers, from the state to the input
    K: np.ndarray  # (nu, nx)
    x_eq: np.ndarray  # (nx,)
    u_eq: np.ndarray  # (nu,)
    u_min: np.ndarray  # (nu,) rounded inwards
    u_max: np.ndarray  # (nu,) rounded inwards
    u_min_exact: np.ndarray  # (nu,)
    u_max_exact: np.ndarray  # (nu,)
    u_rest: np.ndarray  # (nu,) equilibrium input within its bounds
    scale: np.ndarray  # (nx,)
    input_scale: np.ndarray  # (nu,)
    theta: np.ndarray  # (d,)
    max_dim: int  # largest dimension of a projection
    max_active: int  # constraints that it solves for at once
    margin: float  # -max g at the parameters as rounded for the target, on scenarios and guards, computed in double
    guards: int  # scenarios of the run besides those of its problem
    claim: str  # what was shown of the parameters before they were rounded: the word of the report's headline
    shown: str  # the same in sentences
    controls: ControlVectors
    projections: ProjectionVectors

    @property
    def nx(self) -> int:
        """Number of states."""
        return len(self.x_eq)

    @property
    def nu(self) -> int:
        """Number of inputs."""
        return len(self.u_eq)

    @property
    def max_width(self) -> int:
        """Width of the widest layer that feeds another."""
        return max(self.widths[:-1])

    @property
    def theta_blocks(self) -> list[Block]:
        """θ as the matrices that it stacks."""
        blocks, start = [], 0
        layers = list(zip(self.widths[:-1], self.widths[1:], strict=True))
        for k, (columns, rows) in enumerate(layers, start=1):
            name = "W" if k == len(layers) else f"W_{k}"
            W = self.theta[start : start + rows * columns].reshape(rows, columns)
            blocks.append(Block(f"{name} [{rows} x {columns}]", W))
            start += W.size
            if k < len(layers):
                blocks.append(Block(f"b_{k} [{rows}]", self.theta[start : start + rows].reshape(1, rows)))
                start += rows
        return blocks


def make_context(result: Result, target: str, real: str | None, prefix: str) -> Context:
    """Collect what an export of a run needs, after checking that it can be exported.

    Parameters
    ----------
    result : Result
        Of a `ControlProblem`.
    target : str
        A key of `TARGETS`.
    real : str or None
        "float" or "double"; the target's own where None.
    prefix : str
        Of every name in the C code.

    Returns
    -------
    Context

    Raises
    ------
    DomainError
        If the run has no plant, the target, real or prefix is unknown, or a number does not fit the type.
    """
    chosen, real, prefix = check_options(target, real, prefix)
    problem = result.problem
    if not isinstance(problem, ControlProblem):
        raise DomainError(
            "this run adapts functions of the user, without a plant and a policy; there is no controller to export. "
            "Export a run of a ControlProblem"
        )
    policy = residual_policy(problem.policy, "export to C")
    theta = np.array([rounded(value, real) for value in result.theta])
    literal(float(np.max(np.abs(result.theta))), real)
    directions = result.options.directions
    max_dim = min(directions, theta.size) if directions else theta.size
    active = int(np.max(result.history.column("active"), initial=0))
    values: dict[str, Any] = {
        "version": __version__,
        "prefix": prefix,
        "real": real,
        **_policy_data(policy, real),
        "theta": theta,
        "max_dim": max_dim,
        "max_active": min(max(2 * active, _ACTIVE[0]), _ACTIVE[1]),
        "margin": margin_of(result.everywhere.metrics(theta)),
    }
    claim, shown = _claims(result)
    return Context(
        **values,
        target=chosen,
        guards=result.guards.count if result.guards else 0,
        claim=claim,
        shown=shown,
        input_hash=_hash({**values, "target": target, "theta_initial": result.theta_initial}),
        controls=control_vectors(policy, theta, result.theta_initial, real),
        projections=projection_vectors(max_dim, real),
    )


def _claims(result: Result) -> tuple[str, str]:
    """Return what was shown of a run's parameters, in the words of its report."""
    said = headline(result, margin_of(result.everywhere.metrics(result.theta)))
    sentences = [said.sentence]
    if result.final_audit is None:
        sentences.append("The final policy was not audited.")
    if found := stability(result, number):
        sentences.append(f"{capital(found)}, the largest over the parameter ranges.")
    return said.word, " ".join(sentences)


def _policy_data(policy: Policy, real: str) -> dict[str, Any]:
    """Collect the constants of a policy, bounds rounded inwards."""
    plant = policy.plant
    u_min = np.array([rounded(bound, real, np.inf) for bound in plant.u_min])
    u_max = np.array([rounded(bound, real, -np.inf) for bound in plant.u_max])
    scales = {key: np.array([rounded(value, real) for value in getattr(policy, key)]) for key in _SCALES}
    for i in np.flatnonzero(~(u_min < u_max)):
        raise DomainError(f"the bounds of u[{i}] coincide in {real}; export with real = 'double'")
    smallest = np.finfo(np.float32 if real == "float" else np.float64).tiny
    for key, scale in scales.items():
        for i in np.flatnonzero(~((scale >= smallest) & (scale <= 1 / smallest))):
            value = getattr(policy, key)[i]
            raise DomainError(f"{key}[{i}] = {value:g} is out of the range of {real}; choose other units")
    return {
        "plant": plant.name,
        "x_names": _names(plant.x_labels, plant.x_units),
        "u_names": _names(plant.u_labels, plant.u_units),
        "widths": policy.widths,
        "K": policy.backup.K,
        "x_eq": plant.x_eq,
        "u_eq": plant.u_eq,
        "u_min": u_min,
        "u_max": u_max,
        "u_min_exact": plant.u_min,
        "u_max_exact": plant.u_max,
        "u_rest": np.clip([rounded(value, real) for value in plant.u_eq], u_min, u_max),
        **scales,
    }


def _names(labels: tuple[str, ...], units: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{label} [{unit}]" if unit else label for label, unit in zip(labels, units, strict=True))


def _hash(values: dict[str, object]) -> str:
    """Hash numbers by their bits and everything else by its text."""

    def plain(value: object) -> object:
        return [x.hex() for x in value.ravel().tolist()] if isinstance(value, np.ndarray) else str(value)

    text = json.dumps({key: plain(value) for key, value in values.items()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
