"""Re-verification of a RUN folder from its files alone.

Nothing here is shared with the loop but the plant model and the names of files: the Riccati equation is solved anew,
the policy is written again in numpy, the closed loop is stepped over time, and the metrics are computed from
trajectories.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg

from scpo_ctrl.config import build_plant
from scpo_ctrl.errors import RecordError, ScpoError
from scpo_ctrl.models import Plant
from scpo_ctrl.record import digest, load_arrays, load_summary

_ROUNDING = 1e-12  # of a metric, relative to max(1, |bound|): the default error ε of the loop
_AGREEMENT = 1e-9  # of recorded and recomputed margins, relative to the level and the bounds
_CHUNK = 20_000  # closed loops stepped at once


@dataclass(frozen=True)
class Verification:
    """What a record was found to be."""

    policies: int  # committed policies checked, the safe start included
    scenarios: int
    metrics: int  # per policy
    worst_margin: float  # least margin over all of them, recomputed
    violations: int  # policies with a margin below zero (beyond rounding)
    faults: tuple[str, ...]  # everything that does not hold, in words

    @property
    def passed(self) -> bool:
        """Whether every committed policy is safe and the files belong together."""
        return not self.faults


def verify(path: str | Path) -> Verification:
    """Check the record of a run: every committed policy is safe, and the files are whole and agree.

    Parameters
    ----------
    path : str or pathlib.Path
        The RUN folder.

    Returns
    -------
    Verification

    Raises
    ------
    RecordError
        If a file is missing or cannot be read.
    """
    path = Path(path)
    arrays, summary = load_arrays(path), load_summary(path)
    try:
        text = (path / "problem.toml").read_text(encoding="utf-8")
        theta_final = np.load(path / "theta.npy", allow_pickle=False)
        return _verify(tomllib.loads(text), text, arrays, summary, theta_final)
    except ScpoError:
        raise
    except (OSError, KeyError, ValueError, TypeError, IndexError, np.linalg.LinAlgError) as error:
        raise RecordError(f"{path}: the record is incomplete or damaged ({type(error).__name__}: {error})") from error


def _verify(
    tables: dict[str, Any], text: str, arrays: dict[str, np.ndarray], summary: dict[str, Any], theta_final: np.ndarray
) -> Verification:
    plant = build_plant(tables["plant"])
    loop = _ClosedLoop(plant, tables, arrays)
    committed = arrays["committed"].astype(bool)
    thetas = np.vstack([arrays["theta_initial"], arrays["theta"][committed]])
    margins, scale = loop.margins(thetas)
    recorded = np.append(arrays["margin_initial"], arrays["margin"][committed])
    unsafe = np.flatnonzero(~(margins >= -_ROUNDING * scale))
    apart = np.flatnonzero(~(np.abs(margins - recorded) <= _AGREEMENT * scale))

    faults = loop.scenario_faults(tables["scenarios"])
    stored = {name: value for name, value in arrays.items() if name != "digest"}
    if str(arrays["digest"]) != digest(stored, text):
        faults.append("history.npz or problem.toml was changed after it was written (its digest differs)")
    if loop.residual(arrays["theta_initial"], loop.z0).any():
        faults.append("the initial parameters are not the backup: their residual is not zero")
    if unsafe.size:
        faults.append(f"committed policy {unsafe[0]} is unsafe: its margin is {margins[unsafe[0]]:.4g}")
    if apart.size:
        i = apart[0]
        faults.append(f"committed policy {i} has margin {margins[i]:.6g}, the record says {recorded[i]:.6g}")
    if not np.array_equal(thetas[-1], theta_final) or not np.array_equal(thetas[-1], arrays["state_theta"]):
        faults.append("theta.npy is not the last committed policy of history.npz")
    faults += _summary_faults(summary, arrays, float(recorded.min()))
    return Verification(
        policies=len(thetas),
        scenarios=len(loop.z0),
        metrics=loop.metrics,
        worst_margin=float(margins.min()),
        violations=int(unsafe.size),
        faults=tuple(faults),
    )


class _ClosedLoop:
    """The closed loop in numpy, written from the definitions in docs/method.md.

    Parameters
    ----------
    plant : Plant
    tables : dict
        The problem file.
    arrays : dict of str to numpy.ndarray
        The recorded scenarios.
    """

    def __init__(self, plant: Plant, tables: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self.plant, self.options, self.policy = plant, tables["metrics"], tables["policy"]
        A, B = plant.linearise()
        Q, R = (np.diag(w) if np.ndim(w) == 1 else np.array(w) for w in (tables["backup"]["Q"], tables["backup"]["R"]))
        self.P = scipy.linalg.solve_discrete_are(A, B, Q, R)
        self.K = np.linalg.solve(R + B.T @ self.P @ B, B.T @ self.P @ A)
        inverse = np.linalg.inv(self.P)
        rows = np.vstack([np.eye(plant.nx), self.K])
        eq = np.append(plant.x_eq, plant.u_eq)
        room = np.minimum(np.append(plant.x_max, plant.u_max) - eq, eq - np.append(plant.x_min, plant.u_min))
        self.rho = float(np.min(room**2 / np.einsum("ij,jk,ik->i", rows, inverse, rows)))
        self.z0 = arrays["scenario_x0"] - plant.x_eq
        self.p, self.w = arrays["scenario_p"], arrays["scenario_w"]
        self.horizon = int(tables["scenarios"]["horizon"])
        self.metrics = 0

    def level(self, z: np.ndarray) -> np.ndarray:
        """V of deviations along the last axis."""
        return np.asarray(((z @ self.P) * z).sum(axis=-1))

    def residual(self, theta: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Residual of one policy at deviations (k, nx)."""
        if self.policy["kind"] == "linear":
            return np.asarray(z @ theta.reshape(self.plant.nu, self.plant.nx).T)
        a, zero, rest = z / np.array(self.policy["scale"]), np.zeros((1, self.plant.nx)), theta
        for width in self.policy["hidden"]:
            W, b, rest = np.split(rest, [width * a.shape[1], width * (a.shape[1] + 1)])
            W = W.reshape(width, -1)
            a, zero = np.tanh(a @ W.T + b), np.tanh(zero @ W.T + b)
        return np.asarray((a - zero) @ rest.reshape(self.plant.nu, -1).T)

    def margins(self, thetas: np.ndarray) -> tuple[np.ndarray, float]:
        """Margins of policies (C, d), and the size of the numbers behind them."""
        chunk = max(1, _CHUNK // len(self.z0))
        worst = [self._worst_metric(thetas[i : i + chunk]) for i in range(0, len(thetas), chunk)]
        bounds = np.abs(np.concatenate([self.plant.x_min, self.plant.x_max, self.plant.u_min, self.plant.u_max]))
        scale = max(1.0, float(bounds[np.isfinite(bounds)].max()))
        if self.options.get("contraction") is not None:
            scale = max(scale, float(self.level(self.z0).max()))
        return -np.concatenate(worst), scale

    def _worst_metric(self, thetas: np.ndarray) -> np.ndarray:
        """Largest metric of each policy, (E6)-(E8), by stepping every scenario over time."""
        C, S, plant = len(thetas), len(self.z0), self.plant
        options = self.options
        path, command = options.get("path", True), options.get("command", True)
        step = plant.function.map(C * S)
        x = np.tile(self.z0 + plant.x_eq, (C, 1))  # policies slowest
        p = np.tile(self.p, (C, 1)).T
        worst = np.full((C, S), -np.inf)
        self.metrics = 0
        for t in range(self.horizon + 1):
            if path:
                worst = self._above(worst, x, plant.x_min, plant.x_max)
            if t == self.horizon:
                break
            z = (x - plant.x_eq).reshape(C, S, -1)
            residual = np.stack([self.residual(theta, z[i]) for i, theta in enumerate(thetas)])
            u = (plant.u_eq - z @ self.K.T + residual).reshape(C * S, -1)
            if path and command:
                worst = self._above(worst, u, plant.u_min, plant.u_max)
            x = np.array(step(x.T, np.clip(u, plant.u_min, plant.u_max).T, p)).T
            if self.w.shape[2]:
                x = x + np.tile(self.w[:, t], (C, 1))
        final = self.level((x - plant.x_eq).reshape(C, S, -1))
        if options.get("terminal", False):
            worst, self.metrics = np.fmax(worst, final / self.rho - 1), self.metrics + S
        if options.get("contraction") is not None:
            worst, self.metrics = np.fmax(worst, final - options["contraction"] * self.level(self.z0)), self.metrics + S
        return np.where(np.isfinite(final), worst, np.inf).max(axis=1)

    def _above(self, worst: np.ndarray, values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Take how far values (C·S, k) are above their bounds into the worst metrics (C, S)."""
        self.metrics += int(np.isfinite(low).sum() + np.isfinite(high).sum()) * worst.shape[1]
        over = np.max(np.maximum(values - high, low - values), axis=1)
        return np.maximum(worst, np.where(np.isnan(over), np.inf, over).reshape(worst.shape))

    def scenario_faults(self, table: dict[str, Any]) -> list[str]:
        """List what of the recorded scenarios does not fit section [scenarios]."""
        faults, x0 = [], self.z0 + self.plant.x_eq
        if "initial_states" in table:
            if not np.array_equal(x0, np.array(table["initial_states"], dtype=float)):
                faults.append("the recorded initial states are not those of problem.toml")
        elif len(x0) != table["count"] or (self.level(self.z0) > table["level"] * self.rho * (1 + 1e-9)).any():
            faults.append("the recorded initial states are not inside the level of problem.toml, or too few")
        for i, label in enumerate(self.plant.p_labels):
            nominal = self.plant.p_nominal[i]
            low, high = table.get("parameters", {}).get(label, (nominal, nominal))
            if ((self.p[:, i] < low) | (self.p[:, i] > high)).any():
                faults.append(f"a recorded plant parameter {label} is outside its range")
        half = np.array(table.get("disturbance", np.zeros(self.w.shape[2])))
        if self.w.shape[:2] != (len(x0), self.horizon) or (np.abs(self.w) > half).any():
            faults.append("the recorded disturbances do not fit problem.toml")
        return faults


def _summary_faults(summary: dict[str, Any], arrays: dict[str, np.ndarray], worst: float) -> list[str]:
    """List what of result.json does not follow from history.npz; a run stopped between two writes may lag behind."""
    committed = arrays["committed"].astype(bool)
    objectives = np.append(arrays["objective_initial"], arrays["objective"][committed])
    expected = {
        "accepted": int(committed.sum()),
        "rejected": int((~committed).sum()),
        "violations": int((arrays["margin"][committed] < 0).sum() + (arrays["margin_initial"] < 0)),
        "worst_margin": worst,
        "objective_initial": float(objectives[0]),
        "objective_final": float(objectives[-1]),
        "theta_dim": int(arrays["theta_initial"].size),
        "rollouts": int(arrays["state_rollouts"]),
        "steps": int(arrays["state_step"]),
        "digest": str(arrays["digest"]),
    }
    return [
        f"result.json says {key} = {summary.get(key)!r}, the history says {value!r}"
        for key, value in expected.items()
        if summary.get(key) != value
    ]
