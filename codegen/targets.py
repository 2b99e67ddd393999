"""The targets: their compilers, flags and emulated machines."""

from dataclasses import dataclass

from scpo_ctrl.choices import REALS
from scpo_ctrl.codegen.names import check_prefix
from scpo_ctrl.validate import as_choice


@dataclass(frozen=True)
class Target:
    """A processor to compile for.

    Attributes
    ----------
    name : str
        As `export` takes it.
    title : str
        In words.
    real : str
        Default arithmetic: what the floating-point unit has.
    compiler : str
        Name of the C compiler.
    flags : tuple of str
        Of the processor.
    machine : str
        That QEMU emulates; empty for the host.
    """

    name: str
    title: str
    real: str
    compiler: str
    flags: tuple[str, ...] = ()
    machine: str = ""

    @property
    def tools(self) -> str:
        """What stands before ``ar`` and ``size`` in the tools' names."""
        return self.compiler.removesuffix("gcc")


_ARM = "arm-none-eabi-gcc"
_ALL = (
    Target("host", "this computer", "double", "gcc"),
    Target(
        "cortex-m0plus",
        "Arm Cortex-M0+, no floating-point unit",
        "float",
        _ARM,
        ("-mcpu=cortex-m0plus", "-mthumb", "-mfloat-abi=soft"),
        "mps2-an385",  # a Cortex-M3, which executes all that a Cortex-M0+ does; QEMU has no board with one
    ),
    Target(
        "cortex-m3",
        "Arm Cortex-M3, no floating-point unit",
        "float",
        _ARM,
        ("-mcpu=cortex-m3", "-mthumb", "-mfloat-abi=soft"),
        "mps2-an385",
    ),
    Target(
        "cortex-m4f",
        "Arm Cortex-M4F, single precision",
        "float",
        _ARM,
        ("-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"),
        "mps2-an386",
    ),
    Target(
        "cortex-m7",
        "Arm Cortex-M7, double precision",
        "double",
        _ARM,
        ("-mcpu=cortex-m7", "-mthumb", "-mfpu=fpv5-d16", "-mfloat-abi=hard"),
        "mps2-an500",
    ),
    Target(
        "cortex-m33",
        "Arm Cortex-M33, single precision",
        "float",
        _ARM,
        ("-mcpu=cortex-m33", "-mthumb", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard"),
        "mps2-an505",
    ),
    Target(
        "rv32imafc",
        "RISC-V RV32IMAFC, single precision",
        "float",
        "riscv64-unknown-elf-gcc",
        ("-march=rv32imafc", "-mabi=ilp32f", "--specs=picolibc.specs"),
        "virt",
    ),
)
TARGETS = {target.name: target for target in _ALL}


def check_options(target: str, real: str | None, prefix: str) -> tuple[Target, str, str]:
    """Check what an export is asked for, before anything is loaded or computed for it.

    Parameters
    ----------
    target : str
        A key of `TARGETS`.
    real : str or None
        "float" or "double"; the target's own where None.
    prefix : str
        Of every name in the C code.

    Returns
    -------
    target : Target
    real : str
    prefix : str

    Raises
    ------
    DomainError
        If one of them is unknown or taken.
    """
    chosen = TARGETS[as_choice("target", target, tuple(TARGETS))]
    real = chosen.real if real is None else as_choice("real", real, tuple(REALS))
    return chosen, real, check_prefix(prefix)
