"""An FMU of a pendulum, compiled for tests: with names of its own, and an input that no plant here knows."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

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


def unpacked_fmu(folder: Path) -> Path:
    """Compile the FMU into a folder, and return it."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or os.uname().sysname != "Linux" or os.uname().machine != "x86_64":
        pytest.skip("needs a C compiler, and linux64")
    (folder / "binaries" / "linux64").mkdir(parents=True)
    (folder / "modelDescription.xml").write_text(description())
    (folder / "model.c").write_text(SOURCE)
    library = folder / "binaries" / "linux64" / "pendulum.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, folder / "model.c", "-lm"], check=True)
    return folder


def packed(unpacked: Path, path: Path) -> Path:
    """Write the FMU as a file."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in ("modelDescription.xml", "binaries/linux64/pendulum.so"):
            archive.write(unpacked / file, file)
    return path
