"""Boxes of the declared set under a closed loop: which of them keep every metric over the whole horizon, proved."""

from dataclasses import dataclass, field

import numpy as np

from scpo_ctrl.proof.affine import affine_forms
from scpo_ctrl.proof.closed_loop import ALLOWED, CoveredLoop
from scpo_ctrl.proof.near_rest import contracts_near_rest
from scpo_ctrl.proof.zonotopes import Zonotopes, quadratic_above

_MOST_SYMBOLS = 72  # before errors of the past are boxed
_TIGHTENED = 10  # steps after which what rounding has done to a linear plant gets symbols
_DROPPED = 0.1  # part of boxes that fail before they are dropped
_BY_SLOPE = 0.05  # weight of a number's slope beside what its errors are, where boxes are halved


@dataclass
class Judgement:
    """What was found of some boxes."""

    proved: np.ndarray  # (B,) bool
    effect: np.ndarray  # (size, B) what each number of the box adds to what is in the way
    worst: np.ndarray  # (size, B) -1, 0 or 1: the end of each number where the metric fails worst, to first order
    pushes: np.ndarray  # (B, N, nx) signs of the disturbance there
    blocks: dict[str, int] = field(default_factory=dict)  # how many boxes fail at which metric


def judge(loop: CoveredLoop, cones: np.ndarray, low: np.ndarray, high: np.ndarray) -> Judgement:
    """Enclose the closed loop over boxes, and say where every metric is kept.

    Parameters
    ----------
    loop : CoveredLoop
    cones : numpy.ndarray of int, shape (B,)
    low, high : numpy.ndarray, shape (size, B)

    Returns
    -------
    Judgement
    """
    return _Rollout(loop, cones, low, high).judged()


