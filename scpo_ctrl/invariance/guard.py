"""The predicate of the guard (E9): whether an input keeps the next state in a level set, for all that is in range.

In coordinates T z in which {V ≤ ρ} is the unit ball, it asks |T (f(x, u, p_k) - x_eq)| ≤ 1 - m at points p_k: corners
of the ranges of parameters, and corners of cells of them where f is not affine in p. With q_j = p_j or 1/p_j, whichever
f bends less by, the next state is between the corners of a cell of widths w_j within Σ_j w_j²/8 sup |∂²f/∂q_j²| of what
they span, and the norm is convex: m holds the length of that, its suprema enclosed on all of the set and all inputs
within bounds, and that of the disturbance.
"""

from dataclasses import dataclass
from functools import cached_property

import casadi as ca
import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.errors import DimensionError, DomainError
from scpo_ctrl.invariance.bends import Bends, box_around
from scpo_ctrl.invariance.jacobians import SLACK, LevelSet
from scpo_ctrl.invariance.largest import largest_length
from scpo_ctrl.invariance.level_set import SetProof, largest_push, reached_ranges
from scpo_ctrl.models import Plant
from scpo_ctrl.validate import as_count, as_scalar, as_stack

LEVEL_SET = "the level set"  # what a guard keeps, in words
_MOST_LOST = 0.3  # of √ρ, in all
_NEARER = 1.05  # of what an input moves


