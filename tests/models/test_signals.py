"""Signals over time: values by hand, derivatives by differences, and how they take the place of plant parameters."""

import numpy as np
import pytest
from loops import loaded_arm

from scpo_ctrl.errors import DomainError, ScpoError
from scpo_ctrl.models import cart_pole_ode, double_integrator, sensor_noise, signals
from scpo_ctrl.models.varying import (
    drawn_ranges,
    over_time,
    parameters_over_time,
    pulled_back,
    settled,
    settling,
    with_signals,
)
from scpo_ctrl.verification import over_time as verified

NONE = np.zeros((1, 0))


def values(signal, steps=6, dt=0.1, given=NONE):
    return signal.over_time(steps, dt, np.array(given))[0]


def test_values_by_hand():
    np.testing.assert_array_equal(values(signals.constant(2.0), 2), [[2, 2, 2]])
    np.testing.assert_array_equal(values(signals.step(1.0, 3.0, at=0.3)), [[1, 1, 1, 3, 3, 3, 3]])
    np.testing.assert_array_equal(values(signals.step(1.0, 3.0, at=0.31)), [[1, 1, 1, 1, 3, 3, 3]])
    np.testing.assert_array_equal(values(signals.step(1.0, 3.0)), [[3] * 7])
    ramp = values(signals.ramp(0.0, 2.0, at=0.1, over=0.4))
    np.testing.assert_allclose(ramp, [[0, 0, 0.5, 1, 1.5, 2, 2]], atol=1e-15)
    t = 0.1 * np.arange(7)
    np.testing.assert_allclose(values(signals.sine(1.0, 2.0, 0.5, 0.2)), [1 + 2 * np.sin(np.pi * t + 0.2)], rtol=1e-14)
    held = values(signals.sequence([1, 2, 4], offset=10, scale=2))
    np.testing.assert_array_equal(held, [[12, 14, 18, 18, 18, 18, 18]])


def test_a_step_takes_effect_at_the_sample_that_is_its_instant():
    for k in range(1, 200):  # 0.1 · k is not the double nearest to k / 10
        found = values(signals.step(0.0, 1.0, at=k / 10), 200)
        assert found.argmax() == k


KINDS = [
    signals.constant((1.0, 2.0)),
    signals.step((0.5, 1.0), (2.0, 3.0), (0.12, 0.48)),
    signals.ramp((0.5, 1.0), (2.0, 3.0), (0.05, 0.15), over=(0.2, 0.3)),
    signals.sine((0.5, 1.0), (0.1, 0.4), (0.5, 1.5), (0.0, 1.0)),
    signals.sequence([0.5, 0.1, 0.3], offset=(0.5, 1.0), scale=(0.5, 1.0)),
]


