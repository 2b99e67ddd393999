"""Whether the inputs of a linear plant reach all of its modes."""

import numpy as np

from scpo_ctrl.errors import DimensionError, UncontrollableError, UnstabilisableError
from scpo_ctrl.models.units import balanced

_RANK_TOLERANCE = 1e-9  # relative to the largest singular value of the test matrix
_STABLE = 1.0 - 1e-9  # a mode closer to the unit circle does not count as decaying


def check_controllable(A: np.ndarray, B: np.ndarray, allow_uncontrollable: bool) -> None:
    """Refuse what no input reaches, by the Popov-Belevitch-Hautus test, mode by mode: rank [A - λI, B] = nx.

    It is done in units in which inputs reach each state by one.

    Parameters
    ----------
    A : numpy.ndarray, shape (nx, nx)
    B : numpy.ndarray, shape (nx, nu)
    allow_uncontrollable : bool
        Accept modes that decay by themselves.

    Raises
    ------
    UnstabilisableError, UncontrollableError, DimensionError
    """
    nx = A.shape[0]
    if B.shape[0] != nx:
        raise DimensionError(f"B has shape {B.shape}, expected ({nx}, nu)")
    A, B = balanced(A, B)
    modes = np.linalg.eigvals(A)
    pencils = np.concatenate(
        [A - modes[:, None, None] * np.eye(nx), np.broadcast_to(B, (nx, *B.shape)).astype(complex)], axis=2
    )
    singular = np.linalg.svd(pencils, compute_uv=False)  # (nx, nx)
    scale = max(1.0, float(np.linalg.norm(A, 2)), float(np.linalg.norm(B, 2)))
    unreached = modes[singular[:, -1] <= _RANK_TOLERANCE * scale]
    unstable = unreached[np.abs(unreached) >= _STABLE]
    if unstable.size:
        raise UnstabilisableError(
            f"the plant is not stabilisable: no input reaches its mode {unstable[0]:.6g} with |λ| = "
            f"{abs(unstable[0]):.6g} >= 1; add an actuator or remove the state"
        )
    if unreached.size and not allow_uncontrollable:
        raise UncontrollableError(
            f"the plant is not controllable: no input reaches its mode {unreached[0]:.6g}; it decays by itself, so set "
            "allow_uncontrollable = true to accept it, or remove the state"
        )
