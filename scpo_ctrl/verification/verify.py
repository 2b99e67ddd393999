"""Re-verification of a RUN folder from its files alone.

Nothing here is shared with the loop but the plant model and the names of files: the Riccati equation is solved anew,
the policy is written again in numpy, the closed loop is stepped over time, and the metrics are computed from
trajectories.
"""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.errors import RecordError, ScpoError
from scpo_ctrl.problem.learned import LEARNED_FILE, read_learned
from scpo_ctrl.proof.guarded import GuardedRuns
from scpo_ctrl.reading import LARGEST_DATA, LARGEST_TEXT, read_bytes
from scpo_ctrl.record import toml
from scpo_ctrl.record.assurance import load_guarded
from scpo_ctrl.record.atomic import steadily, was_cut_short
from scpo_ctrl.record.config import IMITATION_FILE, SECTIONS, ProblemFile, is_controller, located, read_problem_file
from scpo_ctrl.record.controllers import LOOP_KEYS, build_controller
from scpo_ctrl.record.files import check_format, digest, load_arrays, load_state, load_summary, read_problem, read_run
from scpo_ctrl.record.plants import build_plant
from scpo_ctrl.rounding import down
from scpo_ctrl.validate import as_count, as_flag, as_path
from scpo_ctrl.verification.asked import asked_faults
from scpo_ctrl.verification.audits import audit_faults, dropped_guards
from scpo_ctrl.verification.binding import binding_faults
from scpo_ctrl.verification.certificate import certificate_faults, part_faults, words_of
from scpo_ctrl.verification.controlled import ControllerLaw
from scpo_ctrl.verification.cover_proof import cover_faults
from scpo_ctrl.verification.history import history_faults
from scpo_ctrl.verification.law import Law
from scpo_ctrl.verification.loop import ClosedLoop
from scpo_ctrl.verification.margins import AGREEMENT
from scpo_ctrl.verification.one_step import cloud_bounds, cloud_faults, cloud_loop, single_steps
from scpo_ctrl.verification.polytope_file import polytope_faults
from scpo_ctrl.verification.proof_file import proof_faults
from scpo_ctrl.verification.redraw import redraw_faults
from scpo_ctrl.verification.residual import ResidualLaw
from scpo_ctrl.verification.summary import summary_faults

_LOOSE, _DIVERGED = 1e-6, 1e4  # the same of rejected policies, and what is beyond comparing


@dataclass(frozen=True)
class Verification:
    """What a record was found to be."""

    policies: int  # committed policies checked, the safe start included
    scenarios: int
    metrics: int  # per policy
    worst_margin: float  # least margin over all of them, recomputed
    violations: int  # policies with a margin below zero (beyond rounding)
    faults: tuple[str, ...]  # everything that does not hold, in words
    backup: str = ""  # what is proved of sets that the backup keeps, and was re-checked, in words
    certificate: str = ""  # what a certificate beside the record came to, if it holds, in words

    @property
    def passed(self) -> bool:
        """Whether every committed policy is safe on its scenarios and the files belong together."""
        return not self.faults


def verify(
    path: str | Path,
    *,
    problem: str | Path | None = None,
    seed: int | None = None,
    trust: bool = False,
    parts: Sequence[int] = (),
) -> Verification:
    """Check the record of a run: every committed policy is safe on its scenarios, the files are whole and agree.

    Parameters
    ----------
    path : str or pathlib.Path
        The RUN folder.
    problem : str or pathlib.Path, optional
        The problem file that the run is said to be of.
    seed : int, optional
        Overrides that of the problem file, as it did when it was run.
    trust : bool
        Run the Python that `problem` names, and compare what it makes; none of the RUN folder is ever run.
    parts : sequence of int
        Parts of certificate.json, numbered from 0, all of whose scenarios are rolled out again.

    Returns
    -------
    Verification

    Raises
    ------
    RecordError
        If a file is missing or cannot be read.
    ProblemFileError, ScpoError
        If `problem` cannot be read, or does not hold.

    Examples
    --------
    After the example of `adapt`:

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sc.save_result(result, f"{folder}/run")
    ...     sc.verify(f"{folder}/run").violations
    0
    """
    path = as_path("path", path)
    asked = read_problem_file(problem, seed=seed, trust=as_flag("trust", trust)) if problem is not None else None
    parts, files = [as_count("parts", part) for part in parts], steadily(path, lambda: _read(path))
    try:
        with np.errstate(all="ignore"):  # a damaged or tampered record may hold any numbers
            found = _verify(files, parts)
    except ScpoError as error:
        raise type(error)(f"{path}: {error}") from error
    except (LookupError, ValueError, TypeError, ArithmeticError, AttributeError, RuntimeError, MemoryError) as error:
        raise RecordError(
            f"{path}: the record is incomplete or damaged ({type(error).__name__}: {error}); restore it or run again"
        ) from error
    if found.faults and was_cut_short(path):
        hint = "a save was cut short, or goes on; unless files were changed, `scpo-ctrl adapt` with --resume mends them"
        found = replace(found, faults=(hint, *found.faults))
    if files.certificate is not None and not found.faults:
        found = replace(found, certificate=words_of(files.certificate, parts))
    if asked or not found.faults:  # else it cannot be read, or shown
        found = replace(found, faults=(*found.faults, *_shown_faults(files, asked)))
    return found


