"""Fresh scenarios of the declared set once more, by their numbers: docs/guarantees.md says how they are drawn.

Philox is written here in numpy from its paper: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random
numbers: as easy as 1, 2, 3", SC 2011; 4 words of 64 bits, 10 rounds. numpy's generator counts from one.
"""

from typing import Any

import numpy as np

from scpo_ctrl.verification.loop import ClosedLoop
from scpo_ctrl.verification.over_time import ended, ranges

_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_NEIGHBOURHOOD = 0.05
_EVEN = 64  # numbers of a scenario that are spread evenly, at most


def philox(places: np.ndarray, key: int) -> np.ndarray:
    """Return the four random words at places of the sequence of a key.

    Parameters
    ----------
    places : numpy.ndarray of uint64, shape (k,)
    key : int
        Of 128 bits.

    Returns
    -------
    numpy.ndarray of uint64, shape (k, 4)
    """
    words = [places.astype(np.uint64) + np.uint64(1), *(np.zeros(len(places), dtype=np.uint64) for _ in range(3))]
    keys = [key & 0xFFFFFFFFFFFFFFFF, key >> 64]
    for _ in range(10):
        high, low = zip(*(_product(words[2 * i], _MULTIPLIERS[i]) for i in range(2)), strict=True)
        words = [high[1] ^ words[1] ^ np.uint64(keys[0]), low[1], high[0] ^ words[3] ^ np.uint64(keys[1]), low[0]]
        keys = [(k + weyl) & 0xFFFFFFFFFFFFFFFF for k, weyl in zip(keys, _WEYL, strict=True)]
    return np.stack(words, axis=1)


def drawn(loop: ClosedLoop, table: dict[str, Any], numbers: np.ndarray, key: int) -> dict[str, np.ndarray]:
    """Return scenarios of the declared set by their numbers, as arrays of a record.

    Parameters
    ----------
    loop : ClosedLoop
        Its plant, P and ρ.
    table : dict
        Section [scenarios], every default filled in.
    numbers : numpy.ndarray of int, shape (k,)
    key : int

    Returns
    -------
    dict of str to numpy.ndarray
    """
    return _placed(loop, table, _uniform(loop, table, numbers, key))


def spread(loop: ClosedLoop, table: dict[str, Any], count: int) -> dict[str, np.ndarray]:
    """Return scenarios of the declared set that are spread evenly, as arrays of a record.

    Parameters
    ----------
    loop : ClosedLoop
    table : dict
        Section [scenarios], every default filled in.
    count : int

    Returns
    -------
    dict of str to numpy.ndarray
    """
    return _placed(loop, table, spread_numbers(loop, table, count, table["seed"]))


def spread_numbers(loop: ClosedLoop, table: dict[str, Any], count: int, key: int) -> np.ndarray:
    """Return the numbers in (0, 1) of scenarios that are spread evenly, a row for each.

    Parameters
    ----------
    loop : ClosedLoop
    table : dict
        Section [scenarios], every default filled in.
    count, key : int

    Returns
    -------
    numpy.ndarray, shape (count, numbers)
    """
    from scipy.stats import qmc  # takes half a second to import

    uniform = _uniform(loop, table, np.arange(count), key)
    even = min(2 + loop.plant.nx + loop.plant.npar, _EVEN)
    points = qmc.Sobol(even, seed=np.random.default_rng(key)).random_base2(max(0, count - 1).bit_length())
    uniform[:, :even] = np.clip(points[:count], 2.0**-54, 1 - 2.0**-53)
    return uniform


