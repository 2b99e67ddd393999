"""Proof that a law keeps a level set: for all states in it, all parameters and disturbances in their ranges.

In the norm √V no state of {V ≤ ρ} leaves it if ‖J‖ √ρ + ‖d‖ + ‖w‖ ≤ √ρ for all Jacobians J of the loop on it, the
drift d of its equilibrium and the disturbance w (see `jacobians`). Corners of boxes are evaluated, second derivatives
enclosed, boxes halved where that does not do, and left out where no state of the set has a part in them.

A parameter may change from step to step: the proof is of one step, for any value in range.
"""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import casadi as ca
import numpy as np

from scpo_ctrl.invariance.intervals import Interval, enclosure
from scpo_ctrl.invariance.jacobians import SLACK, Bounds, Jacobians, Law, LevelSet, jacobians
from scpo_ctrl.models import Plant
from scpo_ctrl.models.varying import drawn_ranges, first_varying, still

WHOLE = 1 - 4 * SLACK  # of ρ, which is the largest level inside all bounds but for rounding: what is to be proved
MOST_BOXES = 30_000
FEW_BOXES = 4000  # of a proof that nobody waits for: about two seconds
_CLOSING = 0.5  # part of the boxes left that it must close then, to be used from there on
_MARGINAL = 1800  # boxes after which the mean of the Jacobian along rays is tried on all that are left
_AT_ONCE = 1 << 16  # corners
_AHEAD = 8  # most halvings before a box is looked at again
_MOST = 0.7  # part of boxes that so many halvings are to do for
_UNKNOWN = 0.25  # of what is added that is tried where a corner, of a part outside the set, leaves no room
_TOGETHER = 1 << 13  # corners of boxes that may be made by them
_LEVELS = 12  # halvings of the search for the largest level
_CLOSED, _OUTSIDE, _BY_MEAN = -1, -2, -3  # of a box that is not halved, see `SetProof.splits`


@dataclass(frozen=True)
class SetProof:
    """What was proved of a level set, or what is in the way."""

    proved: bool  # of {V ≤ ρ}, ρ rounded down by a few parts in 1e9
    level: float  # part of ρ for which it is proved, 0 if for none
    rho: float
    boxes: int  # looked at for the level that is proved, or for ρ
    seconds: float
    contraction: float  # the largest bound of √(V(x⁺) / V(x)) without drift and disturbance, at that level
    drift: float  # of parameters, in parts of √ρ
    disturbance: float  # in parts of √ρ
    variables: tuple[str, ...]  # that the Jacobian or the drift depends on
    blocks: str  # what is in the way of the whole level; empty where it is proved
    ranges: np.ndarray = field(repr=False)  # (np, 2) of the parameters, as it was proved for
    half: np.ndarray = field(repr=False)  # (nx,) half widths of the disturbance, or (0,)
    splits: tuple[np.ndarray, ...] = field(repr=False)
    """Of the boxes of each generation in order, the variable that each is halved across; -1 where it is closed by J, -3
    by J̄, -2 where no state of the set has a part in it. The next generation is all lower halves, then all upper."""
    tilt: float = 0.0  # of the cones of J̄, see `cones`

    def sentence(self) -> str:
        """Return what is proved, in words."""
        how = f"{self.boxes} box{'es' * (self.boxes != 1)}, {self.seconds:.2g} s"
        says = "no state of it leaves it, or a bound, in any step under the backup"
        if self.proved:
            return f"proved of {{V <= rho}}: {says} ({how})"
        part = f"; of {{V <= {self.level:.3g} rho}} it is proved ({how})" if self.level else ""
        return f"not proved of {{V <= rho}}: {self.blocks}{part}"

    def covers(self, ranges: np.ndarray, half: np.ndarray) -> bool:
        """Whether it was proved for at least these ranges and disturbances.

        Parameters
        ----------
        ranges : numpy.ndarray, shape (np, 2)
        half : numpy.ndarray, shape (nx,) or (0,)

        Returns
        -------
        bool
        """
        wide = (self.ranges[:, 0] <= ranges[:, 0]).all() and (self.ranges[:, 1] >= ranges[:, 1]).all()
        pushed = not half.any() or (self.half.size > 0 and (self.half >= half).all())
        return bool(self.proved and wide and pushed)

    def summary(self, plant: Plant) -> dict[str, Any]:
        """Return what is written of it.

        Parameters
        ----------
        plant : Plant

        Returns
        -------
        dict
        """
        first = first_varying(plant)
        parameters = {plant.p_labels[i]: self.ranges[i].tolist() for i in still(plant)}
        reached = plant.p_labels[first : first + len(plant.signals)]
        signals = {label: list(of.reach) for label, of in zip(reached, plant.signals, strict=True)}
        return {
            "kind": "backup",
            "proved": self.proved,
            "level": self.level,
            "rho": self.rho,
            "boxes": self.boxes,
            "seconds": self.seconds,
            "contraction": self.contraction if np.isfinite(self.contraction) else None,
            "drift": self.drift if np.isfinite(self.drift) else None,
            "disturbance": self.disturbance,
            "variables": list(self.variables),
            "blocks": self.blocks,
            "parameters": parameters,
            "signals": signals,
            "disturbance_half": self.half.tolist(),
            "tilt": self.tilt,
            "splits": [generation.tolist() for generation in self.splits],
        }


