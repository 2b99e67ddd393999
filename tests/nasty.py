"""Values, files and problem files that nobody means, for fuzzing what reads them."""

from __future__ import annotations

import copy
import datetime
import os
import random
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from problem_files import BASE, IMITATION, KINDS, LINEAR_PLANT, TWO_INPUTS, tables, write_expert

HUGE = 1234567890123456789  # stands for a whole number of 5000 digits, which no library prints
NUMBERS: tuple[Any, ...] = (
    0, -0.0, 1, -1, 3, 0.5, 1e-300, 5e-324, 1e300, -1e300, 1.7e308, 1e150, 1e-150, 1e17, 1e-17, float("nan"),
    float("inf"), -float("inf"), 2**31, 2**63 - 1, 2**63, -(2**63), 2**64, 10**400, HUGE, -HUGE, 0.1 + 1e-17, 1e16 + 1,
)  # fmt: skip
TEXTS: tuple[str, ...] = (
    "", " ", "\0", "x", "nan", "1", "\n\r\t", "ß∂ƒ😀", "\u202egnp.exe", "a" * 100_000,
    "%s%n{}{0}", "$(reboot)", "../..",
    "/dev/zero", "/dev/stdin", "fifo", "socket", "sparse", ".", "missing.csv", "expert.csv", "<script>", "*/ int x; /*",
    "DUAL", "ECOS", "newton", "certified", "linear", "mlp", "imitation", "quadratic", "cart_pole", "planar_quadrotor",
)  # fmt: skip
OTHERS: tuple[Any, ...] = (
    True, False, [], {}, [[]], [[[1.0]]], [{}], {"a": 1}, {"": {}}, [1, "1"], [True], [[1.0], [1.0, 2.0]], [None],
    datetime.date(2020, 1, 1), datetime.time(1, 2), [[1e300] * 3] * 3, [0.0] * 1000,
)  # fmt: skip
SIZES = ("count", "horizon", "hidden", "probes", "directions")  # between small and absurd they are only slow
LINE_BREAKERS = (
    b"\0",
    b"\xff",
    b"=",
    b"[",
    b"]",
    b"{",
    b'"',
    b"'''",
    b"#",
    b"\\",
    b",",
    b".",
    b"\r",
    b"1e999",
    b"nan",
    b"-",
)


def value(rng: random.Random, depth: int = 0) -> Any:
    """Return a nasty value that TOML can hold."""
    kind = rng.random()
    if kind < 0.5:
        return rng.choice(NUMBERS)
    if kind < 0.65:
        return rng.choice(TEXTS)
    if kind < 0.85 or depth > 3:
        chosen = copy.deepcopy(rng.choice(OTHERS))
        return [] if chosen == [None] else chosen
    return [value(rng, depth + 1) for _ in range(rng.randrange(4))]


