"""Plants as environments of Gymnasium, and environments in a plant's place."""

from __future__ import annotations

import sys
import warnings

import casadi as ca
import numpy as np
import pytest
from motors import RANGES, loaded_motor

import scpo_ctrl as sc
from scpo_ctrl.controllers import pid
from scpo_ctrl.errors import ClassError, DimensionError, DomainError, EvaluationError, MissingPackageError
from scpo_ctrl.interfaces import environment, simulator_from_environment
from scpo_ctrl.models import Plant, dc_motor_ode, double_integrator

gymnasium = pytest.importorskip("gymnasium")
classic = pytest.importorskip("gymnasium.envs.classic_control")


@pytest.fixture(scope="module")
def integrator():
    plant = double_integrator()
    backup = sc.lqr(plant, [0.1, 0.1], [10.0])
    batch = sc.scenarios(plant, backup, horizon=25, count=4, level=0.5, disturbance=[0.0, 0.01])
    return sc.Policy(plant, backup), batch


COSTS = {
    "diagonal": lambda plant: sc.Quadratic([1.0, 0.1], [0.05]),
    "full": lambda plant: sc.Quadratic([[1.0, 0.2], [0.2, 0.1]], [0.05], P_N=[3.0, 1.0], R_du=[0.4]),
    "expression": lambda plant: sc.Cost(plant.x[0] ** 2 + plant.u * plant.x[1] + plant.u**2, terminal=plant.x[1] ** 2),
}


@pytest.mark.parametrize("cost", COSTS)
def test_an_episode_under_a_policy_is_its_rollout_and_its_objective(integrator, cost):
    (policy, batch), objective = integrator, COSTS[cost](integrator[0].plant)
    problem = sc.ControlProblem(policy, batch, objective)
    theta, total = np.array([0.3, -0.2]), 0.0
    X, U = problem.trajectories(theta)
    env = environment(policy.plant, objective, batch)
    for s in range(batch.count):
        seen, info = env.reset(options={"scenario": s})
        for t in range(batch.horizon):
            np.testing.assert_allclose(seen, X[s, t], atol=1e-12)
            seen, reward, terminated, truncated, info = env.step(U[s, t])
            total += reward
            assert not terminated and truncated == (t == batch.horizon - 1) and info["scenario"] == s
    assert -total / (batch.count * batch.horizon) == pytest.approx(problem.objective(theta), rel=1e-9)


def checked(env):
    from gymnasium.utils.env_checker import check_env

    with warnings.catch_warnings(action="ignore"):  # an observation without bounds, and no specification
        check_env(env, skip_render_check=True)


@pytest.mark.parametrize("shows", ["state", "output"])
def test_gymnasiums_own_check_passes(integrator, shows):
    policy, batch = integrator
    plant = policy.plant if shows == "state" else policy.plant.replace(y=policy.plant.x[0] * 2)
    env = environment(plant, sc.Quadratic([1.0, 1.0], [1.0]), batch)
    checked(env)
    assert env.observation_space.shape == ((2,) if shows == "state" else (1,))
    np.testing.assert_array_equal(env.action_space.high, plant.u_max)
    if shows == "state":
        np.testing.assert_array_equal(env.observation_space.low, plant.x_min)
        steps = gymnasium.wrappers.TimeLimit(env, 3)
        steps.reset(seed=0)
        assert [steps.step([0.0])[3] for _ in range(3)] == [False, False, True]


def test_random_actions_keep_to_the_spaces_whatever_breaks(integrator):
    policy, batch = integrator
    env = environment(policy.plant, sc.Quadratic([1.0, 1.0], [1.0]), batch)
    env.action_space.seed(1)
    for episode in range(20):
        seen, _ = env.reset(seed=episode)
        over = False
        while not over:
            seen, _, terminated, truncated, info = env.step(1e3 * env.action_space.sample())
            over = terminated or truncated
            assert env.observation_space.contains(seen) and terminated == bool(info["broken"])


