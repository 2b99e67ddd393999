"""Random instances of the projection (E5), its conic form, and a judge of answers, for the benchmarks beside this file.

(E5): minimise |delta - u|^2 subject to c + G delta + e |delta| + L/2 |delta|^2 <= 0 and |delta| <= r.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import clarabel
import numpy as np
from scipy import sparse
from scipy.optimize import nnls


class Case(NamedTuple):
    """The data of one projection."""

    u: np.ndarray  # (d,) step to be projected
    c: np.ndarray  # (m,) metrics, < 0
    G: np.ndarray  # (m, d) their gradients
    e: np.ndarray  # (m,) error of the gradients
    L: np.ndarray  # (m,) smoothness
    r: float  # radius


class Conic(NamedTuple):
    """Minimise cost'x subject to h - A x in R+^linear x SOC(cones[0]) x SOC(cones[1]), for x = (delta, t, s)."""

    cost: np.ndarray
    A: sparse.csc_matrix
    h: np.ndarray
    linear: int
    cones: tuple[int, int]


def plain(rng: np.random.Generator, d: int, m: int) -> Case:
    """Return rows that cut into a step of length about 1, strictly feasible at 0."""
    u = rng.normal(size=d)
    u *= np.exp(rng.uniform(-0.5, 1.0)) / np.linalg.norm(u)
    G = rng.normal(size=(m, d))
    size = np.linalg.norm(G, axis=1)
    return Case(
        u=u,
        c=-size * rng.uniform(0.01, 0.5, m),
        G=G,
        e=size * rng.uniform(0.0, 0.2, m),
        L=size * rng.uniform(0.0, 1.0, m),
        r=rng.uniform(0.5, 5.0),
    )


def instances(d: int, m: int, count: int, seed: int = 0) -> list[Case]:
    """Return the same instances whenever the arguments are the same."""
    rng = np.random.default_rng([seed, d, m])
    return [plain(rng, d, m) for _ in range(count)]


def conic(case: Case) -> Conic:
    """Return (E5) with |delta| <= t <= r and t^2 <= s: one large cone and one of size 3, a linear objective.

    This is the smallest conic form known to us, hence the one that is best for the solvers compared.
    """
    m, d = case.G.shape
    rows = np.arange(m)
    of_delta = np.column_stack([np.tile(rows, (d, 1)), m + 2 + np.arange(d)])
    of_t = np.concatenate([rows, [m, m + 1, m + d + 4]])
    of_s = np.concatenate([rows, [m + d + 2, m + d + 3]])
    data = [np.column_stack([case.G.T, -np.ones(d)]).ravel(), case.e, [1.0, -1.0, -2.0], case.L / 2, [-1.0, -1.0]]
    indices = np.concatenate([of_delta.ravel(), of_t, of_s])
    starts = np.concatenate([np.arange(d + 1) * (m + 1), d * (m + 1) + np.cumsum([m + 3, m + 2])])
    return Conic(
        cost=np.concatenate([-2 * case.u, [0.0, 1.0]]),
        A=sparse.csc_matrix((np.concatenate(data), indices, starts), shape=(m + d + 5, d + 2)),
        h=np.concatenate([-case.c, [case.r], np.zeros(d + 1), [1.0, -1.0, 0.0]]),
        linear=m + 1,
        cones=(d + 1, 3),
    )


def solve_by_clarabel(form: Conic, **settings: float) -> clarabel.DefaultSolution:
    """Solve the conic form by Clarabel without any layer in between."""
    chosen = clarabel.DefaultSettings()
    chosen.verbose = False
    for name, value in settings.items():
        setattr(chosen, name, value)
    n = form.cost.size
    cones = [clarabel.NonnegativeConeT(form.linear), *(clarabel.SecondOrderConeT(size) for size in form.cones)]
    quadratic = sparse.csc_matrix((n, n))
    return clarabel.DefaultSolver(quadratic, form.cost, form.A, form.h, cones, chosen).solve()


