"""Processor in the loop: the exported sources and vectors on emulated microcontrollers, compared with Python."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from exports import require, result_of, run
from forms import LONG

from scpo_ctrl.codegen import TARGETS, export
from scpo_ctrl.codegen.context import make_context
from scpo_ctrl.device.emulator import BOARD

EMULATOR = BOARD
QEMU = "qemu-system-arm"
TOLERANCE = {"double": 1e-12, "float": 1e-5}
LINK = ("--specs=rdimon.specs", "-nostartfiles", "-Wl,--gc-sections", "-T", EMULATOR / "link.ld")


def build(folder: Path, target: str) -> Path:
    """Compile an export's library and its runner for the emulated board."""
    sources = [*sorted((folder / "src").glob("*.c")), *sorted((folder / "test").glob("*.c")), EMULATOR / "startup.c"]
    includes = [f"-I{folder / 'include'}", f"-I{folder / 'test'}"]
    program = folder.parent / "test.elf"
    run(
        TARGETS[target].compiler,
        *TARGETS[target].flags,
        *(
            "-std=gnu99",
            "-O2" if LONG else "-O1",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-ffunction-sections",
            "-DSCPO_TEST_PRINT",
        ),
        *includes,
        *sources,
        *LINK,
        "-lm",
        "-o",
        program,
    )
    return program


def emulate(program: Path, target: str, *options: str) -> subprocess.CompletedProcess:
    """Run a program on the emulated board of a target."""
    command = [
        *(QEMU, "-M", TARGETS[target].machine, "-display", "none", "-monitor", "none", "-serial", "none"),
        *("-chardev", "stdio,id=console", "-semihosting-config", "enable=on,target=native,chardev=console"),
        *("-kernel", str(program)),
        *options,
    ]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)


def inputs_of(output: str, nu: int) -> np.ndarray:
    """The inputs that a runner printed, shape (vectors, nu)."""
    return np.array([float(value) for value in re.findall(r"^u \d+ \d+ (\S+)$", output, re.MULTILINE)]).reshape(-1, nu)


@pytest.mark.parametrize("shape", ["mlp_2_1", "mlp_3_2", "linear_4_2"])
@pytest.mark.parametrize("target", ["cortex-m4f", "cortex-m7"])
def test_device_computes_what_python_computes(target, shape, tmp_path):
    require(TARGETS[target].compiler, QEMU)
    result = result_of(shape)
    done = export(result, tmp_path / "c", target=target, measured=False)
    device = emulate(build(tmp_path / "c", target), target)
    print(target, device.stdout.splitlines()[-1])
    assert device.returncode == 0, device.stdout[-2000:] + device.stderr
    assert f"scpo, {done.real}: 200 control vectors" in device.stdout and " 0 failures" in device.stdout

    vectors = make_context(result, target, None, "scpo").controls
    u = inputs_of(device.stdout, result.problem.plant.nu)
    assert u.shape == vectors.u.shape
    assert np.max(np.abs(u - vectors.u) / np.maximum(1, np.abs(vectors.u))) <= TOLERANCE[done.real]
    if shutil.which("gcc") and shutil.which("make"):
        flags = "CFLAGS=-std=c99 -O0 -DSCPO_TEST_PRINT"
        host = inputs_of(run("make", "-C", tmp_path / "c", "test", "CC=gcc", flags), result.problem.plant.nu)
        assert np.max(np.abs(u - host) / np.maximum(1, np.abs(host))) <= TOLERANCE[done.real]


@pytest.mark.parametrize("target", ["cortex-m4f", "cortex-m7"])
def test_a_wrong_number_ends_the_emulator_with_1(target, tmp_path):
    require(TARGETS[target].compiler, QEMU)
    export(result_of("linear_1_1"), tmp_path / "c", target=target, measured=False)
    data = tmp_path / "c" / "src" / "scpo_data.c"
    data.write_text(re.sub(r"(scpo_K.*\n +\{)", r"\g<1>0.5f + ", data.read_text()))
    device = emulate(build(tmp_path / "c", target), target)
    assert device.returncode == 1 and "FAILED: control: u" in device.stdout


def test_missing_tools_skip_here_and_fail_in_ci(monkeypatch):
    monkeypatch.setenv("CI", "false")
    with pytest.raises(pytest.skip.Exception, match="no-such-compiler not found"):
        require("no-such-compiler")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-compiler not found"):
        require("no-such-compiler")
