"""Plants whose parameters vary over time: a signal takes the place of a parameter.

`with_signals` moves that parameter to the end of p, behind one more parameter for each number of the signal that has a
range, and puts the time behind all of them. What is drawn, searched and recorded of a scenario are those numbers; the
values over time follow from them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import casadi as ca
import numpy as np

from scpo_ctrl.errors import DomainError
from scpo_ctrl.messages import shown
from scpo_ctrl.models.plant import Plant, check_discrete
from scpo_ctrl.models.signals import KINDS, TIME, Signal, middle
from scpo_ctrl.sealed import as_instance

_SEED = KINDS["noise"].names.index("seed")


def with_signals(plant: Plant, signals: Mapping[str, Signal]) -> Plant:
    """Let parameters of a plant vary over time.

    Parameters
    ----------
    plant : Plant
        Discrete.
    signals : mapping of str to Signal
        By label of the parameter.

    Returns
    -------
    Plant
        Of the same dynamics; its parameters are those that do not vary, then the numbers of the signals that are
        drawn, then the parameters that vary, then the time. Its equilibrium is that of the nominal values.

    Raises
    ------
    DomainError
        If the plant is continuous, a label is none of its parameters or varies already, or a drawn number has no room.
    """
    as_instance("plant", plant, Plant)
    check_discrete(plant)
    if not isinstance(signals, Mapping) or not signals:
        raise DomainError(f"signals is {shown(signals)}, expected signals by label of the parameter that varies")
    first, fixed = first_varying(plant), [plant.p_labels[i] for i in still(plant)]
    for label, signal in signals.items():
        as_instance(f"signals[{shown(label)}]", signal, Signal)
        if label not in fixed:
            known = ", ".join(fixed) or "none"
            raise DomainError(f"signal {shown(label)}: plant {plant.name!r} has no such fixed parameter, but {known}")
        _check_reach(plant, label, signal)
    varied = [plant.p_labels.index(label) for label in signals]
    kept, news = [i for i in range(first) if i not in varied], _drawn(plant, signals)
    slots = [*range(first, plant.npar - 1), *varied]
    time = plant.p[-1] if plant.signals else ca.SX.sym(TIME)
    parts = [plant.p[i] for i in kept], ca.SX.sym("number", len(news)), [plant.p[i] for i in slots]
    symbols = ca.vertcat(*parts[0], parts[1], *parts[2], time)
    columns: dict[str, tuple[Any, ...]] = {}
    for key, new, last in (("labels", 0, TIME), ("units", 1, "s"), ("nominal", 2, 0.0), ("above", 3, -np.inf)):
        whole = getattr(plant, f"p_{key}")
        columns[f"p_{key}"] = (
            *(whole[i] for i in kept), *(row[new] for row in news), *(whole[i] for i in slots), last
        )  # fmt: skip
    return plant.replace(p=symbols, signals=(*plant.signals, *signals.values()), **columns)


def with_more_signals(plant: Plant, signals: Mapping[str, Signal], units: Sequence[str]) -> Plant:
    """Give a plant parameters that vary and that its dynamics do not depend on, as references and noise.

    Parameters
    ----------
    plant : Plant
        Discrete.
    signals : mapping of str to Signal
        By label; nominal is what they are at first.
    units : sequence of str
        One for each.

    Returns
    -------
    Plant
        As of `with_signals`.

    Raises
    ------
    DomainError
        If the plant is continuous, or has a parameter of that name.
    """
    taken = next((label for label in signals if label in plant.p_labels), None)
    if taken is not None:
        raise DomainError(f"plant {plant.name!r} has a parameter {taken!r} already; rename one")
    return with_signals(
        plant.replace(
            p=ca.vertcat(ca.SX.sym("more", len(signals)), plant.p),
            p_labels=(*signals, *plant.p_labels),
            p_units=(*units, *plant.p_units),
            p_nominal=np.append([signal.at_first for signal in signals.values()], plant.p_nominal),
            p_above=np.append(np.full(len(signals), -np.inf), plant.p_above),
        ),
        signals,
    )


def _check_reach(plant: Plant, label: str, signal: Signal) -> None:
    """Refuse values for which the plant means nothing."""
    above, lowest = plant.p_above[plant.p_labels.index(label)], signal.reach[0]
    if lowest <= above:
        raise DomainError(f"signal {shown(label)} reaches {lowest:g}; the plant means something only above {above:g}")


def _drawn(plant: Plant, signals: Mapping[str, Signal]) -> list[tuple[str, str, float, float]]:
    """Return label, unit, nominal value and lower limit of each number that is drawn."""
    rows = []
    for label, signal in signals.items():
        kind, unit = KINDS[signal.kind], plant.p_units[plant.p_labels.index(label)]
        for i in signal.drawn:
            name, own = f"{label} {kind.names[i]}", kind.units[i]
            if name in plant.p_labels:
                raise DomainError(f"plant {plant.name!r} has a parameter {name!r} already, which the signal draws")
            above = 0.0 if kind.names[i] == "over" else -np.inf
            rows.append((name, unit if own is None else own, middle(signal.numbers[i]), above))
    return rows


def drawn_ranges(plant: Plant) -> dict[int, tuple[float, float]]:
    """Return the ranges of the numbers of a plant's signals, by their places in p.

    Parameters
    ----------
    plant : Plant

    Returns
    -------
    dict of int to (low, high)
    """
    ranges: dict[int, tuple[float, float]] = {}
    for signal, where in zip(plant.signals, _places(plant), strict=True):
        ranges |= {place: signal.numbers[i] for place, i in zip(where, signal.drawn, strict=True)}  # type: ignore[misc]
    return ranges


def still(plant: Plant) -> list[int]:
    """Return where the parameters are in p that no signal has anything to do with.

    Parameters
    ----------
    plant : Plant

    Returns
    -------
    list of int
    """
    numbers = drawn_ranges(plant)
    return [i for i in range(first_varying(plant)) if i not in numbers]


def seeds(plant: Plant) -> list[int]:
    """Return where the seeds of noise are in p, numbers that stand for sequences and have no order.

    Parameters
    ----------
    plant : Plant

    Returns
    -------
    list of int
    """
    pairs = zip(plant.signals, _places(plant), strict=True)
    of_noise = [(signal, where) for signal, where in pairs if signal.kind == "noise"]
    return [p for signal, where in of_noise for p, i in zip(where, signal.drawn, strict=True) if i == _SEED]


def over_time(plant: Plant, p: np.ndarray, steps: int) -> np.ndarray:
    """Return the parameters that vary, the time last.

    Parameters
    ----------
    plant : Plant
    p : numpy.ndarray, shape (S, np)
    steps : int
        N

    Returns
    -------
    numpy.ndarray, shape (S, N + 1, k)
        k is 0 for a plant without signals.
    """
    if not plant.signals:
        return np.zeros((len(p), steps + 1, 0))
    dt = _dt(plant)
    values = [
        signal.over_time(steps, dt, p[:, where])[0]
        for signal, where in zip(plant.signals, _places(plant), strict=True)
    ]  # fmt: skip
    return np.stack([*values, np.broadcast_to(dt * np.arange(steps + 1), values[0].shape)], axis=2)


def settled(plant: Plant, p: np.ndarray) -> np.ndarray:
    """Return parameters with those that vary where they end.

    Parameters
    ----------
    plant : Plant
    p : numpy.ndarray, shape (S, np)

    Returns
    -------
    numpy.ndarray, shape (S, np)
        The same array where nothing varies.
    """
    if not plant.signals:
        return p
    p = p.copy()
    for k, (signal, where) in enumerate(zip(plant.signals, _places(plant), strict=True)):
        p[:, first_varying(plant) + k] = signal.settled(p[:, where])[0]
    p[:, -1] = 0.0
    return p


def without_signals(plant: Plant, expression: ca.SX) -> ca.SX:
    """Return an expression with what varies at its nominal value.

    Parameters
    ----------
    plant : Plant
    expression : casadi.SX
        Of its symbols.

    Returns
    -------
    casadi.SX
    """
    first = first_varying(plant)
    if not plant.signals:
        return expression
    return ca.substitute(expression, plant.p[first:], ca.DM(plant.p_nominal[first:]))


def settling(plant: Plant, ranges: np.ndarray) -> np.ndarray:
    """Return ranges of parameters without those on which no end of a signal depends, and without what varies.

    Parameters
    ----------
    plant : Plant
    ranges : numpy.ndarray, shape (np, 2)

    Returns
    -------
    numpy.ndarray, shape (np, 2)
        Those are at their nominal value instead.
    """
    ranges = ranges.copy()
    ranges[first_varying(plant) :] = plant.p_nominal[first_varying(plant) :, None]
    for signal, where in zip(plant.signals, _places(plant), strict=True):
        slopes = signal.settled(np.zeros((1, len(where))))[1]
        for place, slope in zip(where, slopes, strict=True):
            if not slope:
                ranges[place] = plant.p_nominal[place]
    return ranges


def parameters_over_time(plant: Plant, p: np.ndarray, steps: int) -> np.ndarray:
    """Return all parameters at every time.

    Parameters
    ----------
    plant : Plant
    p : numpy.ndarray, shape (S, np)
    steps : int
        N

    Returns
    -------
    numpy.ndarray, shape (S, N + 1, np)
        Not to be written to.
    """
    whole = np.broadcast_to(p[:, None], (len(p), steps + 1, p.shape[1]))
    if not plant.signals:
        return whole
    return np.concatenate([whole[:, :, : first_varying(plant)], over_time(plant, p, steps)], axis=2)


def gathered(plant: Plant, p: np.ndarray, by_p: np.ndarray, by_all: np.ndarray) -> np.ndarray:
    """Return derivatives by what makes the parameters, from those by all of them at every time.

    Parameters
    ----------
    plant : Plant
    p : numpy.ndarray, shape (S, np)
    by_p : numpy.ndarray, shape (S, np)
        By the parameters, those that vary where they end.
    by_all : numpy.ndarray, shape (S, N + 1, np)

    Returns
    -------
    numpy.ndarray, shape (S, np)
    """
    first = first_varying(plant)
    still = by_p.copy()
    still[:, :first] += by_all[:, :, :first].sum(axis=1)
    return pulled_back(plant, p, still, by_all[:, :, first:])


def pulled_back(plant: Plant, p: np.ndarray, by_p: np.ndarray, by_time: np.ndarray) -> np.ndarray:
    """Return derivatives by the numbers that make the signals, from those by their values.

    Parameters
    ----------
    plant : Plant
    p : numpy.ndarray, shape (S, np)
    by_p : numpy.ndarray, shape (S, np)
        By the parameters, those that vary where they end.
    by_time : numpy.ndarray, shape (S, N + 1, k)
        By their values over time, the time last.

    Returns
    -------
    numpy.ndarray, shape (S, np)
        Zero for the parameters that vary.
    """
    if not plant.signals:
        return by_p
    total, first, dt = by_p.copy(), first_varying(plant), _dt(plant)
    total[:, first:] = 0.0
    for k, (signal, where) in enumerate(zip(plant.signals, _places(plant), strict=True)):
        slopes = signal.over_time(by_time.shape[1] - 1, dt, p[:, where])[1]
        ends = signal.settled(p[:, where])[1]
        for place, slope, end in zip(where, slopes, ends, strict=True):
            total[:, place] += np.einsum("st,st->s", slope, by_time[:, :, k]) + end * by_p[:, first + k]
    return total


def signal_count(plant: Plant) -> int:
    """Return how many entries of p vary over time, the time itself counted; they are the last ones.

    Parameters
    ----------
    plant : Plant

    Returns
    -------
    int
    """
    return len(plant.signals) + 1 if plant.signals else 0


def first_varying(plant: Plant) -> int:
    """Return where the parameters that vary over time begin in p; they are the last ones.

    Parameters
    ----------
    plant : Plant

    Returns
    -------
    int
    """
    return plant.npar - signal_count(plant)


def _dt(plant: Plant) -> float:
    assert plant.dt is not None
    return plant.dt


def _places(plant: Plant) -> Sequence[list[int]]:
    """Return where the numbers of each signal are in p."""
    end = first_varying(plant)
    starts = end - np.cumsum([len(signal.drawn) for signal in plant.signals][::-1])[::-1]
    return [list(range(start, start + len(s.drawn))) for start, s in zip(starts.tolist(), plant.signals, strict=True)]