def _uniform(loop: ClosedLoop, table: dict[str, Any], numbers: np.ndarray, key: int) -> np.ndarray:
    """Return the numbers in (0, 1) that scenarios are made from, a row for each."""
    half = np.array(table.get("disturbance", ()), dtype=float)
    columns = 2 + loop.plant.nx + loop.plant.npar + (loop.horizon + 1) * half.size
    steps = -(-columns // 4)  # of the counter, for each scenario
    places = (numbers[:, None] * steps + np.arange(steps)).astype(np.uint64)
    words = philox(places.ravel(), key).reshape(len(numbers), 4 * steps)[:, :columns]
    return ((words >> np.uint64(11)).astype(float) + 0.5) / 2.0**53


def _placed(loop: ClosedLoop, table: dict[str, Any], uniform: np.ndarray) -> dict[str, np.ndarray]:
    """Return the scenarios that rows of numbers in (0, 1) stand for."""
    plant, N, numbers = loop.plant, loop.horizon, uniform
    half = np.array(table.get("disturbance", ()), dtype=float)
    x, p, w = np.split(uniform, [2 + plant.nx, 2 + plant.nx + plant.npar], axis=1)
    low, high = ranges_of(loop, table)
    fixed, w = table.get("disturbance_fixed", 0.0), 2 * w - 1
    constant, varying = w[:, None, : half.size], w[:, half.size :].reshape(len(numbers), N, half.size)
    return {
        "scenario_x0": initial(loop, table, x),
        "scenario_p": ended(plant, low + p * (high - low)),
        "scenario_w": (fixed * constant + (1 - fixed) * varying) * half,
    }


def distribution(loop: ClosedLoop, table: dict[str, Any]) -> str:
    """Return in words what scenarios are drawn from.

    Parameters
    ----------
    loop : ClosedLoop
    table : dict
        Section [scenarios].

    Returns
    -------
    str
    """
    plant, (centres, size) = loop.plant, _ellipsoids(loop, table)
    if "box" in table:
        parts = ["initial state uniform in a box"]
    elif size == 0:
        parts = [f"initial state one of {len(centres)} given ones, each as likely"]
    elif len(centres) == 1:
        parts = [f"initial state uniform in the ellipsoid V <= {size**2:g} rho, cut to the state bounds"]
    else:
        parts = [
            f"initial state uniform in one of {len(centres)} ellipsoids (x - c)'P(x - c) <= {size**2:g} rho, each as "
            "likely, cut to the state bounds"
        ]
    for label, unit, low, high in zip(plant.p_labels, plant.p_units, *ranges_of(loop, table), strict=True):
        if low < high:
            parts.append(f"{label} uniform in [{low:g}, {high:g}] {unit}".rstrip())
    if "disturbance" in table:
        fixed, half = table.get("disturbance_fixed", 0.0), [float(value) + 0.0 for value in table["disturbance"]]
        how = f"{fixed:g} of it constant over time" if fixed else "drawn anew at every step"
        parts.append(f"disturbance uniform within half widths {half}, {how}")
    return "; ".join([*parts, f"horizon N = {int(table['horizon'])}"])


def _product(a: np.ndarray, b: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the high and the low words of products of words of 64 bits, from halves of 32."""
    a0, a1 = a & _LOW, a >> _HALF
    b0, b1 = np.uint64(b & 0xFFFFFFFF), np.uint64(b >> 32)
    middle = a1 * b0 + (a0 * b0 >> _HALF)
    other = a0 * b1 + (middle & _LOW)
    return a1 * b1 + (middle >> _HALF) + (other >> _HALF), a * np.uint64(b)


def _ellipsoids(loop: ClosedLoop, table: dict[str, Any]) -> tuple[np.ndarray, float]:
    """Return centres, and size relative to the level set."""
    if "initial_states" not in table or "level" in table:
        return loop.plant.x_eq[None], float(np.sqrt(table.get("level", 0.0)))
    return np.array(table["initial_states"], dtype=float), float(table.get("neighbourhood", _NEIGHBOURHOOD))


def initial(loop: ClosedLoop, table: dict[str, Any], uniform: np.ndarray) -> np.ndarray:
    """Return the initial states that numbers stand for.

    Parameters
    ----------
    loop : ClosedLoop
    table : dict
        Section [scenarios], every default filled in.
    uniform : numpy.ndarray, shape (k, 2 + nx)
        In (0, 1).

    Returns
    -------
    numpy.ndarray, shape (k, nx)
    """
    plant = loop.plant
    if "box" in table:
        low, high = np.array(table["box"], dtype=float)
        return np.asarray(low + uniform[:, 1:-1] * (high - low))
    from scipy.special import ndtri

    centres, size = _ellipsoids(loop, table)
    towards = ndtri(uniform[:, 1:-1])
    towards = towards / np.sqrt((towards**2).sum(axis=1, keepdims=True))
    unit = np.sqrt(loop.rho / np.diag(loop.P))  # in these units a change of a state's unit changes nothing
    root = np.linalg.cholesky(np.linalg.inv(loop.P * unit * unit[:, None] / loop.rho))
    offset = unit * (size * uniform[:, -1:] ** (1 / plant.nx) * towards @ root.T)
    which = np.minimum(np.floor(uniform[:, 0] * len(centres)).astype(int), len(centres) - 1)
    return np.clip(centres[which] + offset, plant.x_min, plant.x_max)


def ranges_of(loop: ClosedLoop, table: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return low and high of each plant parameter.

    Parameters
    ----------
    loop : ClosedLoop
    table : dict
        Section [scenarios].

    Returns
    -------
    low, high : numpy.ndarray, shape (np,)
    """
    nominal, given = loop.plant.p_nominal, ranges(loop.plant, table.get("parameters", {}))
    pairs = [given.get(label, (nominal[i], nominal[i])) for i, label in enumerate(loop.plant.p_labels)]
    low, high = np.array(pairs, dtype=float).reshape(-1, 2).T
    return low, high
