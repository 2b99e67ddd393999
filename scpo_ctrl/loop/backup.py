"""The backup controller: LQR gain, its Lyapunov matrix P, the invariant level ρ, and the evidence that they hold."""

from dataclasses import dataclass, field, replace
from typing import Any

import casadi as ca
import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.errors import BackupError, DimensionError
from scpo_ctrl.invariance.jacobians import Law, shape_of
from scpo_ctrl.invariance.singular import singular_parameter
from scpo_ctrl.loop.claim import Claim
from scpo_ctrl.loop.level import (
    LEAST,
    LevelSearch,
    Ranges,
    bounds_of,
    is_affine,
    largest_level,
    moved_rest,
    out_of_range,
    parameter_points,
    parameter_ranges,
    plant_at,
)
from scpo_ctrl.models import Plant
from scpo_ctrl.models.plant import check_discrete
from scpo_ctrl.models.units import Units
from scpo_ctrl.models.varying import still
from scpo_ctrl.sealed import Sealed, as_instance
from scpo_ctrl.shown import Entries, Shown, numbers
from scpo_ctrl.validate import as_array, as_scalar, as_stack
from scpo_ctrl.weights import as_matrix

_ROUNDING = 1e-12  # of an equilibrium, relative to the level set


@dataclass(frozen=True)
class Design:
    """What `lqr` makes a backup from, besides the plant, so that a record can say it."""

    Q: np.ndarray  # (nx, nx)
    R: np.ndarray  # (nu, nu)
    allow_uncontrollable: bool
    rho: float | None  # the level, where it was given or found by simulation


@dataclass(frozen=True, eq=False, repr=False)
class Backup(Shown, Sealed, instead="give its data K, P and rho, or for another law write a Problem subclass"):
    """u = u_eq - K (x - x_eq), with {V ≤ ρ} invariant inside all bounds, V(x) = (x - x_eq)ᵀ P (x - x_eq).

    That {V ≤ ρ} is invariant is a claim; `evidence` says what stands behind it for the ranges of plant parameters that
    the backup was made for, without disturbances: "proved" (`scpo_ctrl.invariance`), "simulated" where no simulation
    left the set, which is no proof, "refuted" where one did, and "unchecked" for a backup given by hand, or made from
    another by `dataclasses.replace`. Only `lqr`, `lmi` and `check_backup` set it.

    Parameters
    ----------
    K : array_like, shape (nu, nx)
        Gain [u_units / x_units].
    P : array_like, shape (nx, nx), (nx,) or ()
        Symmetric positive definite: the matrix, its diagonal, or one number for all states.
    rho : float
        Invariant level, > 0.

    Attributes
    ----------
    claim : Claim or None
        What is claimed of the level set; None where given by hand.
    design : Design or None
        What `lqr` made it from; None otherwise.

    Examples
    --------
    >>> import scpo_ctrl as sc
    >>> from scpo_ctrl.models import double_integrator
    >>> backup = sc.lqr(double_integrator(), Q=[0.1, 0.1], R=[10.0])
    >>> round(backup.rho, 1), backup.evidence
    (54.7, 'proved')
    """

    K: np.ndarray
    P: np.ndarray
    rho: float
    claim: Claim | None = field(default=None, init=False, repr=False, compare=False)
    design: Design | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        K = as_array("K", self.K, (None, None))
        for key, matrix in (("K", K), ("P", as_matrix("P", self.P, K.shape[1]))):
            matrix.flags.writeable = False  # what was checked stays what it was
            put(self, key, matrix)
        put(self, "rho", as_scalar("rho", self.rho))  # of what sign, `contraction` says

    def __setstate__(self, state: dict[str, Any]) -> None:
        for key in ("K", "P"):  # whose flags numpy does not pickle
            state[key].flags.writeable = False
        vars(self).update(state)

    def level(self, x: ArrayLike, x_eq: ArrayLike = 0.0) -> np.ndarray:
        """Return V(x) for a stack of states.

        Parameters
        ----------
        x : array_like, shape (..., nx)
        x_eq : array_like, shape (nx,)

        Returns
        -------
        numpy.ndarray, shape (...)
        """
        z = as_stack("x", x)
        rest = as_stack("x_eq", x_eq)
        if z.shape[-1:] != (len(self.P),) or rest.shape not in ((), (len(self.P),)):
            raise DimensionError(f"x has shape {z.shape} and x_eq {rest.shape}, expected (..., {len(self.P)})")
        with np.errstate(invalid="ignore"):  # what is infinite less what is: no number, and no level
            z -= rest
        return np.asarray(np.einsum("...i,ij,...j->...", z, self.P, z))

    @property
    def evidence(self) -> str:
        """What stands behind the claim that {V ≤ ρ} is invariant; the first look tries a proof, which takes time."""
        return "unchecked" if self.claim is None else self.claim.evidence

    @property
    def shape(self) -> tuple[np.ndarray, np.ndarray]:
        """A root of the level set {V ≤ ρ} in units of its own: it holds z = unit · (root v) for ‖v‖ ≤ 1.

        The unit (nx,) is chosen so that a change of a state's unit changes nothing else.
        """
        return shape_of(self.P, self.rho)

    @property
    def extent(self) -> np.ndarray:
        """How far the level set {V ≤ ρ} reaches along each axis, shape (nx,) [x_units]."""
        unit, root = self.shape
        return np.asarray(unit * np.sqrt(np.sum(root**2, axis=1)))

    def in_units(self, units: Units) -> "Backup":
        """Return the same backup for the plant in other units.

        Parameters
        ----------
        units : Units

        Returns
        -------
        Backup
        """
        K, P = self.K * units.x / units.u[:, None], self.P * units.x * units.x[:, None]
        return claimed(replace(self, K=K, P=P), self.claim)

    @property
    def in_words(self) -> str:
        """The evidence, where it was looked at already: a look may take long."""
        looked = self.claim is None or "evidence" in vars(self.claim)
        return self.evidence if looked else "not looked at yet: ask for `evidence`"

    def _shown(self) -> tuple[str, Entries]:
        return f"level rho = {self.rho:.4g}", [("gain K", numbers(self.K)), ("invariance", self.in_words)]


