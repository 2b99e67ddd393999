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
from scpo_ctrl.models import Plant, double_integrator

FLAGS = "-O0 -std=c99 -ffp-contract=off"
_NOT_CALLED = ("_blob", "_sectors", "_store", "_link", "_server", "_supervise")
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
#if SCPO_IMITATION
    printf(", \"expert\": [%d, %lu]", adapter->expert.count, (unsigned long)adapter->expert.lost);
#endif
#if SCPO_AUDIT
    printf(", \"audits\": [%lu, %lu], \"guards\": [", (unsigned long)counts->audits, (unsigned long)counts->fresh);
    for (row = 0; row < adapter->audit.guards; row++) {
        printf("%s%lu", row ? ", " : "", (unsigned long)adapter->audit.guard[row]);
    }
    printf("]");
    numbers("committed", SCPO_NTHETA, adapter->audit.committed.theta);
#endif
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
        int found = scpo_roll(adapter, with, rollout, &run);
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
#if !SCPO_IMITATION
        if (rollout < SCPO_NSCENARIOS) {
            value = scpo_cost(adapter, &run);
            scpo_cost_row(adapter, with, rollout, &run, row);
            printf("{\"kind\": [%d, %d, -1, -1]", found, rollout);
            numbers("value", 1, &value);
            numbers("row", SCPO_NTHETA, row);
            printf("}\n");
        }
#endif
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

#if SCPO_IMITATION
/* Some examples, as `examples` in Python makes them. */
static void observe(scpo_adapter *adapter, int step, int count)
{
    int k;
    int i;
    for (k = 0; k < count; k++) {
        scpo_real x[SCPO_NX];
        scpo_real u[SCPO_NU];
        for (i = 0; i < SCPO_NX; i++) {
            x[i] = (scpo_real)((step * 7 + k * 5 + i * 3) % 11 - 5) / 8;
        }
        for (i = 0; i < SCPO_NU; i++) {
            u[i] = (scpo_real)((step * 5 + k * 3 + i) % 7 - 3) / 16;
        }
        (void)scpo_adapter_observe(adapter, x, u);
    }
}
#endif

#if SCPO_UPDATABLE
/* Replaces plant parameters at the steps that words 5 on name: each is a step, low and high. */
static void replace_parameters(scpo_adapter *adapter, int step, int count, char **words)
{
    int k;
    int i;
    for (k = 5; k + 2 * SCPO_NPARAMETERS < count; k += 1 + 2 * SCPO_NPARAMETERS) {
        scpo_real ends[2 * SCPO_NPARAMETERS];
        for (i = 0; i < 2 * SCPO_NPARAMETERS; i++) {
            ends[i] = (scpo_real)atof(words[k + 1 + i]);
        }
        if (atoi(words[k]) == step && scpo_adapter_parameters(adapter, ends, ends + SCPO_NPARAMETERS) != SCPO_OK) {
            printf("refused\n");
        }
    }
}
#endif

/* STEPS, and where it goes on with another reference, RESTART and what moves it, or with how many examples before each
 * further step, and where they are forgotten; or -1 for rows. */
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
#if SCPO_UPDATABLE
        replace_parameters(&adapter, k, count, words);
#endif
#if SCPO_IMITATION
        if (count > 4 && k == atoi(words[4])) {
            scpo_adapter_forget(&adapter);
        }
        if (restart >= 0 && k >= restart) {
            observe(&adapter, k, atoi(words[3]));
        }
#else
        if (k == restart) {
            int t;
            for (t = 0; t < SCPO_NREFERENCE; t += SCPO_NX + SCPO_NU) { /* a ramp, where it tracks */
                const int last = SCPO_NREFERENCE - SCPO_NX - SCPO_NU;
                adapter.reference[t] += (scpo_real)(atof(words[3]) * (last ? t : 1) / (last ? last : 1));
            }
            (void)scpo_adapter_refer(&adapter, adapter.reference);
        }
#endif
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
    return sc.ControlProblem(sc.Policy(plant, backup, (4,)), batch, sc.Quadratic([1.0, 0.0], [0.05]))


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


def masses() -> sc.ControlProblem:
    """Return a double integrator with a range of masses: what is best for a heavy one overshoots with a light one."""
    plant, parameters = double_integrator(), {"mass": (0.8, 1.25)}
    backup = sc.lqr(plant, [0.1, 0.1], [10.0], parameters=parameters)
    batch = sc.scenarios(plant, backup, horizon=20, count=6, level=0.9, parameters=parameters)
    policy, metrics = sc.Policy(plant, backup, (4,)), sc.MetricOptions(stability=False)
    return sc.ControlProblem(policy, batch, sc.Quadratic([1.0, 0.1], [0.05]), metrics)


