"""Affine forms of SX functions over zonotopes, for many boxes at once.

What is linear in the variables stays so; a product or function of one argument adds a line and an error, from how far
its argument reaches within the zonotope. Rounding: see `zonotopes`. Instructions of one kind that do not wait for each
other, such as the units of a layer, are done together.
"""

from collections.abc import Callable

import numpy as np

from scpo_ctrl.proof.lines import line_beside
from scpo_ctrl.proof.program import Group, Program
from scpo_ctrl.proof.zonotopes import EPS, TINY, Forms, Zonotopes

_GROWN = 1 + 16 * EPS


def affine_forms(program: Program, variables: Zonotopes) -> Forms:
    """Return affine forms of what an SX function is over zonotopes of its only argument.

    Parameters
    ----------
    program : Program
        Of the function.
    variables : Zonotopes

    Returns
    -------
    Forms
        One for each entry of the result.
    """
    with np.errstate(all="ignore"):
        return _Over(program, variables).results()


class _Over:
    """The memory of a program over zonotopes, a row for each value."""

    def __init__(self, program: Program, variables: Zonotopes) -> None:
        self.program, self.variables, self.reach = program, variables, variables.reach
        V, B = variables.centre.shape
        self.centre = np.empty((program.size, B))
        self.slopes = np.zeros((program.size, V, B))
        self.error = np.zeros((program.size, B))
        self.centre[: len(program.constants)] = program.constants[:, None]
        self.centre[program.inputs] = variables.centre[program.entries]
        self.slopes[program.inputs, program.entries] = 1.0
        self._kinds: dict[str, Callable[[Group], None]] = {
            "add": lambda group: self._add(group, 1.0),
            "sub": lambda group: self._add(group, -1.0),
            "larger": lambda group: self._larger(group, 1.0),
            "smaller": lambda group: self._larger(group, -1.0),
            "scale": lambda group: self._scale(group, np.multiply),
            "unscale": lambda group: self._scale(group, np.divide),
            "mul": self._multiply,
            "square": self._square,
            "line": self._line,
        }

    def results(self) -> Forms:
        for group in self.program.groups:
            self._kinds[group.kind](group)
        last = self.program.outputs
        return Forms(self.centre[last], self.slopes[last], self.error[last])

    def _put(self, into: np.ndarray, made: Forms, rounded: np.ndarray) -> None:
        """Keep values whose computation has rounded numbers of some absolute values."""
        self.centre[into], self.slopes[into] = made.centre, made.slopes
        self.error[into] = (made.error + EPS * rounded) * _GROWN + TINY

    def _sizes(self, slopes: np.ndarray) -> np.ndarray:
        """Return Σ_i |a_i| reach_i, shape (m, B)."""
        return np.asarray((np.abs(slopes) * self.reach).sum(axis=1))

    def _spread(self, slopes: np.ndarray, error: np.ndarray) -> np.ndarray:
        """Return how far forms are from their centres at most, shape (m, B)."""
        gens, loose = self.variables.gens, self.variables.loose
        m, V, _ = slopes.shape
        along, one = np.empty(gens.shape[1:]), np.empty(gens.shape[1:])
        total = np.empty(error.shape)
        for j in range(m):
            np.multiply(slopes[j, 0], gens[0], out=along) if V else along.fill(0.0)
            for i in range(1, V):
                if slopes[j, i].any():
                    np.multiply(slopes[j, i], gens[i], out=one)
                    along += one
            np.abs(along, out=along)
            total[j] = along.sum(axis=0)
        a = np.abs(slopes)
        count = 2 * V + gens.shape[1] + 8
        slack = (a * loose).sum(axis=1) + count * EPS * (a * self.reach).sum(axis=1)
        return np.asarray((total + slack + error) * (_GROWN + V * EPS) + TINY)

    def _add(self, group: Group, sign: float) -> None:
        a, b = group.takes
        centre = self.centre[a] + sign * self.centre[b]
        slopes = self.slopes[a] + sign * self.slopes[b]
        made = Forms(centre, slopes, self.error[a] + self.error[b])
        self._put(group.into, made, np.abs(centre) + self._sizes(slopes))

    def _scale(self, group: Group, by: Callable[..., np.ndarray]) -> None:
        (a,), k = group.takes, group.numbers[:, None]
        centre, slopes = by(self.centre[a], k), by(self.slopes[a], k[:, :, None])
        made = Forms(centre, slopes, by(self.error[a], np.abs(k)))
        self._put(group.into, made, np.abs(centre) + self._sizes(slopes))

    def _multiply(self, group: Group) -> None:
        a, b = group.takes
        c, d, of_a, of_b = self.centre[a], self.centre[b], self.slopes[a], self.slopes[b]
        slopes = of_a * d[:, None] + of_b * c[:, None]
        spreads = self._spread(of_a, self.error[a]) * self._spread(of_b, self.error[b])
        C, D = np.abs(c), np.abs(d)
        error = C * self.error[b] + D * self.error[a] + spreads
        rounded = 4 * (C * D + C * self._sizes(of_b) + D * self._sizes(of_a))
        self._put(group.into, Forms(c * d, slopes, error), rounded)

    def _square(self, group: Group) -> None:
        (a,) = group.takes
        c, of_a = self.centre[a], self.slopes[a]
        R, C = self._spread(of_a, self.error[a]), np.abs(c)
        half = R * R / 2
        made = Forms(c * c + half, 2 * c[:, None] * of_a, 2 * C * self.error[a] + half)
        self._put(group.into, made, 4 * (C * C + R * R + 2 * C * self._sizes(of_a)))

    def _line(self, group: Group) -> None:
        (a,) = group.takes
        self._beside(group, Forms(self.centre[a], self.slopes[a], self.error[a]))

    def _beside(self, group: Group, a: Forms) -> None:
        R = self._spread(a.slopes, a.error)
        wide = R + EPS * (np.abs(a.centre) + R)
        ends = a.centre - wide, a.centre + wide
        f0, alpha, delta = line_beside(group.operation, *ends, a.centre, group.exponent)
        slopes = alpha[:, None] * a.slopes
        made = Forms(f0, slopes, np.abs(alpha) * a.error + delta)
        self._put(group.into, made, np.abs(f0) + self._sizes(slopes))

    def _larger(self, group: Group, sign: float) -> None:
        """Put the larger one of two, or the smaller: (a + b ± |a - b|) / 2."""
        a, b = group.takes
        apart = Group("sub", group.into, group.takes)
        self._add(apart, -1.0)
        self._beside(group, Forms(self.centre[group.into], self.slopes[group.into], self.error[group.into]))
        put = group.into
        centre = (self.centre[a] + self.centre[b] + sign * self.centre[put]) / 2
        slopes = (self.slopes[a] + self.slopes[b] + sign * self.slopes[put]) / 2
        error = (self.error[a] + self.error[b] + self.error[put]) / 2
        sizes = [np.abs(self.centre[k]) + self._sizes(self.slopes[k]) for k in (a, b, put)]
        self._put(put, Forms(centre, slopes, error), 2 * (sizes[0] + sizes[1] + sizes[2]))
