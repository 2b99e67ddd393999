"""Closed-loop costs ℓ(x, u, p) of the user's, and the weights of quadratic ones."""

from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np

from scpo_ctrl.engine.loop import CostTerms
from scpo_ctrl.errors import DimensionError, DomainError
from scpo_ctrl.loop.constraint import check_at_rest, check_symbols
from scpo_ctrl.messages import shown
from scpo_ctrl.models import Plant
from scpo_ctrl.models.pickled import Pickled
from scpo_ctrl.models.units import Units
from scpo_ctrl.sealed import Sealed
from scpo_ctrl.shown import ShownAsWritten
from scpo_ctrl.validate import as_flag, as_scalar
from scpo_ctrl.weights import ROUNDING, as_weight, normalised


@dataclass(frozen=True, eq=False, repr=False)
class Cost(
    Pickled,
    ShownAsWritten,
    Sealed,
    instead="write it as an expression of plant.x, plant.u and plant.p, or give a UserObjective",
):
    """A stage cost and a terminal cost as expressions of the plant's own symbols: energy, profit, tracking of outputs.

    Minimised is the mean over scenarios of (Σ_{t<N} ℓ(x_t, u_t, p) + ℓ_N(x_N, p)) / N, u the input that is applied.
    The weight of changes adds Δu_tᵀ R_du Δu_t for t = 1…N-1. With `least_squares` both expressions are columns of
    residuals, whose squares are summed up: then the method "gauss_newton" knows them too.

    Parameters
    ----------
    stage : casadi.SX
        Scalar ℓ of plant.x, plant.u and plant.p; residuals (k, 1) with least_squares.
    terminal : casadi.SX or None, optional
        Scalar ℓ_N of plant.x and plant.p; residuals (k, 1) with least_squares.
    least_squares : bool, optional
        Whether both expressions are residuals.
    R_du : array_like or None, shape (nu, nu), (nu,) or (), optional
        Weight of changes of the input: a matrix, its diagonal, or one number for all inputs.

    Examples
    --------
    >>> import scpo_ctrl as sc
    >>> from scpo_ctrl.models import double_integrator
    >>> plant = double_integrator()
    >>> energy = plant.u * plant.x[1] + 0.5 * plant.u**2
    >>> cost = sc.Cost(energy + plant.x[0] ** 2, terminal=plant.x[1] ** 2, R_du=[0.1])
    """

    stage: ca.SX
    terminal: ca.SX | None = None
    least_squares: bool = False
    R_du: np.ndarray | None = None

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "least_squares", as_flag("least_squares", self.least_squares))
        for key in ("stage", "terminal"):
            value = getattr(self, key)
            if key == "terminal" and value is None:
                continue
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                value = ca.SX(as_scalar(key, value))
            if not isinstance(value, ca.SX):
                raise DomainError(f"{key} cost is {shown(value)}, expected casadi.SX of plant.x, plant.u and plant.p")
            value = value.T if value.shape[0] == 1 else value
            if value.shape[1] != 1 or not value.numel() or (value.numel() > 1 and not self.least_squares):
                how = "a column of residuals" if self.least_squares else "one number; residuals need least_squares=True"
                raise DimensionError(f"{key} cost has shape {value.shape}, expected {how}")
            put(self, key, ca.densify(value))
        if self.R_du is not None:
            put(self, "R_du", as_weight("R_du", self.R_du))

    def terms(self, plant: Plant, inputs: int) -> CostTerms:
        """Return the cost as functions.

        Parameters
        ----------
        plant : Plant
            Of the loop.
        inputs : int
            How many of its inputs are inputs, and not memories that follow.

        Returns
        -------
        CostTerms

        Raises
        ------
        DomainError
            If it depends on other symbols or on none, or has no finite value or derivative at the equilibrium.
        DimensionError
            If a weight does not fit.
        """
        x, u, v, p = plant.x, plant.u, ca.SX.sym("v", plant.nu), plant.p
        terminal, z = ca.SX(0, 1) if self.terminal is None else self.terminal, ca.vertcat(x, u)
        for what, part in (("the stage cost", self.stage), ("the terminal cost", terminal)):
            check_symbols(what, part, plant)
            both = ca.Function("cost", [x, u, p], [part, ca.densify(ca.jacobian(part, z))])
            values, slopes = (np.array(found) for found in both(plant.x_eq, plant.u_eq, plant.p_nominal))
            for value, slope in zip(values.ravel(), slopes, strict=False):
                check_at_rest(what, value, slope)
        if ca.depends_on(terminal, u):
            raise DomainError(
                "the terminal cost depends on the input, and there is none at t = N; write it of the state"
            )
        if not (ca.depends_on(self.stage, z) or ca.depends_on(terminal, x)) and self.R_du is None:
            raise DomainError("the cost depends on no state and no input, so no policy changes it")
        change = np.zeros(inputs) if self.R_du is None else fitted("R_du", self.R_du, inputs)
        change = padded(change, plant.nu - inputs)
        if self.least_squares:
            r = ca.vertcat(self.stage, root(change) @ (u - v))
            return _squares([x, u, v, p], r, terminal)
        stage = self.stage + quadratic(change, u - v)
        end = ca.SX(0) if self.terminal is None else terminal
        return CostTerms(ca.Function("stage", [x, u, v, p], [stage]), ca.Function("terminal", [x, p], [end]))