@pytest.mark.parametrize("signal", KINDS, ids=lambda signal: signal.kind)
def test_derivatives_by_what_is_drawn(signal):
    rng = np.random.default_rng(3)
    plant = with_signals(with_signals(loaded_arm(), {"gain": KINDS[3]}), {"load": signal})
    ranges = drawn_ranges(plant)
    p = np.tile(plant.p_nominal, (5, 1))
    for i, (low, high) in ranges.items():
        p[:, i] = rng.uniform(low, high, 5)
    at = rng.normal(size=p.shape), rng.normal(size=(5, 8, 3))

    def value(p):
        return (settled(plant, p) * at[0]).sum(axis=1) + (over_time(plant, p, 7) * at[1]).sum(axis=(1, 2))

    found, h = pulled_back(plant, p, at[0], at[1]), 1e-6
    for i in ranges:
        more, less = p.copy(), p.copy()
        more[:, i] += h
        less[:, i] -= h
        np.testing.assert_allclose(found[:, i], (value(more) - value(less)) / (2 * h), rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(found[:, -3:], 0)


@pytest.mark.parametrize("signal", KINDS, ids=lambda signal: signal.kind)
def test_it_stays_within_its_reach_and_ends_where_it_says(signal):
    rng, low, high = np.random.default_rng(4), *np.array([signal.numbers[i] for i in signal.drawn]).T
    given = rng.uniform(low, high, (200, low.size))
    found = signal.over_time(300, 0.01, given)[0]
    assert signal.reach[0] <= found.min() and found.max() <= signal.reach[1]
    if signal.kind != "sine":  # which never ends
        np.testing.assert_allclose(found[:, -1], signal.settled(given)[0], rtol=1e-12)


def test_parameters_are_those_that_stay_then_numbers_then_those_that_vary_then_time():
    plant = with_signals(loaded_arm(), {"load": signals.step(0.0, (-0.5, 0.5), at=(0.0, 0.4))})
    assert plant.p_labels == ("gain", "load after", "load at", "load", "time")
    assert plant.p_units == ("", "", "s", "", "s")
    assert list(drawn_ranges(plant).values()) == [(-0.5, 0.5), (0.0, 0.4)]
    np.testing.assert_array_equal(plant.p_nominal, [1.0, 0.0, 0.2, 0.0, 0.0])
    p = np.array([[1.1, 0.3, 0.2, 9.0, 9.0]])  # what stands for what varies means nothing
    np.testing.assert_array_equal(settled(plant, p), [[1.1, 0.3, 0.2, 0.3, 0.0]])
    whole = parameters_over_time(plant, p, 3)
    np.testing.assert_allclose(whole[0, :, 3:], [[0, 0], [0, 0.1], [0.3, 0.2], [0.3, 0.3]], atol=1e-15)
    np.testing.assert_array_equal(whole[0, :, :3], p[[0] * 4, :3])
    np.testing.assert_array_equal(settling(plant, np.array([[0.0, 2], [-1, 1], [0, 3], [0, 0], [0, 0]])),
                                  [[0, 2], [-1, 1], [0.2, 0.2], [0, 0], [0, 0]])  # fmt: skip
    np.testing.assert_array_equal(settling(plant, np.tile([-9.0, 9], (5, 1)))[3:], 0)  # which follow from the others


def test_dynamics_are_those_of_the_plant():
    plain, plant = loaded_arm(), with_signals(loaded_arm(), {"load": signals.constant((0.1, 0.2))})
    x, u = [0.3, -0.2], [0.1]
    np.testing.assert_array_equal(plant.function(x, u, [1.1, 0.0, 0.4, 7.0]), plain.function(x, u, [0.4, 1.1]))


def test_nothing_varies_without_signals():
    plant, p = loaded_arm(), np.array([[0.1, 1.0], [0.2, 1.1]])
    assert settled(plant, p) is p
    assert over_time(plant, p, 4).shape == (2, 5, 0)
    np.testing.assert_array_equal(parameters_over_time(plant, p, 4)[:, 3], p)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: signals.step((1.0, 0.0), 0.0), "swapped"),
        (lambda: signals.step(np.nan, 0.0), "before"),
        (lambda: signals.step(0.0, "1"), "after"),
        (lambda: signals.ramp(0.0, 1.0, over=0.0), "above 0 s"),
        (lambda: signals.ramp(0.0, 1.0, over=(-1.0, 1.0)), "above 0 s"),
        (lambda: signals.sequence([]), "values"),
        (lambda: signals.sequence([0.0, np.inf]), "values"),
        (lambda: with_signals(loaded_arm(), {"mass": signals.constant(1.0)}), "load, gain"),
        (lambda: with_signals(loaded_arm(), {}), "expected signals"),
        (lambda: with_signals(loaded_arm(), {"load": 1.0}), "Signal"),
        (lambda: with_signals(double_integrator(), {"weight": signals.constant(1.0)}), "mass"),
        (lambda: with_signals(cart_pole_ode(), {"pole_mass": signals.constant(0.1)}), "discretise it first"),
        (lambda: with_signals(with_signals(loaded_arm(), {"load": KINDS[0]}), {"load": KINDS[0]}), "gain"),
        (lambda: with_signals(with_signals(loaded_arm(), {"load": KINDS[0]}), {"load value": KINDS[0]}), "gain"),
    ],
)
def test_bad_input(make, says):
    with pytest.raises(ScpoError, match=says):
        make()


def test_values_for_which_the_plant_means_nothing():
    plant = loaded_arm().replace(p_above=[-1.0, 0.0])
    for signal in (signals.step(1.0, 0.0), signals.sine(1.0, 1.5, 1.0), signals.sequence([1.0], scale=(-1.0, 1.0))):
        with pytest.raises(DomainError, match="only above 0"):
            with_signals(plant, {"gain": signal})


def test_noise_is_uniform_white_and_anew_for_each_seed():
    seeds = np.random.default_rng(0).uniform(size=(400, 1))
    found = signals.noise(2.0).over_time(499, 0.1, seeds)[0]
    assert -2 < found.min() < -1.999 and 1.999 < found.max() < 2
    count = np.histogram(found, 20, (-2, 2))[0]
    assert ((count - count.mean()) ** 2 / count.mean()).sum() < 43.8  # chi squared of 19, one in a thousand
    for lag in (1, 2, 7):
        assert abs((found[:, lag:] * found[:, :-lag]).mean()) < 4 * (4 / 3) / np.sqrt(found[:, lag:].size)
    assert abs(np.corrcoef(found[:200].ravel(), found[200:].ravel())[0, 1]) < 4 / np.sqrt(found.size / 2)
    np.testing.assert_array_equal(found[7], signals.noise(2.0, float(seeds[7, 0])).over_time(499, 0.1, NONE)[0][0])
    assert signals.noise((0.0, 1.0)).reach == (-1.0, 1.0)


@pytest.mark.parametrize("steps", [1, 12])
def test_verification_computes_the_same_over_again(steps):
    rng, plant = np.random.default_rng(8), sensor_noise(loaded_arm(), [0.1, 0.0])
    for label, (load, gain) in {"a": (KINDS[1], KINDS[2]), "b": (KINDS[3], KINDS[4])}.items():
        varied = with_signals(plant, {"load": load, "gain": gain})
        p = np.tile(varied.p_nominal, (9, 1))
        for i, (low, high) in drawn_ranges(varied).items():
            p[:, i] = rng.uniform(low, high, 9)
        again = verified.over_time(varied, p, steps)
        np.testing.assert_allclose(again.swapaxes(0, 1), parameters_over_time(varied, p, steps), rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(verified.ended(varied, p), settled(varied, p), rtol=1e-15)
        found = {varied.p_labels[i]: ends for i, ends in drawn_ranges(varied).items()}
        assert verified.ranges(varied, {}) == found, label
        moved = settling(varied, np.tile([0.0, 9.0], (varied.npar, 1)))[:, 1] == 9.0
        assert [verified.moves_the_end(varied, name) for name in found] == moved[list(drawn_ranges(varied))].tolist()
