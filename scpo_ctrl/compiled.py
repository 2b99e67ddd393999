"""CasADi functions compiled to machine code, cached by content, and evaluated on stacks without copies."""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import casadi as ca
import numpy as np

from scpo_ctrl.errors import CompilerError

# No -ffast-math and no contraction: the same numbers on every machine of an architecture.
FLAGS = ("-O3", "-fPIC", "-shared", "-ffp-contract=off")
_noticed = False


def find_compiler() -> list[str] | None:
    """Return the C compiler's command, or None if there is none.

    Returns
    -------
    list of str or None
        ``$CC`` if it is set, else the first of cc, gcc and clang on the path.
    """
    wanted = os.environ.get("CC", "").strip()
    try:
        candidates = [shlex.split(wanted)] if wanted else [["cc"], ["gcc"], ["clang"]]
    except ValueError:  # an unclosed quotation mark: no such program either
        return None
    return next((command for command in candidates if shutil.which(command[0])), None)


def compile_functions(functions: Sequence[ca.Function]) -> list[ca.Function]:
    """Compile functions into one shared library; without a compiler, return them as they are, with one notice.

    Parameters
    ----------
    functions : sequence of casadi.Function
        With distinct names.

    Returns
    -------
    list of casadi.Function
        The compiled functions, evaluated by CasADi's virtual machine where no compiler is there.

    Raises
    ------
    CompilerError
        If the compiler refuses the generated file.
    """
    compiler = find_compiler()
    if compiler is None:
        _notice_once()
        return list(functions)
    generator = ca.CodeGenerator("functions.c", {"with_header": False})
    for function in functions:
        generator.add(function)
    source = generator.dump()
    key = hashlib.sha256("\0".join([source, *compiler, *FLAGS, ca.__version__]).encode()).hexdigest()[:32]
    library = cache_folder() / f"{key}.so"
    if not library.exists():
        _compile(compiler, source, library)
    return [ca.external(function.name(), str(library)) for function in functions]


def cache_folder() -> Path:
    """Return the folder of compiled functions: ``$XDG_CACHE_HOME/scpo-ctrl``, or a temporary one.

    Returns
    -------
    pathlib.Path
        An existing, writable folder.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    for folder in (Path(base) if base else Path("~/.cache").expanduser(), Path(tempfile.gettempdir())):
        path = folder / "scpo-ctrl"
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError:
            continue
        if os.access(path, os.W_OK) and path.stat().st_uid == os.getuid():
            return path
    return Path(tempfile.mkdtemp(prefix="scpo-ctrl-"))


def _compile(compiler: list[str], source: str, library: Path) -> None:
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        c_file, built = Path(folder, "functions.c"), Path(folder, "functions.so")
        c_file.write_text(source, encoding="utf-8")
        command = [*compiler, *FLAGS, str(c_file), "-o", str(built), "-lm"]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode != 0 or not built.exists():
            first = (run.stderr or run.stdout).strip().splitlines() or ["no message"]
            raise CompilerError(
                f"{shlex.join(compiler)} failed on generated code ({first[0]}); set CC to a C99 compiler"
            )
        built.replace(library)


def _notice_once() -> None:
    global _noticed  # noqa: PLW0603  one notice a process is the point
    if not _noticed:
        wanted = os.environ.get("CC", "").strip() or "cc, gcc, clang"
        sys.stderr.write(
            f"scpo-ctrl: no C compiler found (looked for {wanted}); rollouts run in CasADi's interpreter, several "
            "times slower. Install one or set CC.\n"
        )
        _noticed = True


class StackFunction:
    """A function of θ and constant data, evaluated on stacks of θ in parallel, in chunks of bounded memory.

    Parameters
    ----------
    function : casadi.Function
        ``(theta (d, 1), *data) -> (outputs …)``, each output a column.
    data : sequence of numpy.ndarray
        Values of the other inputs, each stored the way CasADi does: a transposed C-ordered array.
    chunk : int
        Largest number of θ evaluated at once.
    """

    def __init__(self, function: ca.Function, data: Sequence[np.ndarray], *, chunk: int = 128) -> None:
        self.function = function
        self.data = [ca.DM(array) for array in data]
        self.chunk = chunk
        self._maps: dict[int, ca.Function] = {}

    def __call__(self, thetas: np.ndarray) -> list[np.ndarray]:
        """Return every output for a stack of θ.

        Parameters
        ----------
        thetas : numpy.ndarray, shape (K, d)

        Returns
        -------
        list of numpy.ndarray
            Per output, shape (K, size).
        """
        thetas = np.ascontiguousarray(thetas)
        count = len(thetas)
        results = [np.empty((count, self.function.size1_out(i))) for i in range(self.function.n_out())]
        for start in range(0, count, self.chunk):
            block = slice(start, min(start + self.chunk, count))
            buffer, evaluate = self._mapped(block.stop - start).buffer()
            buffer.set_arg(0, thetas[block].data)
            for i, result in enumerate(results):
                if result.size:
                    buffer.set_res(i, result[block].data)
            evaluate()
        return results

    def _mapped(self, count: int) -> ca.Function:
        """Bind the data to the function over `count` θ; kept, since a run needs only a few counts."""
        if count not in self._maps:
            theta = ca.MX.sym("theta", self.function.size1_in(0), count)
            data = [ca.repmat(ca.MX(array), 1, count) for array in self.data]
            threads = min(count, len(os.sched_getaffinity(0)))
            mapped = self.function if count == 1 else self.function.map(count, "thread", threads)
            self._maps[count] = ca.Function("stack", [theta], mapped.call([theta, *data]))
        return self._maps[count]
