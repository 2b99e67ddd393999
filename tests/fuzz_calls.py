"""Wrong calls of everything public: an answer, or an error of the ScpoError family in one helpful line; no warnings.

    .venv/bin/python tests/fuzz_calls.py --count 3000 --seed 0

The case of a finding is made again by `--seed S --first I --count 1`.
"""

from __future__ import annotations

import copy
import os
import random
import warnings
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import casadi as ca
import control
import nasty
import numpy as np
import scipy.signal
import scipy.sparse
from fuzz_tables import calls
from fuzz_workers import STRANGE, main

import scpo_ctrl as sc
from scpo_ctrl.errors import ScpoWarning

Call = tuple[Callable[..., Any], dict[str, Any]]


class Hostile:
    """Raises wherever it can."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def __array__(self, *_args: object, **_options: object) -> np.ndarray:
        raise RuntimeError("no array")

    def __len__(self) -> int:
        raise RuntimeError("no length")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise RuntimeError("neither true nor false")


def values() -> list[Any]:
    """Return what nobody means as an argument, made anew."""
    endless: list[Any] = []
    endless.append(endless)
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's matrix is discouraged, and used all the same
        matrix = np.matrix([[1.0], [2.0]])
    return [
        None, object(), Hostile(), int, len, lambda *_args: 1 / 0, lambda *args: args[0], (x for x in [1.0]),
        {1.0, 2.0}, complex(1, 2), Decimal("0.1"), Fraction(1, 3),
        b"bytes", bytearray(b"b"), range(3), endless, deep, slice(None),
        np.float32(0.1), np.int8(-1), np.bool_(True), np.array(0.5), np.array([True]),
        np.array(["a"]),
        np.array([None]), np.zeros(0), np.zeros((0, 2)), np.ones((2, 1)), np.ones((1, 2)),
        np.ones((2, 2)), np.ones((2, 2, 2)),
        np.full(2, np.nan), np.full((2, 2), 1e200), np.ones(2, dtype=complex), np.ones(2, dtype=np.float16),
        np.ones((2, 2))[::-1, ::2],
        np.ma.masked_array([1.0, 2.0], mask=[True, False]), np.ma.masked, matrix,
        np.array([(1.0, 2)], dtype=[("a", float), ("b", int)]), np.array(["2020-01-01"], dtype="datetime64[D]"),
        scipy.sparse.csr_matrix(np.eye(2)), scipy.sparse.csr_matrix((10**6, 10**6)),
        np.broadcast_to(1.0, (10**5, 10**5)),
        ca.SX.sym("s", 2), ca.MX.sym("m", 2), ca.DM([1.0, 2.0]), ca.SX(0, 1), ca.Function("g", [ca.SX.sym("x")], []),
        control.tf([1], [1, 1]), scipy.signal.dlti([1], [1, 0.5], dt=0.1), Path("missing"), sc.AdaptOptions,
        sc.ScpoError("e"),
    ]  # fmt: skip


def run_case(seed: int, index: int, place: Path) -> list[str]:
    """Run one case in a folder, and return what is wrong about it."""
    rng = random.Random(f"{seed} {index}")
    os.chdir(place)  # names may be relative
    table = calls(place)
    name = rng.choice(sorted(table))
    call, right = table[name]
    if "csv" in name:
        nasty.place_data(place, rng)
    wrong = {}
    for key in rng.sample(sorted(right), min(len(right), rng.choice([1, 1, 1, 2]))):
        wrong[key] = one(right[key], rng)
    if callable(wrong.get("monitor")) or callable(wrong.get("audit_monitor")):
        return []  # what it raises is passed on
    shown = f"{name}({', '.join(f'{key}={summary(value)}' for key, value in wrong.items())})"
    return [f"{shown}: {fault}" for fault in faults(call, right | wrong)]


def one(right: Any, rng: random.Random) -> Any:
    """Return a wrong value for an argument, sometimes of the right kind."""
    numeric = isinstance(right, (list, np.ndarray)) and np.asarray(right).dtype.kind in "if"
    if numeric and rng.random() < 0.3:
        array = np.array(right, dtype=float)
        if array.size:
            array.flat[rng.randrange(array.size)] = rng.choice(
                [np.nan, np.inf, -np.inf, 1e300, -1e300, 1e-300, 0.0, -1.0]
            )
        return rng.choice([array, array[..., None], array.tolist(), array.T, np.full_like(array, 1e160)])
    if isinstance(right, int) and not isinstance(right, bool) and rng.random() < 0.3:
        return rng.choice([-1, 0, 10**5000, 2**63, 0.5, "3", True])
    return copy.copy(nasty.value(rng)) if rng.random() < 0.4 else rng.choice(values())


def faults(call: Callable[..., Any], arguments: dict[str, Any]) -> list[str]:
    """Return what is wrong about how a call ended."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ScpoWarning)  # of a sampling time that is coarse
        try:
            call(**arguments)
        except sc.ScpoError as error:
            text = str(error)
            strange = STRANGE.search(text.partition(" raised ")[0])  # behind it stands what a function given said
            wrong = [f"words of a library: {text[:300]!r}"] if strange else []
            return wrong if "\n" not in text and len(text) < 1000 else [*wrong, f"not one line: {text[:300]!r}"]
        except Exception as error:
            trace = error.__traceback__
            while trace and trace.tb_next and "scpo_ctrl" not in trace.tb_next.tb_frame.f_code.co_filename:
                trace = trace.tb_next
            at = innermost(error)
            return [f"{type(error).__name__} at {at}: {str(error)[:200]!r}"]
    return []


def innermost(error: BaseException) -> str:
    """Return the last line of this package in a traceback."""
    found, trace = "?", error.__traceback__
    while trace:
        file = Path(trace.tb_frame.f_code.co_filename)
        if "site-packages" not in str(file) and "fuzz" not in file.name:
            found = f"{file.name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found


def summary(value: Any) -> str:
    """Return a value for a finding."""
    try:
        return repr(value)[:60].replace("\n", " ")
    except Exception:
        return f"a {type(value).__name__}"


if __name__ == "__main__":
    main(run_case, str(Path(__file__).resolve()))
