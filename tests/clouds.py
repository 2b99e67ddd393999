"""Problems with one-step conditions (E13) on a cloud of states, and what the conditions are by a loop over it."""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources

import casadi as ca
import numpy as np
from problems import double_integrator_problem

import scpo_ctrl as sc
from scpo_ctrl.models import Plant


def shipped(name: str, **options) -> sc.ControlProblem:
    """Return a problem that ships with the package, with other metrics."""
    problem = sc.load_problem(str(importlib.resources.files("scpo_ctrl") / "data" / f"{name}.toml"))
    return with_metrics(problem, **options)


def with_metrics(problem: sc.ControlProblem, **options) -> sc.ControlProblem:
    changed = dataclasses.replace(problem.scenario_metrics.options, **options)
    return sc.ControlProblem(
        problem.policy, problem.scenarios, problem.objective_data, changed, simulator=problem.simulator
    )


def disturbed(**options) -> sc.ControlProblem:
    """Return the double integrator with another mass and disturbances in each scenario."""
    problem = double_integrator_problem((3,))
    batch = sc.scenarios(
        problem.plant, problem.backup, horizon=9, count=5, level=0.5, parameters={"mass": (0.9, 1.1)},
        disturbance=[0.001, 0.002], disturbance_fixed=0.5,
    )  # fmt: skip
    return sc.ControlProblem(problem.policy, batch, problem.objective_data, sc.MetricOptions(**options))


def loaded(**options) -> sc.ControlProblem:
    """Return a damped mass under a constant load, which moves where it settles."""
    x, u, p = ca.SX.sym("x", 2), ca.SX.sym("u"), ca.SX.sym("p")
    bounds = {"x_min": [-5.0, -1.5], "x_max": [5.0, 1.5], "u_min": [-1.0], "u_max": [1.0]}
    f = ca.vertcat(x[0] + 0.1 * x[1], 0.95 * x[1] + 0.1 * (u + p))
    plant = Plant(name="loaded", x=x, u=u, p=p, p_labels=("load",), p_nominal=[0.0], f=f, dt=0.1, **bounds)
    backup = sc.lqr(plant, [0.1, 0.1], [10.0])
    batch = sc.scenarios(plant, backup, horizon=9, count=5, level=0.3, parameters={"load": (-0.05, 0.05)})
    return sc.ControlProblem(
        sc.Policy(plant, backup, (3,)), batch, sc.Quadratic([1.0, 0.1], [0.05]), sc.MetricOptions(**options)
    )


def box_of(plant: Plant):
    """Return a plant as a black box."""

    def step(x, u, p):
        return np.array(mapped(len(x))(x.T, u.T, p.T)).T

    mapped = functools.cache(plant.function.map)
    return step


def expected(problem: sc.ControlProblem, theta: np.ndarray) -> np.ndarray:
    """Return the metrics of the cloud by a loop over its states, from the equation."""
    plant, backup, options = problem.plant, problem.backup, problem.scenario_metrics.options
    a, c, cloud = options.one_step, options.contraction_floor, problem.one_step.cloud
    assert cloud.horizon == 1 and cloud.count == options.cloud
    step, rests = box_of(plant), np.tile(plant.x_eq, (cloud.count, 1))
    for _ in range(3000):  # until the loop under the backup is at rest
        commands = np.clip(plant.u_eq - (rests - plant.x_eq) @ backup.K.T, plant.u_min, plant.u_max)
        rests = step(rests, commands, cloud.p)
    rows = []
    for x, p, rest, k in zip(cloud.x0, cloud.p, rests, range(cloud.count), strict=True):
        u = problem.policy.commands(x[None, None], theta[None])[0, 0]
        after = np.array(plant.function(x, np.clip(u, plant.u_min, plant.u_max), p))[:, 0]
        after = after + cloud.w[k, 0] if cloud.w.size else after
        V = [(z - rest) @ backup.P @ (z - rest) for z in (x, after)]
        states = [bound for z in (x, after) for bound in (*(z - plant.x_max), *(plant.x_min - z))]
        rows.append([*states, *(u - plant.u_max), *(plant.u_min - u), V[1] - max((1 - a) * V[0], c * backup.rho)])
    return np.array(rows)


CASES = {
    "R3": lambda: shipped("double_integrator", one_step=0.02, cloud=9),
    "R4": lambda: shipped("cart_pole", one_step=0.002, cloud=17, contraction_floor=0.1),
    "disturbed": lambda: disturbed(one_step=0.01, cloud=12, contraction_floor=0.2),
    "loaded": lambda: loaded(one_step=0.01, cloud=8),
}