def test_a_broken_bound_ends_it_and_is_named(integrator):
    policy, batch = integrator
    env = environment(policy.plant, sc.Quadratic([1.0, 1.0], [1.0]), batch)
    env.reset(seed=0)
    for _ in range(batch.horizon):
        seen, _, terminated, truncated, info = env.step([5.0])  # beyond the bound: it is cut to 1
        assert info["saturated"] and (info["state"] - seen <= 0.2).all()
        if terminated:
            break
    assert terminated and not truncated and info["broken"] == ("velocity <= 1.5 m/s",)
    assert seen[1] == 1.5 < info["state"][1] and env.observation_space.contains(seen)
    with pytest.raises(DomainError, match="the episode is over"):
        env.step([0.0])


def test_parameters_and_seeds_choose_scenarios():
    plant = loaded_motor()
    policy = sc.controlled(plant, pid(plant, 0.8, 0.6), parameters=RANGES)
    batch = sc.scenarios(policy.plant, policy.backup, horizon=5, count=6, level=0.5, parameters=RANGES)
    alone = sc.Scenarios(batch.x0[:, :2], batch.p, batch.w[:, :, :2], 5)
    env = environment(plant, sc.Quadratic([1.0, 0.0], [0.0]), alone)
    chosen = [env.reset(seed=seed)[1]["scenario"] for seed in (1, 1, *range(20))]
    assert chosen[0] == chosen[1] and len(set(chosen)) > 3
    seen, _ = env.reset(options={"scenario": 2})
    np.testing.assert_allclose(seen, batch.p[2, 1] * batch.x0[2, 0])
    expected = np.array(plant.function(batch.x0[2, :2], [0.5], batch.p[2]))[:, 0]
    np.testing.assert_allclose(env.step([0.5])[4]["state"], expected)
    with pytest.raises(DimensionError, match="without what a controller remembers"):
        environment(plant, sc.Quadratic([1.0, 0.0], [0.0]), batch)


def test_what_an_environment_of_a_plant_refuses(integrator, monkeypatch):
    policy, batch = integrator
    cost = sc.Quadratic([1.0, 1.0], [1.0])
    env = environment(policy.plant, cost, batch)
    with pytest.raises(DomainError, match="call reset before step"):
        env.step([0.0])
    for options, says in (
        ({"scenario": 9}, "scenario is 9"),
        ({"scene": 1}, "unknown key 'scene'"),
        (3, "options is 3"),
    ):
        with pytest.raises(DomainError, match=says):
            env.reset(options=options)
    env.reset()
    with pytest.raises(DimensionError, match="action"):
        env.step([0.0, 1.0])
    with pytest.raises(DomainError, match="action"):
        env.step([np.nan])
    with pytest.raises(DomainError, match="continuous"):
        environment(dc_motor_ode(), cost, batch)
    with pytest.raises(ClassError, match="scenarios is"):
        environment(policy.plant, cost, batch.x0)
    with pytest.raises(DimensionError, match="Q"):
        environment(policy.plant, sc.Quadratic([1.0], [1.0]), batch)
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(MissingPackageError, match="pip install gymnasium"):
        environment(policy.plant, cost, batch)


# In a plant's place


def swinging(**bounds) -> Plant:
    """Return the model of Gymnasium's pendulum (θ from upright, half-implicit steps), about upright."""
    x, u = ca.SX.sym("x", 2), ca.SX.sym("u")
    rate = x[1] + 0.05 * (3 * 10.0 / 2 * ca.sin(x[0]) + 3.0 * u)
    limits = {"x_min": [-1, -8], "x_max": [1, 8], "u_min": [-2], "u_max": [2]} | bounds
    return Plant(name="pendulum", x=x, u=u, f=ca.vertcat(x[0] + 0.05 * rate, rate), dt=0.05, **limits)


@pytest.fixture
def pendulum():
    return gymnasium.make("Pendulum-v1", g=10.0)


