"""How a projection ends, and which solvers there are."""

from enum import Enum

SOLVERS = ("DUAL", "CLARABEL", "ECOS")


class ProjectionStatus(Enum):
    """How a projection (E5) ended.

    Examples
    --------
    >>> import scpo_ctrl as sc
    >>> sc.project(u=[0.05, 0.0], c=[-0.1], G=[[1.0, 0.0]], e=[0.0], L=[0.0], r=1.0).status.name
    'INSIDE'
    """

    INSIDE = "The step is inside the local safe region already; it was left as it is."
    SOLVED = "The closest point of the local safe region was found."
    CAPPED = "The solver stopped early; the answer is feasible, perhaps not the closest. Try another solver."
    UNSAFE_START = "Some c > 0: the current parameters are unsafe, so no step is offered; start from a safe policy."
