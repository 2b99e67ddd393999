"""Signals, sensors and step responses with arguments that are right, for `fuzz_tables`."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

import scpo_ctrl as sc
from scpo_ctrl import controllers, models
from scpo_ctrl.models import signals

Call = tuple[Callable[..., Any], dict[str, Any]]


def of_signals(it: SimpleNamespace) -> dict[str, Call]:
    """Return signals, plants that they are in, and what is asked of loops that follow them."""
    shows = it.plant.replace(y=it.plant.x[0])
    law = controllers.pid(shows, 0.3, 0.01, 0.8, filter_time=0.1, filtered=(-2.0, 2.0))
    label, path = law.r_labels[0], np.linspace(0.0, 0.3, 5)
    follows = sc.controlled(shows, law, reference={label: signals.step(0.0, (-0.2, 0.2), at=(0.1, 0.2))})
    own = {"policy": follows, "outputs": list(shows.measured_labels)}
    return {
        "constant": (signals.constant, {"value": (1.0, 2.0)}),
        "step": (signals.step, {"before": 0.0, "after": (0.1, 0.2), "at": 0.3}),
        "ramp": (signals.ramp, {"before": 0.0, "after": (0.1, 0.2), "at": 0.3, "over": [0.1, 0.2]}),
        "sine": (signals.sine, {"mean": 0.0, "amplitude": 0.1, "frequency": (0.5, 1.0), "phase": 0.3}),
        "noise": (signals.noise, {"half_width": 0.1, "seed": (0.0, 1.0)}),
        "sequence": (signals.sequence, {"values": path, "offset": (0.0, 0.1), "scale": 2.0}),
        "from_table": (signals.from_table, {"table": {"kind": "step", "before": 0.0, "after": [0.1, 0.2], "at": 0.3}}),
        "with_signals": (models.with_signals, {"plant": it.plant, "signals": {"mass": signals.step(1.0, 1.1, 0.2)}}),
        "with_nominal": (models.with_nominal, {"plant": it.plant, "values": {"mass": 1.3}}),
        "sensor_noise": (models.sensor_noise, {"plant": it.plant, "half_width": [0.01, 0.0]}),
        "quantise": (models.quantise, {"plant": it.plant, "step": 0.01}),
        "controlled, signals": (
            sc.controlled,
            {"plant": shows, "controller": law, "reference": {label: signals.sine(0.0, 0.1, 0.5)}, "rho": 0.01},
        ),
        "tracking": (sc.tracking, own | {"Q": [1.0], "R": [0.1], "R_du": [0.1], "kind": "itae"}),
        "overshoot": (sc.overshoot, own | {"reference": label, "most": 0.1}),
        "settling": (sc.settling, own | {"reference": label, "band": 0.1, "after": 0.2}),
        "scenarios, signals": (
            sc.scenarios,
            {"plant": follows.plant, "backup": follows.backup, "horizon": 4, "count": 2, "level": 0.1, "seed": 1},
        ),
    }
