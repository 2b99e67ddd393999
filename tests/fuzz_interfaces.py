"""Ways to other tools with arguments that are right, for `fuzz_tables`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import scpo_ctrl as sc
from scpo_ctrl import interfaces

Call = tuple[Callable[..., Any], dict[str, Any]]


def of_interfaces(it: SimpleNamespace) -> dict[str, Call]:
    """Return ways to other tools, likewise; those to Gymnasium where it is installed."""
    policy = {"policy": it.policy, "theta": it.theta, "reference": False}
    found: dict[str, Call] = {
        "closed_loop": (sc.closed_loop, policy | {"disturbance": True}),
        "closed_loop, controlled": (
            sc.closed_loop,
            {"policy": it.controlled, "theta": [0.1, 0.2], "disturbance": True},
        ),
        "controller_system": (sc.controller_system, policy),
        "simulator_from_fmu": (
            interfaces.simulator_from_fmu,
            {"path": "nowhere.fmu", "plant": it.plant, "names": {"position": "s"}, "substeps": 2},
        ),
    }
    if find_spec("gymnasium") is not None:
        env = interfaces.environment(it.plant, it.objective, it.batch)
        env.reset(seed=0)
        box = {"env": env, "plant": it.plant, "set_state": lambda *_: None, "get_state": lambda _: [0.0, 0.0]}
        found["environment"] = (
            interfaces.environment,
            {"plant": it.plant, "objective": it.objective, "scenarios": it.batch},
        )
        found["environment.step"] = (env.step, {"action": [0.5]})
        found["environment.reset"] = (env.reset, {"options": {"scenario": 1}})
        found["simulator_from_environment"] = (interfaces.simulator_from_environment, box)
    return found
