"""C for microcontrollers: a run's controller and projection as C99 with tests that compare it to Python."""

from scpo_ctrl.codegen.build import replay
from scpo_ctrl.codegen.export import export
from scpo_ctrl.codegen.exported import Export
from scpo_ctrl.codegen.fixed_law import FixedPoint
from scpo_ctrl.codegen.targets import TARGETS, Target, check_options

__all__ = ["TARGETS", "Export", "FixedPoint", "Target", "check_options", "export", "replay"]
