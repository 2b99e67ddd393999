"""Loops whose worst metric over the declared set is known exactly, with a bound just below it or just above it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scpo_ctrl.loop.design import lqr
from scpo_ctrl.loop.metrics import MetricOptions
from scpo_ctrl.loop.policy import Policy
from scpo_ctrl.loop.scenario import Scenarios, scenarios
from scpo_ctrl.models import Plant, linear
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.problem.objective import Quadratic

KINDS = ("sliver", "late", "disturbance", "parameter")
_FAR = 50.0  # where the other bounds are


@dataclass(frozen=True)
class Planted:
    """A loop, and how much of its declared set violates."""

    problem: ControlProblem
    share: float  # bound of the violating part of the set's volume; 0 where nothing violates, nan where not computed

    @property
    def theta(self) -> np.ndarray:
        return self.problem.theta_initial


def interval_problem(share: float, simulator=None) -> ControlProblem:
    """Return x⁺ = 0.5 x + u on x_0 in [-1, 1], of which a share violates: the command -K x at t = 0 is bounded."""
    free = _one_dimensional(1.0)
    gain = abs(float(free.backup.K[0, 0]))
    return _one_dimensional(gain * (1 - share), simulator)


def _one_dimensional(u_max: float, simulator=None) -> ControlProblem:
    plant = linear([[0.5]], [[1.0]], 0.1, ([-_FAR], [_FAR], [-u_max], [u_max]))
    backup = lqr(plant, [1.0], [1.0])
    batch = scenarios(plant, backup, horizon=2, count=4, box=[[-1.0], [1.0]])
    objective, options = Quadratic(np.ones(1), np.ones(1)), MetricOptions(stability=False)
    return ControlProblem(Policy(plant, backup), batch, objective, options, simulator=simulator)


def planted(kind: str, seed: int, *, clean: bool) -> Planted:
    """Return a random loop of a kind; a clean one has room of 1e-6 of the bound left."""
    rng = np.random.default_rng([KINDS.index(kind), seed])
    if kind == "parameter":
        return _with_parameters(rng, clean)
    nx = 2 if kind == "disturbance" else 4 if kind == "late" else int(rng.integers(2, 5))
    horizon = 12 if kind == "sliver" else 40
    half = np.full(nx, 0.1) if kind == "disturbance" else np.zeros(0)
    while True:  # until a state comes farther than the box of initial states is wide
        A, B = _plant(rng, nx, kind)
        peaks, powers = _peaks(*_linear_loop(A, B, np.full(nx, _FAR), horizon, half))
        t, i = np.unravel_index(int(np.argmax(peaks)), peaks.shape)
        if peaks[t, i] > 1.1:
            break
    top = float(peaks[t, i])
    # of a box the corner where Σ a_k (1 - s_k) < δ Σ a_k has the share Π (δ Σ a_j / a_k) / (2^n n!)
    weights = np.abs(powers[t][i]) if not half.size else np.concatenate([np.abs(powers[t - k][i]) for k in range(t)])
    weights = weights[weights > 1e-9 * weights.max()]
    delta = 1e-3 if half.size else _depth(weights, 1e-7 if kind == "late" else 5e-7)
    limits = np.full(nx, _FAR)
    limits[i] = top * (1 + 1e-6) if clean else top * (1 - delta)
    share = 0.0 if clean else 2 * int((peaks[:, i] > limits[i]).sum()) * _corner(weights, delta)
    return Planted(_problem(*_linear_loop(A, B, limits, horizon, half)), share)


def _depth(weights: np.ndarray, share: float) -> float:
    """Return how far below the largest value a bound cuts a share of a box off."""
    low, high = 1e-12, 0.5
    for _ in range(60):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if _corner(weights, middle) < share else (low, middle)
    return float(low)


def _corner(weights: np.ndarray, delta: float) -> float:
    cut = delta * weights.sum() / weights / 2
    return float(np.exp(np.log(cut).sum() - np.log(np.arange(1, weights.size + 1)).sum()))


def _plant(rng: np.random.Generator, nx: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    if kind == "late":  # a chain that grows for long before it decays
        A = rng.uniform(0.8, 0.9) * np.eye(nx) + 0.3 * np.eye(nx, k=1)
    elif kind == "disturbance":  # a resonance, which disturbances excite only in its rhythm
        angle, radius = rng.uniform(0.3, 1.5), rng.uniform(0.93, 0.97)
        A = radius * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    else:
        A = 0.6 * rng.normal(size=(nx, nx)) / np.sqrt(nx)
    return A, (1e-3 if kind != "sliver" else 0.1) * rng.normal(size=(nx, 1))


def _linear_loop(A, B, limits, horizon, half) -> tuple[Policy, Scenarios]:
    """Return a linear loop and initial states in a box; bounds do not change its gain."""
    plant = linear(A, B, 0.1, (-limits, limits, [-_FAR], [_FAR]))
    nx = len(A)
    wide = np.ones(nx)
    backup = lqr(plant, np.ones(nx), np.ones(1), allow_uncontrollable=True)
    disturbed = {"disturbance": half} if half.size else {}
    return Policy(plant, backup), scenarios(plant, backup, horizon=horizon, count=4, box=[-wide, wide], **disturbed)


def _problem(policy: Policy, batch: Scenarios) -> ControlProblem:
    objective = Quadratic(np.ones(policy.plant.nx), np.ones(1))
    return ControlProblem(policy, batch, objective, MetricOptions(stability=False))


def _peaks(policy: Policy, batch: Scenarios) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest |x_i| at every t over the declared set, (N + 1, nx), and powers of the closed loop."""
    A, B = policy.plant.linearise()
    loop, declared = A - B @ policy.backup.K, batch.declared
    powers = np.stack([np.linalg.matrix_power(loop, t) for t in range(declared.horizon + 1)])
    peaks = np.abs(powers) @ declared.box[1]
    if declared.half.size:
        pushed = np.cumsum(np.abs(powers) @ declared.half, axis=0)
        peaks[1:] += pushed[:-1]
    return peaks, powers


