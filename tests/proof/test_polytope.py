"""The largest polytope that a backup keeps: nothing leaves it, nothing larger is kept, and what has none is refused."""

import json

import numpy as np
import pytest
from forms import times
from polytopes import LOOPS, LQR, R3, kept, problem
from problem_files import write

import scpo_ctrl as sc
from scpo_ctrl.errors import DomainError
from scpo_ctrl.invariance.lookahead_guard import LookaheadGuard
from scpo_ctrl.models import cart_pole, linear
from scpo_ctrl.proof.guarded import guard, guarded_runs
from scpo_ctrl.proof.polytope_set import backup_polytope


@pytest.fixture(scope="module")
def loops():
    return {name: make() for name, make in LOOPS.items()}


def inside(polytope, rng, count):
    """Return states of a polytope, half of them on its surface."""
    z = rng.normal(size=(count, polytope.F.shape[1])) * polytope.extent
    length = np.where(rng.uniform(size=(count, 1)) < 0.5, 1 - 1e-8, rng.uniform(size=(count, 1)))
    return z / polytope.gauge(z)[:, None] * length


def parameters(of, rng, count):
    """Return parameters, many of them at ends of their ranges."""
    ranges = of.scenarios.declared.ranges
    sides = rng.uniform(size=(count, of.plant.npar))
    sides = np.where(rng.uniform(size=sides.shape) < 0.5, np.round(sides), sides)
    return ranges[:, 0] + sides * np.ptp(ranges, axis=1)


def largest_after(of, polytope, x, u, p):
    """Return the gauge of next states under the disturbance that raises it most, shape (n,)."""
    following = np.array(of.plant.function.map(len(x))(x.T, u.T, p.T)).T
    pushed = np.abs(polytope.F) @ of.scenarios.declared.half if of.scenarios.declared.half.size else 0.0
    return ((following - of.plant.x_eq) @ polytope.F.T + pushed).max(axis=1)


@pytest.mark.parametrize("name", LOOPS)
def test_no_state_leaves_it_or_a_bound_under_the_backup(loops, name):
    of, polytope = loops[name].problem, loops[name].polytope
    plant, rng = of.plant, np.random.default_rng(3)
    z = inside(polytope, rng, times(50_000))
    x, u = plant.x_eq + z, plant.u_eq - z @ of.backup.K.T
    assert ((x >= plant.x_min) & (x <= plant.x_max)).all() and ((u >= plant.u_min) & (u <= plant.u_max)).all()
    assert (np.abs(z) <= polytope.extent).all()
    assert largest_after(of, polytope, x, u, parameters(of, rng, len(x))).max() <= 1


@pytest.mark.parametrize("name", LOOPS)
def test_it_holds_every_level_set_that_is_kept(loops, name):
    polytope, backup = loops[name].polytope, loops[name].problem.backup
    assert polytope.largest_level(backup.P) >= backup.rho * (1 - 1e-7)
    assert 0 < polytope.left <= 1.1e-4


@pytest.mark.parametrize("name", LOOPS)
def test_a_little_beyond_it_nothing_is_kept(loops, name):
    """From beyond a facet some sequence of parameters and disturbances leads out of a bound: it is the largest."""
    of, polytope = loops[name].problem, loops[name].polytope
    plant, loop, F, K = of.plant, polytope.loop, polytope.F, of.backup.K
    z = inside(polytope, np.random.default_rng(5), 4000)
    z = z / polytope.gauge(z)[:, None] * 1.02
    out = np.zeros(len(z), dtype=bool)
    for _ in range(60):
        x, u = plant.x_eq + z, plant.u_eq - z @ K.T
        out |= ((x < plant.x_min) | (x > plant.x_max)).any(axis=1) | ((u < plant.u_min) | (u > plant.u_max)).any(axis=1)
        after = np.einsum("kij,nj->nki", loop.A, z) + loop.drift
        beyond = after @ F.T + np.abs(F) @ loop.push  # (n, points, facets)
        worst = beyond.reshape(len(z), -1).argmax(axis=1)
        point, facet = np.divmod(worst, len(F))
        z = after[np.arange(len(z)), point] + np.sign(F[facet]) * loop.push
    assert out.all()


