"""Scenarios: what is rolled out. A scenario is an initial state, plant parameters and a disturbance sequence."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.errors import DimensionError, DomainError
from scpo_ctrl.loop.backup import Backup
from scpo_ctrl.loop.level import Ranges, parameter_ranges
from scpo_ctrl.loop.sizes import check_rollouts
from scpo_ctrl.models import Plant
from scpo_ctrl.models.units import Units
from scpo_ctrl.sealed import Sealed, as_instance
from scpo_ctrl.validate import as_array, as_count, as_scalar


@dataclass(frozen=True)
class Scenarios(Sealed, instead="give its arrays x0, p and w the values that you need"):
    """A batch of S scenarios over a horizon of N steps."""

    x0: np.ndarray  # (S, nx) initial states [x_units]
    p: np.ndarray  # (S, np) plant parameters [p_units]
    w: np.ndarray  # (S, N, nx) disturbances, added to the next state [x_units]; N = horizon
    horizon: int  # N, number of steps

    def __post_init__(self) -> None:
        N = as_count("horizon", self.horizon, at_least=1)
        x0 = self._kept("x0", (None, None))
        self._kept("p", (len(x0), None))
        self._kept("w", (len(x0), N, None))

    def _kept(self, key: str, shape: tuple[int | None, ...]) -> np.ndarray:
        """Check an array; one of float64 is kept as it is, as large as it may be."""
        value = getattr(self, key)
        kept = type(value) is np.ndarray and value.dtype == np.float64 and value.ndim == len(shape)
        if not kept or any(n not in (None, k) for n, k in zip(shape, value.shape, strict=True)):
            value = as_array(key, value, shape, finite=False)
            object.__setattr__(self, key, value)
        return value

    @property
    def count(self) -> int:
        """Number of scenarios S."""
        return len(self.x0)

    def part(self, which: slice) -> "Scenarios":
        """Return some of the scenarios.

        Parameters
        ----------
        which : slice

        Returns
        -------
        Scenarios
            Views of the same arrays.
        """
        return Scenarios(self.x0[which], self.p[which], self.w[which], self.horizon)

    def in_units(self, units: Units) -> "Scenarios":
        """Return the same scenarios for the plant in other units.

        Parameters
        ----------
        units : Units

        Returns
        -------
        Scenarios
        """
        return Scenarios(self.x0 / units.x, self.p, self.w / units.x if self.w.size else self.w, self.horizon)


def scenarios(
    plant: Plant,
    backup: Backup,
    *,
    horizon: int,
    count: int | None = None,
    level: float | None = None,
    seed: int = 0,
    initial_states: ArrayLike | None = None,
    parameters: Ranges | None = None,
    disturbance: ArrayLike | None = None,
    disturbance_fixed: float | None = None,
) -> Scenarios:
    """Draw scenarios, or take the initial states as given.

    Parameters
    ----------
    plant, backup : Plant, Backup
        Whose level set holds the initial states that are drawn.
    horizon : int
        Number of steps N.
    count : int, optional
        Number of scenarios to draw.
    level : float, optional
        Initial states are drawn uniformly from the ellipsoid {V ≤ level · ρ}, 0 < level ≤ 1 (default 0.8).
    seed : int
        Of the random generator.
    initial_states : array_like, shape (S, nx), optional
        Instead of `count` and `level`.
    parameters : mapping of str to (low, high), optional
        Ranges of plant parameters by label [p_units]; drawn uniformly per scenario, nominal otherwise.
    disturbance : array_like, shape (nx,), optional
        Half width of the uniform disturbance added to each next state [x_units].
    disturbance_fixed : float, optional
        Fraction of the disturbance that is drawn once per scenario and constant over time, in [0, 1]; the rest is drawn
        at every step, and both together stay within the half width (default 0).

    Returns
    -------
    Scenarios
        The batch.

    Raises
    ------
    DomainError, DimensionError
        If both or neither of `count` and `initial_states` are given, a shape or a range is wrong, an initial state is
        outside the state bounds, or the disturbance alone is wider than they are.
    """
    as_instance("plant", plant, Plant)
    as_instance("backup", backup, Backup)
    N = as_count("horizon", horizon, at_least=1)
    if isinstance(count, int):
        check_rollouts(count, N, plant.nx, plant.nu)
    rng = np.random.default_rng(as_count("seed", seed))
    if (count is None) == (initial_states is None):
        raise DomainError("give either count (and level) or initial_states, not both")
    if initial_states is None:
        level = as_scalar("level", 0.8 if level is None else level, above=0.0, at_most=1.0)
        x0 = plant.x_eq + draw_level_set(rng, backup, level, as_count("count", count, at_least=1))
    elif level is not None:
        raise DomainError("level goes with count; initial_states are taken as they are")
    else:
        x0 = as_array("initial_states", initial_states, (None, plant.nx))
        if not len(x0):
            raise DimensionError("initial_states is empty; give at least one state")
        _check_inside(plant, x0)
    p = np.tile(plant.p_nominal, (len(x0), 1))
    ranges = parameter_ranges(plant, parameters)
    for name in parameters or {}:
        i = plant.p_labels.index(name)
        low, high = ranges[i]
        p[:, i] = rng.uniform(low, high, len(x0))
    w = _disturbances(rng, plant, (len(x0), N), disturbance, disturbance_fixed)
    return Scenarios(x0, p, w, N)


def draw_level_set(rng: np.random.Generator, backup: Backup, level: float, count: int) -> np.ndarray:
    """Draw deviations uniformly from the ellipsoid {V ≤ level · ρ}.

    Parameters
    ----------
    rng : numpy.random.Generator
    backup : Backup
        P and ρ.
    level : float
        Fraction of ρ.
    count : int
        Number of points.

    Returns
    -------
    numpy.ndarray, shape (count, nx)
    """
    nx = backup.P.shape[0]
    direction = rng.normal(size=(count, nx))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    radius = np.sqrt(level) * rng.uniform(size=(count, 1)) ** (1 / nx)
    unit, root = backup.shape
    return np.asarray(unit * (radius * direction @ root.T))


def _disturbances(
    rng: np.random.Generator, plant: Plant, size: tuple[int, int], disturbance: ArrayLike | None, fixed: float | None
) -> np.ndarray:
    """Draw disturbances of S scenarios over N steps, shape (S, N, nx), or (S, N, 0) if there are none."""
    if disturbance is None:
        if fixed is not None:
            raise DomainError("disturbance_fixed is a fraction of disturbance; give its half widths too")
        return np.zeros((*size, 0))
    half = as_array("disturbance", disturbance, (plant.nx,)) + 0.0  # no -0.0, which numpy takes for swapped limits
    if (half < 0).any():
        raise DomainError(f"disturbance is {half.tolist()}, expected half widths >= 0")
    with np.errstate(over="ignore"):
        widths = 2 * half
        wide = np.flatnonzero((widths > plant.x_max - plant.x_min) | ~np.isfinite(widths))
    if wide.size:
        i = wide[0]
        raise DomainError(
            f"disturbance[{i}] = {half[i]:g} {plant.x_units[i]} is more than half the width of the bounds of "
            f"{plant.x_labels[i]}, [{plant.x_min[i]:g}, {plant.x_max[i]:g}], in one step: no policy can keep them; "
            "make it smaller"
        )
    constant = as_scalar("disturbance_fixed", 0.0 if fixed is None else fixed, at_least=0.0, at_most=1.0)
    varying = rng.uniform(-half, half, (*size, plant.nx))
    if not constant:
        return varying
    return constant * rng.uniform(-half, half, (size[0], 1, plant.nx)) + (1 - constant) * varying


def _check_inside(plant: Plant, x0: np.ndarray) -> None:
    outside = np.argwhere((x0 < plant.x_min) | (x0 > plant.x_max))
    if len(outside):
        s, i = outside[0]
        raise DomainError(
            f"initial_states[{s}][{i}] = {x0[s, i]:g} {plant.x_units[i]} is outside "
            f"[{plant.x_min[i]:g}, {plant.x_max[i]:g}]; move it inside the bounds of {plant.x_labels[i]}"
        )
