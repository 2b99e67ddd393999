"""Signals: what varies over time in a way that is known, as references do and loads, in numbers fixed or drawn."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.errors import DomainError
from scpo_ctrl.messages import shown
from scpo_ctrl.sealed import Sealed
from scpo_ctrl.shown import ShownAsWritten
from scpo_ctrl.validate import as_array, as_scalar, dimensions

TIME = "time"  # label of the last parameter of a plant with signals
_MOST_VALUES = 1_000_000  # of a sequence
SAMPLE = 1e-9  # of a sampling time, by which an instant may miss a sample and still be it

Number = float | tuple[float, float]  # fixed, or low and high of what is drawn


@dataclass(frozen=True)
class Kind:
    """A kind of signal: names of its numbers, what they are by default, and what it is made of them.

    `values` takes the time (N + 1,), the sampling time and a number, or a column of numbers (S, 1), for each name; it
    returns values and their derivatives by each number, of shapes that broadcast to (S, N + 1). `settled` returns where
    the signal ends, as weights of its numbers.
    """

    names: tuple[str, ...]
    units: tuple[str | None, ...]  # None for that of the signal
    values: Callable[..., tuple[Any, tuple[Any, ...]]]
    settled: tuple[float, ...]


def _constant(t: np.ndarray, dt: float, value: Any) -> tuple[Any, tuple[Any, ...]]:
    return value + 0 * t, (1.0,)


def _step(t: np.ndarray, dt: float, before: Any, after: Any, at: Any) -> tuple[Any, tuple[Any, ...]]:
    done = (t >= at - SAMPLE * dt).astype(float)
    return before + (after - before) * done, (1 - done, done, 0.0)


def _ramp(t: np.ndarray, dt: float, before: Any, after: Any, at: Any, over: Any) -> tuple[Any, tuple[Any, ...]]:
    done = np.clip((t - at) / over, 0.0, 1.0)
    slope = np.where((done > 0) & (done < 1), (after - before) / over, 0.0)
    return before + (after - before) * done, (1 - done, done, -slope, -slope * done)


def _sine(
    t: np.ndarray, dt: float, mean: Any, amplitude: Any, frequency: Any, phase: Any
) -> tuple[Any, tuple[Any, ...]]:
    angle = 2 * np.pi * frequency * t + phase
    sine, cosine = np.sin(angle), amplitude * np.cos(angle)
    return mean + amplitude * sine, (1.0, sine, 2 * np.pi * t * cosine, cosine)


def _noise(t: np.ndarray, dt: float, half_width: Any, seed: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return half_width times numbers in (-1, 1), the k-th from the bits of seed and k by SplitMix64."""
    with np.errstate(over="ignore"):
        word = np.asarray(seed, dtype=float).view(np.uint64) + np.arange(1, len(t) + 1, dtype=np.uint64) * _GOLDEN
        for shift, factor in _MIXED:
            word = (word ^ (word >> shift)) * factor
        word = word ^ (word >> np.uint64(31))
    unit = ((word >> np.uint64(11)).astype(float) + 0.5) * 2.0**-52 - 1
    return half_width * unit, (unit, 0.0)


# Of SplitMix64: G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIXED = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)

KINDS: dict[str, Kind] = {
    "constant": Kind(("value",), (None,), _constant, (1.0,)),
    "step": Kind(("before", "after", "at"), (None, None, "s"), _step, (0.0, 1.0, 0.0)),
    "ramp": Kind(("before", "after", "at", "over"), (None, None, "s", "s"), _ramp, (0.0, 1.0, 0.0, 0.0)),
    "sine": Kind(("mean", "amplitude", "frequency", "phase"), (None, None, "Hz", "rad"), _sine, (1.0, 0.0, 0.0, 0.0)),
    "noise": Kind(("half_width", "seed"), (None, ""), _noise, (0.0, 0.0)),
    "sequence": Kind(("offset", "scale"), (None, ""), lambda t, dt, offset, scale: (offset, (1.0, 0.0)), (1.0, 0.0)),
}


