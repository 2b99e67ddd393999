"""The rollout engine in C: against CasADi and its derivatives, against decimal arithmetic, and against itself."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal, localcontext

import casadi as ca
import numpy as np
import pytest
from loops import EVERYTHING, EXPRESSIONS, LOADED, linear_case, metrics_of, pendulum_case, scalar_case

from scpo_ctrl import compiled
from scpo_ctrl.engine import lanes
from scpo_ctrl.engine.casadi_engine import CasadiEngine
from scpo_ctrl.engine.emit import emit
from scpo_ctrl.engine.lanes import LaneEngine, aligned, threads_for
from scpo_ctrl.engine.library import Library, header_of
from scpo_ctrl.engine.loop import Loop, Stage
from scpo_ctrl.engine.rollout import Rollouts
from scpo_ctrl.errors import DimensionError
from scpo_ctrl.loop.backup import Backup
from scpo_ctrl.loop.metrics import MetricOptions, Metrics
from scpo_ctrl.loop.policy import Policy
from scpo_ctrl.loop.scenario import Scenarios
from scpo_ctrl.models import Plant

CASES = {
    **LOADED,
    "linear": linear_case(),
    "linear, one layer": linear_case((4,)),
    "linear, two layers": linear_case((5, 3), MetricOptions(contraction=0.5)),
    "linear, a floor between": linear_case((4,), MetricOptions(contraction=0.5, contraction_floor=0.2)),
    "linear, saturated": linear_case((4,), MetricOptions(command=False)),
    "linear, levels only": linear_case((), MetricOptions(path=False, terminal=True, contraction=0.5)),
    "pendulum": pendulum_case(),
    "pendulum, one layer": pendulum_case((6,)),
    "pendulum, two layers": pendulum_case((3, 7)),
    "pendulum, a floor": pendulum_case((6,), MetricOptions(contraction=0.6, contraction_floor=0.05)),
    "pendulum, saturated": pendulum_case((6,), MetricOptions(command=False, terminal=True)),
    "scalar": scalar_case(),
    **EXPRESSIONS,
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def close(value, expected, tolerance=1e-11):
    np.testing.assert_allclose(value, expected, rtol=tolerance, atol=tolerance * max(1.0, np.abs(expected).max()))


def rollouts_of(case, **options):
    rollouts = Rollouts(case.loop.policy, case.batch, case.loop.metrics, **options)
    rollouts._engine = LaneEngine(case.loop)  # with the case's stage cost
    return rollouts


def test_metrics_and_costs_are_those_of_casadi(case, oracle):
    fast, slow = LaneEngine(case.loop), oracle(case.loop)
    thetas = np.stack([case.theta(size, seed) for seed, size in enumerate((0.0, 0.3, 1.0))])
    for engine_values, casadi_values in zip(
        fast.evaluate(case.batch, thetas), slow.evaluate(case.batch, thetas), strict=True
    ):
        close(engine_values, casadi_values)
    close(metrics_of(fast, case, thetas, saturated=False), metrics_of(slow, case, thetas, saturated=False))


@pytest.mark.table(4)
def test_derivatives_are_those_of_casadi(case, oracle):
    fast, slow = LaneEngine(case.loop), oracle(case.loop)
    theta, batch = case.theta(), case.batch
    for value, expected in zip(fast.gradient(batch, theta), slow.gradient(batch, theta), strict=True):
        close(value, expected)
    for value, expected in zip(fast.gauss_newton(batch, theta), slow.gauss_newton(batch, theta), strict=True):
        close(value, expected)
    D = np.random.default_rng(3).normal(size=(7, theta.size))
    for saturated in (False, True):
        for directions in (None, D):
            value = fast.jacobian(batch, theta, directions, saturated=saturated)
            close(value, slow.jacobian(batch, theta, directions, saturated=saturated))


def test_gradients_of_the_lagrangian_are_those_of_casadi_and_of_their_parts(case, oracle):
    fast, slow, batch = LaneEngine(case.loop), oracle(case.loop), case.batch
    thetas = np.stack([case.theta(size, seed) for seed, size in enumerate((0.3, 1.0, 1.5))])
    terms = np.random.default_rng(2).uniform(size=(2, batch.count * len(case.loop.metrics.rows)))
    for saturated in (False, True):
        gradients = fast.lagrangian_gradients(batch, thetas, *terms, saturated=saturated)
        close(gradients, slow.lagrangian_gradients(batch, thetas, *terms, saturated=saturated), 1e-10)
        for theta, gradient in zip(thetas, gradients, strict=True):
            metrics = np.empty((1, terms.shape[1]))
            fast.metrics(batch, theta[None], metrics, saturated=saturated)
            free = fast.lagrangian_gradients(batch, theta[None], *(0 * terms), saturated=saturated)[0]
            slopes = terms[0] + terms[1] * metrics[0]
            close(gradient, free + fast.jacobian(batch, theta, None, saturated=saturated) @ slopes, 1e-10)
            if saturated:
                close(free, fast.gradient(batch, theta)[1])


@pytest.mark.parametrize("which", ["multipliers", "curvatures"])
def test_terms_of_metrics_of_another_size_are_refused(which):
    rollouts = rollouts_of(CASES["scalar"])
    terms = {"multipliers": np.zeros(rollouts.batch.count * rollouts._rows), which: np.zeros(3)}
    with pytest.raises(DimensionError, match=rf"{which} have shape \(3,\)"):
        rollouts.lagrangian_gradients(np.zeros((1, 1)), **terms)


def test_trajectories_are_those_of_casadi(case, oracle):
    for value, expected in zip(
        LaneEngine(case.loop).trajectories(case.batch, case.theta()),
        oracle(case.loop).trajectories(case.batch, case.theta()),
        strict=True,
    ):
        close(value, expected)


def test_saturation_acts_in_the_cases(case):
    """Without it, derivatives of the true loop would not be tested."""
    limits = case.loop.policy.plant.u_min, case.loop.policy.plant.u_max
    _, U = LaneEngine(case.loop).trajectories(case.batch, case.theta())
    assert ((limits[0] > U) | (limits[1] < U)).any()
    assert ((limits[0] < U) & (limits[1] > U)).any()


def test_the_floor_of_contraction_holds_exactly_where_it_is_larger(oracle):
    """On either side of γ V(x_0) = c ρ the metric is the one or the other, and equal where they meet."""
    options = MetricOptions(path=False, contraction=0.5)
    plain = linear_case((4,), options)
    backup, x0, theta = plain.loop.policy.backup, plain.batch.x0, plain.theta()[None]
    limits = 0.5 * backup.level(x0) / backup.rho
    floors = [np.sort(limits)[7] * part for part in (1 - 1e-12, 1.0, 1 + 1e-12)]
    for floor in (*floors, np.median(limits)):
        case = linear_case((4,), replace(options, contraction_floor=floor))
        expected = metrics_of(LaneEngine(plain.loop), plain, theta, saturated=True)
        expected = expected - np.maximum(0.0, floor - limits) * backup.rho
        for engine in (LaneEngine, oracle):
            close(metrics_of(engine(case.loop), case, theta, saturated=True), expected, 1e-12)
        thetas, D = plain.theta(), np.random.default_rng(3).normal(size=(3, plain.loop.policy.theta_dim))
        engines = LaneEngine(case.loop), LaneEngine(plain.loop)
        one, other = (engine.jacobian(plain.batch, thetas, D, saturated=True) for engine in engines)
        np.testing.assert_array_equal(one, other)


@pytest.mark.table(3)
def test_jacobian_is_the_limit_of_differences(case):
    rollouts, theta, h = rollouts_of(case), case.theta(0.1), 1e-6
    ahead, behind = (rollouts.sample(theta + sign * h * np.eye(theta.size)) for sign in (1, -1))
    close(rollouts.jacobian(theta), (ahead - behind) / (2 * h), 1e-6)


def test_gradient_and_matrix_belong_to_the_same_residuals(case):
    """Cost and gradient are the adjoint's; H is symmetric and positive semidefinite."""
    cost, gradient, H = LaneEngine(case.loop).gauss_newton(case.batch, case.theta())
    value, adjoint = LaneEngine(case.loop).gradient(case.batch, case.theta())
    assert cost == value
    close(gradient, adjoint, 1e-12)
    np.testing.assert_array_equal(H, H.T)
    assert np.linalg.eigvalsh(H)[0] >= -1e-12 * np.trace(H)  # zero where the cost is no sum of squares


