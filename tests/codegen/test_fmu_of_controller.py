"""The FMU of an exported controller: fmpy validates it, and its steps are those of Python."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from exports import STRICT, need, run

from scpo_ctrl.codegen.context import make_context
from scpo_ctrl.codegen.sequences import Step

from conftest import TREES, run_of  # isort: skip

TOLERANCE = {"double": 1e-12, "float": 1e-5}
# Prefixes that mean something to make, cmake or C; SCPO_EXPORT_NAMES=all builds all of them, plain and adapting.
PREFIX = {"adapting": "test", "plain": "install", "memory": "int", "feedback": "fmu"}
MORE = (
    ("vectors", "test", "all", "install", "clean", "help", "scpo_x")
    if os.environ.get("SCPO_EXPORT_NAMES") == "all"
    else ()
)


@pytest.fixture(scope="module")
def packed(tree, tmp_path_factory):
    """Return what builds the FMU of a kind of tree, by make, once."""
    need("make", "gcc", "python3")
    fmpy = pytest.importorskip("fmpy", reason="fmpy is not installed: its headers build the FMU, and it runs it")
    headers, found = Path(fmpy.__file__).parent / "c-code", {}

    def make(kind: str, prefix: str | None = None) -> Path:
        prefix = prefix or PREFIX[kind]
        if (kind, prefix) not in found:
            folder = tmp_path_factory.mktemp("fmu") / "c"
            shutil.copytree(tree(kind, prefix), folder)
            flags = f"CFLAGS=-std=c99 -O0 {STRICT}"
            run("make", "-C", folder, "fmu", f"FMI_HEADERS={headers}", "CC=gcc", flags)
            found[kind, prefix] = folder / "build" / f"{prefix}.fmu"
        return found[kind, prefix]

    return make


def instance(path: Path, folder: Path):
    """Unpack and initialise an FMU at t = 1; return it and its value references by name."""
    from fmpy import extract, read_model_description
    from fmpy.fmi3 import FMU3Slave

    described = read_model_description(path)
    assert described.fmiVersion == "3.0"
    names = {variable.name: variable.valueReference for variable in described.modelVariables}
    found = FMU3Slave(
        guid=described.guid, unzipDirectory=extract(path, folder), instanceName="c",
        modelIdentifier=described.coSimulation.modelIdentifier,
    )  # fmt: skip
    found.instantiate()
    found.enterInitializationMode(startTime=1.0)
    return found, names


@pytest.mark.parametrize("kind", TREES)
def test_it_is_valid_and_runs(kind, packed):
    from fmpy import simulate_fmu
    from fmpy.validation import validate_fmu

    path, plant = packed(kind), run_of(kind).problem.plant
    assert validate_fmu(str(path)) == []
    found = simulate_fmu(str(path), stop_time=5 * plant.dt, output_interval=plant.dt)
    outputs = [name for name in found.dtype.names if name.startswith("u.")]
    assert len(found) == 6 and outputs and not found["status"].any()


@pytest.mark.parametrize("kind", ["adapting", "plain"])
def test_a_network_commands_what_python_does(kind, packed, tmp_path):
    result, (_, _, options) = run_of(kind), TREES[kind]
    real = options.get("real", "double")
    vectors, (fmu, names) = make_context(result, "host", real, "servo").controls, instance(packed(kind), tmp_path)
    plant, kindly = result.problem.plant, "Float32" if real == "float" else "Float64"
    put, get = getattr(fmu, f"set{kindly}"), getattr(fmu, f"get{kindly}")
    x = [names[name] for name in names if name.startswith("x.")]
    u = [names[name] for name in names if name.startswith("u.")]
    for k in range(20):
        put([names["theta"]], list(vectors.theta[vectors.which[k]]))
        put(x, list(vectors.x[k]))
        if k == 0:
            fmu.exitInitializationMode()
        else:
            fmu.doStep(1 + (k - 1) * plant.dt, plant.dt)
        error = np.abs(np.array(get(u, len(u))) - vectors.u[k]) / vectors.size[k]
        assert error.max() <= TOLERANCE[real]
    fmu.terminate()
    fmu.freeInstance()


def test_a_controller_remembers_and_goes_back(packed, tmp_path):
    """The memory follows the samples, whatever the length of a step; a state that was kept returns."""
    result = run_of("memory")
    context = make_context(result, "host", None, "servo")
    step, dt = Step.of(result.problem.policy).function, result.problem.plant.dt
    fmu, names = instance(packed("memory"), tmp_path)
    y, r = ([names[name] for name in names if name.startswith(letter)] for letter in ("y.", "r."))
    u, generator = next(names[name] for name in names if name.startswith("u.")), np.random.default_rng(1)
    memory, time, seen = context.memory_initial, 1.0, []

    def sample(steps: int, value: float, memory: np.ndarray) -> tuple[np.ndarray, float]:
        fmu.setFloat64(y + r, [value, 0.3])
        fmu.doStep(time, steps * dt)
        for _ in range(steps):
            found = step(memory, [value], [0.3], context.theta)
            memory = np.array(found[2]).ravel()
        return memory, float(found[1])

    fmu.setFloat64(y + r, [0.2, 0.3])
    first = fmu.getFloat64([u])[0]  # what is read before the first step changes no memory
    assert first == pytest.approx(float(step(memory, [0.2], [0.3], context.theta)[1]), rel=1e-12)
    fmu.exitInitializationMode()
    for k in range(40):
        value, steps = float(generator.uniform(-0.5, 0.5)), 1 + k % 3
        memory, wanted = sample(steps, value, memory)
        time += steps * dt
        assert fmu.getFloat64([u])[0] == pytest.approx(wanted, rel=1e-10, abs=1e-12)
        seen.append(wanted)
        if k == 20:
            kept = fmu.getFMUState(), memory, time
    assert np.ptp(seen) > 0.1
    fmu.setFMUState(kept[0])
    time = kept[2]
    memory, wanted = sample(1, 0.1, kept[1])
    assert fmu.getFloat64([u])[0] == pytest.approx(wanted, rel=1e-10)
    fmu.freeFMUState(kept[0])
    fmu.terminate()
    fmu.freeInstance()


@pytest.mark.parametrize("prefix", MORE)
@pytest.mark.parametrize("kind", ["adapting", "plain"])
def test_every_prefix_is_an_fmu(kind, prefix, packed):
    from fmpy.validation import validate_fmu

    assert validate_fmu(str(packed(kind, prefix))) == []


def test_missing_headers_are_said(tree):
    need("make", "gcc")
    command = ["make", "-C", str(tree("plain")), "fmu", "FMI_HEADERS=/nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "set FMI_HEADERS to the folder with fmi3Functions.h" in done.stdout + done.stderr
