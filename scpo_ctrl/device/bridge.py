"""Host and device together: the device controls, the host watches the model, adapts, and sends policies back."""

import csv
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from scpo_ctrl.adaptation.adapter import Adapter
from scpo_ctrl.adaptation.options import AdaptOptions
from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.adaptation.status import RunStatus
from scpo_ctrl.device.link import Device, Port, Sample
from scpo_ctrl.errors import DeviceError, OutputError
from scpo_ctrl.loop.policy import Policy
from scpo_ctrl.problem.control_problem import ControlProblem

_QUIET = 0.02  # [s] between looks at a device that has nothing new
_OK, _GUARDED = 0, 6  # SCPO_OK, SCPO_GUARDED
_ROUNDINGS = 16  # of the device's numbers, that a model's error may come from

Monitor = Callable[[int, int], bool | None]  # steps done and of how many; true to stop


@dataclass(frozen=True)
class BridgeRun:
    """What came of a bridge."""

    samples: int  # received
    transitions: int  # of them, measured pairs that follow each other
    uncovered: int  # transitions that no scenario's plant explains
    steps: int
    sent: int  # policies
    refused: int  # policies whose margins rounding to the device's numbers would have broken
    objective_initial: float
    objective_final: float
    status: str

    def summary(self) -> dict[str, Any]:
        """Return the same as plain data, for JSON.

        Returns
        -------
        dict
        """
        return dict(vars(self))


def bridge(
    result: Result,
    port: str,
    *,
    steps: int = 100,
    seconds: float = math.inf,
    log: Path | None = None,
    monitor: Monitor | None = None,
    save: Callable[[Adapter], None] | None = None,
) -> tuple[BridgeRun, Result]:
    """Adapt on the host what a device runs.

    Parameters
    ----------
    result : Result
        Whose policy the device has, or gets; adapted from there, in the scenarios of its problem.
    port : str
        A serial line to a device with `scpo_server_receive` and a telemetry ring.
    steps : int
        Of the adaptation at most.
    seconds : float
        After which it ends.
    log : pathlib.Path, optional
        A CSV file for all samples, as `scpo-ctrl identify` reads it.
    monitor : callable, optional
        Called with steps done and of how many after each; returns true to stop.
    save : callable, optional
        Called after each step with the adapter, to save the run while it goes on.

    Returns
    -------
    run : BridgeRun
    result : Result
        The run of the adaptation, to be saved.

    Raises
    ------
    DeviceError
        If the device does not answer, or has another policy's shape.
    OutputError
        If the log cannot be written.
    """
    problem = result.problem
    if not isinstance(problem, ControlProblem) or not isinstance(problem.policy, Policy):
        raise DeviceError("a bridge is for residual policies of a ControlProblem; this run has another controller")
    with Device(Port(port)) as device, _Log(log, device) as kept:
        if (device.nx, device.nu, device.theta_dim) != (problem.plant.nx, problem.plant.nu, problem.theta_dim):
            raise DeviceError("the device runs the export of another run: export this one, and flash it")
        adapted = problem.with_scenarios(problem.scenarios, result.theta)
        resolution = _ROUNDINGS * float(np.finfo(device.real).eps)
        adapter = Adapter(adapted, AdaptOptions(steps=steps), resolution=resolution)
        host = _Host(adapter, device, kept)
        host.send(adapter.theta)
        end = time.monotonic() + seconds
        while adapter.status is RunStatus.RUNNING and time.monotonic() < end:
            host.turn()
            if save is not None:
                save(adapter)
            if monitor is not None and monitor(host.steps, steps):
                break
        host.receive()
        return host.summary(), adapter.result()


class _Log:
    """Samples in a CSV file, or nowhere."""

    def __init__(self, path: Path | None, device: Device) -> None:
        self._path, self._device = path, device
        self._file: TextIO | None = None
        self._rows: Any = None

    def __enter__(self) -> "_Log":
        if self._path is not None:
            try:
                self._file = self._path.open("w", encoding="utf-8", newline="")
            except OSError as error:
                raise OutputError(f"{self._path} cannot be written: {error.strerror}; choose another file") from error
            self._rows = csv.writer(self._file)
            columns = [f"x{i}" for i in range(self._device.nx)] + [f"u{i}" for i in range(self._device.nu)]
            self._rows.writerow(["sample", *columns])
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def put(self, sample: Sample) -> None:
        """Write a sample."""
        if self._rows is not None:
            self._rows.writerow([sample.number, *(repr(float(value)) for value in (*sample.x, *sample.u))])


class _Host:
    """The host's end: what it has received, and what it sends."""

    def __init__(self, adapter: Adapter, device: Device, log: _Log) -> None:
        self.adapter, self.device, self.log = adapter, device, log
        self.samples = self.steps = self.sent = self.refused = 0
        self._last: Sample | None = None
        self._at_work = np.zeros(0)
        self._objective = adapter.problem.objective(adapter.theta)

    def turn(self) -> None:
        """Receive what has come, do a step, and send the policy if there is a new one at work."""
        if not self.receive():
            time.sleep(_QUIET)
        self.adapter.step()
        self.steps += 1
        theta = self.adapter.theta
        if not np.array_equal(theta, self._at_work):
            self.send(theta)

    def receive(self) -> int:
        """Take in all samples that wait; returns how many."""
        found = self.device.samples()
        for sample in found:
            last, self._last = self._last, sample
            self.log.put(sample)
            if last is not None and sample.number == last.number + 1:
                self.adapter.observe(last.x, last.u, sample.x, acted=last.status == _GUARDED)
        self.samples += len(found)
        return len(found)

    def send(self, theta: np.ndarray) -> None:
        """Make a policy the device's, unless its margins do not survive rounding to the device's numbers."""
        problem = self.adapter.problem
        rounded = theta.astype(self.device.real).astype(float)
        self._at_work = theta
        if np.max(problem.metrics(rounded), initial=-np.inf) > 0:
            self.refused += 1
        elif self.device.load(rounded) == _OK:
            self.sent += 1
        else:
            raise DeviceError("the device refuses a policy that is finite; check the line, and flash the export anew")

    def summary(self) -> BridgeRun:
        """Return what came of it."""
        seen = self.adapter.mismatch()
        return BridgeRun(
            samples=self.samples,
            transitions=seen.count,
            uncovered=seen.uncovered,
            steps=self.steps,
            sent=self.sent,
            refused=self.refused,
            objective_initial=float(self._objective),
            objective_final=float(self.adapter.problem.objective(self.adapter.theta)),
            status=self.adapter.status.name.lower(),
        )
