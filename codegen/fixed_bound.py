"""How far the inputs of a policy in integers are off: a proved bound, over all counts of its states.

Each step of the integers is compared with the same step in exact arithmetic. Sums of products are exact; what is off
are weights and biases, as integers; the equilibrium, to 2^-30 of a state's reach; what is shifted, by half a unit; and
tanh. tanh and saturation have slopes of at most one. All is added up in fractions, nothing of which is rounded, and
the last one is rounded up.

tanh(a + δ) with |δ| <= 1/64 and t = tanh(a) is t + (1 - t²)(δ - tδ² + (t² - 1/3)δ³) up to 4.086 δ⁴/24, as no fourth
derivative is larger: 10.9 units of 2^-30. The table is off by half a unit and each product by one at most, which comes
to 2.6 units of the sum; beyond 10 tanh is 4.5 units from one. So 14 units hold.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from scpo_ctrl.codegen.fixed_law import ARGUMENT, ONE, FixedLaw, FixedParameters
from scpo_ctrl.loop.policy import Policy

TANH_ERROR = Fraction(14, ONE)
_HALF = Fraction(1, 2)
_DOUBLES = Fraction(1, 1 << 20)  # of a unit: more than a product of doubles adds to an integer below 2^31


@dataclass(frozen=True)
class _Row:
    """A row of weights with its bias behind it: how large they are, and how far off as integers, at most."""

    size: tuple[Fraction, ...]
    off: tuple[Fraction, ...]


def error_bound(law: FixedLaw, policy: Policy, theta: np.ndarray, parameters: FixedParameters) -> np.ndarray:
    """Return the largest distance of inputs in integers from those in exact arithmetic.

    Parameters
    ----------
    law : FixedLaw
    policy : Policy
    theta : numpy.ndarray, shape (d,)
    parameters : FixedParameters
        Of this θ.

    Returns
    -------
    numpy.ndarray, shape (nu,)
        [u_units], for all counts of the states within their ranges.
    """
    layers = []
    true = _weights(law, policy, [Fraction(value) for value in theta.tolist()])
    points = [ARGUMENT] * (len(true) - 1) + [0]
    for rows, weights, shifts, point in zip(true, parameters.rows, parameters.shifts, points, strict=True):
        units = [Fraction(2) ** (point - 30 + shift) for shift in shifts.tolist()]  # 2^e
        layers.append([
            _Row(tuple(map(abs, row)), tuple(abs(k / unit - v) for k, v in zip(integers, row, strict=True)))
            for row, integers, unit in zip(rows, weights.tolist(), units, strict=True)
        ])  # fmt: skip
    return _propagated(law, policy, layers)


def error_within(law: FixedLaw, policy: Policy, limit: float) -> np.ndarray:
    """Return the same for all parameters up to a size.

    Parameters
    ----------
    law : FixedLaw
    policy : Policy
    limit : float
        No |θ_k| is larger.

    Returns
    -------
    numpy.ndarray, shape (nu,)
        [u_units]
    """
    layers = []
    for rows in _weights(law, policy, [Fraction(limit)] * policy.theta_dim):
        found = []
        for row in rows:
            size = tuple(map(abs, row))
            exponent = 31 - (len(row) - 1).bit_length() - math.frexp(_up(max(size) * (1 + _DOUBLES)))[1]
            unit = Fraction(2) ** -min(exponent, 31)
            found.append(_Row(size, tuple((_HALF + _DOUBLES) * unit for _ in row)))
        layers.append(found)
    return _propagated(law, policy, layers)


def _weights(law: FixedLaw, policy: Policy, theta: Sequence[Fraction]) -> list[list[list[Fraction]]]:
    """Return the rows of each layer that integers stand for, exactly, in units of them."""
    plant = policy.plant
    whole = [Fraction(step) * Fraction(2) ** (30 - shift) for step, shift in _pairs(law.x_step, law.shift)]
    reach = [a / Fraction(scale) for a, scale in zip(whole, policy.scale, strict=True)]
    layers, start = [], 0
    for k, (inputs, units) in enumerate(itertools.pairwise(law.widths[:-1])):
        rows, bias = [], start + units * inputs
        for i in range(units):
            row = theta[start + i * inputs : start + (i + 1) * inputs]
            rows.append([w * r for w, r in zip(row, reach, strict=True)] if k == 0 else list(row))
            rows[-1].append(theta[bias + i])
        layers.append(rows)
        start = bias + units
    rows, last = [], law.widths[-2]
    for i in range(plant.nu):
        step, zero = Fraction(float(law.u_step[i])), Fraction(float(law.u_zero[i]))
        size = Fraction(policy.input_scale[i]) / step
        gain = [-Fraction(k) * a / step for k, a in zip(policy.backup.K[i].tolist(), whole, strict=True)]
        row = [w * size for w in theta[start + i * last : start + (i + 1) * last]]
        row = row if len(law.widths) > 2 else [w * r for w, r in zip(row, reach, strict=True)]
        rows.append([*gain, *row, (Fraction(float(plant.u_eq[i])) - zero) / step])
    return [*layers, rows]


def _pairs(a: np.ndarray, b: np.ndarray) -> list[tuple[float, int]]:
    return list(zip(a.tolist(), b.tolist(), strict=True))


def _propagated(law: FixedLaw, policy: Policy, layers: list[list[_Row]]) -> np.ndarray:
    """Carry what is off through the layers."""
    size, off = _of_states(law, policy)
    values, errors = size, off  # of the layer before, at the state
    at_zero: list[Fraction] = [Fraction(0)] * len(size)  # errors of the same at the equilibrium
    nothing = at_zero
    rounded = Fraction(1, 1 << (ARGUMENT + 1))
    for rows in layers[:-1]:
        errors = [_sum(row, values, errors) + row.off[-1] + rounded + TANH_ERROR for row in rows]
        before = nothing if at_zero is nothing else [Fraction(1)] * len(at_zero)
        at_zero = [_sum(row, before, at_zero) + row.off[-1] + rounded + TANH_ERROR for row in rows]
        values = [Fraction(1)] * len(rows)
    if len(layers) > 1:
        values = [Fraction(2)] * len(values)
        errors = [a + b for a, b in zip(errors, at_zero, strict=True)]
    found = []
    for i, row in enumerate(layers[-1]):
        counts = _sum(row, [*size, *values], [*off, *errors]) + row.off[-1] + _HALF
        step, zero = Fraction(float(law.u_step[i])), Fraction(float(law.u_zero[i]))
        low = int(law.least[i]) * step + zero - Fraction(float(policy.plant.u_min[i]))
        high = Fraction(float(policy.plant.u_max[i])) - int(law.most[i]) * step - zero
        found.append(_up(max(counts * step, low, high)))
    return np.array(found)


def _of_states(law: FixedLaw, policy: Policy) -> tuple[list[Fraction], list[Fraction]]:
    """Return the largest absolute value of each state, and how far off its equilibrium is, in parts of 2^30."""
    size, off = [], []
    for i in range(policy.plant.nx):
        whole = Fraction(2) ** int(law.shift[i])
        rest = (Fraction(float(policy.plant.x_eq[i])) - Fraction(float(law.x_zero[i]))) / Fraction(float(law.x_step[i]))
        zero = int(law.zero[i])
        size.append(max(int(law.high[i]) * whole - zero, zero - int(law.low[i]) * whole) / ONE)
        off.append(abs(zero - rest * whole) / ONE)
    return size, off


def _sum(row: _Row, values: Sequence[Fraction], errors: Sequence[Fraction]) -> Fraction:
    """Return how far off a row's products with values and errors of them are, together."""
    parts = zip(row.off[:-1], row.size[:-1], values, errors, strict=True)
    return sum((off * value + size * error for off, size, value, error in parts), Fraction(0))


def _up(value: Fraction) -> float:
    """Return the least double that is no less."""
    found = float(value)
    return found if Fraction(found) >= value else math.nextafter(found, math.inf)