def test_differences_are_those_of_samples():
    case = CASES["pendulum, one layer"]
    rollouts, theta, sigma = rollouts_of(case), case.theta(), 0.01
    D = np.random.default_rng(0).normal(size=(9, theta.size))
    g, samples = rollouts.sample(theta)[0], rollouts.sample(theta + sigma * D)
    G, squares = rollouts.differences(theta + sigma * D, g, sigma)
    np.testing.assert_array_equal(G, (samples - g) * (1 / sigma))
    close(squares, (G**2).sum(axis=0), 1e-14)
    memory = np.empty_like(G)
    again, _ = rollouts.differences(theta + sigma * D, g, sigma, out=memory)
    assert again is memory
    np.testing.assert_array_equal(again, G)
    for wrong in ({"out": memory[:, :-1]}, {"out": memory[:-1]}, {"out": memory.astype(np.float32)}):
        with pytest.raises(DimensionError, match="out has shape"):
            rollouts.differences(theta + sigma * D, g, sigma, **wrong)
    with pytest.raises(DimensionError, match="g has shape"):
        rollouts.differences(theta + sigma * D, g[:-1], sigma)


def everything(rollouts, theta, thetas, scenarios=None):
    """Return every result that is a sum or a stack."""
    g, m = rollouts.sample(theta, scenarios)[0], rollouts.sample(theta).size
    terms = np.cos(np.arange(m)), np.sin(np.arange(m))
    return [
        rollouts.lagrangian_gradients(thetas, *terms),
        *rollouts.evaluate(thetas), rollouts.sample(thetas, scenarios), *rollouts.gradient(theta),
        *rollouts.differences(thetas, g, 0.1, scenarios), rollouts.jacobian(theta, None, scenarios),
        rollouts.jacobian(theta, thetas, scenarios), *rollouts.gauss_newton(theta), *rollouts.trajectories(theta),
    ]  # fmt: skip


