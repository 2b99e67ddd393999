"""The adaptation in Python and as exported C, compiled here, decide the same, step for step and bit for bit."""

import device_runs
import numpy as np
import pytest
from device_runs import state
from exports import need
from forms import times

from scpo_ctrl.device import DeviceOptions, device_adapter
from scpo_ctrl.device.working_set import Verification

STEPS = times(60, 3)


def follow(name, real, program, options=None, restart=-1, moved=0.0, steps=STEPS):
    """Compare step by step, and check every commit in double; return the adapter."""
    problem = device_runs.CASES[name]()
    adapter = device_adapter(problem, real, options=options)
    thetas = []
    for k, line in enumerate(device_runs.lines(program, steps, restart, moved)):
        if k == restart:
            adapter.reference[0] += adapter.theta.dtype.type(moved)
            adapter.refer(adapter.reference)
        assert state(adapter, adapter.step()) == line, f"step {k}"
        thetas.append(adapter.theta.astype(float))
    assert problem.metrics(np.array(thetas)).max(initial=-1.0) <= 0
    assert adapter.counts.commits > 2
    return adapter


@pytest.mark.table(8)
@pytest.mark.parametrize("name", device_runs.SHARED)
def test_the_same_bits_in_double(name):
    need("gcc")
    follow(name, "double", device_runs.built(name))


@pytest.mark.table(2)
@pytest.mark.parametrize("optimisation", ["-Os", "-O3"])
def test_the_same_bits_in_float_whatever_the_compiler_optimises_for(optimisation):
    need("gcc")
    follow("R3", "float", device_runs.built("R3", "float", optimisation))


@pytest.mark.table(2)
@pytest.mark.parametrize(
    ("name", "real", "chosen", "flags"),
    [
        ("disturbed cloud", "float", {"rows": 3, "memory": 1, "tries": 2, "patience": 40},
         "-DSCPO_NROWS=3 -DSCPO_MEMORY=1 -DSCPO_TRIES=2 -DSCPO_PATIENCE=40"),
        ("end alone", "double", {"rows": 24, "metric_error": 0.01, "worth": 1e-3},
         "-DSCPO_NROWS=24 -DSCPO_MAX_ACTIVE=24 -DSCPO_METRIC_ERROR=0.01 -DSCPO_WORTH=1e-3"),
    ],
)  # fmt: skip
def test_with_other_constants(name, real, chosen, flags):
    need("gcc")
    adapter = follow(name, real, device_runs.built(name, real, flags), DeviceOptions(**chosen))
    assert adapter.rows.keys.size <= adapter.options.rows


def test_another_reference():
    need("gcc")
    adapter = follow("linear", "double", device_runs.built("linear"), restart=45, moved=0.25, steps=60)
    assert adapter.counts.steps > 50


def test_rollouts_that_are_lost(monkeypatch):
    """A reference beyond the bounds, and long steps: beyond the bounds the plant leaves all numbers."""
    need("gcc")
    lost = []

    def counted(parameters, rows, inner=Verification.of):
        found = inner(parameters, rows)
        lost.append(found.trajectories.lost.any())
        return found

    monkeypatch.setattr(Verification, "of", counted)
    program = device_runs.built("explosive", "float", "-DSCPO_RADIUS=30.0f")
    follow("explosive", "float", program, DeviceOptions(radius=30.0), restart=0, moved=3.0)
    assert sum(lost) > 1
