"""The working set: the metrics that a step is projected onto, and how it follows from verifications."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from scpo_ctrl.device.model import DeviceModel
from scpo_ctrl.device.policy import Parameters
from scpo_ctrl.device.rollout import Trajectories, finite
from scpo_ctrl.device.stability import stability, stability_rows

FIRST_SMOOTHNESS = 0.1  # L of a row that is new
_GROWTH = 1.2  # L is at least this times what the last step showed


@dataclass(frozen=True)
class Verification:
    """All metrics of all rollouts of some parameters, as far as a working set needs them."""

    trajectories: Trajectories
    worst: Any  # the largest metric; the largest number where a rollout is lost
    peak_keys: np.ndarray  # (k,) of the largest metrics, one for each signal of a rollout, largest first
    peaks: np.ndarray  # (k,)
    pieces: int  # calls of the device
    complete: bool  # whether nothing ended it early
    broken: int | None = None  # the guard that ended it, by its rollout

    @classmethod
    def of(cls, parameters: Parameters, rows: int) -> "Verification":
        """Verify.

        Parameters
        ----------
        parameters : Parameters
        rows : int
            Of the working set, at most.

        Returns
        -------
        Verification
            Of the guards in their order, up to the first one that is broken, and where none is of the scenarios, from
            before the first one that is lost.
        """
        model, found = parameters.model, Trajectories.of(parameters)
        of_all, vertices = found.peaks(), np.arange(len(model.vertices))
        rollout, first = of_all[0] // model.spread, model.rollouts - len(model.guards)
        keys, values = (part[:0] for part in of_all)
        worst: Any = model.arithmetic.largest
        pieces, broken = 0, None
        for guard in model.guards:
            pieces += 1
            if not found.lost[guard]:
                keys, values = (
                    np.append(part, of[rollout == guard]) for part, of in zip((keys, values), of_all, strict=True)
                )
            if found.lost[guard] or np.max(values) > -model.metric_error:
                worst, broken = worst if found.lost[guard] else np.max(values), guard
                break
        complete = broken is None
        if complete:
            lost = int(np.argmax(found.lost[:first])) if found.lost[:first].any() else first
            keys, values = (
                np.append(part, of[rollout < lost]) for part, of in zip((keys, values), of_all, strict=True)
            )
            pieces, complete = pieces + min(lost + 1, first), lost == first
        if complete:
            if vertices.size:
                keys = np.append(keys, model.keys + vertices)
                values = np.append(values, finite(stability(parameters, vertices), model))
            worst, pieces = np.max(values, initial=-model.arithmetic.largest), pieces + vertices.size
            complete = not (model.points is not None and worst > -model.metric_error)
        largest = np.argsort(-values, kind="stable")[:rows]
        return cls(found, worst, keys[largest], values[largest], pieces, complete, broken)

    def metrics(self, keys: np.ndarray) -> np.ndarray:
        """Return metrics by their numbers, (E11) among them.

        Parameters
        ----------
        keys : numpy.ndarray of int, shape (k,)

        Returns
        -------
        numpy.ndarray, shape (k,)
        """
        return self._each(keys, self.trajectories.metrics, stability, ())

    def rows(self, keys: np.ndarray) -> np.ndarray:
        """Return their derivatives, shape (k, d)."""
        return self._each(keys, self.trajectories.rows, stability_rows, self.trajectories.parameters.theta.shape)

    def _each(self, keys: np.ndarray, of_rollouts: Any, at_rest: Any, shape: tuple[int, ...]) -> np.ndarray:
        model = self.trajectories.model
        values, resting = np.zeros((len(keys), *shape), model.arithmetic.number), keys >= model.keys
        if not resting.all():
            values[~resting] = of_rollouts(keys[~resting])
        if resting.any():
            values[resting] = at_rest(self.trajectories.parameters, keys[resting] - model.keys)
        return values


@dataclass
class WorkingSet:
    """Metrics by their numbers, with what is known of each."""

    model: DeviceModel
    most: int  # rows, at most
    keys: np.ndarray  # (k,)
    c: np.ndarray  # (k,) values at the active parameters
    L: np.ndarray  # (k,) smoothness constants in the space of θ
    multipliers: np.ndarray  # (k,) of the last projection
    joined: np.ndarray  # (k,) bool, whether a try of this step broke it
    tried: np.ndarray  # (k,) values at the last try
    G: np.ndarray  # (k, d) gradients, in scaled coordinates once a step is planned

    @classmethod
    def empty(cls, model: DeviceModel, most: int) -> "WorkingSet":
        """Return a working set without rows.

        Parameters
        ----------
        model : DeviceModel
        most : int
            Rows, at most.

        Returns
        -------
        WorkingSet
        """
        none = np.zeros(0, model.arithmetic.number)
        G = np.zeros((0, model.theta_start.size), model.arithmetic.number)
        return cls(model, most, np.zeros(0, dtype=np.int64), none, none, none, np.zeros(0, dtype=bool), none, G)

    def choose(self, at: Verification, last: Verification) -> None:
        """Choose rows: what held the last step back or was broken by a try, then the largest metrics of the last try.

        Parameters
        ----------
        at : Verification
            Of the active parameters, where metrics are computed.
        last : Verification
        """
        kept = (self.multipliers > 0) | self.joined
        new = last.peak_keys[~np.isin(last.peak_keys, self.keys[kept])][: self.most - int(kept.sum())]
        number = self.model.arithmetic.number
        self.keys = np.append(self.keys[kept], new)
        self.L = np.append(self.L[kept], np.full(new.size, FIRST_SMOOTHNESS, number))
        self.multipliers = np.append(self.multipliers[kept], np.zeros(new.size, number))
        self.joined = np.zeros(self.keys.size, dtype=bool)
        self.tried = np.zeros(self.keys.size, number)
        self.c = at.metrics(self.keys)

    def drop(self, rollouts: list[int]) -> None:
        """Let rows of some rollouts leave with the next step.

        Parameters
        ----------
        rollouts : list of int
        """
        here = np.isin(self.keys // self.model.spread, rollouts)
        self.multipliers = np.where(here, self.model.arithmetic.number(0), self.multipliers)
        self.joined = self.joined & ~here

    def take_in_broken(self, tried: Verification, shown: np.ndarray) -> np.ndarray | None:
        """Follow a try that broke metrics: those at hand get larger smoothness constants, others join.

        They join instead of rows that neither held a step back nor were broken, the last ones first.

        Parameters
        ----------
        tried : Verification
        shown : numpy.ndarray, shape (k,)
            Smoothness constants that the try showed.

        Returns
        -------
        numpy.ndarray of int, or None
            The rows that are to be computed; None where nothing changed.
        """
        number, end = self.model.arithmetic.number, self.keys.size
        new: list[int] = []
        changed = False
        for key in tried.peak_keys[tried.peaks > -self.model.metric_error]:
            at_hand = np.flatnonzero(self.keys == key)
            if at_hand.size:
                row = at_hand[0]
                self.L[row] = max(number(2) * self.L[row], number(_GROWTH) * shown[row])
                self.joined[row] = changed = True
                continue
            idle = np.flatnonzero(~(self.multipliers[:end] > 0) & ~self.joined[:end])
            if idle.size:
                end = int(idle[-1])
                self.keys[end], self.L[end], self.joined[end] = key, number(FIRST_SMOOTHNESS), True
                new.append(end)
                changed = True
        return np.array(sorted(new), dtype=int) if changed else None
