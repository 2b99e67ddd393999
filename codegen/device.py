"""The adaptation on a device as C: what of a problem it has, its model and its numbers."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from scpo_ctrl.choices import DEVICE_GRADIENTS as GRADIENTS
from scpo_ctrl.codegen.fixed_law import FixedLaw
from scpo_ctrl.codegen.fresh_set import AUDIT, AuditSizes, FreshSet, fresh_set, no_audits
from scpo_ctrl.codegen.identifiers import named
from scpo_ctrl.codegen.metric_error import FACTOR, LEAST, metric_error
from scpo_ctrl.codegen.model import Function, model_functions, written
from scpo_ctrl.errors import DomainError
from scpo_ctrl.loop.batch import Scenarios
from scpo_ctrl.loop.policy import Policy
from scpo_ctrl.loop.stability import FLOOR, GAMMA, LocalStability
from scpo_ctrl.models.units import Units
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.problem.identity import problem_hash
from scpo_ctrl.problem.objective import Imitation, Quadratic
from scpo_ctrl.validate import as_count

ROWS = 16  # K of the working set: fewer stall, more cost memory
MEMORY = 4  # pairs of BFGS
TRIES = {"plain": 5, "audited": 8}  # projections in a step
EXAMPLES = 128  # of an expert, at most
FRESH = 16  # examples that find room while a step is under way
_MOST_EXAMPLES = 10_000
PATIENCE = {"exact": 10, "sampled": 40}  # another span may have what this one has not
DIRECTIONS = 16  # of a step whose gradients are sampled
_LANES = 480  # numbers of their rollouts that are kept at once
_MOST_KEYS = 2**32  # a metric's number is one of 32 bits
_LONGEST_PAYLOAD = 65535  # of a frame [bytes], see codegen/runtime/link
_CONFIDENCE = 0.05  # 1 - this is the confidence that an audit's statement holds with
_BESIDES_THETA = 80  # bytes of a payload that are kept for what is not theta


@dataclass(frozen=True)
class Bound:
    """A bound of a state or a command, as weight (value - limit) <= 0."""

    entry: int
    weight: float  # 1 / unit, with the sign of the side
    limit: float
    label: str


@dataclass(frozen=True, kw_only=True)
class DeviceCode:
    """An adaptation in the words of its C."""

    horizon: int
    scenarios: int
    cloud: int
    nu: int
    x0: np.ndarray  # (rollouts, nx)
    p: np.ndarray  # (rollouts, np)
    p_range: np.ndarray  # (2, np) least and largest of each parameter, as declared
    p_names: tuple[str, ...]
    w: np.ndarray  # (scenarios * N + cloud, nx) steps of one rollout behind those of another; (0, nx): none
    rests: np.ndarray  # (rollouts or 1, nx)
    limits: np.ndarray  # (rollouts,) of V(x_N) / rho by contraction
    bounds_x: tuple[Bound, ...]
    bounds_u: tuple[Bound, ...]
    terminal: bool
    contraction: bool  # of scenarios
    saturates: bool  # whether derivatives stop at the input's bounds
    P: np.ndarray  # (nx, nx) of V / rho
    vertices: np.ndarray  # (k, nx, nx) A - B K in the norm of P
    vertex_B: np.ndarray  # (k, nx, nu)
    inverse_root: np.ndarray  # (nx, nx)
    doublings: int
    model: tuple[Function, ...]
    epsilon: float  # ε, what a metric may be off in this arithmetic
    theta_start: np.ndarray  # (d,)
    problem_hash: str  # eight bytes as numbers of C
    gradients: str = GRADIENTS[0]
    rows: int = ROWS
    memory: int = MEMORY
    examples: int = EXAMPLES
    fresh: int = FRESH
    examples_x: np.ndarray | None = None  # (k, nx) of the expert to begin with; None: the objective is a cost
    examples_u: np.ndarray | None = None  # (k, nu)
    options: dict[str, float] = field(default_factory=dict)
    fresh_set: FreshSet | None = None  # what audits draw from; None: there are none
    audit: AuditSizes = AUDIT
    not_audited: str | None = None  # why, in words

    @property
    def audit_percent(self) -> float:
        """Percent of the set that an audit that found nothing bounds by its uniform points, with 95 % confidence."""
        return float(f"{100 * (1 - _CONFIDENCE ** (1 / (self.audit.points // 2))):.2g}")

    @property
    def updatable(self) -> bool:
        """Whether plant parameters may be replaced: they have ranges, and do not move what contraction is about."""
        return bool(np.any(self.p_range[0] < self.p_range[1])) and len(self.rests) == 1

    @property
    def tries(self) -> int:
        """Projections in a step: more where guards break more of them."""
        return TRIES["plain" if self.fresh_set is None else "audited"]

    @property
    def sampled(self) -> bool:
        """Whether gradients are sampled."""
        return self.gradients == "sampled"

    @property
    def patience(self) -> int:
        """Commits not worth it, or half as many rejections, until it has converged."""
        return PATIENCE[self.gradients]

    @property
    def directions(self) -> int:
        """Of a step whose gradients are sampled."""
        return min(DIRECTIONS, self.theta_start.size)

    @property
    def chunk(self) -> int:
        """Steps of a rollout that are sampled in a piece."""
        nx, nu = self.P.shape[0], self.nu
        return min(max(_LANES // (self.directions * (nx + nu)), 1), self.horizon)

    @property
    def sampling_radius(self) -> float:
        """σ of (E2), where the error e of (E3) is least for a smoothness constant of two."""
        return 2 * float(np.sqrt(self.epsilon / FACTOR / 2))

    @property
    def gamma(self) -> float:
        """γ of (E11)."""
        return GAMMA

    @property
    def floor(self) -> float:
        """δ of (E11)."""
        return FLOOR


def _check_frames(problem: ControlProblem, real: str) -> None:
    """Refuse what the frames of the serial link cannot state: a length in two bytes, nx and nu in one each."""
    most = (_LONGEST_PAYLOAD - _BESIDES_THETA) // (8 if real == "double" else 4)
    if problem.theta_dim > most:
        raise DomainError(
            f"the policy has {problem.theta_dim} parameters, and a frame of the serial link carries {most} in {real}; "
            "take fewer hidden units"
        )
    if max(problem.plant.nx, problem.plant.nu) > 255:
        raise DomainError(
            "a frame of the serial link states nx and nu in a byte each; take a plant of at most 255 of each"
        )


def device_code(
    problem: ControlProblem,
    real: str,
    prefix: str = "scpo",
    law: FixedLaw | None = None,
    examples: int | None = None,
    gradients: str = GRADIENTS[0],
    audited: bool = True,
) -> DeviceCode:
    """Write an adaptation as C.

    Parameters
    ----------
    problem : ControlProblem
    real : str
        "float" or "double".
    prefix : str
        Of every name of the export.
    law : FixedLaw, optional
        Where inputs are computed in integers: ε covers that too.
    examples : int, optional
        Of an expert that the device keeps, at most; 128 by default.
    gradients : str
        "exact" or "sampled".
    audited : bool
        Whether what is committed is audited on fresh points, where the problem declares a set for it.

    Returns
    -------
    DeviceCode

    Raises
    ------
    DomainError
        If the problem has something that is not adapted on a device, by name.
    """
    check_device(problem, gradients)
    _check_frames(problem, real)
    policy, batch = problem.policy, problem.scenarios
    assert isinstance(policy, Policy)
    plant, options, backup = policy.plant, problem.scenario_metrics.options, policy.backup
    cloud = problem.one_step
    x0, p = batch.x0, batch.p
    limits = np.where(problem.at_rest, 1.0, problem.contraction_limits(batch) / backup.rho)  # there V stays zero
    if cloud is not None:
        x0, p = np.vstack([x0, cloud.cloud.x0]), np.vstack([p, cloud.cloud.p])
        limits = np.append(limits, cloud.limits / backup.rho)
    units = Units.of(plant)
    code = DeviceCode(
        horizon=batch.horizon,
        scenarios=batch.count,
        cloud=0 if cloud is None else cloud.cloud.count,
        nu=plant.nu,
        x0=x0,
        p=p,
        p_range=_ranges(batch, p),
        p_names=named(plant.p_labels, plant.p_units),
        w=_disturbances(batch, None if cloud is None else cloud.cloud),
        rests=_rests(problem, units),
        limits=limits,
        bounds_x=_bounds(plant.x_min, plant.x_max, units.x, plant.x_labels) if options.path else (),
        bounds_u=_bounds(plant.u_min, plant.u_max, units.u, plant.u_labels) if options.path and options.command else (),
        terminal=options.terminal,
        contraction=options.contraction is not None,
        saturates=not (options.path and options.command),
        P=backup.P / backup.rho,
        **_stability(problem.stability, policy),
        model=tuple(
            written(f"plant {plant.name!r}", of, real, prefix)
            for of in model_functions(problem)
            if not (of.name == "model_adjoint" and gradients == "sampled")
        ),
        gradients=gradients,
        fresh_set=fresh_set(problem, real) if audited else None,
        not_audited=no_audits(problem) if audited else "it was exported without audits",
        epsilon=LEAST[real],
        theta_start=problem.theta_initial,
        problem_hash=", ".join(f"0x{byte:02x}" for byte in problem_hash(problem)),
        **_examples(problem.imitation, examples),
    )
    return replace(code, epsilon=metric_error(policy, code, real, law))


def check_device(problem: ControlProblem, gradients: str = GRADIENTS[0]) -> None:
    """Refuse what is not adapted on a device.

    Parameters
    ----------
    problem : ControlProblem
    gradients : str
        "exact" or "sampled".

    Raises
    ------
    DomainError
        That names it.
    """
    options, policy = problem.scenario_metrics.options, problem.policy
    reasons = (
        (not isinstance(policy, Policy), "a controller with expressions of its own; it adapts residual policies"),
        (problem.has_simulator, "a simulator in the plant's place; it adapts on the plant's model"),
        (bool(problem.plant.signals), "signals over time; it has constant parameters"),
        (
            not isinstance(problem.objective_data, Quadratic | Imitation),
            "this objective; it adapts Quadratic costs and Imitation",
        ),
        (options.constraints is not None or options.du_max is not None, "constraints of the user's own, or du_max"),
    )
    for there, what in reasons:
        if there:
            raise DomainError(f"the adaptation on a device does not have {what}; export without it")
    data = problem.objective_data
    if isinstance(data, Quadratic) and (data.P_N is not None or data.R_du is not None):
        raise DomainError("the adaptation on a device does not have P_N and R_du of a Quadratic; export without it")
    if isinstance(data, Imitation) and gradients == "sampled":
        raise DomainError(
            "sampled gradients are of a Quadratic, and the objective is Imitation; take gradients='exact'"
        )
    rollouts = problem.scenarios.count + (0 if problem.one_step is None else problem.one_step.cloud.count)
    if rollouts * (problem.scenarios.horizon + 1) * (2 * problem.plant.nx + 2 * problem.plant.nu + 2) >= _MOST_KEYS:
        raise DomainError("the problem has more metrics than a device can number; take fewer scenarios")


def _examples(data: Imitation | None, examples: int | None) -> dict[str, Any]:
    """Return what of an expert's data the device begins with: all of it, or as many rows as it keeps, evenly spread."""
    if data is None:
        if examples is not None:
            raise DomainError("examples is of an expert's data, and the objective is a cost; leave it out")
        return {}
    most = EXAMPLES if examples is None else as_count("examples", examples, at_least=1, at_most=_MOST_EXAMPLES)
    rows = np.arange(len(data.x))
    if rows.size > most:
        rows = np.linspace(0, rows.size - 1, most).round().astype(int)
    return {"examples": most, "examples_x": data.x[rows], "examples_u": data.u[rows]}


