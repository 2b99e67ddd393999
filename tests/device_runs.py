"""Problems that are adapted on a device, and what the exported C does with them on this computer."""

from __future__ import annotations

import dataclasses
import functools
import json
import subprocess
import tempfile
from pathlib import Path

import casadi as ca
import clouds
import numpy as np
import problems
from exports import run

import scpo_ctrl as sc
from scpo_ctrl.codegen import export
from scpo_ctrl.device import DeviceAdapter, DeviceStatus
from scpo_ctrl.models import Plant

FLAGS = "-O0 -std=c99 -ffp-contract=off"
_DRIVER = r"""
#include <stdio.h>
#include <stdlib.h>
#include "scpo_adapt.h"
#include "scpo_rollout.h"

#ifndef STEPS
#define STEPS 0 /* of a board, where there are no words */
#endif

static void numbers(const char *name, int count, const scpo_real *values)
{
    int i;
    printf(", \"%s\": [", name);
    for (i = 0; i < count; i++) {
        printf("%s%.17g", i ? ", " : "", (double)values[i]);
    }
    printf("]");
}

static void step(scpo_adapter *adapter, int outcome)
{
    const scpo_counts *counts = &adapter->counts;
    const scpo_controller *controller = adapter->controller;
    int row;
    printf("{\"outcome\": %d, \"counts\": [%lu, %lu, %lu, %lu, %lu, %lu, %lu], \"keys\": [", outcome,
           (unsigned long)counts->steps, (unsigned long)counts->commits, (unsigned long)counts->tries,
           (unsigned long)counts->unsafe, (unsigned long)counts->pieces, (unsigned long)counts->projections,
           (unsigned long)counts->projecting);
    for (row = 0; row < adapter->count; row++) {
        printf("%s%lu", row ? ", " : "", (unsigned long)adapter->key[row]);
    }
    printf("]");
    numbers("objective", 1, &adapter->objective);
    numbers("margin", 1, &adapter->margin);
    numbers("L", adapter->count, adapter->L);
    numbers("theta", SCPO_NTHETA, controller->set[controller->active].theta);
    printf("}\n");
}

#if !SCPO_SAMPLED
/* Prints every metric of every rollout, and its derivative, at parameters on standard input; then those of the cost. */
static void rows(const scpo_adapter *adapter, scpo_parameters *with)
{
    static scpo_trajectory run;
    scpo_real row[SCPO_NTHETA];
    scpo_real value;
    int rollout;
    int time;
    int signal;
    scpo_parameters_prepare(with);
    for (rollout = 0; rollout < SCPO_NROLLOUTS; rollout++) {
        int found = scpo_roll(with, rollout, &run);
        for (time = 0; time <= scpo_horizon(rollout); time++) {
            for (signal = 0; signal < SCPO_NSIGNALS; signal++) {
                if (scpo_has_metric(rollout, time, signal)) {
                    value = scpo_metric(rollout, &run, time, signal);
                    scpo_metric_row(with, rollout, &run, time, signal, row);
                    printf("{\"kind\": [%d, %d, %d, %d]", found, rollout, time, signal);
                    numbers("value", 1, &value);
                    numbers("row", SCPO_NTHETA, row);
                    printf("}\n");
                }
            }
        }
        if (rollout < SCPO_NSCENARIOS) {
            value = scpo_cost(adapter, &run);
            scpo_cost_row(adapter, with, rollout, &run, row);
            printf("{\"kind\": [%d, %d, -1, -1]", found, rollout);
            numbers("value", 1, &value);
            numbers("row", SCPO_NTHETA, row);
            printf("}\n");
        }
    }
#if SCPO_NVERTICES
    for (rollout = 0; rollout < SCPO_NVERTICES; rollout++) {
        static scpo_powers powers;
        value = scpo_stability(with, rollout, &powers, row);
        printf("{\"kind\": [1, %d, -1, -2]", rollout);
        numbers("value", 1, &value);
        numbers("row", SCPO_NTHETA, row);
        printf("}\n");
    }
#endif
}
#endif

/* STEPS, and where it goes on with another reference, RESTART and what moves it; or -1 for rows. */
int main(int count, char **words)
{
    static scpo_controller controller;
    static scpo_adapter adapter;
    const int steps = STEPS ? STEPS : atoi(words[1]);
    const int restart = !STEPS && count > 3 ? atoi(words[2]) : -1;
    int k;
    scpo_controller_begin(&controller, scpo_theta_start);
    scpo_adapter_begin(&adapter, &controller);
#if !SCPO_SAMPLED
    if (steps < 0) {
        static scpo_parameters with;
        double value;
        for (k = 0; k < SCPO_NTHETA && scanf("%lf", &value) == 1; k++) {
            with.theta[k] = (scpo_real)value;
        }
        rows(&adapter, &with);
        return 0;
    }
#endif
    for (k = 0; k < steps; k++) {
        scpo_adaptation outcome = SCPO_ADAPTING;
        if (k == restart) {
            adapter.reference[0] += (scpo_real)atof(words[3]);
            scpo_adapter_restart(&adapter);
        }
        while (outcome == SCPO_ADAPTING) {
            outcome = scpo_adapter_poll(&adapter, 1 + k % 3);
        }
        step(&adapter, (int)outcome);
    }
    return 0;
}
"""


