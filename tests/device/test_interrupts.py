"""Commands from an interrupt while the parameters change under it: each comes from one whole set."""

import os
import re
import subprocess

import pytest
from device_problems import r3_problem, unadapted
from exports import need

from scpo_ctrl.codegen import export

LONG = bool(os.environ.get("SCPO_FUZZ"))  # see `make fuzz`

# A timer's signal stands for the interrupt. Each command is kept with the number of commits before it; afterwards it is
# compared with what every set of parameters gives, by its bits.
NESTED = r"""
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include "scpo_adapt.h"
#define MOST 4000000
static scpo_controller controller;
static scpo_adapter adapter;
static const scpo_real x[SCPO_NX] = {1, 0.5};
static scpo_real seen[MOST], whole[1 << 20];
static volatile long count;
static void interrupt(int signal)
{
    scpo_real u[SCPO_NU];
    (void)signal;
    (void)scpo_controller_control(&controller, x, u);
    if (count < MOST) { seen[count++] = u[0]; }
}
int main(int argc, char **argv)
{
    const long wanted = argc > 1 ? atol(argv[1]) : 1000;
    struct itimerval period = {{0, 20}, {0, 20}};
    long sets = 0, torn = 0, between = 0, k, s, before;
    scpo_real u[SCPO_NU];
    (void)scpo_controller_begin(&controller, scpo_theta_start);
    scpo_adapter_begin(&adapter, &controller);
    (void)scpo_controller_control(&controller, x, u);
    whole[sets++] = u[0];
    signal(SIGALRM, interrupt);
    setitimer(ITIMER_REAL, &period, NULL);
    before = count;
    while (count < wanted && sets < (1 << 20)) {
        const scpo_adaptation outcome = scpo_adapter_poll(&adapter, 1);
        between += count > before;
        before = count;
        if (outcome == (SCPO_AUDIT ? SCPO_AUDITED : SCPO_COMMITTED) || outcome == SCPO_WITHDRAWN) {
            (void)scpo_controller_control(&controller, x, u);
            whole[sets++] = u[0];
        } else if (!scpo_adaptation_goes_on(outcome)) { /* another reference, from the safe start */
            memcpy(scpo_controller_spare(&controller)->theta, scpo_theta_start, sizeof scpo_theta_start);
            scpo_parameters_prepare(scpo_controller_spare(&controller));
            (void)scpo_controller_switch(&controller);
            whole[sets++] = whole[0];
            adapter.reference[0] += (scpo_real)0.01;
            scpo_adapter_restart(&adapter);
        }
    }
    period.it_value.tv_usec = period.it_interval.tv_usec = 0;
    setitimer(ITIMER_REAL, &period, NULL);
    for (k = 0, s = 0; k < count; k++) {
        long at = s; /* parameters only go forward */
        while (at < sets && memcmp(&seen[k], &whole[at], sizeof seen[k]) != 0) { at++; }
        if (at == sets) { torn++; } else { s = at; }
    }
    printf("%ld commands, %ld sets, %ld pieces interrupted, %ld torn\n", count, sets, between, torn);
    return torn != 0;
}
"""


OFTEN = ["-DSCPO_AUDIT_POINTS=40", "-DSCPO_AUDIT_FIRST=1", "-DSCPO_AUDIT_MOST=1"]  # where it audits


@pytest.mark.parametrize(("optimisation", "audited"), [("-O2", False), ("-Os", True)])
def test_every_command_comes_from_one_whole_set(tmp_path, optimisation, audited):
    need("gcc")
    export(unadapted(r3_problem()), tmp_path / "c", real="float", measured=False, adapting=True, audited=audited)
    (tmp_path / "nested.c").write_text(NESTED)
    sources = [*sorted((tmp_path / "c" / "src").glob("*.c")), tmp_path / "nested.c"]
    includes = [f"-I{tmp_path / 'c' / part}" for part in ("include", "src")]
    program = tmp_path / "nested"
    subprocess.run(
        ["gcc", "-std=gnu99", optimisation, *OFTEN, *includes, *map(str, sources), "-o", program, "-lm"], check=True
    )
    count = "1000000" if LONG else "20000"
    done = subprocess.run([program, count], capture_output=True, text=True, timeout=600, check=False)
    print(done.stdout)
    assert done.returncode == 0 and " 0 torn" in done.stdout, done.stdout
    commands, sets, pieces = (int(word) for word in re.findall(r"\d+", done.stdout)[:3])
    assert commands >= int(count) and sets > 20 and pieces > 1000
