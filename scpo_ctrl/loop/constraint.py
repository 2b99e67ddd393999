"""Path constraints h(x, u, p) ≤ bound of the user's as safety metrics (E6), and limits of how fast inputs change."""

from dataclasses import dataclass, replace

import casadi as ca
import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.errors import BoundsError, DimensionError, DomainError
from scpo_ctrl.messages import shown
from scpo_ctrl.models import Plant
from scpo_ctrl.models.labelled import as_unit
from scpo_ctrl.models.pickled import Pickled
from scpo_ctrl.models.symbols import check_operations
from scpo_ctrl.models.units import Units
from scpo_ctrl.sealed import Sealed
from scpo_ctrl.shown import Entries, Shown, counted, few, with_unit
from scpo_ctrl.validate import as_array, as_stack, as_text, as_texts

BUILT_IN = ("state", "command", "rate", "terminal", "contraction", "one step", "stability")  # kinds of metrics
OVERSHOOT = "overshoot of "  # begins the name of the constraint of a step response

SMALLEST = float(np.finfo(float).tiny)  # of what counts as one: its inverse is still a number


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Constraint(Pickled, Shown, Sealed, instead="write it as an expression of plant.x, plant.u and plant.p"):
    """An expression of the plant's own symbols that must not exceed a bound: h(x, u, p) ≤ bound.

    ``u`` is the input that is applied. It holds at t = 0…N-1, and at t = N where it does not depend on u. A lower bound
    is one of ``-h``; outputs are expressions too: ``plant.y``. An expression of several entries has a name for each.
    It should be smooth: write ``x**2 + y**2 <= r**2`` rather than a root, and two constraints rather than a maximum.

    Parameters
    ----------
    name : str or tuple of str
        One for each entry.
    expression : casadi.SX, shape (k, 1)
        The expression h, or a list of its entries, of plant.x, plant.u and plant.p [unit].
    bound : array_like, shape (k,) or ()
        What they must not exceed [unit]; a number for all entries.
    unit : str or tuple of str, optional
        Of all entries, or one for each.
    scale : array_like or None, shape (k,), optional
        What counts as one, > 0 [unit]; by default what the equilibrium leaves to the bound.

    Examples
    --------
    >>> import scpo_ctrl as sc
    >>> from scpo_ctrl.models import double_integrator
    >>> plant = double_integrator()
    >>> power = sc.Constraint(name="power", expression=plant.u * plant.x[1], bound=0.3, unit="W")
    >>> metrics = sc.MetricOptions(constraints=power)
    """

    name: str | tuple[str, ...]
    expression: ca.SX
    bound: np.ndarray
    unit: str | tuple[str, ...] = ""
    scale: np.ndarray | None = None

    def __post_init__(self) -> None:
        put = object.__setattr__
        names = (as_text("name", self.name),) if isinstance(self.name, str) else as_texts("name", self.name)
        if not names:
            raise DomainError("a constraint needs a name, which reports and messages call it by")
        for name in names:
            if not name.strip():
                raise DomainError(f"name of a constraint is {shown(name)}, and reports call it by that; give it a name")
            if name in BUILT_IN:
                raise DomainError(f"name of a constraint is {shown(name)}, which means something else; choose another")
        put(self, "name", names)
        value, what = self.expression, f"constraint {names[0]!r}: expression"
        if isinstance(value, (list, tuple)) and value and all(isinstance(entry, ca.SX) for entry in value):
            value = ca.vertcat(*value)
        if not isinstance(value, ca.SX):
            raise DomainError(f"{what} is {shown(value)}, expected casadi.SX of plant.x, plant.u and plant.p")
        value = value.T if value.shape[0] == 1 else value
        if value.shape != (len(names), 1):
            raise DimensionError(f"{what} has shape {value.shape}, expected {(len(names), 1)}: a name for each entry")
        put(self, "expression", ca.densify(value))
        put(self, "bound", self._numbers("bound", self.bound))
        one = isinstance(self.unit, str)
        units = tuple(as_unit("unit", unit) for unit in ([self.unit] if one else as_texts("unit", self.unit)))
        units = units * len(names) if one else units
        if len(units) != len(names):
            raise DimensionError(f"constraint {names[0]!r}: unit has {len(units)} entries, expected {len(names)}")
        put(self, "unit", units)
        if self.scale is not None:
            scale = self._numbers("scale", self.scale)
            if not (scale >= SMALLEST).all():
                raise DomainError(f"constraint {names[0]!r}: scale is {shown(self.scale)}, expected above 0")
            put(self, "scale", scale)

    def _numbers(self, key: str, value: ArrayLike) -> np.ndarray:
        """Return a number for each entry."""
        key, count = f"constraint {self.name[0]!r}: {key}", len(self.name)
        numbers = as_stack(key, value)
        return as_array(key, np.full(count, float(numbers)) if numbers.ndim == 0 else numbers, (count,))

    def resolved(self, plant: Plant) -> "Constraint":
        """Check that it fits a plant, whose equilibrium it must hold, and return it with its scale.

        Parameters
        ----------
        plant : Plant
            Of the loop.

        Returns
        -------
        Constraint

        Raises
        ------
        DomainError
            If it depends on something else or on nothing that moves, or is not differentiable at the equilibrium.
        BoundsError
            If the equilibrium breaks it, or is on its bound.
        """
        symbols, h, name = [plant.x, plant.u, plant.p], self.expression, self.name[0]
        check_symbols(f"constraint {name!r}", h, plant)
        z = ca.vertcat(plant.x, plant.u)
        for name, moves in zip(self.name, ca.which_depends(h, z, 1, True), strict=True):
            if not moves:
                raise DomainError(
                    f"constraint {name!r} depends on no state and no input, so no policy changes it; leave it out, or "
                    "narrow the ranges of the plant parameters that it is about"
                )
        both = ca.Function("h", symbols, [h, ca.densify(ca.jacobian(h, z))])
        at_rest, slopes = (np.array(part) for part in both(plant.x_eq, plant.u_eq, plant.p_nominal))
        at_rest = at_rest[:, 0]
        for i, name in enumerate(self.name):
            check_at_rest(f"constraint {name!r}", at_rest[i], slopes[i])
            if not at_rest[i] < self.bound[i]:
                raise BoundsError(
                    f"constraint {name!r}: the equilibrium of {plant.name!r} has {at_rest[i]:.6g}, not below the bound "
                    f"{self.bound[i]:g} {self.unit[i]}".rstrip()
                    + "; raise the bound, or move the equilibrium"
                )
        return replace(self, scale=self.bound - at_rest if self.scale is None else self.scale)

    def in_units(self, plant: Plant, scaled: Plant, units: Units) -> "Constraint":
        """Return the same for the plant in other units, with its own unit kept.

        Parameters
        ----------
        plant, scaled : Plant
        units : Units
            That `scaled` counts in.

        Returns
        -------
        Constraint
        """
        h = ca.Function("h", [plant.x, plant.u, plant.p], [self.expression])
        return replace(self, expression=h(ca.DM(units.x) * scaled.x, ca.DM(units.u) * scaled.u, scaled.p))

    def _shown(self) -> tuple[str, Entries]:
        bounds = zip(self.name, self.bound, self.unit, strict=True)
        said = [(name, with_unit(f"at most {bound:.4g}", unit)) for name, bound, unit in bounds]
        return (" ".join(said[0]), []) if len(said) == 1 else (counted(len(said), "entry"), few(said, "entry"))


