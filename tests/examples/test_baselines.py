"""The methods that SCPO is compared with: known optima, safety under correct constants, budgets, and the comparison."""

import itertools
import re

import cvxpy as cp
import numpy as np
import paper_experiments
import pytest
import r1_regression
from baselines import descent, experiments, figure, safe, store, tables
from baselines.oracle import Oracle, RunOverError, follow, judge
from baselines.registry import METHODS, Entry
from matplotlib.figure import Figure
from PIL import Image

from scpo_ctrl import FunctionProblem, UserObjective

SETTINGS = {
    "scpo": {},
    "scpo_audited": {},
    "ss_qcqp": {"scale": 1.0},
    "szo_qq": {"proximity": 1.0, "caution": 1.0},
    "log_barrier": {"weight": 1e-3, "caution": 1.0},
    "reject": {"length": 0.1},
    "primal_dual": {"rate": 0.003, "dual_rate": 0.03},
    "penalty": {"rate": 0.01, "weight": 100.0},
    "unconstrained": {"rate": 0.01},
}
SAFE = [name for name, entry in METHODS.items() if entry.safe]
CORNER = np.array([0.5, np.sqrt(0.75)])  # where the disc meets θ₁ = 0.5


def problem_of(goal, metrics, start=None):
    """Minimise ‖θ − goal‖² subject to some metrics, from the origin."""
    goal = np.asarray(goal, float)
    objective = UserObjective(lambda theta: (float(np.sum((theta - goal) ** 2)), 2 * (theta - goal)))
    return FunctionProblem(np.zeros(goal.size) if start is None else start, metrics, objective)


def disc(goal):
    """‖θ‖² ≤ 1 and θ₁ ≤ 0.5 in the plane; the first is a QCQP's constraint, the second a QP's."""
    return problem_of(goal, lambda thetas: np.column_stack([np.sum(thetas**2, axis=1) - 1, thetas[:, 0] - 0.5]))


def spheres(seed, size=4, count=6):
    """Quadratics c + bᵀθ + a‖θ‖²/2 with a of both signs: not convex, and every second difference is exactly |a|."""
    rng = np.random.default_rng(seed)
    a, b, c = rng.uniform(-2, 2, count), rng.normal(size=(count, size)), -rng.uniform(0.05, 0.5, count)

    def metrics(thetas):
        linear = np.sum(thetas[:, None] * b, axis=2)  # a row alone gives the same bits as in a stack, unlike with BLAS
        return c + linear + a * np.sum(thetas**2, axis=1, keepdims=True) / 2

    return problem_of(rng.normal(size=size), metrics)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("reject", "unconstrained")])
def test_constrained_optimum(name):
    problem = disc([2.0, 1.0])
    track = follow(problem, METHODS[name].run, 6000, **SETTINGS[name])
    np.testing.assert_allclose(track.theta, CORNER, atol=0.02)
    assert track.objective[-1] == pytest.approx(float(problem.objective(CORNER)), rel=0.02)
    assert track.violations == 0 if METHODS[name].safe else track.violations > 0


@pytest.mark.parametrize("name", METHODS)
def test_optimum_inside_is_found_by_all(name):
    track = follow(disc([0.2, -0.4]), METHODS[name].run, 3000, **SETTINGS[name])
    np.testing.assert_allclose(track.theta, [0.2, -0.4], atol=2e-3)
    assert track.violations == 0 and track.worst_violation == 0


def test_unconstrained_descent_violates_and_reject_gets_stuck():
    free = follow(disc([2.0, 1.0]), descent.unconstrained, 10_000, rate=0.01)
    np.testing.assert_allclose(free.theta, [2, 1], atol=1e-3)
    assert free.violations > free.worst.size / 2 and free.worst_violation == pytest.approx(4, rel=1e-2)
    stuck = follow(disc([2.0, 1.0]), descent.reject_and_backtrack, 10_000, length=0.1)
    assert stuck.violations == 0 and stuck.ended == "method ended"
    np.testing.assert_allclose(stuck.theta, [0.5, 0.25], atol=1e-6)  # straight ahead to the first bound, no further
    assert (np.diff(stuck.objective) < 0).all()


