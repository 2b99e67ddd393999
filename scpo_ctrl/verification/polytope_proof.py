"""The proof that a backup keeps a polytope once more, from the facets and multipliers of its file: nothing is solved.

In z = x - x_eq the loop of a linear plant is z⁺ = A_k z + d_k + w at the corners p_k of cells of its parameters, and
between them within h of their hull (docs/guarantees.md). That a row c has c z ≤ b on {F z ≤ 1} is shown by multipliers:

    η ≥ 0,  Σ η + |c - η F| e ≤ b        where |z| ≤ e, which is shown by rows of the axes likewise

Every number is a ball of Arb that holds what exact arithmetic would give.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np
from flint import arb, ctx

from scpo_ctrl.errors import DomainError
from scpo_ctrl.verification.arb import BallFunction, Ends
from scpo_ctrl.verification.law import Law

SLACK = 1e-9  # of what is stated to be left; the inequalities themselves have none
_BITS = 100  # of a ball's middle


@dataclass(frozen=True)
class PolytopeClaim:
    """What a file says is proved."""

    facets: list[list[float]]  # F, (m, nx)
    extent: list[float]  # e, (nx,)
    between: list[float]  # (nx,) how far the next state may be from what the corners of a cell span
    inverse: list[bool]  # (np,) whether q is 1/p
    cells: list[int]  # (np,) of each range of q
    left: float  # of 1, by the steps
    multipliers: list[dict[str, list[Any]]]  # of each row: which facets, and how much


def polytope_fault(law: Law, ranges: np.ndarray, half: np.ndarray, claim: PolytopeClaim) -> str:
    """Return what of a claim is not shown.

    Parameters
    ----------
    law : Law
    ranges : numpy.ndarray, shape (np, 2)
        Of the plant parameters.
    half : numpy.ndarray, shape (nx,)
        Half widths of the disturbance.
    claim : PolytopeClaim

    Returns
    -------
    str
        Empty if all of it is.
    """
    with ctx.workprec(_BITS):
        try:
            return _Check(law, ranges, half, claim).fault()
        except (DomainError, ZeroDivisionError) as error:
            return str(error)


class _Check:
    """A loop at the corners of its parameters, in balls."""

    def __init__(self, law: Law, ranges: np.ndarray, half: np.ndarray, claim: PolytopeClaim) -> None:
        self.plant, self.claim = law.plant, claim
        plant, x, u, p = law.plant, law.plant.x, law.plant.u, law.plant.p
        command, at_rest = law.backup(x, p), ca.DM(plant.x_eq)
        self.slope = ca.densify(ca.simplify(ca.jacobian(command, x)))
        f = ca.substitute(plant.f, u, command)
        A = ca.densify(ca.simplify(ca.jacobian(f, x)))
        B = ca.simplify(ca.jacobian(plant.f, u))
        if ca.depends_on(ca.vertcat(ca.vec(A), ca.vec(B)), ca.vertcat(x, u)):
            raise DomainError("the plant is not shown to be linear under its backup")
        if ca.depends_on(ca.vertcat(ca.vec(self.slope), command), p) or ca.depends_on(self.slope, x):
            raise DomainError("the backup is no gain")
        d = ca.densify(ca.substitute(f, x, at_rest) - at_rest)
        self.at = BallFunction(ca.Function("at", [p], [A, d]))
        self.gain = BallFunction(ca.Function("gain", [x], [self.slope, ca.densify(command)]))
        self.F = [[arb(value) for value in row] for row in claim.facets]
        self.e = [arb(value) for value in claim.extent]
        self.push = [arb(between) + arb(one) for between, one in zip(claim.between, half.tolist(), strict=True)]
        self.varied = [j for j, (low, high) in enumerate(ranges.tolist()) if high > low]
        self.ends = [self._ends(j, *ranges[j].tolist()) for j in range(plant.npar)]

    def _ends(self, j: int, low: float, high: float) -> Ends:
        """Return the range of q_j."""
        if not self.claim.inverse[j]:
            return arb(low), arb(high)
        if low <= 0 <= high:
            raise DomainError(f"inverse[{j}] is of a range that holds 0")
        return 1 / arb(high), 1 / arb(low)

    def fault(self) -> str:
        """Return what is not shown."""
        bent = self._bent()
        if bent:
            return bent
        shown, count = self.claim.multipliers, self._count()
        if len(shown) != count:
            return f"multipliers are of {len(shown)} rows, and {count} are to be shown"
        rows = self._rows()
        least: arb | None = None
        for number, ((name, row, most, is_step), given) in enumerate(zip(rows, shown, strict=True)):
            found, total = self._bound(row, given)
            if name == "axis" and not total > 0:
                return f"multipliers[{number}] are none"
            if not found <= most:
                return f"multipliers[{number}]: it is not shown that the set is within {self._words(name, number)}"
            least = (most - found if least is None else least.min(most - found)) if is_step else least
        if least is None or not least + arb(SLACK) >= self.claim.left:
            return f"left = {self.claim.left!r}, it may be {float(least or 0):.9g}"
        return ""

    def _count(self) -> int:
        """Return how many rows are to be shown."""
        plant, corners = self.plant, math.prod(self.claim.cells[j] + 1 for j in self.varied)
        bounded = int(np.isfinite(plant.u_min).sum() + np.isfinite(plant.u_max).sum())
        return 2 * plant.nx + bounded + len(self.F) * corners

    def _words(self, name: str, number: int) -> str:
        """Say what a row is of."""
        nx = self.plant.nx
        if name == "axis":
            return f"the extent, or the bounds, of {self.plant.x_labels[number % nx]}"
        return f"the bounds of {name}" if name != "step" else "itself a step later"

    def _bound(self, row: list[arb], given: dict[str, list[Any]]) -> tuple[arb, arb]:
        """Return a bound of a row on the set, and the sum of its multipliers."""
        rest, total = list(row), arb(0)
        for k, weight in zip(given["of"], map(arb, given["are"]), strict=True):
            total += weight
            rest = [r - weight * entry for r, entry in zip(rest, self.F[k], strict=True)]
        return total + _dot([abs(r) for r in rest], self.e), total

    def _rows(self) -> list[tuple[str, list[arb], arb, bool]]:
        """Return what is to be shown: a name, the row, what it may be at most, and whether it is of a step."""
        plant, rows = self.plant, list[tuple[str, list[arb], arb, bool]]()
        slope, command = self.gain.at([arb(value) for value in plant.x_eq.tolist()])
        gains = [slope[k * plant.nx : (k + 1) * plant.nx] for k in range(plant.nu)]
        for sign, bounds in ((1, plant.x_max), (-1, plant.x_min)):
            for i, bound in enumerate(bounds.tolist()):
                axis = [arb(sign if k == i else 0) for k in range(plant.nx)]
                rows.append(("axis", axis, self.e[i].min(sign * (arb(bound) - arb(float(plant.x_eq[i])))), False))
        for sign, bounds in ((1, plant.u_max), (-1, plant.u_min)):
            for i, bound in enumerate(bounds.tolist()):
                if np.isfinite(bound):
                    row = [sign * entry for entry in gains[i]]
                    rows.append((plant.u_labels[i], row, sign * (arb(bound) - command[i]), False))
        for p in self._corners():
            A, d = self.at.at(p)
            columns = [A[k :: plant.nx] for k in range(plant.nx)]
            for facet in self.F:
                pushed = _dot(facet, d) + _dot([abs(entry) for entry in facet], self.push)
                rows.append(("step", [_dot(facet, column) for column in columns], 1 - pushed, True))
        return rows

    def _corners(self) -> list[list[arb]]:
        """Return the corners of all cells, as parameters."""
        axes = []
        for j, (low, high) in enumerate(self.ends):
            cells = self.claim.cells[j] if j in self.varied else 0
            q = [low + (high - low) * k / cells for k in range(cells + 1)] if cells else [low]
            axes.append([1 / value for value in q] if self.claim.inverse[j] else q)
        return [list(corner) for corner in itertools.product(*axes)]

    def _bent(self) -> str:
        """Name what of `between` is not shown: Σ_j w_j²/8 |∂²f/∂q_j²| within all bounds."""
        plant, total = self.plant, [arb(0)] * self.plant.nx
        sides = (plant.x_min, plant.x_max), (plant.u_min, plant.u_max)
        within = [(arb(a), arb(b)) for low, high in sides for a, b in zip(low.tolist(), high.tolist(), strict=True)]
        for j in self.varied:
            q = ca.SX.sym("q")
            f = ca.substitute(plant.f, plant.p[j], 1 / q if self.claim.inverse[j] else q)
            second = ca.densify(ca.simplify(ca.jacobian(ca.jacobian(f, q), q)))
            others = [i for i in range(plant.npar) if i != j]
            symbols = ca.vertcat(plant.x, plant.u, *(plant.p[i] for i in others), q)
            box = [*within, *(self._parameter(i) for i in others), self.ends[j]]
            (found,) = BallFunction(ca.Function("second", [symbols], [second])).on(box)
            width = (self.ends[j][1] - self.ends[j][0]) / self.claim.cells[j]
            for i, (low, high) in enumerate(found):
                total[i] += width * width / 8 * abs(low).max(abs(high))
        shown = [bool(bound <= stated) for bound, stated in zip(total, self.claim.between, strict=True)]
        return "" if all(shown) else f"between is not shown for {plant.x_labels[shown.index(False)]}"

    def _parameter(self, i: int) -> Ends:
        """Return the range of p_i."""
        low, high = self.ends[i]
        return (1 / high, 1 / low) if self.claim.inverse[i] else (low, high)


def _dot(a: list[arb], b: list[arb]) -> arb:
    return sum((one * other for one, other in zip(a, b, strict=True)), arb(0))
