"""The projection (E5) on this computer: ours against Clarabel, ECOS and QOCO, called directly and through CVXPY.

All solve the same random instances in one run, with their own default tolerances, on data in double. Reported are the
median time of a solve, its ratio to ours, and the largest relative distance of the objective from the optimum, which a
tight reference and weak duality bound. Times are of the computer this runs on; the ratios travel better.

    python examples/benchmarks/projection_against_solvers.py
"""

from __future__ import annotations

import importlib.util
import statistics
import time
import warnings
from collections.abc import Callable
from typing import NamedTuple

import clarabel
import cvxpy as cp
import numpy as np
from instances import Case, Conic, conic, gap, instances, optimum, print_table, solve_by_clarabel, violation

from scpo_ctrl import project

SIZES = ((5, 4), (20, 10), (21, 20), (100, 20), (500, 50), (10_000, 200))  # dimension, constraints
LARGE = 1000  # dimension from which on only ours and Clarabel run, and on one instance
COUNT = 12  # instances of each size
BUDGET = 1.5  # s, for each solver and size; the first solve of each instance counts only where it takes long
LIMIT = 10.0  # s, for one solve by Clarabel

Answer = tuple[np.ndarray, bool]  # delta, and whether the solver says that it succeeded


class Solver(NamedTuple):
    """What is timed: solve(prepare(case))."""

    name: str
    prepare: Callable
    solve: Callable[..., Answer]


# --- Ours ---------------------------------------------------------------------------------------------------------


def ours(case: Case) -> Answer:
    """Call the package's function."""
    answer = project(*case)
    return answer.delta, answer.status.name in ("SOLVED", "INSIDE")


# --- The solvers, called directly -----------------------------------------------------------------------------------


def by_clarabel(form: Conic) -> Answer:
    found = solve_by_clarabel(form, time_limit=LIMIT)
    return np.array(found.x[: form.cones[0] - 1]), found.status == clarabel.SolverStatus.Solved


def by_ecos(form: Conic) -> Answer:
    import ecos

    found = ecos.solve(form.cost, form.A, form.h, {"l": form.linear, "q": list(form.cones)}, verbose=False)
    return found["x"][: form.cones[0] - 1], found["info"]["exitFlag"] == 0


def by_qoco(form: Conic) -> Answer:
    import qoco

    solver = qoco.QOCO()
    n, rows = form.cost.size, form.h.size
    solver.setup(n, rows, 0, None, form.cost, None, None, form.A, form.h, form.linear, 2, np.array(form.cones))
    found = solver.solve()
    return np.array(found.x)[: form.cones[0] - 1], found.status == "QOCO_SOLVED"


# --- The solvers through CVXPY --------------------------------------------------------------------------------------


class Modelled:
    """(E5) in CVXPY with parameters for all data, compiled at the first solve, as its manual advises for speed."""

    def __init__(self, solver: str) -> None:
        self.solver = solver
        self.shape: tuple[int, ...] = ()

    def build(self, m: int, d: int) -> None:
        """Model the problem at one size."""
        self.shape = (m, d)
        self.a, t, s = cp.Variable(d), cp.Variable(), cp.Variable()
        self.data = [cp.Parameter(d), cp.Parameter(m), cp.Parameter((m, d)), *(cp.Parameter(m) for _ in "eL")]
        self.data.append(cp.Parameter())
        u, c, G, e, L, r = self.data
        rows = c + G @ self.a + cp.multiply(e, t) + cp.multiply(L, s) / 2 <= 0
        cones = [cp.norm(self.a) <= t, t <= r, cp.square(t) <= s]
        self.problem = cp.Problem(cp.Minimize(s - 2 * u @ self.a), [rows, *cones])

    def __call__(self, case: Case) -> Answer:
        """Set the parameters and solve."""
        if self.shape != case.G.shape:
            self.build(*case.G.shape)
        for parameter, value in zip(self.data, case, strict=True):
            parameter.value = value
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "may be inaccurate": the status says it
            self.problem.solve(solver=self.solver)
        return self.a.value, self.problem.status == cp.OPTIMAL


