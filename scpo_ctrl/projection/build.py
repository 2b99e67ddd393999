"""Build the extension module ``scpo_ctrl.projection._solver`` from the C source that is also exported to devices.

setuptools runs this at installation. The module uses Python's stable ABI, so one wheel serves several versions.
"""

from pathlib import Path

from cffi import FFI

_ROOT = Path(__file__).parents[2]
_RUNTIME = Path("scpo_ctrl", "codegen", "runtime")  # relative to the root of the source tree, where the build runs

ffi = FFI()
ffi.cdef(
    """
    typedef struct { ...; } scpo_workspace;
    int scpo_host_project(int dim, int count, const double *u, const double *c, const double *G, const double *e,
                          const double *L, double r, const double *norms, const long long *guess, int guesses,
                          scpo_workspace *work, double *delta, int *active, int *info);
    int scpo_device_double_solve(int dim, int count, const double *u, const double *c, const double *G, const double *e,
                                 const double *L, double r, const double *guess, double *delta, double *multiplier,
                                 int *pieces);
    int scpo_device_float_solve(int dim, int count, const float *u, const float *c, const float *G, const float *e,
                                const float *L, float r, const float *guess, float *delta, float *multiplier,
                                int *pieces);
    #define SCPO_DEVICE_DIM ...
    #define SCPO_DEVICE_ROWS ...
    #define SCPO_SLOTS ...
    #define SCPO_MAX_DIM ...
    """
)
ffi.set_source(
    "scpo_ctrl.projection._solver",
    '#include "scpo_host.h"\n#include "scpo_device.h"',
    sources=[str(path.relative_to(_ROOT)) for path in sorted((_ROOT / _RUNTIME / "src").glob("scpo_[dp]*.c"))]
    + [str(path.relative_to(_ROOT)) for path in sorted((_ROOT / "scpo_ctrl/projection/host").glob("scpo_*.c"))],
    include_dirs=["scpo_ctrl/projection/host", str(_RUNTIME / "include"), str(_RUNTIME / "src")],
    extra_compile_args=["-std=c99", "-O3", "-ffp-contract=off", "-fno-fast-math"],
    py_limited_api=True,
    optional=True,  # without a C compiler the package falls back to Clarabel
)
