"""Python against C, number for number, through a shared library."""

import ctypes
import functools

import numpy as np
import pytest
from exports import SHAPES, need, result_of, run

from scpo_ctrl import project
from scpo_ctrl.codegen import export
from scpo_ctrl.codegen.vectors import instance

OK, CAPPED, UNSAFE_START, BAD_PROBLEM, BAD_STATE, BAD_THETA = range(6)
TOLERANCE = {"double": 1e-12, "float": 1e-5}
GAP = {"double": 1e-6, "float": 1e-3}


class Library:
    """An export as a shared library."""

    def __init__(self, folder, real, flags="-O2"):
        self.type, self.number = (np.float64, ctypes.c_double) if real == "double" else (np.float32, ctypes.c_float)
        sources = sorted((folder / "src").glob("*.c"))
        objects = [source.with_suffix(".o") for source in sources]
        for source, compiled in zip(sources, objects, strict=True):
            run("gcc", *flags.split(), "-fPIC", f"-I{folder / 'include'}", "-c", source, "-o", compiled)
        # Linked without the flags: -ffast-math would change the arithmetic of this whole process.
        run("gcc", "-shared", *objects, "-lm", "-o", folder / "c.so")
        loaded = ctypes.CDLL(str(folder / "c.so"))
        self._control, self._project = loaded.scpo_control, loaded.scpo_project
        self._work = np.zeros(1 << 16)

    def pointer(self, array):
        return array.ctypes.data_as(ctypes.c_void_p)

    def control(self, theta, x, nu):
        theta, x = np.ascontiguousarray(theta, self.type), np.ascontiguousarray(x, self.type)
        u = np.full(nu, np.nan, self.type)
        return self._control(self.pointer(theta), self.pointer(x), self.pointer(u)), u.astype(float)

    def project(self, u, c, G, e, L, r):
        parts = [np.ascontiguousarray(part, self.type) for part in (u, c, G, e, L)]
        number = self.number

        class Problem(ctypes.Structure):
            _fields_ = (
                [("dim", ctypes.c_int), ("count", ctypes.c_int)]
                + [(name, ctypes.c_void_p) for name in "ucGeL"]
                + [("r", number), ("work", ctypes.c_void_p)]
            )

        delta = np.full(len(u), np.nan, self.type)
        problem = Problem(len(u), len(c), *map(self.pointer, parts), r, self.pointer(self._work))
        return self._project(ctypes.byref(problem), self.pointer(delta)), delta


