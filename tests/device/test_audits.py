"""Audits on the device (E12): bits as in C, points as they claim to be, and what is active has passed."""

import os
import re
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path

import audited_cases
import clouds
import device_runs
import numpy as np
import pytest
from device_runs import state
from exports import need, run
from scipy import stats

import scpo_ctrl as sc
from scpo_ctrl.codegen.fresh_set import no_audits
from scpo_ctrl.device import DeviceOptions, DeviceStatus, device_adapter
from scpo_ctrl.device.arithmetic import Arithmetic
from scpo_ctrl.device.audits import _largest
from scpo_ctrl.device.fresh import Points, word
from scpo_ctrl.errors import DomainError

HERE = Path(__file__).parent
LONG = bool(os.environ.get("SCPO_FUZZ"))  # see `make fuzz`
TINY = {"audit_points": 1, "audit_first": 1, "audit_most": 1, "guards": 1, "edges": 0, "taken": 1, "step_rollouts": 1}
SMALL = {"audit_points": 37, "audit_first": 2, "guards": 5, "edges": 3, "taken": 3, "step_rollouts": 20}
SANITIZE = "-std=gnu99 -g1 -Og -fsanitize=address,undefined,alignment -fno-sanitize-recover=all -Wall -Wextra -Werror"


def follow(make, chosen, *, real="double", gradients="exact", steps=40):
    """Compare step by step; return how steps ended."""
    problem = make()
    folder = audited_cases.exported(make, real, gradients)
    adapter = device_adapter(problem, real, options=DeviceOptions(gradients=gradients, **chosen))
    inside = DeviceOptions(gradients=gradients, directions=min(16, problem.theta_dim), **chosen)
    program, outcomes = audited_cases.program(folder, audited_cases.flags(inside)), Counter()
    for k, line in enumerate(device_runs.lines(program, steps)):
        outcomes[status := adapter.step()] += 1
        assert state(adapter, status) == line, f"step {k}"
    return outcomes


@pytest.mark.parametrize(
    ("make", "gradients", "chosen", "ends"),
    [
        (audited_cases.one_state, "exact", TINY, {"WITHDRAWN"}),
        (audited_cases.centres, "sampled", SMALL, {"WITHDRAWN"}),
        (audited_cases.box_disturbed, "exact", SMALL, {"WITHDRAWN"}),
        (audited_cases.ranges_alone, "exact", {"audit_points": 300, "audit_first": 6}, set()),
    ][: 4 if LONG else 2],
)
def test_the_same_bits(make, gradients, chosen, ends):
    need("gcc")
    outcomes = follow(make, chosen, gradients=gradients)
    assert {"COMMITTED", "AUDITED"} | ends <= {status.name for status in outcomes}


def test_words_are_those_of_philox():
    """Known answers of Random123 for philox2x32-10: counter, key, result."""
    known = [
        ((0, 0), 0, (0xFF1DAE59, 0x6CD10DF2)),
        ((0xFFFFFFFF, 0xFFFFFFFF), 0xFFFFFFFF, (0x2C3F628B, 0xAB4FD7AD)),
        ((0x243F6A88, 0x85A308D3), 0x13198A2E, (0xDD7CE038, 0xF62A4C12)),
    ]
    for (block, number), seed, result in known:
        places = 2 * block + np.arange(2)
        assert tuple(word(seed, np.array([number]), places).tolist()) == result


def points(nx, *, box=False, npar=3, half=(1.0,), fixed=0.0, horizon=5):
    """Return points of the unit ball or the box [-1, 1]^nx, with parameters in (0, 1) and disturbances in (-1, 1)."""
    arithmetic, wide = Arithmetic("double"), np.full(nx, 2.0)
    p_range, half = np.array([np.zeros(npar), np.ones(npar)]), np.ones(nx) * np.asarray(half)
    numbers = (np.float64(fixed), np.float64(0), np.float64(0))
    return Points(arithmetic, box, np.zeros((1, nx)), np.eye(nx), -wide, wide, half, *numbers, p_range, horizon)