def places(table: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths to everything in nested tables and lists."""
    found = [path] if path else []
    entries = table.items() if isinstance(table, dict) else enumerate(table) if isinstance(table, list) else ()
    for key, entry in entries:
        found += places(entry, (*path, key))
    return found


def mutate(problem: dict[str, Any], rng: random.Random) -> None:
    """Change a problem in one place."""
    path = rng.choice(places(problem))
    holder = problem
    for key in path[:-1]:
        holder = holder[key]
    key = path[-1]
    old = holder[key]
    number = isinstance(old, (int, float)) and not isinstance(old, bool) and abs(old) < 1e300
    kind = rng.randrange(8)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[rng.choice([*TEXTS, str(key).upper(), f"{key} ", "x_min", "rho", "learned"])] = value(rng)
    elif kind == 2 and number:
        holder[key] = old * 10.0 ** rng.randint(-320, 308)
    elif kind == 3 and number:
        holder[key] = -old
    elif kind == 4 and isinstance(old, list):
        holder[key] = rng.choice([old + old[:1], old[:-1], [old], old[::-1], [entry for entry in old for _ in "12"]])
    elif kind == 5 and isinstance(old, list) and old:
        holder[key] = old[0]
    else:
        holder[key] = value(rng)


def tame(problem: dict[str, Any]) -> None:
    """Keep sizes small or absurd: what lies between is not wrong, only slow."""
    for section in problem.values():
        for key in SIZES if isinstance(section, dict) else ():
            size = section.get(key)
            if isinstance(size, int) and 50 < size < 10**12:
                section[key] = 50
            if isinstance(size, list):
                section[key] = [50 if isinstance(w, int) and 50 < w < 10**12 else w for w in size[:5]]


def problem_text(rng: random.Random) -> bytes:
    """Return a problem file with a few mutations of its structure, or of its bytes."""
    base = rng.choice([{}, *KINDS.values(), {"plant": LINEAR_PLANT}, IMITATION, TWO_INPUTS, LEARNED])
    problem = tables(base, BASE)
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        mutate(problem, rng)
    tame(problem)
    text = tomli_w.dumps(problem)
    digits = rng.choice(["0x" + "f" * 5000, "0b" + "1" * 20_000, "9" * 400])
    data = re.sub(rf"-?{HUGE}", digits, text).encode("utf-8", "surrogatepass")
    return mangled(data, rng) if rng.random() < 0.15 else data


def mangled(data: bytes, rng: random.Random) -> bytes:
    """Damage bytes."""
    at = rng.randrange(len(data) + 1)
    lines = data.split(b"\n")
    rng.shuffle(lines)
    deep = rng.choice([b"[", b"{a="]) * rng.choice([10, 500, 5000])
    ways = [
        data[:at],
        data[:at] + rng.choice(LINE_BREAKERS) + data[at:],
        data[:at] + rng.randbytes(rng.randrange(1, 40)) + data[at:],
        data[:at] + data[at + rng.randrange(1, 20) :],
        data + b"\nx = " + deep,
        b"\n".join(lines),
        data + b"\n" + b".".join([b"a"] * rng.choice([5, 200])) + b" = 1\n",
    ]
    return rng.choice(ways)


def csv_text(rng: random.Random) -> bytes:
    """Return imitation data with a few entries that are none."""
    rows = [["x0", "x1", "u0"], *([f"{rng.uniform(-0.4, 0.4):.3g}" for _ in range(3)] for _ in range(6))]
    for _ in range(rng.choice([0, 1, 1, 2])):
        row = rng.choice(rows)
        words = ["", "1_0", "٣", "nan", "inf", "1e999", "0x10", "1,5", '"', "1e-400", "−1", " 1 ", "x0", "1" * 5000]
        row[rng.randrange(len(row))] = rng.choice(words)
    separator = rng.choice([",", ",", ",", ";", "\t", ", ", "|"])
    data = "\n".join(separator.join(row) for row in rows).encode()
    return mangled(data, rng) if rng.random() < 0.2 else data


def place_data(folder: Path, rng: random.Random) -> None:
    """Put files that a problem may name into a folder: data, whole and damaged, and what is no regular file."""
    write_expert(folder / "expert.csv")
    if rng.random() < 0.5:
        (folder / "expert.csv").write_bytes(csv_text(rng))
    np.savez(
        folder / "learned.npz",
        x0=np.zeros((1, 2)),
        p=np.ones((1, 1)),
        w=np.zeros((1, 8, 0)),
        theta_initial=np.zeros(12),
    )
    if rng.random() < 0.5:
        data = (folder / "learned.npz").read_bytes()
        (folder / "learned.npz").write_bytes(mangled(data, rng))
    if rng.random() < 0.1:
        name = rng.choice(["expert.csv", "learned.npz"])
        (folder / name).unlink()
        make_no_file(folder / name, rng)
    os.mkfifo(folder / "fifo")


NO_FILES: dict[str, Callable[[Path], None]] = {}


def _no_file(make: Callable[[Path], None]) -> Callable[[Path], None]:
    NO_FILES[make.__name__] = make
    return make


@_no_file
def fifo(path: Path) -> None:
    """A pipe that nobody writes to."""
    os.mkfifo(path)


@_no_file
def folder(path: Path) -> None:
    """A folder."""
    path.mkdir()


@_no_file
def device(path: Path) -> None:
    """A device that never ends."""
    path.symlink_to("/dev/zero")


@_no_file
def terminal(path: Path) -> None:
    """A device that may block."""
    path.symlink_to("/dev/ptmx")


@_no_file
def sparse(path: Path) -> None:
    """Three gigabytes that take no room."""
    with path.open("wb") as file:
        file.truncate(3 << 30)


@_no_file
def loop(path: Path) -> None:
    """A link to itself."""
    path.symlink_to(path)


@_no_file
def listening(path: Path) -> None:
    """A socket."""
    here = Path.cwd()
    os.chdir(path.parent)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as endpoint:
        endpoint.bind(path.name)
    os.chdir(here)


def make_no_file(path: Path, rng: random.Random) -> None:
    """Make something that is no regular file, or none of a size that is meant."""
    NO_FILES[rng.choice(sorted(NO_FILES))](path)


LEARNED = {"scenarios.learned": "learned.npz"}