@functools.cache
def imitating(name: str, examples: int = 60) -> sc.ControlProblem:
    """Return a case whose objective is an expert: right on one side, and on the other the wrong way round (R2)."""
    of = CASES[name]()
    x = sc.scenarios(of.plant, of.backup, horizon=1, count=examples, level=0.9, seed=3).x0
    K = 2 * of.backup.K
    u = np.clip(of.plant.u_eq - (x - of.plant.x_eq) @ K.T, of.plant.u_min, of.plant.u_max)
    u = np.where(x[:, :1] < of.plant.x_eq[0], 2 * of.plant.u_eq - u, u)
    return sc.ControlProblem(of.policy, of.scenarios, sc.Imitation(x, u), of.scenario_metrics.options)


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
    "masses": masses,
    "imitating masses": lambda: imitating("masses"),
    "imitating, two layers": lambda: imitating("two layers, two inputs, saturating", 7),
    "end alone": lambda: unbounded(path=False, terminal=True, contraction=None, stability=False),
}

ALONE = ("explosive", "end alone", "masses", "imitating masses", "imitating, two layers")  # for tests of their own
SHARED = tuple(name for name in CASES if name not in ALONE)


def build(
    problem: sc.Problem,
    folder: Path,
    real: str = "double",
    flags: str = FLAGS,
    compiler: str = "gcc",
    prefix="scpo",
    examples: int | None = None,
    gradients: str = "exact",
    audited: bool = True,
) -> Path:
    """Export an adaptation and build it with the driver above; return the program."""
    exported(problem, folder, real, prefix, examples=examples, gradients=gradients, audited=audited)
    return compiled(folder, flags, compiler)


def exported(problem: sc.Problem, folder: Path, real: str = "double", prefix: str = "scpo", **more: object) -> Path:
    """Export an adaptation, with the driver above beside it; return the folder."""
    result = sc.adapt(problem, sc.AdaptOptions(steps=0, audit=False))
    export(result, folder, real=real, prefix=prefix, adapting=True, measured=False, **more)
    (folder / "driver.c").write_text(_DRIVER.replace("scpo", prefix).replace("SCPO", prefix.upper()))
    return folder


def compiled(folder: Path, flags: str = FLAGS, compiler: str = "gcc") -> Path:
    """Build the driver of an export with some flags, what it does not call only to be warned; return the program."""
    every = sorted((folder / "src").glob("*.c"))
    called = [path for path in every if "-Werror" in flags or not path.stem.endswith(_NOT_CALLED)]
    sources = [*map(str, called), str(folder / "driver.c")]
    include = [f"-I{folder / part}" for part in ("include", "src")]
    program = folder / "driver"
    run(compiler, *flags.split(), *include, *sources, "-lm", "-o", str(program))
    return program


@functools.cache
def built(
    name: str,
    real: str = "double",
    more: str = "",
    examples: int | None = None,
    gradients: str = "exact",
    audited: bool = True,
) -> Path:
    """Return the program of one of the cases, which stays until the tests end."""
    folder = tempfile.TemporaryDirectory(prefix="scpo_device_")
    _kept.append(folder)
    flags = FLAGS.replace("-std=c99", "") if "-std=" in more else FLAGS
    with_these = {"examples": examples, "gradients": gradients, "audited": audited}
    return build(CASES[name](), Path(folder.name) / "c", real, f"{flags} {more}", **with_these)


_kept: list[tempfile.TemporaryDirectory] = []


def lines(program: Path, *words: object, given: str = "") -> list[dict]:
    """Run the driver; return what it prints."""
    done = subprocess.run(
        [program, *map(str, words)], input=given, capture_output=True, text=True, timeout=120, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def examples(step: int, count: int, nx: int, nu: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return what the driver observes of an expert before a step."""
    k, (i, j) = np.arange(count)[:, None], (np.arange(nx), np.arange(nu))
    x = ((step * 7 + k * 5 + i * 3) % 11 - 5) / 8
    u = ((step * 5 + k * 3 + j) % 7 - 3) / 16
    return list(zip(x, u, strict=True))


def state(adapter: DeviceAdapter, status: DeviceStatus) -> dict:
    """Return what the driver prints of a step."""
    return {
        "outcome": list(DeviceStatus).index(status) + 1,
        "counts": list(dataclasses.astuple(adapter.counts))[:-2],
        "keys": adapter.rows.keys.tolist(),
        "objective": [float(adapter.objective)],
        "margin": [float(adapter.margin)],
        "L": adapter.rows.L.tolist(),
        "theta": adapter.active.tolist(),
    } | _of_parts(adapter)


def _of_parts(adapter: DeviceAdapter) -> dict:
    found: dict = {}
    if adapter.expert is not None:
        found["expert"] = [len(adapter.expert.x), adapter.expert.lost]
    if adapter.audits is not None:
        found |= {"guards": adapter.audits.guards, "committed": adapter.theta.tolist()}
        found["audits"] = [adapter.counts.audits, adapter.counts.fresh]
    return found
