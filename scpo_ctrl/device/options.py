"""What may be chosen of an adaptation on a device before it is compiled, how its steps end, and what it counts."""

from dataclasses import dataclass
from enum import Enum

from scpo_ctrl.codegen.device import DIRECTIONS, EXAMPLES, FRESH, GRADIENTS, MEMORY, PATIENCE, ROWS
from scpo_ctrl.codegen.fresh_set import AUDIT
from scpo_ctrl.sealed import Sealed
from scpo_ctrl.shown import ShownAsWritten
from scpo_ctrl.validate import as_choice, as_count, as_flag, as_scalar

_LARGEST = 1e15  # its square is a float


class DeviceStatus(Enum):
    """How a step or an audit has ended: scpo_adaptation of the exported header.

    Examples
    --------
    After the example of `adapt`:

    >>> sc.adapt_as_device(problem, steps=1).status is sc.DeviceStatus.COMMITTED
    True
    """

    COMMITTED = "A step has become the active parameters."
    REJECTED = "A step has ended without a commit; the active parameters stay."
    CONVERGED = (
        "There is no step that lowers the objective and is safe, or none worth it; restart with another reference."
    )
    START_UNSAFE = (
        "The active parameters break a metric at the beginning, in this arithmetic; give others, or other plant ones."
    )
    START_BAD = "The parameters to begin with, a rollout or the objective are not finite; begin with others."
    NO_DATA = "There is no example of the expert yet; observe one."
    AUDITED = "The committed parameters have passed an audit and are the active ones now."
    WITHDRAWN = "An audit found where the active parameters break a metric: the safe start is active."

    @property
    def goes_on(self) -> bool:
        """Whether there is another step."""
        return self in (DeviceStatus.COMMITTED, DeviceStatus.REJECTED, DeviceStatus.AUDITED, DeviceStatus.WITHDRAWN)


