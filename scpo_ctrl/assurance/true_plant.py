"""The plant that a simulation takes for the true one: the model with other parameters, or another plant."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import casadi as ca
import numpy as np

from scpo_ctrl.assurance.fresh import declared_set
from scpo_ctrl.engine.rollout import Step
from scpo_ctrl.errors import ClassError, DimensionError, DomainError
from scpo_ctrl.loop.batch import Scenarios
from scpo_ctrl.loop.controlled import ControllerPolicy
from scpo_ctrl.loop.numeric import plant_alone
from scpo_ctrl.loop.stacked import StackedFunction
from scpo_ctrl.messages import shown
from scpo_ctrl.models import Plant
from scpo_ctrl.models.signals import to_table
from scpo_ctrl.models.varying import first_varying, parameters_over_time, settled
from scpo_ctrl.problem.another_plant import on_another_plant
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.validate import as_function, as_scalar

_SAME = 1e-9  # relative difference below which sampling times, bounds and sensors are the same


@dataclass(frozen=True)
class TruePlant:
    """What is simulated in the model's place."""

    problem: ControlProblem  # with the true plant
    values: Mapping[str, float]  # parameters by label, in place of what scenarios draw and of nominal ones
    plant: Plant | None  # in place of the model's; None for that itself, or for a black box
    words: str  # what it is

    def scenarios(self, drawn: Scenarios) -> Scenarios:
        """Return scenarios with the parameters of the true plant.

        Parameters
        ----------
        drawn : Scenarios
            Of the declared set.

        Returns
        -------
        Scenarios

        Raises
        ------
        DomainError
            If a parameter reaches a value for which a plant means nothing.
        """
        model, p = self.problem.plant, drawn.p.copy()
        for label, value in self.values.items():
            if label in model.p_labels:
                p[:, model.p_labels.index(label)] = value
        over_time = parameters_over_time(model, p, drawn.horizon)
        _check_above(model, over_time)
        if self.plant is not None:
            _check_above(self.plant, _picked(model, self.plant, self.values, over_time))
        return replace(drawn, p=settled(model, p)) if self.values else drawn


def true_plant(problem: ControlProblem, plant: Any, parameters: Any) -> TruePlant:
    """Check what is to be the true plant, and put it in the model's place.

    Parameters
    ----------
    problem : ControlProblem
    plant : Plant, callable or None
    parameters : mapping of str to float, or None
        As `simulate` takes them.

    Returns
    -------
    TruePlant

    Raises
    ------
    ClassError, DimensionError, DomainError
        If it does not fit the model.
    """
    values, other = _values(parameters), plant if isinstance(plant, Plant) else None
    of = [problem.plant] if other is None else [problem.plant, other]
    _check_labels(values, of)
    name = plant_alone(problem.policy).name
    if plant is None:
        words = f"the model, plant {name!r}," if values else f"the model itself, plant {name!r}"
        return TruePlant(problem, values, None, words + _with(problem, values, of))
    if other is None:
        as_function("plant", plant)
        step, words = plant, f"a simulator in place of plant {name!r}"
    else:
        check_fit(problem, other)
        step = _step(plant_alone(problem.policy), other, values)
        words = f"plant {other.name!r} in place of plant {name!r}"
    words += _with(problem, values, of) + ("" if other is None else _following(problem.plant, other, values))
    return TruePlant(on_another_plant(problem, step), values, other, words)


def check_fit(problem: ControlProblem, plant: Plant) -> None:
    """Check that a plant can stand in the place of a problem's: what policies see and do must mean the same.

    Parameters
    ----------
    problem : ControlProblem
    plant : Plant

    Raises
    ------
    DimensionError, DomainError
        If it cannot.
    """
    model = plant_alone(problem.policy)
    if (plant.nx, plant.nu) != (model.nx, model.nu):
        raise DimensionError(
            f"plant {plant.name!r} has {plant.nx} states and {plant.nu} inputs, model {model.name!r} has {model.nx} "
            f"and {model.nu}; a delay or an actuator adds states: give the model these too"
        )
    if plant.dt is None or model.dt is None or not np.isclose(plant.dt, model.dt, rtol=_SAME, atol=0.0):
        found = "is continuous" if plant.dt is None else f"has dt = {plant.dt:g} s"
        raise DomainError(f"plant {plant.name!r} {found}, expected the model's {model.dt:g} s")
    for stem, what in (("x", "state"), ("u", "input")):
        labels, expected = (getattr(of, f"{stem}_labels") for of in (plant, model))
        units, expected_units = (getattr(of, f"{stem}_units") for of in (plant, model))
        for i, label in enumerate(labels):
            if label != expected[i] and label in expected:
                raise DomainError(
                    f"plant {plant.name!r}: {what} {i} is {label!r}, that of the model {expected[i]!r}; give them in "
                    "the same order"
                )
            if units[i] and expected_units[i] and units[i] != expected_units[i]:
                raise DomainError(
                    f"plant {plant.name!r}: {label} is in {units[i]}, in the model in {expected_units[i]}; give it in "
                    "the model's unit"
                )
    _check_inputs(plant, model)
    _check_signals(plant, problem.plant)
    if plant.y.numel() and isinstance(problem.policy, ControllerPolicy):
        _check_sensors(plant, problem)


def _check_inputs(plant: Plant, model: Plant) -> None:
    """Refuse other bounds of inputs: the command is cut to the model's, and its metrics are about these."""
    for i, label in enumerate(model.u_labels):
        (low, high), (model_low, model_high) = ((of.u_min[i], of.u_max[i]) for of in (plant, model))
        if max(abs(low - model_low), abs(high - model_high)) > _SAME * (model_high - model_low):
            raise DomainError(
                f"plant {plant.name!r}: {label} is within [{low:g}, {high:g}], in the model within [{model_low:g}, "
                f"{model_high:g}]; give it the same bounds, and a weaker actuator as part of the dynamics"
            )


