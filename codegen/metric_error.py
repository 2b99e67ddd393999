"""How far the metrics of a device may be off: its rollouts in float beside the same in double.

Policies are drawn around the safe start, from near to far. What counts is where it matters: rollouts that are safe or
hardly unsafe, and of these the metrics that are near zero. ε is `FACTOR` times the largest difference, for policies and
roundings that were not seen.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from scpo_ctrl.codegen.arithmetic import evaluated
from scpo_ctrl.codegen.expressions import Graph, read
from scpo_ctrl.codegen.fixed_margin import Commands, in_integers
from scpo_ctrl.codegen.literals import number_type
from scpo_ctrl.loop.policy import layers_of

if TYPE_CHECKING:
    from scpo_ctrl.codegen.device import DeviceCode
    from scpo_ctrl.codegen.fixed_law import FixedLaw
    from scpo_ctrl.loop.policy import Policy

FACTOR = 4.0  # times the largest difference seen
LEAST = {"float": 2e-6, "double": 1e-12}  # ε is no less
_SIZES = (0.0, 0.03, 0.1, 0.3, 1.0)  # standard deviations of changes of θ
_DRAWS = 4  # of each
_HARDLY, _NEAR = 0.05, 0.5  # largest metric of a rollout that counts, and sizes of its metrics that do
_Number = type[np.floating[Any]]


def metric_error(policy: "Policy", code: "DeviceCode", real: str, law: "FixedLaw | None" = None) -> float:
    """Measure ε, the error of a metric in the arithmetic of a device.

    Parameters
    ----------
    policy : Policy
    code : DeviceCode
        With the rollouts, the bounds and the set.
    real : str
        "float" or "double".
    law : FixedLaw, optional
        Where inputs are computed in integers: the loop that is right has these.

    Returns
    -------
    float
        The least one in double, which nothing more exact is beside.
    """
    if real == "double" and law is None:
        return LEAST[real]
    kind, plant, rng = number_type(real), policy.plant, np.random.default_rng(0)
    graph, (next_state,) = read(f"plant {plant.name!r}", plant.function)
    sizes = [size for size in _SIZES for _ in range(_DRAWS if size else 1)]
    thetas = np.array([code.theta_start + size * rng.normal(size=code.theta_start.size) for size in sizes])
    thetas = thetas.astype(np.float32).astype(float)
    applied = None if law is None else _each([in_integers(law, law.prepared(theta)) for theta in thetas])
    exact = _metrics(policy, code, graph, next_state, thetas, np.float64, applied)
    rounded = _metrics(policy, code, graph, next_state, thetas, kind)
    safe = np.nanmax(exact, axis=0, initial=-np.inf) <= _HARDLY
    near = (np.abs(exact) <= _NEAR) & np.isfinite(rounded) & safe
    return max(LEAST[real], FACTOR * float(np.abs(exact[near] - rounded[near]).max(initial=0.0)))


def _each(policies: list[Commands]) -> Commands:
    """Return the commands of some policies, each at states of its own, (policies, n, nx)."""
    return lambda x: np.array([commands(of_one) for commands, of_one in zip(policies, x, strict=True)])


def _metrics(
    policy: "Policy",
    code: "DeviceCode",
    graph: Graph,
    next_state: list[int],
    theta: np.ndarray,
    number: _Number,
    commands: Commands | None = None,
) -> np.ndarray:
    """Return all metrics of all rollouts of policies, (k, ..., rollouts), each operation rounded; θ is (..., d).

    NaN behind the cloud's step. Commands are those of the policies in this arithmetic where no others are given.
    """
    plant, S, N = policy.plant, code.scenarios, code.horizon
    x, p = code.x0.astype(number), code.p.astype(number)
    x = np.tile(x, (*theta.shape[:-1], 1, 1))
    w = code.w.reshape(-1, N, plant.nx)[:S] if code.w.size and not code.cloud else np.zeros((S, N, 0))
    found, last = [], x
    with np.errstate(all="ignore"):
        for t in range(N):
            v = _command(policy, theta, x, number) if commands is None else commands(x)
            found += [_boxes(v, code.bounds_u, number)]
            u = np.clip(v, plant.u_min.astype(number), plant.u_max.astype(number))
            following = evaluated(graph, next_state, (np.moveaxis(x, -1, 0), np.moveaxis(u, -1, 0), p.T), number)
            x = np.nan_to_num(np.moveaxis(following, 0, -1), nan=np.inf)
            if w.size:
                x[..., :S, :] += w[:, t].astype(number)
            found += [_boxes(x, code.bounds_x, number)]
            for part in found[-2:]:
                part[..., S if t else x.shape[-2] :] = np.nan
            last = np.concatenate([x[..., :S, :], (last if t else x)[..., S:, :]], axis=-2)
        P, level = code.P.astype(number), []
        for about in (plant.x_eq[None], code.rests):
            z = last - about.astype(number)
            level.append(((z @ P) * z).sum(axis=-1))
        found += [(level[0] - number(1))[None]] * code.terminal
        found += [(level[1] / code.limits.astype(number) - number(1))[None]] * (code.contraction or code.cloud > 0)
    return np.concatenate(found).astype(float)


def _boxes(values: np.ndarray, bounds: tuple[Any, ...], number: _Number) -> np.ndarray:
    parts = [number(one.weight) * (values[..., one.entry] - number(one.limit)) for one in bounds]
    return np.array(parts) if parts else np.zeros((0, *values.shape[:-1]), number)


def _command(policy: "Policy", theta: np.ndarray, x: np.ndarray, number: _Number) -> np.ndarray:
    """Return commands before saturation, (..., n, nu)."""
    z = x - policy.plant.x_eq.astype(number)
    layer, at_zero = z / np.array(policy.scale, number), np.zeros((1, x.shape[-1]), number)
    hidden, output = layers_of(theta, policy.widths)
    for W, b in hidden:
        into, offset = W.swapaxes(-1, -2).astype(number), b[..., None, :].astype(number)
        layer, at_zero = (np.tanh(a @ into + offset) for a in (layer, at_zero))
    backup = policy.plant.u_eq.astype(number) - z @ policy.backup.K.T.astype(number)
    residual = (layer - at_zero) @ output.swapaxes(-1, -2).astype(number)
    return np.asarray(backup + residual * np.array(policy.input_scale, number))