@pytest.mark.parametrize("name", SAFE)
def test_safe_methods_never_violate_smooth_metrics(name):
    settings = SETTINGS[name] | ({"weight": 1e-2} if name == "log_barrier" else {})
    for seed in range(12):
        problem = spheres(seed)
        track = follow(problem, METHODS[name].run, 800, seed, **settings)
        assert track.violations == 0, seed
        assert track.objective[-1] < track.objective[0]


@pytest.mark.parametrize("name", ["szo_qq", "log_barrier"])
def test_constants_that_are_too_small_show_as_violations(name):
    """A method that relies on constants deploys what violates, doubles them, and ends safe."""
    settings = SETTINGS[name] | {"caution": 1e-3}
    tracks = [follow(spheres(seed), METHODS[name].run, 600, **settings) for seed in range(8)]
    assert sum(track.violations for track in tracks) > 0
    for track in tracks:
        assert not track.unsafe[0] and not track.unsafe[-1]
        assert (track.worst_violation > 0) == (track.violations > 0)


def test_szo_qq_iterates_solve_the_papers_subproblem():
    problem = spheres(3)
    oracle, theta = Oracle(problem, 10_000), problem.theta_initial
    curvature = oracle.curvature(theta)
    for step, got in enumerate(itertools.islice(safe.szo_qq(oracle, proximity=0.4, caution=2.0), 5)):
        g = problem.metrics(theta)
        G = Oracle(problem, 10_000).exact_jacobian(theta)
        delta = cp.Variable(theta.size)
        bounds = [g[i] + G[i] @ delta + 4 * curvature[i] * cp.sum_squares(delta) <= 0 for i in range(g.size)]
        model = problem.gradient(theta) @ delta + 0.4 * cp.sum_squares(delta)
        cp.Problem(cp.Minimize(model), bounds).solve(solver="CLARABEL")
        np.testing.assert_allclose(got - theta, delta.value, atol=2e-4, err_msg=str(step))
        theta = got


def test_ss_qcqp_directions_solve_the_papers_subproblem():
    problem, scale = spheres(5), 1.0
    theta, w = problem.theta_initial, 1e-3 * np.ones(6)
    theta_before, G_before = theta, None
    for got in itertools.islice(safe.ss_qcqp(Oracle(problem, 10_000), scale=scale), 5):
        g, G = problem.metrics(theta), Oracle(problem, 10_000).exact_jacobian(theta)
        if G_before is not None:
            w = np.maximum(w, np.linalg.norm(G - G_before, axis=1) / (2 * np.linalg.norm(theta - theta_before)))
        u = cp.Variable(theta.size)
        bounds = [G[i] @ u + g[i] + w[i] * cp.sum_squares(u) <= 0 for i in range(g.size)]
        gradient = scale * problem.gradient(theta)
        cp.Problem(cp.Minimize(cp.sum_squares(u + gradient)), bounds).solve(solver="CLARABEL")
        t = np.linalg.norm(got - theta) / np.linalg.norm(u.value)
        assert np.log2(t) == pytest.approx(round(np.log2(t)), abs=1e-2) and t <= 1.01  # halved from 1
        np.testing.assert_allclose((got - theta) / t, u.value, atol=1e-3)
        assert gradient @ u.value <= -(u.value @ u.value) * (1 - 1e-4) + 1e-8  # theorem 1: a descent direction
        assert float(problem.objective(got)) <= float(problem.objective(theta)) + 1e-4 * gradient @ (got - theta)
        theta_before, G_before, theta = theta, G, got


