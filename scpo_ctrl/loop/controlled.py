"""A plant under a controller of the user's (E10): what it remembers joins the state, what follows of it the command.

The loop's state is s = (x, ξ). Its plant has the inputs (u, m) and says ξ⁺ = m, so that all that depends on θ is one
static law s -> (v, η(ξ, y, r, sat(v); θ)): rollouts, metrics, (E11), levels and audits are then those of any plant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import casadi as ca
import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.errors import BackupError, DimensionError, DomainError
from scpo_ctrl.loop.backup import Backup, largest_held
from scpo_ctrl.loop.controller import Controller
from scpo_ctrl.loop.given import lyapunov
from scpo_ctrl.loop.joined_rest import SMOOTH, at_rest
from scpo_ctrl.loop.level import Ranges
from scpo_ctrl.loop.policy import Policy
from scpo_ctrl.loop.references import checked_references, references, with_references
from scpo_ctrl.models import Plant
from scpo_ctrl.models.plant import check_discrete
from scpo_ctrl.models.signals import Signal
from scpo_ctrl.models.units import Units
from scpo_ctrl.models.varying import signal_count
from scpo_ctrl.sealed import Sealed, as_instance
from scpo_ctrl.shown import Entries, Shown, titled
from scpo_ctrl.validate import as_array, as_stack

_POINTS = 64  # of the level set, at which it is seen what a parameter does to the command
_SATURATED = 0  # the other result of the law


@dataclass(frozen=True, eq=False, repr=False)
class ControllerPolicy(Shown, Sealed, instead="give controlled() another Controller"):
    """The policy of a plant under a controller; `controlled` makes it.

    Its θ counts changes of the controller's parameters, each in the unit that moves the command by one half width of
    its bounds somewhere on the boundary of the backup's level set: zero is the controller as it runs today.

    Attributes
    ----------
    plant : Plant
        Of the loop: states (x, ξ), inputs (u, m).
    backup : Backup
        The controller at θ = 0: its gain at rest, and the level set that the loop holds.
    controller : Controller
        As it was given.
    reference : tuple of float, shape (nr,)
        References [r_units]; of those that vary what they are at first.
    scale : tuple of float, shape (d,)
        What one of each parameter is [theta_units].
    law : casadi.Function
        ``(s, p, θ) -> (v, m)`` as the loop applies it, and with m as if nothing were cut.
    controlled_plant : Plant
        Without what the controller remembers, and without references among its parameters.
    signals : dict of str to Signal
        References that vary over time, by label.

    Examples
    --------
    >>> import scpo_ctrl as sc
    >>> from scpo_ctrl.controllers import pid
    >>> from scpo_ctrl.models import dc_motor
    >>> motor = dc_motor()
    >>> loop = sc.controlled(motor, pid(motor, kp=1.0, ki=2.0, kd=0.02, filter_time=2e-3))
    >>> loop.parameters(loop.theta_initial(seed=0))
    {'kp': 1.0, 'ki': 2.0, 'kd': 0.02}
    """

    plant: Plant
    backup: Backup
    controller: Controller
    reference: tuple[float, ...]
    scale: tuple[float, ...]
    law: ca.Function
    controlled_plant: Plant
    signals: Mapping[str, Signal] = field(default_factory=dict)

    @property
    def theta_dim(self) -> int:
        """Number of parameters d."""
        return self.controller.theta_dim

    def theta_initial(self, seed: int) -> np.ndarray:
        """Return zeros: the controller as it runs today.

        Parameters
        ----------
        seed : int
            Without meaning here.

        Returns
        -------
        numpy.ndarray, shape (d,)
        """
        return np.zeros(self.theta_dim)

    @property
    def references(self) -> ca.SX:
        """The references as expressions of the parameters of `plant`, shape (nr, 1)."""
        return references(self.plant, self.controller, np.array(self.reference), self.signals)

    @property
    def reference_by_label(self) -> Mapping[str, Signal | float]:
        """Each reference: its value, or the signal that it is."""
        return dict(zip(self.controller.r_labels, self.reference, strict=True)) | dict(self.signals)

    def parameters(self, theta: ArrayLike) -> dict[str, float]:
        """Return the controller's own parameters.

        Parameters
        ----------
        theta : array_like, shape (d,)
            Of the policy, such as `Result.theta`.

        Returns
        -------
        dict of str to float
            By label [theta_units].
        """
        theta = as_array("theta", theta, (self.theta_dim,))
        values = self.controller.theta_initial + np.array(self.scale) * theta
        return dict(zip(self.controller.theta_labels, values.tolist(), strict=True))

    def command(self, x: ca.SX, theta: ca.SX, p: ca.SX | None = None, *, saturated: bool = False) -> ca.SX:
        """Return the expression of the command before saturation, and of the memory that follows.

        Parameters
        ----------
        x : casadi.SX, shape (nx, 1)
            State of the loop.
        theta : casadi.SX, shape (d, 1)
        p : casadi.SX, shape (np, 1), optional
            Plant parameters; nominal by default.
        saturated : bool
            Whether the memory sees the input cut to its bounds.

        Returns
        -------
        casadi.SX, shape (nu + nm, 1)
        """
        at = ca.DM(self.plant.p_nominal) if p is None else p
        return self.law(x, at, theta)[_SATURATED if saturated else SMOOTH]

    def saturate(self, command: ca.SX) -> ca.SX:
        """Return the command, and the memory, cut to their bounds.

        Parameters
        ----------
        command : casadi.SX, shape (nu + nm, 1)

        Returns
        -------
        casadi.SX, shape (nu + nm, 1)
        """
        return ca.fmin(ca.fmax(command, ca.DM(self.plant.u_min)), ca.DM(self.plant.u_max))

    @cached_property
    def at_start(self) -> ca.Function:
        """The CasADi function ``(s, p) -> (v, m)`` of the backup, nothing cut."""
        s, p = ca.SX.sym("s", self.plant.nx), ca.SX.sym("p", self.plant.npar)
        return ca.Function("at_start", [s, p], [self.law(s, p, ca.DM.zeros(self.theta_dim))[SMOOTH]])

    def in_units(self, units: Units) -> ControllerPolicy:
        """Return the policy of the same θ for the plant in other units.

        Parameters
        ----------
        units : Units

        Returns
        -------
        ControllerPolicy
        """
        s, p = ca.SX.sym("s", self.plant.nx), ca.SX.sym("p", self.plant.npar)
        theta = ca.SX.sym("theta", self.theta_dim)
        scaled = [part / ca.DM(units.u) for part in self.law(ca.DM(units.x) * s, p, theta)]
        law = ca.Function("law", [s, p, theta], scaled)
        return replace(self, plant=units.plant(self.plant), backup=self.backup.in_units(units), law=law)

    def __call__(self, x: ArrayLike, theta: ArrayLike) -> np.ndarray:
        """Return the input, and the memory that follows, for stacks of states of the loop.

        Parameters
        ----------
        x : array_like, shape (..., nx)
            States (x, ξ).
        theta : array_like, shape (d,)

        Returns
        -------
        numpy.ndarray, shape (..., nu + nm)

        Raises
        ------
        DimensionError
            If a last axis has the wrong length.
        """
        x, theta = as_stack("x", x), as_array("theta", theta, (self.theta_dim,))
        if x.shape[-1:] != (self.plant.nx,):
            raise DimensionError(f"x has shape {x.shape}, expected (..., {self.plant.nx}): states, then memories")
        if not x.size:
            return np.zeros((*x.shape[:-1], self.plant.nu))
        states = x.reshape(-1, self.plant.nx).T
        found = np.array(self.law(states, np.tile(self.plant.p_nominal[:, None], states.shape[1]), theta)[_SATURATED])
        cut = np.clip(found, self.plant.u_min[:, None], self.plant.u_max[:, None])
        return np.asarray(cut.T.reshape(*x.shape[:-1], self.plant.nu))

    def _shown(self) -> tuple[str, Entries]:
        rows = self.controller.shown_rows(self.controller.theta_initial)
        held = [("level set", titled(self.backup)), ("invariance", f"of the backup, {self.backup.in_words}")]
        return f"{self.controller.name} on {self.controlled_plant.name}", [*rows, *held]


LoopPolicy = Policy | ControllerPolicy


def residual_policy(policy: LoopPolicy, what: str) -> Policy:
    """Return the policy where it is a residual on a backup, which something needs.

    Parameters
    ----------
    policy : Policy or ControllerPolicy
    what : str
        What needs it, for the message.

    Returns
    -------
    Policy

    Raises
    ------
    DomainError
        If it is the law of a controller.
    """
    if isinstance(policy, Policy):
        return policy
    raise DomainError(
        f"{what} knows residual policies on state feedback only, and this loop is under controller "
        f"{policy.controller.name!r}; adapt it with `adapt`, and take its numbers from parameters of result.json"
    )


def controlled(
    plant: Plant,
    controller: Controller,
    *,
    reference: ArrayLike | Mapping[str, Signal | float] | None = None,
    parameters: Ranges | None = None,
    rho: float | None = None,
) -> ControllerPolicy:
    """Put a plant under a controller, and find the level set that the loop holds as it runs today.

    V is of the discrete Lyapunov equation of the linearised loop, in units of the bounds.

    Parameters
    ----------
    plant : Plant
        Discrete.
    controller : Controller
        As it was given.
    reference : array_like, shape (nr,), or mapping of str to Signal or float, optional
        Constant references r [units of what they are for]; the controller's nominal ones by default. By label they may
        be signals: then `plant` has them among its parameters, the loop's equilibrium and level set are about what they
        are at first, and contraction is about where they end.
    parameters : mapping of str to (low, high), optional
        Ranges of plant parameters by label [p_units] over which the loop is simulated where it is nonlinear. Where no
        level holds over them, it is the one that holds at nominal parameters: `Backup.evidence` then is "refuted".
    rho : float, optional
        The level, instead of the largest one that holds; it is checked all the same.

    Returns
    -------
    ControllerPolicy

    Raises
    ------
    DimensionError
        If the controller does not fit the plant, or the reference the controller.
    DomainError
        If the law has no finite value or derivative at the plant's equilibrium, or a parameter changes no command.
    UnsafeStartError
        If the loop does not come to rest, or is not stable there.
    BackupError
        If the plant is continuous, or no level holds.

    Examples
    --------
    >>> import scpo_ctrl as sc
    >>> from scpo_ctrl.controllers import pid
    >>> from scpo_ctrl.models import dc_motor
    >>> motor = dc_motor()
    >>> loop = sc.controlled(motor, pid(motor, kp=1.0, ki=2.0, kd=0.02, filter_time=2e-3))
    >>> loop.plant.x_labels
    ('position', 'speed', 'integral', 'filtered position')
    """
    as_instance("plant", plant, Plant)
    as_instance("controller", controller, Controller)
    check_discrete(plant, BackupError)
    r, signals = checked_references(plant, controller, reference)
    alone, plant = plant, with_references(plant, controller, signals)
    joined, law = _joined(plant, controller, references(plant, controller, r, signals))
    joined = at_rest(joined, law, controller)
    gain = -np.array(_jacobian(joined, law)(joined.x_eq, joined.p_nominal))
    units = Units.of(joined)
    with np.errstate(over="ignore"):
        inner, K = units.plant(joined), gain * units.x / units.u[:, None]
    unknown, ones = Backup(gain, np.eye(joined.nx), 1.0), (1.0,) * controller.theta_dim
    policy = ControllerPolicy(joined, unknown, controller, tuple(r.tolist()), ones, law, alone, signals)
    start = None if _is_affine(policy) else policy.in_units(units).at_start
    backup = largest_held(inner, K, lyapunov(inner, K), parameters, rho=rho, law=start, or_nominal=True)
    policy = replace(policy, backup=backup.in_units(Units(1 / units.x, 1 / units.u)))
    scale = _scale(policy)
    s, p, theta = (ca.SX.sym(name, size) for name, size in (("s", joined.nx), ("p", joined.npar), ("t", scale.size)))
    return replace(
        policy, scale=tuple(scale.tolist()), law=ca.Function("law", [s, p, theta], law(s, p, ca.DM(scale) * theta))
    )


def _joined(plant: Plant, controller: Controller, r: ca.SX) -> tuple[Plant, ca.Function]:
    """Return the loop's plant, at rest where the plant is, and its law (s, p, Δθ) -> (v, m), twice: see `law`."""
    nm = controller.memories
    xi, m = ca.SX.sym("xi", nm), ca.SX.sym("m", nm)
    s, theta = ca.vertcat(plant.x, xi), ca.SX.sym("theta", controller.theta_dim)
    given = [controller.xi, controller.y, controller.r, controller.theta]
    values = [xi, plant.measured, r, ca.DM(controller.theta_initial) + theta]
    kappa = ca.Function("kappa", given, [controller.command])(*values)
    eta = ca.Function("eta", [*given, controller.u], [controller.memory])
    cut = ca.fmin(ca.fmax(kappa, ca.DM(plant.u_min)), ca.DM(plant.u_max))
    use = bool(controller.u.numel())
    laws = [ca.vertcat(kappa, eta(*values, u if use else ca.SX(0, 1))) for u in (cut, kappa)]
    labels = {
        f"x_{key}": (*getattr(plant, f"x_{key}"), *getattr(controller, f"memory_{key}")) for key in ("labels", "units")
    } | {
        "u_labels": (*plant.u_labels, *(f"next {label}" for label in controller.memory_labels)),
        "u_units": (*plant.u_units, *controller.memory_units),
    }  # fmt: skip
    both = plant.replace(
        name=f"{plant.name} under {controller.name}",
        x=s,
        u=ca.vertcat(plant.u, m),
        f=ca.vertcat(plant.f, m),
        x_min=np.append(plant.x_min, np.full(nm, -np.inf)),
        x_max=np.append(plant.x_max, np.full(nm, np.inf)),
        u_min=np.append(plant.u_min, controller.memory_min),
        u_max=np.append(plant.u_max, controller.memory_max),
        x_eq=np.append(plant.x_eq, controller.memory_initial),
        u_eq=np.append(plant.u_eq, controller.memory_initial),
        **labels,
    )
    return both, ca.Function("law", [s, plant.p, theta], laws)