@pytest.mark.parametrize("nx", [1, 2, 4, 8])
def test_even_numbers_are_uniform_in_a_ball(nx):
    x, p, w = points(nx).draw(5, 2 * np.arange(40_000))
    radius = np.linalg.norm(x, axis=1)
    assert stats.kstest(radius**nx, "uniform").pvalue > 1e-3
    assert stats.kstest(p.ravel(), "uniform").pvalue > 1e-3
    assert stats.kstest((w.ravel() + 1) / 2, "uniform").pvalue > 1e-3
    assert stats.binomtest(int(np.sum(x > 0)), x.size).pvalue > 1e-3
    seen = np.column_stack([radius, x[:, 0] / radius, p, w[:, 0], w[:, -1]])
    assert np.abs(np.corrcoef(seen.T) - np.eye(seen.shape[1])).max() < 5 / np.sqrt(len(seen))
    if nx > 1:  # a direction's coordinates squared have a beta distribution
        of_square = stats.beta(0.5, (nx - 1) / 2).cdf
        assert all(stats.kstest(column**2, of_square).pvalue > 1e-4 for column in (x / radius[:, None]).T)
    if nx == 2:
        angles = np.histogram(np.arctan2(x[:, 1], x[:, 0]), 64, (-np.pi, np.pi))[0]
        assert stats.chisquare(angles).pvalue > 1e-3


def test_even_numbers_are_uniform_in_a_box():
    x, _, _ = points(3, box=True).draw(1, 2 * np.arange(40_000))
    assert all(stats.kstest((column + 1) / 2, "uniform").pvalue > 1e-3 for column in x.T)
    assert np.abs(np.corrcoef(x.T) - np.eye(3)).max() < 0.025


@pytest.mark.parametrize("box", [False, True])
def test_odd_numbers_are_edges_of_every_kind_independently(box):
    number = 2 * np.arange(32_000) + 1
    x, p, w = points(4, box=box).draw(2, number)
    size = np.abs(x).max(axis=1) if box else np.linalg.norm(x, axis=1)
    at_end = (number >> 1) % 4 != 3
    np.testing.assert_allclose(size[at_end], 1, rtol=1e-15)
    assert size[~at_end].max() < 1 and size[~at_end].min() < 0.01
    corner = np.isin(p, (0, 1)).all(axis=1)
    assert np.isin(w, (-1, 1)).all()
    turns = (np.diff(w, axis=1) != 0).sum(axis=1)
    kind = np.select([(turns == 0).all(axis=1), (turns == 4).all(axis=1), (turns.max(axis=1) == 1)], [0, 1, 2], 3)
    late = np.abs(np.diff(w[:, :, 0], axis=1))[:, 2:].any(axis=1)  # of one switch: in the second half
    face = np.abs(x).argmax(axis=1)
    pairs = [(at_end, corner), (at_end, kind), (corner, kind), (face, corner), (face, kind)]
    once = (turns[:, 0] == 1) & (kind == 2)
    pairs.append((late[once], w[once, 0, 0]))
    for one, other in pairs:
        table = stats.contingency.crosstab(one, other).count
        assert stats.chi2_contingency(table).pvalue > 1e-4, table


def interleaved(make, real, gradients, sizes, tmp_path, requests):
    folder = audited_cases.exported(make, real, gradients)
    every = [*sorted((folder / "src").glob("*.c")), HERE / "audits_interleaved.c"]
    include = [f"-I{folder / part}" for part in ("include", "src")]
    run("gcc", *SANITIZE.split(), *(f"-DSCPO_{size}" for size in sizes), *include, *every, "-lm", "-o", tmp_path / "x")
    said = Counter()
    for seed in range(1, 9 if LONG else 2):
        printed = run(tmp_path / "x", seed, requests, timeout=3600 if LONG else 120)
        said.update(dict(zip(printed.split()[::2], map(int, printed.split()[1::2]), strict=True)))
    return said


@pytest.mark.parametrize(
    ("make", "real", "gradients", "sizes"),
    [
        (audited_cases.one_state, "double", "exact",
         ["AUDIT_POINTS=3", "AUDIT_FIRST=1", "EDGES=0", "GUARDS=2", "TAKEN=2"]),
        (device_runs.masses, "double", "exact",
         ["AUDIT_POINTS=30", "AUDIT_FIRST=2", "EDGES=0", "GUARDS=3", "TAKEN=2"]),
        (device_runs.CASES["imitating masses"], "float", "exact",
         ["AUDIT_POINTS=1", "AUDIT_FIRST=1", "EDGES=0", "GUARDS=1", "TAKEN=1", "STEP_ROLLOUTS=1", "NROWS=1"]),
        (device_runs.masses, "double", "sampled",
         ["AUDIT_POINTS=40", "AUDIT_FIRST=1", "EDGES=4", "GUARDS=4", "TAKEN=4"]),
    ][: 4 if LONG else 1],
)  # fmt: skip
def test_what_is_active_has_passed_whatever_is_asked_and_whenever(make, real, gradients, sizes, tmp_path):
    need("gcc")
    said = interleaved(make, real, gradients, sizes, tmp_path, 20_000 if LONG else 1_500)
    print(dict(said))
    assert said["wrong"] == 0
    outcomes = {status: said[str(k + 1)] for k, status in enumerate(DeviceStatus)}
    assert outcomes[DeviceStatus.AUDITED] > 100 and outcomes[DeviceStatus.WITHDRAWN] > 5
    assert outcomes[DeviceStatus.START_UNSAFE] > 5 and outcomes[DeviceStatus.COMMITTED] > 100


