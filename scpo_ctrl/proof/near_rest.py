"""Contraction near the equilibrium, where it asks for 0 ≤ 0 and no box has room: by the loop's Jacobian.

With x₀ = x_eq + λ d and F the loop, x_t = x_eq + λ y_t + r_t: by the mean value theorem F(x) - F(x_eq) = J̄ (x - x_eq)
with J̄ in the convex hull of the Jacobians on a box that holds x and x_eq, so that y_{t+1} = J̄ y_t from y_0 = d and
r_{t+1} = J̄ r_t + F(x_eq) - x_eq from r_0 = 0. y is enclosed by zonotopes, over all λ of a box from zero on; r is what
rounding of the equilibrium makes, or a drift. Then V(x_N - x_eq) ≤ (1 + η) λ² V(y_N) + (1 + 1/η) V(r_N).
"""

import numpy as np

from scpo_ctrl.proof.affine import affine_forms
from scpo_ctrl.proof.closed_loop import ALLOWED, CoveredLoop
from scpo_ctrl.proof.zonotopes import EPS, TINY, Zonotopes, quadratic_above

_SPLIT = 1e-6  # η
_MOST_SYMBOLS = 60
_GROWN = 1 + 16 * EPS


def contracts_near_rest(
    loop: CoveredLoop, cones: np.ndarray, low: np.ndarray, high: np.ndarray, gamma: float, steps: int
) -> np.ndarray:
    """Return where V(x_t) ≤ γ V(x₀) is proved after some steps for boxes with λ from zero on, nothing cut meanwhile.

    Parameters
    ----------
    loop : CoveredLoop
    cones : numpy.ndarray of int, shape (B,)
    low, high : numpy.ndarray, shape (size, B)
    gamma : float
    steps : int

    Returns
    -------
    numpy.ndarray of bool, shape (B,)
    """
    plant, P, rho = loop.problem.plant, loop.problem.backup.P, loop.problem.backup.rho
    nx, size = plant.nx, len(low)
    _, d, v = loop.region.enclosed(cones, low, high)
    y = d
    farthest = high[0] * _GROWN
    rest = _rest(loop, v)
    drift, _, _ = _enclosed(loop, rest)
    drift = drift.about(plant.x_eq).pushed(loop.push)
    r, is_free = _point(np.zeros(nx), low.shape[1]), np.ones(low.shape[1], dtype=bool)
    for _ in range(steps):
        _, J, command = _enclosed(loop, _around(loop, y, r, farthest, v))
        is_free &= _inside(command, plant.u_min, plant.u_max)
        y, r = _times(J, y), _times(J, r)
        r = _sum(r, drift)
        if y.gens.shape[1] > _MOST_SYMBOLS:
            y = y.reduced(size + nx, loop.frame)
        if r.gens.shape[1] > _MOST_SYMBOLS:
            r = r.reduced(0, loop.frame)
    grown = quadratic_above(y, d, P, gamma / (1 + _SPLIT) * (1 - 4 * EPS))[0]
    left = quadratic_above(r, r, P, 0.0)[0] * (1 + 1 / _SPLIT)
    return is_free & (grown <= 0) & (left * (1 + 1e-9) <= ALLOWED * rho)


def _rest(loop: CoveredLoop, v: Zonotopes) -> Zonotopes:
    """Return the equilibrium beside parameters and disturbances."""
    return _point(loop.problem.plant.x_eq, v.centre.shape[1]).beside(v)


def _point(x: np.ndarray, count: int) -> Zonotopes:
    centre = np.repeat(x[:, None], count, axis=1)
    return Zonotopes(centre, np.zeros((len(x), 0, count)), np.zeros(centre.shape))


def _around(loop: CoveredLoop, y: Zonotopes, r: Zonotopes, farthest: np.ndarray, v: Zonotopes) -> Zonotopes:
    """Return a box that holds x_eq and x_eq + λ y + r for all λ up to the farthest."""
    (low, high), (under, over) = y.ends, r.ends
    low = np.minimum(low * farthest, 0.0) + np.minimum(under, 0.0)
    high = np.maximum(high * farthest, 0.0) + np.maximum(over, 0.0)
    x_eq = loop.problem.plant.x_eq[:, None]
    centre = x_eq + (low + high) / 2
    half = (high - low) / 2 + 8 * EPS * (np.abs(low) + np.abs(high) + np.abs(x_eq) + np.abs(centre)) + TINY
    return Zonotopes(centre, np.zeros((len(centre), 0, centre.shape[1])), half).beside(v)


def _enclosed(loop: CoveredLoop, z: Zonotopes) -> tuple[Zonotopes, Zonotopes, Zonotopes]:
    """Return the next state, the Jacobian column by column and the command, nothing cut."""
    nx = loop.problem.plant.nx
    forms = affine_forms(loop.unsaturated, z)
    every = z.values_of(forms, symbols=False)
    return every.rows(slice(0, nx)), every.rows(slice(nx, nx + nx * nx)), every.rows(slice(nx + nx * nx, None))


def _inside(values: Zonotopes, least: np.ndarray, most: np.ndarray) -> np.ndarray:
    low, high = values.ends
    return np.asarray(((low >= least[:, None]) & (high <= most[:, None])).all(axis=0))


def _times(J: Zonotopes, y: Zonotopes) -> Zonotopes:
    """Return J̄ y, for every J̄ of a box of matrices."""
    n = len(y.centre)
    low, high = J.ends
    middle = low + (high - low) / 2
    half = np.maximum(high - middle, middle - low) * _GROWN
    A, R = (np.moveaxis(part.reshape(n, n, -1, order="F"), -1, 0) for part in (middle, half))  # (B, n, n)
    centre = np.einsum("bij,jb->ib", A, y.centre)
    gens = np.moveaxis(A @ np.moveaxis(y.gens, -1, 0), 0, -1)
    reach = y.reach + np.abs(y.centre)
    error = np.einsum("bij,jb->ib", R, reach) + (n + 2) * EPS * np.einsum("bij,jb->ib", np.abs(A), reach)
    own = (error + np.einsum("bij,jb->ib", np.abs(A), y.loose)) * (1 + (2 * n + 16) * EPS) + TINY
    gens = np.concatenate([gens, np.zeros((n, n, centre.shape[1]))], axis=1)
    gens[np.arange(n), np.arange(-n, 0)] = own
    return Zonotopes(centre, gens, np.zeros(centre.shape))


def _sum(a: Zonotopes, b: Zonotopes) -> Zonotopes:
    """Return the sum of values that know nothing of each other."""
    gens, centre = np.concatenate([a.gens, b.gens], axis=1), a.centre + b.centre
    return Zonotopes(centre, gens, (a.loose + b.loose + EPS * np.abs(centre)) * _GROWN + TINY)