@dataclass(frozen=True)
class Guard:
    """Whether a next state stays in {V ≤ ρ}, for all parameters and disturbances in range."""

    plant: Plant
    K: np.ndarray  # (nu, nx) of the backup, that is applied where an input does not pass
    P: np.ndarray  # (nx, nx)
    rho: float  # of the set that is kept
    ranges: np.ndarray  # (np, 2) of the plant parameters
    half: np.ndarray  # (nx,) half widths of the disturbance, or (0,)
    points: np.ndarray  # (k, np) parameters at which the next state is computed
    between: float  # what is added between them, in parts of √ρ
    pushed: float  # by disturbances, in parts of √ρ
    proof: SetProof | None = None  # that the backup keeps the set

    @property
    def set_name(self) -> str:
        """What is kept, in words."""
        return LEVEL_SET

    @property
    def extent(self) -> np.ndarray:
        """How far the set reaches along each axis, shape (nx,)."""
        return np.asarray(np.linalg.norm(np.linalg.inv(self.root), axis=1)) * (1 + SLACK)

    def holds(self, z: np.ndarray) -> np.ndarray:
        """Return which states are in the set, as deviations from the equilibrium, shape (...).

        Parameters
        ----------
        z : numpy.ndarray, shape (..., nx)

        Returns
        -------
        numpy.ndarray of bool, shape (...)
        """
        with np.errstate(invalid="ignore"):
            return np.asarray(np.einsum("...i,ij,...j->...", z, self.P, z) / self.rho <= 1)

    def surface(self, towards: np.ndarray) -> np.ndarray:
        """Return points of the surface of the set in some directions; shorter ones give points inside of it.

        Parameters
        ----------
        towards : numpy.ndarray, shape (k, nx)
            Directions, counted in T z.

        Returns
        -------
        numpy.ndarray, shape (k, nx)
            Deviations from the equilibrium.
        """
        return np.asarray(np.linalg.solve(self.root, towards.T).T)

    @property
    def room(self) -> float:
        """What |T z⁺| must not exceed at the points."""
        return (1 - self.between - self.pushed) * (1 - SLACK)

    @cached_property
    def root(self) -> np.ndarray:
        """T, by which the set is {|T z| ≤ 1}, shape (nx, nx), upper triangular."""
        return np.asarray(np.linalg.cholesky(self.P / self.rho).T)

    @cached_property
    def pushes(self) -> np.ndarray:
        """Bounds of |T ∂f/∂u_j| on the set, for inputs within bounds and parameters in range, shape (nu,)."""
        plant, level_set = self.plant, LevelSet.of(self.P, self.rho)
        low, high = box_around(plant, level_set)
        ends = np.concatenate([low, self.ranges[:, 0]]), np.concatenate([high, self.ranges[:, 1]])
        symbols = ca.vertcat(plant.x, plant.u, plant.p)
        columns = (ca.densify(ca.simplify(ca.jacobian(plant.f, plant.u[j]))) for j in range(plant.nu))
        return np.array([largest_length(column, symbols, *ends, level_set.T, _NEARER) for column in columns])

    def near(self) -> tuple[float, np.ndarray] | None:
        """Return a condition that is enough for an input to pass: |T z| ≤ least - Σ_j per_j |u_j - backup_j|.

        On the set the next state under the backup has a length of at most contraction · |T z| + drift, and another u_j
        moves it by no more than its push. That holds for all parameters in range, and takes no next state.

        Returns
        -------
        least : float
            At most 1: no state outside the set meets it.
        per : numpy.ndarray, shape (nu,)

        None without the proof, or where it would never be met.
        """
        if self.proof is None or not np.isfinite(self.pushes).all():
            return None
        contraction = self.proof.contraction * (1 + SLACK)
        least = min((self.room - self.proof.drift * (1 + 4 * SLACK)) / contraction, 1.0) * (1 - SLACK)
        return (least, self.pushes * (1 + SLACK) / contraction) if least > 0 else None

    @cached_property
    def function(self) -> ca.Function:
        """The function ``(x, u) -> V`` of the next state at its worst point, in parts of what passes: at most 1."""
        x, u = ca.SX.sym("x", self.plant.nx), ca.SX.sym("u", self.plant.nu)
        worst = ca.mmax(ca.vertcat(*(self.level(x, u, ca.DM(p)) for p in self.points)))
        return ca.Function("guard", [x, u], ca.cse([worst]))

    def apply(self, x: ArrayLike, u: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Return the inputs that are applied: those given where they pass, the backup's elsewhere.

        Parameters
        ----------
        x : array_like, shape (..., nx)
            States [x_units].
        u : array_like, shape (..., nu)
            Inputs of a policy, within their bounds [u_units].

        Returns
        -------
        u : numpy.ndarray, shape (..., nu)
        acted : numpy.ndarray of bool, shape (...)
            Whether it is the backup's. Also where a state or an input is not a number: then it is that at rest.

        Raises
        ------
        DimensionError
            If shapes do not fit.
        """
        plant = self.plant
        x, u = as_stack("x", x), as_stack("u", u)
        if x.shape[-1:] != (plant.nx,) or u.shape != (*x.shape[:-1], plant.nu):
            raise DimensionError(
                f"x has shape {x.shape} and u {u.shape}, expected (..., {plant.nx}) and (..., {plant.nu}) alike"
            )
        count = int(np.prod(x.shape[:-1]))
        rows = (
            np.array(self.function.map(max(count, 1))(x.reshape(count, -1).T, u.reshape(count, -1).T)) if count else u
        )
        with np.errstate(invalid="ignore", over="ignore"):
            passes = rows.reshape(x.shape[:-1]) <= 1 if count else np.zeros(x.shape[:-1], dtype=bool)
            backup = plant.u_eq - (x - plant.x_eq) @ self.K.T
        passes &= np.isfinite(x).all(axis=-1) & np.isfinite(u).all(axis=-1)
        backup = np.clip(np.where(np.isnan(backup), plant.u_eq, backup), plant.u_min, plant.u_max)
        return np.where(passes[..., None], u, backup), ~passes

    def level(self, x: ca.SX, u: ca.SX, p: ca.SX) -> ca.SX:
        """Return V of the next state at a point of the parameters, in parts of what passes.

        Parameters
        ----------
        x : casadi.SX, shape (nx, 1)
        u : casadi.SX, shape (nu, 1)
        p : casadi.SX, shape (np, 1)

        Returns
        -------
        casadi.SX
        """
        return self.squared(self.root / self.room, self.following(x, u, p))

    def following(self, x: ca.SX, u: ca.SX, p: ca.SX) -> ca.SX:
        """Return the next state less the equilibrium, shape (nx, 1); parameters as in `level`.

        Parameters
        ----------
        x, u, p : casadi.SX

        Returns
        -------
        casadi.SX
        """
        return self.plant.function(x, u, p) - ca.DM(self.plant.x_eq)

    def squared(self, T: np.ndarray, z: ca.SX) -> ca.SX:
        """Return |T z|² of a next state.

        Parameters
        ----------
        T : numpy.ndarray, shape (nx, nx)
            Upper triangular.
        z : casadi.SX, shape (nx, 1)

        Returns
        -------
        casadi.SX
        """
        plant = self.plant
        moves = np.array(ca.which_depends(plant.f, plant.p, 1, True), dtype=bool) if plant.npar else np.zeros(plant.nx)
        rows = []
        for i in range(plant.nx):  # what no parameter moves comes first, and is summed once
            order = sorted(range(i, plant.nx), key=lambda j: (moves[j], j))
            total = T[i, order[0]] * z[order[0]]
            for j in order[1:]:
                total += T[i, j] * z[j]
            rows.append(total)
        return ca.sumsqr(ca.vertcat(*rows))


class Liveness:
    """A timer beside the guard: invariance is not convergence, so where V does not halve in time the backup takes over.

    Parameters
    ----------
    guard : Guard
    steps : int
        Samples within which V is to halve.
    floor : float
        In parts of ρ: below it V need not fall any more.
    """

    def __init__(self, guard: Guard, steps: int, floor: float = 0.01) -> None:
        self._guard, self._steps = guard, as_count("steps", steps, at_least=1)
        self._floor = as_scalar("floor", floor, at_least=0.0)
        self._from, self._waited = np.inf, 0

    def handed_over(self, x: np.ndarray) -> bool:
        """Take in the state of a sample, and return whether the backup is to be applied.

        Parameters
        ----------
        x : numpy.ndarray, shape (nx,)

        Returns
        -------
        bool
        """
        z = x - self._guard.plant.x_eq
        level = float(z @ self._guard.P @ z) / self._guard.rho
        if not level > max(self._from / 2, self._floor) or not np.isfinite(self._from):
            self._from, self._waited = level, 0
            return False
        self._waited += 1
        return self._waited > self._steps


def guard_of(
    plant: Plant, K: np.ndarray, P: np.ndarray, rho: float, ranges: np.ndarray, half: np.ndarray
) -> Guard:  # fmt: skip
    """Return the guard of a set that a backup is proved to keep.

    Parameters
    ----------
    plant : Plant
        Discrete, without signals.
    K : numpy.ndarray, shape (nu, nx)
    P : numpy.ndarray, shape (nx, nx)
    rho : float
    ranges : numpy.ndarray, shape (np, 2)
        Of the plant parameters.
    half : numpy.ndarray, shape (nx,) or (0,)
        Half widths of the disturbance.

    Returns
    -------
    Guard

    Raises
    ------
    DomainError
        If more is lost between points, or by disturbances, than a guard can do with.
    """
    level_set = LevelSet.of(P, rho)
    ranges = reached_ranges(plant, ranges)
    pushed = largest_push(level_set.T, half) if half.size else 0.0
    bends = Bends(plant, level_set, ranges)
    cells = bends.cells()
    between, points = float(bends.largest(cells).sum()), bends.points(cells)
    if not between + pushed <= _MOST_LOST:
        names = ", ".join(plant.p_labels[i] for i in bends.curved) or "parameters"
        raise DomainError(
            f"a guard of plant {plant.name!r} would lose {between + pushed:.3g} of the radius of its set: "
            f"{between:.3g} to values of {names} between the {len(points)} that it computes, {pushed:.3g} to "
            "disturbances; narrow the ranges, or make the set larger"
        )
    return Guard(plant, K, P, rho, ranges, half, points, between, pushed)
