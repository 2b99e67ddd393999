"""FMUs in a plant's place: one compiled here, of a pendulum with a second input that the plant does not know."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import casadi as ca
import numpy as np
import pytest

import scpo_ctrl as sc
from scpo_ctrl.errors import ClassError, DomainError, ProblemFileError, ScpoError
from scpo_ctrl.interfaces import simulator_from_fmu
from scpo_ctrl.models import Plant, discretise

# FMI 2.0 for model exchange: variables are angle, rate, their derivatives, torque, wind, gravity.
SOURCE = """
#include <math.h>
#include <stdlib.h>
#include <string.h>
typedef struct { double v[7]; } model;
typedef const unsigned refs[];
static void derive(model *m) {
    m->v[2] = m->v[1];
    m->v[3] = m->v[4] + m->v[5] - m->v[6] * sin(m->v[0]) - 0.3 * m->v[1];
}
const char *fmi2GetTypesPlatform(void) { return "default"; }
const char *fmi2GetVersion(void) { return "2.0"; }
int fmi2SetDebugLogging(void *c, int on, size_t n, const char *const *names) { return 0; }
void *fmi2Instantiate(const char *a, int kind, const char *g, const char *r, const void *f, int visible, int log) {
    model *m = calloc(1, sizeof *m);
    m->v[5] = 0.25;
    m->v[6] = 9.81;
    return m;
}
void fmi2FreeInstance(void *c) { free(c); }
int fmi2SetupExperiment(void *c, int a, double b, double start, int d, double end) { return 0; }
int fmi2EnterInitializationMode(void *c) { return 0; }
int fmi2ExitInitializationMode(void *c) { return 0; }
int fmi2Terminate(void *c) { return 0; }
int fmi2Reset(void *c) { return 0; }
int fmi2GetReal(void *c, refs r, size_t n, double *v) {
    derive(c);
    for (size_t i = 0; i < n; i++) v[i] = ((model *)c)->v[r[i]];
    return 0;
}
int fmi2SetReal(void *c, refs r, size_t n, const double *v) {
    for (size_t i = 0; i < n; i++) ((model *)c)->v[r[i]] = v[i];
    return 0;
}
int fmi2GetInteger(void *c, refs r, size_t n, int *v) { return 0; }
int fmi2SetInteger(void *c, refs r, size_t n, const int *v) { return 0; }
int fmi2GetBoolean(void *c, refs r, size_t n, int *v) { return 0; }
int fmi2SetBoolean(void *c, refs r, size_t n, const int *v) { return 0; }
int fmi2GetString(void *c, refs r, size_t n, const char **v) { return 0; }
int fmi2SetString(void *c, refs r, size_t n, const char *const *v) { return 0; }
int fmi2EnterEventMode(void *c) { return 0; }
int fmi2EnterContinuousTimeMode(void *c) { return 0; }
int fmi2NewDiscreteStates(void *c, void *info) { memset(info, 0, 5 * sizeof(int)); return 0; }
int fmi2SetTime(void *c, double t) { return 0; }
int fmi2SetContinuousStates(void *c, const double *x, size_t n) { memcpy(((model *)c)->v, x, n * sizeof *x); return 0; }
int fmi2GetContinuousStates(void *c, double *x, size_t n) { memcpy(x, ((model *)c)->v, n * sizeof *x); return 0; }
int fmi2GetDerivatives(void *c, double *x, size_t n) {
    derive(c);
    memcpy(x, ((model *)c)->v + 2, n * sizeof *x);
    return 0;
}
int fmi2GetEventIndicators(void *c, double *z, size_t n) { return 0; }
int fmi2GetNominalsOfContinuousStates(void *c, double *x, size_t n) { x[0] = x[1] = 1; return 0; }
int fmi2CompletedIntegratorStep(void *c, int a, int *event, int *end) { *event = *end = 0; return 0; }
"""

DESCRIPTION = """<?xml version="1.0" encoding="UTF-8"?>
<fmiModelDescription fmiVersion="2.0" modelName="pendulum" guid="{{1}}" numberOfEventIndicators="0">
<{kind} modelIdentifier="pendulum"/>
<ModelVariables>
{state}
{derivative}
<ScalarVariable name="torque" valueReference="4" causality="input"><Real start="0"/></ScalarVariable>
<ScalarVariable name="wind" valueReference="5" causality="input"><Real start="0.25"/></ScalarVariable>
<ScalarVariable name="gravity" valueReference="6" causality="parameter" variability="fixed"><Real start="9.81"/>
</ScalarVariable>
</ModelVariables>
<ModelStructure>
<Derivatives><Unknown index="3" dependencies="2"/><Unknown index="4" dependencies="1 2 5 6 7"/></Derivatives>
<InitialUnknowns><Unknown index="3"/><Unknown index="4"/></InitialUnknowns>
</ModelStructure>
</fmiModelDescription>
"""
NAMES = {"angle": "arm.angle", "rate": "arm.rate"}


def description(kind: str = "ModelExchange") -> str:
    of = '<ScalarVariable name="arm.{}" valueReference="{}" initial="exact"><Real start="0"/></ScalarVariable>'
    der = '<ScalarVariable name="der(arm.{})" valueReference="{}"><Real derivative="{}"/></ScalarVariable>'
    return DESCRIPTION.format(
        kind=kind,
        state="\n".join(of.format(name, i) for i, name in enumerate(("angle", "rate"))),
        derivative="\n".join(der.format(name, i + 2, i + 1) for i, name in enumerate(("angle", "rate"))),
    )


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or os.uname().sysname != "Linux" or os.uname().machine != "x86_64":
        pytest.skip("needs a C compiler, and linux64")
    folder = tmp_path_factory.mktemp("fmu") / "pendulum"
    (folder / "binaries" / "linux64").mkdir(parents=True)
    (folder / "modelDescription.xml").write_text(description())
    (folder / "model.c").write_text(SOURCE)
    library = folder / "binaries" / "linux64" / "pendulum.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, folder / "model.c", "-lm"], check=True)
    return folder


@pytest.fixture(scope="module")
def fmu(unpacked) -> Path:
    path = unpacked.parent / "pendulum.fmu"
    with zipfile.ZipFile(path, "w") as archive:
        for file in ("modelDescription.xml", "binaries/linux64/pendulum.so"):
            archive.write(unpacked / file, file)
    return path


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