def _with_parameters(rng: np.random.Generator, clean: bool) -> Planted:
    """Return a mass on a spring whose stiffness and damping vary; the bound on the speed is met in one corner only."""
    import casadi as ca

    x, u, p = ca.SX.sym("x", 2), ca.SX.sym("u"), ca.SX.sym("p", 2)
    gain = float(rng.uniform(0.2, 0.5))
    f = ca.vertcat(0.9 * x[0] + 0.1 * x[1], (0.5 + p[0]) * x[1] + gain * p[1] * x[0] + 0.1 * u)

    def loop(limit: float) -> tuple[Policy, Scenarios]:
        plant = Plant(
            name="corner", x=x, u=u, p=p, p_nominal=np.array([0.2, 0.5]), p_labels=("a", "b"), p_units=("", ""), f=f,
            dt=0.1, x_min=np.array([-_FAR, -limit]), x_max=np.array([_FAR, limit]), u_min=np.full(1, -_FAR),
            u_max=np.full(1, _FAR),
        )  # fmt: skip
        backup = lqr(plant, np.full(2, 1e-3), np.full(1, 1e3), rho=1e-4)
        ranges = {"a": (0.1, 0.3), "b": (0.0, 1.0)}
        batch = scenarios(plant, backup, horizon=10, count=4, box=[[-1.0, -1.0], [1.0, 1.0]], parameters=ranges)
        return Policy(plant, backup), batch

    K, top = loop(_FAR)[0].backup.K, 0.0
    for a in (0.1, 0.3):  # |x_1| is convex in x_0, and at t = 1 linear in the parameters
        for b in (0.0, 1.0):
            M = np.array([[0.9, 0.1], [gain * b, 0.5 + a]]) - np.array([[0.0], [0.1]]) @ K
            top = max(top, *(float(np.abs(np.linalg.matrix_power(M, t)[1]).sum()) for t in range(1, 11)))
    limit = top * (1 + 1e-3) if clean else top * (1 - 1e-3)
    return Planted(_problem(*loop(limit)), 0.0 if clean else np.nan)
