"""The invariant level of a backup on a nonlinear plant: searched for by simulation, which is evidence and no proof."""

import itertools
from collections.abc import Mapping, Sequence

import casadi as ca
import numpy as np

from scpo_ctrl.compiled import StackFunction, compile_functions
from scpo_ctrl.errors import BackupError, DomainError
from scpo_ctrl.messages import shown
from scpo_ctrl.models import Plant
from scpo_ctrl.models.varying import still
from scpo_ctrl.validate import as_array

Ranges = Mapping[str, Sequence[float]]

_DIRECTIONS = 200  # random directions from the equilibrium, besides axes, diagonals and where bounds are touched
_RADII = tuple(k / 10 for k in range(10, 0, -1))  # of the shells on which simulations start, relative to the boundary
_MIXTURES = 4  # random points of the parameter ranges, besides corners and nominal values
_CORNERS = 6  # parameters with a range up to which all corners are tried
_STEPS = (20, 500)  # least and most steps of a simulation
_DECAY = 0.01  # of V, nominal and linearised, that the number of steps is meant for
_LEFT = 0.5  # fraction of the level below which every simulation must end, where it is long enough
_AT_ONCE = 1024  # simulations, from far out inwards, before it is asked whether one has failed
_ROUNDING = 1e-9  # of V, and of the command relative to its bounds
_DRIFT = 1e-9  # of the state in a step, relative to its size, above which a parameter moves the equilibrium
_SHRINK, _SHRINKS, _HALVINGS = 0.7, 12, 6  # of the search
LEAST = _SHRINK**_SHRINKS  # part of the largest level inside all bounds that is tried last


def parameter_ranges(plant: Plant, parameters: Ranges | None) -> np.ndarray:
    """Return the range of every plant parameter, the nominal value where none is given.

    Parameters
    ----------
    plant : Plant
    parameters : mapping of str to (low, high), optional
        Ranges by label [p_units].

    Returns
    -------
    numpy.ndarray, shape (np, 2)
        Low and high of each parameter.

    Raises
    ------
    DomainError, DimensionError
        If a name is unknown, a range is swapped, or reaches values for which the plant means nothing.
    """
    ranges = np.repeat(plant.p_nominal[:, None], 2, axis=1)
    if not isinstance(parameters, (Mapping, type(None))):
        raise DomainError(f"parameters is {shown(parameters)}, expected ranges by label such as {{'mass': [0.5, 1.5]}}")
    fixed = [plant.p_labels[i] for i in still(plant)]
    for name, limits in (parameters or {}).items():
        if name not in fixed:
            if name in plant.p_labels:
                raise DomainError(f"parameters.{name}: a signal says what it is; give the range to the signal")
            known = ", ".join(fixed) or "none"
            raise DomainError(f"unknown plant parameter {shown(name)}; plant {plant.name!r} has: {known}")
        low, high = as_array(f"parameters.{name}", limits, (2,)) + 0.0  # no -0.0, which numpy takes for swapped limits
        i = plant.p_labels.index(name)
        if low > high:
            raise DomainError(f"parameters.{name} = [{low:g}, {high:g}] is swapped; give [low, high]")
        if not np.isfinite(float(high) - float(low)):
            raise DomainError(f"parameters.{name} = [{low:g}, {high:g}] is wider than a double can tell; narrow it")
        if low <= plant.p_above[i]:
            raise DomainError(
                f"parameters.{name} = [{low:g}, {high:g}] reaches {plant.p_above[i]:g} {plant.p_units[i]}; the plant "
                f"means something only above it (nominal: {plant.p_nominal[i]:g})"
            )
        ranges[i] = low, high
    return ranges


