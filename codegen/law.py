"""The law of a controller (E10) as C: what it reads, its command, the memory that follows, and ∂κ/∂ξ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import casadi as ca

from scpo_ctrl.codegen.expressions import NAMES, Writer, read
from scpo_ctrl.codegen.identifiers import identifiers
from scpo_ctrl.loop.controlled import ControllerPolicy
from scpo_ctrl.loop.controller import Controller

_INPUTS = ("memory", "y", "r", "theta", "u")
_ARGUMENTS = ("theta", "y", "r", "memory")  # of functions of C, in this order
_LOCAL = {*_INPUTS, "command", "slope", "next", "numbers", *(f"t{k}" for k in range(1, 1000))}


@dataclass(frozen=True)
class Entry:
    """One entry of a signal, of θ or of the memory."""

    name: str  # in C
    label: str
    unit: str

    @property
    def text(self) -> str:
        """Label and unit."""
        return f"{self.label} [{self.unit}]" if self.unit else self.label


@dataclass(frozen=True)
class Read:
    """An entry that a function of C reads."""

    name: str  # of the local variable
    place: str  # such as theta[0]
    unit: str


@dataclass(frozen=True)
class Body:
    """Statements of a function of C."""

    reads: tuple[Read, ...]
    unused: tuple[str, ...]  # arguments of which nothing is read
    parts: tuple[tuple[str, ...], ...]  # lines, for each group of outputs
    helpers: tuple[str, ...]  # functions of the export that are called: min, max, sign


@dataclass(frozen=True)
class Law:
    """A controller in the words of its C."""

    name: str
    theta: tuple[Entry, ...]
    y: tuple[Entry, ...]
    r: tuple[Entry, ...]
    u: tuple[Entry, ...]
    memory: tuple[Entry, ...]
    reads: tuple[bool, ...]  # (ny,) whether the law depends on it
    step: Body  # of the command, then of the memory that follows
    slope: Body  # of the command and its derivatives by the memory


def law_of(policy: ControllerPolicy, real: str, prefix: str) -> Law:
    """Write the law of a controller as C.

    Parameters
    ----------
    policy : ControllerPolicy
    real : str
        "float" or "double".
    prefix : str
        Of every name of the export.

    Returns
    -------
    Law

    Raises
    ------
    DomainError
        If there is no C for an operation or a constant.
    """
    controller, plant = policy.controller, policy.plant
    nu, ny = controller.command.numel(), controller.y.numel()
    entries = _entries(
        {
            "memory": (controller.memory_labels, controller.memory_units),
            "theta": (controller.theta_labels, controller.theta_units),
            "y": (plant.measured_labels[:ny], plant.measured_units[:ny]),  # the joined plant may show memory behind it
            "r": (controller.r_labels, controller.r_units),
            "u": (plant.u_labels[:nu], plant.u_units[:nu]),
        },
        prefix,
    )
    slopes = ca.densify(ca.jacobian(controller.command, controller.xi).T)  # row by row in C
    memory = [f"next->{entry.name}" for entry in entries["memory"]]
    command = [f"command[{i}]" for i in range(nu)]
    writing = _Writing(controller, entries, real, prefix)
    step = writing.body((controller.command, command), (controller.memory, memory))
    slope = writing.body((controller.command, command), (slopes, [f"slope[{k}]" for k in range(slopes.numel())]))
    reads = ca.which_depends(ca.vertcat(controller.command, controller.memory), controller.y, 1, False)
    signals = {key: entries[key] for key in ("theta", "y", "r", "u", "memory")}
    return Law(controller.name, **signals, reads=tuple(reads), step=step, slope=slope)


def _entries(given: Mapping[str, tuple[Sequence[str], Sequence[str]]], prefix: str) -> dict[str, tuple[Entry, ...]]:
    """Give every entry a name of its own; those of the memory are members of a struct, in small letters."""
    taken, found = _LOCAL | NAMES, {}
    for key, (labels, units) in given.items():
        plain = [label.lower() for label in labels] if key == "memory" else labels
        own = {label for label in labels if label.lower().startswith(f"{prefix}_")}
        names = identifiers((f"{key}_{label}" if label in own else label for label in plain), key, taken)
        taken = taken | set(names)
        found[key] = tuple(Entry(*entry) for entry in zip(names, labels, units, strict=True))
    return found


@dataclass(frozen=True)
class _Writing:
    controller: Controller
    entries: Mapping[str, tuple[Entry, ...]]
    real: str
    prefix: str

    def body(self, *groups: tuple[ca.SX, list[str]]) -> Body:
        """Write statements for groups of expressions and the C that each of their entries is assigned to."""
        controller = self.controller
        symbols = [controller.xi, controller.y, controller.r, controller.theta, controller.u]
        owner = f"controller {controller.name!r}"
        graph, outputs = read(owner, ca.Function("law", symbols, [ca.densify(expression) for expression, _ in groups]))
        wanted = [number for numbers in outputs for number in numbers]
        writer = Writer(owner, graph, self.real, f"{self.prefix}_real", self.prefix, {}, wanted)
        reads, used = [], set[str]()
        for number in writer.inputs():
            key, entry = _INPUTS[graph.nodes[number][1][0]], graph.nodes[number][1][1]
            used.add(key)
            name, unit = self.entries[key][entry].name, self.entries[key][entry].unit
            place = f"memory->{name}" if key == "memory" else f"{key}[{entry}]"
            writer.names[number] = place if key == "u" else name
            if key != "u":
                reads.append((_ARGUMENTS.index(key), entry, Read(name, place, unit)))
        parts = tuple(
            tuple(writer.statements(dict(zip(targets, numbers, strict=True))))
            for (_, targets), numbers in zip(groups, outputs, strict=True)
        )
        return Body(
            tuple(read for _, _, read in sorted(reads, key=lambda of: of[:2])),
            tuple(key for key in _ARGUMENTS if self.entries[key] and key not in used),
            parts,
            tuple(sorted(writer.helpers)),
        )
