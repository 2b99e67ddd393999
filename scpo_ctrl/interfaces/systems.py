"""Adapted loops and controllers as nonlinear systems of python-control, with the names of their signals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import casadi as ca
import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.errors import DomainError
from scpo_ctrl.loop.controlled import ControllerPolicy, LoopPolicy
from scpo_ctrl.loop.numeric import plant_alone
from scpo_ctrl.loop.policy import Policy
from scpo_ctrl.models.statespace import output_names
from scpo_ctrl.models.varying import first_varying, parameters_over_time
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.validate import as_array, as_flag

if TYPE_CHECKING:
    import control  # takes a second, and most of the package does without


@dataclass(frozen=True)
class _Law:
    """A policy as it runs on its device: what it measures, is given and remembers, and what follows."""

    function: ca.Function  # (ξ, y, r) -> (u, ξ⁺), both within their bounds
    measured: tuple[str, ...]  # names
    memories: tuple[str, ...]
    references: tuple[str, ...]  # that are inputs

    @property
    def inputs(self) -> list[str]:
        """Names of measured signals, then of references that are inputs."""
        return [*self.measured, *self.references]


class _Parameters:
    """Plant parameters and references of a loop at a time."""

    def __init__(self, policy: LoopPolicy) -> None:
        self._plant = policy.plant
        alone = plant_alone(policy).p_labels
        self._which = [self._plant.p_labels.index(label) for label in alone]
        r = policy.references if isinstance(policy, ControllerPolicy) else ca.SX(0, 1)
        self._r = ca.Function("r", [self._plant.p], [r])
        still = first_varying(self._plant)  # what varies is not given
        labels, values = self._plant.p_labels[:still], self._plant.p_nominal[:still].tolist()
        self.nominal = dict(zip(labels, values, strict=True))

    def __call__(self, t: float, params: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """Return plant parameters (np,) and references (nr,); python-control's own parameters are by name."""
        unknown, plant = sorted(set(params) - set(self.nominal)), self._plant
        if unknown:
            known = ", ".join(self.nominal)
            raise DomainError(f"params has {unknown[0]!r}, and plant {plant.name!r} the parameters {known}")
        p = plant.p_nominal.copy()
        p[: len(self.nominal)] = as_array("params", [*(self.nominal | params).values()], (len(self.nominal),))
        k = round(t / (plant.dt or 1.0))
        now = parameters_over_time(plant, p[None], k)[0, k]
        return now[self._which], np.array(self._r(now)).reshape(-1)


def closed_loop(
    policy: LoopPolicy, theta: ArrayLike, *, reference: bool = False, disturbance: bool = True
) -> control.NonlinearIOSystem:
    """Return the loop of a plant and an adapted policy as a system of python-control.

    Simulated by ``control.input_output_response`` it takes the steps that rollouts take: command and memory are cut to
    their bounds. Plant parameters are the parameters of the system, by label, nominal by default; so are the numbers of
    signals that are drawn, and what varies does so from t = 0 on.

    Parameters
    ----------
    policy : Policy or ControllerPolicy
    theta : array_like, shape (d,)
        Such as ``result.theta``.
    reference : bool
        Whether the references of a controller are inputs (named as they are) [r_units]; otherwise they are constant,
        as the policy has them.
    disturbance : bool
        Whether what is added to each next state of the plant is an input, named ``w_`` and the state [x_units].

    Returns
    -------
    control.NonlinearIOSystem
        Discrete. States are the plant's, then what the controller remembers; outputs what sensors show, named as in
        `to_statespace`, then the applied inputs.

    Raises
    ------
    DimensionError, DomainError
        If theta does not fit, or references are asked for that the policy does not have.

    Examples
    --------
    After the example of `adapt`:

    >>> import control
    >>> loop = sc.closed_loop(policy, result.theta, disturbance=False)
    >>> loop.nstates
    2
    """
    law = _law(policy, theta, reference=reference)
    plant, with_w = plant_alone(policy), as_flag("disturbance", disturbance)
    nx, nr = plant.nx, len(law.references)
    x, xi, p = plant.x, ca.SX.sym("xi", len(law.memories)), plant.p
    r, w = ca.SX.sym("r", law.function.numel_in(2)), ca.SX.sym("w", nx if with_w else 0)
    u, following = law.function(xi, plant.measured if isinstance(policy, ControllerPolicy) else x, r)
    x_next = ca.substitute(plant.f, plant.u, u) + (w if with_w else 0)
    step = ca.Function("step", [x, xi, p, r, w], [ca.vertcat(x_next, following), ca.vertcat(plant.measured, u)])

    now = _Parameters(policy)

    def evaluate(t: float, state: np.ndarray, given: np.ndarray, params: dict[str, Any], which: int) -> np.ndarray:
        at, own = now(t, params)
        own = given[:nr] if law.references else own
        return np.array(step(state[:nx], state[nx:], at, own, given[nr:])[which])[:, 0]

    return _system(
        f"{plant.name} under {_name(policy)}",
        lambda t, state, given, params: evaluate(t, state, given, params, 0),
        lambda t, state, given, params: evaluate(t, state, given, params, 1),
        dt=plant.dt,
        inputs=[*law.references, *(f"w_{label}" for label in plant.x_labels if with_w)],
        outputs=[*output_names(plant), *plant.u_labels],
        states=[*plant.x_labels, *law.memories],
        params=now.nominal,
    )