@dataclass(frozen=True)
class StepMetric:
    """What one metric of a time step means."""

    kind: str  # "rate", or the name of a constraint
    label: str  # the condition in words, with units
    unit: str
    scale: float  # [unit] that counts as one
    room: float  # from the equilibrium to the bound [unit]


@dataclass(frozen=True)
class StepMetrics:
    """Constraints and limits of how fast inputs change as metrics of one time step, each in parts of its scale.

    First come those of the state alone (t = 0…N), then those of the input (t = 0…N-1), then the limits of its change
    (t = 1…N-1): the input before t = 0 is not part of a scenario.
    """

    function: ca.Function  # (x, u, v, p) -> all of them (k, 1), v the input before
    at_end: ca.Function  # (x, p) -> those of the state
    rows: tuple[StepMetric, ...]  # (k,)
    states: int  # how many are of the state alone
    changes: int  # how many are of the change of an input

    @classmethod
    def of(cls, plant: Plant, constraints: tuple[Constraint, ...], du_max: np.ndarray) -> "StepMetrics | None":
        """Return the metrics of a time step, None if there are none.

        Parameters
        ----------
        plant : Plant
            Whose symbols the constraints have.
        constraints : tuple of Constraint
        du_max : numpy.ndarray, shape (nu,)
            Infinite where the change of an input is not limited [u_units].

        Returns
        -------
        StepMetrics or None
        """
        x, u, v, p = plant.x, plant.u, ca.SX.sym("v", plant.nu), plant.p
        constraints = tuple(one if one.scale is not None else one.resolved(plant) for one in constraints)
        limited = np.flatnonzero(np.isfinite(du_max))
        if not constraints and not limited.size:
            return None
        values, rows, at_rest = [], [], (plant.x_eq, plant.u_eq, plant.p_nominal)
        for one in constraints:
            assert one.scale is not None
            values.append((one.expression - ca.DM(one.bound)) / ca.DM(one.scale))
            now = np.array(ca.Function("h", [x, u, p], [one.expression])(*at_rest))[:, 0]
            for name, bound, unit, scale, rest in zip(one.name, one.bound, one.unit, one.scale, now, strict=True):
                label = f"{name} <= {bound:g} {unit}".rstrip()
                rows.append(StepMetric(name, label, unit, float(scale), float(bound - rest)))
        h = ca.vertcat(*values) if values else ca.SX(0, 1)
        of_input = np.array(ca.which_depends(h, u, 1, True) if values else [], dtype=bool)
        order = [*np.flatnonzero(~of_input).tolist(), *np.flatnonzero(of_input).tolist()]
        change, states = u - v, int(np.count_nonzero(~of_input))
        for i in limited.tolist():
            most, label, unit = float(du_max[i]), f"change of {plant.u_labels[i]}", plant.u_units[i]
            rows += [
                StepMetric("rate", f"{label} {sign} {end:g} {unit}".rstrip(), unit, most, most)
                for sign, end in (("<=", most), (">=", -most))
            ]
        changes = [part for i in limited.tolist() for part in ((change[i] - du_max[i]), (-change[i] - du_max[i]))]
        limits = ca.DM([row.scale for row in rows[len(order) :]])
        every = ca.vertcat(h[order], ca.vertcat(*changes) / limits) if changes else h[order]
        end = h[order[:states]]
        return cls(
            ca.Function("step_metrics", [x, u, v, p], [ca.densify(every)]),
            ca.Function("end_metrics", [x, p], [ca.densify(end)]),
            (*(rows[i] for i in order), *rows[len(order) :]),
            states,
            len(changes),
        )

    def at(self, t: int, horizon: int) -> range:
        """Return which of the rows there are at a time.

        Parameters
        ----------
        t, horizon : int
            t in 0…N.

        Returns
        -------
        range
        """
        if t == horizon:
            return range(self.states)
        return range(len(self.rows) - (self.changes if t == 0 else 0))

    def over_time(self, values: np.ndarray, horizon: int) -> np.ndarray:
        """Return numbers of rows for all times, as metrics of a scenario are arranged.

        Parameters
        ----------
        values : numpy.ndarray, shape (k,)
        horizon : int

        Returns
        -------
        numpy.ndarray
        """
        first, inner = values[: len(values) - self.changes], np.tile(values, horizon - 1)
        return np.concatenate([first, inner, values[: self.states]])


