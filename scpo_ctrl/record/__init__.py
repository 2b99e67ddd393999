"""Problem files and RUN folders: what is read, written, and saved together."""

from scpo_ctrl.record.config import load_problem
from scpo_ctrl.record.files import load_result
from scpo_ctrl.record.save import save_result

__all__ = ["load_problem", "load_result", "save_result"]