def test_callers_in_several_threads_do_not_mix_their_scenarios():
    case = CASES["pendulum, one layer"]
    engine, thetas = LaneEngine(case.loop), case.theta()[None]
    batches = [case.batch, case.batch.part(slice(0, 1)), case.batch.part(slice(1, case.batch.count))]
    alone = [engine.evaluate(batch, thetas) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda batch: engine.evaluate(batch, thetas), batches * 50))
    for k, results in enumerate(together):
        for value, expected in zip(results, alone[k % 3], strict=True):
            np.testing.assert_array_equal(value, expected)


def test_threads_do_not_change_a_bit(monkeypatch):
    case = pendulum_case((4,), count=700, horizon=5)  # more blocks than groups of sums
    theta = case.theta()
    thetas = theta + case.theta() * np.arange(5)[:, None]
    results = []
    for threads in (1, 2, 7):
        monkeypatch.setattr(lanes, "threads_for", lambda *_, threads=threads: threads)
        results.append(everything(rollouts_of(case), theta, thetas))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["linear, one layer", "pendulum, two layers"])
def test_chunks_do_not_change_a_bit(name):
    case = CASES[name]
    rollouts, theta = rollouts_of(case), case.theta()
    thetas = theta + case.theta(seed=1) * np.linspace(0, 1, 7)[:, None]
    metrics, cost = rollouts.evaluate(thetas)
    for k in range(7):
        alone = rollouts.evaluate(thetas[k])
        np.testing.assert_array_equal(metrics[k], alone[0][0])
        assert cost[k] == alone[1][0]
    for part in (slice(0, 1), slice(3, 10), slice(1, None, 4)):
        shape = (-1, case.batch.count, len(case.loop.metrics.rows))
        whole, jacobian = rollouts.sample(thetas).reshape(shape), rollouts.jacobian(theta).reshape(shape)
        np.testing.assert_array_equal(rollouts.sample(thetas, part), whole[:, part].reshape(7, -1))
        np.testing.assert_array_equal(rollouts.jacobian(theta, None, part), jacobian[:, part].reshape(theta.size, -1))


