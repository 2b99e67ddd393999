"""A policy that is adapted on the model of a cart-pole, measured on MuJoCo: another cart, with friction.

The model is `cart_pole`, one Runge-Kutta step a sample. The truth is MuJoCo's: a heavier cart and pole, damped joints,
a motor with inertia, twenty steps a sample. The run never sees it.

    python examples/mujoco_pendulum.py                                     (pip install mujoco)
"""

from typing import Any

import numpy as np

import scpo_ctrl as sc
from scpo_ctrl.models import cart_pole

# --- Truth -----------------------------------------------------------------------------------------------------------

WORLD = """<mujoco>
  <option timestep="{step}" gravity="0 0 -9.8" integrator="RK4"/>
  <worldbody><body><inertial pos="0 0 0" mass="{cart}" diaginertia="1 1 1"/>
    <joint name="slide" type="slide" axis="1 0 0" damping="{slide_damping}" armature="{armature}"/>
    <body><inertial pos="0 0 0.5" mass="{pole}" diaginertia="{inertia} {inertia} 1e-5"/>
      <joint type="hinge" axis="0 1 0" damping="{hinge_damping}"/></body></body></worldbody>
  <actuator><motor joint="slide"/></actuator>
</mujoco>"""
# kg, kg, N s/m, kg, N m s/rad
TRUTH = {"cart": 1.1, "pole": 0.12, "slide_damping": 0.1, "armature": 0.03, "hinge_damping": 0.002}
SUBSTEPS, STEPS = 20, 60


def episode(mujoco: Any, world: Any, x0: np.ndarray, policy: sc.Policy, theta: np.ndarray) -> tuple[Any, Any]:
    """Return states (N + 1, 4) and commands before saturation (N, 1) on MuJoCo."""
    data, X, U = mujoco.MjData(world), [x0], []
    data.qpos[:], data.qvel[:] = x0[[0, 2]], x0[[1, 3]]
    for _ in range(STEPS):
        U.append(policy.function(X[-1], theta)[1].full()[:, 0])
        data.ctrl[:] = np.clip(U[-1], policy.plant.u_min, policy.plant.u_max)
        mujoco.mj_step(world, data, nstep=SUBSTEPS)
        X.append(np.array([data.qpos[0], data.qvel[0], data.qpos[1], data.qvel[1]]))
    return np.array(X), np.array(U)


def measured(mujoco: Any, policy: sc.Policy, theta: np.ndarray, starts: np.ndarray, Q: Any, R: Any) -> tuple[Any, ...]:
    """Return mean cost, and how many episodes break a bound of the state, and saturate, on MuJoCo."""
    plant, costs, broken, cut = policy.plant, [], 0, 0
    text = WORLD.format(step=plant.dt / SUBSTEPS, inertia=TRUTH["pole"] / 12, **TRUTH)  # of a uniform rod of 1 m
    world = mujoco.MjModel.from_xml_string(text)
    for x0 in starts:
        X, U = episode(mujoco, world, x0, policy, theta)
        applied = np.clip(U, plant.u_min, plant.u_max)
        broken, cut = broken + (np.abs(X) > plant.x_max).any(), cut + (applied != U).any()
        costs.append(((X[:-1] ** 2 @ Q).sum() + (applied**2 @ R).sum()) / STEPS)
    return float(np.mean(costs)), int(broken), int(cut)


def main(steps: int = 60, episodes: int = 300) -> list[tuple[Any, ...]]:
    """Adapt on the model, and print what episodes on MuJoCo cost and break, before and after."""
    try:
        import mujoco
    except ImportError:
        print("skipped: the package mujoco is not installed (pip install mujoco)")
        return []
    plant, ranges = cart_pole(), {"pole_mass": (0.05, 0.15), "cart_mass": (0.8, 1.3)}
    backup = sc.lqr(plant, [0.1, 0.1, 1.0, 1.0], [1.0], parameters=ranges)
    drawn: dict[str, Any] = {"horizon": STEPS, "level": 0.5, "parameters": ranges}
    policy, Q, R = sc.Policy(plant, backup), np.array([100.0, 1.0, 1.0, 0.1]), np.array([0.01])
    problem = sc.ControlProblem(policy, sc.scenarios(plant, backup, count=48, **drawn), sc.Quadratic(Q, R))
    result = sc.adapt(problem, sc.AdaptOptions(steps=steps, audit_rollouts=20_000))
    print(f"model    cost {result.objective_initial:.4g} -> {result.objective_final:.4g}")
    starts = sc.scenarios(plant, backup, count=episodes, seed=12345, **drawn).x0
    rows = [measured(mujoco, policy, theta, starts, Q, R) for theta in (result.theta_initial, result.theta)]
    for name, (cost, broken, cut) in zip(("before", "after"), rows, strict=True):
        print(f"MuJoCo   {name}: cost {cost:.4g}; {broken} of {episodes} break a state bound, {cut} saturate")
    return rows


if __name__ == "__main__":
    main()
