"""The cart-pole on MuJoCo: with the model's numbers it is the model, and what is said without the package."""

from __future__ import annotations

import sys

import mujoco_pendulum
import numpy as np
import pytest

import scpo_ctrl as sc
from scpo_ctrl.models import cart_pole


def test_without_the_package_it_says_why_it_skips(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mujoco", None)
    assert mujoco_pendulum.main() == []
    assert "skipped: the package mujoco is not installed" in capsys.readouterr().out


def test_with_the_models_numbers_mujoco_is_the_model(monkeypatch):
    mujoco = pytest.importorskip("mujoco")
    numbers = {"cart": 1.0, "pole": 0.1, "slide_damping": 0.0, "armature": 0.0, "hinge_damping": 0.0}
    plant = cart_pole()
    policy = sc.Policy(plant, sc.lqr(plant, [0.1, 0.1, 1.0, 1.0], [1.0]))
    text = mujoco_pendulum.WORLD.format(step=plant.dt / 20, inertia=0.1 / 12, **numbers)
    X, U = mujoco_pendulum.episode(
        mujoco, mujoco.MjModel.from_xml_string(text), np.array([0.3, 0.1, 0.05, -0.1]), policy, np.zeros(4)
    )
    for t in range(mujoco_pendulum.STEPS):
        following = np.array(plant.function(X[t], U[t], plant.p_nominal))[:, 0]
        np.testing.assert_allclose(X[t + 1], following, atol=2e-5)  # one Runge-Kutta step a sample, and twenty


def test_the_adapted_policy_is_better_on_mujoco_too(capsys):
    pytest.importorskip("mujoco")
    before, after = mujoco_pendulum.main(steps=8, episodes=20)
    assert after[0] < 0.8 * before[0] and before[1:] == (0, 0)
    assert capsys.readouterr().out.count("MuJoCo ") == 2