@dataclass(frozen=True)
class _Held:
    """Whether a level holds, and what was seen."""

    holds: bool
    boxes: int = 0
    norm: float = np.inf
    drift: float = np.inf  # in parts of √ρ, whatever the level
    blocks: str = ""
    splits: tuple[np.ndarray, ...] = ()


def prove_level_set(
    law: Law,
    P: np.ndarray,
    rho: float,
    ranges: np.ndarray,
    half: np.ndarray | None = None,
    *,
    most_boxes: int = MOST_BOXES,
    search: bool = True,
) -> SetProof:
    """Prove that no state leaves {V ≤ ρ} under a law, and that it is inside all bounds.

    Parameters
    ----------
    law : Law
    P : numpy.ndarray, shape (nx, nx)
        Symmetric positive definite.
    rho : float
    ranges : numpy.ndarray, shape (np, 2)
        Of the plant parameters; those that vary over time take any value that their signals reach.
    half : numpy.ndarray, shape (nx,), optional
        Half widths of the disturbance.
    most_boxes : int
        Where to give up.
    search : bool
        Whether to look for the largest part of ρ where ρ itself is not proved.

    Returns
    -------
    SetProof

    Raises
    ------
    NoEnclosureError
        If an operation of the plant has no enclosure, as those that have a kink.
    DomainError
        If the Jacobian depends on too many variables.
    """
    began = time.perf_counter()
    ranges, half = np.asarray(ranges, dtype=float), np.zeros(0) if half is None else np.asarray(half, dtype=float)
    reached, level_set = reached_ranges(law.plant, ranges), LevelSet.of(P, rho)
    loop = jacobians(law, level_set, reached)
    pushed = largest_push(level_set.T, half) if half.size else 0.0

    def held(level: float, most: int) -> _Held:
        outside = _outside(law, level_set, reached, level)
        return _Held(False, blocks=outside) if outside else _held(loop, level, pushed, most)

    whole = held(WHOLE, most_boxes)
    level, at = (WHOLE, whole) if whole.holds else (0.0, None)
    if search and not whole.holds:
        level, at = _largest(partial(held, most=most_boxes // _LEVELS))
    at = at or whole
    spent = time.perf_counter() - began
    return SetProof(
        whole.holds, level, rho, at.boxes, spent, at.norm, at.drift, pushed, loop.labels, whole.blocks, ranges, half,
        at.splits if level else (), loop.tilt,
    )  # fmt: skip


def reached_ranges(plant: Plant, ranges: np.ndarray) -> np.ndarray:
    """Return ranges with those of what varies over time, and of the numbers of signals, which f does not depend on.

    Parameters
    ----------
    plant : Plant
    ranges : numpy.ndarray, shape (np, 2)

    Returns
    -------
    numpy.ndarray, shape (np, 2)
    """
    ranges, first = ranges.copy(), first_varying(plant)
    for i, ends in drawn_ranges(plant).items():
        ranges[i] = ends
    for k, signal in enumerate(plant.signals):
        ranges[first + k] = signal.reach
    if plant.signals:
        ranges[-1] = 0.0, np.inf
    return ranges


def largest_push(T: np.ndarray, half: np.ndarray) -> float:
    """Return the largest length of a disturbance, in parts of √ρ.

    Parameters
    ----------
    T : numpy.ndarray, shape (nx, nx)
    half : numpy.ndarray, shape (nx,)

    Returns
    -------
    float
    """
    pushed = np.flatnonzero(half)
    if pushed.size > 16:  # corners are too many
        return float(np.linalg.norm(T[:, pushed], axis=0) @ half[pushed]) * (1 + SLACK)
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=pushed.size)))
    return float(np.linalg.norm(signs * half[pushed] @ T[:, pushed].T, axis=1).max()) * (1 + SLACK)


