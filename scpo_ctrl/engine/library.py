"""The compiled engine of a closed loop: one library for each of its jobs, compiled when that is first asked for."""

import ctypes
import importlib.resources
from typing import Any

from scpo_ctrl.compiled import compile_library
from scpo_ctrl.engine.emit import model_header
from scpo_ctrl.engine.loop import Loop
from scpo_ctrl.engine.stage import constraints_in_c, cost_in_c

_HEADERS = (
    "lanes.h", "product.h", "engine.h", "stage.h", "network.h", "law.h", "threads.h", "pack.h", "backward.h",
    "adjoint.h", "sensitivity.h",
)  # fmt: skip
_address = ctypes.c_void_p
_long, _double = ctypes.c_long, ctypes.c_double
# What each file has for Python: arguments of functions without a result, and of those that return a size.
_FUNCTIONS: dict[str, dict[str, list[Any]]] = {
    "evaluate.c": {
        "engine_evaluate": [_address, _long, _address, _long, _address, _address, _long, _address],
        "engine_differences": [_address, _long, _address, _long, _address, _double, *[_address] * 3, _long, _address],
        "engine_trajectories": [_address, _address, _address, _address, _long, _address],
        "engine_functions": [_address, _long, _address, _address, _address],
        "engine_evaluate_size": [],
    },
    "adjoint.c": {
        "engine_gradient": [_address, _long, *[_address] * 4, _long, _long, _address, _address, _long, _address],
        "engine_scenario_gradients": [*[_address] * 3, _long, *[_address] * 5, _long, _address],
        "engine_gradient_size": [_address],
        "engine_scenario_gradients_size": [_address],
    },
    "jacobian.c": {
        "engine_jacobian": [_address, _address, _long, _address, _long, _address, _long, _address],
        "engine_jacobian_size": [_long],
    },
    "gauss_newton.c": {
        "engine_gauss_newton": [_address, _address, _long, _address, _address, _address, _long, _address],
        "engine_gauss_newton_size": [],
    },
}
_FILE_OF = {function: file for file, functions in _FUNCTIONS.items() for function in functions}


class Library:
    """The C functions of a closed loop, ``engine_…``, as attributes.

    Those that roll out are compiled at once, so that what a compiler refuses is said where the loop is made;
    derivatives when they are first asked for, which many loops never do.

    Parameters
    ----------
    loop : Loop

    Raises
    ------
    UnknownOperationError
        If an expression uses an operation that has no C.
    CompilerError
        If the compiler refuses it.
    """

    def __init__(self, loop: Loop) -> None:
        self._header = header_of(loop)
        self._load("evaluate.c")

    def __getattr__(self, name: str) -> Any:
        """Compile what has a function that is not there yet; calls of it release the interpreter lock."""
        if name not in _FILE_OF:
            raise AttributeError(f"the engine has no function {name!r}")
        self._load(_FILE_OF[name])
        return self.__dict__[name]

    def complete(self) -> None:
        """Compile what has not been asked for yet."""
        for file, functions in _FUNCTIONS.items():
            if not functions.keys() <= self.__dict__.keys():
                self._load(file)

    def _load(self, file: str) -> None:
        folder = importlib.resources.files("scpo_ctrl.engine").joinpath("c")
        sources = {name: folder.joinpath(name).read_text(encoding="utf-8") for name in (*_HEADERS, file)}
        library = ctypes.CDLL(str(compile_library(sources | {"model.h": self._header}, native=True)))
        for name, arguments in _FUNCTIONS[file].items():
            function = getattr(library, name)
            function.argtypes, function.restype = arguments, _long if name.endswith("_size") else None
            self.__dict__[name] = function


def header_of(loop: Loop) -> str:
    """Return ``model.h`` of a closed loop; loops whose headers are equal share their libraries.

    Parameters
    ----------
    loop : Loop

    Returns
    -------
    str

    Raises
    ------
    UnknownOperationError
        If an expression uses an operation that has no C.
    """
    steps, terms = loop.metrics.steps, loop.stage.terms
    return model_header(
        loop.policy,
        None if steps is None else constraints_in_c(steps),
        None if terms is None else cost_in_c(terms),
    )
