"""What a backup was designed from, so that a record can say it."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Design:
    """What `lqr` makes a backup from, besides the plant."""

    Q: np.ndarray  # (nx, nx)
    R: np.ndarray  # (nu, nu)
    allow_uncontrollable: bool
    rho: float | None  # the level, where it was given or found by simulation
