"""The largest polytope that a law keeps on a linear plant, and the multipliers that prove it.

In z = x - x_eq the loop is z⁺ = A_k z + d_k + w at points p_k of the parameters, and between them in the hull of those,
but for a rest that counts as disturbance, |w| ≤ h. {F z ≤ 1} is kept if for every facet F_j and every point

    F_j A_k = η F,  η ≥ 0,  Σ η + F_j d_k + |F_j| h ≤ 1                                                     (Farkas)

The design is the recursion of Gilbert and Tan (1991), Kolmanovsky and Gilbert (1998), Blanchini (1994) for a
contraction of λ a step: begin with all bounds, and add F_j A_k z ≤ λ - F_j d_k - |F_j| h until nothing is new. Linear
programs find it in doubles, and η beside it. Nothing of that is trusted: `prove_polytope` shows what is claimed.
"""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scpo_ctrl.errors import DomainError
from scpo_ctrl.invariance.jacobians import SLACK, LevelSet
from scpo_ctrl.invariance.linear_loop import LinearLoop
from scpo_ctrl.models import Plant
from scpo_ctrl.models.varying import still

DECAY = 0.9999  # λ: what is left of 1 is for rounding, on a microcontroller too
MOST_FACETS = 400
_MOST_PROGRAMS = 30_000  # linear programs
_BEYOND = 1e-9  # by which a facet cuts something off, or it is left out
_GROWN = 1e-6  # of the reach along each axis
_NONE = 1e-9  # a multiplier below it is none, relative to the largest
_ROUNDING = 1e-11  # of a sum, relative: some hundred terms
_NOTHING = 1e-13  # of a facet, along an axis of the level set


@dataclass(frozen=True)
class Polytope:
    """{F z ≤ 1}, z = x - x_eq, and the proof that the backup keeps it inside all bounds."""

    F: np.ndarray  # (m, nx)
    extent: np.ndarray  # (nx,) bounds of |z|
    loop: LinearLoop  # the loop that it was proved for
    multipliers: np.ndarray = field(repr=False)  # (rows, m) of what is shown, see `shown_rows`
    left: float  # of 1, the least that the steps leave
    programs: int
    seconds: float

    def sentence(self) -> str:
        """Return what is proved, in words."""
        return (
            f"proved of a polytope of {len(self.F)} facets: no state of it leaves it, or a bound, in any step under "
            f"the backup ({len(self.loop.A)} points of the parameters, {self.seconds:.2g} s)"
        )

    def gauge(self, z: np.ndarray) -> np.ndarray:
        """Return what the polytope is to be multiplied by to have states on its surface.

        Parameters
        ----------
        z : numpy.ndarray, shape (..., nx)
            Deviations from the equilibrium.

        Returns
        -------
        numpy.ndarray, shape (...)
        """
        return np.asarray((z @ self.F.T).max(axis=-1))

    def largest_level(self, P: np.ndarray) -> float:
        """Return the largest ρ for which it holds {zᵀPz ≤ ρ}.

        Parameters
        ----------
        P : numpy.ndarray, shape (nx, nx)
            Symmetric positive definite.

        Returns
        -------
        float
        """
        C = np.linalg.cholesky(P)
        reach = np.sum(np.linalg.solve(C, self.F.T) ** 2, axis=0)
        return float((1 / reach).min()) * (1 - SLACK)

    def summary(self, plant: Plant) -> dict[str, Any]:
        """Return what is written of it.

        Parameters
        ----------
        plant : Plant

        Returns
        -------
        dict
        """
        loop = self.loop
        return {
            "kind": "polytope",
            "facets": self.F.tolist(),
            "extent": self.extent.tolist(),
            "left": self.left,
            "seconds": self.seconds,
            "parameters": {plant.p_labels[i]: loop.ranges[i].tolist() for i in still(plant)},
            "disturbance_half": loop.half.tolist(),
            "inverse": [bool(one) for one in loop.inverse],
            "cells": [int(one) for one in loop.cells],
            "between": loop.between.tolist(),
            "multipliers": [
                {"of": np.flatnonzero(row).tolist(), "are": row[np.flatnonzero(row)].tolist()}
                for row in self.multipliers
            ],
        }