def test_adam_first_step_and_scale():
    """The first step is the rate in each coordinate, and steps do not depend on the objective's scale."""
    gradients = np.random.default_rng(0).normal(size=(20, 5))
    small, large = descent.Adam(0.01, 5), descent.Adam(0.01, 5)
    for step, gradient in enumerate(gradients):
        a, b = small.step(gradient), large.step(1e6 * gradient)
        np.testing.assert_allclose(a, b, rtol=1e-6)
        if step == 0:
            np.testing.assert_allclose(a, -0.01 * np.sign(gradient), rtol=1e-6)


def test_jacobians():
    problem = spheres(1)
    theta = np.random.default_rng(2).normal(size=4)
    oracle = Oracle(problem, 9)
    exact = oracle.exact_jacobian(theta)
    assert oracle.used == 4
    sampled = oracle.sampled_jacobian(theta, oracle.metrics(theta))
    assert oracle.used == 9
    step = 1e-3 * np.eye(4)  # quadratics: central differences are exact
    central = (problem.metrics(theta + step) - problem.metrics(theta - step)).T / 2e-3
    np.testing.assert_allclose(exact, central, atol=1e-9)
    np.testing.assert_allclose(sampled, central, atol=4e-5)
    assert np.abs(sampled - central).max() > 1e-7
    with pytest.raises(RunOverError, match="budget"):
        oracle.metrics(theta)
    assert oracle.used == 9


def test_curvature_of_spheres_is_exact():
    problem = spheres(4)
    oracle = Oracle(problem, 100)
    a = np.random.default_rng(4).uniform(-2, 2, 6)
    np.testing.assert_allclose(oracle.curvature(problem.theta_initial + 0.3), np.abs(a), rtol=1e-10)
    assert oracle.used == 17


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("budget", [1, 50, 331])
def test_budget_is_kept_and_counted(name, budget):
    """The count is that of the rows that really were evaluated, the known gradients of SS-QCQP excepted."""
    rows = []

    def metrics(thetas):
        rows.append(len(thetas))
        return np.column_stack([np.sum(thetas**2, axis=1) - 1, thetas[:, 0] - 0.5])

    problem = problem_of([2.0, 1.0, 0.5], metrics)
    problem.rollouts_per_theta = 3
    oracle = Oracle(problem, budget)
    rows.clear()
    try:
        deployed = list(METHODS[name].run(oracle, **SETTINGS[name]))
    except RunOverError:
        deployed = None
    assert oracle.used <= budget and oracle.used % 3 == 0
    evaluated = 3 * sum(rows)
    if name == "ss_qcqp":
        assert evaluated >= oracle.used
    elif name == "unconstrained":  # its deployed policies are rolled out by nobody but the judge
        assert evaluated == 0
    elif name.startswith("scpo"):  # may finish the step in which the budget ends
        assert evaluated >= oracle.used
    else:
        assert evaluated == oracle.used
    track = follow(problem, METHODS[name].run, budget, **SETTINGS[name])
    assert track.rollouts[0] == 0 and (np.diff(track.rollouts) >= 0).all() and track.rollouts[-1] <= track.used
    assert deployed is None or len(deployed) + 1 == track.worst.size


def test_judge_recomputes_and_lets_nothing_undefined_pass():
    problem = problem_of(
        [1.0, 0.0], lambda thetas: np.column_stack([thetas[:, 0], np.where(thetas[:, 1] > 1, np.nan, -1)])
    )
    thetas = np.array([[0.5, 0.0], [-0.5, 0.0], [-0.5, 2.0]])
    objective, worst = judge(problem, thetas)
    np.testing.assert_array_equal(worst, [0.5, -0.5, np.inf])
    np.testing.assert_allclose(objective, [0.25, 2.25, 6.25])


