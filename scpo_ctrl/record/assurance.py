"""What is written into a RUN folder about its policies after the run: certificates, what breaks them, simulations."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tomli_w

from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.assurance.certificate import Certificate, theta_digest
from scpo_ctrl.assurance.falsify import Falsification
from scpo_ctrl.assurance.simulation import Simulation
from scpo_ctrl.errors import RecordError
from scpo_ctrl.models.varying import signal_count
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.proof.backup_set import SetProof, declared_ranges
from scpo_ctrl.record.atomic import write_together
from scpo_ctrl.record.files import load_result
from scpo_ctrl.record.folder import (
    BACKUP_PROOF_FILE,
    CERTIFICATE_FILE,
    FALSIFIED_FILE,
    FALSIFIED_PICTURE,
    SIMULATION_FILE,
    SIMULATION_PICTURE,
)


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
    check_same(run, result)
    write_together({run / CERTIFICATE_FILE: certificate.text().encode()})


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
    check_same(run, result)
    text = json.dumps(proof.summary(problem.plant, *declared_ranges(problem)), indent=2, allow_nan=False)
    write_together({run / BACKUP_PROOF_FILE: (text + "\n").encode()})


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
    check_same(run, result)
    one = attack.scenario
    scenario = {"horizon": one.horizon, "initial_state": one.x0[0].tolist()}
    drawn = len(labels) - (signal_count(one.declared.plant) if one.declared else 0)  # what varies follows from them
    scenario["parameters"] = dict(zip(labels[:drawn], one.p[0, :drawn].tolist(), strict=True))
    if one.w.size:
        scenario["disturbance"] = one.w[0].tolist()
    violation = {"metric": attack.metric, "by": attack.excess, "unit": attack.unit, "found": attack.means}
    violation["theta_digest"] = theta_digest(result.theta)
    text = tomli_w.dumps({"scenario": scenario, "violation": violation})
    write_together({run / FALSIFIED_PICTURE: picture, run / FALSIFIED_FILE: text.encode()})


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
    check_same(run, result)
    write_together({run / SIMULATION_PICTURE: picture, run / SIMULATION_FILE: simulation.text().encode()})


def check_same(run: Path, result: Result) -> None:
    """Refuse to write beside another policy than was read.

    Parameters
    ----------
    run : pathlib.Path
        The RUN folder.
    result : Result
        As it was read from there before.

    Raises
    ------
    RecordError
        If another process has saved another policy there meanwhile.
    """
    if not np.array_equal(load_result(run).theta, result.theta):
        raise RecordError(f"{run}: another process has saved another policy there meanwhile; try once more")
