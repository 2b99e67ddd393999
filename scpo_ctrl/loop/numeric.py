"""Policies around a black box, in numbers: networks by numpy, laws of controllers by CasADi; and their memories."""

import casadi as ca
import numpy as np

from scpo_ctrl.loop.black_box import BlackBox, Step
from scpo_ctrl.loop.controlled import ControllerPolicy, LoopPolicy
from scpo_ctrl.loop.policy import Policy
from scpo_ctrl.loop.stacked import StackedFunction
from scpo_ctrl.models import Plant


class NumericLaw:
    """The commands of a policy on stacks of states.

    Parameters
    ----------
    policy : Policy or ControllerPolicy
    """

    def __init__(self, policy: LoopPolicy) -> None:
        self._policy = policy
        if isinstance(policy, ControllerPolicy):
            s, p, theta = (
                ca.SX.sym(name, size)
                for name, size in (("s", policy.plant.nx), ("p", policy.plant.npar), ("theta", policy.theta_dim))
            )
            laws = [policy.command(s, theta, p, saturated=saturated) for saturated in (False, True)]
            self._laws = [StackedFunction(ca.Function("law", [s, p, theta], [law])) for law in laws]

    @property
    def width(self) -> int:
        """How many numbers a command takes at once, at most: the widest layer, or states and memories."""
        return max(self._policy.widths) if isinstance(self._policy, Policy) else self._policy.plant.nx

    def commands(self, x: np.ndarray, thetas: np.ndarray, p: np.ndarray, *, saturated: bool) -> np.ndarray:
        """Return commands before saturation, every θ at its own states, and the memories that follow.

        Parameters
        ----------
        x : numpy.ndarray, shape (K, S, nx)
        thetas : numpy.ndarray, shape (K, d)
        p : numpy.ndarray, shape (K, S, np)
            Plant parameters.
        saturated : bool
            Whether the memory sees the input cut to its bounds.

        Returns
        -------
        numpy.ndarray, shape (K, S, nu)
        """
        if isinstance(self._policy, Policy):
            return self._policy.commands(x, thetas)
        every = np.broadcast_to(thetas[:, None], (*x.shape[:2], thetas.shape[1]))
        return self._laws[saturated](x, np.broadcast_to(p, (*x.shape[:2], p.shape[-1])), every)[0]


def plant_alone(policy: LoopPolicy) -> Plant:
    """Return the plant of a loop without what a controller remembers.

    Parameters
    ----------
    policy : Policy or ControllerPolicy

    Returns
    -------
    Plant
    """
    return policy.controlled_plant if isinstance(policy, ControllerPolicy) else policy.plant


def box_in_loop(step: Step, policy: LoopPolicy) -> BlackBox:
    """Return a black box in the place of a loop's plant, with memories that follow exactly, as the loop says.

    It is given the parameters of the plant alone; references that vary are parameters of the loop.

    Parameters
    ----------
    step : callable
        The user's, of the plant alone in the units of the loop.
    policy : Policy or ControllerPolicy

    Returns
    -------
    BlackBox
    """
    plant, alone = policy.plant, plant_alone(policy)
    memories = plant.nx - alone.nx
    if plant.p_labels != alone.p_labels:
        step = _of_some_parameters(step, [plant.p_labels.index(label) for label in alone.p_labels])
    if not memories:
        return BlackBox(step)
    following = StackedFunction(ca.Function("following", [plant.u], [plant.f[plant.nx - memories :]]))
    return BlackBox(step, lambda u: following(u)[0], memories)


def _of_some_parameters(step: Step, which: list[int]) -> Step:
    return lambda x, u, p: step(x, u, p[:, which])
