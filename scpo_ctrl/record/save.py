"""Saving a result from Python, learned scenarios included."""

import copy
from pathlib import Path

import numpy as np

from scpo_ctrl.adaptation.measured import Samples
from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.errors import RecordError, ScpoError
from scpo_ctrl.loop.controlled import ControllerPolicy
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.problem.learned import LEARNED_FILE, LearnedScenarios
from scpo_ctrl.record import toml
from scpo_ctrl.record.config import ProblemFile, described_scenarios, filled
from scpo_ctrl.record.described import described, recorded_constraints, recorded_cost, recorded_plant
from scpo_ctrl.record.files import load_arrays, read_problem
from scpo_ctrl.record.folder import RunFolder
from scpo_ctrl.record.recorded import RecordedController
from scpo_ctrl.record.samples_file import save_samples
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.validate import as_flag, as_path


def save_result(result: Result, path: str | Path, *, overwrite: bool = False, samples: Samples | None = None) -> None:
    """Save a run, also an unfinished one, as a RUN folder.

    Scenarios that were learned, and the policy at work then, go into learned.npz, which problem.toml names. A folder
    with an earlier state of the same run is brought up to date; an interruption leaves the one or the other.

    Parameters
    ----------
    result : Result
        Of a problem that `load_problem` made, or a `ControlProblem` made in Python whose backup is of `lqr` or whose
        policy is of `controlled`, whose scenarios are of `scenarios` and whose objective is Quadratic, Cost or
        Imitation; of what `Adapter.learn_scenarios` made of them, too. A plant made in Python goes into plant.json, a
        controller into controller.json, constraints into constraints.json, and a Cost into cost.json.
    path : str or pathlib.Path
        The RUN folder.
    overwrite : bool
        Replace another run in the folder; other files in it are left alone.
    samples : Samples, optional
        What an `Adapter` measured last, for `scpo-ctrl watch`: it goes into samples.npz.

    Raises
    ------
    RecordError
        If no problem file can describe the problem.
    OutputError
        If the folder holds another run, or a file cannot be written.

    Examples
    --------
    After the example of `adapt`:

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sc.save_result(result, f"{folder}/run")
    ...     sorted(file.name for file in pathlib.Path(folder, "run").iterdir())
    ['history.npz', 'plant.json', 'problem.toml', 'result.json', 'theta.npy']
    """
    as_instance("result", result, Result)
    if samples is not None:
        as_instance("samples", samples, Samples)
    file = _problem_file(result)
    path, overwrite = as_path("path", path), as_flag("overwrite", overwrite)

    def is_later(folder: Path) -> bool:
        return _is_later(result, file, folder)

    goes_on = is_later(path)
    with RunFolder(path, file, overwrite=is_later if goes_on else overwrite) as folder:
        if goes_on:
            folder.go_on()
        folder.save(result)
        if samples is not None:
            save_samples(path, samples, file.problem.plant)


def _problem_file(result: Result) -> ProblemFile:
    """Return the problem file of a run: the one that it was read from, its own options, and what it has learned."""
    problem = result.problem
    if not isinstance(problem, ControlProblem):
        raise RecordError(
            "the problem of this result has no plant that a RUN folder could hold: it is a "
            f"{type(problem).__name__}, and only a ControlProblem has one"
        )
    tables, batch = copy.deepcopy(problem.tables) or described(problem), problem.scenarios
    plant = recorded_plant(problem) if tables["plant"]["kind"] == "recorded" else None
    controller = None
    if isinstance(problem.policy, ControllerPolicy) and tables["policy"]["kind"] == "recorded":
        controller = RecordedController.of(problem.policy.controller)
    constraints = recorded_constraints(problem) if isinstance(tables["metrics"].get("constraints"), dict) else None
    cost = recorded_cost(problem) if tables["objective"]["kind"] == "recorded" else None
    tables["adapt"] = filled(result.options)
    table = tables["scenarios"]
    for key in ("learned", "learned_sha256"):
        table.pop(key, None)
    drawn = described_scenarios(problem.policy, table)
    first = batch.part(slice(drawn.count))
    if not all(np.array_equal(getattr(first, key), getattr(drawn, key)) for key in ("x0", "p", "w")):
        raise RecordError(
            "the scenarios of this result do not begin with those of its problem file, and only scenarios that were "
            "added can be saved; describe them in the problem file"
        )
    learned, start = None, problem.policy.theta_initial(result.options.seed)
    if batch.count > drawn.count or not np.array_equal(problem.theta_initial, start):
        learned = LearnedScenarios.of(batch.part(slice(drawn.count, None)), problem.theta_initial)
        table |= {"learned": LEARNED_FILE, "learned_sha256": learned.sha256}
    recorded = (plant, controller, constraints, cost)
    return ProblemFile(problem, result.options, tables, problem.imitation, learned, *recorded)


def _is_later(result: Result, file: ProblemFile, path: Path) -> bool:
    """Whether a folder holds an earlier state of a run."""
    try:
        arrays, tables = load_arrays(path), toml.loads(read_problem(path)[0])
    except ScpoError:
        return False
    own = toml.loads(file.text())
    for of in (own, tables):
        of.get("adapt", {}).pop("steps", None)
    before, now = arrays.get("theta", np.zeros(0)), result.history.column("theta")
    start = arrays.get("theta_initial", np.zeros(0))
    return own == tables and np.array_equal(before, now[: len(before)]) and np.array_equal(start, result.theta_initial)
