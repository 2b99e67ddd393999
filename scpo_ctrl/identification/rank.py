"""Which parameters a log can tell: a rank test of their sensitivities, in parts of what the disturbance hides."""

from collections.abc import Sequence
from typing import Any

import numpy as np

_RANK = 1e-7  # of a sensitivity, relative to its own size: less is rounding
VAGUE = 0.5  # standard deviation of a coordinate, beyond which a parameter is as good as unknown


def unidentifiable(S: np.ndarray, labels: Sequence[str]) -> dict[str, str]:
    """Return the parameters that cannot be told, with the reason.

    An effect that is the same in every sample counts as none: no log tells it from a constant disturbance. The others
    are taken one after the other, the strongest effect first (QR with column pivoting), as long as what is left of a
    sensitivity beside those before it says more than the disturbance hides.

    Parameters
    ----------
    S : numpy.ndarray, shape (W, m, k)
        Sensitivities of what is measured in each window by the coordinates of the parameters, in standard deviations of
        the residuals.
    labels : sequence of str
        Of the k parameters.

    Returns
    -------
    dict of str to str
        The reason by label, empty where all can be told.
    """
    W, m, k = S.shape
    size = np.sqrt((S**2).sum(axis=(0, 1)))
    varying = np.asarray(np.linalg.qr((S - S.mean(axis=0)).reshape(W * m, k), mode="r"))
    told = np.sqrt((varying**2).sum(axis=0))
    reasons = {}
    for i in range(k):
        if not size[i] > 0:
            reasons[labels[i]] = "no effect in this log"
        elif told[i] <= _RANK * size[i]:
            reasons[labels[i]] = "its effect is the same in every sample, as of a constant disturbance"
        elif VAGUE * told[i] < 1:
            reasons[labels[i]] = "the disturbance hides its effect"
    kept = [i for i in range(k) if labels[i] not in reasons]
    if kept:
        from scipy.linalg import qr

        pivoted: Any = qr(varying[:, kept], mode="r", pivoting=True)  # (R, order)
        left, order = np.abs(np.diag(pivoted[0])), pivoted[1]
        far = [kept[i] for i in order]
        lost = [j for j in range(len(far)) if left[j] <= max(_RANK * told[far[j]], 1 / VAGUE)]
        for j in range(lost[0], len(far)) if lost else ():
            others = ", ".join(labels[i] for i in far[: lost[0]])
            reasons[labels[far[j]]] = f"its effect cannot be told from that of {others}"
    return reasons
