/* Local stability (E11) at the equilibrium: g = log_4((T + floor) / (gamma + floor)) with T = |A^M|^2 in the norm of
 * P, A the loop's derivative there, M = 2^SCPO_DOUBLINGS. The squared Frobenius norm bounds the spectral one.
 * SPDX-License-Identifier: MIT
 */
#include "scpo_rollout.h"

#if SCPO_NVERTICES

#define SCPO_LOG4 SCPO_R(1.3862943611198906)
#define SCPO_SQUARE (SCPO_NX * SCPO_NX)

/* The columns of the residual's derivative at the equilibrium in the norm of P: for `column` the derivatives of the
 * hidden layers before tanh in q, and of the command in slope. */
static void scpo_tangent(const scpo_parameters *with, int column, scpo_real *q /* [SCPO_HIDDEN + 1] */,
                         scpo_real *slope /* [SCPO_NU] */)
{
    const scpo_real *theta = with->theta;
    scpo_real y[SCPO_MAX_WIDTH];
    int place = 0;
    int layer;
    int i;
    for (i = 0; i < SCPO_NX; i++) {
        y[i] = scpo_inverse_root[i][column] / scpo_scale[i];
    }
    for (layer = 0; layer + 1 < SCPO_NLAYERS; layer++) {
        const int in = scpo_widths[layer];
        const int out = scpo_widths[layer + 1];
        for (i = 0; i < out; i++) {
            q[place + i] = scpo_inner(in, theta + i * in, y);
        }
        for (i = 0; i < out; i++) {
            const scpo_real a = with->at_zero[place + i];
            y[i] = q[place + i] * (1 - a * a);
        }
        theta += (in + 1) * out;
        place += out;
    }
    for (i = 0; i < SCPO_NU; i++) {
        slope[i] = scpo_input_scale[i] * scpo_inner(SCPO_LAST, theta + i * SCPO_LAST, y);
    }
}

/* out = x y, or with x or y transposed. */
static void scpo_product(const scpo_real *x, int x_row, int x_column, const scpo_real *y, int y_row, int y_column,
                         scpo_real *out)
{
    int i;
    int j;
    int k;
    for (i = 0; i < SCPO_NX; i++) {
        for (j = 0; j < SCPO_NX; j++) {
            scpo_real sum = 0;
            for (k = 0; k < SCPO_NX; k++) {
                sum += x[i * x_row + k * x_column] * y[k * y_row + j * y_column];
            }
            *out++ = sum;
        }
    }
}

#if !SCPO_SAMPLED
/* The derivative by theta of what has the derivatives by_slope by a column: added to row, and, of the hidden layers at
 * the equilibrium, to at_zero. */
static void scpo_tangent_backward(const scpo_parameters *with, int column, const scpo_real *q,
                                  const scpo_real *by_slope, scpo_real *at_zero, scpo_real *row)
{
    long start = SCPO_NTHETA - SCPO_NU * SCPO_LAST;
    int place = SCPO_HIDDEN - SCPO_LAST;
    int layer = SCPO_NLAYERS - 1;
    scpo_real moved[SCPO_MAX_WIDTH];
    int i;
    int j;
    for (j = 0; j < SCPO_LAST; j++) {
        scpo_real y;
        if (SCPO_NLAYERS > 1) {
            const scpo_real a = with->at_zero[place + j];
            y = q[place + j] * (1 - a * a);
        } else {
            y = scpo_inverse_root[j][column] / scpo_scale[j];
        }
        moved[j] = 0;
        for (i = 0; i < SCPO_NU; i++) {
            const scpo_real by = by_slope[i] * scpo_input_scale[i];
            row[start + i * SCPO_LAST + j] += by * y;
            moved[j] += by * with->theta[start + i * SCPO_LAST + j];
        }
    }
    while (layer-- > 0) {
        const int in = scpo_widths[layer];
        const int out = scpo_widths[layer + 1];
        const int below = place - in;
        scpo_real y[SCPO_MAX_WIDTH];
        scpo_real by_y[SCPO_MAX_WIDTH];
        int k;
        start -= (in + 1) * out;
        for (k = 0; k < in; k++) {
            if (layer) {
                const scpo_real a = with->at_zero[below + k];
                y[k] = q[below + k] * (1 - a * a);
            } else {
                y[k] = scpo_inverse_root[k][column] / scpo_scale[k];
            }
            by_y[k] = 0;
        }
        for (j = 0; j < out; j++) {
            const scpo_real a = with->at_zero[place + j];
            at_zero[place + j] -= 2 * a * q[place + j] * moved[j];
            moved[j] *= 1 - a * a;
            for (k = 0; k < in; k++) {
                row[start + j * in + k] += moved[j] * y[k];
                by_y[k] += moved[j] * with->theta[start + j * in + k];
            }
        }
        place = below;
        memcpy(moved, by_y, (size_t)in * sizeof *moved);
    }
}

