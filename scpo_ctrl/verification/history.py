"""The rows of history.npz, and the end of the run that they lead to: what of them does not follow from the others."""

from typing import Any

import numpy as np

from scpo_ctrl.verification.audits import COLUMNS, guards_at, policies_made

COMMITTED = 0  # the number of this verdict in the history
_WITHDRAWN = 5  # of the verdict on a commit that an audit took back
_UNTRIED = 4  # of the verdict on a step of no length, which is not rolled out
_VERDICTS, _PROJECTIONS = 6, 4
_AGREEMENT = 1e-9  # of recorded and recomputed lengths, relative to the parameters
_NAMES = {
    "step", "verdict", "objective", "margin", "worst", "step_length", "delta_norm", "predicted", "stationarity",
    "smoothness_max", "smoothness_median", "active", "projection_status", "projection_iterations", "rollouts", "theta",
    "committed", "scenario_x0", "scenario_p", "scenario_w", "theta_initial", "objective_initial", "margin_initial",
    "state_L", "state_slopes", "state_active", "state_normals", "state_stalled", "state_stationarity", "state_rng",
    "state_theta", "state_objective", "state_step", "state_rollouts", "state_status", "digest", "format",
    "guard_x0", "guard_p", "guard_w", "cloud_x0", "cloud_p", "cloud_w", "state_unaudited",
    "state_interval", "state_concluded_guards", "state_concluded_audits", "state_concluded_verdict",
    "state_concluded_margin", "state_concluded_worst", *(f"audit_{name}" for name in COLUMNS),
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
    origin = 1 + policies_made(arrays)
    length = np.linalg.norm(arrays["theta"] - before[origin], axis=1)
    size = 1.0 + np.linalg.norm(arrays["theta"], axis=1)
    broken = np.flatnonzero(~(np.abs(length - arrays["delta_norm"]) <= _AGREEMENT * size))
    if broken.size:
        faults.append(f"row {broken[0]} of history.npz is not a step from the policy committed before it")
    steps, made = arrays["step"], np.isin(arrays["verdict"], (COMMITTED, _WITHDRAWN))
    if (np.diff(steps) < 0).any() or len(set(steps[made])) != made.sum() or (steps >= arrays["state_step"]).any():
        faults.append("the steps of history.npz are out of order")
    return faults


def _number_faults(arrays: dict[str, np.ndarray], options: dict[str, Any], scenarios: int) -> list[str]:
    """List where the numbering shows rows that are missing, or that no run writes."""
    steps, made, rollouts = arrays["step"], np.isin(arrays["verdict"], (COMMITTED, _WITHDRAWN)), arrays["rollouts"]
    done, faults = int(arrays["state_step"]), []
    tries = np.bincount(steps, minlength=done) if len(steps) and steps.min() >= 0 else np.zeros(done, dtype=int)
    missing = np.flatnonzero(tries[:done] == 0)
    if str(arrays["state_status"]) == "CONVERGED" or _is_in_last_audit(arrays, options):
        missing = missing[missing != done - 1]  # whose stationarity left nothing to try
    ends = np.asarray(arrays.get("audit_step", np.zeros(0)))[np.asarray(arrays.get("audit_full", np.zeros(0))) == 1]
    missing = np.setdiff1d(missing, ends - 1)  # nor did the step before an audit that might have ended the run
    if missing.size:
        faults.append(f"history.npz has no row of step {missing[0]}")
    last = np.append(steps[1:] != steps[:-1], True)[: len(steps)]
    if (made & ~last).any():
        faults.append("history.npz has a try after the commit of its step")
    cut = [s for s in set(steps[last & ~made]) if tries[s] != options["tries"]]
    if cut or (tries > options["tries"]).any():
        faults.append(
            f"step {min(cut, default=int(tries.argmax()))} of history.npz has neither a commit nor the "
            f"{options['tries']} tries of a step without one"
        )
    each = scenarios + guards_at(arrays)
    grown, tried = np.diff(rollouts), np.where(arrays["verdict"] != _UNTRIED, each, 0)
    same = ~last[:-1]
    if (grown[same] != tried[1:][same]).any() or (grown < 0).any() or (rollouts > arrays["state_rollouts"]).any():
        faults.append("the numbers of rollouts in history.npz have a gap: a row is missing, or they were changed")
    if "audit_step" not in arrays and ((rollouts % scenarios).any() or arrays["state_rollouts"] % scenarios):
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
    failed = _failed_audit(arrays)
    if len(steps) and steps[-1] == arrays["state_step"] - 1 and rows[-1] != last and failed != arrays["state_step"]:
        faults.append(f"the last stationarity is {last:.9g}, its row in history.npz says {rows[-1]:.9g}")
    optimal, tolerance = last <= options["tolerance"], options["tolerance"]
    ends = ("CONVERGED", "STALLED", "FINISHED", "INTERRUPTED", "RUNNING")
    if status in ends and optimal != (status == "CONVERGED") and not _is_in_last_audit(arrays, options):
        faults.append(f"the run is {status.lower()}, yet its stationarity is {last:.4g}, the tolerance {tolerance:.4g}")
    if status == "STALLED" and not arrays["state_stalled"] >= options["patience"]:
        faults.append("the run is stalled, yet its last commits are more recent than patience allows")
    if status == "FINISHED" and arrays["state_step"] != options["steps"]:
        faults.append(
            f"the run is finished after {arrays['state_step']} steps, yet problem.toml asks for {options['steps']}"
        )
    commits = steps[np.isin(arrays["verdict"], (COMMITTED, _WITHDRAWN))]
    if arrays["state_stalled"] != arrays["state_step"] - max(commits[-1] + 1 if len(commits) else 0, failed):
        faults.append("the steps since the last commit are not as many as history.npz says")
    objectives = np.append(arrays["objective_initial"], arrays["objective"][arrays["committed"].astype(bool)])
    if arrays["state_objective"] != objectives[-1]:
        faults.append("the last objective of history.npz is not that of its last committed policy")
    return faults


def _is_in_last_audit(arrays: dict[str, np.ndarray], options: dict[str, Any]) -> bool:
    """Return whether a run has converged, but was stopped in the audit that would have said so."""
    converged = float(arrays["state_stationarity"]) <= options["tolerance"]
    return "audit_step" in arrays and converged and str(arrays["state_status"]) == "INTERRUPTED"


def _failed_audit(arrays: dict[str, np.ndarray]) -> int:
    """Return after how many steps the run last went on from another policy, 0 if it never did."""
    if "audit_step" not in arrays:
        return 0
    during = slice(0, int(arrays.get("state_concluded_audits", len(arrays["audit_step"]))))
    failed = (arrays["audit_found"][during] > 0) | (arrays["audit_violations"][during] > 0)
    return int(np.max(arrays["audit_step"][during][failed], initial=0))
