"""Constrained plants, safe online adaptation of their controllers (SCPO), and C for microcontrollers."""

from importlib.metadata import version

from scpo_ctrl.adapt import adapt
from scpo_ctrl.adapter import Adapter, Learned, Mismatch
from scpo_ctrl.backup import Backup, lqr
from scpo_ctrl.cone import Projection
from scpo_ctrl.config import load_problem
from scpo_ctrl.conic import project_reference
from scpo_ctrl.control_problem import ControlProblem
from scpo_ctrl.errors import ScpoError
from scpo_ctrl.function_problem import FunctionProblem
from scpo_ctrl.metrics import MetricOptions
from scpo_ctrl.objective import Imitation, Quadratic, UserObjective
from scpo_ctrl.options import AdaptOptions
from scpo_ctrl.policy import Policy
from scpo_ctrl.problem import Problem
from scpo_ctrl.projection import project
from scpo_ctrl.record import load_result
from scpo_ctrl.result import Result
from scpo_ctrl.save import save_result
from scpo_ctrl.scenario import Scenarios, scenarios
from scpo_ctrl.status import ProjectionStatus, RunStatus, Verdict
from scpo_ctrl.verify import verify

__version__ = version("scpo-ctrl")

__all__ = [
    "AdaptOptions",
    "Adapter",
    "Backup",
    "ControlProblem",
    "FunctionProblem",
    "Imitation",
    "Learned",
    "MetricOptions",
    "Mismatch",
    "Policy",
    "Problem",
    "Projection",
    "ProjectionStatus",
    "Quadratic",
    "Result",
    "RunStatus",
    "Scenarios",
    "ScpoError",
    "UserObjective",
    "Verdict",
    "__version__",
    "adapt",
    "load_problem",
    "load_result",
    "lqr",
    "project",
    "project_reference",
    "save_result",
    "scenarios",
    "verify",
]