/* by, the derivative by the last power, becomes that by the first. */
static void scpo_powers_backward(const scpo_powers *powers, scpo_real *by)
{
    int k = SCPO_DOUBLINGS;
    while (k-- > 0) {
        const scpo_real *power = powers->power + k * SCPO_SQUARE;
        scpo_real left[SCPO_SQUARE];
        scpo_real right[SCPO_SQUARE];
        int i;
        scpo_product(by, SCPO_NX, 1, power, 1, SCPO_NX, left);
        scpo_product(power, 1, SCPO_NX, by, SCPO_NX, 1, right);
        for (i = 0; i < SCPO_SQUARE; i++) {
            by[i] = left[i] + right[i];
        }
    }
}

/* row = the derivative by theta of what has the derivative weight times the last power by that. */
static void scpo_stability_row(const scpo_parameters *with, scpo_powers *powers, scpo_real weight, int vertex,
                               scpo_real *row)
{
    const scpo_real *last = powers->power + SCPO_DOUBLINGS * SCPO_SQUARE;
    scpo_real by[SCPO_SQUARE];
    scpo_real at_zero[SCPO_HIDDEN + 1];
    int column;
    int i;
    for (i = 0; i < SCPO_SQUARE; i++) {
        by[i] = last[i] * weight;
    }
    memset(row, 0, SCPO_NTHETA * sizeof *row);
    for (i = 0; i <= SCPO_HIDDEN; i++) {
        at_zero[i] = 0;
    }
    scpo_powers_backward(powers, by);
    for (column = 0; column < SCPO_NX; column++) {
        scpo_real by_slope[SCPO_NU];
        int j;
        for (j = 0; j < SCPO_NU; j++) {
            by_slope[j] = 0;
            for (i = 0; i < SCPO_NX; i++) {
                by_slope[j] += scpo_vertex_B[vertex][i][j] * by[i * SCPO_NX + column];
            }
        }
        {
            scpo_real slope[SCPO_NU];
            scpo_tangent(with, column, powers->q, slope);
        }
        scpo_tangent_backward(with, column, powers->q, by_slope, at_zero, row);
    }
    scpo_backward_at_zero(with, at_zero, row);
}
#endif

scpo_real scpo_stability(const scpo_parameters *with, int vertex, scpo_powers *powers, scpo_real *row)
{
    scpo_real *last = powers->power + SCPO_DOUBLINGS * SCPO_SQUARE;
    scpo_real size = 0;
    int column;
    int i;
    for (column = 0; column < SCPO_NX; column++) {
        scpo_real slope[SCPO_NU];
        scpo_tangent(with, column, powers->q, slope);
        for (i = 0; i < SCPO_NX; i++) {
            powers->power[i * SCPO_NX + column] =
                scpo_vertex_A[vertex][i][column] + scpo_inner(SCPO_NU, scpo_vertex_B[vertex][i], slope);
        }
    }
    for (i = 0; i < SCPO_DOUBLINGS; i++) {
        const scpo_real *power = powers->power + i * SCPO_SQUARE;
        scpo_product(power, SCPO_NX, 1, power, SCPO_NX, 1, powers->power + (i + 1) * SCPO_SQUARE);
    }
    for (i = 0; i < SCPO_SQUARE; i++) {
        size += last[i] * last[i];
    }
#if SCPO_SAMPLED
    (void)row;
#else
    if (row) {
        scpo_stability_row(with, powers, 2 / ((size + SCPO_STABILITY_FLOOR) * SCPO_LOG4), vertex, row);
    }
#endif
    return SCPO_LOG((size + SCPO_STABILITY_FLOOR) / (SCPO_STABILITY_GAMMA + SCPO_STABILITY_FLOOR)) / SCPO_LOG4;
}

#else
typedef int scpo_no_vertices; /* an empty file is no C */
#endif
