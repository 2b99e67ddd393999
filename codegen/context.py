"""All that the templates of an exported residual policy may read, and which export it is."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from scpo_ctrl.adaptation.result import Result, margin_of
from scpo_ctrl.choices import WITHIN
from scpo_ctrl.codegen.common import Common, common
from scpo_ctrl.codegen.controller import ControllerContext, make_controller_context
from scpo_ctrl.codegen.device import GRADIENTS, DeviceCode, device_code
from scpo_ctrl.codegen.fixed_code import FixedCode, fixed_code
from scpo_ctrl.codegen.fixed_law import FixedLaw, FixedPoint, fixed_law
from scpo_ctrl.codegen.guard import GuardCode, guard_code
from scpo_ctrl.codegen.identifiers import named
from scpo_ctrl.codegen.law import Entry
from scpo_ctrl.codegen.literals import literal, number_type, rounded
from scpo_ctrl.codegen.targets import check_options
from scpo_ctrl.codegen.vectors import ControlVectors, control_vectors, guarded_vectors
from scpo_ctrl.errors import DomainError
from scpo_ctrl.loop.controlled import ControllerPolicy, LoopPolicy
from scpo_ctrl.loop.policy import Policy, layers_of
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.proof.guarded import guard

_SCALES = ("scale", "input_scale")  # of a policy, with units


@dataclass(frozen=True)
class Block:
    """A matrix of θ, or a vector as one row, with its name."""

    title: str
    rows: np.ndarray  # (rows, columns)


@dataclass(frozen=True, kw_only=True)
class Context(Common):
    """What is exported of a residual policy: its numbers, its target, and the vectors."""

    x_names: tuple[str, ...]  # (nx,) label and unit
    u_names: tuple[str, ...]  # (nu,) label and unit
    states: tuple[Entry, ...]  # (nx,)
    inputs: tuple[Entry, ...]  # (nu,)
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
    controls: ControlVectors
    guard: GuardCode | None
    device: DeviceCode | None
    fixed: FixedCode | None

    def fields(self) -> dict[str, Any]:
        """Return everything by name."""
        more = ("nx", "nu", "max_width", "hidden", "theta_blocks")
        return super().fields() | {name: getattr(self, name) for name in more}

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
    def hidden(self) -> int:
        """Number of units of all hidden layers."""
        return sum(self.widths[1:-1])

    @property
    def theta_blocks(self) -> list[Block]:
        """θ as the matrices that it stacks."""
        hidden, output = layers_of(self.theta, self.widths)
        blocks = []
        for k, (W, b) in enumerate(hidden, start=1):
            blocks += [Block(f"W_{k} [{len(W)} x {W.shape[1]}]", W), Block(f"b_{k} [{b.size}]", b[None])]
        return [*blocks, Block(f"W [{len(output)} x {output.shape[1]}]", output)]


def make_context(
    result: Result,
    target: str,
    real: str | None,
    prefix: str,
    *,
    guarded: bool = False,
    within: str = WITHIN[0],
    adapting: bool = False,
    fixed: FixedPoint | None = None,
    examples: int | None = None,
    gradients: str = GRADIENTS[0],
    audited: bool = True,
) -> Context | ControllerContext:
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
    guarded : bool
        Whether the guard is exported too.
    within : str
        The set that it keeps.
    adapting : bool
        Whether the adaptation is exported too.
    fixed : FixedPoint, optional
        What is counted, where the policy is exported in integers too.
    examples : int, optional
        Of an expert that the adaptation keeps, at most.
    gradients : str
        Of the adaptation, "exact" or "sampled".
    audited : bool
        Whether it audits what it commits.

    Returns
    -------
    Context or ControllerContext

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
    if guarded and isinstance(problem.policy, ControllerPolicy):
        raise DomainError(
            f"the C of controller {problem.policy.controller.name!r} has no guard, as residual policies have; export "
            "it without one"
        )
    law = None if fixed is None else _in_integers(problem.policy, fixed, guarded=guarded)
    held = guard(problem, within) if guarded else None
    device = device_code(problem, real, prefix, law, examples, gradients, audited) if adapting else None
    if isinstance(problem.policy, ControllerPolicy):
        return make_controller_context(result, problem.policy, chosen, real, prefix)
    policy = problem.policy
    theta = np.array([rounded(value, real) for value in result.theta])
    literal(float(np.max(np.abs(result.theta))), real)
    values = {**policy_data(policy, real), "theta": theta}
    hashed = (
        values
        | {"theta_initial": result.theta_initial}
        | ({} if held is None else {"guard": str(replace(held, proof=None))})
        | ({} if law is None else {key: getattr(law, key) for key in ("x_step", "x_zero", "u_step", "u_zero")})
    )
    shared = common(result, chosen, real, prefix, margin_of(result.everywhere.metrics(theta)), hashed)
    if device is not None:  # its projections are of whole steps, with all rows of the working set at once
        span = device.directions if device.sampled else policy.theta_dim
        shared |= {"max_dim": span, "max_active": device.rows}
    code = None if held is None else guard_code(held, real, prefix)
    controls = control_vectors(policy, theta, result.theta_initial, real)
    if held is not None and code is not None:
        controls = guarded_vectors(policy, controls, held, code.rounding, real)
    plant = policy.plant
    values |= {
        "states": _entries(plant.x_labels, plant.x_units, "x"),
        "inputs": _entries(plant.u_labels, plant.u_units, "u"),
    }
    integers = None if law is None else fixed_code(result, theta, law)
    return Context(**shared, **values, controls=controls, guard=code, device=device, fixed=integers)


def _in_integers(policy: LoopPolicy, counted: FixedPoint, *, guarded: bool) -> FixedLaw:
    """Return the policy in integers, or refuse what has none."""
    if isinstance(policy, ControllerPolicy):
        what = f"the law of controller {policy.controller.name!r}"
        raise DomainError(f"{what} is not computed in integers, as residual policies are; export without fixed")
    if guarded:
        raise DomainError("the guard is not computed in integers; export without one, or without fixed")
    return fixed_law(policy, counted)


def _entries(labels: Sequence[str], units: Sequence[str], letter: str) -> tuple[Entry, ...]:
    return tuple(Entry(f"{letter}{i}", *of) for i, of in enumerate(zip(labels, units, strict=True)))


def policy_data(policy: Policy, real: str) -> dict[str, Any]:
    """Collect the constants of a policy, bounds rounded inwards.

    Parameters
    ----------
    policy : Policy
    real : str
        "float" or "double".

    Returns
    -------
    dict
        By name.

    Raises
    ------
    DomainError
        If bounds coincide or a scale is out of range in this type.
    """
    plant = policy.plant
    u_min = np.array([rounded(bound, real, np.inf) for bound in plant.u_min])
    u_max = np.array([rounded(bound, real, -np.inf) for bound in plant.u_max])
    scales = {key: np.array([rounded(value, real) for value in getattr(policy, key)]) for key in _SCALES}
    for i in np.flatnonzero(~(u_min < u_max)):
        raise DomainError(f"the bounds of u[{i}] coincide in {real}; export with real = 'double'")
    smallest = np.finfo(number_type(real)).tiny
    for key, scale in scales.items():
        for i in np.flatnonzero(~((scale >= smallest) & (scale <= 1 / smallest))):
            value = getattr(policy, key)[i]
            raise DomainError(f"{key}[{i}] = {value:g} is out of the range of {real}; choose other units")
    return {
        "x_names": named(plant.x_labels, plant.x_units),
        "u_names": named(plant.u_labels, plant.u_units),
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