def test_shapes_that_c_would_read_unchecked_are_refused():
    case = CASES["pendulum, one layer"]
    rollouts, theta = rollouts_of(case), case.theta()
    for call in (rollouts.evaluate, rollouts.sample, rollouts.gradient, rollouts.jacobian, rollouts.trajectories):
        for wrong in (theta[:-1], np.ones((2, 2, theta.size))):
            with pytest.raises(DimensionError, match="theta has shape"):
                call(wrong)
    with pytest.raises(DimensionError, match="theta has shape"):
        rollouts.jacobian(theta, np.eye(theta.size + 1))
    batch = case.batch
    for changes in ({"x0": batch.x0[:, :2]}, {"p": batch.p[:, :1]}, {"w": batch.w[:, 1:]}, {"w": batch.w[:, :, :1]}):
        with pytest.raises(DimensionError, match=f"{next(iter(changes))} has shape"):
            Rollouts(case.loop.policy, replace(batch, **changes), case.loop.metrics)


def test_small_work_starts_no_thread():
    assert threads_for(100, 1e3) == 1
    assert threads_for(1, 1e12) == 1
    assert threads_for(10**6, 1e12) >= 1


def test_rollouts_that_diverge_have_metrics_that_are_not_finite():
    case = pendulum_case((3,), EVERYTHING, count=5, horizon=30)
    policy = case.loop.policy
    plant = policy.plant.replace(f=1e3 * policy.plant.x**3)
    rollouts = Rollouts(type(policy)(plant, policy.backup, (3,)), case.batch, case.loop.metrics)
    theta = case.theta()
    metrics = rollouts.evaluate(theta)[0]
    assert not np.isfinite(metrics.reshape(5, -1)[:, -1]).any()
    assert np.isfinite(metrics.reshape(5, -1)[:, 0]).all()
    assert not np.isfinite(rollouts.sample(theta)).all()
    nan = rollouts.evaluate(np.full(policy.theta_dim, np.nan))
    assert np.isnan(nan[1][0]) and np.isnan(nan[0]).any()
    assert not np.isfinite(rollouts.jacobian(theta)).all()