def controller_system(policy: LoopPolicy, theta: ArrayLike, *, reference: bool = False) -> control.NonlinearIOSystem:
    """Return an adapted policy alone, to be wired to a plant of the user's.

    ``control.interconnect`` connects signals of the same name: its inputs are named as outputs of `to_statespace`, its
    outputs as the plant's inputs.

    Parameters
    ----------
    policy : Policy or ControllerPolicy
    theta : array_like, shape (d,)
        Such as ``result.theta``.
    reference : bool
        Whether the references of a controller are inputs, after what it measures, as in `closed_loop`.

    Returns
    -------
    control.NonlinearIOSystem
        Discrete, with memory cut to its bounds; outputs are the inputs that are applied.

    Raises
    ------
    DimensionError, DomainError
        As of `closed_loop`.

    Examples
    --------
    After the example of `adapt`:

    >>> system = sc.controller_system(policy, result.theta)
    >>> system.input_labels, system.output_labels
    (['y_position', 'y_velocity'], ['force'])
    """
    law = _law(policy, theta, reference=reference)
    plant, ny = plant_alone(policy), len(law.measured)

    now = _Parameters(policy)

    def evaluate(t: float, state: np.ndarray, given: np.ndarray, which: int) -> np.ndarray:
        r = given[ny:] if law.references else now(t, {})[1]
        return np.array(law.function(state, given[:ny], r)[which])[:, 0]

    return _system(
        _name(policy),
        lambda t, state, given, params: evaluate(t, state, given, 1),
        lambda t, state, given, params: evaluate(t, state, given, 0),
        dt=plant.dt,
        inputs=law.inputs,
        outputs=list(plant.u_labels),
        states=list(law.memories),
        params={},
    )


def _law(policy: LoopPolicy, theta: ArrayLike, *, reference: bool) -> _Law:
    """Return the law of a policy with its parameters."""
    as_instance("policy", policy, Policy, ControllerPolicy)
    values, with_r = as_array("theta", theta, (policy.theta_dim,)), as_flag("reference", reference)
    plant = plant_alone(policy)
    if isinstance(policy, Policy):
        if with_r:
            raise DomainError("reference is True, and a residual policy has no references; leave it out")
        x, none = ca.SX.sym("x", plant.nx), ca.SX.sym("none", 0)
        u = policy.saturate(policy.command(x, ca.DM(values)))
        states = tuple(f"y_{label}" for label in plant.x_labels)  # which it sees, whatever sensors show
        return _Law(ca.Function("law", [none, x, none], [u, none]), states, (), ())
    of = policy.controller
    if with_r and not of.r.numel():
        raise DomainError(f"reference is True, and controller {of.name!r} has no references; leave it out")
    own = ca.DM(of.theta_initial + np.array(policy.scale) * values)
    command, memory = ca.substitute([of.command, of.memory], [of.theta], [ca.SX(own)])
    u = _cut(command, plant.u_min, plant.u_max)
    if of.u.numel():
        memory = ca.substitute(memory, of.u, u)
    law = ca.Function("law", [of.xi, of.y, of.r], [u, _cut(memory, of.memory_min, of.memory_max)])
    return _Law(law, tuple(output_names(plant)), of.memory_labels, of.r_labels if with_r else ())


def _cut(values: ca.SX, low: np.ndarray, high: np.ndarray) -> ca.SX:
    return ca.fmin(ca.fmax(values, ca.DM(low)), ca.DM(high))


def _name(policy: LoopPolicy) -> str:
    return policy.controller.name if isinstance(policy, ControllerPolicy) else "adapted policy"


def _system(
    name: str, update: Callable[..., np.ndarray], output: Callable[..., np.ndarray], **signals: Any
) -> control.NonlinearIOSystem:
    """Return a system; python-control takes no name that two of its signals of a kind have."""
    import control

    for kind in ("inputs", "outputs", "states"):
        labels = signals[kind]
        twice = next((label for label in labels if labels.count(label) > 1), None)
        if twice is not None:
            raise DomainError(f"two {kind} of {name!r} are called {twice!r}; give plant and controller other labels")
    return control.NonlinearIOSystem(update, output, name=name, **signals)
