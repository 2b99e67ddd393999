"""Limits of a step response as constraints: how far it may overshoot, and when it must have settled."""

from collections.abc import Sequence

import casadi as ca
import numpy as np

from scpo_ctrl.errors import DomainError
from scpo_ctrl.loop.constraint import OVERSHOOT, Constraint
from scpo_ctrl.loop.controlled import ControllerPolicy
from scpo_ctrl.messages import shown
from scpo_ctrl.models import Plant
from scpo_ctrl.models.labelled import Place
from scpo_ctrl.models.signals import KINDS, SAMPLE, TIME, Signal
from scpo_ctrl.problem.tracking import followed
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.validate import as_scalar

_SMALL = 0.1  # ε, in parts of the largest step


def overshoot(
    policy: ControllerPolicy,
    reference: str,
    most: float,
    *,
    until: float | None = None,
    outputs: Sequence[Place] | None = None,
) -> Constraint:
    """Return the constraint that a response to a step or a ramp overshoots by no more than a part of it.

    With Δ from before to after and ε a tenth of the largest Δ, it says (y - after) Δ / (Δ² + ε²) ≤ most at every
    time: smooth, and the same for steps up and down. So a step of Δ may overshoot by most (1 + (ε / Δ)²) of itself: by
    a hundredth of `most` more for the largest, by twice `most` for a tenth of it, where the initial state matters.

    Parameters
    ----------
    policy : ControllerPolicy
        Of `controlled`, with the reference a step or a ramp.
    reference : str
        Its label.
    most : float
        Part of the step, above 0, such as 0.05.
    until : float, optional
        From when on it says nothing [s], the sample at that instant included: where a load begins, which moves the
        output too. By default to the end.
    outputs : sequence of str or int, optional
        As of `tracking`.

    Returns
    -------
    Constraint

    Raises
    ------
    DomainError
        If the reference is unknown, or is no step or ramp.

    Examples
    --------
    >>> import scpo_ctrl as sc
    >>> from scpo_ctrl import signals
    >>> from scpo_ctrl.controllers import pid
    >>> from scpo_ctrl.models import dc_motor
    >>> motor = dc_motor()
    >>> law = pid(motor, kp=1.0, ki=2.0, kd=0.02, filter_time=2e-3)
    >>> loop = sc.controlled(motor, law, reference={"position reference": signals.step(0.0, (-0.5, 0.5), at=0.01)})
    >>> sc.overshoot(loop, "position reference", most=0.1).name
    ('overshoot of position reference',)
    """
    y, signal = _followed(policy, reference, outputs)
    most = as_scalar("most", most, above=0.0)
    before, after = (_number(policy, reference, signal, name) for name in ("before", "after"))
    largest = max(abs(b - a) for a in _ends(signal, 0) for b in _ends(signal, 1))
    if not largest:
        raise DomainError(f"reference {reference!r} does not move, so nothing overshoots; give it a step")
    change = (after - before) / largest
    above, name = ((y - after) / largest) * change / (change**2 + _SMALL**2), f"{OVERSHOOT}{reference}"
    if until is not None:
        until = as_scalar("until", until, above=0.0)
        above, name = ca.if_else(_from(policy.plant, until), 0, above), f"{name} until {until:g} s"
    return Constraint(name=name, expression=above, bound=np.array([most]), scale=np.array([most]))


def settling(
    policy: ControllerPolicy, reference: str, band: float, after: float, *, outputs: Sequence[Place] | None = None
) -> Constraint:
    """Return the constraint that a response stays within a band around where its reference ends, from a time on.

    Parameters
    ----------
    policy : ControllerPolicy
        Of `controlled`, with the reference a signal.
    reference : str
        Its label.
    band : float
        Half width, above 0 [unit of the reference].
    after : float
        From when on [s], the sample at that instant included. Beyond the horizon it says nothing.
    outputs : sequence of str or int, optional
        As of `tracking`.

    Returns
    -------
    Constraint

    Raises
    ------
    DomainError
        If the reference is unknown, or is a sine or noise, which does not settle.

    Examples
    --------
    After the example of `overshoot`:

    >>> sc.settling(loop, "position reference", band=0.02, after=0.2).name
    ('position reference settled from 0.2 s on, above', 'position reference settled from 0.2 s on, below')
    """
    y, signal = _followed(policy, reference, outputs)
    band, after = as_scalar("band", band, above=0.0), as_scalar("after", after, at_least=0.0)
    ends = {"constant": ("value",), "step": ("after",), "ramp": ("after",)}.get(signal.kind)
    if ends is None:
        raise DomainError(
            f"reference {reference!r} is a {signal.kind}, which does not settle; give it a step or a ramp"
        )
    off = ca.if_else(_from(policy.plant, after), y - _number(policy, reference, signal, ends[0]), 0)
    unit = policy.controller.r_units[policy.controller.r_labels.index(reference)]
    bands = np.array([band, band])
    names = tuple(f"{reference} settled from {after:g} s on, {side}" for side in ("above", "below"))
    return Constraint(name=names, expression=ca.vertcat(off, -off), bound=bands, unit=unit, scale=bands)


def _from(plant: Plant, instant: float) -> ca.SX:
    """Whether it is that time or later [s]."""
    return plant.p[plant.p_labels.index(TIME)] >= instant - SAMPLE * (plant.dt or 0.0)


def _followed(policy: ControllerPolicy, reference: str, outputs: Sequence[Place] | None) -> tuple[ca.SX, Signal]:
    """Return the measured signal that follows a reference, without its noise, and that reference."""
    as_instance("policy", policy, ControllerPolicy)
    if not isinstance(reference, str) or reference not in policy.signals:
        known = ", ".join(policy.signals) or "none"
        raise DomainError(f"{shown(reference)} is no reference that varies; of this loop do: {known}")
    y = followed(policy, outputs)
    return y[policy.controller.r_labels.index(reference)], policy.signals[reference]


def _ends(signal: Signal, which: int) -> tuple[float, ...]:
    number = signal.numbers[which]
    return number if isinstance(number, tuple) else (number,)


def _number(policy: ControllerPolicy, reference: str, signal: Signal, name: str) -> ca.SX:
    """Return a number of a signal: a constant, or the parameter that is drawn."""
    names = KINDS[signal.kind].names
    if name not in names:
        raise DomainError(f"reference {reference!r} is a {signal.kind}; overshoot is one of a step or a ramp")
    number, plant = signal.numbers[names.index(name)], policy.plant
    if isinstance(number, tuple):
        return plant.p[plant.p_labels.index(f"{reference} {name}")]
    return ca.SX(number)