def through_cvxpy(case: Case) -> Case:
    return case


def solvers(d: int) -> tuple[list[Solver], list[str]]:
    """Return what can run at this size, and the packages that are missing."""
    found = [
        Solver("scpo-ctrl", lambda case: case, ours),
        Solver("Clarabel", conic, by_clarabel),
    ]
    if d >= LARGE:
        return found, []
    missing = [name for name in ("ecos", "qoco") if importlib.util.find_spec(name) is None]
    found.append(Solver("Clarabel, and building its data", lambda case: case, lambda case: by_clarabel(conic(case))))
    direct = {"ecos": Solver("ECOS", conic, by_ecos), "qoco": Solver("QOCO", conic, by_qoco)}
    found += [solver for name, solver in direct.items() if name not in missing]
    names = ["CLARABEL", *(name.upper() for name in direct if name not in missing)]
    return found + [Solver(f"CVXPY + {name}", through_cvxpy, Modelled(name)) for name in names], missing


# --- Measurement ----------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """What a solver needed and how good its answers are."""

    seconds: float  # median
    gap: float  # largest
    violation: float  # largest
    failed: int  # instances on which the solver reported failure


def measured(solver: Solver, cases: list[Case], best: list[float]) -> Row:
    """Time a solver on all instances in turn until the budget is used; judge the answers."""
    prepared = [solver.prepare(case) for case in cases]
    begin = time.perf_counter()
    answers = [solver.solve(data) for data in prepared]
    first = (time.perf_counter() - begin) / len(prepared)
    times: list[float] = []
    begin = time.perf_counter()
    while first * len(prepared) < LIMIT and (not times or time.perf_counter() - begin < BUDGET):
        for data in prepared:
            start = time.perf_counter()
            solver.solve(data)
            times.append(time.perf_counter() - start)
    deltas = [delta for delta, _ in answers]
    return Row(
        seconds=statistics.median(times) if times else first,
        gap=max(gap(case, delta, value) for case, delta, value in zip(cases, deltas, best, strict=True)),
        violation=max(violation(case, delta) for case, delta in zip(cases, deltas, strict=True)),
        failed=sum(not solved for _, solved in answers),
    )


def duration(seconds: float) -> str:
    return f"{seconds * 1e6:.1f} us" if seconds < 1e-3 else f"{seconds * 1e3:.2f} ms"


def compare(d: int, m: int) -> tuple[list[list[str]], list[str]]:
    """Return the lines of the table for one size, and the packages that are missing."""
    cases = instances(d, m, 1 if d >= LARGE else COUNT)
    best = [optimum(case) for case in cases]
    available, missing = solvers(d)
    rows = {solver.name: measured(solver, cases, best) for solver in available}
    base = rows["scpo-ctrl"].seconds
    lines = [
        [
            name,
            f"{d}, {m}",
            duration(row.seconds) if row.seconds < LIMIT else f"over {LIMIT:.0f} s",
            f"{row.seconds / base:.1f}",
            f"{row.gap:.0e}",
            f"{row.violation:.0e}" if row.violation else "none",
            str(row.failed),
        ]
        for name, row in rows.items()
    ]
    return lines, missing


def main() -> None:
    print(f"Projection (E5), {COUNT} random instances of each size; times are of this computer.\n")
    head = ["solver", "d, m", "median", "ratio", "gap", "violation", "failed"]
    lines: list[list[str]] = []
    missing: set[str] = set()
    for size in SIZES:
        more, absent = compare(*size)
        lines += [*more, []]
        missing.update(absent)
    print_table(head, lines[:-1])
    if missing:
        print(f"\nnot installed, so not compared: {', '.join(sorted(missing))}")


if __name__ == "__main__":
    main()
