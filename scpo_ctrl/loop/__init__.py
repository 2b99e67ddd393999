"""The closed loop as data: policy, backup, level, scenarios and safety metrics."""

from scpo_ctrl.loop.backup import Backup, check_backup, lqr
from scpo_ctrl.loop.metrics import MetricOptions
from scpo_ctrl.loop.policy import Policy
from scpo_ctrl.loop.scenario import Scenarios, scenarios

__all__ = ["Backup", "MetricOptions", "Policy", "Scenarios", "check_backup", "lqr", "scenarios"]
