"""Covers: a policy keeps every metric from all points of its declared set, by enclosures of the closed loop on boxes.

Boxes of the declared set are enclosed over the whole horizon; one that is not proved is halved, across the number that
adds most to what is in the way, until all are proved, a point of one violates, or time is up. What remains are a tree
of halvings and a list of boxes that are not decided, from which a second call goes on.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.choices import BOXES, SECONDS
from scpo_ctrl.errors import DomainError
from scpo_ctrl.loop.batch import Scenarios
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.problem.parts import ROUNDING
from scpo_ctrl.proof.closed_loop import ALLOWED, CoveredLoop
from scpo_ctrl.proof.cover_words import for_ever, over_the_horizon
from scpo_ctrl.proof.judge import Judgement, judge
from scpo_ctrl.proof.tree import DECIDED, DEEPEST, UNDECIDED, Tree
from scpo_ctrl.rounding import up
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.validate import as_array, as_count, as_function, as_scalar

_AT_ONCE = 2048  # boxes
_TRIED = 256  # of those that fail, points rolled out: so many at once


@dataclass(frozen=True)
class Cover:
    """What a cover has proved, or what it has found."""

    problem: ControlProblem
    theta: np.ndarray  # (d,)
    tree: Tree
    seconds: float  # of all calls
    counterexample: Scenarios | None  # one scenario that violates
    blocks: str  # the metric most boxes that are not decided failed at; empty where all are proved

    @property
    def proved(self) -> bool:
        """Whether every point of the declared set keeps every metric."""
        return not self.refuted and self.tree.is_closed

    @property
    def refuted(self) -> bool:
        """Whether a point of it violates one."""
        return self.counterexample is not None

    @property
    def undecided(self) -> float:
        """Which part of the set is not decided, about."""
        return self.tree.undecided

    @property
    def horizon_sentence(self) -> str:
        """What is said of the horizon, where it is proved."""
        return over_the_horizon(self.problem)

    @property
    def forever_sentence(self) -> str:
        """What follows from it for all times, or why nothing does."""
        return for_ever(self.problem)

    def sentence(self) -> str:
        """Return in words what was found, and no more.

        Returns
        -------
        str
        """
        count = f"{self.tree.count:,}".replace(",", " ")
        how = f"({count} boxes, {self.seconds:.3g} s)"
        if self.refuted:
            return f"refuted: a point of the declared set violates {how}"
        if self.proved:
            return f"proved {how}: {self.horizon_sentence}; {self.forever_sentence}"
        part = up(100 * self.undecided, 3)
        blocks = f"; in the way is {self.blocks}" if self.blocks else ""
        return f"not decided on {part} % of the declared set {how}{blocks}"

    def summary(self) -> dict[str, Any]:
        """Return what is written of it.

        Returns
        -------
        dict
        """
        region, found = self.tree.region, self.counterexample
        point = None
        if found is not None:
            point = {"initial_state": found.x0[0].tolist(), "parameters": found.p[0].tolist()}
            point |= {"disturbance": found.w[0].tolist()} if found.w.size else {}
        return {
            "kind": "cover",
            "proved": self.proved,
            "refuted": self.refuted,
            "undecided_percent": 0.0 if self.proved else 100 * self.undecided,
            "sentence": self.sentence(),
            "blocks": self.blocks,
            "boxes": self.tree.count,
            "seconds": self.seconds,
            "allowed": ALLOWED,
            "level": region.declared.level,
            "widened": region.widened,
            "cones": region.cones,
            "numbers": list(region.labels),
            "counterexample": point,
            "letters": self.tree.letters,
        }


def cover(
    problem: ControlProblem,
    theta: ArrayLike,
    *,
    seconds: float = SECONDS,
    boxes: int = BOXES,
    tree: Tree | None = None,
    spent: float = 0.0,
    monitor: Callable[[float, int], object] | None = None,
) -> Cover:
    """Prove that a policy keeps every metric from all points of its declared set, over the horizon.

    Parameters
    ----------
    problem : ControlProblem
        That names a declared set.
    theta : array_like, shape (d,)
    seconds : float
        When to stop with what was proved until then [s].
    boxes : int
        At how many boxes to stop, in all.
    tree : Tree, optional
        Where an earlier call of the same problem and policy ended; it is gone on with.
    spent : float
        What earlier calls took [s].
    monitor : callable, optional
        Called with the decided part of the set and the number of boxes.

    Returns
    -------
    Cover

    Raises
    ------
    DomainError
        If the problem has something that no cover knows; NoEnclosureError if an operation.
    """
    as_instance("problem", problem, ControlProblem)
    theta = as_array("theta", theta, (problem.theta_dim,))
    seconds, boxes = as_scalar("seconds", seconds, above=0.0), as_count("boxes", boxes, at_least=1)
    if monitor is not None:
        as_function("monitor", monitor)
    began = time.monotonic()
    search = _Search(CoveredLoop.of(problem, theta), tree)
    while search.tree.pending and search.found is None:
        if time.monotonic() - began > seconds or search.tree.count >= boxes:
            break
        search.step(boxes)
        if monitor is not None:
            monitor(1 - search.tree.undecided, search.tree.count)
    took = spent + time.monotonic() - began
    return Cover(problem, theta, search.tree, took, search.found, search.blocks)


class _Search:
    """A cover in the making."""

    def __init__(self, loop: CoveredLoop, tree: Tree | None) -> None:
        self.loop = loop
        self.tree = Tree(loop.region) if tree is None else tree
        if self.tree.region.size != loop.region.size or self.tree.region.cones != loop.region.cones:
            raise DomainError("the tree is of another declared set; begin anew")
        self.found: Scenarios | None = None
        self._blocks: Counter[str] = Counter()

    @property
    def blocks(self) -> str:
        """The metric that most of the boxes which are not decided failed at."""
        return self._blocks.most_common(1)[0][0] if self._blocks and not self.tree.is_closed else ""

    def step(self, most: int) -> None:
        """Judge some boxes, those of the fewest halvings first; halve what is not proved."""
        cones, low, high = self.tree.front(min(_AT_ONCE, max(1, most - self.tree.count)))
        self._blocks = Counter()
        found = judge(self.loop, cones, low, high)
        halved = found.effect.argmax(axis=0) if self.loop.region.size else np.full(cones.size, UNDECIDED)
        codes = np.where(found.proved, DECIDED, halved)
        self._blocks.update(found.blocks)
        self.found = self._violating(cones, low, high, found)
        widest = (high - low).max(axis=0, initial=0.0)
        codes[(codes >= 0) & ~(widest > 2.0**-DEEPEST)] = UNDECIDED
        self.tree.close(codes)

    def _violating(self, cones: np.ndarray, low: np.ndarray, high: np.ndarray, found: Judgement) -> Scenarios | None:
        """Return a point of the boxes that violates, if one of those that are tried does: middles, and worst ends."""
        open_ = np.flatnonzero(~found.proved)
        if not open_.size:
            return None
        open_ = open_[np.linspace(0, open_.size - 1, min(open_.size, _TRIED)).astype(int)]
        middle, half = (low + high)[:, open_] / 2, (high - low)[:, open_] / 2
        points = np.hstack([middle, middle + found.worst[:, open_] * half])
        batch = self._scenarios(np.tile(cones[open_], 2), points, np.concatenate([found.pushes[open_]] * 2))
        problem, theta = self.loop.problem, self.loop.theta
        _, metrics = problem.evaluate_scenarios(theta, batch)
        worst = np.nan_to_num(problem.fresh.that_count(metrics), nan=np.inf, posinf=np.inf).max(axis=1)
        which = int(worst.argmax())
        return batch.part(slice(which, which + 1)) if worst[which] > ROUNDING else None

    def _scenarios(self, cones: np.ndarray, points: np.ndarray, pushes: np.ndarray) -> Scenarios:
        """Return the scenarios at numbers of the region, moved into the declared set where rounding left it."""
        region, declared, plant = self.loop.region, self.loop.region.declared, self.loop.problem.plant
        nx, count = plant.nx, points.shape[1]
        values = np.zeros((2 * nx + len(region.varied) + len(region.pushed), count))
        for cone in np.unique(cones).tolist():
            some = np.flatnonzero(cones == cone)
            values[:, some] = np.array(region.start(cone).map(some.size)(points[:, some]))
        p = np.repeat(declared.ranges[:, :1].T, count, axis=0)
        first = 2 * nx + len(region.varied)
        p[:, list(region.varied)] = values[2 * nx : first].T
        w = np.zeros((count, declared.horizon, declared.half.size))
        if declared.half.size:
            w += pushes * self.loop.push
            w[:, :, list(region.pushed)] += values[first:].T[:, None]
        return declared.nearest(Scenarios(values[:nx].T, p, w, declared.horizon, declared))
