"""What a model predicts over windows of a log, and how that changes with its parameters."""

import casadi as ca
import numpy as np

from scpo_ctrl.identification.log import Windows
from scpo_ctrl.models import Plant


class Prediction:
    """Predictions over windows, with their sensitivities, all windows at once.

    Along a window x⁺ = f(x, u, p), and the sensitivity S = ∂x/∂p follows S⁺ = ∂f/∂x S + ∂f/∂p, S = 0 at first.

    Parameters
    ----------
    plant : Plant
        Discrete.
    windows : Windows
    places : list of int
        Parameters whose sensitivities are needed, by their places in p.
    """

    def __init__(self, plant: Plant, windows: Windows, places: list[int]) -> None:
        W, H, _ = windows.u.shape
        nx, k = plant.nx, len(places)
        S = ca.SX.sym("S", nx, k)
        A, B = ca.jacobian(plant.f, plant.x), ca.jacobian(plant.f, plant.p)[:, places]
        state, applied = ca.vertcat(plant.x, ca.vec(S)), ca.vertcat(plant.u, plant.p)
        step = ca.Function("step", [state, applied], [ca.vertcat(plant.f, ca.vec(A @ S + B))])
        self._roll = step.map(W) if H == 1 else step.mapaccum("roll", H).map(W)
        self._start = np.vstack([windows.x0.T, np.zeros((nx * k, W))])
        self._u = windows.u.reshape(W * H, -1).T
        self._shape = (W, H, nx, k)

    def __call__(self, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Predict.

        Parameters
        ----------
        p : numpy.ndarray, shape (np,)
            Parameters of the plant [p_units].

        Returns
        -------
        x : numpy.ndarray, shape (W, H, nx)
            Predicted states.
        S : numpy.ndarray, shape (W, H, nx, k)
            Their derivatives by the parameters.
        """
        W, H, nx, k = self._shape
        applied = np.vstack([self._u, np.tile(p[:, None], W * H)])
        rows = np.array(self._roll(self._start, applied)).T
        return rows[:, :nx].reshape(W, H, nx), rows[:, nx:].reshape(W, H, k, nx).swapaxes(2, 3)
