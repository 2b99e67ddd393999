"""Python against C, number for number: 10 000 commands and 1 000 projections, in double and in float.

python examples/benchmarks/python_against_c.py
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from r3_double_integrator import make_problem
from support.common import print_table
from support.library import Library

from scpo_ctrl import AdaptOptions, Result, adapt, project
from scpo_ctrl.codegen.vectors import instance

STATES, PROJECTIONS, STEPS = 10_000, 1_000, 20
LIMITS = {"double": 1e-12, "float": 1e-5}  # on the relative error of a command
Instance = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]


def command_error(library: Library, result: Result) -> float:
    """Return the largest error of a command relative to max(1, |u|), over states inside and outside the bounds."""
    policy, rng = result.problem.policy, np.random.default_rng(1)
    theta = result.theta.astype(library.real)  # the same numbers on both sides
    x = rng.uniform(1.5 * policy.plant.x_min, 1.5 * policy.plant.x_max, (STATES, policy.plant.nx)).astype(library.real)
    u = policy(x, theta)
    return float(np.max(np.abs(library.control(theta, x, policy.plant.nu) - u) / np.maximum(1, np.abs(u))))


def instances() -> list[tuple[Instance, np.ndarray]]:
    """Draw projections of dimension 1 to 20 with up to 20 constraints, in numbers that float holds, and solve them."""
    rng, solved = np.random.default_rng(2), []
    for k in range(PROJECTIONS):
        case = instance(rng, int(rng.integers(1, 21)), int(rng.integers(0, 21)), k)
        u, c, G, e, L, r = (np.asarray(part, np.float32).astype(float) for part in case)
        solved.append(((u, c, G, e, L, float(r)), project(u, c, G, e, L, float(r)).delta))
    return solved


def largest_constraint(delta: np.ndarray, case: Instance) -> float:
    """Return the largest left-hand side of (E4), the radius included, every operation in the type of delta."""
    real = delta.dtype.type
    c, G, e, L = (part.astype(real) for part in case[1:5])
    norm = np.sqrt(np.sum(delta * delta, dtype=real))
    values = c + np.sum(G * delta, axis=1, dtype=real) + e * norm + L / real(2) * norm * norm
    return float(np.max(values, initial=norm - real(case[5])))


def projection_errors(library: Library, solved: list[tuple[Instance, np.ndarray]]) -> tuple[float, float]:
    """Return the largest gap of |delta - u|² to Python's, relative, and the largest constraint value."""
    gap, worst = -np.inf, -np.inf
    for case, expected in solved:
        delta, u = library.project(*case), case[0]
        least = np.sum((expected - u) ** 2)
        size = max(least, 0.01 * float(u @ u))  # where u is feasible already the distance is zero
        gap = max(gap, (np.sum((delta.astype(float) - u) ** 2) - least) / size)
        worst = max(worst, largest_constraint(delta, case))
    return float(gap), worst


def main() -> None:
    """Print the table."""
    result, solved = adapt(make_problem(), AdaptOptions(steps=STEPS, audit=False)), instances()
    rows = []
    for real, limit in LIMITS.items():
        with tempfile.TemporaryDirectory() as folder:
            library = Library(result, real, Path(folder))
            error, (gap, worst) = command_error(library, result), projection_errors(library, solved)
        rows.append([real, f"{error:.1e}", f"{limit:.0e}", f"{gap:.1e}", f"{worst:.1e}"])
    print(f"Python against C on this computer: {STATES} random states, {PROJECTIONS} projections")
    print_table(
        ["real", "command: relative error", "limit", "projection: relative gap", "largest constraint (feasible: <= 0)"],
        rows,
    )


if __name__ == "__main__":
    main()