def functions(x):
    """Return tanh, sin and cos as the engine computes them."""
    library = Library(CASES["linear"].loop)
    count = -(-x.size // 8)
    arrays = [aligned(count) for _ in range(4)]
    arrays[0][:] = 0.0
    arrays[0][: x.size] = x
    x_lanes, *results = (array.ctypes.data for array in arrays)
    library.engine_functions(x_lanes, count, *results)
    return arrays[1:]


def decimals(x):
    """Return tanh, sin and cos of a double to 60 digits."""
    with localcontext() as context:
        context.prec = 90
        exact = Decimal(x)
        squared = (2 * exact).exp() if abs(x) > 1e-20 else None
        tanh = (squared - 1) / (squared + 1) if squared is not None else exact
        results, term, k = [Decimal(0), Decimal(0)], Decimal(1), 0
        while k < 10 or abs(term) > Decimal("1e-70"):  # the series of cos and sin in turns
            results[k % 2] += term * (-1) ** (k // 2)
            k += 1
            term *= exact / k
        return tanh, results[1], results[0]


def test_elementary_functions_are_accurate_to_the_last_bits():
    rng = np.random.default_rng(0)
    x = np.concatenate([
        rng.uniform(-0.4, 0.4, 300), rng.uniform(-3, 3, 300), rng.uniform(-22, 22, 200),
        10.0 ** rng.uniform(-30, 0, 100), np.pi / 4 * np.arange(-20, 21),
    ])  # fmt: skip
    exact = np.array([decimals(value) for value in x])
    for values, column in zip(functions(x), exact.T, strict=True):
        error = [abs(Decimal(v) - e) for v, e in zip(values[: x.size].tolist(), column, strict=True)]
        unit = np.maximum(np.spacing(np.abs(column.astype(float))), 2e-17 * np.abs(x) / 22)
        assert max(float(e) / u for e, u in zip(error, unit, strict=True)) < 3.0


def test_elementary_functions_at_the_ends():
    x = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, 5e-324, -1e-310, 1e300, -30.0, 1e7, 2.0**20])
    tanh, sin, cos = (values[: x.size] for values in functions(x))
    np.testing.assert_array_equal(tanh, [1, -1, np.nan, 0, 0, 5e-324, -1e-310, 1, -1, 1, 1])
    assert np.signbit(tanh[4])
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(np.isnan(sin), np.isnan(np.sin(x)))
        np.testing.assert_allclose(sin[3:], np.sin(x[3:]), rtol=1e-15)
        np.testing.assert_allclose(cos[3:], np.cos(x[3:]), rtol=1e-15)
    large = functions(np.linspace(19, 40, 1001))[0][:1001]
    assert large.max() == 1.0
    assert (np.diff(large) >= 0).all()
    steps = np.diff(functions(np.linspace(0, 19, 100_001))[0][:100_001])
    assert steps.min() >= -np.finfo(float).eps  # monotone up to rounding


OPERATIONS = {
    "arithmetic": lambda a, b: (a + b) * (a - b) / (2 + a**2) + 1 / (3 + b) + 2 * a - (-b),
    "powers": lambda a, b: (2 + a) ** 1.7 + (2 + a) ** b + ca.sqrt(2 + a) + ca.exp(a) + ca.log(2 + b),
    "circles": lambda a, b: ca.sin(a) + ca.cos(b) + ca.tan(a) + ca.asin(a / 2) + ca.acos(b / 2) + ca.atan2(a, 2 + b),
    "hyperbolas": lambda a, b: ca.sinh(a) + ca.cosh(b) + ca.tanh(a) + ca.asinh(b) + ca.acosh(3 + a) + ca.atanh(b / 2),
    "rare": lambda a, b: ca.log1p(a / 2) + ca.expm1(b) + ca.erf(a) + ca.atan(b) + ca.hypot(a, 1 + b),
    "pieces": lambda a, b: ca.fmax(a, b) + 2 * ca.fmin(a, 0.3) + 4 * ca.fabs(b) + ca.sign(a) + ca.floor(3 * a),
    "steps": lambda a, b: ca.ceil(3 * b) + ca.fmod(5 * a, 1.3) + ca.copysign(a, b),
    "conditions": lambda a, b: ca.if_else(a < b, a, 2 * b) + ca.if_else(ca.logic_and(a <= 0, b != 0), 3.0, a),
    "logic": lambda a, b: ca.logic_or(a > 0.2, b == a) + 2 * ca.logic_not(b > 0) + ca.if_else(a == b, 1.0, b),
    "constants": lambda a, b: a * 1e-300 * 1e300 + b * -0.1 + ca.if_else(a < np.inf, 1 / 3, 7),
}


