"""The scenarios of a RUN folder drawn once more from their seed, for its verification: docs/method.md says how."""

from typing import Any

import numpy as np

from scpo_ctrl.verification.draw import spread
from scpo_ctrl.verification.loop import ClosedLoop
from scpo_ctrl.verification.over_time import ended, ranges, signals_of

_ROUNDING = 1e-8  # of an initial state, relative to the extent of the level set: P and ρ are computed anew


def redraw_faults(loop: ClosedLoop, table: dict[str, Any], learned: int) -> list[str]:
    """List what of the recorded scenarios is not what section [scenarios] gives.

    Parameters
    ----------
    loop : ClosedLoop
    table : dict
        The section, every default filled in.
    learned : int
        How many scenarios at the end were learned, and not drawn.

    Returns
    -------
    list of str
    """
    count = len(loop.z0) - learned
    wanted = len(table["initial_states"]) if "initial_states" in table else table["count"]
    if count != wanted:
        return [f"the record has {count} scenarios besides {learned} learned ones, problem.toml asks for {wanted}"]
    z0, extent, p, w = (_spread if table.get("draw") == "low_discrepancy" else _at_random)(loop, table, count)
    faults = []
    if not (np.abs(loop.z0[:count] - z0) <= _ROUNDING * extent).all():
        faults.append(f"the recorded initial states are not those of problem.toml{_drawn(table)}")
    for i in np.flatnonzero((loop.p[:count] != p).any(axis=0)):
        faults.append(f"the recorded plant parameters {loop.plant.p_labels[i]} are not those of problem.toml, drawn")
    if w.shape != loop.w[:count].shape or not np.array_equal(loop.w[:count], w):
        faults.append("the recorded disturbances are not those of problem.toml, drawn from its seed")
    return faults + (_learned_faults(loop, table, count) if learned else [])


def _at_random(loop: ClosedLoop, table: dict[str, Any], count: int) -> tuple[np.ndarray, Any, np.ndarray, np.ndarray]:
    """Return z0, what its rounding is relative to, p and w, from one generator in this order."""
    rng = np.random.default_rng(table["seed"])
    z0, extent = _initial_deviations(loop, table, count, rng)
    return z0, extent, _parameters(loop, table, count, rng), _disturbances(loop, table, count, rng)


def _spread(loop: ClosedLoop, table: dict[str, Any], count: int) -> tuple[np.ndarray, Any, np.ndarray, np.ndarray]:
    """Return the same, spread evenly."""
    found = spread(loop, table, count)
    x0 = np.array(table["initial_states"], dtype=float) if "initial_states" in table else found["scenario_x0"]
    extent = np.sqrt(loop.rho * np.diag(np.linalg.inv(loop.P)))
    return x0 - loop.plant.x_eq, extent, found["scenario_p"], found["scenario_w"]


def _learned_faults(loop: ClosedLoop, table: dict[str, Any], count: int) -> list[str]:
    """List what of the learned scenarios, which come last, is outside the ranges of the section."""
    faults, p, w = [], loop.p[count:], loop.w[count:]
    given, varying = ranges(loop.plant, table.get("parameters", {})), signals_of(loop.plant)
    for i, label in enumerate(loop.plant.p_labels):
        nominal = loop.plant.p_nominal[i]
        low, high = given.get(label, (nominal, nominal))
        if label in varying:
            low = high = ended(loop.plant, p)[:, i]
        if not ((p[:, i] >= low) & (p[:, i] <= high)).all():
            faults.append(f"a learned plant parameter {label} is outside its range")
    half, varying = np.array(table.get("disturbance", ())), 1 - table.get("disturbance_fixed", 0.0)
    if w.shape[2] and not (np.ptp(w, axis=1) <= 2 * varying * half * (1 + 1e-9)).all():
        faults.append("a learned disturbance changes over time by more than disturbance_fixed leaves")
    if not (np.abs(w) <= half).all():
        faults.append("a learned disturbance is outside its range")
    return faults


def _drawn(table: dict[str, Any]) -> str:
    if "initial_states" in table:
        return ""
    where = "box" if "box" in table else f"level {table['level']:g}"
    return f", drawn from seed {table['seed']} and {where}"


def _initial_deviations(
    loop: ClosedLoop, table: dict[str, Any], count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray | float]:
    """Return z0 uniform in {V ≤ level · ρ} or in the box, or as given, and what its rounding is relative to."""
    if "initial_states" in table:
        return np.array(table["initial_states"], dtype=float) - loop.plant.x_eq, 0.0
    nx = loop.plant.nx
    if "box" in table:
        low, high = np.array(table["box"], dtype=float)
        return rng.uniform(low, high, (count, nx)) - loop.plant.x_eq, 0.0
    towards = rng.normal(size=(count, nx))
    lengths = rng.uniform(size=(count, 1)) ** (1 / nx)  # so that equal volumes are equally likely
    size = np.sqrt(loop.rho / np.diag(loop.P))  # in these units a change of a state's unit changes nothing
    ellipsoid = np.linalg.inv(loop.P * size * size[:, None] / loop.rho)
    unit = towards / np.sqrt((towards**2).sum(axis=1, keepdims=True))
    z0 = size * (np.sqrt(table["level"]) * lengths * unit @ np.linalg.cholesky(ellipsoid).T)
    return z0, size * np.sqrt(np.diag(ellipsoid))


def _parameters(loop: ClosedLoop, table: dict[str, Any], count: int, rng: np.random.Generator) -> np.ndarray:
    """Return plant parameters, uniform in their ranges in the order of the table, nominal where there is none."""
    p = np.repeat(loop.plant.p_nominal[None], count, axis=0)
    for label, (low, high) in ranges(loop.plant, table.get("parameters", {})).items():
        p[:, list(loop.plant.p_labels).index(label)] = rng.uniform(low, high, count)
    return ended(loop.plant, p)


def _disturbances(loop: ClosedLoop, table: dict[str, Any], count: int, rng: np.random.Generator) -> np.ndarray:
    """Return disturbances over time: a part drawn anew at every step, and a part that stays."""
    N, nx = loop.horizon, loop.plant.nx
    if "disturbance" not in table:
        return np.zeros((count, N, 0))
    half, fixed = np.array(table["disturbance"], dtype=float), table.get("disturbance_fixed", 0.0)
    varying = rng.uniform(-half, half, (count, N, nx))
    if not fixed:
        return varying
    return fixed * rng.uniform(-half, half, (count, 1, nx)) + (1 - fixed) * varying
