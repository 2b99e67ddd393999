"""Exported controllers against Python, number for number, through a shared library."""

import ctypes
import functools

import casadi as ca
import numpy as np
import pytest
from controller_exports import POLICIES, result_of
from exports import need, run
from forms import times

from scpo_ctrl.codegen import export
from scpo_ctrl.codegen.controller import _weight
from scpo_ctrl.codegen.sequences import Step

OK, CAPPED, UNSAFE_START, BAD_PROBLEM, BAD_SIGNAL, BAD_THETA, BAD_MEMORY, OUT_OF_REACH = range(8)
TOLERANCE = {"double": 1e-12, "float": 1e-5}


class Library:
    """An exported controller as a shared library."""

    def __init__(self, name, real, folder, flags="-O2"):
        export(result_of(name), folder / "c", real=real, measured=False)
        self.type = np.float64 if real == "double" else np.float32
        self.policy = result_of(name).problem.policy
        self.nm, self.nr = self.policy.controller.memories, self.policy.controller.r.numel()
        objects = []
        for source in [*(folder / "c" / "src").glob("scpo_[cs]*.c"), folder / "c" / "src" / "scpo_data.c"]:
            objects.append(source.with_suffix(".o"))
            run("gcc", *flags.split(), "-fPIC", f"-I{folder / 'c' / 'include'}", "-c", source, "-o", objects[-1])
        # Linked without the flags: -ffast-math would change the arithmetic of this whole process.
        run("gcc", "-shared", *objects, "-lm", "-o", folder / "c.so")
        self._loaded = ctypes.CDLL(str(folder / "c.so"))

    @functools.cached_property
    def sensors(self):
        plant = self.policy.plant
        values = ca.substitute(plant.measured[: self.policy.controller.y.numel()], plant.p, ca.DM(plant.p_nominal))
        return ca.Function("h", [plant.x], [values])

    def stored(self, values):
        return np.ascontiguousarray(values, self.type)

    def numbers(self, name, size):
        kind = ctypes.c_double if self.type is np.float64 else ctypes.c_float
        return np.array((kind * size).in_dll(self._loaded, name)[:], float)

    def call(self, name, theta, y, r, memory, u, order):
        """Call a function of C; `memory` and `u` are written."""
        arrays = {"theta": self.stored(theta), "y": self.stored(y), "memory": memory, "u": u}
        arrays |= {"r": self.stored(r)} if self.nr else {}
        there = [arrays[key] for key in order if key in arrays and (key != "memory" or self.nm)]
        return getattr(self._loaded, name)(*(array.ctypes.data_as(ctypes.c_void_p) for array in there))

    def control(self, theta, y, r, memory):
        u = np.full(self.policy.controller.command.numel(), np.nan, self.type)
        after = self.stored(memory).copy()
        status = self.call("scpo_control", theta, y, r, after, u, ("theta", "y", "r", "memory", "u"))
        return status, u, after

    def start(self, theta, y, r, u, memory):
        after = self.stored(memory).copy()
        order = ("theta", "y", "r", "u", "memory")
        return self.call("scpo_bumpless_start", theta, y, r, after, self.stored(u), order), after


