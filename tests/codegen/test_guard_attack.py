"""Guards in C under attack: nothing escapes, planted faults are found, and no build of it decides otherwise."""

import re
from dataclasses import replace

import guard_attack as ga
import numpy as np
import pytest
from exports import STRICT, need, require, run
from forms import LONG, times
from test_pil import build, emulate

import scpo_ctrl as sc
from scpo_ctrl.codegen import TARGETS, export
from scpo_ctrl.codegen.guard_rounding import check_backup, near_in
from scpo_ctrl.errors import DomainError
from scpo_ctrl.models import cart_pole, double_integrator, linear, planar_quadrotor
from scpo_ctrl.proof.guarded import guard

HALVES = {"pole_mass": (0.05, 0.15), "cart_mass": (0.5, 1.5)}
BOX = np.array([5.0, 1.5])
PUSHED = {"parameters": {"mass": (0.8, 1.3)}, "disturbance": [0.0, 0.01]}


def cart():
    """Return a run on R4, masses +-50 %, whose backup has an LQR's gain."""
    plant = cart_pole()
    K = sc.lqr(plant, [1.0, 1.0, 10.0, 1.0], [1.0], parameters=HALVES).K
    return ga.run_of(plant, sc.lmi(plant, K=K, parameters=HALVES), parameters=HALVES)


@pytest.fixture(scope="module")
def pushed():
    return ga.run_of(double_integrator(), sc.lmi(double_integrator(), **PUSHED), **PUSHED)


@pytest.fixture(scope="module")
def quadrotor():
    return ga.run_of(planar_quadrotor(), sc.lmi(planar_quadrotor()))


@pytest.fixture(scope="module")
def nominal():
    return ga.run_of(cart_pole(), sc.lmi(cart_pole()))


def held(found: ga.Attack) -> bool:
    """Whether an attack was one, and nothing came of it."""
    assert found.applied > 0.1 * found.tried and found.guarded > 0.1 * found.tried and found.bad > 0
    return found.escapes == 0 and found.beyond == 0


@pytest.mark.long
def test_the_cart_whose_masses_are_known_to_within_half_does_not_escape(tmp_path):
    need("gcc")
    result = cart()
    assert held(ga.attack(result.problem, ga.exported(result, tmp_path, "float"), times(60_000), seed=41))


@pytest.mark.parametrize("real", ["double", "float"])
def test_a_pushed_mass_does_not_escape_and_the_attack_is_at_the_surface(real, pushed, tmp_path):
    need("gcc")
    found = ga.attack(pushed.problem, ga.exported(pushed, tmp_path, real), times(150_000, 4), seed=42)
    assert held(found) and found.farthest > 0.9999


@pytest.mark.table(2)
@pytest.mark.parametrize(
    ("pattern", "factor"),
    [(r"scpo_at_most\(level, (\S+?)\)", 1.001), (r"reach = (\S+) -", 1.05)],
    ids=["limit", "first"],
)
def test_a_fault_that_is_planted_is_found(pattern, factor, nominal, tmp_path):
    need("gcc")
    export(nominal, tmp_path / "c", real="double", guarded=True, measured=False)
    source = tmp_path / "c" / "src" / "scpo_guard.c"
    text = source.read_text()
    wrong = f"{float(re.search(pattern, text)[1]) * factor!r}"
    first = re.search(r"scpo_at_most\(reach, (\S+?)\)", text)[1]  # there is a first condition
    text = re.sub(pattern, lambda at: at[0].replace(at[1], wrong), text)
    source.write_text(text.replace(f"scpo_at_most(reach, {first})", "scpo_at_most(reach, 2.0)"))
    assert ga.attack(nominal.problem, ga.Library(tmp_path / "c", "double"), times(100_000, 4), seed=43).escapes > 0


