"""A policy in integers: C and Python agree bit by bit, and inputs are off by no more than the bound."""

import ctypes
import functools
import json
import os
import re
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from device_problems import r3_problem, unadapted
from exports import STRICT, need, require, result_of, run
from test_pil import QEMU, build, emulate

import scpo_ctrl as sc
from scpo_ctrl.codegen import TARGETS, FixedPoint, export
from scpo_ctrl.codegen.fixed_bound import TANH_ERROR, error_bound, error_within
from scpo_ctrl.codegen.fixed_law import ONE, fixed_law, fixed_tanh
from scpo_ctrl.codegen.fixed_margin import in_integers, metrics_under
from scpo_ctrl.errors import DomainError
from scpo_ctrl.rounding import up
from scpo_ctrl.usage.device import export_command

COUNT = 1_000_000 if os.environ.get("SCPO_FIXED") else 100_000
SANITIZE = "-O0 -fsanitize=undefined -fno-sanitize-recover=all"
ALONE = ("-fvisibility=hidden", "-ffunction-sections", "-Wl,--gc-sections")  # without what only the projection needs
CONVERTER = FixedPoint(x_step=[10 / 4095, 3 / 4095], x_zero=[-5.0, -1.5], u_step=[2 / 999], u_zero=[-1.0])
OK, BAD_STATE, BAD_THETA = 0, 4, 5


@functools.cache
def adapted() -> sc.Result:
    """R3 after a few steps, its parameters those of float."""
    result = sc.adapt(r3_problem(), sc.AdaptOptions(steps=10, audit=False, metric_error=1e-5, gradients="sampled"))
    return replace(result, theta=result.theta.astype(np.float32).astype(float))


class Library:
    """The integers of an export as a shared library, undefined behaviour fatal."""

    def __init__(self, result, folder, counted=True, real="float", flags=SANITIZE):
        export(result, folder / "c", real=real, measured=False, fixed=counted)
        include = [f"-I{folder / 'c' / part}" for part in ("include", "src")]
        driver = folder / "driver.c"
        driver.write_text(DRIVER)
        used = ("fixed", "fixed_prepare", "fixed_data", "data", "dual")
        sources = [*(folder / "c" / "src" / f"scpo_{name}.c" for name in used), driver]
        strict = STRICT.split()
        run("gcc", "-std=c99", *strict, *flags.split(), *ALONE, "-fPIC", "-shared", *include, *sources, "-lm", "-o",
            folder / "c.so")  # fmt: skip
        self.c = ctypes.CDLL(str(folder / "c.so"))
        self.real = np.float32 if real == "float" else np.float64

    def control(self, theta, counts, nu):
        """Status of the parameters, and inputs at many states, with prepared parameters and with the exported ones."""
        counts, theta = np.ascontiguousarray(counts, np.int32), np.ascontiguousarray(theta, self.real)
        u = np.zeros((2, len(counts), nu), np.int32)
        pointers = (array.ctypes.data_as(ctypes.c_void_p) for array in (theta, counts, u[0], u[1]))
        return self.c.many(len(counts), *pointers), u[0].astype(np.int64), u[1].astype(np.int64)

    def counts(self, x):
        x = np.ascontiguousarray(x, self.real)
        found = np.zeros(x.shape, np.int32)
        pointers = (array.ctypes.data_as(ctypes.c_void_p) for array in (x, found))
        return self.c.counted(len(x), *pointers), found.astype(np.int64)


DRIVER = r"""
#include "scpo_fixed.h"
#pragma GCC visibility push(default)
int many(int count, const scpo_real *theta, const int32_t *x, int32_t *u, int32_t *initial);
int counted(int count, const scpo_real *x, int32_t *counts);
static scpo_fixed fixed;
int many(int count, const scpo_real *theta, const int32_t *x, int32_t *u, int32_t *initial)
{
    const int status = (int)scpo_fixed_begin(&fixed, theta);
    int k;
    for (k = 0; k < count; k++) {
        scpo_fixed_control(&fixed, x + k * SCPO_NX, u + k * SCPO_NU);
        scpo_fixed_command(&scpo_fixed_initial, x + k * SCPO_NX, initial + k * SCPO_NU);
    }
    return status;
}
int counted(int count, const scpo_real *x, int32_t *counts)
{
    int bad = 0;
    int k;
    for (k = 0; k < count; k++) {
        bad += scpo_fixed_counts(x + k * SCPO_NX, counts + k * SCPO_NX) == SCPO_BAD_STATE;
    }
    return bad;
}
"""


