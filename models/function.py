"""Plants from functions of CasADi, in memory or in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import casadi as ca
from numpy.typing import ArrayLike

from scpo_ctrl.errors import DimensionError, DomainError, cause
from scpo_ctrl.messages import shown
from scpo_ctrl.models.plant import Plant
from scpo_ctrl.reading import LARGEST_TEXT, opened
from scpo_ctrl.validate import as_path


def from_function(
    function: ca.Function | str | Path,
    *,
    dt: float | None,
    x_min: ArrayLike,
    x_max: ArrayLike,
    u_min: ArrayLike,
    u_max: ArrayLike,
    **fields: Any,
) -> Plant:
    """Make a plant from a function of CasADi, also one of MX that has an SX form.

    Parameters
    ----------
    function : casadi.Function, str or pathlib.Path
        Of columns (x, u) or (x, u, p), its first result x⁺ or ẋ; or a file that ``Function.save`` wrote. Read none of
        a stranger: such a file may name a library, which CasADi then loads.
    dt : float or None
        Sampling time [s]; None where the result is ẋ.
    x_min, x_max, u_min, u_max : array_like
        Bounds, shapes (nx,) and (nu,).
    **fields
        More fields of `Plant`, such as ``x_labels`` and ``p_nominal``; its name is the function's by default.

    Returns
    -------
    Plant

    Raises
    ------
    DomainError
        If the file cannot be read, the function has no SX form, or a field is unknown.
    DimensionError
        If its arguments are no columns, or a shape does not fit.
    """
    if isinstance(function, (str, Path)):
        function = _loaded(as_path("function", function))
    if not isinstance(function, ca.Function):
        raise DomainError(f"function is {shown(function)}, expected a casadi.Function or the name of its file")
    shapes = [function.size_in(i) for i in range(function.n_in())]
    if len(shapes) not in (2, 3) or any(columns != 1 and rows for rows, columns in shapes):
        raise DimensionError(f"function takes arguments of shapes {shapes}, expected columns x, u and (or not) p")
    known = set(Plant.__dataclass_fields__) - {"x", "u", "p", "f"}
    unknown = sorted(set(fields) - known)
    if unknown:
        raise DomainError(f"unknown field {shown(unknown[0])} of a plant; known: {', '.join(sorted(known))}")
    x, u, p = (ca.MX.sym(name, rows) for name, (rows, _) in zip("xup", [*shapes, (0, 1)][:3], strict=True))
    bounds: dict[str, Any] = {"x_min": x_min, "x_max": x_max, "u_min": u_min, "u_max": u_max}
    return Plant(x=x, u=u, p=p, f=function, dt=dt, **bounds, **{"name": function.name()} | fields)


def _loaded(path: Path) -> ca.Function:
    """Return the function in a file."""
    try:
        with opened(path, LARGEST_TEXT):  # a regular file, and no endless one
            return ca.Function.load(str(path))
    except OSError as error:
        raise DomainError(f"function: {path}: cannot be read: {error.strerror}") from error
    except Exception as error:  # whatever CasADi makes of other bytes
        raise DomainError(f"function: {path}: is none that Function.save wrote: {cause(error):.200}") from error
