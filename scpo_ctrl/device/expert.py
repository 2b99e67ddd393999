"""The objective of a device that imitates: examples of an expert in a ring, and the error of the command over them."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.device.model import DeviceModel
from scpo_ctrl.device.policy import Derivatives, Parameters
from scpo_ctrl.errors import DomainError
from scpo_ctrl.validate import as_array

_FARTHEST = 1e12  # entry of an example: squares of errors stay numbers in float


@dataclass
class Expert:
    """What an expert does: scpo_expert of the exported header."""

    model: DeviceModel
    room: int  # SCPO_FRESH
    x: np.ndarray = field(init=False)  # (k, nx) examples in the objective, the oldest first
    u: np.ndarray = field(init=False)  # (k, nu)
    lost: int = field(default=0, init=False)  # examples that found the ring full

    def __post_init__(self) -> None:
        none = np.zeros(0, self.model.arithmetic.number)
        self.x, self.u = none.reshape(-1, self.model.nx), none.reshape(-1, self.model.nu)
        self._fresh = list(zip(self.model.examples_x, self.model.examples_u, strict=True))

    def observe(self, x: ArrayLike, u: ArrayLike) -> bool:
        """Take in what the expert does at a state; it joins the objective between steps.

        Parameters
        ----------
        x : array_like, shape (nx,)
        u : array_like, shape (nu,)

        Returns
        -------
        bool
            False where the ring is full until the next step begins, and the example is lost.
        """
        example = as_array("x", x, (self.model.nx,)), as_array("u", u, (self.model.nu,))
        if max(np.abs(part).max() for part in example) > _FARTHEST:
            raise DomainError(f"an example of the expert has an entry beyond {_FARTHEST:g}; observe what was measured")
        if len(self.x) + len(self._fresh) == self.model.examples + self.room:
            self.lost += 1
            return False
        self._fresh.append((self.model.arithmetic.array(example[0]), self.model.arithmetic.array(example[1])))
        return True

    def forget(self) -> None:
        """Forget all examples; restart the adaptation then."""
        self.x, self.u = self.x[:0], self.u[:0]
        self._fresh = []

    @property
    def has_news(self) -> bool:
        """Whether fresh examples are worth another step: half of the room for them, or any where there are none."""
        fresh = len(self._fresh)
        return fresh >= (self.room + 1) // 2 or (not len(self.x) and fresh > 0)

    def take_in(self) -> bool:
        """Let fresh examples join the objective, and the oldest leave it; returns whether there were any."""
        fresh, self._fresh = self._fresh, []
        if fresh:
            x, u = zip(*fresh, strict=True)
            self.x = np.vstack([self.x, *x])[-self.model.examples :]
            self.u = np.vstack([self.u, *u])[-self.model.examples :]
        return bool(fresh)

    @property
    def slices(self) -> int:
        """Pieces that a pass over the examples takes."""
        return -(-len(self.x) // self._slice)

    @property
    def _slice(self) -> int:
        """Examples of a piece."""
        return (self.model.horizon + 1) // 2

    def error(self, parameters: Parameters) -> np.floating[Any]:
        """Return the squared error of the command, summed over the examples.

        Parameters
        ----------
        parameters : Parameters

        Returns
        -------
        number
        """
        error = parameters.command(self.x)[0] - self.u
        return self._sum(error)

    def _sum(self, error: np.ndarray) -> Any:
        return self.model.arithmetic.sum(self.model.arithmetic.inner(error, error))

    @property
    def weight(self) -> Any:
        """Of an example in the objective."""
        return self.model.arithmetic.number(1) / self.model.arithmetic.number(len(self.x))

    def differentiate(self, parameters: Parameters) -> tuple[Any, np.ndarray]:
        """Return that sum and its derivative.

        Parameters
        ----------
        parameters : Parameters

        Returns
        -------
        number
        gradient : numpy.ndarray, shape (d,)
        """
        model = self.model
        command, hidden = parameters.command(self.x)
        error, each = command - self.u, Derivatives.zeros(model, len(self.x))
        by_v = error * model.arithmetic.number(2)
        parameters.backward(self.x, hidden, by_v, np.zeros_like(self.x), each)
        gradient = np.zeros_like(parameters.theta)
        for start in range(0, len(self.x), self._slice):
            of = slice(start, start + self._slice)
            at_zero = [model.arithmetic.sum(layer[of].T)[None] for layer in each.at_zero]
            part = Derivatives.view(model, model.arithmetic.sum(each.rows[of].T)[None], at_zero)
            parameters.backward_at_zero(part)
            gradient = gradient + part.rows[0]
        return self._sum(error), gradient