def _outside(law: Law, level_set: LevelSet, ranges: np.ndarray, level: float) -> str:
    """Name the first bound that a part of the level set is beyond, or the command on it; empty if none is."""
    plant, grown = law.plant, np.sqrt(level) * (1 + SLACK)
    spans = [("x", plant.x_eq - grown * level_set.extent, plant.x_eq + grown * level_set.extent)]
    if law.curved is None:
        commanded = grown * np.linalg.norm(law.K @ level_set.back, axis=1)
        spans.append(("u", plant.u_eq - commanded, plant.u_eq + commanded))
    else:
        both = ca.SX.sym("both", plant.nx + plant.npar)
        command = ca.Function("command", [both], [law.command(both[: plant.nx], both[plant.nx :])])
        ends = (np.append(spans[0][1], ranges[:, 0])[None], np.append(spans[0][2], ranges[:, 1])[None])
        (found,) = enclosure(command, Interval(*ends))
        spans.append(("u", found.low[0, :, 0], found.high[0, :, 0]))
    for stem, low, high in spans:
        least, most = getattr(plant, f"{stem}_min"), getattr(plant, f"{stem}_max")
        beyond = np.flatnonzero((low < least) | (high > most))
        if beyond.size:
            return f"the set reaches beyond the bounds of {getattr(plant, f'{stem}_labels')[beyond[0]]}"
    return ""


def _held(loop: Jacobians, level: float, pushed: float, most_boxes: int) -> _Held:
    """Return whether {V ≤ level · ρ} is kept, by boxes."""
    if loop.set.rounding > SLACK:
        return _Held(False, blocks="its shape is so thin that rounding decides; count in other units")
    size = np.sqrt(level)
    low, high = _root(loop, size)
    chunk, plan = max(1, _AT_ONCE >> low.shape[1]), np.full((1, _AHEAD), _CLOSED)
    seen, largest, splits, mean, next_try = 0, (0.0, 0.0), [], False, _MARGINAL
    while len(low):
        plan[loop.outside(low, high, size)] = _OUTSIDE
        tried = np.flatnonzero(plan[:, 0] == _CLOSED)
        seen += len(tried)
        for start in range(0, len(tried), chunk):
            some = tried[start : start + chunk]
            bounds, closed, largest = _bounded(loop, low[some], high[some], size, pushed, largest)
            mean = mean or bool(_lost(bounds, closed, size, pushed).any())
            if not closed.all() and (mean or seen > next_try) and loop.of_set.any():  # else they are the same
                left = some[~closed]
                found = _bounded(loop, low[left], high[left], size, pushed, largest, mean=True)
                plan[left[found[1]], 0] = _BY_MEAN
                mean, largest = mean or bool(found[1].mean() >= _CLOSING), found[2]
                if mean:
                    some, bounds, closed = left, *found[:2]
                else:  # what is halved next is what matters to the Jacobian itself
                    next_try, closed[~closed] = 2 * seen, found[1]
            lost = _lost(bounds, closed, size, pushed)
            if lost.any() or (seen > most_boxes and not closed.all()):
                blocks = _blocking(loop, low[some], high[some], bounds, size, lost=bool(lost.any()))
                blocks = blocks if lost.any() else f"not decided after {seen} boxes: {blocks}"
                return _Held(False, seen, *largest, blocks)
            if not closed.all():
                plan[some[~closed]] = _planned(bounds, ~closed, size, pushed)
        splits.append(plan[:, 0].copy())
        low, high = halved(low, high, plan[:, 0])
        rest = plan[plan[:, 0] >= 0, 1:]
        plan = np.tile(np.pad(rest, ((0, 0), (0, 1)), constant_values=_CLOSED), (2, 1))
    return _Held(True, seen, *largest, "", tuple(splits))


def _bounded(
    loop: Jacobians,
    low: np.ndarray,
    high: np.ndarray,
    size: float,
    pushed: float,
    largest: tuple[float, float],
    *,
    mean: bool = False,
) -> tuple[Bounds, np.ndarray, tuple[float, float]]:
    """Return bounds on boxes, which boxes they close, and the largest norm and drift of those closed so far."""
    bounds = loop.bounds(low, high, size, mean=mean)
    norms, drifts = bounds.largest
    closed = (norms + SLACK) * size + drifts + pushed <= size * (1 - SLACK)
    norm, drift = (max(a, float(b[closed].max(initial=0.0))) for a, b in zip(largest, (norms, drifts), strict=True))
    return bounds, closed, (norm, drift)


