"""Closed loops of every shape, for tests of the rollout engines against each other."""

from __future__ import annotations

from dataclasses import dataclass, replace

import casadi as ca
import numpy as np

from scpo_ctrl.engine.loop import Loop, Stage
from scpo_ctrl.loop.backup import Backup
from scpo_ctrl.loop.constraint import Constraint
from scpo_ctrl.loop.design import lqr
from scpo_ctrl.loop.metrics import MetricOptions, Metrics
from scpo_ctrl.loop.policy import Policy
from scpo_ctrl.loop.scenario import Scenarios, scenarios
from scpo_ctrl.models import Plant, double_integrator, linear, signals
from scpo_ctrl.models.varying import drawn_ranges, settled, with_signals
from scpo_ctrl.problem.cost import Cost

EVERYTHING = MetricOptions(terminal=True, contraction=0.95)


def pendulum() -> Plant:
    """Return a nonlinear plant with two inputs, two parameters, an equilibrium that is not zero, and bounds missing."""
    x, u, p = ca.SX.sym("x", 3), ca.SX.sym("u", 2), ca.SX.sym("p", 2)
    speed = x[1] + 0.1 * (-ca.sin(x[0] - 0.2) * p[0] - 0.3 * x[1] + ca.cos(x[0]) * u[0] / p[1])
    f = ca.vertcat(x[0] + 0.1 * x[1], speed, 0.9 * x[2] + 0.1 * ca.tanh(u[1]) + 0.05 * ca.exp(-(x[0] ** 2)) * x[1])
    return Plant(
        name="pendulum", x=x, u=u, p=p, p_nominal=np.array([1.0, 2.0]), f=f, dt=0.1,
        x_min=np.array([-np.inf, -1.0, -3.0]), x_max=np.array([2.0, np.inf, 3.0]),
        u_min=np.array([-0.6, -0.5]), u_max=np.array([0.5, 0.7]), x_eq=np.array([0.2, 0.0, 0.0]), u_eq=np.zeros(2),
    )  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A closed loop and its scenarios."""

    loop: Loop
    batch: Scenarios

    def theta(self, size: float = 1.5, seed: int = 1) -> np.ndarray:
        """Return parameters away from the safe start."""
        return size * np.random.default_rng(seed).normal(size=self.loop.policy.theta_dim)


def pendulum_case(hidden: tuple[int, ...] = (), options: MetricOptions = EVERYTHING, *, count=11, horizon=9) -> Case:
    """Return the pendulum with disturbances and parameter ranges; its backup is any stabilising one."""
    plant, rng = pendulum(), np.random.default_rng(1)
    P = np.array([[3.0, 0.5, 0.1], [0.5, 2.0, 0.2], [0.1, 0.2, 1.0]])
    backup = Backup(K=np.array([[0.5, 0.4, 0.0], [0.1, 0.0, 0.2]]), P=P, rho=2.5)
    batch = Scenarios(
        plant.x_eq + rng.uniform(-0.5, 0.5, (count, 3)), rng.uniform(0.8, 2.0, (count, 2)),
        rng.uniform(-0.02, 0.02, (count, horizon, 3)), horizon,
    )  # fmt: skip
    policy = Policy(plant, backup, hidden, scale=(1.0, 2.0, 0.5), input_scale=(1.0, 1.5))
    return Case(Loop(policy, Metrics(plant, backup, horizon, options), Stage(np.ones(3), np.array([0.1, 0.3]))), batch)


def loaded_arm() -> Plant:
    """Return a nonlinear plant whose parameters, a load and an input gain, move where state feedback settles."""
    x, u, p = ca.SX.sym("x", 2), ca.SX.sym("u"), ca.SX.sym("p", 2)
    f = ca.vertcat(x[0] + 0.1 * x[1], 0.95 * x[1] + 0.1 * (p[1] * u - ca.sin(x[0]) - p[0] * ca.cos(x[0])))
    bounds = {"x_min": [-2.0, -3.0], "x_max": [2.0, 3.0], "u_min": [-0.2], "u_max": [0.2]}
    return Plant(name="arm", x=x, u=u, p=p, p_labels=("load", "gain"), p_nominal=[0.0, 1.0], f=f, dt=0.1, **bounds)


def loaded_case(hidden: tuple[int, ...] = (), options: MetricOptions = EVERYTHING, *, count=13, horizon=9) -> Case:
    """Return the arm under loads of either sign, where no scenario rests at the nominal equilibrium."""
    plant, rng = loaded_arm(), np.random.default_rng(4)
    backup = Backup(K=np.array([[1.5, 1.0]]), P=np.array([[3.0, 0.8], [0.8, 1.0]]), rho=2.0)
    p = np.stack([rng.uniform(-0.6, 0.6, count), rng.uniform(0.7, 1.4, count)], axis=1)
    batch = Scenarios(rng.uniform(-0.6, 0.6, (count, 2)), p, rng.uniform(-0.02, 0.02, (count, horizon, 2)), horizon)
    policy = Policy(plant, backup, hidden, scale=(1.0, 1.0))
    return Case(Loop(policy, Metrics(plant, backup, horizon, options), Stage(np.ones(2), np.ones(1))), batch)


def varying_case(hidden: tuple[int, ...] = (), options: MetricOptions = EVERYTHING, *, count=13, horizon=9) -> Case:
    """Return the arm under a load that ramps, and a gain that swings."""
    still = loaded_case(hidden, options, count=count, horizon=horizon)
    load = signals.ramp((-0.6, 0.6), (-0.5, 0.5), (0.1, 0.3), over=(0.2, 0.5))
    plant = with_signals(loaded_arm(), {"load": load, "gain": signals.sine((0.9, 1.1), (0.1, 0.3), (0.5, 1.0), 0.3)})
    low, high = np.array(list(drawn_ranges(plant).values())).T
    numbers = np.random.default_rng(6).uniform(low, high, (count, low.size))
    p = settled(plant, np.hstack([numbers, np.zeros((count, 3))]))
    policy = replace(still.loop.policy, plant=plant)
    loop = Loop(policy, Metrics(plant, policy.backup, horizon, options), still.loop.stage)
    return Case(loop, replace(still.batch, p=p))


def linear_case(hidden: tuple[int, ...] = (), options: MetricOptions = EVERYTHING, *, count=16, horizon=17) -> Case:
    """Return the double integrator as an LQR keeps it, no disturbance."""
    plant = double_integrator()
    backup = lqr(plant, [0.1, 0.1], [10.0])
    batch = scenarios(plant, backup, horizon=horizon, count=count, level=0.8)
    stage = Stage(np.array([1.0, 0.0]), np.array([0.05]))
    policy = Policy(plant, backup, hidden, scale=(1.0, 1.0))
    return Case(Loop(policy, Metrics(plant, backup, horizon, options), stage), batch)


def scalar_case() -> Case:
    """Return one state, one input, no plant parameter, no state bound below."""
    plant = linear([[0.9]], [[0.5]], 0.1, ([-np.inf], [2.0], [-1.0], [1.0]))
    backup = Backup(K=np.array([[2.0]]), P=np.array([[1.0]]), rho=1.0)
    batch = Scenarios(np.linspace(-1, 1, 3)[:, None], np.zeros((3, 0)), np.zeros((3, 4, 0)), 4)
    metrics = Metrics(plant, backup, 4, MetricOptions())
    policy = Policy(plant, backup, scale=(1.0,))
    return Case(Loop(policy, metrics, Stage(np.ones(1), np.ones(1))), batch)


def with_expressions(case: Case, *, least_squares: bool = False, **options) -> Case:
    """Return a case with constraints of states, inputs and parameters, rate limits, and a cost that is no quadratic."""
    loop = case.loop
    plant = loop.policy.plant
    x, u, p = plant.x, plant.u, plant.p
    load = ca.sumsqr(p) if plant.npar else ca.SX(0.5)
    constraints = (
        Constraint(name="ellipse", expression=ca.sumsqr(x) + 0.1 * x[0] * load, bound=9.0),
        Constraint(
            name=("power", "cone"), expression=[u[0] * x[0] * (1 + load), ca.exp(x[-1]) - 2 * u[0]], bound=[4, 7]
        ),
        Constraint(name="distance", expression=-ca.sin(x[0] - 3), bound=0.9, unit="m", scale=0.3),
    )
    du_max = np.where(np.arange(plant.nu) == 1, np.inf, 0.4)
    metrics = replace(loop.metrics.options, constraints=constraints, du_max=du_max, **options)
    if least_squares:
        r = ca.vertcat(x - ca.DM(plant.x_eq), ca.sin(u), x[0] * u[0])
        cost = Cost(r, ca.vertcat(2 * x[0], ca.tanh(x[-1])), least_squares=True, R_du=[0.7] * plant.nu)
    else:
        cost = Cost(ca.sumsqr(x) + ca.exp(u[0]) * (1 + load) + ca.cos(x[0] * u[-1]), x[0] ** 4, R_du=[0.7] * plant.nu)
    stage = Stage(np.zeros(plant.nx), np.zeros(plant.nu), cost.terms(plant, plant.nu))
    return Case(Loop(loop.policy, replace(loop.metrics, options=metrics), stage), case.batch)


def metrics_of(engine, case: Case, thetas: np.ndarray, *, saturated: bool) -> np.ndarray:
    """Return an engine's metrics (K, m)."""
    out = np.empty((len(thetas), case.batch.count * len(case.loop.metrics.rows)))
    engine.metrics(case.batch, thetas, out, saturated=saturated)
    return out


EXPRESSIONS = {
    "expressions": with_expressions(pendulum_case((3,))),
    "expressions, saturated": with_expressions(pendulum_case((4,)), command=False),
    "expressions, one input": with_expressions(loaded_case((3,)), least_squares=True),
    "expressions, two inputs": with_expressions(pendulum_case(), path=False, contraction=None, least_squares=True),
    "expressions, signals": with_expressions(varying_case((3,)), command=False),
    "expressions, one step": with_expressions(linear_case((4,), horizon=1), least_squares=True),
    "expressions, no parameter": with_expressions(linear_case((5, 3), MetricOptions())),
}
LOADED = {
    "loaded": loaded_case((3,)),
    "signals": varying_case((3,)),
    "loaded, a floor between": loaded_case((), MetricOptions(path=False, contraction=0.6, contraction_floor=0.3)),
}
