"""What a device will do, on the desktop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.choices import REALS
from scpo_ctrl.device.adaptation import DeviceAdapter
from scpo_ctrl.device.model import DeviceModel
from scpo_ctrl.device.options import DeviceCounts, DeviceOptions, DeviceStatus
from scpo_ctrl.device.sampled import SampledAdapter
from scpo_ctrl.problem.applied import Applied
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.progress import Line
from scpo_ctrl.rounding import down
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.shown import Entries, Shown, counted
from scpo_ctrl.validate import as_array, as_choice, as_count


@dataclass(frozen=True, repr=False)
class DeviceResult(Shown, Applied[ControlProblem]):
    """What an adaptation on the device does.

    Attributes
    ----------
    problem : ControlProblem
        What was adapted.
    real : str
        "float" or "double".
    status : DeviceStatus
        Of the last step.
    theta : numpy.ndarray, shape (d,)
        The active parameters: the last committed ones that passed an audit, or, without audits, the last ones.
    committed : numpy.ndarray, shape (commits + 1, d)
        All of them, those to begin with first.
    objectives : numpy.ndarray, shape (commits + 1,)
        Theirs, in the arithmetic of the device.
    margins : numpy.ndarray, shape (commits + 1,)
        -max g, likewise; with its back-off, where what is committed is audited.
    counts : DeviceCounts
        What became of the steps.
    objective : float
        Of the active parameters, in the arithmetic of the device.
    audited : int or None
        Points of the last audit that the active parameters passed, half of them uniform in the declared set and half on
        its edges; None where nothing is audited, and 0 where none has passed yet.

    Examples
    --------
    After the example of `adapt`:

    >>> found = sc.adapt_as_device(problem, steps=3)
    >>> bool(found.objective < found.objectives[0]), len(found.committed)
    (True, 4)
    """

    problem: ControlProblem
    real: str
    status: DeviceStatus
    theta: np.ndarray
    committed: np.ndarray
    objectives: np.ndarray
    margins: np.ndarray
    counts: DeviceCounts
    objective: float
    audited: int | None

    def margin(self) -> float:
        """Return the least -max g of all committed parameters in double, by the problem's own metrics.

        Returns
        -------
        float
            Positive is safe; -inf where a metric is not finite.
        """
        worst = self.problem.metrics(np.asarray(self.committed, dtype=np.float64))
        return -float(np.max(np.where(np.isnan(worst), np.inf, worst), initial=-np.inf))

    def is_safe(self) -> bool:
        """Return whether every committed policy satisfies every metric in double.

        Returns
        -------
        bool
        """
        return self.margin() >= 0

    def _shown(self) -> tuple[str, Entries]:
        scenarios = counted(self.problem.scenarios.count, "scenario")
        counts, commits = self.counts, len(self.committed) - 1
        rows = [
            ("objective", f"{self.objectives[0]:.4g} -> {self.objective:.4g}"),
            ("steps", f"{counts.steps}, {commits} committed, {counts.unsafe} of {counts.tries} tries unsafe"),
            ("worst margin", f"{down(float(np.min(self.margins)))} on its {scenarios}, in {self.real}"),
            ("beyond them", self._beyond()),
        ]
        return self.status.name.lower().replace("_", " "), rows

    def _beyond(self) -> str:
        if self.audited is None:
            return "not audited: nothing is said of other scenarios"
        if not self.audited:
            return "no audit has passed: the parameters to begin with are the active ones"
        return f"the active policy broke no metric on {counted(self.audited, 'fresh point')}, half of them on edges"


def device_adapter(
    problem: ControlProblem, real: str = "float", theta: ArrayLike | None = None, options: DeviceOptions | None = None
) -> DeviceAdapter:
    """Return an adaptation as the exported C makes it, to be taken step by step.

    Parameters
    ----------
    problem : ControlProblem
    real : str
        "float" or "double", the type of the export.
    theta : array_like, shape (d,), optional
        Parameters to begin with; the problem's by default, as on the device.
    options : DeviceOptions, optional
        What is set before the C is compiled.

    Returns
    -------
    DeviceAdapter

    Raises
    ------
    DomainError
        If the problem has something that is not adapted on a device, by name, or a number does not fit the type.
    MissingPackageError
        If the package was installed without a C compiler.
    """
    as_instance("problem", problem, ControlProblem)
    as_choice("real", real, REALS)
    options = DeviceOptions() if options is None else options
    as_instance("options", options, DeviceOptions)
    examples = None if problem.imitation is None else options.examples
    model = DeviceModel.of(problem, real, examples, options.gradients, options.audited)
    start = model.theta_start if theta is None else as_array("theta", theta, (problem.theta_dim,))
    return (SampledAdapter if options.gradients == "sampled" else DeviceAdapter)(model, start, options)


def adapt_as_device(
    problem: ControlProblem,
    *,
    steps: int = 400,
    real: str = "float",
    theta: ArrayLike | None = None,
    options: DeviceOptions | None = None,
    progress: bool | None = None,
) -> DeviceResult:
    """Adapt as the exported C does: step for step the same decisions, in double with the same bits.

    Parameters
    ----------
    problem : ControlProblem
        With a residual policy, and Quadratic or Imitation as its objective.
    steps : int
        At most; fewer where it converges.
    real : str
        "float" or "double", the type of the export.
    theta : array_like, shape (d,), optional
        Parameters to begin with; the problem's by default, as on the device.
    options : DeviceOptions, optional
        What is set before the C is compiled.
    progress : bool, optional
        Show a line on stderr that follows it, as `adapt` does.

    Returns
    -------
    DeviceResult

    Raises
    ------
    DomainError
        If the problem has something that is not adapted on a device, by name, or a number does not fit the type.
    MissingPackageError
        If the package was installed without a C compiler.

    Examples
    --------
    After the example of `adapt`:

    >>> found = sc.adapt_as_device(problem, steps=3)
    >>> found.status.name, found.margin() > 0
    ('COMMITTED', True)
    """
    adapter = device_adapter(problem, real, theta, options)
    steps = as_count("steps", steps)
    status, rows = adapter.begin(), [_row(adapter)]
    of_active = adapter.objective
    with Line("adapt", steps, shown=progress) as line:
        while status.goes_on and adapter.counts.steps <= steps:
            status = adapter.step()
            if adapter.counts.commits == len(rows):
                rows.append(_row(adapter))
            if status is DeviceStatus.AUDITED:
                of_active = adapter.objective
            shown = [f"objective {adapter.objective:.4f}", f"margin {down(float(adapter.margin))}"]
            line.show(adapter.counts.steps - 1, None, shown)
    thetas, objectives, margins = (np.array(column) for column in zip(*rows, strict=True))
    audits, audited = adapter.audits, None
    if audits is not None:
        of_active = of_active if audits.own else adapter.start_objective
        audited = adapter.options.audit_points if audits.trusted else 0
    else:
        of_active = objectives[-1]
    found = (problem, real, status, adapter.active, thetas, objectives, margins, adapter.counts)
    return DeviceResult(*found, float(of_active), audited)


def _row(adapter: DeviceAdapter) -> tuple[np.ndarray, Any, Any]:
    return adapter.theta, adapter.objective, adapter.margin
