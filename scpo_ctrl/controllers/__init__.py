"""Controllers that exist: each as data (E10), with the numbers of today as the safe start."""

from scpo_ctrl.controllers.gain_schedule import gain_schedule
from scpo_ctrl.controllers.linear_controller import linear_controller
from scpo_ctrl.controllers.lqg import lqg
from scpo_ctrl.controllers.lqi import lqi
from scpo_ctrl.controllers.pid import pid
from scpo_ctrl.controllers.state_feedback import state_feedback

__all__ = ["gain_schedule", "linear_controller", "lqg", "lqi", "pid", "state_feedback"]
