"""Levels of backups that are searched for once in a session, though many tests read the same problem."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

import numpy as np

from scpo_ctrl.loop.level import LevelSearch


class KnownLevels:
    """`LevelSearch` that keeps its answers, by all that they depend on."""

    _known: ClassVar[dict[tuple, float | bool]] = {}

    def __init__(self, plant, K, P, towards, ranges, law=None):
        self._given = plant, K, P, towards, ranges, law
        arrays = (K, P, towards, ranges, plant.x_eq, plant.u_eq, plant.u_min, plant.u_max, plant.p_nominal)
        functions = [one.serialize() for one in (plant.function, law) if one is not None]
        self._key = (*functions, *plant.p_labels, *((np.shape(a), np.asarray(a).tobytes()) for a in arrays))

    @cached_property
    def _search(self) -> LevelSearch:
        return LevelSearch(*self._given)

    def passes(self, rho):
        """Whether no simulation leaves a level."""
        return self._asked("passes", rho)

    def largest(self, rho):
        """The first level found to pass."""
        return self._asked("largest", rho)

    def _asked(self, name, rho):
        key = (*self._key, name, rho)
        if key not in self._known:
            self._known[key] = getattr(self._search, name)(rho)
        return self._known[key]
