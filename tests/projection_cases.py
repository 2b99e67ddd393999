"""Instances of the projection (E5), by name, and an independent judgement of an answer.

Every regime is a function of a random generator and the sizes; the same name, seed and sizes give the same instances.
``gap`` judges an answer by weak duality: any multipliers bound the optimum from below, so a small gap
proves an answer optimal whoever computed the multipliers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import clarabel
import numpy as np
from scipy import sparse
from scipy.optimize import nnls


class Case(NamedTuple):
    """Minimise |delta - u|^2 subject to c + G delta + e |delta| + L/2 |delta|^2 <= 0 and |delta| <= r."""

    u: np.ndarray  # (p,)
    c: np.ndarray  # (m,)
    G: np.ndarray  # (m, p)
    e: np.ndarray  # (m,)
    L: np.ndarray  # (m,)
    r: float

    def rounded(self, real: type) -> Case:
        """Return the same instance in the arithmetic of ``real``."""
        return Case(*(np.ascontiguousarray(x, dtype=real) for x in self[:5]), float(real(self.r)))


def _plain(rng: np.random.Generator, p: int, m: int, **changes: object) -> Case:
    """Return rows that cut into a step of length about 1, strictly feasible at 0."""
    u = rng.normal(size=p)
    u *= np.exp(rng.uniform(-0.5, 1.0)) / np.linalg.norm(u)
    G = rng.normal(size=(m, p))
    size = np.linalg.norm(G, axis=1)
    case = Case(
        u=u,
        c=-size * rng.uniform(0.01, 0.5, m),
        G=G,
        e=size * rng.uniform(0.0, 0.2, m),
        L=size * rng.uniform(0.0, 1.0, m),
        r=rng.uniform(0.5, 5.0),
    )
    return case._replace(**changes)


def _scaled_rows(case: Case, scale: np.ndarray) -> Case:
    return case._replace(c=case.c * scale, G=case.G * scale[:, None], e=case.e * scale, L=case.L * scale)


def _resized(case: Case, length: float) -> Case:
    """Return the same instance in another unit of length: the answer is ``length`` times as long."""
    e, G, L = case.e / length, case.G / length, case.L / length**2
    return case._replace(u=case.u * length, e=e, G=G, L=L, r=case.r * length)


def plain(rng, p, m):
    return _plain(rng, p, m)


def exact_gradients(rng, p, m):
    return _plain(rng, p, m, e=np.zeros(m))


def small_steps(rng, p, m):
    case = _plain(rng, p, m)
    return case._replace(c=case.c * 0.01)


def already_inside(rng, p, m):
    case = _plain(rng, p, m)
    return case._replace(u=case.u * 1e-3)


def far_target(rng, p, m):
    case = _plain(rng, p, m)
    return case._replace(u=case.u * 10 ** rng.uniform(2, 4))


def tiny_target(rng, p, m):
    return _resized(_plain(rng, p, m), 1e-6)


def radius_active(rng, p, m):
    case = _plain(rng, p, m)
    return case._replace(r=0.3 * rng.uniform(0.1, 1.0) * float(np.linalg.norm(case.u)))


def no_target(rng, p, m):
    return _plain(rng, p, m, u=np.zeros(p))


def huge_target(rng, p, m):
    case = _plain(rng, p, m)
    return case._replace(u=case.u * 10 ** rng.uniform(6, 12))


def scaled_rows(rng, p, m):
    return _scaled_rows(_plain(rng, p, m), 10 ** rng.uniform(-3, 3, m))


def all_on_boundary(rng, p, m):
    return _plain(rng, p, m, c=np.zeros(m))


def some_on_boundary(rng, p, m):
    case = _plain(rng, p, m)
    return case._replace(c=case.c * (rng.uniform(size=m) < 0.5))


def boundary_and_scaled(rng, p, m):
    return _scaled_rows(_plain(rng, p, m, c=np.zeros(m)), 10 ** rng.uniform(-3, 3, m))


def boundary_cone(rng, p, m):
    """No curvature and all on the boundary: a cone, often only its apex."""
    return _plain(rng, p, m, c=np.zeros(m), L=np.zeros(m))


def boundary_wide(rng, p, m):
    """A cone with inner points: every row looks away from one direction."""
    case = _plain(rng, p, m, c=np.zeros(m), e=np.zeros(m))
    inner = case.u + 0.5 * rng.normal(size=p)
    case.G[case.G @ inner > 0] *= -1
    return case._replace(L=case.L * 10 ** rng.uniform(-8, 0, m))


def boundary_exact(rng, p, m):
    return _plain(rng, p, m, c=np.zeros(m), e=np.zeros(m))


def nearly_boundary(rng, p, m):
    case = _plain(rng, p, m)
    return case._replace(c=case.c * 10 ** rng.uniform(-12, 0, m))


def duplicates(rng, p, m):
    case = _plain(rng, p, m)
    copy = rng.integers(0, max(1, m // 3), m)
    return Case(case.u, case.c[copy], case.G[copy], case.e[copy], case.L[copy], case.r)


def duplicate_gradients(rng, p, m):
    case = _plain(rng, p, m)
    return case._replace(G=case.G[rng.integers(0, max(1, m // 3), m)])


def parallel_rows(rng, p, m):
    case = _plain(rng, p, m)
    copy = rng.integers(0, max(1, m // 3), m)
    return case._replace(G=case.G[copy] * (1 + 10 ** rng.uniform(-12, -2) * rng.normal(size=(m, p))), c=case.c[copy])


def opposed_rows(rng, p, m):
    """Thin slabs: rows in nearly opposite pairs."""
    case = _plain(rng, p, m)
    half = m // 2
    case.G[half : 2 * half] = -case.G[:half] + 1e-3 * rng.normal(size=(half, p))
    return case._replace(e=case.e * 0.01)


def rank_deficient(rng, p, m):
    case = _plain(rng, p, m)
    rank = max(1, min(p, m) // 3)
    G = rng.normal(size=(m, rank)) @ rng.normal(size=(rank, p))
    return case._replace(G=G / np.sqrt(rank))


def zero_rows(rng, p, m):
    case = _plain(rng, p, m)
    case.G[rng.uniform(size=m) < 0.4] = 0
    return case


def large_errors(rng, p, m):
    case = _plain(rng, p, m)
    return case._replace(e=case.e * 20)


def curvature_spread(rng, p, m):
    case = _plain(rng, p, m)
    return case._replace(L=case.L * 10 ** rng.uniform(-4, 4, m))


def polyhedron(rng, p, m):
    return _plain(rng, p, m, e=np.zeros(m), L=np.zeros(m))


def polyhedron_far(rng, p, m):
    case = _plain(rng, p, m, e=np.zeros(m), L=np.zeros(m))
    return case._replace(u=case.u * 1e4, r=1e6)


def normal_cone(rng, p, m):
    """The step asked for points into the rows on the boundary: staying is the answer."""
    case = _plain(rng, p, m, c=np.zeros(m))
    weight = rng.uniform(size=m) * (np.arange(m) < min(m, p))
    return case._replace(u=case.G.T @ weight / np.linalg.norm(case.G.T @ weight))


REGULAR: dict[str, Callable[..., Case]] = {
    f.__name__: f
    for f in (plain, exact_gradients, small_steps, already_inside, far_target, tiny_target, radius_active,
              scaled_rows, some_on_boundary, large_errors)
}  # fmt: skip
DEGENERATE: dict[str, Callable[..., Case]] = {
    f.__name__: f
    for f in (no_target, huge_target, all_on_boundary, boundary_and_scaled, boundary_cone, boundary_wide,
              boundary_exact, nearly_boundary, duplicates, duplicate_gradients, parallel_rows, opposed_rows,
              rank_deficient, zero_rows, curvature_spread, polyhedron, polyhedron_far, normal_cone)
}  # fmt: skip
REGIMES = {**REGULAR, **DEGENERATE}
SIZES = ((1, 1), (1, 6), (2, 3), (3, 12), (5, 4), (8, 8), (20, 10), (6, 24), (21, 20))  # (p, m)


def cases(
    name: str, count: int, sizes: tuple[tuple[int, int], ...] = SIZES, seed: int = 0, real: type = np.float64
) -> Iterator[Case]:
    """Yield ``count`` instances of a regime in the arithmetic of ``real``, going round the sizes."""
    rng = np.random.default_rng([seed, sum(name.encode())])
    for k in range(count):
        yield REGIMES[name](rng, *sizes[k % len(sizes)]).rounded(real)


def residuals(case: Case, delta: np.ndarray) -> np.ndarray:
    """Return the left-hand sides of (E4) in the arithmetic of the arguments."""
    norm = np.sqrt(np.sum(delta * delta))
    half = case.L.dtype.type(0.5)
    return case.c + np.sum(case.G * delta, axis=1) + case.e * norm + half * case.L * norm * norm


def dual_value(case: Case, multipliers: np.ndarray) -> float:
    """Return a lower bound on the optimum of (E5), less |u|^2, from any multipliers >= 0."""
    u, c, G, e, L = (np.asarray(x, dtype=np.longdouble) for x in case[:5])
    y = np.maximum(multipliers, 0).astype(np.longdouble)
    w = 2 * u - y @ G
    numerator = np.sqrt(w @ w) - y @ e
    denominator = 2 + y @ L
    t = min(max(numerator, 0) / denominator, np.longdouble(case.r))
    return y @ c + denominator * t * t / 2 - numerator * t


def stationary_multipliers(case: Case, delta: np.ndarray, tolerance: float) -> np.ndarray:
    """Return the multipliers that best explain ``delta`` as an optimum, zero where a constraint is slack."""
    t = np.linalg.norm(delta)
    direction = delta / t
    size = np.linalg.norm(case.G, axis=1) + case.e + case.L * t
    active = np.flatnonzero(residuals(case, delta) >= -tolerance * size * t)
    columns = case.G[active] + (case.e + case.L * t)[active, None] * direction
    columns /= size[active, None]
    if t >= case.r * (1 - tolerance):
        columns = np.vstack([columns, direction])
    multipliers = np.zeros(len(case.c))
    if len(columns):
        found, _ = nnls(columns.T, 2 * (case.u - delta) / np.linalg.norm(case.u))
        multipliers[active] = found[: len(active)] / size[active] * np.linalg.norm(case.u)
    return multipliers


def conic_reference(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Solve (E5) by Clarabel in scaled units; return the answer and the multipliers."""
    p, m = len(case.u), len(case.c)
    length = min(case.r, float(np.linalg.norm(case.u)))
    pull = length / np.linalg.norm(case.u)
    size = np.maximum(np.maximum(np.linalg.norm(case.G, axis=1), case.e), case.L * length) + 1e-300
    rows = np.column_stack([case.G / size[:, None], case.e / size, case.L * length / size / 2])
    cone = sparse.lil_matrix((p + 1 + 3, p + 2))
    cone[0, p] = -1
    for j in range(p):
        cone[1 + j, j] = -1
    cone[p + 1, p + 1], cone[p + 2, p], cone[p + 3, p + 1] = -1, -2, -1
    radius = sparse.csr_matrix(([1.0], ([0], [p])), shape=(1, p + 2))
    A = sparse.vstack([rows, radius, cone], format="csc")
    b = np.concatenate([-case.c / size / length, [case.r / length], np.zeros(p + 1), [1, 0, -1]])
    P = sparse.diags(np.concatenate([np.zeros(p + 1), [0.0]])).tocsc()
    q = np.concatenate([-2 * case.u / np.linalg.norm(case.u), [0.0, pull]])
    cones = [clarabel.NonnegativeConeT(m + 1), clarabel.SecondOrderConeT(p + 1), clarabel.SecondOrderConeT(3)]
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-13
    settings.max_iter = 100
    solution = clarabel.DefaultSolver(P, q, A, b, cones, settings).solve()
    scale = np.linalg.norm(case.u) / size
    return np.array(solution.x[:p]) * length, np.maximum(np.array(solution.z[:m]), 0) * scale


