"""The kernels of a step against numpy: the compiled ones, other compilers' to the same bits, and those without any."""

import math
import shutil

import numpy as np
import pytest

from scpo_ctrl import compiled
from scpo_ctrl.adaptation import kernels
from scpo_ctrl.errors import DimensionError, OutputError

LEAST, MOST = 1e-9, 1e30
NO_COMPILER = "no C compiler: numpy does what the kernels do"
compiles = pytest.mark.skipif(compiled.find_compiler() is None, reason=NO_COMPILER)
SIZES = [0, 1, 7, 8, 9, 63, 64, 65, 129, 1000]


@pytest.fixture(params=["compiled", "numpy"])
def either(request, monkeypatch):
    """The kernels in C, then those in numpy."""
    if request.param == "numpy":
        monkeypatch.setattr(kernels, "library", lambda: None)
    elif compiled.find_compiler() is None:
        pytest.skip(NO_COMPILER)
    else:
        assert kernels.library() is not None


@pytest.fixture(params=["cc", "clang"])
def elsewhere(request, monkeypatch):
    """The kernels by another compiler and without this computer's instructions."""
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    monkeypatch.setenv("CC", request.param)
    monkeypatch.setattr(compiled, "NATIVE", tuple(flag for flag in compiled.NATIVE if flag != "-march=native"))
    return kernels.library.__wrapped__()


def metrics(count, seed=0):
    """Return metrics, squares, constants and which vary, a few of them at the ends of their ranges."""
    rng = np.random.default_rng(seed + count)
    g = -(10.0 ** rng.uniform(-12, 2, count))
    g[::50] = 0.0
    return g, 10.0 ** rng.uniform(-6, 3, count), 10.0 ** rng.uniform(-9, 2, count), rng.uniform(size=count) > 0.2


