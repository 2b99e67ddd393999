"""Scenarios: what is rolled out. A scenario is an initial state, plant parameters and a disturbance sequence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.errors import DimensionError, DomainError, one_for_each
from scpo_ctrl.loop.backup import Backup
from scpo_ctrl.loop.batch import Scenarios
from scpo_ctrl.loop.controlled import LoopPolicy
from scpo_ctrl.loop.declared import DeclaredSet
from scpo_ctrl.loop.level import Ranges, parameter_ranges
from scpo_ctrl.loop.sizes import check_rollouts
from scpo_ctrl.messages import shown
from scpo_ctrl.models import Plant
from scpo_ctrl.models.varying import drawn_ranges, settled
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.validate import as_array, as_choice, as_count, as_scalar

NEIGHBOURHOOD = 0.05  # of given initial states, where neither it nor a level is given
DRAWS = ("low_discrepancy", "random")


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
    neighbourhood: float | None = None,
    box: ArrayLike | None = None,
    draw: str = "random",
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
        Initial states are declared to be those of the ellipsoid {V ≤ level · ρ}, 0 < level ≤ 1 (default 0.8).
    seed : int
        Of the random generator.
    initial_states : array_like, shape (S, nx), optional
        Instead of drawing `count`. Declared are a given `level`, or else a neighbourhood of each of them.
    parameters : mapping of str to (low, high), optional
        Ranges of plant parameters by label [p_units]; drawn uniformly per scenario, nominal otherwise.
    disturbance : array_like, shape (nx,), optional
        Half width of the uniform disturbance added to each next state [x_units].
    disturbance_fixed : float, optional
        Fraction of the disturbance that is drawn once per scenario and constant over time, in [0, 1]; the rest is drawn
        at every step, and both together stay within the half width (default 0).
    neighbourhood : float, optional
        How far around each of the given `initial_states` others are declared too, in the norm of V and relative to
        the backup's level set, in [0, 1] (default 0.05).
    box : array_like, shape (2, nx), optional
        Low and high of the initial states that are declared, instead of `level` [x_units].
    draw : {"low_discrepancy", "random"}
        Spread evenly over what is declared, or at random.

    Returns
    -------
    Scenarios
        The batch, which names the set that is declared (E12).

    Raises
    ------
    DomainError, DimensionError
        If both or neither of `count` and `initial_states` are given, a shape or a range is wrong, an initial state is
        outside the state bounds, or the disturbance alone is wider than they are.

    Examples
    --------
    >>> import scpo_ctrl as sc
    >>> from scpo_ctrl.models import double_integrator
    >>> plant = double_integrator()
    >>> backup = sc.lqr(plant, Q=[0.1, 0.1], R=[10.0])
    >>> starts = sc.scenarios(plant, backup, horizon=30, count=16, level=0.5, parameters={"mass": (0.8, 1.3)})
    >>> starts.x0.shape, bool((starts.p >= 0.8).all())
    ((16, 2), True)
    """
    as_instance("plant", plant, Plant)
    as_instance("backup", backup, Backup)
    N, seed = as_count("horizon", horizon, at_least=1), as_count("seed", seed)
    if (count is None) == (initial_states is None):
        raise DomainError("give either count (and level) or initial_states, not both")
    as_choice("draw", draw, DRAWS)
    states = None if initial_states is None else _given(plant, initial_states)
    size = as_count("count", count, at_least=1) if states is None else len(states)
    check_rollouts(size, N, plant.nx, plant.nu)
    half, fixed = _half_widths(plant, disturbance, disturbance_fixed)
    region = _region(plant, states, level, neighbourhood, box)
    ranges = parameter_ranges(plant, parameters)
    for i, limits in drawn_ranges(plant).items():
        ranges[i] = limits
    declared = DeclaredSet(
        plant=plant, backup=backup, horizon=N, ranges=ranges, half=half, fixed=fixed, seed=seed, **region
    )
    given: dict[str, Any] = {
        "horizon": N,
        "count": count,
        "level": level,
        "seed": seed,
        "initial_states": states,
        "draw": draw,
        "parameters": parameters,
        "disturbance": disturbance,
        "disturbance_fixed": disturbance_fixed,
        "neighbourhood": neighbourhood,
        "box": box,
    }
    if draw == "random":
        return replace(_at_random(declared, states, size, parameters, seed), described=given)
    batch = declared.spread(size, seed)
    return replace(batch, x0=batch.x0 if states is None else states, declared=declared, described=given)


def _given(plant: Plant, initial_states: ArrayLike) -> np.ndarray:
    """Check the initial states that are given."""
    x0 = as_array("initial_states", initial_states, (None, plant.nx))
    if not len(x0):
        raise DimensionError("initial_states is empty; give at least one state")
    _check_inside(plant, x0)
    return x0