def _check_signals(plant: Plant, model: Plant) -> None:
    """Refuse signals that the model has not: scenarios draw the model's."""
    known = dict(zip(_varying(model), map(to_table, model.signals), strict=True))
    for label, signal in zip(_varying(plant), plant.signals, strict=True):
        if known.get(label) != to_table(signal):
            other = "another one in the model" if label in known else "none of the model's"
            raise DomainError(
                f"plant {plant.name!r}: signal {label!r} is {other}, whose scenarios are simulated; give the plant the "
                "model's signals, or none"
            )


def _check_sensors(plant: Plant, problem: ControlProblem) -> None:
    """Refuse sensors that show something else than the model's, which the controller gets."""
    model, batch, shows = plant_alone(problem.policy), problem.scenarios, []
    x, p = batch.x0[:, : model.nx], parameters_over_time(problem.plant, batch.p, 1)[:, 0]
    for one in (plant, model):
        h = StackedFunction(ca.Function("h", [one.x, one.p], [one.measured]))
        shows.append(h(x, _picked(problem.plant, one, {}, p))[0])
    own, expected = shows
    if own.shape != expected.shape or not np.allclose(own, expected, rtol=_SAME, atol=_SAME * np.abs(expected).max()):
        raise DomainError(
            f"plant {plant.name!r} has other outputs than the model, whose sensors are simulated; leave its y out"
        )


def _values(parameters: Any) -> dict[str, float]:
    if parameters is None:
        return {}
    if not isinstance(parameters, Mapping) or not all(isinstance(label, str) for label in parameters):
        raise ClassError(f"parameters is {shown(parameters)}, expected values by label, such as {{'mass': 1.25}}")
    return {label: as_scalar(f"parameter {shown(label)}", value) for label, value in parameters.items()}


def _varying(plant: Plant) -> tuple[str, ...]:
    """Labels of the parameters that vary over time, one for each signal."""
    return plant.p_labels[-len(plant.signals) - 1 : -1] if plant.signals else ()


def _constant(plant: Plant) -> tuple[str, ...]:
    """Labels of the parameters that do not, numbers of signals among them."""
    return plant.p_labels[: first_varying(plant)]


def _check_labels(values: Mapping[str, float], plants: list[Plant]) -> None:
    """Refuse parameters that no plant has, that vary over time, or for whose value a plant means nothing."""
    known = list(dict.fromkeys(label for plant in plants for label in _constant(plant)))
    for label, value in values.items():
        if any(label in plant.p_labels and label not in _constant(plant) for plant in plants):
            numbers = [shown(name) for name in known if name.startswith(f"{label} ")]
            remedy = f"set {' or '.join(numbers)}" if numbers else "adapt on another signal"
            raise DomainError(f"parameter {shown(label)} varies over time; {remedy} instead")
        if label not in known:
            raise DomainError(f"unknown parameter {shown(label)}; known: {', '.join(known) or 'none'}")
        for plant in plants:
            above = plant.p_above[plant.p_labels.index(label)] if label in plant.p_labels else -np.inf
            if not value > above:
                raise DomainError(f"parameter {label} = {value:g}: plant {plant.name!r} needs one above {above:g}")


def _check_above(plant: Plant, over_time: np.ndarray) -> None:
    """Refuse values, (S, N + 1, np), for which a plant means nothing."""
    least = over_time.min(axis=(0, 1), initial=np.inf)
    for i in np.flatnonzero(least <= plant.p_above):
        raise DomainError(
            f"parameter {plant.p_labels[i]} reaches {least[i]:g}; the plant means something only above "
            f"{plant.p_above[i]:g}"
        )


def _picked(model: Plant, plant: Plant, values: Mapping[str, float], p: np.ndarray) -> np.ndarray:
    """Return parameters of a plant, (..., np), from those of the model: by label, else given, else nominal."""
    own = np.tile(plant.p_nominal, (*p.shape[:-1], 1))
    for i, label in enumerate(plant.p_labels):
        if label in model.p_labels:
            own[..., i] = p[..., model.p_labels.index(label)]
        elif label in values:
            own[..., i] = values[label]
    return own


def _step(model: Plant, plant: Plant, values: Mapping[str, float]) -> Step:
    """Return a plant as a black box of the model's parameters."""
    f = StackedFunction(plant.function)
    return lambda x, u, p: f(x, u, _picked(model, plant, values, p))[0]


def _with(problem: ControlProblem, values: Mapping[str, float], plants: list[Plant]) -> str:
    """Say which parameters are set, and where that is outside what was declared."""
    declared, said = declared_set(problem), []
    for label, value in values.items():
        of = next(plant for plant in plants if label in plant.p_labels)
        i = of.p_labels.index(label)
        text = f"{label} = {value:g} {of.p_units[i]}".rstrip()
        if of is problem.plant:
            low, high = declared.ranges[i]
            inside = "" if low <= value <= high else "outside the "
            text += f" ({inside}declared {low:g} to {high:g})" if low < high else f" (the model has {low:g})"
        said.append(text)
    return f" with {', '.join(said)}" if said else ""


def _following(model: Plant, plant: Plant, values: Mapping[str, float]) -> str:
    """Say which parameters have the values of the scenarios where the true plant's nominal ones are others."""
    said = []
    for label, value, unit in zip(plant.p_labels, plant.p_nominal.tolist(), plant.p_units, strict=True):
        if label in _constant(model) and label not in values and value != model.p_nominal[model.p_labels.index(label)]:
            said.append(f"{label} as the scenarios draw it, not its nominal {value:g} {unit}".rstrip())
    return f"; {', '.join(said)}" if said else ""