def shown_rows(plant: Plant, K: np.ndarray, F: np.ndarray, loop: LinearLoop) -> tuple[np.ndarray, np.ndarray]:
    """Return which rows c are shown to have c z ≤ b on the polytope, and b.

    They are the axes, one way and the other; commands with a bound, likewise; the facets of next states, point by
    point. For the axes b is infinite where there is no bound.

    Parameters
    ----------
    plant : Plant
    K : numpy.ndarray, shape (nu, nx)
    F : numpy.ndarray, shape (m, nx)
    loop : LinearLoop

    Returns
    -------
    rows : numpy.ndarray, shape (r, nx)
    most : numpy.ndarray, shape (r,)
    """
    axes = np.vstack([np.eye(plant.nx), -np.eye(plant.nx)])
    rooms = np.concatenate([plant.x_max - plant.x_eq, plant.x_eq - plant.x_min])
    commands = np.vstack([-K, K])
    of_commands = np.concatenate([plant.u_max - plant.u_eq, plant.u_eq - plant.u_min])
    bounded = np.isfinite(of_commands)
    steps = np.einsum("mi,kij->kmj", F, loop.A).reshape(-1, plant.nx)
    rest = 1 - loop.drift @ F.T - np.abs(F) @ loop.push
    rows = np.vstack([axes, commands[bounded], steps])
    return rows, np.concatenate([rooms, of_commands[bounded], rest.ravel()])


def largest_polytope(
    plant: Plant, K: np.ndarray, level_set: LevelSet, loop: LinearLoop, *, decay: float = DECAY
) -> Polytope:  # fmt: skip
    """Design the largest polytope that is kept, and prove it.

    Parameters
    ----------
    plant : Plant
        Discrete and linear, without signals.
    K : numpy.ndarray, shape (nu, nx)
    level_set : LevelSet
        Whose coordinates the linear programs are in.
    loop : LinearLoop
        Of the loop under K.
    decay : float
        λ < 1.

    Returns
    -------
    Polytope

    Raises
    ------
    DomainError
        If there is none, or it has too many facets.
    """
    began = time.perf_counter()
    design = _Design(plant, K, level_set.back, loop, decay)
    F = design.facets() @ level_set.T
    F = np.where(np.abs(F) * level_set.extent < _NOTHING, 0.0, F)
    rows, most = shown_rows(plant, K, F, loop)
    multipliers = np.array([design.multipliers(row) for row in rows @ level_set.back])
    extent = multipliers[: 2 * plant.nx].sum(axis=1).reshape(2, -1).max(axis=0) * (1 + _GROWN)
    left = prove_polytope(F, extent, rows, most, multipliers, len(F) * len(loop.A))
    return Polytope(F, extent, loop, multipliers, left, design.programs, time.perf_counter() - began)


def prove_polytope(
    F: np.ndarray, extent: np.ndarray, rows: np.ndarray, most: np.ndarray, multipliers: np.ndarray, steps: int
) -> float:  # fmt: skip
    """Show c z ≤ b on {F z ≤ 1} for all rows, in doubles with a slack.

    With r = c - η F, which rounding leaves, c z ≤ Σ η + |r| e where |z| ≤ e. That |z| ≤ e follows likewise, if the axes
    show it: with Σ η > 0 the matrix of all |r| has a spectral radius below one.

    Parameters
    ----------
    F : numpy.ndarray, shape (m, nx)
    extent : numpy.ndarray, shape (nx,)
        e.
    rows, most, multipliers : numpy.ndarray, shapes (r, nx), (r,), (r, m)
        c, b and η.
    steps : int
        How many of them, the last ones, are of next states.

    Returns
    -------
    float
        The least of b - Σ η - |r| e of the steps.

    Raises
    ------
    DomainError
        If a row is not shown.
    """
    nx = F.shape[1]
    rest = np.abs(rows - multipliers @ F)
    rounding = _ROUNDING * ((np.abs(rows) + multipliers @ np.abs(F)) @ extent + multipliers.sum(axis=1))
    found = multipliers.sum(axis=1) + rest @ extent + rounding
    axes = slice(0, 2 * nx)
    holds = (multipliers >= 0).all() and (multipliers[axes].sum(axis=1) > 0).all()
    if not (holds and (found[axes] <= np.tile(extent, 2)).all() and (found <= most).all()):
        raise DomainError(
            f"the polytope is not shown to be kept: a row is by {float((found - most).max()):.3g} beyond what it may "
            "be; give a smaller decay, or count in other units"
        )
    return float((most - found)[-steps:].min())