def shipped(name: str, count: int, horizon: int, **metrics) -> sc.ControlProblem:
    """Return a problem that ships with the package, with fewer and shorter scenarios."""
    problem = clouds.shipped(name, **metrics)
    batch = problem.scenarios
    few = sc.Scenarios(batch.x0[:count], batch.p[:count], batch.w[:count, :horizon], horizon)
    return sc.ControlProblem(problem.policy, few, problem.objective_data, problem.scenario_metrics.options)


def kinked() -> sc.ControlProblem:
    """Return a plant with functions that C has not: least, largest, sign; its drag is a choice."""
    x, u = ca.SX.sym("x", 2), ca.SX.sym("u")
    drag = 0.2 * x[1] * ca.fmin(ca.fabs(x[1]), 0.7) + 0.01 * ca.sign(x[1]) * x[1] ** 2 + 0.05 * ca.fmax(x[1], -0.3)
    f = ca.vertcat(x[0] + 0.1 * x[1], x[1] + 0.1 * (u - drag - 0.1 * ca.if_else(x[0] > 0.5, ca.sin(x[0] - 0.5), 0)))
    bounds = {"x_min": -np.ones(2), "x_max": np.ones(2), "u_min": -np.ones(1), "u_max": np.ones(1)}
    plant = Plant(name="kinked", x=x, u=u, f=f, dt=0.1, **bounds)
    backup = sc.lqr(plant, [0.1, 0.1], [10.0], rho=0.3)
    batch = sc.scenarios(plant, backup, horizon=10, count=4, level=0.2)
    return sc.ControlProblem(sc.Policy(plant, backup, (4,)), batch, sc.Quadratic([1.0, 1.0], [0.05]))


def explosive() -> sc.ControlProblem:
    """Return a plant that is lost, beyond all numbers, soon after it leaves its bounds."""
    x, u = ca.SX.sym("x", 1), ca.SX.sym("u", 1)
    bounds = {"x_min": -np.ones(1), "x_max": np.ones(1), "u_min": -3 * np.ones(1), "u_max": 3 * np.ones(1)}
    plant = Plant(name="explosive", x=x, u=u, f=x + 0.3 * x**3 + 0.2 * u, dt=0.1, **bounds)
    backup = sc.lqr(plant, [1.0], [1.0], rho=0.3)
    batch = sc.scenarios(plant, backup, horizon=15, count=4, level=0.3)
    options = sc.MetricOptions(contraction=None, stability=False)
    return sc.ControlProblem(sc.Policy(plant, backup, (3,)), batch, sc.Quadratic([1.0], [0.001]), options)