@dataclass(frozen=True, kw_only=True, repr=False)
class DeviceOptions(ShownAsWritten, Sealed, instead="write the step in C anew"):
    """Constants of scpo_adapt_config.h that may be set before compiling; a length in θ's space has no unit.

    Parameters
    ----------
    gradients : str, optional
        "exact", or "sampled" as the export has them.
    rows : int, optional
        SCPO_NROWS, metrics of the working set, 1…127.
    memory : int, optional
        SCPO_MEMORY, changes of θ that curvature is learnt from, >= 1.
    directions : int, optional
        SCPO_NDIRECTIONS, of a step whose gradients are sampled, 1…255; no more than θ has.
    sampling_radius : float or None, optional
        SCPO_SAMPLING_RADIUS, σ of (E2), > 0; None: the export's.
    tries : int, optional
        SCPO_TRIES, projections in a step, >= 1; 0: the export's, 5 or, where it audits, 8.
    patience : int, optional
        SCPO_PATIENCE, commits not worth it, or half as many rejections, until it has converged, >= 1; 0: the
        export's, 10 or, where sampled, 40.
    worth : float, optional
        SCPO_WORTH, fall of the objective, relative, that makes a commit worth it, >= 0.
    radius : float, optional
        SCPO_RADIUS, of the local safe region, > 0.
    examples : int, optional
        SCPO_EXAMPLES, of an expert, chosen at export, >= 1.
    fresh : int, optional
        SCPO_FRESH, examples that find room while a step is under way, >= 1.
    tracking : bool, optional
        SCPO_TRACKING, whether the reference has x and u for each step of the horizon.
    metric_error : float or None, optional
        SCPO_METRIC_ERROR, what a safe metric keeps from zero, >= 0; None: the export's.
    audited : bool, optional
        Whether what is committed is audited on fresh points before it is applied (E12), chosen at export.
    audit_points : int, optional
        SCPO_AUDIT_POINTS, of an audit, half of them uniform in the declared set and half on its edges, >= 1.
    audit_first : int, optional
        SCPO_AUDIT_FIRST, commits until the first audit, >= 1.
    audit_most : int, optional
        SCPO_AUDIT_MOST, commits between two audits at most, >= 1.
    guards : int, optional
        SCPO_GUARDS, points that steps are verified at beside the scenarios, >= `edges` and >= `taken`.
    edges : int, optional
        SCPO_EDGES, of these, on the edges of the set, to begin with, >= 0.
    taken : int, optional
        SCPO_TAKEN, counterexamples of an audit that join them, at most, >= 1.
    step_rollouts : int, optional
        SCPO_STEP_ROLLOUTS, pieces of verifications, after which a step that is audited has no other try, >= 1.
    back_off : float, optional
        SCPO_BACK_OFF, what a metric keeps from zero, as it may be larger between points, > 0.

    Examples
    --------
    >>> import scpo_ctrl as sc
    >>> sc.DeviceOptions(rows=24, tries=8).patience
    10
    """

    gradients: str = GRADIENTS[0]
    rows: int = ROWS
    memory: int = MEMORY
    directions: int = DIRECTIONS
    sampling_radius: float | None = None
    tries: int = 0
    patience: int = 0
    worth: float = 1e-6
    radius: float = 1.0
    examples: int = EXAMPLES
    fresh: int = FRESH
    tracking: bool = False
    metric_error: float | None = None
    audited: bool = True
    audit_points: int = AUDIT.points
    audit_first: int = AUDIT.first
    audit_most: int = AUDIT.most
    guards: int = AUDIT.guards
    edges: int = AUDIT.edges
    taken: int = AUDIT.taken
    step_rollouts: int = AUDIT.step_rollouts
    back_off: float = AUDIT.back_off

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "gradients", as_choice("gradients", self.gradients, GRADIENTS))
        if self.patience == 0:
            put(self, "patience", PATIENCE[self.gradients])
        put(self, "tries", as_count("tries", self.tries))
        for key in ("rows", "memory", "directions", "patience", "examples", "fresh"):
            put(self, key, as_count(key, getattr(self, key), at_least=1))
        for key in ("audit_points", "audit_first", "audit_most", "taken", "step_rollouts"):
            put(self, key, as_count(key, getattr(self, key), at_least=1))
        put(self, "audited", as_flag("audited", self.audited))
        put(self, "edges", as_count("edges", self.edges))
        put(self, "guards", as_count("guards", self.guards, at_least=max(self.edges, self.taken)))
        put(self, "back_off", as_scalar("back_off", self.back_off, above=0.0, at_most=_LARGEST))
        if self.sampling_radius is not None:
            put(self, "sampling_radius", as_scalar("sampling_radius", self.sampling_radius, above=0.0, at_most=1e6))
        put(self, "worth", as_scalar("worth", self.worth, at_least=0.0, at_most=_LARGEST))
        put(self, "radius", as_scalar("radius", self.radius, above=0.0, at_most=_LARGEST))
        put(self, "tracking", as_flag("tracking", self.tracking))
        if self.metric_error is not None:
            put(self, "metric_error", as_scalar("metric_error", self.metric_error, at_least=0.0, at_most=_LARGEST))


@dataclass
class DeviceCounts:
    """Counts since the beginning: scpo_counts of the exported header.

    Attributes
    ----------
    steps : int
        Steps that were begun.
    commits : int
        Parameters that were committed.
    tries : int
        Parameters that were checked in all scenarios.
    unsafe : int
        Of these, how many broke a metric.
    pieces : int
        Of work.
    projections : int
        Projections that were begun.
    projecting : int
        Pieces of these.
    audits : int
        That have ended.
    fresh : int
        Points that audits drew.
    """

    steps: int = 0
    commits: int = 0
    tries: int = 0
    unsafe: int = 0
    pieces: int = 0
    projections: int = 0
    projecting: int = 0
    audits: int = 0
    fresh: int = 0
