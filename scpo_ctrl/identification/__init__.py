"""From a log to a model: plant parameters, their ranges and the disturbance, fitted to measured transitions."""

from scpo_ctrl.identification.identify import identify
from scpo_ctrl.identification.result import Identification

__all__ = ["Identification", "identify"]
