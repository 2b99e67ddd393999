"""The step of the adaptation, as the exported C takes it: the same decisions, in double with the same bits.

gradient    the objective's derivative backwards through every rollout, and the rows of the working set
plan        curvature from the last commit, scaling, the step to be projected
project     (E5) onto the region (E4) of the working set: gradients are exact here, so e = 0
verify      all metrics at most -epsilon at the projected step, and a lower objective, or
join        metrics that it broke get a larger smoothness constant, or join the working set; then it projects again
commit      the parameters that were verified are those that the next step begins at
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from scpo_ctrl.device.audits import Audits
from scpo_ctrl.device.expert import Expert
from scpo_ctrl.device.model import DeviceModel
from scpo_ctrl.device.options import DeviceCounts, DeviceOptions, DeviceStatus
from scpo_ctrl.device.policy import Parameters
from scpo_ctrl.device.working_set import FIRST_SMOOTHNESS, Verification, WorkingSet
from scpo_ctrl.projection.as_device import project_as_device

_KEPT = 0.5  # part of a metric's distance from zero that a step leaves
_FIRST_STEP = 0.1  # length of the first one, and after curvature was forgotten, in radii
_LONGEST = 10  # step before its projection, in radii
_SUFFICIENT = 1e-4  # part of the predicted fall that a commit must reach
_GROWTH, _DECAY, _LEAST = 1.2, 0.3, 1e-6  # of smoothness constants, at a commit
_SHORTER, _LOST = (0.1, 0.5), 0.25  # parts of a step that the next try takes


@dataclass
class Step:
    """What is known between steps, and the parts of one."""

    model: DeviceModel
    theta: np.ndarray  # (d,) the committed parameters, which are the active ones unless an audit is still due
    options: DeviceOptions = field(default_factory=DeviceOptions)
    reference: np.ndarray = field(init=False)  # (nx + nu,), or (N, nx + nu) where it tracks; changes between steps only
    expert: Expert | None = field(default=None, init=False)  # what imitation asks for
    counts: DeviceCounts = field(default_factory=DeviceCounts, init=False)
    active: np.ndarray = field(init=False)  # (d,) what a controller would use
    audits: Audits | None = field(default=None, init=False)
    objective: Any = field(init=False)  # of the committed parameters
    start_objective: Any = field(init=False)  # of those to begin with
    margin: Any = field(init=False)  # -max g of the committed parameters, with their back-off

    rows: WorkingSet = field(init=False)
    scaling: Any = field(init=False)
    _of_cost: Any = field(init=False)  # the weight of a step's cost in the objective
    _most_tries: int = field(init=False)
    _spent: int = field(default=0, init=False)  # pieces of verifications in this step
    _stalled: int = field(default=0, init=False)  # steps in a row without a commit worth it
    _length: Any = field(default=0, init=False)  # of the last projected step, 0 where nothing was committed
    _auditing: bool = field(default=False, init=False)
    _ended: DeviceStatus | None = field(default=None, init=False)
    _at: Verification = field(init=False)  # of the committed parameters
    _last: Verification = field(init=False)

    @property
    def _span(self) -> int:
        """Dimensions that a step is planned and projected in."""
        return self.theta.size

    @property
    def _is_tried(self) -> bool:
        """Whether a step has no more tries."""
        spent = self.audits is not None and self._spent >= self.options.step_rollouts
        return spent or self._tries >= self._most_tries

    def _verify(self, parameters: Parameters) -> Verification:
        self._last = Verification.of(parameters, self.options.rows)
        if self.audits is not None and self._last.broken is not None:
            self.audits.to_front(self._last.broken)
            self.model = replace(self.model, guards=self.audits.ordered())
        pieces = self._last.pieces
        if self.expert is not None and self._last.complete:
            pieces += self.expert.slices
        self.counts.pieces += pieces
        self._spent += pieces
        return self._last

    def _value(self, found: Verification) -> Any:
        """Return the objective at parameters that were verified."""
        if self.expert is not None:
            return self.expert.error(found.trajectories.parameters) * self.expert.weight
        return found.trajectories.cost(self.reference) * self._of_cost

    def _begin_step(self) -> None:
        self.rows.choose(self._at, self._last)
        self.counts.steps += 1
        self._tries = self._spent = 0
        renews = self.expert is not None and (not self._length > 0 or self.expert.has_news)
        if renews and self.expert is not None and self.expert.take_in():
            self._length = self.model.arithmetic.number(0)  # another objective's gradient shows no curvature

    def _differentiate(self) -> None:
        """Take the objective's gradient; the last commit shows curvature by that of the Lagrangian."""
        model, keys = self.model, self.rows.keys
        self.rows.G = self._at.rows(keys)
        costed = 0 if self.expert is not None else model.scenarios  # rollouts that the objective is about
        if self.expert is not None:
            total, gradient = self.expert.differentiate(self._at.trajectories.parameters)
            self.objective, self._gradient = total * self.expert.weight, gradient * self.expert.weight
            self.counts.pieces += self.expert.slices
        else:
            self._gradient = self._at.trajectories.gradient(self.reference) * self._of_cost
        others = np.unique(keys[(keys < model.keys) & (keys // model.spread >= costed)] // model.spread)
        self.counts.pieces += 2 * costed + others.size + keys.size + bool(len(model.vertices))
        learnt = False
        if self._length > 0:  # the last step was committed
            learnt = self.scaling.learn(self._step, self._lagrangian(scaled=False) - self._previous)
        self.counts.pieces += 2 + (len(self.scaling.pairs) if learnt else 0)

    def _lagrangian(self, *, scaled: bool) -> np.ndarray:
        """Return the gradient of objective and multipliers times metrics; rows are in scaled coordinates or not."""
        arithmetic, held = self.model.arithmetic, self.rows.multipliers > 0
        sums = np.zeros_like(self.theta)
        if held.any():
            sums = arithmetic.sum((self.rows.multipliers[held, None] * self.rows.G[held]).T)
        return (self.scaling.inverse_transposed(sums) if scaled else sums) + self._gradient

    def _plan(self) -> None:
        """Plan the steepest descent in scaled coordinates: Newton's step, as far as the pairs know the curvature."""
        arithmetic, number = self.model.arithmetic, self.model.arithmetic.number
        radius = number(self.options.radius)
        if not self.scaling.pairs:
            size = arithmetic.length(self._gradient)
            self.scaling.gamma = number(_FIRST_STEP) * radius / (size if size > arithmetic.least else arithmetic.least)
        self._plan_in(self.scaling)

    def _plan_in(self, scaling: Any) -> None:
        """Take the steepest descent in the coordinates of a scaling, and put the rows into them."""
        self.scaling = scaling
        self._radius = self.model.arithmetic.number(self.options.radius) / np.sqrt(self.scaling.gamma)
        self._z = self.scaling.transposed(-self._gradient)
        self._limit()
        self.rows.G = self.scaling.transposed(self.rows.G)
        self.counts.pieces += 2 + self.rows.keys.size

    def _limit(self) -> None:
        """Keep the step from being longer than some radii."""
        size, most = self.model.arithmetic.length(self._z), self.model.arithmetic.number(_LONGEST) * self._radius
        if size > most:
            self._z = self._z * (most / size)

    def _project(self) -> None:
        """Project the step (E5); afterwards alpha, its length and multipliers are there."""
        number, rows = self.model.arithmetic.number, self.rows
        distance = rows.c + self.model.metric_error
        room = np.where(distance < 0, distance * (number(1) - number(_KEPT)), number(0))
        curved = rows.L * self.scaling.gamma
        found = project_as_device(
            self._z, room, np.ascontiguousarray(rows.G), self._errors(), curved, self._radius,
            np.ascontiguousarray(rows.multipliers),
        )  # fmt: skip
        self._alpha, rows.multipliers = found.delta, found.multipliers
        self._length = self.model.arithmetic.length(self._alpha)
        self.counts.pieces += found.pieces
        self.counts.projecting += found.pieces
        self.counts.projections += 1
        self._tries += 1

    def _errors(self) -> np.ndarray:
        """Return e of (E4) for each row."""
        return np.zeros_like(self.rows.c)

    def _unscale(self) -> np.ndarray:
        """Return the projected step in the space of θ; afterwards the predicted fall of the objective is there."""
        step = self.scaling.apply(self._alpha)
        self._predicted = -self.model.arithmetic.inner(self._gradient, step)
        return step

    def _try(self) -> DeviceStatus | None:
        """Project and verify; None where the next try follows."""
        self._project()
        if not self._length > 0:
            return self._give_up()
        self._step = self._unscale()
        if not self._predicted > 0:  # the projection turned a shortened step into one of ascent
            return self._descend()
        found = self._verify(Parameters(self.model, self.theta + self._step))
        if found.worst < self.model.arithmetic.largest:
            self.rows.tried = found.metrics(self.rows.keys)
        return self._judge(found)

    def _descend(self) -> DeviceStatus | None:
        """Let the steepest descent take the step's place, half as long."""
        if self._is_tried:
            return self._give_up()
        number, z = self.model.arithmetic.number, self.scaling.transposed(-self._gradient)
        size = self.model.arithmetic.length(z)
        part = self._length / size if size > self._length else number(1)
        self._z = z * (part / number(2))
        return None

    def _judge(self, found: Verification) -> DeviceStatus | None:
        number, error = self.model.arithmetic.number, self.model.metric_error
        objective = self._value(found)
        fall = self.objective - objective
        self.counts.tries += 1
        safe = found.worst <= -error
        if safe and fall >= number(_SUFFICIENT) * self._predicted and fall > 0:
            return self._commit(found, objective)
        if self._is_tried:
            return self._give_up(met=not safe)
        if not found.worst < self.model.arithmetic.largest:
            self._shorten(number(_LOST))
            return None
        if not safe:
            self.counts.unsafe += 1
            self._join(found)
            return None
        low, high = map(number, _SHORTER)
        part = high
        if self._predicted > fall:  # the least point of the parabola
            part = min(max(self._predicted / (number(2) * (self._predicted - fall)), low), high)
        self._shorten(part)
        return None

    def _shorten(self, part: Any) -> None:
        self._z = self._alpha * part

    def _join(self, found: Verification) -> None:
        """Take in what a try broke."""
        rows = self.rows
        new = rows.take_in_broken(found, self._shown())
        if new is None:
            self._shorten(self.model.arithmetic.number(0.5))
            return
        rows.c[new] = self._at.metrics(rows.keys[new])
        rows.G[new] = self.scaling.transposed(self._joined(rows.keys[new]))

    def _joined(self, keys: np.ndarray) -> np.ndarray:
        """Return the derivatives of metrics that join."""
        rollouts = [key // self.model.spread if key < self.model.keys else -1 for key in keys.tolist()]
        rolled = sum(this >= 0 and this != last for last, this in zip([-1, *rollouts], rollouts, strict=False))
        self.counts.pieces += 1 + keys.size + rolled
        return self._at.rows(keys)

    def _shown(self) -> np.ndarray:
        """Return what the last try showed of smoothness constants, in the space of θ (E4), shape (k,)."""
        number, rows = self.model.arithmetic.number, self.rows
        linear = rows.c + self.model.arithmetic.inner(rows.G, self._alpha)
        over = rows.tried - linear - self.model.metric_error  # more than rounding
        bend = 2 * over / (self._length * self._length * self.scaling.gamma)
        return np.where(bend > 0, bend, number(0))

    def _commit(self, found: Verification, objective: Any) -> DeviceStatus:
        number, rows = self.model.arithmetic.number, self.rows
        theta = found.trajectories.parameters.theta
        if not np.isfinite(theta).all():
            return self._give_up()
        self._remember()
        shown = number(_GROWTH) * self._shown()
        rows.L = np.maximum(np.maximum(number(_DECAY) * rows.L, shown), number(_LEAST))
        if self.audits is None:
            self.active = theta
        else:
            self.audits.unaudited += 1
        small = self.objective - objective < number(self.options.worth) * abs(self.objective)
        self._stalled = self._stalled + 1 if small else 0
        self.theta, self._at, self.objective, self.margin = theta, found, objective, -found.worst
        self.counts.commits += 1
        return self._end_step(DeviceStatus.COMMITTED)

    def _remember(self) -> None:
        """Keep what is to be known of the step that is committed."""
        self._previous = self._lagrangian(scaled=True)

    def _forget(self) -> None:
        """Learn curvature anew."""
        self.scaling.forget()

    def _give_up(self, *, met: bool = False) -> DeviceStatus:
        """End the step without a commit. Metrics that it met are known; where it met none, curvature is learnt anew."""
        if not met:
            self._forget()
            self.rows.L = np.full_like(self.rows.L, FIRST_SMOOTHNESS)
        self._stalled += 2 - met
        self._length = self.model.arithmetic.number(0)
        return self._end_step(DeviceStatus.REJECTED)

    def _end_step(self, outcome: DeviceStatus) -> DeviceStatus:
        """End the step, or let an audit follow."""
        ends = self._stalled >= self.options.patience
        if self.audits is not None and self.audits.unaudited >= (1 if ends else self.audits.interval):
            self._auditing = True
        else:
            self._go_on()
        return outcome

    def _go_on(self) -> None:
        """Begin the next step, or end them."""
        if self._stalled >= self.options.patience:
            self._ended = DeviceStatus.CONVERGED  # which the next step says
        else:
            self._begin_step()