def _jacobian(joined: Plant, law: ca.Function) -> ca.Function:
    """(s, p) -> derivative of the command of the backup by the state."""
    s, p = ca.SX.sym("s", joined.nx), ca.SX.sym("p", joined.npar)
    command = law(s, p, ca.DM.zeros(law.numel_in(2)))[SMOOTH]
    return ca.Function("gain", [s, p], [ca.densify(ca.jacobian(command, s))])


def _is_affine(policy: ControllerPolicy) -> bool:
    """Whether the backup commands u_eq - K (s - s_eq), whatever p is, as long as nothing is cut."""
    s, p = ca.SX.sym("s", policy.plant.nx), ca.SX.sym("p", policy.plant.npar)
    first = p.numel() - signal_count(policy.plant)  # what varies is at first what the level set is about
    command = policy.at_start(s, ca.vertcat(p[:first], ca.DM(policy.plant.p_nominal[first:])))
    slope = ca.simplify(ca.jacobian(command, ca.vertcat(s, p)))
    return not ca.depends_on(slope, ca.vertcat(s, p)) and not ca.depends_on(command, p)


def _scale(policy: ControllerPolicy) -> np.ndarray:
    """Return how far each parameter must change to move the command by half its bounds on the level set, at most."""
    plant, (unit, root) = policy.plant, policy.backup.shape
    s, p, theta = (ca.SX.sym(n, k) for n, k in (("s", plant.nx), ("p", plant.npar), ("t", policy.theta_dim)))
    slope = ca.Function("slope", [s, p, theta], [ca.densify(ca.jacobian(policy.law(s, p, theta)[SMOOTH], theta))])
    directions = np.random.default_rng(0).normal(size=(_POINTS, plant.nx))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    half = (plant.u_max - plant.u_min) / 2
    moved = np.zeros(policy.theta_dim)
    for point in plant.x_eq + unit * (directions @ root.T):
        at = np.abs(np.array(slope(point, plant.p_nominal, np.zeros(policy.theta_dim)))) / half[:, None]
        moved = np.maximum(moved, np.nan_to_num(at, nan=0.0, posinf=0.0).max(axis=0))
    still = np.flatnonzero(moved == 0)
    if still.size:
        label = policy.controller.theta_labels[still[0]]
        raise DomainError(
            f"parameter {label} of controller {policy.controller.name!r} changes no command on the level set that the "
            "loop holds; leave it out"
        )
    return 1 / moved
