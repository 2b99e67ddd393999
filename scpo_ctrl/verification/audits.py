"""The audits of a run (E12) once more: what of them does not follow, and fresh scenarios of the last one rolled out."""

from typing import Any

import numpy as np

from scpo_ctrl.rounding import up
from scpo_ctrl.verification.certificate import fresh_metrics
from scpo_ctrl.verification.law import Law

FULL = 100_000  # fresh scenarios of an audit that may end a run, by default
BETWEEN = 10  # audits between, and the beginning of a full one, have this part of them
SAMPLE = 2000  # scenarios of the last audit that are rolled out again
COLUMNS = ("step", "policy", "full", "rollouts", "violations", "found", "worst", "objective", "back", "guards")
_ENDED = ("FINISHED", "CONVERGED", "STALLED")
_VIOLATION = 1e-7  # of a metric: P, ρ and rollouts are computed anew
_LEAST = 1e-12  # the same when it is made
_BETA = 1e-6
_INTERVAL = 5  # commits before the first audit


def audit_faults(arrays: dict[str, np.ndarray], summary: dict[str, Any], law: Law, tables: dict[str, Any]) -> list[str]:
    """List what of the audits does not follow from the history, from each other, or from the final policy.

    Parameters
    ----------
    arrays : dict of str to numpy.ndarray
        history.npz.
    summary : dict
        result.json.
    law : Law
    tables : dict
        The problem file.

    Returns
    -------
    list of str
    """
    stated = {key: summary.get(key) for key in ("audit", "fresh_objective_initial", "fresh_objective_final")}
    if "guard_x0" not in arrays:
        commits, first = np.count_nonzero(arrays["committed"]), min(_INTERVAL, tables["adapt"]["audit_every"])
        if (arrays["state_unaudited"], arrays["state_interval"]) != (commits, first):
            return ["history.npz counts commits since an audit, yet the run has no audits"]
        return [
            f"result.json says {key} = {stated[key]!r:.200}, yet the run has no audits"
            for key in stated
            if stated[key] is not None
        ]
    rows = [
        dict(zip(COLUMNS, values, strict=True))
        for values in zip(*(arrays[f"audit_{key}"].tolist() for key in COLUMNS), strict=True)
    ]
    faults = _table_faults(arrays, rows, tables["adapt"])
    if faults:
        return faults
    right: dict[str, Any] = {
        "audit": None,
        "fresh_objective_initial": rows[0]["objective"],
        "fresh_objective_final": None,
    }
    if str(arrays["state_status"]) in _ENDED:
        from scipy.special import betainccinv

        last, full = rows[-1], max(1, sum(row["full"] for row in rows[1:]))
        n, k, beta = last["rollouts"], last["violations"], _BETA / (full * (full + 1))
        epsilon = 1.0 if k >= n else float(betainccinv(k + 1, n - k, beta))  # Clopper-Pearson
        passed = last["violations"] == 0 and last["found"] == 0
        right["audit"] = {"passed": passed, "rollouts": n, "violations": k, "epsilon": epsilon, "beta": _BETA}
        right["fresh_objective_final"] = last["objective"]
        faults += _end_faults(arrays, rows)
        faults += _rolled_faults(arrays, rows, law, tables)
    return faults + [
        f"result.json says {key} = {stated[key]!r:.200}, the audits say {right[key]!r}"
        for key in stated
        if not _same(stated[key], right[key])
    ]


def _table_faults(arrays: dict[str, np.ndarray], rows: list[dict[str, Any]], options: dict[str, Any]) -> list[str]:
    """List audits that no run writes."""
    if not rows or rows[0]["policy"] != -1 or rows[0]["violations"] or rows[0]["found"]:
        return ["history.npz does not begin with a passed audit of the safe start"]
    steps = [row["step"] for row in rows]
    if steps != sorted(steps) or not all(0 <= step <= int(arrays["state_step"]) for step in steps):
        return ["the audits of history.npz are out of order"]
    for i, row in enumerate(rows):
        fault = _row_fault(row, np.isin(arrays["verdict"], (0, 5)), options)
        if fault:
            return [f"audit {i} of history.npz {fault}"]
    if rows[-1]["guards"] != len(arrays["guard_x0"]):
        return ["the guards of history.npz are not as many as its last audit left"]
    return _resume_faults(arrays, rows, options)