def test_follow_judges_in_chunks_and_ends_where_numbers_do():
    def wander(oracle):
        for step in range(600):
            oracle.spend(1)
            yield np.array([0.001 * step, 0.0])
        oracle.gradient(np.array([0.6, 0.0]))
        raise AssertionError("the oracle answered")

    def objective(theta):
        return float(theta[0]), np.full(2, np.nan if theta[0] > 0.599 else 1.0)

    problem = FunctionProblem(np.zeros(2), lambda thetas: thetas[:, :1] - 0.5, UserObjective(objective))
    track = follow(problem, wander, 10_000)
    assert track.worst.size == 601 and track.used == 600 and track.ended == "not finite"
    assert track.violations == 99 and track.worst_violation == pytest.approx(0.099)
    np.testing.assert_allclose(track.objective[1:], 0.001 * np.arange(600))
    assert follow(problem, wander, 10).ended == "budget spent"


def small_build(seed):
    """A problem in the plane whose goal the seed moves."""
    problem = disc([2.0 + 0.1 * seed, 1.0])
    return problem, lambda theta: (float(abs(theta[0])), float(abs(theta[1])))


@pytest.fixture
def small(monkeypatch):
    """The comparison on a problem that runs in milliseconds."""
    experiment = experiments.Experiment(
        title="disc", budget=200, build=small_build, halves=("x", "y"), objective="distance²", rollouts="evaluations"
    )
    monkeypatch.setattr(paper_experiments, "EXPERIMENTS", {"r1": experiment})
    for name, settings in SETTINGS.items():
        entry = Entry(
            label=METHODS[name].label, run=METHODS[name].run, safe=METHODS[name].safe, chosen={"r1": settings}
        )
        monkeypatch.setitem(METHODS, name, entry)
    return experiment


def test_comparison_resumes_to_the_same_table(small, tmp_path, capsys, monkeypatch):
    arguments = ["--problem", "r1", "--seeds", "2", "--out", str(tmp_path)]
    monkeypatch.setattr(paper_experiments, "draw", lambda experiment, runs: Figure(figsize=(1, 1)))  # drawn elsewhere

    def broken(oracle, **settings):
        raise KeyboardInterrupt

    working = METHODS["penalty"]
    monkeypatch.setitem(METHODS, "penalty", Entry(label=working.label, run=broken, safe=False, chosen=working.chosen))
    with pytest.raises(KeyboardInterrupt):
        paper_experiments.main(arguments)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*.npz")}
    names = [name for name, entry in METHODS.items() if not entry.audits]  # R1 declares no set
    assert len(kept) == 2 * names.index("penalty")
    monkeypatch.setitem(METHODS, "penalty", working)
    capsys.readouterr()
    paper_experiments.main(arguments)
    first = capsys.readouterr().out
    assert kept == {path: path.stat().st_mtime_ns for path in kept}  # loaded, not run again
    assert len(list((tmp_path / "runs").glob("*.npz"))) == 2 * len(names)
    for name, entry in METHODS.items():
        monkeypatch.setitem(METHODS, name, Entry(label=entry.label, run=broken, safe=entry.safe, chosen=entry.chosen))
    paper_experiments.main(arguments)
    assert capsys.readouterr().out == first
    paper_experiments.main([*arguments, "--methods", "scpo", "ss_qcqp"])
    assert len(capsys.readouterr().out) < len(first)
    with pytest.raises(KeyboardInterrupt):  # another budget is another run
        paper_experiments.main([*arguments, "--budget", "150"])


