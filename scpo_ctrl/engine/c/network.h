/* The policy as a residual network on the backup, by hand. SPDX-License-Identifier: MIT */
#ifndef NETWORK_H
#define NETWORK_H

#include "engine.h"

/* out = tanh(W in + b), four rows at once to keep the adders busy; W and b follow each other in theta. */
static inline void forward_layer(const double *theta, int rows, int columns, const lane *restrict in, lane *restrict out)
{
    const double *b = theta + (long)rows * columns;
    int i = 0, j;
    for (; i + 4 <= rows; i += 4) {
        const double *W = theta + (long)i * columns;
        lane s0 = all(b[i]), s1 = all(b[i + 1]), s2 = all(b[i + 2]), s3 = all(b[i + 3]);
        for (j = 0; j < columns; j++) {
            s0 += W[j] * in[j];
            s1 += W[columns + j] * in[j];
            s2 += W[2 * columns + j] * in[j];
            s3 += W[3 * columns + j] * in[j];
        }
        out[i] = lane_tanh(s0);
        out[i + 1] = lane_tanh(s1);
        out[i + 2] = lane_tanh(s2);
        out[i + 3] = lane_tanh(s3);
    }
    for (; i < rows; i++) {
        const double *W = theta + (long)i * columns;
        lane sum = all(b[i]);
        for (j = 0; j < columns; j++) {
            sum += W[j] * in[j];
        }
        out[i] = lane_tanh(sum);
    }
}

static inline void forward_hidden(const double *theta, lane *layers)
{
    (void)theta;
    (void)layers;
#define FORWARD(ROWS, COLUMNS, PARAMETERS, IN, OUT) \
    forward_layer(theta + (PARAMETERS), ROWS, COLUMNS, layers + (IN), layers + (OUT));
    LAYERS(FORWARD)
#undef FORWARD
}

/* What depends on theta alone: the layers at z = 0. */
static inline void hoist(const double *theta, network *net)
{
    int i;
    for (i = 0; i < NX; i++) {
        net->zero[i] = all(0.0);
    }
    forward_hidden(theta, net->zero);
}

/* command = u_eq - K z + W (a(z) - a(0)), before saturation; p and `saturated` are nothing to it. */
static inline void forward(const engine_batch *batch, const double *theta, const lane *x, const lane *p, int saturated,
                           network *net, lane *command)
{
    lane z[NX];
    int i, j;
    (void)p;
    (void)saturated;
    for (i = 0; i < NX; i++) {
        z[i] = x[i] - batch->x_eq[i];
        net->layers[i] = z[i] * batch->factor[i];
    }
    forward_hidden(theta, net->layers);
    for (i = 0; i < NU; i++) {
        lane fed = all(0.0), sum = all(0.0), more = all(0.0);
        const double *W = theta + OUTPUT + (long)i * LAST;
        for (j = 0; j < NX; j++) {
            fed += batch->K[i * NX + j] * z[j];
        }
        for (j = 0; j + 2 <= LAST; j += 2) {
            sum += W[j] * (net->layers[LAST_AT + j] - net->zero[LAST_AT + j]);
            more += W[j + 1] * (net->layers[LAST_AT + j + 1] - net->zero[LAST_AT + j + 1]);
        }
        if (LAST % 2) {
            sum += W[LAST - 1] * (net->layers[LAST_AT + LAST - 1] - net->zero[LAST_AT + LAST - 1]);
        }
        command[i] = (batch->u_eq[i] - fed) + (sum + more);
    }
}

#endif /* NETWORK_H */
