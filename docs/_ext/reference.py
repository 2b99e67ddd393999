"""What the reference pages say of the code, as Markdown."""

import dataclasses
import inspect
import re
from enum import Enum
from pathlib import Path

import click

import scpo_ctrl
from scpo_ctrl import cli, errors

ROOT = Path(__file__).resolve().parents[2]
HEADERS = (
    "include/scpo.h",
    "adapt/include/scpo_adapt.h",
    "store/include/scpo_store.h",
    "link/include/scpo_link.h",
    "supervise/include/scpo_supervise.h",
)
GROUPS = {
    "Backups: the safe start": ("lqr", "lmi", "of_gain", "check_backup", "Backup"),
    "Policies and controllers": ("Policy", "Controller", "controlled", "ControllerPolicy"),
    "Scenarios and metrics": ("scenarios", "Scenarios", "MetricOptions", "Constraint", "overshoot", "settling"),
    "Objectives": ("Quadratic", "Cost", "tracking", "Imitation", "UserObjective"),
    "Problems": ("ControlProblem", "FunctionProblem", "Problem", "load_problem"),
    "Adaptation": ("adapt", "AdaptOptions", "Result", "RunStatus", "Verdict", "save_result", "load_result", "verify"),
    "Pictures, reports and C": ("plot", "write_report", "export"),
    "Online": ("Adapter", "Learned", "Mismatch", "simulate", "Simulation"),
    "What may be said of a policy": ("audit", "Audit", "certify", "Certificate", "falsify", "Falsification"),
    "Projection": ("project", "project_reference", "Projection", "ProjectionStatus"),
    "Devices": ("adapt_as_device", "DeviceOptions", "DeviceResult", "DeviceStatus"),
    "Identification": ("identify", "Identification"),
    "python-control": ("closed_loop", "controller_system"),
    "Errors": ("ScpoError",),
    "Version": ("__version__",),
}


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a table of cells that are Markdown already."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def fields_of(cls: type) -> dict[str, str]:
    """Return what the docstring of a dataclass says of each field, in its sections of parameters and attributes."""
    said: dict[str, str] = {}
    for section in re.split(r"\n\n(?=\w+\n-+\n)", inspect.getdoc(cls) or "")[1:]:
        title, _, body = section.partition("\n")
        if title in ("Parameters", "Attributes"):
            entries = re.findall(r"^(\w+) : .*\n((?:    .*\n?)*)", body.partition("\n")[2] + "\n", re.MULTILINE)
            said |= {name: " ".join(what.split()) for name, what in entries}
    return said


def _directive(name: str) -> str:
    found = getattr(scpo_ctrl, name)
    if isinstance(found, str):
        return f".. py:data:: {name}\n   :type: str\n\n   The version of the package, here ``{found}``.\n"
    if inspect.isclass(found):
        if issubclass(found, Enum):
            values = "".join(f"   - ``{one.name}``: {one.value}\n" for one in found)
            return f".. autoclass:: {name}\n   :no-undoc-members:\n\n{values}"
        return f".. autoclass:: {name}\n   :members:\n   :inherited-members: object,Exception\n"
    return f".. autofunction:: {name}\n"


def api() -> str:
    """Return every public name, in groups."""
    parts = []
    for group, names in GROUPS.items():
        directives = "\n".join(_directive(name) for name in names)
        parts.append(f"## {group}\n\n```{{eval-rst}}\n.. py:currentmodule:: scpo_ctrl\n\n{directives}```\n")
    return "\n".join(parts)


def _commands() -> list[tuple[str, click.Command]]:
    context = click.Context(cli.cli, info_name="scpo-ctrl")
    found = ((name, cli.cli.get_command(context, name)) for name in cli.cli.list_commands(context))
    return [(name, command) for name, command in found if command is not None]


def commands() -> str:
    """Return every command with its options."""
    parts = []
    for name, command in _commands():
        context = click.Context(command, info_name=f"scpo-ctrl {name}")
        usage = command.get_usage(context).removeprefix("Usage: ")
        rows = [
            (f"`{option}`", " ".join(what.split()))
            for option, what in (one.get_help_record(context) or ("", "") for one in command.params)
            if option and what  # arguments stand in the usage
        ]
        said = inspect.cleandoc(command.help or "").replace("\f", "").replace("<", "\\<")
        options = table(("option", "meaning"), rows) if rows else ""
        parts.append(f"## {name}\n\n    {' '.join(usage.split())}\n\n{said}\n\n{options}")
    return "\n".join(parts)


