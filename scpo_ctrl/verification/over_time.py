"""What varies over time once more: signals by their names and numbers, from the definitions in docs/problem-file.md."""

import struct
from typing import Any

import numpy as np

from scpo_ctrl.models import Plant
from scpo_ctrl.models.signals import Signal

_NUMBERS = {
    "constant": ("value",),
    "step": ("before", "after", "at"),
    "ramp": ("before", "after", "at", "over"),
    "sine": ("mean", "amplitude", "frequency", "phase"),
    "noise": ("half_width", "seed"),
    "sequence": ("offset", "scale"),
}
_SAMPLE = 1e-9  # of a sampling time, by which a step may come after its sample
_ENDS = {
    "constant": "value",
    "step": "after",
    "ramp": "after",
    "sine": "mean",
}  # at which number, else 0
_ALL = (1 << 64) - 1


def signals_of(plant: Plant) -> dict[str, Signal]:
    """Return the signals of a plant by label: those of its last parameters but the time."""
    labels = plant.p_labels[plant.npar - 1 - len(plant.signals) :]
    return dict(zip(labels, plant.signals, strict=False))


def ranges(plant: Plant, given: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Return the ranges of section [scenarios], and those of the numbers of signals, by label in their order.

    Parameters
    ----------
    plant : Plant
    given : dict
        Key parameters of the section.

    Returns
    -------
    dict of str to (low, high)
    """
    found = {label: (float(low), float(high)) for label, (low, high) in given.items()}
    for label, signal in signals_of(plant).items():
        for name, number in zip(_NUMBERS[signal.kind], signal.numbers, strict=True):
            if isinstance(number, tuple):
                found[f"{label} {name}"] = number
    return found


def moves_the_end(plant: Plant, label: str) -> bool:
    """Return whether where the plant ends depends on a parameter with a range.

    Parameters
    ----------
    plant : Plant
    label : str

    Returns
    -------
    bool
    """
    for of, signal in signals_of(plant).items():
        for name in _NUMBERS[signal.kind]:
            if label == f"{of} {name}":
                if signal.kind == "sequence":
                    return name == "offset" or signal.samples[-1] != 0
                return name == _ENDS.get(signal.kind)
    return True


def ended(plant: Plant, p: np.ndarray) -> np.ndarray:
    """Return plant parameters with those that vary where they end, the time zero.

    Parameters
    ----------
    plant : Plant
    p : numpy.ndarray, shape (S, np)

    Returns
    -------
    numpy.ndarray, shape (S, np)
    """
    p = p.copy()
    for label, signal in signals_of(plant).items():
        number = _numbers(plant, label, signal, p)
        if signal.kind == "sequence":
            value = number["offset"] + number["scale"] * signal.samples[-1]
        else:
            value = number[_ENDS[signal.kind]] if signal.kind in _ENDS else 0.0
        p[:, plant.p_labels.index(label)] = value
    if plant.signals:
        p[:, -1] = 0.0
    return p


def over_time(plant: Plant, p: np.ndarray, steps: int) -> np.ndarray:
    """Return plant parameters at each time step.

    Parameters
    ----------
    plant : Plant
    p : numpy.ndarray, shape (S, np)
    steps : int

    Returns
    -------
    numpy.ndarray, shape (steps + 1, S, np)
    """
    whole = np.repeat(p[None], steps + 1, axis=0) if plant.signals else np.broadcast_to(p, (steps + 1, *p.shape))
    for label, signal in signals_of(plant).items():
        number, place = _numbers(plant, label, signal, p), plant.p_labels.index(label)
        for k in range(steps + 1):
            whole[k, :, place] = _value(signal, number, k, float(plant.dt or 0.0))
            whole[k, :, -1] = k * float(plant.dt or 0.0)
    return whole


def _numbers(plant: Plant, label: str, signal: Signal, p: np.ndarray) -> dict[str, Any]:
    """Return the numbers of a signal by name, those that are drawn of each scenario."""
    return {
        name: p[:, plant.p_labels.index(f"{label} {name}")] if isinstance(number, tuple) else number
        for name, number in zip(_NUMBERS[signal.kind], signal.numbers, strict=True)
    }


def _value(signal: Signal, of: dict[str, Any], k: int, dt: float) -> Any:
    """Return the values of a signal at step k."""
    t = k * dt
    if signal.kind == "constant":
        return of["value"]
    if signal.kind == "sequence":
        return of["offset"] + of["scale"] * signal.samples[min(k, signal.samples.size - 1)]
    if signal.kind == "noise":
        return of["half_width"] * np.array([_uniform(seed, k) for seed in np.ravel(of["seed"])])
    if signal.kind == "sine":
        return of["mean"] + of["amplitude"] * np.sin(2 * np.pi * of["frequency"] * t + of["phase"])
    if signal.kind == "step":
        return np.where(t >= of["at"] - _SAMPLE * dt, of["after"], of["before"])
    part = np.minimum(np.maximum((t - of["at"]) / of["over"], 0.0), 1.0)
    return of["before"] + (of["after"] - of["before"]) * part


def _uniform(seed: float, k: int) -> float:
    """Return number k in (-1, 1) of a seed, by SplitMix64 in whole numbers."""
    word = (int.from_bytes(struct.pack("<d", seed), "little") + (k + 1) * 0x9E3779B97F4A7C15) & _ALL
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 & _ALL
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB & _ALL
    word ^= word >> 31
    return ((word >> 11) + 0.5) * 2.0**-52 - 1
