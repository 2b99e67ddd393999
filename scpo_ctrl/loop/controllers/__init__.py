"""Controllers that exist: each as data (E10), with the numbers of today as the safe start."""

from scpo_ctrl.loop.controllers.gain_schedule import gain_schedule
from scpo_ctrl.loop.controllers.linear_controller import linear_controller
from scpo_ctrl.loop.controllers.lqg import lqg
from scpo_ctrl.loop.controllers.lqi import lqi
from scpo_ctrl.loop.controllers.pid import pid
from scpo_ctrl.loop.controllers.state_feedback import state_feedback

__all__ = ["gain_schedule", "linear_controller", "lqg", "lqi", "pid", "state_feedback"]
