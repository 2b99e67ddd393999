"""The device projection (E5): the C of codegen/runtime compiled for the host, in float and double."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import projection_cases as pc
import pytest

RUNTIME = Path(__file__).parents[2] / "codegen" / "runtime"
SOURCES = sorted((RUNTIME / "src").glob("scpo_[dp]*.c"))
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror"]
OK, CAPPED, UNSAFE_START, BAD_PROBLEM = range(4)
MAX_DIM, MAX_ACTIVE = 64, 24

COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
if not COMPILERS:
    pytest.skip("no C compiler (gcc or clang): the runtime is not tested", allow_module_level=True)


def write_config(folder: Path, real: type) -> None:
    """Write the header that the exporter generates."""
    double = int(real is np.float64)
    lines = [
        "#ifndef SCPO_CONFIG_H",
        "#define SCPO_CONFIG_H",
        f"typedef {'double' if double else 'float'} scpo_real;",
        f"#define SCPO_REAL_IS_DOUBLE {double}",
        "#define SCPO_NX 2",
        "#define SCPO_NU 1",
        "#define SCPO_NTHETA 3",
        "#define SCPO_HIDDEN 0",
        "#endif",
    ]
    (folder / "scpo_config.h").write_text("\n".join(lines) + "\n")


def problem_struct(real: type) -> type[ctypes.Structure]:
    """Return scpo_projection."""
    number = ctypes.c_double if real is np.float64 else ctypes.c_float
    pointers = [(name, ctypes.c_void_p) for name in "ucGeL"]
    sizes = [("dim", ctypes.c_int), ("count", ctypes.c_int)]
    fields = {"_fields_": [*sizes, *pointers, ("r", number), ("work", ctypes.c_void_p)]}
    return type("Problem", (ctypes.Structure,), fields)


class Runtime:
    """The compiled projection."""

    def __init__(self, library: Path, real: type) -> None:
        loaded = ctypes.CDLL(str(library))
        self.real = real
        self.function = loaded.scpo_project
        self.struct = problem_struct(real)
        self.work = ctypes.create_string_buffer(ctypes.c_int.in_dll(loaded, "scpo_size").value)

    def project(self, case: pc.Case, dim: int | None = None, count: int | None = None) -> tuple[np.ndarray, int]:
        """Return delta and the status; delta and the scratch are NaN before the call."""
        arrays = [np.ascontiguousarray(x, dtype=self.real) for x in case[:5]]
        delta = np.full(max(len(case.u), 1), np.nan, dtype=self.real)
        ctypes.memset(self.work, 0xFF, len(self.work))
        problem = self.struct(
            len(case.u) if dim is None else dim,
            len(case.c) if count is None else count,
            *(x.ctypes.data for x in arrays),
            case.r,
            ctypes.addressof(self.work),
        )
        status = self.function(ctypes.byref(problem), ctypes.c_void_p(delta.ctypes.data))
        return delta, status


def compile_runtime(
    folder: Path, real: type, compiler: str = COMPILERS[0], flags: tuple[str, ...] = (), places: int = MAX_ACTIVE
) -> Runtime:
    """Compile the runtime into a shared library and load it; the working set has so many places."""
    write_config(folder, real)
    size = folder / "size.c"
    size.write_text(
        '#include "scpo.h"\nextern const int scpo_size;\nconst int scpo_size = (int)sizeof(scpo_workspace);\n'
    )
    library = folder / "runtime.so"
    sizes = [f"-DSCPO_MAX_DIM={MAX_DIM}", f"-DSCPO_MAX_ACTIVE={places}"]
    command = [compiler, "-std=c99", "-O2", *WARNINGS, *flags, *sizes, f"-I{folder}", f"-I{RUNTIME / 'include'}"]
    subprocess.run([str(x) for x in [*command, "-fPIC", "-c", *SOURCES, size]], check=True, cwd=folder)
    # Linked without it, as -ffast-math would flush subnormal numbers to zero in all of this process.
    linked = [flag for flag in flags if flag != "-ffast-math"]
    objects = sorted(folder.glob("*.o"))
    subprocess.run([str(x) for x in [compiler, "-shared", *linked, *objects, "-o", library, "-lm"]], check=True)
    return Runtime(library, real)


@pytest.fixture(scope="module", params=[np.float64, np.float32], ids=["double", "float"])
def runtime(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    return compile_runtime(tmp_path_factory.mktemp("runtime"), request.param)


@pytest.fixture(scope="module")
def double(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    return compile_runtime(tmp_path_factory.mktemp("double"), np.float64)


def assert_feasible(case: pc.Case, delta: np.ndarray) -> None:
    """Assert (E4) and the radius, in the arithmetic of delta and again in long double."""
    assert np.all(np.isfinite(delta))
    assert np.sqrt(np.sum(delta * delta)) <= delta.dtype.type(case.r)
    assert np.all(pc.residuals(case, delta) <= 0)
    exact = pc.Case(*(np.asarray(x, dtype=np.longdouble) for x in case[:5]), case.r)
    assert np.all(pc.residuals(exact, delta.astype(np.longdouble)) <= 0)


@pytest.mark.table(8)
@pytest.mark.parametrize("name", pc.REGIMES)
def test_closest_feasible(runtime: Runtime, name: str) -> None:
    """Every answer is feasible and, by weak duality, as close to u as there is."""
    limit = 1e-3 if runtime.real is np.float32 else 1e-8 if name in pc.REGULAR else 1e-6
    gaps = []
    for case in pc.cases(name, 180, real=runtime.real):
        delta, status = runtime.project(case)
        assert status == OK or runtime.real is np.float32
        assert status in (OK, CAPPED)
        assert_feasible(case, delta)
        gaps.append(pc.gap(case, delta, enough=limit))
    if runtime.real is np.float64:
        assert max(gaps) <= limit
    else:
        assert np.mean(np.array(gaps) <= limit) >= 0.97


@pytest.mark.table(4)
@pytest.mark.parametrize("name", pc.REGIMES)
def test_many_feasible_and_converged(runtime: Runtime, name: str) -> None:
    capped = 0
    for case in pc.cases(name, 900, seed=1, real=runtime.real):
        delta, status = runtime.project(case)
        assert_feasible(case, delta)
        capped += status == CAPPED
    assert capped <= (0 if runtime.real is np.float64 else 3)


def test_float_gap(tmp_path_factory: pytest.TempPathFactory) -> None:
    """At most one float answer in a thousand is more than 1e-3 above the optimum."""
    runtime = compile_runtime(tmp_path_factory.mktemp("float"), np.float32)
    gaps = []
    for name in pc.REGULAR:
        for case in pc.cases(name, 200, seed=2, real=runtime.real):
            delta, _ = runtime.project(case)
            gaps.append(pc.gap(case, delta, enough=1e-3))
    assert np.mean(np.array(gaps) <= 1e-3) >= 0.999


def test_gap_sees_a_wrong_answer(double: Runtime) -> None:
    """The judge itself: a slightly shortened answer has a gap."""
    for case in pc.cases("plain", 20):
        delta, _ = double.project(case)
        assert pc.gap(case, delta) < 1e-10
        assert pc.gap(case, 0.999 * delta) > 1e-7


def test_against_clarabel(double: Runtime) -> None:
    for name in ("plain", "radius_active", "curvature_spread", "duplicates", "some_on_boundary"):
        for case in pc.cases(name, 18, seed=3):
            delta, _ = double.project(case)
            reference, _ = pc.conic_reference(case)
            assert np.linalg.norm(delta - reference) <= 1e-4 * np.linalg.norm(case.u)


@pytest.mark.parametrize("name", ["plain", "scaled_rows", "all_on_boundary", "curvature_spread"])
def test_rows_may_be_scaled(double: Runtime, name: str) -> None:
    rng = np.random.default_rng(4)
    for case in pc.cases(name, 60, seed=4):
        factor = 2.0 ** rng.integers(-20, 20, len(case.c))
        scaled = case._replace(c=case.c * factor, G=case.G * factor[:, None], e=case.e * factor, L=case.L * factor)
        difference = double.project(case)[0] - double.project(scaled)[0]
        assert np.linalg.norm(difference) <= 1e-9 * np.linalg.norm(case.u)


def test_order_of_rows_does_not_matter(double: Runtime) -> None:
    rng = np.random.default_rng(5)
    for case in pc.cases("plain", 60, seed=5):
        order = rng.permutation(len(case.c))
        turned = case._replace(c=case.c[order], G=case.G[order], e=case.e[order], L=case.L[order])
        difference = double.project(case)[0] - double.project(turned)[0]
        assert np.linalg.norm(difference) <= 1e-9 * np.linalg.norm(case.u)


@pytest.mark.parametrize("name", ["plain", "all_on_boundary", "radius_active", "duplicates"])
def test_nonexpansive(double: Runtime, name: str) -> None:
    rng = np.random.default_rng(6)
    for case in pc.cases(name, 90, seed=6):
        other = case._replace(u=case.u + rng.normal(size=len(case.u)) * 10 ** rng.uniform(-3, 0))
        distance = np.linalg.norm(double.project(case)[0] - double.project(other)[0])
        assert distance <= np.linalg.norm(case.u - other.u) * (1 + 1e-8) + 1e-9


def test_projecting_twice_changes_nothing(double: Runtime) -> None:
    for case in pc.cases("plain", 60, seed=7):
        delta, _ = double.project(case)
        again, status = double.project(case._replace(u=delta))
        assert status == OK
        assert np.linalg.norm(again - delta) <= 1e-10 * np.linalg.norm(case.u)


def test_inside_is_returned_bit_for_bit(runtime: Runtime) -> None:
    for case in pc.cases("already_inside", 60, seed=8, real=runtime.real):
        if np.all(pc.residuals(case, case.u) < -1e-3 * np.linalg.norm(case.G, axis=1) * np.linalg.norm(case.u)):
            delta, status = runtime.project(case)
            assert status == OK
            assert np.array_equal(delta, case.u)


def test_no_constraints(runtime: Runtime) -> None:
    empty = np.zeros(0)
    for r in (10.0, 1.0):
        case = pc.Case(np.array([3.0, -4.0]), empty, np.zeros((0, 2)), empty, empty, r).rounded(runtime.real)
        delta, status = runtime.project(case)
        assert status == OK
        assert_feasible(case, delta)
        assert delta == pytest.approx(case.u * min(1, r / 5), rel=1e-12 if runtime.real is np.float64 else 2e-5)


def test_known_answer_in_one_dimension(runtime: Runtime) -> None:
    """-1 + d + 0.5 d + d^2 <= 0 ends at d = 0.5 (sqrt(1.5^2 + 4) - 1.5)."""
    row = np.array([1.0])
    case = pc.Case(np.array([7.0]), -row, row[None], 0.5 * row, 2 * row, 100.0).rounded(runtime.real)
    delta, status = runtime.project(case)
    assert status == OK
    assert_feasible(case, delta)
    assert delta[0] == pytest.approx(0.5, rel=1e-4 if runtime.real is np.float32 else 1e-12)


@pytest.mark.parametrize("name", ["plain", "all_on_boundary", "polyhedron", "duplicates", "small_steps"])
def test_thousands_of_constraints(runtime: Runtime, name: str) -> None:
    """More rows than the working set holds: rows come and go, the repair looks at all of them."""
    for case in pc.cases(name, 6, sizes=((5, 3000), (20, 2000), (12, 500)), seed=9, real=runtime.real):
        delta, status = runtime.project(case)
        assert_feasible(case, delta)
        if runtime.real is np.float64:
            assert status == OK
            assert pc.gap(case, delta, enough=1e-6) <= 1e-6


def test_unsafe_start(runtime: Runtime) -> None:
    case = next(pc.cases("plain", 1, sizes=((4, 3),), real=runtime.real))
    c = case.c.copy()
    c[1] = 1e-30
    delta, status = runtime.project(case._replace(c=c))
    assert status == UNSAFE_START
    assert np.array_equal(delta, np.zeros(4))


def bad_problems(case: pc.Case) -> list[pc.Case]:
    """Return the case with each number spoilt in turn."""
    spoilt = []
    for value in (np.nan, np.inf, -np.inf):
        for field in ("u", "c", "G", "e", "L"):
            array = getattr(case, field).copy()
            array.flat[-1] = value
            spoilt.append(case._replace(**{field: array}))
        spoilt.append(case._replace(r=value))
    for field in ("e", "L"):
        array = getattr(case, field).copy()
        array[0] = -1e-9
        spoilt.append(case._replace(**{field: array}))
    return [*spoilt, case._replace(r=0.0), case._replace(r=-1.0)]


@pytest.mark.parametrize("flags", [(), ("-ffast-math", "-O3")], ids=["plain", "fast-math"])
@pytest.mark.parametrize("real", [np.float64, np.float32], ids=["double", "float"])
def test_bad_problem(tmp_path: Path, real: type, flags: tuple[str, ...]) -> None:
    runtime = compile_runtime(tmp_path, real, flags=flags)
    case = next(pc.cases("plain", 1, sizes=((4, 3),), real=real))
    for bad in bad_problems(case):
        delta, status = runtime.project(bad)
        assert status == BAD_PROBLEM
        assert np.array_equal(delta, np.zeros(4))
    for dim, count in ((0, 3), (-1, 3), (MAX_DIM + 1, 3), (4, -1)):
        wide = case._replace(u=np.ones(MAX_DIM + 1, dtype=real))
        assert runtime.project(wide, dim, count)[1] == BAD_PROBLEM
    assert runtime.project(case)[1] == OK


@pytest.mark.table(4)
@pytest.mark.parametrize("name", pc.REGIMES)
def test_fast_math_stays_feasible(fast_math: Runtime, name: str) -> None:
    for case in pc.cases(name, 90, seed=10, real=fast_math.real):
        assert_feasible(case, fast_math.project(case)[0])


@pytest.fixture(scope="module", params=[np.float64, np.float32], ids=["double", "float"])
def fast_math(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    flags = ("-O3", "-ffast-math", "-march=native")
    return compile_runtime(tmp_path_factory.mktemp("fast"), request.param, flags=flags)


def test_extreme_numbers_stay_finite_and_feasible(runtime: Runtime) -> None:
    """Anything finite, of any size, gives a finite delta that (E4) accepts wherever it can be evaluated."""
    rng = np.random.default_rng(11)
    reach = 37 if runtime.real is np.float32 else 300
    for _ in range(3000):
        p, m = rng.integers(1, 5), rng.integers(0, 6)

        def extreme(*shape: int) -> np.ndarray:
            return rng.normal(size=shape) * 10.0 ** rng.uniform(-reach, reach, shape)

        c, e, L = -np.abs(extreme(m)), np.abs(extreme(m)), np.abs(extreme(m))
        case = pc.Case(extreme(p), c, extreme(m, p), e, L, float(np.abs(extreme(1))[0])).rounded(runtime.real)
        if not case.r > 0:
            continue
        delta, status = runtime.project(case)
        assert status in (OK, CAPPED)
        assert np.all(np.isfinite(delta))
        with np.errstate(all="ignore"):
            exact = pc.Case(*(np.asarray(x, dtype=np.longdouble) for x in case[:5]), case.r)
            assert np.all(pc.residuals(exact, delta.astype(np.longdouble)) <= 0)
            assert np.linalg.norm(delta.astype(np.longdouble)) <= case.r


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("real", [np.float64, np.float32], ids=["double", "float"])
@pytest.mark.parametrize("language", ["c", "c++"])
def test_compiles_without_a_warning(tmp_path: Path, compiler: str, real: type, language: str) -> None:
    write_config(tmp_path, real)
    extra = ["-Wdouble-promotion"] if real is np.float32 else []
    standard = ["-x", language, "-std=c99" if language == "c" else "-std=c++11"]
    for source in SOURCES:
        command = [compiler, *standard, *WARNINGS, *extra, f"-I{tmp_path}", f"-I{RUNTIME / 'include'}", "-c", source]
        subprocess.run([str(x) for x in [*command, "-o", tmp_path / "x.o"]], check=True)


def test_workspace_is_small(tmp_path: Path) -> None:
    """Below 1.4 kB in float for 20 dimensions and 10 constraints, with what it remembers between pieces."""
    write_config(tmp_path, np.float32)
    source = tmp_path / "size.c"
    source.write_text('#include "scpo.h"\ntypedef char small[sizeof(scpo_workspace) < 1400 ? 1 : -1];\n')
    sizes = ["-DSCPO_MAX_DIM=20", "-DSCPO_MAX_ACTIVE=10"]
    command = [COMPILERS[0], "-std=c99", *sizes, f"-I{tmp_path}", f"-I{RUNTIME / 'include'}", "-c", source]
    subprocess.run([str(x) for x in [*command, "-o", tmp_path / "x.o"]], check=True)


def test_sanitizers_find_nothing(tmp_path: Path) -> None:
    """Random instances of every regime under AddressSanitizer and UBSan, in a process of their own."""
    for real in (np.float64, np.float32):
        folder = tmp_path / real.__name__
        folder.mkdir()
        write_config(folder, real)
        data = []
        for name in pc.REGIMES:
            for case in pc.cases(name, 27, seed=12, real=real):
                sizes = np.array([len(case.u), len(case.c)], dtype=np.int32)
                data += [sizes.tobytes(), np.asarray(case.r, dtype=real).tobytes(), *(x.tobytes() for x in case[:5])]
        (folder / "cases.bin").write_bytes(b"".join(data))
        (folder / "main.c").write_text(SANITIZED_MAIN)
        sanitize = ["-fsanitize=address,undefined,float-divide-by-zero", "-fno-sanitize-recover=all"]
        command = [COMPILERS[0], "-std=c99", "-g1", "-O1", *sanitize, f"-I{folder}", f"-I{RUNTIME / 'include'}"]
        command += [*SOURCES, folder / "main.c", "-o", folder / "main", "-lm"]
        subprocess.run([str(x) for x in command], check=True)
        subprocess.run([str(folder / "main"), str(folder / "cases.bin")], check=True)


SANITIZED_MAIN = r"""
#include <stdio.h>
#include <stdlib.h>
#include "scpo.h"

static scpo_real *take(FILE *file, size_t count)
{
    scpo_real *x = (scpo_real *)malloc(count * sizeof *x + 1);
    if (fread(x, sizeof *x, count, file) != count) {
        exit(2);
    }
    return x;
}

int main(int argc, char **argv)
{
    FILE *file = fopen(argv[argc - 1], "rb");
    int size[2];
    while (fread(size, sizeof size, 1, file) == 1) {
        size_t p = (size_t)size[0], m = (size_t)size[1];
        scpo_workspace *work = (scpo_workspace *)malloc(sizeof *work);
        scpo_real *delta = (scpo_real *)malloc(p * sizeof *delta);
        scpo_real *r = take(file, 1), *u = take(file, p), *c = take(file, m), *G = take(file, m * p);
        scpo_real *e = take(file, m), *L = take(file, m);
        scpo_projection problem = {size[0], size[1], u, c, G, e, L, *r, work};
        scpo_project(&problem, delta);
        free(work), free(delta), free(r), free(u), free(c), free(G), free(e), free(L);
    }
    return fclose(file);
}
"""
