"""How near rollouts come to what one thread can do at most, in multiplications and additions of doubles.

The peak is that of a kernel which does nothing else (c/peak.c), compiled as the engine is, without contraction. Engine
and kernel take turns, in calls so short that some are undisturbed by other programs, and the fastest of each counts.
Operations are those of policy, plant and bounds at each step of each scenario, counted from the formulas: tanh as the
18 multiplications and 18 additions of its polynomial. Division, comparisons, what is done once for a rollout, and
storing metrics count nothing. Then useful operations in an instruction, which no other program changes.

    python examples/benchmarks/rollout_peak.py [--seconds S] [--no-instructions]
"""

import argparse
import ctypes
import importlib.resources
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import pairwise
from pathlib import Path

import casadi as ca
import numpy as np

os.environ["SCPO_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from large_policies import make_problem as chain_of_masses
from measure import instructions, run
from r3_double_integrator import make_problem as double_integrator
from support.common import print_table

from scpo_ctrl import ControlProblem, Policy
from scpo_ctrl.compiled import NATIVE, compile_library, find_compiler
from scpo_ctrl.engine.lanes import LaneEngine
from scpo_ctrl.engine.library import header_of
from scpo_ctrl.engine.linear import linear_part, without
from scpo_ctrl.engine.loop import Loop, Stage
from scpo_ctrl.models.instructions import instructions as operations_of

HERE = Path(__file__).resolve().parent
SIGMA, ROUNDS = 0.01, 20_000
KERNELS = 20  # short runs of the kernel in a turn
TANH = 36  # multiplications and additions of lane_tanh in lanes.h
COUNTED = (ca.OP_ADD, ca.OP_SUB, ca.OP_MUL, ca.OP_SQ, ca.OP_TWICE)


def operations(problem: ControlProblem) -> int:
    """Return the multiplications and additions of a time step of one scenario."""
    policy, plant = problem.policy, problem.plant
    assert isinstance(policy, Policy)
    nx, nu, widths = plant.nx, plant.nu, policy.widths[:-1]
    layers = sum(rows * (2 * columns + TANH) for columns, rows in pairwise(widths))
    network = 2 * nx + layers + (2 * nu + 1) * widths[-1]  # z and its scale, layers, W (a(z) - a(0))
    part = linear_part(plant)
    rest = ca.Function("rest", [plant.x, plant.u, plant.p], [ca.densify(without(plant, part))])
    statements = sum(done.operation in COUNTED for done in operations_of(rest))
    bounds = int(np.isfinite([*plant.x_max, *plant.x_min]).sum()) + 2 * nu
    return network + 2 * nx * nu + 3 * nu + 2 * len(part.values) + statements + bounds


def perturbed(problem: ControlProblem, count: int) -> np.ndarray:
    """Return a policy that is not the backup, and others around it."""
    draws = np.random.default_rng(0).normal(size=(count, problem.theta_dim))
    return np.array(
        problem.theta_initial + 0.05 * draws[0] + SIGMA * np.vstack([np.zeros(problem.theta_dim), draws[1:]])
    )


@cache
def _kernel() -> Callable[..., float]:
    source = (HERE / "c" / "peak.c").read_text(encoding="utf-8")
    peak = ctypes.CDLL(str(compile_library({"peak.c": source}, native=True))).peak
    peak.restype = ctypes.c_double
    return peak


def kernel() -> float:
    """Run the kernel and return how many operations it does."""
    return _kernel()(ctypes.c_long(ROUNDS), ctypes.byref(ctypes.c_double()))


def rates(problem: ControlProblem, thetas: np.ndarray, at_once: int, seconds: float) -> tuple[float, float]:
    """Return operations a second of engine and kernel, by their fastest calls."""
    batch, best = problem.scenarios, [0.0, 0.0]
    done = at_once * batch.count * batch.horizon * operations(problem), kernel()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for part in thetas.reshape(-1, at_once, thetas.shape[1]):
            calls = (0, partial(problem.rollouts.sample, part)), *[(1, kernel)] * KERNELS
            for k, call in calls:
                began = time.perf_counter()
                call()
                best[k] = max(best[k], done[k] / (time.perf_counter() - began))
    return best[0], best[1]


def per_instruction(problem: ControlProblem, thetas: np.ndarray) -> tuple[float, float]:
    """Return useful operations in an instruction of engine and kernel, by callgrind."""
    objective, engine = problem.objective_data, problem.rollouts._engine
    assert isinstance(engine, LaneEngine)
    header = header_of(Loop(problem.policy, problem.scenario_metrics, Stage(objective.Q, objective.R)))
    bound = engine._bind(problem.scenarios)
    names = [name for name, kind in bound._fields_ if kind is ctypes.c_void_p]
    arrays = [
        *(bound.arrays[name] if name in bound.arrays else np.zeros(0) for name in names),
        thetas * engine._weights,
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for item in importlib.resources.files("scpo_ctrl.engine").joinpath("c").iterdir():
            folder.joinpath(item.name).write_text(item.read_text(encoding="utf-8"), encoding="utf-8")
        folder.joinpath("model.h").write_text(header, encoding="utf-8")
        parts = [bytes(bound), *(np.int64(array.size).tobytes() + array.tobytes() for array in arrays)]
        folder.joinpath("data").write_bytes(b"".join(parts))
        sources = [folder / "evaluate.c", HERE / "c" / "count_rollouts.c", HERE / "c" / "peak.c"]
        program = folder / "program"
        flags = ["-ffp-contract=off", *NATIVE, f"-I{folder}"]
        run([*(find_compiler() or ["cc"]), *flags, *sources, "-o", program, "-lm"])
        none, rolled, kernel_alone = (
            instructions([program, folder / "data", calls, rounds]) for calls, rounds in ((0, 0), (1, 0), (0, ROUNDS))
        )
    steps = len(thetas) * problem.scenarios.count * problem.scenarios.horizon
    return steps * operations(problem) / (rolled - none), kernel() / (kernel_alone - none)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="of turns, for each loop (default: %(default)s)")
    parser.add_argument("--no-instructions", action="store_true", help="where there is no valgrind")
    parsed = parser.parse_args(argv)
    cases = {"R3": (double_integrator(), 49, 7), "chain of ten masses": (chain_of_masses(1000), 7, 1)}
    rows = []
    for name, (problem, count, at_once) in cases.items():
        thetas = perturbed(problem, count)
        own, most = rates(problem, thetas, at_once, parsed.seconds)
        row = [name, f"{problem.plant.nx}", f"{problem.theta_dim}", f"{operations(problem)}", f"{own / 1e9:.1f}",
               f"{most / 1e9:.1f}", f"{own / most:.0%}"]  # fmt: skip
        if not parsed.no_instructions:
            row += [f"{value:.2f}" for value in per_instruction(problem, thetas)]
        rows.append(row)
    heads = ["", "states", "weights", "operations a step", "GFLOP/s", "peak", "of it"]
    print_table(heads + ([] if parsed.no_instructions else ["in an instruction", "peak's"]), rows)


if __name__ == "__main__":
    main()
