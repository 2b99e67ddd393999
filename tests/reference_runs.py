"""Short runs whose every bit is written down, so that a change that should not change numbers is seen not to.

Gradients are sampled, as the paper has them, but where a name says that they are exact, or chosen as for any user.

``python tests/reference_runs.py`` writes them anew: do so, and say so in the commit, where numbers change on purpose.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import json
from pathlib import Path

import casadi as ca
import numpy as np
from problems import double_integrator_problem, scalar_problem, two_input_problem

import scpo_ctrl as sc

SAMPLED: dict = {"gradients": "sampled"}
FILE = Path(__file__).parent / "data" / "reference_runs.json"


def shipped(name: str, **options) -> tuple[sc.Problem, sc.AdaptOptions]:
    """Return a problem that ships with the package."""
    problem = sc.load_problem(str(importlib.resources.files("scpo_ctrl") / "data" / f"{name}.toml"))
    return problem, sc.AdaptOptions(**SAMPLED | {"steps": 4, "audit": False} | options)


def regression() -> sc.Problem:
    """Return R1 in small: a network is held between two bounds while its data pull it out."""
    theta, x = ca.SX.sym("theta", 9), ca.DM(np.linspace(-3, 3, 21)).T
    y = theta[6:9].T @ ca.tanh(theta[:3] @ x + ca.repmat(theta[3:6], 1, 21))
    start = np.concatenate([np.linspace(-1, 1, 3), np.linspace(0.5, -0.5, 3), np.zeros(3)])
    loss = ca.sumsqr(y - 3 * ca.sin(ca.DM(np.linspace(-3, 3, 21)).T)) / 21
    metrics = ca.vertcat(ca.vec(y) - 1, -ca.vec(y) - 1.2)
    return sc.FunctionProblem.from_casadi(theta, loss, metrics, start)


def runs() -> dict[str, tuple[sc.Problem, sc.AdaptOptions]]:
    """Return the runs by name: problems, and options of few steps."""
    few = SAMPLED | {"steps": 4, "audit": False}
    return {
        "R3, newton": shipped("double_integrator"),
        "R3, gradient": shipped("double_integrator", method="gradient"),
        "R3, lbfgs in a subspace": shipped("double_integrator", method="lbfgs", directions=12),
        "R3, exact gauss_newton": shipped("double_integrator", method="gauss_newton", gradients="exact"),
        "R3, gradients chosen": shipped("double_integrator", gradients="auto"),
        "R4": shipped("cart_pole"),
        "R5": shipped("planar_quadrotor"),
        "certified": (
            double_integrator_problem(stability=False),
            sc.AdaptOptions(mode="certified", method="gradient", radius=0.02, **few),
        ),
        "linear policy, adam": (scalar_problem(), sc.AdaptOptions(method="adam", **few)),
        "two inputs, momentum": (two_input_problem(hidden=(3,)), sc.AdaptOptions(method="momentum", **few)),
        "R3, audited": (
            shipped("double_integrator")[0],
            sc.AdaptOptions(steps=8, guards=16, audit_rollouts=1000, **SAMPLED),
        ),
        "regression": (regression(), sc.AdaptOptions(**few)),
    }


def row(problem: sc.Problem, options: sc.AdaptOptions) -> dict[str, float | str]:
    """Run, and return what is compared: numbers, and a digest of all their bits."""
    result = sc.adapt(problem, options)
    bits = result.theta.tobytes() + problem.metrics(result.theta).tobytes()
    return {
        "objective": float(result.objective_final),
        "theta": float(np.linalg.norm(result.theta - problem.theta_initial)),
        "rollouts": int(result.rollouts),
        "sha256": hashlib.sha256(bits).hexdigest(),
    }


def arithmetic() -> str:
    """Return a digest of what this computer's libraries make of products and functions, which differ in last bits."""
    rng = np.random.default_rng(0)
    A, B = rng.normal(size=(2, 48, 48))
    spd = A @ A.T + np.eye(48)
    parts = [A @ B, np.tanh(A), np.exp(B), np.linalg.cholesky(spd), np.linalg.eigh(spd)[1], np.linalg.solve(spd, B)]
    versions = f"{np.__version__} {ca.__version__}"
    return hashlib.sha256(b"".join(part.tobytes() for part in parts) + versions.encode()).hexdigest()


if __name__ == "__main__":
    table = {"arithmetic": arithmetic()} | {name: row(*run) for name, run in runs().items()}
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
