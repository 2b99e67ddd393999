/* The policy: u = sat(u_eq - K z + residual(z; theta)) with z = x - x_eq.
 *
 * The residual is input_scale W (a(z / scale) - a(0)), a tanh network a, or the identity where there is no hidden
 * layer. theta holds W_1, b_1, ..., W_k, b_k, W, each matrix row by row. SPDX-License-Identifier: MIT
 */
#include "scpo_policy.h"

static int scpo_are_numbers(int count, const scpo_real *x)
{
    return scpo_largest(count, x, 0) < SCPO_INFINITY;
}

scpo_real scpo_saturate(int i, scpo_real command)
{
    if (scpo_largest(1, &command, 0) > SCPO_INFINITY) {
        command = scpo_u_eq[i];
    }
    if (command > scpo_u_max[i]) {
        return scpo_u_max[i];
    }
    return command < scpo_u_min[i] ? scpo_u_min[i] : command;
}

void scpo_activations(const scpo_real *theta, const scpo_real *y, scpo_real *a)
{
    int layer;
    for (layer = 0; layer + 1 < SCPO_NLAYERS; layer++) { /* a <- tanh(W y + b), then y is this a */
        const int in = scpo_widths[layer];
        const int out = scpo_widths[layer + 1];
        const scpo_real *b = theta + in * out;
        int i;
        for (i = 0; i < out; i++) {
            a[i] = scpo_tanh((y ? scpo_inner(in, theta + i * in, y) : 0) + b[i]);
        }
        y = a;
        a += out;
        theta = b + out;
    }
}

void scpo_command(const scpo_real *theta, const scpo_real *at_zero, const scpo_real *x, scpo_real *a,
                  scpo_real *command)
{
    const int width = SCPO_LAST;
    const scpo_real *W = theta + SCPO_NTHETA - SCPO_NU * width;
    scpo_real z[SCPO_NX];
    scpo_real y[SCPO_NX];
    scpo_real moved[SCPO_MAX_WIDTH];
    int i;
    for (i = 0; i < SCPO_NX; i++) {
        z[i] = x[i] - scpo_x_eq[i];
        y[i] = z[i] / scpo_scale[i];
    }
    scpo_activations(theta, y, a);
    for (i = 0; i < width; i++) {
        moved[i] = SCPO_NLAYERS > 1 ? a[SCPO_HIDDEN - width + i] - at_zero[SCPO_HIDDEN - width + i] : y[i];
    }
    for (i = 0; i < SCPO_NU; i++) {
        command[i] = scpo_u_eq[i] - scpo_inner(SCPO_NX, scpo_K[i], z) +
                     scpo_input_scale[i] * scpo_inner(width, W + i * width, moved);
    }
}

/* The command of the policy where `status` is SCPO_OK and that is a number, else the backup's. */
static scpo_status scpo_apply(const scpo_real *theta, const scpo_real *at_zero, const scpo_real *x, scpo_real *u,
                              scpo_status status)
{
    scpo_real a[SCPO_HIDDEN + 1];
    scpo_real command[SCPO_NU];
    int i;
    if (status == SCPO_OK) {
        scpo_command(theta, at_zero, x, a, command);
        status = scpo_are_numbers(SCPO_NU, command) ? SCPO_OK : SCPO_BAD_THETA;
    }
#if SCPO_GUARD
    if (status == SCPO_OK) {
        for (i = 0; i < SCPO_NU; i++) {
            command[i] = scpo_saturate(i, command[i]);
        }
        if (!scpo_guard(x, command)) { /* before u is written, which may be where x is */
            status = SCPO_GUARDED;
        }
    }
#endif
    if (status != SCPO_OK) {
        scpo_real z[SCPO_NX];
        for (i = 0; i < SCPO_NX; i++) {
            z[i] = x[i] - scpo_x_eq[i];
        }
        for (i = 0; i < SCPO_NU; i++) {
            command[i] = scpo_u_eq[i] - scpo_inner(SCPO_NX, scpo_K[i], z);
        }
    }
    for (i = 0; i < SCPO_NU; i++) {
        u[i] = scpo_saturate(i, command[i]);
    }
    return status;
}

/* Where x is no state: the equilibrium input, within its bounds. */
static scpo_status scpo_rest(scpo_real *u)
{
    int i;
    for (i = 0; i < SCPO_NU; i++) {
        u[i] = scpo_saturate(i, scpo_u_eq[i]);
    }
    return SCPO_BAD_STATE;
}

scpo_status scpo_control(const scpo_real *theta, const scpo_real *x, scpo_real *u)
{
    scpo_real at_zero[SCPO_HIDDEN + 1];
    scpo_status status = SCPO_BAD_THETA;
    if (!scpo_are_numbers(SCPO_NX, x)) {
        return scpo_rest(u);
    }
    if (scpo_are_numbers(SCPO_NTHETA, theta)) {
        scpo_activations(theta, NULL, at_zero);
        status = SCPO_OK;
    }
    return scpo_apply(theta, at_zero, x, u, status);
}

scpo_status scpo_controller_control(const scpo_controller *controller, const scpo_real *x, scpo_real *u)
{
    const scpo_parameters *now = &controller->set[controller->active & 1U];
    return scpo_are_numbers(SCPO_NX, x) ? scpo_apply(now->theta, now->at_zero, x, u, SCPO_OK) : scpo_rest(u);
}

scpo_parameters *scpo_controller_spare(scpo_controller *controller)
{
    return &controller->set[(controller->active ^ 1U) & 1U];
}

void scpo_parameters_prepare(scpo_parameters *parameters)
{
    scpo_activations(parameters->theta, NULL, parameters->at_zero);
}

scpo_status scpo_controller_switch(scpo_controller *controller)
{
    if (!scpo_are_numbers(SCPO_NTHETA, scpo_controller_spare(controller)->theta)) {
        return SCPO_BAD_THETA;
    }
    SCPO_BARRIER();
    controller->active = (unsigned char)((controller->active ^ 1U) & 1U);
    SCPO_BARRIER();
    return SCPO_OK;
}

scpo_status scpo_controller_begin(scpo_controller *controller, const scpo_real *theta)
{
    scpo_parameters *set = controller->set;
    const scpo_status status = scpo_are_numbers(SCPO_NTHETA, theta) ? SCPO_OK : SCPO_BAD_THETA;
    int i;
    for (i = 0; i < SCPO_NTHETA; i++) { /* theta = 0 is the backup */
        set->theta[i] = status == SCPO_OK ? theta[i] : 0;
    }
    scpo_parameters_prepare(set);
    SCPO_BARRIER();
    controller->active = 0;
    return status;
}