def _lost(bounds: Bounds, closed: np.ndarray, size: float, pushed: float) -> np.ndarray:
    """Return at which corners inside a level set the step is too long, whatever is between them, shape (n, 2^k)."""
    norms, drifts = bounds.at_corners
    too_long = norms * size + drifts + pushed > size
    return np.asarray(too_long if bounds.effect.shape[1] else ~closed[:, None])


def _planned(bounds: Bounds, which: np.ndarray, size: float, pushed: float) -> np.ndarray:
    """Return which variables boxes are to be halved across, one after the other, shape (n, _AHEAD), -1 after the last.

    A halved width adds a quarter. All are halved as often as most of them need: the bounds of a thousand boxes take not
    much longer than those of one.
    """
    effect, rows = bounds.effect[which], np.arange(int(which.sum()))
    with np.errstate(invalid="ignore", divide="ignore"):
        effect = effect / effect.sum(axis=1, keepdims=True)
        norms, drifts, of_norm, of_drift = (part[which] for part in (*bounds.largest, *bounds.added))
        room = 1 - (norms - of_norm) - (drifts - of_drift + pushed) / size
        part = room / (of_norm + of_drift / size)  # of what is added that there is room for
        part = np.where(part > 0, part, _UNKNOWN)
    plan = np.full((len(rows), _AHEAD), _CLOSED)
    with np.errstate(invalid="ignore"):
        for step in range(_AHEAD):
            enough = np.quantile(effect.sum(axis=1) - part, _MOST) <= 0
            if step and (enough or len(rows) << step + effect.shape[1] > _TOGETHER):
                break
            plan[:, step] = effect.argmax(axis=1)
            effect[rows, plan[:, step]] /= 4
    return plan


def _root(loop: Jacobians, size: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the box that all others are halves of."""
    reach = loop.reach * np.where(loop.of_set, size, 1.0) * (1 + SLACK)
    low, high = loop.middle - reach, loop.middle + reach
    for _ in range(2):  # what the sums have rounded
        low, high = np.nextafter(low, -np.inf), np.nextafter(high, np.inf)
    return low[None], high[None]


def halved(low: np.ndarray, high: np.ndarray, decided: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the next generation of boxes: the lower halves in order, then the upper halves.

    Parameters
    ----------
    low, high : numpy.ndarray, shape (n, k)
    decided : numpy.ndarray, shape (n,)
        Which variable to halve across, negative where not.

    Returns
    -------
    low, high : numpy.ndarray
    """
    parents = np.flatnonzero(decided >= 0)
    low, high, which, rows = low[parents], high[parents], decided[parents], np.arange(len(parents))
    middle = (low[rows, which] + high[rows, which]) / 2
    left, right = high.copy(), low.copy()
    left[rows, which], right[rows, which] = middle, middle
    return np.vstack([low, right]), np.vstack([left, high])


def _largest(held: Callable[[float], _Held]) -> tuple[float, _Held | None]:
    """Return the largest part of ρ that is found to hold, by halving; zero where none is."""
    low, high, best = 0.0, WHOLE, None
    for _ in range(_LEVELS):
        middle = (low + high) / 2
        found = held(middle)
        low, high, best = (middle, high, found) if found.holds else (low, middle, best)
    return low, best


def _blocking(loop: Jacobians, low: np.ndarray, high: np.ndarray, bounds: Bounds, size: float, *, lost: bool) -> str:
    """Say in words where a set is not shown to be kept: at the worst corner of boxes, or on the worst box."""
    norms, drifts = bounds.at_corners if lost else (each[:, None] for each in bounds.largest)
    worst = np.unravel_index(int(np.argmax(norms + drifts / size)), norms.shape)
    norm, drift = float(norms[worst]), float(drifts[worst])
    ends = zip(loop.labels, low[worst[0]], high[worst[0]], strict=True)
    where = ", ".join(f"{label} in [{a:.4g}, {b:.4g}]" for label, a, b in ends)
    at = f" at {where}" if where else ""
    return f"a step may multiply the length by {norm:.4g}" + (f" and add {drift:.3g}" if drift > SLACK else "") + at
