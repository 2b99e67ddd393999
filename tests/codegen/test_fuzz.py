"""The projection against arbitrary bytes: libFuzzer with AddressSanitizer and UBSan."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from test_runtime_projection import RUNTIME, SOURCES, write_config

TARGET = Path(__file__).parent / "fuzz" / "fuzz_project.c"
SECONDS = int(os.environ.get("SCPO_FUZZ_SECONDS", "1"))  # per arithmetic
SANITIZE = ("-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all")


def unavailable(reason: str) -> None:
    """Skip with the reason; where CI is true fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    print(f"skipped: {reason}")
    pytest.skip(reason)


def require_fuzzer(folder: Path) -> None:
    """Skip without clang or its fuzzer runtime."""
    if shutil.which("clang") is None:
        unavailable("clang not found; apt-get install clang")
    probe = folder / "probe.c"
    probe.write_text(
        "#include <stddef.h>\nint LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);\n"
        "int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) { return 0 * (data[0] + (int)size); }\n"
    )
    built = subprocess.run(["clang", *SANITIZE, probe, "-o", folder / "probe"], capture_output=True, check=False)
    if built.returncode != 0:
        unavailable("clang's fuzzer runtime not found; apt-get install libclang-rt-dev (or libclang-rt-14-dev)")


@pytest.mark.table(2)
@pytest.mark.parametrize("real", [np.float64, np.float32], ids=["double", "float"])
def test_fuzzer_finds_nothing(tmp_path: Path, real: type) -> None:
    require_fuzzer(tmp_path)
    write_config(tmp_path, real)
    sizes = ("-DSCPO_MAX_DIM=8", "-DSCPO_MAX_ACTIVE=6")  # fewer than the fuzzer's constraints: they have to take turns
    includes = (f"-I{tmp_path}", f"-I{RUNTIME / 'include'}")
    program = tmp_path / "fuzz"
    command = ["clang", "-std=c99", "-g1", "-O1", "-Wall", "-Wextra", "-Werror", *sizes, *SANITIZE, *includes]
    subprocess.run([str(x) for x in [*command, *SOURCES, TARGET, "-o", program, "-lm"]], check=True)
    run = [str(program), f"-max_total_time={SECONDS}", "-max_len=1400", f"-artifact_prefix={tmp_path}/", "-seed=1"]
    done = subprocess.run(run, capture_output=True, text=True, timeout=SECONDS + 120, check=False)
    lines = done.stderr.strip().splitlines()
    print(lines[-1])
    assert done.returncode == 0, "\n".join(lines[-40:])
