"""The numbers and the words of result.json: what of them does not follow from history.npz."""

import re
from typing import Any

import numpy as np

from scpo_ctrl.adaptation.status import RunStatus

_WITHDRAWN = 5  # the number of this verdict in the history
_OTHERS = {
    "seconds",
    "version",
    "binding",
    "digest",
    "spectral_radius_initial",
    "spectral_radius_final",
    "audit",
    "fresh_objective_initial",
    "fresh_objective_final",
    "parameters",
    "gradients",
}  # compared elsewhere, or not verifiable: docs/method.md


def summary_faults(
    summary: dict[str, Any], arrays: dict[str, np.ndarray], metrics: int, gradients: str | None
) -> list[str]:
    """List what of result.json does not follow from history.npz and problem.toml.

    Parameters
    ----------
    summary : dict
        result.json.
    arrays : dict of str to numpy.ndarray
        history.npz.
    metrics : int
        Number of metrics of a policy.
    gradients : str or None
        What problem.toml says they are, if it does.

    Returns
    -------
    list of str
    """
    committed = arrays["committed"].astype(bool)
    objectives = np.append(arrays["objective_initial"], arrays["objective"][committed])
    margins = np.append(arrays["margin_initial"], arrays["margin"][committed])
    stationarity = float(arrays["state_stationarity"])
    withdrawn = int(np.count_nonzero(arrays["verdict"] == _WITHDRAWN))
    expected = {
        "status": str(arrays["state_status"]).lower(),
        "advice": _advice(str(arrays["state_status"])),
        "accepted": int(committed.sum()),
        "rejected": int((~committed).sum()) - withdrawn,
        "withdrawn": withdrawn,
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
    faults = [
        f"result.json says {key} = {summary.get(key)!r}, the history says {value!r}"
        for key, value in expected.items()
        if summary.get(key) != value or isinstance(summary.get(key), bool)
    ]
    if summary.get("gradients", gradients) != gradients:
        faults.append(
            f"result.json says gradients = {summary['gradients']!r:.200}, problem.toml says {gradients!r:.200}"
        )
    unknown = sorted(set(summary) - set(expected) - _OTHERS)
    faults += [f"result.json says {key} = {summary[key]!r:.200}, which no save writes" for key in unknown]
    seconds, version = summary.get("seconds"), summary.get("version")
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds < np.inf:
        faults.append(f"result.json says seconds = {seconds!r:.200}, expected a number >= 0")
    if not isinstance(version, str) or not re.fullmatch(r"[0-9][0-9a-z.+-]*", version):
        faults.append(f"result.json says version = {version!r:.200}, expected one such as 1.2.3")
    return faults


def _advice(status: str) -> str | None:
    return RunStatus[status].value if status in RunStatus.__members__ else None