def check_symbols(what: str, expression: ca.SX, plant: Plant) -> None:
    """Refuse an expression that has other symbols than those of a plant, or what no compiler knows.

    Parameters
    ----------
    what : str
        Of the message.
    expression : casadi.SX
    plant : Plant

    Raises
    ------
    DomainError
        With the first of them.
    """
    function = ca.Function("h", [plant.x, plant.u, plant.p], [expression], {"allow_free": True})
    if function.has_free():
        raise DomainError(
            f"{what} depends on {function.get_free()[0]}, a symbol of something else than plant {plant.name!r}; write "
            "it with plant.x, plant.u and plant.p of that plant"
        )
    check_operations(what, function)


def check_at_rest(what: str, value: float, slopes: np.ndarray) -> None:
    """Refuse what has no finite value or derivative at the equilibrium, which every loop comes close to.

    Parameters
    ----------
    what : str
        Of the message.
    value : float
    slopes : numpy.ndarray

    Raises
    ------
    DomainError
    """
    if not np.isfinite(value):
        raise DomainError(f"{what} is {value:g} at the equilibrium; write it so that it is a number there")
    if not np.isfinite(slopes).all():
        raise DomainError(
            f"{what} is not differentiable at the equilibrium, as a root is at zero; square both sides, or write it so "
            "that it is smooth there"
        )