def test_comparison_prints_what_the_tracks_say(small, tmp_path, capsys):
    paper_experiments.main(["--problem", "r1", "--seeds", "3", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    rows = {line[:24].strip(): line for line in printed.splitlines() if not line.startswith(("-", "disc"))}
    assert re.search(r"^SCPO +0 ", rows["SCPO"]) and re.search(r"^unconstrained +[1-9]", rows["unconstrained"])
    track = follow(small_build(1)[0], safe.ss_qcqp, 200, 1, scale=1.0)
    middle = format(track.objective[-1], ".4f")  # of goals 2.0, 2.1 and 2.2 the middle one
    assert middle in rows[METHODS["ss_qcqp"].label]
    assert "SCPO: 0 of" in printed and "Best baseline that never violated" in printed
    with Image.open(tmp_path / "r1.png") as image:
        assert image.format == "PNG" and image.width >= 1000
        assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) >= 50


def test_tuning_marks_the_best_setting_that_is_safe_enough(small, tmp_path, capsys, monkeypatch):
    grid = {"proximity": (0.5, 1.0), "caution": (1e-3, 1.0)}
    monkeypatch.setitem(METHODS, "szo_qq", Entry(label="SZO-QQ", run=safe.szo_qq, safe=True, grid=grid))
    paper_experiments.main(["--problem", "r1", "--tune", "--methods", "scpo", "szo_qq", "--out", str(tmp_path)])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("SZO-QQ")]
    marked = [line for line in lines if line.endswith("<")]
    assert len(lines) == 4 and len(marked) == 1
    safe_objectives = [float(line.rstrip("< ").split()[-1]) for line in lines if re.search(r" 0 of ", line)]
    assert " 0 of " in marked[0] and float(marked[0].rstrip("< ").split()[-1]) == min(safe_objectives)


@pytest.mark.parametrize(
    "arguments", [["--seeds", "0"], ["--budget", "-5"], ["--problem", "r9"], ["--methods", "nobody"], ["--seeds", "x"]]
)
def test_wrong_arguments(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        paper_experiments.main(arguments)
    assert stopped.value.code == 2 and arguments[0] in capsys.readouterr().err


def test_registry_settings_lie_on_their_grids():
    for name, entry in METHODS.items():
        for problem in experiments.EXPERIMENTS:
            if entry.grid:
                assert entry.settings(problem) in entry.candidates(), name


def test_r1_seeds_and_errors():
    (first, errors), (second, _) = (experiments.build_r1(seed) for seed in (0, 1))
    assert not np.array_equal(first.theta_initial, second.theta_initial)
    assert first.objective(first.theta_initial) != second.objective(second.theta_initial)
    np.testing.assert_array_equal(first.theta_initial, r1_regression.safe_start())
    clean, other = errors(first.theta_initial)  # f = 0: the mean square of the clipped target
    x = np.linspace(-3, 3, 61)
    target = np.clip(1.5 * np.sin(x), -1.2, 1.0)
    assert clean == pytest.approx(np.mean(target[x <= 1e-12] ** 2))
    assert other == pytest.approx(np.mean(target[x > 1e-12] ** 2))


def test_r2_seeds_and_errors():
    (first, errors), (second, _) = (experiments.build_r2(seed) for seed in (0, 1))
    np.testing.assert_array_equal(first.scenarios.x0, second.scenarios.x0)
    assert not np.array_equal(first.theta_initial, second.theta_initial)
    assert first.objective(first.theta_initial) != second.objective(second.theta_initial)
    good, malicious = errors(first.theta_initial)
    assert min(good, malicious) < float(first.objective(first.theta_initial)) < max(good, malicious)


def test_spread_and_labels():
    assert tables.spread([3.0, 1.0, 2.0], ".1f") == "2.0 (1.0 to 3.0)"
    assert tables.spread([2.0, 2.0], ".0f") == "2"
    places = figure.apart(np.array([0.0, 0.01, 0.02, 0.5, 0.9]), 0.05)
    assert (np.diff(places) > 0.05 - 1e-6).all() and places[3:] == pytest.approx([0.5, 0.9])
    edge = figure.apart(np.array([0.0, 0.0, 0.98, 1.0, 1.0]), 0.05)
    assert edge[0] == 0 and edge[-1] == 1 and (np.diff(edge) > 0.05 - 1e-3).all()


def test_a_budget_replaces_the_experiments_own():
    experiment = experiments.EXPERIMENTS["r2"]
    assert store.with_budget(experiment, None) is experiment
    assert store.with_budget(experiment, 7).budget == 7
