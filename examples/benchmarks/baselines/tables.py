"""The comparison as a table: median and range over the seeds, and who was best among those that never violated."""

from collections.abc import Mapping, Sequence

import numpy as np

from baselines.experiments import Experiment
from baselines.registry import METHODS, NEARLY_SAFE
from baselines.store import Run

Runs = Mapping[str, Sequence[Run]]  # by method, a run for each seed


def spread(values: Sequence[float], form: str) -> str:
    """Return the median and, where they differ, the range of some numbers.

    Parameters
    ----------
    values : sequence of float
    form : str
        Format of one number.

    Returns
    -------
    str
    """
    low, middle, high = (format(float(value), form) for value in (min(values), np.median(values), max(values)))
    return middle if low == high else f"{middle} ({low} to {high})"


def never_violated(runs: Sequence[Run]) -> bool:
    """Return whether no policy of any seed violated a metric.

    Parameters
    ----------
    runs : sequence of Run

    Returns
    -------
    bool
    """
    return all(run.track.violations == 0 for run in runs)


def table(experiment: Experiment, runs: Runs) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the comparison, a row for each method.

    Parameters
    ----------
    experiment : Experiment
    runs : mapping

    Returns
    -------
    header : list of str
    rows : list of list of str
    """
    declared = not any(np.isnan(run.fresh) for some in runs.values() for run in some)
    header = [experiment.title, "violating", "of", "worst violation"]
    header += ["of fresh scenarios", "final objective"] if declared else ["final objective"]
    header += [f"error, {half}" for half in experiment.halves] + ["rollouts"]
    rows = []
    for name, tracks in ((name, [run.track for run in some]) for name, some in runs.items()):
        rows.append(
            [
                METHODS[name].label,
                spread([track.violations for track in tracks], ".0f"),
                spread([track.worst.size for track in tracks], ".0f"),
                spread([track.worst_violation for track in tracks], ".2g"),
                *([spread([run.fresh for run in runs[name]], ".2%")] if declared else []),
                spread([track.objective[-1] for track in tracks], ".4f"),
                *(spread([run.errors[half] for run in runs[name]], ".3f") for half in (0, 1)),
                spread([track.used for track in tracks], ".0f"),
            ]
        )
    return header, rows


def verdict(runs: Runs) -> str:
    """Say which baseline was best of those that never violated, and how SCPO compares, seed by seed.

    Parameters
    ----------
    runs : mapping

    Returns
    -------
    str
    """
    finals = {name: np.array([run.track.objective[-1] for run in some]) for name, some in runs.items()}
    others = {
        name: final for name, final in finals.items() if not name.startswith("scpo") and never_violated(runs[name])
    }
    lines = []
    if "scpo" in runs:
        total = sum(run.track.worst.size for run in runs["scpo"])
        unsafe = sum(run.track.violations for run in runs["scpo"])
        lines.append(f"SCPO: {unsafe} of {total} committed policies violate a metric, {len(runs['scpo'])} seeds.")
    if others:
        best = min(others, key=lambda name: float(np.median(others[name])))
        lines.append(f"Best baseline that never violated: {METHODS[best].label}, {np.median(others[best]):.4f}.")
        if "scpo" in runs:
            better = np.count_nonzero(finals["scpo"] <= others[best])
            lines.append(f"SCPO ends at or below it in {better} of {len(others[best])} seeds.")
    return "\n".join(lines)


def tuned_score(name: str, run: Run) -> tuple[bool, float]:
    """Return what a setting is chosen by, the less the better: not safe enough, then the final objective.

    A method that is safe by design must not have violated at all; another one must end nearly safe.

    Parameters
    ----------
    name : str
        Of the method.
    run : Run
        On the tuning seed.

    Returns
    -------
    tuple of bool and float
    """
    track = run.track
    unsafe = track.violations > 0 if METHODS[name].safe else not track.worst[-1] <= NEARLY_SAFE
    return bool(unsafe), float(track.objective[-1])
