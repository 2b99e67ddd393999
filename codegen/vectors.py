"""Test vectors: what Python computes, for the exported C to replay."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from scpo_ctrl.codegen.literals import number_type
from scpo_ctrl.invariance.guard import Guard
from scpo_ctrl.loop.policy import Policy, layers_of
from scpo_ctrl.projection.project import project

CONTROLS = 200
PROJECTIONS = 50
_THETAS = 5  # the exported parameters, the safe start, and random ones
_LARGEST = {"float": 1e15, "double": 1e100}  # state: what it gives is still a number
_TOLERANCE = {"float": 1e-5, "double": 1e-12}  # of inputs, relative to their size
_SIZES = ((1, 1), (1, 0), (2, 3), (3, 0), (4, 6), (5, 4), (8, 12), (10, 5), (16, 3), (20, 8))  # (p, m)


@dataclass(frozen=True)
class ControlVectors:
    """States, parameters, and the inputs they give; states and parameters are numbers of the target's type."""

    theta: np.ndarray  # (T, d)
    which: np.ndarray  # (N,) rows of theta
    x: np.ndarray  # (N, nx)
    u: np.ndarray  # (N, nu) from Python in double
    size: np.ndarray  # (N, nu) what errors are relative to, at least |u| and half the width of its bounds
    backup: np.ndarray  # (N, nu) inputs of the backup
    guarded: np.ndarray  # (N,) bool: whether the guard applies the backup


@dataclass(frozen=True)
class ProjectionVectors:
    """Instances of (E5), packed one behind the other, and the distance from u that Python's answer has."""

    dim: np.ndarray  # (N,) p
    count: np.ndarray  # (N,) m
    numbers: np.ndarray  # u, c, G, e, L, r of each instance, in the target's type
    objective: np.ndarray  # (N,) |delta - u|² of Python's answer
    size: np.ndarray  # (N,) what gaps are relative to


def control_vectors(policy: Policy, theta: np.ndarray, theta_initial: np.ndarray, real: str) -> ControlVectors:
    """Draw states inside, at and far outside the bounds, the origin and the equilibrium, and compute their inputs.

    Parameters
    ----------
    policy : Policy
    theta : numpy.ndarray, shape (d,)
        The exported parameters.
    theta_initial : numpy.ndarray, shape (d,)
        The safe start.
    real : str
        "float" or "double".

    Returns
    -------
    ControlVectors
        The same ones every time.
    """
    rng = np.random.default_rng(20251213)
    plant, number = policy.plant, number_type(real)
    thetas = np.vstack([theta, theta_initial, theta + 0.5 * rng.normal(size=(_THETAS - 2, theta.size))])
    scale = np.asarray(policy.scale)
    low = np.where(np.isfinite(plant.x_min), plant.x_min, plant.x_eq - 5 * scale)
    high = np.where(np.isfinite(plant.x_max), plant.x_max, plant.x_eq + 5 * scale)
    inside = rng.uniform(low, high, (120, plant.nx))
    corners = np.where(rng.uniform(size=(30, plant.nx)) < 0.5, low, high)
    far = plant.x_eq + rng.normal(size=(CONTROLS - 152, plant.nx)) * (high - low) * 10
    limit = _LARGEST[real]
    x = np.clip(np.vstack([np.zeros(plant.nx), plant.x_eq, inside, corners, far]), -limit, limit)
    thetas, x = thetas.astype(number).astype(float), x.astype(number).astype(float)
    which = np.where(rng.uniform(size=CONTROLS) < 0.5, 0, rng.integers(0, _THETAS, CONTROLS))
    return _computed(policy, thetas, which, x)


def _computed(policy: Policy, thetas: np.ndarray, which: np.ndarray, x: np.ndarray) -> ControlVectors:
    """Return vectors with what a policy gives at states."""
    plant, u = policy.plant, policy(x, thetas[which])
    size = np.maximum(np.maximum((plant.u_max - plant.u_min) / 2, np.abs(u)), _roundings(policy, x, thetas[which]) / 16)
    backup = np.clip(plant.u_eq - (x - plant.x_eq) @ policy.backup.K.T, plant.u_min, plant.u_max)
    return ControlVectors(thetas, which, x, u, size, backup, np.zeros(len(x), dtype=bool))


