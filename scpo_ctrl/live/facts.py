"""What the page says of a save: how far the run is, what it has kept, why tries were rejected, what was measured."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from scpo_ctrl.adaptation.history import VERDICTS
from scpo_ctrl.adaptation.options import CURVED
from scpo_ctrl.adaptation.status import RunStatus, Verdict
from scpo_ctrl.live.saved import Saved
from scpo_ctrl.record.samples_file import SavedSamples
from scpo_ctrl.report.numbers import margin, number, plural, short
from scpo_ctrl.report.wording import VERDICT_WORDS, capital, percent
from scpo_ctrl.text import visible

MOST_REJECTED = 12  # of the last rejected tries that are listed
_MOST_NEAREST = 5
_MOST_SAMPLES, _MOST_VALUES = 500, 6000  # of a plant at work
_WORDS = {
    RunStatus.FINISHED: "Finished",
    RunStatus.CONVERGED: "Converged",
    RunStatus.STALLED: "Stalled",
    RunStatus.INTERRUPTED: "Interrupted",
    RunStatus.SMOOTHNESS_TOO_SMALL: "Not certified",
}


def waiting(path: Path) -> dict[str, Any]:
    """Return what is said where there is no run yet.

    Parameters
    ----------
    path : pathlib.Path
        The RUN folder.

    Returns
    -------
    dict
        Plain data.
    """
    sentence = f"There is no run in {path} yet; this page goes on by itself once one is saved there."
    return {
        "level": "waiting",
        "word": "Waiting for a run",
        "sentence": visible(sentence),
        "folder": visible(str(path)),
    }


def facts(path: Path, saved: Saved, is_writing: bool) -> dict[str, Any]:
    """Return what is said of a save.

    Parameters
    ----------
    path : pathlib.Path
        The RUN folder.
    saved : Saved
    is_writing : bool
        Whether a process is writing there.

    Returns
    -------
    dict
        Plain data.
    """
    summary, options = saved.summary, saved.tables.get("adapt", {})
    verdicts = saved.column("verdict").astype(int)
    scaled = options.get("method") in CURVED or "preconditioner" in options
    return {
        **_headline(saved, is_writing),
        "folder": visible(str(path)),
        "title": _title(saved.tables.get("plant", {})),
        "version": visible(str(summary["version"])),
        "saved": saved.time,
        "tiles": [_objective_tile(saved), _safety_tile(saved), _tries_tile(saved), _stability_tile(saved)],
        "count": len(saved.rows),
        "counts": [int(np.count_nonzero(verdicts == k)) for k in range(len(VERDICTS))],
        "verdicts": [VERDICT_WORDS[verdict] for verdict in VERDICTS],
        "start": "safe start",
        "objective_initial": plain(saved.objective_initial),
        "margin_initial": plain(saved.margin_initial),
        "tolerance": plain(float(options.get("tolerance", 0.0))),
        "radius": None if scaled else plain(float(options.get("radius", math.nan))),
        "rejected": _rejected(saved),
        "nearest": _nearest(summary),
        "parameters": [
            [visible(str(row["label"])), visible(str(row["unit"])), number(row["before"]), number(row["after"])]
            for row in summary.get("parameters", [])
        ],
        "samples": None if saved.samples is None else _samples(saved.samples),
    }


def plain(value: float) -> float | None:
    """Return a number with the seven digits that a chart can show; None for what JSON has no number for.

    Parameters
    ----------
    value : float

    Returns
    -------
    float or None
    """
    return float(f"{value:.7g}") if math.isfinite(value) else None


def _title(plant: dict[str, Any]) -> str:
    """Return what a plant is called in its problem file."""
    return visible(str(plant.get("name") or plant.get("kind", "user's functions")).replace("_", " "))


def _headline(saved: Saved, is_writing: bool) -> dict[str, Any]:
    """Return what the eye sees first, and how far the run is."""
    summary = saved.summary
    status, done = RunStatus[summary["status"].upper()], int(summary["steps"])
    total = int(saved.tables.get("adapt", {}).get("steps", done))
    is_going = status is RunStatus.RUNNING
    advice = status.value
    if is_going and is_writing:
        word, level, advice = f"Step {number(done)} of {number(total)}", "running", _remaining(saved, done, total)
    elif is_going:
        word, level = f"Paused at step {number(done)} of {number(total)}", "unfinished"
        advice = (
            "Nobody is writing: a run of `adapt` that was ended goes on with --resume, one online is between two saves."
        )
    else:
        word, level = _WORDS[status], _level(saved, status)
    if summary["violations"]:
        word, level = f"Unsafe: {word[0].lower()}{word[1:]}", "unsafe"
    return {
        "level": level,
        "word": word,
        "sentence": _kept(saved),
        "advice": advice,
        "done": done,
        "total": total if status in (RunStatus.RUNNING, RunStatus.INTERRUPTED) else 0,
    }


def _level(saved: Saved, status: RunStatus) -> str:
    """Return the colour of a run that has ended: green only where it was audited, as in its report."""
    if status is RunStatus.SMOOTHNESS_TOO_SMALL:
        return "unsafe"
    audit = saved.summary.get("audit")
    done = status in (RunStatus.FINISHED, RunStatus.CONVERGED)
    return "safe" if done and audit and audit["passed"] else "unfinished"


def _remaining(saved: Saved, done: int, total: int) -> str:
    """Return how long the rest of the steps will take if they take as long as those before."""
    seconds = float(saved.summary["seconds"])
    if not (done and seconds > 0):
        return "The safe start is checked; the first steps follow."
    rest = seconds / done * max(0, total - done)
    said = f"{rest / 60:.0f} min" if rest >= 90 else f"{max(1.0, rest):.0f} s"
    return f"At the pace so far the other {plural(total - done, 'step')} take about {said}; a run may converge before."


def _kept(saved: Saved) -> str:
    """Return what became of safety and objective so far."""
    summary = saved.summary
    policies, broken, metrics = summary["accepted"] + 1, summary["violations"], number(summary["metrics"])
    fate = f"{number(broken)} of {plural(policies, 'committed policy')} break a metric on the scenarios"
    if not broken:
        every = f"{number(policies)} of {plural(policies, 'committed policy')}"
        fate = f"{every} satisfy all {metrics} metrics on the scenarios"
        if policies == 1:
            fate = f"The safe start satisfies all {metrics} metrics on the scenarios"
    audit = summary.get("audit")
    look = "not audited" if not audit else "the last audit found no violation"
    if audit and not audit["passed"]:
        look = f"the last audit found {plural(audit['violations'], 'violation')}"
    return f"{fate}; {look}."


def _objective_tile(saved: Saved) -> dict[str, Any]:
    first, last = saved.objective_initial, float(saved.summary["objective_final"])
    changed = percent(first, last)
    said = f"{changed} since the safe start" if changed else "as at the safe start"
    return {
        "question": "How much better?",
        "parts": [f"{short(first, 4)} →", short(last, 4)],
        "said": f"objective ℓ, {said}",
    }


def _safety_tile(saved: Saved) -> dict[str, Any]:
    worst, audit = saved.summary["worst_margin"], saved.summary.get("audit")
    said = f"least margin {margin(worst)}, of any committed policy"
    if audit:
        found = "passed" if audit["passed"] else "did not pass"
        said += f"; its audit of {plural(audit['rollouts'], 'fresh scenario')} {found}"
    return {"question": "Is it safe?", "parts": [plural(saved.summary["violations"], "violation")], "said": said}


def _tries_tile(saved: Saved) -> dict[str, Any]:
    summary, verdicts = saved.summary, saved.column("verdict").astype(int)
    reasons = [
        f"{number(count)} {VERDICT_WORDS[verdict].removeprefix('rejected: ')}"
        for k, verdict in enumerate(VERDICTS)
        if verdict is not Verdict.COMMITTED and (count := int(np.count_nonzero(verdicts == k)))
    ]
    parts = [f"{number(summary['accepted'])} accepted,", f"{number(summary['rejected'])} rejected"]
    return {"question": "What became of tries?", "parts": parts, "said": "; ".join(reasons) or "none was rejected"}


def _stability_tile(saved: Saved) -> dict[str, Any]:
    ends = [saved.summary.get(f"spectral_radius_{end}") for end in ("initial", "final")]
    length = saved.column("delta_norm")
    last = f"last step ‖Δ‖ {short(length[-1])}" if length.size else "no step yet"
    if ends[0] is None or ends[1] is None:
        return {"question": "Is it stable at rest?", "parts": ["not known"], "said": last}
    parts = [f"{short(ends[0], 4)} →", short(ends[1], 4)]
    stable = "stable" if ends[1] < 1 else "not stable"
    return {"question": "Is it stable at rest?", "parts": parts, "said": f"spectral radius, {stable}; {last}"}


def _rejected(saved: Saved) -> list[list[str]]:
    """Return the last tries that are not at work, the latest first."""
    verdicts = saved.column("verdict").astype(int)
    found = np.flatnonzero(verdicts != VERDICTS.index(Verdict.COMMITTED))[::-1][:MOST_REJECTED]
    columns = {name: saved.column(name) for name in ("objective", "margin", "delta_norm", "step")}
    return [
        [
            number(int(row) + 1),
            number(int(columns["step"][row]) + 1),
            capital(VERDICT_WORDS[VERDICTS[verdicts[row]]].removeprefix("rejected: ")),
            number(columns["objective"][row]),
            margin(columns["margin"][row]),
            short(columns["delta_norm"][row]),
        ]
        for row in found.tolist()
    ]


def _nearest(summary: dict[str, Any]) -> list[list[str]]:
    """Return the metrics closest to their bounds."""
    rows = []
    for row in (summary.get("binding") or {}).get("closest", [])[:_MOST_NEAREST]:
        first, last = row["time"]
        kind = next((kind for kind in ("scenario", "guard", "cloud_state") if row.get(kind) is not None), None)
        where = f"{kind.replace('_', ' ')} {number(row[kind])}" if kind else ""
        when = "" if first is None else f"t = {first}" if first == last else f"t = {first} … {last}"
        value = "not a number" if row["margin"] is None else margin(row["margin"])
        rows.append([visible(str(row["bound"])), visible(where), visible(when), value])
    return rows


def _samples(saved: SavedSamples) -> dict[str, Any]:
    """Return the latest samples of a plant at work, a signal each."""
    width = saved.labels.size
    most = max(20, min(_MOST_SAMPLES, _MOST_VALUES // max(1, width)))
    values, numbers, acted = saved.values[-most:], saved.number[-most:], saved.acted[-most:]
    dt = float(saved.dt)
    shown = f"the last {plural(len(numbers), 'sample')}" if len(numbers) else "no sample yet"
    return {
        "said": f"{capital(shown)}; at {number(int(saved.interventions))} of all samples the backup took over.",
        "time": "time [s]" if dt else "sample",
        "t": [plain(value) for value in (numbers * (dt or 1.0)).tolist()],
        "acted": np.flatnonzero(acted).tolist(),
        "signals": [
            {
                "name": visible(str(saved.labels[i])),
                "unit": visible(str(saved.units[i])),
                "is_input": i >= int(saved.states),
                "low": plain(float(saved.bounds[i, 0])),
                "high": plain(float(saved.bounds[i, 1])),
                "values": [plain(value) for value in values[:, i].tolist()],
            }
            for i in range(width)
        ],
    }
