"""What lies between a command and the plant: delays, a limit on the rate, an actuator's lag.

Each function takes a plant and returns one with more states, to be used in any order: what is put on last meets the
command first. ``input_delay(rate_limit(plant, 0.1), 2)`` delays the command, and then limits its rate.
"""

from __future__ import annotations

import casadi as ca
import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.errors import DomainError
from scpo_ctrl.models.plant import Plant
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.validate import as_array, as_count, as_scalar, dimensions

_LONGEST_DELAY = 1000  # samples; each is a state per input


def input_delay(plant: Plant, steps: int) -> Plant:
    """Delay the inputs of a plant by a number of samples.

    Parameters
    ----------
    plant : Plant
        Discrete.
    steps : int
        Samples; 0 for no delay.

    Returns
    -------
    Plant
        Its new states are the inputs on their way, the next to arrive first, in the units and within the bounds of the
        inputs. With d of them, x⁺ = f(x, d₁, p), dᵢ⁺ = dᵢ₊₁ and d_steps⁺ = u.

    Raises
    ------
    DomainError
        If the plant is continuous, or steps is no whole number from 0 to 1000.
    """
    _check_discrete("input_delay", plant)
    steps = as_count("steps", steps, at_most=_LONGEST_DELAY)
    if steps == 0:
        return plant
    waiting = ca.SX.sym("delayed", steps * plant.nu)
    queue = ca.vertcat(waiting, plant.u)
    waits = [f"applied in {i} sample{'s' * (i > 1)}" if i else "applied next" for i in range(steps)]
    labels = [f"{label} {wait}" for wait in waits for label in plant.u_labels]
    note = f"inputs delayed by {steps} sample{'s' * (steps > 1)}"
    return _with_states(plant, waiting, queue[: plant.nu], queue[plant.nu :], labels, note)


def computation_delay(plant: Plant) -> Plant:
    """Delay the inputs by one sample: a controller that measures at one instant applies its command at the next.

    Parameters
    ----------
    plant : Plant
        Discrete.

    Returns
    -------
    Plant
        As of `input_delay`.

    Raises
    ------
    DomainError
        If the plant is continuous.
    """
    return input_delay(plant, 1)


def rate_limit(plant: Plant, per_step: ArrayLike) -> Plant:
    """Limit how far each input changes from a sample to the next.

    Parameters
    ----------
    plant : Plant
        Discrete.
    per_step : array_like, shape (nu,)
        Largest change per sample [u_units]; a number holds for every input.

    Returns
    -------
    Plant
        Its new states ℓ are the inputs applied last, in the units and within the bounds of the inputs: applied is
        ℓ + sat(u - ℓ), which is ℓ⁺ too. It is nonlinear; at rest its derivative is that without a limit, where ℓ only
        copies the input: beside other states that do so it is not controllable, and decays at once (`lqr` takes it
        with ``allow_uncontrollable``).

    Raises
    ------
    DomainError
        If the plant is continuous, or a change is not positive.
    DimensionError
        If there is not one for each input.
    """
    _check_discrete("rate_limit", plant)
    most = _per_input("per_step", per_step, plant)
    last = ca.SX.sym("last", plant.nu)
    applied = last + ca.fmin(ca.fmax(plant.u - last, -ca.DM(most)), ca.DM(most))
    labels = [f"{label} applied last" for label in plant.u_labels]
    return _with_states(plant, last, applied, applied, labels, f"inputs change by at most {most.tolist()} per sample")


def actuator_lag(plant: Plant, time_constant: ArrayLike) -> Plant:
    """Let the inputs follow the commands with a first-order lag, τ ȧ = u - a.

    The states a are exact at the samples of a discrete plant as of a continuous one. What a discrete plant sees over a
    sample is the mean of a, as its input is held: exact for one that integrates its input, and for others right to
    second order in the sampling time. Where that is too coarse, lag the continuous plant and discretise it.

    Parameters
    ----------
    plant : Plant
        Continuous or discrete.
    time_constant : array_like, shape (nu,)
        τ [s]; a number holds for every input.

    Returns
    -------
    Plant
        Its new states are the lagging inputs, in the units and within the bounds of the inputs.

    Raises
    ------
    DomainError
        If a time constant is not positive.
    DimensionError
        If there is not one for each input.
    """
    as_instance("plant", plant, Plant)
    tau = _per_input("time_constant", time_constant, plant)
    actual = ca.SX.sym("actual", plant.nu)
    labels, note = [f"actual {label}" for label in plant.u_labels], f"inputs lag with time constants {tau.tolist()} s"
    if plant.dt is None:
        return _with_states(plant, actual, actual, (plant.u - actual) / ca.DM(tau), labels, note)
    with np.errstate(over="ignore"):
        gone = -np.expm1(-plant.dt / tau)  # part of the way that a sample brings a closer to u
    behind = actual - plant.u
    mean, after = plant.u + ca.DM(gone * tau / plant.dt) * behind, plant.u + ca.DM(1 - gone) * behind
    return _with_states(plant, actual, mean, after, labels, note)


def _with_states(plant: Plant, states: ca.SX, applied: ca.SX, then: ca.SX, labels: list[str], note: str) -> Plant:
    """Return a plant that sees `applied` as its inputs, and has more states: inputs in nature, `then` their f.

    They are entry by entry of the inputs, once or several times all of them.
    """
    times = states.numel() // plant.nu
    added = {
        f"x_{key}": np.concatenate([getattr(plant, f"x_{key}"), np.tile(getattr(plant, f"u_{key}"), times)])
        for key in ("min", "max", "eq")
    }
    return plant.replace(
        x=ca.vertcat(plant.x, states),
        f=ca.vertcat(ca.substitute(plant.f, plant.u, applied), then),
        x_labels=plant.x_labels + _distinct(labels, plant.x_labels),
        x_units=plant.x_units + plant.u_units * times,
        source="; ".join(part for part in (plant.source, note) if part),
        **added,
    )


def _distinct(labels: list[str], taken: tuple[str, ...]) -> tuple[str, ...]:
    """Return labels with a number behind them where they are taken, as of two delays one behind the other."""
    number = next(n for n in range(1, len(taken) + 2) if not {_numbered(label, n) for label in labels} & set(taken))
    return tuple(_numbered(label, number) for label in labels)


def _numbered(label: str, number: int) -> str:
    return label if number == 1 else f"{label} ({number})"


def _check_discrete(function: str, plant: Plant) -> None:
    as_instance("plant", plant, Plant)
    if plant.dt is None:
        raise DomainError(
            f"{function} counts in samples, and plant {plant.name!r} is continuous; discretise it first "
            "(scpo_ctrl.models.discretise)"
        )


def _per_input(name: str, value: ArrayLike, plant: Plant) -> np.ndarray:
    """Return a positive number for each input."""
    numbers = as_array(name, value, (plant.nu,)) if dimensions(value) else np.full(plant.nu, as_scalar(name, value))
    for i, number in enumerate(numbers):
        as_scalar(f"{name}[{i}]", number, above=0.0)
    return numbers
