"""What is applied where measurements are missing or wrong, parameters corrupted, or calls stay away."""

import ctypes
import subprocess

import numpy as np
import pytest
from device_problems import r3_problem, unadapted
from exports import STRICT, need

from scpo_ctrl import adapt
from scpo_ctrl.adaptation.options import AdaptOptions
from scpo_ctrl.codegen import export
from scpo_ctrl.invariance.guard import Liveness, guard_of

DRIVER = r"""
#include "scpo_supervise.h"
static scpo_controller controller;
static scpo_supervisor supervisor;
static const scpo_real low[SCPO_NX] = {-6, -3}, high[SCPO_NX] = {6, 3};
void begin(int fallback, unsigned patience)
{
    (void)scpo_controller_begin(&controller, scpo_theta_initial);
    scpo_supervisor_begin(&supervisor, &controller, (scpo_fallback)fallback, patience);
    supervisor.low = low, supervisor.high = high;
}
int control(const scpo_real *x, scpo_real *u) { return (int)scpo_supervisor_control(&supervisor, x, u); }
void watch(unsigned halving, double floor) { scpo_supervisor_watch(&supervisor, halving, (scpo_real)floor); }
int check(void) { return scpo_supervisor_check(&supervisor); }
unsigned token(void) { return scpo_supervisor_token(&supervisor); }
void flip(int byte, int bit)
{
    unsigned char *bytes = (unsigned char *)&controller.set[controller.active & 1];
    bytes[byte] = (unsigned char)(bytes[byte] ^ (1 << bit));
}
void incidents(unsigned *out)
{
    const scpo_incidents *of = &supervisor.incidents;
    const uint32_t all[] = {of->calls,   of->missing,   of->invalid, of->released,
                            of->guarded, of->saturated, of->stalled, of->corrupted};
    int k;
    for (k = 0; k < 8; k++) { out[k] = (unsigned)all[k]; }
}
"""
FALL_BACK, HOLD, RELEASE = range(3)
OK, BAD_STATE, GUARDED = 0, 4, 6
OTHERS = ("missing", "invalid", "released", "guarded", "saturated", "stalled", "corrupted")


@pytest.fixture(scope="module")
def result():
    return adapt(r3_problem(), AdaptOptions(steps=10, audit=False))


@pytest.fixture(scope="module")
def c(result, tmp_path_factory):
    """The supervisor on this computer, in float."""
    need("gcc")
    folder = tmp_path_factory.mktemp("supervise")
    export(result, folder / "c", real="float", measured=False, adapting=True)
    (folder / "driver.c").write_text(DRIVER)
    sources = [*sorted((folder / "c" / "src").glob("*.c")), folder / "driver.c"]
    includes = [f"-I{folder / 'c' / part}" for part in ("include", "src")]
    flags = ["-std=c99", "-O1", "-shared", "-fPIC", *STRICT.split()]
    subprocess.run(["gcc", *flags, *includes, *map(str, sources), "-o", str(folder / "s.so"), "-lm"], check=True)
    return ctypes.CDLL(str(folder / "s.so"))


def control(c, x):
    """Status and input for a measurement; None where none has come."""
    u = np.full(1, np.nan, np.float32)
    given = None if x is None else np.asarray(x, np.float32).tobytes()
    return c.control(given, u.ctypes.data_as(ctypes.c_void_p)), float(u[0])


def incidents(c):
    out = np.zeros(8, np.uint32)
    c.incidents(out.ctypes.data_as(ctypes.c_void_p))
    return dict(zip(("calls", *OTHERS), out.tolist(), strict=True))


def backup(problem, x):
    return float(np.clip(problem.plant.u_eq - problem.backup.K @ (np.asarray(x) - problem.plant.x_eq), -1, 1)[0])


def test_good_measurements_get_the_policy(c, result):
    c.begin(FALL_BACK, 3)
    for x in ([0.1, 0.05], [-0.2, 0.01], [0.0, 0.0]):
        status, u = control(c, x)
        wanted = float(result.problem.policy(np.array(x), result.theta)[0])
        assert status == OK and u == pytest.approx(wanted, abs=3e-6)
    assert incidents(c) == {"calls": 3} | dict.fromkeys(OTHERS, 0)


