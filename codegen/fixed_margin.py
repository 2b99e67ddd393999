"""The metrics of a loop whose inputs are computed in integers, on the scenarios of a run."""

from collections.abc import Callable

import casadi as ca
import numpy as np

from scpo_ctrl.codegen.fixed_law import FixedLaw, FixedParameters
from scpo_ctrl.engine.simulator import stepping
from scpo_ctrl.loop.batch import Scenarios
from scpo_ctrl.loop.metrics import Metrics
from scpo_ctrl.loop.stacked import StackedFunction
from scpo_ctrl.models.varying import parameters_over_time
from scpo_ctrl.problem.control_problem import ControlProblem

Commands = Callable[[np.ndarray], np.ndarray]  # of states (n, nx): inputs before saturation (n, nu)


def in_integers(law: FixedLaw, parameters: FixedParameters) -> Commands:
    """Return the commands of a policy in integers, at the counts nearest to a state.

    Parameters
    ----------
    law : FixedLaw
    parameters : FixedParameters

    Returns
    -------
    callable
    """
    return lambda x: law.inputs(law.commands(parameters, law.counts(x)))


def metrics_under(problem: ControlProblem, commands: Commands) -> np.ndarray:
    """Return the metrics of all rollouts of a problem under other commands than its policy's.

    Parameters
    ----------
    problem : ControlProblem
    commands : callable

    Returns
    -------
    numpy.ndarray, shape (k,)
        As `Problem.metrics` has them: those of the scenarios, then those of the cloud. Local stability, which is of
        the derivative at rest, is not among them.
    """
    scenarios = problem.scenarios
    found = [_metrics(problem, problem.scenario_metrics, scenarios, problem.rests(scenarios), commands).ravel()]
    if (cloud := problem.one_step) is not None:
        rests = cloud.rollouts.rests()
        about = None if rests is None else rests * cloud.units.x
        found.append(_metrics(problem, cloud.metrics, cloud.cloud, about, commands).ravel())
    return np.concatenate(found)


def _metrics(
    problem: ControlProblem, metrics: Metrics, batch: Scenarios, rests: np.ndarray | None, commands: Commands
) -> np.ndarray:
    """Return the metrics of each scenario, (S, rows), in units of states and inputs."""
    plant, N = problem.plant, batch.horizon
    step = stepping(problem.simulator or plant.function, plant)
    p = parameters_over_time(plant, batch.p, N)
    X, V = [batch.x0], []
    with np.errstate(all="ignore"):
        for t in range(N):
            V.append(commands(X[-1]))
            following = np.asarray(step(X[-1], np.clip(V[-1], plant.u_min, plant.u_max), p[:, t]))
            X.append(following + batch.w[:, t] if batch.w.size else following)
    of_one = _function(metrics, rests is not None)
    applied = np.clip(np.array(V), plant.u_min, plant.u_max)
    places = np.zeros((batch.count, 0)) if rests is None else rests
    rows = (np.array(part) for part in (X, V, applied))
    columns = [part.transpose(1, 0, 2).reshape(batch.count, -1) for part in rows]
    return np.asarray(of_one(*columns, places, p.reshape(batch.count, -1))[0])


def _function(metrics: Metrics, about_rests: bool) -> StackedFunction:
    """Return the metrics as a function of trajectories, each a column: states, commands, inputs, rest, parameters."""
    plant, N = metrics.plant, metrics.horizon
    sizes = {"X": (plant.nx, N + 1), "V": (plant.nu, N), "U": (plant.nu, N), "p": (plant.npar, N + 1)}
    columns = {name: ca.MX.sym(name, rows * count) for name, (rows, count) in sizes.items()}
    X, V, U, p = (ca.reshape(columns[name], *sizes[name]) for name in sizes)
    rest = ca.MX.sym("rest", plant.nx if about_rests else 0)
    values = metrics.expression(X, V, rest if about_rests else None, U, p)
    return StackedFunction(ca.Function("metrics", [*(columns[name] for name in "XVU"), rest, columns["p"]], [values]))
