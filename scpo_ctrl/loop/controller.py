"""Controllers as data (E10): v = κ(ξ, y, r; θ), ξ⁺ = η(ξ, y, r, u; θ), as CasADi expressions with names and units."""

from dataclasses import dataclass, field

import casadi as ca
import numpy as np

from scpo_ctrl.errors import BoundsError, DimensionError, DomainError
from scpo_ctrl.messages import shown
from scpo_ctrl.models.labelled import as_names
from scpo_ctrl.models.pickled import Pickled
from scpo_ctrl.models.symbols import as_expression, as_symbols
from scpo_ctrl.sealed import Sealed
from scpo_ctrl.shown import Entries, Shown, counted, few, with_unit
from scpo_ctrl.validate import as_array, as_text, as_texts

_WIDEST = 1e100  # bounds of memory: V counts in squares of their width, which a double must hold


def _none() -> ca.SX:
    return ca.SX(0, 1)


def _no_numbers() -> np.ndarray:
    return np.zeros(0)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Controller(Pickled, Shown, Sealed, instead="write its law as the expressions command and memory"):
    """A parametric controller, at `theta_initial` the one that runs today: the safe start.

    It measures y, is given references r, remembers ξ, and commands v. The input applied, u = sat(v), is known to its
    memory, so anti-windup can be expressed. What it remembers stays within `memory_min` and `memory_max`: memory is cut
    there as the command is, on the device too, and staying inside is a safety metric like the bounds of the command.
    Its parameters stay within `theta_min` and `theta_max`, in every policy that a run commits.

    Parameters
    ----------
    name : str
        What it is called in messages and reports.
    theta : casadi.SX, shape (d, 1)
        Symbols.
    theta_initial : array_like, shape (d,)
        What runs today [theta_units].
    y : casadi.SX, shape (ny, 1)
        Symbols, what is measured.
    command : casadi.SX, shape (nu, 1)
        κ, an expression of xi, y, r and theta.
    r : casadi.SX, shape (nr, 1), optional
        Symbols, references.
    u : casadi.SX, shape (nu, 1), optional
        Symbols, the input that was applied.
    xi : casadi.SX, shape (nm, 1), optional
        Symbols, what is remembered.
    memory : casadi.SX, shape (nm, 1), optional
        η, an expression of xi, y, r, u and theta.
    r_nominal : array_like, shape (nr,), optional
        Of the plant's equilibrium; zeros if empty.
    memory_initial : array_like, shape (nm,), optional
        What is remembered at first [memory_units]; zeros if empty.
    memory_min : array_like, shape (nm,), optional
        Lower bounds of what is remembered [memory_units].
    memory_max : array_like, shape (nm,), optional
        Upper bounds of what is remembered [memory_units].
    theta_min : array_like, shape (d,), optional
        Lower bounds of the parameters [theta_units], may be infinite; none if empty.
    theta_max : array_like, shape (d,), optional
        Upper bounds [theta_units], likewise.
    r_labels : tuple of str, optional
        Names of the references; r0, r1, … if empty.
    r_units : tuple of str, optional
        Units of the references; none if empty.
    theta_labels : tuple of str, optional
        Names of the parameters; theta0, theta1, … if empty.
    theta_units : tuple of str, optional
        Units of the parameters; none if empty.
    memory_labels : tuple of str, optional
        Names of what is remembered; xi0, xi1, … if empty.
    memory_units : tuple of str, optional
        Their units; none if empty.
    source : str, optional
        Where the law and its numbers are from.

    Examples
    --------
    >>> import casadi as ca
    >>> import scpo_ctrl as sc
    >>> from scpo_ctrl.models import double_integrator
    >>> y, theta = ca.SX.sym("y", 2), ca.SX.sym("theta", 2)
    >>> law = sc.Controller(
    ...     name="PD", theta=theta, theta_initial=[0.1, 0.5], y=y, command=-theta[0] * y[0] - theta[1] * y[1],
    ...     theta_labels=("kp", "kd"),
    ... )
    >>> loop = sc.controlled(double_integrator(), law)
    >>> loop.parameters(loop.theta_initial(seed=0))
    {'kp': 0.1, 'kd': 0.5}
    """

    name: str
    theta: ca.SX
    theta_initial: np.ndarray
    y: ca.SX
    command: ca.SX
    r: ca.SX = field(default_factory=_none)
    u: ca.SX = field(default_factory=_none)
    xi: ca.SX = field(default_factory=_none)
    memory: ca.SX = field(default_factory=_none)
    r_nominal: np.ndarray = field(default_factory=_no_numbers)
    memory_initial: np.ndarray = field(default_factory=_no_numbers)
    memory_min: np.ndarray = field(default_factory=_no_numbers)
    memory_max: np.ndarray = field(default_factory=_no_numbers)
    theta_min: np.ndarray = field(default_factory=_no_numbers)
    theta_max: np.ndarray = field(default_factory=_no_numbers)
    r_labels: tuple[str, ...] = ()
    r_units: tuple[str, ...] = ()
    theta_labels: tuple[str, ...] = ()
    theta_units: tuple[str, ...] = ()
    memory_labels: tuple[str, ...] = ()
    memory_units: tuple[str, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        put = object.__setattr__
        as_text("name", self.name)
        as_text("source", self.source, at_most=10_000)
        for key in ("theta", "y", "command", "r", "u", "xi", "memory"):
            value = getattr(self, key)
            if not isinstance(value, ca.SX):
                raise DomainError(f"controller {self.name!r}: {key} is {shown(value)}, expected a column of casadi.SX")
            if key not in ("command", "memory") and (value.numel() or key in ("theta", "y")):
                as_symbols(key, value)
        seen = ca.vertcat(self.xi, self.y, self.r, self.theta)
        entries = ca.symvar(ca.vertcat(seen, self.u))
        if len(entries) < seen.numel() + self.u.numel():
            raise DomainError(
                f"controller {self.name!r}: a symbol is in more than one place of theta, y, r, u and xi; give each its "
                "own"
            )
        put(self, "command", as_expression("command", self.command, seen))
        if self.u.numel() not in (0, self.command.numel()):
            raise DimensionError(
                f"u has {self.u.numel()} symbols, expected one for each of {self.command.numel()} inputs"
            )
        if self.memory.numel() != self.xi.numel():
            raise DimensionError(
                f"memory has {self.memory.numel()} entries and xi {self.xi.numel()}; give what follows for each of them"
            )
        if self.xi.numel():
            put(self, "memory", as_expression("memory", self.memory, ca.vertcat(seen, self.u)))
        self._put_numbers()

    def _put_numbers(self) -> None:
        put, d, nm = object.__setattr__, self.theta.numel(), self.xi.numel()
        put(self, "theta_initial", as_array("theta_initial", self.theta_initial, (d,)))
        for key, size in (("r_nominal", self.r.numel()), ("memory_initial", nm)):
            value = getattr(self, key)
            put(self, key, as_array(key, value if np.size(value) else np.zeros(size), (size,)))
        for key in ("memory_min", "memory_max"):
            put(self, key, as_array(key, getattr(self, key), (nm,)))
        with np.errstate(over="ignore"):
            width = self.memory_max - self.memory_min
        for i in np.flatnonzero((width > 0) & ~((width > 1 / _WIDEST) & (width < _WIDEST))):
            raise BoundsError(
                f"controller {self.name!r}: memory_min[{i}] = {self.memory_min[i]:g} and memory_max[{i}] = "
                f"{self.memory_max[i]:g} are {width[i]:g} apart, expected {1 / _WIDEST:g} to {_WIDEST:g}; choose "
                "another unit, or bounds of what it remembers"
            )
        outside = np.flatnonzero((self.memory_initial <= self.memory_min) | (self.memory_initial >= self.memory_max))
        if outside.size:
            i = outside[0]
            raise BoundsError(
                f"controller {self.name!r}: memory_min[{i}] = {self.memory_min[i]:g} and memory_max[{i}] = "
                f"{self.memory_max[i]:g} do not hold memory_initial[{i}] = {self.memory_initial[i]:g} in their interior"
            )
        for stem, symbol, size in (("theta", "theta", d), ("memory", "xi", nm), ("r", "r", self.r.numel())):
            for key, default in ((f"{stem}_labels", f"{symbol}{{}}"), (f"{stem}_units", "")):
                names = as_texts(key, getattr(self, key)) or tuple(default.format(i) for i in range(size))
                if len(names) != size:
                    raise DimensionError(f"controller {self.name!r}: {key} has {len(names)} entries, expected {size}")
                put(self, key, as_names(key, names))
        if len(set(self.theta_labels)) < d:
            raise DomainError(f"controller {self.name!r}: two parameters have the same name in theta_labels")
        self._put_bounds()

    def _put_bounds(self) -> None:
        put, d, start = object.__setattr__, self.theta.numel(), self.theta_initial
        for key, none in (("theta_min", -np.inf), ("theta_max", np.inf)):
            value = getattr(self, key)
            put(self, key, as_array(key, value if np.size(value) else np.full(d, none), (d,), finite=False))
        for i, label in enumerate(self.theta_labels):
            low, high = self.theta_min[i], self.theta_max[i]
            if not low < high:
                raise BoundsError(
                    f"controller {self.name!r}: the bounds of {label}, [{low:g}, {high:g}], hold no interval; a "
                    "parameter that stays as it is is a number of the law and none of theta"
                )
            if not low <= start[i] <= high:
                raise BoundsError(
                    f"controller {self.name!r}: {label} = {start[i]:g} is outside its bounds [{low:g}, {high:g}]; the "
                    "controller that runs today must keep them, widen them or start from another one"
                )

    @property
    def theta_dim(self) -> int:
        """Number of parameters d."""
        return int(self.theta.numel())

    @property
    def bounded(self) -> np.ndarray:
        """Which parameters have a bound, shape (d,), bool."""
        return np.isfinite(self.theta_min) | np.isfinite(self.theta_max)

    @property
    def memories(self) -> int:
        """Number of memories nm."""
        return int(self.xi.numel())

    def _shown(self) -> tuple[str, Entries]:
        return f"{self.name}, {counted(self.theta_dim, 'parameter')}", self.shown_rows(self.theta_initial)

    def shown_rows(self, theta: np.ndarray) -> Entries:
        """Return what somebody asks first of a controller.

        Parameters
        ----------
        theta : numpy.ndarray, shape (d,)
            Its parameters [theta_units].

        Returns
        -------
        list of (str, str)
        """
        values = zip(self.theta_labels, self.theta_units, theta, strict=True)
        rows = few([(label, with_unit(f"{value:.4g}", unit)) for label, unit, value in values], "parameter")
        rows += [("references", ", ".join(self.r_labels))] if self.r_labels else []
        return rows + ([("remembers", ", ".join(self.memory_labels))] if self.memory_labels else [])