def adapt_keys() -> str:
    """Return the keys of section [adapt]."""
    said, fields = fields_of(scpo_ctrl.AdaptOptions), dataclasses.fields(scpo_ctrl.AdaptOptions)
    rows = [(f"`{one.name}`", f"`{one.default}`", said[one.name].replace("<", "\\<")) for one in fields]
    return table(("key", "default", "meaning"), rows)


def _named(name: str) -> type:
    found: type = getattr(scpo_ctrl, name)
    return found


def statuses() -> str:
    """Return every status, its meaning and remedy."""
    parts = []
    for name in ("RunStatus", "Verdict", "ProjectionStatus", "DeviceStatus"):
        values: list[Enum] = list(_named(name))  # type: ignore[call-overload]
        rows = [(f"`{one.name}`", str(one.value)) for one in values]
        said = (inspect.getdoc(_named(name)) or "").split("\n")[0]
        parts.append(f"### {name}\n\n{said}\n\n{table(('status', 'meaning, and what to do'), rows)}")
    return "\n".join(parts)


def error_classes() -> list[type[errors.ScpoError]]:
    """Return every class of errors, the base first."""
    found = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.ScpoError)]
    return sorted(found, key=lambda one: (len(one.__mro__), one.__name__))


def error_table() -> str:
    """Return every class of errors with its parent among Python's own, and the exit status of a command."""
    rows = []
    for one in error_classes():
        parent = next(base for base in one.__mro__ if base.__module__ == "builtins")
        rows.append(
            (f"`{one.__name__}`", f"`{parent.__name__}`", str(one.exit_status), (one.__doc__ or "").split("\n")[0])
        )
    return table(("error", "is also", "exit status", "meaning"), rows)


def c_statuses() -> str:
    """Return the enumerations of the headers, each value with its comment."""
    parts = []
    for path in HEADERS:
        text = (ROOT / "codegen" / "runtime" / path).read_text(encoding="utf-8")
        for body, name in re.findall(r"typedef enum \{(.*?)\} (\w+);", text, re.DOTALL):
            rows = [
                (f"`{value}`", " ".join(what.split()))
                for value, what in re.findall(r"(SCPO_\w+)(?: = \d+)?,?(?:[ \n]*/\*(.*?)\*/)?", body, re.DOTALL)
            ]
            parts.append(f"### {name}\n\nIn `{Path(path).name}`.\n\n{table(('status', 'meaning'), rows)}")
    return "\n".join(parts)


def c_functions() -> str:
    """Return every function of the headers with the comment above it."""
    parts = []
    for path in HEADERS:
        text = (ROOT / "codegen" / "runtime" / path).read_text(encoding="utf-8")
        blocks = re.findall(r"(/\*(?:(?!\*/).)*\*/\n(?:[a-z][\w ]*[ *]\w+\([^;{]*\);[^\n]*\n)+)", text, re.DOTALL)
        code = "\n".join(blocks)
        first = " ".join(re.split(r"\n \*/?\n", text)[0].removeprefix("/*").replace("\n *", " ").split())
        parts.append(f"## {Path(path).name}\n\n{first}\n\n```c\n{code}```\n")
    return "\n".join(parts)


def plants() -> str:
    """Return plants, what is put around them, controllers and signals."""
    from scpo_ctrl import controllers, models
    from scpo_ctrl.models import signals

    zoo = sorted(name for name in models.__all__ if name in models.ZOO)
    around = (
        "actuator_lag",
        "rate_limit",
        "input_delay",
        "computation_delay",
        "sensor_noise",
        "quantise",
        "with_signals",
    )
    made = (
        "linear",
        "equations",
        "discretise",
        "with_nominal",
        "from_function",
        "from_nonlinear",
        "from_statespace",
        "to_statespace",
    )
    rest = sorted(set(models.__all__) - {*zoo, *around, *made, "Plant", "ZOO"})
    kinds = tuple(signals.KINDS)
    groups = (
        ("A plant", "scpo_ctrl.models", ("Plant", *made)),
        ("Around a plant", "scpo_ctrl.models", around),
        ("The zoo", "scpo_ctrl.models", (*zoo, *rest)),
        ("Controllers", "scpo_ctrl.controllers", controllers.__all__),
        ("Signals", "scpo_ctrl.models.signals", kinds),
    )
    parts = []
    for group, module, names in groups:
        lines = [f".. py:currentmodule:: {module}\n"]
        for name in names:
            kind = "autoclass" if name == "Plant" else "autofunction"
            lines.append(f".. {kind}:: {name}\n" + ("   :members:\n" if kind == "autoclass" else ""))
        parts.append(f"## {group}\n\n```{{eval-rst}}\n" + "\n".join(lines) + "```\n")
    return "\n".join(parts)
