"""Which problem parameters belong to: eight bytes of all that their safety depends on, but for the parameters."""

import hashlib
import json
from typing import Any

import casadi as ca
import numpy as np

from scpo_ctrl.errors import DomainError
from scpo_ctrl.loop.policy import Policy
from scpo_ctrl.problem.control_problem import ControlProblem

_STEPS = 2**20  # of an array's largest entry: what is closer is rounding of another machine


def problem_hash(problem: ControlProblem) -> bytes:
    """Return what tells blobs of parameters of this problem from those of others.

    It covers the shape of the policy, its backup and scales, bounds, sampling time, scenarios, metrics, and the model
    by its next states from the scenarios. Left out are θ, the objective, and where the code is to run. Numbers count to
    2⁻²⁰ of the largest entry of their array, so that another machine's rounding makes no other problem.

    Parameters
    ----------
    problem : ControlProblem
        With a residual policy.

    Returns
    -------
    bytes
        Eight.

    Raises
    ------
    DomainError
        If the policy is a controller with expressions of its own.
    """
    policy = problem.policy
    if not isinstance(policy, Policy):
        raise DomainError("blobs hold the parameters of residual policies; this problem has a controller of its own")
    plant, backup, batch = policy.plant, policy.backup, problem.scenarios
    options = problem.scenario_metrics.options
    parts: dict[str, Any] = {
        "widths": list(policy.widths),
        "horizon": batch.horizon,
        "metrics": [options.path, options.command, options.terminal],
        "numbers": [_rounded(x) for x in (plant.dt or 0.0, options.contraction or 0.0, options.contraction_floor)],
        "backup": [_rounded(x) for x in (backup.K, backup.P / backup.rho)],
        "bounds": [_rounded(x) for x in (plant.x_min, plant.x_max, plant.u_min, plant.u_max)],
        "equilibrium": [_rounded(x) for x in (plant.x_eq, plant.u_eq)],
        "scales": [_rounded(np.array(x)) for x in (policy.scale, policy.input_scale)],
        "scenarios": [_rounded(x) for x in (batch.x0, batch.p, batch.w)],
        "model": _rounded(_next_states(problem)),
    }
    if problem.stability is not None:
        parts["stability"] = _rounded(problem.stability.parameters)
    if problem.one_step is not None:
        cloud = problem.one_step.cloud
        parts["cloud"] = [_rounded(x) for x in (cloud.x0, cloud.p)]
        parts["one_step"] = _rounded(options.one_step or 0.0)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).digest()[:8]


def _next_states(problem: ControlProblem) -> np.ndarray:
    """Return the model's next states from the scenarios, under their backup: shape (nx, S)."""
    plant, batch = problem.policy.plant, problem.scenarios
    u = np.clip(plant.u_eq - (batch.x0 - plant.x_eq) @ problem.policy.backup.K.T, plant.u_min, plant.u_max)
    step = ca.Function("step", [plant.x, plant.u, plant.p], [ca.densify(plant.f)]).map(batch.count)
    return np.array(step(batch.x0.T, u.T, batch.p.T))


def _rounded(values: Any) -> list[Any]:
    """Return an array's shape, its largest entry to six digits, and its entries in steps of that."""
    array = np.asarray(values, dtype=float)
    finite = np.abs(array[np.isfinite(array)])
    largest = f"{finite.max(initial=0.0):.5e}"
    scale = float(largest) or 1.0
    entries = [round(x / scale * _STEPS) if np.isfinite(x) else str(x) for x in array.ravel().tolist()]
    return [list(array.shape), largest, entries]
