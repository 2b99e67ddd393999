"""Imitation on a device: the ring of examples, the same bits in C, and what a malicious expert can do."""

import ctypes
import subprocess

import device_runs
import numpy as np
import pytest
from device_problems import unadapted
from device_runs import state
from exports import STRICT, need
from test_link import SERVER

from scpo_ctrl.codegen import export
from scpo_ctrl.device import DeviceOptions, DeviceStatus, device_adapter
from scpo_ctrl.device.link import frame
from scpo_ctrl.device.policy import Parameters
from scpo_ctrl.errors import DomainError

STEPS = 20
CPP = "-std=c++11 -x c++"
SANITIZE = "-fsanitize=address,undefined -fno-sanitize-recover=all"


def follow(name, real, flags, options, begin, count, forget=STEPS):
    """Compare C and Python step by step while examples come in, and check every commit in double."""
    need("gcc")
    problem, outcomes, thetas = device_runs.CASES[name](), [], []
    adapter = device_adapter(problem, real, options=options)
    program = device_runs.built(name, real, f"{flags} {STRICT}", options.examples, audited=options.audited)
    for k, line in enumerate(device_runs.lines(program, STEPS, begin, count, forget)):
        if k == forget:
            adapter.forget()
        if k >= begin:
            for x, u in device_runs.examples(k, count, problem.plant.nx, problem.plant.nu):
                adapter.expert.observe(x, u)
        outcomes.append(adapter.step())
        assert state(adapter, outcomes[-1]) == line, f"step {k}"
        thetas.append(adapter.theta.astype(float))
    assert problem.metrics(np.array(thetas)).max() <= 0 and adapter.counts.unsafe > 0
    return adapter, outcomes


def test_the_same_bits_while_examples_come_in():
    adapter, outcomes = follow("imitating masses", "double", CPP, DeviceOptions(), begin=8, count=3)
    assert len(adapter.expert.x) > 80 and adapter.expert.lost == 0
    assert outcomes.count(DeviceStatus.COMMITTED) > 10


def test_a_ring_that_is_full_and_one_that_is_empty():
    options = DeviceOptions(examples=5, fresh=2, audited=False)
    flags = f"-DSCPO_FRESH=2 {SANITIZE}"
    adapter, outcomes = follow("imitating, two layers", "float", flags, options, begin=6, count=4, forget=4)
    assert len(adapter.expert.x) == 5 and adapter.expert.lost > 10
    assert outcomes[4:6] == [DeviceStatus.NO_DATA] * 2 and outcomes[6].goes_on


def test_the_objective_is_the_problem_s():
    problem = device_runs.CASES["imitating, two layers"]()
    theta = problem.theta_initial + 0.1 * np.random.default_rng(0).normal(size=problem.theta_dim)
    adapter = device_adapter(problem, "double", theta)
    adapter.begin()
    total, gradient = adapter.expert.differentiate(Parameters(adapter.model, theta))
    assert total * adapter.expert.weight == pytest.approx(problem.objective(theta), rel=1e-12)
    np.testing.assert_allclose(gradient * adapter.expert.weight, problem.gradient(theta), rtol=1e-10, atol=1e-12)


def test_news_wakes_what_has_converged():
    adapter = device_adapter(
        device_runs.CASES["imitating, two layers"](), "double", options=DeviceOptions(patience=1, worth=1.0)
    )
    while adapter.step() is not DeviceStatus.CONVERGED:
        pass
    steps = adapter.counts.steps
    for x, u in device_runs.examples(1, 7, 3, 2):
        assert adapter.expert.observe(x, u) and adapter.step() is DeviceStatus.CONVERGED  # too few
    adapter.expert.observe(x, u)
    assert adapter.step().goes_on and adapter.counts.steps > steps


def test_what_is_no_example_is_refused():
    problem = device_runs.CASES["imitating, two layers"]()
    expert = device_adapter(problem, "double").expert
    with pytest.raises(DomainError, match="beyond 1e"):
        expert.observe([0.0, 0.0, 1e13], [0.0, 0.0])
    with pytest.raises(ValueError, match=r"u\[1\] is nan"):
        expert.observe([0.0, 0.0, 0.0], [0.0, np.nan])
    with pytest.raises(DomainError, match="objective is a cost"):
        export(unadapted(device_runs.CASES["linear"]()), "unused", adapting=True, examples=3)
    with pytest.raises(DomainError, match="adapting=True"):
        export(unadapted(problem), "unused", examples=3)


def test_examples_over_the_serial_line(tmp_path):
    """Examples are taken in while there is room; numbers that are none are refused, and so are references."""
    need("gcc")
    problem = device_runs.CASES["imitating, two layers"]()
    export(unadapted(problem), tmp_path / "c", real="float", measured=False, adapting=True, examples=1)
    (tmp_path / "server.c").write_text(SERVER)
    sources = [*sorted((tmp_path / "c" / "src").glob("*.c")), tmp_path / "server.c"]
    flags = ["-std=c99", "-shared", "-fPIC", *(f"-I{tmp_path / 'c' / part}" for part in ("include", "src"))]
    subprocess.run(["gcc", *flags, *map(str, sources), "-o", tmp_path / "s.so", "-lm"], check=True)
    library, answer = ctypes.CDLL(str(tmp_path / "s.so")), ctypes.create_string_buffer(1 << 10)
    library.begin()

    def ask(kind, values):
        request = frame(kind, np.array(values, np.float32).tobytes())
        size = library.give(request, len(request), answer)
        return answer.raw[1 : size - 2]

    good = [0.1, 0.0, 0.2, 0.3, 0.0]
    assert [ask(b"O", good)[-1] for _ in range(18)] == [0] * 16 + [8] * 2  # SCPO_BUSY
    assert [ask(b"O", [*good[:4], bad])[-1] for bad in (np.nan, 1e13)] == [4, 4]  # SCPO_BAD_STATE
    assert ask(b"F", good)[:1] == b"N"