def test_operations_of_a_plant_are_those_of_casadi(oracle):
    """One plant whose states are all the expressions; one step shows their values, and derivatives through u = Θ x."""
    n, count = len(OPERATIONS), 40
    x, u = ca.SX.sym("x", n), ca.SX.sym("u")
    wide = np.full(n, 9.0)
    plant = Plant(
        name="operations", x=x, u=u, f=ca.vertcat(*[f(x[0] + u / 2, x[1] + u) for f in OPERATIONS.values()]), dt=1.0,
        x_min=-wide, x_max=wide, u_min=-np.ones(1), u_max=np.ones(1),
    )  # fmt: skip
    backup = Backup(np.zeros((1, n)), np.eye(n), 1.0)
    loop = Loop(Policy(plant, backup), Metrics(plant, backup, 1, MetricOptions()), Stage(np.zeros(n), np.zeros(1)))
    x0 = np.random.default_rng(0).uniform(-0.9, 0.9, (count, n))
    x0[:5, :2] = [[0.0, 0.0], [0.5, 0.5], [-0.25, -0.25], [0.0, 0.7], [0.3, 0.0]]  # where pieces meet
    batch, theta = Scenarios(x0, np.zeros((count, 0)), np.zeros((count, 1, 0)), 1), np.zeros(n)
    value, expected = (engine.trajectories(batch, theta)[0][:, 1] for engine in (LaneEngine(loop), oracle(loop)))
    for name, a, b in zip(OPERATIONS, value.T, expected.T, strict=True):
        assert np.ptp(b) > 0.1, name
        np.testing.assert_allclose(a, b, rtol=1e-14, atol=1e-14, err_msg=name)
    derivatives = [e.jacobian(batch, theta, None, saturated=False) for e in (LaneEngine(loop), oracle(loop))]
    close(*derivatives, 1e-13)


def test_literals_are_exact_and_equal_structures_share_a_library():
    x = ca.SX.sym("x")
    values = [0.1, -0.0, 1e300, 5e-324, 3.0, np.pi]
    function = ca.Function("f", [x], [ca.vertcat(*[x + v for v in values], x * np.inf)])
    text = " ".join(emit(function, ["x[{}]"], ["y"]).statements)
    for value in (0.1, 1e300, 5e-324, np.pi):
        assert f"{value:.17g}" in text
    assert "INFINITY" in text
    first, second = linear_case((5,)), linear_case((5,), MetricOptions(), count=3)
    assert header_of(first.loop) == header_of(second.loop)
    assert header_of(first.loop) != header_of(linear_case((6,)).loop)


def test_plants_with_operations_unknown_to_the_engine_are_left_to_casadi(oracle):
    policy = (case := linear_case()).loop.policy
    plant = policy.plant.replace(f=policy.plant.f + 1e-13 * ca.remainder(policy.plant.x, 100.0))
    rollouts = Rollouts(type(policy)(plant, policy.backup, scale=policy.scale), case.batch, case.loop.metrics)
    assert isinstance(rollouts._engine, CasadiEngine)
    theta, g = case.theta(), rollouts.sample(case.theta())[0]
    close(rollouts.sample(theta), rollouts_of(case).sample(theta))
    close(rollouts.differences(theta + 0.1, g, 0.1)[0], (rollouts.sample(theta + 0.1) - g) / 0.1)


@pytest.mark.table(2)
@pytest.mark.parametrize("compiler", ["cc", "clang"])
def test_other_compilers_and_machines_give_the_same_bits(compiler, monkeypatch):
    """Without this computer's instructions the lanes become short vectors, and every bit stays."""
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    theta = (case := CASES["pendulum, two layers"]).theta()
    thetas = theta * np.linspace(0.1, 1, 3)[:, None]
    expected = everything(rollouts_of(case), theta, thetas)
    monkeypatch.setenv("CC", compiler)
    monkeypatch.setattr(compiled, "NATIVE", tuple(flag for flag in compiled.NATIVE if flag != "-march=native"))
    for a, b in zip(everything(rollouts_of(case), theta, thetas), expected, strict=True):
        np.testing.assert_array_equal(a, b)