@pytest.fixture(scope="module", params=["double", "float"])
def real(request):
    need("gcc")
    return request.param


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Return what exports and compiles a shape, once for each type and each set of flags."""

    @functools.cache
    def make(shape, real, flags="-O2"):
        folder = tmp_path_factory.mktemp("exported") / "c"
        export(result_of(shape), folder, real=real, measured=False)
        return Library(folder, real, flags)

    return make


@pytest.mark.table(3)
@pytest.mark.parametrize("shape", SHAPES)
def test_10000_random_states(shape, real, exported):
    result = result_of(shape)
    policy, plant = result.problem.policy, result.problem.plant
    library = exported(shape, real)
    rng = np.random.default_rng(7)
    x = rng.uniform(plant.x_eq - 3, plant.x_eq + 3, (10_000, plant.nx)).astype(library.type).astype(float)
    theta = (result.theta + rng.normal(size=(100, result.theta.size))).astype(library.type).astype(float)
    theta[0] = result.theta.astype(library.type)
    theta = np.repeat(theta, 100, axis=0)
    expected = policy(x, theta)
    answers = [library.control(theta[k], x[k], plant.nu) for k in range(len(x))]
    u = np.array([answer[1] for answer in answers])
    assert {answer[0] for answer in answers} == {OK}
    error = np.max(np.abs(u - expected) / np.maximum(1, np.abs(expected)))
    print(f"{shape}, {real}: 10000 states, largest relative error {error:.2e}")
    assert error <= TOLERANCE[real]
    assert ((u >= plant.u_min) & (u <= plant.u_max)).all()
    assert (np.isclose(u, plant.u_max).any() or np.isclose(u, plant.u_min).any()) and (u < plant.u_max).any()


@pytest.mark.table(4)
@pytest.mark.parametrize("flags", ["-O2", "-O3 -ffast-math"])
@pytest.mark.parametrize("shape", ["linear_1_1", "mlp_3_2"])
def test_whatever_bytes(shape, real, flags, exported):
    """Random bit patterns, many of them NaN, infinite, huge or tiny: u is finite and within its bounds."""
    result = result_of(shape)
    plant, d = result.problem.plant, result.theta.size
    library = exported(shape, real, flags)
    rng = np.random.default_rng(3)
    seen = set()
    for k in range(3000):
        raw = np.frombuffer(rng.bytes((plant.nx + d) * library.type().itemsize), library.type).copy()
        if k % 3 == 0:
            raw[:] = rng.choice([0, 1, -1, np.finfo(library.type).max, np.finfo(library.type).min], raw.size)
        elif k % 3 == 1:
            raw[rng.integers(raw.size)] = rng.choice([np.nan, np.inf, -np.inf])
            raw[~np.isfinite(raw) & (rng.uniform(size=raw.size) < 0.9)] = 1
        x, theta = raw[: plant.nx], raw[plant.nx :]
        status, u = library.control(theta, x, plant.nu)
        seen.add(status)
        assert ((u >= plant.u_min) & (u <= plant.u_max)).all()
        if not np.isfinite(x).all():
            assert status == BAD_STATE
            np.testing.assert_allclose(u, plant.u_eq, rtol=1e-6)
        elif not np.isfinite(theta).all():
            assert status == BAD_THETA
    assert seen == {OK, BAD_STATE, BAD_THETA}


def test_bad_theta_gives_the_backup(real, exported):
    result = result_of("mlp_3_2")
    plant, policy = result.problem.plant, result.problem.policy
    library = exported("mlp_3_2", real)
    x = plant.x_eq + np.array([0.3, -0.2, 0.1])
    x = x.astype(library.type).astype(float)
    backup = policy(x, result.theta_initial)
    for i in range(result.theta.size):
        theta = result.theta.copy()
        theta[i] = np.nan
        status, u = library.control(theta, x, plant.nu)
        assert status == BAD_THETA
        np.testing.assert_allclose(u, backup, rtol=TOLERANCE[real], atol=TOLERANCE[real])


@pytest.fixture(scope="module")
def thousand():
    """1000 projections in numbers that float holds, solved in Python."""
    rng = np.random.default_rng(11)
    cases = []
    for k in range(1000):
        p, m = int(rng.integers(1, 17)), int(rng.integers(0, 13))
        case = [np.asarray(part, np.float32).astype(float) for part in instance(rng, p, m, k)]
        cases.append((case, project(*case[:5], float(case[5])).delta))
    return cases


def test_1000_projections(thousand, real, exported):
    library = exported("mlp_2_1", real)
    worst = 0.0
    for (u, c, G, e, L, r), expected in thousand:
        status, delta = library.project(u, c, G, e, L, float(r))
        assert status == OK
        gap = np.sum((delta - u) ** 2) - np.sum((expected - u) ** 2)
        worst = max(worst, gap / max(np.sum((expected - u) ** 2), 0.01 * np.sum(u**2)))
        assert violation(library.type, delta, c, G, e, L) <= 0
        assert np.sqrt(np.sum(delta * delta, dtype=library.type)) <= library.type(r)
    print(f"{real}: 1000 projections, largest relative gap {worst:.2e}")
    assert worst <= GAP[real]


def violation(real, delta, c, G, e, L):
    """The largest left-hand side of (E5), every operation in the target's type."""
    c, G, e, L = (np.asarray(part, real) for part in (c, G, e, L))
    square = np.sum(delta * delta, dtype=real)
    values = c + (G * delta).sum(axis=1, dtype=real) + e * np.sqrt(square) + L / real(2) * square
    assert values.dtype == real
    return np.max(values, initial=-1)


def test_unsafe_start_and_sizes(real, exported):
    library = exported("linear_1_1", real)
    one = np.ones(1)
    status, delta = library.project(one, one, np.ones((1, 1)), one, one, 1.0)
    assert (status, *delta) == (UNSAFE_START, 0)
    status, delta = library.project(np.ones(2), -one, np.ones((1, 2)), one, one, 1.0)  # one parameter: MAX_DIM = 1
    assert status == BAD_PROBLEM