@pytest.mark.table(2)
@pytest.mark.parametrize("real", ["double", "float"])
def test_options_of_a_compiler_do_not_let_it_pass_what_is_no_number(real, quadrotor, tmp_path):
    need("gcc")
    library = ga.exported(quadrotor, tmp_path, real, "-Ofast")
    assert held(ga.attack(quadrotor.problem, library, times(50_000), seed=44))
    plant = quadrotor.problem.plant
    largest = float(np.finfo(library.kind).max)
    assert library.guard(plant.x_eq, plant.u_eq) == 1
    for bad in (np.nan, np.inf, -np.inf, largest, -largest):
        for i in range(plant.nx):
            assert library.guard(np.where(np.arange(plant.nx) == i, bad, plant.x_eq), plant.u_eq) == 0
        for i in range(plant.nu):
            assert library.guard(plant.x_eq, np.where(np.arange(plant.nu) == i, bad, plant.u_eq)) == 0


def test_the_input_may_be_where_the_state_is(pushed, tmp_path):
    need("gcc")
    library, plant = ga.exported(pushed, tmp_path, "double"), pushed.problem.plant
    rng = np.random.default_rng(45)
    x = ga.states(pushed.problem, rng, 200)
    theta = rng.normal(size=(200, pushed.problem.theta_dim)) * 100
    u, status = library.control(theta, x, plant.nu)
    assert (status == ga.GUARDED).any() and (status == ga.OK).any()
    for k in range(200):
        assert library.in_place(theta[k], x[k]) == (u[k, 0], status[k])


def test_a_plant_without_parameters(tmp_path):
    need("gcc")
    plant = linear([[1.0, 0.1], [0.0, 1.0]], [[0.005], [0.1]], 0.1, (-BOX, BOX, [-1.0], [1.0]))
    result = ga.run_of(plant, sc.lmi(plant))
    assert held(ga.attack(result.problem, ga.exported(result, tmp_path, "float"), times(50_000), seed=46))
    assert "scpo_points" not in (tmp_path / "c" / "src" / "scpo_guard.c").read_text()


def test_a_set_that_float_may_leave_is_refused(pushed):
    of = guard(pushed.problem)
    check_backup(of, "float")
    tight = replace(of, proof=replace(of.proof, contraction=1 - of.proof.drift - of.proof.disturbance - 1e-8))
    check_backup(tight, "double")
    with pytest.raises(DomainError, match="cannot be exported in float: rounding of the backup's command"):
        check_backup(tight, "float")
    assert near_in(of, "float")[0] < near_in(of, "double")[0] <= of.near()[0]


SANITIZED = "-O0 -fsanitize=address,undefined -fno-sanitize-recover=all"


@pytest.mark.table(4)
@pytest.mark.parametrize(
    "compiler", [f"gcc -std=c99 {SANITIZED}", "clang -std=c99 -O1", "g++ -x c++ -O1", "gcc -std=c99 -Ofast"]
)
def test_every_compiler_replays_the_vectors(compiler, pushed, quadrotor, tmp_path):
    need("make", compiler.split()[0])
    pairs = [(pushed, "float"), (quadrotor, "double"), (pushed, "double"), (quadrotor, "float")]
    for k, (result, real) in enumerate(pairs if LONG else pairs[:2]):
        folder = tmp_path / f"{k}"
        export(result, folder, real=real, guarded=True, measured=False)
        name, *flags = compiler.split()
        replayed = run("make", "-C", folder, "test", f"CC={name}", f"CFLAGS={' '.join(flags)} {STRICT}")
        assert " 0 failures" in replayed


@pytest.mark.parametrize("target", ["cortex-m4f", "cortex-m7"])
def test_the_device_decides_what_python_decides(target, quadrotor, tmp_path):
    require(TARGETS[target].compiler, "qemu-system-arm")
    export(quadrotor, tmp_path / "c", target=target, guarded=True, measured=False)
    device = emulate(build(tmp_path / "c", target), target)
    assert device.returncode == 0 and " 0 failures" in device.stdout, device.stdout[-2000:]
