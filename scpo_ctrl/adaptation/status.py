"""Outcomes of a tried step and of a run, as enums whose value is the advice."""

from enum import Enum


class Verdict(Enum):
    """What happened to a tried step.

    Examples
    --------
    After the example of `adapt`:

    >>> sorted({list(sc.Verdict)[k].name for k in result.history.column("verdict")})
    ['COMMITTED', 'UNSAFE', 'WITHDRAWN']
    """

    COMMITTED = "The step was safe on every scenario and lowered the objective."
    UNSAFE = (
        "A metric would have been positive, or within its back-off of it; the step was not committed and its "
        "smoothness constant grew."
    )
    NO_DECREASE = "The objective would not have fallen; the step was shortened."
    NOT_FINITE = "The objective or a metric was not finite; the step was shortened."
    NO_STEP = "The local safe region leaves no step in this direction; a shorter one is tried next."
    WITHDRAWN = (
        "The step was committed, and given up when an audit found scenarios where it, or one before it, is unsafe."
    )


class RunStatus(Enum):
    """How an adaptation run ended.

    Examples
    --------
    After the example of `adapt`:

    >>> result.status is sc.RunStatus.FINISHED
    True
    >>> print(result.status.value)
    All steps were done; more steps may improve the policy further.
    """

    RUNNING = "The run has not ended; `--resume` goes on from its last complete state."
    INTERRUPTED = "The run was interrupted; `--resume` goes on from its last complete state."
    FINISHED = "All steps were done; more steps may improve the policy further."
    CONVERGED = "The projected step predicts no useful fall of the objective any more: see the stationarity."
    STALLED = (
        "No step was committed for long, though the stationarity says that the objective could fall: lower radius or "
        "sampling_radius, or try another method."
    )
    SMOOTHNESS_TOO_SMALL = (
        "A committed policy left its certified bound: the smoothness constants given are too small; enlarge them."
    )