def largest_held(
    plant: Plant,
    K: np.ndarray,
    P: np.ndarray,
    parameters: Ranges | None,
    *,
    rho: float | None,
    law: ca.Function | None,
    or_nominal: bool = False,
) -> Backup:
    """Return a law as a backup with the largest level that it holds, or with a given one if it holds that.

    Parameters
    ----------
    plant : Plant
        In units of its bounds.
    K : numpy.ndarray, shape (nu, nx)
        Gain of the law at the equilibrium.
    P : numpy.ndarray, shape (nx, nx)
    parameters : mapping of str to (low, high), optional
        Ranges of plant parameters by label [p_units].
    rho : float, optional
        The level.
    law : casadi.Function, optional
        ``(x, p) -> u`` where it is not u_eq - K (x - x_eq).
    or_nominal : bool
        Whether a level that holds at nominal parameters is taken where none does over their ranges.

    Returns
    -------
    Backup

    Raises
    ------
    BackupError
        If no level holds.
    """
    ranges = parameter_ranges(plant, parameters)
    try:
        return _held(plant, K, P, ranges, rho, law)
    except BackupError:
        nominal = parameter_ranges(plant, None)
        if not or_nominal or np.array_equal(ranges, nominal) or singular_parameter(Law(plant, K, law), ranges):
            raise
        backup = _held(plant, K, P, nominal, rho, law)
        return claimed(backup, Claim(Law(plant, K, law), P, backup.rho, ranges, simulated=False))


def _held(
    plant: Plant, K: np.ndarray, P: np.ndarray, ranges: np.ndarray, rho: float | None, law: ca.Function | None
) -> Backup:
    backup = Backup(K, P, _level_inside(plant, K, P) if rho is None else rho)
    _contraction(plant, backup)
    if plant.is_linear and law is None:
        return claimed(backup, Claim(Law(plant, K), P, backup.rho, ranges, simulated=False))
    return _simulated(plant, backup, ranges, law, search=rho is None)


