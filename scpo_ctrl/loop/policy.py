"""Parametric policies: a residual on the backup that is zero at the start, π(x; θ) = sat(u_backup(x) + φ_θ(x))."""

import itertools
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import casadi as ca
import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.doors import array, checked, stack
from scpo_ctrl.errors import DimensionError, DomainError
from scpo_ctrl.loop.backup import Backup
from scpo_ctrl.loop.sizes import check_policy
from scpo_ctrl.messages import shown
from scpo_ctrl.models import Plant
from scpo_ctrl.models.units import Units
from scpo_ctrl.sealed import Sealed, as_instance
from scpo_ctrl.shown import Entries, Shown, titled
from scpo_ctrl.validate import as_array, as_count, as_flag, as_lists, as_scalar, as_stack, dimensions

_REACH = 3.0  # of the level set in units of the scale: there a network is curved, and tanh not yet flat
_SLOPE, _STEEPEST = 2.0, 0.8  # of a unit at a bound z_b: tanh(slope (z_i / z_b - steepest))
_DIGITS = 9  # of how near a bound is
_NEAR = 0.5  # a bound has a unit if the backup's level set reaches at least this part of the way to it


def layer_widths(hidden: Any) -> tuple[int, ...]:
    """Return the widths of hidden layers; a number is one layer.

    Parameters
    ----------
    hidden : int or sequence of int

    Returns
    -------
    tuple of int

    Raises
    ------
    DomainError
        If it is neither, or a width is below 1.
    """
    if isinstance(hidden, (int, np.integer)) and not isinstance(hidden, bool):
        hidden = (hidden,)
    hidden = as_lists("hidden", hidden)
    if not isinstance(hidden, (list, tuple)):
        raise DomainError(f"hidden is {shown(hidden)}, expected a list of layer widths such as [12]")
    return tuple(as_count(f"hidden[{i}]", width, at_least=1) for i, width in enumerate(hidden))


def layers_of(theta: np.ndarray, widths: tuple[int, ...]) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """Return the matrices and offsets that θ stacks, as views of it.

    Parameters
    ----------
    theta : numpy.ndarray, shape (..., d)
    widths : tuple of int
        Of the layers, from the state to the input.

    Returns
    -------
    hidden : list of (W, b)
        Of each hidden layer, shapes (..., out, in) and (..., out).
    output : numpy.ndarray, shape (..., nu, width)
    """
    hidden, start, lead = [], 0, theta.shape[:-1]
    for last, width in itertools.pairwise(widths[:-1]):
        W = theta[..., start : start + width * last].reshape(*lead, width, last)
        hidden.append((W, theta[..., start + width * last : start + width * (last + 1)]))
        start += width * (last + 1)
    return hidden, theta[..., start:].reshape(*lead, widths[-1], widths[-2])


