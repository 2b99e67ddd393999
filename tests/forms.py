"""The suite's two forms: `make test`, within minutes, and `make long`, with all cases of the large tables.

So have `make cuts`, `make fuzz` and `make eva`, of the tests that they run.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest

LONG = any(os.environ.get(f"SCPO_{form}") for form in ("LONG", "CUTS", "FUZZ", "EVA"))
MANY, VERY_MANY = 3, 6  # cases of a test


def times(count: int, part: int = 5) -> int:
    """Return how often to repeat something at random: in the short form that part of it."""
    return count if LONG else count // part


def left_out(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return what the short form leaves out: tests marked `long`, and most cases of tables.

    Of tests marked `table(n)` one case in n stays, of others that have many one in two, of very many one in three.

    It is the first of the first n, the second of the next n and so on: where two tables are crossed each case of one
    meets several of the other.
    """
    if LONG:
        return []
    cases = Counter(_name(item) for item in items)
    seen: Counter[str] = Counter()
    found = []
    for item in items:
        mark, name = item.get_closest_marker("table"), _name(item)
        if item.get_closest_marker("long") is not None:
            found.append(item)
            continue
        few = 1 if cases[name] < MANY else 2 if cases[name] < VERY_MANY else 3
        every = few if mark is None else mark.args[0]
        k = seen[name]
        seen[name] += 1
        if k % every != k // every % every:
            found.append(item)
    return found


def _name(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]
