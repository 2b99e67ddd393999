"""A residual policy in integers, as the C of an export computes it: bit for bit, in numpy."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.errors import DomainError
from scpo_ctrl.loop.policy import Policy, layers_of
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.validate import as_array

ONE = 1 << 30  # of activations, and of states in parts of their reach
ARGUMENT = 27  # bits behind the point of what tanh takes
END = 10  # where tanh is flat
TABLE = np.rint(np.tanh(np.arange(32 * END + 1) / 32) * ONE).astype(np.int64)
_BEYOND = 2.0  # how far states reach, in distances of their bounds from the equilibrium
_UNBOUNDED = 8.0  # the same of a state without bounds, in units of its scale
_FEWEST = 16  # counts of a range
_LARGEST = 2.0**60  # no weight is larger
_SHIFTS = (1, 61)


@dataclass(frozen=True, kw_only=True)
class FixedPoint:
    """What a controller in integers counts: x = x_zero + x_step · count, and the same of inputs.

    Such as an analog-to-digital converter of 12 bits over 0 … 3.3 V, and a timer's compare register.

    Parameters
    ----------
    x_step : array_like or None, shape (nx,), optional
        What one count is, > 0 [x_units]; None: powers of two, as small as 30 bits allow.
    x_zero : array_like or None, shape (nx,), optional
        State at count 0 [x_units]; None: zero.
    u_step : array_like or None, shape (nu,), optional
        What one count is, > 0 [u_units]; None as above.
    u_zero : array_like or None, shape (nu,), optional
        Input at count 0 [u_units]; None: zero.
    """

    x_step: ArrayLike | None = None
    x_zero: ArrayLike | None = None
    u_step: ArrayLike | None = None
    u_zero: ArrayLike | None = None

    def __post_init__(self) -> None:
        for key, value in vars(self).items():
            if value is not None:
                object.__setattr__(self, key, as_array(key, value, (None,)))


@dataclass(frozen=True)
class FixedParameters:
    """θ as integers; see scpo_fixed.h."""

    rows: tuple[np.ndarray, ...]  # of each layer (units, inputs + 1), the bias last; of the output behind -K
    shifts: tuple[np.ndarray, ...]  # of each layer (units,)
    at_zero: np.ndarray  # (hidden units,) the hidden layers at the equilibrium


@dataclass(frozen=True, kw_only=True)
class FixedLaw:
    """The numbers of a policy in integers that do not depend on θ."""

    widths: tuple[int, ...]
    x_step: np.ndarray  # (nx,) [x_units]
    x_zero: np.ndarray  # (nx,) [x_units]
    u_step: np.ndarray  # (nu,) [u_units]
    u_zero: np.ndarray  # (nu,) [u_units]
    low: np.ndarray  # (nx,) range of counts
    high: np.ndarray  # (nx,)
    shift: np.ndarray  # (nx,) counts are multiplied by 2^shift
    zero: np.ndarray  # (nx,) equilibrium, multiplied so
    least: np.ndarray  # (nu,) bounds of the input in counts, inside the true ones
    most: np.ndarray  # (nu,)
    reach: np.ndarray  # (nx,) what 2^30 of a state is, in units of its scale
    gain: np.ndarray  # (nu, nx) counts of the input per 2^30 of a state
    size: np.ndarray  # (nu,) counts of the input per unit of what the network gives
    rest: np.ndarray  # (nu,) counts of the input at the equilibrium

    def prepared(self, theta: np.ndarray) -> FixedParameters:
        """Return parameters as integers.

        Parameters
        ----------
        theta : numpy.ndarray, shape (d,)

        Returns
        -------
        FixedParameters

        Raises
        ------
        DomainError
            If they are too large: then the C answers SCPO_BAD_THETA.
        """
        layers, output = layers_of(theta, self.widths)
        reaches = [self.reach, *[1.0] * len(layers)]  # of what each layer takes
        found = [
            _quantised(np.column_stack([W * reach, b]), ARGUMENT)
            for (W, b), reach in zip(layers, reaches, strict=False)
        ]
        W = output * self.size[:, None]
        W = W if len(self.widths) > 2 else W * self.reach
        found.append(_quantised(np.column_stack([self.gain, W, self.rest]), 0))
        rows, shifts = (tuple(part) for part in zip(*found, strict=True))
        hidden = self._hidden(rows, shifts, None)
        return FixedParameters(rows, shifts, np.concatenate([layer[0] for layer in hidden] or [np.zeros(0, np.int64)]))

    def _hidden(
        self, rows: tuple[np.ndarray, ...], shifts: tuple[np.ndarray, ...], y: np.ndarray | None
    ) -> list[np.ndarray]:
        """Return the hidden layers at states (n, nx); at the equilibrium where there are none."""
        layers: list[np.ndarray] = []
        for weights, shift in zip(rows[:-1], shifts[:-1], strict=True):
            sums = np.zeros((1, len(weights)), np.int64) if y is None else y @ weights[:, :-1].T
            argument = np.clip(_shifted(sums, weights[:, -1], shift), -END << ARGUMENT, END << ARGUMENT)
            y = fixed_tanh(argument)
            layers.append(y)
        return layers

    def commands(self, parameters: FixedParameters, counts: np.ndarray) -> np.ndarray:
        """Return inputs before saturation, in counts.

        Parameters
        ----------
        parameters : FixedParameters
        counts : numpy.ndarray of int64, shape (n, nx)
            Of the states; any.

        Returns
        -------
        numpy.ndarray of int64, shape (n, nu)
        """
        y = np.clip(counts, self.low, self.high) * (1 << self.shift) - self.zero
        moved = y
        if hidden := self._hidden(parameters.rows, parameters.shifts, y):
            moved = hidden[-1] - parameters.at_zero[-hidden[-1].shape[1] :]
        weights = parameters.rows[-1]
        sums = np.hstack([y, moved]) @ weights[:, :-1].T
        return _shifted(sums, weights[:, -1], parameters.shifts[-1])

    def control(self, parameters: FixedParameters, counts: np.ndarray) -> np.ndarray:
        """Return inputs within their bounds, in counts: scpo_fixed_command.

        Parameters
        ----------
        parameters : FixedParameters
        counts : numpy.ndarray of int64, shape (n, nx)

        Returns
        -------
        numpy.ndarray of int64, shape (n, nu)
        """
        return np.clip(self.commands(parameters, counts), self.least, self.most)

    def counts(self, x: np.ndarray) -> np.ndarray:
        """Return the counts nearest to states, within their range: scpo_fixed_counts.

        Parameters
        ----------
        x : numpy.ndarray, shape (n, nx)
            [x_units] Entries that are not finite give the equilibrium, whole states of it.

        Returns
        -------
        numpy.ndarray of int64, shape (n, nx)
        """
        good = np.isfinite(x).all(axis=1, keepdims=True)
        with np.errstate(all="ignore"):
            found = np.where(good, (x - self.x_zero) / self.x_step, np.ldexp(self.zero.astype(float), -self.shift))
        return _nearest(np.clip(found, self.low, self.high))

    def states(self, counts: np.ndarray) -> np.ndarray:
        """Return the states that counts stand for [x_units].

        Parameters
        ----------
        counts : numpy.ndarray of int64, shape (n, nx)

        Returns
        -------
        numpy.ndarray, shape (n, nx)
        """
        return np.asarray(self.x_zero + self.x_step * counts)

    def inputs(self, counts: np.ndarray) -> np.ndarray:
        """Return the inputs that counts stand for [u_units].

        Parameters
        ----------
        counts : numpy.ndarray of int64, shape (n, nu)

        Returns
        -------
        numpy.ndarray, shape (n, nu)
        """
        return np.asarray(self.u_zero + self.u_step * counts)


def fixed_tanh(x: np.ndarray) -> np.ndarray:
    """Return tanh in 2^-30 of arguments in 2^-27, |x| <= 10.

    Parameters
    ----------
    x : numpy.ndarray of int64

    Returns
    -------
    numpy.ndarray of int64
        Off by less than `fixed_bound.TANH_ERROR`.
    """
    size = np.abs(x)
    k = (size + (1 << 21)) >> 22
    d = (size - (k << 22)) * 8
    t = TABLE[k]
    square = (t * t) >> 30
    bend = (d * (t - ((d * (square - ONE // 3)) >> 30))) >> 30
    y = t + (((ONE - square) * (d - ((d * bend) >> 30))) >> 30)
    return np.asarray(np.where(x < 0, -y, y))


def fixed_law(policy: Policy, counted: FixedPoint) -> FixedLaw:
    """Collect the numbers of a policy in integers.

    Parameters
    ----------
    policy : Policy
    counted : FixedPoint

    Returns
    -------
    FixedLaw

    Raises
    ------
    DomainError
        If a step is not positive, or too coarse or too fine for the plant's bounds.
    """
    as_instance("fixed", counted, FixedPoint)
    plant, scale = policy.plant, np.array(policy.scale)
    away = np.maximum(np.abs(plant.x_max - plant.x_eq), np.abs(plant.x_min - plant.x_eq))
    away = np.where(np.isfinite(away), _BEYOND * away, _UNBOUNDED * scale)
    x_zero = _given("x_zero", counted.x_zero, np.zeros(plant.nx))
    u_zero = _given("u_zero", counted.u_zero, np.zeros(plant.nu))
    x_step = _given("x_step", counted.x_step, _finest(np.abs(plant.x_eq - x_zero) + away), positive=True)
    bounds = np.abs(np.array([plant.u_min, plant.u_max]) - u_zero).max(axis=0)
    u_step = _given("u_step", counted.u_step, _finest(bounds), positive=True)
    ranges = [_range(f"x[{i}]", *row) for i, row in enumerate(zip(plant.x_eq, away, x_zero, x_step, strict=True))]
    low, high, shift, zero = (np.array(part, np.int64) for part in zip(*ranges, strict=True))
    limits = [
        _limits(f"u[{i}]", *row) for i, row in enumerate(zip(plant.u_min, plant.u_max, u_zero, u_step, strict=True))
    ]
    least, most = (np.array(part, np.int64) for part in zip(*limits, strict=True))
    whole = np.ldexp(x_step, 30 - shift)  # of a state, what 2^30 stands for
    return FixedLaw(
        widths=policy.widths, x_step=x_step, x_zero=x_zero, u_step=u_step, u_zero=u_zero, low=low, high=high,
        shift=shift, zero=zero, least=least, most=most, reach=whole / scale,
        gain=-policy.backup.K * whole / u_step[:, None], size=np.array(policy.input_scale) / u_step,
        rest=(plant.u_eq - u_zero) / u_step,
    )  # fmt: skip


def _given(name: str, value: ArrayLike | None, default: np.ndarray, *, positive: bool = False) -> np.ndarray:
    found = default if value is None else as_array(name, value, default.shape)
    if positive and not (found > 0).all():
        raise DomainError(f"{name} is {found.tolist()}, what a count stands for; expected positive numbers")
    return np.asarray(found, float)


def _finest(largest: np.ndarray) -> np.ndarray:
    """Return the powers of two of which 2^30 are more than some numbers."""
    return np.ldexp(1.0, np.frexp(largest)[1] - 30)


def _range(name: str, x_eq: float, away: float, zero: float, step: float) -> tuple[int, int, int, int]:
    """Return range of counts, shift, and the equilibrium shifted: all that is shifted is at most 2^30."""
    rest = (Fraction(x_eq) - Fraction(zero)) / Fraction(step)
    reach = min(Fraction(away) / Fraction(step), Fraction(ONE - 1))
    high, low = min(int(rest + reach), ONE), max(-int(reach - rest), -ONE)
    if high - low < _FEWEST or not low < rest < high:
        raise DomainError(
            f"{name}: with counts of {step:g} from {zero:g} on, its range about the equilibrium {x_eq:g} is "
            f"{max(high - low, 0)} counts of 31 bits; choose another x_step or x_zero"
        )
    largest = max(abs(high), abs(low), high - rest, rest - low)
    shift = 0
    while largest * 2 ** (shift + 1) <= ONE - 1:
        shift += 1
    return low, high, shift, round(rest * 2**shift)


def _limits(name: str, u_min: float, u_max: float, zero: float, step: float) -> tuple[int, int]:
    """Return bounds of an input in counts, which are inside the true ones."""
    low, high = ((Fraction(bound) - Fraction(zero)) / Fraction(step) for bound in (u_min, u_max))
    least, most = -int(-low // 1), int(high // 1)
    if most - least < _FEWEST or max(-least, most) > ONE:
        raise DomainError(
            f"{name}: with counts of {step:g} from {zero:g} on, its bounds are {max(most - least, 0)} counts apart; "
            "choose another u_step or u_zero"
        )
    return least, most


def _quantised(rows: np.ndarray, point: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of numbers as integers in 2^-e of each row, and shifts from 2^-(e + 30) to 2^-point."""
    largest = np.abs(rows).max(axis=1)
    exponent = np.minimum(31 - (rows.shape[1] - 1).bit_length() - np.frexp(largest)[1], 31)
    shift = exponent + 30 - point
    if not (largest < _LARGEST).all() or not ((shift >= _SHIFTS[0]) & (shift <= _SHIFTS[1])).all():
        raise DomainError("the parameters are too large for 32 bits; export without fixed")
    return _nearest(np.ldexp(rows, exponent[:, None])), shift.astype(np.int64)


def _nearest(x: np.ndarray) -> np.ndarray:
    """Round to integers, halves away from zero."""
    return np.trunc(x + np.copysign(0.5, x)).astype(np.int64)


def _shifted(sums: np.ndarray, bias: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Add biases to sums of products, and round to the nearest."""
    return np.asarray((sums + bias * ONE + (1 << (shift - 1))) >> shift)
