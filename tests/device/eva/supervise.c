/* The supervisor, for every measurement, none, and every change of the parameters' memory. SPDX-License-Identifier: MIT */
#include "eva.h"
#include "scpo_supervise.h"

static scpo_controller controller;
static scpo_supervisor supervisor;

static void supervise(const scpo_real *low, const scpo_real *high)
{
    scpo_real x[SCPO_NX], u[SCPO_NU], floor;
    scpo_supervisor_begin(&supervisor, &controller, (scpo_fallback)Frama_C_interval(0, 2),
                          Frama_C_unsigned_int_interval(0, UINT32_MAX));
    supervisor.low = low;
    supervisor.high = high;
    while (any()) {
        any_reals(x, SCPO_NX);
        (void)scpo_supervisor_control(&supervisor, any() ? x : NULL, u);
        if (any()) {
            any_reals(&floor, 1);
            scpo_supervisor_watch(&supervisor, Frama_C_unsigned_int_interval(0, UINT32_MAX), floor);
        }
        if (any()) {
            any_reals(controller.set[any()].theta, SCPO_NTHETA);
        }
        if (any()) {
            scpo_supervisor_accept(&supervisor);
        }
        (void)scpo_supervisor_check(&supervisor);
        (void)scpo_supervisor_token(&supervisor);
    }
}

int main(void)
{
    static scpo_real theta[SCPO_NTHETA], low[SCPO_NX], high[SCPO_NX];
    any_reals(theta, SCPO_NTHETA);
    any_reals(low, SCPO_NX);
    any_reals(high, SCPO_NX);
    (void)scpo_controller_begin(&controller, theta);
    supervise(NULL, NULL);
    supervise(low, high);
    return 0;
}