class _Design:
    """The recursion, in coordinates v with z = S v."""

    def __init__(self, plant: Plant, K: np.ndarray, S: np.ndarray, loop: LinearLoop, decay: float) -> None:
        back = np.linalg.inv(S)
        self.plant, self.decay, self.S, self.programs = plant, decay, S, 0
        self.A, self.drift = back @ loop.A @ S, loop.drift @ back.T
        self.push, self.back = loop.push, back
        low = np.concatenate([plant.x_eq - plant.x_min, plant.u_eq - plant.u_min])
        high = np.concatenate([plant.x_max - plant.x_eq, plant.u_max - plant.u_eq])
        rows = np.vstack([np.eye(plant.nx), -K])
        rows, rooms = np.vstack([rows, -rows]) @ S, np.concatenate([high, low])
        matters = np.isfinite(rooms) & (np.abs(rows) > 0).any(axis=1)
        if not (rooms[matters] > 0).all():
            raise DomainError(f"plant {plant.name!r} rests on a bound, and no set about it is inside all bounds")
        fastest = float(np.abs(np.linalg.eigvals(loop.A)).max())
        if not fastest < decay:
            raise DomainError(
                f"the backup of plant {plant.name!r} has a spectral radius of {fastest:.6g} at a corner of the "
                f"parameters, and a polytope that it keeps with decay {decay:g} needs less; give a larger decay, a "
                "faster backup, or narrower ranges"
            )
        self.first = rows[matters] / rooms[matters, None] * (1 + 4 * SLACK)
        self.F, self.seen = np.zeros((0, plant.nx)), np.zeros((0, plant.nx))

    def facets(self) -> np.ndarray:
        """Return all facets, shape (m, nx)."""
        new = self._added(self.first)
        while len(new):
            if len(self.F) > MOST_FACETS:
                raise DomainError(
                    f"a polytope that the backup of plant {self.plant.name!r} keeps has more than {MOST_FACETS} "
                    "facets; guard its level set, narrow the ranges, or give a decay nearer to 1"
                )
            new = self._added(self._next(new))
        axes = np.eye(len(self.S))
        if not all(np.isfinite(self._largest(row, self.F)[0]) for row in (*axes, *-axes)):
            raise DomainError(
                f"nothing bounds what the backup of plant {self.plant.name!r} keeps; give bounds from which all of the "
                "state is seen"
            )
        return self.F

    def multipliers(self, row: np.ndarray) -> np.ndarray:
        """Return η of a row, shape (m,)."""
        eta = np.maximum(-np.asarray(self._program(self.F, row).ineqlin.marginals), 0.0)
        some = np.flatnonzero(eta > _NONE * eta.max(initial=0.0))
        solved = np.linalg.lstsq(self.F[some].T, row, rcond=None)[0]  # what a solver's tolerance has left
        if (solved >= 0).all():
            eta = np.zeros(len(self.F))
            eta[some] = solved
        return eta

    def _next(self, facets: np.ndarray) -> np.ndarray:
        """Return what facets of the next state ask of the state, shape (k, nx)."""
        pushed = np.abs(facets @ self.back) @ self.push
        rest = self.decay - facets @ self.drift.T - pushed[:, None]
        if not (rest > _GROWN).all():
            raise DomainError(
                f"the backup of plant {self.plant.name!r} keeps no polytope: in one step, parameters and disturbances "
                f"move the state by {float(self.decay - rest.min()):.3g} of the way from the equilibrium to its "
                "bounds, or to what keeps them; narrow the ranges, or widen the bounds"
            )
        return np.asarray((np.einsum("mi,kij->mkj", facets, self.A) / rest[:, :, None]).reshape(-1, len(self.S)))

    def _added(self, rows: np.ndarray) -> np.ndarray:
        """Add rows that cut something off, leave out those that others imply then, and return which are left of them.

        A point that a row cuts off, and no other, shows that no others imply it: it is kept for the next time.
        """
        kept, count = [(row, at) for row, at in zip(self.F, self.seen, strict=True)], len(self.F)
        for row in rows:
            size, at = self._largest(row, np.array([one for one, _ in kept]).reshape(-1, len(self.S)))
            if size > 1 + _BEYOND:
                kept.append((row, at))
        F, seen = (np.array([pair[i] for pair in kept]).reshape(-1, len(self.S)) for i in (0, 1))
        keep = np.ones(len(F), dtype=bool)
        for k in range(len(F) - 1, -1, -1):
            keep[k] = False
            if not (F[k] @ seen[k] > 1 + _BEYOND and (F[keep] @ seen[k] <= 1 + _BEYOND / 2).all()):
                size, seen[k] = self._largest(F[k], F[keep])
                keep[k] = size > 1 + _BEYOND
            else:
                keep[k] = True
        self.F, self.seen = F[keep], seen[keep]
        return F[count:][keep[count:]]

    def _largest(self, row: np.ndarray, F: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the largest row · v on {F v ≤ 1} and where it is: infinite, and no number, where nothing bounds it."""
        if len(F) and (found := self._program(F, row)).status == 0:
            return float(-found.fun), np.asarray(found.x)
        return np.inf, np.full(len(row), np.nan)

    def _program(self, F: np.ndarray, row: np.ndarray) -> Any:
        """Solve the linear program."""
        from scipy.optimize import linprog  # takes long to import

        self.programs += 1
        if self.programs > _MOST_PROGRAMS:
            raise DomainError(
                f"a polytope that the backup of plant {self.plant.name!r} keeps is not found by {_MOST_PROGRAMS} "
                "linear programs; guard its level set, or give a decay nearer to 1"
            )
        return linprog(-row, A_ub=F, b_ub=np.ones(len(F)), bounds=(None, None), method="highs")
