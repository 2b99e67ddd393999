"""What is written into a RUN folder about its policies after the run: certificates, what breaks them, simulations."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.assurance.certificate import Certificate
from scpo_ctrl.assurance.digests import theta_digest
from scpo_ctrl.assurance.falsify import Falsification
from scpo_ctrl.assurance.simulation import Simulation
from scpo_ctrl.errors import RecordError
from scpo_ctrl.invariance.level_set import SetProof
from scpo_ctrl.invariance.polytope import Polytope
from scpo_ctrl.models.varying import signal_count
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.proof.guarded import GuardedRuns
from scpo_ctrl.reading import read_text
from scpo_ctrl.record.atomic import write_together
from scpo_ctrl.record.files import load_result
from scpo_ctrl.record.folder import (
    BACKUP_PROOF_FILE,
    CERTIFICATE_FILE,
    FALSIFIED_FILE,
    FALSIFIED_PICTURE,
    GUARD_FILE,
    POLYTOPE_FILE,
    SIMULATION_FILE,
    SIMULATION_PICTURE,
)
from scpo_ctrl.validate import as_scalar


def save_certificate(run: Path, certificate: Certificate, result: Result) -> None:
    """Write certificate.json.

    Parameters
    ----------
    run : pathlib.Path
        The RUN folder.
    certificate : Certificate
    result : Result
        As it was read from there before.

    Raises
    ------
    RecordError
        If another process has saved another policy there meanwhile.
    OutputError
        If it cannot be written.
    """
    write_beside(run, result, {CERTIFICATE_FILE: certificate.text().encode()})


def save_backup_proof(run: Path, proof: SetProof, problem: ControlProblem, result: Result) -> None:
    """Write backup_proof.json: what is proved of the backup's level set, for what, and how.

    Parameters
    ----------
    run : pathlib.Path
        The RUN folder.
    proof : SetProof
    problem : ControlProblem
        Whose backup and declared set it is of.
    result : Result
        As it was read from there before.

    Raises
    ------
    RecordError
        If another process has saved another policy there meanwhile.
    OutputError
        If it cannot be written.
    """
    write_beside(run, result, {BACKUP_PROOF_FILE: as_json(proof.summary(problem.plant))})


def save_polytope(run: Path, polytope: Polytope, problem: ControlProblem, result: Result) -> None:
    """Write polytope_proof.json: a polytope that the backup keeps, for what, and the multipliers that show it.

    Parameters
    ----------
    run : pathlib.Path
        The RUN folder.
    polytope : Polytope
    problem : ControlProblem
        Whose backup and declared set it is of.
    result : Result
        As it was read from there before.

    Raises
    ------
    RecordError
        If another process has saved another policy there meanwhile.
    OutputError
        If it cannot be written.
    """
    write_beside(run, result, {POLYTOPE_FILE: as_json(polytope.summary(problem.plant))})


def spent_on_backup(run: Path) -> float:
    """Return how long earlier calls have tried to prove the backup's level set, and have not [s].

    Parameters
    ----------
    run : pathlib.Path
        The RUN folder.

    Returns
    -------
    float
        Zero where it is proved, or nothing was tried.

    Raises
    ------
    RecordError
        If backup_proof.json is damaged.
    """
    path = run / BACKUP_PROOF_FILE
    if not path.is_file():
        return 0.0
    try:
        stated = json.loads(read_text(path))
        return 0.0 if stated["proved"] else as_scalar("seconds", stated["seconds"], at_least=0.0)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise RecordError(f"{path} is damaged ({error}); remove it") from error


def save_guarded(run: Path, runs: GuardedRuns, result: Result) -> None:
    """Write guard.json: how often the guard acts on the final policy, where, and what is left of its improvement.

    Parameters
    ----------
    run : pathlib.Path
        The RUN folder.
    runs : GuardedRuns
    result : Result
        As it was read from there before.

    Raises
    ------
    RecordError
        If another process has saved another policy there meanwhile.
    OutputError
        If it cannot be written.
    """
    content = runs.summary() | {"theta_digest": theta_digest(result.theta)}
    write_beside(run, result, {GUARD_FILE: as_json(content)})


def load_guarded(run: Path, result: Result) -> GuardedRuns | None:
    """Return what guard.json holds, None where there is none of this policy.

    Parameters
    ----------
    run : pathlib.Path
        The RUN folder.
    result : Result
        As it was read from there.

    Returns
    -------
    GuardedRuns or None

    Raises
    ------
    RecordError
        If it is damaged.
    """
    path = run / GUARD_FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(read_text(path))
        if content.pop("theta_digest") != theta_digest(result.theta):
            return None
        del content["kept"]
        nx = result.problem.plant.nx if isinstance(result.problem, ControlProblem) else 0
        where = np.array(content.pop("where"), dtype=float).reshape(-1, nx)
        return GuardedRuns(**content, where=where)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise RecordError(f"{path} is damaged ({error}); write it anew with `scpo-ctrl guard`") from error


def save_falsified(run: Path, attack: Falsification, result: Result, labels: Sequence[str], picture: bytes) -> None:
    """Write falsified.toml, a scenario file, and falsified.png.

    Parameters
    ----------
    run : pathlib.Path
        The RUN folder.
    attack : Falsification
        That has found a violation.
    result : Result
        As it was read from there before.
    labels : sequence of str
        Of the plant parameters.
    picture : bytes

    Raises
    ------
    RecordError
        If another process has saved another policy there meanwhile.
    OutputError
        If they cannot be written.
    """
    one = attack.scenario
    scenario = {"horizon": one.horizon, "initial_state": one.x0[0].tolist()}
    drawn = len(labels) - (signal_count(one.declared.plant) if one.declared else 0)  # what varies follows from them
    scenario["parameters"] = dict(zip(labels[:drawn], one.p[0, :drawn].tolist(), strict=True))
    if one.w.size:
        scenario["disturbance"] = one.w[0].tolist()
    violation = {"metric": attack.metric, "by": attack.excess, "unit": attack.unit, "found": attack.means}
    violation["theta_digest"] = theta_digest(result.theta)
    text = tomli_w.dumps({"scenario": scenario, "violation": violation})
    write_beside(run, result, {FALSIFIED_PICTURE: picture, FALSIFIED_FILE: text.encode()})


def save_simulation(run: Path, simulation: Simulation, result: Result, picture: bytes) -> None:
    """Write simulation.json and simulation.png.

    Parameters
    ----------
    run : pathlib.Path
        The RUN folder.
    simulation : Simulation
    result : Result
        As it was read from there before.
    picture : bytes

    Raises
    ------
    RecordError
        If another process has saved another policy there meanwhile.
    OutputError
        If they cannot be written.
    """
    write_beside(run, result, {SIMULATION_PICTURE: picture, SIMULATION_FILE: simulation.text().encode()})


def as_json(content: dict[str, Any]) -> bytes:
    """Return what a file of JSON holds.

    Parameters
    ----------
    content : dict
        Without numbers that are not finite.

    Returns
    -------
    bytes
    """
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()


def write_beside(run: Path, result: Result, files: dict[str, bytes]) -> None:
    """Write files about a final policy into its RUN folder, unless another policy is there by now.

    Parameters
    ----------
    run : pathlib.Path
        The RUN folder.
    result : Result
        As it was read from there before.
    files : dict of str to bytes
        By their names; all of them or none are written.

    Raises
    ------
    RecordError
        If another process has saved another policy there meanwhile.
    OutputError
        If they cannot be written.
    """
    if not np.array_equal(load_result(run).theta, result.theta):
        raise RecordError(f"{run}: another process has saved another policy there meanwhile; try once more")
    write_together({run / name: data for name, data in files.items()})
