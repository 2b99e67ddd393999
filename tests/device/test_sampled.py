"""Sampled gradients: decisions as the C takes them, estimates within what (E3) allows, plants without derivatives."""

import shutil
from dataclasses import replace

import device_runs
import numpy as np
import pytest
from device_runs import state
from exports import STRICT, need, run
from test_plant_parameters import with_masses
from test_tracking_on_device import ramp

import scpo_ctrl as sc
from scpo_ctrl.device import DeviceOptions, adapt_as_device, device_adapter
from scpo_ctrl.device.directions import Directions
from scpo_ctrl.errors import DomainError

SAMPLED = DeviceOptions(gradients="sampled")


@pytest.mark.parametrize(
    ("name", "real", "steps", "chosen", "flags"),
    [
        ("disturbed cloud", "float", 16, {"directions": 5, "rows": 4, "tries": 1, "sampling_radius": 0.01},
         "-DSCPO_NDIRECTIONS=5 -DSCPO_NROWS=4 -DSCPO_TRIES=1 -DSCPO_SAMPLING_RADIUS=0.01f"),
        ("terminal, two layers", "double", 10, {}, "-DSCPO_CHUNK=7"),
    ],
)  # fmt: skip
def test_the_same_bits(name, real, steps, chosen, flags):
    need("gcc")
    problem = device_runs.CASES[name]()
    options = DeviceOptions(gradients="sampled", **chosen)
    adapter = device_adapter(problem, real, options=options)
    chunk = [int(flag.partition("=")[2]) for flag in flags.split() if "CHUNK" in flag]
    if chunk:
        adapter._use(replace(adapter._exported, chunk=chunk[0]))
    for k, line in enumerate(device_runs.lines(device_runs.built(name, real, flags, gradients="sampled"), steps)):
        assert state(adapter, adapter.step()) == line, f"step {k}"
        assert problem.metrics(adapter.theta.astype(float)).max() <= 0
    assert 2 < adapter.counts.commits < steps + (options.tries != 1)


def test_the_same_bits_with_other_parameters_and_a_ramp():
    need("gcc")
    problem, commits = device_runs.CASES["masses"](), {}
    adapter = device_adapter(problem, "double", options=DeviceOptions(gradients="sampled", tracking=True))
    program = device_runs.built("masses", "double", f"-DSCPO_TRACKING=1 {STRICT}", gradients="sampled")
    for k, line in enumerate(device_runs.lines(program, 14, 8, 0.5, -1, 4, 1.1, 1.25)):
        if k == 4:
            adapter.parameters([1.1], [1.25])
            problem = with_masses(problem, 1.1, 1.25)
        if k == 8:
            adapter.refer(ramp(problem, 0.5))
        assert state(adapter, adapter.step()) == line, f"step {k}"
        assert problem.metrics(adapter.theta).max() <= 0
        commits[k] = adapter.counts.commits
    assert 0 < commits[3] < commits[7] < commits[13]


@pytest.mark.parametrize(("parameters", "count"), [(48, 16), (13, 5), (3, 3)])
def test_directions_are_orthonormal(parameters, count):
    adapter = device_adapter(device_runs.CASES["linear"](), "double", options=SAMPLED)
    drawn = Directions.draw(adapter.model.arithmetic, parameters, count, 1)
    again = Directions.draw(adapter.model.arithmetic, parameters, count, drawn.random)
    D = drawn.disturbed(np.zeros(parameters), 1.0)
    np.testing.assert_allclose(D @ D.T, np.eye(count), atol=1e-15)
    assert not np.array_equal(D, again.disturbed(np.zeros(parameters), 1.0))


def test_estimates_are_those_of_the_exact_gradients_in_the_span():
    problem = device_runs.CASES["R3"]()
    sampled, exact = (device_adapter(problem, "double", options=options) for options in (SAMPLED, DeviceOptions()))
    for adapter in (sampled, exact):
        adapter.begin()
        adapter._differentiate()
    D = sampled._directions.disturbed(np.zeros(problem.theta_dim), 1.0)
    assert np.array_equal(sampled.rows.keys, exact.rows.keys)
    error, size = np.linalg.norm(sampled.rows.G - exact.rows.G @ D.T, axis=1), np.linalg.norm(exact.rows.G, axis=1)
    assert np.all(error <= 1e-4 * size)
    gradient = exact._gradient @ D.T
    assert np.linalg.norm(sampled._gradient - gradient) <= 1e-4 * np.linalg.norm(gradient)


def test_it_adapts_safely_in_float():
    problem = device_runs.CASES["R3"]()
    found = adapt_as_device(problem, steps=40, options=SAMPLED)
    assert found.is_safe() and np.all(np.diff(found.objectives) < 0)
    assert found.objective < 0.8 * found.objectives[0]


def test_a_step_of_the_user_s_own(tmp_path):
    """The plant as a function in C, which the export knows nothing of: the same steps as with the generated one."""
    need("gcc")
    program = device_runs.built("terminal, two layers", "double", "-DSCPO_CHUNK=7", gradients="sampled")
    folder = shutil.copytree(program.parent, tmp_path / "c")
    model = (folder / "src" / "scpo_model.c").read_text()
    assert "model_adjoint" not in model
    start = model.index("void scpo_model_step")
    own = f'#include "scpo_model.h"\n{model[start : model.index("#endif", start)]}'
    (folder / "src" / "own.c").write_text(own)
    with_own = device_runs.compiled(folder, f"{device_runs.FLAGS} -DSCPO_OWN_STEP -DSCPO_CHUNK=7")
    assert device_runs.lines(with_own, 3) == device_runs.lines(program, 3)


@pytest.mark.parametrize(("compiler", "language"), [("gcc", "c"), ("g++", "c++")])
def test_no_warning_as_c_and_as_cxx(compiler, language):
    need("gcc", compiler)
    folder = device_runs.built("terminal, two layers", "double", "-DSCPO_CHUNK=7", gradients="sampled").parent
    chosen = [folder / "src" / f"scpo_{name}.c" for name in ("sampled", "adapt", "rollout", "stability", "working_set")]
    flags = ("-Wall", "-Wextra", "-Wconversion", "-Wsign-conversion", "-Wundef", "-Wshadow", "-pedantic", "-Werror")
    include = [f"-I{folder / part}" for part in ("include", "src")]
    run(compiler, "-fsyntax-only", *flags, *include, "-x", language, *chosen)


def test_refusals(tmp_path):
    result = sc.adapt(device_runs.CASES["linear"](), sc.AdaptOptions(steps=0, audit=False))
    with pytest.raises(DomainError, match="adapting"):
        sc.codegen.export(result, tmp_path / "c", gradients="sampled")
    expert = device_runs.CASES["imitating masses"]()
    with pytest.raises(DomainError, match="Imitation"):
        device_adapter(expert, options=SAMPLED)
    with pytest.raises(DomainError, match="take gradients='exact'"):
        sc.codegen.export(
            sc.adapt(expert, sc.AdaptOptions(steps=0, audit=False)), tmp_path / "c", adapting=True, gradients="sampled"
        )
    assert not list(tmp_path.iterdir())
    with pytest.raises(DomainError, match="half"):
        DeviceOptions(gradients="half")
    with pytest.raises(DomainError, match="sampling_radius"):
        DeviceOptions(sampling_radius=0.0)