def cut(name, count, horizon, seed):
    """Return a problem that ships with the package, with few scenarios of the same set."""
    problem = clouds.shipped(name)
    batch = problem.scenarios
    declared = replace(batch.declared, horizon=horizon)
    few = sc.Scenarios(batch.x0[:count], batch.p[:count], batch.w[:count, :horizon], horizon, declared)
    return sc.ControlProblem(problem.policy, few, problem.objective_data, problem.scenario_metrics.options, seed=seed)


PLANTS = {
    "one state": (lambda seed: audited_cases.one_state(), 100),
    "R3": (lambda seed: cut("double_integrator", 8, 30, seed), 300),
    "motor": (audited_cases.motor, 300),
    "disturbed motor": (audited_cases.disturbed_motor, 300),
    "R4": (lambda seed: cut("cart_pole", 8, 60, seed), 150),
}


@pytest.mark.parametrize("name", PLANTS if LONG else ("one state",))
def test_policies_that_passed_break_no_more_than_the_statement_allows(name, tmp_path):
    """Long form: 16 seeds each. Fresh points are of the desktop's generator, which the device does not have."""
    need("gcc")
    make, steps = PLANTS[name]
    problem = make(0)
    real = "double" if name == "one state" else "float"
    folder = audited_cases.exported(audited_cases.one_state if name == "one state" else lambda: problem, real)
    include = [f"-I{folder / part}" for part in ("include", "src")]
    every = [*sorted((folder / "src").glob("*.c")), HERE / "audited_policies.c"]
    run(
        "gcc",
        "-std=c99",
        "-O2" if LONG else "-O0",
        "-Wall",
        "-Wextra",
        "-Werror",
        *include,
        *every,
        "-lm",
        "-o",
        tmp_path / "policies",
    )
    fresh = problem.scenarios.declared.random(0, 20_000 if LONG else 4_000, 4711)
    epsilon, shares = 1 - 0.05 ** (1 / 2000), []
    for seed in range(16 if LONG else 1):
        start = make(seed).theta_initial
        given = " ".join(map(repr, start.tolist()))
        done = subprocess.run(
            [tmp_path / "policies", str(seed), str(steps)], input=given, capture_output=True, text=True, check=True
        )
        passed = [np.array(line.split(), dtype=float) for line in done.stdout.splitlines()]
        assert passed and problem.objective(passed[-1]) < 0.9 * problem.objective(start)
        shares += [np.mean(~(problem.evaluate_scenarios(theta, fresh)[1] <= 0).all(axis=1)) for theta in passed]
    print(
        f"{name}: {len(shares)} policies, above {epsilon:.2%}: {np.sum(np.array(shares) > epsilon)}, {max(shares):.3%}"
    )
    assert np.mean(np.array(shares) > epsilon) <= 0.05


@pytest.mark.parametrize(("edges", "fresh"), [(16, 0), (0, 4000)])
def test_a_start_that_breaks_a_metric_beside_the_scenarios_is_refused(edges, fresh):
    problem = cut("double_integrator", 1, 28, 0)  # too short to contract from all of the set
    adapter = device_adapter(problem, "double", options=DeviceOptions(edges=edges))
    assert problem.metrics(problem.theta_initial).max() < 0
    assert adapter.step() is DeviceStatus.START_UNSAFE and adapter.step() is DeviceStatus.START_UNSAFE
    assert (adapter.counts.audits, adapter.counts.fresh) == (fresh > 0, fresh)
    assert np.array_equal(adapter.active, problem.theta_initial) and adapter.counts.commits == 0


