"""Planted violations and clean policies under attack: how many are found, how many are accused, and at what price.

Every loop's worst metric over its declared set is known exactly (tests/planted.py); a bound is put just below it, so
that a thin corner of the set violates, or just above it. Prints a table.

    python examples/benchmarks/falsification.py --count 25 --budget 1000000 --clean-budget 50000
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from planted import KINDS, planted

from scpo_ctrl.assurance import falsify


def attacked(kind: str, count: int, budget: int, *, clean: bool) -> tuple[int, float, float, float]:
    """Return how many of a kind are found, the largest share that violates, and mean rollouts and seconds."""
    found, shares, rollouts, began = 0, [], [], time.perf_counter()
    for seed in range(count):
        case = planted(kind, seed, clean=clean)
        attack = falsify(case.problem, case.theta, budget=budget)
        found += attack.found
        shares.append(case.share)
        rollouts.append(attack.rollouts)
    return found, max(shares), float(np.mean(rollouts)), (time.perf_counter() - began) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=25, help="loops of each kind")
    parser.add_argument("--budget", type=int, default=1_000_000, help="rollouts for a planted violation")
    parser.add_argument("--clean-budget", type=int, default=50_000, help="rollouts for a clean policy")
    options = parser.parse_args()
    print("kind          planted: found  largest share  mean rollouts  s each   clean: accused  mean rollouts  s each")
    for kind in KINDS:
        found, share, rollouts, seconds = attacked(kind, options.count, options.budget, clean=False)
        accused, _, more, longer = attacked(kind, options.count, options.clean_budget, clean=True)
        shown = "-" if np.isnan(share) else f"{share:.1e}"
        planted_part = f"{kind:12}  {found:7} of {options.count:3}  {shown:>13}  {rollouts:13.0f}  {seconds:6.1f}"
        print(f"{planted_part}   {accused:7} of {options.count:3}  {more:13.0f}  {longer:6.1f}", flush=True)


if __name__ == "__main__":
    main()
