"""The adaptation loop of SCPO: steps, local safe regions, smoothness, and the record of a run in memory."""

from scpo_ctrl.adaptation.adapt import adapt
from scpo_ctrl.adaptation.adapter import Adapter
from scpo_ctrl.adaptation.measured import Learned
from scpo_ctrl.adaptation.options import AdaptOptions
from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.adaptation.status import RunStatus, Verdict
from scpo_ctrl.assurance.mismatch import Mismatch

__all__ = ["AdaptOptions", "Adapter", "Learned", "Mismatch", "Result", "RunStatus", "Verdict", "adapt"]
