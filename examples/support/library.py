"""An export's C code as a shared library of this process."""

import ctypes
import subprocess
from pathlib import Path

import numpy as np

from scpo_ctrl import Result
from scpo_ctrl.codegen import export
from scpo_ctrl.compiled import find_compiler
from scpo_ctrl.errors import CompilerError

OK = 0
_WORKSPACE = 1 << 16  # doubles, far more than scpo_workspace


class Library:
    """``scpo_control`` and ``scpo_project`` of a run, compiled for this computer.

    Parameters
    ----------
    result : Result
        The run that is exported.
    real : str
        "double" or "float".
    folder : pathlib.Path
        Where code and library go.
    """

    def __init__(self, result: Result, real: str, folder: Path) -> None:
        compiler = find_compiler()
        if compiler is None:
            raise CompilerError("no C compiler found (looked for $CC, cc, gcc, clang)")
        export(result, folder / "c", real=real, measured=False)
        self.real = np.float64 if real == "double" else np.float32
        sources, library = sorted((folder / "c" / "src").glob("*.c")), folder / "scpo.so"
        flags = ["-std=c99", "-O2", "-shared", "-fPIC", f"-I{folder / 'c' / 'include'}"]
        subprocess.run([*compiler, *flags, *map(str, sources), "-lm", "-o", str(library)], check=True)
        self._loaded = ctypes.CDLL(str(library))
        self._work = np.zeros(_WORKSPACE)
        number = ctypes.c_double if real == "double" else ctypes.c_float
        sizes, arrays = [("dim", ctypes.c_int), ("count", ctypes.c_int)], [(name, ctypes.c_void_p) for name in "ucGeL"]
        fields = [*sizes, *arrays, ("r", number), ("work", ctypes.c_void_p)]
        self._projection = type("Projection", (ctypes.Structure,), {"_fields_": fields})

    def control(self, theta: np.ndarray, x: np.ndarray, nu: int) -> np.ndarray:
        """Return the commands for a stack of states, shape (N, nu)."""
        theta, x = np.ascontiguousarray(theta, self.real), np.ascontiguousarray(x, self.real)
        u = np.full((len(x), nu), np.nan, self.real)
        for state, command in zip(x, u, strict=True):
            status = self._loaded.scpo_control(_pointer(theta), _pointer(state), _pointer(command))
            if status != OK:
                raise ValueError(f"scpo_control returned {status}")
        return u

    def project(
        self, u: np.ndarray, c: np.ndarray, G: np.ndarray, e: np.ndarray, L: np.ndarray, r: float
    ) -> np.ndarray:
        """Return delta (E5), in the library's arithmetic."""
        parts = [np.ascontiguousarray(part, self.real) for part in (u, c, G, e, L)]
        delta = np.full(len(u), np.nan, self.real)
        problem = self._projection(len(u), len(c), *map(_pointer, parts), r, _pointer(self._work))
        status = self._loaded.scpo_project(ctypes.byref(problem), _pointer(delta))
        if status != OK:
            raise ValueError(f"scpo_project returned {status}")
        return delta


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
