"""The declared set Z (E12): every scenario that a policy is to be safe from, and ways to draw them."""

import itertools
from dataclasses import dataclass, replace

import numpy as np

from scpo_ctrl.doors import array, checked, whole
from scpo_ctrl.errors import DomainError
from scpo_ctrl.loop.backup import Backup
from scpo_ctrl.loop.batch import Scenarios
from scpo_ctrl.models import Plant
from scpo_ctrl.models.varying import first_varying, seeds, settled
from scpo_ctrl.shown import Entries, Shown, counted

_WORDS = 4  # numbers that a step of Philox's counter makes
_LARGEST_CORNERS = 10  # parameters with a range up to which corners are taken in turn; at random beyond
_KINDS = 0x51DE  # stream of what is drawn for edges: what is taken in turn may never meet what else is
_SMALLEST = 1e-3  # part of the way to the boundary at which small levels begin
_CLOUD = 0xC10D  # stream of the seeds of clouds
_MOST_NUMBERS = 1 << 31  # drawn at once, 16 GB
_MOST_SEED = (1 << 128) - 1  # that Philox takes for a key
_SOBOL = 64  # dimensions up to which points are spread evenly; more gain nothing from it


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class DeclaredSet(Shown):
    """Initial states, plant parameters and disturbance sequences that a policy is to be safe from.

    Initial states are those of a box, or of ellipsoids {(x - c)ᵀ P (x - c) ≤ size² ρ} around centres, cut to the state
    bounds. A point of the set is made from numbers in (0, 1): which centre, a direction and a distance, a number for
    each parameter, and for disturbances a number for each state and time step. Uniform numbers make a uniform
    distribution in the box or ellipsoid, in the ranges of the parameters, and in the half widths of the disturbances.
    """

    plant: Plant
    backup: Backup
    horizon: int  # N
    centres: np.ndarray  # (k, nx) [x_units]
    size: float = 0.0  # of the ellipsoids, relative to the backup's level set; zero for the centres alone
    box: np.ndarray | None = None  # (2, nx) low and high [x_units], in place of centres
    ranges: np.ndarray  # (np, 2) low and high of each plant parameter [p_units]
    half: np.ndarray  # (nx,) half widths of the disturbance [x_units]; (0,) for none
    fixed: float = 0.0  # part of the disturbance that is constant over time
    seed: int = 0  # that the scenarios were drawn with, and a cloud is

    @property
    def columns(self) -> int:
        """How many numbers make a point."""
        return 2 + self.plant.nx + self.plant.npar + (self.horizon + 1) * self.half.size

    @checked(numbers=lambda self, name, value: array(name, value, (None, self.columns)))
    def place(self, numbers: np.ndarray) -> Scenarios:
        """Return the points that numbers in (0, 1) stand for.

        Parameters
        ----------
        numbers : numpy.ndarray, shape (n, columns)

        Returns
        -------
        Scenarios
        """
        nx, npar = self.plant.nx, self.plant.npar
        x, p, w = np.split(numbers, [2 + nx, 2 + nx + npar], axis=1)
        parameters = self.ranges[:, 0] + p * (self.ranges[:, 1] - self.ranges[:, 0])
        parameters = settled(self.plant, parameters)
        return Scenarios(self._initial(x), parameters, self._disturbances(2 * w - 1), self.horizon)

    @checked(first=whole(), count=whole(), seed=whole(at_most=_MOST_SEED))
    def random(self, first: int, count: int, seed: int) -> Scenarios:
        """Return the points number `first` … `first + count - 1` of an endless random sequence.

        Point k is the same wherever and with whichever others it is drawn: its numbers are those of the counter-based
        generator Philox from place k · columns on, columns rounded up to a multiple of four.

        Parameters
        ----------
        first, count, seed : int

        Returns
        -------
        Scenarios

        References
        ----------
        J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
        """
        return self.place(self._numbers(first, count, seed))

    @checked(count=whole(), seed=whole(at_most=_MOST_SEED))
    def spread(self, count: int, seed: int) -> Scenarios:
        """Return points spread more evenly than random ones (scrambled Sobol numbers), uniformly distributed.

        Parameters
        ----------
        count, seed : int

        Returns
        -------
        Scenarios
        """
        return self.place(self._spread_numbers(count, seed))

    @checked(count=whole(), seed=whole(at_most=_MOST_SEED))
    def edge(self, count: int, seed: int) -> Scenarios:
        """Return points where metrics are worst as a rule: the boundary and small levels, corners, extreme sequences.

        Three of four initial states are on the boundary, of a box at corners as often as on faces, the others on levels
        down to nothing; every other point has its parameters in a corner of their ranges, all corners in turn;
        disturbances are constant, switching at every step, switching once, or at either end at random. Which face, and
        which of these, is drawn, so that each meets every corner.

        Parameters
        ----------
        count, seed : int

        Returns
        -------
        Scenarios
        """
        nx, npar = self.plant.nx, self.plant.npar
        numbers, index = self._spread_numbers(count, seed), np.arange(count)
        small, drawn = index % 4 == 3, np.random.default_rng([seed, _KINDS])
        numbers[:, 1 + nx] = np.where(small, _SMALLEST ** (nx * numbers[:, 1 + nx]), 1.0)
        if self.box is not None:
            numbers[~small] = self._on_faces(numbers[~small], drawn)
        corner = index % 2 == 0
        if npar:
            numbers[corner, 2 + nx : 2 + nx + npar] = self._corners(numbers[corner, 2 + nx : 2 + nx + npar], seed)
        numbers[:, 2 + nx + npar :] = self._extreme(numbers[:, 2 + nx + npar :], drawn)
        return self.place(numbers)

    @checked(count=whole())
    def cloud(self, count: int) -> Scenarios:
        """Return single steps from all over the set (E13): half of them from its edges, as `edge` draws them.

        The others are spread evenly over the inside, every other one of them with its parameters in a corner of their
        ranges; disturbances are at either end.

        Parameters
        ----------
        count : int

        Returns
        -------
        Scenarios
            Of one step.
        """
        step, inner = replace(self, horizon=1), count // 2
        streams = np.random.SeedSequence([self.seed, _CLOUD]).generate_state(2).tolist()
        numbers, corner = step._spread_numbers(inner, streams[0]), np.arange(inner) % 2 == 0
        first, end = 2 + self.plant.nx, 2 + self.plant.nx + self.plant.npar
        if self.plant.npar:
            numbers[corner, first:end] = self._corners(numbers[corner, first:end], streams[0])
        numbers[:, end:] = np.where(numbers[:, end:] < 0.5, 0.0, 1.0)
        return step.edge(count - inner, streams[1]).and_then(step.place(numbers))

    def nearest(self, points: Scenarios) -> Scenarios:
        """Return points moved into the set, each to a point of it that is near.

        Parameters
        ----------
        points : Scenarios

        Returns
        -------
        Scenarios
        """
        x0, plant = points.x0, self.plant
        if self.box is not None:
            x0 = np.clip(x0, *self.box)
        else:
            unit, root = self.backup.shape
            apart = np.linalg.solve(root, ((x0[:, None] - self.centres) / unit)[..., None])[..., 0]
            which = np.einsum("ski,ski->sk", apart, apart).argmin(axis=1)
            offset = apart[np.arange(len(x0)), which]
            length = np.linalg.norm(offset, axis=1, keepdims=True)
            inside = offset * (self.size / np.maximum(length, np.finfo(float).tiny))
            moved = self.centres[which] + unit * (inside @ root.T)
            x0 = np.clip(np.where(length > self.size, moved, x0), plant.x_min, plant.x_max)
        p = settled(self.plant, np.clip(points.p, self.ranges[:, 0], self.ranges[:, 1]))
        w = points.w
        if self.half.size:
            middle = (w.max(axis=1, keepdims=True) + w.min(axis=1, keepdims=True)) / 2
            middle = np.clip(middle, -self.fixed * self.half, self.fixed * self.half)
            w = middle + np.clip(w - middle, -(1 - self.fixed) * self.half, (1 - self.fixed) * self.half)
        return Scenarios(x0, p, w, points.horizon)

    def along(self, gradient: np.ndarray) -> np.ndarray:
        """Return steps of initial states along gradients, as long as the set is wide.

        Parameters
        ----------
        gradient : numpy.ndarray, shape (S, nx)

        Returns
        -------
        numpy.ndarray, shape (S, nx)
            The steps for which a linear function of the state grows most within the set moved to the origin.
        """
        if self.box is not None:
            return (self.box[1] - self.box[0]) / 2 * np.sign(gradient)
        unit, root = self.backup.shape
        with np.errstate(over="ignore", invalid="ignore"):  # where a policy overflows there is no direction
            towards = (gradient * unit) @ root  # of a ball that the set is the image of
            towards = np.where(np.isfinite(towards), towards, 0.0)
            length = np.maximum(np.linalg.norm(towards, axis=1, keepdims=True), np.finfo(float).tiny)
            return self.size * unit * (towards / length @ root.T)

    def coordinates(self, points: Scenarios) -> np.ndarray:
        """Return coordinates in which the set is about one wide, to compare points by.

        Parameters
        ----------
        points : Scenarios

        Returns
        -------
        numpy.ndarray, shape (S, nx + np + N · nx)
            The disturbances' last, where there are any.
        """
        p = points.p.copy()
        p[:, first_varying(self.plant) :] = 0.0  # what follows from other parameters
        widths = [
            (points.x0, 2 * self.reach),
            (p, self.ranges[:, 1] - self.ranges[:, 0]),
            (points.w.reshape(points.count, -1), np.tile(2 * self.half, self.horizon)),
        ]
        return np.hstack([part / np.where(width > 0, width, 1.0) for part, width in widths])

    @property
    def reach(self) -> np.ndarray:
        """How far initial states reach from their centre along each axis, shape (nx,) [x_units]."""
        return np.asarray((self.box[1] - self.box[0]) / 2 if self.box is not None else self.size * self.backup.extent)

    @property
    def has_interior(self) -> bool:
        """Whether it holds more than single points."""
        wide = (self.ranges[:, 0] < self.ranges[:, 1]).any()
        return bool(self.has_states or wide or self.half.any())

    @property
    def level(self) -> float | None:
        """Which part of ρ V is at most on it, where its states are a level set; None for others."""
        is_level = self.box is None and np.array_equal(self.centres, self.plant.x_eq[None])
        return self.size**2 if is_level else None

    @property
    def has_states(self) -> bool:
        """Whether it holds initial states beside single ones."""
        return self.box is not None or self.size > 0

    def _shown(self) -> tuple[str, Entries]:
        return f"of {self.plant.name}, {counted(self.horizon, 'step')}", [("points", self.distribution)]

    @property
    def distribution(self) -> str:
        """What `random` draws from, in words."""
        plant = self.plant
        if self.box is not None:
            parts = ["initial state uniform in a box"]
        elif self.size == 0:
            parts = [f"initial state one of {len(self.centres)} given ones, each as likely"]
        elif len(self.centres) > 1:
            parts = [
                f"initial state uniform in one of {len(self.centres)} ellipsoids (x - c)'P(x - c) <= "
                f"{self.size**2:g} rho, each as likely, cut to the state bounds"
            ]
        else:
            parts = [f"initial state uniform in the ellipsoid V <= {self.size**2:g} rho, cut to the state bounds"]
        for label, unit, (low, high) in zip(plant.p_labels, plant.p_units, self.ranges, strict=True):
            if low < high:
                parts.append(f"{label} uniform in [{low:g}, {high:g}] {unit}".rstrip())
        if self.half.size:
            how = "drawn anew at every step" if not self.fixed else f"{self.fixed:g} of it constant over time"
            parts.append(f"disturbance uniform within half widths {self.half.tolist()}, {how}")
        return "; ".join([*parts, f"horizon N = {self.horizon}"])

    def _initial(self, numbers: np.ndarray) -> np.ndarray:
        """Return initial states from numbers (n, 2 + nx)."""
        plant = self.plant
        if self.box is not None:
            return np.asarray(self.box[0] + numbers[:, 1:-1] * (self.box[1] - self.box[0]))
        from scipy.special import ndtri

        which = np.minimum((numbers[:, 0] * len(self.centres)).astype(int), len(self.centres) - 1)
        direction = ndtri(numbers[:, 1:-1])
        direction /= np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), np.finfo(float).tiny)
        distance = self.size * numbers[:, -1:] ** (1 / plant.nx)
        unit, root = self.backup.shape
        return np.clip(self.centres[which] + unit * (distance * direction @ root.T), plant.x_min, plant.x_max)

    def _disturbances(self, numbers: np.ndarray) -> np.ndarray:
        """Return disturbances from numbers in (-1, 1), (n, (N + 1) · nx), the constant part first."""
        n, N, size = len(numbers), self.horizon, self.half.size
        constant, varying = numbers[:, :size], numbers[:, size:].reshape(n, N, size)
        return (self.fixed * constant[:, None] + (1 - self.fixed) * varying) * self.half

    def _numbers(self, first: int, count: int, seed: int) -> np.ndarray:
        """Return the numbers of points of the endless sequence, (count, columns)."""
        words = -(-self.columns // _WORDS) * _WORDS
        if count * words > _MOST_NUMBERS:
            raise DomainError(f"count is {count}, of {words} numbers each; expected {_MOST_NUMBERS // words} at most")
        generator = np.random.Philox(key=seed)
        generator.advance(first * words // _WORDS)
        raw = generator.random_raw(count * words).reshape(count, words)[:, : self.columns]
        return ((raw >> np.uint64(11)).astype(float) + 0.5) * 2.0**-53

    def _spread_numbers(self, count: int, seed: int) -> np.ndarray:
        """Return numbers of which the first ones are spread evenly, (count, columns)."""
        from scipy.stats import qmc  # takes half a second to import

        numbers = self._numbers(0, count, seed)
        even = min(2 + self.plant.nx + self.plant.npar, _SOBOL)
        sobol = qmc.Sobol(even, seed=np.random.default_rng(seed)).random_base2(max(0, count - 1).bit_length())
        numbers[:, :even] = np.clip(sobol[:count], 2.0**-54, 1 - 2.0**-53)
        return numbers

    def _on_faces(self, numbers: np.ndarray, drawn: np.random.Generator) -> np.ndarray:
        """Move points to a face of the box, or to a corner of it."""
        nx, index = self.plant.nx, np.arange(len(numbers))
        face, end, at_corner = (drawn.integers(0, most, len(numbers)) for most in (nx, 2, 2))
        numbers[index, 1 + face] = end
        ends = np.where(numbers[:, 1 : 1 + nx] < 0.5, 0.0, 1.0)
        numbers[:, 1 : 1 + nx] = np.where(at_corner[:, None] == 1, ends, numbers[:, 1 : 1 + nx])
        return numbers

    def _corners(self, numbers: np.ndarray, seed: int) -> np.ndarray:
        """Return numbers of parameters (count, np) in corners of their ranges, seeds of noise as they are."""
        drawn, wide = seeds(self.plant), self.ranges[:, 0] < self.ranges[:, 1]
        wide[drawn] = False  # in corners the noise of all sensors would be the same one
        varied, count, corners = np.flatnonzero(wide), len(numbers), np.zeros(numbers.shape)
        corners[:, drawn] = numbers[:, drawn]
        if varied.size <= _LARGEST_CORNERS:
            every = np.array(list(itertools.product((0.0, 1.0), repeat=varied.size)))
            corners[:, varied] = every[np.arange(count) % len(every)]
        else:
            corners[:, varied] = np.random.default_rng(seed).integers(0, 2, (count, varied.size))
        return corners

    def _extreme(self, numbers: np.ndarray, drawn: np.random.Generator) -> np.ndarray:
        """Turn numbers of disturbances into extreme sequences, (n, (N + 1) · nx)."""
        n, N, size = len(numbers), self.horizon, self.half.size
        ends = np.where(numbers < 0.5, 0.0, 1.0)
        constant, varying = ends[:, :size], ends[:, size:].reshape(n, N, size)
        time = np.arange(N)[:, None]
        switch = (time >= (numbers[:, :1] * N)[:, None]).astype(float) if size else np.zeros((n, N, 0))
        sequences = (
            np.broadcast_to(constant[:, None], varying.shape),
            np.abs(constant[:, None] - time % 2),
            np.abs(constant[:, None] - switch),
            varying,
        )
        kind = drawn.integers(0, len(sequences), n)[:, None, None]
        chosen = np.select([kind == k for k in range(len(sequences))], sequences)
        return np.hstack([constant, chosen.reshape(n, N * size)])
