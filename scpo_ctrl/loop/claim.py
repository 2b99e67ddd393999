"""What is claimed of a backup's level set, and what stands behind it: looked for when somebody asks."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from scpo_ctrl.errors import DomainError
from scpo_ctrl.invariance.jacobians import Law
from scpo_ctrl.invariance.level_set import FEW_BOXES, SetProof, prove_level_set
from scpo_ctrl.loop.level import LevelSearch, bounds_of


@dataclass(frozen=True)
class Claim:
    """That a law keeps a level set for all parameters in range, and what stands behind it."""

    law: Law
    P: np.ndarray  # (nx, nx), in the units of the law's plant
    rho: float
    ranges: np.ndarray  # (np, 2) of the plant parameters
    simulated: bool  # whether simulations have found nothing
    found: SetProof | None = None  # by a design, with disturbances

    @cached_property
    def proof(self) -> SetProof | None:
        """What is proved of it, None where that cannot be tried."""
        if self.found is not None:
            return self.found
        try:
            return prove_level_set(self.law, self.P, self.rho, self.ranges, most_boxes=FEW_BOXES, search=False)
        except DomainError:  # an operation without enclosure, or too many variables
            return None

    @cached_property
    def evidence(self) -> str:
        """What stands behind it, see `Backup`."""
        if self.proof is not None and self.proof.proved:
            return "proved"
        if self.simulated:
            return "simulated"
        plant, K = self.law.plant, self.law.K
        search = LevelSearch(plant, K, self.P, bounds_of(plant, K)[0], self.ranges, self.law.curved)
        return "simulated" if search.passes(self.rho) else "refuted"