@pytest.fixture(scope="module", params=["double", "float"])
def real(request):
    need("gcc")
    return request.param


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Return what compiles a controller, once for each type and each set of flags."""

    make = functools.cache(lambda name, real, flags: Library(name, real, tmp_path_factory.mktemp("library"), flags))
    return lambda name, real, flags="-O2": make(name, real, flags)


def own(policy, theta):
    return np.array(list(policy.parameters(theta).values()))


def states(policy, count, rng, far=1.5):
    """Return states of the plant around its level set, without the memory."""
    direction = rng.normal(size=(count, policy.plant.nx))
    unit, root = policy.backup.shape
    drawn = policy.plant.x_eq + far * rng.uniform(size=(count, 1)) * unit * (direction @ root.T)
    return drawn[:, : policy.plant.nx - policy.controller.memories]


def shown(library, x):
    """Return what sensors show at a state of the plant."""
    return np.array(library.sensors(np.append(x, np.zeros(library.nm))))[:, 0]


def carried(policy, theta, y, r):
    """Return input and memory after each of some steps, shape (N, nu + nm), by CasADi in double."""
    signals = [ca.SX.sym(name, size) for name, size in (("y", y.shape[1]), ("r", r.shape[1]))]
    xi = ca.SX.sym("xi", policy.controller.memories)
    found = Step.of(policy).function(xi, *signals, ca.DM(theta))
    step = ca.Function("step", [xi, *signals], [found[2], found[1]])
    steps = step.mapaccum("steps", len(y)) if xi.numel() else step.map(len(y))
    memory, u = steps(policy.controller.memory_initial, y.T, r.T)
    return np.hstack([np.array(u).T, np.array(memory).T.reshape(len(y), -1)])


@pytest.mark.table(8)
@pytest.mark.parametrize("name", POLICIES)
def test_random_steps_with_memory_carried_along(name, real, compiled):
    library = compiled(name, real)
    policy, rng, count = library.policy, np.random.default_rng(7), times(10_000)
    controller, plant, nu = policy.controller, policy.plant, policy.controller.command.numel()
    theta = library.stored(own(policy, result_of(name).theta)).astype(float)
    y = np.array([shown(library, state) for state in states(policy, count, rng, far=40.0 if name == "lqg" else 4.0)])
    r = np.array(policy.reference) + 0.02 * rng.normal(size=(count, library.nr))
    y, r = (signal.astype(library.type).astype(float) for signal in (y, r))
    memory, found = library.stored(controller.memory_initial), []
    for k in range(count):
        status, u, memory = library.control(theta, y[k], r[k], memory)
        assert status == OK
        found.append(np.append(u, memory))
    found, expected = np.array(found, float), carried(policy, theta, y, r)
    half = np.append((plant.u_max - plant.u_min)[:nu], controller.memory_max - controller.memory_min) / 2
    error = np.max(np.abs(found - expected) / np.maximum(half, np.abs(expected)))
    cut = np.isin(expected[:, :nu], [plant.u_min[:nu], plant.u_max[:nu]]).any(axis=1).mean()
    print(f"{name}, {real}: {count} steps, largest relative error {error:.2e}; {100 * cut:.0f} % cut")
    assert error <= TOLERANCE[real] and 0 < cut < 0.95
    assert ((found[:, :nu] >= plant.u_min[:nu]) & (found[:, :nu] <= plant.u_max[:nu])).all()
    assert ((found[:, nu:] >= controller.memory_min) & (found[:, nu:] <= controller.memory_max)).all()


@pytest.mark.table(3)
@pytest.mark.parametrize("name", POLICIES)
def test_a_step_is_what_the_policy_of_the_run_does(name, compiled):
    """By the joined law of the run, which rolls out: its state, its θ, its reference."""
    need("gcc")
    library = compiled(name, "double")
    policy, rng = library.policy, np.random.default_rng(3)
    controller = policy.controller
    for x in states(policy, 200, rng, far=3.0):
        theta = 0.3 * rng.normal(size=policy.theta_dim)
        xi = rng.uniform(controller.memory_min, controller.memory_max)
        status, u, after = library.control(own(policy, theta), shown(library, x), policy.reference, xi)
        expected = policy(np.append(x, xi), theta)
        assert status == OK
        np.testing.assert_allclose(np.append(u, after), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.table(4)
@pytest.mark.parametrize("flags", ["-O2", "-O3 -ffast-math"])
@pytest.mark.parametrize("name", ["pid", "lqi", "by_hand", "gain_schedule"])
def test_whatever_bytes(name, real, flags, compiled):
    """Random bit patterns, many of them NaN, infinite, huge or tiny: u and memory are finite and within bounds."""
    library = compiled(name, real, flags)
    policy, rng, seen = library.policy, np.random.default_rng(5), set()
    controller, plant, nu = policy.controller, policy.plant, policy.controller.command.numel()
    sizes = np.cumsum([policy.theta_dim, controller.y.numel(), library.nr, library.nm])
    for k in range(times(3000)):
        raw = np.frombuffer(rng.bytes(sizes[-1] * library.type().itemsize), library.type).copy()
        if k % 3 == 0:
            tiny = np.finfo(library.type).smallest_subnormal
            raw[:] = rng.choice([0, 1, -1, tiny, np.finfo(library.type).max, np.finfo(library.type).min], raw.size)
        elif k % 3 == 1:
            raw[:] = rng.normal(size=raw.size)
            raw[rng.integers(raw.size)] = rng.choice([np.nan, np.inf, -np.inf])
        theta, y, r, memory = np.split(raw, sizes[:-1])
        for status, u, after in (library.control(theta, y, r, memory), started(library, theta, y, r, memory, rng)):
            seen.add(status)
            assert np.isfinite(u).all() and ((u >= plant.u_min[:nu]) & (u <= plant.u_max[:nu])).all()
            if status == BAD_SIGNAL:
                assert after.tobytes() == memory.tobytes()
            else:
                assert np.isfinite(after).all()
                assert ((after >= controller.memory_min) & (after <= controller.memory_max)).all()
        if not np.isfinite(np.append(y, r)).all():
            assert library.control(theta, y, r, memory)[0] == BAD_SIGNAL
        elif not np.isfinite(theta).all():
            assert library.control(theta, y, r, memory)[0] == BAD_THETA
    assert seen >= {OK, BAD_SIGNAL, BAD_THETA} | ({BAD_MEMORY, OUT_OF_REACH} if library.nm else set())


def started(library, theta, y, r, memory, rng):
    """Return what a bumpless start does, in the form of a step that commands the equilibrium input."""
    policy, rest = library.policy, library.policy.plant.u_eq[: library.policy.controller.command.numel()]
    if not library.nm:
        return OK, rest, memory
    asked = rng.choice([0.0, 1.0, 1e30, np.nan], len(rest), p=[0.4, 0.4, 0.1, 0.1])
    status, after = library.start(theta, y, r, asked, memory)
    if status == OUT_OF_REACH:  # a command that is no number anywhere leaves what there was
        after = np.clip(after, policy.controller.memory_min, policy.controller.memory_max)
    return status, rest, after


def test_the_backup_is_the_controller_before_adaptation(real, compiled):
    library = compiled("pid", real)
    policy = library.policy
    assert library.numbers("scpo_theta_backup", 3) == pytest.approx([1.0, 2.0, 0.02])
    np.testing.assert_allclose(library.numbers("scpo_theta", 3), own(policy, result_of("pid").theta), rtol=1e-7)
    good = library.control(policy.controller.theta_initial, [0.1], [0.2], [0.5, 0.05])
    for broken in (np.nan, np.inf):
        for i in range(3):
            theta = own(policy, result_of("pid").theta)
            theta[i] = broken
            status, u, after = library.control(theta, [0.1], [0.2], [0.5, 0.05])
            assert status == BAD_THETA
            assert u == good[1] and (after == good[2]).all()
    largest = float(np.finfo(library.type).max)
    assert library.control([largest, 2.0, largest], [-3.0], [3.0], [0.0, 0.0])[0] == BAD_THETA  # inf - inf


def least_change(library):
    """Return the function for the memory of a bumpless start by numpy, where no bound is met."""
    controller = library.policy.controller
    symbols = [controller.xi, controller.y, controller.r, controller.theta]
    slope = ca.Function("J", symbols, [controller.command, ca.densify(ca.jacobian(controller.command, controller.xi))])
    W = np.diag(_weight(library.policy, result_of_policy(library).theta))

    def of(theta, y, r, u, memory):
        command, J = (np.array(part) for part in slope(memory, y, r, theta))
        return memory + W @ J.T @ np.linalg.solve(J @ W @ J.T, u - command[:, 0])

    return of


def result_of_policy(library):
    return next(result_of(name) for name in POLICIES if result_of(name).problem.policy is library.policy)


@pytest.mark.table(4)
@pytest.mark.parametrize("name", ["pid", "lqi", "lqg", "cascade"])
def test_a_bumpless_start_is_the_least_change(name, real, compiled):
    library = compiled(name, real)
    policy, rng, inside = library.policy, np.random.default_rng(2), 0
    controller, plant, nu = policy.controller, policy.plant, policy.controller.command.numel()
    theta = library.stored(own(policy, result_of(name).theta)).astype(float)
    width = controller.memory_max - controller.memory_min
    step, least = Step.of(policy), least_change(library)
    for x in states(policy, 100, rng, far=0.3):
        y, r = shown(library, x).astype(library.type).astype(float), np.array(policy.reference)
        memory = controller.memory_initial + 0.02 * rng.normal(size=library.nm) * width
        memory = memory.astype(library.type).astype(float)
        near = step(memory, y, r, theta)[1] + 0.1 * rng.normal(size=nu) * (plant.u_max - plant.u_min)[:nu]
        u = np.clip(near, plant.u_min[:nu], plant.u_max[:nu]).astype(library.type).astype(float)
        status, found = library.start(theta, y, r, u, memory)
        assert ((found >= controller.memory_min) & (found <= controller.memory_max)).all()
        expected = least(theta, y, r, u, memory)
        if ((expected > controller.memory_min) & (expected < controller.memory_max)).all():
            inside += 1
            assert status == OK
            np.testing.assert_allclose(found / width, expected / width, atol=2e-9 if real == "double" else 2e-4)
        if status == OK:
            _, commanded, _ = library.control(theta, y, r, found)
            np.testing.assert_allclose(commanded, u, atol=1e-5 * float(np.ptp([plant.u_min, plant.u_max])))
    assert inside > 10


def test_an_integral_moves_and_a_filter_stays(real, compiled):
    """After a bumpless start at rest the command stays where it is: nothing of it decays with the filter."""
    library = compiled("pid", real)
    theta = own(library.policy, result_of("pid").theta)
    status, memory = library.start(theta, [0.3], [0.3], [5.0], [0.0, 0.3])
    assert status == OK and memory[0] == pytest.approx(5.0, abs=1e-3) and memory[1] == pytest.approx(0.3, abs=1e-4)
    for _ in range(50):
        status, u, memory = library.control(theta, [0.3], [0.3], memory)
        assert status == OK and u[0] == pytest.approx(5.0, abs=2e-3)


def test_a_start_out_of_reach_comes_as_near_as_it_can(real, compiled):
    library = compiled("pid", real)
    theta = np.array([1e4, 2.0, 0.02])  # an error of 3 rad is 30 kV, the integral at most 24 V
    status, memory = library.start(theta, [-1.5], [1.5], [0.0], [0.0, -1.5])
    assert status == OUT_OF_REACH and memory[0] == -24.0
    status, memory = library.start(theta, [0.1], [0.1], [1e6], [0.0, 0.1])  # cut to 12 V, which it reaches
    assert status == OK and memory[0] == pytest.approx(12.0, rel=1e-5)
    assert library.start(theta, [np.nan], [0.1], [0.0], [1.0, 0.1])[0] == BAD_SIGNAL
    status, memory = library.start(theta, [0.1], [0.1], [1.0], [np.nan, 0.1])
    assert status == BAD_MEMORY and np.isfinite(memory).all()


def test_commands_that_depend_on_each_other(real, compiled):
    """A pair that belongs together is reached, another one is approached."""
    library = compiled("dependent", real)
    status, memory = library.start([2.0, 1.0], [0.0, 0.0], [], [0.5, 50.0], [0.1, 0.2, 0.7])
    assert status == OK
    assert memory[:2].sum() == pytest.approx(0.5, abs=1e-5) and memory[2] == library.type(0.7)  # no command sees that
    np.testing.assert_allclose(memory[:2], [0.2, 0.3], atol=0.01)  # each by the same part, nearly: they forget alike
    status, memory = library.start([2.0, 1.0], [0.0, 0.0], [], [0.5, -50.0], [0.1, 0.2, 0.7])
    assert status == OUT_OF_REACH and (np.abs(memory) <= 1).all() and memory[2] == library.type(0.7)


def test_a_start_of_a_bent_law(real, compiled):
    """Where κ is not affine in the memory, Newton steps are repeated."""
    library = compiled("bent", real)
    for asked in (-0.7, -0.2, 0.4, 0.8):
        status, memory = library.start([1.0], [0.1], [0.0], [asked], [0.0])
        assert status == OK
        _, u, _ = library.control([1.0], [0.1], [0.0], memory)
        assert u[0] == pytest.approx(asked, abs=1e-4)
