"""The guard of a polytope in exported C: under attack, with planted faults, by other compilers and on a device."""

import re
import shutil

import guard_attack as ga
import numpy as np
import pytest
from exports import STRICT, need, run
from polytopes import LQR, R3
from test_pil import build, emulate, require

import scpo_ctrl as sc
from scpo_ctrl.codegen import TARGETS, export
from scpo_ctrl.errors import DomainError
from scpo_ctrl.models import dc_motor
from scpo_ctrl.proof.polytope_set import backup_polytope

PUSHED = {"parameters": {"mass": (0.8, 1.3)}, "disturbance": [1e-3, 0.01]}


@pytest.fixture(scope="module")
def pushed():
    result = ga.run_of(R3, LQR, **PUSHED)
    return result, backup_polytope(result.problem)


@pytest.fixture(scope="module")
def in_double(pushed, tmp_path_factory):
    """Return an export in double, to be changed in copies."""
    folder = tmp_path_factory.mktemp("double") / "c"
    return export(pushed[0], folder, real="double", guarded=True, within="polytope", measured=False).path


@pytest.fixture(scope="module")
def motor():
    plant = dc_motor()
    ranges = {"inertia": tuple(np.multiply(plant.p_nominal[0], (0.9, 1.1)))}
    result = ga.run_of(plant, sc.lqr(plant, [1.0, 1e-3], [0.1]), parameters=ranges)
    return result, backup_polytope(result.problem)


def held(found: ga.Attack) -> bool:
    """Whether an attack was one, and nothing came of it."""
    assert found.applied > 0.1 * found.tried and found.guarded > 0.1 * found.tried and found.bad > 0
    return found.escapes == 0 and found.beyond == 0


@pytest.mark.table(2)
@pytest.mark.parametrize("real", ["double", "float"])
def test_nothing_escapes_and_the_attack_is_at_the_surface(real, pushed, motor, tmp_path):
    need("gcc")
    for k, (result, polytope) in enumerate((pushed, motor) if real == "float" else (pushed,)):
        library = ga.exported(result, tmp_path / f"{k}", real, within="polytope")
        found = ga.attack(result.problem, library, 10_000, 51, polytope)
        assert held(found) and found.farthest > 0.999


@pytest.mark.parametrize("what", ["limit", "facet"])
def test_a_fault_that_is_planted_is_found(what, pushed, in_double, tmp_path):
    need("gcc")
    result, polytope = pushed
    shutil.copytree(in_double, tmp_path / "c")
    source = tmp_path / "c" / "src" / "scpo_guard.c"
    text = source.read_text()
    if what == "limit":
        text = re.sub(r"ABS\(sum\), (\S+)\)\)", lambda at: f"ABS(sum), {float(at[1]) * 1.001!r}))", text)
    else:  # one facet is left out
        rows = text.split("scpo_facets[", 1)[1]
        row = rows.splitlines()[1 + len(polytope.F) // 4]
        text = text.replace(row, "    {" + ", ".join("0.0" for _ in range(2)) + "},")
    source.write_text(text)
    found = ga.attack(result.problem, ga.Library(tmp_path / "c", "double"), 12_000, 52, polytope)
    assert found.escapes > 0


def test_options_of_a_compiler_do_not_let_it_pass_what_is_no_number(pushed, tmp_path):
    need("gcc")
    result, polytope = pushed
    library = ga.exported(result, tmp_path, "float", "-Ofast", "polytope")
    assert held(ga.attack(result.problem, library, 10_000, 53, polytope))
    plant, largest = result.problem.plant, float(np.finfo(library.kind).max)
    assert library.guard(plant.x_eq, plant.u_eq) == 1
    for bad in (np.nan, np.inf, -np.inf, largest, -largest):
        for i in range(plant.nx):
            assert library.guard(np.where(np.arange(plant.nx) == i, bad, plant.x_eq), plant.u_eq) == 0
        assert library.guard(plant.x_eq, np.full(plant.nu, bad)) == 0


@pytest.mark.table(2)
@pytest.mark.parametrize(("compiler", "real"), [("clang -std=c99 -O1", "float"), ("g++ -x c++ -O1", "double")])
def test_other_compilers_replay_the_vectors(compiler, real, pushed, tmp_path):
    need("make", compiler.split()[0])
    export(pushed[0], tmp_path / "c", real=real, guarded=True, within="polytope", measured=False)
    name, *flags = compiler.split()
    replayed = run("make", "-C", tmp_path / "c", "test", f"CC={name}", f"CFLAGS={' '.join(flags)} {STRICT}")
    assert " 0 failures" in replayed


def test_the_device_decides_what_python_decides(pushed, tmp_path):
    target = "cortex-m4f"
    require(TARGETS[target].compiler, "qemu-system-arm")
    export(pushed[0], tmp_path / "c", target=target, guarded=True, within="polytope", measured=False)
    device = emulate(build(tmp_path / "c", target), target)
    assert device.returncode == 0 and " 0 failures" in device.stdout, device.stdout[-2000:]


def test_what_it_says_and_refuses(pushed, in_double, tmp_path):
    result, polytope = pushed
    assert f"{len(polytope.F) // 2} facets, and those opposite" in (in_double / "README.md").read_text()
    assert f"keeps a polytope of {len(polytope.F) // 2} facets" in (in_double / "src" / "scpo_guard.c").read_text()
    with pytest.raises(DomainError, match="within is of the guard"):
        export(result, tmp_path / "d", within="polytope", measured=False)