def _level_inside(plant: Plant, K: np.ndarray, P: np.ndarray) -> float:
    """Return the largest level inside all bounds, if doubles can hold it."""
    level = largest_level(P, *bounds_of(plant, K))
    if not 0 < level < np.inf:
        raise out_of_range(close=level == 0)
    return level


def _simulated(
    plant: Plant, backup: Backup, ranges: np.ndarray, law: ca.Function | None = None, *, search: bool
) -> Backup:
    """Return the backup with a level that no simulation leaves."""
    simulations = LevelSearch(plant, backup.K, backup.P, bounds_of(plant, backup.K)[0], ranges, law)
    rho = simulations.largest(backup.rho) if search else backup.rho
    if rho <= 0 or not (search or simulations.passes(rho)):
        tried = f"at any level down to {LEAST:.2g} of the largest inside all bounds"
        levels = tried if search else f"at the level rho = {backup.rho:g}"
        narrow = "narrow the ranges of the plant parameters, or " if np.ptp(ranges, axis=1).any() else ""
        gains = "change its gains (Q and R of an LQR)" if law is None else "begin with other gains"
        remedy = singular_parameter(Law(plant, backup.K, law), ranges) or moved_rest(plant, ranges) + narrow + gains
        raise BackupError(f"the backup of plant {plant.name!r} leaves its level set in simulation {levels}; {remedy}")
    claim = Claim(Law(plant, backup.K, law), backup.P, rho, ranges, simulated=True)
    return claimed(replace(backup, rho=rho), claim)


def designed(backup: Backup, design: Design) -> Backup:
    """Return a backup that says what it was designed from.

    Parameters
    ----------
    backup : Backup
    design : Design

    Returns
    -------
    Backup
        The same one.
    """
    object.__setattr__(backup, "design", design)
    return backup


def claimed(backup: Backup, claim: Claim | None) -> Backup:
    """Return a copy of a backup with what is claimed of it.

    Parameters
    ----------
    backup : Backup
    claim : Claim or None

    Returns
    -------
    Backup
    """
    backup = replace(backup)
    object.__setattr__(backup, "claim", claim)
    return backup


def check_backup(plant: Plant, backup: Backup, parameters: Ranges | None = None) -> Backup:
    """Check a backup given by hand, and return it with the evidence that its level set is invariant.

    Shapes, P, the level inside all bounds of state and input, and the decrease of V along the linearised loop are
    checked in closed form (`contraction`). A linear plant is then checked at the nominal parameters and every corner of
    their ranges: {V ≤ ρ} maps into itself there, also where the parameters move the equilibrium. All others are to
    be proved, or else checked by simulation (`LevelSearch`).

    Parameters
    ----------
    plant : Plant
        Discrete.
    backup : Backup
        Gain, P and ρ to be checked.
    parameters : mapping of str to (low, high), optional
        Ranges of plant parameters by label [p_units]; nominal otherwise.

    Returns
    -------
    Backup
        A copy whose `evidence` is "proved" or "simulated".

    Raises
    ------
    BackupError
        If anything does not hold; it names the worst.
    DomainError, DimensionError
        If a parameter range is wrong.

    Examples
    --------
    >>> import scpo_ctrl as sc
    >>> from scpo_ctrl.models import double_integrator
    >>> mine = sc.Backup(K=[[0.1, 0.5]], P=[[1.0, 1.4], [1.4, 6.0]], rho=5.0)
    >>> mine.evidence, sc.check_backup(double_integrator(), mine).evidence
    ('unchecked', 'proved')
    """
    as_instance("plant", plant, Plant)
    as_instance("backup", backup, Backup)
    check_discrete(plant, BackupError)
    ranges = parameter_ranges(plant, parameters)
    contraction(plant, backup)
    units, asked = Units.of(plant), backup
    plant, backup = units.plant(plant), backup.in_units(units)
    claim = Claim(Law(plant, backup.K), backup.P, backup.rho, ranges, simulated=is_affine(plant))
    if not is_affine(plant):
        proved = claim.proof is not None and claim.proof.proved
        return claimed(asked, claim if proved else _simulated(plant, backup, ranges, search=False).claim)
    points = parameter_points(plant, ranges)
    reaches = np.array([_reach(plant, backup, p) for p in points])
    worst = int(np.argmax(np.nan_to_num(reaches, nan=np.inf)))
    if not reaches[worst] <= 1:
        at = ", ".join(f"{plant.p_labels[i]} = {points[worst, i]:g}" for i in still(plant))
        raise BackupError(
            f"the backup of plant {plant.name!r} leaves its level set at {at}: V/rho may reach "
            f"{reaches[worst] ** 2:.6g}; narrow the ranges of the plant parameters, or change K, P and rho"
        )
    return claimed(asked, claim)


