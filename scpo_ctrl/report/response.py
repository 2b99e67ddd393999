"""What an engineer reads off a step of a reference: rise time, overshoot, settling time, peaks of the inputs."""

from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np

from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.errors import DimensionError
from scpo_ctrl.loop.controlled import ControllerPolicy
from scpo_ctrl.loop.scenario import Scenarios
from scpo_ctrl.models import Plant
from scpo_ctrl.models.signals import KINDS, Signal
from scpo_ctrl.models.varying import first_varying, parameters_over_time
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.problem.tracking import followed
from scpo_ctrl.report.numbers import short, with_unit
from scpo_ctrl.report.signal_words import in_words

_MOVES = ("step", "ramp")  # signals that go from one value to another
_SAMPLE = 1e-9  # of a sampling time, by which an instant may miss a sample and still be it


@dataclass(frozen=True)
class Response:
    """How a loop answers a step or a ramp of a reference, as it ran before and adapted."""

    label: str  # of the reference
    unit: str
    scenario: int  # that of the largest step
    reference: Signal  # as it is there
    info: tuple[tuple[float, float, float], tuple[float, float, float]]  # before, after: as of `step_info`
    peaks: tuple[tuple[str, str, float, float], ...]  # of each input: label, unit, before, after

    @property
    def in_words(self) -> str:
        """What is answered."""
        return f"{in_words(self.label, self.reference, self.unit)} (scenario {self.scenario})"

    @property
    def in_brief(self) -> str:
        """What changed of its overshoot and its settling."""
        of = [f"{name.partition(',')[0]} {before} → {after}" for name, before, after in self.rows[1:3]]
        return f"largest {self.reference.kind} of {self.label}: {', '.join(of)}"

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """Quantity, before and after, for reading."""
        (rise, beyond, settled), (rises, goes, settles) = self.info
        rows = [
            ("rise time, 10 to 90 %", _seconds(rise), _seconds(rises)),
            ("overshoot", with_unit(beyond, "%", short), with_unit(goes, "%", short)),
            ("settling time, to 2 %", _seconds(settled), _seconds(settles)),
        ]
        for name, unit, before, after in self.peaks:
            rows.append((f"peak of {name}", with_unit(before, unit, short), with_unit(after, unit, short)))
        return rows


def step_info(t: np.ndarray, y: np.ndarray, end: float, start: float | None = None) -> tuple[float, float, float]:
    """Return rise time from 10 to 90 % [s], overshoot [%] and settling time to 2 % [s].

    Parameters
    ----------
    t : numpy.ndarray, shape (T,)
        [s], from the step on.
    y : numpy.ndarray, shape (T,)
    end : float
        Where y should come to rest.
    start : float, optional
        Where it begins; y[0] by default.

    Returns
    -------
    rise, overshoot, settling : float
        Rise and settling are infinite for a response that does not get there.
    """
    import control  # takes a second

    start = float(y[0]) if start is None else start
    sign = 1.0 if end >= start else -1.0
    moved, whole = sign * (y - start), sign * (end - start)
    if not np.isfinite(moved).all() or not whole or (moved / whole).max() < 0.9:  # for which step_info has no answer
        return np.inf, 0.0, np.inf
    found = control.step_info(moved, t, final_output=whole)
    rise, overshoot, settling = (float(found[key]) for key in ("RiseTime", "Overshoot", "SettlingTime"))
    return rise, overshoot, settling if abs(moved[-1] - whole) <= 0.02 * abs(whole) else np.inf


def responses(result: Result) -> list[Response]:
    """Return how the loop answers the largest step, or ramp, of each reference among its scenarios.

    A response is looked at until another signal moves, a load for example. Sensor noise is left out of it.

    Parameters
    ----------
    result : Result

    Returns
    -------
    list of Response
        Empty where no reference is a step or a ramp.
    """
    problem = result.problem
    if not isinstance(problem, ControlProblem) or not isinstance(problem.policy, ControllerPolicy):
        return []
    moving = {label: signal for label, signal in problem.policy.signals.items() if signal.kind in _MOVES}
    try:
        shown = followed(problem.policy, None) if moving else ca.SX(0, 1)
    except DimensionError:  # nothing says which output a reference is for
        return []
    places = problem.policy.controller.r_labels
    found = [_response(result, problem, label, signal, shown[places.index(label)]) for label, signal in moving.items()]
    return [response for response in found if response is not None]


def _response(result: Result, problem: ControlProblem, label: str, signal: Signal, shown: ca.SX) -> Response | None:
    plant, policy, batch = problem.plant, problem.policy, problem.scenarios
    assert isinstance(policy, ControllerPolicy) and plant.dt is not None
    numbers = np.array([_numbers(plant, label, signal, p) for p in batch.p])
    k = int(np.abs(numbers[:, 1] - numbers[:, 0]).argmax())
    (before, after, at), N = numbers[k, :3], batch.horizon
    others = [moment for moment in _moments(plant, batch.p[k]) if moment > at + _SAMPLE * plant.dt]
    first, last = (_sample(moment, plant.dt) for moment in (at, min(others, default=np.inf)))
    last = min(last, N + 1)
    if before == after or first + 2 > last:
        return None
    one = Scenarios(batch.x0[[k]], batch.p[[k]], batch.w[[k]], N)
    over_time, show = parameters_over_time(plant, one.p, N)[0], ca.Function("y", [plant.x, plant.p], [shown])
    infos, peaks = [], []
    for theta in (result.theta_initial, result.theta):
        (x,), (u,) = problem.trajectories(theta, one)
        y = np.array(show.map(N + 1)(x.T, over_time.T))[0]
        infos.append(step_info(plant.dt * np.arange(last - first), y[first:last], after, before))
        applied, rest = np.clip(u, plant.u_min, plant.u_max), plant.u_eq
        peaks.append(applied[np.abs(applied - rest).argmax(axis=0), np.arange(plant.nu)])
    ends = zip(plant.u_labels, plant.u_units, *(peak.tolist() for peak in peaks), strict=True)
    unit = policy.controller.r_units[policy.controller.r_labels.index(label)]
    seen = Signal(signal.kind, tuple(numbers[k].tolist()))
    return Response(label, unit, k, seen, (infos[0], infos[1]), tuple(ends)[: policy.controlled_plant.nu])


def _numbers(plant: Plant, label: str, signal: Signal, p: np.ndarray) -> list[float]:
    """Return the numbers of a signal in a scenario."""
    named = zip(KINDS[signal.kind].names, signal.numbers, strict=True)
    return [
        float(p[plant.p_labels.index(f"{label} {name}")]) if isinstance(number, tuple) else number
        for name, number in named
    ]


def _moments(plant: Plant, p: np.ndarray) -> list[float]:
    """Return when signals of a plant begin to move in a scenario [s]."""
    first = first_varying(plant)
    labels = zip(plant.p_labels[first:], plant.signals, strict=False)
    return [_numbers(plant, label, signal, p)[2] for label, signal in labels if signal.kind in _MOVES]


def _sample(moment: float, dt: float) -> Any:
    """Return the first sample that is not earlier."""
    return int(np.ceil(moment / dt - _SAMPLE)) if np.isfinite(moment) else np.inf


def _seconds(value: float) -> str:
    return with_unit(value, "s", short) if np.isfinite(value) else "never"
