"""Linear loops with the largest polytope that their backup keeps, and the file of its proof."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from proved_loops import StatedLaw

import scpo_ctrl as sc
from scpo_ctrl.invariance.polytope import Polytope
from scpo_ctrl.models import dc_motor, double_integrator
from scpo_ctrl.proof.polytope_set import backup_polytope
from scpo_ctrl.verification.polytope_file import polytope_faults


@dataclass
class Kept:
    """A problem, its polytope, and what the file says."""

    problem: sc.ControlProblem
    polytope: Polytope
    table: dict

    @property
    def stated(self) -> dict:
        return json.loads(json.dumps(self.polytope.summary(self.problem.plant)))

    def faults(self, stated=None, law=None, table=None) -> list[str]:
        backup = self.problem.backup
        law = law or StatedLaw(self.problem.plant, backup.K, backup.P, backup.rho)
        return polytope_faults(json.dumps(stated or self.stated), law, table or self.table)[0]


def problem(plant, backup, **declared) -> sc.ControlProblem:
    policy = sc.Policy(plant, backup, hidden=(4,))
    batch = sc.scenarios(plant, backup, count=3, level=0.5, horizon=20, seed=1, **declared)
    return sc.ControlProblem(policy, batch, sc.Quadratic(np.ones(plant.nx), np.ones(plant.nu)), sc.MetricOptions())


def kept(plant, backup, **declared) -> Kept:
    of = problem(plant, backup, **declared)
    table = {
        key: {k: list(v) for k, v in value.items()} if key == "parameters" else value for key, value in declared.items()
    }
    return Kept(of, backup_polytope(of), table)


def motor() -> Kept:
    """Return a plant whose next state bends with its parameters, and rests off the middle of its bounds."""
    plant = dc_motor()
    ranges = {"inertia": tuple(np.multiply(plant.p_nominal[0], (0.8, 1.2))), "resistance": (3.6, 4.4)}
    return kept(plant, sc.lqr(plant, [1.0, 1e-3], [0.1]), parameters=ranges)


R3 = double_integrator()
LQR = sc.lqr(R3, [0.1, 0.1], [10.0])
LOOPS = {
    "R3": lambda: kept(R3, LQR),
    "R3, mass": lambda: kept(R3, LQR, parameters={"mass": (0.5, 1.5)}),
    "R3, mass, pushed": lambda: kept(R3, LQR, parameters={"mass": (0.8, 1.3)}, disturbance=[1e-3, 0.01]),
    "DC motor": motor,
}
