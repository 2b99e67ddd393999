"""Proof that the backup of a problem keeps its level set, for all that its scenarios declare."""

import time
from dataclasses import replace

import casadi as ca
import numpy as np

from scpo_ctrl.choices import SECONDS
from scpo_ctrl.errors import DomainError
from scpo_ctrl.invariance.intervals import NoEnclosureError
from scpo_ctrl.invariance.jacobians import SLACK, Law
from scpo_ctrl.invariance.level_set import FEW_BOXES, MOST_BOXES, SetProof, prove_level_set
from scpo_ctrl.loop.controlled import ControllerPolicy, LoopPolicy
from scpo_ctrl.models import Plant
from scpo_ctrl.models.instructions import instructions
from scpo_ctrl.models.operations import CODES
from scpo_ctrl.models.units import Units
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.proof.obstacles import explained

_PER_SECOND, _FEWEST = 50, 200  # boxes that a first round may look at
_GROWS, _WORTH = 4.0, 1.5  # most and least by which a round has more boxes than the last
_WITH_KINKS = (
    "fabs",
    "sign",
    "fmin",
    "fmax",
    "fmod",
    "floor",
    "ceil",
    "copysign",
    "lt",
    "le",
    "eq",
    "ne",
    "if_else_zero",
)
_UNDECIDED = "not decided"  # more boxes may help
NARROWER = "proved without the disturbances that are declared"


def declared_ranges(problem: ControlProblem) -> tuple[np.ndarray, np.ndarray]:
    """Return ranges of parameters (np, 2) and half widths of the disturbance of the set that a problem declares.

    Parameters
    ----------
    problem : ControlProblem

    Returns
    -------
    ranges, half : numpy.ndarray

    Raises
    ------
    DomainError
        If its scenarios declare none, or a black box is in the plant's place.
    """
    declared = problem.scenarios.declared
    if problem.has_simulator:
        raise DomainError("a black box has no Jacobian to enclose; only of a plant's model can something be proved")
    if declared is None:
        raise DomainError("the scenarios declare no set; draw them with scpo_ctrl.scenarios")
    return declared.ranges, declared.half


def prove_backup_set(
    policy: LoopPolicy,
    ranges: np.ndarray,
    half: np.ndarray | None = None,
    *,
    most_boxes: int = MOST_BOXES,
) -> SetProof:
    """Prove that no state leaves the backup's level set, and that it is inside all bounds.

    Parameters
    ----------
    policy : Policy or ControllerPolicy
        Whose backup it is: an LQR, or the controller as it runs today.
    ranges : numpy.ndarray, shape (np, 2)
        Of the plant parameters; those that vary over time take any value that their signals reach.
    half : numpy.ndarray, shape (nx,), optional
        Half widths of the disturbance.
    most_boxes : int
        Where to give up.

    Returns
    -------
    SetProof
        If ρ is not proved, of the largest part of it that is found to be.

    Raises
    ------
    NoEnclosureError
        If an operation of the plant has no enclosure, as those that have a kink.
    DomainError
        If the Jacobian depends on too many variables.
    """
    backup = policy.backup
    try:
        return prove_level_set(backup_law(policy), backup.P, backup.rho, ranges, half, most_boxes=most_boxes)
    except NoEnclosureError as error:
        why = _kinks(policy.plant) or str(error)
        raise NoEnclosureError(
            f"of plant {policy.plant.name!r} no Jacobian can be enclosed: {why}; write it without kinks (a saturation "
            "or a dead zone as a smooth function), or certify by scenarios (--kind scenario)"
        ) from error


def _kinks(plant: Plant) -> str:
    """Name the operations of a plant's equations that have a kink or a step; empty if there are none."""
    f = ca.Function("f", [plant.x, plant.u, plant.p], [plant.f])
    there = {step.operation for step in instructions(f)}
    names = [name for name in _WITH_KINKS if CODES[name] in there]
    return f"its equations have {', '.join(names)}" if names else ""


