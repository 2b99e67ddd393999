"""The closed loop as data: policy, backup, level, scenarios and safety metrics."""

from scpo_ctrl.loop.backup import Backup, check_backup
from scpo_ctrl.loop.constraint import Constraint
from scpo_ctrl.loop.controlled import ControllerPolicy, controlled
from scpo_ctrl.loop.controller import Controller
from scpo_ctrl.loop.design import lqr
from scpo_ctrl.loop.given import lmi, of_gain
from scpo_ctrl.loop.metrics import MetricOptions
from scpo_ctrl.loop.policy import Policy
from scpo_ctrl.loop.scenario import Scenarios, scenarios

__all__ = [
    "Backup",
    "Constraint",
    "Controller",
    "ControllerPolicy",
    "MetricOptions",
    "Policy",
    "Scenarios",
    "check_backup",
    "controlled",
    "lmi",
    "lqr",
    "of_gain",
    "scenarios",
]