@dataclass(frozen=True, eq=False, repr=False)
class Signal(ShownAsWritten, Sealed, instead="give signals.sequence its values"):
    """A value over time; `constant`, `step`, `ramp`, `sine` and `sequence` make one.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    numbers : tuple of float or (float, float)
        Of its kind, in the order of `Kind.names`: a number, or two between which each scenario draws one.
    samples : numpy.ndarray, shape (k,)
        Of a sequence, one for each step.
    """

    kind: str
    numbers: tuple[Number, ...]
    samples: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @property
    def drawn(self) -> tuple[int, ...]:
        """Which of its numbers have a range, each of which is a parameter of the plant."""
        return tuple(i for i, number in enumerate(self.numbers) if isinstance(number, tuple))

    @property
    def at_first(self) -> float:
        """What it is before anything happens, in the middle of its ranges."""
        if self.kind == "noise":
            return 0.0
        first = middle(self.numbers[0])
        return first + middle(self.numbers[1]) * float(self.samples[0]) if self.samples.size else first

    @property
    def reach(self) -> tuple[float, float]:
        """Between which values it stays."""
        first = np.ravel(self.numbers[0])
        if self.kind == "constant":
            return float(first.min()), float(first.max())
        if self.kind == "noise":
            return -float(first.max()), float(first.max())
        second = np.ravel(self.numbers[1])
        if self.kind in ("step", "ramp"):
            both = np.append(first, second)
            return float(both.min()), float(both.max())
        extremes = np.array([self.samples.min(), self.samples.max()]) if self.samples.size else np.array([-1.0, 1.0])
        moved = np.outer(extremes, second)
        return float(first.min() + moved.min()), float(first.max() + moved.max())

    def over_time(self, steps: int, dt: float, given: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Return its values, and their derivatives by the numbers that are drawn.

        Parameters
        ----------
        steps : int
            N
        dt : float
            Sampling time [s].
        given : numpy.ndarray, shape (S, k)
            The numbers that are drawn.

        Returns
        -------
        values : numpy.ndarray, shape (S, N + 1)
        slopes : tuple of numpy.ndarray, shape (S, N + 1)
        """
        t, shape = dt * np.arange(steps + 1), (len(given), steps + 1)
        numbers = self._filled(given)
        if self.samples.size:
            held = self.samples[np.minimum(np.arange(steps + 1), len(self.samples) - 1)]
            value, slopes = numbers[0] + numbers[1] * held, (1.0, held)
        else:
            value, slopes = KINDS[self.kind].values(t, dt, *numbers)
        return np.broadcast_to(value, shape), tuple(np.broadcast_to(slopes[i], shape) for i in self.drawn)

    def settled(self, given: np.ndarray) -> tuple[np.ndarray, tuple[float, ...]]:
        """Return where it ends, a sine its mean, and the derivatives by the numbers that are drawn.

        Parameters
        ----------
        given : numpy.ndarray, shape (S, k)

        Returns
        -------
        values : numpy.ndarray, shape (S,)
        slopes : tuple of float
        """
        weights = (1.0, float(self.samples[-1])) if self.samples.size else KINDS[self.kind].settled
        value = sum((w * number for w, number in zip(weights, self._filled(given), strict=True) if w), np.zeros(1))
        return np.broadcast_to(np.ravel(value), (len(given),)), tuple(weights[i] for i in self.drawn)

    def _filled(self, given: np.ndarray) -> list[Any]:
        """Return all numbers, those that are drawn as columns (S, 1)."""
        place = {i: given[:, k : k + 1] for k, i in enumerate(self.drawn)}
        return [place.get(i, number) for i, number in enumerate(self.numbers)]


def constant(value: Any) -> Signal:
    """Return a signal that does not vary, of a value that may be drawn.

    Parameters
    ----------
    value : float or (low, high)

    Returns
    -------
    Signal
    """
    return _made("constant", value)


def step(before: Any, after: Any, at: Any = 0.0) -> Signal:
    """Return a step.

    Parameters
    ----------
    before, after : float or (low, high)
    at : float or (low, high)
        When, [s]: `after` holds from the first sample on that is not earlier.

    Returns
    -------
    Signal
    """
    return _made("step", before, after, at)


def ramp(before: Any, after: Any, at: Any = 0.0, *, over: Any) -> Signal:
    """Return a ramp from one value to another.

    Parameters
    ----------
    before, after : float or (low, high)
    at : float or (low, high)
        When it begins [s].
    over : float or (low, high)
        How long it takes, above zero [s].

    Returns
    -------
    Signal
    """
    return _made("ramp", before, after, at, over)


def sine(mean: Any, amplitude: Any, frequency: Any, phase: Any = 0.0) -> Signal:
    """Return mean + amplitude · sin(2π · frequency · t + phase).

    Parameters
    ----------
    mean, amplitude : float or (low, high)
    frequency : float or (low, high)
        [Hz]
    phase : float or (low, high)
        [rad]

    Returns
    -------
    Signal
    """
    return _made("sine", mean, amplitude, frequency, phase)


def noise(half_width: Any, seed: Any = (0.0, 1.0)) -> Signal:
    """Return noise: at each sample anew a number uniform within a half width around zero.

    Parameters
    ----------
    half_width : float or (low, high)
        Not negative.
    seed : float or (low, high)
        From which all samples follow; each scenario draws its own.

    Returns
    -------
    Signal
    """
    made = _made("noise", half_width, seed)
    if np.min(made.numbers[0]) < 0:
        raise DomainError(f"noise: half_width is {shown(half_width)}, expected a number >= 0")
    return made


def sequence(values: ArrayLike, *, offset: Any = 0.0, scale: Any = 1.0) -> Signal:
    """Return offset + scale · values, one for each sampling time, the last one for ever.

    Parameters
    ----------
    values : array_like, shape (k,)
    offset : float or (low, high)
    scale : float or (low, high)

    Returns
    -------
    Signal
    """
    samples = as_array("values", values, (None,))
    if not 0 < len(samples) <= _MOST_VALUES:
        raise DomainError(f"a sequence has {len(samples)} values, expected 1 to {_MOST_VALUES}")
    made = _made("sequence", offset, scale)
    return Signal(made.kind, made.numbers, samples)


def to_table(signal: Signal) -> dict[str, Any]:
    """Return a signal as a table of plain data.

    Parameters
    ----------
    signal : Signal

    Returns
    -------
    dict
        Its kind, its numbers by name, a range as [low, high], and the values of a sequence.
    """
    numbers = [list(number) if isinstance(number, tuple) else number for number in signal.numbers]
    table = {"kind": signal.kind, **dict(zip(KINDS[signal.kind].names, numbers, strict=True))}
    return table | ({"values": signal.samples.tolist()} if signal.samples.size else {})


def from_table(table: Any) -> Signal:
    """Return the signal of a table of plain data.

    Parameters
    ----------
    table : dict
        As `to_table` returns; numbers with a default may be left out.

    Returns
    -------
    Signal

    Raises
    ------
    DomainError
        If something is unknown, missing or wrong.
    """
    kind = table.get("kind") if isinstance(table, dict) else None
    if not isinstance(kind, str) or kind not in _MAKERS:
        raise DomainError(f"a signal is {shown(table)}, expected a table with kind one of: {', '.join(_MAKERS)}")
    parameters = inspect.signature(_MAKERS[kind]).parameters
    given = {key: value for key, value in table.items() if key != "kind"}
    unknown = next((key for key in given if key not in parameters), None)
    if unknown is not None:
        raise DomainError(f"unknown key {shown(unknown)} of a {kind}; known: {', '.join(parameters)}")
    missing = next((key for key, of in parameters.items() if of.default is of.empty and key not in given), None)
    if missing is not None:
        raise DomainError(f"key {missing!r} of a {kind} is missing")
    return _MAKERS[kind](**given)


_MAKERS: dict[str, Callable[..., Signal]] = {
    "constant": constant,
    "step": step,
    "ramp": ramp,
    "sine": sine,
    "noise": noise,
    "sequence": sequence,
}


def _made(kind: str, *numbers: Any) -> Signal:
    names = KINDS[kind].names
    given = tuple(_number(f"{kind}: {name}", number) for name, number in zip(names, numbers, strict=True))
    if kind == "ramp" and np.min(given[3]) <= 0:
        raise DomainError(f"ramp: over is {shown(numbers[3])}, expected a time above 0 s; a step takes none")
    return Signal(kind, given)


def _number(name: str, value: Any) -> Number:
    """Check a number, or the low and high of one that is drawn."""
    if dimensions(value) == 0:
        return as_scalar(name, value)
    low, high = as_array(name, value, (2,)) + 0.0
    if not low <= high:
        raise DomainError(f"{name} = [{low:g}, {high:g}] is swapped; give (low, high)")
    return float(low) if low == high else (float(low), float(high))


def middle(number: Number) -> float:
    """Return a number, or the middle of its range.

    Parameters
    ----------
    number : float or (low, high)

    Returns
    -------
    float
    """
    return float(np.mean(number))
