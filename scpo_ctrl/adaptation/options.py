"""Options of an adaptation run."""

from dataclasses import dataclass

from scpo_ctrl.errors import DomainError
from scpo_ctrl.projection.status import SOLVERS
from scpo_ctrl.sealed import Sealed
from scpo_ctrl.shown import ShownAsWritten
from scpo_ctrl.validate import as_choice, as_count, as_flag, as_lists, as_scalar, as_stack

MODES = ("verified", "certified")
METHODS = ("auto", "newton", "newton_krylov", "gauss_newton", "lbfgs", "gradient", "momentum", "adam")
CURVED = ("newton", "newton_krylov", "gauss_newton")  # methods that scale the basis by a curvature
GRADIENTS = ("auto", "exact", "sampled")
_LARGEST = 1e100  # of lengths and factors: their squares stay within the range of a double
_MOST_FRESH = 100_000_000  # more is the business of certify
MOST_GUARDS = 512  # what S holds besides the scenarios of the problem (E12)
_MOST_PROBES = 1000  # more measure nothing new, and take for ever


@dataclass(frozen=True, kw_only=True, repr=False)
class AdaptOptions(ShownAsWritten, Sealed, instead="for another rule of when to stop give adapt a monitor="):
    """Options of `adapt`; θ has no unit, so neither have lengths in its space. Metrics count in `metric_units`.

    Parameters
    ----------
    steps : int, optional
        Steps of the run, >= 0.
    seed : int, optional
        Of the initial parameters, probes and random directions, >= 0.
    radius : float, optional
        r, radius of the local safe region, > 0.
    sampling_radius : float, optional
        σ, 0 < σ <= radius.
    directions : int, optional
        p, sampled directions per step, 1…d; 0 for a full basis, of "newton_krylov" for 60.
    mode : str, optional
        "verified": rollouts check each commit; "certified": smoothness constants that hold do.
    smoothness : float or None, optional
        L of every metric, > 0; None: bounded if "certified", else learnt.
    method : str, optional
        "newton", "newton_krylov", "gauss_newton", "lbfgs", "gradient", "momentum", "adam", or "auto": for a closed-loop
        cost "newton", beyond 300 parameters "newton_krylov"; else "gradient".
    gradients : str, optional
        Of the metrics: "sampled" (E2), "exact" by algorithmic differentiation, e = 0 in (E4), or "auto": exact where
        the model has derivatives and they take fewer operations (docs/method.md), sampled for a black box.
    preconditioner : array_like or None, shape (d,) or (d, d), optional
        Scales the basis.
    probes : int, optional
        Evaluations along the step that measure L for it before it is tried, 0…1000; none if certified.
    barrier : float, optional
        Of "newton": weight of the logarithmic barrier at the start, relative to the objective, > 0.
    barrier_min : float, optional
        The same at the end, 0 < barrier_min <= barrier.
    tolerance : float, optional
        Stationarity at which a run has converged, relative to the objective, >= 0.
    momentum : float, optional
        Decay of the first moment of "momentum" and "adam", in [0, 1).
    second_momentum : float, optional
        Decay of the second moment of "adam", in [0, 1).
    step_length : float, optional
        Longest first-order step before projection, in radii, > 0.
    tries : int, optional
        K, projections per step before the parameters are kept, >= 1.
    growth : float, optional
        A smoothness constant is at least this times what the last step showed, > 1.
    decay : float, optional
        Factor on smoothness constants whose bound held, in [0, 1).
    metric_error : float, optional
        ε, error of a metric relative to max(1, |g|) in its unit, >= 0.
    patience : int, optional
        Steps without a commit after which the run counts as stalled, >= 1.
    audit : bool, optional
        Whether audits are made (E12), where a set with an interior is declared and mode is "verified"; False:
        scenarios alone.
    audit_every : int, optional
        Commits between audits at most, >= 1; fewer at first and after one that failed.
    audit_rollouts : int or None, optional
        Fresh scenarios of the last audit, >= 10; None: 100 000, or 5000 of a black box.
    back_off : float, optional
        b, how far metrics keep from zero on scenarios while audits go on, in [0, 1).
    guards : int, optional
        Scenarios from the edges of the declared set that metrics hold on besides the others, >= 1.
    solver : str, optional
        Of the projection: "DUAL" (the package's own C), "CLARABEL" or "ECOS".

    Examples
    --------
    >>> import scpo_ctrl as sc
    >>> sc.AdaptOptions(steps=40, method="gradient").radius
    1.0
    >>> sc.AdaptOptions(radius=-1.0)
    Traceback (most recent call last):
    scpo_ctrl.errors.DomainError: radius is -1, expected a number > 0
    """

    steps: int = 200
    seed: int = 0
    radius: float = 1.0
    sampling_radius: float = 1e-5
    directions: int = 0
    mode: str = "verified"
    smoothness: float | None = None
    method: str = "auto"
    gradients: str = "auto"
    preconditioner: tuple[float, ...] | tuple[tuple[float, ...], ...] | None = None
    probes: int = 2
    barrier: float = 2e-5
    barrier_min: float = 1e-8
    tolerance: float = 1e-6
    momentum: float = 0.9
    second_momentum: float = 0.99
    step_length: float = 10.0
    tries: int = 8
    growth: float = 2.0
    decay: float = 0.9
    metric_error: float = 1e-12
    patience: int = 10
    audit: bool = True
    audit_every: int = 40
    audit_rollouts: int | None = None
    back_off: float = 0.005
    guards: int = 64
    solver: str = "DUAL"

    def __post_init__(self) -> None:
        put = object.__setattr__
        for key, least in (
            ("steps", 0),
            ("seed", 0),
            ("directions", 0),
            ("tries", 1),
            ("patience", 1),
            ("audit_every", 1),
        ):
            put(self, key, as_count(key, getattr(self, key), at_least=least))
        for key in ("radius", "step_length"):
            put(self, key, as_scalar(key, getattr(self, key), above=0.0, at_most=_LARGEST))
        put(self, "sampling_radius", as_scalar("sampling_radius", self.sampling_radius, above=0.0, at_most=self.radius))
        put(self, "probes", as_count("probes", self.probes, at_most=_MOST_PROBES))
        put(self, "barrier", as_scalar("barrier", self.barrier, above=0.0, at_most=_LARGEST))
        put(self, "barrier_min", as_scalar("barrier_min", self.barrier_min, above=0.0, at_most=self.barrier))
        put(self, "tolerance", as_scalar("tolerance", self.tolerance, at_least=0.0))
        put(self, "metric_error", as_scalar("metric_error", self.metric_error, at_least=0.0, at_most=_LARGEST))
        put(self, "growth", as_scalar("growth", self.growth, above=1.0, at_most=_LARGEST))
        for key in ("decay", "momentum", "second_momentum"):
            put(self, key, as_scalar(key, getattr(self, key), at_least=0.0, at_most=1.0 - 1e-6))
        put(self, "audit", as_flag("audit", self.audit))
        put(self, "back_off", as_scalar("back_off", self.back_off, at_least=0.0, at_most=1.0 - 1e-6))
        if self.audit_rollouts is not None:
            put(
                self,
                "audit_rollouts",
                as_count("audit_rollouts", self.audit_rollouts, at_least=10, at_most=_MOST_FRESH),
            )
        put(self, "guards", as_count("guards", self.guards, at_least=1, at_most=MOST_GUARDS))
        for key, known in (("mode", MODES), ("method", METHODS), ("solver", SOLVERS), ("gradients", GRADIENTS)):
            as_choice(key, getattr(self, key), known)
        if self.smoothness is not None:
            put(self, "smoothness", as_scalar("smoothness", self.smoothness, above=0.0, at_most=_LARGEST))
        if self.mode == "certified" and self.method in CURVED:
            raise DomainError(
                f"mode 'certified' needs a norm that stays the same; method {self.method!r} changes it, use 'gradient'"
            )
        if self.preconditioner is not None:
            if self.method in CURVED:
                raise DomainError(f"method {self.method!r} scales the basis itself; leave preconditioner out")
            put(
                self,
                "preconditioner",
                _as_tuples(as_lists("preconditioner", as_stack("preconditioner", self.preconditioner))),
            )

    @property
    def bounds_smoothness(self) -> bool:
        """Whether the package bounds the smoothness constants, anew around every committed θ."""
        return self.mode == "certified" and self.smoothness is None


def _as_tuples(value: object) -> object:
    """Return nested lists as nested tuples, which compare and print as they are."""
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value
