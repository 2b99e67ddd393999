"""The programs in an export's README: compiled as they stand there, and run as they say."""

import re

import pytest
from exports import STRICT, need, run

from conftest import TREES  # isort: skip

# A timer's signal stands for the interrupt. Each command is compared with that of the set that was active as it came.
INTERRUPTED = r"""
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
static void start_timer(void);
int settled(void);
#define main readme_main
#include "readme.c"
#undef main
static volatile long calls, wrong, changes;
static servo_real last[SERVO_NU];
static void interrupt(int signal)
{
    servo_real x[SERVO_NX] = {(servo_real)0.1};
    servo_real u[SERVO_NU], v[SERVO_NU];
    (void)signal;
    sample(x, u);
    wrong += servo_control(controller.set[controller.active].theta, x, v) != SERVO_OK || memcmp(u, v, sizeof u) != 0;
    changes += memcmp(u, last, sizeof u) != 0;
    memcpy(last, u, sizeof u);
    calls++;
}
int settled(void)
{
    const long before = calls;
    while (calls < before + 3) {
    }
    return 1;
}
static void start_timer(void)
{
    const struct itimerval period = {{0, 50}, {0, 50}};
    setitimer(ITIMER_REAL, &period, NULL);
}
int main(void)
{
    const struct itimerval none = {{0, 0}, {0, 0}};
    int turns, i, moved = 0, status = 0;
    signal(SIGALRM, interrupt);
    for (turns = 0; turns < 50 && (calls < 500 || changes < 3); turns++) {
        status |= readme_main();
        setitimer(ITIMER_REAL, &none, NULL);
    }
    for (i = 0; i < SERVO_NTHETA; i++) {
        moved += controller.set[controller.active].theta[i] != servo_theta[i];
    }
    printf("%d %ld %d %d %d", status, wrong, calls >= 100, changes >= 3, moved);
    return 0;
}
"""
SLICES = r"""
#include "readme.c"
static int samples, bad;
static servo_real held;
int wait_and_measure(servo_real x[SERVO_NX])
{
    int i;
    for (i = 0; i < SERVO_NX; i++) {
        x[i] = i ? 0 : (servo_real)0.1;
    }
    return samples++ < 2000 && !bad;
}
void apply(const servo_real u[SERVO_NU])
{
    bad |= !(u[0] * 0 == 0);
    bad |= samples > 1000 && adapter.counts.commits == 0; /* it does adapt */
    held = u[0];
}
"""


def programs(folder):
    """Return the blocks of C in a README."""
    return re.findall(r"```c\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)


def built(library, tmp_path, code, harness, *more):
    """Compile a block of the README, included by a harness, with the export's library; return the program."""
    (tmp_path / "readme.c").write_text(code.replace("/* Start the timer here. */", "start_timer();"))
    (tmp_path / "main.c").write_text(harness)
    flags, linked = library
    run("gcc", *more, *flags, tmp_path / "main.c", *linked, "-o", tmp_path / "main")
    return tmp_path / "main"


def test_a_change_while_an_interrupt_controls(tree, library, tmp_path):
    """The first program: it changes parameters by the set that is not active, never in place."""
    (code,) = programs(tree("plain"))
    code = code.replace("return change(", "return !settled() || change(")  # interrupts before, and while it changes
    harness = INTERRUPTED.replace("(calls < 500 || changes < 3)", "calls < 150")
    output = run(built(library("plain"), tmp_path, code, harness, "-std=gnu99"))
    assert re.fullmatch(r"(u\[0\] = \S+\ndelta = \S+\n)+0 0 1 [01] 1", output)  # one parameter has changed


def test_control_in_an_interrupt_adaptation_in_the_background(tree, library, tmp_path):
    _, background, _ = programs(tree("adapting"))
    output = run(built(library("adapting"), tmp_path, background, INTERRUPTED, "-std=gnu99"))
    assert re.fullmatch(r"0 0 1 1 [1-9]\d*", output)


def test_cooperative_slices(tree, library, tmp_path):
    *_, slices = programs(tree("adapting"))
    run(built(library("adapting"), tmp_path, slices, SLICES, "-std=c99", "-Wno-error=unused-but-set-variable"))


@pytest.mark.parametrize("kind", TREES)
def test_every_program_compiles_alone(kind, tree, tmp_path):
    need("gcc", "g++")
    for k, code in enumerate(programs(tree(kind))):
        (tmp_path / f"{k}.c").write_text(code)
        flags = [*STRICT.split(), f"-I{tree(kind) / 'include'}", "-fsyntax-only"]
        run("gcc", "-std=c99", *flags, tmp_path / f"{k}.c")
        run("g++", "-std=c++11", "-Wno-deprecated", "-x", "c++", *flags, tmp_path / f"{k}.c")