def quadratic_terms(
    plant: Plant, Q: np.ndarray, R: np.ndarray, P_N: np.ndarray | None, R_du: np.ndarray | None
) -> CostTerms:
    """Return the cost zᵀQz + wᵀRw + ΔuᵀR_duΔu and z_NᵀP_N z_N of deviations z and w from rest as functions.

    Parameters
    ----------
    plant : Plant
    Q, R, P_N, R_du : numpy.ndarray, shape (n,) or (n, n)
        Of states, inputs, the last state, and changes of the input; of none of the latter two if None.

    Returns
    -------
    CostTerms
    """
    x, u, v, p = plant.x, plant.u, ca.SX.sym("v", plant.nu), plant.p
    z, w = x - ca.DM(plant.x_eq), u - ca.DM(plant.u_eq)
    pairs = [(Q, z), (R, w)] + ([] if R_du is None else [(R_du, u - v)])
    stage = sum((quadratic(W, value) for W, value in pairs), ca.SX(0))
    end = ca.SX(0) if P_N is None else quadratic(P_N, z)
    squares = _squares(
        [x, u, v, p],
        ca.vertcat(*(root(W) @ value for W, value in pairs)),
        ca.SX(0, 1) if P_N is None else root(P_N) @ z,
    )
    return CostTerms(
        ca.Function("stage", [x, u, v, p], [stage]),
        ca.Function("terminal", [x, p], [end]),
        squares.residuals,
        squares.terminal_residuals,
    )


def terms_in_units(terms: CostTerms, plant: Plant, units: Units) -> CostTerms:
    """Return the same cost of the plant in other units.

    Parameters
    ----------
    terms : CostTerms
    plant : Plant
        The one that they are of.
    units : Units

    Returns
    -------
    CostTerms
    """
    x, u, v, p = (ca.SX.sym(n, k) for n, k in (("x", plant.nx), ("u", plant.nu), ("v", plant.nu), ("p", plant.npar)))
    outer = ca.DM(units.x) * x, ca.DM(units.u) * u, ca.DM(units.u) * v, p
    residuals, ends = terms.residuals, terms.terminal_residuals
    return CostTerms(
        ca.Function("stage", [x, u, v, p], [terms.stage(*outer)]),
        ca.Function("terminal", [x, p], [terms.terminal(outer[0], p)]),
        None if residuals is None else ca.Function("residuals", [x, u, v, p], [residuals(*outer)]),
        None if ends is None else ca.Function("terminal_residuals", [x, p], [ends(outer[0], p)]),
    )


def fitted(key: str, W: Any, size: int) -> np.ndarray:
    """Return a weight if it has the size needed; a number is that of all entries of the diagonal.

    Parameters
    ----------
    key : str
    W : numpy.ndarray, shape (n,), (n, n) or ()
    size : int

    Returns
    -------
    numpy.ndarray, shape (n,) or (n, n)

    Raises
    ------
    DimensionError
        If it has not.
    """
    if np.ndim(W) == 0:
        return np.full(size, W)
    if len(W) != size:
        raise DimensionError(f"objective {key} has {len(W)} entries, expected {size}")
    return np.asarray(W)


def padded(W: np.ndarray, more: int) -> np.ndarray:
    """Return a weight of more entries, which do not count.

    Parameters
    ----------
    W : numpy.ndarray, shape (n,) or (n, n)
    more : int

    Returns
    -------
    numpy.ndarray
    """
    return np.pad(W, (0, more))


def quadratic(W: np.ndarray, z: ca.SX) -> ca.SX:
    """Return zᵀ W z.

    Parameters
    ----------
    W : numpy.ndarray, shape (n,) or (n, n)
    z : casadi.SX, shape (n, 1)

    Returns
    -------
    casadi.SX, scalar
    """
    return ca.dot(ca.DM(W), z**2) if W.ndim == 1 else ca.dot(z, ca.sparsify(ca.DM(W)) @ z)


def root(W: np.ndarray) -> ca.DM:
    """Return L with LᵀL = W, without rows of zeros.

    Parameters
    ----------
    W : numpy.ndarray, shape (n,) or (n, n)

    Returns
    -------
    casadi.DM, shape (k, n)
        Sparse.
    """
    if W.ndim == 1:
        L = np.diag(np.sqrt(W))[W > 0]
    else:
        size, values, vectors = normalised(W)
        kept = values > ROUNDING * len(W)
        L = (vectors[:, kept] * np.sqrt(values[kept])).T * size
    return ca.sparsify(ca.DM(L.reshape(-1, len(W))))


def _squares(symbols: list[ca.SX], r: ca.SX, r_N: ca.SX) -> CostTerms:
    """Return the cost that is the sum of the squares of residuals."""
    x, _, _, p = symbols
    ends = ca.SX(0, 1) if not r_N.numel() else ca.densify(r_N)
    return CostTerms(
        ca.Function("stage", symbols, [ca.sumsqr(r)]),
        ca.Function("terminal", [x, p], [ca.sumsqr(ends) if ends.numel() else ca.SX(0)]),
        ca.Function("residuals", symbols, [ca.densify(r)]),
        ca.Function("terminal_residuals", [x, p], [ends]),
    )
