/* The policy: u = sat(u_eq - K z + residual(z; theta)) with z = x - x_eq.
 *
 * The residual is input_scale W (a(z / scale) - a(0)), a tanh network a, or the identity where there is no hidden layer.
 * theta holds W_1, b_1, ..., W_k, b_k, W, each matrix row by row. SPDX-License-Identifier: MIT
 */
#include "scpo_data.h"
#include "scpo_internal.h"

#if SCPO_REAL_IS_DOUBLE
#define SCPO_TANH(x) tanh(x)
#else
#define SCPO_TANH(x) tanhf(x)
#endif

static int scpo_are_numbers(int count, const scpo_real *x)
{
    return scpo_largest(count, x, 0) < SCPO_INFINITY;
}

/* The command within its bounds; where it is NaN, the equilibrium input within its bounds. */
static scpo_real scpo_saturate(int i, scpo_real command)
{
    if (scpo_largest(1, &command, 0) > SCPO_INFINITY) {
        command = scpo_u_eq[i];
    }
    if (command > scpo_u_max[i]) {
        return scpo_u_max[i];
    }
    return command < scpo_u_min[i] ? scpo_u_min[i] : command;
}

/* Takes a through the hidden layers, a <- tanh(W a + b). Returns the weights of the output layer. */
static const scpo_real *scpo_hidden_layers(const scpo_real *theta, scpo_real *a /* [SCPO_MAX_WIDTH] */)
{
    scpo_real next[SCPO_MAX_WIDTH];
    int layer;
    int i;
    for (layer = 0; layer + 1 < SCPO_NLAYERS; layer++) {
        const int in = scpo_widths[layer];
        const int out = scpo_widths[layer + 1];
        const scpo_real *b = theta + in * out;
        for (i = 0; i < out; i++) {
            next[i] = SCPO_TANH(scpo_dot(in, theta + i * in, a) + b[i]);
        }
        for (i = 0; i < out; i++) {
            a[i] = next[i];
        }
        theta = b + out;
    }
    return theta;
}

/* command += residual(z; theta) */
static void scpo_add_residual(const scpo_real *theta, const scpo_real *z, scpo_real *command)
{
    const int width = scpo_widths[SCPO_NLAYERS - 1];
    const scpo_real *W;
    scpo_real a[SCPO_MAX_WIDTH];
    scpo_real at_zero[SCPO_MAX_WIDTH];
    int i;
    for (i = 0; i < SCPO_NX; i++) {
        a[i] = z[i] / scpo_scale[i];
        at_zero[i] = 0;
    }
    (void)scpo_hidden_layers(theta, at_zero);
    W = scpo_hidden_layers(theta, a);
    for (i = 0; i < width; i++) {
        a[i] -= at_zero[i];
    }
    for (i = 0; i < SCPO_NU; i++) {
        command[i] += scpo_input_scale[i] * scpo_dot(width, W + i * width, a);
    }
}

scpo_status scpo_control(const scpo_real *theta, const scpo_real *x, scpo_real *u)
{
    scpo_status status = SCPO_OK;
    scpo_real z[SCPO_NX];
    scpo_real backup[SCPO_NU];
    scpo_real command[SCPO_NU];
    int i;

    if (!scpo_are_numbers(SCPO_NX, x)) {
        for (i = 0; i < SCPO_NU; i++) {
            u[i] = scpo_saturate(i, scpo_u_eq[i]);
        }
        return SCPO_BAD_STATE;
    }
    for (i = 0; i < SCPO_NX; i++) {
        z[i] = x[i] - scpo_x_eq[i];
    }
    for (i = 0; i < SCPO_NU; i++) {
        backup[i] = scpo_u_eq[i] - scpo_dot(SCPO_NX, scpo_K[i], z);
        command[i] = backup[i];
    }
    if (scpo_are_numbers(SCPO_NTHETA, theta)) {
        scpo_add_residual(theta, z, command);
    } else {
        status = SCPO_BAD_THETA;
    }
    if (!scpo_are_numbers(SCPO_NU, command)) {
        status = SCPO_BAD_THETA;
    }
#if SCPO_GUARD
    for (i = 0; i < SCPO_NU; i++) {
        command[i] = scpo_saturate(i, command[i]);
    }
    if (status == SCPO_OK && !scpo_guard(x, command)) { /* before u is written, which may be where x is */
        status = SCPO_GUARDED;
    }
#endif
    for (i = 0; i < SCPO_NU; i++) {
        u[i] = scpo_saturate(i, status == SCPO_OK ? command[i] : backup[i]);
    }
    return status;
}