@pytest.mark.parametrize("name", LOOPS)
def test_no_policy_leaves_it_under_the_guard(loops, name):
    of, polytope = loops[name].problem, loops[name].polytope
    held, plant, rng, count = guard(of, within="polytope"), of.plant, np.random.default_rng(7), 20_000
    assert np.array_equal(held.polytope.F, polytope.F)
    x, p = plant.x_eq + inside(polytope, rng, count), parameters(of, rng, count)
    anywhere = plant.u_min + rng.uniform(size=(count, plant.nu)) * (plant.u_max - plant.u_min)
    of_policy = of.policy(x, rng.normal(size=of.theta_dim) * 30)
    for u in (anywhere, np.where(rng.uniform(size=anywhere.shape) < 0.5, plant.u_min, plant.u_max), of_policy):
        applied, acted = held.apply(x, u)
        assert ((applied >= plant.u_min) & (applied <= plant.u_max)).all()
        assert largest_after(of, polytope, x, applied, p).max() <= 1
        assert not acted.all()
        assert largest_after(of, polytope, x[acted], u[acted], p[acted]).max(initial=0.0) > 1 or not acted.any()


def test_more_passes_than_in_the_level_set(loops):
    of = loops["R3, mass, pushed"].problem
    level, polytope = guard(of), guard(of, within="polytope")
    x = of.plant.x_eq + level.surface(np.random.default_rng(1).normal(size=(5000, 2)) * 0.3)
    x = x[level.holds(x - of.plant.x_eq)]
    u = np.linspace(-1, 1, len(x))[:, None] * of.plant.u_max
    of_level, of_polytope = (held.apply(x, u)[1] for held in (level, polytope))
    assert not (of_polytope & ~of_level).any() and of_polytope.sum() < 0.9 * of_level.sum()


def test_it_is_there_where_the_level_set_is_not_kept():
    of = kept(R3, LQR, parameters={"mass": (1.0, 3.0)})
    with pytest.raises(DomainError, match="proved to keep"):
        guard(of.problem)
    assert of.faults() == []


def test_a_state_without_bounds_is_bounded_by_the_command():
    bounds = [-np.inf, -1.5], [np.inf, 1.5], [-1.0], [1.0]
    plant = linear([[1.0, 0.1], [0.0, 1.0]], [[0.005], [0.1]], 0.1, bounds)
    of = kept(plant, sc.lqr(plant, [0.1, 0.1], [10.0]))
    assert np.isfinite(of.polytope.extent).all() and of.faults() == []


def test_what_has_none_is_refused(loops):
    def of(**declared):
        return backup_polytope(problem(R3, LQR, **declared))

    with pytest.raises(DomainError, match="keeps no polytope: in one step"):
        of(disturbance=[0.0, 0.3])
    with pytest.raises(DomainError, match="spectral radius of"):
        backup_polytope(loops["R3"].problem, decay=0.8)
    with pytest.raises(DomainError, match="decay"):
        backup_polytope(loops["R3"].problem, decay=1.0)
    plant = cart_pole()
    with pytest.raises(DomainError, match="is of a linear plant"):
        guard(problem(plant, sc.lqr(plant, [1.0, 1.0, 10.0, 1.0], [1.0])), within="polytope")
    with pytest.raises(DomainError, match="leave one of them out"):
        guard(loops["R3"].problem, within="polytope", lookahead=3)
    with pytest.raises(DomainError, match="within"):
        guard(loops["R3"].problem, within="box")


