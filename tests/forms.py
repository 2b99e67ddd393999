"""The suite's two forms: `make test`, within minutes, and `make long`, with all cases of the large tables."""

from __future__ import annotations

import os

import pytest

LONG = bool(os.environ.get("SCPO_LONG"))


def times(count: int, part: int = 5) -> int:
    """Return how often to repeat something at random: in the short form that part of it."""
    return count if LONG else count // part


def left_out(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return what the short form leaves out: of the cases of a test marked `table(n)` all but one of n in a row.

    It is the first of the first n, the second of the next n and so on: where two tables are crossed each case of one
    meets several of the other.
    """
    if LONG:
        return []
    seen: dict[str, int] = {}
    found = []
    for item in items:
        mark = item.get_closest_marker("table")
        if mark is not None:
            name, every = item.nodeid.partition("[")[0], mark.args[0]
            k = seen[name] = seen.get(name, -1) + 1
            if k % every != k // every % every:
                found.append(item)
    return found
