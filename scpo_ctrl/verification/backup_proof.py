"""The proof that a backup keeps its level set once more, over the tree of boxes of its file: nothing is searched.

In coordinates T z in which V is ρ |T z|² no state of {V ≤ level · ρ} leaves it under the backup if, on all of it,

    ‖T J T⁻¹‖ √level + |T d| + |T w| ≤ √level

with J the Jacobian of the loop, d the drift of its equilibrium and w the disturbance (docs/guarantees.md). J and d
depend on a few variables η. Where a leaf says so it is the mean J̄ of J along rays from the equilibrium instead, and the
inequality that of the states alone whose variables are in the leaf (`rays`). The box of all η is computed here and
halved as the tree says, so that its leaves cover it. On a leaf of widths w_k, T J T⁻¹ is Σ_k t_k e_k E_k below what the
corners span, 0 ≤ t_k ≤ 1, e_k = w_k²/8, E_k a ball around T ∂²J/∂η_k² T⁻¹: half of the balls' middles is taken off the
corners, and what is left added.
"""

import itertools
from dataclasses import dataclass
from functools import cached_property

import casadi as ca
import numpy as np
from flint import arb, arb_mat, ctx

from scpo_ctrl.errors import DomainError
from scpo_ctrl.verification.arb import BallFunction, Ends, cholesky, is_shorter, norm_bound
from scpo_ctrl.verification.law import Law
from scpo_ctrl.verification.rays import MeanJacobian, cone

SLACK = 1e-9  # of what is stated, for bounds that are computed anew; the inequality itself has none
_BITS = 100  # of a ball's middle
_MOST_SIGNS = 12  # parts of a disturbance up to which all of its corners are looked at
_INDEPENDENT = 1e-2  # least singular value of rows of length one that are no combination of others


@dataclass(frozen=True)
class Claim:
    """What a file says is proved."""

    level: float  # part of ρ, > 0
    contraction: float  # bound of ‖T J T⁻¹‖
    drift: float  # bound of |T d|
    disturbance: float  # bound of |T w|
    variables: tuple[str, ...]  # η
    splits: list[list[int]]
    """Of the boxes of each generation in order, the variable that each is halved across; -1 where the inequality holds,
    -3 where it does of J̄, -2 where no state of the set has a part in it. The next generation is all lower halves, then
    all upper halves."""
    tilt: float = 0.0  # of cones around rays, in [0, 1)


def claim_fault(law: Law, ranges: np.ndarray, half: np.ndarray, claim: Claim) -> str:
    """Return what of a claim is not shown.

    Parameters
    ----------
    law : Law
    ranges : numpy.ndarray, shape (np, 2)
        Of the plant parameters.
    half : numpy.ndarray, shape (nx,)
        Half widths of the disturbance.
    claim : Claim

    Returns
    -------
    str
        Empty if all of it is.
    """
    with ctx.workprec(_BITS):
        try:
            return _Check(law, ranges, half, claim).fault()
        except (DomainError, ZeroDivisionError) as error:  # flint divides by no matrix that may be singular
            return str(error)


