"""Guards and audits on the device (E12), with the same bits as the exported C.

What is committed on S, the scenarios and some guards, is audited on points of the declared set that nothing saw before.
It becomes active where the audit finds nothing; else the worst points join S, and the committed parameters go back
towards the active ones as far as S asks for.
"""

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import numpy as np

from scpo_ctrl.codegen.fresh_set import least_between
from scpo_ctrl.device.model import DeviceModel
from scpo_ctrl.device.options import DeviceCounts, DeviceOptions
from scpo_ctrl.device.policy import Parameters
from scpo_ctrl.device.rollout import Trajectories

HALVINGS = 3  # of the way back to the active parameters, before all of it is gone
_PART = 0.5  # of what a metric leaves at the active parameters, at most, is its back-off
_AT_ONCE = 2000  # points rolled out together


class Found(Enum):
    """How an audit has ended."""

    PASSED = "It found nothing."
    FAILED = "Counterexamples have joined S: the committed parameters are to go back."
    BROKEN = "And the active parameters break a metric there too."


@dataclass
class Audits:
    """S beside the scenarios, and what is known of audits."""

    options: DeviceOptions
    plain: DeviceModel  # without guards
    counts: DeviceCounts
    seed: int = 0
    guards: list[int] = field(init=False)  # numbers of points, by their places
    order: list[int] = field(init=False)  # their places, those that broke a try or joined last first
    oldest: int = 0  # place
    number: int = field(init=False)  # of the next point that is drawn
    steps_of_back_off: np.ndarray = field(init=False)  # (scenarios + most guards, signals) 255ths
    trusted: bool = False  # whether the active parameters have passed an audit
    own: bool = False  # whether they were adapted here
    unaudited: int = 0  # commits since the last audit; those that it took back count as one
    interval: int = 0  # that many commits are audited
    halvings: int = 0
    replaced: list[int] = field(default_factory=list)  # rollouts of guards that the last audit replaced

    def __post_init__(self) -> None:
        self.guards = [2 * i + 1 for i in range(self.options.edges)]  # odd ones are at the edges
        self.order = list(range(self.options.edges))
        self.number = 2 * self.options.edges
        rollouts = self.plain.rollouts + self.options.guards
        self.steps_of_back_off = np.zeros((rollouts, self.plain.signals), dtype=int)
        self.restart()

    def restart(self) -> None:
        """Trust in nothing: others than those at hand are the active parameters."""
        self.trusted = self.own = False
        self.unaudited, self.interval = 0, self.options.audit_first

    def model(self) -> DeviceModel:
        """Return the model with the guards."""
        plain = self.plain
        with_guards = self._rolled_from(np.array(self.guards, dtype=np.int64), behind=plain)
        return replace(
            with_guards,
            scenarios=plain.scenarios,
            most_guards=self.options.guards,
            guards=self.ordered(),
            back_off=self._back_off()[: with_guards.rollouts],
        )

    def ordered(self) -> tuple[int, ...]:
        """Return the rollouts of the guards in the order that they are verified in."""
        return tuple(self.plain.rollouts + place for place in self.order)

    def to_front(self, rollout: int) -> None:
        """Let a guard be verified first: what broke a try is likely to break the next one.

        Parameters
        ----------
        rollout : int
        """
        place = rollout - self.plain.rollouts
        self.order.remove(place)
        self.order.insert(0, place)

    def measure(self, parameters: Parameters) -> DeviceModel:
        """Return the model with back-offs as some parameters leave room for them, on all of S.

        Parameters
        ----------
        parameters : Parameters
            Those to begin with.

        Returns
        -------
        DeviceModel
        """
        model = replace(parameters.model, back_off=None)
        found, there = _largest(Parameters(model, parameters.theta))
        self._set_back_off(np.arange(model.rollouts), found, there)
        return self.model()

    def audit(self, committed: np.ndarray, active: np.ndarray) -> Found:
        """Audit the committed parameters; afterwards counterexamples have joined S.

        Parameters
        ----------
        committed, active : numpy.ndarray, shape (d,)

        Returns
        -------
        Found
        """
        found, self.replaced = self._counterexamples(committed), []
        self.counts.audits += 1
        most = self.options.audit_most
        if not found:
            if self.unaudited > 0:
                self.interval = 2 * self.interval if self.interval < most // 2 else most
            self.trusted = True
            return Found.PASSED
        self.interval = max(self.interval // 2, least_between(self.options.audit_first))
        places = [self._take_in(number) for number in found]
        for place in places:
            self.counts.pieces += 1
            largest, there = _largest(self._at([self.guards[place]], active))
            self._set_back_off(np.array([self.plain.rollouts + place]), largest, there)
            if not largest[there].max() <= -self.plain.metric_error:
                return Found.BROKEN
        self.halvings = 0
        return Found.FAILED

    def retreat(self, committed: np.ndarray, active: np.ndarray) -> np.ndarray:
        """Return parameters half of the way back to the active ones; the last time these.

        Parameters
        ----------
        committed, active : numpy.ndarray, shape (d,)

        Returns
        -------
        numpy.ndarray, shape (d,)
        """
        self.unaudited = int(self.halvings < HALVINGS)
        self.halvings += self.unaudited
        return (committed + active) / self.plain.arithmetic.number(2) if self.unaudited else active

    def withdraw(self, committed: np.ndarray, start: np.ndarray) -> np.ndarray:
        """Return parameters half of the way back to the safe start, which has become active and is trusted in nothing.

        Parameters
        ----------
        committed, start : numpy.ndarray, shape (d,)

        Returns
        -------
        numpy.ndarray, shape (d,)
        """
        self.trusted = self.own = False
        self.halvings = 0
        return self.retreat(committed, start)

    @property
    def measures(self) -> bool:
        """Whether the active parameters are verified for the first time: what they leave decides the back-off."""
        return not self.trusted and self.unaudited == 0

    def _counterexamples(self, theta: np.ndarray) -> list[int]:
        """Return the numbers of the worst point of each part of an audit, as far as they break a metric."""
        options, numbers = self.options, self.number + np.arange(self.options.audit_points)
        worst = np.full(options.taken, -self.plain.metric_error)
        found: list[int | None] = [None] * options.taken
        for start in range(0, numbers.size, _AT_ONCE):
            part = numbers[start : start + _AT_ONCE]
            largest, there = _largest(self._at(part, theta))
            of_points = np.where(there, largest, -np.inf).max(axis=1)
            for k in range(options.taken):
                mine = np.flatnonzero((part >> 1) % options.taken == k)
                if mine.size and of_points[mine].max() > worst[k]:
                    best = mine[of_points[mine].argmax()]
                    worst[k], found[k] = of_points[best], int(part[best])
        self.number = int(self.number + numbers.size)
        self.counts.fresh += numbers.size
        self.counts.pieces += numbers.size
        return [number for number in found if number is not None]

    def _take_in(self, number: int) -> int:
        """Let a point join S, in place of the oldest guard where it is full; return its place."""
        if len(self.guards) < self.options.guards:
            self.guards.append(number)
            self.order.insert(0, len(self.guards) - 1)
            return len(self.guards) - 1
        place, self.oldest = self.oldest, (self.oldest + 1) % self.options.guards
        self.guards[place] = number
        self.to_front(self.plain.rollouts + place)
        self.replaced.append(self.plain.rollouts + place)
        return place

    def _at(self, numbers: "np.ndarray | list[int]", theta: np.ndarray) -> Parameters:
        """Return parameters on the rollouts of points alone."""
        return Parameters(self._rolled_from(np.asarray(numbers, dtype=np.int64), behind=None), theta)

    def _rolled_from(self, numbers: np.ndarray, behind: DeviceModel | None) -> DeviceModel:
        """Return the model on rollouts from points, behind those of a model or alone."""
        plain = self.plain
        assert plain.points is not None
        x0, p, w = plain.points.draw(self.seed, numbers)
        if plain.spread_over is not None:
            p = plain.parameters_over(p, *plain.spread_over)
        z, inner, number = x0 - plain.rests[0], plain.arithmetic.inner, plain.arithmetic.number
        limits = plain.points.rate * inner(inner(plain.P, z[:, None, :]), z)
        limits = np.where(limits > plain.points.floor, limits, plain.points.floor)
        limits = np.where(limits > 0, limits, number(1))  # at rest V stays zero
        tables: dict[str, Any] = {
            "x0": x0,
            "p": p,
            "w": w.reshape(-1, w.shape[2]) if w.size else plain.w[:0],
            "limits": limits,
        }
        if behind is not None:
            tables = {key: np.concatenate([getattr(behind, key), table]) for key, table in tables.items()}
        count = len(tables["x0"])
        return replace(plain, scenarios=count, rollouts=count, back_off=None, guards=(), **tables)

    def _set_back_off(self, rollouts: np.ndarray, largest: np.ndarray, there: np.ndarray) -> None:
        number = self.plain.arithmetic.number
        room = -largest - self.plain.metric_error
        part = number(_PART) * room / number(self.options.back_off)
        steps = np.where(there & (room > 0), number(255) * np.where(part < 1, part, number(1)), number(0))
        self.steps_of_back_off[rollouts] = steps.astype(int)

    def _back_off(self) -> np.ndarray:
        number = self.plain.arithmetic.number
        return number(self.options.back_off) * self.steps_of_back_off.astype(number) / number(255)


def _largest(parameters: Parameters) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest metric of each signal of each rollout, and where there is one, (rollouts, signals) each."""
    found, model = Trajectories.of(parameters), parameters.model
    keys, values = found.peaks()
    rollout, _, signal = found.places(keys)
    largest = np.zeros((model.rollouts, model.signals), model.arithmetic.number)
    there = np.zeros(largest.shape, dtype=bool)
    largest[rollout, signal], there[rollout, signal] = values, True
    largest[found.lost] = model.arithmetic.largest
    return largest, there
