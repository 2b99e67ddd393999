"""From a log to a model: how near fitted parameters are, how often their ranges hold, and what the disturbance covers.

For each plant, logs are simulated with parameters drawn from 0.6 to 1.5 times nominal ("random"), or with those given:
R3 with a mass of 1.3 kg, R4 with both masses off, a DC motor with another inertia and warm winding, a buck converter of
unknown load. A gain keeps the plant near its equilibrium, and a random input, held for ten samples, is added. The
disturbance is uniform, of half widths that the fit does not know. The last rows break what is assumed: sensors have a
noise as wide as the disturbance, or half of the disturbance is constant over a log.

"error" is the median and the largest over the logs, of the worst parameter; "held" is how often the ranges hold all
parameters together; "covered" is the part of the residuals of a fresh log of the same plant, which no fit has seen,
within the half widths, in the mean of the logs and in the worst of them; "width" is the half width found over the true
one, least and largest; "kept" counts logs that leave a parameter untold (not held, then), "refused" those that are
taken for another plant's (not held, and in no other column), and "doubts" those that speak against what is assumed.
Prints a table.

    python examples/benchmarks/identification.py --logs 200
    python examples/benchmarks/identification.py --others    # logs of plants of the zoo, read as those of others
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace

import casadi as ca
import numpy as np

from scpo_ctrl import Identification, identify, lqr
from scpo_ctrl.errors import DomainError
from scpo_ctrl.models import Plant, buck_converter, cart_pole, dc_motor, double_integrator, make_plant

SEED = 20_261_129
OTHERS = ("double_integrator", "dc_motor", "buck_converter", "cart_pole", "balancing_robot", "ball_and_beam")
HELD = 10  # samples of each random input
RANGE = (0.6, 1.5)  # of random parameters, relative to nominal


@dataclass(frozen=True)
class Case:
    """A plant, what is unknown in it, and how it is logged."""

    name: str
    plant: Plant
    true: dict[str, float] | None  # parameters by label; None for random ones of those in `fitted`
    fitted: tuple[str, ...] | None  # None for all
    half: tuple[float, ...]  # (nx,) half widths of the disturbance [x_units]
    excitation: float  # of the input [u_units]
    samples: int = 500
    horizon: int = 1
    sensors: float = 0.0  # half widths of their noise, in parts of the disturbance's; the fit takes it for none
    constant: float = 0.0  # part of the disturbance that a log keeps; the fit takes it for independent


def cases() -> list[Case]:
    """Return the cases of the table."""
    masses, motor = {"pole_mass": 0.14, "cart_mass": 0.8}, {"inertia": 4e-6, "resistance": 4.8}
    plants = double_integrator(), cart_pole(), dc_motor(), buck_converter()
    noise = (0.002, 0.02), (0.001, 0.01, 0.001, 0.01), (1e-5, 0.05), (0.05, 0.02)
    inputs = 0.8, 3.0, 6.0, 0.04
    rows = [
        ("R3, mass 1.3 kg", 0, {"mass": 1.3}),
        ("R4, both masses off", 1, masses),
        ("DC motor", 2, motor),
        ("buck converter, load 4.2 ohm", 3, {"load": 4.2}),
        ("R3, random", 0, None),
        ("R4, random", 1, None),
        ("DC motor, random", 2, None),
        ("buck converter, random", 3, None),
    ]
    fitted = ("mass",), tuple(masses), tuple(motor), ("load",)
    listed = [Case(name, plants[i], true, fitted[i], noise[i], inputs[i]) for name, i, true in rows]
    longer = [(0, 10), (1, 5), (2, 20), (3, 20)]
    listed += [
        Case(f"{rows[i + 4][0]}, {H} steps", plants[i], None, fitted[i], noise[i], inputs[i], horizon=H)
        for i, H in longer
    ]
    return listed + [
        replace(listed[i + 4], name=f"{rows[i + 4][0]}, {name}", **{key: 1.0 if key == "sensors" else 0.5})
        for key, name in (("sensors", "noisy sensors"), ("constant", "half constant"))
        for i in range(4)
    ]


def simulated(case: Case, p: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return logs, one for each row of parameters (L, np): states (L, T, nx) and inputs (L, T, nu)."""
    plant, L, T = case.plant, len(p), case.samples
    K = lqr(plant, Q=1 / plant.x_max**2, R=4 / (plant.u_max - plant.u_min) ** 2).K
    extra, w = ca.SX.sym("e", plant.nu), ca.SX.sym("w", plant.nx)
    u = ca.fmax(plant.u_min, ca.fmin(plant.u_max, plant.u_eq - K @ (plant.x - plant.x_eq) + extra))
    following = ca.substitute(plant.f, plant.u, u) + w
    step = ca.Function("step", [plant.x, ca.vertcat(extra, w, plant.p)], [following, u])
    levels = rng.uniform(-1, 1, (L, -(-T // HELD), plant.nu)) * case.excitation
    w_over_time = (1 - case.constant) * rng.uniform(-1, 1, (L, T, plant.nx)) * case.half
    w_over_time += case.constant * rng.uniform(-1, 1, (L, 1, plant.nx)) * case.half
    given = np.concatenate(
        [
            np.repeat(levels, HELD, axis=1)[:, :T],
            w_over_time,
            np.repeat(p[:, None], T, axis=1),
        ],
        axis=2,
    )
    x0 = np.tile(plant.x_eq[:, None], L)
    after, applied = step.mapaccum("log", T).map(L)(x0, given.reshape(L * T, -1).T)
    states = np.array(after).T.reshape(L, T, plant.nx)
    states = np.concatenate([x0.T[:, None], states[:, :-1]], axis=1)
    states = states + case.sensors * rng.uniform(-1, 1, states.shape) * case.half
    return states, np.array(applied).T.reshape(L, T, plant.nu)


def parameters(case: Case, logs: int, rng: np.random.Generator) -> np.ndarray:
    """Return the true parameters of each log, shape (logs, np)."""
    p = np.tile(case.plant.p_nominal, (logs, 1))
    for label in case.fitted or ():
        i = case.plant.p_labels.index(label)
        p[:, i] = case.true[label] if case.true else p[:, i] * rng.uniform(*RANGE, logs)
    return p


def covered(found: Identification, x: np.ndarray, u: np.ndarray) -> float:
    """Return the part of a log's transitions whose residuals are within the half widths that were found."""
    f, steps = found.plant.function, len(x) - 1
    predicted = np.array(f.map(steps)(x[:-1].T, u[:-1].T, np.tile(found.values[:, None], steps))).T
    return float((np.abs(x[1:] - predicted) <= found.half_widths).all(axis=1).mean())


def fitted(case: Case, x: np.ndarray, u: np.ndarray) -> Identification | None:
    """Return what a log says, None where it is taken for another plant's."""
    try:
        return identify(case.plant, x, u, parameters=case.fitted, horizon=case.horizon)
    except DomainError:
        return None


def row(case: Case, logs: int, seed: int = SEED) -> str:
    """Return a line of the table."""
    rng = np.random.default_rng(seed)
    p = parameters(case, logs, rng)
    (x, u), (x_fresh, u_fresh) = simulated(case, p, rng), simulated(case, p, rng)
    answers = [fitted(case, *log) for log in zip(x, u, strict=True)]
    at = [case.plant.p_labels.index(label) for label in case.fitted or ()]
    found = [(f, p[i, at], i) for i, f in enumerate(answers) if f is not None]
    error = np.array([np.abs(f.values[at] / true - 1).max() for f, true, _ in found])
    held = sum(
        not f.kept and bool(((f.ranges[at, 0] <= true) & (true <= f.ranges[at, 1])).all()) for f, true, _ in found
    )
    inside = [covered(f, x_fresh[i], u_fresh[i]) for f, _, i in found]
    width = np.array([f.half_widths / case.half for f, _, _ in found])
    kept, doubted = sum(bool(f.kept) for f, _, _ in found), sum(bool(f.doubts) for f, _, _ in found)
    return (
        f"{case.name:37s} {np.median(error):7.2%} {error.max():7.2%} {held / logs:7.1%} {np.mean(inside):8.2%} "
        f"{min(inside):7.2%} {width.min():6.2f} {width.max():6.2f} {kept:5d} {logs - len(found):7d} {doubted:6d}"
    )


def of_others() -> list[tuple[str, str, str]]:
    """Return what becomes of logs of plants of the zoo that are read as those of others: plant, read as, answer."""
    plants = [make_plant(name) for name in OTHERS]
    rows = []
    for plant in plants:
        half = 2e-4 * np.where(np.isfinite(plant.x_max - plant.x_min), plant.x_max - plant.x_min, 1.0)
        case = Case(plant.name, plant, None, (), tuple(half), 0.05 * float(np.max(plant.u_max - plant.u_min)))
        (x,), (u,) = simulated(case, plant.p_nominal[None], np.random.default_rng(SEED))
        for other in plants:
            if (other.nx, other.nu) == (plant.nx, plant.nu):
                answer = fitted(replace(case, plant=other, fitted=None), x, u)
                doubts = "refused" if answer is None else f"{len(answer.doubts)} doubts"
                rows.append((plant.name, other.name, doubts))
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--logs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--others", action="store_true", help="Read logs as those of other plants instead.")
    given = parser.parse_args()
    if given.others:
        for row_of in of_others():
            print("{:20s} as {:20s} {}".format(*row_of))
        return
    columns = (
        f"{'error':>7s} {'largest':>7s} {'held':>7s} {'covered':>8s} {'least':>7s} {'width':>13s}  kept refused doubts"
    )
    print(f"{'plant':37s} {columns}")
    for case in cases():
        print(row(case, given.logs, given.seed), flush=True)


if __name__ == "__main__":
    main()
