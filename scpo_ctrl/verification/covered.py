"""One box of a cover once more: the closed loop over it by first-order forms, and what is to hold of it."""

from functools import cached_property

import casadi as ca
import numpy as np

from scpo_ctrl.errors import DomainError
from scpo_ctrl.invariance.intervals import enclosure
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.verification.walked import Set, U, Walked, squares_above, times

ALLOWED = 1e-12  # of half the width of a bound: a violation is beyond it, in all of the project
_SPLIT = 1e-6
_FOLDED = 10  # steps


class CoveredBoxes:
    """The loop of a policy, over the declared set's cones.

    Parameters
    ----------
    problem : ControlProblem
        For the expressions of plant and law, and the numbers of metrics and the declared set.
    theta : numpy.ndarray, shape (d,)
    """

    def __init__(self, problem: ControlProblem, theta: np.ndarray) -> None:
        declared = problem.scenarios.declared
        if declared is None:
            raise DomainError("the scenarios declare no set")
        self.problem, self.declared = problem, declared
        self.plant, self.backup = problem.plant, problem.backup
        self.metrics, self.options = problem.scenario_metrics, problem.scenario_metrics.options
        self.nx, self.N = self.plant.nx, problem.scenarios.horizon
        ranges, half = self.declared.ranges, self.declared.half
        self.varied = [i for i in range(len(ranges)) if ranges[i, 0] < ranges[i, 1]]
        self.pushed = [i for i in range(len(half)) if half[i] and self.declared.fixed > 0]
        x, u = ca.SX.sym("x", self.nx), ca.SX.sym("u", self.plant.nu)
        v, before = ca.SX.sym("v", len(self.varied) + len(self.pushed)), ca.SX.sym("b", self.plant.nu)
        p = ca.SX(ca.DM(ranges[:, 0]))
        for k, i in enumerate(self.varied):
            p[i] = v[k]
        memory = hasattr(problem.policy, "controller")
        command = problem.policy.command(x, ca.SX(ca.DM(theta)), p if memory else None)  # nothing cut
        after = ca.substitute(self.plant.f, ca.vertcat(self.plant.x, self.plant.u, self.plant.p), ca.vertcat(x, u, p))
        for k, i in enumerate(self.pushed):
            after[i] += v[len(self.varied) + k]
        z = ca.vertcat(x, v)
        self.law, self.next = Walked(z, command), Walked(ca.vertcat(z, u), after)
        loop = ca.substitute(after, u, command)
        parts = [ca.densify(part) for part in (loop, ca.jacobian(loop, x), command)]
        self.near = ca.Function("near", [z], parts)
        self.own = self.own_at_end = None
        if self.metrics.steps is not None:
            values = self.metrics.steps.function(x, u, before, p)
            self.own = Walked(ca.vertcat(z, before, u), values)
            if self.metrics.steps.states:
                self.own_at_end = Walked(z, self.metrics.steps.at_end(x, p))
        rest = (1 - self.declared.fixed) * half * (1 + 4 * U) if half.size else np.zeros(self.nx)
        self.push = np.asarray(rest)

    @property
    def has_states(self) -> bool:
        """Whether initial states are more than single ones."""
        return self.declared.box is not None or self.declared.size > 0

    @cached_property
    def centres(self) -> np.ndarray:
        """Of the cones, shape (k, nx)."""
        if self.declared.box is None:
            return self.declared.centres
        low, high = self.declared.box
        inside = ((low < self.plant.x_eq) & (self.plant.x_eq < high)).all()
        return (self.plant.x_eq if inside else low + (high - low) / 2)[None]

    @property
    def cones(self) -> int:
        """How many."""
        return len(self.centres) * (2 * self.nx if self.has_states else 1)

    @property
    def size(self) -> int:
        """How many numbers make a point."""
        return (self.nx if self.has_states else 0) + len(self.varied) + len(self.pushed)

    @cached_property
    def starts(self) -> list[tuple[Walked, Walked, Walked]]:
        """Of each cone the functions from numbers to x₀, to what λ multiplies, and to v."""
        return [self._start(cone) for cone in range(self.cones)]

    def widened(self) -> float:
        """How much the ellipsoid is to grow so that it holds the level set whatever its root is."""
        unit, root = self.backup.shape
        M, P, rho = unit[:, None] * root, self.backup.P, self.backup.rho
        # With MᵀPM = ρ(I + E) and ‖E‖ < 1: zᵀPz ≤ s²ρ has z = Mq with |q|² ≤ s² / (1 - ‖E‖).
        E = np.linalg.norm(M.T @ P @ M / rho - np.eye(self.nx))
        sizes = np.linalg.norm(np.abs(M.T) @ np.abs(P) @ np.abs(M) / rho)
        return float(E + 4 * self.nx**2 * U * sizes)

    def _start(self, cone: int) -> tuple[Walked, Walked, Walked]:
        declared, q = self.declared, ca.SX.sym("q", self.size)
        centre = self.centres[cone // (2 * self.nx) if self.has_states else cone]
        d, x0, first = ca.SX.zeros(self.nx, 1), ca.SX(ca.DM(centre)), 0
        if self.has_states:
            axis, sign, first = cone % (2 * self.nx) // 2, 1.0 if cone % 2 else -1.0, self.nx
            t = [q[1 + i] for i in range(self.nx - 1)]
            towards = ca.vertcat(*t[:axis], sign, *t[axis:])
            if declared.box is None:
                unit, root = self.backup.shape
                grown = declared.size * (1 + 1e-9 + self.widened())
                d = ca.DM(unit * grown) * (ca.DM(root) @ (towards / ca.sqrt(1 + sum(one * one for one in t))))
            else:
                low, high = declared.box
                up, down = (high - centre) * (1 + 8 * U), (centre - low) * (1 + 8 * U)
                d = ca.DM((up - down) / 2) + ca.DM((up + down) / 2 * (1 + 8 * U)) * towards
            x0 = x0 + q[0] * d
        ends = declared.ranges[self.varied] if self.varied else np.zeros((0, 2))
        half = (ends[:, 1] - ends[:, 0]) / 2 + 4 * U * np.abs(ends).sum(axis=1)
        middle = ends[:, 0] / 2 + ends[:, 1] / 2
        last = first + len(self.varied)
        most = declared.fixed * declared.half[self.pushed] * (1 + 4 * U) if self.pushed else np.zeros(0)
        v = ca.vertcat(ca.DM(middle) + ca.DM(half) * q[first:last], ca.DM(most) * q[last:])
        return Walked(q, x0), Walked(q, d), Walked(q, v)

    def cut(self) -> bool:
        """Whether the ellipsoids reach beyond the state bounds, where the declared set is cut to them."""
        if self.declared.box is not None or self.declared.size == 0:
            return False
        reach = self.declared.reach * (1 - 1e-6)
        below, above = self.centres - reach < self.plant.x_min, self.centres + reach > self.plant.x_max
        return bool((below | above).any())

    def holds(self, cone: int, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Return on which boxes of a cone every metric is kept, shape (B,); low, high (size, B)."""
        of_x, of_d, of_v = self.starts[cone]
        q = Set(low + (high - low) / 2, _boxed(low, high), np.zeros(low.shape))
        x0, v = of_x(q, symbols=True), of_v(q, symbols=False)
        ok = np.ones(low.shape[1], dtype=bool)
        z, before = x0.and_of(v), None
        kept = self.size + self.nx
        with np.errstate(all="ignore"):
            for t in range(self.N):
                u = self.law(z, symbols=True)
                ok &= self._within(u, self.plant.u_min, self.plant.u_max)
                ok &= self._own(z, u if before is None else before, u, t)
                x = self.next(z.and_of(u), symbols=not self.next.is_affine or t % _FOLDED == 0)
                if self.push.any():
                    x = x.with_symbols(np.repeat(self.push[:, None], low.shape[1], axis=1))
                ok &= self._within(x, self.plant.x_min, self.plant.x_max)
                if t == 0 and self.options.one_step is not None:
                    ok &= self._falls(x, x0, 1 - self.options.one_step, (cone, low, high, of_d, v, 1))
                before, z = u, x.and_of(v)
                if z.gens.shape[1] > 48:
                    z = x.bounded(kept).and_of(v)
                    before = Set(
                        u.centre, u.gens[:, :kept], u.loose + np.abs(u.gens[:, kept:]).sum(axis=1) * (1 + 1e-12)
                    )
            x = z.rows(slice(0, self.nx))
            if self.own_at_end is not None:
                ok &= self._within(self.own_at_end(z, symbols=False), None, np.zeros(self.own_at_end.m), 1.0)
            if self.options.terminal:
                a = self._about(x)
                ok &= squares_above(a, a, self.backup.P, 0.0) <= self.backup.rho * (1 + ALLOWED)
            if self.options.contraction is not None:
                ok &= self._falls(x, x0, self.options.contraction, (cone, low, high, of_d, v, self.N))
        return ok

    def _own(self, z: Set, before: Set, u: Set, t: int) -> np.ndarray:
        if self.own is None or self.metrics.steps is None:
            return np.ones(z.centre.shape[1], dtype=bool)
        rows = list(self.metrics.steps.at(t, self.N))
        values = self.own(z.and_of(before).and_of(u), symbols=False)
        some = Set(values.centre[rows], values.gens[rows], values.loose[rows])
        return self._within(some, None, np.zeros(len(rows)), 1.0)

    def _within(self, values: Set, least: np.ndarray | None, most: np.ndarray, unit: float = 0.0) -> np.ndarray:
        box = values.box
        half = np.full(len(most), unit) if least is None else (most - least) / 2
        room = ALLOWED * np.where(np.isfinite(half), half, 1.0)
        ok = (box.high <= most + room).all(axis=1)
        return np.asarray(ok if least is None else ok & (box.low >= least - room).all(axis=1))

    def _about(self, x: Set) -> Set:
        centre = x.centre - self.plant.x_eq[:, None]
        return Set(centre, x.gens, x.loose + U * np.abs(centre))

    def _falls(self, x: Set, x0: Set, gamma: float, box: tuple) -> np.ndarray:
        """Return where V(x) ≤ max(γ V(x₀), c ρ)."""
        cone, low, high, of_d, v, steps = box
        P, rho, floor = self.backup.P, self.backup.rho, self.metrics.floor
        a, b = self._about(x).bounded(self.size + self.nx), self._about(x0)
        ok = squares_above(a, b, P, gamma) <= ALLOWED * rho
        if floor:
            ok |= squares_above(a, a, P, 0.0) <= floor
        centre = self.centres[cone // (2 * self.nx)] if self.has_states else None
        if centre is not None and np.array_equal(centre, self.plant.x_eq):
            some = np.flatnonzero(~ok & (low[0] == 0))
            if some.size:
                q = Set(
                    (low + (high - low) / 2)[:, some], _boxed(low, high)[:, :, some], np.zeros((self.size, some.size))
                )
                ok[some] = self._near(of_d(q, symbols=True), v.part(some), high[0, some], gamma, steps)
        return ok

    def _near(self, d: Set, v: Set, farthest: np.ndarray, gamma: float, steps: int) -> np.ndarray:
        """Return where V falls from all x_eq + λ d, λ from zero on: y⁺ = J̄ y, and r⁺ = J̄ r + what moves the rest."""
        B, x_eq = d.centre.shape[1], self.plant.x_eq[:, None]
        none = Set(np.repeat(x_eq, B, axis=1), np.zeros((self.nx, 0, B)), np.zeros((self.nx, B)))
        at_rest = enclosure(self.near, none.and_of(v).box)[0]
        moved = np.maximum(np.abs(at_rest.low[:, :, 0].T - x_eq), np.abs(at_rest.high[:, :, 0].T - x_eq))
        moved = moved * (1 + 4 * U) + self.push[:, None]
        y, r, ok = d, Set(np.zeros((self.nx, B)), np.zeros((self.nx, 0, B)), np.zeros((self.nx, B))), np.ones(B, bool)
        for _ in range(steps):
            of_y, of_r = y.box, r.box
            low = np.minimum(of_y.low.T * farthest, 0.0) + np.minimum(of_r.low.T, 0.0)
            high = np.maximum(of_y.high.T * farthest, 0.0) + np.maximum(of_r.high.T, 0.0)
            middle = x_eq + (low + high) / 2
            half = (high - low) / 2 + 8 * U * (np.abs(low) + np.abs(high) + np.abs(x_eq) + np.abs(middle)) + 1e-290
            at = Set(middle, np.zeros((self.nx, 0, B)), half).and_of(v).box
            _, J, u = enclosure(self.near, at)
            ok &= ((u.low[:, :, 0] >= self.plant.u_min) & (u.high[:, :, 0] <= self.plant.u_max)).all(axis=1)
            y = times(J, y).bounded(self.size + self.nx)
            r = times(J, r).with_symbols(moved).bounded(0)
        left = squares_above(r, r, self.backup.P, 0.0) * (1 + 1 / _SPLIT) * (1 + 1e-9)
        falls = squares_above(y, d, self.backup.P, gamma / (1 + _SPLIT) * (1 - 8 * U)) <= 0
        return ok & falls & (left <= ALLOWED * self.backup.rho)


def _boxed(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return a symbol for each number of boxes, (size, size, B)."""
    gens, n = np.zeros((len(low), len(low), low.shape[1])), np.arange(len(low))
    middle = low + (high - low) / 2
    gens[n, n] = np.maximum(high - middle, middle - low) * (1 + 4 * U)
    return gens
