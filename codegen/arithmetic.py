"""Operations of a graph in numpy: in float what a microcontroller computes, up to the last bits of functions."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scpo_ctrl.codegen.expressions import Graph

_UNARY: dict[str, Callable[..., Any]] = {
    "neg": np.negative, "sqrt": np.sqrt, "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin,
    "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "asinh": np.arcsinh,
    "acosh": np.arccosh, "atanh": np.arctanh, "exp": np.exp, "expm1": np.expm1, "log": np.log, "log1p": np.log1p,
    "fabs": np.abs, "floor": np.floor, "ceil": np.ceil, "sign": np.sign, "not": np.logical_not,
}  # fmt: skip
_BINARY: dict[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "pow": np.power, "atan2": np.arctan2,
    "fmod": np.fmod, "hypot": np.hypot, "copysign": np.copysign, "fmin": np.fmin, "fmax": np.fmax, "lt": np.less,
    "le": np.less_equal, "eq": np.equal, "ne": np.not_equal, "and": np.logical_and, "or": np.logical_or,
}  # fmt: skip


def result(name: str, of: list[Any]) -> Any:
    """Return the result of an operation by numpy.

    Parameters
    ----------
    name : str
    of : list of numpy.ndarray
        What it takes.

    Returns
    -------
    numpy.ndarray
    """
    if name == "choice":
        return np.where(of[0], of[1], of[2])
    if name == "erf":
        from scipy.special import erf

        return erf(of[0])
    return _UNARY[name](of[0]) if name in _UNARY else _BINARY[name](*of)


def evaluated(
    graph: Graph, wanted: Sequence[int], inputs: Sequence[np.ndarray], number: type[np.floating[Any]] = np.float64
) -> np.ndarray:
    """Evaluate operations of a graph, each rounded to a type.

    Parameters
    ----------
    graph : Graph
    wanted : sequence of int
        Numbers of the results.
    inputs : sequence of numpy.ndarray, shapes (entries, ...)
        Values of every input that is needed.
    number : type
        Of all arithmetic.

    Returns
    -------
    numpy.ndarray, shape (wanted, ...)
        Not finite where the arithmetic gives no number.
    """
    values: dict[int, Any] = {}
    with np.errstate(all="ignore"):
        for k in graph.reached(wanted):
            name, of, value = graph.nodes[k]
            if name == "constant":
                values[k] = number(value)
            elif name == "input":
                values[k] = np.asarray(inputs[of[0]][of[1]]).astype(number)
            else:
                values[k] = result(name, [values[operand] for operand in of]).astype(number)
    shape = np.broadcast_shapes(*(np.shape(values[k]) for k in wanted))
    return np.array([np.broadcast_to(values[k], shape) for k in wanted])
