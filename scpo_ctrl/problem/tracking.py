"""Costs of how well a loop follows its references."""

from __future__ import annotations

from collections.abc import Sequence

import casadi as ca
import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.errors import DimensionError, DomainError
from scpo_ctrl.loop.controlled import ControllerPolicy
from scpo_ctrl.loop.references import outputs_of_references
from scpo_ctrl.models import Plant
from scpo_ctrl.models.labelled import Place, as_places
from scpo_ctrl.models.signals import TIME
from scpo_ctrl.models.varying import first_varying
from scpo_ctrl.problem.cost import Cost, fitted, quadratic, root
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.validate import as_choice
from scpo_ctrl.weights import as_weight

_ROUNDED = 1e-3  # part of the largest reference, of which the corner of |e| at zero is rounded


def tracking(
    policy: ControllerPolicy,
    Q: ArrayLike,
    R: ArrayLike | None = None,
    *,
    R_du: ArrayLike | None = None,
    outputs: Sequence[Place] | None = None,
    kind: str = "squares",
) -> Cost:
    """Return the cost of the tracking error e = r - y of a loop.

    Parameters
    ----------
    policy : ControllerPolicy
        Of `controlled`.
    Q : array_like, shape (nr, nr), (nr,) or ()
        Weight of each error; with "itae" a diagonal.
    R : array_like, shape (nu, nu), (nu,) or (), optional
        Weight of the squared deviation of each input from what it is at rest at first.
    R_du : array_like, shape (nu, nu), (nu,) or (), optional
        Weight of changes of the input.
    outputs : sequence of str or int, optional
        Which measured signal each reference is for, by label or number; by default that of its name ("speed reference"
        is for "speed"), else they go in pairs.
    kind : {"squares", "itae"}
        Σ Q e², or Σ Q t |e|, the integral of time-weighted absolute error, whose corner at e = 0 is rounded.

    Returns
    -------
    Cost
        With "squares" one of least squares.

    Raises
    ------
    DomainError
        If the loop has no reference, an output is unknown, or "itae" finds no time, as no reference varies.
    DimensionError
        If weights or outputs do not fit.

    References
    ----------
    D. Graham, R. C. Lathrop, "The synthesis of 'optimum' transient response: criteria and standard forms",
    Trans. AIEE 72(9), 1953 (ITAE).

    Examples
    --------
    After the example of `overshoot`:

    >>> cost = sc.tracking(loop, Q=[1.0], R=[1e-4])
    >>> type(cost).__name__
    'Cost'
    """
    as_instance("policy", policy, ControllerPolicy)
    as_choice("kind", kind, ("squares", "itae"))
    plant, r, inputs = policy.plant, policy.references, policy.controlled_plant.nu
    if not r.numel():
        raise DomainError(f"controller {policy.controller.name!r} has no reference; give a Quadratic or a Cost")
    e = r - followed(policy, outputs)
    errors = fitted("Q", as_weight("Q", Q), r.numel())
    effort = np.zeros(inputs) if R is None else fitted("R", as_weight("R", R), inputs)
    changes = None if R_du is None else as_weight("R_du", R_du)
    moved = plant.u[:inputs] - ca.DM(plant.u_eq[:inputs])
    if kind == "squares":
        return Cost(ca.vertcat(root(errors) @ e, root(effort) @ moved), least_squares=True, R_du=changes)
    if not policy.signals and not plant.signals:
        raise DomainError("kind is 'itae', which weighs by time, and no reference varies; give one as a signal")
    size = ca.DM(_sizes(policy))
    late = plant.p[plant.p_labels.index(TIME)] * (ca.sqrt(e**2 + size**2) - size)
    if errors.ndim == 2:
        raise DimensionError("Q is a matrix, and kind 'itae' weighs each error by itself; give a diagonal")
    return Cost(ca.dot(ca.DM(errors), late) + quadratic(effort, moved), R_du=changes)


def followed(policy: ControllerPolicy, outputs: Sequence[Place] | None) -> ca.SX:
    """Return what the references are for, without noise.

    Parameters
    ----------
    policy : ControllerPolicy
    outputs : sequence of str or int, optional
        Labels of measured signals.

    Returns
    -------
    casadi.SX, shape (nr, 1)

    Raises
    ------
    DomainError, DimensionError
        As of `tracking`.
    """
    plant, count = policy.controlled_plant, policy.controller.r.numel()
    labels, y = plant.measured_labels, _quiet(policy.controlled_plant)
    if outputs is None:
        which = outputs_of_references(plant, policy.controller)
        if which is None:
            raise DimensionError(
                f"the loop has {count} references and measures {y.numel()} signals; say by outputs which of "
                f"{', '.join(labels)} each is for"
            )
        return y[which]
    places = as_places("outputs", outputs, labels, "measured signal")
    if len(places) != count:
        raise DimensionError(f"outputs has {len(places)} entries, expected {count}: one for each reference")
    return y[places]


def _quiet(plant: Plant) -> ca.SX:
    """Return what is measured, with noise at zero."""
    y, first = plant.measured, first_varying(plant)
    for k, signal in enumerate(plant.signals):
        if signal.kind == "noise":
            y = ca.substitute(y, plant.p[first + k], ca.SX(0))
    return y


def _sizes(policy: ControllerPolicy) -> np.ndarray:
    """Return how near to zero an error is none, (nr,)."""
    reaches = [
        np.abs(policy.signals[label].reach).max() if label in policy.signals else abs(value)
        for label, value in zip(policy.controller.r_labels, policy.reference, strict=True)
    ]
    largest = np.array(reaches)
    return _ROUNDED * np.where(largest > 0, largest, 1.0)