class LevelSearch:
    """Simulations of the backup's closed loop from all over a level set and the parameter ranges.

    A level ρ passes if every simulation that starts in {V ≤ ρ} stays in it at every step, commands nothing beyond the
    bounds, and ends in {V ≤ ρ/2}, or, of a slow loop, in the part of ρ to which the linearised one lets √V fall. Below
    the largest level inside all bounds, staying in it means that the state keeps its bounds, and the command of a
    linear law. The simulations start at the equilibrium and, on ten equally spaced shells, in fixed directions: along
    every axis and diagonal of the ellipsoid, towards every bound, where the linearised loop lets V grow most, and 200
    random ones; with the parameters at nominal, at every corner of their ranges, and at four random points of them.
    They are the same in every call, and as long as the linearised loop takes to let V fall to a hundredth, 500 steps at
    most. Finding nothing is evidence that the set is invariant; it is not a proof.

    Parameters
    ----------
    plant : Plant
        Discrete.
    K : numpy.ndarray, shape (nu, nx)
    P : numpy.ndarray, shape (nx, nx)
        Symmetric positive definite.
    towards : numpy.ndarray, shape (k, nx)
        Normals of the bounds, in deviations from the equilibrium.
    ranges : numpy.ndarray, shape (np, 2)
        Of the plant parameters.
    law : casadi.Function, optional
        The backup's ``(x, p) -> u`` where it is not u_eq - K (x - x_eq); K is then its gain at the equilibrium.
    """

    def __init__(
        self,
        plant: Plant,
        K: np.ndarray,
        P: np.ndarray,
        towards: np.ndarray,
        ranges: np.ndarray,
        law: ca.Function | None = None,
    ) -> None:
        A, B = plant.linearise()
        decay = float(np.max(np.abs(np.linalg.eigvals(A - B @ K))))
        decay = min(decay, 1 - 1e-6)
        self.steps = int(np.clip(np.log(_DECAY) / (2 * np.log(decay)), *_STEPS))
        self.left = max(_LEFT, decay**self.steps)
        self.parameters = parameter_points(plant, ranges)
        self.shells = _shells(P, np.vstack([np.linalg.solve(P, towards.T).T, _growing(plant, K, P, self.parameters)]))
        law = linear_law(plant, K) if law is None else law
        (roll,) = compile_functions([_roll(plant, law, P, self.steps)])
        self._roll = StackFunction(roll, [])

    def passes(self, rho: float) -> bool:
        """Whether no simulation from {V ≤ ρ} leaves it, or fails to contract.

        Parameters
        ----------
        rho : float
            The level.

        Returns
        -------
        bool
        """
        starts = np.sqrt(rho) * self.shells
        count = len(self.parameters)
        stacked = np.hstack([np.repeat(starts, count, axis=0), np.tile(self.parameters, (len(starts), 1))])
        for start in range(0, len(stacked), _AT_ONCE):
            with np.errstate(all="ignore"):  # a simulation may diverge
                highest, last, beyond = self._roll(stacked[start : start + _AT_ONCE])
            inside = (highest <= rho * (1 + _ROUNDING)).all() and (beyond <= _ROUNDING).all()
            if not (inside and (last <= self.left * rho).all()):
                return False
        return True

    def largest(self, rho: float) -> float:
        """Reduce a level until it passes: by three tenths at a time, then by bisection towards the last that failed.

        Parameters
        ----------
        rho : float
            The largest level inside all bounds.

        Returns
        -------
        float
            The first level found to pass; zero if none does.
        """
        if self.passes(rho):
            return rho
        for _ in range(_SHRINKS):
            failed, rho = rho, _SHRINK * rho
            if self.passes(rho):
                break
        else:
            return 0.0
        for _ in range(_HALVINGS):
            middle = (rho + failed) / 2
            rho, failed = (middle, failed) if self.passes(middle) else (rho, middle)
        return rho


def linear_law(plant: Plant, K: np.ndarray) -> ca.Function:
    """Return the law u_eq - K (x - x_eq) as a function (x, p) -> u.

    Parameters
    ----------
    plant : Plant
    K : numpy.ndarray, shape (nu, nx)

    Returns
    -------
    casadi.Function
    """
    x, p = ca.SX.sym("x", plant.nx), ca.SX.sym("p", plant.npar)
    return ca.Function("backup", [x, p], [ca.DM(plant.u_eq) - ca.DM(K) @ (x - ca.DM(plant.x_eq))])