def reduced(case: Case) -> Case:
    """Return the same projection in the span of u and the rows of G, which holds the answer."""
    m, d = case.G.shape
    if d <= m + 1:
        return case
    triangle = np.linalg.qr(np.column_stack([case.u, case.G.T]), mode="r")
    return case._replace(u=triangle[:, 0].copy(), G=np.ascontiguousarray(triangle[:, 1:].T))


def optimum(case: Case) -> float:
    """Return a lower bound on |delta - u|^2 that is tight to rounding, by weak duality valid however it was found.

    It is the best value of the dual function among the multipliers that Clarabel returns with tight tolerances, and
    those that best explain its answer as an optimum.
    """
    case = reduced(case)
    tight = {"tol_gap_abs": 1e-13, "tol_gap_rel": 1e-13, "tol_feas": 1e-13, "max_iter": 100}
    found = solve_by_clarabel(conic(case), **tight)
    delta = np.array(found.x[: case.u.size])
    candidates = [np.array(found.z[: case.c.size])]
    candidates += [explaining(case, delta, tolerance) for tolerance in (1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4)]
    return max(float(case.u @ case.u) - projected_part(case, weight) for weight in candidates)


def explaining(case: Case, delta: np.ndarray, tolerance: float) -> np.ndarray:
    """Return the multipliers of the nearly active constraints under which delta is most nearly stationary."""
    t = float(np.linalg.norm(delta))
    direction = delta / max(t, np.finfo(float).tiny)
    slack = case.c + case.G @ delta + (case.e + case.L / 2 * t) * t
    active = np.flatnonzero(slack >= -tolerance * np.linalg.norm(case.G, axis=1))
    normals = case.G[active] + np.outer(case.e[active] + case.L[active] * t, direction)
    if t >= case.r * (1 - tolerance):
        normals = np.vstack([normals, direction])
    weight = np.zeros(case.c.size)
    if len(normals):
        weight[active] = nnls(normals.T, 2 * (case.u - delta))[0][: active.size]
    return weight


def projected_part(case: Case, multipliers: np.ndarray) -> float:
    """Return |u|^2 less the dual function of (E5) at these multipliers, in extended precision."""
    u, c, G, e, L = (np.asarray(x, dtype=np.longdouble) for x in case[:5])
    weight = np.maximum(multipliers, 0).astype(np.longdouble)
    w = 2 * u - weight @ G
    pull = np.sqrt(w @ w) - weight @ e
    inertia = 2 + weight @ L
    t = min(max(pull, np.longdouble(0)) / inertia, np.longdouble(case.r))
    return float(pull * t - inertia * t * t / 2 - weight @ c)


def gap(case: Case, delta: np.ndarray, best: float) -> float:
    """Return how far |delta - u|^2 is from the optimum, relative to it (or to 1e-6 |u|^2 where it is nearly zero)."""
    difference = np.asarray(delta, dtype=np.longdouble) - case.u
    value = float(difference @ difference)
    return abs(value - best) / max(best, 1e-6 * float(case.u @ case.u))


def violation(case: Case, delta: np.ndarray) -> float:
    """Return by how much delta breaks a constraint, relative to the sizes of the gradients and of the radius."""
    norm = float(np.linalg.norm(delta))
    size = np.linalg.norm(case.G, axis=1)
    values = (case.c + case.G @ delta + case.e * norm + case.L / 2 * norm**2) / size
    return max(0.0, float(values.max(initial=0.0)), norm / case.r - 1)


def print_table(head: list[str], rows: Iterable[list[str]], texts: int = 1) -> None:
    """Print a table, the first columns of texts to the left and the numbers to the right.

    A line shorter than the head may run over the columns that it does not have.
    """
    lines = [head, *rows]
    whole = [line for line in lines if len(line) == len(head)]
    widths = [max(len(line[k]) for line in whole) for k in range(len(head))]
    for line in lines:
        cells = [
            cell.ljust(width) if k < texts or len(line) < len(head) else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=False))
        ]
        print("  ".join(cells).rstrip())