@dataclass(frozen=True, eq=False, repr=False)
class Policy(Shown, Sealed, instead="for another controller write a Problem subclass or a FunctionProblem"):
    """π(x; θ) = sat(u_eq - K z + input_scale φ_θ(z / scale)), z = x - x_eq, entry by entry.

    ``hidden = ()`` is the linear residual φ(y) = Θ y. Otherwise φ(y) = W (a(y) - a(0)) with a tanh network a of the
    given layer widths, so φ(0) = 0 for every θ (the equilibrium stays one) and φ = 0 while W = 0 (the safe start).
    θ stacks, each matrix row by row: W_1, b_1, …, W_k, b_k, W. Its entries have no unit: the scales have them.

    An optimal policy bends where a state meets its bound, and a network that starts without a unit there may never get
    one (docs/method.md). So with `at_bounds` a unit of the first layer starts at each bound that the backup's level set
    comes near, the nearest first, up to half of the units.

    Parameters
    ----------
    plant : Plant
        The plant.
    backup : Backup
        Its backup, which the policy is at the start.
    hidden : tuple of int, optional
        Widths of the hidden layers; none for the linear residual.
    init : float, optional
        Standard deviation of the hidden weights and biases at the start.
    scale : array_like, shape (nx,), optional
        What z is divided by [x_units]; if empty, the extent of the level set / 3.
    at_bounds : bool, optional
        Whether some hidden units start at the state bounds.
    input_scale : array_like, shape (nu,), optional
        What φ is multiplied by [u_units]; if empty, half the bounds' width.

    Examples
    --------
    >>> import scpo_ctrl as sc
    >>> from scpo_ctrl.models import double_integrator
    >>> plant = double_integrator()
    >>> policy = sc.Policy(plant, sc.lqr(plant, Q=[0.1, 0.1], R=[10.0]), hidden=(4,))
    >>> policy.theta_dim
    16
    >>> policy([1.0, 0.0], policy.theta_initial(seed=0))  # the backup
    array([-0.09773481])
    """

    plant: Plant
    backup: Backup
    hidden: tuple[int, ...] = ()
    init: float = 0.5
    scale: tuple[float, ...] = field(default=())
    at_bounds: bool = True
    input_scale: tuple[float, ...] = field(default=())

    def __post_init__(self) -> None:
        as_instance("plant", self.plant, Plant)
        as_instance("backup", self.backup, Backup)
        put = object.__setattr__
        put(self, "hidden", layer_widths(self.hidden))
        check_policy(self.hidden, self.theta_dim)
        put(self, "init", as_scalar("init", self.init, at_least=0.0))
        put(self, "at_bounds", as_flag("at_bounds", self.at_bounds))
        for key, size in (("scale", self.plant.nx), ("input_scale", self.plant.nu)):
            given = getattr(self, key)
            empty = dimensions(given) == 1 and len(given) == 0
            scale = as_array(key, self._default_scale(key) if empty else given, (size,))
            if (scale <= 0).any():
                raise DomainError(f"{key} is {shown(scale)}, expected positive numbers")
            put(self, key, tuple(scale.tolist()))

    def _default_scale(self, key: str) -> np.ndarray:
        """Return what a scale is that was not given."""
        if key == "scale":
            return self.backup.extent / _REACH
        return np.asarray((self.plant.u_max - self.plant.u_min) / 2)

    @property
    def kind(self) -> str:
        """The name in a problem file."""
        return "mlp" if self.hidden else "linear"

    @property
    def widths(self) -> tuple[int, ...]:
        """Layer widths from the state to the input."""
        return (self.plant.nx, *self.hidden, self.plant.nu)

    @property
    def theta_dim(self) -> int:
        """Number of parameters d."""
        widths = self.widths
        return sum(a * b for a, b in itertools.pairwise(widths)) + sum(self.hidden)

    def theta_initial(self, seed: int) -> np.ndarray:
        """Return parameters with zero residual: hidden units at bounds, the rest drawn from N(0, init²), W zero.

        Parameters
        ----------
        seed : int
            Of the random generator.

        Returns
        -------
        numpy.ndarray, shape (d,)
        """
        theta = np.random.default_rng(as_count("seed", seed)).normal(0.0, self.init, self.theta_dim)
        theta[self.theta_dim - self.widths[-2] * self.plant.nu :] = 0.0
        if self.hidden and self.at_bounds:
            (W, b), *_ = layers_of(theta, self.widths)[0]  # views
            for unit, (i, bound) in enumerate(self._near_bounds()[: self.hidden[0] // 2]):
                W[unit], b[unit] = 0.0, -_SLOPE * _STEEPEST
                W[unit, i] = _SLOPE / bound
        return theta

    def _near_bounds(self) -> list[tuple[int, float]]:
        """Return the state bounds that the level set comes near, nearest first: (i, bound of z_i / scale_i)."""
        z_max, z_min = self.plant.x_max - self.plant.x_eq, self.plant.x_min - self.plant.x_eq
        near = []
        for i, extent in enumerate(self.backup.extent):
            for z in (z_max, z_min):
                part = round(float(extent / abs(z[i])), _DIGITS)  # rounding must not decide what is nearer
                near += [(part, i, float(z[i] / self.scale[i]))] if part >= _NEAR else []
        return [(i, bound) for _, i, bound in sorted(near, key=lambda one: -one[0])]

    def in_units(self, units: Units) -> "Policy":
        """Return the policy of the same θ for the plant in other units.

        Parameters
        ----------
        units : Units

        Returns
        -------
        Policy
        """
        plant, backup = units.plant(self.plant), self.backup.in_units(units)
        scale, input_scale = np.array(self.scale) / units.x, np.array(self.input_scale) / units.u
        return replace(self, plant=plant, backup=backup, scale=tuple(scale), input_scale=tuple(input_scale))

    def residual(self, x: ca.SX, theta: ca.SX) -> ca.SX:
        """Return the expression of what is added to the backup's command.

        Parameters
        ----------
        x : casadi.SX, shape (nx, 1)
        theta : casadi.SX, shape (d, 1)

        Returns
        -------
        casadi.SX, shape (nu, 1)
        """
        z = (x - ca.DM(self.plant.x_eq)) / ca.DM(self.scale)
        at_zero = ca.SX.zeros(self.plant.nx, 1)
        start = 0
        for width, last in zip(self.hidden, self.widths, strict=False):
            W = ca.reshape(theta[start : start + width * last], last, width).T
            b = theta[start + width * last : start + width * (last + 1)]
            z, at_zero = ca.tanh(W @ z + b), ca.tanh(W @ at_zero + b)
            start += width * (last + 1)
        W = ca.reshape(theta[start:], self.widths[-2], self.plant.nu).T
        return ca.DM(self.input_scale) * (W @ (z - at_zero))

    @property
    def at_start(self) -> None:
        """The backup's law where it is not u_eq - K z: never."""
        return None

    def command(self, x: ca.SX, theta: ca.SX, p: ca.SX | None = None, *, saturated: bool = False) -> ca.SX:
        """Return the expression of the command before saturation.

        Parameters
        ----------
        x : casadi.SX, shape (nx, 1)
        theta : casadi.SX, shape (d, 1)
        p : casadi.SX, shape (np, 1), optional
            Plant parameters, which state feedback does not know.
        saturated : bool
            Without meaning for a policy without memory.

        Returns
        -------
        casadi.SX, shape (nu, 1)
        """
        z = x - ca.DM(self.plant.x_eq)
        return ca.DM(self.plant.u_eq) - ca.DM(self.backup.K) @ z + self.residual(x, theta)

    @checked(
        x=lambda self, name, value: stack(name, value, self.plant.nx),
        thetas=lambda self, name, value: array(name, value, (None, self.theta_dim)),
    )
    def commands(self, x: np.ndarray, thetas: np.ndarray) -> np.ndarray:
        """Return commands before saturation in numpy, every θ at its own states.

        Parameters
        ----------
        x : numpy.ndarray, shape (K, S, nx)
        thetas : numpy.ndarray, shape (K, d)

        Returns
        -------
        numpy.ndarray, shape (K, S, nu)
        """
        z = x - self.plant.x_eq
        layer, at_zero = z / np.array(self.scale), np.zeros((len(thetas), 1, self.plant.nx))
        hidden, output = layers_of(thetas, self.widths)
        for W, b in hidden:
            layer, at_zero = (np.tanh(a @ W.swapaxes(1, 2) + b[:, None]) for a in (layer, at_zero))
        residual = (layer - at_zero) @ output.swapaxes(1, 2) * np.array(self.input_scale)
        return np.asarray(self.plant.u_eq - z @ self.backup.K.T + residual)

    def saturate(self, command: ca.SX) -> ca.SX:
        """Return the command cut to the input bounds.

        Parameters
        ----------
        command : casadi.SX, shape (nu, 1)

        Returns
        -------
        casadi.SX, shape (nu, 1)
        """
        return ca.fmin(ca.fmax(command, ca.DM(self.plant.u_min)), ca.DM(self.plant.u_max))

    @cached_property
    def function(self) -> ca.Function:
        """The CasADi function ``(x, theta) -> (u, command)``."""
        x, theta = ca.SX.sym("x", self.plant.nx), ca.SX.sym("theta", self.theta_dim)
        command = self.command(x, theta)
        return ca.Function("policy", [x, theta], [self.saturate(command), command], ["x", "theta"], ["u", "command"])

    def __call__(self, x: ArrayLike, theta: ArrayLike) -> np.ndarray:
        """Return the input for stacks of states and parameters.

        Parameters
        ----------
        x : array_like, shape (..., nx)
        theta : array_like, shape (..., d)
            The leading axes of both broadcast.

        Returns
        -------
        numpy.ndarray, shape (..., nu)

        Raises
        ------
        DimensionError
            If a last axis has the wrong length or the leading axes do not broadcast.
        """
        x, theta = as_stack("x", x), as_stack("theta", theta)
        if x.shape[-1:] != (self.plant.nx,) or theta.shape[-1:] != (self.theta_dim,):
            raise DimensionError(
                f"x has shape {x.shape} and theta {theta.shape}, expected (..., {self.plant.nx}) and "
                f"(..., {self.theta_dim})"
            )
        try:
            lead = np.broadcast_shapes(x.shape[:-1], theta.shape[:-1])
        except ValueError as error:
            raise DimensionError(f"the leading axes of x {x.shape} and theta {theta.shape} do not broadcast") from error
        columns = [
            np.broadcast_to(a, (*lead, a.shape[-1])).reshape(-1, a.shape[-1]).T if a.ndim > 1 else a for a in (x, theta)
        ]
        if not lead:
            return np.array(self.function(*columns)[0])[:, 0]
        count = int(np.prod(lead))
        if count == 0:
            return np.zeros((*lead, self.plant.nu))
        u = self.function.map(count)(*columns)[0]
        return np.array(u).T.reshape(*lead, self.plant.nu)

    def _shown(self) -> tuple[str, Entries]:
        title = f"{self.kind} {'-'.join(map(str, self.widths))} on {self.plant.name}"
        rows = [("parameters", str(self.theta_dim)), ("start", f"the backup, {titled(self.backup)}")]
        return title, rows
