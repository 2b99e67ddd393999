"""Rollouts per second at R3's size: the engine, CasADi's generated C, and a loop in C written by hand, in one run.

All three are compiled with the same flags and use the same threads. Then what derivatives cost, in samplings. Ratios
are of computing time, which other programs on the computer hardly change.

python examples/benchmarks/rollouts.py [--repeat N]
"""

import argparse
import ctypes
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from r3_double_integrator import make_problem
from support.common import print_table

from scpo_ctrl import ControlProblem, compiled
from scpo_ctrl.compiled import compile_library
from scpo_ctrl.engine.casadi_engine import CasadiEngine
from scpo_ctrl.engine.loop import Loop, Stage

SIGMA = 0.01
_FIELDS = (
    *((name, ctypes.c_long) for name in ("thetas", "scenarios", "horizon", "threads")),
    *((name, ctypes.c_void_p) for name in ("theta", "x0", "K", "P", "x_max")),
    *((name, ctypes.c_double) for name in ("u_max", "gamma", "dt")),
    ("metrics", ctypes.c_void_p),
)


class _Job(ctypes.Structure):
    """job of c/rollouts.c."""

    _fields_ = _FIELDS


def by_hand(problem: ControlProblem, thetas: np.ndarray, out: np.ndarray) -> Callable[[], None]:
    """Return the loop that is written by hand, ready to be called."""
    source = Path(__file__).with_name("c") / "rollouts.c"
    library = ctypes.CDLL(str(compile_library({"rollouts.c": source.read_text(encoding="utf-8")}, native=True)))
    batch, plant, backup = problem.scenarios, problem.plant, problem.backup
    arrays = {"theta": thetas, "x0": batch.x0, "K": backup.K, "P": backup.P, "x_max": plant.x_max}
    arrays = {key: np.ascontiguousarray(array) for key, array in arrays.items()}
    job = _Job(
        thetas=len(thetas), scenarios=batch.count, horizon=batch.horizon, threads=len(os.sched_getaffinity(0)),
        u_max=plant.u_max[0], gamma=problem.scenario_metrics.options.contraction, dt=plant.dt, metrics=out.ctypes.data,
        **{key: array.ctypes.data for key, array in arrays.items()},
    )  # fmt: skip
    job.arrays = arrays
    return lambda: library.rollouts(ctypes.byref(job))


def seconds(calls: Sequence[Callable[[], object]], repeat: int) -> np.ndarray:
    """Return the least wall time and the least computing time of all threads of each call, shape (calls, 2).

    Calls take turns, so that all meet the same load of the computer; the second hardly depends on it.
    """
    spent = np.full((len(calls), repeat + 1, 2), np.inf)
    for k in range(repeat + 1):
        for call, row in zip(calls, spent, strict=True):
            began = time.perf_counter(), time.process_time()
            call()
            row[k] = time.perf_counter() - began[0], time.process_time() - began[1]
    return np.asarray(spent[:, 1:].min(axis=1))


def casadi_engine(problem: ControlProblem) -> CasadiEngine:
    """Return CasADi's own rollouts, compiled with the engine's flags."""
    objective = problem.objective_data
    stage = Stage(objective.Q, objective.R)
    compiled.PORTABLE = compiled.NATIVE
    return CasadiEngine(Loop(problem.policy, problem.scenario_metrics, stage))


def main(argv: Sequence[str] | None = None) -> None:
    """Check that all agree, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=50, help="calls; the fastest counts (default: %(default)s)")
    repeat = parser.parse_args(argv).repeat
    problem = make_problem()
    rollouts, batch = problem.rollouts, problem.scenarios
    theta = problem.theta_initial + 0.05 * np.random.default_rng(0).normal(size=problem.theta_dim)
    thetas = theta + SIGMA * np.vstack([np.zeros(theta.size), np.eye(theta.size)])
    plain, generated = (np.empty((len(thetas), problem.varies.size)) for _ in range(2))
    loop, casadi, g = by_hand(problem, thetas, plain), casadi_engine(problem), rollouts.sample(theta)[0]
    calls = {
        "engine": lambda: rollouts.sample(thetas),
        "CasADi's C": lambda: casadi.metrics(batch, thetas, generated, saturated=False),
        "scalar C by hand": loop,
    }
    times = dict(zip(calls, seconds(list(calls.values()), repeat), strict=True))
    for other in (plain, generated):
        np.testing.assert_allclose(rollouts.sample(thetas), other, rtol=1e-9, atol=1e-11)
    count = len(thetas) * batch.count
    print(f"{len(thetas)} parameter vectors x {batch.count} scenarios x {batch.horizon} steps, "
          f"{problem.theta_dim} parameters, {len(os.sched_getaffinity(0))} threads")  # fmt: skip
    own = times["scalar C by hand"]
    rows = [
        [name, f"{1e3 * t[0]:.2f}", f"{1e3 * t[1]:.2f}", f"{count / t[1]:.3g}", f"{own[1] / t[1]:.1f}"]
        for name, t in times.items()
    ]
    print_table(["", "ms", "CPU ms", "rollouts per CPU s", "times the loop by hand"], rows)
    print()
    derivatives = {
        "sample (E2)": calls["engine"],
        "differences (E2), with norms": lambda: rollouts.differences(thetas, g, SIGMA),
        "evaluate one policy": lambda: rollouts.evaluate(theta),
        "gradient": lambda: rollouts.gradient(theta),
        "jacobian": lambda: rollouts.jacobian(theta),
        "gauss_newton": lambda: rollouts.gauss_newton(theta),
    }
    spent = seconds(list(derivatives.values()), repeat)
    rows = [
        [name, *(f"{1e3 * value:.3f}" for value in t), f"{t[1] / spent[0, 1]:.2f}"]
        for name, t in zip(derivatives, spent, strict=True)
    ]
    print_table(["", "ms", "CPU ms", "in samplings"], rows)


if __name__ == "__main__":
    main()
