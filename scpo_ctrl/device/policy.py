"""The policy forwards and, for derivatives, backwards, over all rollouts at once."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from scpo_ctrl.device.model import DeviceModel
from scpo_ctrl.loop.policy import layers_of


@dataclass(frozen=True)
class Parameters:
    """θ, as the matrices that it stacks, with the hidden layers at the equilibrium; one θ for all or for each."""

    model: DeviceModel
    theta: np.ndarray  # (d,) or (rollouts, d)

    @cached_property
    def of_whole(self) -> "Parameters":
        """The same without the cloud."""
        return self if self.theta.ndim == 1 else Parameters(self.model, self.theta[: self.model.whole])

    @cached_property
    def layers(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Weights (out, in) and offsets (out,) of every hidden layer."""
        return layers_of(self.theta, self.model.widths)[0]

    @cached_property
    def output(self) -> np.ndarray:
        """Weights of the output layer, (nu, width)."""
        return layers_of(self.theta, self.model.widths)[1]

    @cached_property
    def at_zero(self) -> list[np.ndarray]:
        """The hidden layers at the equilibrium, each (out,)."""
        found: list[np.ndarray] = []
        for W, b in self.layers:
            fed = self.model.arithmetic.inner(W, found[-1][..., None, :]) if found else np.zeros_like(b)
            found.append(self.model.arithmetic.tanh(fed + b))
        return found

    def command(self, x: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return commands before saturation, and the hidden layers.

        Parameters
        ----------
        x : numpy.ndarray, shape (n, nx)

        Returns
        -------
        command : numpy.ndarray, shape (n, nu)
        hidden : list of numpy.ndarray, shapes (n, out)
        """
        model, inner = self.model, self.model.arithmetic.inner
        z = x - model.x_eq
        y = z / model.scale
        hidden: list[np.ndarray] = []
        for W, b in self.layers:
            fed = hidden[-1] if hidden else y
            hidden.append(model.arithmetic.tanh(inner(W, fed[:, None, :]) + b))
        moved = hidden[-1] - self.at_zero[-1] if hidden else y
        residual = model.input_scale * inner(self.output, moved[:, None, :])
        return model.u_eq - inner(model.K, z[:, None, :]) + residual, hidden

    def backward(
        self, x: np.ndarray, hidden: list[np.ndarray], by_v: np.ndarray, by_x: np.ndarray, sums: "Derivatives"
    ) -> None:
        """Go through the policy, from derivatives by the command to those by the state and θ.

        Parameters
        ----------
        x : numpy.ndarray, shape (n, nx)
        hidden : list of numpy.ndarray, shapes (n, out)
        by_v : numpy.ndarray, shape (n, nu)
        by_x : numpy.ndarray, shape (n, nx)
            Added to.
        sums : Derivatives
            Added to, n of them.
        """
        model, inner = self.model, self.model.arithmetic.inner
        y = (x - model.x_eq) / model.scale
        for j in range(model.nu):
            by_x -= model.K[j] * by_v[:, j : j + 1]
        feature = hidden[-1] - self.at_zero[-1] if hidden else y
        by = by_v * model.input_scale
        sums.output += by[:, :, None] * feature[:, None, :]
        moved = inner(by[:, None, :], self.output.T)
        if hidden:
            sums.at_zero[-1] -= moved
        for k in reversed(range(len(self.layers))):
            moved = moved * (1 - hidden[k] * hidden[k])
            W, b = sums.layers[k]
            W += moved[:, :, None] * (hidden[k - 1] if k else y)[:, None, :]
            b += moved
            moved = inner(moved[:, None, :], self.layers[k][0].T)
        by_x += moved / model.scale

    def backward_at_zero(self, sums: "Derivatives") -> None:
        """Go through the hidden layers at the equilibrium, from what `sums` has by them to θ; `sums` is added to."""
        for k in reversed(range(len(self.layers))):
            a = self.at_zero[k]
            moved = sums.at_zero[k] * (1 - a * a)
            W, b = sums.layers[k]
            if k:
                W += moved[:, :, None] * self.at_zero[k - 1]
                sums.at_zero[k - 1] += self.model.arithmetic.inner(moved[:, None, :], self.layers[k][0].T)
            b += moved


@dataclass
class Derivatives:
    """Rows of derivatives by θ, and by the hidden layers at the equilibrium."""

    rows: np.ndarray  # (n, d)
    at_zero: list[np.ndarray]  # (n, out) each
    layers: list[tuple[np.ndarray, np.ndarray]]  # (n, out, in) and (n, out) of rows
    output: np.ndarray  # (n, nu, width) of rows

    @classmethod
    def zeros(cls, model: DeviceModel, count: int) -> "Derivatives":
        """Return rows to begin with.

        Parameters
        ----------
        model : DeviceModel
        count : int

        Returns
        -------
        Derivatives
        """
        number = model.arithmetic.number
        at_zero = [np.zeros((count, width), number) for width in model.widths[1:-1]]
        return cls.view(model, np.zeros((count, model.theta_start.size), number), at_zero)

    @classmethod
    def view(cls, model: DeviceModel, rows: np.ndarray, at_zero: list[np.ndarray]) -> "Derivatives":
        """Return rows with their parts, which share their memory."""
        return cls(rows, at_zero, *layers_of(rows, model.widths))

    def part(self, model: DeviceModel, start: int, end: int) -> "Derivatives":
        """Return some of the rows, which share their memory."""
        return self.view(model, self.rows[start:end], [a[start:end] for a in self.at_zero])