def test_lookahead_keeps_what_the_backup_brings_home(loops):
    of = loops["R3"].problem
    held, plant, rng, count = guard(of, lookahead=6), of.plant, np.random.default_rng(9), 40_000
    assert isinstance(held, LookaheadGuard)
    x = rng.uniform(plant.x_min, plant.x_max, (count, 2))
    x = x[held.holds(x - plant.x_eq)]
    assert (guard(of).holds(x - plant.x_eq)).mean() < 0.9  # it is larger than the level set
    applied, acted = held.apply(x, rng.uniform(plant.u_min, plant.u_max, (len(x), 1)))
    assert 0 < acted.mean() < 1
    following = np.array(plant.function.map(len(x))(x.T, applied.T, np.tile(plant.p_nominal, (len(x), 1)).T)).T
    assert held.holds(following - plant.x_eq).all()
    for _ in range(6):  # and the backup takes over from there
        assert ((following >= plant.x_min - 1e-8) & (following <= plant.x_max + 1e-8)).all()
        u = np.clip(plant.u_eq - (following - plant.x_eq) @ of.backup.K.T, plant.u_min, plant.u_max)
        following = np.array(plant.function.map(len(x))(following.T, u.T, np.tile(plant.p_nominal, (len(x), 1)).T)).T
    assert (of.backup.level(following, plant.x_eq) <= of.backup.rho).all()


def test_lookahead_of_a_nonlinear_plant_and_what_it_refuses(loops):
    plant = cart_pole()
    of = problem(plant, sc.lmi(plant))
    held, rng = guard(of, lookahead=4), np.random.default_rng(2)
    x = plant.x_eq + held.surface(rng.normal(size=(3000, 4)) * 0.4)
    x, theta = x[held.holds(x - plant.x_eq)], rng.normal(size=of.theta_dim)
    u = of.policy(x, theta)
    passes, level = ~held.apply(x, u)[1], ~guard(of).apply(x, u)[1]
    assert not (level & ~passes).any()
    runs = guarded_runs(of, theta, held, episodes=50)
    assert runs.escapes == 0 and "in 4 steps" in runs.sentence()
    with pytest.raises(DomainError, match="without ranges of parameters"):
        guard(loops["R3, mass"].problem, lookahead=3)


def test_the_adapter_keeps_the_set_that_is_asked_for(loops):
    of = loops["R3, mass"].problem
    adapter = sc.Adapter(of, sc.AdaptOptions(audit=False), guarded=True, within="polytope")
    assert adapter.guard.set_name == "the polytope of 66 facets"
    assert adapter.command(of.plant.x_eq).shape == (1,) and adapter.interventions == 0
    ahead = sc.Adapter(loops["R3"].problem, sc.AdaptOptions(audit=False), guarded=True, lookahead=5)
    assert isinstance(ahead.guard, LookaheadGuard)
    with pytest.raises(DomainError, match="lookahead is of the guard"):
        sc.Adapter(of, lookahead=5)
    with pytest.raises(DomainError, match="within is of the guard"):
        sc.Adapter(of, within="polytope")


def test_the_commands(tmp_path, run):
    changes = {"scenarios.parameters": {"mass": [0.8, 1.3]}, "scenarios.level": 0.4}
    folder = tmp_path / "run"
    assert run("adapt", write(tmp_path / "p.toml", changes), "--out", folder).status == 0
    outcome = run("certify", folder, "--kind", "polytope")
    assert outcome.status == 0 and "facets: no state of it leaves it" in outcome.out
    assert "re-checked (in ball arithmetic): no state of a polytope" in run("verify", folder).out
    outcome = run("guard", folder, "--episodes", 200, "--within", "polytope")
    assert outcome.status == 0 and "under the guard of the polytope of" in outcome.out
    assert json.loads((folder / "guard.json").read_text())["keeps"].startswith("the polytope")
    assert run("report", folder).status == 0 and run("verify", folder).status == 0
    stated = json.loads((folder / "polytope_proof.json").read_text())
    stated["facets"][0][0] *= 0.9
    (folder / "polytope_proof.json").write_text(json.dumps(stated))
    outcome = run("verify", folder)
    assert outcome.status == 1 and "polytope_proof.json: multipliers[" in outcome.err
    assert run("guard", folder, "--lookahead", 3).status == 2
    outcome = run("export", folder, "--out", tmp_path / "c", "--within", "polytope")
    assert outcome.status == 2 and "--within goes with --guard" in outcome.err