def _reach(plant: Plant, backup: Backup, p: np.ndarray) -> float:
    """Return a bound, in units of √ρ, of √V after one step from {V ≤ ρ} of a plant that is affine in (x, u)."""
    A, B, offset = (np.array(part) for part in plant_at(plant)(p))
    C = np.linalg.cholesky(backup.P)
    scaled = np.linalg.solve(C, (C.T @ (A - B @ backup.K)).T)
    drift = float(np.linalg.norm(C.T @ offset[:, 0])) / float(np.sqrt(backup.rho))
    return float(np.linalg.norm(scaled, 2)) + (drift if drift > _ROUNDING else 0.0)


def contraction(plant: Plant, backup: Backup) -> float:
    """Prove that {V ≤ ρ} is invariant under the backup inside all bounds of a linear plant at nominal parameters.

    V decreases along the closed loop (A_cl' P A_cl ≺ P, by a Cholesky factorisation of P) and the level set lies inside
    every state and input bound (closed form), so a state in it stays in it and saturation never acts there. On a
    nonlinear plant the first half is shown for its linearisation only: necessary, and no proof.

    Parameters
    ----------
    plant : Plant
        Discrete.
    backup : Backup
        Gain, P and ρ to be checked.

    Returns
    -------
    float
        The contraction factor max V(x⁺) / V(x) < 1.

    Raises
    ------
    BackupError
        If a shape differs, P is not positive definite, V does not decrease, or the level set leaves a bound.
    """
    if backup.K.shape != (plant.nu, plant.nx) or backup.P.shape != (plant.nx, plant.nx):
        raise BackupError(
            f"K {backup.K.shape} and P {backup.P.shape} do not fit a plant of {plant.nx} states, {plant.nu} inputs"
        )
    if not np.allclose(backup.P, backup.P.T, rtol=1e-9, atol=0.0):
        raise BackupError("P is not symmetric; give (P + P') / 2")
    units = Units.of(plant)
    return _contraction(units.plant(plant), backup.in_units(units))


def _contraction(plant: Plant, backup: Backup) -> float:
    """Prove the same in units in which the plant's numbers are of size one."""
    A, B = plant.linearise()
    level = largest_level(backup.P, *bounds_of(plant, backup.K))
    if not 0 < backup.rho <= level * (1 + 1e-12):
        raise BackupError(f"the level rho = {backup.rho:g} leaves the bounds; the largest inside them is {level:g}")
    if not np.isfinite(backup.rho):
        raise BackupError("no bound limits the level set; give the plant at least one finite bound")
    C = np.linalg.cholesky(backup.P)
    scaled = np.linalg.solve(C, (C.T @ (A - B @ backup.K)).T)  # similar to A_cl in the norm of P
    factor = float(np.linalg.norm(scaled, 2) ** 2)
    if not factor < 1:
        raise BackupError(
            f"V = x'Px grows along the backup's closed loop (factor {factor:.6g}); P is no certificate for this K"
        )
    return factor
