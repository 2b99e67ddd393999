"""Work spread over processes: tasks in, results out in order, whatever becomes of a process meanwhile."""

from scpo_ctrl.workers.calls import Calls
from scpo_ctrl.workers.processes import READY_WITHIN, Lost, Workers
from scpo_ctrl.workers.spread import Do, Spread, Work, in_process, in_processes, without_losses

__all__ = [
    "READY_WITHIN", "Calls", "Do", "Lost", "Spread", "Work", "Workers", "in_process", "in_processes", "without_losses"
]  # fmt: skip
