"""The suite's two forms: `make test`, within minutes, and `make long`, with all cases of the large tables."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")
LONG = bool(os.environ.get("SCPO_LONG"))


def some(cases: Iterable[T], every: int = 2) -> list[T]:
    """Return all cases in the long form, else one of so many."""
    return list(cases)[:: 1 if LONG else every]


def times(count: int, part: int = 5) -> int:
    """Return how often to repeat something at random: in the short form that part of it."""
    return count if LONG else count // part
