"""Runs kept on disk, so that an interrupted comparison goes on where it stopped, to the same table."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import r1_regression
import r2_malicious_expert
from support.common import violating_part

import scpo_ctrl
from baselines.experiments import Experiment
from baselines.oracle import Track, follow
from baselines.registry import Entry

ARRAYS = ("rollouts", "objective", "worst", "theta")
_HERE = Path(__file__).parent
_SOURCES = [_HERE / name for name in ("oracle.py", "descent.py", "safe.py", "experiments.py")]
_SOURCES += [Path(str(module.__file__)) for module in (r1_regression, r2_malicious_expert)]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A method's track on one problem and seed, and what the policy it ended with does elsewhere."""

    track: Track
    errors: tuple[float, float]  # on the two halves
    fresh: float  # part of fresh scenarios on which it violates; undefined where none are declared


def run_or_load(
    folder: Path,
    names: tuple[str, str],
    experiment: Experiment,
    entry: Entry,
    seed: int,
    settings: Mapping[str, float],
) -> Run:
    """Return a run from its file, or do it and write the file.

    Parameters
    ----------
    folder : pathlib.Path
        Where the files are.
    names : tuple of str
        Of the problem and the method.
    experiment : Experiment
    entry : Entry
    seed : int
    settings : mapping
        Of the method.

    Returns
    -------
    Run
    """
    problem_name, method_name = names
    key = _key(names, experiment, seed, settings)
    path = folder / f"{problem_name}-{method_name}-{seed}-{key}.npz"
    if path.exists():
        return _load(path)
    problem, errors = experiment.build(seed)
    track = follow(problem, entry.run, experiment.budget, seed, **settings)
    run = Run(track=track, errors=errors(track.theta), fresh=violating_part(problem, track.theta))
    _save(path, run)
    return run


def with_budget(experiment: Experiment, budget: int | None) -> Experiment:
    """Return the experiment with another budget, or as it is where None.

    Parameters
    ----------
    experiment : Experiment
    budget : int, optional

    Returns
    -------
    Experiment
    """
    return experiment if budget is None else replace(experiment, budget=budget)


def _key(names: tuple[str, str], experiment: Experiment, seed: int, settings: Mapping[str, float]) -> str:
    """Digest of what the numbers depend on: arguments, version, source of the methods, and of the package for SCPO."""
    package = sorted(Path(scpo_ctrl.__file__).parent.rglob("*.py")) if names[1].startswith("scpo") else []
    source = hashlib.sha256()
    for path in [*_SOURCES, *package]:
        source.update(path.read_bytes())
    arguments = [*names, experiment.budget, seed, sorted(settings.items()), scpo_ctrl.__version__, source.hexdigest()]
    return hashlib.sha256(json.dumps(arguments).encode()).hexdigest()[:16]


def _save(path: Path, run: Run) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: getattr(run.track, name) for name in ARRAYS}
    partial = path.with_suffix(".partial.npz")
    numbers = {"used": run.track.used, "ended": run.track.ended, "errors": np.array(run.errors), "fresh": run.fresh}
    np.savez(partial, **numbers, **arrays)
    partial.replace(path)


def _load(path: Path) -> Run:
    with np.load(path) as saved:
        arrays = {name: saved[name] for name in ARRAYS}
        track = Track(**arrays, used=int(saved["used"]), ended=str(saved["ended"]))
        good, other = (float(error) for error in saved["errors"])
        return Run(track=track, errors=(good, other), fresh=float(saved["fresh"]))