def _bounds(low: np.ndarray, high: np.ndarray, units: np.ndarray, labels: tuple[str, ...]) -> tuple[Bound, ...]:
    found = [(i, 1.0, high[i], "<=") for i in np.flatnonzero(np.isfinite(high))]
    found += [(i, -1.0, low[i], ">=") for i in np.flatnonzero(np.isfinite(low))]
    return tuple(
        Bound(int(i), sign / units[i], float(limit), f"{labels[i]} {side} {limit:g}") for i, sign, limit, side in found
    )


def _disturbances(batch: Scenarios, cloud: Scenarios | None) -> np.ndarray:
    """Return disturbances of every step of every rollout, a row each; no row where nothing is disturbed."""
    parts = [batch] if cloud is None else [batch, cloud]
    if not any(part.w.size for part in parts):
        return np.zeros((0, batch.x0.shape[1]))
    rows = [part.w if part.w.size else np.zeros((part.count, part.horizon, part.x0.shape[1])) for part in parts]
    return np.vstack([row.reshape(-1, row.shape[2]) for row in rows])


def _ranges(batch: Scenarios, p: np.ndarray) -> np.ndarray:
    """Return the ranges of plant parameters, (2, np): those that were declared, else those of the rollouts."""
    found = np.array([p.min(axis=0), p.max(axis=0)])
    if batch.declared is not None:
        found = np.array(
            [np.fmin(found[0], batch.declared.ranges[:, 0]), np.fmax(found[1], batch.declared.ranges[:, 1])]
        )
    return found


