"""What a model predicts for single transitions of another plant, over all that its scenarios declare."""

from collections.abc import Iterator

import casadi as ca
import numpy as np

from scpo_ctrl.assurance.fresh import declared_set
from scpo_ctrl.assurance.mismatch import Errors
from scpo_ctrl.engine.simulator import stepping
from scpo_ctrl.loop.batch import Scenarios
from scpo_ctrl.loop.numeric import box_in_loop, plant_alone
from scpo_ctrl.loop.stability import vertices
from scpo_ctrl.models.units import Units
from scpo_ctrl.models.varying import first_varying, parameters_over_time, still
from scpo_ctrl.problem.control_problem import ControlProblem


class Prediction:
    """The model of a problem beside transitions of another plant.

    Predicted are next states at nominal parameters; at the corners of the declared ranges (64 of them at most), signals
    anywhere within their reach; and at the parameters that the scenario itself has.

    Parameters
    ----------
    problem : ControlProblem
        With a declared set.
    """

    def __init__(self, problem: ControlProblem) -> None:
        policy, loop = problem.policy, problem.plant
        self.plant, self._loop = plant_alone(policy), loop
        nx, declared = self.plant.nx, declared_set(problem)
        if problem.simulator is None:
            self._model = stepping(loop.function, loop)
            moves = np.array(ca.which_depends(loop.f, loop.p, 1, False), dtype=bool) if loop.npar else np.zeros(0, bool)
        else:
            self._model = box_in_loop(stepping(problem.simulator, self.plant), policy)
            moves = np.ones(loop.npar, dtype=bool)
        self._ranges = _reach(problem, declared.ranges)
        self._ranges[~moves] = self._ranges[~moves, :1]
        half = declared.half[:nx] if declared.half.size else np.zeros(nx)
        self.errors = Errors(self.plant, Units.of(loop).x[:nx], half)

    def compare(self, drawn: Scenarios, X: np.ndarray, U: np.ndarray) -> None:
        """Count the transitions of trajectories that begin within the bounds of the states.

        Parameters
        ----------
        drawn : Scenarios
            With the parameters that the model has.
        X : numpy.ndarray, shape (S, N + 1, nx)
            States on the other plant.
        U : numpy.ndarray, shape (S, N, nu)
            Commands before saturation.
        """
        loop, nx, nu = self._loop, self.plant.nx, self.plant.nu
        x, x_next = X[:, :-1], X[:, 1:, :nx]
        own = x[..., :nx]
        with np.errstate(invalid="ignore"):
            counts = ((own >= self.plant.x_min) & (own <= self.plant.x_max)).all(axis=2)
        counts &= np.isfinite(x_next).all(axis=2) & np.isfinite(x).all(axis=2) & np.isfinite(U).all(axis=2)
        if not counts.any():
            return
        u = np.clip(U[counts], loop.u_min, loop.u_max)
        x, x_next = x[counts], x_next[counts]
        p = parameters_over_time(loop, drawn.p, drawn.horizon)[:, :-1][counts]
        nominal, *others = (self._model(x, u, q)[:, :nx] for q in self._parameters(p))
        known = np.all([np.isfinite(one).all(axis=1) for one in (nominal, *others)], axis=0)
        within = np.min(others, axis=0)[known], np.max(others, axis=0)[known]
        self.errors.add(u[known, :nu], x_next[known], nominal[known], within)

    def _parameters(self, p: np.ndarray) -> Iterator[np.ndarray]:
        """Yield parameters of transitions (n, np): nominal ones, their own, then corners of the ranges."""
        nominal, loop = p.copy(), self._loop
        fixed = still(loop)
        nominal[:, fixed] = loop.p_nominal[fixed]
        yield nominal
        yield p
        wide = self._ranges[:, 0] < self._ranges[:, 1]
        for corner in vertices(self._ranges) if wide.any() else []:
            moved = p.copy()
            moved[:, wide] = corner[wide]
            yield moved


def _reach(problem: ControlProblem, ranges: np.ndarray) -> np.ndarray:
    """Return ranges of all parameters at any time, (np, 2); that of the time itself is empty."""
    plant, reach = problem.plant, ranges.copy()
    first = first_varying(plant)
    for i, signal in enumerate(plant.signals):
        reach[first + i] = signal.reach
    if plant.signals:
        reach[-1] = 0.0
    return reach
