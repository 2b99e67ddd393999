"""What the script of the page draws: trajectories of committed policies, and the run's history, as plain data."""

import base64
from typing import Any

import numpy as np

from scpo_ctrl.adaptation.history import VERDICTS
from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.report.explored import Explored, Signal, explored
from scpo_ctrl.report.figures import view_of
from scpo_ctrl.report.history_figures import MARKS, margin_cap, scales_basis
from scpo_ctrl.report.tables import conditions, scenario_name
from scpo_ctrl.report.trajectories import followed_references, level_set, loads, shown_plant
from scpo_ctrl.report.wording import start_name
from scpo_ctrl.text import visible

MOST_TRIED = 2000  # rows of the history
_RING = 121  # points of the boundary of a level set
_COLUMNS = ("objective", "margin", "stationarity", "verdict", "active", "smoothness_max", "smoothness_median")


def encoded(values: np.ndarray) -> str:
    """Return numbers as a typed array of 32-bit floats, low byte first, in base64.

    Parameters
    ----------
    values : numpy.ndarray

    Returns
    -------
    str
        What no such float can hold is not a number in it.
    """
    values = np.asarray(values, dtype=np.float64)
    fits = np.abs(values) < np.finfo(np.float32).max
    return base64.b64encode(np.where(fits, values, np.nan).astype("<f4").tobytes()).decode()


def page_data(result: Result, scenarios: np.ndarray | None = None) -> dict[str, Any]:
    """Return all that the page's script draws.

    Parameters
    ----------
    result : Result
    scenarios : numpy.ndarray of int, optional
        Which ones to show; by default those closest to their bounds, and others far from these.

    Returns
    -------
    dict
        Plain data, for JSON.
    """
    loop = explored(result, scenarios)
    return {
        "start": start_name(result),
        "history": history_data(result, np.array([], dtype=int) if loop is None else loop.tried[1:]),
        "loop": None if loop is None else _loop_data(result, loop),
    }


def history_data(result: Result, besides: np.ndarray) -> dict[str, Any]:
    """Return the tried steps of a run, of very many a part of them.

    Parameters
    ----------
    result : Result
    besides : numpy.ndarray of int
        Tried steps, from 1, that have to be among them.

    Returns
    -------
    dict
        Plain data; columns as of `encoded`.
    """
    count = len(result.history)
    some = np.linspace(1, count, min(count, MOST_TRIED)).round().astype(int)
    tried = np.unique(np.append(some, besides))
    columns = result.history.columns()
    cap = margin_cap(result)
    return {
        "count": count,
        "tried": tried.tolist(),
        "verdicts": [MARKS[verdict][3] for verdict in VERDICTS],
        "objective_initial": _plain(result.objective_initial),
        "margin_initial": _plain(result.margin_initial),
        "margin_cap": _plain(cap),
        "tolerance": _plain(result.options.tolerance),
        "radius": None if scales_basis(result) else _plain(result.options.radius),
        **{name: encoded(columns[name][tried - 1]) for name in (*_COLUMNS, "delta_norm")},
    }


def _loop_data(result: Result, loop: Explored) -> dict[str, Any]:
    problem = loop.problem
    plant, guards = problem.plant, result.guards.count if result.guards else 0
    everywhere = result.everywhere
    assert isinstance(everywhere, ControlProblem)  # as the problem has a plant
    own = everywhere.scenarios.count - guards
    return {
        "time": "time [s]" if plant.dt else "time step",
        "t": (loop.samples * (plant.dt or 1.0)).tolist(),
        "hold": plant.dt or 1.0,
        "numbers": loop.scenarios.tolist(),
        "scenarios": [
            visible(f"{scenario_name(int(k), own)}: {conditions(plant, problem.scenarios, i)}")
            for i, k in enumerate(loop.scenarios)
        ],
        "tried": loop.tried.tolist(),
        "signals": [_signal_data(signal, loop.values[:, i]) for i, signal in enumerate(loop.signals)],
        "values": encoded(loop.values),
        "margins": encoded(loop.margins),
        "portraits": [_portrait_data(loop, pair) for pair in loop.pairs],
        "given": _given(loop),
    }


def _signal_data(signal: Signal, values: np.ndarray) -> dict[str, Any]:
    view, _ = view_of(values, signal.low, signal.high)
    ends = {"low": _plain(signal.low), "high": _plain(signal.high), "rest": _plain(signal.rest)}
    return {"name": visible(signal.name), "unit": visible(signal.unit), "kind": signal.kind, "view": view, **ends}


def _portrait_data(loop: Explored, pair: tuple[int, int]) -> dict[str, Any]:
    """Return which signals make a phase portrait, its range and its level set."""
    plant, backup = shown_plant(loop.problem), loop.problem.backup
    ring = level_set(backup.P, backup.rho, pair, _RING) + plant.x_eq[list(pair)]
    place = [_place(loop, i) for i in pair]
    views = [
        view_of(np.append(loop.values[:, place[k]].ravel(), ring[:, k]), plant.x_min[i], plant.x_max[i])[0]
        for k, i in enumerate(pair)
    ]
    return {"signals": place, "views": views, "ring": encoded(ring)}


def _given(loop: Explored) -> list[dict[str, Any]]:
    """Return references and loads: which signal a reference is for, None for a load, and values over time."""
    every, N = np.arange(loop.problem.scenarios.count), loop.problem.scenarios.horizon
    at = np.minimum(loop.samples, N - 1)
    found: list[dict[str, Any]] = []
    for i, values in followed_references(loop.problem, every).items():
        if i in loop.states:
            found.append({"of": _place(loop, i), "values": encoded(values[:, at])})
    for label, unit, values in loads(loop.problem, every):
        names = {"name": visible(label), "unit": visible(unit), "view": view_of(values, -np.inf, np.inf)[0]}
        found.append({"of": None, "values": encoded(values[:, at]), **names})
    return found


def _place(loop: Explored, state: int) -> int:
    """Return which of the signals a state is."""
    first = next(i for i, signal in enumerate(loop.signals) if signal.kind == "state")
    return first + loop.states.index(state)


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
