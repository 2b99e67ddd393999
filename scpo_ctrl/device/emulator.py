"""Emulated microcontrollers: building a program for one, and running it with its serial line at hand."""

import re
import select
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from scpo_ctrl.codegen.targets import Target
from scpo_ctrl.errors import CompilerError, DeviceError

BOARD = Path(__file__).parent / "board"
_TIME_LIMIT = 300  # [s] of a compilation
_STARTED = 30.0  # [s] within which an emulator names its line
_LAST_LINE = re.compile(r"char device redirected to (\S+)")
_REGISTERS = ("-DUART=0x40004000u", "-DTIMER=0x40000000u", "-DENABLED=0xE000E100u")
_REGISTERS_OF_M33 = ("-DUART=0x50200000u", "-DTIMER=0x50000000u", "-DENABLED=0xE000E104u")
_MEMORY_OF_M33 = (("0x00000000", "0x10000000"), ("0x20000000", "0x38000000"))
_RISCV = (
    "--oslib=semihost", "--crt0=hosted", "-Wl,--defsym=__flash=0x80000000", "-Wl,--defsym=__flash_size=0x200000",
    "-Wl,--defsym=__ram=0x80200000", "-Wl,--defsym=__ram_size=0x200000",
)  # fmt: skip


def emulator_of(target: Target) -> str:
    """Return the emulator of a target.

    Parameters
    ----------
    target : Target

    Returns
    -------
    str
    """
    return "qemu-system-riscv32" if target.name.startswith("rv32") else "qemu-system-arm"


def missing(target: Target) -> tuple[str, ...]:
    """Return the tools that a target needs and that are not installed.

    Parameters
    ----------
    target : Target

    Returns
    -------
    tuple of str
    """
    return tuple(tool for tool in (target.compiler, emulator_of(target)) if shutil.which(tool) is None)


def check_tools(target: Target) -> None:
    """Refuse a target without an emulator, or one whose tools are not installed.

    Parameters
    ----------
    target : Target

    Raises
    ------
    DeviceError
        That names them.
    """
    if not target.machine:
        raise DeviceError(f"target {target.name!r} is no emulated board; take a microcontroller such as cortex-m4f")
    if lacking := missing(target):
        packages = "gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf qemu-system-misc"
        if target.name.startswith("cortex"):
            packages = "gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm"
        raise DeviceError(f"{' and '.join(lacking)} not found; apt-get install {packages}")


def instructions_per_tick(target: Target) -> float:
    """Return how many instructions a tick of the board's counter is, see board/main.c.

    Parameters
    ----------
    target : Target

    Returns
    -------
    float
    """
    if target.name.startswith("rv32"):
        return 1.0
    return (50 if target.name == "cortex-m33" else 40) / 64  # ns a tick, ns an instruction by -icount shift=6


def build(
    target: Target, sources: list[Path], includes: list[Path], program: Path, *defined: str, optimisation: str = "-Os"
) -> None:
    """Compile and link a program for an emulated board.

    Parameters
    ----------
    target : Target
    sources : list of pathlib.Path
        Of C, with one `main`; what starts the board is added.
    includes : list of pathlib.Path
        Folders of headers.
    program : pathlib.Path
        To write; the folder takes a linker script too.
    *defined : str
        Macros, such as NAME=value.
    optimisation : str

    Raises
    ------
    CompilerError
        With the compiler's first message, if it fails.
    """
    riscv, m33 = target.name.startswith("rv32"), target.name == "cortex-m33"
    registers = () if riscv else _REGISTERS_OF_M33 if m33 else _REGISTERS
    flags = (
        "-std=gnu99",
        optimisation,
        "-ffunction-sections",
        "-fdata-sections",
        *target.flags,
        *registers,
        *(f"-D{macro}" for macro in defined),
    )
    files, link = list(sources), [*_RISCV, "-Wl,--gc-sections"]
    if not riscv:
        script = (BOARD / "link.ld").read_text(encoding="utf-8")
        for old, new in _MEMORY_OF_M33 if m33 else ():
            script = script.replace(old, new)
        place = program.with_suffix(".ld")
        place.write_text(script, encoding="utf-8")
        files.append(BOARD / "startup.c")
        link = ["--specs=rdimon.specs", "-nostartfiles", "-Wl,--gc-sections", "-T", str(place)]
    folders = (f"-I{folder}" for folder in includes)
    command = [target.compiler, *flags, *folders, *map(str, files), *link, "-lm", "-o", str(program)]
    try:
        done = _run(command)
    except subprocess.TimeoutExpired as error:
        raise CompilerError(f"{target.compiler} did not end within {_TIME_LIMIT} s") from error
    if done.returncode:
        lines = done.stderr.splitlines() or ["no message"]
        first = next((line for line in lines if "error" in line), lines[0])
        raise CompilerError(f"{target.compiler} does not build the program for {target.name}: {first.strip()}")


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_TIME_LIMIT,
        check=False,
    )


def function_bytes(target: Target, program: Path, prefix: str) -> int:
    """Return the bytes of all functions of the export that a program links, numbers aside.

    Parameters
    ----------
    target : Target
    program : pathlib.Path
    prefix : str
        Of their names.

    Returns
    -------
    int
    """
    return sum(_sizes(target, program, rf"FUNC .* {prefix}_\S+"))


def variable_bytes(target: Target, program: Path, *names: str) -> int:
    """Return the bytes of variables of a program.

    Parameters
    ----------
    target : Target
    program : pathlib.Path
    *names : str
        Of the variables.

    Returns
    -------
    int
    """
    return sum(_sizes(target, program, rf"OBJECT .* (?:{'|'.join(names)})"))


def _sizes(target: Target, program: Path, symbol: str) -> Iterable[int]:
    """Return the sizes of a program's symbols that an expression matches, of each place once."""
    table = _run([f"{target.tools}readelf", "-sW", str(program)]).stdout
    found = re.findall(rf"^\s*\d+: (\w+)\s+(\d+) {symbol}$", table, re.MULTILINE)
    return {place: int(size) for place, size in found}.values()


class Emulator:
    """A program that runs on an emulated board, until the block ends.

    Parameters
    ----------
    target : Target
    program : pathlib.Path

    Attributes
    ----------
    port : str
        The pseudo-terminal of the board's serial line.

    Raises
    ------
    DeviceError
        If the emulator does not start.
    """

    def __init__(self, target: Target, program: Path) -> None:
        riscv = target.name.startswith("rv32")
        command = [
            emulator_of(target), "-M", target.machine, *(("-bios", "none") if riscv else ()), "-display", "none",
            "-monitor", "none", "-chardev", "pty,id=line", "-serial", "chardev:line",
            "-semihosting-config", "enable=on,target=native", "-icount", "shift=0" if riscv else "shift=6",
            "-kernel", str(program),
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            self.port = self._line()
        except BaseException:
            self.close()
            raise

    def _line(self) -> str:
        assert self._process.stdout is not None
        said = ""
        while select.select([self._process.stdout], [], [], _STARTED)[0]:
            line = self._process.stdout.readline()
            said += line
            if found := _LAST_LINE.search(line):
                return found[1]
            if not line:
                break
        raise DeviceError(f"the emulator did not start: {said.strip() or 'it said nothing'}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the emulator."""
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