class _Check:
    """A loop in the coordinates of its level set, in balls."""

    def __init__(self, law: Law, ranges: np.ndarray, half: np.ndarray, claim: Claim) -> None:
        self.law, self.plant, self.claim, self.size = law, law.plant, claim, arb(claim.level).sqrt()
        root = cholesky((_balls((law.P + law.P.T) / 2) * (1 / arb(law.rho))).inv().tolist())
        if root is None:
            raise DomainError("P is not shown to be positive definite")
        self.back = arb_mat(root)
        self.T = self.back.inv()
        self.columns = self.T * _balls(np.diag(half)[:, np.flatnonzero(half)])  # of the disturbance
        self.ranges = [(arb(low), arb(high)) for low, high in ranges.tolist()]
        x, u, p = self.plant.x, self.plant.u, self.plant.p
        command, at_rest = law.backup(x, p), ca.DM(self.plant.x_eq)
        slope = ca.simplify(ca.jacobian(command, ca.vertcat(x, p)))
        self.curved = ca.depends_on(command, p) or ca.depends_on(slope, ca.vertcat(x, p))
        rows, symbols, labels = np.eye(self.plant.nx), [x, p], [*self.plant.x_labels, *self.plant.p_labels]
        J = ca.jacobian(ca.substitute(self.plant.f, u, command), x)
        if not self.curved:  # bounded over states and inputs: fewer of them than of states alone, as a rule
            gain = slope[:, : self.plant.nx]
            J = ca.jacobian(self.plant.f, x) + ca.jacobian(self.plant.f, u) @ ca.sparsify(ca.DM(gain))
            rows, symbols = np.vstack([rows, np.array(ca.DM(gain))]), [x, u, p]
            labels[self.plant.nx : self.plant.nx] = self.plant.u_labels
        d = self.plant.function(at_rest, law.backup(at_rest, p), p) - at_rest
        self._variables(_balls(rows) * self.back, ca.vertcat(*symbols), labels, ca.densify(J), ca.densify(d))

    def _variables(self, rows: arb_mat, symbols: ca.SX, labels: list[str], J: ca.SX, d: ca.SX) -> None:
        """Find η, the box of all of it, and J and d of it; what else they depended on would be no number."""
        rest = np.append(self.plant.x_eq, self.plant.u_eq)[: rows.nrows()].tolist()
        middles = [*map(arb, rest), *((low + high) / 2 for low, high in self.ranges)]
        reaches = [self.size * _length(row) for row in rows.tolist()]
        self.within = [(middle - reach, middle + reach) for middle, reach in zip(middles, reaches, strict=False)]
        reaches += [(high - low) / 2 for low, high in self.ranges]
        depends = ca.which_depends(ca.vertcat(ca.vec(J), d), symbols, 1, False)
        which = [i for i, reach in enumerate(reaches) if depends[i] and not reach.is_zero()]
        if tuple(labels[i] for i in which) != self.claim.variables:
            raise DomainError(f"the Jacobian depends on other variables: {', '.join(labels[i] for i in which)}")
        fixed = [i for i in range(symbols.numel()) if i not in which]
        values = ca.DM([float(middles[i]) if reaches[i].is_zero() else np.nan for i in fixed])
        eta, others = (ca.vertcat(ca.SX(0, 1), *(symbols[i] for i in some)) for some in (which, fixed))
        J, d = ca.substitute([J, d], [others], [values])
        second = [(part, ca.jacobian(ca.jacobian(ca.vec(part), one), one)) for part in (J, d) for one in eta.elements()]
        bends = [ca.reshape(ca.densify(bend), *part.shape) for part, bend in second]
        self.jacobian = BallFunction(ca.Function("jacobian", [eta], ca.cse([J, d])))
        self.bends = BallFunction(ca.Function("bends", [eta], ca.cse(bends) if bends else []))
        self.middles, self.known = [middles[i] for i in which], dict[tuple[float, ...], tuple[arb_mat, arb_mat]]()
        moves = [i < rows.nrows() for i in which]
        self.means = dict[tuple[float, ...], arb_mat]()
        self.symbols = eta, J, self.bends, self.middles, moves
        grown = [reaches[i] * (arb(1) + SLACK) for i in which]  # so that the box is that of the prover
        self.low = [_outwards(middle - reach, -np.inf) for middle, reach in zip(self.middles, grown, strict=True)]
        self.high = [_outwards(middle + reach, np.inf) for middle, reach in zip(self.middles, grown, strict=True)]
        of_set = [rows.tolist()[i] for i in which if i < rows.nrows()]
        self.seen = _independent(np.array([[float(entry) for entry in row] for row in of_set]))
        W = arb_mat([of_set[k] for k in self.seen]) if self.seen else arb_mat(0, self.plant.nx)
        gram = cholesky((W * W.transpose()).tolist()) or []
        self.whitened = arb_mat(gram).inv() if gram else arb_mat(0, 0)
        self.across = self.whitened * W

    @cached_property
    def mean(self) -> MeanJacobian:
        """The mean of the Jacobian along rays."""
        return MeanJacobian(*self.symbols)

    def fault(self) -> str:
        """Return what is not shown."""
        beyond, self.push = self._beyond(), self._push()
        if beyond:
            return f"the set, or the command on it, is not shown to be within the bounds of {beyond}"
        if not self.push <= arb(self.claim.disturbance) + SLACK:
            return f"disturbance = {self.claim.disturbance!r}, it may be {float(self.push):.9g}"
        low, high = (np.array(ends, dtype=float).reshape(1, -1) for ends in (self.low, self.high))
        for number, decided in enumerate(np.array(one, dtype=int) for one in self.claim.splits):
            if len(decided) != len(low):
                return f"splits[{number}] is of {len(decided)} boxes, and {len(low)} are to be decided"
            for which, a, b in zip(decided.tolist(), low.tolist(), high.tolist(), strict=True):
                if which < 0 and not (self._outside(a, b) if which == -2 else self._closed(a, b, which == -3)):
                    ends = zip(self.claim.variables, a, b, strict=True)
                    where = ", ".join(f"{label} in [{one:.6g}, {two:.6g}]" for label, one, two in ends) or "all of it"
                    what = "no state of the set has a part in the box" if which == -2 else "the inequality holds"
                    return f"splits[{number}]: it is not shown that {what}: {where}"
            parents = np.flatnonzero(decided >= 0)
            low, high, at = low[parents], high[parents], (np.arange(len(parents)), decided[parents])
            lower, upper = high.copy(), low.copy()
            lower[at] = upper[at] = (low[at] + high[at]) / 2
            low, high = np.vstack([low, upper]), np.vstack([lower, high])
        return f"splits leaves {len(low)} boxes undecided" if len(low) else ""

    def _beyond(self) -> str:
        """Name the first bound that the set, or the command on it, is not shown to be within."""
        plant, within = self.plant, self.within
        if self.curved:
            both, command = ca.vertcat(plant.x, plant.p), ca.densify(self.law.backup(plant.x, plant.p))
            within = within + BallFunction(ca.Function("command", [both], [command])).on([*within, *self.ranges])[0]
        bounds = np.append(plant.x_min, plant.u_min).tolist(), np.append(plant.x_max, plant.u_max).tolist()
        rows = zip((*plant.x_labels, *plant.u_labels), within, *bounds, strict=True)
        return next((name for name, (low, high), least, most in rows if not (low >= least and high <= most)), "")

    def _push(self) -> arb:
        """Return a bound of the length of a disturbance, in parts of √ρ."""
        total, count = arb(0), self.columns.ncols()
        if count > _MOST_SIGNS:
            return sum(map(_length, self.columns.transpose().tolist()), total)
        for signs in itertools.product((1.0, -1.0), repeat=count):
            total = total.max(norm_bound(self.columns * _balls(np.array([signs]).T)))
        return total

    def _outside(self, low: list[float], high: list[float]) -> bool:
        """Whether it is shown that no state of the set has a part in a box: a sum of squares is above the level."""
        centre = [(arb(low[k]) + arb(high[k])) / 2 - self.middles[k] for k in self.seen]
        half, total = [(arb(high[k]) - arb(low[k])) / 2 for k in self.seen], arb(0)
        for row in self.whitened.tolist():
            near = abs(sum((w * c for w, c in zip(row, centre, strict=True)), arb(0)))
            near -= sum((abs(w) * h for w, h in zip(row, half, strict=True)), arb(0))
            total += near * near if near > 0 else 0
        return bool(total > self.claim.level)

    def _closed(self, low: list[float], high: list[float], by_mean: bool) -> bool:
        """Whether the inequality, of J or of J̄, and what is stated of its parts, is shown on a box."""
        box, k, drift = [(arb(a), arb(b)) for a, b in zip(low, high, strict=True)], len(low), arb(0)
        e, bends = [(b - a) ** 2 / 8 for a, b in box], self.bends.on(box)
        corners = list(itertools.product(*zip(low, high, strict=True)))
        shift, between = self._between(bends[k:], e, arb_mat(1, 1, 1))
        for corner in corners:
            drift = drift.max(norm_bound(self._corner(corner)[1] - shift) + between)
        metrics = self._metrics(box) if by_mean else []
        shift, between = self._between(self.mean.bent(box) if by_mean else bends[:k], e, self.back)
        bound = (1 - (drift + self.push) / self.size).min(self.claim.contraction + arb(SLACK)) - between
        if not drift <= self.claim.drift + arb(SLACK):
            return False
        matrices = (self._mean(corner) if by_mean else self._corner(corner)[0] for corner in corners)
        return all(
            is_shorter(J - shift, bound) or any(is_shorter(J - shift, bound, metric) for metric in metrics)
            for J in matrices
        )

    def _metrics(self, box: list[Ends]) -> list[arb_mat]:
        """Return what is known of states whose variables are in a box."""
        low, high = ([box[k][end] - self.middles[k] for k in self.seen] for end in (0, 1))
        tilts = (self.claim.tilt, self.claim.tilt / 4) if self.seen else ()
        found = (cone(self.whitened, self.across, low, high, tilt) for tilt in tilts)
        return [metric for metric in found if metric is not None]

    def _mean(self, corner: tuple[float, ...]) -> arb_mat:
        """Return T J̄ T⁻¹ at a point."""
        if corner not in self.means:
            self.means[corner] = self.T * arb_mat(self.plant.nx, self.plant.nx, self.mean.at(corner)) * self.back
        return self.means[corner]

    def _corner(self, corner: tuple[float, ...]) -> tuple[arb_mat, arb_mat]:
        """Return T J T⁻¹ and T d at a point."""
        if corner not in self.known:
            J, d = self.jacobian.at([arb(value) for value in corner])
            nx = self.plant.nx
            self.known[corner] = self.T * arb_mat(nx, nx, J) * self.back, self.T * arb_mat(nx, 1, d)
        return self.known[corner]

    def _between(self, bends: list[list[Ends]], e: list[arb], right: arb_mat) -> tuple[arb_mat, arb]:
        """Return what is taken off the corners, and a bound of what is left between them."""
        shape = self.plant.nx, right.ncols()
        (shift, spread, loose), each = (arb_mat(*shape) for _ in range(3)), arb(0)
        for part, size in zip(bends, e, strict=True):
            ball = self.T * arb_mat(shape[0], right.nrows(), [low.union(high) for low, high in part]) * right
            half = ball.mid() * (size / 2)
            shift += half
            spread += arb_mat(*shape, [abs(entry) for entry in half.entries()])
            loose += arb_mat(*shape, [entry.rad() * size for entry in ball.entries()])
            each += norm_bound(half)
        return shift, norm_bound(spread).min(each) + norm_bound(loose)


def _balls(matrix: np.ndarray) -> arb_mat:
    return arb_mat(len(matrix), matrix.shape[1], matrix.ravel().tolist())


def _length(row: list[arb]) -> arb:
    return sum((entry * entry for entry in row), arb(0)).sqrt()


def _independent(rows: np.ndarray) -> list[int]:
    """Return which rows are no combination of those before; that they are is proved by who uses them."""
    seen: list[int] = []
    for k in range(len(rows)):
        unit = rows[[*seen, k]] / np.linalg.norm(rows[[*seen, k]], axis=1, keepdims=True)
        if len(seen) < rows.shape[1] and np.linalg.svd(unit, compute_uv=False)[-1] > _INDEPENDENT:
            seen.append(k)
    return seen


def _outwards(end: arb, towards: float) -> float:
    """Return a double that is shown to be beyond an end."""
    value = float(end)
    while not (end <= value if towards > 0 else end >= value):
        value = float(np.nextafter(value, towards))
    return value