def test_the_safe_start_takes_the_place_of_what_another_audit_breaks():
    """One point an audit, and no guard but one: policies pass that are not safe."""
    problem = audited_cases.box_disturbed()
    adapter = device_adapter(problem, "double", options=DeviceOptions(**TINY))
    statuses = [adapter.step()]
    while statuses[-1] is not DeviceStatus.WITHDRAWN and len(statuses) < 100:
        before, committed = adapter.active, adapter.theta
        statuses.append(adapter.step())
        if statuses[-1] is not DeviceStatus.AUDITED and statuses[-1] is not DeviceStatus.WITHDRAWN:
            assert np.array_equal(adapter.active, before)
    assert statuses[-1] is DeviceStatus.WITHDRAWN and DeviceStatus.AUDITED in statuses
    assert np.array_equal(adapter.active, problem.theta_initial)
    assert np.allclose(adapter.theta, (committed + adapter.active) / 2, rtol=1e-15, atol=0)
    assert not adapter.audits.own and not adapter.audits.trusted
    while not adapter.audits.own:  # what is between the two becomes active behind an audit of its own
        assert np.array_equal(adapter.active, problem.theta_initial)
        status = adapter.step()
    assert status is DeviceStatus.AUDITED


def test_what_goes_all_of_the_way_back_to_the_safe_start_begins_anew():
    adapter = device_adapter(audited_cases.box_disturbed(), "double", options=DeviceOptions(**TINY))
    while adapter.step() is not DeviceStatus.AUDITED:
        pass
    adapter.active = adapter.model.theta_start
    adapter.theta = adapter.audits.withdraw(1e3 + adapter.theta, adapter.active)  # nothing on the way is safe
    adapter._begin_anew()
    audits = adapter.counts.audits
    assert adapter.begin() is DeviceStatus.REJECTED and adapter.audits.trusted and not adapter.audits.own
    assert np.array_equal(adapter.theta, adapter.active) and adapter.counts.audits == audits + 1


def test_the_first_audit_comes_after_as_many_commits_as_are_asked_for():
    adapter = device_adapter(audited_cases.one_state(), options=DeviceOptions(audit_points=20, audit_first=5))
    while adapter.step() is not DeviceStatus.AUDITED:
        assert adapter.audits.unaudited <= 5
    assert adapter.counts.audits == 2 and adapter.counts.commits == 5


def test_where_nothing_is_audited_and_why():
    given = [
        ("R3", "no points of a declared set"),
        ("disturbed cloud", "conditions on one step"),
        ("cloud at other rests", "conditions on one step"),
    ]
    for name, why in given:
        problem = device_runs.CASES[name]()
        assert re.search(why, no_audits(problem))
        assert device_adapter(problem).audits is None
    assert "move its equilibrium" in no_audits(clouds.loaded(contraction=0.9, contraction_floor=0.2, stability=False))
    audited, plain = device_runs.masses(), DeviceOptions(audited=False)
    assert no_audits(audited) is None
    assert device_adapter(audited, options=plain).audits is None


@pytest.mark.parametrize(
    "wrong",
    [{"guards": 3, "taken": 4}, {"guards": 15}, {"audit_points": 0}, {"audit_first": 0}, {"audit_most": 0},
     {"taken": 0}, {"step_rollouts": 0}, {"back_off": 0.0}, {"back_off": np.inf}, {"edges": -1}, {"audited": 2}],
)  # fmt: skip
def test_sizes_that_do_not_fit_are_refused(wrong):
    with pytest.raises(DomainError, match=next(iter(wrong))):
        DeviceOptions(**wrong)


def test_rounding_to_float_decides_nothing_near_the_rest():
    """On levels down to nothing float does not tell V from its rounding: contraction is asked down to a floor there."""
    problem = cut("double_integrator", 8, 30, 0)
    wide, narrow = device_adapter(problem, "double"), device_adapter(problem, "float")
    while wide.counts.commits < 5:
        wide.step()
    numbers = 8 * np.arange(30_000) + 7  # edges that are not at the set's end
    x0 = wide.model.points.draw(0, numbers)[0]
    near = numbers[np.argsort(np.abs(x0).max(axis=1))[:1000]]
    assert np.abs(x0).max(axis=1).min() < 1e-6
    metrics = [
        np.where(there, largest, -1).max(axis=1)
        for adapter, number in ((wide, float), (narrow, np.float32))
        for largest, there in [_largest(adapter.audits._at(near, wide.theta.astype(number)))]
    ]
    assert (metrics[1] - metrics[0]).max() < 0.2 * DeviceOptions().back_off