def any_counts(law, count, rng):
    """Half of them inside the ranges, the others any of 32 bits, the extreme ones among them."""
    size = (count, len(law.low))
    far = rng.integers(-(2**31), 2**31, size)
    far[: count // 10] = rng.choice([-(2**31), 2**31 - 1, 0, *law.low, *law.high], (count // 10, size[1]))
    return np.where(np.arange(count)[:, None] % 2, rng.integers(law.low, law.high + 1, size), far)


CASES = {
    "R3": (adapted, True, "float"),
    "R3, 12 bits": (adapted, CONVERTER, "float"),
    "linear": (lambda: result_of("linear_4_2"), True, "double"),
    "two layers": (lambda: result_of("mlp_3_2"), True, "double"),
}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Return what builds the integers of a case, once."""
    need("gcc")

    @functools.cache
    def make(case):
        find, counted, real = CASES[case]
        return Library(find(), tmp_path_factory.mktemp("integers"), counted, real)

    return make


@pytest.mark.parametrize("case", [case for case in CASES if case != "R3"])
def test_c_and_python_agree_bit_by_bit(case, library):
    find, counted, _ = CASES[case]
    library = library(case)
    result, rng = find(), np.random.default_rng(5)
    policy = result.problem.policy
    law = fixed_law(policy, counted if isinstance(counted, FixedPoint) else FixedPoint())
    counts = any_counts(law, COUNT if case == "R3, 12 bits" else COUNT // 10, rng)
    theta = result.theta.astype(library.real).astype(float)
    expected = law.control(law.prepared(theta), counts)
    status, prepared, initial = library.control(theta, counts, policy.plant.nu)
    assert status == OK and (prepared == expected).all() and (initial == expected).all()
    assert ((expected >= law.least) & (expected <= law.most)).all() and np.unique(expected).size > 100
    for size in (1e-30, 1e-3, 1.0, 30.0, 1e5):  # other parameters are prepared alike, up to large ones
        other = (size * rng.normal(size=theta.size)).astype(library.real).astype(float)
        status, prepared, _ = library.control(other, counts[:2000], policy.plant.nu)
        assert status == OK and (prepared == law.control(law.prepared(other), counts[:2000])).all()


def test_bad_parameters_and_states(library):
    """θ that is not finite or too large gives the backup; a state that is not finite the equilibrium's counts."""
    result, rng, library = adapted(), np.random.default_rng(3), library("R3, 12 bits")
    law = fixed_law(result.problem.policy, CONVERTER)
    counts = any_counts(law, 100, rng)
    backup = law.control(law.prepared(np.zeros(result.theta.size)), counts)
    for bad in (np.nan, np.inf, -np.inf, 1e18, -3e38):
        theta = result.theta.copy()
        theta[rng.integers(theta.size)] = bad
        status, u, _ = library.control(theta, counts, 1)
        assert status == BAD_THETA and (u == backup).all()
        if np.isfinite(bad):
            with pytest.raises(DomainError, match="too large for 32 bits"):
                law.prepared(theta)
    x = rng.uniform(-20, 20, (10_000, 2)).astype(np.float32)
    x[:5] = [[np.nan, 0], [0, np.inf], [3e38, -3e38], [1e-40, -0.0], [-np.inf, np.nan]]
    bad, found = library.counts(x)
    assert bad == 3 and (found == law.counts(x.astype(float))).all()
    assert (found[[0, 1, 4]] == [2048, 2048]).all() and (found[2] == [law.high[0], law.low[1]]).all()


def test_tanh_is_within_its_bound():
    x = np.random.default_rng(0).integers(-10 << 27, (10 << 27) + 1, COUNT)
    x[:642] = np.concatenate([np.arange(-320, 321) << 22, [10 << 27]])
    off = np.abs(fixed_tanh(x) / ONE - np.tanh(x.astype(np.longdouble) / 2**27)).max()
    assert 0.5 * float(TANH_ERROR) < off <= float(TANH_ERROR)
    assert (fixed_tanh(-x) == -fixed_tanh(x)).all() and np.abs(fixed_tanh(x)).max() < ONE


def largest_error(policy, law, theta, rng, count=COUNT):
    """The largest error seen on random states, parameters in double."""
    counts = rng.integers(law.low, law.high + 1, (count, len(law.low)))
    rest = np.rint((policy.plant.x_eq - law.x_zero) / law.x_step).astype(np.int64)
    counts[::2] = rest + (counts[::2] - rest) // 20  # near the equilibrium, where inputs are not saturated
    exact = policy.commands(law.states(counts)[None], theta[None])[0]
    exact = np.clip(exact, policy.plant.u_min, policy.plant.u_max)
    return np.abs(law.inputs(law.control(law.prepared(theta), counts)) - exact).max(axis=0)


@pytest.mark.parametrize("case", CASES)
def test_the_bound_holds_and_is_not_vacuous(case):
    find, counted, _ = CASES[case]
    result, rng = find(), np.random.default_rng(11)
    policy = result.problem.policy
    law = fixed_law(policy, counted if isinstance(counted, FixedPoint) else FixedPoint())
    theta = result.theta
    bound, seen = error_bound(law, policy, theta, law.prepared(theta)), largest_error(policy, law, theta, rng)
    print(case, "bound", bound, "seen", seen)
    assert (seen <= bound).all() and (bound <= (20 if case == "two layers" else 10) * seen).all()
    limit = 2 * float(np.abs(theta).max())
    within = error_within(law, policy, limit)
    assert (within >= bound).all()
    for _ in range(5):
        other = rng.uniform(-limit, limit, theta.size)
        near = error_bound(law, policy, other, law.prepared(other))
        assert (near <= within).all() and (largest_error(policy, law, other, rng, 2000) <= near).all()


@pytest.mark.parametrize("name", ["weights", "zero", "rest", "shift"])
def test_the_bound_sees_a_planted_fault(name):
    """One unit of a weight, of the equilibrium or of a bias, or a table's, beyond what is proved."""
    result = adapted()
    policy, theta = result.problem.policy, result.theta
    law = fixed_law(policy, FixedPoint())
    bound = error_bound(law, policy, theta, law.prepared(theta))
    parameters = law.prepared(theta)
    if name in ("weights", "shift"):
        rows = [row.copy() for row in parameters.rows]
        rows[-1][0, 0] += 1 << (8 if name == "weights" else 12)
        wrong, changed = law, replace(parameters, rows=tuple(rows))
    else:
        wrong = replace(law, **{name: getattr(law, name) + (1 << 12)})
        changed = wrong.prepared(theta)
    counts = np.random.default_rng(2).integers(law.low // 20, law.high // 20, (20_000, 2))
    exact = np.clip(policy.commands(law.states(counts)[None], theta[None])[0], -1, 1)
    assert np.abs(law.inputs(wrong.control(changed, counts)) - exact).max() > bound
    assert (error_bound(wrong, policy, theta, changed) > bound).all()


def test_the_metrics_are_those_of_the_problem_and_of_the_integers(tmp_path):
    """With the policy's own commands they are the problem's; the export verifies those in integers, and says so."""
    result = adapted()
    problem, theta = result.problem, result.theta
    own = metrics_under(problem, lambda x: problem.policy.commands(x[None], theta[None])[0])
    np.testing.assert_allclose(own, problem.metrics(theta), rtol=0, atol=1e-12)
    law = fixed_law(problem.policy, FixedPoint())
    fixed = metrics_under(problem, in_integers(law, law.prepared(theta)))
    done = export(result, tmp_path / "c", real="float", measured=False, fixed=True)
    assert done.fixed_margin == -fixed.max() > 0
    readme = (tmp_path / "c" / "README.md").read_text()
    assert f"more than {up(np.abs(fixed - own).max())}." in readme and f"most {up(done.fixed_error[0])} (" in readme
    coarse = export(result, tmp_path / "coarse", real="float", measured=False, fixed=CONVERTER)
    assert coarse.fixed_margin < done.fixed_margin


def test_the_devices_epsilon_covers_the_integers(tmp_path):
    """A policy that adapts there keeps more from its bounds where counts are coarse."""
    found = []
    for k, fixed in enumerate((True, CONVERTER)):
        export(unadapted(r3_problem()), tmp_path / str(k), real="float", measured=False, adapting=True, fixed=fixed)
        text = (tmp_path / str(k) / "include" / "scpo_adapt_config.h").read_text()
        found.append(float(re.search(r"SCPO_METRIC_ERROR (\S+?)f ", text)[1]))
    assert 2e-6 <= found[0] < 1e-4 < found[1]


def test_what_has_no_integers_is_refused(tmp_path):
    for fixed, message in (
        (FixedPoint(x_step=[0.1, 1.0]), r"x\[1\]: with counts of 1 .* 6 counts of 31 bits"),
        (FixedPoint(u_step=[0.2]), r"u\[0\]: .* 8 counts apart"),
        (FixedPoint(x_step=[1e-12, 1e-12], x_zero=[1.0, 0.0]), r"x\[0\]: .* choose another x_step"),
        (FixedPoint(u_step=[0.0]), "u_step is .* expected positive"),
    ):
        with pytest.raises(DomainError, match=message):
            export(adapted(), tmp_path / "c", measured=False, fixed=fixed)
    with pytest.raises(DomainError, match="the guard is not computed in integers"):
        export(adapted(), tmp_path / "c", measured=False, fixed=True, guarded=True)
    assert not list(tmp_path.iterdir())


def test_at_the_command_line(tmp_path):
    sc.save_result(unadapted(r3_problem()), tmp_path / "RUN")
    command = [str(tmp_path / "RUN"), "--out", str(tmp_path / "c"), "--real", "float"]
    done = CliRunner().invoke(
        export_command, [*command, "--fixed", "--u-step", "0.01", "--json"], standalone_mode=False
    )
    found = json.loads(done.output)
    assert done.return_value == 0 and found["fixed_error"][0] >= 0.005 and found["fixed_margin"] > 0
    for more, message in (
        (["--x-step", "0.1,0.1"], "goes with --fixed"),
        (["--fixed", "--x-zero", "a,1"], "'a,1' is no list of numbers"),
        (["--fixed", "--x-step", "0.1"], r"x_step has shape \(1,\), expected \(2,\)"),
    ):
        done = CliRunner().invoke(export_command, [*command, *more], standalone_mode=False)
        assert re.search(message, str(done.exception))


def test_replayed_on_this_computer(tmp_path):
    """As C++ too, with another prefix; vectors are of any 32 bits."""
    need("make", "g++")
    export(adapted(), tmp_path / "c", real="double", prefix="servo", measured=False, fixed=CONVERTER)
    flags = f"CFLAGS=-std=c++11 -Wno-deprecated {STRICT} {SANITIZE}"
    assert " 0 failures" in run("make", "-C", tmp_path / "c", "test", "CC=g++ -x c++", flags)


def test_replayed_on_a_cortex_m0plus(tmp_path):
    """Its products are written out in halves."""
    target = "cortex-m0plus"
    require(TARGETS[target].compiler, QEMU)
    export(adapted(), tmp_path / "c", target, measured=False, fixed=True)
    done = emulate(build(tmp_path / "c", target), target)
    assert done.returncode == 0 and " 0 failures" in done.stdout, done.stdout[-2000:]
