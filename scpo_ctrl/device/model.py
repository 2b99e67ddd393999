"""A problem as the device has it: numbers in its type, and the model from the graph that its C is written from."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from scpo_ctrl.codegen.arithmetic import evaluated
from scpo_ctrl.codegen.context import policy_data
from scpo_ctrl.codegen.device import Bound, ModelFunction, device_code, model_functions
from scpo_ctrl.codegen.expressions import Graph, read
from scpo_ctrl.device.arithmetic import Arithmetic
from scpo_ctrl.loop.policy import Policy
from scpo_ctrl.problem.control_problem import ControlProblem


@dataclass(frozen=True)
class Operations:
    """A function of the model as operations on arrays."""

    graph: Graph
    outputs: tuple[tuple[int, ...], ...]  # numbers of the operations that give each output's entries
    arithmetic: Arithmetic

    @classmethod
    def of(cls, function: ModelFunction, arithmetic: Arithmetic) -> "Operations":
        """Return the operations of a function.

        Parameters
        ----------
        function : ModelFunction
        arithmetic : Arithmetic

        Returns
        -------
        Operations
        """
        graph, found = read("the plant", function.computes)
        return cls(graph, tuple(map(tuple, found)), arithmetic)

    def __call__(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """Evaluate.

        Parameters
        ----------
        *inputs : numpy.ndarray, shapes (..., entries)

        Returns
        -------
        list of numpy.ndarray, shapes (..., entries)
            The outputs.
        """
        wanted = [number for numbers in self.outputs for number in numbers]
        leading = np.broadcast_shapes(*(np.shape(values)[:-1] for values in inputs))
        first = [np.moveaxis(np.asarray(values), -1, 0) for values in inputs]
        found = evaluated(self.graph, wanted, first, self.arithmetic.number, self.arithmetic.operate)
        found = np.broadcast_to(found.reshape(len(wanted), *found.shape[1:]), (len(wanted), *leading))
        ends = np.cumsum([len(numbers) for numbers in self.outputs])[:-1]
        return [np.moveaxis(part, 0, -1) for part in np.split(found, ends)]


@dataclass(frozen=True, kw_only=True)
class DeviceModel:
    """Numbers and functions of an exported adaptation, in its type; shapes as in `DeviceCode`."""

    arithmetic: Arithmetic
    horizon: int
    scenarios: int
    rollouts: int  # with the single steps of the cloud (E13), which come last
    x0: np.ndarray
    p: np.ndarray
    w: np.ndarray  # (steps of all rollouts, nx), no row where nothing is disturbed
    rests: np.ndarray
    limits: np.ndarray
    bounds_x: tuple[Bound, ...]
    bounds_u: tuple[Bound, ...]
    terminal: bool
    contracts: bool  # scenarios too
    saturates: bool
    P: np.ndarray
    vertices: np.ndarray
    vertex_B: np.ndarray
    inverse_root: np.ndarray
    doublings: int
    gamma: np.floating[Any]
    floor: np.floating[Any]
    metric_error: np.floating[Any]
    theta_start: np.ndarray
    widths: tuple[int, ...]
    K: np.ndarray
    x_eq: np.ndarray
    u_eq: np.ndarray
    u_min: np.ndarray
    u_max: np.ndarray
    scale: np.ndarray
    input_scale: np.ndarray
    step: Operations
    adjoint: Operations
    stage: Operations
    stage_adjoint: Operations

    @classmethod
    def of(cls, problem: ControlProblem, real: str) -> "DeviceModel":
        """Return the model of a problem.

        Parameters
        ----------
        problem : ControlProblem
        real : str
            "double" or "float".

        Returns
        -------
        DeviceModel

        Raises
        ------
        DomainError
            If the problem has something that is not adapted on a device, by name.
        """
        code, arithmetic = device_code(problem, real), Arithmetic(real)
        assert isinstance(problem.policy, Policy)
        functions = [Operations.of(function, arithmetic) for function in model_functions(problem)]
        of_policy = policy_data(problem.policy, real)
        arrays = {
            key: arithmetic.array(getattr(code, key))
            for key in ("x0", "p", "w", "rests", "limits", "P", "vertices", "vertex_B", "inverse_root", "theta_start")
        }
        shared = ("horizon", "scenarios", "bounds_x", "bounds_u", "terminal", "saturates", "doublings")
        return cls(
            arithmetic=arithmetic,
            rollouts=code.scenarios + code.cloud,
            contracts=code.contraction,
            gamma=arithmetic.number(code.gamma),
            floor=arithmetic.number(code.floor),
            metric_error=arithmetic.number(code.epsilon),
            widths=of_policy["widths"],
            **{key: getattr(code, key) for key in shared},
            **arrays,
            **{
                key: arithmetic.array(of_policy[key])
                for key in ("K", "x_eq", "u_eq", "u_min", "u_max", "scale", "input_scale")
            },
            **dict(zip(("step", "adjoint", "stage", "stage_adjoint"), functions, strict=True)),
        )

    @property
    def nx(self) -> int:
        """Number of states."""
        return self.x_eq.size

    @property
    def nu(self) -> int:
        """Number of inputs."""
        return self.u_eq.size

    @property
    def reference(self) -> np.ndarray:
        """What the objective asks for unless told otherwise, the equilibrium, shape (nx + nu,)."""
        return np.concatenate([self.x_eq, self.u_eq])

    @property
    def has_contraction(self) -> bool:
        """Whether any rollout contracts: those of a cloud do."""
        return self.contracts or self.rollouts > self.scenarios

    @property
    def signals(self) -> int:
        """Number of metrics that a rollout may have at a time, at least one."""
        return max(1, len(self.bounds_x) + len(self.bounds_u) + self.terminal + self.has_contraction)

    @property
    def spread(self) -> int:
        """Numbers that the metrics of a rollout take up."""
        return (self.horizon + 1) * self.signals

    @property
    def keys(self) -> int:
        """Numbers that the metrics of all rollouts take up; behind them come those of local stability."""
        return self.rollouts * self.spread

    @property
    def last(self) -> np.ndarray:
        """The last time of each rollout, shape (rollouts,)."""
        return np.where(np.arange(self.rollouts) < self.scenarios, self.horizon, 1)

    def disturbance(self, time: int) -> np.ndarray | None:
        """Return what disturbs the rollouts that go on at this time.

        Parameters
        ----------
        time : int

        Returns
        -------
        numpy.ndarray, shape (rollouts or scenarios, nx), or None
        """
        if not len(self.w):
            return None
        end = self.scenarios * self.horizon
        of_scenarios = self.w[:end].reshape(self.scenarios, self.horizon, self.nx)[:, time]
        return np.vstack([of_scenarios, self.w[end:]]) if time == 0 else of_scenarios

    def saturate(self, command: np.ndarray) -> np.ndarray:
        """Return commands within their bounds.

        Parameters
        ----------
        command : numpy.ndarray, shape (..., nu)

        Returns
        -------
        numpy.ndarray, shape (..., nu)
        """
        low = np.where(command < self.u_min, self.u_min, command)
        return np.where(command > self.u_max, self.u_max, low)