@dataclass(frozen=True)
class _Files:
    """What a RUN folder holds."""

    folder: Path
    arrays: dict[str, np.ndarray]  # history.npz
    summary: dict[str, Any]  # result.json
    text: str  # problem.toml
    tables: dict[str, Any]  # what it says
    csv_data: bytes
    theta: np.ndarray
    learned: tuple[dict[str, np.ndarray], bytes] | None
    page: str | None  # report.html
    certificate: str | None  # certificate.json
    backup_proof: str | None  # backup_proof.json
    polytope: str | None  # polytope_proof.json
    cover: str | None  # cover_proof.json
    read: tuple[ProblemFile, Result] | ScpoError  # as the other commands read it
    guarded: GuardedRuns | None  # guard.json, which report.html may show


def _read(path: Path) -> _Files:
    arrays, summary = load_arrays(path), load_summary(path)
    text, csv_data = read_problem(path)
    try:
        theta = np.load(io.BytesIO(read_bytes(path / "theta.npy", LARGEST_TEXT)), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RecordError(f"{path / 'theta.npy'}: is missing or damaged ({reason}); restore it or run again") from error
    page, certificate = _text_if_there(path / "report.html"), _text_if_there(path / "certificate.json")
    proof = _text_if_there(path / "backup_proof.json")
    cover = _text_if_there(path / "cover_proof.json")
    tables = toml.loads(text)
    with located(f"{path}: "):
        learned = read_learned(path / LEARNED_FILE) if "learned" in tables.get("scenarios", {}) else None
    try:
        file = read_run(path)
        result = load_state(path, file, arrays)
        read: tuple[ProblemFile, Result] | ScpoError = file, result
        guarded = load_guarded(path, result)
    except ScpoError as error:
        read, guarded = error, None
    written = page, certificate, proof, _text_if_there(path / "polytope_proof.json"), cover
    return _Files(path, arrays, summary, text, tables, csv_data, theta, learned, *written, read, guarded)


def _text_if_there(path: Path) -> str | None:
    """Return the text of a file that may be missing."""
    try:
        return read_bytes(path, LARGEST_DATA).decode(errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}; remove it") from error


def _shown_faults(files: _Files, asked: ProblemFile | None) -> list[str]:
    """List where other commands, the report, or the problem file that was asked for, say something else."""
    if isinstance(files.read, ScpoError):
        return [f"other commands cannot read the run: {files.read}"]
    (file, result), faults = files.read, []
    if files.page is not None:
        from scpo_ctrl.verification.page import page_faults  # matplotlib takes long to import

        wrong = page_faults(files.page, result, files.guarded)  # of before or after the simulation under the guard
        faults += page_faults(files.page, result) if wrong and files.guarded else wrong
    if asked:
        faults += asked_faults(asked, file)
        if not np.array_equal(asked.problem.theta_initial, files.arrays["theta_initial"]):
            faults.append("the run is of another problem: it began at other parameters than the problem file gives")
    return faults


def _verify(files: _Files, parts: list[int]) -> Verification:
    arrays, summary, tables, learned = files.arrays, files.summary, files.tables, files.learned
    _check_form(files)
    law = law_of(tables, files.folder)
    loop = ClosedLoop(law, tables, arrays)
    committed = arrays["committed"].astype(bool)
    thetas = np.vstack([arrays["theta_initial"], arrays["theta"][committed]])
    rejected = arrays["theta"][~committed]
    margins, costs = loop.margins(np.vstack([rejected, thetas]))  # the final policy last: what binds is its
    cloud = cloud_loop(law, tables, arrays)
    if cloud is not None:
        margins = margins.and_of(cloud.margins(np.vstack([rejected, thetas]))[0])
    weight = loop.cost_sizes
    metrics = loop.metrics + law.bounds + (0 if cloud is None else cloud.metrics)
    guards, on_all = _guards(loop, tables, arrays), margins
    for rolled in guards:
        on_all = on_all.and_of(rolled.margins(np.vstack([rejected, thetas]))[0])
    if tables["objective"]["kind"] == "imitation":
        weight = costs = loop.imitation_errors(np.vstack([rejected, thetas]), files.csv_data)
    weight = weight[len(rejected)]  # of the objective: that of the safe start
    least = np.full_like(margins.exact, -np.inf) if dropped_guards(arrays) else on_all.exact
    of_rejected = {"margin": (least, margins.exact, margins.size), "objective": (costs, costs, weight)}
    faults = _rejected_faults(arrays, of_rejected)
    margins, costs = on_all.after(len(rejected)), costs[len(rejected) :]
    recorded = np.append(arrays["margin_initial"], arrays["margin"][committed])
    objectives = np.append(arrays["objective_initial"], arrays["objective"][committed])
    unsafe = np.flatnonzero(~(margins.rounded >= 0))

    faults += law.level_faults() or redraw_faults(
        loop, tables["scenarios"], len(learned[0]["x0"]) if learned else 0
    )  # fmt: skip
    faults += cloud_faults(cloud, tables, arrays) + _file_faults(files, loop)
    if learned:
        faults += _learned_faults(learned, tables["scenarios"], arrays)
    else:
        faults += law.start_faults(arrays["theta_initial"], loop.z0)
    if unsafe.size:
        faults.append(f"committed policy {unsafe[0]} is unsafe: its margin is {down(margins.exact[unsafe[0]], 4)}")
    faults += _apart("margin", margins.exact, recorded, margins.least, margins.most)
    error = AGREEMENT * np.maximum(weight, np.abs(costs))
    faults += _apart("objective", costs, objectives, costs - error, costs + error)
    faults += history_faults(arrays, tables["adapt"], len(loop.z0))
    if not np.array_equal(thetas[-1], files.theta) or not np.array_equal(thetas[-1], arrays["state_theta"]):
        faults.append("theta.npy is not the last committed policy of history.npz")
    if summary.get("digest") == str(arrays["digest"]):
        faults += summary_faults(summary, arrays, metrics, tables["adapt"].get("gradients"))
        bounds = [] if cloud is None else cloud_bounds(cloud)
        faults += binding_faults(loop, bounds, summary.get("binding"), guards[0] if guards else None)
        faults += _final_faults(summary, arrays, loop, tables, thetas[[0, -1]])
    else:
        faults.append(
            "result.json is of another save than history.npz; if the run was killed, `scpo-ctrl adapt` with --resume "
            "mends it"
        )
    more, sets = _set_faults(files, law)
    faults += _proof_faults(files, loop, parts)
    worst = float(margins.exact.min())
    return Verification(len(thetas), len(loop.z0), metrics, worst, int(unsafe.size), (*faults, *more), sets)


def _set_faults(files: _Files, law: Law) -> tuple[list[str], str]:
    """List what does not hold of sets that the backup is said to keep, and say what is proved of them."""
    checks = (proof_faults, files.backup_proof), (polytope_faults, files.polytope)
    found = [check(text, law, files.tables["scenarios"]) for check, text in checks]
    return [fault for faults, _ in found for fault in faults], "; ".join(said for _, said in found if said)


def _proof_faults(files: _Files, loop: ClosedLoop, parts: list[int]) -> list[str]:
    """List what does not hold of a certificate, or a cover, that lies beside the record."""
    faults = []
    if files.certificate is not None:
        of = files.certificate, loop.law, files.tables, loop, files.theta
        faults += certificate_faults(*of)
        for part in parts if not faults else ():
            faults += part_faults(*of, part)
    elif parts:
        faults.append("there is no certificate.json, so no parts of it; `scpo-ctrl certify` makes one")
    if files.cover is not None and not isinstance(files.read, ScpoError):
        faults += cover_faults(files.cover, files.read[0].problem, files.tables, files.theta)
    return faults


def _final_faults(
    summary: dict[str, Any], arrays: dict[str, np.ndarray], loop: ClosedLoop, tables: dict[str, Any], thetas: np.ndarray
) -> list[str]:
    """List what of result.json is not of the first and the final policy: spectral radii, parameters, audits."""
    faults = loop.rest.faults(summary, thetas) + audit_faults(arrays, summary, loop.law, tables)
    return faults + loop.law.parameter_faults(summary.get("parameters"), thetas)


def _file_faults(files: _Files, loop: ClosedLoop) -> list[str]:
    """List where imitation.csv is not the problem's, or the digest not that of the files."""
    faults, objective = [], files.tables["objective"]
    if objective["kind"] == "imitation":
        faults += loop.csv_faults(files.csv_data)
        if objective["csv"] != IMITATION_FILE:
            faults.append(f"problem.toml names another csv than {IMITATION_FILE}, which no save does")
    stored = {name: value for name, value in files.arrays.items() if name != "digest"}
    if str(files.arrays["digest"]) != digest(stored, files.text, files.csv_data):
        faults.append(
            "history.npz, problem.toml or imitation.csv was changed after it was written (the digest differs)"
        )
    return faults


def _guards(loop: ClosedLoop, tables: dict[str, Any], arrays: dict[str, np.ndarray]) -> list[ClosedLoop]:
    """Return the closed loop on the guards of a run, where it has any, and their first steps where these count."""
    if "guard_x0" not in arrays:
        return []
    guards = {f"scenario_{key}": arrays[f"guard_{key}"] for key in ("x0", "p", "w")}
    rolled = [ClosedLoop(loop.law, tables, arrays | guards, loop.rest)]
    return rolled + ([single_steps(loop.law, tables, *guards.values())] if "one_step" in tables["metrics"] else [])


def law_of(tables: dict[str, Any], folder: Path) -> Law:
    """Return the law of a record; Python is not run.

    Parameters
    ----------
    tables : dict
        The problem file.
    folder : pathlib.Path
        Where the files are that it names.

    Returns
    -------
    Law

    Raises
    ------
    ScpoError
        If it does not hold.
    """
    plant = build_plant(tables["plant"], folder)[0]
    if not is_controller(tables):
        return ResidualLaw(plant, tables, folder)
    own = {key: value for key, value in tables["policy"].items() if key not in LOOP_KEYS}
    return ControllerLaw(plant, build_controller(own, plant, folder)[0], tables, folder)


def _check_form(files: _Files) -> None:
    """Refuse a record that is not one of today's form."""
    check_format("history.npz", files.arrays)
    alone = is_controller(files.tables)
    missing = [name for name in SECTIONS if name not in files.tables and not (alone and name == "backup")]
    if missing:
        raise RecordError(f"problem.toml has no section [{missing[0]}]; restore it or run again")


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


def _rejected_faults(arrays: dict[str, np.ndarray], numbers: Mapping[str, tuple[np.ndarray, ...]]) -> list[str]:
    """Name the first rejected row whose numbers are not those of its parameters; diverging ones amplify rounding.

    Numbers are between two: margins on all guards that the run ever had, and on none of them.
    """
    rows, faults = np.flatnonzero(~arrays["committed"].astype(bool)), []
    for name, (least, most, of_all) in numbers.items():
        found, recorded, scale = most[: len(rows)], arrays[name][rows], np.broadcast_to(of_all, most.shape)[: len(rows)]
        size = np.maximum(scale, np.maximum(np.abs(found), np.abs(recorded)))
        between = (least[: len(rows)] - recorded <= _LOOSE * size) & (recorded - found <= _LOOSE * size)
        apart = np.flatnonzero((size < _DIVERGED * scale) & ~between)
        faults += [
            f"rejected row {rows[i]} has {name} {down(found[i], 9)}, the record says {down(recorded[i], 9)}"
            for i in apart[:1]
        ]
    return faults


def _apart(name: str, found: np.ndarray, recorded: np.ndarray, least: np.ndarray, most: np.ndarray) -> list[str]:
    """Name the first committed policy whose recorded number is not what was recomputed, from `least` to `most`."""
    apart = np.flatnonzero(~((least <= recorded) & (recorded <= most)))
    return [
        f"committed policy {i} has {name} {down(found[i], 9)}, the record says {down(recorded[i], 9)}"
        for i in apart[:1]
    ]
