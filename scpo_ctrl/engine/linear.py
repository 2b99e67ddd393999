"""The large affine part of a plant as tables: loops over numbers in C, where a statement an entry would not compile."""

from dataclasses import dataclass
from itertools import pairwise

import casadi as ca
import numpy as np

from scpo_ctrl.models import Plant

FEWEST_ENTRIES = 200  # smaller affine parts are written as statements


@dataclass(frozen=True)
class LinearPart:
    """Rows of f that are affine in x, u and p, as f = M [x; u] + what depends on p only."""

    rows: list[int]
    starts: list[int]  # where each state's entries begin, nx + 1 numbers
    columns: list[int]  # per entry; those of u come after those of x
    values: list[float]

    @property
    def rows_alike(self) -> list[int]:
        """Per state, how many rows from this one on have the same columns."""
        entries = [self.columns[start:end] for start, end in pairwise(self.starts)]
        alike = [1] * len(entries)
        for i in reversed(range(len(entries) - 1)):
            if entries[i] == entries[i + 1]:
                alike[i] = alike[i + 1] + 1
        return alike


def linear_part(plant: Plant) -> LinearPart:
    """Return the affine rows of a plant with many entries, none where there are few.

    Parameters
    ----------
    plant : Plant

    Returns
    -------
    LinearPart
        Its numbers are the plant's, without rounding.
    """
    z, nz = ca.vertcat(plant.x, plant.u), plant.nx + plant.nu
    nothing = LinearPart([], [0] * (plant.nx + 1), [], [])
    if ca.Function("size", [z, plant.p], [plant.f]).n_instructions() < FEWEST_ENTRIES:
        return nothing
    nonlinear = np.array(ca.which_depends(plant.f, ca.vertcat(z, plant.p), 2, True), dtype=bool)
    rows = np.flatnonzero(~nonlinear).tolist()
    if not rows:
        return nothing
    direction = ca.SX.sym("direction", nz)
    along = ca.Function("along", [direction, z, plant.p], [ca.densify(ca.jtimes(plant.f[rows], z, direction))])
    M = np.zeros((plant.nx, nz))
    M[rows] = np.array(along(np.eye(nz), np.zeros((nz, nz)), np.zeros((plant.npar, nz))))
    if np.count_nonzero(M) < FEWEST_ENTRIES:
        return nothing
    where = [np.flatnonzero(row) for row in M]
    return LinearPart(
        rows,
        np.concatenate([[0], np.cumsum([len(columns) for columns in where])]).tolist(),
        np.concatenate(where).tolist(),
        np.concatenate([row[columns] for row, columns in zip(M, where, strict=True)]).tolist(),
    )


def without(plant: Plant, part: LinearPart) -> ca.SX:
    """Return what statements are left for: f where it is not affine, and what the affine rows are at x = u = 0.

    Parameters
    ----------
    plant : Plant
    part : LinearPart

    Returns
    -------
    casadi.SX, shape (nx, 1)
    """
    if not part.rows:
        return plant.f
    z = ca.vertcat(plant.x, plant.u)
    f = ca.SX(plant.f)
    f[part.rows] = ca.substitute(plant.f[part.rows], z, ca.SX.zeros(z.numel()))
    return ca.sparsify(f)