class _Rollout:
    """Boxes on their way through time; those that fail are dropped."""

    def __init__(self, loop: CoveredLoop, cones: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
        self.loop, self.cones, self.low, self.high = loop, cones, low, high
        size, B = low.shape
        plant, N = loop.problem.plant, loop.horizon
        self.size, self.nx = size, plant.nx
        pushes = np.zeros((B, N, plant.nx) if loop.push.any() else (B, 0, plant.nx), dtype=np.int8)
        self.judgement = Judgement(np.zeros(B, dtype=bool), np.zeros((size, B)), np.zeros((size, B), np.int8), pushes)
        self.alive = np.arange(B)
        self.keeps = np.ones(B, dtype=bool)  # of those alive
        self.score = np.zeros((size, B))
        self.pushed: list[tuple[int, int, int]] = []  # time, state and symbol of disturbances
        self.before: Zonotopes | None = None  # the command before
        x0, _, v = loop.region.enclosed(cones, low, high)
        self.first, self.z = x0, x0.beside(v)
        width_x, width_u = ((b - a) / 2 for a, b in ((plant.x_min, plant.x_max), (plant.u_min, plant.u_max)))
        reach = np.maximum(loop.region.declared.reach, np.finfo(float).tiny)
        self.width_x = np.where(np.isfinite(width_x), width_x, reach)
        self.width_u = np.where(np.isfinite(width_u), width_u, 1.0)
        self._count_errors(x0.gens[:, self.size :], self.width_x)

    def judged(self) -> Judgement:
        """Step until the horizon, or until no box is left."""
        with np.errstate(all="ignore"):
            for t in range(self.loop.horizon):
                self._step(t)
                if not self.alive.size:
                    break
            else:
                self._end()
        self.judgement.proved[self.alive[self.keeps]] = True
        return self.judgement

    def _step(self, t: int) -> None:
        loop, options = self.loop, self.loop.options
        x_min, x_max, u_min, u_max = loop.bounds
        C = self.z.values_of(affine_forms(loop.law, self.z), symbols=True)
        nu, K = len(C.centre), self.z.gens.shape[1]
        self._count_errors(C.gens[:, K:], self.width_u)
        if options.path and options.command:
            self._bounded(C, u_min, u_max, f"the command at t = {t}")
        zc = self.z.beside(C)
        self._own_metrics(C, t)
        forms = affine_forms(loop.next, zc)
        X = zc.values_of(forms, symbols=loop.is_bent or t % _TIGHTENED == 0)
        if loop.is_bent:
            self._count_errors(X.gens[:, K + nu :], self.width_x)
        if loop.push.any():
            start = X.gens.shape[1]
            X = X.pushed(loop.push)
            self.pushed += [(t, int(i), start + k) for k, i in enumerate(np.flatnonzero(loop.push))]
        if options.path:
            self._bounded(X, x_min, x_max, f"the state at t = {t + 1}")
        self.before = C
        self.z = X.beside(self.z.rows(slice(self.nx, None)))
        if t == 0 and options.one_step is not None:
            self._falls(1 - options.one_step, "one step", 1)
        self._bound_memory()
        self._drop(len(self.alive) if t == loop.horizon - 1 else int(_DROPPED * len(self.alive)))

    def _bound_memory(self) -> None:
        """Box the errors of the past where there are too many symbols, those of the first state kept."""
        kept = self.size + self.nx
        if self.z.gens.shape[1] <= max(_MOST_SYMBOLS, kept + 3 * self.nx):
            return
        X = self.z.rows(slice(0, self.nx)).reduced(kept, self.loop.frame)
        rest = self.z.rows(slice(self.nx, None))
        self.z = X.beside(Zonotopes(rest.centre, rest.gens[:, :kept], rest.loose))  # v has no other symbols
        self.pushed = []
        if self.before is not None and self.loop.own is not None:
            C = self.before
            left = np.abs(C.gens[:, kept:]).sum(axis=1) * (1 + 1e-12)
            self.before = Zonotopes(C.centre, C.gens[:, :kept], C.loose + left * (1 + 1e-12))

    def _end(self) -> None:
        loop, options, N = self.loop, self.loop.options, self.loop.horizon
        if loop.own_at_end is not None:
            values = self.z.values_of(affine_forms(loop.own_at_end, self.z), symbols=False)
            self._bounded(
                values,
                np.full(len(values.centre), -np.inf),
                np.full(len(values.centre), ALLOWED),
                f"a constraint at t = {N}",
            )
        if options.terminal:
            self._terminal()
        if options.contraction is not None:
            self._falls(options.contraction, "contraction", N)
        self._drop(0)

    def _terminal(self) -> None:
        P, rho = self.loop.problem.backup.P, self.loop.problem.backup.rho
        last = self._deviation()
        above, linear, bent = quadratic_above(last, last, P, 0.0)
        self._fail(~(above <= rho * (1 + ALLOWED)), linear, bent, "terminal")

    def _deviation(self) -> Zonotopes:
        x = self.z.rows(slice(0, self.nx)).about(self.loop.problem.plant.x_eq)
        kept = self.size + self.nx
        return x.reduced(kept, self.loop.frame) if x.gens.shape[1] > kept + 2 * self.nx else x

    def _falls(self, gamma: float, what: str, steps: int) -> None:
        """Ask for V(x) ≤ max(γ V(x₀), c ρ) after some steps."""
        loop = self.loop
        P, rho, x_eq = loop.problem.backup.P, loop.problem.backup.rho, loop.problem.plant.x_eq
        last, first = self._deviation(), self.first.about(x_eq)
        above, linear, bent = quadratic_above(last, first, P, gamma)
        fails = ~(above <= ALLOWED * rho)
        floor = loop.problem.scenario_metrics.floor
        if floor:
            fails &= ~(quadratic_above(last, last, P, 0.0)[0] <= floor)
        if self.size:
            cones, at_centre = self.cones[self.alive], self.low[0, self.alive] == 0
            near = np.flatnonzero(fails & self.keeps & at_centre & loop.region.about_rest[cones])
            boxes = self.alive[near]
            if near.size:
                there = self.low[:, boxes], self.high[:, boxes]
                fails[near] = ~contracts_near_rest(loop, self.cones[boxes], *there, gamma, steps)
        self._fail(fails, linear, bent, what)

    def _own_metrics(self, C: Zonotopes, t: int) -> None:
        """Ask for constraints and limits of the input's change."""
        loop, steps = self.loop, self.loop.problem.scenario_metrics.steps
        if loop.own is None or steps is None:
            return
        z = self.z.beside(C if self.before is None else self.before).beside(C)
        forms = affine_forms(loop.own, z)[list(steps.at(t, loop.horizon))]
        if len(forms.centre):
            values = z.values_of(forms, symbols=False)
            top = np.full(len(forms.centre), ALLOWED)
            self._bounded(values, np.full(len(forms.centre), -np.inf), top, f"a constraint at t = {t}")

    def _bounded(self, values: Zonotopes, least: np.ndarray, most: np.ndarray, what: str) -> None:
        """Ask for values within bounds."""
        low, high = values.ends
        for i in range(len(least)):
            for end, bound, sign in ((high[i], most[i], 1), (-low[i], -least[i], -1)):
                if np.isfinite(bound):
                    self._fail(~(end <= bound), sign * values.gens[i], np.zeros((1, len(end))), what)

    def _fail(self, fails: np.ndarray, slopes: np.ndarray, bent: np.ndarray, what: str) -> None:
        """Note which boxes fail, and by what."""
        new = np.flatnonzero(fails & self.keeps)
        if not new.size:
            return
        self.keeps[new] = False
        boxes, found = self.alive[new], self.judgement
        found.blocks[what] = found.blocks.get(what, 0) + new.size
        along = slopes[: self.size, new]
        found.worst[:, boxes] = np.sign(np.nan_to_num(along))
        for t, i, k in self.pushed:
            if k < len(slopes):
                found.pushes[boxes, t, i] = np.sign(np.nan_to_num(slopes[k, new]))
        score = np.nan_to_num(self.score[:, new], nan=0.0, posinf=0.0)
        if len(bent) > 1:
            errors = np.abs(slopes[self.size :, new]).sum(axis=0) + bent[self.size :, new].sum(axis=0)
            score = _shares(score) * errors + bent[: self.size, new]
        found.effect[:, boxes] = _shares(score) + _BY_SLOPE * _shares(np.abs(along))

    def _count_errors(self, errors: np.ndarray, width: np.ndarray) -> None:
        """Blame new errors on the numbers of the box, as far as each moves the state that they come from."""
        moved = np.abs(self.z.gens[: self.nx, : self.size]) / self.width_x[:, None, None]
        shares = _shares(moved.sum(axis=0))
        self.score += shares * (np.abs(errors) / width[:, None, None]).sum(axis=(0, 1))

    def _drop(self, most: int) -> None:
        """Drop the boxes that fail, if they are more than so many."""
        if np.count_nonzero(~self.keeps) <= most and most:
            return
        kept = np.flatnonzero(self.keeps)
        self.alive, self.score = self.alive[kept], self.score[:, kept]
        self.z, self.first = self.z.part(kept), self.first.part(kept)
        self.before = None if self.before is None else self.before.part(kept)
        self.keeps = np.ones(kept.size, dtype=bool)


def _shares(parts: np.ndarray) -> np.ndarray:
    parts = np.nan_to_num(parts, nan=0.0, posinf=0.0, neginf=0.0)
    return parts / np.maximum(parts.sum(axis=0), np.finfo(float).tiny)
