"""Test vectors of a controller with or without memory: sequences of steps as Python computes them."""

from dataclasses import dataclass

import casadi as ca
import numpy as np

from scpo_ctrl.codegen.literals import number_type
from scpo_ctrl.loop.controlled import ControllerPolicy
from scpo_ctrl.models.instructions import Instruction, instructions

SEQUENCES, STEPS, STARTS = 8, 25, 20
_CLOSED = 4  # sequences of the closed loop: the exported θ, the backup's, both from far outside; the others are random
_FAR = 8.0  # how many times as far as the level set
_LARGEST = {"float": 1e15, "double": 1e100}  # signal: what it gives is still a number
_REPRESENTED = {"float": 1e37, "double": 1e300}  # what an operation may give
_HALVINGS = 12  # of the way from rest to signals that the law is not defined at
_TINY = 1e-9


@dataclass(frozen=True)
class Signals:
    """What goes into the steps of sequences; numbers of the target's type."""

    theta: np.ndarray  # (T, d) the exported parameters, the backup's, and random ones
    which: np.ndarray  # (S,) rows of theta
    start: np.ndarray  # (S, nm) memory before the first step
    y: np.ndarray  # (S, N, ny)
    r: np.ndarray  # (S, N, nr)


@dataclass(frozen=True)
class Sequences:
    """Steps, and what they give in double."""

    signals: Signals
    u: np.ndarray  # (S, N, nu)
    memory: np.ndarray  # (S, N, nm) after each step
    u_size: np.ndarray  # (S, N, nu) what errors are relative to, at least |u| and half the width of its bounds
    memory_size: np.ndarray  # (S, N, nm) the same of the memory
    starts: np.ndarray  # (M,) steps before which the memory is set for a command, counted over all sequences
    start_u: np.ndarray  # (M, nu) the command, in the target's type


