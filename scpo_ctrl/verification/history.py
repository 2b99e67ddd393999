"""The rows of history.npz, and the end of the run that they lead to: what of them does not follow from the others."""

from typing import Any

import numpy as np

COMMITTED = 0  # the number of this verdict in the history
_UNTRIED = 4  # of the verdict on a step of no length, which is not rolled out
_VERDICTS, _PROJECTIONS = 5, 4
_AGREEMENT = 1e-9  # of recorded and recomputed lengths, relative to the parameters
_NAMES = {
    "step", "verdict", "objective", "margin", "worst", "step_length", "delta_norm", "predicted", "stationarity",
    "smoothness_max", "smoothness_median", "active", "projection_status", "projection_iterations", "rollouts", "theta",
    "committed", "scenario_x0", "scenario_p", "scenario_w", "theta_initial", "objective_initial", "margin_initial",
    "state_L", "state_active", "state_normals", "state_stalled", "state_stationarity", "state_rng", "state_theta",
    "state_objective", "state_step", "state_rollouts", "state_status", "digest", "format",
}  # fmt: skip


def history_faults(arrays: dict[str, np.ndarray], options: dict[str, Any], scenarios: int) -> list[str]:
    """List what of history.npz does not follow from the rest of it and from the options.

    Parameters
    ----------
    arrays : dict of str to numpy.ndarray
        history.npz.
    options : dict
        Section [adapt].
    scenarios : int
        How many, learned ones included.

    Returns
    -------
    list of str
    """
    unknown = sorted(name for name in arrays if name not in _NAMES and not name.startswith("state_method_"))
    faults = [f"history.npz has an array {name!r}, which no save writes" for name in unknown[:1]]
    faults += _chain_faults(arrays) + _number_faults(arrays, options, scenarios) + _end_faults(arrays, options)
    return faults + _rise_faults(np.append(arrays["objective_initial"], arrays["objective"][arrays["committed"]]))


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
    if not np.array_equal(committed, arrays["verdict"] == COMMITTED):
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


def _number_faults(arrays: dict[str, np.ndarray], options: dict[str, Any], scenarios: int) -> list[str]:
    """List where the numbering shows rows that are missing, or that no run writes."""
    steps, committed, rollouts = arrays["step"], arrays["committed"].astype(bool), arrays["rollouts"]
    done, faults = int(arrays["state_step"]), []
    tries = np.bincount(steps, minlength=done) if len(steps) and steps.min() >= 0 else np.zeros(done, dtype=int)
    missing = np.flatnonzero(tries[:done] == 0)
    if str(arrays["state_status"]) == "CONVERGED":
        missing = missing[missing != done - 1]  # whose stationarity left nothing to try
    if missing.size:
        faults.append(f"history.npz has no row of step {missing[0]}")
    last = np.append(steps[1:] != steps[:-1], True)[: len(steps)]
    if (committed & ~last).any():
        faults.append("history.npz has a try after the commit of its step")
    cut = [s for s in set(steps[last & ~committed]) if tries[s] != options["tries"]]
    if cut or (tries > options["tries"]).any():
        faults.append(
            f"step {min(cut, default=int(tries.argmax()))} of history.npz has neither a commit nor the "
            f"{options['tries']} tries of a step without one"
        )
    grown, tried = np.diff(rollouts), np.where(arrays["verdict"] != _UNTRIED, scenarios, 0)
    same = ~last[:-1]
    if (grown[same] != tried[1:][same]).any() or (grown < 0).any() or (rollouts > arrays["state_rollouts"]).any():
        faults.append("the numbers of rollouts in history.npz have a gap: a row is missing, or they were changed")
    if (rollouts % scenarios).any() or arrays["state_rollouts"] % scenarios:
        faults.append("a number of rollouts in history.npz is no multiple of the number of scenarios")
    kinds = (("verdict", _VERDICTS), ("projection_status", _PROJECTIONS))
    faults += [f"{name} of history.npz has an unknown value" for name, n in kinds if not _within(arrays[name], n)]
    return faults


def _within(values: np.ndarray, count: int) -> bool:
    return bool(((values >= 0) & (values < count)).all())


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
    if status == "FINISHED" and arrays["state_step"] != options["steps"]:
        faults.append(
            f"the run is finished after {arrays['state_step']} steps, yet problem.toml asks for {options['steps']}"
        )
    commits = steps[arrays["committed"].astype(bool)]
    if arrays["state_stalled"] != arrays["state_step"] - (commits[-1] + 1 if len(commits) else 0):
        faults.append("the steps since the last commit are not as many as history.npz says")
    objectives = np.append(arrays["objective_initial"], arrays["objective"][arrays["committed"].astype(bool)])
    if arrays["state_objective"] != objectives[-1]:
        faults.append("the last objective of history.npz is not that of its last committed policy")
    return faults
