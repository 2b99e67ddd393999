"""Re-verification of a RUN folder from its files alone.

Nothing here is shared with the loop but the plant model and the names of files: the Riccati equation is solved anew,
the policy is written again in numpy, the closed loop is stepped over time, and the metrics are computed from
trajectories.
"""

import csv
import io
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg

from scpo_ctrl.config import SECTIONS, build_plant
from scpo_ctrl.errors import RecordError, ScpoError
from scpo_ctrl.models import Plant
from scpo_ctrl.record import digest, load_arrays, load_summary, read_problem

_ROUNDING = 1e-12  # of a metric, relative to max(1, |bound|): the default error ε of the loop
_AGREEMENT = 1e-9  # of recorded and recomputed margins, relative to the level and the bounds
_CHUNK = 20_000  # closed loops stepped at once
_COMMITTED = 0  # the number of this verdict in the history


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
    text, csv_data = read_problem(path)
    try:
        with (path / "theta.npy").open("rb") as handle:
            theta_final = np.load(handle, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RecordError(f"{path / 'theta.npy'}: is missing or damaged ({reason}); restore it or run again") from error
    try:
        with np.errstate(all="ignore"):  # a damaged or tampered record may hold any numbers
            return _verify(text, csv_data, arrays, summary, theta_final)
    except ScpoError as error:
        raise type(error)(f"{path}: {error}") from error
    except (LookupError, ValueError, TypeError, ArithmeticError, AttributeError, RuntimeError, MemoryError) as error:
        raise RecordError(
            f"{path}: the record is incomplete or damaged ({type(error).__name__}: {error}); restore it or run again"
        ) from error


def _verify(
    text: str, csv_data: bytes, arrays: dict[str, np.ndarray], summary: dict[str, Any], theta_final: np.ndarray
) -> Verification:
    tables = tomllib.loads(text)
    missing = [name for name in SECTIONS if name not in tables]
    if missing:
        raise RecordError(f"problem.toml has no section [{missing[0]}]; restore it or run again")
    plant = build_plant(tables["plant"])
    loop = _ClosedLoop(plant, tables, arrays)
    committed = arrays["committed"].astype(bool)
    thetas = np.vstack([arrays["theta_initial"], arrays["theta"][committed]])
    margins, costs = loop.margins(thetas)
    scale = loop.scale()
    if tables["objective"]["kind"] == "imitation":
        costs = loop.imitation_errors(thetas, csv_data)
    recorded = np.append(arrays["margin_initial"], arrays["margin"][committed])
    objectives = np.append(arrays["objective_initial"], arrays["objective"][committed])
    unsafe = np.flatnonzero(~(margins >= -_ROUNDING * scale))

    faults = loop.level_faults(tables["backup"]) + loop.scenario_faults(tables["scenarios"])
    stored = {name: value for name, value in arrays.items() if name != "digest"}
    if str(arrays["digest"]) != digest(stored, text, csv_data):
        faults.append(
            "history.npz, problem.toml or imitation.csv was changed after it was written (the digest differs)"
        )
    if loop.residual(arrays["theta_initial"], loop.z0).any():
        faults.append("the initial parameters are not the backup: their residual is not zero")
    if unsafe.size:
        faults.append(f"committed policy {unsafe[0]} is unsafe: its margin is {margins[unsafe[0]]:.4g}")
    faults += _apart("margin", margins, recorded, scale)
    faults += _apart("objective", costs, objectives, np.maximum(1.0, np.abs(costs)))
    faults += _chain_faults(arrays) + _end_faults(arrays, tables["adapt"])
    above = np.flatnonzero(~(objectives <= objectives[0]))
    if above.size:
        faults.append(
            f"committed policy {above[0]} has objective {objectives[above[0]]:.9g}, above the {objectives[0]:.9g} of "
            "the safe start: no step commits that"
        )
    if not np.array_equal(thetas[-1], theta_final) or not np.array_equal(thetas[-1], arrays["state_theta"]):
        faults.append("theta.npy is not the last committed policy of history.npz")
    faults += _summary_faults(summary, arrays, loop.metrics)
    return Verification(
        policies=len(thetas),
        scenarios=len(loop.z0),
        metrics=loop.metrics,
        worst_margin=float(margins.min()),
        violations=int(unsafe.size),
        faults=tuple(faults),
    )


def _apart(name: str, found: np.ndarray, recorded: np.ndarray, scale: np.ndarray | float) -> list[str]:
    """Name the first committed policy whose recomputed number is not the recorded one."""
    apart = np.flatnonzero(~(np.abs(found - recorded) <= _AGREEMENT * scale))
    return [f"committed policy {i} has {name} {found[i]:.9g}, the record says {recorded[i]:.9g}" for i in apart[:1]]


def _chain_faults(arrays: dict[str, np.ndarray]) -> list[str]:
    """List where a row is not a step from the policy committed before it: a flag flipped, a row removed or moved."""
    faults, committed = [], arrays["committed"].astype(bool)
    if not np.array_equal(committed, arrays["verdict"] == _COMMITTED):
        faults.append("the committed rows of history.npz are not those whose verdict says so")
    before = np.vstack([arrays["theta_initial"], arrays["theta"]])
    origin = np.maximum.accumulate(np.append(0, np.where(committed, np.arange(1, len(committed) + 1), 0)))[:-1]
    length = np.linalg.norm(arrays["theta"] - before[origin], axis=1)
    size = 1.0 + np.linalg.norm(arrays["theta"], axis=1)
    broken = np.flatnonzero(~(np.abs(length - arrays["delta_norm"]) <= _AGREEMENT * size))
    if broken.size:
        faults.append(f"row {broken[0]} of history.npz is not a step from the policy committed before it")
    steps = arrays["step"]
    if (
        (np.diff(steps) < 0).any()
        or len(set(steps[committed])) != committed.sum()
        or (steps >= arrays["state_step"]).any()
    ):
        faults.append("the steps of history.npz are out of order")
    return faults


def _end_faults(arrays: dict[str, np.ndarray], options: dict[str, Any]) -> list[str]:
    """List what of the run's last status and stationarity does not follow from its rows and its options."""
    faults, status = [], str(arrays["state_status"])
    last, steps, rows = float(arrays["state_stationarity"]), arrays["step"], arrays["stationarity"]
    if not (rows >= 0).all() or not last >= 0:
        faults.append("a stationarity of history.npz is negative or not a number")
    if (rows[1:] != rows[:-1])[steps[1:] == steps[:-1]].any():
        faults.append("the tries of one step in history.npz have different stationarities")
    if len(steps) and steps[-1] == arrays["state_step"] - 1 and rows[-1] != last:
        faults.append(f"the last stationarity is {last:.9g}, its row in history.npz says {rows[-1]:.9g}")
    optimal, tolerance = last <= options["tolerance"], options["tolerance"]
    if status in ("CONVERGED", "STALLED", "FINISHED", "INTERRUPTED", "RUNNING") and optimal != (status == "CONVERGED"):
        faults.append(f"the run is {status.lower()}, yet its stationarity is {last:.4g}, the tolerance {tolerance:.4g}")
    if status == "STALLED" and not arrays["state_stalled"] >= options["patience"]:
        faults.append("the run is stalled, yet its last commits are more recent than patience allows")
    return faults


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
        reach = np.einsum("ij,jk,ik->i", rows, inverse, rows)
        self.largest_rho = float(np.min(room[reach > 0] ** 2 / reach[reach > 0]))
        self.rho = float(tables["backup"].get("rho", self.largest_rho))
        self.z0 = arrays["scenario_x0"] - plant.x_eq
        self.p, self.w = arrays["scenario_p"], arrays["scenario_w"]
        self.horizon = int(tables["scenarios"]["horizon"])
        self.objective = tables["objective"]
        self.metrics = 0
        if self.w.shape[:2] != (len(self.z0), self.horizon) or self.p.shape != (len(self.z0), plant.npar):
            raise RecordError("the recorded scenarios do not have the shapes that problem.toml asks for")

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

    def command(self, thetas: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Commands before saturation of policies (C, d) at deviations (C, k, nx)."""
        residual = np.stack([self.residual(theta, z[i]) for i, theta in enumerate(thetas)])
        return np.asarray(self.plant.u_eq - z @ self.K.T + residual)

    def scale(self) -> float:
        """Size of the numbers behind the metrics."""
        bounds = np.abs(np.concatenate([self.plant.x_min, self.plant.x_max, self.plant.u_min, self.plant.u_max]))
        scale = max(1.0, float(bounds[np.isfinite(bounds)].max()))
        if self.options.get("contraction") is not None:
            scale = max(scale, float(self.level(self.z0).max()))
        return scale

    def margins(self, thetas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Margins and mean costs of policies (C, d)."""
        chunk = max(1, _CHUNK // len(self.z0))
        parts = [self._step_all(thetas[i : i + chunk]) for i in range(0, len(thetas), chunk)]
        worst, cost = (np.concatenate(part) for part in zip(*parts, strict=True))
        return -worst, cost

    def imitation_errors(self, thetas: np.ndarray, csv_data: bytes) -> np.ndarray:
        """Mean squared errors of the commands of policies (C, d) against the expert's."""
        rows = list(csv.DictReader(io.StringIO(csv_data.decode())))
        nx, nu = self.plant.nx, self.plant.nu
        x = np.array([[float(row[f"x{i}"]) for i in range(nx)] for row in rows])
        u = np.array([[float(row[f"u{i}"]) for i in range(nu)] for row in rows])
        z = (x - self.plant.x_eq)[None]
        return np.array([((self.command(theta[None], z)[0] - u) ** 2).sum(axis=1).mean() for theta in thetas])

    def _step_all(self, thetas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Largest metric (E6)-(E8) and mean cost of each policy, by stepping every scenario over time."""
        C, S, plant = len(thetas), len(self.z0), self.plant
        path, command = self.options.get("path", True), self.options.get("command", True)
        step = plant.function.map(C * S)
        x, p = np.tile(self.z0 + plant.x_eq, (C, 1)), np.tile(self.p, (C, 1)).T  # policies slowest
        worst, cost = np.full((C, S), -np.inf), np.zeros(C * S)
        self.metrics = 0
        for t in range(self.horizon + 1):
            if path:
                worst = self._above(worst, x, plant.x_min, plant.x_max)
            if t == self.horizon:
                break
            u = self.command(thetas, (x - plant.x_eq).reshape(C, S, -1)).reshape(C * S, -1)
            if path and command:
                worst = self._above(worst, u, plant.u_min, plant.u_max)
            u = np.clip(u, plant.u_min, plant.u_max)
            cost += self._stage(x, u)
            x = np.array(step(x.T, u.T, p)).T
            if self.w.shape[2]:
                x = x + np.tile(self.w[:, t], (C, 1))
        return self._final(worst, x), cost.reshape(C, S).mean(axis=1) / self.horizon

    def _stage(self, x: np.ndarray, u: np.ndarray) -> np.ndarray | float:
        """Cost of a time step of each closed loop."""
        if self.objective["kind"] != "quadratic":
            return 0.0
        Q, R = np.array(self.objective["Q"]), np.array(self.objective["R"])
        return np.asarray((x - self.plant.x_eq) ** 2 @ Q + (u - self.plant.u_eq) ** 2 @ R)

    def _final(self, worst: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Take the metrics of the last state into the worst ones; the largest of each policy."""
        options, S = self.options, worst.shape[1]
        final = self.level((x - self.plant.x_eq).reshape(*worst.shape, -1))
        if options.get("terminal", False):
            worst, self.metrics = np.fmax(worst, final / self.rho - 1), self.metrics + S
        if options.get("contraction") is not None:
            worst, self.metrics = np.fmax(worst, final - options["contraction"] * self.level(self.z0)), self.metrics + S
        return np.asarray(np.where(np.isfinite(final), worst, np.inf).max(axis=1))

    def _above(self, worst: np.ndarray, values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Take how far values (C·S, k) are above their bounds into the worst metrics (C, S)."""
        self.metrics += int(np.isfinite(low).sum() + np.isfinite(high).sum()) * worst.shape[1]
        over = np.max(np.maximum(values - high, low - values), axis=1)
        return np.maximum(worst, np.where(np.isnan(over), np.inf, over).reshape(worst.shape))

    def level_faults(self, table: dict[str, Any]) -> list[str]:
        """List what does not hold of the level: inside all bounds, and recorded where it was found by simulation.

        Whether the set is invariant on a nonlinear plant is not searched for again.
        """
        if not self.plant.is_linear and "rho" not in table:
            return ["problem.toml has no [backup] rho, the level that was found by simulation"]
        if not 0 < self.rho <= self.largest_rho * (1 + 1e-9):
            return [
                f"the level rho = {self.rho:.6g} leaves the bounds; the largest inside them is {self.largest_rho:.6g}"
            ]
        return []

    def scenario_faults(self, table: dict[str, Any]) -> list[str]:
        """List what of the recorded scenarios does not fit section [scenarios]."""
        faults, x0 = [], self.z0 + self.plant.x_eq
        if "initial_states" in table:
            if not np.array_equal(x0, np.array(table["initial_states"], dtype=float)):
                faults.append("the recorded initial states are not those of problem.toml")
        elif len(x0) != table["count"] or not (self.level(self.z0) <= table["level"] * self.rho * (1 + 1e-9)).all():
            faults.append("the recorded initial states are not inside the level of problem.toml, or too few")
        for i, label in enumerate(self.plant.p_labels):
            nominal = self.plant.p_nominal[i]
            low, high = table.get("parameters", {}).get(label, (nominal, nominal))
            if not ((self.p[:, i] >= low) & (self.p[:, i] <= high)).all():
                faults.append(f"a recorded plant parameter {label} is outside its range")
        half = np.array(table.get("disturbance", np.zeros(self.w.shape[2])))
        varying = 1 - table.get("disturbance_fixed", 0.0)
        if self.w.shape[2] and not (np.ptp(self.w, axis=1) <= 2 * varying * half * (1 + 1e-9)).all():
            faults.append("a recorded disturbance changes over time by more than disturbance_fixed leaves")
        if self.w.shape[2] not in (0, self.plant.nx) or not (np.abs(self.w) <= half).all():
            faults.append("a recorded disturbance is outside its range")
        return faults


def _summary_faults(summary: dict[str, Any], arrays: dict[str, np.ndarray], metrics: int) -> list[str]:
    """List what of result.json does not follow from history.npz."""
    if summary.get("digest") != str(arrays["digest"]):
        return [
            "result.json is of another save than history.npz; if the run was killed, `scpo-ctrl adapt` with --resume "
            "mends it"
        ]
    committed = arrays["committed"].astype(bool)
    objectives = np.append(arrays["objective_initial"], arrays["objective"][committed])
    margins = np.append(arrays["margin_initial"], arrays["margin"][committed])
    stationarity = float(arrays["state_stationarity"])
    expected = {
        "status": str(arrays["state_status"]).lower(),
        "accepted": int(committed.sum()),
        "rejected": int((~committed).sum()),
        "violations": int((~(margins >= 0)).sum()),
        "worst_margin": float(margins.min()),
        "objective_initial": float(objectives[0]),
        "objective_final": float(objectives[-1]),
        "theta_dim": int(arrays["theta_initial"].size),
        "metrics": metrics,
        "rollouts": int(arrays["state_rollouts"]),
        "steps": int(arrays["state_step"]),
        "stationarity": stationarity if np.isfinite(stationarity) else None,
    }
    return [
        f"result.json says {key} = {summary.get(key)!r}, the history says {value!r}"
        for key, value in expected.items()
        if summary.get(key) != value
    ]