@dataclass(frozen=True)
class Step:
    """One step of a controller as Python computes it, and what a rounding error somewhere in it does."""

    policy: ControllerPolicy
    # (xi, y, r, theta) -> (command, u, next, ∂(u, next)/∂xi, errors of (u, next) (., operations))
    function: ca.Function
    plain: ca.Function  # (xi, y, r, theta) -> (u, next) alone
    uncut: ca.Function  # (xi, y, r, theta) -> (command and next before they are cut, result of each operation)

    @classmethod
    def of(cls, policy: ControllerPolicy) -> "Step":
        """Return the step of a controller.

        Parameters
        ----------
        policy : ControllerPolicy

        Returns
        -------
        Step
        """
        controller, plant = policy.controller, policy.plant
        nu, nm = controller.command.numel(), controller.memories
        symbols = [controller.xi, controller.y, controller.r, controller.theta]
        low, high = ca.DM(plant.u_min[:nu]), ca.DM(plant.u_max[:nu])
        u = ca.fmin(ca.fmax(controller.command, low), high)
        memory = following = ca.SX(0, 1)
        if nm:
            applied = u if controller.u.numel() else ca.SX(0, 1)
            (following,) = ca.Function("eta", [*symbols, controller.u], [controller.memory]).call([*symbols, applied])
            memory = ca.fmin(ca.fmax(following, ca.DM(controller.memory_min)), ca.DM(controller.memory_max))
        both = ca.vertcat(u, memory)
        errors = _errors(ca.Function("step", symbols, [ca.densify(both)]))
        slope = ca.densify(ca.jacobian(both, controller.xi))
        outputs = [controller.command, u, memory, slope, errors(*symbols)]
        uncut = ca.Function("uncut", symbols, [ca.densify(ca.vertcat(controller.command, following))])
        plain = ca.Function("plain", symbols, [ca.densify(u), ca.densify(memory)])
        return cls(policy, ca.Function("step", symbols, outputs), plain, _with_operations(uncut))

    def __call__(self, xi: np.ndarray, y: np.ndarray, r: np.ndarray, theta: np.ndarray) -> list[np.ndarray]:
        """Return command, u, next memory, slopes by the memory, and errors by the operation that they come from."""
        found = [part.full() for part in self.function(xi, y, r, theta)]
        return [*(part[:, 0] if part.size else np.zeros(0) for part in found[:3]), *found[3:]]

    def after(self, xi: np.ndarray, y: np.ndarray, r: np.ndarray, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return u and the next memory."""
        u, following = (part.full().ravel() for part in self.plain(xi, y, r, theta))
        return u, following

    def is_defined(self, xi: np.ndarray, y: np.ndarray, r: np.ndarray, theta: np.ndarray, real: str) -> bool:
        """Whether command and next memory are numbers, and nothing on the way leaves the range of the type."""
        results, operations = (part.full() for part in self.uncut(xi, y, r, theta))
        far = np.isfinite(operations) & (np.abs(operations) > _REPRESENTED[real])
        return bool(np.isfinite(results).all() and not far.any())


def _with_operations(function: ca.Function) -> ca.Function:
    """Return the function with the result of each of its operations as another output."""
    symbols = [ca.SX.sym(f"x{k}", function.numel_in(k)) for k in range(function.n_in())]
    held, results = dict[int, ca.SX](), []
    for done in instructions(function):
        if done.operation == ca.OP_INPUT:
            held[done.place] = symbols[done.entry[0]][done.entry[1]]
        elif done.operation == ca.OP_CONST:
            held[done.place] = ca.SX(done.value)
        elif done.operation != ca.OP_OUTPUT:
            held[done.place] = _result(done, held)
            results.append(held[done.place])
    return ca.Function(function.name(), symbols, [function(*symbols), ca.vertcat(ca.SX(0, 1), *results)])


def _result(done: Instruction, held: dict[int, ca.SX]) -> ca.SX:
    """Return the expression of what an operation gives."""
    taken = [held[place] for place in done.takes]
    return ca.SX.binary(done.operation, *taken) if taken[1:] else ca.SX.unary(done.operation, *taken)


def _errors(function: ca.Function) -> ca.Function:
    """Return the function of what a relative error of 1 in each operation and constant adds to each output."""
    symbols = [ca.SX.sym(f"x{k}", function.numel_in(k)) for k in range(function.n_in())]
    held, deltas = dict[int, ca.SX](), []
    outputs = ca.SX.zeros(function.numel_out(0))
    for done in instructions(function):
        if done.operation == ca.OP_OUTPUT:
            outputs[done.entry[1]] = held[done.takes[0]]
        elif done.operation == ca.OP_INPUT:
            held[done.place] = symbols[done.entry[0]][done.entry[1]]
        else:
            exact = ca.SX(done.value) if done.operation == ca.OP_CONST else _result(done, held)
            deltas.append(ca.SX.sym("delta"))
            held[done.place] = exact * (1 + deltas[-1])
    delta = ca.vertcat(*deltas)
    slopes = ca.substitute(ca.jacobian(outputs, delta), delta, ca.DM.zeros(delta.shape))
    return ca.Function("errors", symbols, [ca.densify(slopes)])


def sequences(policy: ControllerPolicy, theta: np.ndarray, real: str) -> Sequences:
    """Draw sequences of measurements and references, and compute what the controller makes of them.

    Parameters
    ----------
    policy : ControllerPolicy
    theta : numpy.ndarray, shape (d,)
        The exported parameters, in their own units.
    real : str
        "float" or "double".

    Returns
    -------
    Sequences
        The same ones every time.
    """
    rng, step = np.random.default_rng(20251213), Step.of(policy)
    signals = _signals(step, theta, real, rng)
    return computed(step, signals, *_starts(step, signals, real, rng))


def computed(step: Step, signals: Signals, starts: np.ndarray, start_u: np.ndarray) -> Sequences:
    """Compute what a controller makes of sequences, the memory carried along, and how much of it rounding may change.

    Parameters
    ----------
    step : Step
    signals : Signals
    starts : numpy.ndarray, shape (M,)
    start_u : numpy.ndarray, shape (M, nu)

    Returns
    -------
    Sequences
    """
    controller, plant, nm = step.policy.controller, step.policy.plant, step.policy.controller.memories
    shape, nu = signals.y.shape[:2], controller.command.numel()
    u, u_size = np.zeros((*shape, nu)), np.zeros((*shape, nu))
    memory, memory_size = np.zeros((*shape, nm)), np.zeros((*shape, nm))
    half, wide = ((high - low) / 2 for low, high in (
        (plant.u_min[:nu], plant.u_max[:nu]), (controller.memory_min, controller.memory_max),
    ))  # fmt: skip
    for s in range(shape[0]):
        xi, carried = signals.start[s], np.zeros((nm, 0))
        for t in range(shape[1]):
            theta = signals.theta[signals.which[s]]
            _, u[s, t], xi, slope, errors = step(xi, signals.y[s, t], signals.r[s, t], theta)
            if nm:
                errors = np.hstack([slope @ carried, errors])
                carried = errors[nu:]
            error = np.nan_to_num(np.abs(errors).sum(axis=1), nan=0.0, posinf=0.0) / 16
            memory[s, t] = xi
            u_size[s, t] = np.maximum(np.maximum(half, np.abs(u[s, t])), error[:nu])
            memory_size[s, t] = np.maximum(np.maximum(wide, np.abs(xi)), error[nu:])
    return Sequences(signals, u, memory, u_size, memory_size, starts, start_u)


def _signals(step: Step, theta: np.ndarray, real: str, rng: np.random.Generator) -> Signals:
    """Draw sequences: of closed loops from near and from far, and at random."""
    policy, controller, plant = step.policy, step.policy.controller, step.policy.plant
    ny, nm, nr = controller.y.numel(), controller.memories, controller.r.numel()
    number = number_type(real)
    spread = 0.5 * np.array(policy.scale) * rng.normal(size=(SEQUENCES - _CLOSED - 1, theta.size))
    thetas = np.vstack([theta, controller.theta_initial, theta + spread]).astype(number).astype(float)
    which = np.array([0, 1, 0, 1, 0, *range(2, SEQUENCES - _CLOSED + 1)])
    start = rng.uniform(controller.memory_min, controller.memory_max, (SEQUENCES, nm))
    start[0] = np.clip(controller.memory_initial, controller.memory_min, controller.memory_max)
    start = start.astype(number).astype(float)
    measured = ca.Function("h", [plant.x, plant.p], [plant.measured[:ny]])
    rest, reference = plant.x_eq, np.array(policy.reference)
    y, r = np.zeros((SEQUENCES, STEPS, ny)), np.tile(reference, (SEQUENCES, STEPS, 1))
    unit, root = policy.backup.shape
    at_rest = np.array(measured(rest, plant.p_nominal))[:, 0]
    for s in range(SEQUENCES):
        if not step.is_defined(start[s], at_rest, reference, thetas[which[s]], real):
            which[s], start[s] = 0, start[0]
        state = _drawn(rng, rest, unit, root, _FAR if s >= _CLOSED // 2 else 1.0)
        xi = start[s]
        for t in range(STEPS):
            if s >= _CLOSED:
                state = _drawn(rng, rest, unit, root, _FAR if t % 3 else 1.0)
                r[s, t] = reference + rng.normal(size=nr) * (0.1 * np.abs(reference) + 0.1)
            shown = np.array(measured(np.append(state[: len(state) - nm], xi), plant.p_nominal))[:, 0]
            y[s, t] = _stored(shown, real, y[s, t - 1])
            r[s, t] = r[s, t].astype(number)
            own = thetas[which[s]]
            for k in range(1, _HALVINGS + 1):
                u, following = step.after(xi, y[s, t], r[s, t], own)
                if step.is_defined(xi, y[s, t], r[s, t], own, real) and step.is_defined(
                    following, at_rest, reference, own, real
                ):  # and there is a next step, whatever its signals will be
                    break
                part = 0.5 if k < _HALVINGS else 0.0
                y[s, t] = (at_rest + part * (y[s, t] - at_rest)).astype(number)
                r[s, t] = (reference + part * (r[s, t] - reference)).astype(number)
            else:
                u, following = step.after(xi, y[s, t], r[s, t], own)
            xi = following
            if s < _CLOSED:
                state = np.array(
                    plant.function(np.append(state[: len(state) - nm], xi), np.append(u, xi), plant.p_nominal)
                )[:, 0]
    return Signals(thetas, which, start, y, r)


def _stored(values: np.ndarray, real: str, instead: np.ndarray) -> np.ndarray:
    """Return values as the target has them, others where a plant far from its bounds shows none."""
    kept = np.where(np.isfinite(values), np.clip(values, -_LARGEST[real], _LARGEST[real]), instead)
    return kept.astype(number_type(real)).astype(float)


def _drawn(rng: np.random.Generator, rest: np.ndarray, unit: np.ndarray, root: np.ndarray, far: float) -> np.ndarray:
    """Draw a state on the boundary of a level set, or farther out."""
    direction = rng.normal(size=rest.size)
    return rest + far * unit * (root @ (direction / np.linalg.norm(direction)))


def _starts(step: Step, signals: Signals, real: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw commands that the memory can be set for: near those that some memory inside its bounds gives."""
    controller, plant = step.policy.controller, step.policy.plant
    nu, found = controller.command.numel(), []
    low, high = plant.u_min[:nu], plant.u_max[:nu]
    number = number_type(real)
    for k in range(STEPS * 2):  # of sequences 0 and 2, under the exported parameters
        s, t = 2 * (k % 2), k // 2
        middle = (controller.memory_min + controller.memory_max) / 2
        xi = middle + rng.uniform(-0.2, 0.2, middle.size) * (controller.memory_max - controller.memory_min)
        command = step(xi, signals.y[s, t], signals.r[s, t], signals.theta[0])[0]
        if ((command > low) & (command < high)).all():
            found.append((STEPS * s + t, command.astype(number).astype(float)))
    found = found[:STARTS]
    return np.array([at for at, _ in found], dtype=int), np.array([u for _, u in found]).reshape(-1, nu)
