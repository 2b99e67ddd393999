"""cover_proof.json: the tree of halvings of a cover, whose policy and problem it is of, and where to go on."""

import json
from pathlib import Path
from typing import Any

from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.assurance.digests import problem_digest, theta_digest
from scpo_ctrl.errors import RecordError
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.proof.closed_loop import CoveredLoop
from scpo_ctrl.proof.cover import Cover
from scpo_ctrl.proof.tree import Tree
from scpo_ctrl.reading import LARGEST_DATA, read_bytes
from scpo_ctrl.record.assurance import as_json, write_beside
from scpo_ctrl.record.folder import COVER_FILE
from scpo_ctrl.version import __version__


def cover_summary(cover: Cover) -> dict[str, Any]:
    """Return what cover_proof.json says.

    Parameters
    ----------
    cover : Cover

    Returns
    -------
    dict
    """
    digests = {"theta_digest": theta_digest(cover.theta), "problem_digest": problem_digest(cover.problem)}
    return cover.summary() | digests | {"version": __version__}


def save_cover(run: Path, cover: Cover, result: Result) -> None:
    """Write cover_proof.json.

    Parameters
    ----------
    run : pathlib.Path
        The RUN folder.
    cover : Cover
    result : Result
        As it was read from there before.

    Raises
    ------
    RecordError
        If another process has saved another policy there meanwhile.
    OutputError
        If it cannot be written.
    """
    write_beside(run, result, {COVER_FILE: as_json(cover_summary(cover))})


def unfinished_cover(run: Path, problem: ControlProblem, result: Result) -> tuple[Tree | None, float]:
    """Return where an earlier cover of the same policy and problem stopped.

    Parameters
    ----------
    run : pathlib.Path
        The RUN folder.
    problem : ControlProblem
    result : Result

    Returns
    -------
    tree : Tree or None
        None where there is none, or one that is done: then the cover begins anew.
    spent : float
        What it took [s].

    Raises
    ------
    RecordError
        If the file is damaged.
    """
    path = run / COVER_FILE
    try:
        stated = json.loads(read_bytes(path, LARGEST_DATA))
    except FileNotFoundError:
        return None, 0.0
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}; remove it") from error
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path}: is damaged ({error}); remove it") from error
    try:
        same = (stated["theta_digest"], stated["problem_digest"]) == (
            theta_digest(result.theta),
            problem_digest(problem),
        )
        if not same or stated["proved"] or stated["refuted"]:
            return None, 0.0
        region = CoveredLoop.of(problem, result.theta).region
        return Tree(region, str(stated["letters"])), float(stated["seconds"])
    except (LookupError, TypeError, ValueError) as error:
        raise RecordError(f"{path}: is damaged ({type(error).__name__}: {error}); remove it") from error
