"""Work spread over processes: tasks in, results out in order, whatever becomes of a process meanwhile."""

from scpo_ctrl.workers.calls import Calls
from scpo_ctrl.workers.processes import Lost, Workers
from scpo_ctrl.workers.spread import Spread, in_process, in_processes

__all__ = ["Calls", "Lost", "Spread", "Workers", "in_process", "in_processes"]
