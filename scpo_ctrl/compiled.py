"""CasADi functions compiled to machine code, cached by content, and evaluated on stacks without copies."""

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import casadi as ca
import numpy as np

from scpo_ctrl.errors import CompilerError, OutputError

# No -ffast-math and no contraction: the same numbers on every machine of an architecture. What is left out is the
# C library's errno and traps, which nobody reads.
FLAGS = ("-fPIC", "-shared", "-ffp-contract=off")
PORTABLE = ("-O1",)  # of CasADi's functions, straight-line code that -O2 makes no faster and compiles twice as long
NATIVE = ("-O2", "-std=gnu99", "-march=native", "-pthread", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi")
_CHUNK = 128  # θ that a stack is evaluated at at once
_PATIENCE = 3.0  # seconds of compiling before that is said
_log = logging.getLogger("scpo_ctrl")
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


def most_threads() -> int:
    """Return how many threads may share work: one for each core, at most ``$SCPO_THREADS``, as workers have it.

    Returns
    -------
    int
    """
    cores, wanted = len(os.sched_getaffinity(0)), os.environ.get("SCPO_THREADS", "")
    return max(1, min(cores, int(wanted))) if wanted.isdecimal() else cores


def compile_functions(functions: Sequence[ca.Function]) -> list[ca.Function]:
    """Compile functions into one shared library; without a compiler, return them as they are, with one notice.

    Parameters
    ----------
    functions : sequence of casadi.Function
        With distinct names.

    Returns
    -------
    list of casadi.Function
        The compiled functions, evaluated by CasADi's virtual machine where no compiler is there, or where C has no
        function for one of their operations.

    Raises
    ------
    CompilerError
        If the compiler refuses the generated file.
    """
    if find_compiler() is None:
        notice_once()
        return list(functions)
    generator = ca.CodeGenerator("functions.c", {"with_header": False})
    for function in functions:
        generator.add(function)
    library = compile_library({"functions.c": generator.dump()})
    try:
        ctypes.CDLL(str(library), os.RTLD_NOW)
    except OSError:  # it calls what no library has, such as CasADi's erfinv: calling it would end the process
        return list(functions)
    return [ca.external(function.name(), str(library)) for function in functions]


def compile_library(sources: Mapping[str, str], *, native: bool = False) -> Path:
    """Compile C files into one shared library, unless the cache has it.

    Parameters
    ----------
    sources : mapping of str to str
        Contents by name; headers among them.
    native : bool
        Whether to use all of this computer's instructions, and threads.

    Returns
    -------
    pathlib.Path
        The library.

    Raises
    ------
    CompilerError
        If there is no compiler, or it refuses a file.
    OutputError
        If neither the cache nor the folder of temporary files can be written.
    """
    compiler = find_compiler()
    if compiler is None:
        raise CompilerError("no C compiler found (looked for $CC, cc, gcc, clang); install one or set CC")
    flags = (*FLAGS, *(NATIVE if native else PORTABLE))
    parts = [*sources, *sources.values(), *compiler, *flags, version("casadi"), _processor() if native else ""]
    library = cache_folder() / f"{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:32]}.so"
    if _is_whole(library):
        return library
    try:
        _compile(compiler, flags, sources, library)
    except OSError:  # such as a full disk: do without the cache
        try:
            library = Path(tempfile.mkdtemp(prefix="scpo-ctrl-"), library.name)
            _compile(compiler, flags, sources, library)
        except OSError as error:
            raise OutputError(
                f"{error.filename or library}: compiled functions cannot be written: {error.strerror or error}; free "
                "some space, or set XDG_CACHE_HOME to a folder that has some"
            ) from error
    return library


def cache_folder() -> Path:
    """Return the folder of compiled functions: ``$XDG_CACHE_HOME/scpo-ctrl``, or a temporary one.

    Returns
    -------
    pathlib.Path
        An existing, writable folder whose files can be loaded.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    for folder in (Path(base) if base else Path("~/.cache").expanduser(), Path(tempfile.gettempdir())):
        path = folder / "scpo-ctrl"
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError:
            continue
        if os.access(path, os.W_OK) and path.stat().st_uid == os.getuid() and not _is_noexec(path):
            return path
    return Path(tempfile.mkdtemp(prefix="scpo-ctrl-"))


def notice_once() -> None:
    """Tell on stderr, once a process, that there is no compiler and what that costs."""
    global _noticed  # noqa: PLW0603  one notice a process is the point
    if not _noticed:
        wanted = os.environ.get("CC", "").strip() or "cc, gcc, clang"
        sys.stderr.write(
            f"scpo-ctrl: no C compiler found (looked for {wanted}); rollouts run in CasADi's interpreter, many "
            "times slower. Install one or set CC.\n"
        )
        _noticed = True


def _compile(compiler: list[str], flags: tuple[str, ...], sources: Mapping[str, str], library: Path) -> None:
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        built = Path(folder, "library.so")
        for name, source in sources.items():
            Path(folder, name).write_text(source, encoding="utf-8")
        files = [str(Path(folder, name)) for name in sources if name.endswith(".c")]
        # Some compilers do not know the machine they run on by name: then without its newest instructions.
        portable = tuple(flag for flag in flags if flag != "-march=native")
        for tried in dict.fromkeys((flags, portable)):
            command = [*compiler, *tried, *files, "-o", str(built), "-lm"]
            run = _run(command)
            if run.returncode == 0 and built.exists():
                note = Path(folder, "library.sha256")
                note.write_text(hashlib.sha256(built.read_bytes()).hexdigest(), encoding="ascii")
                built.replace(library)
                note.replace(library.with_suffix(".sha256"))
                return
        lines = (run.stderr or run.stdout).strip().splitlines() or ["no message"]
        first = next((line for line in lines if "error" in line), lines[0])
        raise CompilerError(f"{shlex.join(compiler)} failed on generated code ({first}); set CC to gcc or clang")


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run the compiler; after some seconds the log says that it still works."""
    notice = threading.Timer(_PATIENCE, _log.info, ["compiling the rollouts, once for this plant and policy ..."])
    notice.daemon = True
    notice.start()
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        notice.cancel()


def _is_noexec(folder: Path) -> bool:
    """Whether its file system was mounted so that no library can be loaded from it."""
    return bool(os.statvfs(folder).f_flag & getattr(os, "ST_NOEXEC", 0))


def _is_whole(library: Path) -> bool:
    """Whether the cache has a library as it was compiled: a damaged one would end the process when it is loaded."""
    try:
        found = hashlib.sha256(library.read_bytes()).hexdigest()
        return found == library.with_suffix(".sha256").read_text(encoding="ascii")
    except (OSError, ValueError):
        return False


def _processor() -> str:
    """Return what distinguishes processors that run different instructions."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.platform()
    wanted = ("model name", "flags", "Features", "CPU part", "isa")
    return "\n".join(sorted({line for line in lines if line.startswith(wanted)})) + platform.machine()


class StackFunction:
    """A function of θ and constant data, evaluated on stacks of θ in parallel, in chunks of bounded memory.

    Parameters
    ----------
    function : casadi.Function
        ``(theta (d, 1), *data) -> (outputs …)``, each output a column.
    data : sequence of numpy.ndarray
        Values of the other inputs, each stored the way CasADi does: a transposed C-ordered array.
    """

    def __init__(self, function: ca.Function, data: Sequence[np.ndarray]) -> None:
        self.function = function
        self.data = [ca.DM(array) for array in data]
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
        for start in range(0, count, _CHUNK):
            block = slice(start, min(start + _CHUNK, count))
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
            threads = min(count, most_threads())
            mapped = self.function if count == 1 else self.function.map(count, "thread", threads)
            self._maps[count] = ca.Function("stack", [theta], mapped.call([theta, *data]))
        return self._maps[count]
