"""Sampled gradients (E2), (E3), as the exported C takes them: no derivative of the model is needed.

A step is searched in the span of orthonormal directions, drawn anew for each: every parameter belongs to one of them,
with a sign. Rollouts at θ + σ d_j beside that at θ give the objective's gradient and its Gauss-Newton matrix C C' in
the span, and the rows of the working set; in the coordinates C'α a step is planned and projected.
"""

from dataclasses import dataclass, replace

import numpy as np

from scpo_ctrl.codegen.metric_error import FACTOR
from scpo_ctrl.device.adaptation import DeviceAdapter
from scpo_ctrl.device.directions import Directions
from scpo_ctrl.device.model import DeviceModel
from scpo_ctrl.device.policy import Parameters
from scpo_ctrl.device.rollout import Trajectories
from scpo_ctrl.device.stability import stability

_SEED = 2463534242


@dataclass
class SampledAdapter(DeviceAdapter):
    """An adaptation on the device with sampled gradients, step by step."""

    def __post_init__(self) -> None:
        self._random = _SEED
        super().__post_init__()
        if self.options.sampling_radius is not None:
            radius = self.model.arithmetic.number(self.options.sampling_radius)
            self._use(replace(self._exported, sampling_radius=radius))
            self._exported = replace(self._exported, sampling_radius=radius)

    @property
    def _span(self) -> int:
        return min(self.options.directions, self.theta.size)

    def _differentiate(self) -> None:
        """Draw directions; sample the objective's gradient, its Gauss-Newton matrix and the rows of the working set."""
        model, arithmetic, count = self.model, self.model.arithmetic, self._span
        self._directions = Directions.draw(arithmetic, self.theta.size, count, self._random)
        self._random = self._directions.random
        self._thetas = self._directions.disturbed(self.theta, model.sampling_radius)
        lanes = _repeated(model, count)
        self._lanes = Trajectories.of(Parameters(lanes, np.tile(self._thetas, (model.rollouts, 1))))
        moved, slopes = self._moved()
        terms = arithmetic.inner(slopes[:, :, None], moved)  # (N, scenarios, lanes)
        scale = self._of_cost / model.sampling_radius
        self._gradient = arithmetic.sum(terms.transpose(2, 1, 0).reshape(count, -1)) * scale
        assert model.stage_adjoint is not None  # of a Quadratic
        bends = np.concatenate(
            model.stage_adjoint(moved[..., : model.nx], moved[..., model.nx :], np.zeros_like(model.reference)), axis=-1
        )
        terms = arithmetic.inner(bends[:, :, :, None], moved[:, :, None])  # (N, scenarios, lanes, lanes)
        sums = arithmetic.sum(terms.transpose(2, 3, 1, 0).reshape(count, count, -1))
        self._curvature, self._scale = sums, scale / model.sampling_radius
        self.rows.G = self._sampled(self.rows.keys)
        self.counts.pieces += 1 + self._pieces(self.rows.keys, np.arange(model.scenarios))

    def _moved(self) -> tuple[np.ndarray, np.ndarray]:
        """Return changes of x and u (N, scenarios, lanes, nx + nu), and the cost's slopes (N, scenarios, nx + nu)."""
        model, count, at = self.model, self._span, self._at.trajectories
        x, u = at.x[:-1, : model.scenarios], model.saturate(at.v[:, : model.scenarios])
        assert model.stage_adjoint is not None
        reference = self.reference[:, None] if self.options.tracking else self.reference
        slopes = np.concatenate(model.stage_adjoint(x, u, reference), axis=-1)
        here = slice(0, model.scenarios * count)
        shape = (model.horizon, model.scenarios, count, -1)
        found = [
            lanes.reshape(shape) - of[:, :, None]
            for lanes, of in ((self._lanes.x[:-1, here], x), (model.saturate(self._lanes.v[:, here]), u))
        ]
        return np.concatenate(found, axis=-1), slopes

    def _sampled(self, keys: np.ndarray) -> np.ndarray:
        """Return rows of metrics by (E2), shape (k, directions)."""
        model, count = self.model, self._span
        values, resting = np.zeros((keys.size, count), model.arithmetic.number), keys >= model.keys
        rolled = keys[~resting]
        for lane in range(count):
            of_lane = rolled + (rolled // model.spread * (count - 1) + lane) * model.spread
            values[~resting, lane] = self._lanes.metrics(of_lane)
            if resting.any():
                parameters = Parameters(model, self._thetas[lane])
                values[resting, lane] = stability(parameters, keys[resting] - model.keys)
        return (values - self._at.metrics(keys)[:, None]) / model.sampling_radius

    def _pieces(self, keys: np.ndarray, rollouts: np.ndarray) -> int:
        """Return how many pieces it takes to sample metrics, with the objective of some rollouts."""
        model = self.model
        rolled = np.union1d(rollouts, keys[keys < model.keys] // model.spread).astype(int)
        chunks = -(-model.last[rolled] // model.chunk)
        at_rest = int(np.sum(keys >= model.keys))
        return int(rolled.size + self._span * (chunks.sum() + at_rest))

    def _plan(self) -> None:
        """Plan the steepest descent in the coordinates C'α: Newton's step in the span."""
        self._directions.factorise(self._curvature, self._scale)
        self._plan_in(self._directions)

    def _errors(self) -> np.ndarray:
        """Return e of (E3), with what rounding adds, in scaled coordinates."""
        model, number = self.model, self.model.arithmetic.number
        radius = model.sampling_radius
        rounding = model.metric_error / number(FACTOR)  # as it was seen at export
        error = self.rows.L * radius / number(2) + number(2) * rounding / radius
        return np.sqrt(number(self._span)) * error * np.sqrt(self.scaling.gamma)

    def _unscale(self) -> np.ndarray:
        move = self._directions.moves(self._alpha)
        self._predicted = -self.model.arithmetic.inner(self._gradient, move)
        return self._directions.apply(move)

    def _joined(self, keys: np.ndarray) -> np.ndarray:
        self.counts.pieces += 2 + keys.size + self._pieces(keys, np.zeros(0, dtype=int))
        return self._sampled(keys)

    def _remember(self) -> None:
        """Nothing of a step is kept: the next one is in another span."""

    def _forget(self) -> None:
        """Nothing is known of curvature but in the span at hand."""


def _repeated(model: DeviceModel, count: int) -> DeviceModel:
    """Return the model with every rollout `count` times, one behind another."""
    end = model.whole * model.horizon
    w = model.w
    if len(w):
        of_scenarios = w[:end].reshape(model.whole, -1).repeat(count, axis=0).reshape(-1, model.nx)
        w = np.vstack([of_scenarios, w[end:].repeat(count, axis=0)])
    return replace(
        model,
        scenarios=model.scenarios * count,
        rollouts=model.rollouts * count,
        x0=model.x0.repeat(count, axis=0),
        p=model.p.repeat(count, axis=0),
        w=w,
        rests=model.rests if len(model.rests) == 1 else model.rests.repeat(count, axis=0),
        limits=model.limits.repeat(count, axis=0),
        guards=tuple(range(model.rollouts * count - len(model.guards) * count, model.rollouts * count)),
        back_off=None if model.back_off is None else model.back_off.repeat(count, axis=0),
    )