@pytest.mark.parametrize("bad", [None, [np.nan, 0.0], [0.0, np.inf], [-np.inf, 1.0], [7.0, 0.0], [0.0, -3.5]])
@pytest.mark.parametrize("fallback", [FALL_BACK, HOLD, RELEASE])
def test_each_fallback_lasts_as_long_as_its_patience(c, result, bad, fallback):
    c.begin(fallback, 2)
    x = [1.0, 0.5]
    first = control(c, x)[1]
    expected = {FALL_BACK: backup(result.problem, x), HOLD: first, RELEASE: 0.0}[fallback]
    for _ in range(2):
        assert control(c, bad) == (BAD_STATE, pytest.approx(expected, abs=1e-6))
    assert control(c, bad) == (BAD_STATE, 0.0)  # released
    assert control(c, x) == (OK, first)
    found = incidents(c)
    assert found["missing" if bad is None else "invalid"] == 3 and found["calls"] == 5
    assert found["released"] == (3 if fallback == RELEASE else 1)


def test_any_bytes_give_an_input_within_its_bounds(c):
    rng = np.random.default_rng(0)
    c.begin(HOLD, 5)
    for k in range(3000):
        x = np.frombuffer(rng.bytes(8), np.float32)
        status, u = control(c, x if k % 3 else rng.uniform(-6, 6, 2) / 2)
        assert -1 <= u <= 1 and status in (OK, BAD_STATE)
    assert incidents(c)["saturated"] > 0


def test_every_flipped_bit_of_the_parameters_is_seen(c, result):
    rng, size = np.random.default_rng(1), 4 * (48 + 13)
    for _ in range(300):
        c.begin(FALL_BACK, 3)
        assert c.check() == 1
        c.flip(int(rng.integers(size)), int(rng.integers(8)))
        assert c.check() == 0 and c.check() == 1
        assert control(c, [1.0, 0.5])[1] == pytest.approx(backup(result.problem, [1.0, 0.5]), abs=1e-6)
        assert incidents(c)["corrupted"] == 1


def test_a_watchdog_starves_where_control_or_checks_stay_away(c):
    c.begin(FALL_BACK, 3)
    start = c.token()
    control(c, [0.0, 0.0])
    assert c.token() == start  # no check
    assert c.check() == 1 and c.token() == start + 1 and c.token() == start + 1
    assert c.check() == 1 and c.token() == start + 1  # no control
    control(c, None)
    assert c.token() == start + 2


def test_the_liveness_timer_says_what_that_of_python_says(c, result):
    problem, rng = result.problem, np.random.default_rng(2)
    plant, designed = problem.plant, problem.backup
    fixed = np.repeat(plant.p_nominal[:, None], 2, axis=1)
    held = guard_of(plant, designed.K, designed.P, designed.rho, fixed, np.zeros(0))
    for steps, floor in ((3, 0.01), (1, 0.0), (10, 0.2)):
        python = Liveness(held, steps, floor)
        c.begin(FALL_BACK, 3)
        c.watch(steps, ctypes.c_double(floor))
        x, handed = np.array([3.0, 0.5]), 0
        for _ in range(400):
            x = (x * rng.uniform(0.9, 1.02)).astype(np.float32).astype(float)
            status, u = control(c, x)
            over = python.handed_over(x)
            handed += over
            assert (status == GUARDED) == over
            if over:
                assert u == pytest.approx(backup(problem, x), abs=1e-6)
        assert incidents(c)["stalled"] == handed and (handed > 0 or steps == 10)


def test_unadapted_runs_are_supervised_too(tmp_path):
    done = export(unadapted(r3_problem()), tmp_path / "c", measured=False, adapting=True)
    assert "include/scpo_supervise.h" in done.files and "src/scpo_supervise.c" in done.files