def gap(case: Case, delta: np.ndarray, conic: bool = True, enough: float = 1e-10) -> float:
    """Return an upper bound on how far |delta - u|^2 is above the optimum, relative to |u|^2 at most.

    The bound is relative to the objective, or to 1e-6 |u|^2 where the optimum is nearly zero. It is the best one that
    there is, or any below `enough`.
    """
    case = Case(*(np.asarray(x, dtype=float) for x in case[:5]), case.r)
    delta = np.asarray(delta, dtype=np.longdouble)
    gain = delta @ delta - 2 * (case.u.astype(np.longdouble) @ delta)  # |delta - u|^2 - |u|^2
    total = np.sum(case.u.astype(np.longdouble) ** 2)
    scale = max(gain + total, np.longdouble(1e-6) * total)
    if scale == 0:
        return 0.0
    best = np.longdouble(np.inf)
    if np.any(delta != 0):
        for tolerance in (1e-13, 1e-11, 1e-9, 1e-7, 1e-5, 1e-3):
            multipliers = stationary_multipliers(case, delta.astype(float), tolerance)
            best = min(best, (gain - dual_value(case, multipliers)) / scale)
            if best < enough:
                return float(best)
    else:
        best = (gain - dual_value(case, np.zeros(len(case.c)))) / scale
    if conic and best > enough:
        _, multipliers = conic_reference(case)
        best = min(best, (gain - dual_value(case, multipliers)) / scale)
    return float(best)
