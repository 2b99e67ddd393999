"""Evolution strategies that look for scenarios a policy violates, many at once: CMA-ES by the library `cma`."""

from dataclasses import dataclass

import numpy as np

from scpo_ctrl.assurance.fresh import Fresh, declared_set
from scpo_ctrl.loop.batch import Scenarios
from scpo_ctrl.loop.declared import DeclaredSet
from scpo_ctrl.problem.control_problem import ControlProblem

POPULATION = 16  # scenarios that a strategy tries in a generation
_WIDTH = 0.3  # standard deviation at the start, relative to the declared set
GENERATIONS = 60  # of a strategy before it gives its place up
_WAVES = 2  # numbers of a wave besides those for each state: frequency and phase
_LOST = 1e300  # stands for an infinite metric, which a strategy cannot rank


def evolve(
    problem: ControlProblem, theta: np.ndarray, starts: Scenarios, *, seed: int, most: int
) -> tuple[Scenarios, Fresh, int]:
    """Move scenarios of the declared set to where the policy does worse, by one strategy from each.

    Strategies search over initial state, plant parameters, and disturbances that are a constant and a wave for each
    state, cut to their half widths. All strategies' generations are rolled out together.

    Parameters
    ----------
    problem : ControlProblem
    theta : numpy.ndarray, shape (d,)
    starts : Scenarios
        Points of the declared set.
    seed : int
    most : int
        Rollouts, no less than those of the starts.

    Returns
    -------
    points : Scenarios
        The worst that each strategy met.
    fresh : Fresh
        Of these points.
    rollouts : int

    References
    ----------
    N. Hansen, A. Ostermeier, "Completely derandomized self-adaptation in evolution strategies", Evolutionary
    Computation 9, 2001.
    """
    import cma

    space = _Space(declared_set(problem), starts)
    rng = np.random.default_rng(seed)
    options = {"popsize": POPULATION, "verbose": -9, "seed": np.nan, "randn": lambda *shape: rng.normal(size=shape)}
    means = space.means(rng)
    if means.shape[1] < 2:  # which strategies are not made for
        means = np.hstack([means, np.zeros((len(means), 2 - means.shape[1]))])
    strategies = [cma.CMAEvolutionStrategy(mean, _WIDTH, options) for mean in means]
    points, found, rollouts = starts, Fresh.of(problem, theta, starts), starts.count
    alive = list(range(len(strategies)))
    for _ in range(GENERATIONS):
        if not alive or rollouts + len(alive) * POPULATION > most:
            break
        tried = {i: np.array(strategies[i].ask()) for i in alive}
        batch = space.place(np.repeat(alive, POPULATION), np.concatenate([tried[i] for i in alive]))
        values = Fresh.of(problem, theta, batch)
        rollouts += batch.count
        ranked = np.nan_to_num(-values.worst, neginf=-_LOST).reshape(len(alive), POPULATION)
        for costs, i in zip(ranked, alive, strict=True):
            strategies[i].tell(list(tried[i]), costs.tolist())
        points, found = _better(points, found, batch, values, np.array(alive))
        alive = [i for i in alive if not strategies[i].stop()]
    return points, found, rollouts


@dataclass(frozen=True)
class _Space:
    """What strategies search over, relative to the declared set; zero is where each one starts, but for waves."""

    declared: DeclaredSet
    starts: Scenarios

    @property
    def _varied(self) -> np.ndarray:
        """Which plant parameters have a range."""
        return np.flatnonzero(self.declared.ranges[:, 0] < self.declared.ranges[:, 1])

    @property
    def _shaken(self) -> np.ndarray:
        """Which states are disturbed."""
        return np.flatnonzero(self.declared.half)

    def means(self, rng: np.random.Generator) -> np.ndarray:
        """Return where strategies start, (S, dimensions): waves at random."""
        waves = rng.normal(size=(self.starts.count, 2 * self._shaken.size + _WAVES if self._shaken.size else 0))
        return np.hstack([np.zeros((self.starts.count, self.declared.plant.nx + self._varied.size)), waves])

    def place(self, which: np.ndarray, z: np.ndarray) -> Scenarios:
        """Return the scenarios that points (n, dimensions) of strategies stand for."""
        declared, nx, varied, shaken = self.declared, self.declared.plant.nx, self._varied, self._shaken
        starts = self.starts
        x0 = starts.x0[which] + z[:, :nx] * declared.reach
        p = starts.p[which].copy()
        low, high = declared.ranges[varied].T
        p[:, varied] += z[:, nx : nx + varied.size] * (high - low)
        w = starts.w[which]
        if shaken.size:
            constant, height, wave = np.split(z[:, nx + varied.size :], [shaken.size, 2 * shaken.size], axis=1)
            angle = 2 * np.pi * (wave[:, :1] * np.arange(declared.horizon) / 2 + wave[:, 1:2])
            shape = constant[:, None] + height[:, None] * np.cos(angle)[..., None]
            w = np.zeros_like(w)
            w[:, :, shaken] = declared.half[shaken] * np.clip(shape, -1, 1)
        return declared.nearest(Scenarios(x0, p, w, starts.horizon))


def _better(
    points: Scenarios, found: Fresh, batch: Scenarios, values: Fresh, alive: np.ndarray
) -> tuple[Scenarios, Fresh]:
    """Return the worst of what each strategy met before and meets now."""
    best = values.worst.reshape(len(alive), -1).argmax(axis=1) + POPULATION * np.arange(len(alive))
    worse = values.worst[best] > found.worst[alive]
    to, of = alive[worse], best[worse]
    x0, p, w = points.x0.copy(), points.p.copy(), points.w.copy()
    x0[to], p[to], w[to] = batch.x0[of], batch.p[of], batch.w[of]
    worst, row = found.worst.copy(), found.row.copy()
    worst[to], row[to] = values.worst[of], values.row[of]
    return Scenarios(x0, p, w, points.horizon, points.declared), Fresh(worst, row, found.objective)
