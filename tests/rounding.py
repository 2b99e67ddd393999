"""Sums in any order of rounding, and exact ones: what a claim about finite arithmetic is checked with."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import projection_cases as pc

ROOT_DIGITS = 2**200


def exact(x: np.ndarray) -> list[Fraction]:
    return [Fraction(float(number)) for number in x]


def norm_above(delta: list[Fraction]) -> Fraction:
    """Return |delta| or hardly more."""
    square = sum(x * x for x in delta)
    scaled = square * ROOT_DIGITS**2
    return Fraction(math.isqrt(scaled.numerator // scaled.denominator) + 1, ROOT_DIGITS)


def one_by_one(terms: np.ndarray) -> np.ndarray:
    """Return sums along the last axis, left to right, in the terms' own arithmetic."""
    return np.cumsum(terms, axis=-1, dtype=terms.dtype)[..., -1]


def upwards(terms: np.ndarray) -> np.floating:
    """Sum in the order that rounds up most at each addition: next is the term whose addition gains most by rounding."""
    left = list(range(1, len(terms)))
    total = terms[0]
    while left:
        sums = total + terms[left]
        gains = sums.astype(np.longdouble) - (np.longdouble(total) + terms[left])
        total = sums[np.argmax(gains)]
        left.pop(int(np.argmax(gains)))
    return total


def norms(delta: np.ndarray, rng: np.random.Generator) -> list[np.floating]:
    """Return |delta| in delta's arithmetic, its squares summed in several orders."""
    squares = delta * delta
    shuffled = rng.permutation(squares)
    sums = [one_by_one(squares), one_by_one(shuffled), one_by_one(np.sort(squares)), upwards(squares), np.sum(squares)]
    return [np.sqrt(total) for total in [*sums, delta @ delta]]


def largest_of_any_order(case: pc.Case, delta: np.ndarray, rng: np.random.Generator) -> float:
    """Return the largest left-hand side of (E4) that orders of summation make, in delta's arithmetic."""
    norm = max(norms(delta, rng))
    tails = (case.e * norm, case.L / 2 * norm * norm, case.c)
    terms = np.column_stack([case.G * delta, *tails])
    ordered = np.sort(terms, axis=1)
    found = [one_by_one(x) for x in (terms, terms[:, ::-1], ordered, ordered[:, ::-1], rng.permuted(terms, axis=1))]
    found += [np.sum(terms, axis=1), tails[2] + case.G @ delta + tails[0] + case.L / 2 * (norm * norm)]
    sizes = np.sum(np.abs(terms), axis=1)
    near = np.flatnonzero(one_by_one(terms) > -1e-3 * sizes)
    greedy = [upwards(np.roll(row, k)) for row in terms[near] for k in range(0, len(row), 7)]
    return max(float(np.max(found, initial=-np.inf)), float(np.max(greedy, initial=-np.inf)))
