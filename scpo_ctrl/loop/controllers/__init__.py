"""Controllers that exist: each as data (E10), with the numbers of today as the safe start."""

from scpo_ctrl.loop.controllers.pid import pid

__all__ = ["pid"]
