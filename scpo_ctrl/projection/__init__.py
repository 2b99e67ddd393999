"""The projection (E5) onto the local safe region: the package's own solver, and conic ones as a reference."""

from scpo_ctrl.projection.cone import Projection
from scpo_ctrl.projection.conic import project_reference
from scpo_ctrl.projection.project import project
from scpo_ctrl.projection.status import ProjectionStatus

__all__ = ["Projection", "ProjectionStatus", "project", "project_reference"]
