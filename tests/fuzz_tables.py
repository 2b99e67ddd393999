"""Everything public, each with arguments that are right: what `fuzz_calls` makes wrong."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import casadi as ca
import control
import numpy as np
from fuzz_interfaces import of_interfaces
from fuzz_objectives import of_objectives, of_problems
from fuzz_signals import of_signals
from fuzz_zoo import of_zoo

import scpo_ctrl as sc
from scpo_ctrl import codegen, controllers, models

Call = tuple[Callable[..., Any], dict[str, Any]]


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
        oracle=sc.UserObjective(lambda theta: (float(theta @ theta), 2 * theta)), xi=ca.SX.sym("xi"), y=ca.SX.sym("y"),
        controlled=sc.controlled(plant, controllers.state_feedback(plant, backup.K)),
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
        "Result.policy": (it.result.policy, {"x": [0.1, 0.1]}),
        "Result.simulate": (it.result.simulate, {"x0": [0.1, 0.1], "steps": 2, "parameters": {"mass": 1.1}}),
        "adapt": (sc.adapt, {"problem": it.problem, "options": it.options, "resume_from": None, **monitors}),
        "DeviceOptions": (sc.DeviceOptions, {"rows": 4, "memory": 2, "tries": 3, "worth": 1e-6, "radius": 1.0}),
        "adapt_as_device": (
            partial(sc.adapt_as_device, steps=1),
            {"problem": it.problem, "real": "double", "theta": it.theta, "options": None},
        ),
        "project": (sc.project, cone | {"solver": "DUAL", "guess": [0], "norms": [1.2]}),
        "project, conic": (sc.project, cone | {"solver": "CLARABEL"}),
        "project_reference": (sc.project_reference, cone | {"solver": "CLARABEL"}),
    }


def of_assurance() -> dict[str, Call]:
    """Return what says something of a policy; how long it takes is not up to the case."""
    it = here()
    policy = {"problem": it.problem, "theta": it.theta, "monitor": None, "seed": 1}
    inputs = np.cos(np.arange(30.0))
    speed = np.concatenate([[0.0], 0.1 * np.cumsum(inputs)[:-1]])
    position = np.concatenate([[0.0], np.cumsum(0.1 * speed + 0.005 * inputs)[:-1]])
    states = np.stack([position, speed], axis=1) + 1e-4 * np.sin(7.0 * np.arange(60.0)).reshape(30, 2)
    return {
        "audit": (partial(sc.audit, rollouts=20), policy),
        "certify": (sc.certify, policy | {"epsilon": 0.5, "beta": 0.5}),
        "falsify": (partial(sc.falsify, budget=40), policy),
        "identify": (
            sc.identify,
            {
                "plant": it.plant,
                "x": states,
                "u": inputs[:, None],
                "sample": np.arange(30),
                "parameters": ["mass"],
                "horizon": 1,
                "confidence": 0.9,
                "margin": 0.1,
            },
        ),
        "simulate": (sc.simulate, {"result": it.result, "plant": it.plant, "parameters": {"mass": 1.1}, "episodes": 2}),
    }


def of_loops() -> dict[str, Call]:
    """Return backups and policies, likewise."""
    it = here()
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
        "Controller": (
            sc.Controller,
            {
                "name": "c",
                "theta": ca.vertcat(it.x),
                "theta_initial": [1.0, 0.5],
                "y": it.y,
                "u": it.u,
                "xi": it.xi,
                "command": -it.x[0] * it.y + it.xi,
                "memory": it.xi - it.x[1] * it.y,
                "memory_min": [-1.0],
                "memory_max": [1.0],
            },
        ),
        "ControllerPolicy()": (it.controlled, {"x": [0.1, 0.2], "theta": [0.0, 0.0]}),
        "ControllerPolicy.parameters": (it.controlled.parameters, {"theta": [0.0, 0.0]}),
        "controlled": (
            sc.controlled,
            {
                "plant": it.plant,
                "controller": it.controlled.controller,
                "reference": [],
                "parameters": {"mass": [0.9, 1.1]},
                "rho": 0.01,
            },
        ),
        "Policy()": (it.policy, {"x": [0.1, 0.2], "theta": it.theta}),
        "Policy.theta_initial": (it.policy.theta_initial, {"seed": 0}),
        "check_backup": (sc.check_backup, {"plant": it.plant, "backup": it.backup}),
        "lmi": (
            sc.lmi,
            {"plant": it.plant, "K": [[0.1, 0.5]], "decay": 0.99, "parameters": {}, "disturbance": [0.0, 0.001]},
        ),
        "of_gain": (sc.of_gain, {"plant": it.plant, "K": [[0.1, 0.5]], "rho": 0.5, "parameters": {"mass": [0.9, 1.1]}}),
        "lqr": (sc.lqr, {"plant": it.plant, "Q": [0.1, 0.1], "R": [10.0], "allow_uncontrollable": False, "rho": 1.0}),
        "lqr parameters": (
            sc.lqr,
            {"plant": it.plant, "Q": [0.1, 0.1], "R": [10.0], "parameters": {"mass": [0.9, 1.1]}},
        ),
    }


def of_scenarios() -> dict[str, Call]:
    """Return scenarios, likewise."""
    it = here()
    drawn = {"plant": it.plant, "backup": it.backup, "horizon": 4, "count": 2, "level": 0.5, "seed": 1}
    return {
        "Scenarios": (sc.Scenarios, {"x0": it.batch.x0, "p": it.batch.p, "w": it.batch.w, "horizon": 4}),
        "Scenarios.and_then": (it.batch.and_then, {"others": it.batch}),
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


def of_controllers() -> dict[str, Call]:
    """Return controllers that exist, likewise."""
    it = here()
    shows = it.plant.replace(y=it.plant.x[0])
    system = control.StateSpace([[0.5]], [[1.0]], [[-1.0]], [[3.0]], it.plant.dt)
    pid = {"kp": 2.0, "ki": 0.1, "kd": 3.0, "filter_time": 0.1, "filtered": (-2.0, 2.0), "tracking_time": 1.0}
    pid |= {"bounds": {"kp": (0.0, 3.0), "kd": [-np.inf, 4.0]}}
    return {
        "gain_schedule": (
            controllers.gain_schedule,
            {"plant": it.plant, "points": [-1.0, 1.0], "gains": [it.backup.K, it.backup.K], "signal": 0},
        ),
        "linear_controller": (
            controllers.linear_controller,
            {"plant": shows, "system": system, "memory": 5.0, "bounds": {"A": (0.0, 1.0)}},
        ),
        "lqg": (
            controllers.lqg,
            {
                "plant": shows,
                "Q": [1.0, 1.0],
                "R": [1.0],
                "process_noise": [0.1, 0.1],
                "sensor_noise": [0.1],
                "estimate": [[-3.0, -3.0], [3.0, 3.0]],
            },
        ),
        "lqi": (controllers.lqi, {"plant": it.plant, "Q": [1.0, 1.0, 1.0], "R": [1.0], "tracked": (0,)}),
        "pid": (controllers.pid, {"plant": shows, "measurement": 0, "setpoint_weight": 0.5, "form": "parallel"} | pid),
        "state_feedback": (controllers.state_feedback, {"plant": it.plant, "K": it.backup.K}),
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
    return {
        "Plant": (models.Plant, plant),
        "Plant.replace": (it.plant.replace, {"x_min": [-1.0, -1.0], "dt": 0.2, "x_labels": ("a", "b")}),
        "actuator_lag": (models.actuator_lag, {"plant": it.plant, "time_constant": 0.2}),
        "computation_delay": (models.computation_delay, {"plant": it.plant}),
        "discretise": (models.discretise, {"plant": it.ode, "dt": 0.1, "substeps": 1, "tolerance": 1e-3}),
        "from_function": (
            models.from_function,
            {"function": it.plant.function, "dt": 0.1, "x_min": [-1, -1], "x_max": [1, 1], "u_min": -1, "u_max": 1}
            | {"p_nominal": [1.0]},
        ),
        "input_delay": (models.input_delay, {"plant": it.plant, "steps": 2}),
        "rate_limit": (models.rate_limit, {"plant": it.plant, "per_step": 0.2}),
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
    }


def of_other_systems() -> dict[str, Call]:
    """Return plants from texts and from python-control, likewise."""
    bounds = {"x_min": [-1.0, -1.0], "x_max": [1.0, 1.0], "u_min": [-1.0], "u_max": [1.0]}
    state_space = control.StateSpace([[0.0, 1.0], [0.0, 0.5]], [[0.0], [1.0]], np.eye(2), np.zeros((2, 1)), 0.1)
    return {
        "equations": (
            models.equations,
            {
                "states": [{"name": "angle", "min": -1.0, "derivative": "-sin(angle) + torque"}],
                "inputs": [{"name": "torque", "min": -1.0, "max": 1.0}],
                "dt": 0.1,
                "parameters": [{"name": "m", "nominal": 1.0}],
                "constants": {"g": 9.81},
                "name": "pendulum",
                "substeps": 2,
                "source": "",
            },
        ),
        "from_nonlinear": (
            models.from_nonlinear,
            {
                "system": control.NonlinearIOSystem(lambda t, x, u, _: -x + u, None, inputs=1, states=1, dt=0),
                "dt": 0.1,
                "x_min": -1.0,
                "x_max": 1.0,
                "u_min": -1.0,
                "u_max": 1.0,
                "x_eq": [0.0],
                "u_eq": [0.0],
                "x_units": ["m"],
                "u_units": ["N"],
            },
        ),
        "from_statespace": (
            models.from_statespace,
            {"system": state_space, "name": "s", "x_units": ["m", "m"]} | bounds,
        ),
        "to_statespace": (models.to_statespace, {"plant": here().plant}),
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
        "plot": (sc.plot, {"result": it.result}),
        "write_report": (sc.write_report, {"result": it.result, "path": place / "report.html", "guarded": None}),
        "Result.report": (it.result.report, {"path": place / "report.html"}),
        "Result.save": (it.result.save, {"path": place / "run", "overwrite": False}),
        "Result.export": (it.result.export, {"path": place / "c", "target": "host", "real": "double"}),
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
        "FixedPoint": (
            codegen.FixedPoint,
            {"x_step": [0.01] * 2, "x_zero": [0.0] * 2, "u_step": [0.01], "u_zero": [0.0]},
        ),
        "check_options": (codegen.check_options, {"target": "host", "real": "double", "prefix": "scpo"}),
        "replay": (codegen.replay, {"path": place / "c"}),
    }


def calls(place: Path) -> dict[str, Call]:
    """Return everything public with arguments that are right."""
    kinds = (
        of_runs,
        of_assurance,
        lambda: of_problems(here()),
        lambda: of_objectives(here()),
        of_loops,
        of_scenarios,
        of_controllers,
        lambda: of_interfaces(here()),
        lambda: of_signals(here()),
        of_plants,
        of_other_systems,
        of_zoo,
    )
    return {name: call for of_kind in kinds for name, call in of_kind().items()} | of_files(place)
