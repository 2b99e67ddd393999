"""FMUs in a plant's place: one compiled here, of a pendulum with a second input that the plant does not know."""

from __future__ import annotations

import shutil
from pathlib import Path

import casadi as ca
import numpy as np
import pytest
from fmus import NAMES, description, packed, unpacked_fmu

import scpo_ctrl as sc
from scpo_ctrl.errors import ClassError, DomainError, ProblemFileError, ScpoError
from scpo_ctrl.interfaces import simulator_from_fmu
from scpo_ctrl.models import Plant, discretise


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory) -> Path:
    return unpacked_fmu(tmp_path_factory.mktemp("fmu") / "pendulum")


@pytest.fixture(scope="module")
def fmu(unpacked) -> Path:
    return packed(unpacked, unpacked.parent / "pendulum.fmu")


def arm(order=("angle", "rate"), *, wind=0.25, gravity=True) -> Plant:
    """Return the same pendulum by its equations, its states in one order or the other."""
    x, u, p = ca.SX.sym("x", 2), ca.SX.sym("u"), ca.SX.sym("g")
    angle, rate = (x[order.index(name)] for name in ("angle", "rate"))
    g = p if gravity else 9.81
    slopes = {"angle": rate, "rate": u + wind - g * ca.sin(angle) - 0.3 * rate}
    rest = {"p": p, "p_nominal": [9.81], "p_labels": ("gravity",)} if gravity else {}
    plant = Plant(
        name="arm", x=x, u=u, f=ca.vertcat(*(slopes[name] for name in order)), x_labels=order, u_labels=("torque",),
        x_min=[-2, -3], x_max=[2, 3], u_min=[-2], u_max=[2], u_eq=[-wind], **rest,
    )  # fmt: skip
    return discretise(plant, 0.1, substeps=10)


def stacks(n=9):
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (n, 2)), rng.uniform(-2, 2, (n, 1)), rng.uniform(5, 12, (n, 1))


@pytest.mark.parametrize("order", [("angle", "rate"), ("rate", "angle")])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_sample_is_that_of_the_equations(fmu, unpacked, order, kind):
    plant = arm(order)
    step = simulator_from_fmu(fmu if kind == "file" else unpacked, plant, names=NAMES)
    x, u, p = stacks()
    found = np.array(step.map(len(x))(x.T, u.T, p.T)).T
    expected = np.array(plant.function.map(len(x))(x.T, u.T, p.T)).T
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert np.abs(found - np.array(arm(order, wind=0.0).function.map(len(x))(x.T, u.T, p.T)).T).max() > 1e-2


def test_parameters_that_the_plant_does_not_have_keep_their_start_values(fmu):
    plant = arm(gravity=False)
    x, u, _ = stacks()
    step = simulator_from_fmu(fmu, plant, names=NAMES)
    found = np.array(step.map(len(x))(x.T, u.T, ca.DM(0, len(x)))).T
    np.testing.assert_allclose(found, np.array(plant.function.map(len(x))(x.T, u.T, ca.DM(0, len(x)))).T, atol=1e-12)


def test_adaptation_with_an_fmu_in_the_loop_is_that_on_its_equations(fmu):
    plant, ranges = arm(), {"gravity": (9.5, 10.0)}
    backup = sc.lqr(plant, [1.0, 0.1], [0.5], parameters=ranges)
    batch = sc.scenarios(plant, backup, horizon=8, count=4, level=0.5, parameters=ranges)
    step = simulator_from_fmu(fmu, plant, names=NAMES)
    box, known = (
        sc.adapt(
            sc.ControlProblem(sc.Policy(plant, backup), batch, sc.Quadratic([1.0, 0.1], [0.01]), simulator=of),
            sc.AdaptOptions(steps=2, method="gradient", audit=False),
        )
        for of in (step, None)
    )
    assert box.is_safe() and len(box.committed) > 1
    np.testing.assert_allclose(box.theta, known.theta, rtol=1e-4, atol=1e-6)


def test_fmus_that_cannot_be_taken(unpacked, tmp_path):
    plant = arm()
    cases = {
        "other": (ProblemFileError, "no binary for this platform"),
        "none": (ProblemFileError, "no binary for this platform"),
        "exchange": (ProblemFileError, "is for co-simulation only"),
        "junk": (ProblemFileError, "is no FMU that can be read"),
        "empty": (ProblemFileError, "is no FMU that can be read"),
    }
    for name, (error, says) in cases.items():
        folder = tmp_path / name
        shutil.copytree(unpacked, folder)
        binary, text = folder / "binaries" / "linux64", folder / "modelDescription.xml"
        if name == "other":
            binary.rename(folder / "binaries" / "win64")
        elif name == "none":
            shutil.rmtree(folder / "binaries")
        elif name == "exchange":
            text.write_text(description("CoSimulation"))
        elif name == "junk":
            text.write_text("<fmi")
        else:
            text.unlink()
        with pytest.raises(error, match=says) as caught:
            simulator_from_fmu(folder, plant, names=NAMES)
        assert str(folder) in str(caught.value) and "\n" not in str(caught.value)
    file = tmp_path / "not.fmu"
    file.write_bytes(b"no archive")
    with pytest.raises(ProblemFileError, match="is no FMU that can be read"):
        simulator_from_fmu(file, plant)
    with pytest.raises(ProblemFileError, match="no such file"):
        simulator_from_fmu(tmp_path / "nowhere.fmu", plant)


def test_names_that_do_not_fit(fmu):
    plant = arm()
    cases = [
        (plant, {}, "has no state 'angle'; it has arm.angle, arm.rate"),
        (plant.replace(u_labels=("force",)), NAMES, "has no input 'force'; it has torque, wind"),
        (plant.replace(p_labels=("mass",)), NAMES, "has no parameter 'mass'; it has gravity"),
        (plant, NAMES | {"speed": "v"}, "names has the label 'speed'"),
        (plant, ["angle"], "expected names in the FMU by label"),
    ]
    for given, names, says in cases:
        with pytest.raises(DomainError, match=says):
            simulator_from_fmu(fmu, given, names=names)
    x, u = ca.SX.sym("x"), ca.SX.sym("u")
    one = Plant(name="one", x=x, u=u, f=x, dt=0.1, x_labels=("angle",), u_labels=("torque",), x_min=[-1], x_max=[1],
                u_min=[-1], u_max=[1])  # fmt: skip
    with pytest.raises(DomainError, match=r"has the state 'arm.rate' besides"):
        simulator_from_fmu(fmu, one, names={"angle": "arm.angle"})
    with pytest.raises(ScpoError, match="substeps"):
        simulator_from_fmu(fmu, plant, names=NAMES, substeps=0)
    with pytest.raises(DomainError, match="continuous"):
        simulator_from_fmu(fmu, plant.replace(dt=None), names=NAMES)
    with pytest.raises(ClassError, match="plant is"):
        simulator_from_fmu(fmu, "arm")
