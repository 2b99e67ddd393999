"""A plant as data: CasADi expressions, labels, units, bounds, and the source of its numbers."""

import dataclasses
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import casadi as ca
import numpy as np

from scpo_ctrl.errors import BoundsError, DimensionError, DomainError, ScpoError
from scpo_ctrl.messages import shown
from scpo_ctrl.models.labelled import as_names
from scpo_ctrl.models.pickled import Pickled
from scpo_ctrl.models.signals import KINDS, TIME, Signal
from scpo_ctrl.models.symbols import expressions, outputs
from scpo_ctrl.models.units import Units
from scpo_ctrl.sealed import Sealed, as_instance
from scpo_ctrl.shown import Entries, Shown, counted, few, with_unit
from scpo_ctrl.validate import as_array, as_scalar, as_text, as_texts, dimensions

_LONGEST_SOURCE = 10_000  # characters


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Plant(
    Pickled, Shown, Sealed, instead="write the dynamics as its expression f, or give ControlProblem a simulator="
):
    """A constrained plant.

    ``f`` is the next state x⁺ = f(x, u, p) when `dt` is a number, and the derivative ẋ = f(x, u, p) when `dt` is None.
    Symbols and expressions are SX or MX, ``f`` also a list of expressions or a function of (x, u) or (x, u, p); all are
    kept as SX. ``y`` is what sensors show, an expression of ``x`` and ``p``; the whole state by default. Bounds on the
    state may be infinite; bounds on the input are finite. The origin of labels, units and bounds is the same physical
    coordinate as ``x`` and ``u``; the backup works around the equilibrium ``(x_eq, u_eq)``.

    Parameters
    ----------
    name : str
        What it is called in messages and reports.
    x : casadi.SX, shape (nx, 1)
        Symbols of the state.
    u : casadi.SX, shape (nu, 1)
        Symbols of the input.
    f : casadi.SX, shape (nx, 1)
        Expression of the next state, or of the derivative.
    x_min : array_like, shape (nx,)
        Lower bounds of the state [x_units].
    x_max : array_like, shape (nx,)
        Upper bounds of the state [x_units].
    u_min : array_like, shape (nu,)
        Lower bounds of the input [u_units].
    u_max : array_like, shape (nu,)
        Upper bounds of the input [u_units].
    dt : float or None, optional
        Sampling time [s]; None for a continuous plant.
    p : casadi.SX, shape (np, 1), optional
        Symbols of the parameters.
    p_nominal : array_like, shape (np,), optional
        Nominal values of the parameters [p_units].
    p_above : array_like, shape (np,), optional
        What the parameters must be above [p_units]; none if empty.
    p_labels : tuple of str, optional
        Names of the parameters; p0, p1, … if empty.
    p_units : tuple of str, optional
        Units of the parameters; none if empty.
    x_eq : array_like, shape (nx,), optional
        State at the equilibrium [x_units]; the origin if empty.
    u_eq : array_like, shape (nu,), optional
        Input at the equilibrium [u_units]; the origin if empty.
    x_labels : tuple of str, optional
        Names of the states; x0, x1, … if empty.
    x_units : tuple of str, optional
        Units of the states; none if empty.
    u_labels : tuple of str, optional
        Names of the inputs; u0, u1, … if empty.
    u_units : tuple of str, optional
        Units of the inputs; none if empty.
    y : casadi.SX, shape (ny, 1), optional
        Expression of what sensors show; empty for the state itself.
    y_labels : tuple of str, optional
        Names of the outputs; y0, y1, … if empty.
    y_units : tuple of str, optional
        Units of the outputs; none if empty.
    signals : tuple of Signal, optional
        Of the last parameters but one, the last is the time; see `with_signals`.
    source : str, optional
        Where the numbers are from.
    """

    name: str
    x: ca.SX
    u: ca.SX
    f: ca.SX
    x_min: np.ndarray
    x_max: np.ndarray
    u_min: np.ndarray
    u_max: np.ndarray
    dt: float | None = None
    p: ca.SX = field(default_factory=lambda: ca.SX(0, 1))
    p_nominal: np.ndarray = field(default_factory=lambda: np.zeros(0))
    p_above: np.ndarray = field(default_factory=lambda: np.zeros(0))
    p_labels: tuple[str, ...] = ()
    p_units: tuple[str, ...] = ()
    x_eq: np.ndarray = field(default_factory=lambda: np.zeros(0))
    u_eq: np.ndarray = field(default_factory=lambda: np.zeros(0))
    x_labels: tuple[str, ...] = ()
    x_units: tuple[str, ...] = ()
    u_labels: tuple[str, ...] = ()
    u_units: tuple[str, ...] = ()
    y: ca.SX = field(default_factory=lambda: ca.SX(0, 1))
    y_labels: tuple[str, ...] = ()
    y_units: tuple[str, ...] = ()
    signals: tuple[Signal, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        put = object.__setattr__
        as_text("name", self.name)
        as_text("source", self.source, at_most=_LONGEST_SOURCE)
        symbols = self.x, self.p
        for key, value in zip("xupf", expressions(self.name, self.x, self.u, self.p, self.f), strict=True):
            put(self, key, value)
        put(self, "y", outputs(self.name, symbols, self.y, (self.x, self.p)))
        nx, nu, np_ = self.nx, self.nu, self.npar
        for key, size, finite in (
            ("x_min", nx, False),
            ("x_max", nx, False),
            ("u_min", nu, True),
            ("u_max", nu, True),
            ("p_nominal", np_, True),
        ):
            put(self, key, as_array(key, getattr(self, key), (size,), finite=finite))
        for key, size in (("x_eq", nx), ("u_eq", nu)):
            value = getattr(self, key)
            put(self, key, as_array(key, np.zeros(size) if _is_empty(value) else value, (size,)))
        limits = np.full(np_, -np.inf) if _is_empty(self.p_above) else self.p_above
        put(self, "p_above", as_array("p_above", limits, (np_,), finite=False))
        for stem, size in (("x", nx), ("u", nu), ("p", np_), ("y", int(self.y.shape[0]))):
            for key, default in ((f"{stem}_labels", f"{stem}{{}}"), (f"{stem}_units", "")):
                names = as_texts(key, getattr(self, key)) or tuple(default.format(i) for i in range(size))
                if len(names) != size:
                    raise DimensionError(f"plant {self.name!r}: {key} has {len(names)} entries, expected {size}")
                put(self, key, as_names(key, names))
        if self.dt is not None:
            put(self, "dt", as_scalar("dt", self.dt, above=0.0))
        self._check_signals()
        self._check_bounds()

    def _check_signals(self) -> None:
        """Refuse parameters that are not those of the signals: `with_signals` puts them in order."""
        for signal in self.signals:
            as_instance("signals", signal, Signal)
        count = len(self.signals)
        slots = self.p_labels[-count - 1 : -1]
        pairs = zip(slots, self.signals, strict=False)
        numbers = [f"{label} {KINDS[signal.kind].names[i]}" for label, signal in pairs for i in signal.drawn]
        tail = (*numbers, *slots, TIME)
        if count and (len(slots) < count or self.p_labels[-len(tail) :] != tail or self.dt is None):
            raise DomainError(
                f"plant {self.name!r}: its last parameters are not those of its signals, {', '.join(tail)}, or it has "
                "no dt; let `with_signals` make it"
            )

    def _check_bounds(self) -> None:
        for stem in ("x", "u"):
            low, high, eq = (getattr(self, f"{stem}_{end}") for end in ("min", "max", "eq"))
            swapped = np.flatnonzero(low >= high)
            if swapped.size:
                i = swapped[0]
                raise DomainError(
                    f"{stem}_min[{i}] = {low[i]:g} is not below {stem}_max[{i}] = {high[i]:g}; swap or widen them"
                )
            outside = np.flatnonzero((eq <= low) | (eq >= high))
            if outside.size:
                i = outside[0]
                point = "the origin" if not eq.any() else f"the equilibrium {stem}_eq"
                raise BoundsError(
                    f"{stem}_min[{i}] = {low[i]:g} and {stem}_max[{i}] = {high[i]:g} do not hold {point} in their "
                    "interior; widen them or shift the coordinates"
                )

    @property
    def nx(self) -> int:
        """Number of states."""
        return int(self.x.shape[0])

    @property
    def nu(self) -> int:
        """Number of inputs."""
        return int(self.u.shape[0])

    @property
    def npar(self) -> int:
        """Number of plant parameters."""
        return int(self.p.shape[0])

    @property
    def measured(self) -> ca.SX:
        """The expression of what sensors show, shape (ny, 1)."""
        return self.y if self.y.numel() else self.x

    @property
    def measured_labels(self) -> tuple[str, ...]:
        """Its names."""
        return self.y_labels if self.y.numel() else self.x_labels

    @property
    def measured_units(self) -> tuple[str, ...]:
        """Its units."""
        return self.y_units if self.y.numel() else self.x_units

    @cached_property
    def function(self) -> ca.Function:
        """The CasADi function ``f(x, u, p)``."""
        return ca.Function("f", [self.x, self.u, self.p], [self.f], ["x", "u", "p"], ["f"])

    @cached_property
    def is_linear(self) -> bool:
        """Whether f is affine in (x, u) at the nominal parameters with f(x_eq, u_eq) at rest."""
        z = ca.vertcat(self.x, self.u)
        jacobian = ca.substitute(ca.horzcat(*self._jacobians), self.p, ca.DM(self.p_nominal))
        return not bool(ca.depends_on(ca.simplify(jacobian), z))

    @cached_property
    def derivatives(self) -> ca.Function:
        """The CasADi function ``(x, u, p) -> (f, ∂f/∂x, ∂f/∂u)``, with sparse derivatives."""
        return ca.Function("derivatives", [self.x, self.u, self.p], [self.f, *self._jacobians])

    @cached_property
    def _jacobians(self) -> tuple[ca.SX, ca.SX]:
        """Expressions of the derivatives of f by x and by u, which take long where it is dense."""
        return ca.jacobian(self.f, self.x), ca.jacobian(self.f, self.u)

    def linearise(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the Jacobians of f at the equilibrium and the nominal parameters.

        Returns
        -------
        A : numpy.ndarray, shape (nx, nx)
        B : numpy.ndarray, shape (nx, nu)

        Raises
        ------
        DomainError
            If (x_eq, u_eq) is not an equilibrium of the plant.
        """
        f, A, B = (np.array(m) for m in self.derivatives(self.x_eq, self.u_eq, self.p_nominal))
        if not all(np.isfinite(values).all() for values in (f, A, B)):
            raise DomainError(
                f"plant {self.name!r}: f or a derivative of it is not finite at (x_eq, u_eq); check dt, the parameters "
                "and their units"
            )
        drift = np.abs(f[:, 0] - (0.0 if self.dt is None else self.x_eq))
        moves = np.flatnonzero(~(drift <= 1e-9 * np.maximum(Units.around(self, A, B).x, np.abs(self.x_eq))))
        if moves.size:
            i = moves[0]
            raise DomainError(
                f"plant {self.name!r} is not at rest at (x_eq, u_eq): its {self.x_labels[i]} moves by {drift[i]:.3g}; "
                "give x_eq and u_eq at which f does not move it"
            )
        return A, B

    def replace(self, **changes: object) -> "Plant":
        """Return a copy with some fields changed, for example other bounds."""
        unknown = sorted(set(changes) - {field.name for field in dataclasses.fields(self)})
        if unknown:
            known = ", ".join(field.name for field in dataclasses.fields(self))
            raise DomainError(f"unknown field {shown(unknown[0])} of a plant; known: {known}")
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    def _shown(self) -> tuple[str, Entries]:
        sampled = "continuous" if self.dt is None else f"sampled every {self.dt:g} s"
        rows = []
        for stem, noun in (("x", "state"), ("u", "input")):
            columns = (getattr(self, f"{stem}_{key}") for key in ("labels", "units", "min", "max"))
            bounds = zip(*columns, strict=True)
            rows += few(
                [(one, with_unit(f"{noun} in [{low:.4g}, {high:.4g}]", unit)) for one, unit, low, high in bounds], noun
            )
        nominal = zip(self.p_labels, self.p_units, self.p_nominal, strict=True)
        rows += few([(one, with_unit(f"parameter, {value:.4g}", unit)) for one, unit, value in nominal], "parameter")
        return f"{self.name}, {counted(self.nx, 'state')}, {counted(self.nu, 'input')}, {sampled}", rows


def check_discrete(plant: Plant, error: type[ScpoError] = DomainError) -> float:
    """Return the sampling time [s], after refusing a continuous plant.

    Parameters
    ----------
    plant : Plant
    error : type
        Class of the error.

    Returns
    -------
    float

    Raises
    ------
    ScpoError
        Of that class, if the plant is continuous.
    """
    if plant.dt is None:
        raise error(f"plant {plant.name!r} is continuous; discretise it first (scpo_ctrl.models.discretise)")
    return plant.dt


def _is_empty(value: Any) -> bool:
    """Whether a vector is left out."""
    return dimensions(value) == 1 and len(value) == 0