def _row_fault(row: dict[str, Any], made: np.ndarray, options: dict[str, Any]) -> str:
    """Return what is wrong with one audit, in words; nothing if it is one that a run may write."""
    full = options.get("audit_rollouts", FULL)
    first, policy, back = max(1, full // BETWEEN), row["policy"], row["back"]
    failed = row["violations"] > 0 or row["found"] > 0
    sizes = ((full,) if row["full"] else (first,)) + ((first,) if failed else ())  # a full audit may fail at once
    known = all(place == -1 or (0 <= place < len(made) and made[place]) for place in (policy, back))
    if failed != (row["worst"] > _LEAST):
        return "found another worst metric than its verdict says"
    if not known or row["rollouts"] not in sizes or not 0 <= row["violations"] <= row["rollouts"] or row["found"] < 0:
        return "has numbers that no run writes"
    if (back != policy and not failed) or (failed and not -1 <= back < max(policy, 0)):
        return "goes on from another policy than it leaves"
    return ""


def _resume_faults(arrays: dict[str, np.ndarray], rows: list[dict[str, Any]], options: dict[str, Any]) -> list[str]:
    """List what of the audits' own state does not follow from them."""
    during = int(arrays.get("state_concluded_audits", len(rows)))
    if not 1 <= during <= len(rows):
        return ["history.npz counts other audits than it has"]
    interval, every = min(_INTERVAL, options["audit_every"]), options["audit_every"]
    for row in rows[1:during]:
        failed = row["violations"] > 0 or row["found"] > 0
        interval = min(max(interval // 2, _INTERVAL) if failed else 2 * interval, every)
    made = np.isin(arrays["verdict"], (0, 5)) & (arrays["step"] >= rows[during - 1]["step"])
    if arrays["state_interval"] != interval or arrays["state_unaudited"] != np.count_nonzero(made):
        return ["the next audit of history.npz is not due when its audits say"]
    if "state_concluded_audits" in arrays:
        before, after = arrays["state_concluded_verdict"], arrays["verdict"]
        differ = before != after
        if before.shape != after.shape or not ((before[differ] == 0) & (after[differ] == 5)).all():
            return ["the last audits of history.npz changed other verdicts than they may"]
        if arrays["state_concluded_guards"] != rows[during - 1]["guards"]:
            return ["the guards before the last audits of history.npz are not as many as its audits say"]
    return []


def _end_faults(arrays: dict[str, np.ndarray], rows: list[dict[str, Any]]) -> list[str]:
    """Name a final policy that the last audit is not of, or did not leave."""
    commits = np.flatnonzero(arrays["committed"])
    final, last = int(commits[-1]) if len(commits) else -1, rows[-1]
    if not last["full"] or last["violations"] or last["found"]:
        return ["the run has ended, yet its last audit is not a full one that passed"]
    if last["policy"] != final:
        return ["the last audit of history.npz is not of the final policy"]
    return []


def _rolled_faults(
    arrays: dict[str, np.ndarray], rows: list[dict[str, Any]], law: Law, tables: dict[str, Any]
) -> list[str]:
    """Roll out again some fresh scenarios of the last audit, from its seed, by other code than drew them."""
    number, n = len(rows) - 1, rows[-1]["rollouts"]
    seed = int(np.random.SeedSequence([int(tables["adapt"]["seed"]), number]).generate_state(1, np.uint64)[0]) >> 2
    numbers = np.unique(np.linspace(0, n - 1, min(n, SAMPLE)).astype(np.int64))
    worst, _ = fresh_metrics(law, tables, arrays["state_theta"], numbers, seed)
    broken = np.flatnonzero(~(worst <= _VIOLATION))
    return [
        f"fresh scenario {numbers[k]} of the last audit violates a metric by {up(worst[k], 4)}, yet the audit passed"
        for k in broken[:1]
    ]


def _same(stated: Any, right: Any) -> bool:
    if not isinstance(right, dict):
        return type(stated) is type(right) and bool(stated == right)
    return (
        isinstance(stated, dict)
        and set(stated) == set(right)
        and all(type(stated[key]) is type(right[key]) for key in right)
        and all(stated[key] == right[key] for key in right if key != "epsilon")
        and abs(stated["epsilon"] - right["epsilon"]) <= 1e-9 * right["epsilon"]
    )


def policies_made(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return from which row each row of the history is a step: that of the commit, or the audit, before it.

    Parameters
    ----------
    arrays : dict of str to numpy.ndarray
        history.npz.

    Returns
    -------
    numpy.ndarray of int, shape (rows,)
        -1 for the safe start.
    """
    steps, made = arrays["step"], np.isin(arrays["verdict"], (0, 5))
    audits = [(int(s), int(b)) for s, b in zip(arrays.get("audit_step", ()), arrays.get("audit_back", ()), strict=True)]
    origin, current, k = np.full(len(steps), -1), -1, 0
    for i, step in enumerate(steps):
        while k < len(audits) and audits[k][0] <= step:
            current, k = audits[k][1], k + 1
        origin[i] = current
        if made[i]:
            current = i
    return origin


def dropped_guards(arrays: dict[str, np.ndarray]) -> bool:
    """Return whether a run left guards out again, as it does where there are too many.

    Parameters
    ----------
    arrays : dict of str to numpy.ndarray
        history.npz.

    Returns
    -------
    bool
    """
    guards, found = (np.asarray(arrays.get(f"audit_{key}", np.zeros(0))) for key in ("guards", "found"))
    return bool((np.diff(guards) != found[1:]).any())


def guards_at(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return how many guards each row of the history was evaluated on.

    Parameters
    ----------
    arrays : dict of str to numpy.ndarray
        history.npz.

    Returns
    -------
    numpy.ndarray of int, shape (rows,)
    """
    if "audit_step" not in arrays:
        return np.zeros(len(arrays["step"]), dtype=np.int64)
    last = np.searchsorted(arrays["audit_step"], arrays["step"], side="right") - 1
    return np.asarray(arrays["audit_guards"][np.maximum(last, 0)], dtype=np.int64)