def _roll(plant: Plant, law: ca.Function, P: np.ndarray, steps: int) -> ca.Function:
    """(z_0, p) -> (largest V over time, last V, how far the command went beyond its bounds) without saturation."""
    z, p = ca.SX.sym("z", plant.nx), ca.SX.sym("p", plant.npar)
    x = ca.DM(plant.x_eq) + z
    u, half = law(x, p), ca.DM(plant.u_max - plant.u_min) / 2
    following = plant.function(x, u, p) - ca.DM(plant.x_eq)
    beyond = ca.fmax((u - ca.DM(plant.u_max)) / half, (ca.DM(plant.u_min) - u) / half)
    step = ca.Function("step", [z, p], [following, following.T @ ca.DM(P) @ following, ca.mmax(beyond)])
    start = ca.MX.sym("start", plant.nx + plant.npar)
    _, V, out = step.mapaccum("roll", steps)(start[: plant.nx], ca.repmat(start[plant.nx :], 1, steps))
    return ca.Function("backup_loop", [start], [ca.mmax(V), V[-1], ca.mmax(out)])


def _growing(plant: Plant, K: np.ndarray, P: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Deviations along which one step of the linearised loop lets V grow most, two for each parameter point."""
    C = np.linalg.cholesky(P)
    worst = []
    for p in points:
        A, B = (np.array(slope) for slope in plant.derivatives(plant.x_eq, plant.u_eq, p)[1:])
        scaled = np.linalg.solve(C, (C.T @ (A - B @ K)).T).T  # of Cᵀz, in which V is the square of the length
        most = np.linalg.solve(C.T, np.linalg.svd(np.nan_to_num(scaled))[2][0])
        worst += [most, -most]
    return np.array(worst)


def _shells(P: np.ndarray, towards: np.ndarray) -> np.ndarray:
    """Deviations on the shells of level one, those in given directions among them, and zero."""
    nx = len(P)
    C = np.linalg.cholesky(P)  # V(z) = |Cᵀz|²
    axes = np.vstack([np.eye(nx), -np.eye(nx)])
    rng = np.random.default_rng(0)
    diagonals = np.array(list(itertools.product((-1.0, 1.0), repeat=nx))) if nx <= 8 else rng.normal(size=(256, nx))
    given = towards @ C
    directions = np.vstack([axes, diagonals, given[given.any(axis=1)], rng.normal(size=(_DIRECTIONS, nx))])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    boundary = np.linalg.solve(C.T, directions.T).T
    return np.vstack([np.zeros((1, nx)), *(radius * boundary for radius in _RADII)])


def largest_level(P: np.ndarray, H: np.ndarray, h: np.ndarray) -> float:
    """Return the largest ρ with {zᵀPz ≤ ρ} inside {Hz ≤ h}: min over rows of h² / (H P⁻¹ Hᵀ).

    Parameters
    ----------
    P : numpy.ndarray, shape (nx, nx)
        Symmetric positive definite.
    H : numpy.ndarray, shape (k, nx)
    h : numpy.ndarray, shape (k,)
        Positive; infinite entries bound nothing.

    Returns
    -------
    float
        The level; infinite if nothing bounds it.

    Raises
    ------
    BackupError
        If P is not positive definite.
    """
    try:
        C = np.linalg.cholesky(P)
    except np.linalg.LinAlgError as error:
        raise BackupError("P is not positive definite; make every entry of Q positive") from error
    reach = np.sum(np.linalg.solve(C, H.T) ** 2, axis=0)  # H P⁻¹ Hᵀ, a number per row
    bounded = (reach > 0) & np.isfinite(h)
    with np.errstate(over="ignore"):  # a bound that far away bounds nothing
        return float(np.min(h[bounded] ** 2 / reach[bounded], initial=np.inf))


def out_of_range(*, close: bool) -> BackupError:
    """Return the error of bounds whose level no double holds.

    Parameters
    ----------
    close : bool
        Whether they are too close together; else too far apart.

    Returns
    -------
    BackupError
    """
    extreme = "close together" if close else "far apart"
    return BackupError(
        f"the bounds are so {extreme} that the level of the backup inside them is out of the range of a double; choose "
        "other units, and leave out (inf) state bounds that are never met"
    )


def parameter_points(plant: Plant, ranges: np.ndarray) -> np.ndarray:
    """Return nominal parameters, corners of their ranges and a few points between.

    Parameters
    ----------
    plant : Plant
    ranges : numpy.ndarray, shape (np, 2)

    Returns
    -------
    numpy.ndarray, shape (count, np)
    """
    varied = np.flatnonzero(ranges[:, 0] < ranges[:, 1])
    points = plant.p_nominal[None].copy()
    if not varied.size:
        return np.unique(np.vstack([points, ranges[:, 0]]), axis=0)
    rng = np.random.default_rng(0)
    if varied.size <= _CORNERS:
        sides = np.array(list(itertools.product((0.0, 1.0), repeat=varied.size)))
    else:
        sides = rng.integers(0, 2, (2**_CORNERS, varied.size)).astype(float)
    sides = np.vstack([sides, rng.uniform(size=(_MIXTURES, varied.size))])
    mixed = np.tile(ranges[:, 0], (len(sides), 1))
    mixed[:, varied] += sides * (ranges[varied, 1] - ranges[varied, 0])
    inside = (points >= ranges[:, 0]) & (points <= ranges[:, 1])
    return np.vstack([points, mixed]) if inside.all() else mixed


def moved_rest(plant: Plant, ranges: np.ndarray) -> str:
    """Say in words which parameters move the equilibrium inside their ranges, the others as they are nominally.

    Parameters
    ----------
    plant : Plant
    ranges : numpy.ndarray, shape (np, 2)

    Returns
    -------
    str
        Ends with what follows; empty if none does.
    """
    moving = []
    for i in still(plant):
        ends = np.tile(plant.p_nominal, (2, 1))
        ends[:, i] = ranges[i]
        drift = [np.asarray(plant.function(plant.x_eq, plant.u_eq, p)).ravel() - plant.x_eq for p in ends]
        if np.max(np.abs(drift)) > _DRIFT * (1 + np.max(np.abs(plant.x_eq))):
            moving.append(plant.p_labels[i])
    if not moving:
        return ""
    return f"{' and '.join(moving)} may move the equilibrium, and the set is about the nominal one: "


def is_affine(plant: Plant) -> bool:
    """Whether f is affine in (x, u) for all values of the parameters.

    Parameters
    ----------
    plant : Plant

    Returns
    -------
    bool
    """
    z = ca.vertcat(plant.x, plant.u)
    return not ca.depends_on(ca.simplify(ca.jacobian(plant.f, z)), z)


def plant_at(plant: Plant) -> ca.Function:
    """Return the function p -> (A, B, f - x_eq) at the plant's nominal equilibrium.

    Parameters
    ----------
    plant : Plant

    Returns
    -------
    casadi.Function
    """
    parts = [ca.jacobian(plant.f, plant.x), ca.jacobian(plant.f, plant.u), plant.f - ca.DM(plant.x_eq)]
    rest = [ca.DM(plant.x_eq), ca.DM(plant.u_eq)]
    return ca.Function("plant_at", [plant.p], ca.substitute(parts, [plant.x, plant.u], rest))


def bounds_of(plant: Plant, K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rows H z ≤ h of all state and input bounds in deviations z, the input being -K z.

    Parameters
    ----------
    plant : Plant
    K : numpy.ndarray, shape (nu, nx)

    Returns
    -------
    H : numpy.ndarray, shape (2 (nx + nu), nx)
    h : numpy.ndarray
    """
    identity = np.eye(plant.nx)
    H = np.vstack([identity, -identity, -K, K])
    h = np.concatenate(
        [plant.x_max - plant.x_eq, plant.x_eq - plant.x_min, plant.u_max - plant.u_eq, plant.u_eq - plant.u_min]
    )
    return H, h
