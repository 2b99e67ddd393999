"""What an export has besides for boards, other build systems and simulators, below boards/."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from scpo_ctrl.codegen.common import Common
from scpo_ctrl.codegen.context import Context
from scpo_ctrl.codegen.controller import ControllerContext
from scpo_ctrl.codegen.escape import Code
from scpo_ctrl.codegen.identifiers import identifiers
from scpo_ctrl.codegen.law import Entry

# Where each template goes, with the default prefix.
TEMPLATES = {
    f"boards/{template}.jinja": f"boards/{name}"
    for template, name in {
        "README.md": "README.md",
        "scpo_board.h": "common/scpo_board.h",
        "scpo_board.c": "common/scpo_board.c",
        "stm32.c": "timers/stm32.c",
        "rp2350.c": "timers/rp2350.c",
        "esp32c3.c": "timers/esp32c3.c",
        "nrf.c": "timers/nrf.c",
        "library.properties": "arduino/library.properties",
        "library.json": "arduino/library.json",
        "Control.ino": "arduino/examples/Control/Control.ino",
        "zephyr_module.yml": "zephyr/zephyr/module.yml",
        "zephyr_Kconfig": "zephyr/Kconfig",
        "zephyr/CMakeLists.txt": "zephyr/CMakeLists.txt",
        "zephyr/sample/CMakeLists.txt": "zephyr/samples/control/CMakeLists.txt",
        "zephyr_sample.conf": "zephyr/samples/control/prj.conf",
        "zephyr_sample.yml": "zephyr/samples/control/sample.yaml",
        "zephyr_main.c": "zephyr/samples/control/src/main.c",
        "scpo.a2l": "scpo.a2l",
        "scpo_fmu.c": "fmu/scpo_fmu.c",
        "scpo_fmu_rest.c": "fmu/scpo_fmu_rest.c",
        "modelDescription.xml": "fmu/modelDescription.xml",
    }.items()
}


@dataclass(frozen=True)
class Signals:
    """What goes into an exported controller and comes out, the same of a residual policy and of a controller."""

    own: bool  # whether the controller has a law of its own: measurements, perhaps references and a memory
    memory: bool
    measured: tuple[Entry, ...]  # states x or measurements y
    references: tuple[Entry, ...]
    inputs: tuple[Entry, ...]  # of the plant
    parameters: tuple[Entry, ...]  # none where theta is of a network
    theta: tuple[float, ...]
    starts: tuple[float, ...]  # of measured signals and references, before anything is measured

    @property
    def letter(self) -> str:
        """Name of the measured signals."""
        return "y" if self.own else "x"

    @property
    def units(self) -> list[str]:
        """All units that are not empty, each once."""
        return sorted({entry.unit for entry in self.measured + self.references + self.inputs if entry.unit})

    @property
    def arguments(self) -> Code:
        """All between theta and the command, as arguments of C."""
        between = [self.letter] + ["r"] * bool(self.references) + ["&memory"] * self.memory
        return Code(", ".join(between))


def signals_of(context: Common) -> Signals:
    """Collect the signals of an export.

    Parameters
    ----------
    context : Common
        Of a residual policy or a controller.

    Returns
    -------
    Signals
        Names are identifiers, each once in its group.
    """
    theta = tuple(map(float, np.asarray(context.fields()["theta"])))
    if isinstance(context, ControllerContext):
        law = context.law
        return Signals(
            own=True,
            memory=bool(law.memory),
            measured=_distinct(law.y, "y"),
            references=_distinct(law.r, "r"),
            inputs=_distinct(law.u, "u"),
            parameters=_distinct(law.theta, "p"),
            theta=theta,
            starts=(0.0,) * len(law.y) + tuple(map(float, context.reference)),
        )
    assert isinstance(context, Context)
    return Signals(
        own=False,
        memory=False,
        measured=_distinct(context.states, "x"),
        references=(),
        inputs=_distinct(context.inputs, "u"),
        parameters=(),
        theta=theta,
        starts=tuple(map(float, context.x_eq)),
    )


def _distinct(entries: tuple[Entry, ...], default: str) -> tuple[Entry, ...]:
    names = identifiers((entry.label for entry in entries), default)
    return tuple(replace(entry, name=name) for entry, name in zip(entries, names, strict=True))


def library_copies(files: Mapping[str, str]) -> dict[str, str]:
    """Return all code of an export in the one folder that Arduino compiles and looks for headers in.

    Parameters
    ----------
    files : mapping of str to str
        Text of all files of an export by name.

    Returns
    -------
    dict
        The same of the copies.
    """
    folders = ("include", "src", "boards/common")
    return {
        f"boards/arduino/src/{PurePosixPath(name).name}": text
        for name, text in files.items()
        if str(PurePosixPath(name).parent) in folders
    }


def build_fields(context: Common, sources: Sequence[str]) -> dict[str, Any]:
    """Return what templates below boards/ read besides.

    Parameters
    ----------
    context : Common
    sources : sequence of str
        Files of C, relative to the export.

    Returns
    -------
    dict
    """
    fields = context.fields()
    return {
        "adapts": fields.get("device") is not None,
        "dashed": Code(context.prefix.replace("_", "-")),
        "relative_sources": [Code(f"../../{source}") for source in sources],
    }
