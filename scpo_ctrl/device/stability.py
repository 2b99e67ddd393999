"""Local stability (E11) at the equilibrium, and its derivative, over all vertices at once."""

import numpy as np

from scpo_ctrl.device.model import DeviceModel
from scpo_ctrl.device.policy import Derivatives, Parameters

_LOG4 = 1.3862943611198906


def stability(parameters: Parameters, vertices: np.ndarray) -> np.ndarray:
    """Return log_4((T + floor) / (gamma + floor)) with T = |A^M|^2 in the norm of P.

    Parameters
    ----------
    parameters : Parameters
    vertices : numpy.ndarray of int, shape (k,)

    Returns
    -------
    numpy.ndarray, shape (k,)
    """
    model = parameters.model
    number, size = model.arithmetic.number, _powers(parameters, vertices)[0]
    ratio = (size + model.floor) / (model.gamma + model.floor)
    return model.arithmetic.operate("log", [ratio]) / number(_LOG4)


def stability_rows(parameters: Parameters, vertices: np.ndarray) -> np.ndarray:
    """Return the derivatives of these metrics.

    Parameters
    ----------
    parameters : Parameters
    vertices : numpy.ndarray of int, shape (k,)

    Returns
    -------
    numpy.ndarray, shape (k, d)
    """
    model, number = parameters.model, parameters.model.arithmetic.number
    size, powers, before = _powers(parameters, vertices)
    by = powers[-1] * (number(2) / ((size + model.floor) * number(_LOG4)))[:, None, None]
    for power in reversed(powers[:-1]):
        by = _product(model, by, power.transpose(0, 2, 1)) + _product(model, power.transpose(0, 2, 1), by)
    sums = Derivatives.zeros(model, len(vertices))
    for column in range(model.nx):
        by_slope = model.arithmetic.inner(model.vertex_B[vertices].transpose(0, 2, 1), by[:, None, :, column])
        _backward(parameters, column, before, by_slope, sums)
    parameters.backward_at_zero(sums)
    return sums.rows


def _powers(parameters: Parameters, vertices: np.ndarray) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """Return T (k,), the powers A, A^2, A^4, ... (k, nx, nx), and the hidden layers before tanh, (out, nx) each."""
    model, inner = parameters.model, parameters.model.arithmetic.inner
    y, before = _fed(parameters)
    slope = model.input_scale[:, None] * inner(parameters.output[:, None, :], y.T)  # (nu, nx)
    A = model.vertices[vertices] + inner(model.vertex_B[vertices][:, :, None, :], slope.T)
    powers = [A]
    for _ in range(model.doublings):
        powers.append(_product(model, powers[-1], powers[-1]))
    last = powers[-1].reshape(len(vertices), -1)
    return inner(last, last), powers, before


def _fed(parameters: Parameters) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the derivative of what feeds the output layer (width, nx), and of the layers before tanh, (out, nx)."""
    model, before = parameters.model, []
    y = model.inverse_root / model.scale[:, None]
    for (W, _), a in zip(parameters.layers, parameters.at_zero, strict=True):
        before.append(model.arithmetic.inner(W[:, None, :], y.T))
        y = before[-1] * (1 - a * a)[:, None]
    return y, before


def _backward(
    parameters: Parameters, column: int, before: list[np.ndarray], by_slope: np.ndarray, sums: Derivatives
) -> None:
    """Go through one column of the policy's derivative, from by_slope (k, nu); `sums` is added to."""
    model, inner = parameters.model, parameters.model.arithmetic.inner
    slopes = [1 - a * a for a in parameters.at_zero]
    first = model.inverse_root[:, column] / model.scale
    fed = [first, *(q[:, column] * slope for q, slope in zip(before, slopes, strict=True))]
    by = by_slope * model.input_scale
    sums.output += by[:, :, None] * fed[-1]
    moved = inner(by[:, None, :], parameters.output.T)
    for k in reversed(range(len(parameters.layers))):
        a = parameters.at_zero[k]
        sums.at_zero[k] -= 2 * a * before[k][:, column] * moved
        moved = moved * slopes[k]
        W = sums.layers[k][0]
        W += moved[:, :, None] * fed[k]
        moved = inner(moved[:, None, :], parameters.layers[k][0].T)


def _product(model: DeviceModel, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return matrix products, (k, nx, nx)."""
    return model.arithmetic.inner(x[:, :, None, :], y.transpose(0, 2, 1)[:, None, :, :])