def prove_in_time(
    policy: LoopPolicy,
    ranges: np.ndarray,
    half: np.ndarray | None = None,
    *,
    seconds: float = SECONDS,
    spent: float = 0.0,
) -> tuple[SetProof, bool]:
    """Prove the same by more and more boxes, until it is proved, more of them do not help, or time is up.

    Parameters
    ----------
    policy : Policy or ControllerPolicy
    ranges : numpy.ndarray, shape (np, 2)
        Of the plant parameters.
    half : numpy.ndarray, shape (nx,), optional
        Half widths of the disturbance.
    seconds : float
        After which no other round begins [s].
    spent : float
        What earlier calls took, which ended without a proof [s]: this one begins with more boxes.

    Returns
    -------
    proof : SetProof
        Its seconds are those of all calls. Where not all is proved, `blocks` says why, see `explained`.
    finished : bool
        Whether more time would not help.

    Raises
    ------
    DomainError
        See `prove_backup_set`.
    """
    began = time.monotonic()
    most = max(_FEWEST, int(_PER_SECOND * (spent + seconds)))
    most = most if spent else min(most, MOST_BOXES)
    while True:
        proof = prove_backup_set(policy, ranges, half, most_boxes=most)
        left = seconds - (time.monotonic() - began)
        finished = proof.proved or not (most < MOST_BOXES or proof.blocks.startswith(_UNDECIDED))
        more = min(_GROWS, left / max(proof.seconds, 1e-3))
        if finished or more < _WORTH:
            break
        most = int(more * most)
    proof = explained(backup_law(policy), policy.backup.P, proof, seconds=left)
    return replace(proof, seconds=spent + time.monotonic() - began), finished


def standing(problem: ControlProblem) -> str:
    """Return what stands behind the backup's level set, for all that the scenarios of a problem declare.

    Parameters
    ----------
    problem : ControlProblem

    Returns
    -------
    str
        `Backup.evidence` for the ranges of the scenarios, or `NARROWER` where no proof of a few seconds has their
        disturbances too.
    """
    claim, declared = problem.backup.claim, problem.scenarios.declared
    if claim is None or declared is None:
        return problem.backup.evidence
    half = declared.half  # as the claim has it, but for rounding
    half = half / Units.of(problem.plant).x * (1 - SLACK) if half.size else half
    if claim.proof is not None and claim.proof.covers(declared.ranges, half):
        return claim.evidence
    moves = np.array(ca.which_depends(problem.plant.f, problem.plant.p, 1, False), dtype=bool)
    low, high = np.where(moves[:, None], declared.ranges, claim.ranges).T  # and not the numbers of a signal
    within = (claim.ranges[:, 0] <= low).all() and (claim.ranges[:, 1] >= high).all()
    ranges = np.column_stack([low, high])
    evidence = (claim if within else replace(claim, ranges=ranges, simulated=False, found=None)).evidence
    if evidence != "proved" or not half.any():
        return evidence
    try:
        proved = prove_level_set(claim.law, claim.P, claim.rho, ranges, half, most_boxes=FEW_BOXES, search=False).proved
    except DomainError:  # disturbances are more variables, and may be too many
        proved = False
    return evidence if proved else NARROWER


def backup_law(policy: LoopPolicy) -> Law:
    """Return the law of the backup: its gain, or the expression of a controller where it is no straight line.

    Parameters
    ----------
    policy : Policy or ControllerPolicy

    Returns
    -------
    Law
    """
    plant, backup = policy.plant, policy.backup
    if not isinstance(policy, ControllerPolicy):
        return Law(plant, backup.K)
    s, p = ca.SX.sym("s", plant.nx), ca.SX.sym("p", plant.npar)
    command = policy.at_start(s, p)
    slope = ca.simplify(ca.jacobian(command, ca.vertcat(s, p)))
    is_affine = not ca.depends_on(slope, ca.vertcat(s, p)) and not ca.depends_on(command, p)
    return Law(plant, backup.K, None if is_affine else policy.at_start)