def matrices():
    """Return symmetric matrices by name."""
    rng = np.random.default_rng(1)
    made = {}
    for n in (1, 2, 3, 5, 8, 9, 16, 17, 48, 64, 65):
        A = rng.normal(size=(n, n))
        made[f"random, {n} rows"] = (A + A.T) / 2
    Q = np.linalg.qr(rng.normal(size=(20, 20)))[0]
    made["graded"] = (Q * 10.0 ** -np.arange(20.0)) @ Q.T
    made["graded along the diagonal"] = (
        np.diag(10.0 ** -np.arange(20.0)) @ (np.eye(20) + 0.1) @ np.diag(10.0 ** -np.arange(20.0))
    )
    made["graded the other way"] = made["graded along the diagonal"][::-1, ::-1]
    made["of rank one"] = np.outer(Q[0], Q[0])
    made["of equal eigenvalues"] = np.eye(10) - 2 * np.outer(Q[0, :10], Q[0, :10]) / (Q[0, :10] @ Q[0, :10])
    made["zero"] = np.zeros((4, 4))
    made["diagonal"] = np.diag([3.0, -2.0, 0.0, 1e-300, 5.0])
    made["of ones"] = np.ones((9, 9))
    made["in two blocks"] = np.kron(np.eye(2), made["random, 5 rows"])
    made["with zeros on its diagonal"] = np.array([[0.0, 1.0], [1.0, 0.0]])
    made["negative"] = -made["random, 9 rows"] @ made["random, 9 rows"]
    made["Wilkinson's"] = np.diag(np.abs(np.arange(-10.0, 11.0))) + np.eye(21, k=1) + np.eye(21, k=-1)
    return {name: (H + H.T) / 2 for name, H in made.items()}


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("count", SIZES)
def test_logarithms_of_slacks_are_summed(count):
    g = metrics(count)[0]
    g[2::7] = -1e200  # farther than the most
    expected = math.fsum(math.log(min(max(-x, LEAST), MOST)) for x in g)
    assert kernels.log_slacks(g, LEAST, MOST) == pytest.approx(expected, rel=1e-13, abs=1e-13)
    assert kernels.log_slacks(np.full(count, -1e-300), LEAST, MOST) == pytest.approx(count * math.log(LEAST), rel=1e-13)
    assert kernels.log_slacks(np.full(count, -np.inf), LEAST, MOST) == pytest.approx(count * math.log(MOST), rel=1e-13)


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("count", SIZES[1:])
def test_a_metric_above_zero_has_no_logarithm(count):
    for wrong in (5e-324, 1.0, np.inf, np.nan):
        for place in {0, count // 2, count - 1}:
            g = metrics(count)[0]
            g[place] = wrong
            assert kernels.log_slacks(g, LEAST, MOST) == -np.inf


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("count", SIZES)
def test_metrics_within_reach_are_found(count):
    g, squares, L, varies = metrics(count)
    for reach, bend, error in ((0.3, 0.2, 1e-9), (1e9, 1.0, 0.0), (0.0, 0.0, 0.0)):
        expected = np.flatnonzero(varies & (g + reach * np.sqrt(squares) + bend * L > -error))
        found = kernels.within_reach(g, squares, L, varies, reach=reach, bend=bend, error=error)
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == np.int64


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("count", SIZES[1:])
def test_a_square_that_is_not_finite_is_noticed(count):
    for wrong in (np.inf, np.nan):
        for place in {0, count // 2, count - 1}:
            g, squares, L, varies = metrics(count)
            squares[place] = wrong
            assert kernels.within_reach(g, squares, L, varies, reach=0.1, bend=0.1, error=0.0) is None


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("place", range(4))
def test_arrays_of_other_sizes_are_refused(place):
    arrays = list(metrics(20))
    arrays[place] = arrays[place][:-1]
    with pytest.raises(DimensionError, match=r"20 .*19|19 .*20"):
        kernels.within_reach(*arrays, reach=0.1, bend=0.1, error=0.0)


@pytest.mark.usefixtures("either")
def test_arrays_need_not_be_contiguous_or_of_doubles():
    g, squares, L, varies = (np.repeat(array, 2) for array in metrics(100))
    expected = kernels.within_reach(g[::2].copy(), squares[::2], L[::2], varies[::2].copy(), reach=1, bend=1, error=0)
    found = kernels.within_reach(g[::2], squares[::2], L[::2], varies[::2].astype(int), reach=1, bend=1, error=0)
    np.testing.assert_array_equal(found, expected)
    assert kernels.log_slacks(np.array([-1, -2, -3]), LEAST, MOST) == pytest.approx(math.log(6))
    H = np.arange(9).reshape(3, 3)
    np.testing.assert_array_equal(kernels.inverse_root(H.T + H, 1.0), kernels.inverse_root((H + H.T) * 1.0, 1.0))


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("name", matrices())
@pytest.mark.parametrize("scale", [1e-150, 1.0, 1e150])
def test_the_inverse_root_is_that_of_the_absolute_eigenvalues(name, scale):
    """S M S = 1 to the rounding of H: an error of ε‖H‖ in M is one of ε‖H‖ ‖S‖² there."""
    H, damping = scale * matrices()[name], scale * 1e-5
    S = kernels.inverse_root(H, damping)
    values, vectors = np.linalg.eigh(H)
    M = (vectors * (np.abs(values) + damping)) @ vectors.T
    size = np.abs(values).max() + damping
    np.testing.assert_allclose((S / np.abs(S).max()) @ M @ S * np.abs(S).max(), np.eye(len(H)), atol=1e-9)
    expected = (vectors / np.sqrt(np.abs(values) + damping)) @ vectors.T
    np.testing.assert_allclose(S, expected, atol=50 * 2.0**-53 * len(H) * np.sqrt(size / damping) * np.abs(S).max())


@compiles
@pytest.mark.parametrize("name", matrices())
def test_the_compiled_inverse_root_is_symmetric(name):
    H = matrices()[name]
    if len(H) <= 64:
        S = kernels.inverse_root(H, 1e-6)
        np.testing.assert_array_equal(S, S.T)


@compiles
def test_matrices_that_the_compiled_root_leaves_to_lapack():
    lib, root = kernels.library(), np.zeros((65, 65))
    addresses = [kernels._doubles(array) for array in (np.eye(65), root)]
    assert lib.kernel_inverse_root(65, addresses[0], 1.0, addresses[1]) == 0
    assert not root.any()
    addresses = [kernels._doubles(array) for array in (np.full((9, 9), np.nan), root)]
    assert lib.kernel_inverse_root(9, addresses[0], 1.0, addresses[1]) == 0


@compiles
def test_other_compilers_and_machines_give_the_same_bits(elsewhere, monkeypatch):
    arrays = [metrics(count, seed=9) for count in SIZES]

    def everything():
        sums = [kernels.log_slacks(g, LEAST, MOST) for g, *_ in arrays]
        found = [kernels.within_reach(*one, reach=0.1, bend=0.1, error=1e-6) for one in arrays]
        return [np.array(sums), *found, *(kernels.inverse_root(H, 1e-6) for H in matrices().values())]

    expected = everything()
    monkeypatch.setattr(kernels, "library", lambda: elsewhere)
    for a, b in zip(everything(), expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_without_a_compiler_there_are_no_compiled_kernels(monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    assert kernels.library.__wrapped__() is None


@pytest.mark.parametrize("error", [OutputError("no space"), OSError("failed to map segment from shared object")])
def test_kernels_that_cannot_be_written_or_loaded_do_not_cost_the_run(monkeypatch, error):
    def refuse(*_arguments, **_options):
        raise error

    monkeypatch.setattr(kernels, "compile_library", refuse)
    assert kernels.library.__wrapped__() is None
