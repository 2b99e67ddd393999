"""Signals in words, and which numbers of a scenario say something of it."""

import numpy as np

from scpo_ctrl.loop.controlled import ControllerPolicy
from scpo_ctrl.models import Plant
from scpo_ctrl.models.signals import Number, Signal
from scpo_ctrl.models.varying import drawn_ranges, first_varying
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.report.numbers import plural, short, with_unit


def in_words(label: str, signal: Signal, unit: str) -> str:
    """Return what a signal is.

    Parameters
    ----------
    label : str
        Of what varies.
    signal : Signal
    unit : str

    Returns
    -------
    str
        Such as "load, a step from 3 to 2.5 … 4 ohm at 0.006 s".
    """
    said = [_said(number) for number in signal.numbers]
    if signal.kind == "noise":
        return f"{label}, uniform within ± {said[0]} {unit}".rstrip()
    if signal.kind in ("step", "ramp"):
        over = f" within {said[3]} s" if signal.kind == "ramp" else ""
        return f"{label}, a {signal.kind} from {said[0]} to {f'{said[1]} {unit}'.rstrip()} at {said[2]} s{over}"
    if signal.kind == "sine":
        of = f"{said[0]} ± {said[1]} {unit}".rstrip()
        return f"{label}, a sine of {of} at {said[2]} Hz"
    if signal.kind == "sequence":
        low, high = signal.reach
        between = with_unit(high, unit, short)
        return f"{label}, a sequence of {plural(signal.samples.size, 'value')} from {short(low)} to {between}"
    return f"{label}, constant at {said[0]} {unit}".rstrip()


def references_in_words(policy: ControllerPolicy) -> list[str]:
    """Return each reference of a loop in words.

    Parameters
    ----------
    policy : ControllerPolicy

    Returns
    -------
    list of str
    """
    given = zip(policy.reference_by_label.items(), policy.controller.r_units, strict=True)
    return [
        in_words(label, value, unit) if isinstance(value, Signal) else f"{label} {with_unit(value, unit, short)}"
        for (label, value), unit in given
    ]


def varying_in_words(problem: ControlProblem) -> list[str]:
    """Return what varies over time besides references, in words.

    Parameters
    ----------
    problem : ControlProblem

    Returns
    -------
    list of str
    """
    plant, policy = problem.plant, problem.policy
    first, known = first_varying(plant), policy.signals if isinstance(policy, ControllerPolicy) else {}
    named = zip(plant.p_labels[first:], plant.signals, plant.p_units[first:], strict=False)
    return [in_words(label, signal, unit) for label, signal, unit in named if label not in known]


def telling(plant: Plant, p: np.ndarray) -> np.ndarray:
    """Return which parameters of a plant say how scenarios differ.

    Parameters
    ----------
    plant : Plant
    p : numpy.ndarray, shape (S, np)

    Returns
    -------
    numpy.ndarray of int
        Without the time, values over time that follow from numbers drawn, and seeds of noise.
    """
    drawn, silent = iter(drawn_ranges(plant)), list(range(first_varying(plant), plant.npar))
    for signal in plant.signals:
        places = [next(drawn) for _ in signal.drawn]
        if signal.kind == "noise":
            silent += [place for place, number in zip(places, signal.drawn, strict=True) if number == 1]
    varied = np.ptp(p, axis=0) > 0
    varied[silent] = False
    return np.flatnonzero(varied)


def _said(number: Number) -> str:
    return " … ".join(short(float(end)) for end in np.ravel(number))