def _rests(problem: ControlProblem, units: Units) -> np.ndarray:
    """Return what contraction is about in each rollout, a single row where that is the nominal equilibrium."""
    cloud, x_eq = problem.one_step, problem.plant.x_eq
    found = [(problem.rests(problem.scenarios), problem.scenarios.count)]
    if cloud is not None:
        about = cloud.rollouts.rests()
        found.append((None if about is None else about * units.x, cloud.cloud.count))
    if all(rests is None for rests, _ in found):
        return x_eq[None]
    return np.vstack([np.tile(x_eq, (count, 1)) if rests is None else rests for rests, count in found])


def _stability(stability: LocalStability | None, policy: Policy) -> dict[str, Any]:
    """Return the loop's derivative at rest under the backup, in the norm of P, for each vertex."""
    plant, nx = policy.plant, policy.plant.nx
    none = {"vertices": np.zeros((0, nx, nx)), "vertex_B": np.zeros((0, nx, plant.nu)), "doublings": 0}
    if stability is None:
        return none | {"inverse_root": np.eye(nx)}
    unit = 1 / np.sqrt(np.diag(policy.backup.P))
    root = np.linalg.cholesky(policy.backup.P * unit[:, None] * unit) / unit[:, None]
    inverse = np.linalg.inv(root).T
    found = []
    for vertex in stability.parameters:
        after, A, B = (np.array(part) for part in plant.derivatives(plant.x_eq, plant.u_eq, vertex))
        if np.abs((after[:, 0] - plant.x_eq) / Units.of(plant).x).max() > 1e-9:
            raise DomainError(
                "the plant's parameters move its equilibrium, and local stability on a device is about one that stays; "
                "set [metrics] stability = false, or export without the adaptation"
            )
        found.append((root.T @ (A - B @ policy.backup.K) @ inverse, root.T @ B))
    A, B = (np.array(part) for part in zip(*found, strict=True))
    return {"vertices": A, "vertex_B": B, "inverse_root": inverse, "doublings": stability.power.bit_length() - 1}
