"""A sweep file: which points a campaign has, each with changes of one problem file; counted before any is made."""

import copy
import datetime
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scpo_ctrl.campaign.draws import KINDS, Draw, read_draw
from scpo_ctrl.choices import MOST_SEED
from scpo_ctrl.errors import ProblemFileError
from scpo_ctrl.messages import shown
from scpo_ctrl.record.config import SECTIONS, located
from scpo_ctrl.record.tables import Table, beside, check_keys, read_tables
from scpo_ctrl.validate import as_count

PARTS = ("grid", "list", "random")
SAMPLERS = ("random", "optuna")
_OF_OBJECTIVE = ("objective", "plant", "scenarios")  # sections
_ROUND = 8  # points that Optuna is asked for at once
Changes = dict[str, Any]  # value by the dotted key of a problem file


@dataclass(frozen=True)
class Sweep:
    """The points of a campaign: each combination of a point of the grid, a row of the list and a random draw."""

    problem: Path
    tables: dict[str, Any]  # of the sweep file, as it is
    grid: dict[str, list[Any]]
    rows: dict[str, list[Any]]  # side by side
    draws: dict[str, Draw]
    draw_count: int
    seed: int
    sampler: str = SAMPLERS[0]
    round: int = _ROUND

    @property
    def drawn(self) -> int:
        """Number of points that do not depend on what comes of others."""
        return self.count if self.sampler == SAMPLERS[0] else min(self.count, self.round)

    @property
    def keys(self) -> tuple[str, ...]:
        """What is changed, in the order of the file."""
        return (*self.grid, *self.rows, *self.draws)

    @property
    def weighed(self) -> tuple[str, ...]:
        """Keys that change what the objective is of: between their values it does not compare."""
        return tuple(key for key in self.keys if key.partition(".")[0] in _OF_OBJECTIVE)

    @property
    def row_count(self) -> int:
        """Rows of the list; 1 without one."""
        return len(next(iter(self.rows.values()), [None]))

    @property
    def count(self) -> int:
        """Number of points, duplicates included."""
        return math.prod(map(len, self.grid.values())) * self.row_count * self.draw_count

    def changes(self, k: int) -> Changes:
        """Return what a point changes.

        Parameters
        ----------
        k : int
            Number of the point, from 0; draws change fastest, then rows, then the grid's last key.

        Returns
        -------
        dict
        """
        k, draw = divmod(k, self.draw_count)
        k, row = divmod(k, self.row_count)
        of_grid: Changes = {}
        for key, values in reversed(self.grid.items()):
            k, place = divmod(k, len(values))
            of_grid[key] = values[place]
        return (
            {key: of_grid[key] for key in self.grid}
            | {key: values[row] for key, values in self.rows.items()}
            | {key: one.value(key, self.seed, draw) for key, one in self.draws.items()}
        )


def read_sweep(path: Path, *, limit: int) -> Sweep:
    """Read a sweep file.

    Parameters
    ----------
    path : pathlib.Path
    limit : int
        Largest number of points.

    Returns
    -------
    Sweep

    Raises
    ------
    ProblemFileError
        If it cannot be read, has an unknown or wrong key, or more points than the limit.
    """
    tables = read_tables(path)
    with located(f"{path}: "):
        check_keys(tables, ("problem",), PARTS)
        parts = {part: tables.get(part, {}) for part in PARTS}
        for part, table in parts.items():
            if not isinstance(table, dict):
                raise ProblemFileError(f"{part} is {shown(table)}, expected a section [{part}] of keys")
            _check_plain(part, table)
        with located("[random] "):
            table = dict(parts["random"])
            sampler, size = _sampler(table, alone=not (parts["grid"] or parts["list"]))
            draws, count, seed = _random(table)
        grid, rows = ({key: _values(part, key, value) for key, value in _leaves(parts[part])} for part in PARTS[:2])
        _check_rows(rows)
        problem = beside(path.parent, tables["problem"], "problem")
        sweep = Sweep(problem, tables, grid, rows, draws, count, seed, sampler, size)
        _check_names([*grid, *rows, *draws])
        if sweep.count > limit:
            raise ProblemFileError(
                f"has {sweep.count:,} points ({_product(sweep)}), more than {limit:,}; nothing was started: shorten a "
                "list, draw at random instead of a grid, or raise --limit"
            )
    return sweep