def unbounded(**metrics) -> sc.ControlProblem:
    """Return a plant without bounds of states, whose commands saturate: a rollout's metrics are about its end."""
    x, u = ca.SX.sym("x", 2), ca.SX.sym("u")
    f = ca.vertcat(x[0] + 0.1 * x[1], x[1] + 0.1 * u)
    free = {"x_min": np.full(2, -np.inf), "x_max": np.full(2, np.inf)}
    plant = Plant(name="unbounded", x=x, u=u, f=f, dt=0.1, **free, u_min=-np.ones(1), u_max=np.ones(1))
    backup = sc.lqr(plant, [0.1, 0.1], [10.0])
    batch = sc.scenarios(plant, backup, horizon=30, count=4, level=0.8)
    return sc.ControlProblem(
        sc.Policy(plant, backup, (3, 2)), batch, sc.Quadratic([1.0, 1.0], [0.05]), sc.MetricOptions(**metrics)
    )


CASES = {
    "R3": lambda: shipped("double_integrator", 8, 30),
    "two layers, two inputs, saturating": lambda: clouds.with_metrics(
        problems.two_input_problem(nx=3, hidden=(5, 4)), command=False
    ),
    "linear": problems.two_input_problem,
    "R4": lambda: shipped("cart_pole", 4, 25),
    "disturbed cloud": lambda: clouds.disturbed(one_step=0.01, cloud=12, contraction_floor=0.2),
    "cloud at other rests": lambda: clouds.loaded(one_step=0.01, cloud=8, stability=False),
    "terminal, two layers": lambda: clouds.with_metrics(
        problems.double_integrator_problem((4, 3), horizon=30), terminal=True, contraction=0.9
    ),
    "kinked": kinked,
    "explosive": explosive,
    "end alone": lambda: unbounded(path=False, terminal=True, contraction=None, stability=False),
}

ALONE = ("explosive", "end alone")  # for tests of their own
SHARED = tuple(name for name in CASES if name not in ALONE)


def build(
    problem: sc.Problem,
    folder: Path,
    real: str = "double",
    flags: str = FLAGS,
    compiler: str = "gcc",
    prefix="scpo",
    gradients: str = "exact",
) -> Path:
    """Export an adaptation and build it with the driver above; return the program."""
    result = sc.adapt(problem, sc.AdaptOptions(steps=0, audit=False))
    export(result, folder, real=real, prefix=prefix, adapting=True, gradients=gradients, measured=False)
    (folder / "driver.c").write_text(_DRIVER.replace("scpo", prefix).replace("SCPO", prefix.upper()))
    sources = [*map(str, sorted((folder / "src").glob("*.c"))), str(folder / "driver.c")]
    include = [f"-I{folder / part}" for part in ("include", "src")]
    program = folder / "driver"
    run(compiler, *flags.split(), *include, *sources, "-lm", "-o", str(program))
    return program


@functools.cache
def built(name: str, real: str = "double", more: str = "", gradients: str = "exact") -> Path:
    """Return the program of one of the cases, which stays until the tests end."""
    folder = tempfile.TemporaryDirectory(prefix="scpo_device_")
    _kept.append(folder)
    return build(CASES[name](), Path(folder.name) / "c", real, f"{FLAGS} {more}", gradients=gradients)


_kept: list[tempfile.TemporaryDirectory] = []


def lines(program: Path, *words: object, given: str = "") -> list[dict]:
    """Run the driver; return what it prints."""
    done = subprocess.run(
        [program, *map(str, words)], input=given, capture_output=True, text=True, timeout=120, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def state(adapter: DeviceAdapter, status: DeviceStatus) -> dict:
    """Return what the driver prints of a step."""
    return {
        "outcome": list(DeviceStatus).index(status) + 1,
        "counts": list(dataclasses.astuple(adapter.counts)),
        "keys": adapter.rows.keys.tolist(),
        "objective": [float(adapter.objective)],
        "margin": [float(adapter.margin)],
        "L": adapter.rows.L.tolist(),
        "theta": adapter.theta.tolist(),
    }