def _region(
    plant: Plant,
    states: np.ndarray | None,
    level: float | None,
    neighbourhood: float | None,
    box: ArrayLike | None,
) -> dict[str, Any]:
    """Return which initial states are declared, as arguments of `DeclaredSet`."""
    if sum(value is not None for value in (level, neighbourhood, box)) > 1:
        raise DomainError("give one of level, neighbourhood and box")
    if neighbourhood is not None and states is None:
        raise DomainError("neighbourhood is one of initial_states; give these, or level")
    if box is not None:
        with one_for_each(plant.x_labels):
            edges = as_array("box", box, (2, plant.nx))
        if not (edges[0] < edges[1]).all():
            i = int(np.argmin(edges[0] < edges[1]))
            low, high = edges[:, i]
            raise DomainError(
                f"box has no interior: its {plant.x_labels[i]} goes from {low:g} to {high:g}; give it some width"
            )
        _check_inside(plant, edges, "box")
        return {"centres": plant.x_eq[None], "box": edges}
    if states is None or level is not None:
        level = as_scalar("level", 0.8 if level is None else level, above=0.0, at_most=1.0)
        return {"centres": plant.x_eq[None], "size": float(np.sqrt(level))}
    around = as_scalar(
        "neighbourhood", NEIGHBOURHOOD if neighbourhood is None else neighbourhood, at_least=0.0, at_most=1.0
    )
    return {"centres": states, "size": around}


def _at_random(
    declared: DeclaredSet, states: np.ndarray | None, size: int, parameters: Ranges | None, seed: int
) -> Scenarios:
    """Draw scenarios at random: initial states, then parameters in the order of their ranges, then disturbances."""
    plant, rng = declared.plant, np.random.default_rng(seed)
    if states is None and declared.box is not None:
        states = rng.uniform(declared.box[0], declared.box[1], (size, plant.nx))
    x0 = plant.x_eq + draw_level_set(rng, declared.backup, declared.size**2, size) if states is None else states
    p = np.tile(plant.p_nominal, (size, 1))
    for i in [*map(plant.p_labels.index, parameters or {}), *drawn_ranges(plant)]:
        low, high = declared.ranges[i]
        p[:, i] = rng.uniform(low, high, size)
    return Scenarios(x0, settled(plant, p), _disturbances(rng, declared, size), declared.horizon, declared)


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


def _half_widths(plant: Plant, disturbance: ArrayLike | None, fixed: float | None) -> tuple[np.ndarray, float]:
    """Check half widths of disturbances and their part that is constant over time; none are (0,)."""
    if disturbance is None:
        if fixed is not None:
            raise DomainError("disturbance_fixed is a fraction of disturbance; give its half widths too")
        return np.zeros(0), 0.0
    with one_for_each(plant.x_labels):
        half = as_array("disturbance", disturbance, (plant.nx,)) + 0.0  # no -0.0, which numpy takes for swapped limits
    if (half < 0).any():
        raise DomainError(f"disturbance is {shown(half)}, expected half widths >= 0")
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
    return half, as_scalar("disturbance_fixed", 0.0 if fixed is None else fixed, at_least=0.0, at_most=1.0)


def _disturbances(rng: np.random.Generator, declared: DeclaredSet, count: int) -> np.ndarray:
    """Draw disturbances of S scenarios over N steps, shape (S, N, nx), or (S, N, 0) if there are none."""
    half, constant = declared.half, declared.fixed
    varying = rng.uniform(-half, half, (count, declared.horizon, half.size))
    if not constant:
        return varying
    return constant * rng.uniform(-half, half, (count, 1, half.size)) + (1 - constant) * varying


def _check_inside(plant: Plant, x0: np.ndarray, name: str = "initial_states") -> None:
    outside = np.argwhere((x0 < plant.x_min) | (x0 > plant.x_max))
    if len(outside):
        s, i = outside[0]
        raise DomainError(
            f"{name}[{s}][{i}] = {x0[s, i]:g} {plant.x_units[i]} is outside "
            f"[{plant.x_min[i]:g}, {plant.x_max[i]:g}]; move it inside the bounds of {plant.x_labels[i]}"
        )


def check_scenarios(policy: LoopPolicy, scenarios: Scenarios) -> None:
    """Check that scenarios are there, of the plant of a policy, and no more than a run can bear.

    Parameters
    ----------
    policy : Policy or ControllerPolicy
    scenarios : Scenarios

    Raises
    ------
    ClassError, DimensionError, DomainError
        If they are not.
    """
    plant = policy.plant
    as_instance("scenarios", scenarios, Scenarios)
    if not scenarios.count:
        raise DimensionError("scenarios is empty; give at least one")
    if scenarios.x0.shape[1] != plant.nx:
        raise DimensionError(f"scenarios have {scenarios.x0.shape[1]} states, the plant has {plant.nx}")
    check_rollouts(scenarios.count, scenarios.horizon, plant.nx, plant.nu, policy.theta_dim)
