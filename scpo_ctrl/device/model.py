"""A problem as the device has it: numbers in its type, and the model from the graph that its C is written from."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from scpo_ctrl.codegen.context import policy_data
from scpo_ctrl.codegen.device import GRADIENTS, Bound, device_code
from scpo_ctrl.codegen.expressions import read
from scpo_ctrl.codegen.model import ModelFunction, model_functions
from scpo_ctrl.device.arithmetic import Arithmetic
from scpo_ctrl.device.fresh import Points
from scpo_ctrl.loop.policy import Policy
from scpo_ctrl.problem.control_problem import ControlProblem

_SHARED = (
    "horizon",
    "scenarios",
    "chunk",
    "bounds_x",
    "bounds_u",
    "terminal",
    "saturates",
    "doublings",
    "updatable",
    "tries",
)
_NUMBERS = ("x0", "p", "p_range", "w", "rests", "limits", "P", "vertices", "vertex_B", "inverse_root", "theta_start")
_FUNCTIONS = ("step", "adjoint", "stage", "stage_adjoint")
_OF_POLICY = ("K", "x_eq", "u_eq", "u_min", "u_max", "scale", "input_scale")


@dataclass(frozen=True)
class Operations:
    """A function of the model as operations on arrays."""

    arithmetic: Arithmetic
    constants: dict[int, Any]  # by number
    entries: tuple[tuple[int, int, int], ...]  # number, input, entry
    steps: tuple[tuple[int, str, tuple[int, ...]], ...]  # number, operation, numbers of what it takes
    outputs: tuple[tuple[int, ...], ...]  # numbers of what gives each output's entries

    @classmethod
    def of(cls, owner: str, function: ModelFunction, arithmetic: Arithmetic) -> "Operations":
        """Return the operations of a function.

        Parameters
        ----------
        owner : str
            What it belongs to, for messages.
        function : ModelFunction
        arithmetic : Arithmetic

        Returns
        -------
        Operations
        """
        graph, outputs = read(owner, function.computes)
        constants, entries, steps = {}, [], []
        for k in graph.reached([number for numbers in outputs for number in numbers]):
            name, of, value = graph.nodes[k]
            if name == "constant":
                constants[k] = arithmetic.number(value)
            elif name == "input":
                entries.append((k, of[0], of[1]))
            else:
                steps.append((k, name, of))
        return cls(arithmetic, constants, tuple(entries), tuple(steps), tuple(map(tuple, outputs)))

    def __call__(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """Evaluate.

        Parameters
        ----------
        *inputs : numpy.ndarray, shapes (..., entries)
            The first one has all leading dimensions.

        Returns
        -------
        list of numpy.ndarray, shapes (..., entries)
            The outputs.
        """
        values = dict(self.constants)
        for k, which, entry in self.entries:
            values[k] = inputs[which][..., entry]
        for k, name, of in self.steps:
            values[k] = self.arithmetic.operate(name, [values[operand] for operand in of])
        found = []
        for numbers in self.outputs:
            output = np.empty((*inputs[0].shape[:-1], len(numbers)), self.arithmetic.number)
            for i, k in enumerate(numbers):
                output[..., i] = values[k]
            found.append(output)
        return found


@dataclass(frozen=True, kw_only=True)
class DeviceModel:
    """Numbers and functions of an exported adaptation, in its type; shapes as in `DeviceCode`."""

    arithmetic: Arithmetic
    horizon: int
    scenarios: int
    rollouts: int  # with the guards, which come last, or the single steps of the cloud (E13)
    x0: np.ndarray
    p: np.ndarray
    p_range: np.ndarray
    updatable: bool  # whether plant parameters may be replaced
    w: np.ndarray  # (steps of all rollouts, nx), no row where nothing is disturbed
    rests: np.ndarray
    limits: np.ndarray
    bounds_x: tuple[Bound, ...]
    bounds_u: tuple[Bound, ...]
    terminal: bool
    contracts: bool  # scenarios too
    saturates: bool
    tries: int  # projections in a step
    chunk: int  # steps of a rollout that are sampled in a piece
    sampling_radius: np.floating[Any]  # σ of (E2)
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
    stage: Operations | None = None  # of a Quadratic
    stage_adjoint: Operations | None = None
    examples: int  # of an expert, at most
    examples_x: np.ndarray  # (k, nx) to begin with
    examples_u: np.ndarray
    imitates: bool  # whether the objective is the error against them
    points: Points | None = None  # of the declared set, where what is committed is audited (E12)
    spread_over: tuple[np.ndarray, np.ndarray] | None = None  # what plant parameters were replaced by
    most_guards: int = 0
    guards: tuple[int, ...] = ()  # their rollouts, in the order that they are verified in
    back_off: np.ndarray | None = None  # (scenarios + guards, signals)

    @classmethod
    def of(
        cls,
        problem: ControlProblem,
        real: str,
        examples: int | None = None,
        gradients: str = GRADIENTS[0],
        audited: bool = True,
    ) -> "DeviceModel":
        """Return the model of a problem.

        Parameters
        ----------
        problem : ControlProblem
        real : str
            "double" or "float".
        examples : int, optional
            Of an expert that the device keeps, at most.
        gradients : str
            "exact" or "sampled".
        audited : bool
            Whether what is committed is audited, where a set is declared.

        Returns
        -------
        DeviceModel

        Raises
        ------
        DomainError
            If the problem has something that is not adapted on a device, by name.
        """
        code = device_code(problem, real, examples=examples, gradients=gradients, audited=audited)
        arithmetic = Arithmetic(real)
        assert isinstance(problem.policy, Policy)
        operations = [Operations.of(problem.plant.name, function, arithmetic) for function in model_functions(problem)]
        of_policy = policy_data(problem.policy, real)
        parts: dict[str, Any] = dict(zip(_FUNCTIONS, operations, strict=False))
        parts |= {key: getattr(code, key) for key in _SHARED}
        parts |= {key: arithmetic.array(getattr(code, key)) for key in _NUMBERS}
        parts |= {key: arithmetic.array(of_policy[key]) for key in _OF_POLICY}
        drawn = code.fresh_set
        return cls(
            arithmetic=arithmetic,
            points=None if drawn is None else Points.of(drawn, arithmetic, parts["p_range"], code.horizon),
            imitates=code.examples_x is not None,
            examples=code.examples,
            examples_x=arithmetic.array(
                np.zeros((0, code.x0.shape[1])) if code.examples_x is None else code.examples_x
            ),
            examples_u=arithmetic.array(np.zeros((0, 0)) if code.examples_u is None else code.examples_u),
            rollouts=code.scenarios + code.cloud,
            contracts=code.contraction,
            gamma=arithmetic.number(code.gamma),
            floor=arithmetic.number(code.floor),
            metric_error=arithmetic.number(code.epsilon),
            sampling_radius=arithmetic.number(code.sampling_radius),
            widths=of_policy["widths"],
            **parts,
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
        return self.contracts or self.rollouts > self.whole

    @property
    def signals(self) -> int:
        """Number of metrics that a rollout may have at a time."""
        return len(self.bounds_x) + len(self.bounds_u) + self.terminal + self.has_contraction

    @property
    def spread(self) -> int:
        """Numbers that the metrics of a rollout take up."""
        return (self.horizon + 1) * self.signals

    @property
    def keys(self) -> int:
        """Numbers that the metrics of all rollouts take up; behind them come those of local stability."""
        return (self.rollouts - len(self.guards) + self.most_guards) * self.spread

    @property
    def whole(self) -> int:
        """Number of rollouts over the horizon, which come first: those of scenarios and guards."""
        return self.scenarios + len(self.guards)

    @property
    def last(self) -> np.ndarray:
        """The last time of each rollout, shape (rollouts,)."""
        return np.where(np.arange(self.rollouts) < self.whole, self.horizon, 1)

    def parameters_over(self, p: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Return plant parameters spread over other ranges as they are over the declared ones.

        Parameters
        ----------
        p : numpy.ndarray, shape (n, np)
        low, high : numpy.ndarray, shape (np,)

        Returns
        -------
        numpy.ndarray, shape (n, np)
        """
        least, width = self.p_range[0], self.p_range[1] - self.p_range[0]
        one = np.ones_like(width)
        part = np.where(width > 0, (p - least) / np.where(width > 0, width, one), 0 * one)
        p = low + part * (high - low)
        return np.where(p > high, high, p)

    def disturbance(self, time: int) -> np.ndarray | None:
        """Return what disturbs the rollouts that go on at this time.

        Parameters
        ----------
        time : int

        Returns
        -------
        numpy.ndarray, shape (rollouts or `whole`, nx), or None
        """
        if not len(self.w):
            return None
        end = self.whole * self.horizon
        over_all = self.w[:end].reshape(self.whole, self.horizon, self.nx)[:, time]
        return np.vstack([over_all, self.w[end:]]) if time == 0 else over_all

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