def test_an_environment_steps_as_its_equations(pendulum):
    plant, rng = swinging(), np.random.default_rng(0)
    step = simulator_from_environment(pendulum, plant)
    x, u = rng.uniform(-0.9, 0.9, (7, 2)), rng.uniform(-2, 2, (7, 1))
    found = step(x, u, np.zeros((7, 0)))
    np.testing.assert_allclose(found, np.array(plant.function.map(7)(x.T, u.T, ca.DM(0, 7))).T, atol=1e-12)


def test_adaptation_with_an_environment_in_the_loop_is_that_on_its_equations(pendulum):
    plant = swinging()
    backup = sc.lqr(plant, [1.0, 0.1], [0.5])
    batch = sc.scenarios(plant, backup, horizon=10, count=3, level=0.5)
    options = sc.AdaptOptions(steps=2, method="gradient", audit=False, gradients="sampled")  # as of a simulator
    policy = sc.Policy(plant, backup)
    step = simulator_from_environment(pendulum, plant)
    box, known = (
        sc.adapt(sc.ControlProblem(policy, batch, sc.Quadratic([1.0, 0.1], [0.01]), simulator=of), options)
        for of in (step, None)
    )
    assert box.is_safe() and len(box.committed) > 1
    np.testing.assert_allclose(box.theta, known.theta, rtol=1e-4, atol=1e-6)


def test_parameters_and_a_state_of_ones_own(pendulum):
    x, u, p = ca.SX.sym("x", 2), ca.SX.sym("u"), ca.SX.sym("mass")
    bounds = {"x_min": [-1, -8], "x_max": [1, 8], "u_min": [-2], "u_max": [2]}
    plant = Plant(name="p", x=x, u=u, p=p, p_nominal=[1.0], f=x, dt=0.05, **bounds)

    def put(inner, x, p):
        inner.m, inner.state = p[0], x.copy()

    step = simulator_from_environment(pendulum, plant, set_state=put, get_state=lambda inner: inner.state)
    one, other = (step(np.array([[0.1, 0.0]]), np.array([[1.0]]), np.array([[m]])) for m in (1.0, 2.0))
    assert one[0, 1] - other[0, 1] == pytest.approx(0.05 * 3 * (1 - 1 / 2))
    with pytest.raises(DomainError, match="has the parameters p0; give set_state"):
        simulator_from_environment(pendulum, plant)


class Odd(gymnasium.Env):
    """A state that is what it is told to be."""

    def __init__(self, shape=(1,), dim=2, noise=0.0, kept=True, breaks=False):
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, shape)
        self.observation_space = gymnasium.spaces.Box(-9.0, 9.0, (dim,))
        self.values, self.noise, self.kept, self.breaks = np.zeros(dim), noise, kept, breaks

    @property
    def state(self):
        return self.values

    @state.setter
    def state(self, value):
        if self.kept:
            self.values = np.resize(value, self.values.shape)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.values = np.ones_like(self.values)
        return self.values, {}

    def step(self, action):
        if self.breaks:
            raise RuntimeError("engine lost")
        self.values = self.values + self.noise * self.np_random.normal(size=self.values.shape)
        return self.values, 0.0, False, False, {}


def test_environments_that_are_no_simulators():
    plant = swinging()
    cases = [
        (gymnasium.make("CartPole-v1"), DomainError, "actions are Discrete.2., expected a Box"),
        (Odd(shape=(2,)), DimensionError, r"actions have shape \(2,\)"),
        (Odd(dim=3), DimensionError, r"state has shape \(3,\)"),
        (Odd(noise=1.0), DomainError, "two steps of the environment from the same state"),
        (Odd(kept=False), DomainError, "correct set_state"),
        (Odd(breaks=True), EvaluationError, "raised RuntimeError: engine lost"),
        ("Pendulum-v1", ClassError, "expected an environment of Gymnasium"),
    ]
    for env, error, says in cases:
        with pytest.raises(error, match=says):
            simulator_from_environment(env, plant)
    simulator_from_environment(Odd(), plant)
    with pytest.raises(DomainError, match="has no attribute state"):
        simulator_from_environment(Stateless(), plant)


class Stateless(gymnasium.Env):
    """An environment that hides its state."""

    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))
    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,))
