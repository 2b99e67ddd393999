"""Constrained plants, safe online adaptation of their controllers (SCPO), and C for microcontrollers."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scpo_ctrl.adaptation import Adapter, AdaptOptions, Learned, Mismatch, Result, RunStatus, Verdict
    from scpo_ctrl.adaptation.adapt import adapt
    from scpo_ctrl.assurance import Audit, Certificate, Falsification, Simulation, certify
    from scpo_ctrl.assurance.audit import audit
    from scpo_ctrl.assurance.falsify import falsify
    from scpo_ctrl.assurance.simulate import simulate
    from scpo_ctrl.codegen.export import export
    from scpo_ctrl.device import DeviceOptions, DeviceResult, DeviceStatus, adapt_as_device
    from scpo_ctrl.errors import ScpoError
    from scpo_ctrl.identification import Identification, identify
    from scpo_ctrl.interfaces import closed_loop, controller_system
    from scpo_ctrl.loop import (
        Backup,
        Constraint,
        Controller,
        ControllerPolicy,
        MetricOptions,
        Policy,
        Scenarios,
        check_backup,
        controlled,
        lmi,
        lqr,
        of_gain,
        scenarios,
    )
    from scpo_ctrl.problem import (
        ControlProblem,
        Cost,
        FunctionProblem,
        Imitation,
        Problem,
        Quadratic,
        UserObjective,
        overshoot,
        settling,
        tracking,
    )
    from scpo_ctrl.projection import Projection, ProjectionStatus, project, project_reference
    from scpo_ctrl.record import load_problem, load_result, save_result
    from scpo_ctrl.report.overview import plot
    from scpo_ctrl.report.page import write_report
    from scpo_ctrl.verification.verify import verify
    from scpo_ctrl.version import __version__

__all__ = [
    "AdaptOptions",
    "Adapter",
    "Audit",
    "Backup",
    "Certificate",
    "Constraint",
    "ControlProblem",
    "Controller",
    "ControllerPolicy",
    "Cost",
    "DeviceOptions",
    "DeviceResult",
    "DeviceStatus",
    "Falsification",
    "FunctionProblem",
    "Identification",
    "Imitation",
    "Learned",
    "MetricOptions",
    "Mismatch",
    "Policy",
    "Problem",
    "Projection",
    "ProjectionStatus",
    "Quadratic",
    "Result",
    "RunStatus",
    "Scenarios",
    "ScpoError",
    "Simulation",
    "UserObjective",
    "Verdict",
    "__version__",
    "adapt",
    "adapt_as_device",
    "audit",
    "certify",
    "check_backup",
    "closed_loop",
    "controlled",
    "controller_system",
    "export",
    "falsify",
    "identify",
    "lmi",
    "load_problem",
    "load_result",
    "lqr",
    "of_gain",
    "overshoot",
    "plot",
    "project",
    "project_reference",
    "save_result",
    "scenarios",
    "settling",
    "simulate",
    "tracking",
    "verify",
    "write_report",
]

_WINGS = (
    "adaptation",
    "assurance",
    "errors",
    "loop",
    "problem",
    "identification",
    "projection",
    "record",
    "verification",
    "version",
    "interfaces",
    "device",
)
_LOADED_ALONE = {"export": "codegen", "plot": "report.overview", "write_report": "report.page"}  # not with their wings


def __getattr__(name: str) -> object:
    """Import the wings when a public name is asked for first, so that the command can answer Ctrl-C before that."""
    if name in __all__:
        for wing in (_LOADED_ALONE[name],) if name in _LOADED_ALONE else _WINGS:
            module = import_module(f"{__name__}.{wing}")
            if hasattr(module, name):
                return globals().setdefault(name, getattr(module, name))
    if name in ("controllers", "interfaces", "models"):
        return import_module(f"{__name__}.{name}")
    if name == "signals":
        return import_module(f"{__name__}.models.signals")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
