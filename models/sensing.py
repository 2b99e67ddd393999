"""What lies between a plant and what a controller measures: noise, and the steps of a converter or an encoder."""

from __future__ import annotations

import casadi as ca
import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.errors import DomainError
from scpo_ctrl.models.plant import Plant, check_discrete
from scpo_ctrl.models.signals import noise
from scpo_ctrl.models.varying import with_more_signals
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.validate import as_array, as_scalar, dimensions


def sensor_noise(plant: Plant, half_width: ArrayLike) -> Plant:
    """Let sensors be noisy: y = h(x, p) + n, n uniform within half widths and anew at every sample.

    Parameters
    ----------
    plant : Plant
        Discrete.
    half_width : array_like, shape (ny,)
        Of each measured signal, 0 for one without noise [y_units]; a number holds for all.

    Returns
    -------
    Plant
        Its parameters are followed by those of `with_signals`: a seed for each noisy signal, which scenarios draw, and
        the noise.

    Raises
    ------
    DomainError
        If the plant is continuous, or a half width is negative, or none is positive.
    DimensionError
        If there is not one for each signal.
    """
    return _noisy(plant, _per_output("half_width", half_width, plant), "noise of")


def quantise(plant: Plant, step: ArrayLike) -> Plant:
    """Let sensors show whole steps, as converters and encoders do: the error is noise within half a step.

    A staircase has no slope, so no controller could be adapted through one, and the loop's linearisation would lack its
    feedback. The error of rounding is within half a step, and close to uniform and white as long as the signal moves by
    some steps from sample to sample.

    Parameters
    ----------
    plant : Plant
        Discrete.
    step : array_like, shape (ny,)
        Of each measured signal, 0 for one without steps [y_units]; a number holds for all.

    Returns
    -------
    Plant
        As of `sensor_noise`.

    Raises
    ------
    DomainError, DimensionError
        As of `sensor_noise`.

    References
    ----------
    B. Widrow, I. Kollar, "Quantization Noise", Cambridge University Press, 2008.
    """
    return _noisy(plant, _per_output("step", step, plant) / 2, "rounding of")


def _noisy(plant: Plant, half: np.ndarray, what: str) -> Plant:
    """Return the plant with noise on its measured signals."""
    check_discrete(plant)
    which = np.flatnonzero(half)
    if not which.size:
        raise DomainError(f"no measured signal of plant {plant.name!r} is noisy: every number is 0; leave it out")
    labels = [f"{what} {plant.measured_labels[i]}" for i in which]
    noises = dict(zip(labels, (noise(half[i]) for i in which), strict=True))
    noisy, y = with_more_signals(plant, noises, [plant.measured_units[i] for i in which]), ca.SX(plant.measured)
    for label, i in zip(labels, which.tolist(), strict=True):
        y[i] += noisy.p[noisy.p_labels.index(label)]
    return noisy.replace(y=y, y_labels=plant.measured_labels, y_units=plant.measured_units)


def _per_output(name: str, value: ArrayLike, plant: Plant) -> np.ndarray:
    """Return a number that is not negative for each measured signal."""
    as_instance("plant", plant, Plant)
    count = plant.measured.numel()
    numbers = as_array(name, value, (count,)) if dimensions(value) else np.full(count, as_scalar(name, value))
    for i, number in enumerate(numbers):
        as_scalar(f"{name}[{i}]", number, at_least=0.0)
    return numbers