def guarded_vectors(
    policy: Policy, vectors: ControlVectors, guard: Guard, rounding: float, real: str
) -> ControlVectors:  # fmt: skip
    """Return vectors under the guard, half of them in its set; where rounding may decide, another one stands.

    Parameters
    ----------
    policy : Policy
    vectors : ControlVectors
        Of the policy without guard.
    guard : Guard
    rounding : float
        Of V of the next state, in parts of what passes.
    real : str
        "float" or "double".

    Returns
    -------
    ControlVectors
    """
    rng, plant, number = np.random.default_rng(20251213), policy.plant, number_type(real)
    towards = rng.normal(size=(len(vectors.x) // 2, plant.nx))
    towards *= rng.uniform(0.2, 1, (len(towards), 1)) / np.linalg.norm(towards, axis=1, keepdims=True)
    x = vectors.x.copy()
    x[1::2] = (plant.x_eq + guard.surface(towards)).astype(number)
    vectors = _computed(policy, vectors.theta, vectors.which, x)
    with np.errstate(over="ignore", invalid="ignore"):
        level = np.array(guard.function.map(len(x))(x.T, vectors.u.T)).ravel()
        applied, acted = guard.apply(x, vectors.u)
    pushes = np.where(np.isfinite(guard.pushes), guard.pushes, 1.0)
    near = ~(np.abs(level - 1) > 4 * rounding + 1e-9 + 4 * _TOLERANCE[real] * (vectors.size @ pushes))
    clear = np.flatnonzero(~near)
    rows = np.where(near, clear[np.arange(len(near)) % len(clear)], np.arange(len(near)))
    kept = {name: getattr(vectors, name)[rows] for name in ("which", "x", "size", "backup")}
    return replace(vectors, **kept, u=applied[rows], guarded=acted[rows])


def _roundings(policy: Policy, x: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """To first order, what a relative error of 1 in every product and every tanh adds to the input, shape (N, nu).

    Where large terms cancel, no arithmetic keeps a relative accuracy; this says how much of it they take.
    """
    terms = np.abs(x) + np.abs(policy.plant.x_eq)
    a = (x - policy.plant.x_eq) / np.asarray(policy.scale)
    error, at_zero, error_zero = terms / np.asarray(policy.scale), np.zeros_like(a), np.zeros_like(a)
    hidden, output = layers_of(theta, policy.widths)
    for W, b in hidden:
        a, error = _layer(W, b, a, error)
        at_zero, error_zero = _layer(W, b, at_zero, error_zero)
    backup = np.abs(policy.plant.u_eq) + 2 * terms @ np.abs(policy.backup.K).T
    residual = np.einsum("nij,nj->ni", np.abs(output), error + error_zero + np.abs(a - at_zero))
    return backup + residual * np.asarray(policy.input_scale)


def _layer(W: np.ndarray, b: np.ndarray, a: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    new = np.tanh(np.einsum("nij,nj->ni", W, a) + b)
    before = np.einsum("nij,nj->ni", np.abs(W), error + np.abs(a)) + np.abs(b)
    return new, (1 - new**2) * before + np.abs(new)


def projection_vectors(max_dim: int, real: str) -> ProjectionVectors:
    """Draw instances of (E5) of several sizes and solve them in Python.

    Parameters
    ----------
    max_dim : int
        Largest dimension p that the export handles.
    real : str
        "float" or "double".

    Returns
    -------
    ProjectionVectors
        The same ones every time.
    """
    sizes = [(p, m) for p, m in _SIZES if p <= max_dim]
    cases = [_case(*sizes[k % len(sizes)], k // len(sizes), real) for k in range(PROJECTIONS)]
    dim, count = np.array([case.size for case in cases]).T
    numbers = np.concatenate([case.numbers for case in cases])
    objective = np.array([case.objective for case in cases])
    return ProjectionVectors(dim, count, numbers, objective, np.array([case.scale for case in cases]))


@dataclass(frozen=True)
class _Case:
    """An instance of (E5), and what Python makes of it."""

    size: tuple[int, int]  # p, m
    numbers: np.ndarray  # u, c, G, e, L, r
    objective: float
    scale: float  # what gaps are relative to


@cache
def _case(p: int, m: int, kind: int, real: str) -> _Case:
    drawn = instance(np.random.default_rng((20251213, p, m, kind)), p, m, kind)
    u, c, G, e, L, r = (np.asarray(part, dtype=number_type(real)).astype(float) for part in drawn)
    answer = project(u, c, G, e, L, float(r), solver="CLARABEL")
    objective = float(np.sum((answer.delta - u) ** 2))
    numbers = np.concatenate([u, c, G.ravel(), e, L, np.atleast_1d(r)])
    return _Case((p, m), numbers, objective, max(objective, 0.01 * float(u @ u)))


def instance(rng: np.random.Generator, p: int, m: int, kind: int) -> tuple[np.ndarray | float, ...]:
    """Draw one instance of (E5): a step of length about 1 and constraints that cut into it.

    Parameters
    ----------
    rng : numpy.random.Generator
    p, m : int
        Dimension and number of constraints.
    kind : int
        Modulo 6: plain; inside already; radius active; exact gradients; some metrics at their limit; no curvature.

    Returns
    -------
    tuple
        u (p,), c (m,), G (m, p), e (m,), L (m,), r.
    """
    u = rng.normal(size=p)
    u *= rng.uniform(0.6, 2.0) / np.linalg.norm(u)
    G = rng.normal(size=(m, p))
    length = np.linalg.norm(G, axis=1)
    c = -length * rng.uniform(0.02, 0.5, m)
    e, L = length * rng.uniform(0.0, 0.2, m), length * rng.uniform(0.0, 1.0, m)
    r = rng.uniform(0.5, 5.0)
    match kind % 6:
        case 1:
            u *= 1e-3
        case 2:
            r = 0.3 * float(np.linalg.norm(u))
        case 3:
            e = np.zeros(m)
        case 4:
            c = c * (rng.uniform(size=m) < 0.7)
        case 5:
            L = np.zeros(m)
    return u, c, G, e, L, r
