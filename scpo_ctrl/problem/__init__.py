"""What is adapted: metrics and objective as functions of θ."""

from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.problem.cost import Cost
from scpo_ctrl.problem.function_problem import FunctionProblem
from scpo_ctrl.problem.objective import Imitation, Quadratic, UserObjective
from scpo_ctrl.problem.problem import Problem
from scpo_ctrl.problem.step_response import overshoot, settling
from scpo_ctrl.problem.tracking import tracking

__all__ = [
    "ControlProblem",
    "Cost",
    "FunctionProblem",
    "Imitation",
    "Problem",
    "Quadratic",
    "UserObjective",
    "overshoot",
    "settling",
    "tracking",
]
