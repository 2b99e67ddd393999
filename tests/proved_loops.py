"""Small loops with a proved level set, and the file of the proof: to be checked, and to be tampered with."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from functools import cached_property

import casadi as ca
import numpy as np

import scpo_ctrl as sc
from scpo_ctrl.controllers import pid
from scpo_ctrl.invariance.jacobians import LevelSet, jacobians
from scpo_ctrl.invariance.level_set import halved, reached_ranges
from scpo_ctrl.loop.level import parameter_ranges
from scpo_ctrl.models import dc_motor, double_integrator
from scpo_ctrl.proof.backup_set import backup_law, prove_backup_set
from scpo_ctrl.verification.proof_file import proof_faults


@dataclass
class StatedLaw:
    """What the checker is told of a loop: its plant, and K, P and ρ of its backup."""

    plant: sc.models.Plant
    K: np.ndarray
    P: np.ndarray
    rho: float
    command: ca.Function | None = None  # of a controller

    def backup(self, x, p):
        if self.command is not None:
            return self.command(x, p)
        return ca.DM(self.plant.u_eq) - ca.DM(self.K) @ (x - ca.DM(self.plant.x_eq))


@dataclass
class Proved:
    """A loop, section [scenarios] of its problem, and what its file says."""

    policy: sc.Policy | sc.ControllerPolicy
    table: dict
    stated: dict

    @property
    def law(self) -> StatedLaw:
        backup = self.policy.backup
        command = self.policy.at_start if isinstance(self.policy, sc.ControllerPolicy) else None
        return StatedLaw(self.policy.plant, backup.K, backup.P, backup.rho, command)

    @property
    def size(self) -> float:
        return float(np.sqrt(self.stated["level"]))

    def faults(self, stated=None, law=None, table=None) -> list[str]:
        text = json.dumps(self.stated if stated is None else stated)
        return proof_faults(text, law or self.law, table or self.table)[0]

    @property
    def ranges(self) -> np.ndarray:
        return parameter_ranges(self.policy.plant, self.table.get("parameters"))

    @cached_property
    def jacobians(self):
        """Return what the prover bounds."""
        level_set = LevelSet.of(self.policy.backup.P, self.policy.backup.rho)
        return jacobians(backup_law(self.policy), level_set, reached_ranges(self.policy.plant, self.ranges))

    @cached_property
    def boxes(self):
        """Return low and high of the boxes of each generation, as the prover has them."""
        loop = self.jacobians
        reach = loop.reach * np.where(loop.of_set, self.size, 1.0) * (1 + 1e-9)
        low, high = (loop.middle - reach)[None], (loop.middle + reach)[None]
        found = []
        for decided in self.stated["splits"]:
            found.append((low, high))
            low, high = halved(low, high, np.array(decided))
        return found


def pruned(splits: list[list[int]], generation: int, box: int, into: int) -> list[list[int]]:
    """Return a tree with one box decided otherwise, and none of its descendants."""
    splits, dropped = copy.deepcopy(splits), {box}
    for number in range(generation, len(splits) - 1):
        parents = [i for i, which in enumerate(splits[number]) if which >= 0]
        below = {place for place, i in enumerate(parents) if i in dropped}
        dropped = below | {place + len(parents) for place in below}
        splits[number + 1] = [-3 if i in dropped else which for i, which in enumerate(splits[number + 1])]
    splits[generation][box] = into
    kept = [[which for which in one if which != -3] for one in splits]
    return [one for one in kept if one]


def proved(make, parameters=None, disturbance=None) -> Proved:
    policy = make()
    table = ({"parameters": parameters} if parameters else {}) | ({"disturbance": disturbance} if disturbance else {})
    half = None if disturbance is None else np.array(disturbance)
    found = prove_backup_set(policy, parameter_ranges(policy.plant, parameters), half)
    return Proved(policy, table, json.loads(json.dumps(found.summary(policy.plant))))


def _plant(name: str, f, x, u, p=None, **more) -> sc.models.Plant:
    bounds = {"x_min": [-1.5] * x.numel(), "x_max": [1.5] * x.numel(), "u_min": [-3.0], "u_max": [3.0]}
    own = {"p": p, "p_nominal": [1.0] * p.numel()} if p is not None else {}
    return sc.models.Plant(name=name, x=x, u=u, f=f, dt=0.1, **bounds, **own, **more)


def _lqr(plant, ranges=None) -> sc.Policy:
    return sc.Policy(plant, sc.lqr(plant, [1.0] * plant.nx, [1.0], parameters=None if plant.is_linear else ranges))


def pendulum() -> sc.Policy:
    """Return an upright pendulum whose gravity is a parameter."""
    x, u, p = ca.SX.sym("x", 2), ca.SX.sym("u"), ca.SX.sym("p", 1)
    f = ca.vertcat(x[0] + 0.1 * x[1], x[1] + 0.1 * (2 * p * ca.sin(x[0]) - 0.3 * x[1] - 0.1 * x[1] ** 3 + u))
    return _lqr(_plant("pendulum", f, x, u, p, p_labels=["gravity"]), {"gravity": (0.9, 1.1)})


def pushed() -> sc.Policy:
    """Return a spring that hardens, under a load that moves its equilibrium."""
    x, u, p = ca.SX.sym("x", 2), ca.SX.sym("u"), ca.SX.sym("p", 1)
    f = ca.vertcat(x[0] + 0.1 * x[1], 0.9 * x[1] + 0.1 * (u - x[0] - 0.6 * x[0] ** 3 * ca.cos(x[1]) + (p - 1)))
    return _lqr(_plant("spring", f, x, u, p, p_labels=["load"]), {"load": (0.999, 1.001)})


def tanks() -> sc.Policy:
    """Return two tanks one above the other: roots, and inputs that nothing of the Jacobian depends on."""
    x, u = ca.SX.sym("x", 2), ca.SX.sym("u")
    out = [3 * ca.sqrt(1.6 + x[i]) - 3 * np.sqrt(1.6) for i in range(2)]
    return _lqr(_plant("tanks", ca.vertcat(x[0] + 0.1 * (u - out[0]), x[1] + 0.1 * (out[0] - out[1])), x, u))


def wave() -> sc.Policy:
    """Return a spring of which the Jacobian is too long on the level that holds, and its mean along rays is not."""
    x, u = ca.SX.sym("x", 2), ca.SX.sym("u")
    f = ca.vertcat(x[0] + 0.1 * x[1], 0.9 * x[1] + 0.1 * (u + 0.9 * x[0] ** 3))
    return _lqr(_plant("wave", f, x, u))


def sine_law() -> sc.ControllerPolicy:
    """Return the double integrator under a law that is no straight line."""
    x, theta = ca.SX.sym("x", 2), ca.SX.sym("theta", 2)
    command = -theta[0] * ca.sin(x[0]) - theta[1] * x[1]
    law = sc.Controller(name="sine", theta=theta, theta_initial=[0.1, 0.5], y=x, command=command)
    return sc.controlled(double_integrator(), law)


def motor() -> sc.ControllerPolicy:
    return sc.controlled(dc_motor(), pid(dc_motor(), 1.0, 2.0, 0.02, filter_time=2e-3))


def integrator() -> sc.Policy:
    return sc.Policy(double_integrator(), sc.lqr(double_integrator(), [0.1, 0.1], [10.0]))


LOOPS = {
    "integrator": (integrator, {"mass": [0.8, 1.3]}, [1e-3, 1e-3]),
    "pendulum": (pendulum, {"gravity": [0.9, 1.1]}, [1e-4, 1e-4]),
    "spring": (pushed, {"load": [0.999, 1.001]}, None),
    "tanks": (tanks, None, [1e-4, 0.0]),
    "wave": (wave, None, None),
    "sine law": (sine_law, {"mass": [0.95, 1.05]}, None),
    "motor": (motor, None, None),
}
