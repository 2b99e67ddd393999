"""The declared set (E12) as boxes of numbers: cones of initial states, ranges of parameters, constant disturbances.

A point of the set is x₀ = centre + λ d(t), λ ∈ [0, 1], d(t) on the boundary: of an ellipsoid in the direction (t, ±1),
t ∈ [-1, 1]ⁿ⁻¹, of a box on one of its faces. Each face makes a cone, and all of them cover the set and nothing else.
Where a metric is homogeneous near the centre, as contraction is, boxes of λ need not become small.
"""

from dataclasses import dataclass
from functools import cached_property

import casadi as ca
import numpy as np

from scpo_ctrl.errors import DomainError
from scpo_ctrl.loop.declared import DeclaredSet
from scpo_ctrl.models.varying import first_varying
from scpo_ctrl.proof.affine import affine_forms
from scpo_ctrl.proof.program import Program
from scpo_ctrl.proof.zonotopes import Zonotopes

WIDENED = 1e-9  # the ellipsoid is covered with so much more, relative: its root is rounded
_THIN = 1e-3  # a root that is rounded by more is none
_BEYOND = 1e-6  # relative: an ellipsoid that reaches farther beyond the state bounds is refused


@dataclass(frozen=True)
class Region:
    """Cones of the declared set, and what of their numbers the loop is told.

    A box is one of numbers q: λ and t, one in [-1, 1] for each parameter with a range, and one for each state with a
    disturbance that is constant in part. Without initial states beside single ones λ and t are left out.
    """

    declared: DeclaredSet
    varied: tuple[int, ...]  # parameters with a range
    pushed: tuple[int, ...]  # states with a disturbance that is constant in part
    widened: float  # relative, the ellipsoid

    @classmethod
    def of(cls, declared: DeclaredSet) -> "Region":
        """Return the region of a declared set.

        Parameters
        ----------
        declared : DeclaredSet

        Returns
        -------
        Region

        Raises
        ------
        DomainError
            If signals vary over time, or the ellipsoid is too thin for its shape to be known.
        """
        plant = declared.plant
        if plant.signals:
            label = plant.p_labels[first_varying(plant)]
            raise DomainError(
                f"{label} varies over time, and a cover knows constant parameters and references only; certify it with "
                "--kind scenario"
            )
        widened = 0.0
        if declared.box is None and declared.size > 0:
            _check_inside(declared)
            widened = _widened(declared)
        varied = np.flatnonzero(declared.ranges[:, 0] < declared.ranges[:, 1])
        pushed = np.flatnonzero(declared.half if declared.fixed > 0 else np.zeros(0))
        return cls(declared, tuple(varied.tolist()), tuple(pushed.tolist()), widened)

    @property
    def cones(self) -> int:
        """How many cones there are."""
        return len(self._centres) * (2 * self.declared.plant.nx if self.declared.has_states else 1)

    @property
    def labels(self) -> tuple[str, ...]:
        """What each number of a box is."""
        plant = self.declared.plant
        of_states = ("distance", *(f"direction {i + 1}" for i in range(plant.nx - 1)))
        return (
            *(of_states if self.declared.has_states else ()),
            *(plant.p_labels[i] for i in self.varied),
            *(f"disturbance of {plant.x_labels[i]}" for i in self.pushed),
        )

    @property
    def size(self) -> int:
        """How many numbers a box is of."""
        return len(self.labels)

    def whole(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the box of each cone.

        Returns
        -------
        low, high : numpy.ndarray, shape (size, cones)
        """
        low, high = -np.ones((self.size, self.cones)), np.ones((self.size, self.cones))
        if self.declared.has_states:
            low[0] = 0.0
        return low, high

    def volumes(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Return parts of the set that boxes are, about: the direction's distortion is left out.

        Parameters
        ----------
        low, high : numpy.ndarray, shape (size, B)

        Returns
        -------
        numpy.ndarray, shape (B,)
        """
        parts = (high - low) / 2
        if self.declared.has_states:
            n = self.declared.plant.nx
            parts[0] = high[0] ** n - low[0] ** n
        return np.asarray(parts.prod(axis=0) / self.cones)

    def start(self, cone: int) -> ca.Function:
        """Return q -> (x₀, d, parameters with a range, constant disturbances), a column; d is zero without states.

        Parameters
        ----------
        cone : int

        Returns
        -------
        casadi.Function
        """
        return self._starts[cone]

    def enclosed(self, cones: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[Zonotopes, Zonotopes, Zonotopes]:
        """Enclose what `start` gives on boxes.

        Parameters
        ----------
        cones : numpy.ndarray of int, shape (B,)
        low, high : numpy.ndarray, shape (size, B)

        Returns
        -------
        x0, d, v : Zonotopes
            Over a symbol for each number of a box, and one for each state's own error.
        """
        nx, found = self.declared.plant.nx, []
        order = np.argsort(cones, kind="stable")
        for cone in np.unique(cones).tolist():
            some = np.flatnonzero(cones == cone)
            q = Zonotopes.of_boxes(low[:, some], high[:, some])
            forms = affine_forms(self._programs[cone], q)
            x0, d = (q.values_of(forms[slice(k * nx, (k + 1) * nx)], symbols=True) for k in (0, 1))
            found.append((x0, d, q.values_of(forms[slice(2 * nx, None)], symbols=False)))
        back = np.argsort(order, kind="stable")
        x0, d, v = (Zonotopes.joined(parts).part(back) for parts in zip(*found, strict=True))
        return x0, d, v

    @cached_property
    def _programs(self) -> list[Program]:
        return [Program.of(start) for start in self._starts]

    @cached_property
    def _starts(self) -> list[ca.Function]:
        return [self._start(cone) for cone in range(self.cones)]

    @property
    def _centres(self) -> np.ndarray:
        declared = self.declared
        if declared.box is None:
            return declared.centres
        x_eq, (low, high) = declared.plant.x_eq, declared.box
        inside = ((low < x_eq) & (x_eq < high)).all()
        return np.asarray((x_eq if inside else low + (high - low) / 2)[None])

    def _start(self, cone: int) -> ca.Function:
        declared, plant = self.declared, self.declared.plant
        q, nx = ca.SX.sym("q", self.size), plant.nx
        faces = 2 * nx if declared.has_states else 1
        centre, face = self._centres[cone // faces], cone % faces
        if declared.has_states:
            d, used = self._boundary(q[1:], face // 2, 1.0 if face % 2 else -1.0, centre), nx
            x0 = ca.DM(centre) + q[0] * d
        else:
            d, x0, used = ca.SX.zeros(nx, 1), ca.SX(ca.DM(centre)), 0
        low, high = declared.ranges[list(self.varied)].T if self.varied else (np.zeros(0), np.zeros(0))
        half = (high - low) / 2 * (1 + 4e-16) + 4e-16 * (np.abs(low) + np.abs(high))  # of differences that are rounded
        p = ca.DM(low / 2 + high / 2) + ca.DM(half) * q[used : used + len(self.varied)]
        most = declared.fixed * declared.half[list(self.pushed)] * (1 + 4e-16) if self.pushed else np.zeros(0)
        w = ca.DM(most) * q[used + len(self.varied) :]
        return ca.Function("start", [q], [ca.densify(ca.vertcat(x0, d, p, w))])

    def _boundary(self, t: ca.SX, axis: int, sign: float, centre: np.ndarray) -> ca.SX:
        """Return d(t) of the face across an axis."""
        declared = self.declared
        others = [t[i] for i in range(declared.plant.nx - 1)]
        direction = ca.vertcat(*others[:axis], sign, *others[axis:])
        if declared.box is None:
            unit, root = declared.backup.shape
            out = direction / ca.sqrt(1 + sum(one**2 for one in others))
            return ca.DM(declared.size * (1 + self.widened) * unit) * (ca.DM(root) @ out)
        low, high = declared.box
        # Differences of the box's ends are rounded: what lies outwards of them is covered too.
        wide = np.maximum(high - centre, 0.0) * (1 + 1e-15), np.maximum(centre - low, 0.0) * (1 + 1e-15)
        middle, half = ca.DM((wide[0] - wide[1]) / 2), ca.DM((wide[0] + wide[1]) / 2 * (1 + 1e-15))
        return middle + half * direction

    @cached_property
    def about_rest(self) -> np.ndarray:
        """On which cones x₀ = x_eq + λ d(t), shape (cones,), bool."""
        declared, whole = self.declared, np.zeros(self.cones, dtype=bool)
        if declared.has_states:
            for k, centre in enumerate(self._centres):
                faces = 2 * declared.plant.nx
                whole[k * faces : (k + 1) * faces] = np.array_equal(centre, declared.plant.x_eq)
        return whole


def _check_inside(declared: DeclaredSet) -> None:
    """Refuse ellipsoids that the declared set cuts to the state bounds."""
    plant, reach = declared.plant, declared.reach * (1 - _BEYOND)
    for centre in declared.centres:
        beyond = np.flatnonzero((centre - reach < plant.x_min) | (centre + reach > plant.x_max))
        if beyond.size:
            raise DomainError(
                f"the neighbourhood of initial state {centre.tolist()} reaches beyond the bounds of "
                f"{plant.x_labels[beyond[0]]}, where the declared set is cut; make it smaller, or certify with --kind "
                "scenario"
            )


def _widened(declared: DeclaredSet) -> float:
    """Return how much an ellipsoid grows so that it holds {V ≤ size² ρ} whatever its root was rounded to."""
    P, rho, (unit, root) = declared.backup.P, declared.backup.rho, declared.backup.shape
    M, n = unit[:, None] * root, len(unit)
    off = np.linalg.norm(M.T @ P @ M / rho - np.eye(n))
    rounding = 8 * n**2 * np.finfo(float).eps * np.linalg.norm(np.abs(M.T) @ np.abs(P) @ np.abs(M) / rho)
    widened = max(WIDENED, float(off + rounding))
    if not widened < _THIN:
        raise DomainError("the level set is so thin that rounding decides what is in it; count states in other units")
    return widened
