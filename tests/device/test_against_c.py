"""The adaptation in Python and as exported C, compiled here, decide the same, step for step and bit for bit."""

import dataclasses

import device_runs
import numpy as np
import pytest
from exports import need

from scpo_ctrl.device import DeviceOptions, DeviceStatus, device_adapter

STEPS = 60
LAST_BITS = ("R4", "kinked")  # whose sine differs in the last bit of a float, between C libraries too


def state(adapter, status):
    """Return what the driver prints of a step."""
    return {
        "outcome": list(DeviceStatus).index(status) + 1,
        "counts": list(dataclasses.astuple(adapter.counts)),
        "keys": adapter.rows.keys.tolist(),
        "objective": [float(adapter.objective)],
        "margin": [float(adapter.margin)],
        "L": adapter.rows.L.tolist(),
        "theta": adapter.theta.tolist(),
    }


def follow(name, real, program, options=None, restart=-1):
    """Compare step by step; return the adapter."""
    problem = device_runs.CASES[name]()
    adapter = device_adapter(problem, real, options=options)
    for k, line in enumerate(device_runs.lines(program, STEPS, restart)):
        if k == restart:
            adapter.reference[0] += np.float32(0.25) if real == "float" else 0.25
            adapter.restart()
        found = state(adapter, adapter.step())
        if found["outcome"] > 2:  # then rows are no more chosen, and calls still counted
            assert found["outcome"] == line["outcome"]
            found |= {"keys": line["keys"], "L": line["L"], "counts": line["counts"]}
        assert found == line, f"step {k}"
        assert problem.metrics(adapter.theta.astype(float)).max(initial=-1) <= 0
    assert adapter.counts.commits > 2
    return adapter


@pytest.mark.parametrize("name", device_runs.CASES)
def test_the_same_bits_in_double(name):
    need("gcc")
    follow(name, "double", device_runs.built(name))


@pytest.mark.parametrize("name", ["R3", "two layers, two inputs", "disturbed cloud"])
def test_the_same_bits_in_float(name):
    need("gcc")
    follow(name, "float", device_runs.built(name, "float"))
