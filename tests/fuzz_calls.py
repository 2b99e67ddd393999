"""Wrong calls of everything public: an answer, or an error of the ScpoError family in one helpful line; no warnings.

    .venv/bin/python tests/fuzz_calls.py --count 3000 --seed 0

The case of a finding is made again by `--seed S --first I --count 1`.
"""

from __future__ import annotations

import copy
import os
import random
import warnings
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import casadi as ca
import control
import nasty
import numpy as np
import scipy.signal
import scipy.sparse
from fuzz_workers import STRANGE, main

import scpo_ctrl as sc
from scpo_ctrl import codegen, models

Call = tuple[Callable[..., Any], dict[str, Any]]


class Hostile:
    """Raises wherever it can."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def __array__(self, *_args: object, **_options: object) -> np.ndarray:
        raise RuntimeError("no array")

    def __len__(self) -> int:
        raise RuntimeError("no length")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise RuntimeError("neither true nor false")


def values() -> list[Any]:
    """Return what nobody means as an argument, made anew."""
    endless: list[Any] = []
    endless.append(endless)
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's matrix is discouraged, and used all the same
        matrix = np.matrix([[1.0], [2.0]])
    return [
        None, object(), Hostile(), int, len, lambda *_args: 1 / 0, lambda *args: args[0], (x for x in [1.0]),
        {1.0, 2.0}, complex(1, 2), Decimal("0.1"), Fraction(1, 3),
        b"bytes", bytearray(b"b"), range(3), endless, deep, slice(None),
        np.float32(0.1), np.int8(-1), np.bool_(True), np.array(0.5), np.array([True]),
        np.array(["a"]),
        np.array([None]), np.zeros(0), np.zeros((0, 2)), np.ones((2, 1)), np.ones((1, 2)),
        np.ones((2, 2)), np.ones((2, 2, 2)),
        np.full(2, np.nan), np.full((2, 2), 1e200), np.ones(2, dtype=complex), np.ones(2, dtype=np.float16),
        np.ones((2, 2))[::-1, ::2],
        np.ma.masked_array([1.0, 2.0], mask=[True, False]), np.ma.masked, matrix,
        np.array([(1.0, 2)], dtype=[("a", float), ("b", int)]), np.array(["2020-01-01"], dtype="datetime64[D]"),
        scipy.sparse.csr_matrix(np.eye(2)), scipy.sparse.csr_matrix((10**6, 10**6)),
        np.broadcast_to(1.0, (10**5, 10**5)),
        ca.SX.sym("s", 2), ca.MX.sym("m", 2), ca.DM([1.0, 2.0]), ca.SX(0, 1), ca.Function("g", [ca.SX.sym("x")], []),
        control.tf([1], [1, 1]), scipy.signal.dlti([1], [1, 0.5], dt=0.1), Path("missing"), sc.AdaptOptions,
        sc.ScpoError("e"),
    ]  # fmt: skip


@cache
def here() -> SimpleNamespace:
    """Return one small and sound thing of each kind."""
    plant = models.double_integrator()
    ode = models.cart_pole_ode()
    backup = sc.lqr(plant, [0.1, 0.1], [10.0])
    policy = sc.Policy(plant, backup, (2,))
    batch = sc.scenarios(plant, backup, horizon=4, count=2)
    problem = sc.ControlProblem(policy, batch, sc.Quadratic([1.0, 0.1], [0.05]))
    options = sc.AdaptOptions(steps=1)
    x = ca.SX.sym("x", 2)
    return SimpleNamespace(
        plant=plant, ode=ode, backup=backup, policy=policy, batch=batch, problem=problem, options=options, x=x,
        u=ca.SX.sym("u"), result=sc.adapt(problem, options), theta=problem.theta_initial, adapter=sc.Adapter(problem),
        objective=sc.Quadratic([1.0, 0.1], [0.05]), metrics=lambda thetas: thetas - 1.0,
        oracle=sc.UserObjective(lambda theta: (float(theta @ theta), 2 * theta)),
    )  # fmt: skip


def of_runs() -> dict[str, Call]:
    """Return what adapts and projects, with arguments that are right."""
    it = here()
    monitors = {"monitor": None, "audit_monitor": None}
    cone = {"u": [1.0, 2.0], "c": [-0.1], "G": [[1.0, 0.5]], "e": [0.1], "L": [1.0], "r": 1.0}
    options, fields = ({key: getattr(one, key) for key in one.__dataclass_fields__} for one in (it.options, it.result))
    return {
        "AdaptOptions": (sc.AdaptOptions, options),
        "Adapter": (sc.Adapter, {"problem": it.problem, "options": it.options, "every": 2, "resume_from": None}),
        "Adapter.command": (it.adapter.command, {"x": [0.1, 0.1]}),
        "Adapter.observe": (it.adapter.observe, {"x": [0.1, 0.1], "u": [0.0], "x_next": [0.1, 0.1]}),
        "Adapter.learn_scenarios": (it.adapter.learn_scenarios, {"count": 2, "choice": "latest"}),
        "Result": (sc.Result, fields),
        "adapt": (sc.adapt, {"problem": it.problem, "options": it.options, "resume_from": None, **monitors}),
        "project": (sc.project, cone | {"solver": "DUAL", "guess": [0], "norms": [1.2]}),
        "project, conic": (sc.project, cone | {"solver": "CLARABEL"}),
        "project_reference": (sc.project_reference, cone | {"solver": "CLARABEL"}),
    }


def of_assurance() -> dict[str, Call]:
    """Return what says something of a policy; how long it takes is not up to the case."""
    it = here()
    policy = {"problem": it.problem, "theta": it.theta, "monitor": None}
    return {
        "audit": (partial(sc.audit, rollouts=20), policy | {"seed": 1}),
        "certify": (partial(sc.certify, epsilon=0.5, beta=0.1), policy | {"seed": 1}),
        "falsify": (partial(sc.falsify, budget=40), policy | {"seed": 1}),
    }


def of_problems() -> dict[str, Call]:
    """Return problems and objectives, likewise."""
    it = here()
    own = sc.FunctionProblem(np.zeros(2), it.metrics, it.oracle)
    return {
        "MetricOptions": (
            sc.MetricOptions,
            {
                "path": True,
                "command": True,
                "terminal": False,
                "contraction": 0.5,
                "contraction_floor": 0.01,
                "stability": True,
            },
        ),
        "ControlProblem": (
            sc.ControlProblem,
            {
                "policy": it.policy,
                "scenarios": it.batch,
                "objective": it.objective,
                "metrics": sc.MetricOptions(),
                "seed": 0,
                "simulator": lambda x, u, _p: 0.5 * x + 0 * u,
            },
        ),
        "ControlProblem.metrics": (it.problem.metrics, {"theta": it.theta}),
        "ControlProblem.objective": (it.problem.objective, {"theta": it.theta}),
        "ControlProblem.gradient": (it.problem.gradient, {"theta": it.theta}),
        "ControlProblem.with_scenarios": (
            it.problem.with_scenarios,
            {"scenarios": it.batch, "theta_initial": it.theta},
        ),
        "FunctionProblem": (
            sc.FunctionProblem,
            {"theta_initial": [0.0, 0.0], "metrics": it.metrics, "objective": it.oracle, "labels": ("a", "b")},
        ),
        "FunctionProblem.from_casadi": (
            sc.FunctionProblem.from_casadi,
            {"theta": it.x, "objective": ca.sumsqr(it.x), "metrics": it.x - 1, "theta_initial": [0.0, 0.0]},
        ),
        "FunctionProblem.metrics": (own.metrics, {"theta": [0.0, 0.0]}),
        "Imitation": (sc.Imitation, {"x": [[0.1, 0.2]], "u": [[0.1]]}),
        "Quadratic": (sc.Quadratic, {"Q": [1.0, 0.1], "R": [0.05]}),
        "UserObjective": (sc.UserObjective, {"function": it.oracle.function}),
        "UserObjective.from_casadi": (sc.UserObjective.from_casadi, {"theta": it.x, "expression": ca.sumsqr(it.x)}),
        "UserObjective.oracle": (it.oracle.oracle, {"theta": np.zeros(2)}),
    }


def of_loops() -> dict[str, Call]:
    """Return backups, policies and scenarios, likewise."""
    it = here()
    drawn = {"plant": it.plant, "backup": it.backup, "horizon": 4, "count": 2, "level": 0.5, "seed": 1}
    return {
        "Backup": (sc.Backup, {"K": it.backup.K, "P": it.backup.P, "rho": 1.0}),
        "Backup.level": (it.backup.level, {"x": [0.1, 0.2], "x_eq": [0.0, 0.0]}),
        "Policy": (
            sc.Policy,
            {
                "plant": it.plant,
                "backup": it.backup,
                "hidden": (2,),
                "init": 0.5,
                "scale": (1.0, 1.0),
                "at_bounds": True,
            },
        ),
        "Policy()": (it.policy, {"x": [0.1, 0.2], "theta": it.theta}),
        "Policy.theta_initial": (it.policy.theta_initial, {"seed": 0}),
        "Scenarios": (sc.Scenarios, {"x0": it.batch.x0, "p": it.batch.p, "w": it.batch.w, "horizon": 4}),
        "check_backup": (sc.check_backup, {"plant": it.plant, "backup": it.backup}),
        "lqr": (sc.lqr, {"plant": it.plant, "Q": [0.1, 0.1], "R": [10.0], "allow_uncontrollable": False, "rho": 1.0}),
        "lqr parameters": (
            sc.lqr,
            {"plant": it.plant, "Q": [0.1, 0.1], "R": [10.0], "parameters": {"mass": [0.9, 1.1]}},
        ),
        "scenarios": (sc.scenarios, drawn | {"disturbance": [0.01, 0.01], "disturbance_fixed": 0.5}),
        "scenarios, ranges": (sc.scenarios, drawn | {"parameters": {"mass": [0.9, 1.1]}}),
        "scenarios, states": (
            sc.scenarios,
            {
                "plant": it.plant,
                "backup": it.backup,
                "horizon": 4,
                "initial_states": [[0.1, 0.1]],
                "neighbourhood": 0.1,
                "draw": "low_discrepancy",
            },
        ),
        "scenarios, box": (
            sc.scenarios,
            {"plant": it.plant, "backup": it.backup, "horizon": 4, "count": 2, "box": [[-0.1, -0.1], [0.1, 0.1]]},
        ),
    }


def of_plants() -> dict[str, Call]:
    """Return plants, likewise."""
    it = here()
    bounds = {"x_min": [-1.0, -1.0], "x_max": [1.0, 1.0], "u_min": [-1.0], "u_max": [1.0]}
    plant = {
        "name": "p",
        "x": it.x,
        "u": it.u,
        "f": ca.vertcat(it.x[1], it.u),
        "dt": 0.1,
        "x_labels": ["a", "b"],
    } | bounds
    state_space = control.StateSpace([[0.0, 1.0], [0.0, 0.5]], [[0.0], [1.0]], np.eye(2), np.zeros((2, 1)), 0.1)
    return {
        "Plant": (models.Plant, plant),
        "Plant.replace": (it.plant.replace, {"x_min": [-1.0, -1.0], "dt": 0.2, "x_labels": ("a", "b")}),
        "cart_pole": (models.cart_pole, {"dt": 0.1, "angle_max": 0.2}),
        "cart_pole_ode": (models.cart_pole_ode, {"force_max": 1.0}),
        "discretise": (models.discretise, {"plant": it.ode, "dt": 0.1, "substeps": 1}),
        "double_integrator": (models.double_integrator, {"dt": 0.1, "velocity_max": 1.0}),
        "from_statespace": (
            models.from_statespace,
            {"system": state_space, "name": "s", "x_units": ["m", "m"]} | bounds,
        ),
        "linear": (
            models.linear,
            {
                "A": np.eye(2),
                "B": [[0.0], [1.0]],
                "dt": 0.1,
                "bounds": tuple(bounds.values()),
                "name": "l",
                "u_units": ["N"],
            },
        ),
        "make_plant": (models.make_plant, {"kind": "double_integrator", "dt": 0.1}),
        "planar_quadrotor": (models.planar_quadrotor, {"thrust_min": 0.05}),
        "planar_quadrotor_ode": (models.planar_quadrotor_ode, {"thrust_max": 0.3}),
        "to_statespace": (models.to_statespace, {"plant": it.plant}),
    }


def of_files(place: Path) -> dict[str, Call]:
    """Return what reads and writes files, likewise."""
    it = here()
    return {
        "Imitation.from_csv": (sc.Imitation.from_csv, {"path": place / "expert.csv", "nx": 2, "nu": 1}),
        "load_problem": (sc.load_problem, {"path": place / "problem.toml"}),
        "load_result": (sc.load_result, {"path": place / "run"}),
        "save_result": (sc.save_result, {"result": it.result, "path": place / "run", "overwrite": False}),
        "verify": (sc.verify, {"path": place / "run"}),
        "export": (
            codegen.export,
            {
                "result": it.result,
                "path": place / "c",
                "target": "host",
                "real": "double",
                "prefix": "scpo",
                "measured": False,
            },
        ),
        "check_options": (codegen.check_options, {"target": "host", "real": "double", "prefix": "scpo"}),
        "replay": (codegen.replay, {"path": place / "c"}),
    }


def calls(place: Path) -> dict[str, Call]:
    """Return everything public with arguments that are right."""
    return of_runs() | of_assurance() | of_problems() | of_loops() | of_plants() | of_files(place)


def run_case(seed: int, index: int, place: Path) -> list[str]:
    """Run one case in a folder, and return what is wrong about it."""
    rng = random.Random(f"{seed} {index}")
    os.chdir(place)  # names may be relative
    table = calls(place)
    name = rng.choice(sorted(table))
    call, right = table[name]
    if "csv" in name:
        nasty.place_data(place, rng)
    wrong = {}
    for key in rng.sample(sorted(right), min(len(right), rng.choice([1, 1, 1, 2]))):
        wrong[key] = one(right[key], rng)
    if callable(wrong.get("monitor")) or callable(wrong.get("audit_monitor")):
        return []  # what it raises is passed on
    shown = f"{name}({', '.join(f'{key}={summary(value)}' for key, value in wrong.items())})"
    return [f"{shown}: {fault}" for fault in faults(call, right | wrong)]


def one(right: Any, rng: random.Random) -> Any:
    """Return a wrong value for an argument, sometimes of the right kind."""
    numeric = isinstance(right, (list, np.ndarray)) and np.asarray(right).dtype.kind in "if"
    if numeric and rng.random() < 0.3:
        array = np.array(right, dtype=float)
        if array.size:
            array.flat[rng.randrange(array.size)] = rng.choice(
                [np.nan, np.inf, -np.inf, 1e300, -1e300, 1e-300, 0.0, -1.0]
            )
        return rng.choice([array, array[..., None], array.tolist(), array.T, np.full_like(array, 1e160)])
    if isinstance(right, int) and not isinstance(right, bool) and rng.random() < 0.3:
        return rng.choice([-1, 0, 10**5000, 2**63, 0.5, "3", True])
    return copy.copy(nasty.value(rng)) if rng.random() < 0.4 else rng.choice(values())


def faults(call: Callable[..., Any], arguments: dict[str, Any]) -> list[str]:
    """Return what is wrong about how a call ended."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            call(**arguments)
        except sc.ScpoError as error:
            text = str(error)
            strange = STRANGE.search(text.partition(" raised ")[0])  # behind it stands what a function given said
            wrong = [f"words of a library: {text[:300]!r}"] if strange else []
            return wrong if "\n" not in text and len(text) < 1000 else [*wrong, f"not one line: {text[:300]!r}"]
        except Exception as error:
            trace = error.__traceback__
            while trace and trace.tb_next and "scpo_ctrl" not in trace.tb_next.tb_frame.f_code.co_filename:
                trace = trace.tb_next
            at = innermost(error)
            return [f"{type(error).__name__} at {at}: {str(error)[:200]!r}"]
    return []


def innermost(error: BaseException) -> str:
    """Return the last line of this package in a traceback."""
    found, trace = "?", error.__traceback__
    while trace:
        file = Path(trace.tb_frame.f_code.co_filename)
        if "site-packages" not in str(file) and "fuzz" not in file.name:
            found = f"{file.name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found


def summary(value: Any) -> str:
    """Return a value for a finding."""
    try:
        return repr(value)[:60].replace("\n", " ")
    except Exception:
        return f"a {type(value).__name__}"


if __name__ == "__main__":
    main(run_case, str(Path(__file__).resolve()))
