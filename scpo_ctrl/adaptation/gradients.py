"""Whether exact gradients of the metrics are faster than sampled ones: by counts of operations, never by a clock.

Sampled gradients (E2) take a rollout for each of p directions: the command, the plant and the metrics at every time
step. Exact ones take derivatives of command and plant once at every time step, and carry each direction through them:

    sampled   p (command + plant + 3 metrics)
    exact     p (nu d + 2 (entries of A, B, C) + metrics) + (derivatives of command and plant) / 2

Arithmetic and roots count as one, other functions as six, a network's weight as one: a product and a sum together. A
controller's command counts half. The numbers are fitted to 68 measurements, from the double integrator to ten masses,
with 2 to 4000 parameters, where the choice costs 1 % of the better time on average. The table of
``examples/benchmarks/gradients.py`` has some of these loops and others.
"""

from dataclasses import dataclass

import casadi as ca

from scpo_ctrl.adaptation.newton import DIRECTIONS
from scpo_ctrl.adaptation.options import AdaptOptions
from scpo_ctrl.loop.controlled import LoopPolicy
from scpo_ctrl.loop.policy import Policy
from scpo_ctrl.models.instructions import instructions
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.problem.problem import Problem

_FUNCTION = 6.0  # sin, tanh and the like
_WEIGHTS = {
    **dict.fromkeys((ca.OP_CONST, ca.OP_INPUT, ca.OP_OUTPUT), 0.0),
    **dict.fromkeys((ca.OP_ADD, ca.OP_SUB, ca.OP_MUL, ca.OP_NEG, ca.OP_SQ, ca.OP_TWICE), 1.0),
    **dict.fromkeys((ca.OP_DIV, ca.OP_INV, ca.OP_SQRT), 1.0),
    **dict.fromkeys((ca.OP_FABS, ca.OP_FMIN, ca.OP_FMAX, ca.OP_SIGN, ca.OP_IF_ELSE_ZERO), 1.0),
    **dict.fromkeys((ca.OP_LT, ca.OP_LE, ca.OP_EQ, ca.OP_NE, ca.OP_AND, ca.OP_OR, ca.OP_NOT), 1.0),
}
_LAW = 0.5  # of a controller, whose products need no loop
_SAMPLED_METRIC = 3.0  # compared with that at θ, squared and stored; an exact derivative is stored alone
_ENTRY = 2.0  # of a matrix, times a direction
_LINEARISED = 0.5  # of an operation in a derivative
_JACOBIAN = 1 / 3  # evaluations of expressions that a column of their Jacobian takes at most


@dataclass(frozen=True)
class Operations:
    """What the gradients of one scenario cost at a time step."""

    sampled: float
    exact: float


def chosen_gradients(problem: Problem, options: AdaptOptions) -> str:
    """Return what `gradients` = "auto" stands for.

    Parameters
    ----------
    problem : Problem
    options : AdaptOptions
        Its method and directions count.

    Returns
    -------
    str
        "sampled" for a black box and where `operations` has fewer for it, else "exact". Of metrics that are expressions
        of θ a whole Jacobian is exact: it costs at most a third of d evaluations, and is chosen if p is not less.
    """
    if not problem.has_derivatives:
        return "sampled"
    d = problem.theta_dim
    p = min(d, options.directions or (DIRECTIONS if options.method == "newton_krylov" else d))
    if not isinstance(problem, ControlProblem):
        return "exact" if p >= _JACOBIAN * d else "sampled"
    count = operations(problem, p)
    return "exact" if count.exact <= count.sampled else "sampled"


def operations(problem: ControlProblem, directions: int) -> Operations:
    """Count the operations of sampled and of exact gradients.

    Parameters
    ----------
    problem : ControlProblem
        Only its policy, plant and metrics per time step count: the scenarios are the same for both.
    directions : int
        p.

    Returns
    -------
    Operations
    """
    policy, plant = problem.policy, problem.policy.plant
    f, inputs = plant.f, [plant.x, plant.u, plant.p]
    A, B = ca.jacobian(f, plant.x), ca.jacobian(f, plant.u)
    command, its_derivatives = _of_command(policy)
    metrics = problem.rows_per_scenario / problem.scenarios.horizon
    entries = A.nnz() + B.nnz() + plant.nu * plant.nx
    carried = plant.nu * policy.theta_dim + _ENTRY * entries + metrics
    return Operations(
        directions * (command + _count(inputs, [f]) + _SAMPLED_METRIC * metrics),
        directions * carried + _LINEARISED * (its_derivatives + _count(inputs, [A, B])),
    )


def _of_command(policy: LoopPolicy) -> tuple[float, float]:
    """Return the operations of a command and of its derivatives by state and parameters."""
    nu, d = policy.plant.nu, policy.theta_dim
    if isinstance(policy, Policy):
        return d + _FUNCTION * sum(policy.hidden), 2.0 * nu * d
    x, p, theta = policy.plant.x, policy.plant.p, ca.SX.sym("theta", d)
    command, inputs = policy.command(x, theta, p), [x, p, theta]
    return _LAW * _count(inputs, [command]), _count(inputs, [ca.jacobian(command, by) for by in (x, theta)])


def _count(inputs: list[ca.SX], outputs: list[ca.SX]) -> float:
    function = ca.Function("counted", inputs, outputs)
    return sum(_WEIGHTS.get(each.operation, _FUNCTION) for each in instructions(function))
