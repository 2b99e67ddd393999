"""SHA-256 of what a certificate is of: the policy, and all of the problem that decides on a violation."""

import hashlib
import json

import numpy as np

from scpo_ctrl.problem.control_problem import ControlProblem

SECTIONS = ("plant", "backup", "policy", "scenarios", "metrics")  # of a problem file, on which a violation depends


def theta_digest(theta: np.ndarray) -> str:
    """Return the SHA-256 of parameters, as float64 with the low byte first.

    Parameters
    ----------
    theta : numpy.ndarray, shape (d,)

    Returns
    -------
    str
    """
    return hashlib.sha256(np.ascontiguousarray(theta, dtype="<f8").tobytes()).hexdigest()


def problem_digest(problem: ControlProblem) -> str | None:
    """Return the SHA-256 of what decides on a violation: sections of the problem file, every default filled in.

    Parameters
    ----------
    problem : ControlProblem

    Returns
    -------
    str or None
        None where no problem file describes it, or a black box is in the plant's place.
    """
    if problem.tables is None or problem.has_simulator:
        return None
    sections = {name: dict(problem.tables[name]) for name in SECTIONS if name in problem.tables}
    sections["scenarios"].pop("learned", None)  # the name of a file, whose digest is beside it
    return hashlib.sha256(json.dumps(sections, sort_keys=True).encode()).hexdigest()
