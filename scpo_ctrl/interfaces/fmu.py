"""An FMU (FMI 2.0, model exchange) as a black box in a plant's place, by CasADi's importer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import casadi as ca

from scpo_ctrl.errors import DomainError, MissingPackageError, ProblemFileError
from scpo_ctrl.messages import shown
from scpo_ctrl.models import Plant
from scpo_ctrl.models.plant import check_discrete
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.validate import as_count, as_path

_MOST = 100_000  # steps of integration in a sample


def simulator_from_fmu(
    path: str | Path, plant: Plant, *, names: Mapping[str, str] | None = None, substeps: int = 10
) -> ca.Function:
    """Return a sample of an FMU as a black box, for ``ControlProblem(…, simulator=…)``.

    The FMU says how fast its states change; they are integrated by Runge-Kutta steps of fourth order, the input held.
    Its C code runs in this process: take FMUs from where you would take a library from.

    Parameters
    ----------
    path : str or pathlib.Path
        The file, or the folder that it was unpacked to; FMI 2.0 for model exchange, with a binary for this platform.
    plant : Plant
        Discrete, in whose place it is: its states, inputs and parameters are looked up in the FMU by their labels.
    names : mapping of str to str, optional
        Names in the FMU by label, where they differ.
    substeps : int
        Steps of integration in a sample.

    Returns
    -------
    casadi.Function
        ``(x, u, p) -> x_next``; other inputs and parameters of the FMU keep their start values.

    Raises
    ------
    ProblemFileError
        If the file cannot be read, or has no model for exchange or no binary for this platform.
    DomainError
        If a name is not in it, or it has other states than the plant.
    """
    as_instance("plant", plant, Plant)
    steps = as_count("substeps", substeps, at_least=1, at_most=_MOST)
    h = check_discrete(plant) / steps
    path = as_path("path", path)
    if not path.exists():
        raise ProblemFileError(f"{path}: no such file; give an FMU that exists")
    model = _model(path)
    x, u, p = _named(path, model, plant, {} if names is None else names)
    ode = _derivative(path, model, (x, u, p))
    state, given, at = (ca.MX.sym(key, len(part)) for key, part in (("x", x), ("u", u), ("p", p)))
    order = [model.x().index(name) for name in x]  # CasADi keeps the FMU's own order of states
    own = [order.index(i) for i in range(len(order))]
    following = state

    def slope(at_state: ca.MX) -> ca.MX:
        return ode(at_state[own], given, at)[order]

    for _ in range(steps):
        k1 = slope(following)
        k2 = slope(following + h / 2 * k1)
        k3 = slope(following + h / 2 * k2)
        k4 = slope(following + h * k3)
        following = following + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return ca.Function("fmu", [state, given, at], [following])


def _model(path: Path) -> ca.DaeBuilder:
    """Read an FMU's description."""
    if not hasattr(ca, "DaeBuilder"):
        raise MissingPackageError("this CasADi imports no FMUs; pip install casadi from PyPI")
    try:
        return ca.DaeBuilder("model", str(path), {})
    except RuntimeError as error:
        if "ModelExchange" in str(error):
            raise ProblemFileError(
                f"{path}: is for co-simulation only, which takes no step from a state of one's choice; export it for "
                "model exchange"
            ) from error
        raise ProblemFileError(f"{path}: is no FMU that can be read ({_last(error)})") from error


def _named(
    path: Path, model: ca.DaeBuilder, plant: Plant, names: Mapping[str, str]
) -> tuple[list[str], list[str], list[str]]:
    """Return states, inputs and parameters of an FMU in the plant's order."""
    if not isinstance(names, Mapping):
        raise DomainError(f"names is {shown(names)}, expected names in the FMU by label of the plant")
    labels = plant.x_labels, plant.u_labels, plant.p_labels
    unknown = sorted(set(names) - {label for part in labels for label in part})
    if unknown:
        raise DomainError(f"names has the label {shown(unknown[0])}, which plant {plant.name!r} does not have")
    x, u, p = ([names.get(label, label) for label in part] for part in labels)
    known = model.x(), model.u(), [*model.p(), *model.c()]
    for kind, wanted, has in zip(("state", "input", "parameter"), (x, u, p), known, strict=True):
        missing = next((name for name in wanted if name not in has), None)
        if missing is not None:
            raise DomainError(
                f"{path}: has no {kind} {missing!r}; it has {', '.join(has) or 'none'}; give names={{label: name}}"
            )
    more = sorted(set(model.x()) - set(x))
    if more:
        raise DomainError(f"{path}: has the state {more[0]!r} besides those of plant {plant.name!r}")
    return x, u, p


def _derivative(path: Path, model: ca.DaeBuilder, names: tuple[list[str], list[str], list[str]]) -> ca.Function:
    """Return (x, u, p) -> ẋ, x in the FMU's order, u and p in that of the names."""
    _, u, p = names
    try:
        for name in p:
            model.set_category(name, "p")
        function = model.create("ode", ["x", "u", "p"], ["ode"])
    except RuntimeError as error:
        reason = "has no binary for this platform" if "shared library" in str(error) else _last(error)
        raise ProblemFileError(f"{path}: {reason}; export it for this platform") from error
    start: Any = model.start
    inputs, parameters = ca.MX.sym("u", len(u)), ca.MX.sym("p", len(p))
    state = ca.MX.sym("x", function.numel_in(0))
    every_u = [inputs[u.index(name)] if name in u else start(name) for name in model.u()]
    every_p = [parameters[p.index(name)] if name in p else start(name) for name in model.p()]
    values = function(state, ca.vertcat(*every_u), ca.vertcat(*every_p))
    return ca.Function("derivative", [state, inputs, parameters], [values])


def _last(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200]