def changed(tables: dict[str, Any], changes: Changes) -> dict[str, Any]:
    """Return a problem with changes.

    Parameters
    ----------
    tables : dict
        Its sections.
    changes : dict
        Values by dotted keys; a number in a key counts the entries of a list, from 0.

    Returns
    -------
    dict

    Raises
    ------
    ProblemFileError
        If a key leads nowhere.
    """
    tables = copy.deepcopy(tables)
    for key, value in changes.items():
        *way, last = key.split(".")
        place: Any = tables
        for name in way:
            if isinstance(place, dict):
                place.setdefault(name, {})
            place = place[_place(place, name, key)]
        place[_place(place, last, key)] = copy.deepcopy(value)
    return tables


def _place(place: Any, name: str, key: str) -> Any:
    """Return the index by which a part of a key leads on."""
    if isinstance(place, dict):
        return name
    if isinstance(place, list) and name.isdecimal() and int(name) < len(place):
        return int(name)
    raise ProblemFileError(
        f"{key}: {name!r} leads nowhere in {shown(place)}; give a key that the problem file can have"
    )


def _leaves(table: Table, before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted keys of nested tables and what they have: anything but a table, or what is drawn from."""
    for name, value in table.items():
        key = f"{before}{name}"
        if isinstance(value, dict) and not set(value) & set(KINDS):
            yield from _leaves(value, f"{key}.")
        else:
            yield key, value


def _values(part: str, key: str, values: Any) -> list[Any]:
    if not isinstance(values, list) or not values:
        raise ProblemFileError(f"[{part}] {key} is {shown(values)}, expected a list of values")
    return values


def _check_plain(key: str, value: Any) -> None:
    """Refuse dates and times, which TOML has, and neither a problem nor JSON."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, entry in entries:
        _check_plain(f"{key}.{name}", entry)
    if isinstance(value, (datetime.date, datetime.time)):
        raise ProblemFileError(f"{key} is {value.isoformat()}, a date or time, which no key of a problem file takes")


def _sampler(table: Table, *, alone: bool) -> tuple[str, int]:
    """Take from [random] who chooses values, and how many points at once."""
    sampler = table.pop("sampler", SAMPLERS[0])
    if sampler not in SAMPLERS:
        raise ProblemFileError(f"sampler is {shown(sampler)}, expected one of {', '.join(SAMPLERS)}")
    if sampler == SAMPLERS[0]:
        if "round" in table:
            raise ProblemFileError('round is of sampler = "optuna"; leave it out')
        return sampler, _ROUND
    if not alone:
        raise ProblemFileError(
            'sampler = "optuna" chooses points by what came of others, and [grid] and [list] have points of their own; '
            "give their keys in [random] as choices"
        )
    return sampler, as_count("round", table.pop("round", _ROUND), at_least=1)


def _random(table: Table) -> tuple[dict[str, Draw], int, int]:
    """Return draws, how many, and their seed."""
    if not table:
        return {}, 1, 0
    if "count" not in table:
        raise ProblemFileError("key 'count' is missing; say how many draws there are")
    count = as_count("count", table.pop("count"), at_least=1)
    seed = as_count("seed", table.pop("seed", 0), at_most=MOST_SEED)
    draws = {}
    for key, value in _leaves(table):
        if not isinstance(value, dict):
            raise ProblemFileError(
                f"{key} is {shown(value)}, expected what it is drawn from: {{ uniform = [0.5, 1.5] }}"
            )
        draws[key] = read_draw(key, value)
    if not draws:
        raise ProblemFileError('names no key to draw; give one such as "adapt.seed" = { integers = [0, 99] }')
    return draws, count, seed


def _check_rows(rows: dict[str, list[Any]]) -> None:
    lengths = {key: len(values) for key, values in rows.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{key} {length}" for key, length in lengths.items())
        raise ProblemFileError(f"[list] has columns of different lengths: {said}; give one value for each row")


def _check_names(keys: list[str]) -> None:
    """Refuse keys that a problem file cannot have, and those that change the same."""
    if not keys:
        raise ProblemFileError(f"changes nothing; give a key in one of {', '.join(f'[{part}]' for part in PARTS)}")
    for k, key in enumerate(keys):
        if key.partition(".")[0] not in SECTIONS:
            raise ProblemFileError(f"key {shown(key)} is in no section of a problem file: {', '.join(SECTIONS)}")
        for other in keys[:k]:
            if f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}."):
                twice = f"{key} is" if key == other else f"{other} and {key} are"
                raise ProblemFileError(f"{twice} changed twice; leave one of them out")


def _product(sweep: Sweep) -> str:
    """Return how the number of points comes about."""
    counts = [(key, len(values)) for key, values in sweep.grid.items()]
    counts += [("rows", sweep.row_count)] if sweep.rows else []
    counts += [("draws", sweep.draw_count)] if sweep.draws else []
    return " × ".join(f"{count:,} {name}" for name, count in counts)
