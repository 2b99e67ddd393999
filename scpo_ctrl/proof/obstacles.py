"""Why a level set is not proved: the parameter, its worst vertex, and how wide its range may be."""

import itertools
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from scpo_ctrl.invariance.jacobians import Law, LevelSet
from scpo_ctrl.invariance.level_set import FEW_BOXES, SetProof, prove_level_set, reached_ranges
from scpo_ctrl.invariance.singular import loop_at_rest, singular_parameter
from scpo_ctrl.models.varying import still

SECONDS = 30.0  # of the search for ranges that hold
_HALVINGS = 6
_MOST_VERTICES = 1 << 10


def explained(law: Law, P: np.ndarray, proof: SetProof, *, seconds: float = SECONDS) -> SetProof:
    """Return a proof whose `blocks` says more where not all of ρ is proved.

    A parameter whose range straddles a singularity is named. Otherwise the vertex of the ranges at which a step from
    near rest is worst, and the largest ranges about the nominal values, or disturbances, for which all of ρ is proved.

    Parameters
    ----------
    law : Law
    P : numpy.ndarray, shape (nx, nx)
    proof : SetProof
    seconds : float
        After which no other range is tried [s].

    Returns
    -------
    SetProof
    """
    if proof.proved:
        return proof
    varied = [i for i in still(law.plant) if proof.ranges[i, 1] > proof.ranges[i, 0]]
    if singular := singular_parameter(law, proof.ranges):
        return replace(proof, blocks=f"{proof.blocks}; {singular}")
    more = _worst_vertex(law, LevelSet.of(P, proof.rho), proof.ranges, varied)
    more += _holding(law, P, proof, varied, time.monotonic() + seconds)
    return replace(proof, blocks="; ".join([proof.blocks, *more]))


def _worst_vertex(law: Law, level_set: LevelSet, ranges: np.ndarray, varied: list[int]) -> list[str]:
    """Say at which vertex of the ranges a step from near rest is worst, if it grows there."""
    plant, at_rest = law.plant, loop_at_rest(law)
    if not varied or 2 ** len(varied) > _MOST_VERTICES:
        return []
    corners = np.tile(reached_ranges(plant, ranges).mean(axis=1), (2 ** len(varied), 1))
    corners[~np.isfinite(corners)] = 0.0
    corners[:, varied] = list(itertools.product(*ranges[varied]))
    found = [[np.array(part) for part in at_rest(corner)] for corner in corners]
    norms = np.array([np.linalg.norm(level_set.T @ J @ level_set.back, 2) for J, _ in found])
    drifts = np.array([np.linalg.norm(level_set.T @ d) for _, d in found])
    worst = int(np.argmax(norms + drifts))
    if norms[worst] + drifts[worst] <= 1:
        return []
    at = ", ".join(f"{plant.p_labels[i]} = {corners[worst, i]:g}" for i in varied)
    moved = f", and adds {drifts[worst]:.3g}" if drifts[worst] > 1e-6 else ""
    return [f"the worst vertex is {at}, where it multiplies the length by {norms[worst]:.4g} near rest{moved}"]


def _holding(law: Law, P: np.ndarray, proof: SetProof, varied: list[int], until: float) -> list[str]:
    """Say for how wide ranges, or how large disturbances, all of ρ is proved, if for any."""
    plant, nominal = law.plant, law.plant.p_nominal[:, None]

    def narrowed(part: float) -> bool:
        ranges = proof.ranges.copy()
        ranges[varied] = (nominal + part * (ranges - nominal))[varied]
        return prove_level_set(law, P, proof.rho, ranges, proof.half, most_boxes=FEW_BOXES, search=False).proved

    def weakened(part: float) -> bool:
        half = part * proof.half
        return prove_level_set(law, P, proof.rho, proof.ranges, half, most_boxes=FEW_BOXES, search=False).proved

    if varied and (part := _largest(narrowed, until)) is not None:
        ends = nominal + part * (proof.ranges - nominal)
        ranges = ", ".join(f"{plant.p_labels[i]} in [{ends[i, 0]:.4g}, {ends[i, 1]:.4g}]" for i in varied)
        return [f"all of it would be proved for {ranges}"]
    if proof.half.any() and (part := _largest(weakened, until)) is not None:
        return [f"all of it would be proved for {100 * part:.3g} % of the disturbance"]
    return []


def _largest(holds: Callable[[float], bool], until: float) -> float | None:
    """Return the largest part that is found to hold, None where none does."""
    if time.monotonic() > until or not holds(0.0):
        return None
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        if time.monotonic() > until:
            break
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
