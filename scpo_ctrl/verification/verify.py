"""Re-verification of a RUN folder from its files alone.

Nothing here is shared with the loop but the plant model and the names of files: the Riccati equation is solved anew,
the policy is written again in numpy, the closed loop is stepped over time, and the metrics are computed from
trajectories.
"""

import hashlib
import io
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from scpo_ctrl.errors import RecordError, ScpoError
from scpo_ctrl.problem.learned import LEARNED_FILE, read_learned
from scpo_ctrl.reading import LARGEST_TEXT, read_bytes
from scpo_ctrl.record.config import SECTIONS, build_plant
from scpo_ctrl.record.files import digest, load_arrays, load_summary, read_problem, was_cut_short
from scpo_ctrl.validate import as_path
from scpo_ctrl.verification.binding import binding_faults
from scpo_ctrl.verification.loop import ClosedLoop

_ROUNDING = 1e-12  # of a metric, relative to max(1, |bound|): the default error ε of the loop
_AGREEMENT = 1e-9  # of recorded and recomputed margins, relative to the level and the bounds
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
    path = as_path("path", path)
    arrays, summary = load_arrays(path), load_summary(path)
    text, csv_data = read_problem(path)
    try:
        theta_final = np.load(io.BytesIO(read_bytes(path / "theta.npy", LARGEST_TEXT)), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RecordError(f"{path / 'theta.npy'}: is missing or damaged ({reason}); restore it or run again") from error
    try:
        tables = tomllib.loads(text)
        learned = read_learned(path / LEARNED_FILE) if "learned" in tables.get("scenarios", {}) else None
        with np.errstate(all="ignore"):  # a damaged or tampered record may hold any numbers
            found = _verify(text, csv_data, learned, arrays, summary, theta_final)
    except ScpoError as error:
        raise type(error)(f"{path}: {error}") from error
    except (LookupError, ValueError, TypeError, ArithmeticError, AttributeError, RuntimeError, MemoryError) as error:
        raise RecordError(
            f"{path}: the record is incomplete or damaged ({type(error).__name__}: {error}); restore it or run again"
        ) from error

    if found.faults and was_cut_short(path):
        hint = "a save was cut short, or goes on; unless files were changed, `scpo-ctrl adapt` with --resume mends them"
        return replace(found, faults=(hint, *found.faults))
    return found


def _verify(
    text: str,
    csv_data: bytes,
    learned: tuple[dict[str, np.ndarray], bytes] | None,
    arrays: dict[str, np.ndarray],
    summary: dict[str, Any],
    theta_final: np.ndarray,
) -> Verification:
    tables = tomllib.loads(text)
    missing = [name for name in SECTIONS if name not in tables]
    if missing:
        raise RecordError(f"problem.toml has no section [{missing[0]}]; restore it or run again")
    plant = build_plant(tables["plant"])
    loop = ClosedLoop(plant, tables, arrays)
    committed = arrays["committed"].astype(bool)
    thetas = np.vstack([arrays["theta_initial"], arrays["theta"][committed]])
    margins, costs = loop.margins(thetas)
    scale = loop.scale()
    if tables["objective"]["kind"] == "imitation":
        costs = loop.imitation_errors(thetas, csv_data)
    recorded = np.append(arrays["margin_initial"], arrays["margin"][committed])
    objectives = np.append(arrays["objective_initial"], arrays["objective"][committed])
    unsafe = np.flatnonzero(~(margins >= -_ROUNDING * scale))

    more = len(learned[0]["x0"]) if learned else 0
    faults = loop.level_faults(tables["backup"]) + loop.scenario_faults(tables["scenarios"], more)
    stored = {name: value for name, value in arrays.items() if name != "digest"}
    if str(arrays["digest"]) != digest(stored, text, csv_data):
        faults.append(
            "history.npz, problem.toml or imitation.csv was changed after it was written (the digest differs)"
        )
    if learned:
        faults += _learned_faults(learned, tables["scenarios"], arrays)
    elif loop.residual(arrays["theta_initial"], loop.z0).any():
        faults.append("the initial parameters are not the backup: their residual is not zero")
    if unsafe.size:
        faults.append(f"committed policy {unsafe[0]} is unsafe: its margin is {margins[unsafe[0]]:.4g}")
    faults += _apart("margin", margins, recorded, scale)
    faults += _apart("objective", costs, objectives, np.maximum(1.0, np.abs(costs)))
    faults += _chain_faults(arrays) + _end_faults(arrays, tables["adapt"])
    faults += _rise_faults(objectives)
    if not np.array_equal(thetas[-1], theta_final) or not np.array_equal(thetas[-1], arrays["state_theta"]):
        faults.append("theta.npy is not the last committed policy of history.npz")
    if summary.get("digest") == str(arrays["digest"]):
        faults += _summary_faults(summary, arrays, loop.metrics) + binding_faults(loop, summary.get("binding"))
    else:
        faults.append(
            "result.json is of another save than history.npz; if the run was killed, `scpo-ctrl adapt` with --resume "
            "mends it"
        )
    return Verification(
        policies=len(thetas),
        scenarios=len(loop.z0),
        metrics=loop.metrics,
        worst_margin=float(margins.min()),
        violations=int(unsafe.size),
        faults=tuple(faults),
    )


def _learned_faults(
    learned: tuple[dict[str, np.ndarray], bytes], table: dict[str, Any], arrays: dict[str, np.ndarray]
) -> list[str]:
    """List where learned.npz is not what the run was on: its last scenarios, and the policy that it began with."""
    found, data = learned
    faults = []
    if table["learned"] != LEARNED_FILE or table.get("learned_sha256") != hashlib.sha256(data).hexdigest():
        faults.append("learned.npz was changed after it was written (problem.toml has another SHA-256)")
    described = len(arrays["scenario_x0"]) - len(found["x0"])
    if not all(np.array_equal(found[key], arrays[f"scenario_{key}"][max(0, described) :]) for key in ("x0", "p", "w")):
        faults.append("the last recorded scenarios are not those of learned.npz")
    if not np.array_equal(found["theta_initial"], arrays["theta_initial"]):
        faults.append("the initial parameters are not those of learned.npz")
    return faults


def _apart(name: str, found: np.ndarray, recorded: np.ndarray, scale: np.ndarray | float) -> list[str]:
    """Name the first committed policy whose recomputed number is not the recorded one."""
    apart = np.flatnonzero(~(np.abs(found - recorded) <= _AGREEMENT * scale))
    return [f"committed policy {i} has {name} {found[i]:.9g}, the record says {recorded[i]:.9g}" for i in apart[:1]]


def _rise_faults(objectives: np.ndarray) -> list[str]:
    """Name the first committed policy whose objective is above the safe start's."""
    above = np.flatnonzero(~(objectives <= objectives[0]))
    return [
        f"committed policy {i} has objective {objectives[i]:.9g}, above the {objectives[0]:.9g} of the safe start: no "
        "step commits that"
        for i in above[:1]
    ]


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


def _summary_faults(summary: dict[str, Any], arrays: dict[str, np.ndarray], metrics: int) -> list[str]:
    """List what of result.json does not follow from history.npz."""
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
