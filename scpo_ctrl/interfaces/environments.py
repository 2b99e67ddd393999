"""Plants as environments of Gymnasium, and environments of Gymnasium as black boxes in a plant's place."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from scpo_ctrl.errors import ClassError, DimensionError, DomainError, EvaluationError, MissingPackageError, cause
from scpo_ctrl.loop.black_box import Step
from scpo_ctrl.loop.scenario import Scenarios
from scpo_ctrl.messages import shown
from scpo_ctrl.models import Plant
from scpo_ctrl.models.plant import check_discrete
from scpo_ctrl.problem.cost import Cost
from scpo_ctrl.problem.objective import Quadratic
from scpo_ctrl.sealed import as_instance
from scpo_ctrl.validate import as_function

if TYPE_CHECKING:
    from scpo_ctrl.interfaces.plant_environment import PlantEnvironment

_SAME = 1e-9  # what a state may change by where it is only set and read, relative to its size


def environment(plant: Plant, objective: Quadratic | Cost, scenarios: Scenarios) -> "PlantEnvironment":
    """Return a plant as an environment of Gymnasium: the action is the command, the reward less the stage cost.

    An episode is one of the scenarios: its initial state, plant parameters and disturbance, over its horizon. It is
    terminated where a bound of the state is broken; over all steps of one that is not, less the sum of the rewards is
    the objective of that scenario times its horizon. ``reset(options={"scenario": 3})`` chooses one.

    Parameters
    ----------
    plant : Plant
        Discrete. Observed is what its sensors show; commands beyond the bounds of the input are cut.
    objective : Quadratic or Cost
    scenarios : Scenarios
        Of the plant.

    Returns
    -------
    gymnasium.Env
        Its spaces are the bounds: of the input, and of the state where sensors show it. ``info`` has the state, the
        scenario, whether the command was cut ("saturated"), and which bounds are broken ("broken", in words).

    Raises
    ------
    MissingPackageError
        Without the package gymnasium.
    ClassError, DimensionError, DomainError
        If the plant is continuous, or objective or scenarios do not fit it.
    """
    as_instance("plant", plant, Plant)
    as_instance("objective", objective, Quadratic, Cost)
    as_instance("scenarios", scenarios, Scenarios)
    check_discrete(plant)
    if scenarios.x0.shape[1] != plant.nx or scenarios.p.shape[1] != plant.npar:
        raise DimensionError(
            f"scenarios have {scenarios.x0.shape[1]} states and {scenarios.p.shape[1]} parameters, plant "
            f"{plant.name!r} {plant.nx} and {plant.npar}; draw them for the plant without what a controller remembers"
        )
    _require_gymnasium()
    from scpo_ctrl.interfaces.plant_environment import PlantEnvironment

    return PlantEnvironment(plant, objective, scenarios)


def simulator_from_environment(
    env: Any,
    plant: Plant,
    *,
    set_state: Callable[[Any, np.ndarray, np.ndarray], Any] | None = None,
    get_state: Callable[[Any], Any] | None = None,
) -> Step:
    """Return the steps of an environment of Gymnasium as a black box, for ``ControlProblem(…, simulator=…)``.

    Each step sets the state of the innermost environment, and takes one step of it: wrappers, rewards and ends of
    episodes play no part, and the action is the input in its own units. One state after the other, so it is slow.

    Parameters
    ----------
    env : gymnasium.Env
        Deterministic, with a continuous action for each input.
    plant : Plant
        In whose place it is.
    set_state : callable, optional
        ``(env, x, p)`` sets the state and the plant parameters; ``env.state = x`` by default, as the classic control
        environments have it, where there are no parameters.
    get_state : callable, optional
        ``(env) -> x`` (nx,); ``env.state`` by default.

    Returns
    -------
    callable
        ``(x, u, p) -> x_next`` of stacks of shapes (n, nx), (n, nu) and (n, np).

    Raises
    ------
    MissingPackageError
        Without the package gymnasium.
    ClassError, DomainError, DimensionError
        If it is no environment, its actions are discrete or not those of the plant, its state cannot be set and read,
        or two steps from the same state differ.
    EvaluationError
        If it raises.
    """
    as_instance("plant", plant, Plant)
    inner = _innermost(env, plant)
    put = _set_state(inner, plant) if set_state is None else as_function("set_state", set_state)
    get = _state if get_state is None else as_function("get_state", get_state)

    def step(x: np.ndarray, u: np.ndarray, p: np.ndarray) -> np.ndarray:
        following = np.empty(x.shape)
        for i in range(len(x)):
            put(inner, x[i], p[i])
            inner.step(u[i])
            following[i] = np.ravel(np.asarray(get(inner), dtype=float))
        return following

    _check(plant, step, lambda x, p: put(inner, x, p), lambda: np.ravel(np.asarray(get(inner), dtype=float)))
    return step


def _innermost(env: Any, plant: Plant) -> Any:
    """Return an environment without its wrappers, reset, if its actions are the inputs of a plant."""
    gymnasium = _require_gymnasium()
    if not isinstance(env, gymnasium.Env):
        raise ClassError(f"env is {shown(env)}, expected an environment of Gymnasium such as gymnasium.make returns")
    inner, space = env.unwrapped, env.unwrapped.action_space
    if not isinstance(space, gymnasium.spaces.Box):
        raise DomainError(
            f"the environment's actions are {space}, expected a Box: controllers command continuous inputs; take the "
            "continuous version of the environment"
        )
    if space.shape != (plant.nu,):
        raise DimensionError(f"the environment's actions have shape {space.shape}, plant {plant.name!r} {(plant.nu,)}")
    try:
        inner.reset(seed=0)  # many have no state before
    except Exception as error:
        raise EvaluationError(f"the environment raised {cause(error)} when it was reset") from error
    return inner


def _state(inner: Any) -> Any:
    return inner.state


def _set_state(inner: Any, plant: Plant) -> Callable[[Any, np.ndarray, np.ndarray], None]:
    """Return how the state of a classic control environment is set."""
    if plant.npar:
        raise DomainError(
            f"plant {plant.name!r} has the parameters {', '.join(plant.p_labels)}; give set_state(env, x, p), which "
            "sets them too"
        )
    if not hasattr(inner, "state"):
        raise DomainError(
            f"the environment {type(inner).__name__} has no attribute state; give set_state(env, x, p) and "
            "get_state(env)"
        )

    def put(inner: Any, x: np.ndarray, p: np.ndarray) -> None:
        inner.state = x.copy()

    return put


def _check(
    plant: Plant, step: Step, put: Callable[[np.ndarray, np.ndarray], Any], get: Callable[[], np.ndarray]
) -> None:
    """Refuse an environment whose state is not what was set, or whose steps differ from the same state."""
    x, u, p = plant.x_eq, plant.u_eq, plant.p_nominal
    try:
        put(x, p)
        found = get()
        if found.shape == x.shape:
            one, other = (step(x[None], u[None], p[None]) for _ in range(2))
    except Exception as error:
        raise EvaluationError(f"the environment raised {cause(error)} at the plant's equilibrium") from error
    if found.shape != x.shape:
        raise DimensionError(
            f"the environment's state has shape {found.shape}, plant {plant.name!r} {x.shape}; give set_state and "
            "get_state of the plant's states"
        )
    size = np.maximum(np.abs(x), 1.0)
    if not (np.abs(found - x) <= _SAME * size).all():
        raise DomainError(f"the environment's state is {shown(found)} after {shown(x)} was set; correct set_state")
    if not np.array_equal(one, other, equal_nan=True):
        raise DomainError(
            "two steps of the environment from the same state with the same action differ: it draws random numbers, or "
            "set_state leaves something unset; a simulator is deterministic"
        )


def _require_gymnasium() -> Any:
    try:
        import gymnasium  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingPackageError("environments need the package gymnasium; pip install gymnasium") from error
    return gymnasium
