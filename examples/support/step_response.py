"""Step responses and margins of a plant under a controller: what control engineers read off a loop.

A step begins where plant and controller are at rest for another reference, and ends where they are for theirs. Where
the controller has no reference, it meets a plant that is at rest elsewhere, with the input that holds it there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import casadi as ca
import control
import numpy as np
from scipy.optimize import least_squares

from scpo_ctrl import ControllerPolicy, ControlProblem
from scpo_ctrl.errors import DomainError
from scpo_ctrl.report.response import step_info

_AT_REST = 1e-7  # what a loop at rest may move by in a sample, in units of its bounds
_HALVINGS = 40  # of an interval in which the largest step is
_FREQUENCIES = 50_000  # over five decades up to half the sampling frequency
_LARGEST = 60.0  # gain margin [dB] that is told from none


@dataclass(frozen=True)
class Response:
    """A step of one controller."""

    t: np.ndarray  # (N + 1,) [s]
    y: np.ndarray  # (N + 1,) the signal that steps
    x: np.ndarray  # (N + 1, nx) states of the plant
    u: np.ndarray  # (N, nu) inputs as applied
    end: float  # where y comes to rest

    @property
    def info(self) -> tuple[float, float, float]:
        """Rise time from 10 to 90 % [s], overshoot [%], settling time to 2 % [s]; infinite if it does not settle."""
        return step_info(self.t, self.y, self.end)


def step(policy: ControllerPolicy, theta: np.ndarray, start: np.ndarray, samples: int, signal: int) -> Response:
    """Simulate the loop at nominal plant parameters.

    Parameters
    ----------
    policy : ControllerPolicy
    theta : numpy.ndarray, shape (d,)
    start : numpy.ndarray, shape (nx + nm,)
        Plant's state, then the controller's memory.
    samples : int
    signal : int
        The measured signal that is looked at.

    Returns
    -------
    Response
    """
    joined, plant = policy.plant, policy.controlled_plant
    states, inputs = [start], []
    for _ in range(samples):
        inputs.append(policy(states[-1], theta))
        states.append(np.array(joined.function(states[-1], inputs[-1], joined.p_nominal))[:, 0])
    assert plant.dt is not None
    x = np.array(states)[:, : plant.nx]
    show = ca.Function("show", [plant.x, plant.p], [plant.measured[signal]])
    y = np.array(show.map(len(x))(x.T, plant.p_nominal))[0]
    end = float(show(joined.x_eq[: plant.nx], plant.p_nominal))
    return Response(plant.dt * np.arange(samples + 1), y, x, np.array(inputs)[:, : plant.nu], end)


def rest_elsewhere(policy: ControllerPolicy, held: Sequence[int], change: float) -> np.ndarray:
    """Return the state of the loop where it is at rest with one measured signal changed.

    Parameters
    ----------
    policy : ControllerPolicy
        Its references, if any, are those of the signals held, in this order.
    held : sequence of int
        As many measured signals as the plant has inputs: the first is changed, the others stay.
    change : float
        By how much the first one is away from where the loop comes to rest [its unit].

    Returns
    -------
    numpy.ndarray, shape (nx + nm,)

    Raises
    ------
    DomainError
        If plant and controller are not at rest anywhere with that.
    """
    plant, law, joined = policy.controlled_plant, policy.controller, policy.plant
    cuts = np.cumsum([plant.nx, law.memories])
    show = ca.Function("show", [plant.x, plant.p], [plant.measured])
    acts = ca.Function("acts", [law.xi, law.y, law.r, law.theta, law.u], [law.command, law.memory])
    moved = change * np.eye(len(held))[0]
    target = np.array(show(joined.x_eq[: plant.nx], plant.p_nominal))[list(held), 0] + moved
    reference = np.array(policy.reference) + moved[: len(policy.reference)]
    ends = [np.append(getattr(plant, f"x_{end}"), getattr(joined, f"u_{end}")) for end in ("min", "max")]
    unit = (ends[1] - ends[0]) / 2  # of (x, u, ξ)
    unit[~np.isfinite(unit)] = 1.0
    unit = np.concatenate([unit[: plant.nx], unit[plant.nx + plant.nu :], unit[plant.nx : plant.nx + plant.nu]])

    def off(z: np.ndarray) -> np.ndarray:
        x, xi, u = np.split(z * unit, cuts)
        y = np.array(show(x, plant.p_nominal))[:, 0]
        v, following = (np.array(part)[:, 0] for part in acts(xi, y, reference, law.theta_initial, u[: law.u.numel()]))
        moves = np.concatenate([np.array(plant.function(x, u, plant.p_nominal))[:, 0] - x, following - xi])
        asked = (v - u) / unit[cuts[1] :] if reference.size else np.zeros(0)
        return np.concatenate([moves / unit[: cuts[1]], (y[list(held)] - target) / abs(change), asked])

    start = np.concatenate([joined.x_eq, joined.u_eq[: plant.nu]]) / unit
    found = least_squares(off, start, xtol=1e-15, ftol=1e-15, gtol=1e-15)
    if np.abs(found.fun).max() > _AT_REST:
        raise DomainError(f"{joined.name!r} is not at rest with {plant.measured_labels[held[0]]} = {target[0]:g}")
    return (found.x * unit)[: cuts[1]]


def largest_step(problem: ControlProblem, held: Sequence[int], most: float) -> np.ndarray:
    """Return where the largest step begins whose start is in the set that a run has declared.

    Parameters
    ----------
    problem : ControlProblem
        Under a controller; a level or a box is declared.
    held : sequence of int
        As of `rest_elsewhere`.
    most : float
        A change that is too large, with the sign of the step's start [its unit].

    Returns
    -------
    numpy.ndarray, shape (nx + nm,)
    """
    return _farthest(problem, lambda part: rest_elsewhere(_policy(problem), held, part * most))


def largest_error(problem: ControlProblem, state: int, most: float) -> np.ndarray:
    """Return the largest error of one state alone that is in the set that a run has declared.

    Parameters
    ----------
    problem : ControlProblem
    state : int
    most : float
        An error that is too large, with the sign of the one wanted [x_units].

    Returns
    -------
    numpy.ndarray, shape (nx + nm,)
    """
    rest = _policy(problem).plant.x_eq
    return _farthest(problem, lambda part: rest + part * most * np.eye(rest.size)[state])


def _policy(problem: ControlProblem) -> ControllerPolicy:
    assert isinstance(problem.policy, ControllerPolicy)
    return problem.policy


def _farthest(problem: ControlProblem, start_of: Callable[[float], np.ndarray]) -> np.ndarray:
    """Return the last start along a line that the declared set holds."""
    policy, declared = _policy(problem), problem.scenarios.declared
    assert declared is not None
    low, high, best = 0.0, 1.0, policy.plant.x_eq
    for _ in range(_HALVINGS):
        part = (low + high) / 2
        try:
            start = start_of(part)
        except DomainError:  # farther than the plant can be at rest
            high = part
            continue
        away = start - policy.plant.x_eq
        if declared.box is None:
            inside = bool(policy.backup.level(away) <= (declared.level or 0.0) * policy.backup.rho)
        else:
            inside = bool((start >= declared.box[0]).all() and (start <= declared.box[1]).all())
        low, high = (part, high) if inside else (low, part)
        best = start if inside else best
    return best


def margins(loop: control.StateSpace) -> tuple[float, float]:
    """Return the gain margin [dB] and the phase margin [deg] of a stable loop, from its frequency response.

    python-control's come from the roots of polynomials, which several integrators spoil: for a chain of four they are
    off by tens of degrees.

    Parameters
    ----------
    loop : control.StateSpace
        Opened, discrete, as from `opened`.

    Returns
    -------
    gain : float
        Of the changes of gain that make the loop unstable the one nearest to none: below zero where less gain does.
        Infinite where none up to a thousandfold does.
    phase : float
    """
    omega = np.logspace(-5, 0, _FREQUENCIES) * np.pi / loop.dt
    response = loop(np.exp(1j * omega * loop.dt))
    size = np.log(np.abs(response))
    at_one = np.flatnonzero(np.diff(np.sign(size)))
    lag = np.degrees(np.abs(np.angle(-response)))
    at_minus = np.flatnonzero((np.diff(np.sign(response.imag)) != 0) & (response.real[:-1] < 0))
    if response[-1].real < 0:  # where the response ends, at half the sampling frequency, it is real
        at_minus = np.append(at_minus, size.size - 1)
    decibels = -20 / np.log(10) * size[at_minus]
    decibels = decibels[np.abs(decibels) < _LARGEST]
    gain = float(decibels[np.abs(decibels).argmin()]) if decibels.size else np.inf
    return gain, float(lag[at_one].min()) if at_one.size else np.inf


def opened(policy: ControllerPolicy, theta: np.ndarray) -> control.StateSpace:
    """Return the loop opened at the plant's only input, at rest: from the input to the negative of the command.

    Parameters
    ----------
    policy : ControllerPolicy
    theta : numpy.ndarray, shape (d,)

    Returns
    -------
    control.StateSpace
    """
    plant, law, joined = policy.controlled_plant, policy.controller, policy.plant
    if plant.nu != 1:
        raise DomainError(f"plant {plant.name!r} has {plant.nu} inputs; margins are of loops with one")
    show = ca.Function("show", [plant.x, plant.p], [plant.measured])
    acts = ca.Function("acts", [law.xi, law.y, law.r, law.theta, law.u], [law.command, law.memory])
    values = ca.DM(list(policy.parameters(theta).values()))
    x, xi, u = ca.SX.sym("x", plant.nx), ca.SX.sym("xi", law.memories), ca.SX.sym("u")
    y = show(x, plant.p_nominal)
    known = [xi, y, ca.DM(policy.reference), values]
    v, _ = acts(*known, ca.SX.zeros(law.u.numel()))
    _, following = acts(*known, v[: law.u.numel()])  # without saturation, applied is what is commanded
    s = ca.vertcat(x, xi)
    both = ca.vertcat(plant.function(x, u, plant.p_nominal), following)
    parts = [ca.jacobian(both, s), ca.jacobian(both, u), -ca.jacobian(v, s)]
    A, B, C = ca.Function("parts", [s, u], [ca.densify(part) for part in parts])(joined.x_eq, joined.u_eq[0])
    return control.ss(np.array(A), np.array(B), np.array(C), np.zeros((1, 1)), plant.dt)
